"""VMs of vSphere, oVirt and others, as Forklift's inventory tells of them through the API server's proxy."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from receiver.capacity import (
    POPULATED,
    Disk,
    Profile,
    SourceDisk,
    StorageRules,
    Unknown,
    Unread,
    VmNeed,
    foreign_disks,
    from_inventory,
    inventory_disks,
    planned,
    without_shared,
)
from receiver.capacity.reading import dig, text
from receiver.kube import ClusterError, Obj
from receiver.kube.kinds import is_name
from receiver.kube.streams import Streams
from receiver.room.places import End
from receiver.room.reading import unread
from receiver.room.wanted import NO_INSTANCETYPES, Demand, Instancetypes, Wanted, Wishes, wishes_of

MAX_ASKED: Final = 200
"""VMs of an inventory that are read: each costs a request."""
INVENTORY_TIMEOUT_S: Final = 20.0
INVENTORY: Final = "https:forklift-inventory:8443"
INVENTORY_NAMESPACES: Final = ("openshift-mtv", "konveyor-forklift")
FOREIGN: Final = ("vsphere", "ovirt", "openstack", "hyperv", "ova", "nutanix")
LEAVES_SHARED: Final = "vsphere"
"""The only provider for which Forklift looks at `migrateSharedDisks`."""
_NO_INVENTORY: Final = "Forklift's inventory could not be asked"


@dataclass(frozen=True, slots=True)
class ForeignDemand(Demand):
    """VMs of another provider, as Forklift's inventory tells of them; the text is why one could not be read."""

    provider: str = ""
    vms: Mapping[Wanted, Obj | str] = field(default_factory=dict)
    populated: bool = False
    wishes: Wishes = field(default_factory=Wishes)

    def needs(self, target: Profile, instancetypes: Instancetypes = NO_INSTANCETYPES) -> dict[Wanted, VmNeed]:
        return {
            wanted: VmNeed(wanted.key, why=vm) if isinstance(vm, str) else self._need(wanted, vm, target, instancetypes)
            for wanted, vm in self.vms.items()
        }

    def _need(self, wanted: Wanted, vm: Obj, target: Profile, instancetypes: Instancetypes) -> VmNeed:
        kind: Obj | None = None
        if name := wanted.instancetype:
            found = instancetypes.get(name, Unread(f"instance type {name}", "not asked"))
            if found is None:
                return VmNeed(wanted.key, why=f"the plan gives it instance type {name}, which is not at the target")
            if isinstance(found, Unread):
                why = f"the plan gives it instance type {name}, which could not be read: {found.why}"
                return VmNeed(wanted.key, why=why)
            kind = found
        need = from_inventory(self.provider, vm, target, kind)
        placement = planned(need.placement, self.wishes.selector, self.wishes.affinity)
        notes = (*need.notes, f"sized by instance type {name} of the plan") if name else need.notes
        return replace(need, name=wanted.key, placement=placement, notes=notes)

    def disks(self, rules: StorageRules) -> dict[Wanted, tuple[Disk, ...]]:
        told = [(wanted, vm) for wanted, vm in self.vms.items() if not isinstance(vm, str)]
        own = without_shared([(wanted.key, self._copied(wanted, vm)) for wanted, vm in told])
        found = {
            wanted: foreign_disks(key, disks, rules, populated=self.populated)
            for (wanted, _), (key, disks) in zip(told, own, strict=True)
        }
        for wanted, vm in self.vms.items():
            if isinstance(vm, str):
                found[wanted] = (Disk(wanted.key, "all", None, "", "", why=vm),)
        return found

    def _copied(self, wanted: Wanted, vm: Obj) -> tuple[SourceDisk, ...]:
        disks = inventory_disks(self.provider, vm)
        if wanted.shared or self.provider != LEAVES_SHARED:
            return disks
        return tuple(each for each in disks if not each.shared)


async def of_inventory(home: object, source: End, plan: Mapping[str, Any], vms: Sequence[Wanted]) -> ForeignDemand:
    """Read VMs of another provider. Never raises for what the inventory does."""
    uid = text(dig(source.obj, "metadata", "uid"))
    warm = dig(plan, "spec", "warm") is True
    populated = source.kind in POPULATED and not warm
    made = ForeignDemand(provider=source.kind, populated=populated, wishes=wishes_of(plan))
    if not isinstance(home, Streams):
        why = Unread(_NO_INVENTORY, "a must-gather does not hold it")
        return replace(made, unknown=(_about(why, source),), vms=dict.fromkeys(vms, _NO_INVENTORY))
    if source.kind not in FOREIGN or not is_name(uid):
        why = Unread(_NO_INVENTORY, f"providers of type {source.kind!r} are not read")
        return replace(made, unknown=(_about(why, source),), vms=dict.fromkeys(vms, _NO_INVENTORY))
    read: dict[Wanted, Obj | str] = dict.fromkeys(vms, _NO_INVENTORY)
    problem: Unread | None = None
    try:
        async with asyncio.timeout(INVENTORY_TIMEOUT_S):
            for namespace in INVENTORY_NAMESPACES:
                refusal = await _ask_inventory(home, namespace, f"providers/{source.kind}/{uid}/vms", vms, read)
                if refusal is None:
                    problem = None
                    break
                right = f"get services/proxy ({INVENTORY}) in namespace {namespace}"
                problem = problem or unread(_NO_INVENTORY, refusal, right)
                if refusal.reason == "unauthorized":
                    problem = Unread(_NO_INVENTORY, "it takes no requests through the API server's proxy (401)")
                if refusal.reason != "not found":
                    break
    except TimeoutError:
        problem = Unread(_NO_INVENTORY, "timed out")
    return replace(made, unknown=(_about(problem, source),) if problem else (), vms=read)


async def _ask_inventory(
    home: Streams, namespace: str, path: str, vms: Sequence[Wanted], read: dict[Wanted, Obj | str]
) -> ClusterError | None:
    """Fill in what the inventory says of each VM; the first refusal ends it, for all are refused alike."""
    answered = False
    for wanted in vms[:MAX_ASKED]:
        if not is_name(wanted.id):
            read[wanted] = "the plan has no usable id of it"
            continue
        try:
            read[wanted] = await home.proxied(namespace, INVENTORY, f"{path}/{wanted.id}")
            answered = True
        except ClusterError as error:
            if error.reason != "not found" or not answered:
                return error
            read[wanted] = "the inventory does not know it"
    return None


def _about(why: Unread, source: End) -> Unknown:
    return Unknown("VMs", f"{why.what}: {why.why}", source.provider, None, why.right)
