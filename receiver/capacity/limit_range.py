"""Does a single object exceed what the target namespace allows for one? LimitRanges judge each by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from receiver.capacity.disks import Disk
from receiver.capacity.findings import Proof, Scope, Shortage
from receiver.capacity.need import COMPUTE, VmNeed
from receiver.capacity.quantity import amount, ratio
from receiver.capacity.reading import dig, mapping, named, records, text

_CONTAINER: Final = "Container"
_POD: Final = "Pod"
_CLAIM: Final = "PersistentVolumeClaim"


def judge_limits(
    vms: Sequence[VmNeed], disks: Sequence[Disk], ranges: Iterable[Mapping[str, Any]]
) -> tuple[list[Shortage], list[Shortage]]:
    """Return what can never be created, and what perhaps cannot. Both name the LimitRange that they come from.

    Below a minimum, `need` is the minimum and `have` what is asked.
    """
    never: list[Shortage] = []
    perhaps: list[Shortage] = []
    for item in records(list(ranges)):
        namespace, name = named(item)
        owner = f"{namespace}/{name}" if namespace else name
        for limit in records(dig(item, "spec", "limits")):
            kind = text(limit.get("type"))
            if kind == _CLAIM:
                never += _claims(limit, disks, owner)
            for vm in vms:
                if vm.requests is None:
                    continue
                if kind == _POD:
                    never += _bounds(limit, vm, {key: vm.requests.amount(key) for key in ("cpu", "memory")}, owner)
                elif kind == _CONTAINER:
                    for each in vm.containers:
                        never += _bounds(limit, vm, each.requests, owner, each.name)
                    perhaps += _defaults(limit, vm, owner)
    return never, perhaps


def _bounds(
    limit: Mapping[str, Any], vm: VmNeed, asked: Mapping[str, int], owner: str, container: str = ""
) -> Iterable[Shortage]:
    of = f" of container {container}" if container else " of a pod"
    for resource, count in asked.items():
        most = amount(resource, dig(limit, "max", resource))
        least = amount(resource, dig(limit, "min", resource))
        if most is not None and count > most:
            yield Shortage(
                resource, Scope.LIMIT, vm.name, count, most, Proof.ONE, owner, vm.origin, f"above the maximum{of}"
            )
        if least is not None and 0 < count < least:
            why = f"below the minimum{of}"
            yield Shortage(resource, Scope.LIMIT, vm.name, least, count, Proof.ONE, owner, vm.origin, why)


def _defaults(limit: Mapping[str, Any], vm: VmNeed, owner: str) -> Iterable[Shortage]:
    """A default limit below the request, or a bound on their relation, refuses the pod unless KubeVirt sets its own."""
    for each in vm.containers:
        if each.name != COMPUTE:
            continue
        for resource in ("cpu", "memory"):
            count, own = each.requests.amount(resource), each.limits.amount(resource)
            default = amount(resource, dig(limit, "default", resource))
            if default is not None and not own and count > default:
                why = "above the default limit, which applies where the VM has none"
                yield Shortage(resource, Scope.LIMIT, vm.name, count, default, Proof.ONE, owner, vm.origin, why)
            most = ratio(mapping(limit.get("maxLimitRequestRatio")).get(resource))
            if most is not None and count and own > count * most:
                allowed = int(count * most)
                why = "its limit is too far above its request"
                yield Shortage(resource, Scope.LIMIT, vm.name, own, allowed, Proof.ONE, owner, vm.origin, why)


def _claims(limit: Mapping[str, Any], disks: Sequence[Disk], owner: str) -> Iterable[Shortage]:
    most, least = (amount("", dig(limit, bound, "storage")) for bound in ("max", "min"))
    for disk in disks:
        if disk.size is None:
            continue
        if most is not None and disk.size > most:
            why = f"volume {disk.name} is above the maximum of a claim"
            yield Shortage("storage", Scope.LIMIT, disk.vm, disk.size, most, Proof.ONE, owner, disk.origin, why)
        if least is not None and disk.size < least:
            why = f"volume {disk.name} is below the minimum of a claim"
            yield Shortage("storage", Scope.LIMIT, disk.vm, least, disk.size, Proof.ONE, owner, disk.origin, why)
