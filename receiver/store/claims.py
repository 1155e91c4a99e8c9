"""Claims: who works on a delivery, for how long, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Integer, and_, bindparam, case, exists, func, or_, select, true, update
from sqlalchemy.sql.dml import ReturningUpdate

from receiver.model import StoryState
from receiver.store.deliveries import COLUMNS, DeliveryRow, to_row
from receiver.store.engine import NOW, Conn
from receiver.store.manners import BREAK_AFTER
from receiver.store.schema import deliveries, destinations, stories

LEASE_S = 60.0
"""How long a claim holds, by the database's clock."""


def _claimable() -> Any:
    return and_(
        deliveries.c.due.is_not(None),
        deliveries.c.due <= NOW,
        or_(deliveries.c.claimed_until.is_(None), deliveries.c.claimed_until < NOW),
    )


_BUSY = (
    select(
        deliveries.c.destination,
        func.min(deliveries.c.priority).label("priority"),
        func.max(destinations.c.failures).label("failures"),
    )
    .outerjoin(destinations, destinations.c.identity == deliveries.c.destination)
    .where(
        _claimable(),
        or_(destinations.c.identity.is_(None), destinations.c.parked.is_(False)),
        or_(destinations.c.hold_until.is_(None), destinations.c.hold_until <= NOW),
    )
    .group_by(deliveries.c.destination)
)
_NEXT_DUE = select(func.min(deliveries.c.due) - NOW).where(deliveries.c.due > NOW)
_NEXT_LET_GO = select(func.min(destinations.c.hold_until) - NOW).where(
    destinations.c.hold_until > NOW,
    destinations.c.parked.is_(False),
    exists().where(deliveries.c.destination == destinations.c.identity, _claimable()),
)
_NEXT = select(_NEXT_DUE.scalar_subquery(), _NEXT_LET_GO.scalar_subquery())


@dataclass(frozen=True, slots=True)
class Outlook:
    """What there is to do."""

    busy: Mapping[str, int]
    """Destinations that have something to do now and are neither parked nor held back.

    Each with the most urgent priority that waits there.
    """
    next_due_s: float | None
    """In how many seconds the next delivery is due, or the next destination is let go, if there is one."""
    away: frozenset[str] = frozenset()
    """Those of `busy` that nothing gets through to: they are asked by one try at a time."""


async def outlook(conn: Conn) -> Outlook:
    """Return what there is to do, now and next."""
    rows = (await conn.execute(_BUSY)).all()
    times = (await conn.execute(_NEXT)).one()
    return Outlook(
        {row.destination: row.priority for row in rows},
        min((float(one) for one in times if one is not None), default=None),
        frozenset(row.destination for row in rows if (row.failures or 0) >= BREAK_AFTER),
    )


_UNKNOWN_SINCE = case(
    (and_(deliveries.c.unknown_part.is_not(None), deliveries.c.claimed_until.is_not(None)), NOW),
    else_=deliveries.c.unknown_at,
)
"""Where a lease ran out with a try begun, its holder may still be sending (a clock leapt): look from now on."""


def _claim(*, probe: bool) -> ReturningUpdate[Any]:
    still_wanted = or_(
        deliveries.c.started.is_(True),
        deliveries.c.story.in_(select(stories.c.id).where(stories.c.state != StoryState.RESOLVED.value)),
    )
    chosen = (
        select(deliveries.c.id)
        .where(
            deliveries.c.destination == bindparam("b_destination"),
            _claimable(),
            deliveries.c.id.not_in(bindparam("b_in_hand", expanding=True)),
        )
        .where(still_wanted if probe else true())
        .order_by(deliveries.c.priority, deliveries.c.waiting_since, deliveries.c.id)
        .limit(bindparam("b_limit", type_=Integer))
        .with_for_update(skip_locked=True)
    )
    return (
        update(deliveries)
        .where(deliveries.c.id.in_(chosen))
        .values(
            owner=bindparam("b_owner"),
            claimed_until=NOW + LEASE_S,
            fence=deliveries.c.fence + 1,
            unknown_at=_UNKNOWN_SINCE,
        )
        .returning(*COLUMNS)
    )


_CLAIM, _CLAIM_FOR_PROBE = _claim(probe=False), _claim(probe=True)


async def claim(
    conn: Conn,
    owner: str,
    destination: str,
    limit: int,
    in_hand: Sequence[str] = (),
    *,
    probe: bool = False,
) -> list[DeliveryRow]:
    """Take due deliveries of one destination for LEASE_S seconds: new roots, audible, quiet; oldest first.

    `in_hand` are those that this process still works on, whatever became of their lease. With `probe` only what a
    parked destination would be sent once it is free again: nothing for a closed story that it never showed.
    """
    values = {"b_owner": owner, "b_destination": destination, "b_limit": limit, "b_in_hand": list(in_hand)}
    rows = await conn.execute(_CLAIM_FOR_PROBE if probe else _CLAIM, values)
    return sorted((to_row(row) for row in rows), key=lambda row: (row.priority, row.waiting_since or 0.0, row.id))


async def release(conn: Conn, row: DeliveryRow, values: Mapping[str, Any]) -> bool:
    """Give a claim back with what came of it; False when it was no longer ours and nothing was written."""
    result = await conn.execute(
        update(deliveries)
        .where(deliveries.c.id == row.id, deliveries.c.fence == row.fence)
        .values(owner=None, claimed_until=None, **values)
    )
    return result.rowcount == 1


async def free_claims(conn: Conn, owner: str | None = None) -> None:
    """Free every claim, or those of one replica: when nobody else works on this database, or this one stops.

    A try that was begun keeps its mark: its outcome is unknown.
    """
    whose = deliveries.c.owner.is_not(None) if owner is None else deliveries.c.owner == owner
    await conn.execute(update(deliveries).where(whose).values(owner=None, claimed_until=None))
