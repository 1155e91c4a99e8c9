"""One list for all who wait; an answer is never older than the wait of whoever gets it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from receiver.kube import ClusterError
from receiver.kube.lean import lean
from receiver.kube.plans import PlanIndex, PlanRow
from receiver.kube.selectors import label_test, widened
from receiver.kube.sharing import OWN_KEYS, SharedCluster
from receiver.kube.whole import WholePlans
from tests.unit.enrichers.cluster import MemoryCluster, pod

pytestmark = pytest.mark.anyio

LONG = 30.0


def two_plans() -> MemoryCluster:
    return MemoryCluster([pod(f"pod-{uid}", "prod", {"plan": uid, "vmID": "vm-1"}) for uid in ("a", "b")])


async def names(cluster: Any, uid: str) -> list[str]:
    found = await cluster.list("Pod", "prod", label_selector=f"plan={uid},vmID in (vm-1)")
    return [one["metadata"]["name"] for one in found]


async def test_stories_of_a_namespace_share_one_list_and_each_sees_its_own_objects() -> None:
    cluster = two_plans()
    shared = SharedCluster(cluster)
    views = [shared.for_one_waiting(LONG) for _ in range(3)]
    answers = await asyncio.gather(*(names(view, uid) for view, uid in zip(views, "aba", strict=True)))
    assert answers == [["pod-a"], ["pod-b"], ["pod-a"]]
    assert cluster.asked == [("list", "Pod", "prod", "plan,vmID")]


async def test_a_story_never_gets_an_answer_from_before_it_waited() -> None:
    cluster = two_plans()
    shared = SharedCluster(cluster)
    await names(shared.for_one_waiting(LONG), "a")
    await asyncio.sleep(0)
    await names(shared.for_one_waiting(-1.0), "a")
    assert len(cluster.asked) == 2


async def test_a_refusal_is_shared_and_asked_again_by_the_next_who_waits() -> None:
    cluster = two_plans()
    cluster.refuse["list", "Pod"] = ClusterError("forbidden", "no")
    shared = SharedCluster(cluster)
    for _ in range(2):
        with pytest.raises(ClusterError):
            await names(shared.for_one_waiting(LONG), "a")
    assert len(cluster.asked) == 1
    cluster.refuse.clear()
    assert await names(shared.for_one_waiting(-1.0), "a") == ["pod-a"]


async def test_whoever_gives_up_waiting_does_not_take_the_answer_from_the_others() -> None:
    cluster = two_plans()
    cluster.hang.add(("list", "Pod"))
    shared = SharedCluster(cluster)
    impatient = asyncio.create_task(names(shared.for_one_waiting(LONG), "a"))
    patient = asyncio.create_task(names(shared.for_one_waiting(LONG), "b"))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    assert not patient.done()
    await shared.aclose()
    with pytest.raises(asyncio.CancelledError):
        await patient


async def test_no_more_is_kept_than_fits() -> None:
    cluster = MemoryCluster([pod(f"pod-{number}", "prod", {"plan": "a"}) for number in range(5)])
    shared = SharedCluster(cluster, kept_objects=4)
    for _ in range(2):
        assert len(await shared.for_one_waiting(LONG).list("Pod", "prod", label_selector="plan=a")) == 5
        await asyncio.sleep(0)
    assert len(cluster.asked) == 2, "too large to be kept"


@pytest.mark.parametrize(
    ("selector", "wide"),
    [
        ("plan=a,vmID in (x,y)", "plan,vmID"),
        ("plan=a,plan!=b", "plan,plan!=b"),
        ("app=forklift,plan=a", "app=forklift,plan"),
        ("job-name in (a,b)", "job-name"),
        ("!plan", "!plan"),
        ("", ""),
    ],
)
def test_a_widened_selector_finds_at_least_the_same(selector: str, wide: str) -> None:
    assert widened(selector, OWN_KEYS) == wide
    every = [{"plan": "a", "vmID": "x", "app": "forklift", "job-name": "a"}, {"plan": "c", "vmID": "x"}, {}]
    narrow, loose = label_test(selector), label_test(wide)
    assert all(loose({"metadata": {"labels": labels}}) for labels in every if narrow({"metadata": {"labels": labels}}))


def test_shared_pods_lose_their_volumes_and_keep_names_images_and_states() -> None:
    spec = {
        "containers": [{"name": "virt-v2v", "image": "v", "env": [{"name": "A"}]}],
        "volumes": [{}],
        "nodeName": "n",
    }
    slim = lean({"kind": "Pod", "metadata": {"name": "p"}, "spec": spec, "status": {"phase": "Failed"}})
    assert slim["spec"] == {"nodeName": "n", "containers": [{"name": "virt-v2v", "image": "v"}]}
    assert slim["status"] == {"phase": "Failed"}


@pytest.mark.parametrize("kind", ["Pod", "Migration", "VirtualMachine", "Event", None])
@pytest.mark.parametrize("broken", [None, 7, [], {"vms": 3}, {"vms": [1, {"pipeline": "x"}], "containers": [2]}])
def test_objects_of_wrong_types_survive_being_reduced(kind: str | None, broken: object) -> None:
    lean({"kind": kind, "spec": broken, "status": broken})


def row(version: str) -> PlanRow:
    return PlanRow("u", "team", "p", {}, {}, True, False, False, True, None, version)


def whole(version: str) -> dict[str, Any]:
    return {"kind": "Plan", "metadata": {"name": "p", "namespace": "team", "resourceVersion": version}}


def test_a_whole_plan_is_taken_again_only_while_the_watch_knows_no_newer_one() -> None:
    index = PlanIndex()
    plans = WholePlans(index)
    plans.keep("team", "p", whole("7"))
    assert plans.find("team", "p") is None, "the watch is not up to date"
    index.synced = True
    index.put(row("7"))
    assert plans.find("team", "p") == whole("7")
    index.put(row("8"))
    assert plans.find("team", "p") is None
    plans.keep("team", "p", whole("8"))
    index.problem = "away"
    assert plans.find("team", "p") is None


def test_whole_plans_beyond_the_bytes_that_are_kept_are_forgotten() -> None:
    index = PlanIndex()
    index.synced = True
    index.put(row("7"))
    plans = WholePlans(index, kept_bytes=10)
    plans.keep("team", "p", whole("7"))
    assert plans.find("team", "p") is None
