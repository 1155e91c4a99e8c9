"""How many VMs of a source provider move at a time, and what waits for its turn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from receiver.capacity.reading import condition, dig, named, records, text

MAX_VM_INFLIGHT: Final = 20
"""Default of Forklift's `MAX_VM_INFLIGHT` (`controller_max_vm_inflight`): VMs per source provider, over all plans."""


@dataclass(frozen=True, slots=True)
class InFlight:
    """A fact, not a judgement: capacity is judged for whole plans, however few VMs move at a time.

    `moving` VMs have begun and not ended, `waiting` ones have not begun, over `plans` that execute now from the same
    source provider. `ahead` of them are of other plans than the one in question.
    """

    limit: int
    moving: int
    waiting: int
    ahead: int
    plans: tuple[str, ...]

    @property
    def full(self) -> bool:
        """Whether the next VM has to wait until one ends."""
        return self.moving >= self.limit


def in_flight(plans: Iterable[object], plan: Mapping[str, Any], limit: int = MAX_VM_INFLIGHT) -> InFlight:
    """Count the VMs of all executing plans with the same source provider as `plan`, which may be among them."""
    source = _source(plan)
    moving = waiting = ahead = 0
    names = []
    for item in sorted(records(list(plans)), key=named):
        if not source[1] or _source(item) != source or condition(item, "Executing") != "True":
            continue
        names.append("/".join(part for part in named(item) if part))
        for vm in records(dig(item, "status", "migration", "vms")):
            begun, ended = text(vm.get("started")), text(vm.get("completed"))
            if ended:
                continue
            moving += bool(begun)
            waiting += not begun
            ahead += named(item) != named(plan)
    return InFlight(limit, moving, waiting, ahead, tuple(names))


def _source(plan: object) -> tuple[str, str]:
    found = dig(plan, "spec", "provider", "source")
    return text(dig(found, "namespace")), text(dig(found, "name"))
