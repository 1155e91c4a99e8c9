"""The story list: light rows, their sums, and what changed lately. Reads columns; labels and facts only for matchers.

Every call is bounded: a page by its limit, what must be judged one by one by MOST_JUDGED, sums by MOST_COUNTED.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from sqlalchemy import BindParameter, Column, ColumnElement, and_, bindparam, func, or_, select
from sqlalchemy import Row as DatabaseRow

from receiver.model import DeliveryState
from receiver.store import digests
from receiver.store.codec import ALERT, load
from receiver.store.engine import Conn
from receiver.store.filters import IS_OPEN, OPEN, Filter, conditions, is_cut, matches
from receiver.store.schema import alerts, deliveries, stories

Cursor = tuple[float, str]
"""When the last row already seen was opened, and its id."""
MOST_JUDGED: Final = 2_000
"""Stories whose labels are read for one page."""
JUDGED_AT_ONCE: Final = 250
MOST_COUNTED: Final = 5_000

c = stories.c
_LIGHT: Final = (
    c.id, c.title, c.kind, c.state, c.outcome, c.impact, c.severity, c.namespace, c.cluster, c.cause, c.cause_text,
    c.failed, c.total, c.opened, c.updated, c.closed, c.revision, c.ack, c.subject,
)  # fmt: skip
_AS_THEY_ARE: Final = 17
"""So many of them are the first fields of a `Row`, in this order."""
_TO_COUNT: Final = (c.id, c.opened, c.state, c.cause, c.namespace, c.impact)
_TO_JUDGE: Final = (c.state, c.impact, c.severity, c.namespace, c.cluster, c.cause, c.identity)
_SHOWN: Final = or_(c.kind != digests.KIND, IS_OPEN)
"""What stands for a storm is worth a line as long as the storm goes on: each of its stories has a line of its own."""
_FAILURE: Final = c.kind != digests.KIND

_WORDS: Final = ("told", "would be told", "telling", "muted", "not told", "")
"""The best first; of who had nothing to hear nothing is said."""
_SAID: Final[Mapping[str, str]] = {
    DeliveryState.DELIVERED.value: "told",
    DeliveryState.DIGEST.value: "told",
    DeliveryState.SHADOW.value: "would be told",
    DeliveryState.MUTED.value: "muted",
    DeliveryState.PARKED.value: "not told",
    DeliveryState.DEAD.value: "not told",
    DeliveryState.SKIPPED.value: "",
}
_IDS: BindParameter[list[str]] = bindparam("ids", expanding=True)
_RECEIVERS = (
    select(deliveries.c.story, deliveries.c.receiver, deliveries.c.state, deliveries.c.delivered)
    .where(deliveries.c.story.in_(_IDS), deliveries.c.moved == "")
    .order_by(deliveries.c.created, deliveries.c.id)
)
_LAST = (
    select(alerts.c.story, func.max(alerts.c.seq).label("seq"))
    .where(alerts.c.story.in_(_IDS), alerts.c.role == "failure")
    .group_by(alerts.c.story)
    .subquery()
)
_SPEAKING = select(alerts.c.story, alerts.c.payload).join(
    _LAST, and_(alerts.c.story == _LAST.c.story, alerts.c.seq == _LAST.c.seq)
)


class Row(NamedTuple):
    """A line of the story list. Times are database seconds.

    A tuple, since making fifty frozen dataclasses of this size takes longer than reading them.
    """

    id: str
    title: str
    kind: str
    state: str
    outcome: str | None
    impact: str
    severity: str
    namespace: str
    cluster: str
    cause: str
    cause_text: str
    failed: int
    total: int
    opened: float
    updated: float
    closed: float | None
    revision: int
    ack_by: str
    """Who took it; empty: nobody."""
    receivers: tuple[str, ...]
    """Who is told, in the order in which that was decided."""
    subject: str
    hear: tuple[tuple[str, str], ...]
    """How they hear of it, a word of `_WORDS`, and who they are. "telling": it is on its way."""


@dataclass(frozen=True, slots=True)
class Overview:
    """A page of the list, newest first."""

    rows: tuple[Row, ...]
    next: Cursor | None
    """Behind this the next page begins; None: there is none."""
    scanned_all: bool = True
    """False: only so many stories were looked at. There may be more behind `next`, even where this page is empty, and
    more that hold the words than are looked at: those are not behind it."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Sums over open stories, the largest first; a storm's own line is none of them."""

    by_state: Mapping[str, int]
    by_cause: Mapping[str, int]
    by_namespace: Mapping[str, int]
    by_impact: Mapping[str, int]
    counted: int
    capped: bool
    """There are more: these are the newest ones."""


