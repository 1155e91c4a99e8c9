"""Worked examples: four receivers that do not start, and one of another cluster."""

from __future__ import annotations

import json
from typing import Any

from receiver.stuck import Block, Kind, Owner, View, find_blocks
from tests.unit.stuck.build import DATA, at, documents

BLOCKED_BY = {
    Kind.UNSCHEDULABLE: "unschedulable",
    Kind.QUOTA_POD: "resource_quota",
    Kind.STORAGE_FULL: "volume_provisioning",
    Kind.QUOTA_GATE: "application_aware_quota",
}
QUOTA = (
    "exceeded quota: payments-quota, requested: requests.memory=17542024896, used: requests.memory=52Gi, "
    "limited: requests.memory=64Gi"
)


def view(name: str, plan_file: str, seconds: float) -> View:
    """Return the example as a caller would read it."""
    found = documents(name)

    def kind(wanted: str) -> list[dict[str, Any]]:
        return [one for one in found if one["kind"] == wanted]

    return View(
        plan=next(one for one in documents(plan_file) if one["kind"] == "Plan"),
        now=at(seconds),
        pods=kind("Pod"),
        claims=kind("PersistentVolumeClaim"),
        data_volumes=kind("DataVolume"),
        vmis=kind("VirtualMachineInstance"),
        target_migrations=kind("VirtualMachineInstanceMigration"),
        events=kind("Event"),
    )


def s5() -> dict[str, Block]:
    return {one.vm: one for one in find_blocks(view("s5-observed-pending.yaml", "s5-plan.yaml", 270))}


def as_expected(one: Block) -> dict[str, Any]:
    """Put a block into the words of the worked example."""
    said: dict[str, Any] = {"vm": one.vm, "blocked_by": BLOCKED_BY[one.kind]}
    if one.kind is Kind.QUOTA_POD:
        said["quota"] = one.scope.partition("/")[2]
    if one.kind in (Kind.UNSCHEDULABLE, Kind.QUOTA_POD):
        said["resources"] = [lack.resource for lack in one.shortages]
    if one.kind is Kind.UNSCHEDULABLE:
        said |= {"nodes_short": one.shortages[0].nodes, "nodes_total": one.nodes_total}
    if one.kind is Kind.STORAGE_FULL:
        said |= {"storage_class": one.scope, "code": one.code}
    said["self_heals"] = f"fails after {one.ends_after_s} s" if one.ends_by_itself else "never ends"
    return said


def test_four_receivers_that_do_not_start_are_told_as_worked_out_by_hand() -> None:
    expected = json.loads((DATA / "s5-expected.json").read_text())
    found = s5()
    assert [as_expected(found[one["vm"]]) for one in expected] == expected
    assert set(found) == {one["vm"] for one in expected}


def test_each_has_its_end_its_owner_and_its_start() -> None:
    found = s5()
    assert {name: (one.deadline, one.owner) for name, one in found.items()} == {
        "pay-db-01": (at(300), Owner.NODES),
        "pay-app-01": (None, Owner.QUOTA),
        "pay-web-01": (None, Owner.STORAGE),
        "aaq-demo": (at(900), Owner.QUOTA),
    }
    assert {one.since for one in found.values()} == {at(0)}


def test_the_quota_is_told_to_the_byte_with_its_evidence() -> None:
    one = s5()["pay-app-01"]
    (lack,) = one.shortages
    assert (lack.need, lack.free, lack.short) == (17_542_024_896, 12_884_901_888, 4_657_123_008)
    assert lack.words == "requests.memory: needs 16.34 GiB, free 12.00 of 64 GiB, short by 4.34 GiB"
    assert one.cause == "ResourceQuota payments/payments-quota refuses the receiver pod."
    sign = one.evidence[0]
    assert (sign.reason, sign.kind, sign.name, sign.count) == ("FailedCreate", "VirtualMachineInstance", one.vm, 7)
    assert sign.message.endswith(QUOTA)
    assert one.blocks == ("keeps 1 of 20 migration slots of provider east-mtv busy",)


def test_a_receiver_that_the_plan_does_not_name_holds_no_slot_of_it() -> None:
    one = s5()["aaq-demo"]
    assert (one.vm_id, one.phase, one.blocks) == ("", "", ())


def test_the_nodes_are_told_as_the_scheduler_counted_them() -> None:
    one = s5()["pay-db-01"]
    assert one.cause == (
        "No node of the target cluster can take the receiver pod: too little memory on 4 of 5 nodes, "
        "a taint that it does not tolerate on 1 of 5 nodes."
    )
    assert one.shortages[0].need == 34_720_448_512  # 33112Mi: the example's pod has no sidecar


def test_a_pod_is_found_through_its_migration_in_another_cluster() -> None:
    found = find_blocks(view("live-unschedulable.yaml", "live-unschedulable.yaml", 0))
    (one,) = found
    assert (one.vm, one.kind, one.nodes_total) == ("billing-app01", Kind.UNSCHEDULABLE, 6)
    assert one.deadline is not None
    assert one.deadline.isoformat() == "2026-09-19T12:05:46+00:00"
    assert one.shortages[0].nodes == 3
