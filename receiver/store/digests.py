"""Digests: which deliveries a storm's one message stands for, and what it was last seen to consist of.

A digest is a story of its own (`kind` is digest) with one delivery, so that everything else about deliveries holds for
it, too. Its members are deliveries in state `digest` that carry its id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Boolean, Text, and_, bindparam, func, insert, literal_column, or_, select, update
from sqlalchemy import Float as Real

from receiver.model import DeliveryState, Digest, StoryState
from receiver.store.codec import DIGEST, dump, load_or_none
from receiver.store.deliveries import COLUMNS, NEW_ROOT, DeliveryRow, to_row
from receiver.store.engine import NOW, Conn
from receiver.store.schema import deliveries, digests, entries, stories

KIND = "digest"
"""The kind of a story that stands for a storm."""
AT_ONCE = 500

_IDS: BindParameter[list[str]] = bindparam("ids", expanding=True)
_OPEN = stories.c.state != StoryState.RESOLVED.value
_WAITING = (
    select(
        deliveries.c.id,
        deliveries.c.story,
        deliveries.c.intervals,
        (deliveries.c.due <= NOW).label("is_due"),
    )
    .join(stories, stories.c.id == deliveries.c.story)
    .where(
        deliveries.c.destination == bindparam("b_destination"),
        deliveries.c.started.is_(False),
        deliveries.c.root.is_(None),
        deliveries.c.firing.is_(True),
        deliveries.c.digest == "",
        deliveries.c.due.is_not(None),
        deliveries.c.state.in_((DeliveryState.PENDING.value, DeliveryState.RETRYING.value)),
        or_(deliveries.c.claimed_until.is_(None), deliveries.c.claimed_until < NOW),
        _OPEN,
        stories.c.kind != KIND,
        stories.c.test == bindparam("b_test", type_=Boolean),
    )
    .order_by(deliveries.c.created, deliveries.c.id)
)
_MADE = (
    select(func.count())
    .select_from(deliveries.join(stories, stories.c.id == deliveries.c.story))
    .where(
        deliveries.c.destination == bindparam("b_destination"),
        # One that somebody has in hand is as good as begun: else what is claimed just now would count nowhere.
        or_(deliveries.c.started.is_(True), deliveries.c.claimed_until >= NOW),
        deliveries.c.created > NOW - bindparam("b_window", type_=Real),
        stories.c.kind != KIND,
        stories.c.test == bindparam("b_test", type_=Boolean),
    )
)
_ADMITTING = (
    select(digests.c.id, digests.c.topic)
    .join(stories, stories.c.id == digests.c.id)
    .where(
        digests.c.destination == bindparam("b_destination"),
        digests.c.admits.is_(True),
        stories.c.test == bindparam("b_test", type_=Boolean),
    )
)
_JOIN = (
    update(deliveries)
    .where(deliveries.c.id.in_(_IDS))
    .values(
        state=DeliveryState.DIGEST.value,
        digest=bindparam("b_digest", type_=Text),
        due=None,
        waiting_since=None,
        owner=None,
        claimed_until=None,
        fence=deliveries.c.fence + 1,
        tries=0,
        error="",
    )
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A first message that waits."""

    delivery: str
    story: str
    intervals: str
    due: bool


@dataclass(frozen=True, slots=True)
class Rush:
    """What wants to begin at a destination."""

    waiting: tuple[Waiting, ...]
    made: int
    """New roots that were made within the window."""
    admitting: Mapping[str, str]
    """Topic → the digest that new failures join."""


async def rush(conn: Conn, destination: str, window_s: float, *, test: bool = False) -> Rush:
    """Return what waits for its first message at a destination, and what was begun there within `window_s`.

    Tests know nothing of failures, and these nothing of tests.
    """
    where = {"b_destination": destination, "b_test": test}
    rows = await conn.execute(_WAITING, where)
    waiting = tuple(Waiting(row.id, row.story, row.intervals, bool(row.is_due)) for row in rows)
    if not waiting:
        return Rush((), 0, {})
    made = (await conn.execute(_MADE, {**where, "b_window": window_s})).scalar_one()
    open_ones = await conn.execute(_ADMITTING, where)
    return Rush(waiting, int(made), {row.topic: row.id for row in open_ones})


