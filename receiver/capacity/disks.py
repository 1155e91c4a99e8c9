"""Target volumes of a plan: how large each is asked for, in which class, and what exists twice for a moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

from receiver.capacity.inventory import SourceDisk
from receiver.capacity.overhead import MIB
from receiver.capacity.quantity import ratio
from receiver.capacity.reading import by_name, dig, mapping, named, records, size, text

BLOCK: Final = "Block"
FILESYSTEM: Final = "Filesystem"
CDI_OVERHEAD: Final = Fraction(6, 100)
"""CDI's default share for the file system of a Filesystem volume, of all its releases since August 2025."""
FORKLIFT_OVERHEAD: Final = Fraction(10, 100)
"""Forklift's `FILESYSTEM_OVERHEAD`, for volumes that its own populators fill."""
POPULATED: Final = frozenset({"ovirt", "openstack"})
"""Providers whose disks Forklift's populators fill in a cold migration."""
STATE_BYTES: Final = 10 * MIB
"""Size of KubeVirt's claim for a persistent TPM or EFI."""
_DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
_DEFAULT_VIRT_CLASS: Final = "storageclass.kubevirt.io/is-default-virt-class"
_CLAIMLESS: Final = "the source claim could not be read"


@dataclass(frozen=True, slots=True)
class Disk:
    """One target volume. `size` is what is asked of the class in bytes, None if not known (`why` tells).

    `storage_class` is empty if nobody can tell it. `prime` tells that CDI makes a second claim of the same size for a
    moment. `origin` says where the size comes from.
    """

    vm: str
    name: str
    size: int | None
    storage_class: str
    mode: str
    prime: bool = False
    access: str = ""
    origin: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class StorageRules:
    """What decides about volumes on the target. Made by `rules_of`; `pairs` are the entries of the StorageMap.

    `overheads` are CDI's shares by class; `divides` is true for CDI before the change that made the share a factor.
    """

    pairs: tuple[tuple[frozenset[str], Mapping[str, Any]], ...] = ()
    default_class: str = ""
    modes: Mapping[str, str] = field(default_factory=dict)
    overhead: Fraction = CDI_OVERHEAD
    overheads: Mapping[str, Fraction] = field(default_factory=dict)
    divides: bool = False
    state_class: str = ""


def rules_of(
    storage_map: object,
    classes: object = (),
    profiles: object = (),
    cdi_config: object = None,
    *,
    divides: bool = False,
    state_class: str = "",
) -> StorageRules:
    """Read a StorageMap and the target's StorageClasses, StorageProfiles and CDIConfig; what is missing is default."""
    pairs = []
    for entry in records(dig(storage_map, "spec", "map")):
        source = mapping(entry.get("source"))
        keys = frozenset(key for part in ("id", "name", "type") if (key := text(source.get(part))))
        pairs.append((keys, mapping(entry.get("destination"))))
    marked = [
        (mark == _DEFAULT_CLASS, named(item)[1])
        for item in records(classes)
        for mark in (_DEFAULT_CLASS, _DEFAULT_VIRT_CLASS)
        if dig(item, "metadata", "annotations", mark) == "true"
    ]
    modes = {}
    for item in records(profiles):
        sets = records(dig(item, "status", "claimPropertySets"))
        if sets and (mode := text(sets[0].get("volumeMode"))):
            modes[text(dig(item, "status", "storageClass")) or named(item)[1]] = mode
    shares = mapping(dig(cdi_config, "status", "filesystemOverhead"))
    found = ratio(shares.get("global"))
    return StorageRules(
        tuple(pairs),
        min(marked)[1] if marked else "",
        modes,
        CDI_OVERHEAD if found is None else _sane(found),
        {
            name: _sane(share)
            for name, written in mapping(shares.get("storageClass")).items()
            if isinstance(name, str) and (share := ratio(written)) is not None
        },
        divides,
        state_class,
    )


def kubevirt_disks(
    vm: str, spec: Mapping[str, Any], data_volumes: Iterable[object], claims: Iterable[object], rules: StorageRules
) -> tuple[Disk, ...]:
    """Return the target volumes of a KubeVirt VM by its spec. DataVolumes and claims are those of its namespace."""
    by_dv, by_claim = by_name(list(data_volumes)), by_name(list(claims))
    found = []
    for volume in records(spec.get("volumes")):
        if dv := text(dig(volume, "dataVolume", "name")):
            found.append(_of_data_volume(vm, dv, by_dv.get(dv), by_claim.get(dv), rules))
        elif claim := text(dig(volume, "persistentVolumeClaim", "claimName")):
            if claim in by_dv:  # made from a DataVolume: Forklift makes one again
                found.append(_of_data_volume(vm, claim, by_dv[claim], by_claim.get(claim), rules))
            else:
                found.append(_of_claim(vm, claim, by_claim.get(claim), rules, data_volume=False))
    domain = mapping(spec.get("domain"))
    tpm = dig(domain, "devices", "tpm", "persistent") is True
    if tpm or dig(domain, "firmware", "bootloader", "efi", "persistent") is True:
        name = rules.state_class or rules.default_class
        found.append(Disk(vm, f"persistent-state-for-{vm}", STATE_BYTES, name, FILESYSTEM, origin="KubeVirt"))
    return tuple(found)


