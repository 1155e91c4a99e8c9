"""Do the VMs of a plan find nodes? Verdict with proofs, from the holes of the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import ge

from receiver.capacity.findings import Line, Part, Proof, Scope, Shortage, Unknown, Unread, part_of
from receiver.capacity.need import Origin, VmNeed
from receiver.capacity.nodes import Competing, Eligibility, Holes
from receiver.capacity.packing import Bin, Item, Packed, best_case, likely_case, other_orders, search
from receiver.capacity.placement import Placement
from receiver.capacity.vector import Vector, add_into

COMPUTE = "compute"
PLAN = "plan"
_NOTHING = Packed((), (), {})
_SHOWN = ("memory", "cpu")
_HELD_BACK = "another running plan"


@dataclass(frozen=True, slots=True)
class Compute:
    """The verdict on nodes, and how it came about.

    `free` is what each node has that may take at least one VM; `remaining` is what stays free after the plan in percent
    of what those nodes have, by resource. `eligible` are the nodes by VM.
    """

    part: Part
    eligible: Mapping[str, Eligibility] = field(default_factory=dict)
    free: Mapping[str, Vector] = field(default_factory=dict)
    best: Packed = _NOTHING
    likely: Packed = _NOTHING
    remaining: Mapping[str, float] = field(default_factory=dict)
    competing: Competing = Competing()  # noqa: RUF009 - immutable


def keys_of(vms: Sequence[VmNeed]) -> tuple[str, ...]:
    """Return a unique key for each VM: its name, with its namespace where two share it."""
    names = [vm.name for vm in vms]
    found: list[str] = []
    for vm in vms:
        key = vm.name if names.count(vm.name) == 1 else f"{vm.namespace}/{vm.name}"
        while key in found:
            key += "'"
        found.append(key)
    return tuple(found)


def judge_compute(
    vms: Sequence[VmNeed], holes: Holes | Unread, headroom_percent: int = 10, reserved: Sequence[VmNeed] = ()
) -> Compute:
    """Judge the VMs of a plan, in its order, against the nodes of a cluster.

    `reserved` are receivers of other running plans that have no pod yet: they take room as well, and come first.
    """
    unknown = [Unknown("memory", vm.why, vm.name) for vm in vms if vm.requests is None]
    if isinstance(holes, Unread):
        return Compute(
            part_of(COMPUTE, unknown=[*unknown, holes.unknown("memory"), holes.unknown("cpu")], judged=False)
        )
    keys = dict(zip(keys_of(vms), vms, strict=True))
    judged: dict[Placement, Eligibility] = {}
    own = _items(keys, holes, judged)
    others = _items(
        {f"{_HELD_BACK}: {key}": vm for key, vm in zip(keys_of(reserved), reserved, strict=True)}, holes, judged
    )
    eligible = {item.name: judged[keys[item.name].placement] for item in own}
    used = frozenset[str]().union(*(item.nodes for item in own)) if own else frozenset[str]()
    bins = [Bin(each.name, each.free, each.allocatable) for each in holes.holes if not each.unreadable]
    usable = [each for each in bins if each.name in used]
    # A receiver of another plan that no node can take will never take room from this one.
    largest = _Largest(bins, [*others, *own])
    others = [item for item in others if any(_holds(each, item) for each in largest.of(item))]
    best = best_case([*others, *own], bins)
    shortages = _too_large(own, _Largest(usable, own), eligible, keys)
    impossible = {shortage.vm for shortage in shortages}
    sums = _sums([*others, *own], own, bins)
    shortages += sums
    risks: list[Shortage] = []
    rest = {item.name: item for item in (*others, *own) if item.name not in impossible}
    if not sums and not rest.keys().isdisjoint(best.not_placed):
        better, packing = _try_harder(list(rest.values()), bins, best)
        if better is not best:
            best = Packed(better.placed, tuple(name for name in best.not_placed if name in impossible), better.left)
        # Other plans' receivers that find no place make this plan no worse than risky.
        left = _Largest([_left(each, best) for each in bins], list(rest.values()))
        for name in best.not_placed:
            if name in rest:
                (shortages if name in keys else risks).extend(_against_best_node(rest[name], left, packing, keys))
    likely = likely_case([*others, *own], bins, headroom_percent)
    if not shortages:
        left = _Largest([_left(each, likely) for each in bins], own)
        for item in own:
            if item.name in likely.not_placed:
                risks += _against_best_node(item, left, Proof.HEADROOM, keys)
    notes = [f"{vm.name}: {note}" for vm in vms for note in vm.notes]
    unknown += [
        Unknown("placement", f"not checked: {rule}", key) for key, vm in keys.items() for rule in vm.placement.unchecked
    ]
    doubtful = sorted({name for each in eligible.values() for name in each.doubtful})
    if doubtful:
        names = ", ".join(doubtful[:3]) + (f" and {len(doubtful) - 3} more" if len(doubtful) > 3 else "")
        unknown.append(Unknown("memory", f"free room of {names} could not be read"))
        if shortages:  # what could not be read might have taken it
            part = part_of(COMPUTE, unknown=unknown, lines=_lines(own, usable, keys), notes=notes, judged=False)
            return Compute(part, eligible, _free(usable), _only(best, keys), _only(likely, keys), {}, holes.competing)
    judged_all = all(vm.requests is not None for vm in vms)
    part = part_of(COMPUTE, shortages, risks, unknown, _lines(own, usable, keys), notes, judged=judged_all)
    return Compute(
        part, eligible, _free(usable), _only(best, keys), _only(likely, keys), _remaining(own, usable), holes.competing
    )


def _items(vms: Mapping[str, VmNeed], holes: Holes, judged: dict[Placement, Eligibility]) -> list[Item]:
    found, sets = [], dict[Placement, frozenset[str]]()
    for key, vm in vms.items():
        if vm.requests is None:
            continue
        if vm.placement not in judged:
            judged[vm.placement] = holes.eligible(vm.placement)
        if vm.placement not in sets:
            sets[vm.placement] = frozenset(judged[vm.placement].nodes)
        found.append(Item(key, vm.requests, sets[vm.placement]))
    return found


class _Largest:
    """The nodes worth comparing with, by set of nodes: those of which no other has at least as much of everything.

    If a VM does not fit on one of these, it fits on none; 5,000 nodes shrink to a few.
    """

    def __init__(self, bins: Sequence[Bin], items: Sequence[Item]) -> None:
        self._bins = sorted(bins, key=lambda each: (-each.free.amount("memory"), -each.free.amount("cpu"), each.name))
        self._keys = sorted({key for item in items for key, count in item.need.items() if count > 0})
        self._found: dict[frozenset[str], list[Bin]] = {}

    def of(self, item: Item) -> list[Bin]:
        """Return them for the nodes that may take a VM."""
        if item.nodes not in self._found:
            front: list[tuple[Bin, tuple[int, ...]]] = []
            for each in self._bins:
                if each.name not in item.nodes:
                    continue
                own = tuple(each.free.amount(key) for key in self._keys)
                if not any(all(map(ge, other, own)) for _, other in front):
                    front.append((each, own))
            self._found[item.nodes] = [each for each, _ in front]
        return self._found[item.nodes]


def _too_large(
    own: Sequence[Item], largest: _Largest, eligible: Mapping[str, Eligibility], keys: Mapping[str, VmNeed]
) -> list[Shortage]:
    """Say which VMs no node could take even if it were the only one of the plan. Certain."""
    found = []
    for item in own:
        origin = keys[item.name].origin
        if not item.nodes:
            reasons = eligible[item.name].reasons()
            why = ", ".join(f"{count} {reason}" for reason, count in reasons) or "there are no nodes"
            proof = Proof.NOT_ELIGIBLE
            found.append(Shortage("nodes", Scope.PLACEMENT, item.name, 1, 0, proof, source=origin, why=why))
        elif not any(_holds(each, item) for each in largest.of(item)):
            found += _against_best_node(item, largest, Proof.NO_NODE, keys)
    return found


def _against_best_node(item: Item, largest: _Largest, proof: Proof, keys: Mapping[str, VmNeed]) -> list[Shortage]:
    """Say what is missing on the node that comes closest: on one node, never the best of several."""

    def distance(each: Bin) -> tuple[float, str]:
        gaps = (max(0, count - each.free.amount(key)) / count for key, count in item.need.items() if count > 0)
        return sum(gaps), each.name

    nearest = min(largest.of(item), key=distance, default=None)
    if nearest is None:
        return []
    origin = keys[item.name].origin if item.name in keys else Origin.NONE
    return [
        Shortage(key, Scope.NODE, item.name, count, have, proof, nearest.name, origin)
        for key, count in item.need.items()
        if count > (have := max(0, nearest.free.amount(key)))
    ]


def _sums(items: Sequence[Item], own: Sequence[Item], bins: Sequence[Bin]) -> list[Shortage]:
    """Say of which resource all VMs together ask for more than all nodes have that may take any of them. Certain."""
    nodes = frozenset[str]().union(*(item.nodes for item in items)) if items else frozenset[str]()
    need: dict[str, int] = {}
    for item in items:
        if item.nodes:
            add_into(need, item.need)
    found = []
    for key, count in need.items():
        have = sum(max(0, each.free.amount(key)) for each in bins if each.name in nodes)
        # One VM alone is named by itself.
        if count > have and len(own) > 1:
            found.append(Shortage(key, Scope.CLUSTER, PLAN, count, have, Proof.SUM))
    return found


def _try_harder(items: Sequence[Item], bins: Sequence[Bin], best: Packed) -> tuple[Packed, Proof]:
    if better := other_orders(items, bins):
        return better, Proof.PACKING
    found, impossible = search(items, bins)
    return found or best, Proof.EXHAUSTIVE if impossible else Proof.PACKING


def _holds(each: Bin, item: Item) -> bool:
    return all(each.free.amount(key) >= count for key, count in item.need.items() if count > 0)


def _left(each: Bin, packed: Packed) -> Bin:
    return Bin(each.name, packed.left.get(each.name, each.free), each.allocatable)


def _free(bins: Sequence[Bin]) -> dict[str, Vector]:
    return {each.name: each.free for each in bins}


def _only(packed: Packed, keys: Mapping[str, VmNeed]) -> Packed:
    return Packed(
        tuple((vm, node) for vm, node in packed.placed if vm in keys),
        tuple(vm for vm in packed.not_placed if vm in keys),
        packed.left,
    )


def _remaining(own: Sequence[Item], bins: Sequence[Bin]) -> dict[str, float]:
    found = {}
    for key in _SHOWN:
        whole = sum(each.allocatable.amount(key) for each in bins)
        left = sum(each.free.amount(key) for each in bins) - sum(item.need.amount(key) for item in own)
        if whole > 0:
            found[key] = 100 * left / whole
    return found


def _lines(own: Sequence[Item], bins: Sequence[Bin], keys: Mapping[str, VmNeed]) -> list[Line]:
    """The sum of all VMs against all eligible nodes, and the largest VM against the largest hole for it."""
    lines = []
    for key in _SHOWN:
        need, free = sum(item.need.amount(key) for item in own), sum(max(0, each.free.amount(key)) for each in bins)
        measured = all(keys[item.name].origin is Origin.SOURCE_POD for item in own)
        how = f"allocatable less requests of {len(bins):,} eligible nodes"
        lines.append(Line(key, Scope.CLUSTER, "", need, free, how, certain=measured))
        largest = max(own, key=lambda item: (item.need.amount(key), item.name), default=None)
        if largest is None:
            continue
        candidates = [each for each in bins if each.name in largest.nodes]
        hole = min(candidates, key=lambda each: (-each.free.amount(key), each.name), default=None)
        if hole is not None:
            how = f"{largest.name} against the node with the most free"
            certain = keys[largest.name].origin is Origin.SOURCE_POD
            amount = max(0, hole.free.amount(key))
            lines.append(Line(key, Scope.NODE, hole.name, largest.need.amount(key), amount, how, certain=certain))
    return lines


def fits_somewhere(vm: Vector, free: Mapping[str, Vector], nodes: Sequence[str]) -> bool:
    """Tell whether one of these nodes holds a VM."""
    return any(
        all(free[name].amount(key) >= count for key, count in vm.items() if count > 0) for name in nodes if name in free
    )
