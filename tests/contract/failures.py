"""Failures of migrations as a cluster shows them: Plan, pods, logs, events. Small builders and a catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from receiver.model import Room

Obj = dict[str, Any]

DATA = Path(__file__).parents[1] / "data" / "plans"
CONVERSION = "Guest conversion failed. See pod logs for details."
COLD = ("Initialize", "DiskTransfer", "ImageConversion", "VirtualMachineCreation")
WARM = ("Initialize", "DiskTransfer", "Cutover", "ImageConversion", "VirtualMachineCreation")
LIVE = ("Initialize", "PrepareTarget", "Synchronization")
PIPELINES = {"cold": COLD, "warm": WARM, "live": LIVE}
# What a VM was doing when it failed in a step.
PHASES = {
    "Initialize": "CreateDataVolumes", "PreHook": "PreHook", "DiskTransfer": "CopyDisks",
    "Cutover": "CreateFinalSnapshot",
    "ImageConversion": "ConvertGuest", "VirtualMachineCreation": "CreateVM", "PostHook": "PostHook",
    "PrepareTarget": "CreateTarget", "Synchronization": "WaitForStateTransfer",
}  # fmt: skip


@dataclass
class Failure:
    """What the fake API server is given, and which alert came."""

    objects: list[Obj]
    logs: dict[tuple[str, str, str, bool], str] = field(default_factory=dict)
    forbidden: set[tuple[str, str]] = field(default_factory=set)
    deleted: bool = False
    """The Plan is gone again when it is looked at."""
    alertname: str = "MigrationFailed"
    runbook: str = ""
    target: str = ""
    """Name of the cluster that the VMs go to; empty: the Plan's own."""
    kept: tuple[Obj, datetime] | None = None
    """What the watch kept of the run while it went on, and when."""
    now: datetime | None = None
    """When it is looked at; None: when the alert came."""
    room: Room | None = None
    """What was found of the room where it goes; None: nobody looked."""

    @property
    def plan(self) -> Obj:
        return next(obj for obj in self.objects if obj["kind"] == "Plan")


def at(minute: int, hour: int = 2) -> str:
    return f"2026-11-21T{hour:02}:{minute:02}:00Z"


def condition(kind: str, message: str = "", category: str = "Advisory", when: str = "", **more: Any) -> Obj:
    return {
        "type": kind, "status": "True", "category": category, "message": message, "lastTransitionTime": when or at(40),
        **more,
    }  # fmt: skip


def vm(
    name: str,
    number: int,
    step: str = "",
    *reasons: str,
    state: str = "Failed",
    mode: str = "cold",
    before: str | None = "On",
    hooks: Sequence[str] = (),
    phase: str = "",
    disks: Sequence[tuple[int, int]] = ((81_920, 81_920),),
    minute: int = 31,
    **more: Any,
) -> Obj:
    """Return a VM of a Plan's status that came as far as `step`. `disks` are megabytes done, of megabytes."""
    names = [
        *(["PreHook"] if "PreHook" in hooks else []),
        *PIPELINES[mode],
        *(["PostHook"] if "PostHook" in hooks else []),
    ]
    stopped = names.index(step) if step else len(names)
    made: Obj = {"id": f"vm-{number}", "name": name, "phase": "Completed", "pipeline": [], **more}
    if before is not None:
        made["restorePowerState"] = before
    if state != "Pending":
        made["started"] = at(0)
    for index, one in enumerate(names):
        made["pipeline"].append(_step(one, index - stopped, state, reasons, disks, minute, state != "Pending"))
    if state in ("Failed", "Succeeded", "Canceled"):
        made["completed"] = at(minute)
        made["conditions"] = [condition(state, f"The VM migration has {state.upper()}.", when=at(minute))]
    if state == "Pending":
        made["conditions"] = [condition("Pending")]
    if state == "Failed":
        made["error"] = {"phase": phase or PHASES[step], "reasons": list(reasons)}
    return made


def _step(
    name: str,
    place: int,
    state: str,
    reasons: Sequence[str],
    disks: Sequence[tuple[int, int]],
    minute: int,
    begun: bool,
) -> Obj:
    step: Obj = {"name": name, "phase": "Pending", "progress": {"completed": 0, "total": 1}}
    if not begun or place > 0:
        return step
    step |= (
        {"phase": "Completed", "started": at(1), "completed": at(6)}
        if place < 0
        else {"phase": "Running", "started": at(7)}
    )
    if name == "DiskTransfer":
        tasks = [
            {
                "name": f"disk-{index}", "phase": step["phase"], "annotations": {"unit": "MB"},
                "progress": {"completed": total if place < 0 else done, "total": total},
            }
            for index, (done, total) in enumerate(disks)
        ]  # fmt: skip
        done = sum(task["progress"]["completed"] for task in tasks)
        step |= {"annotations": {"unit": "MB"}, "tasks": tasks}
        step["progress"] = {"completed": done, "total": sum(total for _, total in disks)}
    if place == 0 and state == "Failed":
        step["error"] = {"phase": "Running", "reasons": list(reasons)}
        step["completed"] = at(minute)
    return step


