"""Plans that do not go on: a live migration that the target's quota refuses, and a Plan that is not ready."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver import silencing, waits, waits_going, waits_pace, watch, watch_pace
from receiver.keeping import unpack
from tests.acceptance.harness import Running, alert, failed, routes_yaml, running, three
from tests.acceptance.plans import cluster, top, watched
from tests.databases import ask
from tests.fakes.alertmanager import WholeAlertmanager
from tests.fakes.kubernetes import KubernetesApi
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

UID = "0b7f0a1e-51c2-4a8e-8a40-0c7b1d2e3f40"
VM_ID = "6f0c7a52-0d1e-4c8b-9f11-1a2b3c4d5e02"
RUN = "9d1d5f60-2f6e-4b52-8b0a-7a1f4c9be001"
NAME, NAMESPACE, TARGET, VM = "cross-cluster-migration-k7x2", "mtv-integrations", "payments", "pay-app-01"
QUOTA = "FailedCreate"
SECRET = "hunter2-very-secret"  # made up, and looked for
REFUSAL = (
    'Error creating pod: pods "virt-launcher-pay-app-01-x" is forbidden: exceeded quota: payments-quota, requested: '
    f"requests.memory=17542024896, used: requests.memory=52Gi, limited: requests.memory=64Gi password={SECRET}"
)
PLANS = "plans.forklift.konveyor.io"
Obj = dict[str, Any]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes half a minute otherwise; what is tested is not how long it takes."""
    monkeypatch.setattr(watch_pace, "EVERY_S", 0.3)
    monkeypatch.setattr(waits, "VIEW_EVERY_S", 0.3)
    monkeypatch.setattr(waits, "SWEEP_EVERY_S", 0.5)
    monkeypatch.setattr(waits, "VIEWS_PER_MINUTE", 1_000)
    monkeypatch.setattr(silencing, "FRESH_S", 0.2)
    monkeypatch.setattr(watch, "ASK_AGAIN_S", 0.5)


def ago(minutes: float) -> str:
    return f"{datetime.now(UTC) - timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}"


BEGAN, ENTERED = ago(25), ago(24)


def live(state: str = "Executing", phase: str = "WaitForStateTransfer", uid: str = UID, name: str = NAME) -> Obj:
    """Return a Plan of one VM that is migrated live."""
    over = state != "Executing"
    sync: Obj = {"name": "Synchronization", "phase": "Running", "started": ENTERED}
    vm: Obj = {"id": VM_ID, "name": VM, "phase": phase, "started": BEGAN, "pipeline": [sync], "conditions": []}
    if over:
        vm |= {"phase": "Completed", "completed": ago(0), "conditions": [{"type": state, "status": "True"}]}
    if state == "Failed":
        vm["error"] = {"phase": "WaitForStateTransfer", "reasons": ["Migration failed, check VMIM status for details."]}
    kinds = ["Ready", state]
    history = {"migration": {"uid": RUN, "name": f"{name}-1"}, "conditions": [] if not over else [{"type": state}]}
    return {
        "apiVersion": "forklift.konveyor.io/v1beta1",
        "kind": "Plan",
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": uid},
        "spec": {
            "type": "live",
            "targetNamespace": TARGET,
            "provider": {"source": {"name": "east-mtv"}, "destination": {"name": "host"}},
            "vms": [{"id": VM_ID, "name": VM}],
        },
        "status": {
            "conditions": [{"type": kind, "status": "True", "category": "Advisory"} for kind in kinds],
            "migration": {"started": BEGAN, "vms": [vm], "history": [history]},
        },
    }


def receiver_of(uid: str = UID) -> Obj:
    """Return the target's side of the migration, which a quota refuses a pod."""
    refused = {"type": "migrationRejectedByResourceQuota", "status": "True", "lastTransitionTime": ago(20)}
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstanceMigration",
        "metadata": {
            "name": "forklift-q7d2k", "namespace": TARGET, "uid": "e2b1a9f4-1111-4222-8333-444455557777",
            "labels": {"plan": uid, "migration": RUN, "vmID": VM_ID}, "creationTimestamp": BEGAN,
        },
        "spec": {"vmiName": VM, "receive": {"migrationID": f"{VM_ID}-{RUN}"}},
        "status": {
            "phase": "Pending", "conditions": [refused],
            "phaseTransitionTimestamps": [{"phase": "Pending", "phaseTransitionTimestamp": ago(20)}],
        },
    }  # fmt: skip


