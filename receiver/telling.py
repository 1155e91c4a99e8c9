"""Who shows a story, and what is left to send there after each revision."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from receiver import ids
from receiver.config.model import Config, DestinationConfig
from receiver.destinations import Manner, Sender
from receiver.model import AUDIBLE, Change, Reason
from receiver.routing.tree import Intervals, Routed, Target
from receiver.store import deliveries
from receiver.store.codec import dump_json
from receiver.store.deliveries import DeliveryRow, NewDelivery
from receiver.store.engine import Conn
from receiver.store.stories import Draft


@dataclass(frozen=True, slots=True)
class Plan:
    """What the routes say now, against what is told already."""

    rows: tuple[DeliveryRow, ...]
    fingerprints: Mapping[str, frozenset[str]]
    """Destination identity → the alerts routed to it, as far as this change judged them."""
    new: tuple[Target, ...]
    more: Mapping[str, Target]
    """Delivery id → the target with reasons that it did not have."""

    @property
    def new_reasons(self) -> bool:
        return bool(self.new or self.more)

    @property
    def told_text(self) -> str:
        """Such as `also told: payments/slack`."""
        if not self.new:
            return "another route chose the same destination"
        return "also told: " + ", ".join(target.config.label for target in self.new)


class Teller:
    """Keeps a story's deliveries: the union over its alerts, each destination once, none ever taken away."""

    def __init__(self, config: Config, senders: Mapping[str, Sender], random: Callable[[], int]) -> None:
        self._config = config
        self._senders = senders
        self._random = random

    async def plan(self, conn: Conn, draft: Draft, routed: Mapping[str, Routed]) -> Plan:
        """Compare what the routes say with what is told. Writes nothing."""
        rows = tuple(await deliveries.of_story(conn, draft.id)) if not draft.new else ()
        known = {row.destination: row for row in rows}
        fingerprints: dict[str, set[str]] = {}
        new: dict[str, Target] = {}
        more: dict[str, Target] = {}
        for fingerprint, result in routed.items():
            row = draft.alerts.get(fingerprint)
            if row is None or not row.firing or not (draft.open or draft.new):
                continue
            for target in result.targets:
                identity = target.config.identity
                fingerprints.setdefault(identity, set()).add(fingerprint)
                old = known.get(identity)
                if old is None:
                    new[identity] = _union(new.get(identity), target)
                elif any(reason not in old.reasons for reason in target.reasons):
                    more[old.id] = _union(more.get(old.id), target)
        return Plan(rows, {key: frozenset(value) for key, value in fingerprints.items()}, tuple(new.values()), more)

    async def tell(self, conn: Conn, draft: Draft, plan: Plan, change: Change | None, text: str, key: str) -> None:
        """Write what `plan` found, and let every destination of the story lag behind its new revision."""
        for row in plan.rows:
            for fingerprint in plan.fingerprints.get(row.destination, ()):
                await deliveries.join(conn, row.id, fingerprint)
            if row.id in plan.more:
                await self._add_reasons(conn, row, plan.more[row.id])
        fires, stopped = await self._flips(conn, draft, plan)
        await deliveries.set_firing(conn, fires, True)
        await deliveries.set_firing(conn, stopped, False)
        if change is not None and plan.rows:
            await self._bump(conn, draft, plan.rows, change, text, key)
        if (fires or stopped) and draft.open and change not in AUDIBLE:
            await deliveries.bump(conn, draft.id, draft.revision, draft.now, audible=True, ids=[*fires, *stopped])
        for target in plan.new:
            await self._add(conn, draft, target, plan.fingerprints.get(target.config.identity, frozenset()))

    async def _bump(
        self, conn: Conn, draft: Draft, rows: tuple[DeliveryRow, ...], change: Change, text: str, key: str
    ) -> None:
        await deliveries.bump(conn, draft.id, draft.revision, draft.now, audible=change in AUDIBLE)
        for row in rows:
            sender = self._senders.get(row.destination)
            if sender is not None and row.started and change in sender.entry_changes:
                await deliveries.add_entry(conn, row.id, key, change, text, draft.revision, draft.now)

    async def flipped(self, conn: Conn, draft: Draft, plan: Plan) -> bool:
        """Does a delivery begin or cease to fire while its story goes on?"""
        fires, stopped = await self._flips(conn, draft, plan)
        return draft.open and bool(fires or stopped)

    async def _flips(self, conn: Conn, draft: Draft, plan: Plan) -> tuple[list[str], list[str]]:
        """A delivery fires while an alert routed to it does; when none of the story's fires, the Plan decides.

        Returns the deliveries that begin to fire, and those that cease.
        """
        stopped: list[str] = []
        fires: list[str] = []
        if not plan.rows:
            return [], []
        routed = await deliveries.joined(conn, [row.id for row in plan.rows])
        firing = {row.alert.fingerprint for row in draft.failures if row.firing}
        for row in plan.rows:
            if not draft.open:
                wanted = False
            elif (routed[row.id] | plan.fingerprints.get(row.destination, frozenset())) & firing or row.fallback_for:
                wanted = True
            elif firing:
                wanted = False
            else:
                wanted = row.firing  # nobody fires: the Plan decides, and what ended earlier stays ended
            if wanted and not row.firing:
                fires.append(row.id)
            elif not wanted and row.firing:
                stopped.append(row.id)
        return fires, stopped

    async def _add(self, conn: Conn, draft: Draft, target: Target, fingerprints: frozenset[str]) -> None:
        new = self._new(draft, target.config, target.reasons, target.intervals)
        await deliveries.add(conn, draft.id, new, draft.revision, draft.now)
        for fingerprint in fingerprints or [row.alert.fingerprint for row in draft.failures if row.firing]:
            await deliveries.join(conn, new.id, fingerprint)
        if not draft.open:
            await deliveries.set_firing(conn, [new.id], False)

    def _new(
        self,
        draft: Draft,
        config: DestinationConfig,
        reasons: tuple[Reason, ...],
        intervals: tuple[Intervals, ...] = (),
        fallback_for: str = "",
    ) -> NewDelivery:
        return NewDelivery(
            id=ids.ulid(draft.now, self._random()),
            receiver=config.receiver,
            kind=config.kind,
            destination=config.identity,
            label=config.label,
            keys=ids.keys(draft.id, draft.subject, config.identity),
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

    async def take_over(self, conn: Conn, younger: Draft, older: Draft, text: str) -> None:
        """Move the younger story's destinations to the older one; what both told ends with the younger."""
        await deliveries.move(conn, younger.id, older.id)
        rows = tuple(await deliveries.of_story(conn, younger.id))
        keeps = {row.destination: row.id for row in await deliveries.of_story(conn, older.id)}
        for delivery, fingerprints in (await deliveries.joined(conn, [row.id for row in rows])).items():
            destination = next(row.destination for row in rows if row.id == delivery)
            for fingerprint in fingerprints:
                await deliveries.join(conn, keeps[destination], fingerprint)
        await deliveries.set_firing(conn, [row.id for row in rows], False)
        await self._bump(conn, younger, rows, Change.RESOLVED, text, "resolved")

    async def fall_back(self, conn: Conn, draft: Draft, row: DeliveryRow, why: str) -> list[str]:
        """Tell the receiver's fallback, else the root receiver, what `row` cannot be told. Returns who is told."""
        receiver = self._config.receivers.get(row.receiver)
        names = (receiver.fallback,) if receiver and receiver.fallback else self._config.route.receivers
        known = {one.destination for one in await deliveries.of_story(conn, draft.id)}
        reason = f"{row.label}: {why}"
        told: list[str] = []
        for name in names:
            for config in self._config.receivers[name].destinations:
                if config.identity in known:
                    continue
                known.add(config.identity)
                new = self._new(draft, config, (Reason("", f"in place of {reason}"),), fallback_for=reason)
                await deliveries.add(conn, draft.id, new, draft.revision, draft.now)
                told.append(config.label)
        return told


def _union(old: Target | None, new: Target) -> Target:
    if old is None:
        return new
    pairs = dict(zip(old.reasons, old.intervals, strict=True))
    pairs |= dict(zip(new.reasons, new.intervals, strict=True))
    return Target(old.config, tuple(pairs), tuple(pairs.values()))
