"""Any JSON in any place: nothing raises, and nothing is invented."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.stuck import (
    View,
    changed,
    find_blocks,
    from_json,
    marks_of,
    not_ready,
    parse_refusal,
    parse_verdict,
    snapshot,
    stuck,
    to_json,
)
from receiver.stuck.objects import moment
from tests.unit.stuck.build import at, claim, data_volume, event, migration, plan, pod, unschedulable, vm
from tests.unit.stuck.test_golden import view
from tests.unit.stuck.test_loops import LOOP

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["True", "Pending", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "9" * 5_000, "\ud800"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("pods", "claims", "data_volumes", "vmis", "target_migrations", "source_migrations", "events", "log", "vms")


def use(seen: View) -> None:
    """Do with a view everything that a caller does."""
    for one in find_blocks(seen):
        assert one.vm
        assert one.cause.endswith((".", "…", ")", "…."))
        assert all(lack.words for lack in one.shortages)
        assert one.deadline is None or one.ends_by_itself
    kept, _ = stuck({}, marks_of(seen.plan, seen.now), seen.now)
    assert from_json(json.loads(json.dumps(to_json(kept)))) == kept
    assert all(one.line for one in not_ready(seen.plan, seen.now))
    found = snapshot(seen, 4_000)
    assert len(json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()) <= 4_000
    assert not changed(found, found)


def fields_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value within."""
    yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from fields_of(item, (*path, key))


GOLDEN = view("s5-observed-pending.yaml", "s5-plan.yaml", 270)
FULL = {
    "plan": plan(vm("CopyDisks", warm={"precopies": [{}]}, pipeline=[{"name": "DiskTransfer", "phase": "Running"}])),
    "vms": [],
    "pods": [*GOLDEN.pods, pod(unschedulable("0/3 nodes are available: 3 Insufficient memory."))],
    "claims": [*GOLDEN.claims, claim(), claim(name="prime-uid-app-root")],
    "data_volumes": [*GOLDEN.data_volumes, data_volume("Pending")],
    "vmis": [{"metadata": {"name": "app"}, "status": {"conditions": [unschedulable("0/3 nodes are available: x.")]}}],
    "target_migrations": [*GOLDEN.target_migrations, migration("Scheduling")],
    "source_migrations": [{"spec": {"sendTo": {"migrationID": "x"}}, "status": {"phase": "Synchronizing"}}],
    "events": [*GOLDEN.events, event("Pod", "x", "y")],
    "log": LOOP[:4],
}
PLACES = [(key, path) for key, value in FULL.items() for path in fields_of(value)]
GOLDEN_PLACES = list(fields_of(GOLDEN.plan))


@pytest.mark.parametrize(
    "written",
    ["", "yesterday", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-13-01T00:00:00Z", 5, None, []],
)
def test_what_is_no_time_is_none(written: object) -> None:
    assert moment(written) is None


def test_the_ends_of_time_are_times() -> None:
    ages = [claim() | {"metadata": claim()["metadata"] | {"creationTimestamp": it}} for it in ("0001-01-01T00:00:00Z",)]
    for end in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"):
        one = pod(unschedulable("0/1 nodes are available: 1 Insufficient cpu."))
        one["metadata"]["creationTimestamp"] = end
        said = event("PersistentVolumeClaim", "app-root", "ExternalProvisioning", firstTimestamp=end, lastTimestamp=end)
        use(View(plan(), at(240), pods=[one], claims=ages, target_migrations=[migration("Scheduling")], events=[said]))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_json_as_any_list(data: st.DataObject) -> None:
    lists = {key: data.draw(JSON, label=key) for key in FIELDS}
    use(View(plan=data.draw(JSON, label="plan"), now=at(240), **lists))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(PLACES), JSON)
def test_any_json_in_the_place_of_any_value(place: tuple[str, tuple[Any, ...]], value: Any) -> None:
    objects = copy.deepcopy(FULL)
    key, path = place
    use(View(now=at(240), **replaced(objects, (key, *path), value)))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(GOLDEN_PLACES), JSON)
def test_any_json_in_the_plan(path: tuple[Any, ...], value: Any) -> None:
    objects = copy.deepcopy(FULL) | {"plan": replaced(copy.deepcopy(GOLDEN.plan), path, value)}
    use(View(now=at(240), **objects))


def replaced(whole: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return the objects with that value at that path."""
    if not path:
        return value
    holder = whole
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return whole


PIECES = st.sampled_from(
    ["0/5 nodes are available: ", "1 Insufficient memory", ", ", ". ", "preemption: ", "{", "}", "exceeded quota: q, ",
     "requested: ", "used: ", "limited: ", "memory=1Gi", "=", ",", "9" * 50, "-", "e9", "\n"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES | st.text(max_size=5), max_size=20).map("".join))
def test_any_text_for_the_two_parsers(message: str) -> None:
    verdict, refusal = parse_verdict(message), parse_refusal(message)
    assert verdict is None or all(one.count >= 0 for one in verdict.reasons)
    assert refusal is None or all(one.words for one in refusal.keys)


@given(JSON)
def test_any_json_as_what_was_stored(stored: Any) -> None:
    assert isinstance(from_json(stored), dict)
    changed(stored, {})
