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
        {f"{key} of another running plan": vm for key, vm in zip(keys_of(reserved), reserved, strict=True)},
        holes, judged,
    )  # fmt: skip
    eligible = {item.name: judged[keys[item.name].placement] for item in own}
    used = _nodes_of(own)
    bins = [Bin(each.name, each.free, each.allocatable) for each in holes.holes if not each.unreadable]
    usable = [each for each in bins if each.name in used]
    # A receiver of another plan that no node can take will never take room from this one.
    largest = _Largest(bins, [*others, *own])
    others = [item for item in others if any(_holds(each, item) for each in largest.of(item))]
    held = _Held(_taken(others, bins, used), after(len(others)))
    best = best_case(own, bins)
    shortages = _too_large(own, _Largest(usable, own), eligible, keys)
    impossible = {shortage.vm for shortage in shortages}
    sums = _sums(own, usable)
    shortages += sums
    rest = {item.name: item for item in own if item.name not in impossible}
    if not sums and not rest.keys().isdisjoint(best.not_placed):
        better, packing = _try_harder(list(rest.values()), bins, best)
        if better is not best:
            best = Packed(better.placed, tuple(name for name in best.not_placed if name in impossible), better.left)
        left = _Largest([_left(each, best) for each in bins], list(rest.values()))
        for name in best.not_placed:
            if name in rest:
                shortages += _against_best_node(rest[name], left, packing, keys)
    risks: list[Shortage] = []
    if others and not shortages:
        best, risks = _beside(others, own, bins, usable, held, keys)
    likely = likely_case([*others, *own], bins, headroom_percent)
    if not shortages and not risks:
        left = _Largest([_left(each, likely) for each in bins], own)
        for item in own:
            if item.name in likely.not_placed:
                risks += _against_best_node(item, left, Proof.HEADROOM, keys, held.why)
    notes = [f"{vm.name}: {note}" for vm in vms for note in vm.notes]
    unknown += _unchecked(keys)
    doubtful = sorted({name for each in eligible.values() for name in each.doubtful})
    if doubtful:
        unknown.append(Unknown("memory", f"free room of {_few(doubtful)} could not be read"))
        if shortages:  # what could not be read might have taken it
            part = part_of(COMPUTE, unknown=unknown, lines=_lines(own, usable, keys, held), notes=notes, judged=False)
            return Compute(part, eligible, _free(usable), _only(best, keys), _only(likely, keys), {}, holes.competing)
    judged_all = all(vm.requests is not None for vm in vms)
    part = part_of(COMPUTE, shortages, risks, unknown, _lines(own, usable, keys, held), notes, judged=judged_all)
    remaining = _remaining(own, usable, held)
    return Compute(part, eligible, _free(usable), _only(best, keys), _only(likely, keys), remaining, holes.competing)


def after(count: int) -> str:
    """Say whose room comes off first; nothing if nobody's does."""
    return f"after {count:,} {'VM' if count == 1 else 'VMs'} of other running plans" if count else ""


@dataclass(frozen=True, slots=True)
class _Held:
    """What receivers of other running plans take at least of the nodes that this plan may use, by resource."""

    taken: Mapping[str, int]
    why: str


def _unchecked(keys: Mapping[str, VmNeed]) -> list[Unknown]:
    """One for each rule, however many VMs have it: a plan's own stands with all of them."""
    by_rule: dict[str, list[str]] = {}
    for key, vm in keys.items():
        for rule in vm.placement.unchecked:
            by_rule.setdefault(rule, []).append(key)
    return [Unknown("placement", f"not checked: {rule}", _few(found)) for rule, found in by_rule.items()]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")


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


def _against_best_node(
    item: Item, largest: _Largest, proof: Proof, keys: Mapping[str, VmNeed], why: str = ""
) -> list[Shortage]:
    """Say what is missing on the node that comes closest: on one node, never the best of several."""

    def distance(each: Bin) -> tuple[float, str]:
        gaps = (max(0, count - each.free.amount(key)) / count for key, count in item.need.items() if count > 0)
        return sum(gaps), each.name

    nearest = min(largest.of(item), key=distance, default=None)
    if nearest is None:
        return []
    origin = keys[item.name].origin if item.name in keys else Origin.NONE
    return [
        Shortage(key, Scope.NODE, item.name, count, have, proof, nearest.name, origin, why)
        for key, count in item.need.items()
        if count > (have := max(0, nearest.free.amount(key)))
    ]