async def join(conn: Conn, digest: str, ids: Sequence[str]) -> None:
    """Let a digest tell of deliveries from now on, and look at it again at once."""
    for at in range(0, len(ids), AT_ONCE):
        await conn.execute(_JOIN, {"b_digest": digest, "ids": list(ids[at : at + AT_ONCE])})
    await conn.execute(update(digests).where(digests.c.id == digest).values(joined_at=NOW, look_at=NOW))


async def first_message(conn: Conn, destination: str, window_s: float) -> DeliveryRow | None:
    """Return the oldest message of the window that nobody works on and whose place is known, or None."""
    rows = await conn.execute(
        select(*COLUMNS)
        .join(stories, stories.c.id == deliveries.c.story)
        .where(
            deliveries.c.destination == destination,
            deliveries.c.root.is_not(None),
            deliveries.c.firing.is_(True),
            deliveries.c.created > NOW - window_s,
            deliveries.c.state.in_(
                (DeliveryState.DELIVERED.value, DeliveryState.PENDING.value, DeliveryState.SHADOW.value)
            ),
            deliveries.c.unknown_part.is_(None),
            or_(deliveries.c.claimed_until.is_(None), deliveries.c.claimed_until < NOW),
            _OPEN,
            stories.c.kind != KIND,
            stories.c.test.is_(False),
        )
        .order_by(deliveries.c.created, deliveries.c.id)
        .limit(1)
    )
    row = rows.one_or_none()
    return to_row(row) if row else None


async def give_up_root(conn: Conn, digest: str, delivery: str) -> None:
    """Let the digest have a member's message: the member begins anew, should it ever be told on its own."""
    await join(conn, digest, [delivery])
    await conn.execute(
        update(deliveries).where(deliveries.c.id == delivery).values(root=None, started=False, confirm_at=None)
    )
    waiting = and_(entries.c.delivery == delivery, entries.c.state == "pending")
    await conn.execute(update(entries).where(waiting).values(state="skipped"))


async def add(conn: Conn, digest: str, destination: str, topic: str, numbers: Digest) -> None:
    """Add a digest, whose story there is."""
    values = {"id": digest, "destination": destination, "topic": topic, "numbers": dump(DIGEST, numbers)}
    await conn.execute(insert(digests).values(**values, joined_at=NOW, look_at=NOW))


@dataclass(frozen=True, slots=True)
class Stored:
    """A digest as it was last seen. Times are database seconds."""

    id: str
    destination: str
    admits: bool
    seen: str
    numbers: Digest
    opened: float
    now: float
    recent: int
    """Members that came within the window."""


async def due(conn: Conn, window_s: float) -> tuple[Stored, ...]:
    """Return the digests that are to be looked at now."""
    recent = (
        select(func.count())
        .select_from(deliveries)
        .where(deliveries.c.digest == digests.c.id, deliveries.c.created > NOW - window_s)
        .scalar_subquery()
    )
    rows = await conn.execute(
        select(digests, stories.c.opened, NOW.label("now"), recent.label("recent"))
        .join(stories, stories.c.id == digests.c.id)
        .where(digests.c.look_at <= NOW, _OPEN)
        .order_by(digests.c.look_at)
    )
    return tuple(
        Stored(
            row.id,
            row.destination,
            bool(row.admits),
            row.seen,
            load_or_none(DIGEST, row.numbers) or Digest(),
            row.opened,
            float(row.now),
            row.recent,
        )
        for row in rows
    )


