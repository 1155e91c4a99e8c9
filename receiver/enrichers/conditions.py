"""What an object says of itself: its state in a few words, and the conditions that are not as they should be. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from receiver.enrichers.reading import dig, mapping, moment, number, records, text, texts
from receiver.model import ObjectState

MESSAGE = 300
MOST = 5

# Good when True. Any other type whose name sounds like trouble is good when False; what is neither is not judged.
_GOOD = re.compile(
    r"(?:Ready|Available|Complete|Succeeded|Established|NamesAccepted|Scheduled|Initialized|Healthy|Upgradeable|Bound"
    r"|Accepted|Reconciled|Synced|Connected|Valid|Migratable|Updated|Synchronized|Successful|Deployed)$"
)
_TROUBLE = re.compile(
    r"Fail|Error|Degraded|Pressure|Unavailable|Invalid|Paused|Deadline|NotReady|Stuck|Critical|Tainted|Blocked"
    r"|Disruption|Evict|Suspended|Refused|Unsupported|FileSystemResizePending"
)
_GOOD_BUT_TROUBLING_NAME = frozenset({"InstallSucceeded"})
_FINE_REASONS = frozenset({"PodCompleted", "Completed"})
_MESSAGE_END = ".!?…"


def since(at: datetime | None, now: datetime) -> str:
    """Return " since 07:55 UTC", with its date where it is not of today; nothing for None."""
    if at is None:
        return ""
    day = "" if at.date() == now.astimezone(UTC).date() else f"{at:%Y-%m-%d} "
    return f" since {day}{at:%H:%M} UTC"


def state_of(obj: Mapping[str, Any], now: datetime) -> ObjectState:
    """Return what an object of any kind says of itself. Not redacted."""
    kind = text(obj.get("kind"), 100)
    say = _STATES.get(kind, _any)
    going = moment(dig(obj, "metadata", "deletionTimestamp"))
    state = say(obj)
    if going is not None:
        state = f"being deleted{since(going, now)}" + (f", {state}" if state else "")
    return ObjectState(
        kind=kind,
        namespace=text(dig(obj, "metadata", "namespace"), 253),
        name=text(dig(obj, "metadata", "name"), 253),
        state=state,
        bad=bad_conditions(obj, now),
    )


def bad_conditions(obj: Mapping[str, Any], now: datetime) -> tuple[str, ...]:
    """Return the conditions that are not as they should be, at most five, those of the longest standing first."""
    found: list[tuple[datetime, str]] = []
    for condition in records(dig(obj, "status", "conditions")):
        name, status = text(condition.get("type"), 100), text(condition.get("status"), 20)
        reason, message = text(condition.get("reason"), 100), text(condition.get("message"), MESSAGE)
        if not name or not is_bad(name, status, reason, text(obj.get("kind"))):
            continue
        at = moment(condition.get("lastTransitionTime"))
        why = ": ".join(part for part in (reason, message) if part)
        line = f"{name}={status}{since(at, now)}" + (f": {why}" if why else "")
        found.append((at or datetime.max.replace(tzinfo=UTC), line))
    return tuple(line for _, line in sorted(found, key=lambda one: one[0])[:MOST])


def is_bad(name: str, status: str, reason: str, kind: str = "") -> bool:
    """Tell whether a condition asks for attention. A type that nobody knows asks for none."""
    if reason in _FINE_REASONS:
        return False
    if name == "Progressing":  # False is the end of a roll-out, or its failure: only the reason tells
        return status == "False" and "Deadline" in reason
    if _TROUBLE.search(name) and name not in _GOOD_BUT_TROUBLING_NAME:
        return status == "True" or (status == "Unknown" and kind == "Node")
    return status in ("False", "Unknown") and _GOOD.search(name) is not None


def _any(obj: Mapping[str, Any]) -> str:
    return text(dig(obj, "status", "phase"), 60) or text(dig(obj, "status", "state"), 60)


def _pod(obj: Mapping[str, Any]) -> str:
    worst = worst_container(obj)
    phase = text(dig(obj, "status", "reason"), 60) or text(dig(obj, "status", "phase"), 60)
    if worst is None:
        return phase
    waiting, last = mapping(dig(worst, "state", "waiting")), mapping(dig(worst, "lastState", "terminated"))
    ended = mapping(dig(worst, "state", "terminated")) or last
    parts = [text(waiting.get("reason"), 60) or text(ended.get("reason"), 60) or phase]
    if restarts := int(number(worst.get("restartCount")) or 0):
        parts.append(f"{restarts:,} restart" + ("s" if restarts != 1 else ""))
    code = number(ended.get("exitCode"))
    if code:
        parts.append(f"last exit code {int(code)} ({text(ended.get('reason'), 60)})".replace(" ()", ""))
    return f"{', '.join(part for part in parts if part)} (container {text(worst.get('name'), 100)})"


def worst_container(pod: Mapping[str, Any], named: str = "") -> Mapping[str, Any] | None:
    """Return the status of the container to look at: the named one if it is there, else the one in most trouble."""
    states = (*records(dig(pod, "status", "initContainerStatuses")), *records(dig(pod, "status", "containerStatuses")))
    for state in states:
        if named and state.get("name") == named:
            return state

    def trouble(state: Mapping[str, Any]) -> tuple[int, float]:
        waits = text(dig(state, "state", "waiting", "reason")) not in ("", "PodInitializing", "ContainerCreating")
        failed = bool(number(dig(state, "state", "terminated", "exitCode")))
        return waits + failed, number(state.get("restartCount")) or 0.0

    ranked = sorted(states, key=trouble, reverse=True)
    return ranked[0] if ranked and trouble(ranked[0]) > (0, 0.0) else None


def _claim(obj: Mapping[str, Any]) -> str:
    phase = text(dig(obj, "status", "phase"), 40)
    asked = text(dig(obj, "spec", "resources", "requests", "storage"), 40)
    has = text(dig(obj, "status", "capacity", "storage"), 40)
    storage = text(dig(obj, "spec", "storageClassName"), 253)
    size = f"{has} of {asked} asked" if has and asked and has != asked else has or (f"{asked} asked" if asked else "")
    return ", ".join(
        part for part in (phase, size, f"storage class {storage}" if storage else "no storage class") if part
    )


def _node(obj: Mapping[str, Any]) -> str:
    ready = next((one for one in records(dig(obj, "status", "conditions")) if one.get("type") == "Ready"), {})
    parts = ["Ready" if mapping(ready).get("status") == "True" else "not Ready"]
    if dig(obj, "spec", "unschedulable") is True:
        parts.append("cordoned (takes no new pods)")
    taints = [text(one.get("key"), 100) for one in records(dig(obj, "spec", "taints"))]
    # Not-ready and cordoned are said already.
    told = [key for key in taints if key and not key.startswith("node.kubernetes.io/")]
    if told:
        parts.append(f"taints {', '.join(told[:3])}")
    return ", ".join(parts)


def _replicas(obj: Mapping[str, Any]) -> str:
    wanted = number(dig(obj, "spec", "replicas"))
    ready = int(number(dig(obj, "status", "readyReplicas")) or 0)
    paused = ", roll-out paused" if dig(obj, "spec", "paused") is True else ""
    return f"{ready} of {1 if wanted is None else int(wanted)} ready{paused}"


def _daemons(obj: Mapping[str, Any]) -> str:
    wanted = int(number(dig(obj, "status", "desiredNumberScheduled")) or 0)
    ready = int(number(dig(obj, "status", "numberReady")) or 0)
    return f"{ready} of {wanted} ready"


def _job(obj: Mapping[str, Any]) -> str:
    counts = (("failed", "failed"), ("active", "active"), ("succeeded", "succeeded"))
    return ", ".join(f"{int(found)} {word}" for key, word in counts if (found := number(dig(obj, "status", key))))


def _vm(obj: Mapping[str, Any]) -> str:
    return text(dig(obj, "status", "printableStatus"), 60)


def _vmi(obj: Mapping[str, Any]) -> str:
    node = text(dig(obj, "status", "nodeName"), 253)
    phase = text(dig(obj, "status", "phase"), 40)
    return f"{phase} on node {node}" if node else phase


def _data_volume(obj: Mapping[str, Any]) -> str:
    phase, progress = text(dig(obj, "status", "phase"), 40), text(dig(obj, "status", "progress"), 20)
    restarts = int(number(dig(obj, "status", "restartCount")) or 0)
    parts = [phase, progress if progress != "N/A" else "", f"{restarts} restarts of its importer" if restarts else ""]
    return ", ".join(part for part in parts if part)


def _pool(obj: Mapping[str, Any]) -> str:
    total, updated = (number(dig(obj, "status", key)) for key in ("machineCount", "updatedMachineCount"))
    parts = ["paused" if dig(obj, "spec", "paused") is True else "not paused"]
    if total is not None and updated is not None:
        parts.append(f"{int(updated)} of {int(total)} nodes updated")
    return ", ".join(parts)


def finalizers(obj: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what still holds an object that is being deleted."""
    return texts(dig(obj, "metadata", "finalizers"))


_STATES: Mapping[str, Callable[[Mapping[str, Any]], str]] = MappingProxyType(
    {
        "Pod": _pod,
        "PersistentVolumeClaim": _claim,
        "Node": _node,
        "Deployment": _replicas,
        "StatefulSet": _replicas,
        "ReplicaSet": _replicas,
        "DaemonSet": _daemons,
        "Job": _job,
        "VirtualMachine": _vm,
        "VirtualMachineInstance": _vmi,
        "DataVolume": _data_volume,
        "MachineConfigPool": _pool,
    }
)