def foreign_disks(
    vm: str, disks: Sequence[SourceDisk], rules: StorageRules, *, populated: bool = False, block_overhead: int = 0
) -> tuple[Disk, ...]:
    """Return the target volumes of a VM of another provider.

    `populated`: Forklift's own populators fill them, which inflates differently; `block_overhead` is its
    `BLOCK_OVERHEAD` in bytes.
    """
    found = []
    for disk in disks:
        destination = _destination(rules, disk.keys)
        if destination is None:
            why = "no entry of the storage map names its storage"
            found.append(Disk(vm, disk.name, disk.size, "", "", origin="inventory", why=why))
            continue
        name, mode, access = _class_of(destination, rules)
        count, why = disk.size, "" if disk.size else "the inventory has no readable size"
        if disk.raw:
            count, why = None, "a raw device mapping: only its array knows whether it is copied"
        elif count and mode == FILESYSTEM:
            count = _divided(count, FORKLIFT_OVERHEAD) if populated else inflated(count, name, rules)
        elif count and populated:
            count += block_overhead
        found.append(Disk(vm, disk.name, count, name, mode, not disk.raw, access, "inventory", why))
    return tuple(found)


def without_shared(disks: Iterable[tuple[str, Sequence[SourceDisk]]]) -> tuple[tuple[str, tuple[SourceDisk, ...]], ...]:
    """Keep each shared disk for the first VM that has it only: it is copied once."""
    seen: set[str] = set()
    found = []
    for vm, own in disks:
        kept = tuple(disk for disk in own if not (disk.shared and disk.name in seen))
        seen |= {disk.name for disk in own if disk.shared}
        found.append((vm, kept))
    return tuple(found)


def inflated(count: int, storage_class: str, rules: StorageRules) -> int:
    """Return what CDI asks of a Filesystem class so that an image of `count` bytes finds room in it."""
    share = rules.overheads.get(storage_class, rules.overhead)
    aligned = -(-count // MIB) * MIB
    if rules.divides:
        return _divided(aligned, share)
    grown = aligned * (1 + share)
    return -(-grown.numerator // grown.denominator)


def _of_data_volume(
    vm: str, name: str, dv: Mapping[str, Any] | None, claim: Mapping[str, Any] | None, rules: StorageRules
) -> Disk:
    asked = size(dig(dv, "spec", "storage", "resources", "requests", "storage"))
    if asked is None:
        return _of_claim(vm, name, claim, rules, data_volume=True)
    source = text(dig(claim, "spec", "storageClassName")) or text(dig(dv, "spec", "storage", "storageClassName"))
    return _mapped(vm, name, asked, source, rules, "DataVolume request", data_volume=True)


def _of_claim(vm: str, name: str, claim: Mapping[str, Any] | None, rules: StorageRules, *, data_volume: bool) -> Disk:
    source = text(dig(claim, "spec", "storageClassName"))
    if claim is None:
        return Disk(vm, name, None, "", "", data_volume, why=_CLAIMLESS)
    if text(dig(claim, "spec", "volumeMode")) == BLOCK:
        return _mapped(
            vm, name, size(dig(claim, "status", "capacity", "storage")), source, rules, "claim capacity",
            data_volume=data_volume,
        )  # fmt: skip
    asked = size(dig(claim, "spec", "resources", "requests", "storage"))
    return _mapped(vm, name, asked, source, rules, "claim request", data_volume=data_volume)


def _mapped(
    vm: str, name: str, count: int | None, source: str, rules: StorageRules, origin: str, *, data_volume: bool
) -> Disk:
    destination = _destination(rules, (source,))
    if destination is None:
        why = f"the storage map has no entry for class {source}" if source else "its source class is not known"
        return Disk(vm, name, count, "", "", data_volume, origin=origin, why=why)
    storage_class, mode, access = _class_of(destination, rules)
    why = "" if count else "its size could not be read"
    if not mode:
        why = why or f"neither the storage map nor a StorageProfile says the volume mode in class {storage_class}"
    if count and data_volume and mode == FILESYSTEM:
        count = inflated(count, storage_class, rules)
    return Disk(vm, name, count or None, storage_class, mode, data_volume, access, origin, why)


def _destination(rules: StorageRules, keys: Iterable[str]) -> Mapping[str, Any] | None:
    wanted = {key for key in keys if key}
    return next((destination for names, destination in rules.pairs if names & wanted), None)


def _class_of(destination: Mapping[str, Any], rules: StorageRules) -> tuple[str, str, str]:
    name = text(destination.get("storageClass")) or rules.default_class
    mode = text(destination.get("volumeMode")) or rules.modes.get(name, "")
    return name, mode, text(destination.get("accessMode"))


def _divided(count: int, share: Fraction) -> int:
    whole = count / (1 - share)
    return -(-whole.numerator // whole.denominator)


def _sane(share: Fraction) -> Fraction:
    """CDI itself only takes shares from 0 up to, but not, 1."""
    return share if share < 1 else CDI_OVERHEAD
