"""One question, one answer: does this plan fit into that cluster?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from receiver.capacity.compute import Compute, fits_somewhere, judge_compute, keys_of
from receiver.capacity.disks import Disk
from receiver.capacity.findings import (
    Line,
    Part,
    Proof,
    Scope,
    Shortage,
    Unknown,
    Unread,
    Verdict,
    part_of,
    worst,
)
from receiver.capacity.inflight import InFlight
from receiver.capacity.need import VmNeed
from receiver.capacity.nodes import Holes
from receiver.capacity.quota import QuotaFacts, judge_quota
from receiver.capacity.reading import dig, strings
from receiver.capacity.storage import STORAGE, StorageFacts, judge_storage, segments_of


@dataclass(frozen=True, slots=True)
class Question:
    """A plan's need and a cluster's supply. VMs in the order of the plan.

    `vms` are those without a pod on the target yet, `disks` the volumes not yet there: what is there already stands in
    the supply. `reserved` are receivers of other running plans without a pod. Supply that could not be read is Unread.
    `headroom_percent` of every node's CPU and memory stay free in the likely case.
    """

    cluster: str
    vms: Sequence[VmNeed] = ()
    disks: Sequence[Disk] = ()
    nodes: Holes | Unread = field(default_factory=lambda: Unread("nodes", "not asked"))
    storage: StorageFacts = StorageFacts()  # noqa: RUF009 - immutable
    quota: QuotaFacts = QuotaFacts()  # noqa: RUF009 - immutable
    headroom_percent: int = 10
    reserved: Sequence[VmNeed] = ()
    in_flight: InFlight | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine says of one cluster. `unknown` stands beside the verdict and never changes it.

    `remaining` is what stays free after the plan in percent, by resource, where it is known.
    """

    cluster: str
    verdict: Verdict
    compute: Compute
    storage: Part
    quota: Part
    remaining: dict[str, float]
    in_flight: InFlight | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        """Compute, storage and quota."""
        return self.compute.part, self.storage, self.quota

    @property
    def shortages(self) -> tuple[Shortage, ...]:
        """What does not suffice, of all parts."""
        return tuple(each for part in self.parts for each in part.shortages)

    @property
    def risks(self) -> tuple[Shortage, ...]:
        """What might not suffice, of all parts."""
        return tuple(each for part in self.parts for each in part.risks)

    @property
    def unknown(self) -> tuple[Unknown, ...]:
        """What could not be judged, of all parts."""
        return tuple(dict.fromkeys(each for part in self.parts for each in part.unknown))

    @property
    def lines(self) -> tuple[Line, ...]:
        """Need against free, of all parts."""
        return tuple(each for part in self.parts for each in part.lines)

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know besides."""
        return tuple(each for part in self.parts for each in part.notes)


def check(question: Question) -> Answer:
    """Judge a plan against a cluster. Never raises for what the objects hold.

    "fits" is only said of the whole where the nodes could be judged: without them nothing decides it.
    """
    compute = judge_compute(question.vms, question.nodes, question.headroom_percent, question.reserved)
    storage = _with_local(judge_storage(question.disks, question.storage), question, compute)
    quota = judge_quota(question.vms, question.disks, question.quota)
    verdict = worst(part.verdict for part in (compute.part, storage, quota))
    if verdict is Verdict.FITS and compute.part.verdict is Verdict.UNKNOWN:
        verdict = Verdict.UNKNOWN
    return Answer(question.cluster, verdict, compute, storage, quota, _remaining(compute, storage), question.in_flight)


def _remaining(compute: Compute, storage: Part) -> dict[str, float]:
    left = dict(compute.remaining)
    shares = [100 * (line.free - line.need) / line.free for line in storage.lines if line.free]
    if any(each.proof is Proof.MISSING for each in storage.shortages):
        shares.append(-100.0)
    if shares:
        left[STORAGE] = min(shares)
    return left


def _with_local(storage: Part, question: Question, compute: Compute) -> Part:
    """Storage that is local to nodes: a VM needs both on one node, and CDI picks it without knowing of the memory."""
    if isinstance(question.nodes, Unread):
        return storage
    labels = {hole.name: dict(strings(dig(hole.node, "metadata", "labels"))) for hole in question.nodes.holes}
    short, risky = list(storage.shortages), list(storage.risks)
    for key, vm in zip(keys_of(question.vms), question.vms, strict=True):
        if vm.requests is None or key not in compute.eligible:
            continue
        need: dict[str, int] = {}
        for disk in question.disks:
            if disk.vm == vm.name and disk.storage_class:
                need[disk.storage_class] = need.get(disk.storage_class, 0) + (disk.size or 0)
        for name, count in sorted(need.items()):
            segments = [each for each in segments_of(name, question.storage) if each.local]
            if not segments:
                continue
            reached = [
                node
                for node in compute.eligible[key].nodes
                if any((each.capacity or 0) >= count and each.reaches(labels[node]) for each in segments)
            ]
            both = [node for node in reached if fits_somewhere(vm.requests, compute.free, (node,))]
            if len(both) < len(reached) or not reached:
                why = f"{len(both)} of {len(reached)} nodes with enough local storage also hold the VM"
                found = Shortage(
                    STORAGE, Scope.STORAGE_CLASS, key, count, None if not both else count,
                    Proof.NO_NODE if not both else Proof.PACKING, name, vm.origin, why,
                )  # fmt: skip
                (risky if both or compute.eligible[key].doubtful else short).append(found)
    if (len(short), len(risky)) == (len(storage.shortages), len(storage.risks)):
        return storage
    return part_of(STORAGE, short, risky, storage.unknown, storage.lines, storage.notes)
