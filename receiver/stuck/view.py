"""What is known of one running Plan at one moment, and which object belongs to which of its VMs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from receiver.stuck.objects import Obj, dig, mapping, moment, records, text


@dataclass(frozen=True, slots=True)
class View:
    """The objects, as the API prints them. All but the Plan are of the target cluster unless said otherwise.

    Nothing here need be complete: what is absent is not known, and no wait is told of that rests on it.
    """

    plan: Mapping[str, Any]
    now: datetime
    vms: Sequence[Mapping[str, Any]] = ()
    """`status.vms` of the Migration; empty: those that the Plan holds, which are the same."""
    pods: Sequence[Mapping[str, Any]] = ()
    claims: Sequence[Mapping[str, Any]] = ()
    """PersistentVolumeClaims, also the `prime-…` ones, which bear no label of the Plan."""
    data_volumes: Sequence[Mapping[str, Any]] = ()
    vmis: Sequence[Mapping[str, Any]] = ()
    target_migrations: Sequence[Mapping[str, Any]] = ()
    """VirtualMachineInstanceMigrations with `spec.receive`."""
    source_migrations: Sequence[Mapping[str, Any]] = ()
    """Those with `spec.sendTo`, of the source cluster."""
    events: Sequence[Mapping[str, Any]] = ()
    log: Sequence[str] = ()
    """The last lines of forklift-controller's log."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One VM that has not ended, with its objects; what is not there is an empty mapping."""

    vm: Obj
    id: str
    name: str
    target: str
    """Its name in the target cluster."""
    namespace: str
    started: datetime | None
    receive: Obj = field(default_factory=dict)
    send: Obj = field(default_factory=dict)
    pod: Obj = field(default_factory=dict)
    """Its receiver pod."""
    vmi: Obj = field(default_factory=dict)
    claims: tuple[Obj, ...] = ()
    primes: Mapping[str, Obj] = field(default_factory=dict)
    """The claim through which one of `claims` is filled, by the latter's name."""
    data_volumes: tuple[Obj, ...] = ()

    @property
    def phase(self) -> str:
        return text(self.vm.get("phase"), 100)


def vms_of(view: View) -> tuple[Obj, ...]:
    """Return the VMs of the active run, each id (or name) once, in plan order."""
    seen: dict[str, Obj] = {}
    for index, vm in enumerate(records(view.vms) or records(dig(view.plan, "status", "migration", "vms"))):
        seen.setdefault(text(vm.get("id"), 253) or text(vm.get("name"), 253) or f"#{index}", vm)
    return tuple(seen.values())


def ended(vm: Obj) -> bool:
    """Has it ended, well or badly? Its phase does not tell: it is Completed after a failure, too."""
    kinds = {text(one.get("type"), 100) for one in records(vm.get("conditions")) if one.get("status") != "False"}
    return bool(kinds & {"Succeeded", "Failed", "Canceled"} or mapping(vm.get("error")) or moment(vm.get("completed")))


def queued(vm: Obj) -> Obj:
    """Return the condition by which Forklift says that the VM waits for its turn, or an empty mapping."""
    found = (one for one in records(vm.get("conditions")) if one.get("type") == "Pending")
    return next((one for one in found if one.get("status") != "False"), {})
