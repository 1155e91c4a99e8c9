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


@dataclass(frozen=True, slots=True)
class Flow:
    """What counts of one plan: `plan` and `source` are namespace and name of it and of its source provider."""

    plan: tuple[str, str]
    source: tuple[str, str]
    moving: int
    waiting: int
    executing: bool = True


def flow_of(plan: Mapping[str, Any]) -> Flow:
    """Count the VMs of a plan."""
    moving = waiting = 0
    for vm in records(dig(plan, "status", "migration", "vms")):
        if not text(vm.get("completed")):
            begun = bool(text(vm.get("started")))
            moving += begun
            waiting += not begun
    return Flow(named(plan), _source(plan), moving, waiting, condition(plan, "Executing") == "True")


def in_flight(flows: Iterable[Flow], plan: Mapping[str, Any], limit: int = MAX_VM_INFLIGHT) -> InFlight:
    """Sum up all executing plans with the same source provider as `plan`, which may be among them."""
    source = _source(plan)
    same = sorted(
        (each for each in flows if source[1] and each.source == source and each.executing), key=lambda each: each.plan
    )
    return InFlight(
        limit,
        sum(each.moving for each in same),
        sum(each.waiting for each in same),
        sum(each.moving + each.waiting for each in same if each.plan != named(plan)),
        tuple("/".join(part for part in each.plan if part) for each in same),
    )


def _source(plan: object) -> tuple[str, str]:
    found = dig(plan, "spec", "provider", "source")
    return text(dig(found, "namespace")), text(dig(found, "name"))
