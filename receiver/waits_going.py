"""A run that goes on, as far as it is known: how far its VMs have come, and what they wait for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from receiver.enrichers.planstate import plan_mode
from receiver.enrichers.reading import dig, mapping, records, text
from receiver.kube import Cluster
from receiver.stuck import Block, Mark, Stuck, View, changed, find_blocks, from_json, marks_of, snapshot, stuck
from receiver.waits_kept import LIMIT_BYTES, joined, redacted
from receiver.waits_rules import Waits

STILL_S = 60.0
"""A VM that is not migrated live is looked at when it has not moved for so long."""
_LIVE_STEPS = frozenset({"PrepareTarget", "Synchronization"})


@dataclass(slots=True)
class Going:
    """A run, by its Migration's UID."""

    run: str
    marks: dict[str, Mark] = field(default_factory=dict)
    total: int = 0
    """VMs of the Plan."""
    details: Mapping[str, str] = field(default_factory=dict)
    """Phase of each VM's migration in the target, by the VM's id: progress that the Plan does not tell."""
    blocks: tuple[Block, ...] = ()
    """What was found at the last look at its objects, of VMs that have not moved since."""
    began: dict[tuple[str, str], datetime] = field(default_factory=dict)
    """When each wait was first seen, by VM and kind: events that told of its begin expire."""
    told: dict[str, Mark | None] = field(default_factory=dict)
    """VMs that people were told of, by id, and how far they had come."""
    saved: Mapping[str, Any] | None = None
    """The marks that the store holds."""
    places: tuple[Cluster | None, Cluster | None] | None = None
    """Target and source, once they are known; None: not known, or not to be read."""
    placed_at: float = float("-inf")

    @classmethod
    def again(cls, run: str, stored: Mapping[str, Any]) -> Going:
        """Go on with what was stored."""
        marks = from_json(stored)
        return cls(run, marks, details={vm: mark.detail for vm, mark in marks.items()}, saved=stored)

    def move(self, plan: dict[str, Any], now: datetime) -> tuple[Stuck, ...]:
        """Take in how far the VMs have come; who has come further waits no longer. Return who stands still."""
        before = self.marks
        self.marks, still = stuck(before, marks_of(plan, now, self.details), now)
        self.blocks = tuple(one for one in self.blocks if before.get(one.vm_id) == self.marks.get(one.vm_id))
        self.total = len(records(dig(plan, "status", "migration", "vms")))
        return still

    def wants_look(self, plan: dict[str, Any], now: datetime) -> bool:
        """Is there a VM whose objects may tell what it waits for?"""
        if plan_mode(plan) == "live":
            return any(mark.step in _LIVE_STEPS for mark in self.marks.values())
        return any((now - mark.since).total_seconds() > STILL_S for mark in self.marks.values())

    def tells(self, waits: Waits) -> None:
        """Note of whom people are told."""
        self.told = {one.vm_id: self.marks.get(one.vm_id) for one in waits.blocks}
        self.told |= {one.vm_id: self.marks.get(one.vm_id) for one in waits.still}

    @property
    def moved_on(self) -> bool:
        """Has every VM that people were told of come further, or ended? Then no object need say so."""
        return bool(self.told) and all(self.marks.get(vm) != mark for vm, mark in self.told.items())

    def put(self, blocks: tuple[Block, ...], now: datetime) -> None:
        """Take in what was found, and say when each wait began."""
        self.blocks = tuple(self._since(blocks, now))
        self.began = {(one.vm_id or one.vm, one.kind): one.since or now for one in self.blocks}

    def _since(self, blocks: tuple[Block, ...], now: datetime) -> Iterator[Block]:
        """As its objects tell, or else as long as its VM has not moved."""
        for one in blocks:
            mark = self.marks.get(one.vm_id)
            times = (self.began.get((one.vm_id or one.vm, one.kind)), one.since or (mark.since if mark else None))
            yield replace(one, since=min((at for at in times if at is not None), default=now))


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at the objects has told."""

    blocks: tuple[Block, ...]
    details: Mapping[str, str]
    """As `Going.details`."""
    keep: dict[str, Any] | None
    """What is to be kept of the objects; None: what is kept already says it."""


def seen_in(view: View, old: Mapping[str, Any] | None, redact: Callable[[str], str]) -> Seen:
    """Read a view; `old` is what is kept of the run. Takes long for a large Plan: call it in a thread."""
    keep = joined(old, redacted(snapshot(view, LIMIT_BYTES), redact))
    return Seen(find_blocks(view), dict(_phases(view)), keep if changed(old, keep) else None)


def _phases(view: View) -> Iterator[tuple[str, str]]:
    for one in view.target_migrations:
        vm = text(mapping(dig(one, "metadata", "labels")).get("vmID"))
        phase = text(dig(one, "status", "phase"))
        if vm and phase:
            yield vm, phase
