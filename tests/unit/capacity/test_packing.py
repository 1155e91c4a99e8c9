"""Placing VMs, against brute force on small cases."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.capacity import Holes, NodeSums, Placement, Proof, Vector, Verdict, VmNeed
from receiver.capacity.compute import judge_compute
from receiver.capacity.packing import Bin, Item, Packed, best_case, likely_case, other_orders, search, wrong_shorts

_amounts = st.integers(0, 12)
_vectors = st.builds(lambda cpu, memory: Vector({"cpu": cpu, "memory": memory}), _amounts, _amounts)


@st.composite
def _cases(draw: st.DrawFn) -> tuple[list[Item], list[Bin]]:
    names = [f"node-{number}" for number in range(draw(st.integers(0, 4)))]
    bins = []
    for name in names:
        free = draw(_vectors)
        bins.append(Bin(name, free, free + draw(_vectors)))
    allowed = st.frozensets(st.sampled_from(names)) if names else st.just(frozenset[str]())
    items = [
        Item(f"vm-{number}", draw(_vectors), draw(st.one_of(st.just(frozenset(names)), allowed)))
        for number in range(draw(st.integers(0, 5)))
    ]
    return items, bins


def _possible(items: Sequence[Item], bins: Sequence[Bin]) -> bool:
    """Try every assignment there is."""
    by_name = {each.name: each.free for each in bins}
    for nodes in itertools.product(*(sorted(item.nodes) for item in items)):
        total = dict.fromkeys(by_name, Vector())
        for item, node in zip(items, nodes, strict=True):
            total[node] += item.need
        if all(
            total[name].amount(key) <= by_name[name].amount(key) or not total[name].amount(key)
            for name in by_name
            for key in ("cpu", "memory")
        ):
            return True
    return False


def _is_sound(packed: Packed, items: Sequence[Item], bins: Sequence[Bin]) -> None:
    used = {each.name: Vector() for each in bins}
    by_name = {item.name: item for item in items}
    for vm, node in packed.placed:
        assert node in by_name[vm].nodes
        used[node] += by_name[vm].need
    for each in bins:
        for key in ("cpu", "memory"):
            assert used[each.name].amount(key) <= max(0, each.free.amount(key))
    assert sorted([*packed.where, *packed.not_placed]) == sorted(by_name)


@given(_cases())
def test_what_is_placed_has_room(case: tuple[list[Item], list[Bin]]) -> None:
    items, bins = case
    _is_sound(best_case(items, bins), items, bins)
    _is_sound(likely_case(items, bins, 10), items, bins)


@given(_cases())
def test_all_placed_is_never_said_where_no_arrangement_exists(case: tuple[list[Item], list[Bin]]) -> None:
    items, bins = case
    if not _possible(items, bins):
        assert best_case(items, bins).not_placed
        assert likely_case(items, bins, 0).not_placed
        assert other_orders(items, bins) is None


@given(_cases())
def test_search_finds_an_arrangement_exactly_where_one_exists(case: tuple[list[Item], list[Bin]]) -> None:
    items, bins = case
    found, impossible = search(items, bins)
    assert (found is not None) == _possible(items, bins)
    assert impossible == (found is None)
    if found:
        _is_sound(found, items, bins)


@given(_cases(), st.randoms(use_true_random=False))
def test_order_of_nodes_is_irrelevant(case: tuple[list[Item], list[Bin]], shuffler: random.Random) -> None:
    items, bins = case
    shuffled = shuffler.sample(bins, len(bins))
    assert best_case(items, bins) == best_case(items, shuffled)
    assert likely_case(items, bins, 10) == likely_case(items, shuffled, 10)
    assert search(items, bins) == search(items, shuffled)


def _node(name: str, cpu: int, memory: int) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"kubevirt.io/schedulable": "true"}},
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory, "pods": 3},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def _holes(nodes: Sequence[tuple[int, int]]) -> Holes:
    return NodeSums([_node(f"n{at}", cpu, memory) for at, (cpu, memory) in enumerate(nodes)]).holes()


def _vms(sizes: Sequence[tuple[int, int]]) -> list[VmNeed]:
    return [
        VmNeed(f"vm{at}", requests=Vector({"cpu": cpu * 1000, "memory": memory, "pods": 1}))
        for at, (cpu, memory) in enumerate(sizes)
    ]


_sizes = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), max_size=5)
_nodes = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), max_size=4)


@settings(max_examples=300)
@given(_sizes, _nodes, st.tuples(st.integers(1, 12), st.integers(1, 12)))
def test_another_node_never_makes_a_plan_short(
    sizes: list[tuple[int, int]], nodes: list[tuple[int, int]], more: tuple[int, int]
) -> None:
    vms = _vms(sizes)
    before, after = judge_compute(vms, _holes(nodes)), judge_compute(vms, _holes([*nodes, more]))
    if before.part.verdict is not Verdict.SHORT:
        assert after.part.verdict is not Verdict.SHORT
    assert set(_too_large(after.part.shortages)) <= set(_too_large(before.part.shortages))


def _too_large(shortages: Sequence[object]) -> list[object]:
    return [
        getattr(each, "vm", "")
        for each in shortages
        if getattr(each, "proof", "") in (Proof.NO_NODE, Proof.NOT_ELIGIBLE)
    ]


@settings(max_examples=200)
@given(_sizes, _nodes)
def test_short_is_said_exactly_where_no_arrangement_exists(
    sizes: list[tuple[int, int]], nodes: list[tuple[int, int]]
) -> None:
    vms, holes = _vms(sizes), _holes(nodes)
    names = frozenset(hole.name for hole in holes.holes)
    items = [Item(vm.name, vm.requests or Vector(), names) for vm in vms]
    bins = [Bin(hole.name, hole.free, hole.allocatable) for hole in holes.holes]
    # Brute force counts pods as well: three a node.
    fits = any(
        all(
            sum(items[at].need.amount(key) for at, node in enumerate(nodes_of) if node == each.name)
            <= each.free.amount(key)
            for each in bins
            for key in ("cpu", "memory", "pods")
        )
        for nodes_of in itertools.product(sorted(names), repeat=len(items))
    )
    part = judge_compute(vms, holes).part
    assert (part.verdict is Verdict.SHORT) == (not fits)
    if part.verdict is Verdict.SHORT:
        assert part.shortages
        assert all(each.certain and each.missing > 0 for each in part.shortages)


def test_packing_that_nobody_could_prove_is_only_probable() -> None:
    # Too many VMs to search: 3 of 5 on nodes of 9 leave 4 on each, and the last one finds no place.
    vms, holes = _vms([(0, 5)] * 61), _holes([(9, 9)] * 60)
    part = judge_compute(vms, holes).part
    assert part.verdict is Verdict.SHORT
    assert {each.proof for each in part.shortages} == {Proof.PACKING}
    assert not any(each.certain for each in part.shortages)


def test_small_plan_that_first_fit_calls_short_is_searched() -> None:
    # Best fit puts both 4 on one node; 4+3+3 on each would do.
    items = [
        Item(f"vm{at}", Vector({"memory": size}), frozenset({"a", "b"})) for at, size in enumerate((4, 4, 3, 3, 3, 3))
    ]
    bins = [Bin(name, Vector({"memory": 10}), Vector({"memory": 10})) for name in ("a", "b")]
    assert best_case(items, bins).not_placed
    found, impossible = search(items, bins)
    assert found is not None
    assert not impossible


def _item(name: str, memory: int, *nodes: str) -> Item:
    return Item(name, Vector({"memory": memory}), frozenset(nodes))


def _bin(name: str, memory: int) -> Bin:
    return Bin(name, Vector({"memory": memory}), Vector({"memory": memory}))


def test_best_case_goes_by_what_is_left_now() -> None:
    items = [_item("large", 8, "a"), _item("small", 2, "a", "b")]
    assert best_case(items, [_bin("a", 10), _bin("b", 9)]).where == {"large": "a", "small": "a"}


def test_search_that_ran_out_of_tries_proves_nothing() -> None:
    items, bins = [_item(f"vm{at}", 5, "a", "b") for at in range(3)], [_bin("a", 9), _bin("b", 9)]
    assert search(items, bins) == (None, True)
    assert search(items, bins, steps=2) == (None, False)
    assert search([_item(f"vm{at}", 1, "a") for at in range(61)], [_bin("a", 1)]) == (None, False)


def test_another_order_may_place_what_the_first_does_not() -> None:
    # By the largest share, the one that is picky comes last and finds its node taken.
    items = [_item("picky", 4, "a"), _item("free", 5, "a", "b")]
    bins = [_bin("a", 5), _bin("b", 6)]
    assert best_case(items, bins).not_placed == ("picky",)
    packed = other_orders(items, bins)
    assert packed is not None
    assert packed.where == {"picky": "a", "free": "b"}


def test_headroom_alone_only_makes_a_plan_risky() -> None:
    vms = _vms([(1, 9)])
    part = judge_compute(vms, _holes([(9, 9)])).part
    assert part.verdict is Verdict.AT_RISK
    [risk] = part.risks
    assert (risk.vm, risk.resource, risk.proof, risk.missing) == ("vm0", "memory", Proof.HEADROOM, 1)
    assert not risk.certain
    assert judge_compute(vms, _holes([(9, 9)]), headroom_percent=0).part.verdict is Verdict.FITS


def test_one_gpu_needs_no_headroom() -> None:
    node = _node("n0", 10, 100)
    status = node["status"]
    assert isinstance(status, dict)
    status["allocatable"]["nvidia.com/gpu"] = "1"
    vm = VmNeed("vm", requests=Vector({"cpu": 1000, "memory": 1, "nvidia.com/gpu": 1, "pods": 1}))
    assert judge_compute([vm], NodeSums([node]).holes()).part.verdict is Verdict.FITS


def test_receivers_of_other_plans_take_room_too() -> None:
    vms, holes = _vms([(1, 8)]), _holes([(9, 12)])
    other = [VmNeed("other", requests=Vector({"cpu": 1000, "memory": 8, "pods": 1}))]
    assert judge_compute(vms, holes, 0).part.verdict is Verdict.FITS
    assert judge_compute(vms, holes, 0, other).part.verdict is not Verdict.FITS


def test_receiver_of_another_plan_that_fits_nowhere_takes_nothing() -> None:
    vms, holes = _vms([(1, 8)]), _holes([(9, 9)])
    giant = [VmNeed("giant", requests=Vector({"cpu": 1000, "memory": 99, "pods": 1}))]
    assert judge_compute(vms, holes, 0, giant).part.verdict is Verdict.FITS


def test_what_other_plans_take_comes_off_what_is_free_and_is_no_need_of_this_plan() -> None:
    # 40 needed, 80 free, and 50 of it for five VMs of others: short by 10, until one of them has ended.
    vms, holes = _vms([(1, 20), (1, 20)]), NodeSums([_roomy("n0", 40), _roomy("n1", 40)]).holes()
    judged = judge_compute(vms, holes, 0, _others(10, 5))
    assert judged.part.verdict is Verdict.AT_RISK
    assert judged.part.shortages == ()
    [risk] = judged.part.risks
    assert (risk.resource, risk.vm, risk.need, risk.have, risk.missing) == ("memory", "plan", 40, 30, 10)
    assert (risk.proof, risk.certain, risk.why) == (Proof.RESERVED, False, "after 5 VMs of other running plans")
    line = next(each for each in judged.part.lines if (each.resource, each.owner) == ("memory", ""))
    assert (line.need, line.free, line.short_by) == (40, 30, 10)
    assert line.how.endswith("2 eligible nodes, after 5 VMs of other running plans")
    assert judged.remaining["memory"] == -12.5
    alone = judge_compute(vms, holes, 0)
    assert (alone.part.verdict, alone.remaining["memory"]) == (Verdict.FITS, 50.0)


def test_a_plan_that_is_too_large_by_itself_is_short_by_that_much_whatever_others_take() -> None:
    vms, holes = _vms([(1, 30), (1, 30), (1, 30)]), NodeSums([_roomy("n0", 40), _roomy("n1", 40)]).holes()
    part = judge_compute(vms, holes, 0, _others(10, 5)).part
    assert part.verdict is Verdict.SHORT
    [short] = part.shortages
    assert (short.need, short.have, short.proof, short.certain) == (90, 80, Proof.SUM, True)


def test_one_vm_beside_those_of_others_is_named_with_its_node() -> None:
    part = judge_compute(_vms([(1, 30)]), NodeSums([_roomy("n0", 40)]).holes(), 0, _others(15, 1)).part
    [risk] = part.risks
    assert (risk.vm, risk.owner, risk.need, risk.have) == ("vm0", "n0", 30, 25)
    assert (risk.proof, risk.why) == (Proof.RESERVED, "after 1 VM of other running plans")


def test_others_that_may_go_elsewhere_take_only_what_does_not_fit_there() -> None:
    zone = Placement(labels=(("zone", "a"),))
    nodes = [_roomy("n0", 40), _roomy("n1", 40)]
    nodes[0]["metadata"]["labels"]["zone"] = "a"
    own = [replace(each, placement=zone) for each in _vms([(1, 15), (1, 15)])]
    holes = NodeSums(nodes).holes()
    # All find a place, only not where the scheduler would put the first ones: it spreads.
    assert {each.proof for each in judge_compute(own, holes, 0, _others(10, 5)).part.risks} == {Proof.HEADROOM}
    [risk] = judge_compute(own, holes, 0, _others(10, 6)).part.risks
    assert (risk.need, risk.have, risk.missing) == (30, 20, 10)


@settings(max_examples=200, deadline=None)
@given(_sizes, _nodes, _sizes)
def test_other_plans_never_make_a_plan_short_nor_better(
    sizes: list[tuple[int, int]], nodes: list[tuple[int, int]], others: list[tuple[int, int]]
) -> None:
    vms, holes = _vms(sizes), _holes(nodes)
    alone, beside = judge_compute(vms, holes, 0).part, judge_compute(vms, holes, 0, _vms(others)).part
    assert beside.shortages == alone.shortages
    if alone.verdict is Verdict.AT_RISK:
        assert beside.verdict is Verdict.AT_RISK
    assert all(each.missing > 0 and not each.certain for each in beside.risks)


def _roomy(name: str, memory: int) -> dict[str, Any]:
    node: dict[str, Any] = _node(name, 1000, memory)
    node["status"]["allocatable"]["pods"] = 100
    return node


def _others(memory: int, count: int) -> list[VmNeed]:
    need = Vector({"cpu": 100, "memory": memory, "pods": 1})
    return [VmNeed(f"other{at}", requests=need) for at in range(count)]


def test_vm_that_is_too_large_does_not_hide_the_others() -> None:
    # 92 fits nowhere, though the sum would suffice; the others do fit.
    part = judge_compute(_vms([(0, 92), (0, 5), (0, 5), (0, 5)]), _holes([(9, 9), (9, 9), (9, 90), (9, 1)]), 0).part
    assert [(each.vm, each.proof) for each in part.shortages] == [("vm0", Proof.NO_NODE)]
    part = judge_compute(_vms([(9, 1), (1, 60), (1, 60)]), _holes([(8, 100), (8, 50)]), 0).part
    assert [(each.vm, each.proof) for each in part.shortages] == [
        ("vm0", Proof.NO_NODE),
        ("vm2", Proof.EXHAUSTIVE),
    ]


def test_best_node_is_one_node_never_the_best_of_several() -> None:
    # One node has the CPU, the other the memory: neither is free of a shortage.
    part = judge_compute(_vms([(8, 8)]), _holes([(9, 4), (2, 9)])).part
    assert {(each.owner, each.resource, each.have) for each in part.shortages} == {("n0", "memory", 4)}


def _random_cases(count: int) -> list[tuple[list[Item], list[Bin]]]:
    """Tight plans: the VMs of a case were cut out of its nodes, or nearly so."""
    dice = random.Random(7)
    cases = []
    for _ in range(count):
        names = [f"n{at}" for at in range(dice.randint(2, 4))]
        bins = [
            Bin(name, free := Vector({"cpu": dice.randint(8, 30), "memory": dice.randint(16, 60)}), free)
            for name in names
        ]
        items: list[Item] = []
        for each in bins:
            cpu, memory = each.free["cpu"], each.free["memory"]
            while memory > 3 and cpu > 1 and len(items) < 10:
                need = Vector({"cpu": dice.randint(1, max(1, cpu // 2)), "memory": dice.randint(3, max(3, memory))})
                if need["memory"] > memory:
                    break
                cpu, memory = cpu - need["cpu"], memory - need["memory"]
                items.append(Item(f"vm{len(items)}", need, frozenset(names)))
        cases.append((items, bins))
    return cases


def test_how_often_the_heuristics_are_wrong_and_what_the_search_mends() -> None:
    """The figure behind the word "probably", on plans that fill their nodes by construction."""
    cases = _random_cases(300)
    total, short, wrong = wrong_shorts(cases)
    print(f"of {total} tight plans the heuristic calls {short} short, {wrong} of them wrongly")
    assert total == 300
    assert short == wrong > 0  # every one of them fits by construction
    assert wrong_shorts(cases, steps=20_000)[2] == 0


@pytest.mark.parametrize("seed", range(3))
def test_spreading_may_suffer_from_another_node_which_is_the_scheduler_s_own_way(seed: int) -> None:
    """Why only "short" is promised not to get worse: the likely case follows the scheduler, which is no optimum."""
    # vm0 goes to the emptiest node. A third, emptier one sends it elsewhere, vm1 then takes the large node.
    everywhere = frozenset({"a", "b", "c"})
    items = [
        Item("vm0", Vector({"memory": 30}), everywhere),
        Item("vm1", Vector({"memory": 40}), everywhere),
        Item("vm2", Vector({"memory": 60}), everywhere),
    ]
    a = Bin("a", Vector({"memory": 90}), Vector({"memory": 100}))
    b = Bin("b", Vector({"memory": 40}), Vector({"memory": 50}))
    c = Bin("c", Vector({"memory": 30}), Vector({"memory": 31}))
    dice = random.Random(seed)
    assert not likely_case(items, dice.sample([a, b], 2), 0).not_placed
    assert likely_case(items, dice.sample([a, b, c], 3), 0).not_placed == ("vm2",)
