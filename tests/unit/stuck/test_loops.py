"""A clash of names, which only the controller's log tells."""

from __future__ import annotations

import json

import pytest

from receiver.stuck import Kind, Owner, View, find_blocks
from receiver.stuck.objects import moment
from tests.unit.stuck.build import DATA, NS, at, block, blocks, done, plan, vm

LINES = (DATA / "name-loop.log").read_text().splitlines()
ERROR = f"VM name 'web' already exists in the target namespace '{NS}'"


def line(seconds: float, *, name: str = "plan-a", message: str = "Reconcile failed.", error: str = ERROR) -> str:
    record = {"level": "error", "ts": at(seconds).strftime("%Y-%m-%d %H:%M:%S.000"), "logger": "plan|x", "msg": message}
    return json.dumps(record | {"plan": {"name": name, "namespace": "mtv"}, "error": error})


LOOP = [one for second in range(180, 240, 3) for one in (line(second, message="Failed to update."), line(second))]


def test_the_example_of_the_controllers_log() -> None:
    example = {
        "metadata": {"name": "rename-clash", "namespace": "mig-team-a"},
        "spec": {"type": "cold", "targetNamespace": "erp-prod"},
        "status": {
            "migration": {"vms": [{"id": "vm-7", "name": "web-new", "targetName": "web-old", "phase": "Started"}]}
        },
    }
    now = moment("2026-09-20T09:10:10Z")
    assert now is not None
    (one,) = find_blocks(View(plan=example, now=now, log=LINES))
    assert (one.vm, one.vm_id, one.kind, one.owner) == ("web-new", "vm-7", Kind.NAME_TAKEN, Owner.PLAN)
    assert (one.ends_by_itself, one.since) == (False, moment("2026-09-20T09:10:00.425Z"))
    assert one.cause == "A VM named web-old exists already in namespace erp-prod."


def test_a_round_is_counted_once_and_the_whole_plan_is_held_up() -> None:
    one = block(plan=plan(vm("Started", "web", "vm-1"), vm("Started", "db", "vm-2"), done("a")), log=LOOP)
    assert (one.vm, one.evidence[0].count, one.since) == ("web", 20, at(180))
    assert one.blocks[1:] == ("holds up the plan's 1 other VM", "hides the result of 1 VM that is done")


def test_a_name_that_no_vm_of_the_plan_has_is_told_by_itself() -> None:
    one = block(plan=plan(vm("Started", "other", "vm-1")), log=LOOP)
    assert (one.vm, one.vm_id, one.kind) == ("web", "", Kind.NAME_TAKEN)


@pytest.mark.parametrize(
    ("now", "log"),
    [
        (240, [line(237)]),
        (1_000, LOOP),
        (240, [line(at_, name="plan-b") for at_ in (231, 234, 237)]),
        (240, [line(at_, error="context deadline exceeded") for at_ in (231, 234, 237)]),
        (
            240,
            ["not JSON: already exists in the target namespace", '{"error": "already exists in the target namespace"'],
        ),
    ],
    ids=["once", "long ago", "another plan", "another error", "no log of ours"],
)
def test_what_is_no_loop_of_this_plan_now(now: float, log: list[str]) -> None:
    assert blocks(now, plan=plan(vm("Started", "web", "vm-1")), log=log) == ()
