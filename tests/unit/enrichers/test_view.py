"""What is read of a running Plan's objects, and what is said of those that cannot be read."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from receiver.enrichers import view
from receiver.enrichers.view import read_view
from receiver.kube import ClusterError
from receiver.model import Missing
from receiver.stuck import Kind, View, find_blocks
from tests.contract.waiting import documents
from tests.unit.enrichers.cluster import MemoryCluster

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 9, 1, 8, 4, 30, tzinfo=UTC)
PLAN: dict[str, Any] = next(one for one in documents("s5-plan.yaml") if one["kind"] == "Plan")
VMIM = "VirtualMachineInstanceMigration"
DB_JOB, APP_JOB = "e2b1a9f4-1111-4222-8333-444455556666", "e2b1a9f4-1111-4222-8333-444455557777"


def west() -> MemoryCluster:
    cluster = MemoryCluster(copy.deepcopy(documents("s5-observed-pending.yaml")))
    cluster.name = "west"
    return cluster


async def read(
    target: MemoryCluster, plan: dict[str, Any] = PLAN, *, home: MemoryCluster | None = None, **more: Any
) -> tuple[View, tuple[Missing, ...]]:
    given = {"source": None, "timeout_s": 5.0, **more}
    return await read_view(home or MemoryCluster([plan]), target, plan, NOW, **given)


async def test_three_vms_and_what_each_waits_for() -> None:
    found, missing = await read(west())
    assert missing == ()
    assert {one.vm: one.kind for one in find_blocks(found)} == {
        "pay-db-01": Kind.UNSCHEDULABLE, "pay-app-01": Kind.QUOTA_POD, "pay-web-01": Kind.STORAGE_FULL,
    }  # fmt: skip


async def test_a_receiver_of_another_plans_migration_is_not_ours() -> None:
    found, _ = await read(west())
    assert [one["metadata"]["name"] for one in found.pods] == ["virt-launcher-pay-db-01-7ch2p"]


async def test_claims_of_others_and_what_fills_them_are_left_out() -> None:
    target = west()
    own = next(one for one in target.objs if one["metadata"]["name"] == "pay-web-01-root" and "status" in one)
    for one in target.objs:
        if one["kind"] == "PersistentVolumeClaim" and not one["metadata"]["name"].startswith("prime-"):
            one["metadata"]["uid"] = "3a5b0d7e-0000-4000-8000-0123456789ab"
    other = {"kind": "PersistentVolumeClaim", "metadata": {"name": "prime-other", "namespace": "payments"}}
    target.objs += [other, {**other, "metadata": {"name": "database", "namespace": "payments"}}]
    found, _ = await read(target)
    assert [one["metadata"]["name"] for one in found.claims] == [
        own["metadata"]["name"], "prime-3a5b0d7e-0000-4000-8000-0123456789ab",
    ]  # fmt: skip


async def test_events_that_tell_of_no_wait_are_left_out_and_there_is_an_end_to_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = west()

    def event(number: int, kind: str, reason: str, type_: str) -> dict[str, Any]:
        return {
            "kind": "Event", "metadata": {"name": f"e{number}", "namespace": "payments"}, "type": type_,
            "reason": reason, "involvedObject": {"kind": kind, "name": f"x{number}", "namespace": "payments"},
            "lastTimestamp": "2026-09-01T08:04:29Z",
        }  # fmt: skip

    target.objs += [
        event(1, "Pod", "Pulled", "Normal"), event(2, "Deployment", "Failed", "Warning"),
        event(3, "PersistentVolumeClaim", "ExternalProvisioning", "Normal"),
        *(event(number, "Pod", "BackOff", "Warning") for number in range(10, 30)),
    ]  # fmt: skip
    found, _ = await read(target)
    named = {one["metadata"]["name"] for one in found.events}
    assert "e3" in named
    assert not named & {"e1", "e2"}
    monkeypatch.setattr(view, "MAX_EVENTS", 6)
    found, _ = await read(target)
    assert len(found.events) == 6
    # What was read first: the example's own four events.
    assert {"pay-db-01.1", "pay-app-01.1", "pay-web-01.1"} <= {one["metadata"]["name"] for one in found.events}


async def test_the_sources_side_is_read_where_the_source_is_known() -> None:
    labels = {"plan": PLAN["metadata"]["uid"]}
    send = {
        "kind": VMIM, "metadata": {"name": "send", "namespace": "payments", "labels": labels},
        "spec": {"vmiName": "pay-db-01", "sendTo": {"migrationID": "x"}},
    }  # fmt: skip
    east = MemoryCluster([send])
    found, _ = await read(west(), source=east)
    assert [one["metadata"]["name"] for one in found.source_migrations] == ["send"]
    assert east.asked == [("list", VMIM, "payments", f"plan={PLAN['metadata']['uid']}")]
    found, _ = await read(west())
    assert found.source_migrations == ()


async def test_within_one_cluster_the_source_is_the_target() -> None:
    plan = copy.deepcopy(PLAN)
    plan["spec"]["provider"]["source"] = plan["spec"]["provider"]["destination"]
    target = west()
    target.objs.append(
        {
            "kind": VMIM,
            "metadata": {"name": "send", "namespace": "payments", "labels": {"plan": plan["metadata"]["uid"]}},
            "spec": {"sendTo": {"migrationID": "x"}},
        }
    )
    found, _ = await read(target, plan)
    assert [one["metadata"]["name"] for one in found.source_migrations] == ["send"]
    assert "send" not in [one["metadata"]["name"] for one in found.target_migrations]


async def test_refusals_name_the_right_that_is_missing_once_for_each_place() -> None:
    target = west()
    for kind in ("DataVolume", "PersistentVolumeClaim"):
        target.refuse["list", kind] = ClusterError("forbidden", f"{kind} is forbidden")
    found, missing = await read(target)
    resources = "persistentvolumeclaims, datavolumes.cdi.kubevirt.io"
    assert missing == (
        Missing(
            f"what VMs wait for ({resources})", "forbidden",
            f"needs list {resources} in namespace payments of cluster west",
        ),
    )  # fmt: skip
    assert {one.vm for one in find_blocks(found)} == {"pay-db-01", "pay-app-01"}


async def test_a_kind_that_is_not_served_is_no_refusal() -> None:
    target = west()
    target.refuse["list", "DataVolume"] = ClusterError("not found", "the server has no datavolumes")
    _, missing = await read(target)
    assert missing == ()


async def test_without_pods_their_instances_tell() -> None:
    target = west()
    target.refuse["list", "Pod"] = ClusterError("forbidden", "no")
    said = next(one for one in target.objs if one["kind"] == "Pod")["status"]["conditions"]
    vmi = {"kind": "VirtualMachineInstance", "metadata": {"name": "pay-db-01", "namespace": "payments"}}
    foreign = {"kind": "VirtualMachineInstance", "metadata": {"name": "other", "namespace": "payments"}}
    target.objs += [{**vmi, "status": {"conditions": said}}, foreign]
    found, missing = await read(target)
    assert [one["metadata"]["name"] for one in found.vmis] == ["pay-db-01"]
    assert Kind.UNSCHEDULABLE in {one.kind for one in find_blocks(found)}
    assert [one.cure for one in missing] == ["needs list pods in namespace payments of cluster west"]


async def test_without_migrations_receivers_are_found_by_the_vms_name() -> None:
    target = west()
    target.refuse["list", VMIM] = ClusterError("forbidden", "no")
    found, _ = await read(target)
    assert [one["metadata"]["name"] for one in found.pods] == ["virt-launcher-pay-db-01-7ch2p"]


async def test_many_migrations_are_not_put_into_one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "MAX_UIDS", 1)
    target = west()
    found, _ = await read(target)
    assert [one["metadata"]["name"] for one in found.pods] == ["virt-launcher-pay-db-01-7ch2p"]
    assert ("list", "Pod", "payments", "kubevirt.io/migrationJobUID") in target.asked


async def test_a_cluster_that_hangs_costs_its_answer_and_no_other() -> None:
    target = west()
    target.hang.add(("list", "DataVolume"))
    found, missing = await read(target, timeout_s=0.1)
    assert missing == (Missing("what VMs wait for (datavolumes.cdi.kubevirt.io)", "timeout", "asked again"),)
    assert Kind.QUOTA_POD in {one.kind for one in find_blocks(found)}


@pytest.mark.parametrize("plan", [{}, {"metadata": {"uid": "a b"}}, {"metadata": 5, "spec": [], "status": "x"}])
async def test_a_plan_that_is_none_is_not_asked_for(plan: dict[str, Any]) -> None:
    target = west()
    found, missing = await read(target, plan)
    assert (find_blocks(found), missing, target.asked) == ((), (), [])


def still(phase: str, seconds: float) -> dict[str, Any]:
    plan = copy.deepcopy(PLAN)
    started = (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    plan["status"]["migration"]["vms"] = [{"id": "vm-1", "name": "a", "phase": phase, "started": started}]
    return plan


CONTROLLER: dict[str, Any] = {
    "kind": "Pod",
    "metadata": {
        "name": "forklift-controller-1", "namespace": "openshift-mtv",
        "labels": {"app": "forklift", "control-plane": "controller-manager"},
    },
    "status": {"phase": "Running"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("phase", "seconds", "asked"),
    [("CreateVM", 300, True), ("CreateVM", 60, False), ("WaitForStateTransfer", 3_000, False)],
)
async def test_the_controllers_log_is_asked_only_where_nothing_else_tells(
    phase: str, seconds: float, asked: bool
) -> None:
    home = MemoryCluster([CONTROLLER])
    name = PLAN["metadata"]["name"]
    lines = [f'{{"level":"error","plan":{{"name":"{name}"}},"error":"no"}}', '{"level":"error","plan":"other"}']
    home.logs["openshift-mtv", "forklift-controller-1", False] = "\n".join(lines)
    found, missing = await read(MemoryCluster([]), still(phase, seconds), home=home)
    assert any(one[0] == "log" for one in home.asked) is asked
    assert found.log == ((lines[0],) if asked else ())
    assert missing == ()


async def test_a_log_that_may_not_be_read_is_missing() -> None:
    home = MemoryCluster([CONTROLLER])
    home.refuse["log", ""] = ClusterError("forbidden", "no")
    _, missing = await read(MemoryCluster([]), still("CreateVM", 300), home=home)
    assert [one.cure for one in missing] == ["needs get pods/log in namespace openshift-mtv"]
