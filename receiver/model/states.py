"""Where stories and deliveries stand, and what can change."""

from __future__ import annotations

from enum import StrEnum


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
