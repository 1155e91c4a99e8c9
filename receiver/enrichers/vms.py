"""The VMs of a run: who failed, where, why, and how far it came. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import re2

from receiver.enrichers.planstate import conditions
from receiver.enrichers.reading import dig, mapping, moment, number, records, text, texts
from receiver.model import FailureGroup, VMCounts, VMFailure

State = Literal["failed", "succeeded", "canceled", "running", "waiting"]

# The same error comes raw and, copied by CDI, with the name of the prime claim in front.
_PRIME = re2.compile(r"^\[prime-[0-9A-Za-z-]+\]\s*:\s*")
# Reasons per VM that a message could ever show; a lying status may hold thousands.
_REASONS = 10
# Disks of a VM that are told one by one.
_DISKS = 20
# Names in a group of failures alike.
_GROUP_NAMES = 50


def run_vms(plan: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Return the VMs of the active run, each id (or name) once, in plan order."""
    seen: dict[str, Mapping[str, Any]] = {}
    for index, vm in enumerate(records(dig(plan, "status", "migration", "vms"))):
        seen.setdefault(text(vm.get("id")) or text(vm.get("name")) or f"#{index}", vm)
    return tuple(seen.values())


def state_of(vm: Mapping[str, Any]) -> State:
    """Return how a VM stands. Its own `phase` says nothing: it is Completed after a failure, too."""
    kinds = {text(item.get("type")) for item in conditions(vm)}
    if "Failed" in kinds:
        return "failed"
    if "Succeeded" in kinds:
        return "succeeded"
    if "Canceled" in kinds:
        return "canceled"
    if mapping(vm.get("error")):
        return "failed"
    if "Pending" in kinds or moment(vm.get("started")) is None:
        return "waiting"
    return "running"


def count_vms(plan: Mapping[str, Any], vms: Iterable[Mapping[str, Any]]) -> VMCounts:
    """Count the run's VMs; of a Plan that never ran all that it names wait."""
    states = [state_of(vm) for vm in vms]
    if not states:
        planned = len(records(dig(plan, "spec", "vms")))
        return VMCounts(total=planned, waiting=planned)
    return VMCounts(
        total=len(states),
        failed=states.count("failed"),
        succeeded=states.count("succeeded"),
        running=states.count("running"),
        waiting=states.count("waiting"),
        canceled=states.count("canceled"),
    )


