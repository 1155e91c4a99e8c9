"""What an object says of itself, and who else writes it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from receiver.enrichers.conditions import bad_conditions, is_bad, state_of
from receiver.enrichers.writers import paused_at, writers

NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "status", "reason", "bad"),
    [
        ("Ready", "False", "", True),
        ("Ready", "Unknown", "", True),
        ("Ready", "True", "", False),
        ("Ready", "False", "PodCompleted", False),
        ("DiskPressure", "True", "", True),
        ("DiskPressure", "False", "", False),
        ("Degraded", "True", "", True),
        ("Progressing", "False", "ReplicaSetUpdated", False),
        ("Progressing", "False", "ProgressDeadlineExceeded", True),
        ("Progressing", "True", "", False),
        ("TaintedConfiguration", "True", "", True),
        ("ReconcileComplete", "False", "", True),
        ("SomethingNobodyKnows", "False", "", False),
        ("Paused", "True", "", True),
        ("LiveMigratable", "False", "", True),
    ],
)
def test_a_condition_is_bad_by_its_type_and_status(name: str, status: str, reason: str, bad: bool) -> None:
    assert is_bad(name, status, reason) is bad


def test_the_condition_that_went_bad_first_is_told_first() -> None:
    conditions = [
        {"type": "Ready", "status": "False", "lastTransitionTime": "2026-11-21T08:20:00Z"},
        {"type": "DiskPressure", "status": "True", "lastTransitionTime": "2026-11-20T08:10:00Z", "message": "full"},
    ]
    assert bad_conditions({"status": {"conditions": conditions}}, NOW) == (
        "DiskPressure=True since 2026-11-20 08:10 UTC: full",
        "Ready=False since 08:20 UTC",
    )


@pytest.mark.parametrize("status", [None, [], "x", {"conditions": "x"}, {"conditions": [None, 5, {"type": 7}]}])
def test_an_object_of_wrong_types_says_nothing_and_breaks_nothing(status: Any) -> None:
    for kind in ("Pod", "Node", "PersistentVolumeClaim", "Deployment", "Job", "DaemonSet", "MachineConfigPool", "X"):
        assert state_of({"kind": kind, "metadata": {"name": "a"}, "status": status}, NOW).bad == ()


def owned(manager: str, time: str, **fields: Any) -> dict[str, Any]:
    operation = "Apply" if manager == "virt-platform-autopilot" else "Update"
    return {"manager": manager, "operation": operation, "time": f"2026-11-21T{time}Z", "fieldsV1": fields}


def of(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"managedFields": list(entries)}}


OURS = owned("virt-platform-autopilot", "08:00:00", **{"f:spec": {"f:a": {}, "f:b": {"f:c": {}}}})
PAUSE = owned(
    "manager", "08:11:00", **{"f:metadata": {"f:annotations": {"f:platform.kubevirt.io/reconcile-paused": {}}}}
)


def test_the_writer_of_the_same_fields_is_named_with_the_fields() -> None:
    (found,) = writers(of(OURS, owned("kubectl-edit", "08:05:00", **{"f:spec": {"f:b": {"f:c": {}}}})))
    assert (found.manager, found.paths) == ("kubectl-edit", ("/spec/b/c",))
    assert "a person" in found.who


def test_autopilots_own_pause_is_nobody_elses_write_but_tells_its_time() -> None:
    obj = of(OURS, PAUSE)
    assert writers(obj) == ()
    assert paused_at(obj) == datetime(2026, 11, 21, 8, 11, tzinfo=UTC)


def test_a_writer_of_other_fields_counts_only_shortly_before_the_pause() -> None:
    near = owned("helm-controller", "08:05:00", **{"f:spec": {"f:z": {}}})
    far = owned("oc", "05:05:00", **{"f:spec": {"f:z": {}}})
    assert [one.manager for one in writers(of(OURS, PAUSE, near, far))] == ["helm-controller"]
    assert writers(of(OURS, near)) == ()


def test_status_is_no_quarrel() -> None:
    status = {**owned("some-operator", "08:10:00", **{"f:status": {"f:x": {}}}), "subresource": "status"}
    assert writers(of(OURS, PAUSE, status)) == ()


def test_a_pointer_escapes_slashes_so_that_it_can_be_copied() -> None:
    field = {"f:metadata": {"f:annotations": {"f:example.com/x": {}}}}
    (found,) = writers(of(owned("virt-platform-autopilot", "08:00:00", **field), owned("oc", "08:01:00", **field)))
    assert found.paths == ("/metadata/annotations/example.com~1x",)
