"""What the Kubernetes API says about one run of a Plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from receiver.model.plans import PlanPhase, VMCounts
from receiver.model.room import Room
from receiver.model.shown import Link, ObjectEvent
from receiver.model.waits import Wait


class Impact(StrEnum):
    """Is a service down because of the failure?"""

    DOWN = "down"
    AT_RISK = "at_risk"
    NONE = "none"
    UNKNOWN = "unknown"


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
    down_run: int = 0
    """Number of the earlier run that switched the source off; 0: this run, or none. `power_before` is then what it was
    before that run, and `off_since` when that run switched it off."""
    doubt: str = ""
    """Why nobody can tell whether an earlier run left it off; empty: no such doubt."""
    tasks: tuple[str, ...] = ()
    """The failed step's disks and how far each came, such as "disk-0: 51,200 of 563,200 MB (9 %)"."""
    disks: tuple[str, ...] = ()
    """Sizes of its disks as the transfer counts them, such as "80 GB"."""
    precopies: str = ""
    """Of a warm migration, such as "28 precopies, the last 16 Sep 21:00 UTC"."""


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
    alike: int = 1
    """How many of the logs that were read say the same."""
    kept: str = ""
    """The redacted end of the log, packed (see `receiver.keeping`): a re-run deletes the pod."""
    seen_at: datetime | None = None
    """When it was read, where that was before the failure: the pod was gone afterwards. None: when all else was."""


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures alike: the same step, the same first reason."""

    step: str
    reason: str
    vms: tuple[str, ...]
    """Names of the first of them."""
    count: int


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
class ObjectState:
    """An object that an alert names, as it is now, redacted."""

    kind: str
    namespace: str
    name: str
    state: str = ""
    """In a few words, such as "CrashLoopBackOff, 14 restarts"."""
    bad: tuple[str, ...] = ()
    """Conditions that are not as they should be, such as "Ready=False since 07:55 UTC: KubeletNotReady: …"."""


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
    counts: VMCounts = field(default_factory=VMCounts)
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
    groups: tuple[FailureGroup, ...] = ()
    """The failures, alike ones together, the largest group first."""
    standing: tuple[VMFailure, ...] = ()
    """VMs that this run has not failed, but that an earlier run left off: they are down, too."""
    objects: tuple[ObjectState, ...] = ()
    """Objects other than Plans that the alert is about, the one that it names first."""
    events: tuple[ObjectEvent, ...] = ()
    """What Kubernetes reported about them, warnings first, then the newest."""
    findings: tuple[str, ...] = ()
    """What was concluded from them, a sentence each, the most telling one first."""
    steps: tuple[Link, ...] = ()
    """What to do now where the alert is not of a Plan, safe first: `text` says what, `url` is a command or empty."""
    unrecognised: str = ""
    """Without a cause: the line that says most, as it stands in the evidence."""
    signature: str = ""
    """What that line has in common with equal failures of other VMs."""
    waits: tuple[Wait, ...] = ()
    """VMs under way that wait, in plan order; of VMs that have failed, what they waited for when last seen."""
    kept_at: datetime | None = None
    """When that was, where `waits` come from what was kept: Forklift deletes a failed VM's objects. None: from now."""
    room: Room | None = None
    """Whether the Plan finds room where it goes; None where nobody looked."""
