"""Shadow mode in the store: what ends with it, and what it would have told."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import BindParameter, Row, Select, bindparam, func, literal_column, select, update

from receiver.model import AttemptOutcome, DeliveryState, StoryState
from receiver.model.shadow import without_shadow
from receiver.store import audit
from receiver.store.audit import Entry
from receiver.store.codec import dump_json
from receiver.store.deliveries import AUDIBLE_CHANGE, NEW_ROOT
from receiver.store.digests import KIND
from receiver.store.engine import NOW, Conn
from receiver.store.schema import alerts, attempts, deliveries, entries, revisions, stories

AT_ONCE = 100
"""Deliveries that one transaction takes out of shadow mode: bounds for how long everybody else waits."""

_IDS: BindParameter[list[str]] = bindparam("ids", expanding=True)
# In words that the index of them knows.
_SHADOW = deliveries.c.state == literal_column(f"'{DeliveryState.SHADOW.value}'")
_NEXT = select(func.min(deliveries.c.destination)).where(_SHADOW, deliveries.c.destination > bindparam("b_after"))
_LEFT = select(deliveries.c.id).where(_SHADOW, deliveries.c.destination == bindparam("b_destination")).limit(AT_ONCE)
_ROOTS = (
    select(
        deliveries.c.id,
        deliveries.c.root,
        deliveries.c.firing,
        deliveries.c.delivered,
        stories.c.state,
        (revisions.c.at > deliveries.c.told_at).label("loud"),
    )
    .join(stories, stories.c.id == deliveries.c.story)
    .outerjoin(revisions, (revisions.c.story == deliveries.c.story) & (revisions.c.revision == deliveries.c.audible))
    .where(deliveries.c.id.in_(_IDS))
)
_FREE = {
    "owner": None,
    "claimed_until": None,
    "fence": deliveries.c.fence + 1,
    "tries": 0,
    "error": "",
    "plain": False,
    "unknown_part": None,
    "unknown_at": None,
    "confirm_at": None,
    "fallen_back": False,
}
_NOTHING = {**_FREE, "delivered": 0, "root": None, "started": False, "told_at": None}
_AGAIN = {"state": DeliveryState.PENDING.value, "due": NOW, "waiting_since": NOW}
_MINE = deliveries.c.id.in_(_IDS)
# It begins now: nothing was late, and it counts for a storm now.
_TELL = update(deliveries).where(_MINE).values(**_NOTHING, **_AGAIN, priority=NEW_ROOT, created=NOW)
_FORGET = (
    update(deliveries)
    .where(_MINE)
    .values(**_NOTHING, state=DeliveryState.SKIPPED.value, due=None, waiting_since=None)
)  # fmt: skip
_GO_ON = (
    update(deliveries)
    .where(deliveries.c.id == bindparam("b_id"))
    .values(**_FREE, **_AGAIN, priority=AUDIBLE_CHANGE, root=bindparam("b_root"), delivered=bindparam("b_delivered"))
)
_WAITING = entries.c.delivery.in_(_IDS) & (entries.c.state == "pending")
_SKIP_ENTRIES = update(entries).where(_WAITING).values(state="skipped")


async def destinations(conn: Conn) -> tuple[str, ...]:
    """Return where something was only written down: a step on the index for each, however much it is."""
    found: list[str] = []
    while (following := (await conn.execute(_NEXT, {"b_after": found[-1] if found else ""})).scalar()) is not None:
        found.append(str(following))
    return tuple(found)


async def left(conn: Conn, destination: str) -> tuple[str, ...]:
    """Return the first deliveries that were only written down at a destination."""
    return tuple((await conn.execute(_LEFT, {"b_destination": destination})).scalars())


async def end(conn: Conn, ids: Sequence[str]) -> int:
    """Forget what was only written down of deliveries; return how many are to be told for real now.

    What fires begins with a first message. What is over stays untold, and begins so, should it fail again. What a real
    message shows that was there before is brought up to date, to its end if that came meanwhile.
    """
    rows = (await conn.execute(_ROOTS, {"ids": list(ids)})).all()
    roots = {row.id: without_shadow(json.loads(row.root)) if row.root else {} for row in rows}
    pure = [row for row in rows if not roots[row.id]]
    real = {delivery: root for delivery, root in roots.items() if root}
    tell = [row.id for row in pure if row.firing and row.state != StoryState.RESOLVED.value]
    forget = [row.id for row in pure if row.id not in set(tell)]
    conn.tell("deliveries")
    for statement, some in ((_TELL, tell), (_FORGET, forget), (_SKIP_ENTRIES, [row.id for row in pure])):
        if some:
            await conn.execute(statement, {"ids": some})
    if real:
        # Only what people were to notice since they were last told is news: what they closed stays closed otherwise.
        shown = {row.id: 0 if row.loud is None or row.loud else row.delivered for row in rows}
        going = [{"b_id": one, "b_root": dump_json(root), "b_delivered": shown[one]} for one, root in real.items()]
        await conn.execute(_GO_ON, going)
    return len(tell) + len(real)


# --- what would have been told ---

MOST_TRIES: Final = 200_000
MOST_WEBHOOKS: Final = 50_000
_PAGE = 2_000
_IN = 500

_TRIES = select(attempts.c.id, attempts.c.delivery, attempts.c.op, attempts.c.outcome, attempts.c.started)
_SHOWN = (
    select(
        deliveries.c.id,
        deliveries.c.story,
        deliveries.c.receiver,
        deliveries.c.label,
        stories.c.title,
        stories.c.kind,
        stories.c.opened,
    )
    .join(stories, stories.c.id == deliveries.c.story)
    .where(deliveries.c.id.in_(_IDS), stories.c.test.is_(False))
)
_MEMBERS = select(deliveries.c.digest, deliveries.c.story).where(deliveries.c.digest.in_(_IDS))
_ALERTS = select(alerts.c.story, alerts.c.fingerprint).where(alerts.c.story.in_(_IDS))


@dataclass(frozen=True, slots=True)
class Tried:
    """What would have been told of one story at one destination. Times are database seconds."""

    delivery: str
    story: str
    receiver: str
    label: str
    title: str
    digest: bool
    """The story stands for a storm."""
    opened: float
    ops: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the report of a time is made of."""

    now: float
    tried: tuple[Tried, ...]
    """Oldest story first."""
    fingerprints: Mapping[str, frozenset[str]]
    """Story → its alerts; of a storm those of its members."""
    webhooks: tuple[Entry, ...]
    cut: bool
    """There is more than one report reads."""


