"""One transaction from alerts to deliveries: which story, what it becomes, who is to show it.

Everything here runs inside `Store.write`: look-ups come before, sending comes after. The rules themselves are in
`receiver.story`, how a story opens in `receiver.opening`; this module applies them to rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from receiver.config.model import Config
from receiver.incoming import Incoming as Incoming
from receiver.incoming import names_of, put, told_already
from receiver.merge import merge
from receiver.model import (
    EARLIER,
    QUIET_WITHIN_S,
    Alert,
    Change,
    Evidence,
    Identity,
    Outcome,
    PlanPhase,
    PlanState,
    StoryState,
    VMCounts,
)
from receiver.opening import Opener
from receiver.routing.tree import Routed
from receiver.store import attention, order, stories
from receiver.store.drafts import Draft
from receiver.store.engine import Conn
from receiver.store.known import Known, look
from receiver.store.own_alerts import SOURCE as OWN
from receiver.story import Judgement, Standing, entry_key, is_worse, judge, news_in, primary, severer
from receiver.telling import Teller
from receiver.watch_rules import WAITS


@dataclass(slots=True)
class Recorded:
    """What a batch did."""

    stories: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)


@dataclass(slots=True)
class _Touched:
    draft: Draft
    routed: dict[str, Routed] = field(default_factory=dict)
    plan: PlanState = field(default_factory=lambda: PlanState(PlanPhase.NO_PLAN))


@dataclass(frozen=True, slots=True)
class _Batch:
    """What is in hand while a batch is worked off."""

    now: float
    known: Known
    touched: dict[str, _Touched] = field(default_factory=dict)


class Recorder:
    """Applies the rules of `receiver.story` to what is stored."""

    def __init__(self, config: Config, teller: Teller, random: Callable[[], int]) -> None:
        self._config = config
        self._teller = teller
        self._opener = Opener(config, random)

    async def record(self, conn: Conn, batch: Sequence[Incoming]) -> Recorded:
        """Write a batch of looked-up alerts; per fingerprint the highest inbox number wins."""
        names = {name for one in batch for name in names_of(one.identity)}
        known = await look(conn, [one.alert.fingerprint for one in batch], names)
        hand = _Batch(await stories.now_of(conn), known)
        done = await order.newest_done(conn)
        for one in sorted(batch, key=lambda incoming: incoming.seq):
            words = [one]
            if one.seq < done and (newer := await order.overtaken_by(conn, one.seq, one.alert.fingerprint)):
                words = self._begun_and_ended(one, *newer, hand)
            for word in words:
                draft = await self._take_in(conn, word, hand)
                if draft is None:
                    continue
                entry = hand.touched.setdefault(draft.id, _Touched(draft))
                entry.routed[word.alert.fingerprint] = word.routed
                entry.plan = word.plan
        recorded = Recorded()
        for entry in hand.touched.values():
            change = await self._settle(conn, entry.draft, entry.plan, entry.routed)
            recorded.stories.append(entry.draft.id)
            if change is not None:
                recorded.changes.append(change)
        return recorded

    @staticmethod
    def _begun_and_ended(one: Incoming, seq: int, newer: Alert, hand: _Batch) -> list[Incoming]:
        """Return what is still to be said of an alert whose newer word another worker was quicker with.

        Nothing, unless that word was its end and no story knows of its beginning: then it began and ended.
        """
        fingerprint = one.alert.fingerprint
        known = fingerprint in hand.known.newest or any(fingerprint in e.draft.alerts for e in hand.touched.values())
        if known or not one.alert.firing or newer.firing:
            return []
        over = replace(one.alert, status=newer.status, ends_at=newer.ends_at)
        return [one, replace(one, seq=seq, alert=over)]

    async def plan_changed(self, conn: Conn, story: str, plan: PlanState) -> Change | None:
        """Judge an open story again: its Plan moved, or its `resolve_delay` ran out."""
        draft = await stories.load_draft(conn, story, await stories.now_of(conn))
        if draft is None or not draft.open:
            return None
        return await self._settle(conn, draft, plan, {})

    async def attend(self, conn: Conn, story: str) -> Change | None:
        """Call people again: for what became worse meanwhile, or because nobody took what is down."""
        draft = await stories.load_draft(conn, story, await stories.now_of(conn))
        if not await attention.take(conn, story) or draft is None or not draft.open:
            return None
        due = await attention.due(conn, draft, self._config.global_.remind_after_s)
        if due is not None:
            draft.note_change(*due)
        return await self._publish(conn, draft, {})

    async def identified(
        self,
        conn: Conn,
        story: str,
        identity: Identity,
        plan: PlanState,
        route_alert: Callable[[Alert], Routed],
        again_in_s: float,
    ) -> str | None:
        """Apply a late look-up; returns the story that goes on (an older one may take over)."""
        now = await stories.now_of(conn)
        draft = await stories.load_draft(conn, story, now)
        if draft is None or not draft.open:
            return None
        others = [one for one in await stories.find_open(conn, names_of(identity), now) if one.id != draft.id]
        if others:
            draft, _ = await merge(conn, self._teller, [draft, *others], now)
        known = draft.identity is not None and draft.identity.complete
        draft.identify_due = None if identity.complete else now + again_in_s
        if identity.complete or not known:
            self._opener.know(draft, identity)
        routed = {row.alert.fingerprint: route_alert(row.alert) for row in draft.failures if row.firing}
        await self._settle(conn, draft, plan, routed)
        return draft.id

    async def gathered(
        self,
        conn: Conn,
        story: str,
        evidence: Evidence,
        route_alert: Callable[[Draft, Alert], Routed],
        again_in_s: float | None,
        seen_due: float | None,
    ) -> None:
        """Keep evidence of the story's present run and route by it again.

        `seen_due` is `gather_due` when the reading began: where it has moved since, evidence is wanted anew.
        """
        now = await stories.now_of(conn)
        draft = await stories.load_draft(conn, story, now)
        if draft is None:
            return
        if draft.gather_due is None or draft.gather_due == seen_due:
            draft.gather_due = None if again_in_s is None or not draft.open else now + again_in_s
            draft.gather_tries += 1
        stale = bool(draft.run and evidence.run and draft.run != evidence.run)
        same = draft.evidence is not None and replace(evidence, read_at=None) == replace(draft.evidence, read_at=None)
        if stale or same:
            await stories.save(conn, draft, None, "", "")
            if same and not evidence.complete and await self._last_in_time(conn, draft):
                await self._teller.wake_pagers(conn, draft)
        else:
            before, draft.evidence = draft.evidence, evidence
            if evidence.phase is PlanPhase.FAILED:  # a run that goes on has not failed yet
                draft.run = draft.run or evidence.run
            routed = {}
            if draft.open:
                draft.note_change(*news_in(before, evidence))
                routed = {row.alert.fingerprint: route_alert(draft, row.alert) for row in draft.failures if row.firing}
            await self._publish(conn, draft, routed)
        if evidence.complete or draft.gather_tries >= 1:
            await self._teller.hurry(conn, draft)

    async def _last_in_time(self, conn: Conn, draft: Draft) -> bool:
        """Did evidence come for the last time while a pager still takes a quiet update?"""
        told = await stories.last_told(conn, draft.id) if draft.open else None
        ends = (told or 0.0) + QUIET_WITHIN_S
        return draft.now <= ends and (draft.gather_due is None or draft.gather_due > ends)

    async def _take_in(self, conn: Conn, one: Incoming, hand: _Batch) -> Draft | None:
        """Put an alert into its story; None when nothing needs to be told."""
        fingerprint = one.alert.fingerprint
        in_hand = next((e.draft for e in hand.touched.values() if fingerprint in e.draft.alerts), None)
        seen = in_hand.alerts[fingerprint].seq if in_hand else hand.known.newest.get(fingerprint, -1)
        if seen >= one.seq:
            return None
        draft = await self._open_story(conn, one, hand)
        return self._update(draft, one) if draft else await self._without_open_story(conn, one, hand)

    async def _open_story(self, conn: Conn, one: Incoming, hand: _Batch) -> Draft | None:
        names = names_of(one.identity)
        found = {entry.draft.id: entry.draft for entry in hand.touched.values()}
        if names & hand.known.names:
            # What is in hand is newer than what is stored.
            for stored in await stories.find_open(conn, names, hand.now, found):
                found[stored.id] = stored
        alive = [draft for draft in found.values() if draft.open and stories.is_known_as(draft, names)]
        return await self._merged(conn, alive, hand) if len(alive) > 1 else next(iter(alive), None)

    async def _merged(self, conn: Conn, alive: list[Draft], hand: _Batch) -> Draft:
        older, younger = await merge(conn, self._teller, alive, hand.now)
        kept = hand.touched.setdefault(older.id, _Touched(older))
        for one in younger:
            taken = hand.touched.pop(one.id, None)
            if taken is not None:  # where its alerts of this batch are routed to, nobody has been told yet
                kept.routed = {**taken.routed, **kept.routed}
        return older

    def _update(self, draft: Draft, one: Incoming) -> Draft:
        if draft.identity is None or one.identity.complete or not draft.identity.complete:
            self._opener.know(draft, one.identity)
        old = draft.alerts.get(one.alert.fingerprint)
        put(draft, one)
        if one.late_copy:
            return draft
        if one.role == EARLIER and not one.alert.firing and old is not None and old.firing:
            draft.note_change(Change.ALERTS, f"{one.alert.name or 'an alert'} is gone")
        if one.role == "failure" and one.alert.firing:
            if old is None:
                worse = is_worse(one.alert.labels.get("severity", draft.severity), draft.severity)
                text = f"{one.alert.name or 'another alert'} fires too"
                draft.note_change(Change.WORSE if worse else Change.ALERTS, text)
            draft.severity = severer(draft.severity, one.alert.labels.get("severity", draft.severity))
        return draft

    async def _without_open_story(self, conn: Conn, one: Incoming, hand: _Batch) -> Draft | None:
        names, now = names_of(one.identity), hand.now
        last = await stories.find_last(conn, names, now) if names & hand.known.names else None
        if last is not None and last.id in hand.touched:
            last = hand.touched[last.id].draft
        silent = one.role == "success" and not one.routed.notify_success
        if not one.alert.firing or one.late_copy or silent or one.role == EARLIER or told_already(last, one):
            if last is not None and (one.alert.fingerprint in last.alerts or one.role == "success"):
                put(last, one)
                await stories.save(conn, last, None, "", "")
            return None
        if one.role == "success":
            return self._opener.success(one, now)
        within = self._config.global_.reopen_within_s
        if last is not None and last.failures and last.closed is not None and now - last.closed <= within:
            put(last, one)
            return self._opener.reopen(last, one)
        return self._opener.open(one, now, last.id if last else "")

    async def _settle(self, conn: Conn, draft: Draft, plan: PlanState, routed: Mapping[str, Routed]) -> Change | None:
        """Judge a story and tell what changed."""
        began = [row for row in draft.failures if row.firing and row.changed_at == draft.now]
        ours = [row for row in began if row.source == OWN]
        standing = Standing(
            state=draft.state,
            firing=draft.firing or (draft.new and not draft.failures),
            plan=plan,
            began=bool(began),
            vm_failed=any(row.alert.name not in WAITS for row in ours),
            stands_still=any(row.alert.name in WAITS for row in ours),
            waited=bool(draft.failures) and all(row.alert.name in WAITS for row in draft.failures),
            succeeded=draft.succeeded,
            run=draft.run,
            seen=draft.plan_phase,
            note=draft.note,
            endless=draft.endless,
        )
        judgement = judge(standing)
        self._apply(draft, judgement, plan)
        return await self._publish(conn, draft, routed)

    def _apply(self, draft: Draft, judgement: Judgement, plan: PlanState) -> None:
        if judgement.close_as is not None and judgement.delayed:
            times = self._config.global_
            delay = times.reopen_within_s if draft.endless else times.resolve_delay_s
            if draft.close_at is None:
                draft.close_at = draft.now + delay
            if draft.now < draft.close_at:
                return
        if plan.phase not in (PlanPhase.UNREADABLE, PlanPhase.NO_PLAN):
            draft.plan_phase = plan.phase
        draft.close_at = None
        unseen = judgement.change is Change.FAILED_AGAIN and draft.state is not StoryState.RERUNNING
        if judgement.change is Change.RERUN or unseen:
            draft.reruns += 1
        draft.state = judgement.state
        draft.note = judgement.note
        if judgement.change is Change.FAILED_AGAIN:
            draft.evidence, draft.run = None, plan.run
            self._opener.want_evidence(draft)
        elif plan.phase is PlanPhase.FAILED and judgement.state is StoryState.FIRING:
            draft.run = draft.run or plan.run
        if judgement.close_as is not None:
            draft.outcome, draft.closed = judgement.close_as, draft.now
            if judgement.close_as is Outcome.FIXED and draft.evidence is not None:
                # The counts of the failed run would read as if VMs were still missing.
                draft.evidence = replace(draft.evidence, counts=plan.counts or VMCounts())
            draft.identify_due = None
        if judgement.change is not None:
            draft.note_change(judgement.change, judgement.text)

    async def _publish(self, conn: Conn, draft: Draft, routed: Mapping[str, Routed]) -> Change | None:
        """Save a draft as one revision and let its destinations lag behind it."""
        if draft.new and not draft.changes:
            draft.note_change(Change.FIRED, "opened")
        plan = await self._teller.plan(conn, draft, routed)
        if plan.new_reasons and not draft.new:
            draft.note_change(Change.TOLD, plan.told_text)
        if not draft.changes and draft.open and plan.flips:
            draft.note_change(Change.ALERTS, "an alert came or went for some of those who are told")
        change, text = primary(draft.changes)
        loud = change is not None and attention.may_call(draft, change)
        key = entry_key(change, draft.reruns, draft.reopens, draft.revision + 1) if change is not None and loud else ""
        draft.changes.clear()
        await stories.save(conn, draft, change, text, key)
        await self._teller.tell(conn, draft, plan, change, text, key)
        return change
