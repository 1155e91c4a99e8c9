"""A story while it is being changed, inside one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field

from receiver.model import Ack, Alert, AlertStatus, Change, Evidence, Identity, Outcome, PlanPhase, StoryState

POISON = "inbox/"
"""How the subject of an alert begins that could not be processed; its inbox number follows."""


@dataclass(slots=True)
class AlertRow:
    """An alert as a story holds it. Times are database seconds."""

    alert: Alert
    role: str
    seq: int
    source: str
    changed_at: float
    dirty: bool = False
    heard_at: float | None = None
    """When a webhook, or a look at its Alertmanager, last carried it."""

    @property
    def firing(self) -> bool:
        return self.alert.status is AlertStatus.FIRING


@dataclass(slots=True)
class Draft:
    """A story being changed inside one transaction. Save it with `save`."""

    id: str
    subject: str
    kind: str
    severity: str
    title: str
    opened: float
    now: float
    alias: str = ""
    state: StoryState = StoryState.FIRING
    outcome: Outcome | None = None
    revision: int = 0
    closed: float | None = None
    identity: Identity | None = None
    evidence: Evidence | None = None
    note: str = ""
    run: str = ""
    plan_phase: PlanPhase | None = None
    reruns: int = 0
    reopens: int = 0
    previous: str = ""
    continued_in: str = ""
    close_at: float | None = None
    identify_due: float | None = None
    gather_due: float | None = None
    gather_tries: int = 0
    test: bool = False
    ack: Ack | None = None
    worse_at: float | None = None
    """When people were last called because it became worse."""
    not_told: dict[str, list[str]] = field(default_factory=dict)
    """Fingerprint → destinations that only routes newer than the story choose for it (see `receiver.resettle`)."""
    alerts: dict[str, AlertRow] = field(default_factory=dict)
    new: bool = False
    changes: list[tuple[Change, str]] = field(default_factory=list)

    @property
    def open(self) -> bool:
        return self.state is not StoryState.RESOLVED

    @property
    def endless(self) -> bool:
        """It could not be processed, so nothing will ever say that it is over."""
        return self.kind == "alert" and self.subject.startswith(POISON)

    @property
    def failures(self) -> tuple[AlertRow, ...]:
        return tuple(row for row in self.alerts.values() if row.role == "failure")

    @property
    def firing(self) -> bool:
        return any(row.firing for row in self.failures)

    @property
    def succeeded(self) -> bool:
        """A success fires that started after every failure did."""
        newest = max((row.alert.starts_at for row in self.failures), default=None)
        return any(
            row.role == "success" and row.firing and newest is not None and row.alert.starts_at > newest
            for row in self.alerts.values()
        )

    def note_change(self, change: Change, text: str) -> None:
        """Remember what happened; `save` makes one revision of it all."""
        self.changes.append((change, text))
