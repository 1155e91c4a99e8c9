"""Claims: who works on a delivery, for how long, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import and_, func, or_, select, true, update

from receiver.model import StoryState
from receiver.store.deliveries import COLUMNS, DeliveryRow, to_row
from receiver.store.engine import NOW, Conn
from receiver.store.schema import deliveries, destinations, stories

LEASE_S = 60.0
"""How long a claim holds, by the database's clock."""


def _claimable() -> Any:
    return and_(
        deliveries.c.due.is_not(None),
        deliveries.c.due <= NOW,
        or_(deliveries.c.claimed_until.is_(None), deliveries.c.claimed_until < NOW),
    )


async def busy_destinations(conn: Conn) -> tuple[str, ...]:
    """Return the destinations that have something to do now and are neither parked nor held back."""
    rows = await conn.execute(
        select(deliveries.c.destination)
        .outerjoin(destinations, destinations.c.identity == deliveries.c.destination)
        .where(
            _claimable(),
            or_(destinations.c.identity.is_(None), destinations.c.parked.is_(False)),
            or_(destinations.c.hold_until.is_(None), destinations.c.hold_until <= NOW),
        )
        .distinct()
    )
    return tuple(row.destination for row in rows)


async def next_due(conn: Conn) -> float | None:
    """Return in how many seconds the next unclaimed delivery is due, or None."""
    value = (
        await conn.execute(select(func.min(deliveries.c.due) - NOW).where(deliveries.c.due > NOW))
    ).scalar_one_or_none()
    return None if value is None else float(value)


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
    still_wanted = or_(
        deliveries.c.started.is_(True),
        deliveries.c.story.in_(select(stories.c.id).where(stories.c.state != StoryState.RESOLVED.value)),
    )
    chosen = (
        select(deliveries.c.id)
        .where(deliveries.c.destination == destination, _claimable(), deliveries.c.id.not_in(in_hand))
        .where(still_wanted if probe else true())
        .order_by(deliveries.c.priority, deliveries.c.waiting_since, deliveries.c.id)
        .limit(limit)
    )
    rows = await conn.execute(
        update(deliveries)
        .where(deliveries.c.id.in_(chosen))
        .values(owner=owner, claimed_until=NOW + LEASE_S, fence=deliveries.c.fence + 1)
        .returning(*COLUMNS)
    )
    return sorted((to_row(row) for row in rows), key=lambda row: (row.priority, row.waiting_since or 0.0, row.id))


async def release(conn: Conn, row: DeliveryRow, values: Mapping[str, Any]) -> bool:
    """Give a claim back with what came of it; False when it was no longer ours and nothing was written."""
    result = await conn.execute(
        update(deliveries)
        .where(deliveries.c.id == row.id, deliveries.c.fence == row.fence)
        .values(owner=None, claimed_until=None, **values)
    )
    return result.rowcount == 1


async def free_claims(conn: Conn) -> None:
    """Free every claim: at start, when the lock says that nobody else works on this database.

    A try that was begun keeps its mark: its outcome is unknown.
    """
    await conn.execute(update(deliveries).where(deliveries.c.owner.is_not(None)).values(owner=None, claimed_until=None))
