"""What people asked for: every press, also a refused one, and the silences that came of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, insert, select, update

from receiver.model import StoryState
from receiver.store import audit
from receiver.store.audit import Kind
from receiver.store.engine import NOW, Conn
from receiver.store.schema import presses, silences, stories

MAX_TEXT = 500


@dataclass(frozen=True, slots=True)
class Press:
    """One press. Times are database seconds."""

    at: float
    story: str
    action: str
    """acknowledge, silence, move, and what PagerDuty says: unacknowledge, close."""
    by: str
    via: str
    done: bool
    text: str
    """What the person was answered."""


@dataclass(frozen=True, slots=True)
class Silence:
    """A silence at an Alertmanager that was made for a story. Times are database seconds."""

    id: str
    alertmanager: str
    story: str
    until: float
    by: str
    warned: bool


async def record(conn: Conn, story: str, action: str, by: str, via: str, *, done: bool, text: str) -> None:
    """Append a press."""
    values = {"story": story, "action": action, "by": by, "via": via, "done": done, "text": text[:MAX_TEXT]}
    await conn.execute(insert(presses).values(at=NOW, **values))
    await audit.note(conn, Kind.PRESS, story, action=action, by=by, via=via, done=done, answer=text)


async def of_story(conn: Conn, story: str) -> tuple[Press, ...]:
    """Return what people asked of a story, oldest first."""
    rows = await conn.execute(select(presses).where(presses.c.story == story).order_by(presses.c.id))
    return tuple(Press(row.at, row.story, row.action, row.by, row.via, row.done, row.text) for row in rows)


async def add_silences(conn: Conn, made: Sequence[Silence]) -> None:
    """Keep silences that Alertmanager has taken."""
    await conn.execute(insert(silences), [{name: getattr(one, name) for name in _FIELDS} for one in made])


_FIELDS = tuple(Silence.__dataclass_fields__)


async def silenced_until(conn: Conn, story: str) -> tuple[float, str] | None:
    """Return until when a story is silenced and by whom; None where it is not."""
    row = (
        await conn.execute(
            select(silences.c.until, silences.c.by)
            .where(silences.c.story == story, silences.c.until > NOW)
            .order_by(silences.c.until.desc())
            .limit(1)
        )
    ).one_or_none()
    return (row.until, row.by) if row else None


async def ending(conn: Conn, within_s: float) -> tuple[Silence, ...]:
    """Return silences of open stories that end within so many seconds and were not told of, the last of each story."""
    last = select(silences.c.story, func.max(silences.c.until).label("until")).group_by(silences.c.story).subquery()
    rows = await conn.execute(
        select(silences)
        .join(last, (last.c.story == silences.c.story) & (last.c.until == silences.c.until))
        .join(stories, stories.c.id == silences.c.story)
        .where(
            silences.c.warned.is_(False),
            silences.c.until <= NOW + within_s,
            silences.c.until > NOW,
            stories.c.state != StoryState.RESOLVED.value,
        )
        .order_by(silences.c.until)
    )
    return tuple(Silence(**{name: getattr(row, name) for name in _FIELDS}) for row in rows)


async def warned(conn: Conn, story: str, within_s: float) -> bool:
    """Note that people know that a story's silences end; False where they knew already."""
    result = await conn.execute(
        update(silences)
        .where(silences.c.story == story, silences.c.warned.is_(False), silences.c.until <= NOW + within_s)
        .values(warned=True)
    )
    return bool(result.rowcount)
