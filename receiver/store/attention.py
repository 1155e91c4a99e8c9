"""When people are called again: what became worse, and what is down and nobody took.

Of a storm's failures, which have no message of their own, the storm's one message speaks: one reminder for all.

Both are looked at when `stories.remind_at` has come; a time that was set for nothing costs one look. Calling too often
makes people stop listening: a story becomes worse at most every CALL_EVERY_S, and is reminded of REMINDERS times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, select, update

from receiver.model import CALL_EVERY_S, Change, Impact, StoryState
from receiver.rendering.words import duration, names
from receiver.store.codec import EVIDENCE, load_or_none
from receiver.store.digests import KIND as DIGEST_KIND
from receiver.store.drafts import Draft
from receiver.store.engine import NOW, Conn
from receiver.store.schema import deliveries, revisions, stories

REMINDERS = 3
"""After so many, whoever has not come will not come for another one; pagers escalate by themselves."""
MOST_NAMED = 100
"""So many failures of a storm are counted one by one; evidence of a thousand is a lot to read in one go."""
WORSE = frozenset({Change.WORSE, Change.FAILED_AGAIN})
_BEGINS = frozenset({Change.FIRED, Change.REOPENED, Change.FAILED_AGAIN})
_CALLS = sorted(change.value for change in WORSE | _BEGINS | {Change.REMINDED})


def may_call(draft: Draft, change: Change) -> bool:
    """Say whether a change may be called out now; one that became worse counts from here on.

    A run that failed again is an event of its own, and told at once; whether it calls everybody is the chat's to judge.
    """
    if change not in WORSE:
        return True
    if change is Change.WORSE and draft.worse_at is not None and draft.now < draft.worse_at + CALL_EVERY_S:
        return False
    draft.worse_at = draft.now
    return True


def wants_somebody(draft: Draft) -> bool:
    """Is something down that nobody took, and that nobody runs again?"""
    down = draft.evidence is not None and draft.evidence.impact is Impact.DOWN
    return draft.state is StoryState.FIRING and down and draft.ack is None and not draft.test


_MEMBERS = (
    select(stories.c.opened, stories.c.title, stories.c.evidence)
    .join(deliveries, deliveries.c.story == stories.c.id)
    .where(
        deliveries.c.digest == bindparam("b_digest"),
        deliveries.c.firing.is_(True),
        deliveries.c.moved == "",
        stories.c.state == StoryState.FIRING.value,
        stories.c.ack.is_(None),
        stories.c.evidence.contains(f'"{Impact.DOWN.value}"'),
    )
    .order_by(stories.c.opened, stories.c.id)
)


@dataclass(frozen=True, slots=True)
class _Untaken:
    """What is down and nobody took."""

    since: float
    titles: tuple[str, ...] = ()
    """Of a storm: what its failures are about, the oldest first."""


async def _untaken(conn: Conn, draft: Draft, most: int) -> _Untaken | None:
    """Return what of a story somebody is wanted for, or None; of a storm at least the oldest `most` failures."""
    if draft.kind != DIGEST_KIND:
        return _Untaken(draft.opened) if wants_somebody(draft) else None
    if draft.state is not StoryState.FIRING or draft.ack is not None or draft.test:
        return None
    since, titles = 0.0, list[str]()
    for row in await conn.execute(_MEMBERS, {"b_digest": draft.id}):
        evidence = load_or_none(EVIDENCE, row.evidence)
        if evidence is not None and evidence.impact is Impact.DOWN:
            since = since if titles else row.opened
            titles.append(row.title)
            if len(titles) >= most:
                break
    return _Untaken(since, tuple(titles)) if titles else None


@dataclass(frozen=True, slots=True)
class _Past:
    """What people were called for since the failure began."""

    began: float
    called: float
    reminders: int
    held: tuple[str, ...]
    """What became worse and was not called out yet."""


_SELECT = (
    select(revisions.c.change, revisions.c.at, revisions.c.key, revisions.c.text)
    .where(revisions.c.story == bindparam("b_story"), revisions.c.change.in_(_CALLS))
    .order_by(revisions.c.revision)
)


async def _past(conn: Conn, draft: Draft) -> _Past:
    began = called = draft.opened
    reminders, held = 0, list[str]()
    for row in await conn.execute(_SELECT, {"b_story": draft.id}):
        change = Change(row.change)
        if change in _BEGINS:
            began, reminders = row.at, 0
        if change in WORSE and not row.key:
            held.append(row.text)
            continue
        called = row.at
        reminders += change is Change.REMINDED
        if change in WORSE:
            held.clear()
    return _Past(began, called, reminders, tuple(held))


async def look_later(conn: Conn, draft: Draft, remind_after_s: float) -> None:
    """Set when to look whether people are to be called again, if ever."""
    times: list[float] = []
    waits = draft.open and draft.worse_at is not None and draft.now < draft.worse_at + CALL_EVERY_S
    untaken = await _untaken(conn, draft, 1) if remind_after_s > 0 else None
    if not waits and untaken is None:
        return
    past = await _past(conn, draft)
    if past.held and draft.worse_at is not None:
        times.append(draft.worse_at + CALL_EVERY_S)
    if untaken is not None and past.reminders < REMINDERS:
        times.append(max(past.called, untaken.since) + remind_after_s)
    if times:
        await conn.execute(update(stories).where(stories.c.id == draft.id).values(remind_at=min(times)))


async def take(conn: Conn, story: str) -> bool:
    """Take a story whose time has come; False where another replica did."""
    due = update(stories).where(stories.c.id == story, stories.c.remind_at <= NOW).values(remind_at=None)
    return (await conn.execute(due)).rowcount == 1


async def due(conn: Conn, draft: Draft, remind_after_s: float) -> tuple[Change, str] | None:
    """Return what people are to be called for now, if anything."""
    past = await _past(conn, draft)
    if past.held and draft.state is StoryState.FIRING and draft.now >= (draft.worse_at or 0.0) + CALL_EVERY_S:
        return Change.WORSE, together(past.held)
    if not remind_after_s or past.reminders >= REMINDERS:
        return None
    untaken = await _untaken(conn, draft, MOST_NAMED)
    if untaken is None or draft.now < max(past.called, untaken.since) + remind_after_s:
        return None
    if untaken.titles:
        whom = names(untaken.titles) if len(untaken.titles) < MOST_NAMED else f"{MOST_NAMED} failures or more"
        return Change.REMINDED, f"still down after {duration(draft.now - untaken.since)}, nobody has taken {whom}"
    return Change.REMINDED, f"still down after {duration(draft.now - past.began)}, nobody has taken it"


def together(texts: Sequence[str]) -> str:
    """Join what happened, each once, in its order."""
    return "; ".join(dict.fromkeys(texts))
