"""Whole stories, many at once: the number of queries does not grow with the number of stories."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Row, Select, bindparam, select

from receiver.model import (
    Change,
    DeliveryState,
    Digest,
    Entry,
    Outcome,
    Story,
    StoryAlert,
    StoryState,
    TimelineEntry,
    Told,
)
from receiver.store.codec import ACK, ALERT, DIGEST, EVIDENCE, IDENTITY, load, load_or_none, moment, moment_or_none
from receiver.store.deliveries import COLUMNS, DeliveryRow, to_row
from receiver.store.engine import NOW, Conn
from receiver.store.links import link_of
from receiver.store.schema import alerts, deliveries, digests, entries, revisions, stories

_IDS: BindParameter[list[str]] = bindparam("ids", expanding=True)
_STORIES = select(stories).where(stories.c.id.in_(_IDS))
_ALERTS = select(alerts).where(alerts.c.story.in_(_IDS)).order_by(alerts.c.seq)
_REVISIONS = select(revisions).where(revisions.c.story.in_(_IDS)).order_by(revisions.c.revision)
_DELIVERIES = (
    select(*COLUMNS).where(deliveries.c.story.in_(_IDS)).order_by(deliveries.c.created, deliveries.c.id)
)  # fmt: skip
_ENTRIES = select(entries).where(entries.c.delivery.in_(_IDS)).order_by(entries.c.revision)
_DIGESTS = select(digests.c.id, digests.c.numbers).where(digests.c.id.in_(_IDS))
_STORY_OF = select(deliveries.c.story).where(deliveries.c.id.in_(_IDS))
_NOW = select(NOW)


@dataclass(frozen=True, slots=True)
class Whole:
    """A story with its deliveries, in the order in which they were made."""

    story: Story
    deliveries: tuple[DeliveryRow, ...]


@dataclass(frozen=True, slots=True)
class Context:
    """All that is needed to bring one delivery up to date, of one snapshot."""

    row: DeliveryRow
    story: Story
    entries: tuple[Entry, ...]
    """Those still to be sent."""
    now: float
    """The database's clock."""


async def wholes(conn: Conn, ids: Iterable[str]) -> dict[str, Whole]:
    """Return stories by id; one that is gone is left out."""
    rows = (await conn.execute(_STORIES, {"ids": list(ids)})).all()
    return {one.story.id: one for one in await of_rows(conn, rows)}


async def whole(conn: Conn, story: str) -> Whole | None:
    """Return one story, or None."""
    return (await wholes(conn, [story])).get(story)


async def of_rows(conn: Conn, rows: Sequence[Row[Any]]) -> list[Whole]:
    """Return the stories of some rows of their table, in the same order."""
    ids = [row.id for row in rows]
    heard = await _by(conn, _ALERTS, ids, "story")
    timeline = await _by(conn, _REVISIONS, ids, "story")
    told = await _by(conn, _DELIVERIES, ids, "story")
    storms = await _digests(conn, [row.id for row in rows if row.kind == "digest"])
    found: list[Whole] = []
    for row in rows:
        shows = tuple(to_row(one) for one in told[row.id])
        found.append(Whole(_story(row, heard[row.id], timeline[row.id], shows, storms.get(row.id)), shows))
    return found


async def contexts(conn: Conn, claimed: Sequence[DeliveryRow]) -> list[Context | None]:
    """Return what each claimed delivery is to show now; None where the claim or the story is gone."""
    ids = [row.id for row in claimed]
    # Asked anew: a merge may have moved a delivery to another story since it was claimed.
    of = (await conn.execute(_STORY_OF, {"ids": ids})).scalars()
    known = await wholes(conn, set(of))
    current = {row.id: (row, whole.story) for whole in known.values() for row in whole.deliveries}
    waiting = await _by(conn, _ENTRIES, ids, "delivery")
    now = float((await conn.execute(_NOW)).scalar_one())
    found: list[Context | None] = []
    for one in claimed:
        row, story = current.get(one.id, (None, None))
        if row is None or story is None or row.fence != one.fence:
            found.append(None)
        else:
            found.append(Context(row, story, _pending(waiting[one.id]), now))
    return found


def _pending(rows: Sequence[Row[Any]]) -> tuple[Entry, ...]:
    """Return the entries still to be sent, each with what was folded into it."""
    found: list[Entry] = []
    folded: list[str] = []
    for row in rows:
        if row.state == "folded":
            folded.append(row.text)
            continue
        if row.state == "pending":
            at = moment(row.at)
            found.append(Entry(row.key, Change(row.change), at, row.text, row.revision, tuple(folded), row.plain))
        folded = []
    return tuple(found)


async def _by(conn: Conn, query: Select[Any], ids: Sequence[str], column: str) -> Mapping[str, list[Row[Any]]]:
    found: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in await conn.execute(query, {"ids": ids}):
        found[getattr(row, column)].append(row)
    return found


async def _digests(conn: Conn, ids: Sequence[str]) -> Mapping[str, Digest]:
    if not ids:
        return {}
    rows = await conn.execute(_DIGESTS, {"ids": list(ids)})
    return {row.id: load(DIGEST, row.numbers) for row in rows if row.numbers}


def _story(
    row: Row[Any],
    heard: Sequence[Row[Any]],
    timeline: Sequence[Row[Any]],
    shows: Sequence[DeliveryRow],
    digest: Digest | None,
) -> Story:
    return Story(
        id=row.id,
        subject=row.subject,
        kind=row.kind,
        state=StoryState(row.state),
        revision=row.revision,
        severity=row.severity,
        title=row.title,
        opened=moment(row.opened),
        updated=moment(row.updated),
        outcome=Outcome(row.outcome) if row.outcome else None,
        closed=moment_or_none(row.closed),
        identity=load_or_none(IDENTITY, row.identity),
        evidence=load_or_none(EVIDENCE, row.evidence),
        alerts=tuple(StoryAlert(load(ALERT, one.payload), one.role, one.seq, one.source) for one in heard),
        timeline=tuple(
            TimelineEntry(one.revision, moment(one.at), Change(one.change), one.text, one.key) for one in timeline
        ),
        told=tuple(
            Told(one.receiver, one.kind, one.destination, one.state, link_of(one))
            for one in shows
            if not one.moved and not (one.state is DeliveryState.SHADOW and link_of(one) is None)
        ),
        note=row.note,
        run=row.run,
        previous=row.previous,
        continued_in=row.continued_in,
        test=row.test,
        more_evidence_at=moment_or_none(row.gather_due),
        ack=load_or_none(ACK, row.ack),
        digest=digest,
    )
