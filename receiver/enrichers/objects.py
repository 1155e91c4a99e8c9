"""Alerts that are neither about a Plan nor autopilot's: the objects that their labels name, with events and logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from receiver.enrichers.conditions import worst_container
from receiver.enrichers.looking import Look, place, safe
from receiver.enrichers.reading import dig, number, records, strings, text
from receiver.kube import ClusterError, Obj
from receiver.kube.discovery import Discovers
from receiver.kube.kinds import KINDS, Kind, is_name, where
from receiver.model import Missing
from receiver.model.naming import Named, named_by

PODS_LISTED = 200
RUNNING_PHASES = ("Running", "Succeeded")

_WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Job", "ReplicaSet"})
EVENTS_OF_CLUSTER_SCOPED = "default"
"""Where the events of objects without a namespace are kept."""


async def look_at_objects(look: Look, labels: Mapping[str, str]) -> None:
    """Add what the cluster says about the objects that an alert names."""
    for named in named_by(labels):
        if not safe(named.name) or (named.namespace and not safe(named.namespace)):
            continue  # no object can have such a name, so there is nothing to ask for
        await _look_at(look, named, labels)


async def _look_at(look: Look, named: Named, labels: Mapping[str, str]) -> None:
    kind, obj = await fetch(look, named)
    if kind is None:
        return
    namespace = named.namespace if kind.namespaced else ""
    if obj is not None:
        look.show(obj)
    names = [named.name]
    match kind.kind:
        case "Pod":
            if obj is not None:
                await _pod(look, obj, labels.get("container", ""))
        case workload if workload in _WORKLOADS:
            names += await _workload(look, obj) if obj is not None else ()
        case "PersistentVolumeClaim":
            names += await _claim(look, obj) if obj is not None else ()
        case "VirtualMachine" | "VirtualMachineInstance":
            await _machine(look, named, kind.kind)
        case "Node":
            await _node(look, named.name, named.namespace)
    await look.look_at_events(namespace or EVENTS_OF_CLUSTER_SCOPED, dict.fromkeys(names))
    resource = kind.resource if kind.group else kind.plural
    look.run(f"Look at the {kind.kind}", "oc", "describe", resource, named.name, *place(namespace))
    if kind.kind == "Pod":
        look.run("Its log before the restart", "oc", "logs", named.name, *place(namespace), "--previous", "--tail=100")


async def fetch(look: Look, named: Named) -> tuple[Kind | None, Obj | None]:
    """Return where an object is served, and the object. What could not be had is said."""
    if (known := KINDS.get(named.kind)) is not None:
        if known.namespaced and not named.namespace:
            look.absent(named.kind, None, named.name)
            return None, None
        return known, await look.get(named.kind, named.namespace if known.namespaced else None, named.name)
    return await discovered(look, named)


async def discovered(
    look: Look, named: Named, prefer: Mapping[str, str] | None = None
) -> tuple[Kind | None, Obj | None]:
    """Find out by the server's discovery where a kind is served, and read the object there.

    Of several groups the preferred one is taken, else the one that has the object; if several have it, it is said and
    none is shown.
    """
    what = f"{named.kind} {named.namespace}/{named.name}".replace(" /", " ")
    if not isinstance(look.cluster, Discovers):
        known = KINDS.get(named.kind)
        if known is None:
            look.missing.append(Missing(what, "nothing says here what that kind is", passing=False))
            return None, None
        return known, await look.get(named.kind, named.namespace or None, named.name)
    try:
        kinds = await look.cluster.kinds_named(named.kind)
    except ClusterError as error:
        look.refused(what, error, "get /apis (the role system:discovery)")
        return None, None
    group = (prefer or {}).get(named.kind)
    kinds = tuple(kind for kind in kinds if kind.group == group) or kinds
    if not kinds:
        look.find(f"The cluster serves no kind {named.kind}: its CRD is not installed.")
        return None, None
    found: list[tuple[Kind, Obj]] = []
    for kind in kinds[:3]:
        namespace = named.namespace if kind.namespaced else None
        try:
            obj = await look.cluster.read(kind, namespace, named.name)
        except ClusterError as error:
            look.refused(what, error, f"get {kind.resource}{where(kind, namespace)}")
            return kind, None
        if obj is not None:
            found.append((kind, obj))
    if len(found) > 1:
        groups = ", ".join(kind.resource for kind, _ in found)
        look.find(f"Not clear which {named.kind} is meant: {groups} all have one of that name.")
        return None, None
    if not found:
        look.absent(named.kind, named.namespace if kinds[0].namespaced else None, named.name)
        return kinds[0], None
    return found[0]


async def _pod(look: Look, pod: Obj, container: str) -> None:
    namespace, name = text(dig(pod, "metadata", "namespace")), text(dig(pod, "metadata", "name"))
    status = worst_container(pod, container)
    if status is None:
        names = [text(one.get("name")) for one in records(dig(pod, "spec", "containers"))]
        started = text(dig(pod, "status", "phase")) not in ("Pending", "")
        if started:
            await look.look_at_log(namespace, name, names[0] if names else "", previous=False)
        return
    ended = bool(dig(status, "state", "terminated"))
    restarted = bool(number(status.get("restartCount")))
    if not ended and not restarted and not dig(status, "state", "running"):
        return  # it has never run, so it has no log: its events tell why
    await look.look_at_log(namespace, name, text(status.get("name")), previous=restarted and not ended)


async def _workload(look: Look, workload: Obj) -> tuple[str, ...]:
    """Look at the pod in most trouble; return the names of pods whose events matter, too."""
    namespace = text(dig(workload, "metadata", "namespace"))
    wanted = strings(dig(workload, "spec", "selector", "matchLabels"))
    if not wanted:
        return ()
    selector = ",".join(f"{key}={value}" for key, value in sorted(wanted.items()))
    pods = await look.list("Pod", namespace, label_selector=selector, limit=PODS_LISTED)
    worst = max(pods or (), key=_trouble, default=None)
    if worst is None or _trouble(worst) == (0, 0.0):
        return ()
    look.show(worst)
    await _pod(look, worst, "")
    return (text(dig(worst, "metadata", "name")),)


def _trouble(pod: Mapping[str, Any]) -> tuple[int, float]:
    status = worst_container(pod)
    phase = text(dig(pod, "status", "phase"))
    return int(status is not None) + int(phase not in RUNNING_PHASES), number((status or {}).get("restartCount")) or 0.0


async def _claim(look: Look, claim: Obj) -> tuple[str, ...]:
    """Look at the DataVolume that fills the claim, and at the storage class that makes it."""
    namespace, name = text(dig(claim, "metadata", "namespace")), text(dig(claim, "metadata", "name"))
    owners = records(dig(claim, "metadata", "ownerReferences"))
    volume = next((text(one.get("name")) for one in owners if one.get("kind") == "DataVolume"), "")
    if volume and (found := await look.get("DataVolume", namespace, volume)) is not None:
        look.show(found)
    storage = text(dig(claim, "spec", "storageClassName"))
    if text(dig(claim, "status", "phase")) == "Pending" and is_name(storage):
        made = await look.get("StorageClass", None, storage, absent=False)
        if made is None and not any("StorageClass" in one.what for one in look.missing):
            look.find(f"There is no storage class {storage}: nothing will ever fill this claim.")
        elif made is not None and text(made.get("volumeBindingMode")) == "WaitForFirstConsumer":
            look.find(f"Storage class {storage} waits for the first pod that uses the claim: Pending may be no fault.")
    return (volume,) if volume and volume != name else ()


async def _machine(look: Look, named: Named, kind: str) -> None:
    """Look at the running instance of a VM, or at the VM of an instance."""
    other = "VirtualMachineInstance" if kind == "VirtualMachine" else "VirtualMachine"
    found = await look.get(other, named.namespace, named.name, absent=False)
    if found is not None:
        look.show(found)
    elif kind == "VirtualMachine" and not any(one.what.startswith(other) for one in look.missing):
        look.find(f"VM {named.name} does not run now: it has no VirtualMachineInstance.")


async def _node(look: Look, name: str, owner: str) -> None:
    """Say how many VMs a node carries: that is what its trouble puts at risk.

    Whoever may see what is of the alert's namespace, its owner, learns the names of no other namespace's VMs.
    """
    found = await look.list("VirtualMachineInstance", None, label_selector=f"kubevirt.io/nodeName={name}")
    if found is not None:
        ours = [one for one in found if not owner or text(dig(one, "metadata", "namespace")) == owner]
        look.find(_carried(len(found), [text(dig(one, "metadata", "name")) for one in ours]))
    look.run("Pods on the node", "oc", "get", "pods", "-A", "--field-selector", f"spec.nodeName={name}", "-o", "wide")


def _carried(count: int, names: Sequence[str]) -> str:
    if not count:
        return "No VM runs on it."
    said = f"{count:,} VMs run on it" if count > 1 else "1 VM runs on it"
    if not names:
        return f"{said}, {'all ' if count > 1 else ''}of other namespaces."
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
    others = f"; {count - len(names):,} of other namespaces" if len(names) < count else ""
    return f"{said}: {shown}{others}."
