"""A guest in the cluster: what a storm of failures, and a night without any, cost the API server.

Counted at the fake API server, whole: identity, evidence, watch. The figures stand in docs/architecture.md.
"""

from __future__ import annotations

import asyncio
import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from receiver.build import clusters
from receiver.clock import SystemClock
from receiver.config.load import load
from receiver.destinations.registry import ALL
from receiver.enrichers.evidence import gather_plan
from receiver.enrichers.redact import Redactor
from receiver.identify import Identifier
from receiver.kube.sharing import SharedCluster
from receiver.model import Evidence
from tests.acceptance.harness import Running, alert, failed, pagerduty, routes_yaml, running, slack
from tests.acceptance.plans import ERP, NAMESPACE, cluster, plan, run_of, top, watched
from tests.databases import ask
from tests.fakes.kubernetes import KubernetesApi
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

LOG = "libguestfs: trace: v2v: x\nvirt-v2v: error: inspection could not detect the source guest\n"
READS = ("get", "list")
NOW = datetime(2026, 9, 14, 8, 30, tzinfo=UTC)


def uid_of(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


async def storm(api: KubernetesApi, plans: int, spaces: int) -> None:
    """Put failed Plans there, one VM good and one failed at its conversion, with the pod that failed and its log."""
    pods = (one for one in yaml.safe_load_all(ERP.read_text()) if one["kind"] == "Pod")
    a_pod = next(one for one in pods if one["metadata"]["labels"]["vmID"] == "vm-1402")
    a_pod["metadata"].pop("uid", None)
    a_plan = plan()
    for number in range(plans):
        name, team, target = f"plan-{number:04}", f"mig-{number % spaces:02}", f"prod-{number % spaces:02}"
        a_plan["metadata"] |= {"uid": uid_of(number), "name": name, "namespace": team}
        a_plan["spec"]["targetNamespace"] = target
        await api.apply(a_plan)  # it keeps a copy
        a_pod["metadata"] |= {"name": f"{name}-vm-1402-x", "namespace": target}
        a_pod["metadata"]["labels"] |= {"plan": uid_of(number), "plan-name": name, "migration": run_of(1)}
        await api.apply(a_pod)
        api.set_log(target, f"{name}-vm-1402-x", "virt-v2v", LOG)


def read_stories(service: Running) -> int:
    """Return how many stories have their evidence and want no more."""
    query = "SELECT count(*) FROM stories WHERE evidence IS NOT NULL AND gather_due IS NULL"
    ((count,),) = ask(service.folder, query)
    return int(count)


def cost(api: KubernetesApi) -> tuple[int, int, int]:
    """Return (calls beyond logs, log reads, bytes of both) since the counters were cleared."""
    calls = sum(count for (verb, resource), count in api.calls.items() if verb in READS and resource != "pods/log")
    logs = api.calls["get", "pods/log"]
    return calls, logs, sum(size for (verb, _), size in api.bytes_sent.items() if verb in READS)


ROOM = 20
"""Calls that tell of one plan's target what is free there."""


@pytest.mark.slow
async def test_a_storm_of_a_thousand_plans_costs_little_more_than_their_plans_and_logs(tmp_path: Path) -> None:
    """Identity and evidence of each, eight at a time, as the service reads them; all have waited since the start."""
    plans, spaces = 1_000, 50
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await storm(api, plans, spaces)
        config = load(routes_yaml(vendors, tmp_path, top=top()), ALL)
        local = clusters(config)["local"]
        redactor = Redactor()
        identifier = Identifier(config, {"local": local}, SystemClock(), redactor.text)
        shared = SharedCluster(local)
        watch = asyncio.create_task(local.watch(lambda event: None))
        gate = asyncio.Semaphore(8)
        began = asyncio.get_running_loop().time()
        try:
            await api.until(lambda: bool(api.watchers))

            async def one(number: int) -> Evidence:
                async with gate:
                    identity, _ = await identifier.look_up("local", uid_of(number), "", f"plan-{number:04}")
                    view = shared.for_one_waiting(asyncio.get_running_loop().time() - began)
                    return await gather_plan(view, identity, {}, redactor=redactor, now=NOW, timeout_s=30.0)

            evidence = await asyncio.gather(*(one(number) for number in range(plans)))
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            await identifier.aclose()
            await shared.aclose()
            await local.aclose()
        assert all(found.complete and len(found.logs) == 1 for found in evidence)
        frugal(api, plans, spaces)


async def test_a_storm_in_few_namespaces_lists_each_of_them_once(tmp_path: Path) -> None:
    """The whole service, with a page for each."""
    plans, spaces = 60, 3
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await storm(api, plans, spaces)
        receivers = f"- name: platform\n  {pagerduty()}\n"
        config = routes_yaml(vendors, tmp_path, top=top(evidence_timeout="10s", digest_after="0"), receivers=receivers)
        async with running(config, vendors) as service:
            await watched(api, service)
            await service.post(*(alert(failed(uid_of(one), f"plan-{one:04}")) for one in range(plans)))

            async def all_read() -> bool:
                return read_stories(service) == plans

            await service.until(all_read, timeout=60)
            frugal(api, plans, spaces)


def frugal(api: KubernetesApi, plans: int, spaces: int) -> None:
    """At most one and a half calls for a failed plan beyond its log, one look at the room, ten at once; print them."""
    calls, logs, size = cost(api)
    print(f"\n{plans} plans, {spaces} namespaces: {calls} calls, {logs} logs, {size:,} B, {api.most_in_flight} at once")
    print(dict(api.calls.most_common()))
    assert plans <= logs <= 1.1 * plans  # one that a busy machine made too slow is read again
    assert calls <= 1.5 * plans + ROOM
    assert api.most_in_flight <= 10


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


async def test_a_vm_that_run_one_left_off_leads_the_message_and_chooses_the_route(tmp_path: Path) -> None:
    """Run 2 found it off and says so; whoever trusts that alone calls it no impact."""
    first, second = plan(), plan(runs=2)
    history = second["status"]["migration"]["history"]
    vms = copy.deepcopy(first["status"]["migration"]["vms"])
    migration = {
        "apiVersion": "forklift.konveyor.io/v1beta1",
        "kind": "Migration",
        "metadata": {**history[0]["migration"], "namespace": NAMESPACE},
        "status": {"vms": vms},
    }
    second["status"]["migration"]["vms"][-1]["restorePowerState"] = "Off"
    receivers = f"- name: platform\n  {slack('#platform')}\n- name: oncall\n  {slack('#oncall')}\n  {pagerduty()}\n"
    route = """
  receiver: platform
  routes:
    - {matchers: ['impact="down"'], receiver: oncall}
"""
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await api.apply(second)
        await api.apply(migration)
        config = routes_yaml(vendors, tmp_path, top=top(), receivers=receivers, route=route)
        async with running(config, vendors) as service:
            await watched(api, service)
            await service.post(alert(failed()))
            await vendors.until(lambda v: v.slack_roots("#oncall") and v.incidents(), timeout=15)
            await service.idle()
            for channel in ("#oncall", "#platform"):
                (message,) = vendors.slack_roots(channel)
                header = next(block["text"]["text"] for block in message.blocks if block["type"] == "header")
                assert "VM down" in header[:12]
                assert "VM down" in message.text[:12]
                assert "was On before run 1 and is off since then" in json.dumps(message.blocks)
            (story,) = await service.stories()
            assert story["impact"] == "down"
            (incident,) = vendors.incidents()
            assert "VM DOWN" in json.dumps(incident.payload, ensure_ascii=False)


def sent(api: KubernetesApi, verb: str) -> int:
    return sum(size for (one, _), size in api.bytes_sent.items() if one == verb)
