"""A Plan with one VM under way, and the objects around it. Times are seconds after 08:00 UTC, when the run began."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from receiver.stuck import Block, View, find_blocks

DATA = Path(__file__).parents[2] / "data" / "stuck"
START = datetime(2026, 9, 1, 8, tzinfo=UTC)
NS, VM, VM_ID = "payments", "app", "6f0c7a52-0d1e-4c8b-9f11-1a2b3c4d5e02"
PLAN_UID, JOB_UID = "0b7f0a1e-51c2-4a8e-8a40-0c7b1d2e3f40", "e2b1a9f4-1111-4222-8333-444455557777"
LABELS = {"plan": PLAN_UID, "vmID": VM_ID}

Obj = dict[str, Any]


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def stamp(seconds: float) -> str:
    return at(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def documents(name: str) -> list[Obj]:
    return [one for one in yaml.safe_load_all((DATA / name).read_text()) if one]


def meta(name: str, *, labels: Mapping[str, str] | None = None, created: float = 0, **more: Any) -> Obj:
    return {"name": name, "namespace": NS, "creationTimestamp": stamp(created), "labels": dict(labels or {}), **more}


def condition(kind: str, status: str, reason: str = "", message: str = "", since: float = 0) -> Obj:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": stamp(since)}


def vm(phase: str = "WaitForStateTransfer", name: str = VM, vm_id: str = VM_ID, **more: Any) -> Obj:
    return {"id": vm_id, "name": name, "phase": phase, "started": stamp(0), **more}


def done(name: str, result: str = "Succeeded") -> Obj:
    return vm("Completed", name, f"id-{name}", completed=stamp(60), conditions=[condition(result, "True")])


def plan(*vms: Obj, kind: str = "live", conditions: tuple[Obj, ...] = ()) -> Obj:
    provider = {"source": {"name": "east"}, "destination": {"name": "west"}}
    return {
        "metadata": {"name": "plan-a", "namespace": "mtv", "uid": PLAN_UID},
        "spec": {"type": kind, "targetNamespace": NS, "provider": provider},
        "status": {"conditions": list(conditions), "migration": {"started": stamp(0), "vms": list(vms) or [vm()]}},
    }


def migration(phase: str = "Pending", *conditions: Obj, entered: float = 0, **more: Any) -> Obj:
    return {
        "kind": "VirtualMachineInstanceMigration",
        "metadata": meta("job", labels=LABELS, uid=JOB_UID, **more.pop("meta", {})),
        "spec": {"vmiName": VM, "receive": {"migrationID": f"{VM_ID}-run"}},
        "status": {
            "phase": phase,
            "conditions": list(conditions),
            "phaseTransitionTimestamps": [{"phase": phase, "phaseTransitionTimestamp": stamp(entered)}],
            **more,
        },
    }


def pod(*conditions: Obj, created: float = 0, memory: str = "1Gi", **more: Any) -> Obj:
    labels = {"kubevirt.io": "virt-launcher", "vm.kubevirt.io/name": VM, "kubevirt.io/migrationJobUID": JOB_UID}
    spec = {"containers": [{"name": "compute", "resources": {"requests": {"memory": memory, "cpu": "100m"}}}]}
    return {
        "kind": "Pod",
        "metadata": meta("virt-launcher-app", labels=labels, created=created),
        "spec": spec | more.pop("spec", {}),
        "status": {"phase": "Pending", "conditions": list(conditions), **more},
    }


def unschedulable(message: str, since: float = 0) -> Obj:
    return condition("PodScheduled", "False", "Unschedulable", message, since)


def claim(phase: str = "Pending", name: str = "app-root", created: float = 0, **more: Any) -> Obj:
    labels = {} if name.startswith("prime-") else LABELS
    spec = {"storageClassName": "gold", "resources": {"requests": {"storage": "30Gi"}}}
    return {
        "kind": "PersistentVolumeClaim",
        "metadata": meta(name, labels=labels, created=created, uid=f"uid-{name}"),
        "spec": spec | more,
        "status": {"phase": phase},
    }


def data_volume(phase: str, *conditions: Obj, at_once: bool = False) -> Obj:
    annotations = {"cdi.kubevirt.io/storage.bind.immediate.requested": "true"} if at_once else {}
    return {
        "kind": "DataVolume",
        "metadata": meta("app-root", labels=LABELS, annotations=annotations),
        "status": {"phase": phase, "claimName": "app-root", "conditions": list(conditions)},
    }


def event(
    kind: str, name: str, reason: str, message: str = "", *, first: float = 0, last: float = 250, **more: Any
) -> Obj:
    about = {"kind": kind, "name": name, "namespace": NS} | more.pop("about", {})
    times = {"firstTimestamp": stamp(first), "lastTimestamp": stamp(last), "count": 7}
    return {"involvedObject": about, "reason": reason, "message": message, "type": "Warning", **times, **more}


def blocks(now: float = 240, **objects: Any) -> tuple[Block, ...]:
    """Return the blocks of a Plan with one live VM, unless `objects` says otherwise."""
    given: dict[str, Any] = {"plan": plan(), "now": at(now)}
    return find_blocks(View(**given | objects))


def block(now: float = 240, **objects: Any) -> Block:
    """Return the only block."""
    (only,) = blocks(now, **objects)
    return only