def refusal() -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "pay-app-01.1", "namespace": TARGET, "uid": "event-1"},
        "involvedObject": {"kind": "VirtualMachineInstance", "name": VM, "namespace": TARGET},
        "type": "Warning", "reason": QUOTA, "message": REFUSAL, "count": 7,
        "firstTimestamp": ago(20), "lastTimestamp": ago(0),
    }  # fmt: skip


async def refuse(api: KubernetesApi) -> None:
    for one in (receiver_of(), refusal(), live()):
        await api.apply(one)


async def names(service: Running) -> dict[str, str]:
    """Return the alerts of all stories: name → status."""
    return {one["labels"]["alertname"]: one["status"] for story in await service.stories() for one in story["alerts"]}


async def are(service: Running, wanted: dict[str, str]) -> bool:
    return await names(service) == wanted


async def kept(service: Running) -> bool:
    return bool(ask(service.folder, "SELECT plan FROM snapshots WHERE payload <> ''"))


ROUTE = "{receiver: platform, routes: [{namespaces: ['payments'], receiver: payments}]}"
RECEIVERS = f"{three('platform', '#platform')}{three('payments', '#payments')}"


async def test_a_receiver_that_the_quota_refuses_is_told_to_the_owner_and_ends_when_the_plan_moves_on(
    tmp_path: Path,
) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await refuse(api)
        config = routes_yaml(vendors, tmp_path, top=top(), receivers=RECEIVERS, route=ROUTE)
        async with running(config, vendors) as service:
            await watched(api, service)
            await service.until(lambda: are(service, {"MTVPlanStuck": "firing"}))
            await service.until(lambda: kept(service))
            await service.idle()
            (story,) = await service.stories()
            assert (story["subject"], story["severity"]) == (f"plan/{UID}", "warning")
            (told,) = story["alerts"]
            assert told["labels"] == {
                "alertname": "MTVPlanStuck", "severity": "warning", "plan": UID, "plan_name": NAME,
            }  # fmt: skip
            assert {one["receiver"] for one in await service.deliveries()} == {"payments"}
            assert len(vendors.incidents()) == len(vendors.slack_roots()) == 1
            ((payload,),) = ask(service.folder, "SELECT payload FROM alerts")
            said = json.loads(payload)["annotations"]
            assert said["summary"].startswith(f"VM {VM} stands still: ")
            for words in ("payments-quota", "does not end by itself", "migration slots of provider east-mtv", "quota"):
                assert words in said["description"], words

            await api.delete("Event", TARGET, "pay-app-01.1")
            await api.delete("VirtualMachineInstanceMigration", TARGET, "forklift-q7d2k")
            await api.apply(live())
            await service.until_state("resolved", outcome="cleared")
            await service.idle()
            assert len(vendors.incidents()) == 1
            assert not vendors.incidents_open()
            assert await service.metric('mtv_receiver_own_alerts_total{alertname="MTVPlanStuck"}') == 1


async def test_stuck_then_failed_then_the_late_alert_is_one_story_and_one_incident(tmp_path: Path) -> None:
    """Forklift has deleted the objects by then; what they said is kept, without the secret that somebody wrote."""
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await refuse(api)
        async with running(routes_yaml(vendors, tmp_path, top=top()), vendors) as service:
            await watched(api, service)
            await service.until(lambda: are(service, {"MTVPlanStuck": "firing"}))
            await service.until(lambda: kept(service))
            await api.delete("VirtualMachineInstanceMigration", TARGET, "forklift-q7d2k")
            await api.apply(live("Failed"))
            await service.until(lambda: phase_is(service, "Failed"))
            assert await names(service) == {"MTVPlanStuck": "firing"}
            await service.post(alert(failed(UID, NAME)))
            await service.until(lambda: are(service, {"MTVPlanStuck": "resolved", "MigrationFailed": "firing"}))
            await service.idle()
            assert len(await service.stories()) == len(vendors.incidents()) == len(vendors.slack_roots()) == 1
            ((stored,),) = ask(service.folder, "SELECT payload FROM snapshots")
            text = unpack(stored)
            assert "migrationRejectedByResourceQuota" in text
            assert "exceeded quota: payments-quota" in text
            assert SECRET not in text
            await service.post(alert(failed(UID, NAME), "resolved"))
            await api.apply(live("Succeeded"))
            await service.until_state("resolved", outcome="fixed")
            await service.until(lambda: dropped(service))