def plan(
    name: str,
    *vms: Obj,
    namespace: str = "mig-pay",
    target: str = "pay-prod",
    mode: str = "cold",
    source: str = "vcenter-a",
    state: str = "Failed",
    message: str = "",
    conditions: Sequence[Obj] = (),
    runs: int = 1,
) -> Obj:
    """Return a Plan in a state, after so many runs."""
    history = [
        {"migration": {"name": f"{name}-run{one}", "namespace": namespace, "uid": f"run-{one}"}, "conditions": []}
        for one in range(1, runs + 1)
    ]
    text = message or f"The plan execution has {state.upper()}."
    status: Obj = {"conditions": [condition(state, text), *conditions]}
    if vms or state != "Ready":
        status["migration"] = {"started": at(0), "history": history, "vms": list(vms)}
        if state != "Executing":
            status["migration"]["completed"] = at(40)
    return {
        "apiVersion": "forklift.konveyor.io/v1beta1", "kind": "Plan",
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}"},
        "spec": {
            "targetNamespace": target, "type": mode, "vms": [{"id": one["id"], "name": one["name"]} for one in vms],
            "provider": {"source": {"name": source, "namespace": "openshift-mtv"},
                         "destination": {"name": "host", "namespace": "openshift-mtv"}},
        },
        "status": status,
    }  # fmt: skip


def run(of: Obj, number: int, *vms: Obj) -> Obj:
    """Return the Migration of an earlier run, as it ended."""
    metadata = of["metadata"]
    return {
        "apiVersion": "forklift.konveyor.io/v1beta1", "kind": "Migration",
        "metadata": {"name": f"{metadata['name']}-run{number}", "namespace": metadata["namespace"],
                     "uid": f"run-{number}"},
        "spec": {"plan": {"name": metadata["name"], "namespace": metadata["namespace"]}},
        "status": {"vms": list(vms)},
    }  # fmt: skip


def pod(of: Obj, number: int, container: str = "virt-v2v", name: str = "", **status: Any) -> Obj:
    """Return the pod that worked for a VM of a Plan and failed."""
    metadata = of["metadata"]
    labels = {"plan": metadata["uid"], "migration": of["status"]["migration"]["history"][-1]["migration"]["uid"],
              "vmID": f"vm-{number}"}  # fmt: skip
    failed = {"name": container, "restartCount": 0, "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name or f"{metadata['name']}-vm-{number}-x7k2p",
                     "namespace": of["spec"]["targetNamespace"],
                     "labels": labels},
        "spec": {"containers": [{"name": container}]},
        "status": status or {"phase": "Failed", "containerStatuses": [failed]},
    }  # fmt: skip


def event(
    about: str, namespace: str, name: str, reason: str, message: str, kind: str = "Warning", minute: int = 30
) -> Obj:
    return {
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": f"{name}.{reason.lower()}.{minute}", "namespace": namespace},
        "involvedObject": {"kind": about, "name": name, "namespace": namespace}, "reason": reason, "message": message,
        "type": kind, "count": 3, "lastTimestamp": at(minute),
    }  # fmt: skip


def converted(name: str, logs: dict[int, str], *vms: Obj, **more: Any) -> Failure:
    """Return a Plan whose conversion pods ended with these logs, by the number of the VM."""
    made = plan(name, *vms, **more)
    failure = Failure([made])
    for number, text in logs.items():
        one = pod(made, number)
        failure.objects.append(one)
        failure.logs[made["spec"]["targetNamespace"], one["metadata"]["name"], "virt-v2v", False] = text
    return failure


def example(file: str, *logs: tuple[str, str, str, bool, str]) -> Failure:
    """Return a worked example, with the logs of its pods: namespace, pod, container, previous, file."""
    objects = [obj for obj in yaml.safe_load_all((DATA / f"{file}.yaml").read_text(encoding="utf-8")) if obj]
    texts = {
        (namespace, pod_name, container, previous): (DATA / "logs" / f"{log}.log").read_text(encoding="utf-8")
        for namespace, pod_name, container, previous, log in logs
    }
    return Failure(objects, texts)


def done(first: int, number: int) -> list[Obj]:
    return [vm(f"pay-lx-app{index:02}", index, state="Succeeded") for index in range(first, first + number)]
