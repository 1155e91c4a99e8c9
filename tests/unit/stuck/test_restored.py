"""A snapshot tells the same waits as the objects that it was made of."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.stuck import View, find_blocks, restored, snapshot
from tests.unit.stuck.build import at
from tests.unit.stuck.test_golden import view


def failed(plan: Any) -> Any:
    """Return the Plan after Forklift gave its VMs up."""
    plan = copy.deepcopy(plan)
    for vm in plan["status"]["migration"]["vms"]:
        vm["error"] = {"phase": vm["phase"], "reasons": ["Migration failed, check VMIM status for details."]}
        vm |= {"phase": "Completed", "completed": "2026-09-01T08:06:00Z"}
        vm["conditions"] = [{"type": "Failed", "status": "True"}]
    return plan


@pytest.mark.parametrize(
    ("name", "plan_file", "seconds"),
    [("s5-observed-pending.yaml", "s5-plan.yaml", 270), ("live-unschedulable.yaml", "live-unschedulable.yaml", 0)],
)
def test_what_was_kept_tells_the_same_after_all_has_failed(name: str, plan_file: str, seconds: float) -> None:
    seen = view(name, plan_file, seconds)
    kept = json.loads(json.dumps(snapshot(seen)))
    again = find_blocks(restored(kept, failed(seen.plan), seen.now))
    before = find_blocks(seen)

    def told(blocks: Any) -> list[Any]:
        # Whether Forklift's other VMs are done is another matter by then.
        return [replace(one, blocks=()) for one in blocks]

    assert told(again) == told(before)


def test_only_vms_that_have_failed_are_told_of() -> None:
    seen = view("s5-observed-pending.yaml", "s5-plan.yaml", 270)
    plan = failed(seen.plan)
    vms = plan["status"]["migration"]["vms"]
    vms[0]["conditions"] = [{"type": "Succeeded", "status": "True"}]
    vms[1]["conditions"] = [{"type": "Canceled", "status": "True"}]
    told = {one.vm for one in find_blocks(restored(snapshot(seen), plan, seen.now)) if one.vm_id}
    assert told == {vms[2]["name"]}


def test_of_a_plan_that_goes_on_nothing_is_told_twice() -> None:
    seen = view("s5-observed-pending.yaml", "s5-plan.yaml", 270)
    assert not [one for one in find_blocks(restored(snapshot(seen), seen.plan, seen.now)) if one.vm_id]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ("pods", "claims", "data_volumes", "vmis", "target_migrations", "source_migrations", "events", "labels", "asks",
     "waits", "gates", "steps", "addresses", "conditions", "kind", "name", "job", "role", "phase")
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(KEYS, st.lists(st.dictionaries(KEYS, JSON, max_size=5), max_size=3) | JSON, max_size=5), JSON)
def test_any_json_in_any_place_raises_nothing(kept: dict[str, Any], plan: Any) -> None:
    find_blocks(restored(kept, plan if isinstance(plan, dict) else {}, at(0)))
    assert isinstance(restored(kept, {}, at(0)), View)
