"""What the VMs of a plan need, read where they are now: a KubeVirt cluster, or Forklift's inventory of other providers.

In the order of trust: the pod that runs, the VMI, the VM with its instancetype worked in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from receiver.capacity import (
    Disk,
    Profile,
    SourceVm,
    StorageRules,
    Unknown,
    Unread,
    VmNeed,
    kubevirt_disks,
    need_of,
)
from receiver.capacity.reading import by_name, dig, mapping, named, records, text
from receiver.kube import Cluster, ClusterError, Obj
from receiver.kube.streams import Streams
from receiver.room.inventory import ForeignDemand, of_inventory
from receiver.room.places import OPENSHIFT, End
from receiver.room.reading import objects, one, unread
from receiver.room.target import profile_from
from receiver.room.wanted import NO_INSTANCETYPES, Demand, Instancetypes, Wanted, wishes_of

LAUNCHERS: Final = "kubevirt.io=virt-launcher"
VM_LABEL: Final = "vm.kubevirt.io/name"
MAX_NODES: Final = 100
"""Source nodes that are read, one request each; VMs on further ones keep their rules, without the CPU model."""
MAX_STOPPED: Final = 200
"""VMs that do not run, of which each costs a request."""
AT_A_TIME: Final = 2
"""Requests for single objects: look-ups that routing waits for share their places."""
_LACKING: Final = {
    "Pod": "requests of running VMs, which are computed instead",
    "VirtualMachineInstance": "running VMs",
    "DataVolume": "storage",
    "PersistentVolumeClaim": "storage",
}
"""Kinds that are read at the source, and what is lacking without them."""
_COPIED: Final = "Forklift may not apply it: it copies VMs of an OpenShift provider as they are"
"""So its source says (`ocp/live.go`, `adapter/ocp/builder.go`); the description of the field promises more."""


@dataclass(frozen=True, slots=True)
class KubeVirtDemand(Demand):
    """VMs of a KubeVirt cluster. `data_volumes` and `claims` by namespace; None where they could not be read."""

    vms: Mapping[Wanted, SourceVm] = field(default_factory=dict)
    data_volumes: Mapping[str, tuple[Obj, ...] | None] = field(default_factory=dict)
    claims: Mapping[str, tuple[Obj, ...] | None] = field(default_factory=dict)
    profile: Profile | None = None
    unchecked: tuple[str, ...] = ()
    """What the plan wishes of placement, and nobody can say whether it gets it."""

    def needs(self, target: Profile, instancetypes: Instancetypes = NO_INSTANCETYPES) -> dict[Wanted, VmNeed]:
        return {wanted: self._need(wanted, vm, target) for wanted, vm in self.vms.items()}

    def _need(self, wanted: Wanted, vm: SourceVm, target: Profile) -> VmNeed:
        if wanted.instancetype and not vm.live:  # it stands beside the size that is copied, and nobody knows who wins
            why = f"what instance type {wanted.instancetype} of the plan makes of it is not known"
            return VmNeed(vm.name, vm.namespace, why=f"{why} (spec.vms[].instanceType)")
        need = need_of(vm, target, self.profile)
        return replace(need, placement=replace(need.placement, unchecked=(*need.placement.unchecked, *self.unchecked)))

    def disks(self, rules: StorageRules) -> dict[Wanted, tuple[Disk, ...]]:
        return {wanted: self._of(wanted, vm, rules) for wanted, vm in self.vms.items()}

    def _of(self, wanted: Wanted, vm: SourceVm, rules: StorageRules) -> tuple[Disk, ...]:
        spec = mapping(dig(vm.vmi, "spec")) or mapping(dig(vm.vm, "spec", "template", "spec"))
        if not spec:
            return (Disk(wanted.key, "all", None, "", "", why="neither its VMI nor its VM could be read"),)
        volumes, claims = self.data_volumes.get(wanted.namespace), self.claims.get(wanted.namespace)
        if volumes is None:  # a claim may be made from one, and is then asked for in another size
            found = kubevirt_disks(wanted.key, spec, (), (), rules)
            why = "the DataVolumes at the source could not be read"
            return tuple(replace(each, size=None, why=why) if each.why else each for each in found)
        return kubevirt_disks(wanted.key, spec, volumes, claims or (), rules)


async def read_demand(home: Cluster, source: End, plan: Mapping[str, Any], vms: Sequence[Wanted]) -> Demand:
    """Return what the VMs need. Never raises for what a cluster does."""
    live = dig(plan, "spec", "type") == "live"
    if source.cluster is not None:
        fields = [*wishes_of(plan).fields]
        if live and any(each.instancetype for each in vms):
            fields.append("spec.vms[].instanceType")
        found = await _of_kubevirt(source.cluster, vms, live=live)
        return replace(found, unchecked=tuple(f"{each} of the plan ({_COPIED})" for each in fields))
    if source.why is not None or source.kind in ("", OPENSHIFT):
        problem = source.why or Unread(f"provider {source.provider}", "its type is not known")
        return ForeignDemand(
            (problem.unknown("VMs", source.provider),), vms=dict.fromkeys(vms, "its source cluster could not be read")
        )
    return await of_inventory(home, source, plan, vms)


async def _of_kubevirt(cluster: Cluster, vms: Sequence[Wanted], *, live: bool) -> KubeVirtDemand:
    spaces = sorted({each.namespace for each in vms if each.namespace})
    kubevirt, lists = await asyncio.gather(
        profile_from(cluster),
        asyncio.gather(
            *(
                objects(cluster, kind, space, label_selector=LAUNCHERS if kind == "Pod" else "")
                for space in spaces
                for kind in _LACKING
            )
        ),
    )
    unknown: list[Unknown] = []
    read: dict[tuple[str, str], tuple[Obj, ...] | None] = {}
    keys = [(space, kind) for space in spaces for kind in _LACKING]
    for (space, kind), found in zip(keys, lists, strict=True):
        if isinstance(found, Unread):
            unknown.append(found.unknown(_LACKING[kind], cluster.name))
        read[space, kind] = None if isinstance(found, Unread) else found
    pods: dict[tuple[str, str], list[Obj]] = {}
    for space in spaces:
        for pod in read[space, "Pod"] or ():
            pods.setdefault((space, vm_name(pod)), []).append(pod)
    vmis = {(space, name): vmi for space in spaces
            for name, vmi in by_name(read[space, "VirtualMachineInstance"]).items()}  # fmt: skip
    found_vms = {
        each: SourceVm(
            each.key,
            each.namespace,
            tuple(pods.get((each.namespace, each.name), ())),
            vmis.get((each.namespace, each.name)),
            live=live,
        )
        for each in vms
    }
    unknown += await _complete(cluster, found_vms)
    if kubevirt.why is not None:
        unknown.append(kubevirt.why.unknown("cpu", cluster.name))
    return KubeVirtDemand(
        tuple(unknown),
        vms=found_vms,
        data_volumes={space: read[space, "DataVolume"] for space in spaces},
        claims={space: read[space, "PersistentVolumeClaim"] for space in spaces},
        profile=None if kubevirt.why is not None else kubevirt.profile,
    )


async def _complete(cluster: Cluster, vms: dict[Wanted, SourceVm]) -> list[Unknown]:
    """Add what is read one by one: the nodes where VMs run, and the VMs without a VMI."""
    unknown: dict[Unknown, None] = {}
    gate = asyncio.Semaphore(AT_A_TIME)

    async def node(name: str) -> Obj | Unread | None:
        async with gate:
            return await one(cluster, "Node", None, name)

    async def vm(wanted: Wanted) -> tuple[Obj | None, Obj | None]:
        async with gate:
            found, kind, why = await _expanded(cluster, wanted)
        if why is not None:
            unknown[why.unknown("VMs", wanted.key)] = None
        return found, kind

    where = {each: _node_of(found) for each, found in vms.items()}
    names = sorted({name for name in where.values() if name})[:MAX_NODES]
    stopped = [each for each, found in vms.items() if found.vmi is None][:MAX_STOPPED]
    nodes, read = await asyncio.gather(
        asyncio.gather(*(node(name) for name in names)), asyncio.gather(*(vm(each) for each in stopped))
    )
    known: dict[str, Obj] = {}
    for name, got in zip(names, nodes, strict=True):
        if isinstance(got, Unread):
            unknown[replace(got, what="nodes").unknown("CPU model", cluster.name)] = None
        elif got is not None:
            known[name] = got
    for each, found in vms.items():
        vms[each] = replace(found, node=known.get(where[each]))
    for each, (obj, kind) in zip(stopped, read, strict=True):
        vms[each] = replace(vms[each], vm=obj, instancetype=kind)
    return list(unknown)


async def _expanded(cluster: Cluster, wanted: Wanted) -> tuple[Obj | None, Obj | None, Unread | None]:
    """Return a VM, with its instancetype worked in or beside it, and what of it could not be read."""
    problem: Unread | None = None
    if isinstance(cluster, Streams):
        try:
            if (expanded := await cluster.expand_spec(wanted.namespace, wanted.name)) is not None:
                return expanded, None, None
        except ClusterError as error:
            right = f"get virtualmachines.subresources.kubevirt.io/expand-spec in namespace {wanted.namespace}"
            problem = unread("expanded virtual machines", error, right)
    found = await one(cluster, "VirtualMachine", wanted.namespace, wanted.name)
    if found is None or isinstance(found, Unread):
        return None, None, found or problem
    wish = mapping(dig(found, "spec", "instancetype"))
    if not (name := text(wish.get("name"))):
        return found, None, None
    if isinstance(cluster, Streams):  # expanding is the server's part: it knows preferences and revisions as well
        return found, None, problem
    own = text(wish.get("kind")).lower() == "virtualmachineinstancetype"
    kind = "VirtualMachineInstancetype" if own else "VirtualMachineClusterInstancetype"
    instancetype = await one(cluster, kind, wanted.namespace if own else None, name)
    if instancetype is None or isinstance(instancetype, Unread):
        return found, None, instancetype
    return found, instancetype, None


def vm_name(pod: Mapping[str, Any]) -> str:
    """Return the VM of a virt-launcher pod, by its label or else by the VMI that owns it."""
    if name := text(dig(pod, "metadata", "labels", VM_LABEL)):
        return name
    owners = records(dig(pod, "metadata", "ownerReferences"))
    return next((text(each.get("name")) for each in owners if each.get("kind") == "VirtualMachineInstance"), "")


def _node_of(vm: SourceVm) -> str:
    running = [pod for pod in vm.pods if dig(pod, "status", "phase") == "Running"]
    return text(dig(vm.vmi, "status", "nodeName")) or next(
        (node for pod in sorted(running, key=named) if (node := text(dig(pod, "spec", "nodeName")))), ""
    )
