"""Plans whose VMs have only an id: names are found at the source, or stand in the status of a plan that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from receiver.room.wanted import vms_of
from tests.unit.room.clusters import Room, room

pytestmark = pytest.mark.anyio

NAMES = ["pay-web-01", "pay-app-01", "pay-db-01"]
LIST_VMS = ("list", "virtualmachines.kubevirt.io")


def _only_ids(it: Room) -> list[dict[str, Any]]:
    vms: list[dict[str, Any]] = it.plan()["spec"]["vms"]
    for vm in vms:
        del vm["name"], vm["namespace"]
    return vms


async def test_vms_that_a_plan_names_by_id_are_found_at_the_source(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        whole = await it.judged()
        _only_ids(it)
        found = await it.judged()
    assert [one.name for one in found.vms] == NAMES
    assert (found.verdict, found.headline) == (whole.verdict, whole.headline)
    assert found.unknown == whole.unknown


async def test_vms_that_run_are_found_without_the_right_to_list_the_others(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        ids = {vm["name"]: vm["id"] for vm in it.plan()["spec"]["vms"]}
        east = it.clusters["east"]
        for vmi in [one for one in east.objects.values() if one["kind"] == "VirtualMachineInstance"]:
            owner = {"kind": "VirtualMachine", "name": vmi["metadata"]["name"], "uid": ids[vmi["metadata"]["name"]]}
            await east.apply({**vmi, "metadata": {**vmi["metadata"], "ownerReferences": [owner]}})
        east.forbidden = {LIST_VMS}
        _only_ids(it)
        found = await it.judged()
        asked = east.calls[LIST_VMS]
    assert [one.name for one in found.vms] == NAMES
    assert found.verdict == "fits"
    assert asked == 0


async def test_an_id_that_nobody_can_place_is_not_known_with_the_right_that_would_tell(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        _only_ids(it)[0]["id"] = "00000000-0000-4000-8000-000000000000"
        strange = await it.judged()
        it.clusters["east"].forbidden = {LIST_VMS}
        refused = await it.judged()
    assert strange.verdict == "unknown"
    assert [one.subject for one in strange.unknown if one.why == "no VM of east has this id"] == [
        "00000000-0000-4000-8000-000000000000"
    ]
    assert [one.name for one in strange.vms][1:] == NAMES[1:]
    assert refused.verdict == "unknown"
    assert "list virtualmachines.kubevirt.io in all namespaces" in {one.right for one in refused.unknown}


async def test_a_plan_that_runs_has_the_names_in_its_status(tmp_path: Path) -> None:
    async with room(tmp_path, executing=True) as it:
        status = it.plan()["status"]["migration"]["vms"]
        for vm, done in zip(it.plan()["spec"]["vms"], status, strict=True):
            done |= {"id": vm["id"], "name": vm["name"], "namespace": vm["namespace"]}
        _only_ids(it)
        found = await it.judged()
        asked = it.clusters["east"].calls[LIST_VMS]
    assert [one.name for one in found.vms] == NAMES
    assert asked == 0


def test_an_entry_with_only_a_name_gets_its_id_from_the_status() -> None:
    plan = {
        "spec": {"vms": [{"name": "db"}, {"id": "vm-2", "targetName": "new"}, {"id": "vm-3"}, {}]},
        "status": {"migration": {"vms": [{"id": "vm-1", "name": "db"}, {"id": "vm-2", "name": "app"}]}},
    }
    assert [(one.id, one.name, one.target) for one in vms_of(plan)] == [
        ("vm-1", "db", "db"),
        ("vm-2", "app", "new"),
        ("vm-3", "", ""),
    ]
