"""The demo's stand-in API server, asked by the service's own client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from receiver.enrichers.planstate import plan_phase, run_name
from receiver.kube import ClusterError, PlanEvent
from receiver.kube.client import LiveCluster
from receiver.model import PlanPhase
from receiver.sandbox import incident
from receiver.sandbox.cluster import SampleCluster, kubeconfig, shifted
from receiver.sandbox.processes import serving

pytestmark = pytest.mark.anyio

MUST_GATHER = Path(__file__).parents[3] / "examples" / "must-gather"
NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
UID = "3f0c3d0e-6c55-4f0a-9c1b-0a7a5a2e41d1"


@pytest.fixture
def sample() -> SampleCluster:
    return SampleCluster.from_must_gather(MUST_GATHER, incident.shift_to(NOW))


@pytest.fixture
async def client(sample: SampleCluster, tmp_path: Path) -> AsyncIterator[LiveCluster]:
    async with serving(sample.app()) as port:
        (tmp_path / "kubeconfig").write_text(kubeconfig(port))
        cluster = LiveCluster.from_kubeconfig("sample", tmp_path / "kubeconfig")
        yield cluster
        await cluster.aclose()


async def test_objects_and_logs_can_be_read(client: LiveCluster) -> None:
    assert await client.version() == "v1.33.0-sample"
    (plan,) = await client.find_plans("erp-wave1")
    assert plan["metadata"]["uid"] == UID
    assert await client.find_plans("other") == ()
    assert await client.get_plan("mig-team-a", "other") is None
    pods = await client.list("Pod", "erp-prod", label_selector=f"plan={UID},vmID in (vm-1402)")
    assert [pod["metadata"]["name"] for pod in pods] == ["erp-wave1-vm-1402-d8f6k"]
    any_plans = await client.list("Pod", "erp-prod", label_selector="plan,vmID")  # as many stories ask together
    assert len(any_plans) == 2
    assert await client.list("Pod", "erp-prod", label_selector="nobody-has-this") == ()
    log = await client.log("erp-prod", "erp-wave1-vm-1402-d8f6k", "virt-v2v", tail_lines=2)
    assert len(log.splitlines()) == 2
    assert await client.list("Job", "mig-team-a") == ()


async def test_the_log_of_a_run_before_is_not_there(client: LiveCluster) -> None:
    with pytest.raises(ClusterError) as caught:
        await client.log("erp-prod", "erp-wave1-vm-1402-d8f6k", "virt-v2v", previous=True)
    assert caught.value.reason == "not found"


async def test_the_watch_tells_of_a_new_run_and_of_its_success(client: LiveCluster, sample: SampleCluster) -> None:
    told: asyncio.Queue[PlanEvent] = asyncio.Queue()

    async def state(*, failed: bool, executing: bool, succeeded: bool) -> None:
        async with asyncio.timeout(10):
            while True:
                row = (await told.get()).row
                if row and (row.failed, row.executing, row.succeeded) == (failed, executing, succeeded):
                    return

    watching = asyncio.create_task(client.watch(told.put_nowait))
    await state(failed=True, executing=False, succeeded=False)
    incident.run_again(sample, NOW)
    await state(failed=False, executing=True, succeeded=False)
    incident.succeed(sample, NOW + timedelta(minutes=5))
    await state(failed=False, executing=False, succeeded=True)
    watching.cancel()


def test_the_plan_fails_now_and_runs_again_under_another_migration(sample: SampleCluster) -> None:
    plan = sample.get(*incident.PLAN)
    assert plan["status"]["migration"]["completed"] == "2026-11-01T12:00:00Z"
    assert (plan_phase(plan), run_name(plan)) == (PlanPhase.FAILED, "erp-wave1-7k2qp")
    incident.run_again(sample, NOW)
    again = sample.get(*incident.PLAN)
    assert (plan_phase(again), run_name(again)) == (PlanPhase.EXECUTING, "erp-wave1-m4x8t")
    assert [vm["name"] for vm in again["status"]["migration"]["vms"] if not vm["conditions"]] == ["erp-win01"]
    incident.succeed(sample, NOW)
    done = sample.get(*incident.PLAN)
    assert plan_phase(done) is PlanPhase.SUCCEEDED
    assert all(vm["conditions"][0]["type"] == "Succeeded" for vm in done["status"]["migration"]["vms"])


def test_times_are_moved_and_everything_else_stays() -> None:
    moved = shifted("at '2026-09-14T08:29:44Z', 2026-09-14T08:29:44.25Z; version 2026-09-14", timedelta(days=1))
    assert moved == "at '2026-09-15T08:29:44Z', 2026-09-15T08:29:44.25Z; version 2026-09-14"


async def test_namespaces_can_be_followed_and_told_something(client: LiveCluster, sample: SampleCluster) -> None:
    label = {"example.com/routing": "true"}
    named = {"name": "routing", "namespace": "shop"}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"receiver": "a"}}
    told: asyncio.Queue[str] = asyncio.Queue()

    async def wished() -> dict[str, str] | None:
        async with asyncio.timeout(10):
            while await told.get() != "shop":  # the sample has namespaces of its own
                pass
        row = client.namespaces().of("shop")
        return None if row is None else dict(row.wishes)

    sample.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "annotations": {"a": "b"}}})
    following = asyncio.create_task(client.follow_namespaces("example.com", told.put_nowait))
    assert await wished() == {}
    sample.put({**config, "metadata": {**named, "labels": label}})
    assert await wished() == {"receiver": "a"}
    sample.put({**config, "metadata": {**named, "labels": {}}})
    assert await wished() == {}
    following.cancel()
    assert await client.tell("shop", "one", "RoutingRefused", "no")
    assert not await client.tell("shop", "one", "RoutingRefused", "no")
    (event,) = await client.list("Event", "shop")
    assert event["message"] == "no"
