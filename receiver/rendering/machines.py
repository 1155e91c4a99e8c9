"""The VMs of a story as rows: who failed, who is still off, and who failed alike."""

from __future__ import annotations

import re
from collections.abc import Sequence

from receiver.model import Evidence, VMFailure
from receiver.rendering import words
from receiver.rendering.context import VM, Group
from receiver.rendering.view import MAX_NAME, View, is_down

CHAT_VMS, TICKET_VMS = 5, 40
"""Five rows and what stands before them are one screen of a phone."""
_CHAT_ID = 12
"""Ids of OpenShift and OpenStack are UUIDs; the ticket has them whole."""
_TASKS = 4
_CHAT_GROUPS, _TICKET_GROUPS = 4, 10
_MAX_REASON = 140
# MTV's pointer to a log is no reason.
_POINTER = re.compile(r"(?i)see pod logs|check (?:the pod logs|VMIM status)")
_NUMBERS = re.compile(r"[0-9a-f]*[0-9][0-9a-f.,:-]*", re.IGNORECASE)


def likeness(text: str) -> str:
    """Return what equal errors have in common: the text without numbers and ids."""
    return _NUMBERS.sub("#", text)


def rows(view: View, evidence: Evidence) -> tuple[VM, ...]:
    """Return the failed VMs, those that are down first."""
    most = TICKET_VMS if view.ticket else CHAT_VMS
    return tuple(_vm(view, vm) for vm in sorted(evidence.failures, key=lambda vm: not is_down(vm))[:most])


def standing(view: View, evidence: Evidence) -> tuple[VM, ...]:
    """Return the VMs that an earlier run left off; the doubtful ones are named by the impact."""
    found = []
    for vm in evidence.standing:
        if vm.down_run:
            row = _vm(view, vm)
            found.append(VM(row.name, row.id, f"off since run {vm.down_run}", "", row.was, row.now, row.guest))
    return tuple(found[: TICKET_VMS if view.ticket else CHAT_VMS])


def groups(view: View, evidence: Evidence) -> tuple[Group, ...]:
    """Return failures that differ, alike ones together; nothing where all failed alike."""
    merged: dict[tuple[str, str], list[tuple[str, Sequence[str], int]]] = {}
    for one in evidence.groups:
        merged.setdefault((one.step, likeness(one.reason)), []).append((one.reason, one.vms, one.count))
    if len(merged) < 2:
        return ()
    made = [
        Group(
            step=view.text(step, 40),
            reason=view.text(parts[0][0], _MAX_REASON)
            if view.content == "full" and not _POINTER.search(parts[0][0])
            else "",
            names=words.names(
                [view.text(name, MAX_NAME) for _, names, _ in parts for name in names],
                number=sum(count for _, _, count in parts),
            ),
            count=sum(count for _, _, count in parts),
        )
        for (step, _), parts in merged.items()
    ]
    return tuple(sorted(made, key=lambda one: -one.count)[: _TICKET_GROUPS if view.ticket else _CHAT_GROUPS])


def _vm(view: View, vm: VMFailure) -> VM:
    return VM(
        name=view.text(vm.name or vm.id, MAX_NAME),
        id=view.text(vm.id, 60 if view.ticket else _CHAT_ID),
        step=view.text(vm.step or vm.phase, 40),
        failed_at=words.when(vm.failed_at, view.day),
        was=view.text(vm.power_before, 12),
        now=view.text(vm.power_now, 12),
        guest=view.text(vm.guest, 50),
        progress=view.text(vm.progress, 50),
        took=words.duration(vm.duration_s) if vm.duration_s is not None else "",
        disks=view.text(" + ".join(vm.disks[:4]) + (" + …" if len(vm.disks) > 4 else ""), 60),
        tasks=tuple(view.text(task, 100) for task in vm.tasks[:_TASKS]),
        precopies=view.text(vm.precopies, 80),
    )
