"""What no alert tells: a VM that failed while its plan still runs, and a failed plan that no alert follows."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.harness import PLAN_UID, Running, alert, failed, routes_yaml, running
from tests.acceptance.plans import POD, cluster, load_example, plan, run_of, top, watched
from tests.databases import ask
from tests.fakes.kubernetes import KubernetesApi
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

EXECUTING = {"type": "Executing", "status": "True", "category": "Advisory", "message": "The plan is EXECUTING."}


def half_failed(runs: int = 1) -> dict[str, Any]:
    """Return the example Plan in the hour in which erp-win01 has failed and erp-web01 is still copied."""
    found = plan("Failed", runs=runs)
    ready, _ = found["status"]["conditions"]
    found["status"]["conditions"] = [ready, EXECUTING]
    migration = found["status"]["migration"]
    migration.pop("completed", None)
    migration["history"][-1]["conditions"] = []
    running_vm = next(vm for vm in migration["vms"] if "error" not in vm)
    running_vm.pop("completed", None)
    running_vm |= {"conditions": [], "phase": "CopyDisks"}
    return found


async def begin(api: KubernetesApi) -> None:
    """A plan executes, nothing failed yet, and there is no pod that failed."""
    await load_example(api)
    await api.delete("Pod", *POD[:2])
    await api.apply(plan("Executing"))


async def fail_a_vm(api: KubernetesApi, runs: int = 1) -> None:
    """The conversion pod of erp-win01 fails, and Forklift writes it into the Plan."""
    fresh = KubernetesApi()
    await load_example(fresh)
    pod = next(one for key, one in fresh.objects.items() if key[1:] == POD[:2])
    assert pod["status"]["phase"] == "Failed"
    pod["metadata"]["labels"]["migration"] = run_of(runs)
    await api.apply(pod)
    await api.apply(half_failed(runs))


def shown(message: Any) -> str:
    return f"{message.text}\n{json.dumps(message.blocks, ensure_ascii=False)}"


async def names(service: Running) -> dict[str, str]:
    """Return the alerts of the only story: name → status."""
    (story,) = await service.stories()
    return {one["labels"]["alertname"]: one["status"] for one in story["alerts"]}


async def evidence_read(service: Running) -> bool:
    return any(one["change"] == "evidence" for story in await service.stories() for one in story["timeline"])


async def test_a_vm_that_fails_while_its_plan_runs_is_paged_with_its_log_and_joins_the_later_alert(
    tmp_path: Path,
) -> None:
    """The whole life: page, pods gone, Forklift's alert at last, a new run, its success. One incident."""
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await begin(api)
        async with running(routes_yaml(vendors, tmp_path, top=top()), vendors) as service:
            await watched(api, service)
            await fail_a_vm(api)
            await vendors.until(lambda v: v.slack_roots() and v.incidents(), timeout=10)
            await service.until(lambda: evidence_read(service))
            await service.idle()
            (story,) = await service.stories()
            assert story["subject"] == f"plan/{PLAN_UID}"
            assert story["severity"] == "critical"  # it was on and is off: a service is down
            assert await names(service) == {"MTVVMFailed": "firing"}
            assert "erp-win01" in shown(vendors.slack_roots()[0])
            log = "virt-v2v: error:"
            assert any(log in shown(one) for one in (*vendors.slack_roots(), *vendors.slack_replies()))

            await api.delete("Pod", *POD[:2])
            await api.apply(plan("Failed"))
            await service.until(lambda: read_as(service, "Failed"))
            await service.post(alert(failed()))
            await service.until(lambda: named(service, {"MTVVMFailed": "resolved", "MigrationFailed": "firing"}))
            await service.idle()
            (story,) = await service.stories()
            assert story["state"] == "firing"
            assert log in json.dumps(evidence(service)["logs"])
            assert any(log in shown(one) for one in (*vendors.slack_roots(), *vendors.slack_replies()))
            assert len(vendors.incidents()) == len(vendors.slack_roots()) == 1

            await api.apply(plan("Executing", runs=2))
            await service.until_state("re-running")
            await service.post(alert(failed(), "resolved"))
            await api.apply(plan("Succeeded", runs=2))
            await service.until_state("resolved", outcome="fixed")
            await service.idle()
            assert len(vendors.incidents()) == 1
            assert not vendors.incidents_open()


async def read_as(service: Running, phase: str) -> bool:
    return bool(evidence(service).get("phase") == phase)


def evidence(service: Running) -> dict[str, Any]:
    """Return the evidence of the only story, as it is stored; empty while there is none."""
    ((stored,),) = ask(service.folder, "SELECT evidence FROM stories")
    found: dict[str, Any] = json.loads(stored) if stored else {}
    return found


async def named(service: Running, wanted: dict[str, str]) -> bool:
    return await names(service) == wanted


