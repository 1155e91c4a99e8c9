"""The nouns that every stage speaks in. Frozen; imports nothing of ours.

Times are aware `datetime`s in UTC. Mappings inside are never written to after construction.
"""

from receiver.model.alerts import EARLIER, EARLIER_PLAN, EARLIER_RUN, Alert, AlertStatus
from receiver.model.digest import Digest, DigestCause, DigestPlace, DigestRow
from receiver.model.evidence import (
    Cause,
    Evidence,
    FailureGroup,
    Impact,
    LogExcerpt,
    Missing,
    ObjectState,
    VMFailure,
)
from receiver.model.plans import CAPACITY, Identity, PlanPhase, PlanState, VMCounts
from receiver.model.room import Room
from receiver.model.shown import Link, ObjectEvent
from receiver.model.states import AUDIBLE, CALL_EVERY_S, AttemptOutcome, Change, DeliveryState, Outcome, StoryState
from receiver.model.stories import Ack, Story, StoryAlert, TimelineEntry, Told
from receiver.model.telling import GIVEN_BY, QUIET_WITHIN_S, Entry, Keys, Reason, Receipt, Wanted
from receiver.model.waits import Wait

__all__ = [
    "AUDIBLE",
    "CALL_EVERY_S",
    "CAPACITY",
    "EARLIER",
    "EARLIER_PLAN",
    "EARLIER_RUN",
    "GIVEN_BY",
    "QUIET_WITHIN_S",
    "Ack",
    "Alert",
    "AlertStatus",
    "AttemptOutcome",
    "Cause",
    "Change",
    "DeliveryState",
    "Digest",
    "DigestCause",
    "DigestPlace",
    "DigestRow",
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
    "Room",
    "Story",
    "StoryAlert",
    "StoryState",
    "TimelineEntry",
    "Told",
    "VMCounts",
    "VMFailure",
    "Wait",
    "Wanted",
]
