"""Storms: new failures beyond what a destination has room for become one message that lives.

*Admission* happens in the transaction that claims: it sees what waits for a first message at a destination and what was
made there lately. A storm's deliveries go to the state `digest` in one statement, so a thousand cost what one costs.

*The digest* is a story with one delivery. `Digester` looks at its members from time to time, sums them up, and makes a
new revision where the sums changed: a quiet one, or one that people should notice (see `digest_rules`).
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog

from receiver import ids
from receiver.clock import Clock
from receiver.config.model import Config, DestinationConfig
from receiver.destinations import InStorm, Manner, Sender
from receiver.digest_rules import Member, all_clear, member_of, news, settled, sum_up, told, topic_of
from receiver.metrics import Metrics
from receiver.model import Change, Digest, Impact, Outcome, Reason, StoryState
from receiver.model.shadow import handed_over, in_shadow
from receiver.rendering import words
from receiver.routing.tree import Intervals, allowed
from receiver.store import attention, deliveries, digests, stories
from receiver.store.codec import EVIDENCE, IDENTITY, dump_json, load_or_none, moment
from receiver.store.deliveries import NewDelivery
from receiver.store.digests import Rush, Stored, Waiting
from receiver.store.engine import Conn, Store
from receiver.store.jobs import Turn

log = structlog.get_logger(__name__)

FIRST_LOOK = 50
"""Members that are read while a digest is opened; the rest follows within a second."""
READ_AT_ONCE = 100
"""Stories that are read in one go, so that nobody waits long for the processor."""
IDLE_S = 1.0
SOONEST_S, LATEST_S = 3.0, 30.0
"""A digest is looked at a tenth of its age after the last look, within these."""
_OF_A_STORY = frozenset({"files", "skipped"})
"""What a root's receipt keeps that another story's has no use for."""
REMEMBERED = 5_000
"""Stories whose sums are kept in memory."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A storm that `send-test` plays: its stories become a digest of their own, which takes in nobody else's."""

    mark: str
    stories: frozenset[str]

    def topic(self, topic: str) -> str:
        """Return under what the digest is known, apart from every other one."""
        return f"{self.mark} {topic}"

    def own(self, found: Rush) -> Rush:
        """Return what concerns this test only."""
        head = self.topic("")
        admitting = {topic[len(head) :]: one for topic, one in found.admitting.items() if topic.startswith(head)}
        waiting = tuple(one for one in found.waiting if one.story in self.stories)
        return replace(found, waiting=waiting, made=0, admitting=admitting)