async def overview(conn: Conn, wanted: Filter, before: Cursor | None = None, limit: int = 50) -> Overview:
    """Return a page of the list: open storms and stories, newest first."""
    rows, following, whole = await _chosen(conn, wanted, _LIGHT, _SHOWN, before, limit)
    return Overview(await _light(conn, rows), following, whole)


async def ids(conn: Conn, wanted: Filter, before: Cursor | None, limit: int) -> tuple[list[str], Cursor | None]:
    """Return the ids of a page of failures (no storms), newest first, and where the next page begins."""
    rows, following, _ = await _chosen(conn, wanted, (c.id, c.opened), _FAILURE, before, limit)
    return [row.id for row in rows], following


async def counts(conn: Conn, wanted: Filter) -> Counts:
    """Return sums over the newest open stories that are wanted; of `states` only open ones count."""
    states = tuple(one for one in wanted.states if one in OPEN)
    open_ones = replace(wanted, states=states or OPEN)
    if wanted.matchers:
        rows, following, whole = await _chosen(conn, open_ones, _TO_COUNT, _FAILURE, None, MOST_COUNTED)
        return _sums(
            [(row.state, row.cause, row.namespace, row.impact, 1) for row in rows],
            capped=following is not None or not whole,
        )
    newest = select(*_TO_COUNT).where(_FAILURE, *conditions(open_ones)).order_by(c.opened.desc(), c.id.desc())
    # One more than is counted says whether there are more; it is the last, so it is one too many in any case.
    of = newest.limit(MOST_COUNTED + 1).subquery().c
    alike = (of.state, of.cause, of.namespace, of.impact)
    found = [
        tuple(row) for row in await conn.execute(select(*alike, func.count(), func.min(of.opened)).group_by(*alike))
    ]
    capped = sum(row[4] for row in found) > MOST_COUNTED
    if capped:
        last = min(range(len(found)), key=lambda at: found[at][5])
        found[last] = (*found[last][:4], found[last][4] - 1)
    return _sums([row[:5] for row in found], capped=capped or await is_cut(conn, open_ones))


def _sums(alike: Sequence[tuple[Any, ...]], *, capped: bool) -> Counts:
    """Return the sums of stories alike: state, cause, namespace, impact, and how many."""
    sums: tuple[Counter[str], ...] = (Counter(), Counter(), Counter(), Counter())
    for one in alike:
        if one[4]:
            for counter, value in zip(sums, one[:4], strict=True):
                counter[value] += one[4]
    # The largest first: whoever shows only some of them shows those that matter.
    state, cause, namespace, impact = (dict(sorted(one.items(), key=lambda it: (-it[1], it[0]))) for one in sums)
    return Counts(state, cause, namespace, impact, counted=sum(state.values()), capped=capped)


async def changed_since(
    conn: Conn, at: float, *, sees: frozenset[tuple[str, str]] | None = None, after: str = "", limit: int = 200
) -> tuple[Row, ...]:
    """Return what changed at this moment (behind the id `after`) or later, in the order of its change.

    A storm that is over is told, too: its line is to go. A change is seen once its transaction is over, a little later
    than it says: ask again from a few seconds before.
    """
    query = select(*_LIGHT).where(c.updated >= at, *conditions(Filter(sees=sees)))
    if after:
        query = query.where(or_(c.updated > at, c.id > after))
    return await _light(conn, (await conn.execute(query.order_by(c.updated, c.id).limit(limit))).all())


async def members(
    conn: Conn, digest: str, limit: int = 200, *, sees: frozenset[tuple[str, str]] | None = None
) -> tuple[Row, ...]:
    """Return the stories that a storm's message stands for, the newest first."""
    told = select(deliveries.c.story).where(deliveries.c.digest == digest, deliveries.c.digest != "")
    query = select(*_LIGHT).where(c.id.in_(told), *conditions(Filter(sees=sees)))
    return await _light(conn, (await conn.execute(query.order_by(c.opened.desc(), c.id.desc()).limit(limit))).all())


async def _light(conn: Conn, rows: Sequence[DatabaseRow[Any]]) -> tuple[Row, ...]:
    told = await _receivers(conn, [row.id for row in rows])
    made = []
    for row in rows:
        found = told.get(row.id, {})
        made.append(Row._make((*row[:_AS_THEY_ARE], _taker(row.ack), tuple(found), row.subject, _hear(found))))
    return tuple(made)


