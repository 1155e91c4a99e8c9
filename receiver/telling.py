"""Who shows a story, and what is left to send there after each revision."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from receiver import ids
from receiver.config.model import Config, DestinationConfig
from receiver.destinations import Manner, Sender
from receiver.model import AUDIBLE, Change, Reason
from receiver.model.shadow import without_shadow
from receiver.routing.tree import Intervals, Routed, Target
from receiver.store import attention, audit, deliveries, moving, stories
from receiver.store.codec import dump_json
from receiver.store.deliveries import DeliveryRow, NewDelivery
from receiver.store.drafts import Draft
from receiver.store.engine import Conn

log = structlog.get_logger(__name__)

MOST_ASKED_FOR = 20
"""Destinations that the owners of a namespace may add to one story, however often they change their mind."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the routes say now, against what is told already."""

    rows: tuple[DeliveryRow, ...]
    fingerprints: Mapping[str, frozenset[str]]
    """Destination identity → the alerts routed to it, as far as this change judged them."""
    new: tuple[Target, ...]
    more: Mapping[str, Target]
    """Delivery id → the target with reasons that it did not have."""
    missing: tuple[tuple[str, str], ...] = ()
    """Delivery id and fingerprint: an alert that is routed there now, and was not yet."""
    fires: frozenset[str] = frozenset()
    """Deliveries that begin to fire."""
    stopped: frozenset[str] = frozenset()
    """Deliveries that cease to."""

    @property
    def flips(self) -> frozenset[str]:
        return self.fires | self.stopped

    @property
    def new_reasons(self) -> bool:
        return bool(self.new or self.more)

    @property
    def told_text(self) -> str:
        """Such as `also told: payments/slack`."""
        if not self.new:
            return "another route chose the same destination"
        return _told([target.config for target in self.new])


