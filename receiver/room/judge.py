"""One plan against one cluster: what is there already is not counted twice, what could not be read is not known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from receiver.capacity import Answer, Disk, Question, Unknown, Unread, Verdict, VmNeed, check
from receiver.capacity.disks import FILESYSTEM
from receiver.capacity.findings import worst
from receiver.capacity.pods import FINISHED
from receiver.capacity.reading import dig, named, text
from receiver.kube import Obj
from receiver.room.source import vm_name
from receiver.room.supply import Supplied
from receiver.room.target import Target, scheduled
from receiver.room.wanted import Demand, Wanted

_DISK_SOURCE: Final = "forklift.konveyor.io/disk-source"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is the same for every cluster that is judged."""

    uid: str
    begun: bool
    pending: tuple[Wanted, ...]
    demand: Demand
    storage_map: Obj | Unread | None


@dataclass(frozen=True, slots=True)
class Judged:
    """What was said of one cluster. `vms` are those without a place there; `age_s` is the age of its nodes' numbers."""

    answer: Answer
    vms: tuple[VmNeed, ...]
    unknown: tuple[Unknown, ...]
    notes: tuple[str, ...]
    age_s: float | None


def judge(
    asked: Asked, cluster: str, facts: Target, supplied: Supplied, *, own: bool, reserved: Sequence[VmNeed] = ()
) -> Judged:
    """Judge one cluster. `own`: it is the plan's target, where a part of the plan may be already."""
    unknown = [*asked.demand.unknown, *facts.unknown]
    needs = asked.demand.needs(facts.kubevirt.profile, facts.instancetypes)
    disks = _disks(asked, facts, unknown)
    here, held = (_receivers(facts), _claims(facts, asked.uid)) if own else ({}, {})
    quota = facts.quota
    if own and asked.begun:
        # Without them what is there already would be counted twice.
        for listed, resource in ((facts.receivers, "quota"), (facts.claims, "storage")):
            if isinstance(listed, Unread):
                unknown.append(listed.unknown(resource, f"{cluster}, where the plan has begun"))
                quota = replace(quota, quotas=listed, cluster_quotas=listed, aaq=listed)
        if isinstance(facts.claims, Unread):
            why = "nobody knows which volumes are there already"
            disks = {each: tuple(replace(disk, size=None, why=why) for disk in own) for each, own in disks.items()}
    left = [each for each in asked.pending if here.get(each.target) is not True]
    unclaimed = {
        each: tuple(disk for disk in own_disks if held.get(disk.name) is not True) for each, own_disks in disks.items()
    }
    question = Question(
        cluster,
        tuple(needs[each] for each in left),
        tuple(disk for each in asked.pending for disk in unclaimed.get(each, ())),
        supplied.holes,
        facts.storage,
        quota,
        reserved=reserved,
    )
    # A pod without a node and a claim without a volume use quota already, but no room.
    uncounted = replace(
        question,
        vms=tuple(needs[each] for each in left if each.target not in here),
        disks=tuple(disk for disk in question.disks if disk.name not in held),
    )
    answer = check(question)
    if (len(uncounted.vms), len(uncounted.disks)) != (len(question.vms), len(question.disks)):
        counted = check(uncounted).quota
        answer = replace(
            answer,
            quota=counted,
            verdict=worst((answer.compute.part.verdict, answer.storage.verdict, counted.verdict)),
        )
        if answer.verdict is Verdict.FITS and answer.compute.part.verdict is Verdict.UNKNOWN:
            answer = replace(answer, verdict=Verdict.UNKNOWN)
    notes = [*asked.demand.notes, *([supplied.note] if supplied.note else [])]
    if not facts.kubevirt.installed:
        notes.append(f"{cluster} has no KubeVirt")
    if len(left) < len(asked.pending):
        count = len(asked.pending) - len(left)
        notes.append(
            f"{count:,} {'VM has its receiver' if count == 1 else 'VMs have their receivers'} on a node already"
        )
    waiting = answer.compute.competing.pods - sum(here.get(each.target) is False for each in left)
    if waiting > 0:
        wait = "pod waits" if waiting == 1 else "pods wait"
        notes.append(f"{waiting:,} other {wait} for a node and may take the room first")
    age = None if isinstance(supplied.holes, Unread) else supplied.age_s
    return Judged(answer, tuple(question.vms), tuple(dict.fromkeys(unknown)), tuple(notes), age)


def _disks(asked: Asked, facts: Target, unknown: list[Unknown]) -> dict[Wanted, tuple[Disk, ...]]:
    """Return the target volumes. What decides about them and could not be read makes them unknown, or lower bounds."""
    found = asked.demand.disks(facts.rules(asked.storage_map))
    if isinstance(asked.storage_map, Unread):
        unknown.append(asked.storage_map.unknown("storage"))
        why = "the storage map could not be read"
        return {
            each: tuple(Disk(disk.vm, disk.name, None, "", "", why=why) for disk in own) for each, own in found.items()
        }
    if isinstance(facts.profiles, Unread) and any(
        disk.storage_class and not disk.mode for own in found.values() for disk in own
    ):
        unknown.append(facts.profiles.unknown("volume mode"))
    if isinstance(facts.cdi, Unread):
        why = "CDI's share for file systems could not be read, so it is larger than shown"
        grown = {
            each: tuple(
                replace(disk, why=disk.why or why) if disk.prime and disk.mode == FILESYSTEM else disk for disk in own
            )
            for each, own in found.items()
        }
        if grown != found:
            unknown.append(facts.cdi.unknown("storage"))
        return grown
    return found


def _receivers(facts: Target) -> dict[str, bool]:
    """Return the VMs that have a launcher pod in the target namespace, and whether it has its node."""
    found: dict[str, bool] = {}
    for pod in () if isinstance(facts.receivers, Unread) else facts.receivers:
        if dig(pod, "status", "phase") not in FINISHED and (name := vm_name(pod)):
            found[name] = found.get(name, False) or scheduled(pod)
    return found


def _claims(facts: Target, uid: str) -> dict[str, bool]:
    """Return the volumes of the plan that have a claim in the target namespace, and whether it is bound."""
    found: dict[str, bool] = {}
    for claim in () if isinstance(facts.claims, Unread) else facts.claims:
        bound = dig(claim, "status", "phase") == "Bound"
        names = {named(claim)[1]}
        if uid and dig(claim, "metadata", "labels", "plan") == uid:
            names.add(text(dig(claim, "metadata", "annotations", _DISK_SOURCE)))
        found |= dict.fromkeys(names - {""}, bound)
    return found
