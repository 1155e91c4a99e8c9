"""A VM that an earlier run switched off is still down, whatever the last run says of itself."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.enrichers.evidence import gather_plan
from receiver.enrichers.plan import read_plan
from receiver.enrichers.redact import Redactor
from receiver.enrichers.runs import align
from receiver.kube import ClusterError
from receiver.model import Evidence, Impact
from tests.unit.enrichers.cluster import MemoryCluster, objects
from tests.unit.enrichers.test_evidence import NOW, RUNBOOK, identity_of

COLD = "a-cold-vsphere-imageconversion.yaml"
FIRST = "a4be9d3c-0e57-4a52-8d2f-1f1d7d1f9a02"

pytestmark = pytest.mark.anyio


def twice(power: str = "Off") -> MemoryCluster:
    """Return the example after a second run, which found erp-win01 in that power state and failed alike."""
    cluster = MemoryCluster(objects(COLD))
    plan = plan_of(cluster)
    first = next(obj for obj in cluster.objs if obj["kind"] == "Migration")
    first["status"]["vms"] = copy.deepcopy(plan["status"]["migration"]["vms"])
    history = plan["status"]["migration"]["history"]
    second = copy.deepcopy(history[0])
    second["migration"] |= {"uid": "second-run", "name": "erp-wave1-second"}
    history.append(second)
    vm = last_vm(plan)
    vm["restorePowerState"] = power
    vm["pipeline"][0]["completed"] = "2026-09-15T08:03:40Z"
    return cluster


def plan_of(cluster: MemoryCluster) -> dict[str, Any]:
    return next(obj for obj in cluster.objs if obj["kind"] == "Plan")


def first_run(cluster: MemoryCluster) -> dict[str, Any]:
    return next(obj for obj in cluster.objs if obj["kind"] == "Migration")


def last_vm(plan: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = plan["status"]["migration"]["vms"][-1]
    return found


async def gathered(cluster: MemoryCluster) -> Evidence:
    return await gather_plan(cluster, identity_of(cluster), RUNBOOK, redactor=Redactor(), now=NOW, timeout_s=5.0)


async def test_a_vm_that_run_one_left_off_is_down_since_run_one_and_not_without_impact() -> None:
    evidence = await gathered(twice())
    assert evidence.impact is Impact.DOWN
    assert evidence.impact_text.startswith(
        "erp-win01 was On before run 1 and is off since then (14 Sep 08:03 UTC). MTV does not power it on again. "
        "No target VM exists, so powering on the source is a safe way back."
    )
    (vm,) = evidence.failures
    assert (vm.power_before, vm.power_now, vm.down_run, vm.target_exists) == ("On", "off", 1, False)


async def test_a_vm_that_was_off_before_every_run_has_no_impact() -> None:
    cluster = twice()
    first_run(cluster)["status"]["vms"][-1]["restorePowerState"] = "Off"
    evidence = await gathered(cluster)
    assert evidence.impact is Impact.NONE
    assert "was Off before" in evidence.impact_text


@pytest.mark.parametrize("lost", ["deleted", "forbidden", "without VMs", "list of numbers"])
async def test_an_earlier_run_that_cannot_be_read_leaves_the_impact_unknown(lost: str) -> None:
    cluster = twice()
    if lost == "deleted":
        cluster.objs.remove(first_run(cluster))
    elif lost == "forbidden":
        cluster.refuse["list", "Migration"] = ClusterError("forbidden", "no")
    else:
        first_run(cluster)["status"]["vms"] = [] if lost == "without VMs" else [1, 2]
    evidence = await gathered(cluster)
    assert evidence.impact is Impact.UNKNOWN
    assert "run 1 could not be read" in evidence.impact_text
    assert "safe" not in evidence.impact_text
    cures = [one.cure for one in evidence.missing if one.what == "earlier runs"]
    assert cures == (
        ["needs list migrations.forklift.konveyor.io in namespace mig-team-a"] if lost == "forbidden" else []
    )


async def test_a_vm_found_on_by_the_last_run_needs_no_earlier_one() -> None:
    cluster = twice("On")
    evidence = await gathered(cluster)
    assert (evidence.impact, evidence.failures[0].down_run) == (Impact.DOWN, 0)
    assert ("list", "Migration") not in {asked[:2] for asked in cluster.asked}


async def test_a_run_that_failed_before_it_looked_at_the_power_is_judged_by_the_run_before() -> None:
    cluster = twice("")
    last_vm(plan_of(cluster))["error"]["phase"] = "PreHook"
    evidence = await gathered(cluster)
    assert (evidence.impact, evidence.failures[0].down_run) == (Impact.DOWN, 1)


async def test_a_vm_that_a_canceled_run_may_have_powered_on_is_not_called_down() -> None:
    cluster = twice()
    vm = first_run(cluster)["status"]["vms"][-1]
    vm["conditions"] = [{"type": "Canceled", "status": "True"}]
    evidence = await gathered(cluster)
    assert evidence.impact is Impact.UNKNOWN
    assert "run 1 was canceled" in evidence.impact_text


async def test_a_target_vm_that_run_one_may_have_made_forbids_to_advise_powering_on() -> None:
    cluster = twice()
    steps = first_run(cluster)["status"]["vms"][-1]["pipeline"]
    next(step for step in steps if step["name"] == "VirtualMachineCreation").update(phase="Running", started="x")
    evidence = await gathered(cluster)
    assert evidence.impact is Impact.DOWN
    assert "never run both" in evidence.impact_text
    assert "safe" not in evidence.impact_text


async def test_a_re_run_under_way_still_says_who_is_down_since_the_run_before() -> None:
    cluster = twice()
    plan = plan_of(cluster)
    plan["status"]["conditions"] = [{"type": "Executing", "status": "True"}]
    vm = last_vm(plan)
    for key in ("error", "completed"):
        vm.pop(key, None)
    vm["conditions"] = []
    evidence = await gathered(cluster)
    assert (evidence.impact, evidence.failures) == (Impact.DOWN, ())
    assert [one.name for one in evidence.standing] == ["erp-win01"]
    assert "erp-win01 was On before run 1 and is off since then" in evidence.impact_text


async def test_a_vm_that_the_re_run_itself_switched_off_is_planned_downtime() -> None:
    cluster = twice("On")
    plan = plan_of(cluster)
    plan["status"]["conditions"] = [{"type": "Executing", "status": "True"}]
    vm = last_vm(plan)
    vm.pop("error")
    vm["conditions"] = []
    assert (await gathered(cluster)).impact is Impact.NONE


def test_the_plan_alone_never_says_none_of_a_second_run_that_found_the_vm_off() -> None:
    assert read_plan(plan_of(twice())).impact is Impact.UNKNOWN


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_broken_field_of_an_earlier_run_makes_reading_raise_or_loses_the_doubt(data: st.DataObject) -> None:
    cluster = twice()
    migration = first_run(cluster)
    places = [
        (holder, key) for vm in migration["status"]["vms"] for holder in (vm, *vm["pipeline"]) for key in tuple(holder)
    ]
    holder, key = data.draw(st.sampled_from(places))
    holder[key] = data.draw(st.sampled_from([None, 7, "x", [], {}, [{"type": 3}], {"reasons": "y"}]))
    plan = plan_of(cluster)
    evidence = read_plan(plan, align(plan, [migration]))
    assert evidence.impact in (Impact.DOWN, Impact.AT_RISK, Impact.UNKNOWN)
