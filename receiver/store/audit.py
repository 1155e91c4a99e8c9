"""The audit stream: what was decided, sent, pressed and put in force, noted in the transaction that did it.

Append-only; `receiver.retention` forgets old lines. Facts are what people are shown anyway, redacted, and never a
secret: a destination is named by its label, as `payments/slack`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import insert, select

from receiver.model import Reason
from receiver.store.codec import dump_json
from receiver.store.engine import NOW, Conn
from receiver.store.schema import audit

MAX_TEXT = 500
MAX_ITEMS = 50


class Kind(StrEnum):
    """What happened."""

    STORY = "story"
    """A revision: opened, changed, closed."""
    ROUTED = "routed"
    """A destination is told of a story, and why."""
    ATTEMPT = "attempt"
    """How a try ended."""
    PARKED = "parked"
    FREED = "freed"
    DEAD = "dead"
    FALLBACK = "fallback"
    PRESS = "press"
    """What a person asked for, and the answer."""
    RETRY = "retry"
    RECEIVED = "received"
    """A webhook of Alertmanager; only while shadow mode is in force, for its report."""
    START = "start"
    STOP = "stop"
    RELOAD = "reload"


@dataclass(frozen=True, slots=True)
class Note:
    """One line that is to be written."""

    kind: Kind
    story: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. `at` is database seconds."""

    id: int
    at: float
    kind: str
    story: str
    facts: Mapping[str, Any]


_INSERT = insert(audit).values(at=NOW)


async def note(conn: Conn, kind: Kind, story: str = "", **facts: Any) -> None:
    """Write a line."""
    await notes(conn, (Note(kind, story, facts),))


async def notes(conn: Conn, lines: Iterable[Note]) -> None:
    """Write lines when the transaction ends, by one statement for all that it notes."""
    conn.add_last(
        _INSERT, [{"kind": one.kind.value, "story": one.story, "text": dump_json(_short(one.facts))} for one in lines]
    )


def routed(story: str, told: Iterable[tuple[str, Iterable[Reason]]]) -> list[Note]:
    """Return a line for each destination that is told of a story, and why."""
    return [
        Note(Kind.ROUTED, story, {"destination": label, "why": [f"{one.route} {one.text}".strip() for one in reasons]})
        for label, reasons in told
    ]


def _short(value: Any) -> Any:
    """Return a fact within bounds; empty ones are left out."""
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if isinstance(value, Mapping):
        return {str(key)[:MAX_TEXT]: _short(one) for key, one in value.items() if one not in (None, "", ())}
    if isinstance(value, Sequence):
        return [_short(one) for one in value[:MAX_ITEMS]]
    return value


async def page(
    conn: Conn, *, within_s: float | None = None, kinds: Sequence[str] = (), after: int = 0, limit: int = 500
) -> list[Entry]:
    """Return lines of the last `within_s` seconds in the order in which they were written, behind the line `after`."""
    query = select(audit).where(audit.c.id > after)
    if within_s is not None:
        query = query.where(audit.c.at >= NOW - within_s)
    if kinds:
        query = query.where(audit.c.kind.in_(kinds))
    rows = await conn.execute(query.order_by(audit.c.id).limit(limit))
    return [Entry(row.id, row.at, row.kind, row.story, json.loads(row.text)) for row in rows]
