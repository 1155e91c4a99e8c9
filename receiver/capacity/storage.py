"""Does the storage suffice? Per class of the target, by what CSI drivers report of their capacity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from receiver.capacity.disks import Disk
from receiver.capacity.findings import Line, Part, Proof, Scope, Shortage, Unknown, Unread, part_of
from receiver.capacity.reading import by_name, dig, mapping, records, size, strings, text

STORAGE: Final = "storage"
PLAN: Final = "plan"
Listed = Sequence[Mapping[str, Any]] | Unread
_HOST_TOPOLOGY: Final = ("hostname", "node")
_POOL_PARAMETERS: Final = (
    "pool", "clusterID", "fsName", "storagePool", "storagepool", "backendType", "selector", "datastoreurl", "svm",
    "aggregate", "volumeGroup", "vgroup", "server", "share",
)  # fmt: skip
_HOW: Final = "CSIStorageCapacity, summed over its segments"


@dataclass(frozen=True, slots=True)
class StorageFacts:
    """What the target says of its storage; each list may be Unread."""

    classes: Listed = ()
    drivers: Listed = ()
    capacities: Listed = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a class's storage that some nodes reach. `capacity` and `largest` volume in bytes, None if unsaid.

    `topology` is a label selector; an empty one means every node.
    """

    name: str
    capacity: int | None
    largest: int | None
    topology: Mapping[str, Any]

    def reaches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether a node with these labels reaches it."""
        if any(labels.get(key) != value for key, value in strings(self.topology.get("matchLabels"))):
            return False
        for each in records(self.topology.get("matchExpressions")):
            found, values = labels.get(text(each.get("key"))), each.get("values")
            inside = found is not None and found in (values if isinstance(values, list) else ())
            wanted = {"In": inside, "NotIn": not inside, "Exists": found is not None, "DoesNotExist": found is None}
            if not wanted.get(text(each.get("operator")), False):
                return False
        return True

    @property
    def local(self) -> bool:
        """Whether its topology names single nodes."""
        keys = [key for key, _ in strings(self.topology.get("matchLabels"))]
        keys += [text(each.get("key")) for each in records(self.topology.get("matchExpressions"))]
        return any(key.rpartition("/")[2] in _HOST_TOPOLOGY for key in keys)


def judge_storage(disks: Sequence[Disk], facts: StorageFacts) -> Part:
    """Judge the target volumes of a plan, summed by class. Where a size is not known, the need is a lower bound."""
    shortages: list[Shortage] = []
    risks: list[Shortage] = []
    unknown: list[Unknown] = [
        Unknown(STORAGE, f"{each.vm}, volume {each.name}: {each.why}") for each in disks if each.why
    ]
    lines: list[Line] = []
    by_class: dict[str, list[Disk]] = {}
    for disk in disks:
        if disk.storage_class:
            by_class.setdefault(disk.storage_class, []).append(disk)
        elif not disk.why:
            unknown.append(Unknown(STORAGE, f"{disk.vm}, volume {disk.name}: the target has no default class"))
    open_classes = False
    free: dict[str, int] = {}
    for name, own in sorted(by_class.items()):
        need = sum(disk.size or 0 for disk in own)
        found = _judge_class(name, own, need, facts)
        lines.append(found.line)
        if isinstance(found.reason, Unknown):
            unknown.append(found.reason)
            open_classes = True
        shortages += found.shortages
        risks += found.risks
        if found.line.free is not None:
            free[name] = found.line.free
    risks += _shared_pools({name: sum(disk.size or 0 for disk in own) for name, own in by_class.items()}, free, facts)
    incomplete = open_classes or any(each.why or not each.storage_class for each in disks)
    return part_of(STORAGE, shortages, risks, unknown, lines, _notes(by_class, facts), judged=not incomplete)


def segments_of(storage_class: str, facts: StorageFacts) -> tuple[Segment, ...]:
    """Return the segments of a class that some node reaches. One without topology reaches none."""
    if isinstance(facts.capacities, Unread):
        return ()
    return tuple(
        Segment(
            text(dig(each, "metadata", "namespace")) + "/" + text(dig(each, "metadata", "name")),
            size(each.get("capacity")),
            size(each.get("maximumVolumeSize")),
            mapping(each.get("nodeTopology")),
        )
        for each in records(facts.capacities)
        if text(each.get("storageClassName")) == storage_class and isinstance(each.get("nodeTopology"), dict)
    )


@dataclass(frozen=True, slots=True)
class _Class:
    line: Line
    shortages: tuple[Shortage, ...] = ()
    risks: tuple[Shortage, ...] = ()
    reason: Unknown | None = None


def _judge_class(name: str, disks: Sequence[Disk], need: int, facts: StorageFacts) -> _Class:
    line = Line(STORAGE, Scope.STORAGE_CLASS, name, need, None, "")
    if isinstance(facts.classes, Unread):
        return _Class(line, reason=facts.classes.unknown(STORAGE, name, need))
    known = by_name(list(facts.classes)).get(name)
    if known is None:
        why = "class does not exist on the cluster"
        missing = Shortage(STORAGE, Scope.STORAGE_CLASS, PLAN, need, None, Proof.MISSING, name, _sources(disks), why)
        return _Class(line, (missing,))
    provisioner = text(known.get("provisioner"))
    if isinstance(facts.drivers, Unread):
        return _Class(line, reason=facts.drivers.unknown(STORAGE, name, need))
    driver = by_name(list(facts.drivers)).get(provisioner)
    if driver is None:
        return _Class(line, reason=Unknown(STORAGE, f"there is no CSIDriver {provisioner}", name, need))
    if dig(driver, "spec", "storageCapacity") is not True:
        why = f"CSIDriver {provisioner} does not report capacity"
        return _Class(line, reason=Unknown(STORAGE, why, name, need))
    if isinstance(facts.capacities, Unread):
        return _Class(line, reason=facts.capacities.unknown(STORAGE, name, need))
    segments = segments_of(name, facts)
    # The scheduler's rule: it takes the largest volume of a segment, else its capacity, and without both nothing fits.
    limits = [
        limit for each in segments if (limit := each.capacity if each.largest is None else each.largest) is not None
    ]
    shortages = []
    largest = max(disks, key=lambda disk: (disk.size or 0, disk.name))
    if not segments or (largest.size or 0) > max(limits, default=0):
        why = "" if segments else "the driver reports no capacity for this class at all"
        have, size_of_largest = max(limits, default=0), largest.size or 0
        shortages.append(
            Shortage(
                STORAGE, Scope.STORAGE_CLASS, largest.vm, size_of_largest, have, Proof.ONE, name, largest.origin, why
            )
        )  # fmt: skip
    if any(each.capacity is None for each in segments):
        return _Class(
            line, tuple(shortages), reason=Unknown(STORAGE, f"class {name} has a segment of unsaid size", name, need)
        )
    have = sum(each.capacity or 0 for each in segments)
    line = Line(STORAGE, Scope.STORAGE_CLASS, name, need, have, _HOW)
    # Of a single volume it is enough to say that it is too large.
    if need > have and not (shortages and need == largest.size):
        shortages.append(Shortage(STORAGE, Scope.STORAGE_CLASS, PLAN, need, have, Proof.SUM, name, _sources(disks)))
    risks = [] if shortages else _segments_too_small(name, disks, segments)
    return _Class(line, tuple(shortages), tuple(risks))


def _segments_too_small(name: str, disks: Sequence[Disk], segments: Sequence[Segment]) -> list[Shortage]:
    """Volumes do not span segments: put the largest first, each where the least is left. A heuristic."""
    left = sorted(each.capacity or 0 for each in segments)
    for disk in sorted(disks, key=lambda each: (-(each.size or 0), each.vm, each.name)):
        need = disk.size or 0
        at = next((at for at, room in enumerate(left) if room >= need), None)
        if at is None:
            return [Shortage(STORAGE, Scope.STORAGE_CLASS, disk.vm, need, left[-1], Proof.PACKING, name, disk.origin)]
        left[at] -= need
        left.sort()
    return []


def _shared_pools(need: Mapping[str, int], free: Mapping[str, int], facts: StorageFacts) -> list[Shortage]:
    """Classes of one pool each report all of it: what both need together has to fit once."""
    if isinstance(facts.classes, Unread):
        return []
    groups: dict[tuple[str, str], list[str]] = {}
    objects = by_name(list(facts.classes))
    for name in sorted(free):
        known = objects.get(name)
        parameters = {key: value for key, value in strings(dig(known, "parameters")) if key in _POOL_PARAMETERS}
        groups.setdefault((text(mapping(known).get("provisioner")), repr(parameters)), []).append(name)
    risks = []
    for names in groups.values():
        together, have = sum(need[name] for name in names), max(free[name] for name in names)
        if len(names) > 1 and together > have and all(need[name] <= free[name] for name in names):
            why = f"{' and '.join(names)} may share one pool"
            risks.append(
                Shortage(STORAGE, Scope.STORAGE_CLASS, PLAN, together, have, Proof.PACKING, ", ".join(names), why=why)
            )
    return risks


def _notes(by_class: Mapping[str, Sequence[Disk]], facts: StorageFacts) -> list[str]:
    notes = []
    for name, disks in sorted(by_class.items()):
        if any(each.local for each in segments_of(name, facts)):
            notes.append(
                f"class {name} is local to nodes: a volume is bound where CDI's importer runs, and the VM must find "
                "room on that same node"
            )
        if any(disk.access and disk.access != "ReadWriteMany" for disk in disks):
            notes.append(f"class {name}: without ReadWriteMany the VM cannot be live-migrated within the target later")
    return notes


def _sources(disks: Sequence[Disk]) -> str:
    return ", ".join(sorted({disk.origin for disk in disks if disk.origin}))
