"""What a plan's room is judged by: VMs that are off, other providers, other running plans."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from receiver.clock import SystemClock
from receiver.room.inventory import INVENTORY
from receiver.room.result import PlanCapacity
from tests.fakes.kubernetes_answers import status_answer
from tests.fleet import DATA
from tests.unit.room.clusters import GIB, from_inventory, room, vsphere, without

pytestmark = pytest.mark.anyio

EXPECTED = json.loads((DATA / "expected.json").read_text())


async def test_a_vm_that_is_off_is_expanded_by_its_cluster_and_called_an_estimate(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        east = it.clusters["east"]
        vmi = next(one for one in east.objects.values() if one["kind"] == "VirtualMachineInstance"
                   and one["metadata"]["name"] == "pay-web-01")  # fmt: skip
        vm = next(one for one in east.objects.values() if one["kind"] == "VirtualMachine"
                  and one["metadata"]["name"] == "pay-web-01")  # fmt: skip
        expanded = {**vm, "spec": {"template": {"spec": vmi["spec"]}}}
        await east.delete("VirtualMachineInstance", "payments", "pay-web-01")
        await east.delete("Pod", "payments", "virt-launcher-pay-web-01-abcde")
        east.expanded["payments", "pay-web-01"] = expanded
        found = await it.judged()
        del east.expanded["payments", "pay-web-01"]
        east.forbidden = {("get", "virtualmachines.subresources.kubevirt.io/expand-spec")}
        refused = await it.judged()
    web = next(one for one in found.vms if one.name == "pay-web-01")
    assert web.origin == "formula from the VM, estimated"
    assert web.requests is not None
    assert web.requests["memory"] == EXPECTED["demand"]["pay-web-01"]["memory_bytes"]
    assert found.verdict == "fits"
    unknown = next(one for one in refused.vms if one.name == "pay-web-01")
    assert "instancetype" in unknown.why
    assert refused.verdict == "unknown"


async def test_without_cdis_share_a_volume_is_shown_by_its_least_size(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        whole = await it.judged()
        it.clusters["west"].forbidden = {("get", "cdiconfigs.cdi.kubevirt.io")}
        found = await it.judged()

    def need(judged: PlanCapacity) -> int:
        return next(one.need for one in judged.answer.lines if one.owner == "nfs-shared")

    assert (need(whole), need(found)) == (34_144_990_004, 30 * GIB)
    assert found.answer.storage.verdict == "unknown"


async def test_cpu_follows_the_ratio_of_the_target(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        kubevirt = next(one for one in it.clusters["west"].objects.values() if one["kind"] == "KubeVirt")
        ratio = {"configuration": {"developerConfiguration": {"cpuAllocationRatio": 5}}}
        await it.clusters["west"].apply({**kubevirt, "spec": ratio})
        found = await it.judged()
    assert {one.name: one.requests["cpu"] for one in found.vms if one.requests} == {
        "pay-web-01": 405,
        "pay-app-01": 805,
        "pay-db-01": 1605,
    }


async def test_vms_of_vsphere_are_estimated_from_the_inventory_where_it_can_be_asked(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        hub = it.clusters["hub"]
        plan, path = await from_inventory(it)
        disk = {"file": "[ds] db.vmdk", "capacity": 80 * GIB, "datastore": {"id": "datastore-7"}}
        for vm in ("vm-41", "vm-42"):
            hub.proxied[path + vm] = {"id": vm, "name": vm, "cpuCount": 4, "memoryMB": 16384, "disks": [disk]}
        await hub.apply(plan)
        found = await it.judged()
    assert [(one.name, one.origin.value) for one in found.vms] == [
        ("db", "estimated from the inventory"),
        ("app", "estimated from the inventory"),
    ]
    assert found.verdict == "fits"
    (storage,) = [one for one in found.answer.lines if one.resource == "storage"]
    assert (storage.owner, storage.need) == ("array-gold", 160 * GIB)
    assert not any(one.certain for one in found.answer.lines if one.resource == "memory")


@pytest.mark.parametrize(
    ("code", "says", "right"),
    [
        (403, "forbidden", f"get services/proxy ({INVENTORY}) in namespace openshift-mtv"),
        (401, "takes no requests through the API server's proxy", ""),
        (404, "", ""),
    ],
)
async def test_an_inventory_that_cannot_be_asked_leaves_its_vms_unknown(
    code: int, says: str, right: str, tmp_path: Path
) -> None:
    async with room(tmp_path) as it:
        hub = it.clusters["hub"]
        provider, plan, path = vsphere(it)
        it.config = without(it.config, "east")
        await hub.apply(provider)
        await hub.apply(plan)
        for vm in ("vm-41", "vm-42"):
            hub.proxied[path + vm] = status_answer(code, "", "no")
        found = await it.judged()
    assert found.verdict == "unknown"
    assert found.answer.shortages == ()
    why = next(one for one in found.unknown if "inventory" in one.why and one.subject.endswith("east-mtv"))
    assert says in why.why
    assert why.right == right


async def test_receivers_of_other_running_plans_without_a_pod_hold_room_back(tmp_path: Path) -> None:
    async with room(tmp_path, {"west": "s2-fragmented-memory.yaml"}, executing=True) as it:
        hub = it.clusters["hub"]
        plan = it.plan()
        vms = {one["name"]: one for one in plan["spec"]["vms"]}
        begun = [{**vms["pay-app-01"], "started": "2026-09-01T08:00:00Z", "phase": "CreateTarget"}]
        other = {
            **plan,
            "metadata": {"name": "another", "namespace": "mtv-integrations", "uid": "uid-another"},
            "spec": {**plan["spec"], "vms": [vms["pay-app-01"]]},
            "status": {**plan["status"], "migration": {"vms": begun}},
        }
        plan["spec"]["vms"] = [vms["pay-web-01"]]
        await hub.apply(plan)
        alone = await it.judged()
        await hub.apply(other)
        found = await it.judged(SystemClock().now() + timedelta(minutes=2))
    assert "room is held back for 1 VM of other running plans" in found.notes
    assert not any("held back" in note for note in alone.notes)
    assert found.answer.in_flight is not None
    assert found.answer.in_flight.plans == (
        "mtv-integrations/another",
        "mtv-integrations/cross-cluster-migration-k7x2",
    )
    assert sum(hole["memory"] for hole in found.answer.compute.best.left.values()) < sum(
        hole["memory"] for hole in alone.answer.compute.best.left.values()
    )


async def test_a_provider_that_no_cluster_lists_is_not_known_and_the_cure_is_named(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        it.config = without(it.config, "west")
        found = await it.judged()
    assert found.verdict == "unknown"
    assert found.answer.cluster == "west"
    assert any("list mtv-integrations/west-mtv in `providers` of a cluster" in one.why for one in found.unknown)
    assert "list mtv-integrations/west-mtv" in found.headline


async def test_a_provider_without_url_is_the_cluster_itself(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        it.config = without(it.config, "west")
        provider = next(one for one in it.clusters["hub"].objects.values() if one["metadata"]["name"] == "west-mtv")
        await it.clusters["hub"].apply({**provider, "spec": {"type": "openshift", "url": ""}})
        found = await it.judged()
    assert found.answer.cluster == "hub"


async def test_vms_that_have_arrived_are_left_out_and_failed_ones_are_not(tmp_path: Path) -> None:
    async with room(tmp_path, executing=True) as it:
        plan = it.plan()
        first, second, _ = plan["status"]["migration"]["vms"]
        first |= {"completed": "2026-09-01T08:05:00Z", "conditions": [{"type": "Succeeded", "status": "True"}]}
        second |= {"completed": "2026-09-01T08:05:00Z", "error": {"phase": "Completed", "reasons": ["no"]}}
        await it.clusters["hub"].apply(plan)
        found = await it.judged()
        for one in plan["status"]["migration"]["vms"]:
            one.pop("error", None)
            one["completed"] = "2026-09-01T08:05:00Z"
        await it.clusters["hub"].apply(plan)
        over = await it.judged()
    assert [one.name for one in found.vms] == ["pay-app-01", "pay-db-01"]
    assert found.total == 3
    assert over.vms == ()
    assert over.headline == "Nothing left to check: every VM of the plan is on west already"


async def test_a_target_that_hangs_is_timed_out_and_never_short(tmp_path: Path) -> None:
    async with room(tmp_path, wait_s=0.2, request_s=0.5) as it:
        it.clusters["west"].hang()
        found = await it.judged()
        it.clusters["west"].release()
    assert found.verdict == "unknown"
    assert found.answer.shortages == ()
    assert {one.value for one in (part.verdict for part in found.answer.parts)} == {"unknown"}
    assert any("pods could not be read: timed out after 0.2 s" in one.why for one in found.unknown)


async def test_nonsense_in_a_plan_is_no_error(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        plan = it.plan()
        plan["spec"] = {"vms": "all", "provider": [], "map": {"storage": {"name": 7}}, "targetNamespace": None}
        plan["status"] = {"migration": {"vms": [3, {"id": []}]}, "conditions": 1}
        found = await it.judged()
    assert found.total == 0
    assert found.verdict == "unknown"
    json.dumps(found.json())


async def test_clusters_that_only_a_provider_tells_of_are_named_as_not_configured(tmp_path: Path) -> None:
    def provider(name: str, **spec: str) -> dict[str, object]:
        metadata = {"name": name, "namespace": "mtv-integrations"}
        return {"apiVersion": "forklift.konveyor.io/v1beta1", "kind": "Provider", "metadata": metadata, "spec": spec}

    async with room(tmp_path) as it:
        hub = it.clusters["hub"]
        before = dict((await it.judged(others=True)).ranking.left_out)
        await hub.apply(provider("spare-mtv", type="openshift", url="https://spare:6443"))
        await hub.apply(provider("host", type="openshift", url=""))
        await hub.apply(provider("vcenter", type="vsphere", url="https://vcenter/sdk"))
        east = {**provider("east-mtv", type="openshift", url="https://east:6443")}
        await hub.apply({**east, "metadata": {"name": "east-mtv", "namespace": "another"}})
        found = await it.judged(others=True)
        hub.forbidden = {("list", "providers.forklift.konveyor.io")}
        refused = await it.judged(others=True)
    more = {name: why for name, why in found.ranking.left_out if before.get(name) != why}
    assert more == {
        "spare": "not configured here: list mtv-integrations/spare-mtv in `providers` of a cluster",
        "another/east-mtv": "not configured here: list another/east-mtv in `providers` of a cluster",
    }
    assert "west" not in dict(found.ranking.left_out)
    assert dict(refused.ranking.left_out) == before
    assert "list providers.forklift.konveyor.io in all namespaces" in {one.right for one in refused.unknown}


async def test_a_configured_cluster_without_its_provider_is_told_which_one_to_list(tmp_path: Path) -> None:
    async with room(tmp_path, {"west": "s1-fits.yaml", "south": "s4-alternative-south.yaml"}) as it:
        it.config = without(it.config, "south")
        none = dict((await it.judged(others=True)).ranking.left_out)
        west = next(one for one in it.clusters["hub"].objects.values() if one["metadata"]["name"] == "west-mtv")
        await it.clusters["hub"].apply({**west, "metadata": {"name": "south-mtv", "namespace": "mtv-integrations"}})
        found = dict((await it.judged(others=True)).ranking.left_out)
    assert none["south"] == "no migration provider leads to it: list one in its `providers`"
    assert found["south"] == "not configured here: list mtv-integrations/south-mtv in `providers` of a cluster"
