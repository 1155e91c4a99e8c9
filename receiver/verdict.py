"""What a failed try means for its delivery: pure rules. `receiver.attempt` acts on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from receiver.config.model import Manners
from receiver.destinations import Step
from receiver.errors import DeliveryError, DestinationRefused, Gone, Refused, Transient, Unknown
from receiver.model import AttemptOutcome, DeliveryState, Receipt, Wanted
from receiver.store.codec import dump_json
from receiver.store.deliveries import DeliveryRow
from receiver.store.engine import NOW

LOOK_EVERY_S = 1.0
LATE_S = 120.0
"""A first message that waited longer says so."""
TOO_MANY = 429
OUR_OWN = "our own error: "
"""How the reason of a try begins that our own code broke: nothing is learnt about the destination."""


class End(StrEnum):
    """What came of working a delivery off."""

    DONE = "done"
    LATER = "later"
    PARKED = "parked"
    LOST = "lost"
    """The claim was no longer ours; whoever has it now goes on."""
    NOTHING = "nothing"
    """Nothing had to be sent, so nothing was learnt about the destination."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a failure means."""

    outcome: AttemptOutcome
    values: Mapping[str, Any]
    """The delivery's new values."""
    end: End
    entry: Mapping[str, Any] | None = None
    """New values of the entry that was being sent."""


def verdict(
    row: DeliveryRow, step: Step, error: DeliveryError, wanted: Wanted, manners: Manners, chance: float
) -> Verdict:
    """Say what a failure means for the delivery and its entry. `chance`: from 0 to 1, for the back-off."""
    # This try surely did nothing. What an earlier one did is as unknown as before.
    known: dict[str, Any] = {
        "unknown_part": row.unknown_part,
        "unknown_at": row.unknown_at,
        "started": row.started,
    }
    retrying: dict[str, Any] = {
        "state": DeliveryState.RETRYING.value,
        "error": error.reason,
        "tries": row.tries + 1,
    }
    soon: dict[str, Any] = {"due": NOW, "state": DeliveryState.PENDING.value}
    again_s = back_off_s(row.tries, manners, chance)
    match error:
        case Transient():
            wait = error.retry_after_s if error.retry_after_s is not None else again_s
            return Verdict(AttemptOutcome.TRANSIENT, {**known, **retrying, "due": NOW + wait}, End.LATER)
        case DestinationRefused():
            values = {**known, **retrying, "state": DeliveryState.PARKED.value, "due": NOW}
            return Verdict(AttemptOutcome.PERMANENT, values, End.PARKED)
        case Gone():  # what to do without it is the sender's to plan: nothing, or one new root
            root = dump_json({**(wanted.root or {}), "gone": True})
            return Verdict(AttemptOutcome.PERMANENT, {**soon, "unknown_part": None, "root": root}, End.LATER)
        case Refused():
            return _refused(row, step, error.reason, wanted, known, soon)
        case _:
            wait = LOOK_EVERY_S if step.creates else again_s
            values = {**retrying, "due": NOW + wait}
            if row.unknown_part in (None, step.part):
                values["unknown_at"] = NOW
            return Verdict(AttemptOutcome.UNKNOWN, values, End.LATER)


def _refused(
    row: DeliveryRow, step: Step, reason: str, wanted: Wanted, known: Mapping[str, Any], soon: Mapping[str, Any]
) -> Verdict:
    """One message is refused for good: once more in its plain form; then a root is a dead letter, all else is left out.

    Only what was refused becomes plain: a reply that Slack does not like takes nothing from the message above it.
    """
    values = {**known, **soon, "error": reason}
    if step.kept_in_root:
        left_out = merged(wanted.root or {}, {"skipped": {step.part: reason}})
        gone = {"unknown_part": None} if row.unknown_part == step.part else {}
        return Verdict(AttemptOutcome.PERMANENT, {**values, **gone, "root": dump_json(left_out)}, End.LATER)
    if step.part != "root":
        plain = row.plain or any(entry.plain for entry in wanted.entries if entry.key == step.part)
        entry = {"state": "skipped"} if plain else {"plain": True}
        return Verdict(AttemptOutcome.PERMANENT, values, End.LATER, entry)
    if not row.plain:
        return Verdict(AttemptOutcome.PERMANENT, {**values, "plain": True}, End.LATER)
    dead = {"state": DeliveryState.DEAD.value, "due": None, "error": reason}
    return Verdict(AttemptOutcome.PERMANENT, {**known, **dead}, End.DONE)


def says_nothing(error: DeliveryError) -> bool:
    """Was nothing heard of the destination: no connection, no answer, 5xx?"""
    if error.reason.startswith(OUR_OWN):
        return False
    if isinstance(error, Transient):
        return error.retry_after_s is None and error.status != TOO_MANY
    return isinstance(error, Unknown)


def back_off_s(tries: int, manners: Manners, chance: float) -> float:
    """Return how long to wait after so many failed tries: full jitter, at least `retry.min`, at most `retry.max`."""
    most_s = min(manners.retry_max_s, manners.retry_min_s * 2.0 ** min(tries + 1, 20))
    least_s = min(manners.retry_min_s, most_s)
    return least_s + (most_s - least_s) * chance


def merged(root: Receipt, part: Receipt) -> Receipt:
    """Return a root's receipt with that of a step `kept_in_root`; what both hold as a mapping holds both."""
    return {name: _both(root.get(name), part[name]) if name in part else root[name] for name in {**root, **part}}


def _both(old: Any, new: Any) -> Any:
    return {**old, **new} if isinstance(old, Mapping) and isinstance(new, Mapping) else new
