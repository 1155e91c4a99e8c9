"""`handover:` of routes.yaml: who is told, and when, what a shift leaves to the next one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, time, tzinfo


@dataclass(frozen=True, slots=True)
class HandoverPost:
    """A message at fixed times of the day."""

    at: tuple[time, ...]
    receiver: str
    location: tzinfo | None = UTC
    """The zone of `at`; None: this machine's own."""
    since_s: float = 43_200.0
    """How long the shift was that it tells of."""
