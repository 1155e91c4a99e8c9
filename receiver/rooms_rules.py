"""Which stories a look at the target's room may explain, and what came of a look. Pure, and light to load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from receiver.model import Evidence, Room

CAPACITY_CAUSES: Final = frozenset(
    {
        *("live-unschedulable", "live-quota", "live-quota-gate", "quota"),
        *("storage-full", "provisioning-failed", "volume-no-fit", "volume-unbound"),
    }
)
"""Causes that have to do with room, by their ids."""


@dataclass(frozen=True, slots=True)
class Looked:
    """Somebody looked, and this is to be said of the room; None: nothing, there is enough and nobody need know."""

    room: Room | None


def may_explain(evidence: Evidence) -> bool:
    """Can room, or the lack of it, tell why this failed or waits?"""
    cause = evidence.cause.id if evidence.cause is not None else ""
    return evidence.mode == "live" or bool(evidence.waits) or cause in CAPACITY_CAUSES
