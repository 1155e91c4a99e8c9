"""Stories: all alerts of one subject from first failure to its end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from receiver.model.alerts import Alert
from receiver.model.digest import Digest
from receiver.model.evidence import Evidence, Impact
from receiver.model.plans import Identity
from receiver.model.shown import Link
from receiver.model.states import AUDIBLE, Change, DeliveryState, Outcome, StoryState


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
class Ack:
    """Somebody took a story."""

    by: str
    """The person, as people know them."""
    via: str
    """Where they said so: Slack, PagerDuty, command line, API."""
    at: datetime


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
    more_evidence_at: datetime | None = None
    """When evidence is asked for again; None: it is not."""
    ack: Ack | None = None
    """Who took it, until it is over or comes back."""
    digest: Digest | None = None
    """Of a story that stands for a storm (`kind` is digest): what it consists of."""

    @property
    def open(self) -> bool:
        return self.state is not StoryState.RESOLVED

    @property
    def impact(self) -> Impact:
        return self.evidence.impact if self.evidence else Impact.UNKNOWN
