"""The words of MTVPlanCapacityShort, and which Plans are looked at."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from receiver.capacity import Answer, Compute, Part, Proof, Ranking, Scope, Shortage, Verdict
from receiver.config.model import CAPACITY_SHORT, ClusterConfig
from receiver.kube import PlanRow
from receiver.room.result import PlanCapacity
from receiver.shortages import LAST, may_lack, notice
from receiver.waits_pace import Turns
from receiver.watch_rules import Notice, Standing, judge

GIB = 1024**3
AT = datetime(2026, 11, 21, tzinfo=UTC)


def lacking(*short: Shortage) -> PlanCapacity:
    """Return what is said of a plan that lacks this."""
    compute = Compute(Part("compute", Verdict.SHORT, short))
    nothing = Part("storage", Verdict.FITS)
    answer = Answer("west", Verdict.SHORT, compute, nothing, nothing, {})
    return PlanCapacity("team-a/wave-3", "payments", "east", AT, answer, Ranking(()), (), (), {}, (), 3)


@pytest.mark.parametrize(
    ("short", "headline"),
    [
        (
            Shortage("memory", Scope.NODE, "pay-db-01", 33 * GIB, 28 * GIB, Proof.NO_NODE, "w1"),
            "west lacks 5.00 GiB memory on one node for pay-db-01: plan wave-3 does not fit",
        ),
        (
            Shortage("memory", Scope.CLUSTER, "plan", 90 * GIB, 60 * GIB, Proof.SUM),
            "west lacks 30.00 GiB memory (all nodes): plan wave-3 does not fit",
        ),
        (
            Shortage("memory", Scope.NODE, "pay-db-01", 33 * GIB, 28 * GIB, Proof.PACKING, "w1"),
            "west probably lacks 5.00 GiB memory on one node for pay-db-01: plan wave-3 does not fit",
        ),
        (
            Shortage("storage", Scope.STORAGE_CLASS, "plan", 521 * GIB, None, Proof.MISSING, "array-gold"),
            "west has no storage class array-gold: plan wave-3 does not fit",
        ),
        (
            Shortage(
                "cpu", Scope.PLACEMENT, "pay-db-01", 800, None, Proof.NOT_ELIGIBLE, "", "", "3 nodes are cordoned"
            ),
            "No node of west may take pay-db-01: plan wave-3 does not fit",
        ),
    ],
)
def test_a_headline_says_what_is_missing_and_where(short: Shortage, headline: str) -> None:
    assert notice(lacking(short)).summary == headline


def test_what_is_certain_comes_before_what_is_probable_and_the_rest_is_counted() -> None:
    probable = Shortage("memory", Scope.NODE, "a", 90 * GIB, 1 * GIB, Proof.PACKING, "w1")
    certain = [Shortage("cpu", Scope.NODE, f"vm-{at}", 2_000, 1_000, Proof.NO_NODE, "w1") for at in range(6)]
    said = notice(lacking(probable, *certain))
    assert said.summary.startswith("west lacks 1 CPU on one node for vm-0")
    assert said.description.splitlines()[5] == "And 2 more."
    assert "mtv-receiver capacity plan team-a/wave-3" in said.description


def row(**columns: bool) -> PlanRow:
    flags = {"ready": False, "executing": False, "succeeded": False, "failed": False, **columns}
    return PlanRow("u", "n", "p", {}, {}, canceled=None, resource_version="1", **flags)


@pytest.mark.parametrize(
    ("columns", "looked_at"),
    [
        ({"ready": True}, True),
        ({"ready": True, "executing": True}, True),
        ({"executing": True}, True),
        ({"ready": True, "failed": True, "executing": True}, True),
        ({"ready": True, "failed": True}, False),
        ({"ready": True, "succeeded": True}, False),
        ({}, False),
    ],
)
def test_a_plan_is_looked_at_while_it_could_start_or_runs(columns: dict[str, bool], *, looked_at: bool) -> None:
    assert may_lack(row(**columns)) is looked_at


def quota(short_by: int, owner: str = "payments/payments-quota", generation: int = 1) -> Notice:
    short = Shortage("requests.memory", Scope.QUOTA, "plan", 50 * GIB, (50 - short_by) * GIB, Proof.SUM, owner)
    return notice(lacking(short), generation)


@pytest.mark.parametrize(
    ("now", "news"),
    [
        (quota(9), False),  # a pod came or went
        (quota(9, owner="payments/second"), True),
        (quota(10, generation=2), True),
    ],
)
def test_only_another_kind_of_shortage_or_a_changed_plan_is_said_anew(now: Notice, *, news: bool) -> None:
    plan, cluster = row(ready=True), ClusterConfig("hub")
    raised = judge(Standing((), plan, notices={CAPACITY_SHORT: quota(10)}), cluster, AT, [CAPACITY_SHORT])
    assert len(raised) == 1
    again = judge(Standing(raised, plan, notices={CAPACITY_SHORT: now}), cluster, AT, [CAPACITY_SHORT])
    assert bool(again) is news


def test_the_node_that_comes_closest_may_be_another_one_without_any_news() -> None:
    one, other = (
        notice(lacking(Shortage("memory", Scope.NODE, "pay-db-01", 33 * GIB, 28 * GIB, Proof.NO_NODE, node)))
        for node in ("w1", "w2")
    )
    assert one.result == other.result


def test_who_is_judged_again_comes_after_those_that_nobody_has_judged() -> None:
    turns = Turns(per_minute=100)
    turns.add("again", 0.0, newest=LAST)
    turns.add("of before our start", 1.0, newest=17)
    turns.add("new", 2.0)
    order = []
    while (name := turns.next(5.0)) is not None:
        order.append(name)
        turns.remove(name)
    assert order == ["new", "of before our start", "again"]


def test_a_command_names_the_cluster_that_it_would_not_ask_by_itself() -> None:
    short = lacking(Shortage("memory", Scope.CLUSTER, "plan", 90 * GIB, 60 * GIB, Proof.SUM))
    assert notice(short).description.endswith("mtv-receiver capacity plan team-a/wave-3")
    assert notice(short, cluster="hub-2").description.endswith("capacity plan team-a/wave-3 --cluster hub-2")
