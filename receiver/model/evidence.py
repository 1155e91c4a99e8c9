"""What the Kubernetes API says about one run of a Plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from receiver.model.plans import PlanPhase, VMCounts


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
