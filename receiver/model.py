"""The nouns that every stage speaks in. Frozen; imports nothing of ours.

Times are aware `datetime`s in UTC. Mappings inside are never written to after construction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class AlertStatus(StrEnum):
    """Alertmanager's two states of an alert."""

    FIRING = "firing"
    RESOLVED = "resolved"


class StoryState(StrEnum):
    """Where a story stands."""

    FIRING = "firing"
    RERUNNING = "re-running"
    RESOLVED = "resolved"


class Outcome(StrEnum):
    """How a story ended."""

    FIXED = "fixed"
    CANCELED = "canceled"
    DELETED = "deleted"
    CLEARED = "cleared"
    MERGED = "merged"


class Impact(StrEnum):
    """Is a service down because of the failure?"""

    DOWN = "down"
    AT_RISK = "at_risk"
    NONE = "none"
    UNKNOWN = "unknown"


class Change(StrEnum):
    """What a revision of a story changed."""

    FIRED = "fired"
    ALERTS = "alerts"
    IDENTITY = "identity"
    EVIDENCE = "evidence"
    TOLD = "told"
    ALERT_GONE = "alert-gone"
    RERUN = "rerun"
    WORSE = "worse"
    FAILED_AGAIN = "failed-again"
    REOPENED = "reopened"
    RESOLVED = "resolved"


AUDIBLE = frozenset({Change.FIRED, Change.WORSE, Change.FAILED_AGAIN, Change.REOPENED, Change.RESOLVED})
"""Changes that people should notice; every other change only edits what is already shown."""


class DeliveryState(StrEnum):
    """What a delivery is waiting for, or how it ended."""

    PENDING = "pending"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    MUTED = "muted"
    PARKED = "parked"
    DEAD = "dead"
    SKIPPED = "skipped"
    DIGEST = "digest"


class AttemptOutcome(StrEnum):
    """How one try ended. `unknown`: the request may have been carried out."""

    OK = "ok"
    TRANSIENT = "transient"
    PERMANENT = "permanent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Alert:
    """One label set with its state, as one webhook told it."""

    fingerprint: str
    status: AlertStatus
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None = None
    generator_url: str = ""

    @property
    def name(self) -> str:
        """The `alertname`, or the empty string: Alertmanager does not enforce it."""
        return self.labels.get("alertname", "")

    @property
    def firing(self) -> bool:
        return self.status is AlertStatus.FIRING


class PlanPhase(StrEnum):
    """What a Plan's conditions say, reduced to what a story's end depends on."""

    READY = "Ready"
    EXECUTING = "Executing"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELED = "Canceled"
    GONE = "Gone"
    """Seen before, and absent from a synced watch."""
    UNREADABLE = "Unreadable"
    """There is (or may be) a Plan, but nobody can say in what state."""
    NO_PLAN = "NoPlan"
    """The subject is not about a Plan, or no cluster is configured."""


@dataclass(frozen=True, slots=True)
class VMCounts:
    """How the VMs of a run stand; the five states add up to `total`."""

    total: int = 0
    failed: int = 0
    succeeded: int = 0
    running: int = 0
    waiting: int = 0
    canceled: int = 0


@dataclass(frozen=True, slots=True)
class PlanState:
    """A Plan's phase at one moment, and the run (Migration UID) that it belongs to, where known."""

    phase: PlanPhase
    run: str = ""
    why: str = ""
    """For UNREADABLE and GONE: what was seen, in a sentence for people."""
    counts: VMCounts | None = None
    """For SUCCEEDED: how the VMs of the last run stand, where the Plan could be read."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a subject is: enough to route by. What is not known is the empty string."""

    subject: str
    kind: str
    cluster: str = ""
    uid: str = ""
    namespace: str = ""
    name: str = ""
    target_namespace: str = ""
    owner_namespace: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Everything that routes can match besides the alert's own labels, under names of its own."""
    complete: bool = True
    """False: a later look-up may know more, so ask again."""
    missing: tuple[str, ...] = ()
    """What could not be learnt and why, each a sentence for people."""
    alias: str = ""
    """A key under which this subject was, or may have been, known before its UID was."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Evidence that could not be had: what, why, and the cure (`""` where there is none)."""

    what: str
    why: str
    cure: str = ""
    passing: bool = True
    """True: worth asking again while the story is open."""


@dataclass(frozen=True, slots=True)
class VMFailure:
    """One failed VM of a run. Empty strings and None are "not known"."""

    id: str
    name: str
    step: str = ""
    """Name of the failed pipeline step, such as ImageConversion."""
    phase: str = ""
    """Itinerary phase at the time of failure, such as ConvertGuest (the alert's `phase` label)."""
    reasons: tuple[str, ...] = ()
    failed_at: datetime | None = None
    duration_s: float | None = None
    progress: str = ""
    """How far the failed step was, such as "0 of 184,320 MB"."""
    guest: str = ""
    power_before: str = ""
    """On, Off, or empty: Forklift's `restorePowerState`."""
    power_now: str = ""
    """on, off, or empty."""
    off_since: datetime | None = None
    target_exists: bool | None = None


@dataclass(frozen=True, slots=True)
class LogExcerpt:
    """The decisive lines of one container's log, redacted."""

    vm: str
    namespace: str
    pod: str
    container: str
    lines: tuple[str, ...]
    first_line: int = 0
    """1-based number of the first line within what was read; 0 where unknown."""
    previous: bool = False
    read_lines: int = 0


