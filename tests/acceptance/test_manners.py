"""A guest in the cluster: what a storm of failures, and a night without any, cost the API server.

Counted at the fake API server, whole: identity, evidence, watch. The figures stand in docs/architecture.md.
"""

from __future__ import annotations

import asyncio
import copy
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.acceptance.harness import Running, alert, failed, pagerduty, routes_yaml, running
from tests.acceptance.plans import ERP, cluster, plan, run_of, top, watched
from tests.fakes.kubernetes import KubernetesApi
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

LOG = "libguestfs: trace: v2v: x\nvirt-v2v: error: inspection could not detect the source guest\n"
READS = ("get", "list")


def uid_of(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def storm_plan(number: int, spaces: int) -> dict[str, Any]:
    """Return a failed Plan of the storm: one VM good, one failed at its conversion."""
    space = number % spaces
    found = plan(uid=uid_of(number), name=f"plan-{number:04}", namespace=f"mig-{space:02}")
    found["spec"]["targetNamespace"] = f"prod-{space:02}"
    return found


def storm_pod(number: int, spaces: int) -> dict[str, Any]:
    """Return the conversion pod that failed for it."""
    pods = (one for one in yaml.safe_load_all(ERP.read_text()) if one["kind"] == "Pod")
    found: dict[str, Any] = next(copy.deepcopy(one) for one in pods if one["metadata"]["labels"]["vmID"] == "vm-1402")
    found["metadata"] |= {"name": f"plan-{number:04}-vm-1402-x", "namespace": f"prod-{number % spaces:02}"}
    found["metadata"].pop("uid", None)
    found["metadata"]["labels"] |= {"plan": uid_of(number), "plan-name": f"plan-{number:04}", "migration": run_of(1)}
    return found


async def storm(api: KubernetesApi, plans: int, spaces: int) -> None:
    """Put the Plans there, with a pod and its log each."""
    for number in range(plans):
        await api.apply(storm_plan(number, spaces))
        pod = storm_pod(number, spaces)
        await api.apply(pod)
        api.set_log(pod["metadata"]["namespace"], pod["metadata"]["name"], "virt-v2v", LOG)


def read_stories(service: Running) -> int:
    """Return how many stories have their evidence and want no more."""
    with closing(sqlite3.connect(service.folder / "test.db")) as database:
        query = "SELECT count(*) FROM stories WHERE evidence IS NOT NULL AND gather_due IS NULL"
        count: int = database.execute(query).fetchone()[0]
        return count


def cost(api: KubernetesApi) -> tuple[int, int, int]:
    """Return (calls beyond logs, log reads, bytes of both) since the counters were cleared."""
    calls = sum(count for (verb, resource), count in api.calls.items() if verb in READS and resource != "pods/log")
    logs = api.calls["get", "pods/log"]
    return calls, logs, sum(size for (verb, _), size in api.bytes_sent.items() if verb in READS)


@pytest.mark.slow
async def test_a_storm_of_a_thousand_plans_costs_little_more_than_their_plans_and_logs(tmp_path: Path) -> None:
    plans, spaces = 1_000, 50
    await cost_of_storm(tmp_path, plans, spaces)


async def test_a_storm_in_few_namespaces_lists_each_of_them_once(tmp_path: Path) -> None:
    await cost_of_storm(tmp_path, 60, 3)


async def cost_of_storm(folder: Path, plans: int, spaces: int) -> None:
    async with FakeVendors() as vendors, cluster(folder) as api:
        await storm(api, plans, spaces)
        receivers = f"- name: platform\n  {pagerduty()}\n"
        config = routes_yaml(vendors, folder, top=top(evidence_timeout="10s", digest_after="0"), receivers=receivers)
        async with running(config, vendors) as service:
            await watched(api, service)
            api.calls.clear()
            api.bytes_sent.clear()
            api.most_in_flight = 0
            for first in range(0, plans, 50):
                numbers = range(first, min(first + 50, plans))
                await service.post(*(alert(failed(uid_of(one), f"plan-{one:04}")) for one in numbers))

            async def all_read() -> bool:
                return read_stories(service) == plans

            await service.until(all_read, timeout=240)
            calls, logs, size = cost(api)
            most = api.most_in_flight
            print(f"\n{plans} plans, {spaces} namespaces: {calls} calls, {logs} logs, {size:,} bytes, {most} at once")
            print(dict(api.calls.most_common()))
            assert logs == plans
            assert calls <= 1.5 * plans
            assert most <= 10


def executing(number: int, vms: int) -> dict[str, Any]:
    """Return a Plan that migrates so many VMs."""
    found = plan("Executing", uid=uid_of(number), name=f"busy-{number}")
    template = found["status"]["migration"]["vms"][0]
    found["status"]["migration"]["vms"] = [
        {**copy.deepcopy(template), "id": f"vm-{one}", "name": f"app-{one}", "conditions": []} for one in range(vms)
    ]
    return found


async def test_plans_that_execute_cost_rows_and_not_plans_while_no_story_is_open(tmp_path: Path) -> None:
    """A tenth of the plans, with every update of a minute: the whole of it is ten times as much."""
    plans, updates, share = 2, 20, 10
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        busy = [executing(number, 500) for number in range(plans)]
        size = len(json.dumps(busy[0]))
        for one in busy:
            await api.apply(one)
        async with running(routes_yaml(vendors, tmp_path, top=top()), vendors) as service:
            await watched(api, service)
            for update in range(1, updates + 1):
                for one in busy:
                    one["status"]["migration"]["vms"][0]["pipeline"][0]["progress"] = {"completed": update, "total": 99}
                    await api.apply(one)
                    api.history.clear()  # each holds a whole Plan
                await asyncio.sleep(0)
            rows = plans * updates
            await api.until(lambda: sent(api, "watch") >= rows * 500)
            read = sum(api.bytes_sent.values()) * share
            whole = size * rows * share
            print(f"\n{plans * share} plans of 500 VMs, a minute: {read:,} bytes read; whole plans: {whole:,}")
            assert read <= 5_000_000 < whole
            assert not await service.stories()


def sent(api: KubernetesApi, verb: str) -> int:
    return sum(size for (one, _), size in api.bytes_sent.items() if one == verb)
