"""What a Plan says, from the example objects and from Plans that lie."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.enrichers.facts import namespace_facts
from receiver.enrichers.plan import evidence_facts, facts_of, plan_phase, read_plan, run_uid
from receiver.model import Evidence, Impact, PlanPhase, VMCounts
from tests.unit.enrichers.cluster import plan_of

COLD = "a-cold-vsphere-imageconversion.yaml"
SHARED = ("openshift-mtv",)


def test_a_cold_conversion_failure_says_who_is_down_since_when_and_what_is_safe() -> None:
    evidence = read_plan(plan_of(COLD))
    assert evidence.counts == VMCounts(total=2, failed=1, succeeded=1)
    assert (evidence.run, evidence.run_name, evidence.run_number) == (
        "a4be9d3c-0e57-4a52-8d2f-1f1d7d1f9a02",
        "erp-wave1-7k2qp",
        1,
    )
    assert (evidence.phase, evidence.mode, evidence.source_provider) == (PlanPhase.FAILED, "cold", "vcenter-a")
    assert evidence.ended == datetime(2026, 9, 14, 8, 29, 44, tzinfo=UTC)
    (vm,) = evidence.failures
    assert (vm.id, vm.name, vm.step, vm.phase) == ("vm-1402", "erp-win01", "ImageConversion", "ConvertGuest")
    assert vm.reasons == ("Guest conversion failed. See pod logs for details.",)
    assert vm.failed_at == datetime(2026, 9, 14, 8, 7, 31, tzinfo=UTC)
    assert vm.duration_s == 328
    assert (vm.power_before, vm.power_now, vm.target_exists) == ("On", "off", False)
    assert vm.off_since == datetime(2026, 9, 14, 8, 3, 40, tzinfo=UTC)
    assert evidence.impact is Impact.DOWN
    assert evidence.impact_text == (
        "erp-win01 was On and is off since 08:03 UTC. MTV does not power it on again. No target VM exists, so powering "
        "on the source is a safe way back. 1 VM is done and runs on the target."
    )


def test_the_same_reason_with_and_without_the_prime_prefix_counts_once() -> None:
    (vm,) = read_plan(plan_of("c-disktransfer-out-of-space.yaml")).failures
    assert [reason.split(":")[0] for reason in vm.reasons] == [
        "Unable to process data",
        "Pending; target PVC files-cold-files01-disk-1-w5l2c Pending and [prime-90b7ce31-0a2d-4d0c-8b8c-1f6d2e7a4b10] ",
    ]


def test_progress_of_a_transfer_has_its_total_and_unit() -> None:
    (vm,) = read_plan(plan_of("c-disktransfer-out-of-space.yaml")).failures
    assert vm.progress == "51,200 of 563,200 MB (9 %)"
    (started, nothing) = read_plan(plan_of("b2-warm-snapshot-current.yaml")).failures
    assert (started.progress, nothing.progress) == ("61,440 of 61,440 MB (100 %)", "0 of 20,480 MB")


@pytest.mark.parametrize("name", ["b-warm-retry-limit-legacy.yaml", "b2-warm-snapshot-current.yaml"])
def test_a_failed_warm_precopy_takes_no_service_down(name: str) -> None:
    evidence = read_plan(plan_of(name))
    assert evidence.mode == "warm"
    assert evidence.impact is Impact.NONE
    assert "never switched off" in evidence.impact_text
    assert all(vm.power_now == "on" and vm.off_since is None for vm in evidence.failures)


def test_a_failed_live_migration_leaves_the_source_running() -> None:
    evidence = read_plan(plan_of("d2-live-cclm-failed.yaml"))
    assert evidence.impact is Impact.NONE
    assert evidence.impact_text == "billing-app01 was never switched off and should still run on ocp-east."


def test_a_plan_that_still_runs_without_failures_is_executing_and_harms_nobody() -> None:
    evidence = read_plan(plan_of("d-live-cclm-stuck.yaml"))
    assert (evidence.phase, evidence.counts.running, evidence.failures) == (PlanPhase.EXECUTING, 1, ())
    assert evidence.impact is Impact.NONE


def _vm(plan: dict[str, Any]) -> dict[str, Any]:
    vm: dict[str, Any] = plan["status"]["migration"]["vms"][-1]
    return vm


def _step(plan: dict[str, Any], name: str) -> dict[str, Any]:
    return next(step for step in _vm(plan)["pipeline"] if step["name"] == name)


def test_a_vm_that_was_off_before_has_no_impact() -> None:
    plan = plan_of(COLD)
    _vm(plan)["restorePowerState"] = "Off"
    evidence = read_plan(plan)
    assert evidence.impact is Impact.NONE
    assert "was Off before: no service is down" in evidence.impact_text
    assert "powering on" not in evidence.impact_text


@pytest.mark.parametrize("power", ["Unknown", None, 7, {}])
def test_an_unknown_power_state_before_gives_an_unknown_impact(power: object) -> None:
    plan = plan_of(COLD)
    _vm(plan)["restorePowerState"] = power
    evidence = read_plan(plan)
    assert evidence.impact is Impact.UNKNOWN
    assert "is not known" in evidence.impact_text
    assert "safe" not in evidence.impact_text


def test_powering_on_is_never_called_safe_once_a_target_vm_may_exist() -> None:
    plan = plan_of(COLD)
    _step(plan, "VirtualMachineCreation").update(phase="Running", started="2026-09-14T08:07:00Z")
    maybe = read_plan(plan)
    assert (maybe.impact, maybe.failures[0].target_exists) == (Impact.DOWN, None)
    assert "never run both" in maybe.impact_text

    _step(plan, "VirtualMachineCreation").update(phase="Completed", completed="2026-09-14T08:07:10Z")
    made = read_plan(plan)
    assert (made.impact, made.failures[0].target_exists) == (Impact.AT_RISK, True)
    assert "do not power on the source" in made.impact_text
    assert "safe" not in maybe.impact_text + made.impact_text


@pytest.mark.parametrize(
    ("phase", "impact"),
    [
        ("PreHook", Impact.NONE),
        ("StorePowerState", Impact.NONE),
        ("PowerOffSource", Impact.AT_RISK),
        ("WaitForPowerOff", Impact.AT_RISK),
        ("CreateDataVolumes", Impact.DOWN),
        ("CopyDisks", Impact.DOWN),
    ],
)
def test_impact_of_a_cold_vm_depends_on_whether_it_was_switched_off_yet(phase: str, impact: Impact) -> None:
    plan = plan_of(COLD)
    _vm(plan)["error"]["phase"] = phase
    assert read_plan(plan).impact is impact


def test_a_warm_vm_that_failed_after_its_cutover_is_down_since_the_cutover() -> None:
    plan = plan_of("b-warm-retry-limit-legacy.yaml")
    vm = _vm(plan)
    vm["restorePowerState"] = "On"
    vm["error"] = {"phase": "ConvertGuest", "reasons": ["Guest conversion failed."]}
    del _step(plan, "DiskTransfer")["error"]
    _step(plan, "Cutover").update(phase="Completed", started="2026-09-16T22:00:00Z", completed="2026-09-16T22:30:00Z")
    _step(plan, "ImageConversion").update(phase="Running", error={"phase": "Running", "reasons": ["x"]})
    evidence = read_plan(plan)
    assert evidence.impact is Impact.DOWN
    assert evidence.failures[0].step == "ImageConversion"
    assert evidence.impact_text.startswith("crm-db01 was On and is off since 22:00 UTC.")


def test_several_vms_are_named_and_the_rest_counted() -> None:
    plan = plan_of(COLD)
    for number in range(5):
        extra = copy.deepcopy(_vm(plan))
        extra.update(id=f"vm-9{number}", name=f"erp-x{number}")
        plan["status"]["migration"]["vms"].append(extra)
    assert read_plan(plan).impact_text.startswith(
        "erp-win01, erp-x0, erp-x1 and 3 more were On and are off since 08:03"
    )


def test_an_early_failure_is_seen_while_the_plan_still_executes() -> None:
    plan = plan_of(COLD)
    plan["status"]["conditions"] = [{"type": "Executing", "status": "True"}]
    first = plan["status"]["migration"]["vms"][0]
    del first["conditions"], first["completed"]
    evidence = read_plan(plan)
    assert (evidence.phase, evidence.counts.failed, evidence.counts.running) == (PlanPhase.EXECUTING, 1, 1)
    assert evidence.failures[0].name == "erp-win01"


def test_a_plan_that_a_blocker_failed_has_reasons_of_its_own_and_an_unknown_impact() -> None:
    plan = plan_of(COLD)
    plan["status"]["migration"]["vms"] = []
    plan["status"]["conditions"] = [
        {"type": "Failed", "status": "True", "category": "Advisory", "message": "The migration has FAILED due to a "
         "validation blocker: VMNotFound"},
        {"type": "VMNotFound", "status": "True", "category": "Critical", "message": "VM not found.",
         "items": [" id:vm-1 name:'a' "]},
        {"type": "HostNotReady", "status": "True", "category": "Warn", "message": "maintenance"},
        {"type": "DuplicateVM", "status": "False", "category": "Critical", "message": "no longer"},
    ]  # fmt: skip
    evidence = read_plan(plan)
    assert evidence.plan_reasons == (
        "The migration has FAILED due to a validation blocker: VMNotFound",
        "VMNotFound: VM not found. (id:vm-1 name:'a')",
    )
    assert evidence.impact is Impact.UNKNOWN


@pytest.mark.parametrize(
    ("types", "phase"),
    [
        (["Ready"], PlanPhase.READY),
        (["Ready", "Executing"], PlanPhase.EXECUTING),
        (["Failed", "Executing"], PlanPhase.EXECUTING),
        (["Failed", "Archived"], PlanPhase.FAILED),
        (["Ready", "Succeeded"], PlanPhase.SUCCEEDED),
        (["Canceled", "Ready"], PlanPhase.CANCELED),
        (["VMNotFound"], PlanPhase.READY),
        ([], PlanPhase.UNREADABLE),
    ],
)
def test_the_phase_follows_from_the_conditions(types: list[str], phase: PlanPhase) -> None:
    conditions = [{"type": kind, "status": "True"} for kind in types]
    assert plan_phase({"status": {"conditions": conditions}}) is phase


def test_a_condition_that_does_not_hold_does_not_count() -> None:
    conditions = [{"type": "Failed", "status": "False"}, {"type": "Ready", "status": "True"}]
    assert plan_phase({"status": {"conditions": conditions}}) is PlanPhase.READY


def test_the_run_is_the_last_of_the_history() -> None:
    plan = plan_of(COLD)
    plan["status"]["migration"]["history"].append({"migration": {"uid": "second", "name": "erp-wave1-2nd"}})
    evidence = read_plan(plan)
    assert (run_uid(plan), evidence.run, evidence.run_name, evidence.run_number) == (
        "second",
        "second",
        "erp-wave1-2nd",
        2,
    )


def test_a_plan_that_never_ran_has_all_its_vms_waiting() -> None:
    assert read_plan({"spec": {"vms": [{"id": "a"}, {"name": "b"}]}}).counts == VMCounts(total=2, waiting=2)


def test_two_thousand_failed_vms_are_all_read() -> None:
    plan = plan_of(COLD)
    failed = _vm(plan)
    vms = [{**copy.deepcopy(failed), "id": f"vm-{number}", "name": f"v{number}"} for number in range(2_000)]
    plan["status"]["migration"]["vms"] = vms
    evidence = read_plan(plan)
    assert evidence.counts == VMCounts(total=2_000, failed=2_000)
    assert len(evidence.failures) == 2_000
    assert "v0, v1, v2 and 1,997 more" in evidence.impact_text


@pytest.mark.parametrize(
    "plan",
    [
        {},
        {"status": None, "spec": [], "metadata": "x"},
        {"status": {"conditions": "Failed", "migration": {"vms": {"a": 1}, "history": [None, 3]}}},
        {"status": {"conditions": [{"type": ["Failed"], "status": "True"}], "migration": {"vms": [None, [], "x"]}}},
        {"status": {"migration": {"vms": [{"pipeline": [{"error": {"reasons": [1, None, "\ud800"]}}], "error": {}}]}}},
        {"status": {"migration": {"vms": [{"conditions": [{"type": "Failed", "status": "True"}], "id": 7,
         "started": "never", "pipeline": [{"name": 3, "error": {"a": 1}, "annotations": {"unit": "MB"},
         "progress": {"completed": float("nan"), "total": 10**400}}]}]}}},
        {"status": {"migration": {"started": "9999-12-31T23:59:59-23:59", "vms": []}}},
    ],
)  # fmt: skip
def test_a_plan_that_lies_about_its_types_is_read_without_an_error(plan: dict[str, Any]) -> None:
    assert isinstance(read_plan(plan), Evidence)


_LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(
    ["True", "Failed", "Executing", "2026-09-14T08:07:31Z", "0001-01-01T00:00:00+14:00", "CopyDisks", "On", "MB"]
)  # fmt: skip
_KEY = st.sampled_from(
    ["metadata", "uid", "name", "namespace", "labels", "spec", "vms", "id", "type", "warm", "provider", "source",
     "status", "conditions", "category", "message", "items", "migration", "history", "pipeline", "error", "reasons",
     "phase", "started", "completed", "progress", "total", "annotations", "unit", "tasks", "reason",
     "lastTransitionTime"]
) | st.text(max_size=3)  # fmt: skip
_JSON = st.recursive(_LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEY, inner, max_size=5))


@given(st.dictionaries(_KEY, _JSON, max_size=6))
@settings(max_examples=300, deadline=None)
def test_no_json_object_makes_reading_raise(plan: dict[str, Any]) -> None:
    evidence = read_plan(plan)
    counts = evidence.counts
    assert counts.total == counts.failed + counts.succeeded + counts.running + counts.waiting + counts.canceled
    assert len(evidence.failures) == counts.failed
    facts_of(plan, SHARED)
    plan_phase(plan)
    run_uid(plan)


def _places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in children for place in _places(child, (*path, key)))]


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_no_single_broken_field_of_a_real_plan_makes_reading_raise(data: st.DataObject) -> None:
    plan = plan_of(COLD)
    path = data.draw(st.sampled_from([place for place in _places(plan) if place]))
    holder: Any = plan
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = data.draw(_JSON)
    assert isinstance(read_plan(plan), Evidence)
    facts_of(plan, SHARED)


def test_facts_come_under_names_of_their_own() -> None:
    plan = plan_of(COLD)
    plan["metadata"]["labels"] = {"wave": "17", "app.kubernetes.io/part-of": "erp"}
    plan["metadata"]["annotations"] = {"example.com/change": "CHG0048213"}
    of_namespace = namespace_facts("example.com", {"team": "payments"}, {"owner": "ann"}, {"receiver": "a, b"})
    assert facts_of(plan, SHARED) | of_namespace == {
        "plan_uid": "3f0c3d0e-6c55-4f0a-9c1b-0a7a5a2e41d1",
        "plan_name": "erp-wave1",
        "plan_namespace": "mig-team-a",
        "target_namespace": "erp-prod",
        "owner_namespace": "mig-team-a",
        "plan_provider": "vcenter-a",
        "plan_target_provider": "host",
        "plan_mode": "cold",
        "plan_label_wave": "17",
        "plan_label_app_kubernetes_io_part_of": "erp",
        "plan_annotation_example_com_change": "CHG0048213",
        "namespace_label_team": "payments",
        "namespace_annotation_owner": "ann",
        "namespace_receiver": "a,b",
    }


def test_a_plan_in_a_shared_namespace_belongs_to_its_target_namespace() -> None:
    plan = plan_of(COLD)
    plan["metadata"]["namespace"] = "openshift-mtv"
    assert facts_of(plan, SHARED)["owner_namespace"] == "erp-prod"


def test_an_unknown_fact_is_left_out() -> None:
    assert facts_of({"metadata": {"uid": "u"}}, SHARED) == {"plan_uid": "u"}


def test_evidence_gives_impact_as_a_fact() -> None:
    assert evidence_facts(read_plan(plan_of(COLD))) == {"impact": "down"}