class Teller:
    """Keeps a story's deliveries: the union over its alerts, each destination once, none ever taken away."""

    def __init__(self, config: Config, senders: Mapping[str, Sender], random: Callable[[], int]) -> None:
        self._config = config
        self._senders = senders
        self._random = random

    async def plan(self, conn: Conn, draft: Draft, routed: Mapping[str, Routed]) -> Plan:
        """Compare what the routes say with what is told. Writes nothing."""
        rows = tuple(await deliveries.of_story(conn, draft.id)) if not draft.new else ()
        if any(change is Change.REOPENED for change, _ in draft.changes):  # whoever gave it away hears of it again
            rows = tuple(replace(row, moved="") for row in rows)
        known = {row.destination: row for row in rows}
        asked_for = sum(self._only_asked_for(row.reasons) for row in rows)
        fingerprints: dict[str, set[str]] = {}
        new: dict[str, Target] = {}
        more: dict[str, Target] = {}
        for fingerprint, result in routed.items():
            row = draft.alerts.get(fingerprint)
            if row is None or not (draft.new or (row.firing and draft.open)):
                continue  # (what began and ended within one batch is told as what a first message never left for)
            late = draft.not_told.get(fingerprint, ())
            for target in result.targets:
                identity = target.config.identity
                if identity in late and identity not in known:
                    continue  # a newer route than the story
                fingerprints.setdefault(identity, set()).add(fingerprint)
                old = known.get(identity)
                if old is None and self._only_asked_for(target.reasons):
                    if asked_for >= MOST_ASKED_FOR and identity not in new:
                        continue
                    asked_for += identity not in new
                if old is None:
                    new[identity] = _union(new.get(identity), target)
                elif any(reason not in old.reasons for reason in target.reasons):
                    more[old.id] = _union(more.get(old.id), target)
        routed_now = {key: frozenset(value) for key, value in fingerprints.items()}
        if not rows:
            return Plan(rows, routed_now, tuple(new.values()), more)
        joined = await deliveries.joined(conn, [row.id for row in rows])
        missing = [(row.id, each) for row in rows for each in routed_now.get(row.destination, ())]
        missing = [(delivery, each) for delivery, each in missing if each not in joined[delivery]]
        for delivery, each in missing:
            joined[delivery].add(each)
        fires, stopped = _flips(draft, rows, joined)
        return Plan(rows, routed_now, tuple(new.values()), more, tuple(missing), fires, stopped)

    async def tell(self, conn: Conn, draft: Draft, plan: Plan, change: Change | None, text: str, key: str) -> None:
        """Write what `plan` found, and let every destination of the story lag behind its new revision.

        Without a `key` the change is kept quiet: it edits what is shown and adds no entry, whatever it is.
        """
        if change is Change.REOPENED:
            await moving.all_back(conn, draft.id)
        more = [(row.label, plan.more[row.id].reasons) for row in plan.rows if row.id in plan.more]
        new = [(target.config.label, target.reasons) for target in plan.new]
        await audit.notes(conn, audit.routed(draft.id, [*new, *more]))
        await deliveries.join(conn, plan.missing)
        for row in plan.rows:
            if row.id in plan.more:
                await self._add_reasons(conn, row, plan.more[row.id])
        await deliveries.set_firing(conn, sorted(plan.fires), True)
        await deliveries.set_firing(conn, sorted(plan.stopped), False)
        if plan.rows:
            await self._bump(conn, draft, plan, change, text, key)
        if not draft.open:
            await deliveries.skip_muted(conn, draft.id)
        await self._add(conn, draft, plan, text)
        await attention.look_later(conn, draft, self._config.global_.remind_after_s)

    async def _bump(self, conn: Conn, draft: Draft, plan: Plan, change: Change | None, text: str, key: str) -> None:
        """Let deliveries lag; while a story goes on, its news are news only where an alert of one's own fires."""
        rows = [row for row in plan.rows if not row.moved]
        concerned = [
            row
            for row in rows
            if not draft.open or (row.id not in plan.stopped and (row.firing or row.id in plan.fires))
        ]
        loud = {row.id for row in concerned} if change in AUDIBLE and key else set()
        if draft.open:
            loud |= plan.flips
        everyone = len(loud) == len(rows)
        if change is not None and not everyone:
            await deliveries.bump(conn, draft.id, draft.revision, draft.now, audible=False)
        if loud:
            chosen = None if everyone else sorted(loud)
            await deliveries.bump(conn, draft.id, draft.revision, draft.now, audible=True, ids=chosen)
        if change is not None and key:
            telling = [row.id for row in concerned if row.started and self._has_entry(row.destination, change)]
            await deliveries.add_entries(conn, telling, key, change, text, draft.revision, draft.now)

    def _has_entry(self, destination: str, change: Change) -> bool:
        sender = self._senders.get(destination)
        return sender is not None and change in sender.entry_changes

    async def _add(self, conn: Conn, draft: Draft, plan: Plan, text: str) -> None:
        firing = frozenset(row.alert.fingerprint for row in draft.failures if row.firing)
        before = await self._before(conn, draft, plan.new)
        made: list[NewDelivery] = []
        pairs: list[tuple[str, str]] = []
        reopened: list[str] = []
        for target in plan.new:
            new = replace(self.new(draft, target.config, target.reasons, target.intervals), firing=draft.open)
            if old := before.rows.get(target.config.identity):
                new = _after(new, old, before, target.config, self._senders[target.config.identity])
                if new.root is not None:
                    reopened.append(new.id)
                    await deliveries.let_go(conn, old.id)
            made.append(new)
            joins = plan.fingerprints.get(target.config.identity, frozenset()) or firing
            pairs += [(new.id, fingerprint) for fingerprint in sorted(joins)]
        await deliveries.add_all(conn, draft.id, made, draft.revision, draft.now)
        await deliveries.join(conn, pairs)
        again = f"{text}: a new failure of the same subject"
        await deliveries.add_entries(conn, reopened, "reopened", Change.REOPENED, again, draft.revision, draft.now)

    async def _before(self, conn: Conn, draft: Draft, targets: Sequence[Target]) -> _Before:
        """Return the tickets of the story before this one, which may be reopened."""
        tickets = {one.config.identity for one in targets if self._is(one.config.identity, Manner.TICKET)}
        closed = await stories.closed_at(conn, draft.previous) if tickets and draft.previous and draft.open else None
        if closed is None:
            return _Before({}, 0.0)
        rows = await deliveries.of_story(conn, draft.previous)
        return _Before({row.destination: row for row in rows if row.destination in tickets}, draft.now - closed)

    def _is(self, destination: str, manner: Manner) -> bool:
        sender = self._senders.get(destination)
        return sender is not None and sender.manner is manner

    def new(
        self,
        draft: Draft,
        config: DestinationConfig,
        reasons: tuple[Reason, ...],
        intervals: tuple[Intervals, ...] = (),
        fallback_for: str = "",
    ) -> NewDelivery:
        """Return a delivery of a story at a destination that does not show it yet."""
        return NewDelivery(
            id=ids.ulid(draft.now, self._random()),
            receiver=config.receiver,
            kind=config.kind,
            destination=config.identity,
            label=config.label,
            # Subjects name namespaces, plans and nodes.
            keys=ids.keys(draft.id, draft.subject if config.content == "full" else "", config.identity),
            reasons=reasons,
            intervals=tuple({"mute": one.mute, "active": one.active} for one in intervals),
            wait_s=self._wait_s(draft, config),
            fallback_for=fallback_for,
        )

    def _wait_s(self, draft: Draft, config: DestinationConfig) -> float:
        """How long a first message waits for evidence: pagers never do."""
        if draft.gather_due is None or not draft.open:
            return 0.0
        sender = self._senders.get(config.identity)
        if sender is None or sender.manner is Manner.PAGER:
            return 0.0
        times = self._config.global_
        return times.evidence_timeout_s if sender.waits_for_evidence else times.evidence_wait_s

    async def _add_reasons(self, conn: Conn, row: DeliveryRow, target: Target) -> None:
        reasons = (*row.reasons, *(reason for reason in target.reasons if reason not in row.reasons))
        intervals = json.loads(row.intervals)
        intervals += [{"mute": list(one.mute), "active": list(one.active)} for one in target.intervals]
        await deliveries.set_reasons(conn, row.id, reasons, dump_json(intervals))

    async def hurry(self, conn: Conn, draft: Draft) -> None:
        """Evidence is there, or will not come in time: nothing waits for it any longer."""
        await deliveries.hurry(conn, draft.id, draft.now)

    async def wake_pagers(self, conn: Conn, draft: Draft) -> None:
        """Let pagers look again, although nothing changed: they kept a quiet update for evidence that did not come."""
        rows = await deliveries.of_story(conn, draft.id)
        pagers = [row.id for row in rows if row.started and self._is(row.destination, Manner.PAGER)]
        if pagers:
            await deliveries.bump(conn, draft.id, draft.revision, draft.now, audible=False, ids=pagers)

    async def take_over(self, conn: Conn, younger: Draft, older: Draft, text: str) -> None:
        """Move the younger story's destinations to the older one; what both told ends with the younger."""
        await deliveries.move(conn, younger.id, older.id)
        rows = tuple(await deliveries.of_story(conn, younger.id))
        if not rows:
            return
        keeps = {row.destination: row.id for row in await deliveries.of_story(conn, older.id)}
        joined = await deliveries.joined(conn, [row.id for row in rows])
        await deliveries.join(conn, ((keeps[row.destination], each) for row in rows for each in sorted(joined[row.id])))
        await deliveries.set_firing(conn, [row.id for row in rows], False)
        await self._bump(conn, younger, Plan(rows, {}, (), {}), Change.RESOLVED, text, "resolved")

    async def fall_back(self, conn: Conn, draft: Draft, row: DeliveryRow, why: str) -> list[str]:
        """Tell the receiver's fallback what `row` cannot be told; else, or where it knows already, the root receiver.

        Returns who is told. Nobody: all of these know the story already, which is logged.
        """
        rows = await deliveries.of_story(conn, draft.id)
        known = {one.destination for one in rows}
        reason = f"{row.label}: {why}"
        for names in self._stand_ins(row):
            # One in shadow mode would tell nobody.
            live = [one for name in names for one in self._config.receivers[name].destinations if not one.shadow]
            configs = {one.identity: one for one in live}
            new = [one for identity, one in configs.items() if identity not in known]
            if not new:
                continue
            return await self._also_tell(conn, draft, new, Reason("", f"in place of {reason}"), fallback_for=reason)
        log.warning("telling.nobody_left", story=draft.id, destination=row.label, why=why, told=[r.label for r in rows])
        return []

    async def adopt(self, conn: Conn, draft: Draft, names: Sequence[str], reason: Reason) -> None:
        """Tell receivers of a story that nobody is left to be told of."""
        configs = {one.identity: one for name in names for one in self._config.receivers[name].destinations}
        await self._also_tell(conn, draft, list(configs.values()), reason)

    async def _also_tell(
        self, conn: Conn, draft: Draft, new: Sequence[DestinationConfig], reason: Reason, fallback_for: str = ""
    ) -> list[str]:
        told = [one.label for one in new]
        await stories.save(conn, draft, Change.TOLD, f"{_told(new)}, {reason.text}", "")
        await audit.notes(conn, audit.routed(draft.id, [(label, (reason,)) for label in told]))
        await deliveries.bump(conn, draft.id, draft.revision, draft.now, audible=False)
        made = [replace(self.new(draft, one, (reason,), fallback_for=fallback_for), firing=draft.open) for one in new]
        await deliveries.add_all(conn, draft.id, made, draft.revision, draft.now)
        firing = [row.alert.fingerprint for row in draft.failures if row.firing]
        await deliveries.join(conn, [(one.id, each) for one in made for each in firing])
        return told

    def _stand_ins(self, row: DeliveryRow) -> Iterable[tuple[str, ...]]:
        found = self._config.receivers.get(row.receiver)
        if found is not None and found.fallback and row.destination in {one.identity for one in found.destinations}:
            yield (found.fallback,)
        if not self._only_asked_for(row.reasons):  # else the tree's own destinations are told, each with its fallback
            yield self._config.route.receivers

    def _only_asked_for(self, reasons: Iterable[Reason]) -> bool:
        """Did nothing but the owners of a namespace choose this?"""
        rules = self._config.namespace_routing
        return rules is not None and all(one.route == rules.position for one in reasons)