def _nodes_of(items: Sequence[Item]) -> frozenset[str]:
    return frozenset[str]().union(*(item.nodes for item in items)) if items else frozenset[str]()


def _needs_of(items: Sequence[Item]) -> dict[str, int]:
    need: dict[str, int] = {}
    for item in items:
        if item.nodes:
            add_into(need, item.need)
    return need


def _has(bins: Sequence[Bin], resource: str) -> int:
    return sum(max(0, each.free.amount(resource)) for each in bins)


def _sums(own: Sequence[Item], usable: Sequence[Bin]) -> list[Shortage]:
    """Say of which resource the plan asks for more than all nodes have that may take any of its VMs. Certain."""
    # One VM alone is named by itself.
    if len(own) < 2:
        return []
    return [
        Shortage(key, Scope.CLUSTER, PLAN, count, have, Proof.SUM)
        for key, count in _needs_of(own).items()
        if count > (have := _has(usable, key))
    ]


def _taken(others: Sequence[Item], bins: Sequence[Bin], used: frozenset[str]) -> dict[str, int]:
    """Return what VMs of other plans take of the nodes `used`, wherever they land.

    That is what may go nowhere else, and what does not fit on the nodes beside these.
    """
    inside, whole = _needs_of([item for item in others if item.nodes <= used]), _needs_of(others)
    reached = _nodes_of(others)
    beside = [each for each in bins if each.name in reached and each.name not in used]
    return {key: max(inside.get(key, 0), count - _has(beside, key)) for key, count in whole.items()}


def _beside(
    others: Sequence[Item],
    own: Sequence[Item],
    bins: Sequence[Bin],
    usable: Sequence[Bin],
    held: _Held,
    keys: Mapping[str, VmNeed],
) -> tuple[Packed, list[Shortage]]:
    """Place VMs that fit by themselves beside those of other running plans, and say what then does not suffice.

    Never more than a risk: the others may have ended before these begin.
    """
    everything = [*others, *own]
    packed = best_case(everything, bins)
    if packed.not_placed:
        packed, _ = _try_harder(everything, bins, packed)
    if not packed.not_placed:
        return packed, []
    first = best_case(others, bins)
    left = [_left(each, first) for each in bins]
    packed = best_case(own, left)
    left = [_left(each, packed) for each in left]
    risks = [
        Shortage(key, Scope.CLUSTER, PLAN, count, have, Proof.RESERVED, why=held.why)
        for key, count in (_needs_of(own).items() if len(own) > 1 else ())
        if count > (have := max(0, _has(usable, key) - held.taken.get(key, 0)))
    ]
    if not risks:
        largest = _Largest(left, own)
        for item in own:
            if item.name in packed.not_placed:
                risks += _against_best_node(item, largest, Proof.RESERVED, keys, held.why)
    if not risks:  # the others get in each other's way: who is left out of them may come before one of these
        largest = _Largest(left, others)
        for item in others:
            if item.name in first.not_placed:
                risks += _against_best_node(item, largest, Proof.PACKING, keys)
    return packed, risks


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


def _remaining(own: Sequence[Item], bins: Sequence[Bin], held: _Held) -> dict[str, float]:
    found = {}
    for key in _SHOWN:
        whole = sum(each.allocatable.amount(key) for each in bins)
        left = sum(each.free.amount(key) for each in bins) - sum(item.need.amount(key) for item in own)
        if whole > 0:
            found[key] = 100 * (left - held.taken.get(key, 0)) / whole
    return found


def _lines(own: Sequence[Item], bins: Sequence[Bin], keys: Mapping[str, VmNeed], held: _Held) -> list[Line]:
    """The sum of all VMs against all eligible nodes, and the largest VM against the largest hole for it."""
    lines = []
    for key in _SHOWN:
        need = sum(item.need.amount(key) for item in own)
        free = max(0, _has(bins, key) - held.taken.get(key, 0))
        measured = all(keys[item.name].origin is Origin.SOURCE_POD for item in own)
        how = f"allocatable less requests of {len(bins):,} eligible nodes" + (f", {held.why}" if held.why else "")
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