@dataclass(frozen=True, slots=True)
class Cause:
    """A known error recognised in the evidence."""

    id: str
    sentence: str
    certainty: str = ""
    """Such as "3 of 3 logs"."""
    owner: str = ""
    remedy: tuple[str, ...] = ()
    link: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """A link that is known to exist: never an invented one."""

    text: str
    url: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the Kubernetes API says about one run of a Plan. Never shown as the reason of another run."""

    run: str = ""
    """Migration UID; empty where the Plan never ran or could not be read."""
    run_name: str = ""
    run_number: int = 0
    phase: PlanPhase = PlanPhase.UNREADABLE
    started: datetime | None = None
    ended: datetime | None = None
    mode: str = ""
    source_provider: str = ""
    target_provider: str = ""
    counts: VMCounts = VMCounts()
    failures: tuple[VMFailure, ...] = ()
    plan_reasons: tuple[str, ...] = ()
    """Messages of the Plan's own blocking conditions (no VM at fault)."""
    impact: Impact = Impact.UNKNOWN
    impact_text: str = ""
    """One or two sentences: who is down since when, and what is safe."""
    logs: tuple[LogExcerpt, ...] = ()
    cause: Cause | None = None
    links: tuple[Link, ...] = ()
    commands: tuple[Link, ...] = ()
    """Copyable commands: `text` says what for, `url` holds the command."""
    missing: tuple[Missing, ...] = ()
    hidden: int = 0
    """How many values redaction hid."""
    read_at: datetime | None = None
    complete: bool = False
    """Every enricher has answered or given up for good."""


@dataclass(frozen=True, slots=True)
class StoryAlert:
    """An alert inside a story. `role` is `failure`, or `success` for MigrationSucceeded and its kind."""

    alert: Alert
    role: str = "failure"
    seq: int = 0
    source: str = ""


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One revision of a story, in a sentence for people."""

    revision: int
    at: datetime
    change: Change
    text: str
    key: str = ""
    """Key of the entry that this change adds at destinations, such as `rerun-1`; empty for none."""

    @property
    def audible(self) -> bool:
        return self.change in AUDIBLE


@dataclass(frozen=True, slots=True)
class Told:
    """Who else shows this story: receiver, kind, and a link where the destination gives one."""

    receiver: str
    kind: str
    destination: str
    state: DeliveryState
    link: Link | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """All alerts of one subject from first failure to its end, as of `revision`."""

    id: str
    subject: str
    kind: str
    state: StoryState
    revision: int
    severity: str
    title: str
    opened: datetime
    updated: datetime
    outcome: Outcome | None = None
    closed: datetime | None = None
    identity: Identity | None = None
    evidence: Evidence | None = None
    alerts: tuple[StoryAlert, ...] = ()
    timeline: tuple[TimelineEntry, ...] = ()
    told: tuple[Told, ...] = ()
    note: str = ""
    """What is odd about the present state, such as "alert gone, plan still failed"."""
    run: str = ""
    previous: str = ""
    """Id of the older story of the same subject that this one follows."""
    continued_in: str = ""
    test: bool = False

    @property
    def open(self) -> bool:
        return self.state is not StoryState.RESOLVED

    @property
    def impact(self) -> Impact:
        return self.evidence.impact if self.evidence else Impact.UNKNOWN


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a destination is told: the route that said yes, as `routes.yaml:41`, and in words."""

    route: str
    text: str


@dataclass(frozen=True, slots=True)
class Keys:
    """Lasting keys under which destinations know a story; made once, when the delivery is made."""

    dedup_key: str
    """PagerDuty: at most 255 characters."""
    label: str
    """Ticket label: `mtvr-` and a hash, no blanks."""
    client_id: str
    """UUID that every create of this delivery carries."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One append-only note of a delivery that is still to be sent, newest state of the story beside it."""

    key: str
    change: Change
    at: datetime
    text: str
    revision: int
    folded: tuple[str, ...] = ()
    """Texts of older entries that were not yet sent when this one came, oldest first."""


Receipt = Mapping[str, Any]
"""What a destination gave back and what we sent it: ids, links, hashes. JSON-able, free of secrets."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a delivery should show now, and what it shows already."""

    story: Story
    keys: Keys
    firing: bool
    """At least one alert routed to this destination fires, or its story is not closed yet."""
    reasons: tuple[Reason, ...] = ()
    root: Receipt | None = None
    """Receipt of the root; None before its first create."""
    entries: tuple[Entry, ...] = ()
    """Entries still to be sent, oldest first."""
    audible: bool = False
    """An audible revision has not been delivered yet."""
    quiet_allowed: bool = True
    """A quiet edit may be sent (PagerDuty: at most one, within 2 minutes of its trigger)."""
    fallback_for: str = ""
    """`payments/slack: channel_not_found` where this destination stands in for another."""
    late_s: float = 0.0
    """How long the root has waited for an outage to end, in seconds; 0 when it is in time."""
    plain: bool = False
    """The rendered form was refused: use the built-in plain one."""
    confirm: bool = False
    """Send the current state once more even if it is equal: a lost request may still have landed after it."""
    external_url: str = ""