async def next_look(conn: Conn) -> float | None:
    """Return in how many seconds a digest is to be looked at next (negative: now), or None."""
    query = select(func.min(digests.c.look_at) - NOW).join(stories, stories.c.id == digests.c.id).where(_OPEN)
    value = (await conn.execute(query)).scalar_one()
    return None if value is None else float(value)


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A story of a digest: enough to see whether it has changed."""

    story: str
    revision: int
    state: str
    firing: bool

    @property
    def open(self) -> bool:
        return self.firing and self.state != StoryState.RESOLVED.value


async def members(conn: Conn, digest: str) -> tuple[MemberRow, ...]:
    """Return a digest's members in the order in which they came."""
    rows = await conn.execute(
        select(stories.c.id, stories.c.revision, stories.c.state, deliveries.c.firing)
        .join(deliveries, deliveries.c.story == stories.c.id)
        .where(deliveries.c.digest == digest)
        .order_by(deliveries.c.created, deliveries.c.id)
    )
    return tuple(MemberRow(row.id, row.revision, row.state, bool(row.firing)) for row in rows)


async def whole_rows(conn: Conn, ids: Iterable[str]) -> Sequence[Any]:
    """Return what the sums need of stories: id, revision, state, outcome, title, severity, run, identity, evidence."""
    c = stories.c
    columns = (c.id, c.revision, c.state, c.outcome, c.title, c.severity, c.run, c.identity, c.evidence)
    return (await conn.execute(select(*columns).where(c.id.in_(list(ids))))).all()


async def keep(conn: Conn, digest: str, numbers: Digest, seen: str, look_in_s: float | None) -> None:
    """Store what a digest consists of, and when to look again."""
    look_at = None if look_in_s is None else NOW + look_in_s
    values = {"numbers": dump(DIGEST, numbers), "seen": seen, "admits": numbers.storm, "look_at": look_at}
    await conn.execute(update(digests).where(digests.c.id == digest).values(**values))


async def look_later(conn: Conn, digest: str, in_s: float) -> None:
    """Set when to look at a digest next; one that somebody joined meanwhile keeps its time."""
    later = and_(digests.c.id == digest, digests.c.look_at <= NOW)
    await conn.execute(update(digests).where(later).values(look_at=NOW + in_s))


async def let_out(conn: Conn) -> int:
    """Give members that fail again after their digest's end a message of their own; return how many."""
    over = select(stories.c.id).where(stories.c.kind == KIND, stories.c.state == StoryState.RESOLVED.value)
    open_stories = select(stories.c.id).where(_OPEN)
    result = await conn.execute(
        update(deliveries)
        .where(
            deliveries.c.digest != literal_column("''"),  # in words that the index of members knows
            deliveries.c.state == DeliveryState.DIGEST.value,
            deliveries.c.firing.is_(True),
            deliveries.c.digest.in_(over),
            deliveries.c.story.in_(open_stories),
        )
        .values(
            state=DeliveryState.PENDING.value, digest="", due=NOW, priority=NEW_ROOT, waiting_since=NOW, created=NOW
        )
    )
    return int(result.rowcount)


async def telling_of(conn: Conn, members: Sequence[str]) -> tuple[str, ...]:
    """Return the digests that tell of any of these stories."""
    told = select(deliveries.c.digest).where(deliveries.c.story.in_(list(members)), deliveries.c.digest != "")
    return tuple((await conn.execute(told.distinct().order_by(deliveries.c.digest))).scalars())


async def up_to_date(conn: Conn, digest: str) -> bool:
    """Say whether a digest counts all of its members, and is over if they are."""
    known = load_or_none(DIGEST, (await conn.execute(select(digests.c.numbers).where(digests.c.id == digest))).scalar())
    state = (await conn.execute(select(stories.c.state).where(stories.c.id == digest))).scalar()
    rows = await members(conn, digest)
    over = not any(row.open for row in rows)
    return known is not None and known.plans == len(rows) and over == (state == StoryState.RESOLVED.value)
