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
    ACKNOWLEDGED = "acknowledged"
    MOVED = "moved"
    SILENCED = "silenced"
    REMINDED = "reminded"
    AWAY = "away"
    """An entry of one destination only, never a revision: what came and went while it was away."""


AUDIBLE = frozenset({Change.FIRED, Change.WORSE, Change.FAILED_AGAIN, Change.REOPENED, Change.RESOLVED})
"""Changes that people should notice; every other change only edits what is already shown."""


CALL_EVERY_S = 900.0
"""What becomes worse calls everybody at most so often; what comes meanwhile is shown, and called out together later."""


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
    SHADOW = "shadow"
    """All is written down as if it had been told; nothing was sent."""


class AttemptOutcome(StrEnum):
    """How one try ended. `unknown`: the request may have been carried out; `shadow`: none was made."""

    OK = "ok"
    TRANSIENT = "transient"
    PERMANENT = "permanent"
    UNKNOWN = "unknown"
    SHADOW = "shadow"
