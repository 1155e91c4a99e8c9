"""What a Plan wishes for its VMs at the target: where they run, how large they are, which disks come along."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from receiver.room.result import PlanCapacity
from tests.unit.room.clusters import GIB, Room, from_inventory, room

pytestmark = pytest.mark.anyio

LARGE = "u1.8xlarge"
ZONE_A = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
NEAR = {REQUIRED: [{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "db"}}}]}


@asynccontextmanager
async def from_vsphere(folder: Path, spec: Mapping[str, Any], *, shared: bool = False) -> AsyncIterator[Room]:
    """Run the clusters with a plan of two VMs of 4 GiB and 80 GiB each, and more in its spec."""
    async with room(folder) as it:
        hub = it.clusters["hub"]
        plan, path = await from_inventory(it)
        for vm in ("vm-41", "vm-42"):
            own = {"file": f"{vm}.vmdk", "capacity": 80 * GIB, "datastore": {"id": "datastore-7"}}
            both = {"file": "quorum.vmdk", "capacity": 10 * GIB, "datastore": {"id": "datastore-7"}, "shared": True}
            hub.proxied[path + vm] = {
                "id": vm, "name": vm, "cpuCount": 4, "memoryMB": 4096, "disks": [own, both] if shared else [own],
            }  # fmt: skip
        plan["spec"] |= spec
        await hub.apply(plan)
        yield it


def placement(found: PlanCapacity) -> list[str]:
    return [one.why for one in found.unknown if one.resource == "placement"]


async def test_a_node_selector_of_the_plan_that_no_node_has_is_short(tmp_path: Path) -> None:
    async with from_vsphere(tmp_path, {"targetNodeSelector": {"zone": "nowhere"}}) as it:
        found = await it.judged()
    assert found.verdict == "short"
    assert "label zone=nowhere is missing" in found.headline


async def test_an_affinity_of_the_plan_leaves_the_nodes_that_it_names(tmp_path: Path) -> None:
    affinity = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": ZONE_A}}}
    async with from_vsphere(tmp_path, {"targetAffinity": affinity}) as it:
        nowhere = await it.judged()
    async with from_vsphere(tmp_path, {"targetAffinity": affinity}) as it:
        node = next(one for one in it.clusters["west"].objects.values() if one["kind"] == "Node"
                    and one["metadata"]["name"] == "west-w2")  # fmt: skip
        labels = {**node["metadata"]["labels"], "zone": "a"}
        await it.clusters["west"].apply({**node, "metadata": {**node["metadata"], "labels": labels}})
        one_node = await it.judged()
    assert nowhere.verdict == "short"
    assert "does not match the VM's node affinity" in nowhere.headline
    assert one_node.verdict == "fits"
    assert set(one_node.answer.compute.best.where.values()) == {"west-w2"}


@pytest.mark.parametrize("part", ["podAffinity", "podAntiAffinity"])
async def test_what_the_plan_wishes_of_other_pods_is_not_known_and_never_just_fits(part: str, tmp_path: Path) -> None:
    async with from_vsphere(tmp_path, {"targetAffinity": {part: NEAR}}) as it:
        found = await it.judged()
    assert placement(found) == [f"not checked: spec.targetAffinity.{part} of the plan"]
    assert found.headline.startswith("Fits as far as known: ")
    assert found.headline.endswith("; not known: placement")
    [asked] = [one for one in found.unknown if one.resource == "placement"]
    assert asked.subject == "db, app"


@pytest.mark.parametrize("kind", ["VirtualMachineInstancetype", "VirtualMachineClusterInstancetype"])
async def test_an_instance_type_of_the_plan_gives_the_size(kind: str, tmp_path: Path) -> None:
    sized = [{"id": "vm-41", "name": "db", "instanceType": LARGE}, {"id": "vm-42", "name": "app"}]
    async with from_vsphere(tmp_path, {"vms": sized}) as it:
        await it.clusters["west"].apply(
            {
                "apiVersion": "instancetype.kubevirt.io/v1beta1",
                "kind": kind,
                "metadata": {"name": LARGE} | ({"namespace": "payments"} if "Cluster" not in kind else {}),
                "spec": {"cpu": {"guest": 32}, "memory": {"guest": "128Gi"}},
            }
        )
        found = await it.judged()
    memory = {one.name: one.requests["memory"] // GIB for one in found.vms if one.requests}
    assert memory == {"db": 128, "app": 4}
    assert found.verdict == "short"
    assert "db needs 128." in found.headline
    assert f"db: sized by instance type {LARGE} of the plan" in found.notes


async def test_an_instance_type_that_cannot_be_had_is_not_known(tmp_path: Path) -> None:
    sized = [{"id": "vm-41", "name": "db", "instanceType": LARGE}]
    async with from_vsphere(tmp_path, {"vms": sized}) as it:
        missing = await it.judged()
        it.clusters["west"].forbidden = {("get", "virtualmachineinstancetypes.instancetype.kubevirt.io")}
        refused = await it.judged()
    assert (missing.verdict, refused.verdict) == ("unknown", "unknown")
    assert "the plan gives it instance type u1.8xlarge, which is not at the target" in missing.vms[0].why
    right = "get virtualmachineinstancetypes.instancetype.kubevirt.io in namespace payments"
    assert any(one.right == right for one in refused.unknown)


async def test_disks_that_vms_share_are_left_out_where_the_plan_does_not_copy_them(tmp_path: Path) -> None:
    async def storage(spec: Mapping[str, Any]) -> int:
        async with from_vsphere(tmp_path, spec, shared=True) as it:
            found = await it.judged()
        return next(one.need for one in found.answer.lines if one.resource == "storage") // GIB

    assert await storage({}) == 170
    assert await storage({"migrateSharedDisks": False}) == 160
    own = [{"id": "vm-41", "name": "db", "migrateSharedDisks": True}, {"id": "vm-42", "name": "app"}]
    assert await storage({"migrateSharedDisks": False, "vms": own}) == 170


@pytest.mark.parametrize("kind", ["live", "cold"])
async def test_forklift_copies_vms_of_openshift_as_they_are_so_the_plans_wish_is_not_known(
    kind: str, tmp_path: Path
) -> None:
    async with room(tmp_path) as it:
        plan = it.plan()
        wishes = {"targetNodeSelector": {"zone": "nowhere"}, "targetAffinity": {"podAffinity": NEAR}}
        plan["spec"] |= {"type": kind, **wishes}
        found = await it.judged()
        plan["spec"]["vms"][0]["instanceType"] = LARGE
        sized = await it.judged()
    told = [one for one in placement(found) if "spec.target" in one]
    assert [one.split()[2] for one in told] == ["spec.targetNodeSelector", "spec.targetAffinity"]
    assert found.headline.startswith("Fits as far as known: ")
    if kind == "live":  # it runs already, and takes its size along
        assert any("spec.vms[].instanceType" in one for one in placement(sized))
    else:
        assert sized.verdict == "unknown"
        assert "spec.vms[].instanceType" in sized.vms[0].why
