"""What a destination is up to, in words for people: parked, away, left alone, or nothing out of the ordinary."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, or_, select

from receiver.rendering.words import duration
from receiver.store.codec import moment
from receiver.store.engine import NOW, Conn
from receiver.store.manners import BREAK_AFTER
from receiver.store.schema import destinations

_SELECT = select(destinations, NOW.label("now")).where(
    or_(
        destinations.c.parked.is_(True),
        destinations.c.failures >= BREAK_AFTER,
        destinations.c.hold_until > NOW,
    )
)


async def conditions(conn: Conn) -> dict[str, str]:
    """Return identity and sentence of each destination that takes nothing, or little, now."""
    return {row.identity: _words(row) for row in await conn.execute(_SELECT)}


def _words(row: Row[Any]) -> str:
    if row.parked:
        return f"parked since {_at(row.since)}: {row.reason}; asked again {_in(row.probe_at, row.now)}"
    if row.failures >= BREAK_AFTER:
        since = _at(row.away_since or row.now)
        return f"away since {since}: {row.reason}; one try at a time, the next {_in(row.hold_until, row.now)}"
    if row.tokens is not None and row.tokens < 1.0:
        return f"at its rate limit; the next request {_in(row.hold_until, row.now)}"
    return f"asked to be left alone; the next request {_in(row.hold_until, row.now)}"


def _at(seconds: float) -> str:
    return f"{moment(seconds):%Y-%m-%d %H:%M:%S} UTC"


def _in(then: float | None, now: float) -> str:
    left = (then or now) - now
    return f"in {duration(left)}" if left >= 1.0 else "now"