async def test_a_failed_plan_that_no_alert_follows_is_told_once_and_handed_over_to_the_late_alert(
    tmp_path: Path,
) -> None:
    """The chain is broken, and says so; a plan that had failed before the start is no news."""
    old = plan("Failed", uid="00000000-0000-4000-8000-000000000001", name="long-ago")
    head = f"{top()}\nwatch: {{unalerted_after: 1s}}"
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await api.apply(old)
        await api.apply(plan("Executing"))
        async with running(routes_yaml(vendors, tmp_path, top=head), vendors) as service:
            await watched(api, service)
            await api.apply(plan("Failed"))
            await vendors.until(lambda v: v.incidents() and v.slack_roots(), timeout=10)
            await service.idle()
            assert await names(service) == {"MTVPlanFailedUnalerted": "firing"}
            (incident,) = vendors.incidents()
            assert "no alert came" in json.dumps(incident.payload)
            await service.post(alert(failed()))
            wanted = {"MTVPlanFailedUnalerted": "resolved", "MigrationFailed": "firing"}
            await service.until(lambda: named(service, wanted))
            await service.idle()
            (story,) = await service.stories()
            assert story["state"] == "firing"
            assert len(vendors.incidents_open()) == len(vendors.slack_roots()) == 1
            assert await service.metric('mtv_receiver_own_alerts_total{alertname="MTVPlanFailedUnalerted"}') == 1


async def test_nothing_is_said_of_a_chain_that_works(tmp_path: Path) -> None:
    """The alert came and went before the time was over; the second plan's own alert shows that the time is over."""
    head = f"{top()}\nwatch: {{unalerted_after: 2s}}"
    other = {"uid": "00000000-0000-4000-8000-000000000002", "name": "untold"}
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await api.apply(plan("Executing"))
        await api.apply(plan("Executing", **other))  # type: ignore[arg-type]
        async with running(routes_yaml(vendors, tmp_path, top=head), vendors) as service:
            await watched(api, service)
            await api.apply(plan("Failed"))
            await service.post(alert(failed()))
            await service.until_state("firing")
            await service.post(alert(failed(), "resolved"))
            await api.apply(plan("Failed", **other))  # type: ignore[arg-type]

            async def both() -> bool:
                return len(await service.stories()) == 2

            await service.until(both)
            untold, told = await service.stories()
            assert [one["labels"]["alertname"] for one in untold["alerts"]] == ["MTVPlanFailedUnalerted"]
            assert [one["labels"]["alertname"] for one in told["alerts"]] == ["MigrationFailed"]


async def test_a_restart_goes_on_with_what_fires_and_raises_nothing_twice(tmp_path: Path) -> None:
    """Stopped while the plan runs, started when it has failed: our alert holds until Alertmanager's comes."""
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await begin(api)
        config = routes_yaml(vendors, tmp_path, top=top())
        async with running(config, vendors) as service:
            await watched(api, service)
            await fail_a_vm(api)
            await vendors.until(lambda v: v.incidents(), timeout=10)
            await service.until(lambda: evidence_read(service))
            await service.idle()
        await api.apply(plan("Failed"))
        async with running(config, vendors) as service:
            await watched(api, service)
            assert await names(service) == {"MTVVMFailed": "firing"}
            await service.post(alert(failed()))
            await service.until(lambda: named(service, {"MTVVMFailed": "resolved", "MigrationFailed": "firing"}))
            assert len(vendors.incidents()) == 1
            assert await service.metric('mtv_receiver_own_alerts_total{alertname="MTVVMFailed"}') == 0


def failed_just_now(**which: str) -> dict[str, Any]:
    """Return a Plan whose run ended a minute ago."""
    found = plan("Failed", **which)  # type: ignore[arg-type]
    ended = datetime.now(UTC) - timedelta(minutes=1)
    found["status"]["migration"]["completed"] = f"{ended:%Y-%m-%dT%H:%M:%SZ}"
    return found


async def test_a_plan_that_failed_while_the_service_was_away_is_told_where_no_alert_follows(tmp_path: Path) -> None:
    """Two plans run, the service stops, both fail: one's alert comes after the start, the other's chain is broken."""
    old = plan("Failed", uid="00000000-0000-4000-8000-000000000001", name="long-ago")
    other = {"uid": "00000000-0000-4000-8000-000000000002", "name": "untold"}
    config_top = f"{top()}\nwatch: {{unalerted_after: 2s}}"
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        for one in (old, plan("Executing"), plan("Executing", **other)):  # type: ignore[arg-type]
            await api.apply(one)
        config = routes_yaml(vendors, tmp_path, top=config_top)
        async with running(config, vendors) as service:
            await watched(api, service)
            await service.post(alert({"alertname": "Unrelated", "severity": "warning"}))
            await service.until_state("firing")
        await api.apply(failed_just_now())
        await api.apply(failed_just_now(**other))
        async with running(config, vendors) as service:
            await watched(api, service)
            await service.post(alert(failed()))
            untold = {"MTVPlanFailedUnalerted"}
            await service.until(lambda: told_are(service, {"Unrelated"}, {"MigrationFailed"}, untold))
            (found,) = [one for one in await service.stories() if told_in(one) == untold]
            assert found["subject"] == f"plan/{other['uid']}"


