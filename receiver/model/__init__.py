"""The nouns that every stage speaks in. Frozen; imports nothing of ours.

Times are aware `datetime`s in UTC. Mappings inside are never written to after construction.
"""

from receiver.model.alerts import Alert, AlertStatus
from receiver.model.evidence import (
    Cause,
    Evidence,
    FailureGroup,
    Impact,
    Link,
    LogExcerpt,
    Missing,
    ObjectEvent,
    ObjectState,
    VMFailure,
)
from receiver.model.plans import Identity, PlanPhase, PlanState, VMCounts
from receiver.model.states import AUDIBLE, AttemptOutcome, Change, DeliveryState, Outcome, StoryState
from receiver.model.stories import Story, StoryAlert, TimelineEntry, Told
from receiver.model.telling import QUIET_WITHIN_S, Entry, Keys, Reason, Receipt, Wanted

__all__ = [
    "AUDIBLE",
    "QUIET_WITHIN_S",
    "Alert",
    "AlertStatus",
    "AttemptOutcome",
    "Cause",
    "Change",
    "DeliveryState",
    "Entry",
    "Evidence",
    "FailureGroup",
    "Identity",
    "Impact",
    "Keys",
    "Link",
    "LogExcerpt",
    "Missing",
    "ObjectEvent",
    "ObjectState",
    "Outcome",
    "PlanPhase",
    "PlanState",
    "Reason",
    "Receipt",
    "Story",
    "StoryAlert",
    "StoryState",
    "TimelineEntry",
    "Told",
    "VMCounts",
    "VMFailure",
    "Wanted",
]
