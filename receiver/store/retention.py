"""What is forgotten, a few rows at a time, so that nobody waits long for it.

Never: a story that is open, or was closed so lately that it may be reopened (with it the receipts of its tickets), or
whose alert an Alertmanager still held lately: it would be told anew, as if it had never been.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, update

from receiver.model import AlertStatus, StoryState
from receiver.store.engine import NOW, Conn
from receiver.store.schema import alerts, audit, deliveries, digests, inbox, presses, search, snapshots, stories
from receiver.store.sizes import ROW_BYTES, bytes_of, searched

ROWS_AT_ONCE = 500
STORIES_AT_ONCE = 20
"""With a story go its alerts, revisions, deliveries, entries and tries."""
STORY_BYTES = 2_000
"""About what these take, all together, where hardly anything happened."""
WORDS_AT_ONCE = 262_144
"""Bytes of the search: to let go of a word costs SQLite as much as to learn it."""

# The function keeps SQLite from going through all closed stories by their state instead of the first ones by time.
_CLOSED = and_(stories.c.closed.is_not(None), func.coalesce(stories.c.state, "") == StoryState.RESOLVED.value)
_WAITS = exists().where(deliveries.c.story == stories.c.id, deliveries.c.due.is_not(None))
"""Somebody is still to be told: how it ended, or what it was."""
_WORDS = func.coalesce(select(searched(search.c.words)).where(search.c.story == stories.c.id).scalar_subquery(), 0)
"""What the search keeps of a story: it goes with its story, and the words of evidence with that."""


@dataclass(frozen=True, slots=True)
class Gone:
    """What a step has removed."""

    rows: int = 0
    bytes: int = 0
    """About."""


async def inbox_entries(conn: Conn, keep_s: float, enough: float = inf) -> Gone:
    """Forget what was worked off so long ago: it may hold what nobody redacted.

    What came after an entry that still waits is kept: it tells whether that one is out of date.
    """
    waits = select(func.min(inbox.c.seq)).where(inbox.c.state == "new").scalar_subquery()
    done = and_(inbox.c.done_at < NOW - keep_s, or_(waits.is_(None), inbox.c.seq < waits))
    return await _delete(conn, inbox.c.seq, inbox.c.payload, done, inbox.c.done_at, enough)


async def presses_older(conn: Conn, keep_s: float) -> Gone:
    """Forget what people asked for so long ago."""
    return await _delete(conn, presses.c.id, presses.c.text, presses.c.at < NOW - keep_s, presses.c.id)


async def audit_older(conn: Conn, keep_s: float) -> Gone:
    """Forget audit lines that are so old."""
    return await _delete(conn, audit.c.id, audit.c.text, audit.c.at < NOW - keep_s, audit.c.at)


async def audit_oldest(conn: Conn, enough: float) -> Gone:
    """Forget the oldest audit lines, until so many bytes are gone."""
    return await _delete(conn, audit.c.id, audit.c.text, audit.c.id.is_not(None), audit.c.id, enough)


async def snapshots_older(conn: Conn, keep_s: float) -> Gone:
    """Forget what migrations looked like so long ago."""
    c = snapshots.c
    return await _delete(conn, c.plan, c.payload, c.taken_at < NOW - keep_s, c.taken_at)


async def snapshots_oldest(conn: Conn, enough: float) -> Gone:
    """Forget what was seen of migrations first, until so many bytes are gone."""
    c = snapshots.c
    return await _delete(conn, c.plan, c.payload + c.marks, c.plan.is_not(None), c.taken_at, enough)


async def evidence_older(conn: Conn, keep_s: float) -> Gone:
    """Forget the evidence of stories that were closed so long ago."""
    return await _empty(conn, stories.c.closed < NOW - keep_s)


async def evidence_oldest(conn: Conn, enough: float, *, with_words: bool = False) -> Gone:
    """Forget the evidence of the stories that were closed first, until so many bytes are gone.

    What is still to be told keeps its evidence. With `with_words` what the search knew of it counts, too.
    """
    return await _empty(conn, ~_WAITS, enough, with_words=with_words)


async def stories_older(conn: Conn, keep_s: float, protect_s: float) -> Gone:
    """Forget stories that were closed so long ago, with all that hangs on them."""
    return await _forget(conn, stories.c.closed < NOW - keep_s, protect_s)


async def stories_oldest(conn: Conn, enough: float, protect_s: float) -> Gone:
    """Forget the stories that were closed first, but none that is still to be told, until so many bytes are gone."""
    return await _forget(conn, ~_WAITS, protect_s, enough)


async def inbox_oldest(conn: Conn, enough: float, keep_s: float) -> Gone:
    """Forget what was worked off first, at least so long ago, until so many bytes are gone."""
    return await inbox_entries(conn, keep_s, enough)


async def _delete(conn: Conn, key: Any, text: Any, which: ColumnElement[bool], order: Any, enough: float = inf) -> Gone:
    found = await conn.execute(select(key, bytes_of(text) + ROW_BYTES).where(which).order_by(order).limit(ROWS_AT_ONCE))
    ids, freed = _first(found.all(), enough)
    if ids:
        await conn.execute(delete(key.table).where(key.in_(ids)))
    return Gone(len(ids), freed)


def _first(rows: Sequence[Any], enough: float, *, with_words: bool = True) -> tuple[list[Any], int]:
    """Return the keys of as many rows as are enough, or one step's, and what they take.

    A row is its key, its size, and perhaps what the search keeps of it.
    """
    ids: list[Any] = []
    freed = found = 0
    for key, size, *words in rows:
        if freed >= enough or found >= WORDS_AT_ONCE:
            break
        ids.append(key)
        found += sum(map(int, words))
        freed += int(size) + (sum(map(int, words)) if with_words else 0)
    return ids, freed


async def _empty(conn: Conn, which: ColumnElement[bool], enough: float = inf, *, with_words: bool = False) -> Gone:
    found = await conn.execute(
        select(stories.c.id, bytes_of(stories.c.evidence), _WORDS)
        .where(_CLOSED, stories.c.evidence.is_not(None), which)
        .order_by(stories.c.closed)
        .limit(STORIES_AT_ONCE)
    )
    ids, freed = _first(found.all(), enough, with_words=with_words)
    if ids:
        # The search forgets all of it at once, and learns again what is left.
        await conn.execute(delete(search).where(search.c.story.in_(ids)))
        await conn.execute(update(stories).where(stories.c.id.in_(ids)).values(evidence=None, indexed=-1))
    return Gone(len(ids), freed)


async def _forget(conn: Conn, which: ColumnElement[bool], protect_s: float, enough: float = inf) -> Gone:
    held = exists().where(
        alerts.c.story == stories.c.id,
        alerts.c.status == AlertStatus.FIRING.value,
        func.coalesce(alerts.c.heard_at, alerts.c.changed_at) >= NOW - protect_s,
    )
    found = await conn.execute(
        select(stories.c.id, bytes_of(stories.c.evidence) + bytes_of(stories.c.identity) + STORY_BYTES, _WORDS)
        .where(_CLOSED, stories.c.closed < NOW - protect_s, ~held, which)
        .order_by(stories.c.closed)
        .limit(STORIES_AT_ONCE)
    )
    ids, freed = _first(found.all(), enough)
    if ids:
        await conn.execute(delete(stories).where(stories.c.id.in_(ids)))
        await conn.execute(delete(digests).where(digests.c.id.in_(ids)))
    return Gone(len(ids), freed)
