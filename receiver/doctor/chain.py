"""What was read of each part of the way, and what is said of a link. Frozen, and without any I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from receiver.config.model import SubjectRule
from receiver.kube.rights import Right
from receiver.model import Alert
from receiver.store.deliveries import DeliveryRow

YOUNG_S: Final = 120.0
"""A failure is younger than that: metrics, scrapes, rules and groups each take their time."""


class State(StrEnum):
    """What is known of a link."""

    GOOD = "good"
    BROKEN = "broken"
    UNASKED = "not asked"
    """Whoever knows does not answer."""
    SKIPPED = "not looked at"
    """There was nothing to look at, or what is missing follows from an earlier link."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen of one link, and what cures it."""

    state: State
    seen: str
    cure: str = ""
    meant: bool = False
    """Somebody wants it so: a silence, an inhibition, a time interval."""
    id: str = ""
    title: str = ""


def good(seen: str) -> Finding:
    """Say that a link does what it should."""
    return Finding(State.GOOD, seen)


def broken(seen: str, cure: str, *, meant: bool = False) -> Finding:
    """Say what is wrong with a link, and what helps."""
    return Finding(State.BROKEN, seen, cure, meant)


def unasked(seen: str, cure: str) -> Finding:
    """Say who did not answer."""
    return Finding(State.UNASKED, seen, cure)


def skipped(seen: str, cure: str = "") -> Finding:
    """Say why there is nothing to judge."""
    return Finding(State.SKIPPED, seen, cure)


Before = Mapping[str, Finding]
"""What was found of the earlier links, by id."""


def cause(before: Before, *links: str) -> str:
    """Return the title of the first of these links that is broken; what is missing behind it follows from that."""
    return next((before[one].title for one in links if one in before and before[one].state is State.BROKEN), "")


@dataclass(frozen=True, slots=True)
class Unread:
    """Why nobody could be asked."""

    why: str
    cure: str = ""
    absent: bool = False
    """Nobody is named whom one could ask."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan whose alert is followed."""

    namespace: str
    name: str
    uid: str = ""
    failed: bool = True
    phase: str = "Failed"
    failed_at: datetime | None = None
    cluster: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class ClusterSeen:
    """A cluster, as far as it answers."""

    name: str
    version: str = ""
    missing: tuple[Right, ...] = ()
    rights: Unread | None = None
    """Why nobody knows which rights are missing."""
    labelled: Mapping[str, bool] = field(default_factory=dict)
    """Namespace of Forklift → is it labelled so that it is scraped?"""
    monitors: Mapping[str, int] = field(default_factory=dict)
    """Namespace of Forklift → how many ServiceMonitors it has, where that may be read."""
    unread: Mapping[str, str] = field(default_factory=dict)
    """Namespace of Forklift → why its label or its ServiceMonitors could not be read."""
    counted: int = 0
    """Plans."""


@dataclass(frozen=True, slots=True)
class Target:
    """What Prometheus scrapes of Forklift."""

    url: str
    up: bool
    error: str = ""
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """An alerting rule about failed plans."""

    name: str
    query: str
    error: str = ""
    """Why it could not be evaluated."""
    alerts: tuple[Mapping[str, Any], ...] = ()
    """`labels`, `state` and `activeAt` of each alert that it raises."""


@dataclass(frozen=True, slots=True)
class PrometheusSeen:
    """A Prometheus. None: it does not tell (a Thanos knows of no Alertmanagers)."""

    url: str
    series: tuple[Mapping[str, str], ...] = ()
    """Labels of what Forklift publishes of plans."""
    targets: tuple[Target, ...] | None = None
    rules: tuple[Rule, ...] | None = None
    sends_to: tuple[str, ...] | None = None
    dropped: int = 0
    send_errors: float = 0.0
    """Alerts that it could not send within five minutes."""


@dataclass(frozen=True, slots=True)
class HeldAlert:
    """An alert as an Alertmanager holds it."""

    alert: Alert
    state: str
    receivers: tuple[str, ...]
    silenced_by: tuple[str, ...] = ()
    inhibited_by: tuple[str, ...] = ()
    muted_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Silence:
    """A silence."""

    id: str
    by: str
    comment: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class AlertmanagerSeen:
    """An Alertmanager; the first of its peers that answers."""

    name: str
    url: str
    receiver: str
    """What we are called there."""
    held: tuple[HeldAlert, ...] = ()
    silences: Mapping[str, Silence] = field(default_factory=dict)
    receivers: frozenset[str] = frozenset()
    """All that it has."""
    up_since: datetime | None = None
    failed: float | None = None
    """Webhook requests that failed since it runs; None: its metrics are not readable."""
    sent: float = 0.0


@dataclass(frozen=True, slots=True)
class StorySeen:
    """The newest story of the plan."""

    id: str
    state: str
    outcome: str
    opened: float


@dataclass(frozen=True, slots=True)
class Ours:
    """What our own store knows. Times are database seconds."""

    now: float
    webhook: float | None = None
    """When the last webhook came."""
    known: bool = False
    """The alert that is followed is in the store, and not because we raised it."""
    waiting: int = 0
    oldest_s: float = 0.0
    story: StorySeen | None = None
    deliveries: tuple[DeliveryRow, ...] = ()
    refusing: tuple[tuple[str, str], ...] = ()
    """Names and reason of each destination that is parked or away."""


@dataclass(frozen=True, slots=True)
class Outside:
    """All that was read of the others."""

    now: datetime
    cluster: ClusterSeen | Unread
    prometheus: PrometheusSeen | Unread
    alertmanagers: tuple[AlertmanagerSeen, ...] | Unread
    subjects: tuple[SubjectRule, ...] = ()
    """Which alerts say that a plan failed."""
    plan: Plan | None = None
    alert: HeldAlert | None = None
    """The alert that is followed: the plan's, else any about a failure."""
    at: AlertmanagerSeen | None = None
    """Who holds it; else who would."""


@dataclass(frozen=True, slots=True)
class Seen(Outside):
    """All that was read."""

    ours: Ours | Unread = Unread("not asked", absent=True)

    @property
    def young(self) -> bool:
        """Has the plan failed so lately that its alert may still be on its way?"""
        at = self.plan.failed_at if self.plan is not None else None
        return at is not None and (self.now - at).total_seconds() < YOUNG_S
