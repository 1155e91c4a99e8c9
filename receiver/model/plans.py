"""Plans: who a subject is, and what state its Plan is in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

CAPACITY = "capacity"
"""Kind, and beginning of the subject, of a story about the room that a Plan lacks."""


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

    @property
    def owner(self) -> tuple[str, str]:
        """Cluster and namespace whose people it is about; what is not known is the empty string."""
        return self.cluster, self.owner_namespace or self.target_namespace or self.namespace
