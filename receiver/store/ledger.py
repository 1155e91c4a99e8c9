"""The ledger of deliveries as people look through it: chosen by what stands beside each line, newest first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import ColumnElement, and_, func, or_, select

from receiver.store.attempts import Attempt
from receiver.store.deliveries import COLUMNS, DeliveryRow, to_row
from receiver.store.engine import Conn
from receiver.store.filters import Filter, conditions
from receiver.store.listing import SHOWN_STATE, Cursor
from receiver.store.needing import NEEDING, STATES
from receiver.store.owners import Owner
from receiver.store.retrying import PICKED, STUCK, STUCK_NOW, Pick
from receiver.store.schema import attempts, deliveries, stories

MOST_TRIES: Final = 2_000
"""Tries that are read for one page, the newest ones."""
TRIES_OF_ONE: Final = 20

Sees = frozenset[Owner] | None
d = deliveries.c
_NEEDING: Final = frozenset(one.value for one in STATES)
_NEWEST_FIRST: Final = (d.created.desc(), d.id.desc())


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which deliveries: whatever is not empty must fit."""

    states: tuple[str, ...] = ()
    """As `listing.shown_state` says."""
    receiver: str = ""
    destination: str = ""
    """Its name (payments/slack) or its identity (slack:…)."""
    kind: str = ""
    story: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A delivery with what people want to know beside it."""

    row: DeliveryRow
    title: str
    """Of its story."""
    tries: tuple[Attempt, ...]
    """The newest TRIES_OF_ONE, oldest first."""
    tried: int
    """How many there were."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some lines, newest first, and behind which place the next ones begin; None: there are no more."""

    lines: tuple[Line, ...]
    next: Cursor | None


async def page(conn: Conn, wanted: Wanted, before: Cursor | None, limit: int, *, sees: Sees = None) -> Page:
    """Return a page. `sees` are the owners of whose stories they may be; None: all."""
    query = select(*COLUMNS).where(*_conditions(wanted, sees))
    if before is not None:
        at, seen = before
        query = query.where(or_(d.created < at, and_(d.created == at, d.id < seen)))
    found = [to_row(row) for row in await conn.execute(query.order_by(*_NEWEST_FIRST).limit(limit + 1))]
    rows = found[:limit]
    tries, tried = await _tries(conn, [row.id for row in rows])
    titles = await _titles(conn, [row.story for row in rows])
    lines = tuple(Line(row, titles.get(row.story, ""), tries.get(row.id, ()), tried.get(row.id, 0)) for row in rows)
    return Page(lines, (rows[-1].created, rows[-1].id) if len(found) > limit else None)


async def counts(conn: Conn, wanted: Wanted, *, sees: Sees = None) -> Mapping[str, int]:
    """Return how many there are in each state, whatever states are wanted."""
    query = select(SHOWN_STATE.label("shown"), func.count().label("number")).select_from(deliveries)
    query = query.where(*_conditions(replace(wanted, states=()), sees)).group_by(SHOWN_STATE)
    return {row.shown: row.number for row in await conn.execute(query)}


async def stuck(conn: Conn, wanted: Wanted) -> list[Pick]:
    """Return those of them that another try may help, newest first."""
    narrowed = replace(wanted, states=retryable(wanted.states))
    if not narrowed.states:
        return []
    query = select(*PICKED).where(STUCK_NOW, *_conditions(narrowed, None)).order_by(*_NEWEST_FIRST)
    return [Pick(row.id, row.label) for row in await conn.execute(query)]


def retryable(states: Sequence[str]) -> tuple[str, ...]:
    """Return those of some states in which another try may help; of none at all: every such state."""
    every = tuple(one.value for one in STUCK)
    return tuple(one for one in every if one in states) if states else every


def _conditions(wanted: Wanted, sees: Sees) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.states:
        found.append(SHOWN_STATE.in_(wanted.states))
        if _NEEDING.issuperset(wanted.states):
            found.append(NEEDING)  # says nothing new, but there is an index of it
    if wanted.destination:
        found.append(or_(d.label == wanted.destination, d.destination == wanted.destination))
    for column, value in ((d.receiver, wanted.receiver), (d.kind, wanted.kind), (d.story, wanted.story)):
        if value:
            found.append(column == value)
    if sees is not None:
        found.append(d.story.in_(select(stories.c.id).where(*conditions(Filter(sees=sees)))))
    return found


async def _titles(conn: Conn, ids: Sequence[str]) -> dict[str, str]:
    rows = await conn.execute(select(stories.c.id, stories.c.title).where(stories.c.id.in_(set(ids))))
    return {row.id: row.title for row in rows}


async def _tries(conn: Conn, ids: Sequence[str]) -> tuple[dict[str, tuple[Attempt, ...]], dict[str, int]]:
    """Return the newest tries of deliveries, and how many each had."""
    if not ids:
        return {}, {}
    a = attempts.c
    counted = select(a.delivery, func.count().label("number")).where(a.delivery.in_(ids)).group_by(a.delivery)
    numbers = {row.delivery: row.number for row in await conn.execute(counted)}
    newest = select(attempts).where(a.delivery.in_(ids)).order_by(a.id.desc()).limit(MOST_TRIES)
    found: dict[str, list[Attempt]] = defaultdict(list)
    for one in await conn.execute(newest):
        if len(found[one.delivery]) < TRIES_OF_ONE:
            tried = Attempt(one.part, one.op, one.started, one.ended, one.outcome, one.status, one.error)
            found[one.delivery].insert(0, tried)
    return {delivery: tuple(some) for delivery, some in found.items()}, numbers
