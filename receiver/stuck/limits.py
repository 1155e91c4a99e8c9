"""How long a VM may stand still in a phase, and which VMs have stood still for longer.

Progress is: another phase, another step, another round of a warm migration, more bytes than ever transferred in this
step, or another word of the caller's own about the VM (`details`, such as the phase of its migration in the target).
Bytes that fall and rise again, as those of an importer that restarts, are none.

Restart-safe: what lies between two looks is one `Mark` per VM, which JSON can hold. Without it a VM's time begins anew,
unless its phase began with its step, whose start the Plan tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from receiver.stuck.objects import Obj, dig, moment, records, text, whole
from receiver.stuck.view import ended, queued

_MINUTE, _HOUR = 60.0, 3_600.0

OTHERWISE_S = 30 * _MINUTE
"""For a phase that is not listed."""

LIMIT_S: Mapping[str, float | None] = MappingProxyType(
    {
        # Live. What is only created takes one reconcile (3 s); a longer stay is an error loop that only the log tells.
        "CreateSecrets": 5 * _MINUTE,
        "CreateConfigMaps": 5 * _MINUTE,
        "EnsurePreference": 5 * _MINUTE,
        "EnsureInstanceType": 5 * _MINUTE,
        "EnsureDataVolumes": 5 * _MINUTE,
        "EnsurePersistentVolumeClaims": 5 * _MINUTE,
        "CreateTarget": 5 * _MINUTE,
        "SetOwnerReferences": 5 * _MINUTE,
        "CreateServiceExports": 5 * _MINUTE,
        # Volumes are provisioned meanwhile, which is a matter of seconds; Forklift has no limit here.
        "WaitForTargetVMI": 5 * _MINUTE,
        # Waits for one address; no limit either.
        "CreateVirtualMachineInstanceMigrations": 3 * _MINUTE,
        # The pod's start, at which KubeVirt gives up after 15 min, and the agreement of two clusters; `find_blocks` is
        # what tells early.
        "WaitForStateTransfer": 30 * _MINUTE,
        # While it copies memory and disks, of which nothing is counted where we could read it: 5 TB take 12 h through
        # 1 Gbit/s. KubeVirt sees its progress, and gives up by itself where there is none; so whoever is told earlier
        # is told of a migration that is well.
        "WaitForStateTransfer/Running": 12 * _HOUR,
        # Cold and warm.
        "Started": 10 * _MINUTE,
        "StorePowerState": 5 * _MINUTE,
        "PowerOffSource": 10 * _MINUTE,
        "WaitForPowerOff": 20 * _MINUTE,  # a guest shuts down; Windows may install updates first
        "CreateDataVolumes": 10 * _MINUTE,
        "CreateVM": 10 * _MINUTE,
        # Without one more byte. A CDI importer retries a few minutes before it says so.
        "CopyDisks": 30 * _MINUTE,
        "CopyDisksVirtV2V": 30 * _MINUTE,
        "AllocateDisks": 30 * _MINUTE,
        # The conversion pod's own limit for being pending is 5 min; pulling a large image takes some.
        "CreateGuestConversionPod": 15 * _MINUTE,
        "ConvertGuest": 2 * _HOUR,  # counts nothing for most of its time; a large Windows guest takes an hour
        "WaitForGuestReboots": 1 * _HOUR,
        "ConvertOpenstackSnapshot": 2 * _HOUR,
        "PreflightInspection": 1 * _HOUR,
        "PreHook": 1 * _HOUR,
        "PostHook": 1 * _HOUR,
        # Forklift itself gives the removal of a snapshot 120 min.
        "WaitForPreviousSnapshotRemoval": 2.5 * _HOUR,
        "WaitForPenultimateSnapshotRemoval": 2.5 * _HOUR,
        "WaitForFinalSnapshotRemoval": 2.5 * _HOUR,
        "RemoveFinalSnapshot": 2.5 * _HOUR,
        # Until the next precopy or the cutover that somebody sets: not a wait for anything that could be wrong.
        "CopyingPaused": None,
        "Completed": None,
    }
)
"""Seconds without progress after which a VM counts as stuck, by phase, or by phase and the caller's word about the VM
where that is another matter; None: never."""

# Phases in which a VM may well go on without any sign of it: while its migration runs, or where that cannot be read.
_UNSEEN = frozenset({("WaitForStateTransfer", "Running"), ("WaitForStateTransfer", "")})

# Phases that begin with their step, so that the step's start is theirs, too.
_FIRST_OF_STEP = MappingProxyType(
    {
        "WaitForTargetVMI": "Synchronization",
        "CreateVM": "VirtualMachineCreation",
        "CreateGuestConversionPod": "ImageConversion",
        "WaitForGuestReboots": "WaitForGuestReboots",
        "PreHook": "PreHook",
        "PostHook": "PostHook",
    }
)


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a VM had come, and since when it has come no further."""

    name: str
    run: str
    """Start of the run: a VM that is migrated anew has made progress."""
    phase: str
    step: str
    moved: int
    """The most that was transferred in this step, in the Plan's unit (MB)."""
    rounds: int
    """Precopies of a warm migration."""
    detail: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Stuck:
    """A VM that has made no progress for longer than its phase's limit."""

    vm_id: str
    name: str
    phase: str
    step: str
    since: datetime
    for_s: float
    limit_s: float
    unseen: bool = False
    """It may go on all the same: nothing tells how far it has come."""


