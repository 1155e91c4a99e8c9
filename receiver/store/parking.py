"""Parked destinations: who refuses everything, until when they rest, and how they come back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, func, insert, literal_column, or_, select, union_all, update

from receiver.model import DeliveryState, StoryState
from receiver.store import audit
from receiver.store.audit import Kind
from receiver.store.engine import NOW, Conn
from receiver.store.schema import deliveries, destinations, stories

GONE = "its destination left the configuration"
FALLBACKS_AT_ONCE = 20
"""A round of fallbacks must not hold up what else is due."""


async def _put(conn: Conn, destination: str, values: Mapping[str, Any]) -> None:
    where = destinations.c.identity == destination
    if (await conn.execute(update(destinations).where(where).values(**values))).rowcount == 0:
        await conn.execute(insert(destinations).values(identity=destination, **values))


async def park(conn: Conn, destination: str, reason: str, probe_in_s: float, secret_mark: str) -> None:
    """Park a destination that refuses everything."""
    since = (
        await conn.execute(
            select(destinations.c.since).where(destinations.c.identity == destination, destinations.c.parked.is_(True))
        )
    ).scalar_one_or_none()
    await _put(
        conn,
        destination,
        {
            "parked": True,
            "reason": reason,
            "since": NOW if since is None else since,
            "probe_at": NOW + probe_in_s,
            "secret_mark": secret_mark,
        },
    )
    if since is None:
        await audit.note(conn, Kind.PARKED, destination=destination, why=reason)
    await mark(conn)


async def mark(conn: Conn) -> None:
    """Let everything that waits for a parked destination say so."""
    parked_now = select(destinations.c.identity).where(destinations.c.parked.is_(True))
    await conn.execute(
        update(deliveries)
        .where(
            deliveries.c.destination.in_(parked_now),
            deliveries.c.due.is_not(None),
            deliveries.c.state.not_in(
                (DeliveryState.PARKED.value, DeliveryState.DELIVERED.value, DeliveryState.MUTED.value)
            ),
        )
        .values(state=DeliveryState.PARKED.value)
    )


async def hold(conn: Conn, destination: str, seconds: float) -> None:
    """Leave a destination alone that asked for it (429). The longest that it asked for counts."""
    longer = (
        select(destinations.c.identity)
        .where(destinations.c.identity == destination, destinations.c.hold_until > NOW + seconds)
        .limit(1)
    )
    if (await conn.execute(longer)).first() is None:
        await _put(conn, destination, {"hold_until": NOW + seconds, "asked_s": seconds})


@dataclass(frozen=True, slots=True)
class Parked:
    """A parked destination."""

    identity: str
    reason: str
    since: float
    probe_due: bool
    secret_mark: str


async def parked(conn: Conn) -> tuple[Parked, ...]:
    """Return all parked destinations."""
    rows = await conn.execute(
        select(destinations, (destinations.c.probe_at <= NOW).label("probe_due")).where(destinations.c.parked.is_(True))
    )
    return tuple(Parked(row.identity, row.reason, row.since, bool(row.probe_due), row.secret_mark) for row in rows)


async def probed(conn: Conn, destination: str, again_in_s: float) -> None:
    """Set the time of the next probe."""
    await conn.execute(
        update(destinations).where(destinations.c.identity == destination).values(probe_at=NOW + again_in_s)
    )


async def unpark(conn: Conn, destination: str) -> None:
    """Free a destination: open stories are told in their current form, closed ones that it never showed are skipped."""
    await audit.note(conn, Kind.FREED, destination=destination)
    open_stories = select(stories.c.id).where(stories.c.state != StoryState.RESOLVED.value)
    await conn.execute(
        update(destinations)
        .where(destinations.c.identity == destination)
        .values(
            parked=False,
            reason="",
            probe_at=None,
            away_since=func.coalesce(destinations.c.away_since, destinations.c.since),
        )
    )
    waiting = and_(deliveries.c.destination == destination, deliveries.c.state == DeliveryState.PARKED.value)
    await conn.execute(
        update(deliveries)
        .where(waiting, deliveries.c.started.is_(False), deliveries.c.story.not_in(open_stories))
        .values(state=DeliveryState.SKIPPED.value, due=None)
    )
    await conn.execute(
        update(deliveries).where(waiting).values(state=DeliveryState.PENDING.value, due=NOW, tries=0, error="")
    )


async def told_at(conn: Conn, prefix: str) -> tuple[str, ...]:
    """Return the identities beginning so that anything was ever to be told at."""
    names = select(deliveries.c.destination).where(deliveries.c.destination.startswith(prefix, autoescape=True))
    return tuple((await conn.execute(names.distinct())).scalars())


async def left(conn: Conn, known: Collection[str]) -> int:
    """Put aside what waits for destinations that are no longer configured; return how many."""
    gone = update(deliveries).where(deliveries.c.due.is_not(None), deliveries.c.destination.not_in(known))
    put = await conn.execute(gone.values(state=DeliveryState.PARKED.value, due=None, error=GONE))
    return put.rowcount


async def returned(conn: Conn, known: Collection[str]) -> None:
    """Go on with what was put aside for destinations that are configured again."""
    rows = await conn.execute(
        select(deliveries.c.destination)
        .where(deliveries.c.state == DeliveryState.PARKED.value, deliveries.c.error == GONE)
        .where(deliveries.c.destination.in_(known))
        .distinct()
    )
    for row in rows.all():
        await unpark(conn, row.destination)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A delivery whose story somebody else has to be told."""

    id: str
    story: str
    why: str


