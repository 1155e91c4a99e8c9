"""A run that goes on, as far as it is known: how far its VMs have come, and what they wait for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from receiver.enrichers.lines import clean
from receiver.enrichers.planstate import plan_mode
from receiver.enrichers.reading import dig, mapping, records, text
from receiver.enrichers.tails import Tails
from receiver.kube import Cluster
from receiver.stuck import (
    LIMIT_S,
    Block,
    Mark,
    Stuck,
    View,
    changed,
    find_blocks,
    from_json,
    marks_of,
    snapshot,
    stuck,
)
from receiver.stuck.limits import OTHERWISE_S
from receiver.stuck.tails import LOGS, Tail, chosen, cut, size_of
from receiver.stuck.tails import from_json as tails_of
from receiver.stuck.tails import to_json as tails_json
from receiver.waits_kept import LIMIT_BYTES, joined, redacted
from receiver.waits_rules import Waits

LOOK_S = 600.0
"""A VM that is not migrated live and has not moved for so long is looked at, unless its phase may last for hours."""
_LIVE_STEPS = frozenset({"PrepareTarget", "Synchronization"})
"""Steps that only a live migration has."""


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
    tails: Tails = field(default_factory=Tails)
    """Which logs of its receiver pods were read, and when."""
    quiet: int = 0
    """Looks in a row that found nobody who waits."""

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
        if self.is_live(plan):
            return any(mark.step in _LIVE_STEPS for mark in self.marks.values())
        return any(_stands_long(mark, now) for mark in self.marks.values())

    def is_live(self, plan: dict[str, Any]) -> bool:
        """Is it a live migration, by its type, its pipeline, or a migration of KubeVirt's?"""
        if plan_mode(plan) == "live" or any(self.details.values()):
            return True
        return any(mark.step in _LIVE_STEPS for mark in self.marks.values())

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

    def may_end(self, blocks: tuple[Block, ...], still: tuple[Stuck, ...]) -> bool:
        """Take in what a look at all objects found. May what people were told be over, if it is not found any more?

        Not where a single look finds nothing at all: Forklift deletes the objects of a migration that failed a moment
        before its Plan says so.
        """
        self.quiet = 0 if blocks or still else self.quiet + 1
        return self.quiet != 1

    def _since(self, blocks: tuple[Block, ...], now: datetime) -> Iterator[Block]:
        """As its objects tell, or else as long as its VM has not moved."""
        for one in blocks:
            mark = self.marks.get(one.vm_id)
            times = (self.began.get((one.vm_id or one.vm, one.kind)), one.since or (mark.since if mark else None))
            yield replace(one, since=min((at for at in times if at is not None), default=now))


def _stands_long(mark: Mark, now: datetime) -> bool:
    """Has a VM made no progress for half of what its phase may take without any?

    A conversion counts nothing for most of an hour: to look all the time at what is healthy would leave no turns for
    those that wait. A phase that counts what it moves stands still when something is wrong, and LOOK_S is enough.
    """
    limit = LIMIT_S.get(mark.phase, OTHERWISE_S)
    if limit is None:
        return False
    half = limit / 2 if limit > OTHERWISE_S else min(limit / 2, LOOK_S)
    return (now - mark.since).total_seconds() > half


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look at the objects has told."""

    blocks: tuple[Block, ...]
    details: Mapping[str, str]
    """As `Going.details`."""
    keep: dict[str, Any] | None
    """What is to be kept of the objects; None: what is kept already says it."""


def seen_in(view: View, old: Mapping[str, Any] | None, redact: Callable[[str], str], read: Sequence[Tail] = ()) -> Seen:
    """Read a view; `old` is what is kept of the run, `read` are logs as they were just read.

    Takes long for a large Plan: call it in a thread.
    """
    before = dict(old or {})
    new = [replace(one, text=cut(redact(clean(one.text)))) for one in read]
    logs = chosen(tails_of(before), new, view.plan, view.now)
    before.pop(LOGS, None)
    limit = LIMIT_BYTES - size_of(logs)
    keep = joined(before, redacted(snapshot(view, limit), redact), limit)
    if logs:
        keep[LOGS] = tails_json(logs)
    return Seen(find_blocks(view), dict(_phases(view)), keep if changed(old, keep) else None)


def _phases(view: View) -> Iterator[tuple[str, str]]:
    for one in view.target_migrations:
        vm = text(mapping(dig(one, "metadata", "labels")).get("vmID"))
        phase = text(dig(one, "status", "phase"))
        if vm and phase:
            yield vm, phase