async def test_it_does_not_end_where_the_failed_plan_is_read_before_the_watch_tells_of_it(tmp_path: Path) -> None:
    """Nothing is under way in that Plan any more and its objects are gone, but it has failed: nobody re-runs it."""
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await refuse(api)
        async with running(routes_yaml(vendors, tmp_path, top=top()), vendors) as service:
            await watched(api, service)
            await service.until(lambda: are(service, {"MTVPlanStuck": "firing"}))
            api.forbidden.add(("get", PLANS))
            asked = api.calls["get", PLANS]
            await api.apply({**live(), "metadata": {**live()["metadata"], "labels": {"wave": "1"}}})
            await api.until(lambda: api.calls["get", PLANS] > asked)  # the watch has told: there is a newer version
            late = [one for one in api.watchers if one.resource == PLANS]
            for one in late:
                api.watchers.remove(one)
            await api.delete("Event", TARGET, "pay-app-01.1")
            await api.delete("VirtualMachineInstanceMigration", TARGET, "forklift-q7d2k")
            await api.apply(live("Failed"))
            api.forbidden.clear()
            asked = api.calls["get", PLANS]
            await api.until(lambda: api.calls["get", PLANS] >= asked + 5)  # one after the other: two are worked off
            assert await names(service) == {"MTVPlanStuck": "firing"}
            api.watchers += late
            await api.apply({**live("Failed"), "metadata": {**live()["metadata"], "labels": {"wave": "2"}}})
            await service.until(lambda: phase_is(service, "Failed"))
            assert await names(service) == {"MTVPlanStuck": "firing"}


async def dropped(service: Running) -> bool:
    return not ask(service.folder, "SELECT plan FROM snapshots")


async def phase_is(service: Running, phase: str) -> bool:
    return [row for (row,) in ask(service.folder, "SELECT plan_phase FROM stories")] == [phase]


