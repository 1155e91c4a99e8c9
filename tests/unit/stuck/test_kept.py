"""What is kept of the objects while a migration runs."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from receiver.stuck import changed, reduced, snapshot
from tests.unit.stuck.build import at, condition, event, migration, pod, unschedulable
from tests.unit.stuck.test_golden import view

VIEW = view("s5-observed-pending.yaml", "s5-plan.yaml", 270)
WHOLE = snapshot(VIEW)


def size(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def test_everything_that_the_blocks_are_told_from_is_kept() -> None:
    shown = json.dumps(WHOLE)
    for word in (
        "0/5 nodes are available", "exceeded quota: payments-quota", "ResourceExhausted", "ApplicationAwareQuotaGate",
        "migrationRejectedByResourceQuota", "192.0.2.10:9185", "WaitingForSync", "34720448512", "nfs-shared",
        "forklift-8zq4n",
    ):  # fmt: skip
        assert word in shown, word
    assert size(WHOLE) < 8_000
    assert "left_out" not in WHOLE


def test_what_nobody_needs_is_not() -> None:
    fat = pod() | {"spec": {"containers": [{"name": "compute", "env": [{"name": "TOKEN", "value": "s3cret"}]}]}}
    assert "s3cret" not in json.dumps(reduced(fat))


@pytest.mark.parametrize("limit", [0, 30, 500, 1_000, 2_500, 4_000, 8_000])
def test_it_is_never_larger_than_its_limit_and_says_what_is_left_out(limit: int) -> None:
    found = snapshot(VIEW, limit)
    kept = sum(len(listed) for listed in found.values() if isinstance(listed, list))
    assert size(found) <= max(limit, 2)
    every = sum(len(listed) for listed in WHOLE.values())
    assert kept + found.get("left_out", 0) == every or limit < 30


def test_warnings_and_the_newest_events_are_kept_first() -> None:
    calm = [event("Pod", f"p{number}", "Pulled", "x" * 300, type="Normal", last=900) for number in range(50)]
    old = event("Pod", "old", "FailedScheduling", "m", last=10)
    new = event("Pod", "new", "FailedScheduling", "m", last=20)
    found = snapshot(
        replace(VIEW, pods=(), claims=(), data_volumes=(), target_migrations=(), events=(*calm, old, new)), 900
    )
    assert [one["name"] for one in found["events"]][:2] == ["new", "old"]
    assert found["left_out"] > 40


def test_the_order_in_which_objects_were_read_does_not_matter() -> None:
    other = replace(VIEW, pods=VIEW.pods[::-1], events=VIEW.events[::-1], claims=VIEW.claims[::-1])
    assert snapshot(other) == WHOLE
    assert not changed(WHOLE, snapshot(other))


def test_a_retry_that_only_counts_on_is_no_change() -> None:
    later: list[dict[str, Any]] = copy.deepcopy(list(map(dict, VIEW.events)))
    for one in later:
        one |= {"count": one["count"] + 1, "lastTimestamp": "2026-09-01T08:09:59Z"}
    found = snapshot(replace(VIEW, events=later))
    assert found != WHOLE
    assert not changed(WHOLE, found)


def test_a_new_phase_condition_or_event_is_a_change() -> None:
    for more in (
        replace(VIEW, target_migrations=(*VIEW.target_migrations[:-1], migration("Failed"))),
        replace(VIEW, pods=(*VIEW.pods[:-1], pod(unschedulable("0/5 nodes are available: 5 Insufficient cpu.")))),
        replace(VIEW, events=(*VIEW.events, event("Pod", "x", "Killing"))),
        replace(VIEW, pods=()),
    ):
        assert changed(WHOLE, snapshot(more))
    assert changed(None, WHOLE)


def test_a_heartbeat_is_no_change() -> None:
    beat = [
        migration("Pending", condition("a", "True") | {"lastHeartbeatTime": str(at(n)), "lastProbeTime": n})
        for n in (1, 2)
    ]
    first, second = (snapshot(replace(VIEW, target_migrations=(one,))) for one in beat)
    assert not changed(first, second)


def test_it_survives_json() -> None:
    assert not changed(WHOLE, json.loads(json.dumps(WHOLE)))