async def test_a_new_service_says_nothing_of_what_had_failed_before_it_came(tmp_path: Path) -> None:
    """Its store never held a story; the plan that fails under its eyes shows that the time is over."""
    other = {"uid": "00000000-0000-4000-8000-000000000002", "name": "untold"}
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await api.apply(failed_just_now())
        await api.apply(plan("Executing", **other))  # type: ignore[arg-type]
        config = routes_yaml(vendors, tmp_path, top=f"{top()}\nwatch: {{unalerted_after: 1s}}")
        async with running(config, vendors) as service:
            await watched(api, service)
            await api.apply(plan("Failed", **other))  # type: ignore[arg-type]
            await service.until(lambda: told_are(service, {"MTVPlanFailedUnalerted"}))
            (story,) = await service.stories()
            assert story["subject"] == f"plan/{other['uid']}"


def told_in(story: dict[str, Any]) -> set[str]:
    return {one["labels"]["alertname"] for one in story["alerts"]}


async def told_are(service: Running, *wanted: set[str]) -> bool:
    """Tell whether these are the stories, each by the names of its alerts."""
    found = [told_in(one) for one in await service.stories()]
    return len(found) == len(wanted) and all(one in found for one in wanted)


async def test_a_plan_that_cannot_be_read_raises_nothing_until_it_can(tmp_path: Path) -> None:
    """Its failed pod is seen, the Plan is refused; what was refused is no failure."""
    plans = "plans.forklift.konveyor.io"
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await begin(api)
        await api.apply(plan("Executing", uid="00000000-0000-4000-8000-000000000003", name="busy"))
        async with running(routes_yaml(vendors, tmp_path, top=top()), vendors) as service:
            await watched(api, service)
            api.forbidden.add(("get", plans))
            await fail_a_vm(api)
            await api.until(lambda: api.calls["get", plans] >= 1)
            asked = api.calls["list", "pods"]
            await api.until(lambda: api.calls["list", "pods"] > asked)
            assert not await service.stories()


async def test_the_switch_turns_all_of_it_off(tmp_path: Path) -> None:
    """Not even failed pods are asked for; Forklift's alert, which comes in the end, is told as ever."""
    head = f"{top()}\nwatch: {{alerts: [], unalerted_after: 1ms}}"
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await begin(api)
        async with running(routes_yaml(vendors, tmp_path, top=head), vendors) as service:
            await watched(api, service)
            await fail_a_vm(api)
            await api.apply(plan("Failed"))
            await service.post(alert(failed()))
            await service.until(lambda: evidence_read(service))
            assert await names(service) == {"MigrationFailed": "firing"}
            everywhere = [one for one in api.asked if one.path == "/api/v1/pods"]
            assert not [one for one in everywhere if "status.phase=Failed" in one.query.get("fieldSelector", "")]


async def test_a_vm_that_fails_in_a_new_run_is_told_as_failed_again_with_the_new_runs_log(tmp_path: Path) -> None:
    """Run 1 failed and was told; in run 2 the VM fails while the plan runs: same incident, and nobody waits hours."""
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await load_example(api)
        await api.apply(plan("Failed"))
        async with running(routes_yaml(vendors, tmp_path, top=top()), vendors) as service:
            await watched(api, service)
            await service.post(alert(failed()))
            await service.until(lambda: evidence_read(service))
            await api.delete("Pod", *POD[:2])
            await api.apply(plan("Executing", runs=2))
            await service.until_state("re-running")
            await service.post(alert(failed(), "resolved"))
            await fail_a_vm(api, runs=2)
            await service.until_state("firing")
            await service.until(lambda: log_of_run(service, run_of(2)))
            await service.idle()
            (story,) = await service.stories()
            assert [one["change"] for one in story["timeline"]].count("failed-again") == 1
            await api.apply(plan("Failed", runs=2))
            await service.post(alert(failed(), starts_at="2026-11-21T10:15:00Z"))
            await service.until(lambda: named(service, {"MTVVMFailed": "resolved", "MigrationFailed": "firing"}))
            await service.idle()
            (story,) = await service.stories()
            assert [one["change"] for one in story["timeline"]].count("failed-again") == 1
            assert len(vendors.incidents()) == len(vendors.incidents_open()) == len(vendors.slack_roots()) == 1


async def log_of_run(service: Running, run: str) -> bool:
    found = evidence(service)
    return bool(found.get("run") == run and found["logs"])
