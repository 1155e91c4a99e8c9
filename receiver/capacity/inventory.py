"""VMs of other providers, as Forklift's inventory describes them: an estimate of what they need as KubeVirt VMs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from receiver.capacity.formula import expanded, from_spec
from receiver.capacity.need import Origin, SourceVm, VmNeed
from receiver.capacity.overhead import MIB, Profile
from receiver.capacity.quantity import amount
from receiver.capacity.reading import dig, mapping, records, text, whole

_GIB: Final = 1024**3
# OVA writes units as CIM does, for example "byte * 2^20", or as people do.
_OVA_UNITS: Final = {
    "": MIB, "megabytes": MIB, "mb": MIB, "byte * 2^20": MIB, "gigabytes": _GIB, "gb": _GIB, "byte * 2^30": _GIB,
    "kilobytes": 1024, "kb": 1024, "byte * 2^10": 1024, "bytes": 1, "byte": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SourceDisk:
    """One disk of a VM elsewhere: `size` in bytes, None if not known. `keys` may be what a StorageMap names it by.

    `shared` disks are copied once, whoever else has them; `raw` ones (RDM) belong to the array and may not be copied.
    """

    name: str
    size: int | None
    keys: tuple[str, ...] = ()
    shared: bool = False
    raw: bool = False


def from_inventory(provider: str, vm: object, profile: Profile, instancetype: object = None) -> VmNeed:
    """Return the need of a VM as its provider's inventory describes it. `provider` is the type, such as vsphere.

    `instancetype` is one of the target that the plan gives it: its size then counts, and not the one in the inventory.
    """
    found = mapping(vm)
    name = text(found.get("name")) or text(found.get("id"))
    spec: dict[str, Any] = {"architecture": "amd64", "domain": {}}
    if instancetype is not None:
        sized = expanded(spec, instancetype)
        return from_spec(SourceVm(name, live=False), sized, profile, Origin.INVENTORY, None)
    vcpus, memory = _CPU_AND_MEMORY.get(provider, _nothing)(found)
    if not vcpus or not memory:
        missing = "CPU count" if memory else "memory size"
        return VmNeed(name, why=f"the inventory has no readable {missing}")
    spec["domain"] = {"cpu": {"sockets": vcpus, "cores": 1, "threads": 1}, "memory": {"guest": memory}}
    return from_spec(SourceVm(name, live=False), spec, profile, Origin.INVENTORY, None)


def inventory_disks(provider: str, vm: object) -> tuple[SourceDisk, ...]:
    """Return the disks of a VM in an inventory."""
    found = mapping(vm)
    match provider:
        case "ovirt":
            return tuple(
                _disk(mapping(each.get("disk")) or each, "provisionedSize", "storageDomain")
                for each in records(found.get("diskAttachments"))
            )
        case "openstack":
            disks = tuple(_volume(each) for each in records(found.get("volumes")))
            root = whole(dig(found, "flavor", "disk"))
            # A VM that boots from an image has no root volume: its flavor's disk is copied.
            return disks if disks or not root else (SourceDisk("root", root * _GIB, ("__DEFAULT__", "glance")),)
        case "nutanix":
            return tuple(_disk(each, "diskSizeBytes", "storageContainer") for each in records(found.get("disks")))
        case _:
            return tuple(_disk(each, "capacity", "datastore") for each in records(found.get("disks")))


def _disk(disk: Mapping[str, Any], size_key: str, home: str) -> SourceDisk:
    place = disk.get(home)
    keys = [text(place)] if isinstance(place, str) else [text(dig(place, key)) for key in ("id", "name")]
    keys += [text(disk.get("storageContainerUuid")), text(disk.get("storageType")), text(disk.get("name"))]
    name = text(disk.get("file")) or text(disk.get("id")) or text(disk.get("uuid")) or text(disk.get("name"))
    count = amount("", disk.get(size_key))
    return SourceDisk(
        name, count or None, tuple(key for key in keys if key), disk.get("shared") is True, disk.get("rdm") is True
    )


def _volume(volume: Mapping[str, Any]) -> SourceDisk:
    gib = whole(volume.get("size"))
    keys = tuple(key for part in ("volumeType", "volumeTypeID") if (key := text(volume.get(part))))
    name = text(volume.get("id")) or text(volume.get("ID")) or text(volume.get("name"))
    return SourceDisk(name, gib * _GIB or None, keys, volume.get("multiattach") is True)


def _vsphere(vm: Mapping[str, Any]) -> tuple[int, int]:
    return whole(vm.get("cpuCount")), whole(vm.get("memoryMB")) * MIB


def _ova(vm: Mapping[str, Any]) -> tuple[int, int]:
    unit = _OVA_UNITS.get(" ".join(text(vm.get("memoryUnits")).lower().split()), 0)
    return whole(vm.get("cpuCount")), whole(vm.get("memoryMB")) * unit


def _ovirt(vm: Mapping[str, Any]) -> tuple[int, int]:
    return _product(vm, "cpuSockets", "cpuCores", "cpuThreads"), whole(vm.get("memory"))


def _openstack(vm: Mapping[str, Any]) -> tuple[int, int]:
    flavor = mapping(vm.get("flavor"))
    return whole(flavor.get("vcpus")), whole(flavor.get("ram")) * MIB


def _nutanix(vm: Mapping[str, Any]) -> tuple[int, int]:
    vcpus = _product(vm, "numSockets", "numVcpusPerSocket", "numThreadsPerCore")
    return vcpus, whole(vm.get("memorySizeMib")) * MIB


def _nothing(_: Mapping[str, Any]) -> tuple[int, int]:
    return 0, 0


def _product(vm: Mapping[str, Any], *parts: str) -> int:
    total = 0
    for part in parts:
        if count := whole(vm.get(part)):
            total = (total or 1) * count
    return total


_CPU_AND_MEMORY: Final = {
    "vsphere": _vsphere, "hyperv": _vsphere, "ova": _ova, "ovirt": _ovirt, "openstack": _openstack, "nutanix": _nutanix,
}  # fmt: skip