async def test_a_restart_in_between_raises_nothing_twice(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await refuse(api)
        config = routes_yaml(vendors, tmp_path, top=top())
        async with running(config, vendors) as service:
            await watched(api, service)
            await service.until(lambda: are(service, {"MTVPlanStuck": "firing"}))
            await service.until(lambda: kept(service))
            await service.idle()
        listed = api.calls["list", "events"]
        async with running(config, vendors) as service:
            await watched(api, service)
            await api.until(lambda: api.calls["list", "events"] >= listed + 3)
            assert await names(service) == {"MTVPlanStuck": "firing"}
            assert await service.metric('mtv_receiver_own_alerts_total{alertname="MTVPlanStuck"}') == 0
            assert len(vendors.incidents()) == 1
            await api.apply(live("Succeeded"))
            await service.until_state("resolved", outcome="fixed")


LAUNCHER = "virt-launcher-pay-app-01-abc"
MISMATCH = "error: operation failed: guest CPU doesn't match specification: missing features: avx512f"


def launcher() -> Obj:
    """Return the pod that receives the VM, as long as there is one."""
    labels = {
        "kubevirt.io": "virt-launcher", "vm.kubevirt.io/name": VM,
        "kubevirt.io/migrationJobUID": receiver_of()["metadata"]["uid"],
    }  # fmt: skip
    metadata = {"name": LAUNCHER, "namespace": TARGET, "uid": "pod-1", "creationTimestamp": ago(6), "labels": labels}
    status = {"phase": "Running", "containerStatuses": [{"name": "compute", "state": {"running": {}}}]}
    spec = {"nodeName": "w1", "containers": [{"name": "compute"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


async def test_the_log_of_a_receiver_is_shown_after_forklift_has_deleted_its_pod(tmp_path: Path) -> None:
    """Read while the migration ran, without the secret in it; and dropped with all else when a run succeeds."""
    job = receiver_of()
    job["status"] = {"phase": "Running"}
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        for one in (job, launcher(), live()):
            await api.apply(one)
        api.set_log(TARGET, LAUNCHER, "compute", f"starting with password={SECRET}\n{MISMATCH}\n")
        async with running(routes_yaml(vendors, tmp_path, top=top()), vendors) as service:
            await watched(api, service)
            await service.until(lambda: kept(service))
            looked = api.calls["list", "events"]
            await api.until(lambda: api.calls["list", "events"] >= looked + 3)
            assert api.calls["get", "pods/log"] == 1, "nothing has changed"
            await api.delete("VirtualMachineInstanceMigration", TARGET, "forklift-q7d2k")
            await api.delete("Pod", TARGET, LAUNCHER)
            await api.apply(live("Failed"))
            await service.post(alert(failed(UID, NAME)))
            await service.until(lambda: shown(vendors, MISMATCH))
            root = json.dumps(vendors.slack_roots()[0].blocks, ensure_ascii=False)
            assert f"{VM} · compute · kept at " in root
            assert "Find the reason in the log lines below" in root
            assert "their logs with them" not in root
            ((stored,),) = ask(service.folder, "SELECT payload FROM snapshots")
            assert MISMATCH in unpack(stored)
            assert SECRET not in unpack(stored) + root
            await service.post(alert(failed(UID, NAME), "resolved"))
            await api.apply(live("Succeeded"))
            await service.until(lambda: dropped(service))


async def shown(vendors: FakeVendors, words: str) -> bool:
    return any(words in json.dumps(one.blocks, ensure_ascii=False) for one in vendors.slack_roots())


OTHER: Any = {"uid": "00000000-0000-4000-8000-000000000009", "name": "other"}


async def test_switched_off_nothing_is_said_and_the_evidence_is_kept_all_the_same(tmp_path: Path) -> None:
    """The other plan, which fails and is told, shows that the time is over."""
    head = f"{top()}\nwatch: {{alerts: [MTVPlanFailedUnalerted], unalerted_after: 2s}}"
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await refuse(api)
        await api.apply(live(**OTHER))
        async with running(routes_yaml(vendors, tmp_path, top=head), vendors) as service:
            await watched(api, service)
            await service.until(lambda: kept(service))
            await api.apply(live("Failed", **OTHER))
            await service.until(lambda: are(service, {"MTVPlanFailedUnalerted": "firing"}))
            ((text,),) = ask(service.folder, f"SELECT payload FROM snapshots WHERE plan = '{UID}'")
            assert "exceeded quota: payments-quota" in unpack(text)


async def test_where_all_of_it_is_off_nothing_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept of the other plan, which is dropped as ever after its success, shows that the time is over."""
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await refuse(api)
        await api.apply(live(**OTHER))
        silent = f"{top()}\nwatch: {{alerts: [MTVPlanFailedUnalerted]}}"
        async with running(routes_yaml(vendors, tmp_path, top=silent), vendors) as service:
            await watched(api, service)
            await service.until(lambda: kept_are(service, 2))
        monkeypatch.setattr(waits, "SWEEP_EVERY_S", 3.0)  # ten times as long as a Plan waits for its look
        off = f"{top()}\nwatch: {{alerts: []}}"
        before = len(api.asked)
        async with running(routes_yaml(vendors, tmp_path, top=off), vendors) as service:
            await watched(api, service)
            await api.apply(live("Succeeded", **OTHER))
            await service.until(lambda: kept_are(service, 1))
            assert not [one for one in api.asked[before:] if (one.verb, one.resource) == ("get", PLANS)]
            assert not [one for one in api.asked[before:] if "virtualmachineinstancemigrations" in one.path]


async def kept_are(service: Running, count: int) -> bool:
    return len(ask(service.folder, "SELECT plan FROM snapshots WHERE payload <> ''")) == count


async def test_a_silence_keeps_it_back_until_it_ends(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path) as api, WholeAlertmanager().running() as held:
        held.silences.append(
            {"id": "s1", "status": {"state": "active"}, "matchers": [
                {"name": "plan_name", "value": "cross-.*", "isRegex": True, "isEqual": True}]}
        )  # fmt: skip
        head = f"{top()}\nalertmanagers: [{{name: main, url: '{held.url}', receiver: mtv-receiver}}]"
        await refuse(api)
        async with running(routes_yaml(vendors, tmp_path, top=head), vendors) as service:
            await watched(api, service)
            await service.until(lambda: counted(service, 'own_alerts_silenced_total{alertname="MTVPlanStuck"}', 1))
            looked = api.calls["list", "events"]
            await api.until(lambda: api.calls["list", "events"] >= looked + 2)
            assert not await service.stories()
            held.silences[0]["status"]["state"] = "expired"
            await service.until(lambda: are(service, {"MTVPlanStuck": "firing"}))


@pytest.mark.parametrize("trouble", ["error", "hangs"])
async def test_an_alertmanager_that_does_not_answer_keeps_nothing_back(tmp_path: Path, trouble: str) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path) as api, WholeAlertmanager().running() as held:
        held.silences.append({"status": {"state": "active"}, "matchers": [{"name": "plan", "value": UID}]})
        held.answers = 500
        if trouble == "hangs":
            held.hold()
        head = f"{top()}\nalertmanagers: [{{name: main, url: '{held.url}', receiver: mtv-receiver}}]"
        await refuse(api)
        async with running(routes_yaml(vendors, tmp_path, top=head), vendors) as service:
            await watched(api, service)
            await service.until(lambda: are(service, {"MTVPlanStuck": "firing"}))


async def test_what_cannot_be_read_ends_nothing_until_the_vm_has_moved(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await refuse(api)
        async with running(routes_yaml(vendors, tmp_path, top=top()), vendors) as service:
            await watched(api, service)
            await service.until(lambda: are(service, {"MTVPlanStuck": "firing"}))
            api.forbidden.add(("list", "virtualmachineinstancemigrations.kubevirt.io"))
            api.forbidden.add(("list", "events"))
            looked = api.calls["list", "pods"]
            await api.until(lambda: api.calls["list", "pods"] >= looked + 3)
            assert await names(service) == {"MTVPlanStuck": "firing"}
            await api.apply(live(phase="PostHook"))
            await service.until_state("resolved", outcome="cleared")


async def test_a_live_migration_is_looked_at_before_many_that_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They want a look all the time, and would take all that there are in a minute."""
    monkeypatch.setattr(waits_going, "LOOK_S", 0.0)
    monkeypatch.setattr(waits, "VIEWS_PER_MINUTE", 3)
    monkeypatch.setattr(waits, "VIEWS_FOR_LIVE", 1)
    views = 'watch_views_total{cluster="local"}'
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        for number in range(6):
            cold = live(phase="CopyDisks", uid=f"00000000-0000-4000-8000-{number:012}", name=f"copy-{number}")
            cold["spec"]["type"] = "cold"
            cold["status"]["migration"]["vms"][0]["pipeline"][0]["name"] = "DiskTransfer"
            await api.apply(cold)
        async with running(routes_yaml(vendors, tmp_path, top=top()), vendors) as service:
            await watched(api, service)
            await service.until(lambda: counted(service, views, 2))
            await refuse(api)
            await service.until(lambda: are(service, {"MTVPlanStuck": "firing"}))
            assert await service.metric(f"mtv_receiver_{views}") == 3


async def counted(service: Running, series: str, at_least: float) -> bool:
    return await service.metric(f"mtv_receiver_{series}") >= at_least


def not_ready(since_minutes: float, name: str = "wave-9", uid: str = "00000000-0000-4000-8000-000000000007") -> Obj:
    found = live(uid=uid, name=name)
    found["status"] = {
        "conditions": [
            {
                "type": "SourceProviderNotReady", "status": "True", "category": "Critical",
                "message": "Source provider is not ready.", "lastTransitionTime": ago(since_minutes),
            }
        ]
    }  # fmt: skip
    return found


async def test_a_plan_that_is_not_ready_is_told_once_and_ends_when_it_is(tmp_path: Path) -> None:
    """Not one that nobody cared about for a day."""
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await api.apply(not_ready(24 * 60, "old", "00000000-0000-4000-8000-000000000008"))
        await api.apply(not_ready(6))
        async with running(routes_yaml(vendors, tmp_path, top=top()), vendors) as service:
            await watched(api, service)
            await service.until(lambda: are(service, {"MTVPlanNotReady": "firing"}))
            await service.idle()
            assert "SourceProviderNotReady" in json.dumps(vendors.incidents()[0].payload)
            ready = not_ready(6)
            ready["status"]["conditions"] = [{"type": "Ready", "status": "True", "category": "Required"}]
            await api.apply(ready)
            await service.until_state("resolved", outcome="cleared")
            await service.idle()
            assert len(await service.stories()) == len(vendors.incidents()) == 1
            assert not vendors.incidents_open()


@pytest.mark.slow
async def test_two_thousand_plans_that_run_cost_no_more_than_their_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them wait in the target. The budgets are the real ones: this is what the first half minute costs."""
    monkeypatch.setattr(watch_pace, "EVERY_S", 15.0)
    monkeypatch.setattr(waits, "VIEW_EVERY_S", waits_pace.VIEW_EVERY_S)
    monkeypatch.setattr(waits, "VIEWS_PER_MINUTE", waits_pace.VIEWS_PER_MINUTE)
    many = 2_000
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        for number in range(many):
            await api.apply(live(uid=f"00000000-0000-4000-8000-{number:012}", name=f"plan-{number}"))
        async with running(routes_yaml(vendors, tmp_path, top=top()), vendors) as service:
            await watched(api, service)
            views = 'watch_views_total{cluster="local"}'
            await service.until(lambda: counted(service, views, waits_pace.VIEWS_PER_MINUTE), timeout=60)
            plans, before = api.calls["get", PLANS], len(api.asked)
            await api.until(lambda: api.calls["get", PLANS] >= plans + 8)
            assert await service.metric(f"mtv_receiver_{views}") == waits_pace.VIEWS_PER_MINUTE
            assert len([one for one in api.asked[before:] if "virtualmachineinstance" in one.path]) <= 10
            looked = [one for one in api.asked if "/virtualmachineinstancemigrations" in one.path]
            assert len(looked) <= 2 * waits_pace.VIEWS_PER_MINUTE