async def in_need_of_fallback(conn: Conn, fallback_after_s: float, but: Collection[str] = ()) -> tuple[Waiting, ...]:
    """Return deliveries of parked destinations, and roots and audible changes that have waited too long.

    `but` are destinations at which nobody is to be told anything.
    """
    # Each half by its own index: this is asked all the time, and nearly all deliveries are neither.
    dead = select(deliveries.c.id).where(deliveries.c.state == literal_column(f"'{DeliveryState.DEAD.value}'"))
    begun = select(deliveries.c.id).where(deliveries.c.due.is_not(None))
    rows = await conn.execute(
        select(deliveries.c.id, deliveries.c.story, deliveries.c.error, destinations.c.parked, destinations.c.reason)
        .outerjoin(destinations, destinations.c.identity == deliveries.c.destination)
        .join(stories, stories.c.id == deliveries.c.story)
        .where(
            deliveries.c.id.in_(union_all(dead, begun)),
            deliveries.c.fallen_back.is_(False),
            deliveries.c.fallback_for == "",
            deliveries.c.destination.not_in(but),
            stories.c.test.is_(False),  # whoever sent it sees what becomes of it
            or_(
                deliveries.c.state == DeliveryState.DEAD.value,
                and_(
                    deliveries.c.due.is_not(None),
                    deliveries.c.state.not_in((DeliveryState.MUTED.value, DeliveryState.DELIVERED.value)),
                    or_(deliveries.c.started.is_(True), stories.c.state != StoryState.RESOLVED.value),
                    or_(
                        destinations.c.parked.is_(True),
                        and_(deliveries.c.priority < 2, deliveries.c.waiting_since < NOW - fallback_after_s),
                    ),
                ),
            ),
        )
        .limit(FALLBACKS_AT_ONCE)
    )
    return tuple(
        Waiting(row.id, row.story, row.reason if row.parked else row.error or row.reason or "waits without an answer")
        for row in rows
    )


async def fell_back(conn: Conn, delivery: str) -> bool:
    """Note that the fallback knows; False where that was noted before, perhaps by another replica."""
    noted = update(deliveries).where(deliveries.c.id == delivery, deliveries.c.fallen_back.is_(False))
    return (await conn.execute(noted.values(fallen_back=True))).rowcount == 1
