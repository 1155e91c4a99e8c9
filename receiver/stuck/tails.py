"""The ends of the logs that receiver pods wrote, as a snapshot keeps them, so few that the objects have room, too."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from receiver.stuck.objects import mapping, moment, records, text
from receiver.stuck.view import View, ended, vms_of

LOGS = "logs"
"""Their place in a snapshot. A version that did not keep any has none there."""
TAIL_BYTES = 8_192
"""Of one log."""
TAILS = 4
"""Of one Plan."""
ALL_BYTES = 28_000
"""Of all that are kept of a Plan, as compact JSON: less than half of a snapshot."""

_RUNNING = "Running"


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a pod's log."""

    vm: str
    """Id of the VM that is received."""
    namespace: str
    pod: str
    container: str
    phase: str
    """Of KubeVirt's migration, when it was read."""
    at: datetime
    """When that was."""
    text: str


def cut(log: str, limit_bytes: int = TAIL_BYTES) -> str:
    """Return the end of a log, from the beginning of a line where there is one; redact it first."""
    whole = log.encode("utf-8", "replace")
    if len(whole) <= limit_bytes:
        return log
    end = whole[-limit_bytes:].decode("utf-8", "ignore")
    return end.partition("\n")[2] or end


def chosen(old: Sequence[Tail], new: Sequence[Tail], plan: Mapping[str, Any], now: datetime) -> tuple[Tail, ...]:
    """Return what is to be kept: VMs that have failed first, then those that do not copy yet, then the newest.

    What VMs said that have ended well is dropped. Of a pod the newest counts.
    """
    ways = {text(vm.get("id"), 253): _ending(vm) for vm in vms_of(View(plan, now))}
    latest = {(one.namespace, one.pod): one for one in sorted((*old, *new), key=lambda one: one.at)}
    wanted = [one for one in latest.values() if one.text and ways.get(one.vm) != "well"]
    wanted.sort(key=lambda one: one.at, reverse=True)
    wanted.sort(key=lambda one: (ways.get(one.vm) != "badly", one.phase == _RUNNING))
    kept: list[Tail] = []
    size = 0
    for one in wanted[:TAILS]:
        size += _size(one)
        if size <= ALL_BYTES:
            kept.append(one)
    return tuple(kept)


def to_json(tails: Sequence[Tail]) -> list[dict[str, str]]:
    """Return tails as a snapshot holds them, in an order of their own."""
    return [
        {
            "vm": one.vm,
            "namespace": one.namespace,
            "name": one.pod,
            "container": one.container,
            "phase": one.phase,
            "at": one.at.isoformat(),
            "text": one.text,
        }
        for one in sorted(tails, key=lambda one: (one.namespace, one.pod))
    ]


def from_json(snapshot: object) -> tuple[Tail, ...]:
    """Return the tails that a snapshot holds; what another version or somebody else wrote there counts as absent."""
    found = []
    for one in records(mapping(snapshot).get(LOGS)):
        at, said = moment(one.get("at")), one.get("text")
        vm, pod = text(one.get("vm"), 253), text(one.get("name"), 253)
        if at is None or not isinstance(said, str) or not said or not vm or not pod:
            continue
        namespace, container = text(one.get("namespace"), 253), text(one.get("container"), 253)
        found.append(Tail(vm, namespace, pod, container, text(one.get("phase"), 100), at, said))
    return tuple(found)


def size_of(tails: Sequence[Tail]) -> int:
    """Return the bytes that they take in a snapshot, with their key."""
    return sum(_size(one) + 1 for one in tails) + len(LOGS) + 6 if tails else 0


def _size(one: Tail) -> int:
    return len(json.dumps(to_json([one])[0], ensure_ascii=False, separators=(",", ":")).encode(errors="replace"))


def _ending(vm: Mapping[str, Any]) -> str:
    """How has a VM ended: `well`, `badly`, or not at all?"""
    if not ended(vm):
        return ""
    kinds = {text(one.get("type"), 100) for one in records(vm.get("conditions")) if one.get("status") != "False"}
    return "badly" if "Failed" in kinds or mapping(vm.get("error")) else "well"
