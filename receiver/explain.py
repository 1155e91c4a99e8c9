"""What would become of alerts: where each goes and why, and the first message at each destination. Sends nothing.

Every alert is judged as if it opened a story of its own, with the same identification, routing, evidence and rendering
as in the service.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from receiver import ids
from receiver.attempt import MUTED_CHECK, Destination
from receiver.clock import Clock
from receiver.config.model import Config, Route
from receiver.destinations import Manner
from receiver.enrichers.facts import evidence_facts
from receiver.enrichers.redact import Redactor
from receiver.explain_evidence import Reader
from receiver.identify import Identified, Identifier
from receiver.kube import Cluster
from receiver.model import (
    Alert,
    Change,
    DeliveryState,
    Evidence,
    Identity,
    Outcome,
    PlanPhase,
    PlanState,
    Reason,
    Story,
    StoryAlert,
    StoryState,
    TimelineEntry,
    Told,
    Wanted,
)
from receiver.routing.intervals import next_allowed
from receiver.routing.tree import Intervals, Routed, Target, Verdict, allowed, nodes, route

AT_ONCE = 8
"""Alerts looked up side by side: an API server is asked no more than the service would ask it."""

TOLD, MUTED, NOT_TOLD = "told", "muted", "not told"


@dataclass(frozen=True, slots=True)
class Shown:
    """What one destination would do with an alert."""

    receiver: str
    kind: str
    destination: str
    label: str
    state: str
    """`told`, `muted` (held back by time intervals) or `not told`."""
    reason: str
    request: Mapping[str, Any] | None
    """The body that would be sent; None where nothing would be. Secrets that sign it in are not part of it."""
    wanted: Wanted
    content: str
    templates_dir: Path | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored of an alert's subject: nobody is asked then."""

    identity: Identity
    role: str
    evidence: Evidence | None
    run: str = ""