def _hear(found: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    by_word: dict[str, list[str]] = defaultdict(list)
    for name, word in found.items():
        by_word[word].append(name)
    return tuple((word, ", ".join(by_word[word])) for word in _WORDS if word and word in by_word)


def _taker(ack: str | None) -> str:
    return str(json.loads(ack)["by"]) if ack else ""


async def _receivers(conn: Conn, of: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return who is told, by story, with the best word of `_WORDS` that holds for any of their destinations."""
    if not of:
        return {}
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for one in await conn.execute(_RECEIVERS, {"ids": list(of)}):
        heard = one.delivered and one.state != DeliveryState.SHADOW.value
        word = "told" if heard else _SAID.get(one.state, "telling")
        found[one.story][one.receiver] = min(found[one.story].get(one.receiver, word), word, key=_WORDS.index)
    return found


async def _chosen(
    conn: Conn,
    wanted: Filter,
    columns: Sequence[Column[Any]],
    kind: ColumnElement[bool],
    before: Cursor | None,
    limit: int,
) -> tuple[list[DatabaseRow[Any]], Cursor | None, bool]:
    """Return rows, where the next ones begin, and whether all that there is was judged or stands behind that."""
    judged = bool(wanted.matchers)
    more = tuple(one for one in _TO_JUDGE if one not in set(columns)) if judged else ()
    query = select(*columns, *more).where(kind, *conditions(wanted)).order_by(c.opened.desc(), c.id.desc())
    if not judged:
        rows = list((await conn.execute(_behind(query, before).limit(limit + 1))).all())
        if len(rows) > limit:
            return rows[:limit], _place(rows[limit - 1]), True
        return rows, None, not await is_cut(conn, wanted)
    found: list[DatabaseRow[Any]] = []
    left = MOST_JUDGED
    while left > 0:
        step = min(left, JUDGED_AT_ONCE)
        rows = list((await conn.execute(_behind(query, before).limit(step))).all())
        for row, holds in zip(rows, await _judge(conn, wanted, rows), strict=True):
            if holds and len(found) == limit:
                return found, _place(found[-1]), True
            if holds:
                found.append(row)
        if len(rows) < step:
            return found, None, not await is_cut(conn, wanted)
        before = _place(rows[-1])
        left -= step
    return found, before, False


def _behind(query: Any, before: Cursor | None) -> Any:
    if before is None:
        return query
    at, seen = before
    # The first condition says nothing new, but is one that an index can begin at.
    return query.where(c.opened <= at, or_(c.opened < at, c.id < seen))


def _place(row: DatabaseRow[Any]) -> Cursor:
    return float(row.opened), row.id


async def _judge(conn: Conn, wanted: Filter, rows: Sequence[DatabaseRow[Any]]) -> list[bool]:
    """Judge stories by the labels of their newest failing alert, by facts, and by what the list itself shows."""
    if not rows:
        return []
    of = [row.id for row in rows]
    labels = {one.story: load(ALERT, one.payload).labels for one in await conn.execute(_SPEAKING, {"ids": of})}
    told = await _receivers(conn, of) if any(one.name == "receiver" for one in wanted.matchers) else {}
    found: list[bool] = []
    for row in rows:
        values = _values(row, labels.get(row.id, {}), tuple(told.get(row.id, ())))
        found.append(all(matches(one, values) for one in wanted.matchers))
    return found


def _values(
    row: DatabaseRow[Any], labels: Mapping[str, str], receivers: tuple[str, ...]
) -> Mapping[str, tuple[str, ...]]:
    """Return what is known of a story, by name. Facts never stand in for labels; the list's own names stand beside."""
    values: dict[str, tuple[str, ...]] = {name: (value,) for name, value in {**_facts(row.identity), **labels}.items()}
    own: dict[str, tuple[str, ...]] = {
        name: (getattr(row, name),) for name in ("state", "impact", "cause", "cluster", "namespace", "severity")
    }
    own["receiver"] = receivers
    for name, more in own.items():
        values[name] = tuple(one for one in dict.fromkeys((*values.get(name, ()), *more)) if one)
    return values


def _facts(identity: str | None) -> Mapping[str, str]:
    found = json.loads(identity) if identity else {}
    facts = found.get("facts") if isinstance(found, dict) else None
    return {name: str(value) for name, value in facts.items()} if isinstance(facts, dict) else {}
