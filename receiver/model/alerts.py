"""Alerts, as one webhook told them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

EARLIER = "earlier"
"""The role, inside a story, of an alert whose migration had failed before we were here: it is listed, no more."""
EARLIER_PLAN, EARLIER_RUN = "mtv_receiver_plan", "mtv_receiver_run"
"""Annotations of such an alert: its Plan, and the run (Migration UID) that had failed."""


class AlertStatus(StrEnum):
    """Alertmanager's two states of an alert."""

    FIRING = "firing"
    RESOLVED = "resolved"


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