def pipeline(vm: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Return the steps of a VM in their order."""
    return records(vm.get("pipeline"))


def step_named(vm: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """Return the step of that name, if the VM's itinerary has it."""
    return next((step for step in pipeline(vm) if step.get("name") == name), None)


def begun(step: Mapping[str, Any] | None) -> bool:
    """Tell whether a step was reached. `phase` alone lies: a transfer with one waiting disk stays Pending."""
    if step is None:
        return False
    return bool(
        moment(step.get("started"))
        or moment(step.get("completed"))
        or mapping(step.get("error"))
        or step.get("phase") in ("Running", "Completed")
    )


def failed_step(vm: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the first step with an error; where none has one, the last that was begun and not completed."""
    steps = pipeline(vm)
    for step in steps:
        if mapping(step.get("error")):
            return step
    open_steps = [step for step in steps if begun(step) and step.get("phase") != "Completed"]
    return open_steps[-1] if open_steps else None


def read_failure(vm: Mapping[str, Any]) -> VMFailure:
    """Return what is known of a failed VM from the Plan alone, without power and target (see `impact`)."""
    step = failed_step(vm)
    error = mapping(vm.get("error"))
    at = _failed_at(vm, step)
    started = moment(vm.get("started"))
    name, vm_id = text(vm.get("name"), 253), text(vm.get("id"), 253)
    return VMFailure(
        id=vm_id,
        name=name or vm_id or "unnamed VM",
        step=text(mapping(step).get("name"), 100),
        phase=text(error.get("phase"), 100),
        reasons=reasons_of(vm, step),
        failed_at=at,
        duration_s=(at - started).total_seconds() if at and started and at >= started else None,
        progress=progress_of(step),
        guest=text(vm.get("operatingSystem"), 100),
        tasks=tasks_of(step),
        disks=disks_of(vm),
        precopies=precopies_of(vm),
        power_before={"on": "On", "off": "Off"}.get(text(vm.get("restorePowerState")).lower(), ""),
    )


def reasons_of(vm: Mapping[str, Any], step: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return why it failed, most general holder first, the same text once whatever prefix it carries.

    A disk that waits for its volume has no error, but says why in `reason`: it is often the other half of the truth.
    """
    said: list[str] = [*texts(mapping(vm.get("error")).get("reasons"))]
    tasks = records(mapping(step).get("tasks"))
    for holder in (mapping(step), *tasks):
        said += texts(mapping(holder.get("error")).get("reasons"))
    said += [
        why
        for holder in (mapping(step), *tasks)
        if (why := text(holder.get("reason"))).startswith("Pending; ") and "failed" in why
    ]
    unique: dict[str, None] = {}
    for reason in said:
        if bare := str(_PRIME.sub("", reason)).strip():
            unique.setdefault(bare, None)
    return tuple(unique)[:_REASONS]


def progress_of(step: Mapping[str, Any] | None) -> str:
    """Return "51,200 of 563,200 MB (9 %)"; empty for steps that only count 0 of 1."""
    unit = text(dig(step, "annotations", "unit"), 20)
    done, total = number(dig(step, "progress", "completed")), number(dig(step, "progress", "total"))
    if not unit or done is None or not total:
        return ""
    percent = min(100, int(done / total * 100))
    return f"{done:,.0f} of {total:,.0f} {unit}" + (f" ({percent} %)" if percent else "")


def tasks_of(step: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the disks of the failed step, each with how far it came and whether it failed."""
    said = []
    for task in records(mapping(step).get("tasks"))[:_DISKS]:
        unit = text(dig(task, "annotations", "unit"), 20) or text(dig(step, "annotations", "unit"), 20)
        far = progress_of({**task, "annotations": {"unit": unit}})
        rounds = text(dig(task, "annotations", "Precopy"), 20)
        state = "failed" if mapping(task.get("error")) else text(task.get("phase"), 40).lower()
        parts = [far, f"precopy {rounds}" if rounds else "", state]
        said.append(f"{text(task.get('name'), 200) or 'unnamed'}: {', '.join(part for part in parts if part)}")
    return tuple(said)


def disks_of(vm: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the sizes of a VM's disks, as the first step that counts their megabytes knows them."""
    for name in ("DiskTransfer", "DiskTransferV2v", "DiskAllocation"):
        step = step_named(vm, name)
        sizes = [number(dig(task, "progress", "total")) for task in records(mapping(step).get("tasks"))[:_DISKS]]
        if found := tuple(_size(size) for size in sizes if size):
            return found
    return ()


def precopies_of(vm: Mapping[str, Any]) -> str:
    """Return how many precopies a warm migration has made, and when the last began."""
    rounds = records(dig(vm, "warm", "precopies"))
    if not rounds:
        return ""
    begun_at = moment(rounds[-1].get("start"))
    failures = number(dig(vm, "warm", "failures"))
    restarts = f", importer restarted {failures:,.0f} times" if failures else ""
    last = f", the last {begun_at:%d %b %H:%M} UTC" if begun_at else ""
    return f"{len(rounds):,} {'precopy' if len(rounds) == 1 else 'precopies'}{last}{restarts}"


def groups_of(failures: Sequence[VMFailure]) -> tuple[FailureGroup, ...]:
    """Put failures alike together: same step, same first reason; the largest group first."""
    by: dict[tuple[str, str], list[str]] = {}
    for failure in failures:
        by.setdefault((failure.step, failure.reasons[0] if failure.reasons else ""), []).append(failure.name)
    groups = [FailureGroup(step, why, tuple(names[:_GROUP_NAMES]), len(names)) for (step, why), names in by.items()]
    return tuple(sorted(groups, key=lambda group: -group.count))[:_GROUP_NAMES]


def _size(megabytes: float) -> str:
    """Forklift's MB are 2^20 bytes."""
    return f"{megabytes / 1024:,.0f} GiB" if megabytes >= 1024 else f"{megabytes:,.0f} MiB"


def _failed_at(vm: Mapping[str, Any], step: Mapping[str, Any] | None) -> datetime | None:
    failed = next((item for item in conditions(vm) if item.get("type") == "Failed"), None)
    return (
        moment(mapping(failed).get("lastTransitionTime"))
        or moment(mapping(step).get("completed"))
        or moment(vm.get("completed"))
    )
