"""The order of clusters, and the fact of how many VMs move at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from receiver.capacity import (
    Answer,
    Compute,
    Part,
    Proof,
    Scope,
    Shortage,
    Unknown,
    Verdict,
    candidates,
    flow_of,
    in_flight,
    rank,
)

FITS = Part("", Verdict.FITS)


def _answer(name: str, verdict: Verdict = Verdict.FITS, left: float = 50, unknown: int = 0, missing: int = 0) -> Answer:
    short = (Shortage("memory", Scope.NODE, "vm", 10, 10 - missing, Proof.NO_NODE, "n"),) if missing else ()
    part = replace(
        FITS, verdict=verdict, shortages=short, unknown=tuple(Unknown("storage", str(at)) for at in range(unknown))
    )
    return Answer(name, verdict, Compute(part), FITS, FITS, {"memory": left, "cpu": 99.0})


@pytest.mark.parametrize(
    ("answers", "order"),
    [
        ([_answer("b", Verdict.SHORT), _answer("a", Verdict.AT_RISK), _answer("c")], "cab"),
        ([_answer("a", unknown=2, left=90), _answer("b", unknown=1, left=10)], "ba"),
        ([_answer("a", left=10), _answer("b", left=20)], "ba"),
        ([_answer("b"), _answer("a")], "ab"),
        ([_answer("a", Verdict.UNKNOWN), _answer("b", Verdict.SHORT), _answer("c", Verdict.AT_RISK)], "cab"),
        ([_answer(name) for name in "dcba"], "abc"),  # at most three
        # All short: the smallest shortage first, whatever stays free.
        ([_answer("a", Verdict.SHORT, 90, missing=5), _answer("b", Verdict.SHORT, 1, missing=2)], "ba"),
        # Not all short: the plain order.
        ([_answer("a", Verdict.SHORT, 90, missing=5), _answer("b", Verdict.SHORT, 1, missing=2), _answer("c")], "cab"),
        ([], ""),
    ],
)
def test_order(answers: list[Answer], order: str) -> None:
    for given in (answers, answers[::-1]):
        assert "".join(each.cluster for each in rank(given).clusters) == order


def test_none_fits_is_said_only_if_all_are_short() -> None:
    short = _answer("a", Verdict.SHORT, missing=1)
    assert rank([short]).none_fits
    assert not rank([short, _answer("b", Verdict.UNKNOWN)]).none_fits
    assert not rank([]).none_fits


def _managed(name: str, available: str = "True") -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "status": {
            "conditions": [{"type": "ManagedClusterConditionAvailable", "status": available}],
            "allocatable": {"memory": "1Ei"},
        },
    }


def test_candidates_are_filtered_and_never_ranked_by_size() -> None:
    fleet = [_managed("d"), _managed("b"), _managed("a"), _managed("c", "False"), {"metadata": {"name": "e"}}]
    good, out = candidates(fleet, "a", frozenset({"a", "b", "c"}))
    assert good == ("b",)
    assert dict(out) == {
        "a": "source of the plan",
        "c": "ManagedClusterConditionAvailable is False",
        "d": "no migration provider leads to it",
        "e": "ManagedClusterConditionAvailable is missing",
    }
    assert candidates(fleet, "a")[0] == ("b", "d")


def _plan(name: str, source: str = "east", executing: str = "True", *states: str) -> dict[str, Any]:
    times = {"waiting": {}, "moving": {"started": "x"}, "done": {"started": "x", "completed": "y"}}
    return {
        "metadata": {"namespace": "mtv", "name": name},
        "spec": {"provider": {"source": {"namespace": "mtv", "name": source}}},
        "status": {
            "conditions": [{"type": "Executing", "status": executing}],
            "migration": {"vms": [times[state] for state in states]},
        },
    }


def test_in_flight_counts_all_executing_plans_of_the_source() -> None:
    mine = _plan("mine", "east", "True", "moving", "waiting", "done")
    others = [
        _plan("other", "east", "True", "moving", "moving", "waiting"),
        _plan("idle", "east", "False", "moving"),
        _plan("elsewhere", "west", "True", "moving"),
    ]
    flows = [flow_of(each) for each in (mine, *others)]
    fact = in_flight(flows, mine, 3)
    assert (fact.moving, fact.waiting, fact.ahead, fact.full) == (3, 2, 3, True)
    assert fact.plans == ("mtv/mine", "mtv/other")
    assert not in_flight(flows, mine).full
    assert in_flight(flows, {}).plans == ()  # a plan without a source has no company