def marks_of(
    plan: Mapping[str, Any], now: datetime, details: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Mark]:
    """Return how far each VM under way has come, by its id; `details` are further words about one, by its id, too."""
    found: dict[str, Mark] = {}
    for vm in records(dig(plan, "status", "migration", "vms")):
        key, started = text(vm.get("id"), 253) or text(vm.get("name"), 253), text(vm.get("started"), 40)
        if not key or key in found or ended(vm) or queued(vm) or moment(started) is None:
            continue
        step, phase = _step(vm), text(vm.get("phase"), 100)
        name, began = text(step.get("name"), 100), moment(step.get("started"))
        since = began if began is not None and began < now and _FIRST_OF_STEP.get(phase) == name else now
        rounds = len(records(dig(vm, "warm", "precopies")))
        detail = text(details.get(key), 200)
        found[key] = Mark(text(vm.get("name"), 253) or key, started, phase, name, _moved(step), rounds, detail, since)
    return found


def stuck(
    previous: Mapping[str, Mark],
    current: Mapping[str, Mark],
    now: datetime,
    limits: Mapping[str, float | None] = LIMIT_S,
) -> tuple[dict[str, Mark], tuple[Stuck, ...]]:
    """Return the marks to keep until the next look, and the VMs that are stuck, the longest first.

    VMs that are not in `current` are forgotten: they have ended, or the Plan has.
    """
    kept = {key: _joined(previous.get(key), mark, now) for key, mark in current.items()}
    found = []
    for key, mark in kept.items():
        limit = limits.get(f"{mark.phase}/{mark.detail}", limits.get(mark.phase, OTHERWISE_S))
        stood = (now - mark.since).total_seconds()
        if limit is not None and stood > limit:
            unseen = (mark.phase, mark.detail) in _UNSEEN
            found.append(Stuck(key, mark.name, mark.phase, mark.step, mark.since, stood, limit, unseen))
    return kept, tuple(sorted(found, key=lambda one: (one.since, one.vm_id)))


def to_json(marks: Mapping[str, Mark]) -> dict[str, list[Any]]:
    """Return marks as JSON holds them."""
    return {
        key: [one.name, one.run, one.phase, one.step, one.moved, one.rounds, one.detail, one.since.isoformat()]
        for key, one in marks.items()
    }


def from_json(value: object) -> dict[str, Mark]:
    """Return the marks that were stored; what another version stored, or a broken store, counts as never seen."""
    found: dict[str, Mark] = {}
    for key, row in value.items() if isinstance(value, dict) else ():
        if not isinstance(key, str) or not isinstance(row, list) or len(row) != 8:
            continue
        moved, rounds, since = whole(row[4]), whole(row[5]), moment(row[7])
        words = [one for one in (*row[:4], row[6]) if isinstance(one, str)]
        if moved is None or rounds is None or since is None or len(words) != 5:
            continue
        name, run, phase, step, detail = words
        found[key] = Mark(name, run, phase, step, moved, rounds, detail, since)
    return found


def _joined(before: Mark | None, mark: Mark, now: datetime) -> Mark:
    if before is None or (before.run, before.phase, before.step) != (mark.run, mark.phase, mark.step):
        return replace(mark, since=min(mark.since, now))
    if mark.detail != before.detail or mark.moved > before.moved or mark.rounds > before.rounds:
        # A new round counts its bytes from nothing, a new word does not.
        moved = mark.moved if mark.rounds > before.rounds else max(mark.moved, before.moved)
        return replace(mark, since=now, moved=moved)
    # A clock that was set back must not leave a start in the future.
    return replace(mark, moved=before.moved, rounds=before.rounds, since=min(before.since, now))


def _step(vm: Obj) -> Obj:
    """Return the step under way: the first that runs, else the first that was begun and has not ended."""
    steps = records(vm.get("pipeline"))
    running = (one for one in steps if one.get("phase") == "Running")
    begun = (one for one in steps if one.get("phase") != "Completed" and moment(one.get("started")) is not None)
    return next(running, None) or next(begun, None) or {}


def _moved(step: Obj) -> int:
    tasks = [whole(dig(task, "progress", "completed")) or 0 for task in records(step.get("tasks"))]
    return max(sum(tasks), whole(dig(step, "progress", "completed")) or 0)