class Admission:
    """Decides, for one destination at a time, whether what waits there is a storm."""

    def __init__(self, config: Config, random: Callable[[], int]) -> None:
        self._config = config
        self._random = random

    def concerns(self, sender: Sender) -> bool:
        """Could new messages of this kind become a digest?"""
        return self._config.global_.digest_after > 0 and sender.in_storm is not InStorm.EACH

    async def admit(
        self, conn: Conn, destination: DestinationConfig, sender: Sender, test: Rehearsal | None = None
    ) -> int:
        """Let what waits become members of a digest, if it is too much; return how many did. A test is of its own."""
        times = self._config.global_
        found = await digests.rush(conn, destination.identity, times.digest_window_s, test=test is not None)
        if test is not None:
            found = test.own(found)
        now = await stories.now_of(conn)
        waiting = tuple(one for one in found.waiting if self._allowed(one, now))
        if not found.admitting and found.made + len(waiting) <= times.digest_after:
            return 0
        if sender.manner is Manner.TICKET:  # tickets wait for their evidence, also in a storm
            waiting = tuple(one for one in waiting if one.due)
        if not waiting:
            return 0
        members = await self._read(conn, waiting)
        groups: dict[str, list[Waiting]] = {}
        for one in waiting:
            member = members.get(one.story)
            topic = topic_of(member.row.cause if member else "") if sender.in_storm is InStorm.BY_CAUSE else ""
            groups.setdefault(topic, []).append(one)
        for topic, group in groups.items():
            digest = found.admitting.get(topic)
            if digest is None:
                known = [members[one.story] for one in group if one.story in members]
                digest = await self._open(conn, destination, sender, topic, known, len(group), found, now, test)
            await digests.join(conn, digest, [one.delivery for one in group])
        return len(waiting)

    def _allowed(self, one: Waiting, now: float) -> bool:
        """A message that its time intervals hold back does not wait for room."""
        if one.intervals == "[]":
            return True
        held = tuple(Intervals(tuple(each["mute"]), tuple(each["active"])) for each in json.loads(one.intervals))
        return allowed(held, self._config, moment(now))

    async def _read(self, conn: Conn, waiting: Sequence[Waiting]) -> dict[str, Member]:
        rows = await digests.whole_rows(conn, [one.story for one in waiting[:READ_AT_ONCE]])
        return {row.id: _member(row) for row in rows}

    async def _open(
        self, conn: Conn, destination: DestinationConfig, sender: Sender, topic: str,
        known: Sequence[Member], number: int, found: Rush, now: float, test: Rehearsal | None,
    ) -> str:  # fmt: skip
        story = ids.ulid(now, self._random())
        sums = sum_up(known[:FIRST_LOOK], topic=topic, since=moment(now))
        more = number - len(known[:FIRST_LOOK])
        sums = replace(sums, plans=sums.plans + more, open=sums.open + more, unread=sums.unread + more)
        draft = stories.Draft(
            id=story,
            subject=f"digest/{story}",
            kind=digests.KIND,
            severity="critical" if sums.severe else "warning",
            title=f"{words.count(number, 'new failure')} at once",
            opened=now,
            now=now,
            new=True,
            test=test is not None,
        )
        times = self._config.global_
        limit = f"more than {times.digest_after} new failures in {words.duration(times.digest_window_s)}"
        await stories.save(conn, draft, Change.FIRED, f"{limit}: told as one", "fired")
        await digests.add(conn, story, destination.identity, test.topic(topic) if test else topic, sums)
        keys = ids.keys(story, draft.subject, destination.identity)
        new = NewDelivery(
            id=ids.ulid(now, self._random()),
            receiver=destination.receiver,
            kind=destination.kind,
            destination=destination.identity,
            label=destination.label,
            keys=keys,
            reasons=(Reason("", f"{limit} for {destination.label}"),),
            intervals=(),
            wait_s=0.0,
        )
        if sender.in_storm is InStorm.BY_EDIT and test is None:  # no message of somebody's turns into a test
            first = await digests.first_message(conn, destination.identity, times.digest_window_s)
            found_root = json.loads(first.root) if first is not None and first.root is not None else None
            # What was only written down is shown by no message that could turn into another.
            if first is not None and found_root is not None and (destination.shadow or not in_shadow(found_root)):
                # No revision of the digest is told by that message yet.
                kept = {key: value for key, value in found_root.items() if key not in _OF_A_STORY}
                root = handed_over(kept, {"revision": 0, "hash": ""})
                new = replace(new, root=dump_json(root))
                await digests.give_up_root(conn, story, first.id)
        await deliveries.add(conn, story, new, draft.revision, now)
        log.info("digest.opened", digest=story, destination=destination.label, waiting=len(found.waiting))
        return story


@dataclass(frozen=True, slots=True)
class _Sums:
    """What there is to say about a digest now."""

    numbers: Digest
    seen: str
    over: bool
    fixed: bool
    down: bool
    """Something is down because of one of its failures."""


