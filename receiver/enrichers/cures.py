"""What ends each kind of wait well: one step a person can take now, with a command that works. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from receiver.model import Link
from receiver.stuck import Block, Kind, Owner, Shortage
from receiver.stuck.kinds import GIB, MIB, amount

_OWNERS: Mapping[Owner, str] = MappingProxyType(
    {
        Owner.QUOTA: "quota owner",
        Owner.STORAGE: "storage team",
        Owner.NODES: "virtualization platform",
        Owner.NETWORK: "network team",
        Owner.SECURITY: "virtualization platform",
        Owner.IMAGES: "migration platform",
        Owner.PLAN: "plan owner",
        Owner.MIGRATION: "migration platform",
    }
)
"""As the table of known causes calls them."""
# Nothing that a shell would read as anything else.
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_RESOURCE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,251}[A-Za-z0-9])?")

_QUOTAS = (Kind.QUOTA_POD, Kind.QUOTA_CLAIM)


def owner_of(owner: Owner) -> str:
    """Return who can cure it, as people say it."""
    return _OWNERS[owner]


def cures_of(block: Block, every: Sequence[Block], cluster: str) -> tuple[Link, ...]:
    """Return what ends this wait. `every` are all blocks of the Plan: what refuses several VMs has to fit them all."""
    same = [one for one in every if (one.kind, one.scope) == (block.kind, block.scope)]
    if block.kind in _QUOTAS:
        return (_quota(block, same, cluster),)
    return (_CURES[block.kind](block, same, cluster),)


def raised(blocks: Sequence[Block]) -> dict[str, tuple[str, str]]:
    """Return the limit and the least one that fits all of `blocks`, as the API writes them, by resource.

    Every refusal tells what was used in its moment, without the VMs that were refused: their needs add up.
    """
    found: dict[str, tuple[str, str]] = {}
    for name in dict.fromkeys(lack.resource for block in blocks for lack in block.shortages):
        lacks = [lack for block in blocks for lack in block.shortages if lack.resource == name]
        used = max((lack.used for lack in lacks if lack.used is not None), default=None)
        limit = max((lack.limit for lack in lacks if lack.limit is not None), default=None)
        needs = [lack.need for lack in lacks if lack.need is not None]
        if used is None or limit is None or len(needs) != len(lacks) or not _RESOURCE.fullmatch(name):
            return {}  # a value that is only nearly enough would be refused again
        new = used + sum(needs)
        if new > limit:
            found[name] = (_written(limit, lacks[0], up=False), _written(new, lacks[0], up=True))
    return found


def _quota(block: Block, same: Sequence[Block], cluster: str) -> Link:
    namespace, _, name = block.scope.partition("/")
    which = f"ResourceQuota {block.scope}" if block.scope else "the ResourceQuota of the target namespace"
    place = f" in cluster {cluster}" if cluster else ""
    on = "the migration then goes on by itself" if len(same) == 1 else f"the {len(same)} VMs then go on by themselves"
    values = raised(same)
    named = bool(_NAME.fullmatch(namespace) and _NAME.fullmatch(name))
    if not values:
        command = f"oc -n {namespace} describe resourcequota {name}" if named else ""
        return _looking(f"The quota owner raises {which}{place}; {on}", command)
    steps = ", ".join(f"{resource} from {old} to {new} or more" for resource, (old, new) in values.items())
    patch = json.dumps({"spec": {"hard": {key: new for key, (_, new) in values.items()}}}, separators=(",", ":"))
    command = f"oc -n {namespace} patch resourcequota {name} --type=merge -p '{patch}'" if named else ""
    return Link(f"The quota owner raises {which}{place}: {steps}; {on}", command)


def _written(value: int, lack: Shortage, *, up: bool) -> str:
    """Return a quantity as people write quotas: whole GiB, whole CPUs; `up` rounds to the next one."""
    if lack.unit == "B":
        size, suffix = (GIB, "Gi") if value >= GIB else (MIB, "Mi")
        if up:
            return f"{-(-value // size)}{suffix}"
        return f"{value // size}{suffix}" if value % size == 0 else f"{value}"
    if lack.unit == "m":
        if up:
            return f"{-(-value // 1_000)}"
        return f"{value // 1_000}" if value % 1_000 == 0 else f"{value}m"
    return f"{value}"


def _unschedulable(block: Block, same: Sequence[Block], cluster: str) -> Link:
    node = f"one node of {cluster}" if cluster else "one node of the target"
    asks = [_of(lack) for lack in block.shortages if lack.need is not None and lack.resource != "pods"]
    each = " for each VM" if len(same) > 1 else ""
    if asks:
        return Link(f"Free {' and '.join(asks)} on {node}{each}, or add a node. Look first", "oc describe nodes")
    return _looking(
        f"Make {node} take the receiver pod: the cause says what keeps it off (taints, labels, CPU model, volumes)",
        _describe(block, "Pod", "pod"),
    )


def _of(lack: Shortage) -> str:
    said = amount(lack.need or 0, lack.unit)
    return said if lack.resource == "cpu" else f"{said} of {lack.resource}"


def _full(block: Block, same: Sequence[Block], cluster: str) -> Link:
    needs = [lack.need for one in same for lack in one.shortages]
    known = [need for need in needs if need is not None]
    room = f" by {amount(sum(known), 'B')} or more" if known and len(known) == len(needs) else ""
    which = f"storage class {block.scope}" if block.scope else "the storage class"
    return _looking(
        f"Extend the backend of {which}{room}, or free as much: the volume is then made by itself",
        _describe(block, "PersistentVolumeClaim", "pvc"),
    )


def _says(text: str, kind: str = "", resource: str = "") -> Callable[[Block, Sequence[Block], str], Link]:
    """Return a cure of fixed words; `{scope}` and `{namespace}` are filled in, the command shows the object."""

    def cure(block: Block, _same: Sequence[Block], cluster: str) -> Link:
        filled = text.replace("{scope}", block.scope or "that is meant").replace("{cluster}", cluster or "the target")
        return _looking(filled, _describe(block, kind, resource) if kind else "")

    return cure


def _looking(text: str, command: str) -> Link:
    """Return a step whose command only shows what is there."""
    return Link(f"{text}. Look first" if command else text, command)


def _describe(block: Block, kind: str, resource: str) -> str:
    """Return a command that shows the object of that kind in the evidence."""
    for sign in block.evidence:
        if sign.kind == kind and _NAME.fullmatch(sign.name) and _NAME.fullmatch(sign.namespace):
            return f"oc -n {sign.namespace} describe {resource} {sign.name}"
    return ""


_CURES: Mapping[Kind, Callable[[Block, Sequence[Block], str], Link]] = MappingProxyType(
    {
        Kind.UNSCHEDULABLE: _unschedulable,
        Kind.VOLUME_UNBOUND: _says("Find out why the VM's volume is not bound", "Pod", "pod"),
        Kind.VOLUME_NO_FIT: _says("Make storage reachable from a node of {cluster} that has room", "Pod", "pod"),
        Kind.STORAGE_FULL: _full,
        Kind.PROVISIONING_FAILED: _says(
            "Cure what the provisioner reports (see the events): it tries again by itself",
            "PersistentVolumeClaim", "pvc",
        ),
        Kind.PROVISIONER_WAITS: _says(
            "Find out why the provisioner of the storage class does not answer: its pods, its log",
            "PersistentVolumeClaim", "pvc",
        ),
        Kind.DATA_VOLUME_WAITS: _says("Find out what the volume's claim waits for", "DataVolume", "datavolume"),
        Kind.QUOTA_GATE: _says(
            "The quota owner raises the ApplicationAwareResourceQuota of the namespace: the gate then opens by itself",
            "Pod", "pod",
        ),
        Kind.SCHEDULING_GATE: _says("Find out who set the gate and why it is still there", "Pod", "pod"),
        Kind.SCHEDULER_ERROR: _says("Look into the log of the scheduler of {cluster}", "Pod", "pod"),
        Kind.POD_SECURITY: _says(
            "Let the target namespace admit the receiver pod: raise its Pod Security level to what the event asks for"
        ),
        Kind.POD_REFUSED: _says("Cure what the API server of {cluster} names: KubeVirt asks again by itself"),
        Kind.IMAGE_PULL: _says(
            "Check the image's name, the registry and the pull secret in cluster {cluster}", "Pod", "pod"
        ),
        Kind.NO_SYNC: _says(
            "Check that the source cluster reaches the address that the target advertises: network, firewall, "
            "certificates",
            "VirtualMachineInstanceMigration", "virtualmachineinstancemigrations.kubevirt.io",
        ),
        Kind.NAME_TAKEN: _says(
            "Rename VM {scope}, or remove it if nobody needs it, or set another target name in the plan: the migration "
            "then goes on by itself"
        ),
        Kind.IN_FLIGHT: _says("Nothing: its turn comes when another VM is done"),
    }
)  # fmt: skip