@dataclass(frozen=True, slots=True)
class _Before:
    """How the story before this one was shown."""

    rows: Mapping[str, DeliveryRow]
    """Destination identity → its delivery."""
    closed_s_ago: float


def _after(
    new: NewDelivery, old: DeliveryRow, before: _Before, config: DestinationConfig, sender: Sender
) -> NewDelivery:
    """Let a ticket be reopened that was closed within `reopen_duration`; a later one names it."""
    root = json.loads(old.root) if old.root else {}
    if not root.get("id") or root.get("gone"):
        return new
    if before.closed_s_ago > getattr(config.settings, "reopen_duration", 0.0):
        return replace(new, keys=replace(new.keys, follows=sender.link(root) or str(root.get("key", ""))))
    # No revision of this story is told by the root yet, and the one before is over, whoever closed the ticket.
    real = without_shadow(root)
    kept = {**real, "revision": 0, "state": "done" if root.get("state") == "open" else root.get("state")}
    kept.pop("looked", None)  # that was a revision of the story before
    return replace(new, keys=old.keys, root=dump_json(kept))


def _flips(
    draft: Draft, rows: Sequence[DeliveryRow], joined: Mapping[str, set[str]]
) -> tuple[frozenset[str], frozenset[str]]:
    """A delivery fires while an alert routed to it does; when none of the story's fires, the Plan decides.

    Returns the deliveries that begin to fire, and those that cease.
    """
    fires: set[str] = set()
    stopped: set[str] = set()
    firing = {row.alert.fingerprint for row in draft.failures if row.firing}
    for row in rows:
        if row.moved:
            continue
        if not draft.open:
            wanted = False
        elif joined[row.id] & firing or row.fallback_for or any(reason.given for reason in row.reasons):
            wanted = True
        elif firing:
            wanted = False
        else:
            wanted = row.firing  # nobody fires: the Plan decides, and what ended earlier stays ended
        if wanted and not row.firing:
            fires.add(row.id)
        elif not wanted and row.firing:
            stopped.add(row.id)
    return frozenset(fires), frozenset(stopped)


def _told(new: Sequence[DestinationConfig]) -> str:
    """Return who is told, and who would be."""
    live, shadow = [one.label for one in new if not one.shadow], [one.label for one in new if one.shadow]
    said = [f"also told: {', '.join(live)}"] if live else []
    said += [f"in shadow, so not told: {', '.join(shadow)}"] if shadow else []
    return "; ".join(said)


def _union(old: Target | None, new: Target) -> Target:
    if old is None:
        return new
    pairs = dict(zip(old.reasons, old.intervals, strict=True))
    pairs |= dict(zip(new.reasons, new.intervals, strict=True))
    return Target(old.config, tuple(pairs), tuple(pairs.values()))