class Digester:
    """Keeps digests up to date; runs until cancelled."""

    def __init__(
        self, store: Store, config: Config, clock: Clock, metrics: Metrics, *, owner: str, on_change: Callable[[], None]
    ) -> None:
        """`on_change`: deliveries lag behind."""
        self._store = store
        self._turn = Turn(store, "digests", owner, clock.monotonic)
        self._config = config
        self._clock = clock
        self._metrics = metrics
        self._on_change = on_change
        self._known: OrderedDict[tuple[str, int], Member] = OrderedDict()

    async def run(self) -> None:
        """Work for ever."""
        while True:
            if not await self._turn.ours():
                await self._clock.sleep(IDLE_S)
                continue
            window_s = self._config.global_.digest_window_s
            for one in await self._store.read(partial(digests.due, window_s=window_s)):
                try:
                    await self._look(one)
                except Exception:  # one digest that cannot be summed up must not keep the others from it
                    self._metrics.bugs.labels("digest").inc()
                    log.exception("digest.bug", digest=one.id)
                    await self._store.write(partial(digests.look_later, digest=one.id, in_s=LATEST_S))
            if await self._store.write(digests.let_out):
                self._on_change()
            soon = await self._store.read(digests.next_look)
            await self._clock.sleep(IDLE_S if soon is None else min(IDLE_S, max(0.05, soon)))

    async def _look(self, one: Stored) -> None:
        sums = await self._sum(one)
        age_s = one.now - one.opened
        pace_s = min(max(age_s / 10, SOONEST_S), LATEST_S)
        if sums.seen == one.seen:
            await self._store.write(partial(digests.look_later, digest=one.id, in_s=pace_s))
            return
        text = all_clear(sums.numbers) if sums.over else news(sums.numbers, age_s)
        numbers = told(sums.numbers) if text else sums.numbers if age_s >= LATEST_S * 2 else settled(sums.numbers)

        async def write(conn: Conn) -> None:
            draft = await stories.load_draft(conn, one.id, await stories.now_of(conn))
            if draft is None or not draft.open:
                return
            change = Change.RESOLVED if sums.over else Change.WORSE
            key = "resolved" if sums.over else f"worse-{draft.revision + 1}"
            if sums.over:
                draft.state = StoryState.RESOLVED
                draft.outcome = Outcome.FIXED if sums.fixed else Outcome.CLEARED
                draft.closed, draft.note = draft.now, text
            draft.severity = "critical" if numbers.severe else "warning"
            draft.title = f"{words.count(numbers.plans, 'failure')} at once"
            if text:
                await stories.save(conn, draft, change, text, key)
            else:  # numbers that moved: hours of them would fill the timeline
                draft.revision += 1
                await stories.save(conn, draft, None, "", "")
            await digests.keep(conn, one.id, numbers, sums.seen, None if sums.over else pace_s)
            if sums.down:
                await attention.look_later(conn, draft, self._config.global_.remind_after_s)
            rows = await deliveries.of_story(conn, one.id)
            if sums.over:
                await deliveries.set_firing(conn, [row.id for row in rows], False)
            await deliveries.bump(conn, one.id, draft.revision, draft.now, audible=bool(text))
            if text:
                begun = [row.id for row in rows if row.started]
                await deliveries.add_entries(conn, begun, key, change, text, draft.revision, draft.now)

        await self._store.write(write)
        self._on_change()

    async def _sum(self, one: Stored) -> _Sums:
        rows = await self._store.read(partial(digests.members, digest=one.id))
        lacking = [row.story for row in rows if (row.story, row.revision) not in self._known]
        for at in range(0, len(lacking), READ_AT_ONCE):
            wanted = lacking[at : at + READ_AT_ONCE]
            for row in await self._store.browse(partial(digests.whole_rows, ids=wanted)):
                self._known[(row.id, row.revision)] = _member(row)
            await asyncio.sleep(0)
        found = [self._known.get((row.story, row.revision)) for row in rows]
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        # One that changed while we read is looked at next time.
        members = [
            member if row.firing or not member.row.open else replace(member, row=replace(member.row, state="cleared"))
            for row, member in zip(rows, found, strict=True)
            if member is not None
        ]
        storm = one.admits and (
            one.now - one.opened < self._config.global_.digest_window_s
            or one.recent > self._config.global_.digest_after
        )
        over = len(members) == len(rows) and not any(row.open for row in rows)
        numbers = sum_up(
            members,
            topic=one.numbers.topic,
            since=one.numbers.since,
            storm=storm and not over,
            before=one.numbers,
        )
        seen = dump_json([numbers.storm, over, *(f"{row.story}.{row.revision}.{row.open:d}" for row in rows)])
        fixed = bool(members) and numbers.fixed == numbers.plans
        down = any(member.row.open and member.row.impact is Impact.DOWN for member in members)
        return _Sums(numbers, ids.short_hash(seen) if len(members) == len(rows) else "", over, fixed, down)


def _member(row: Any) -> Member:
    return member_of(
        row.id,
        row.outcome or row.state,
        row.title,
        row.severity,
        row.run,
        load_or_none(IDENTITY, row.identity),
        load_or_none(EVIDENCE, row.evidence),
    )
