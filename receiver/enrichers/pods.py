"""Which pods and containers did the failing work for a VM, and which of their logs to read. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from receiver.enrichers.reading import dig, mapping, number, records, strings, text
from receiver.model import VMFailure

# A VM with 20 disks has 20 importers, and they fail alike.
PODS_PER_VM = 3
_LABEL_VALUE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Source:
    """One log to read: of the run before where the container has been started again since."""

    vm: str
    namespace: str
    pod: str
    container: str
    previous: bool = False
    message: str = ""
    """Termination message, or why the container or pod waits: often the best line there is."""
    at_target: bool = False
    """The pod runs in the cluster of the target namespace; else where the Plan is. Often one and the same."""


def choose_failures(failures: Sequence[VMFailure], limit: int) -> tuple[VMFailure, ...]:
    """Return at most `limit` failed VMs, each kind of failure once before any kind twice."""
    kinds: dict[tuple[str, tuple[str, ...]], int] = {}
    ranked: list[tuple[int, int, VMFailure]] = []
    for index, failure in enumerate(failures):
        if not failure.id:
            continue
        kind = (failure.step, failure.reasons[:1])
        kinds[kind] = kinds.get(kind, 0) + 1
        ranked.append((kinds[kind], index, failure))
    return tuple(failure for _, _, failure in sorted(ranked, key=lambda entry: entry[:2])[:limit])


def selector(plan_uid: str, vm_ids: Iterable[str]) -> str:
    """Return the label selector for the objects of these VMs; empty where the values cannot be label values."""
    ids = [vm_id for vm_id in vm_ids if _LABEL_VALUE.fullmatch(vm_id)]
    if not ids or not _LABEL_VALUE.fullmatch(plan_uid):
        return ""
    return f"plan={plan_uid},vmID in ({','.join(ids)})"


def name_of(obj: Mapping[str, Any]) -> str:
    """Return `metadata.name`, or the empty string."""
    return text(dig(obj, "metadata", "name"))


def vm_of(obj: Mapping[str, Any]) -> str:
    """Return the id of the VM that an object belongs to, by its label."""
    return strings(dig(obj, "metadata", "labels")).get("vmID", "")


def of_run(obj: Mapping[str, Any], run: str) -> bool:
    """Tell whether an object may belong to this run: evidence of another run is never shown as this one's."""
    labelled = strings(dig(obj, "metadata", "labels")).get("migration", "")
    return not (run and labelled and labelled != run)


def named_for(pod: str, plan_name: str, failure: VMFailure) -> bool:
    """Tell by its name alone whether a pod worked for the VM: all that a must-gather's log folders tell."""
    stems = [f"{plan_name}-{failure.id}-", f"importer-{plan_name}-{failure.id}-"]
    if failure.name != failure.id:
        stems.append(f"importer-{plan_name}-{failure.name}-")
    return any(pod.startswith(stem.lower()) for stem in stems)


def sources_of(vm: VMFailure, namespace: str, pods: Iterable[Mapping[str, Any]]) -> tuple[Source, ...]:
    """Return the logs of a VM that are worth reading, failed containers first, at most PODS_PER_VM."""
    ranked: list[tuple[int, str, Source]] = []
    for pod in pods:
        name = name_of(pod)
        if not name:
            continue
        ranked += [(rank, name, source) for rank, source in _containers(vm, namespace, name, pod)]
    ranked.sort(key=lambda entry: entry[:2])
    failed = [source for rank, _, source in ranked if rank < 2]
    # The pods of a failed VM that ended well say nothing, unless there is nothing else.
    return tuple((failed or [source for _, _, source in ranked])[:PODS_PER_VM])


def _containers(vm: VMFailure, namespace: str, name: str, pod: Mapping[str, Any]) -> Iterable[tuple[int, Source]]:
    status = mapping(pod.get("status"))
    states = [
        *((True, state) for state in records(status.get("initContainerStatuses"))),
        *((False, state) for state in records(status.get("containerStatuses"))),
    ]
    if not states:
        yield _without_states(vm, namespace, name, pod)
        return
    for init, state in states:
        terminated, last = mapping(dig(state, "state", "terminated")), mapping(dig(state, "lastState", "terminated"))
        waiting = mapping(dig(state, "state", "waiting"))
        restarted = bool(number(state.get("restartCount"))) or bool(last)
        exited = number(terminated.get("exitCode"))
        bad = (terminated and exited != 0) or bool(last) or (restarted and not init)
        container = text(state.get("name"))
        message = text(terminated.get("message")) if bad else ""
        if not message:
            message = text(last.get("message"))
        if bad:
            yield 0, Source(vm.id, namespace, name, container, previous=restarted and not terminated, message=message)
        elif waiting and not restarted:
            why = f"{text(waiting.get('reason'))}: {text(waiting.get('message'))}".strip(": ")
            if why and why not in ("PodInitializing", "ContainerCreating"):
                yield 1, Source(vm.id, namespace, name, "", message=f"{container} waits: {why}")
        elif not init:
            yield (2 if terminated else 1), Source(vm.id, namespace, name, container)


def _without_states(vm: VMFailure, namespace: str, name: str, pod: Mapping[str, Any]) -> tuple[int, Source]:
    """A pod that no node took, or of which only the log is left (must-gather: no containers known)."""
    conditions = records(dig(pod, "status", "conditions"))
    unscheduled = next((item for item in conditions if item.get("type") == "PodScheduled"), {})
    message = text(mapping(unscheduled).get("message"))
    if dig(pod, "status", "phase") == "Pending":
        return 1, Source(
            vm.id, namespace, name, "", message=f"pod is Pending: {message}" if message else "pod is Pending"
        )
    containers = [text(container.get("name")) for container in records(dig(pod, "spec", "containers"))]
    importer = name.startswith("importer-")
    return 1, Source(vm.id, namespace, name, containers[0] if containers else "", previous=importer, message=message)