@dataclass(frozen=True, slots=True)
class Explained:
    """One alert, from its labels to every message."""

    alert: Alert
    identity: Identified
    evidence: Evidence | None
    facts: Mapping[str, str]
    verdicts: tuple[Verdict, ...]
    receivers: tuple[str, ...]
    """Names of the receivers that the routes chose."""
    destinations: tuple[Shown, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """What could not be learnt, each a sentence for people."""
        evidence = self.evidence.missing if self.evidence else ()
        return (*self.identity.identity.missing, *(f"{one.what}: {one.why}" for one in evidence))

    def json(self) -> dict[str, Any]:
        """Return the public form."""
        return {
            "fingerprint": self.alert.fingerprint,
            "subject": self.identity.identity.subject,
            "facts": dict(self.facts),
            "missing": list(self.missing),
            "routes": [
                {"path": one.path, "line": one.position, "matched": one.matched, "reason": one.reason}
                for one in self.verdicts
            ],
            "destinations": [
                {
                    "receiver": one.receiver,
                    "kind": one.kind,
                    "destination": one.destination,
                    "state": one.state,
                    "reason": one.reason,
                    "request": one.request,
                }
                for one in self.destinations
            ],
        }


class FixedClock:
    """Stands still at one moment: a whole explanation is made as of it."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


IsShown = Callable[[Identity, Alert], Awaitable[bool]]


NOTHING_KNOWN: Final[Mapping[str, Known]] = MappingProxyType({})


async def _all_shown(_identity: Identity, _alert: Alert) -> bool:
    return True


async def explain(
    config: Config,
    alerts: Sequence[Alert],
    *,
    clusters: Mapping[str, Cluster],
    now: datetime,
    redactor: Redactor,
    destinations: Mapping[str, Destination],
    shown: IsShown = _all_shown,
    known: Mapping[str, Known] = NOTHING_KNOWN,
    owner: str = "",
    until: float = math.inf,
) -> tuple[Explained, ...]:
    """Explain alerts in their order. Never raises for what a cluster does; what it did not say is in `missing`.

    What clusters know of a subject that is not `shown` to whoever asks is left out: only the alert itself counts then.
    `known` is what is known already, by fingerprint; `owner` the namespace that owns what nobody knows the owner of.
    Raises TimeoutError where there is more to do `until` (monotonic) than can be done.
    """
    explainer = _Explainer(config, clusters, FixedClock(now), redactor, destinations, shown, known, owner, until)
    try:
        return tuple(await asyncio.gather(*(explainer.one(alert) for alert in alerts)))
    finally:
        await explainer.identifier.aclose()
        await explainer.unasked.aclose()


class _Explainer:
    def __init__(
        self,
        config: Config,
        clusters: Mapping[str, Cluster],
        clock: Clock,
        redactor: Redactor,
        destinations: Mapping[str, Destination],
        shown: IsShown,
        known: Mapping[str, Known],
        owner: str,
        until: float,
    ) -> None:
        self._shown = shown
        self._known = known
        self._owner = owner
        self._until = until
        self._opening: dict[tuple[Intervals, ...], datetime | None] = {}
        self._config = config
        self._clusters = clusters
        self._now = clock.now()
        self._redactor = redactor
        self._destinations = destinations
        self._reader = Reader(config, clusters, redactor, timeout_s=config.global_.evidence_timeout_s)
        self._room = asyncio.Semaphore(AT_ONCE)
        self.identifier = Identifier(config, clusters, clock, redactor.text)
        self.unasked = Identifier(config, {}, clock, redactor.text)

    async def one(self, alert: Alert) -> Explained:
        async with self._room:
            found, evidence = await self._learn(alert)
        first = route(alert.labels, found.identity.facts, self._config)
        learnt = evidence_facts(evidence) if evidence and found.identity.kind == "plan" else {}
        facts = {**found.identity.facts, **learnt}
        full = route(alert.labels, facts, self._config) if evidence else first
        alert = self._redactor.alert(alert)
        targets = _united(first, full)
        quiet = _quiet(alert, found, full)
        story = self._story(alert, found, evidence, targets)
        return Explained(
            alert=alert,
            identity=found,
            evidence=evidence,
            facts=facts,
            verdicts=full.verdicts,
            receivers=() if _unheard(alert, found, full) else _receivers(self._config.route, (first, full)),
            destinations=tuple([await self._shown_at(story, target, quiet) for target in targets]),
        )

    async def _learn(self, alert: Alert) -> tuple[Identified, Evidence | None]:
        stored = self._known.get(alert.fingerprint)
        if stored is not None:
            phase = PlanPhase.FAILED if stored.run else PlanPhase.NO_PLAN
            return Identified(stored.identity, stored.role, PlanState(phase, stored.run)), stored.evidence
        found = await self.identifier.identify(alert)
        evidence = None
        if await self._shown(found.identity, alert):
            evidence = await self._gather(alert, found)
        else:
            found = await self.unasked.identify(alert)
        identity = found.identity
        if self._owner and not identity.owner_namespace:
            facts = {**identity.facts, "owner_namespace": self._owner}
            found = replace(found, identity=replace(identity, owner_namespace=self._owner, facts=facts))
        return found, evidence

    async def _shown_at(self, story: Story, target: Target, quiet: str) -> Shown:
        await asyncio.sleep(0)  # each costs some milliseconds, and there may be hundreds
        self._in_time()
        return self._show(story, target, quiet)

    def _in_time(self) -> None:
        if time.monotonic() > self._until:
            raise TimeoutError("there is more to explain than can be in time")

    async def _gather(self, alert: Alert, found: Identified) -> Evidence | None:
        cluster = self._clusters.get(found.identity.cluster)
        if cluster is None or not alert.firing or found.role != "failure":
            return None
        return await self._reader.read(cluster, found.identity, alert, self._now)

    def _story(self, alert: Alert, found: Identified, evidence: Evidence | None, targets: Sequence[Target]) -> Story:
        """Return the story as this alert alone would open it. Its id comes from the alert: two runs can be compared."""
        identity = found.identity
        success = found.role == "success"
        muted = [not allowed(target.intervals, self._config, self._now) for target in targets]
        return Story(
            id=ids.ulid(alert.starts_at.timestamp(), int(alert.fingerprint, 16)),
            subject=identity.subject,
            kind=identity.kind,
            state=StoryState.RESOLVED if success else StoryState.FIRING,
            revision=1,
            severity=alert.labels.get("severity", "info" if success else "warning"),
            title=alert.annotations.get("summary") or alert.name or identity.name or "an alert without a name",
            opened=self._now,
            updated=self._now,
            outcome=Outcome.FIXED if success else None,
            closed=self._now if success else None,
            identity=identity,
            evidence=evidence,
            alerts=(StoryAlert(alert, found.role, 1),),
            timeline=(TimelineEntry(1, self._now, Change.FIRED, f"{alert.name or 'an alert'} fires", "fired"),),
            told=tuple(
                Told(
                    target.config.receiver,
                    target.config.kind,
                    target.config.identity,
                    DeliveryState.MUTED if silent else DeliveryState.PENDING,
                )
                for target, silent in zip(targets, muted, strict=True)
            ),
            run=evidence.run if evidence else found.plan.run if found.plan.phase is PlanPhase.FAILED else "",
        )

    def _show(self, story: Story, target: Target, quiet: str) -> Shown:
        config = target.config
        sender = self._destinations[config.identity].sender
        wanted = Wanted(
            story=story,
            keys=ids.keys(story.id, story.subject, config.identity),
            firing=story.open,
            reasons=target.reasons,
            audible=True,
            external_url=self._config.web.external_url,
        )
        reason = "; ".join(f"{one.text} ({one.route})" if one.route else one.text for one in target.reasons)
        state, body = TOLD, None
        if quiet:
            state, reason = NOT_TOLD, quiet
        elif not story.open and sender.manner is not Manner.CHAT:
            state, reason = NOT_TOLD, "a success opens no incident and no ticket"
        elif (step := sender.plan(wanted)) is None:
            state, reason = NOT_TOLD, f"{config.kind} has nothing to show for it"
        else:
            body = step.body
            if not allowed(target.intervals, self._config, self._now):
                state, reason = MUTED, f"{reason}; {self._held(target.intervals)}"
        return Shown(
            config.receiver,
            config.kind,
            config.identity,
            config.label,
            state,
            reason,
            body,
            wanted,
            config.content,
            config.templates_dir,
        )

    def _held(self, intervals: tuple[Intervals, ...]) -> str:
        if intervals not in self._opening:
            self._opening[intervals] = next_allowed(self._now, partial(self._allowed, intervals), MUTED_CHECK)
        opens = self._opening[intervals]
        names = sorted({name for one in intervals for name in (*one.mute, *one.active)})
        until = f"until {opens:%Y-%m-%d %H:%M} UTC" if opens else f"for more than {MUTED_CHECK.days} days"
        return f"held back by {', '.join(names)} {until}"

    def _allowed(self, intervals: tuple[Intervals, ...], moment: datetime) -> bool:
        self._in_time()
        return allowed(intervals, self._config, moment)


def _united(first: Routed, full: Routed) -> tuple[Target, ...]:
    """What is told before the evidence is known stays told; late facts only add."""
    targets = {target.config.identity: target for target in full.targets}
    early: dict[str, Target] = {}
    for target in first.targets:
        if target.config.identity not in targets:
            reasons = tuple(
                Reason(one.route, f"told before the evidence was there: {one.text}") for one in target.reasons
            )
            early[target.config.identity] = replace(target, reasons=reasons)
    return (*early.values(), *targets.values())


def _unheard(alert: Alert, found: Identified, routed: Routed) -> bool:
    """A success that no route wants to hear of."""
    return alert.firing and found.role == "success" and not routed.notify_success


def _quiet(alert: Alert, found: Identified, routed: Routed) -> str:
    """Return why nobody gets a first message for this alert, or the empty string."""
    if not alert.firing:
        return "resolved: it can end what is told already, and begins nothing"
    if _unheard(alert, found, routed):
        return "a success closes an open story, and is told by itself only under a route with notify_success"
    return ""


def _receivers(root: Route, judged: Sequence[Routed]) -> tuple[str, ...]:
    """Return the receivers of the routes that were reached: those that matched while none below them did."""
    names: dict[str, None] = {}
    for routed in judged:
        matched = {one.path for one in routed.verdicts if one.matched}
        for node in nodes(root):
            if node.path in matched and not any(child.path in matched for child in node.routes):
                names |= dict.fromkeys(node.receivers)
        names |= dict.fromkeys(routed.chosen)
    return tuple(names)
