"""Which VMs stand still for too long, over looks and restarts."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from receiver.stuck import LIMIT_S, Mark, Stuck, from_json, marks_of, stuck, to_json
from tests.unit.stuck.build import VM_ID, at, condition, done, plan, stamp, vm

Marks = dict[str, Mark]


def step(name: str = "DiskTransfer", *moved: int, started: float = 0, phase: str = "Running") -> dict[str, Any]:
    tasks = [{"name": f"disk-{index}", "progress": {"completed": it, "total": 9_999}} for index, it in enumerate(moved)]
    return {"name": name, "phase": phase, "started": stamp(started), "progress": {"total": 9_999}, "tasks": tasks}


def copying(*moved: int, **more: Any) -> dict[str, Any]:
    return vm("CopyDisks", pipeline=[step("Initialize", phase="Completed"), step("DiskTransfer", *moved)], **more)


def looks(*seen: tuple[float, dict[str, Any]], detail: dict[float, str] | None = None) -> tuple[Stuck, ...]:
    """Look at a VM at each of these seconds; what is kept between goes through JSON, as over a restart."""
    kept: Marks = {}
    found: tuple[Stuck, ...] = ()
    for second, one in seen:
        words = {VM_ID: detail[second]} if detail and second in detail else {}
        kept, found = stuck(kept, marks_of(plan(one), at(second), words), at(second))
        kept = from_json(json.loads(json.dumps(to_json(kept))))
    return found


LIMIT = LIMIT_S["CopyDisks"] or 0.0


def test_a_transfer_that_does_not_grow_is_stuck_after_its_limit_and_not_before() -> None:
    assert looks((0, copying(5)), (LIMIT, copying(5))) == ()
    (one,) = looks((0, copying(5)), (LIMIT, copying(5)), (LIMIT + 60, copying(5)))
    assert one == Stuck(VM_ID, "app", "CopyDisks", "DiskTransfer", at(0), LIMIT + 60, LIMIT)


def test_one_more_megabyte_on_any_disk_is_progress() -> None:
    assert looks((0, copying(5, 7)), (LIMIT, copying(5, 8)), (LIMIT + 60, copying(5, 8))) == ()


def test_bytes_that_fall_and_rise_again_are_none() -> None:
    found = looks((0, copying(50)), (600, copying(0)), (1_200, copying(40)), (LIMIT + 1, copying(50)))
    assert [one.since for one in found] == [at(0)]
    assert looks((0, copying(50)), (600, copying(0)), (LIMIT + 1, copying(51))) == ()


def test_a_new_round_of_a_warm_migration_is_progress_and_counts_its_bytes_from_nothing() -> None:
    second: dict[str, Any] = {"warm": {"precopies": [{}, {}]}}
    assert looks((0, copying(900)), (LIMIT, copying(1, **second)), (LIMIT + 60, copying(1, **second))) == ()
    third = (LIMIT + 600, copying(2, **second))
    assert looks((0, copying(900)), (LIMIT, copying(1, **second)), third, (LIMIT * 2 + 60, copying(2, **second))) == ()
    found = looks((0, copying(900)), (LIMIT, copying(1, **second)), (LIMIT * 2 + 1, copying(1, **second)))
    assert [one.since for one in found] == [at(LIMIT)]


def test_a_new_word_does_not_make_bytes_count_twice() -> None:
    seen = [(0.0, copying(50)), (600.0, copying(0)), (1_200.0, copying(50)), (600 + LIMIT + 1, copying(50))]
    words = {0.0: "a", 600.0: "b", 1_200.0: "b", 600 + LIMIT + 1: "b"}
    assert [one.since for one in looks(*seen, detail=words)] == [at(600)]


def test_another_phase_step_run_or_word_is_progress() -> None:
    end = LIMIT + 60
    converting = vm("ConvertGuest", pipeline=[step("ImageConversion", started=end)])
    assert looks((0, copying(5)), (end, converting)) == ()
    other_step = vm("CopyDisks", pipeline=[step("Cutover")])
    assert looks((0, copying(5)), (end, other_step)) == ()
    again = copying(5) | {"started": stamp(end - 1)}
    assert looks((0, copying(5)), (end, again)) == ()
    assert looks((0, copying(5)), (end, copying(5)), detail={0: "Pending", end: "Scheduling"}) == ()


def synchronizing(phase: str = "WaitForTargetVMI") -> dict[str, Any]:
    return vm(phase, pipeline=[step("Synchronization", started=0)])


def test_a_phase_that_begins_with_its_step_is_as_old_as_that_step_even_without_a_memory() -> None:
    (one,) = looks((301, synchronizing()))
    assert (one.since, one.limit_s) == (at(0), 300.0)
    assert looks((100_000, synchronizing("WaitForStateTransfer"))) == ()


def test_a_transfer_that_kubevirt_runs_may_take_half_a_day_and_one_that_has_not_begun_may_not() -> None:
    transfer = synchronizing("WaitForStateTransfer")

    def told(word: str, seconds: float) -> tuple[Stuck, ...]:
        return looks((0, transfer), (seconds, transfer), detail={0: word, seconds: word} if word else None)

    assert told("Running", 12 * 3_600) == ()
    (late,) = told("Running", 12 * 3_600 + 1)
    (pending,) = told("Pending", 1_801)
    (unread,) = told("", 1_801)
    assert [one.unseen for one in (late, pending, unread)] == [True, False, True]
    begun = {0.0: "Scheduling", 1_700.0: "Running", 30_000.0: "Running"}
    seen: list[tuple[float, dict[str, Any]]] = [(second, transfer) for second in begun]
    assert looks(*seen, detail=begun) == ()


def test_progress_within_such_a_phase_is_not_forgotten_for_the_steps_start() -> None:
    words = {250.0: "Pending", 350.0: "Scheduling", 360.0: "Scheduling"}
    seen: list[tuple[float, dict[str, Any]]] = [(second, synchronizing()) for second in words]
    assert looks(*seen, detail=words) == ()


def test_a_memory_that_is_lost_begins_anew_and_never_alarms_early() -> None:
    assert looks((LIMIT * 5, copying(5))) == ()


def test_a_clock_that_was_set_back_leaves_no_start_in_the_future() -> None:
    kept, _ = stuck({}, marks_of(plan(copying(5)), at(10_000)), at(10_000))
    kept, found = stuck(kept, marks_of(plan(copying(5)), at(0)), at(0))
    assert (kept[VM_ID].since, found) == (at(0), ())


@pytest.mark.parametrize("phase", ["CopyingPaused", "Completed"])
def test_some_phases_wait_for_nothing_that_could_be_wrong(phase: str) -> None:
    assert looks((0, vm(phase)), (10_000_000, vm(phase))) == ()


def test_a_phase_that_nobody_knows_has_a_limit_too() -> None:
    assert looks((0, vm("NextYear")), (1_800, vm("NextYear"))) == ()
    assert looks((0, vm("NextYear")), (1_801, vm("NextYear"))) != ()


@pytest.mark.parametrize(
    "still",
    [
        done("app"),
        copying(5, conditions=[condition("Pending", "True", "", "in-flight limit")]),
        copying(5) | {"started": None},
        copying(5, error={"phase": "CopyDisks", "reasons": ["no"]}),
    ],
    ids=["done", "queued", "not started", "failed"],
)
def test_a_vm_that_is_not_under_way_is_never_stuck(still: dict[str, Any]) -> None:
    assert looks((0, still), (10_000_000, still)) == ()


def test_a_vm_that_has_ended_is_forgotten_and_the_longest_comes_first() -> None:
    first, second = copying(1) | {"id": "a"}, copying(1) | {"id": "b"}
    kept, _ = stuck({}, marks_of(plan(first), at(0)), at(0))
    kept, _ = stuck(kept, marks_of(plan(first, second), at(10)), at(10))
    kept, found = stuck(kept, marks_of(plan(second, first), at(9_000)), at(9_000))
    assert [one.vm_id for one in found] == ["a", "b"]
    kept, found = stuck(kept, marks_of(plan(second), at(9_010)), at(9_010))
    assert list(kept) == ["b"]


def test_own_limits_replace_ours() -> None:
    marks = marks_of(plan(copying(1)), at(0))
    assert stuck(marks, marks, at(61), {"CopyDisks": 60.0})[1] != ()
    assert stuck(marks, marks, at(1_000_000), {"CopyDisks": None})[1] == ()


def test_every_live_phase_has_a_limit_of_its_own() -> None:
    live = [
        "CreateSecrets", "CreateConfigMaps", "EnsurePreference", "EnsureInstanceType", "EnsureDataVolumes",
        "EnsurePersistentVolumeClaims", "CreateTarget", "SetOwnerReferences", "CreateServiceExports",
        "WaitForTargetVMI", "CreateVirtualMachineInstanceMigrations", "WaitForStateTransfer",
    ]  # fmt: skip
    assert [phase for phase in live if not LIMIT_S.get(phase)] == []


def test_marks_survive_json_exactly() -> None:
    marks = marks_of(plan(copying(5, warm={"precopies": [{}]})), at(0.25), {VM_ID: "Scheduling"})
    assert from_json(json.loads(json.dumps(to_json(marks)))) == marks


@pytest.mark.parametrize(
    "stored",
    [None, [], {"a": None}, {"a": []}, {"a": ["n", "r", "p", "s", -1, 0, "", stamp(0)]},
     {"a": ["n", "r", "p", "s", 0, 0, "", "yesterday"]}, {"a": ["n", "r", 3, "s", 0, 0, "", stamp(0)]}],
)  # fmt: skip
def test_a_memory_that_cannot_be_read_is_none(stored: object) -> None:
    assert from_json(stored) == {}


def test_times_are_aware() -> None:
    since: datetime = marks_of(plan(copying(5)), at(0))[VM_ID].since
    assert since.tzinfo is not None
