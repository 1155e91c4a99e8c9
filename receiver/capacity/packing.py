"""Placing VMs on nodes: the best case, the likely case, and a bounded search for what the first overlooks.

Deterministic: the same input gives the same output, ties go by name.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from receiver.capacity.vector import Vector

SEARCH_STEPS: Final = 20_000
"""Tries of the search, about a tenth of a second. What it has not found by then stays "probably"."""
_SEARCH_VMS: Final = 60
_KEPT_FREE: Final = ("cpu", "memory")
"""Resources of which headroom is kept. A tenth of one GPU, or of ten pods, would say nothing."""
_SHARE_BITS: Final = 40


@dataclass(frozen=True, slots=True)
class Item:
    """One VM to place: its unique name, its need, and the names of the nodes that may take it."""

    name: str
    need: Vector
    nodes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Bin:
    """One node: what it has in all, and what is free."""

    name: str
    free: Vector
    allocatable: Vector


@dataclass(frozen=True, slots=True)
class Packed:
    """Which VM went where, in the order of placing; which found no place; and what is left by node."""

    placed: tuple[tuple[str, str], ...]
    not_placed: tuple[str, ...]
    left: Mapping[str, Vector]

    @property
    def where(self) -> dict[str, str]:
        """VM to node."""
        return dict(self.placed)


def best_case(items: Sequence[Item], bins: Sequence[Bin]) -> Packed:
    """Place the largest VMs first, each on the node where it leaves the least memory."""
    return _best_fit(by_dominant_share(items, bins), bins)


def likely_case(items: Sequence[Item], bins: Sequence[Bin], headroom_percent: int) -> Packed:
    """Place VMs as given, each on the node with the largest share of free memory, as the scheduler spreads them.

    On every node `headroom_percent` of its CPU and memory stay free.
    """
    free = {each.name: _kept(each, headroom_percent) for each in bins}
    whole = {each.name: max(1, each.allocatable.amount("memory")) for each in bins}

    def entry(name: str) -> tuple[int, str, int]:
        memory = free[name].get("memory", 0)
        return -((memory << _SHARE_BITS) // whole[name]), name, memory

    order = sorted(entry(name) for name in free)
    placed, not_placed = [], []
    for item in items:
        need, memory = _positive(item.need), item.need.amount("memory")
        for at, (_, name, left) in enumerate(order):
            if left >= memory and name in item.nodes and _fits(free[name], need):
                del order[at]
                _take(free[name], need)
                insort(order, entry(name))
                placed.append((item.name, name))
                break
        else:
            not_placed.append(item.name)
    return _packed(placed, not_placed, free)


def other_orders(items: Sequence[Item], bins: Sequence[Bin]) -> Packed | None:
    """Try the best case with other orders of the VMs; None if none of them places all."""
    keys: tuple[Callable[[Item], object], ...] = (
        lambda item: (-item.need.amount("memory"), item.name),
        lambda item: (-item.need.amount("cpu"), item.name),
        lambda item: (len(item.nodes), -item.need.amount("memory"), item.name),
    )
    for key in keys:
        packed = _best_fit(sorted(items, key=key), bins)  # type: ignore[arg-type]  # each key yields one sort of tuple
        if not packed.not_placed:
            return packed
    return None


def search(items: Sequence[Item], bins: Sequence[Bin], steps: int = SEARCH_STEPS) -> tuple[Packed | None, bool]:
    """Look for any arrangement. The second is True if there is certainly none, False if the tries ran out.

    Too many VMs are not tried at all: the search would end nowhere.
    """
    if len(items) > _SEARCH_VMS:
        return None, False
    ordered = by_dominant_share(items, bins)
    free = {each.name: dict(each.free) for each in sorted(bins, key=lambda each: each.name)}
    needs = [_positive(item.need) for item in ordered]
    # Nodes that the same VMs may use, with the same room left, are one choice, not many.
    sets = sorted({item.nodes for item in ordered}, key=sorted)
    groups = {name: tuple(name in each for each in sets) for name in free}
    chosen: list[str] = []
    budget = steps

    def place(at: int) -> bool:
        nonlocal budget
        if at == len(ordered):
            return True
        seen = set()
        candidates = sorted((free[name].get("memory", 0), name) for name in free if name in ordered[at].nodes)
        for _, name in candidates:
            if budget <= 0:
                return False
            budget -= 1
            if not _fits(free[name], needs[at]):
                continue
            state = (groups[name], frozenset(free[name].items()))
            if state in seen:
                continue
            seen.add(state)
            _take(free[name], needs[at])
            chosen.append(name)
            if place(at + 1):
                return True
            chosen.pop()
            _take(free[name], {key: -count for key, count in needs[at].items()})
        return False

    if place(0):
        names = [item.name for item in ordered]
        return _packed(list(zip(names, chosen, strict=True)), [], free), False
    return None, budget > 0


def by_dominant_share(items: Iterable[Item], bins: Sequence[Bin]) -> list[Item]:
    """Sort by the largest share of the largest node that a VM takes of any resource, descending; ties by name."""
    most: dict[str, int] = {}
    for each in bins:
        for resource, count in each.allocatable.items():
            most[resource] = max(most.get(resource, 0), count)

    def dominant(item: Item) -> Fraction:
        shares = [Fraction(count, max(1, most.get(key, 0))) for key, count in item.need.items() if count > 0]
        return max(shares, default=Fraction(0))

    return sorted(items, key=lambda item: (-dominant(item), item.name))


def wrong_shorts(cases: Iterable[tuple[Sequence[Item], Sequence[Bin]]], steps: int = 0) -> tuple[int, int, int]:
    """Return how many cases there were, how many the heuristics call short, and how many of these do fit.

    The figure behind the word "probably". `steps` is what the search may try after them.
    """
    total = short = wrong = 0
    for items, bins in cases:
        total += 1
        if not best_case(items, bins).not_placed or (steps and search(items, bins, steps)[0]):
            continue
        short += 1
        wrong += search(items, bins, 1_000_000)[0] is not None
    return total, short, wrong


def _best_fit(items: Iterable[Item], bins: Sequence[Bin]) -> Packed:
    free = {each.name: dict(each.free) for each in bins}
    order = sorted((each.free.amount("memory"), each.name) for each in bins)
    placed, not_placed = [], []
    for item in items:
        need = _positive(item.need)
        start = bisect_left(order, (item.need.amount("memory"), ""))
        for at in range(start, len(order)):
            name = order[at][1]
            if name in item.nodes and _fits(free[name], need):
                del order[at]
                _take(free[name], need)
                insort(order, (free[name].get("memory", 0), name))
                placed.append((item.name, name))
                break
        else:
            not_placed.append(item.name)
    return _packed(placed, not_placed, free)


def _packed(
    placed: Sequence[tuple[str, str]], not_placed: Sequence[str], free: Mapping[str, Mapping[str, int]]
) -> Packed:
    return Packed(tuple(placed), tuple(not_placed), {name: Vector(left) for name, left in free.items()})


def _kept(each: Bin, percent: int) -> dict[str, int]:
    free = dict(each.free)
    for resource in _KEPT_FREE:
        if resource in free:
            free[resource] -= -(-each.allocatable.amount(resource) * percent // 100)
    return free


def _positive(need: Mapping[str, int]) -> dict[str, int]:
    """A resource of which nothing is asked does not need to be on the node."""
    return {resource: count for resource, count in need.items() if count > 0}


def _fits(free: Mapping[str, int], need: Mapping[str, int]) -> bool:
    return all(free.get(resource, 0) >= count for resource, count in need.items())


def _take(free: dict[str, int], need: Mapping[str, int]) -> None:
    for resource, count in need.items():
        free[resource] = free.get(resource, 0) - count