async def seen(conn: Conn, within_s: float) -> Seen:
    """Return what was only written down within so many seconds, and which webhooks came."""
    now = float((await conn.execute(select(NOW))).scalar_one())
    ops, cut = await _ops(conn, now - within_s)
    tried = [
        Tried(row.id, row.story, row.receiver, row.label, row.title, row.kind == KIND, row.opened, ops[row.id])
        for row in await _some(conn, _SHOWN, list(ops))
    ]
    webhooks: list[Entry] = []
    while page := await audit.page(
        conn, within_s=within_s, kinds=[audit.Kind.RECEIVED.value], after=webhooks[-1].id if webhooks else 0
    ):
        webhooks += page
        if len(webhooks) >= MOST_WEBHOOKS:
            cut = True
            break
    of = await _fingerprints(conn, {one.story for one in tried}, {one.story for one in tried if one.digest})
    tried.sort(key=lambda one: (one.opened, one.story, one.label))
    return Seen(now, tuple(tried), of, tuple(webhooks), cut)


async def _ops(conn: Conn, since: float) -> tuple[dict[str, Counter[str]], bool]:
    """Return what was written down by delivery, newest tries first until `since`; and whether there were too many."""
    found: dict[str, Counter[str]] = {}
    last, number = None, 0
    while number < MOST_TRIES:
        query = _TRIES if last is None else _TRIES.where(attempts.c.id < last)
        rows = (await conn.execute(query.order_by(attempts.c.id.desc()).limit(_PAGE))).all()
        for row in rows:
            if row.started >= since and row.outcome == AttemptOutcome.SHADOW.value:
                found.setdefault(row.delivery, Counter())[row.op] += 1
        if len(rows) < _PAGE or rows[-1].started < since:
            return found, False
        last, number = rows[-1].id, number + len(rows)
    return found, True


async def _fingerprints(conn: Conn, ids: Collection[str], storms: Collection[str]) -> dict[str, frozenset[str]]:
    members: dict[str, set[str]] = {one: {one} for one in ids}
    for row in await _some(conn, _MEMBERS, list(storms)):
        members[row.digest].add(row.story)
    wanted = {story for some in members.values() for story in some}
    of: dict[str, set[str]] = {}
    for row in await _some(conn, _ALERTS, list(wanted)):
        of.setdefault(row.story, set()).add(row.fingerprint)
    return {one: frozenset(each for story in some for each in of.get(story, ())) for one, some in members.items()}


async def _some(conn: Conn, query: Select[Any], ids: Sequence[str]) -> list[Row[Any]]:
    found: list[Row[Any]] = []
    for at in range(0, len(ids), _IN):
        found += (await conn.execute(query, {"ids": list(ids[at : at + _IN])})).all()
    return found
