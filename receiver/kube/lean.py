"""What is kept of an object that many stories share: large parts that no story looks at are left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Obj = dict[str, Any]

# Of a container's spec: its name tells which log to read, its image which version ran, the rest what it asks of a node.
_CONTAINER = ("name", "image", "resources", "restartPolicy")
_POD_SPEC = (
    "nodeName", "nodeSelector", "schedulerName", "priorityClassName", "schedulingGates", "resources", "overhead",
)  # fmt: skip
# Of a VM in a Migration, as far as an earlier run explains a later one.
_VM = ("id", "name", "phase", "started", "completed", "error", "conditions", "restorePowerState")
_STEP = ("name", "phase", "started", "completed", "error")


def lean(obj: Obj) -> Obj:
    """Return the object without the parts of its kind that are large and that nobody reads. Never raises."""
    reduce = _KINDS.get(str(obj.get("kind")))
    return obj if reduce is None else reduce(obj)


def _pod(obj: Obj) -> Obj:
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return obj
    kept = _picked(spec, _POD_SPEC)
    for name in ("initContainers", "containers"):
        if isinstance(listed := spec.get(name), list):
            kept[name] = [_picked(one, _CONTAINER) for one in listed if isinstance(one, dict)]
    return {**obj, "spec": kept}


def _migration(obj: Obj) -> Obj:
    status = obj.get("status")
    vms = status.get("vms") if isinstance(status, dict) else None
    if not isinstance(status, dict) or not isinstance(vms, list):
        return obj
    kept = []
    for vm in (one for one in vms if isinstance(one, dict)):
        steps = vm.get("pipeline")
        pipeline = [_picked(one, _STEP) for one in steps if isinstance(one, dict)] if isinstance(steps, list) else []
        kept.append({**_picked(vm, _VM), "pipeline": pipeline})
    return {**obj, "status": {**_picked(status, ("started", "completed", "conditions")), "vms": kept}}


def _machine(obj: Obj) -> Obj:
    """Of a VirtualMachine: whether it should run; not its template, volumes and devices."""
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return obj
    return {**obj, "spec": _picked(spec, ("running", "runStrategy", "instancetype"))}


def _picked(holder: Mapping[str, Any], names: tuple[str, ...]) -> Obj:
    return {name: holder[name] for name in names if name in holder}


_KINDS: Mapping[str, Callable[[Obj], Obj]] = {"Pod": _pod, "Migration": _migration, "VirtualMachine": _machine}
