"""Our own alerts: what is raised and resolved when, and what looking for it costs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver import metrics
from receiver.config.load import load
from receiver.config.model import OWN_ALERTS, ClusterConfig
from receiver.destinations.registry import ALL
from receiver.enrichers.carried import carry
from receiver.kube import PlanRow
from receiver.model import Alert, AlertStatus, Cause, Evidence, Impact, LogExcerpt, Missing, PlanPhase, VMFailure
from receiver.routing.matchers import parse_matchers
from receiver.watch_pace import BYTES_PER_S, EVERY_S, HINTS_EVERY_S, REST_S, SETTLE_S, Pace
from receiver.watch_rules import UNALERTED, VM_FAILED, WAITS, Failing, Standing, failing_of, judge
from tests.acceptance.plans import plan
from tests.acceptance.test_own_alerts import half_failed

AT = datetime(2026, 9, 14, 8, 30, tzinfo=UTC)
LATER = AT + timedelta(minutes=5)
LOCAL = ClusterConfig("local")
ONE = Failing("run-1", 1, 20, ("erp-win01",), "ImageConversion", Impact.AT_RISK)


def row(**states: bool) -> PlanRow:
    all_of_them = {"ready": True, "executing": False, "succeeded": False, "failed": False, **states}
    return PlanRow("uid-1", "mig", "wave-1", {}, {}, canceled=None, resource_version="7", **all_of_them)


RUNNING, FAILED, CANCELED = row(executing=True), row(failed=True), row()


def said(now: Standing, on: tuple[str, ...] = OWN_ALERTS, at: datetime = LATER) -> list[tuple[str, str, str]]:
    """Return (name, severity, status) of what is to be told."""
    return [(one.name, one.labels["severity"], one.status.value) for one in judge(now, LOCAL, at, on)]


def raised(failing: Failing = ONE) -> tuple[Alert, ...]:
    return judge(Standing((), RUNNING, failing, read=True), LOCAL, AT, OWN_ALERTS)


def unalerted() -> tuple[Alert, ...]:
    return judge(Standing((), FAILED, unalerted=True), LOCAL, AT, OWN_ALERTS)


def test_a_failed_vm_of_a_plan_that_runs_is_a_warning_and_a_service_that_is_down_is_critical() -> None:
    (warning,), (critical,) = raised(), raised(replace(ONE, impact=Impact.DOWN))
    assert warning.labels == {
        "alertname": VM_FAILED, "severity": "warning", "plan": "uid-1", "plan_name": "wave-1",
    }  # fmt: skip
    assert critical.labels["severity"] == "critical"
    assert warning.annotations["summary"] == "VM erp-win01 failed at ImageConversion while its plan still runs"
    assert warning.fingerprint != critical.fingerprint


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (Standing((), RUNNING, None, read=True), []),
        (Standing((), FAILED, ONE, read=True), []),  # read a moment before it ended: Forklift's own alert comes
        (Standing((), None, ONE, read=True), []),
        (Standing(raised(), RUNNING), []),  # not read: nothing is known
        (Standing(raised(), RUNNING, ONE, read=True), []),  # nothing new
        (Standing(raised(), RUNNING, None, read=True), [(VM_FAILED, "warning", "resolved")]),  # a new run
        (Standing(raised(), FAILED), []),  # holds until Alertmanager's alert comes
        (Standing(raised(), RUNNING, taken_over=True), []),  # an alert of the run before takes nothing over
        (Standing(raised(), FAILED, taken_over=True), [(VM_FAILED, "warning", "resolved")]),
        (Standing(raised(), CANCELED), [(VM_FAILED, "warning", "resolved")]),
        (Standing(raised(), None), [(VM_FAILED, "warning", "resolved")]),
        (Standing((), FAILED, unalerted=True), [(UNALERTED, "critical", "firing")]),
        (Standing((), FAILED, unalerted=True, taken_over=True), []),
        (Standing((), RUNNING, unalerted=True), []),
        (Standing(unalerted(), FAILED, unalerted=True), []),
        (Standing(unalerted(), FAILED, taken_over=True), [(UNALERTED, "critical", "resolved")]),
        (Standing(unalerted(), RUNNING), [(UNALERTED, "critical", "resolved")]),
        (Standing(unalerted(), None), [(UNALERTED, "critical", "resolved")]),
    ],
)
def test_an_alert_of_our_own_holds_until_another_one_takes_over_or_it_is_true_no_longer(
    now: Standing, told: list[tuple[str, str, str]]
) -> None:
    assert said(now) == told


def test_three_hundred_failed_vms_are_one_alert_that_says_so_anew() -> None:
    first = raised()
    many = replace(ONE, failed=300, total=500, names=tuple(f"app-{one}" for one in range(5)))
    (again,) = judge(Standing(first, RUNNING, many, read=True), LOCAL, LATER, OWN_ALERTS)
    assert (again.fingerprint, again.starts_at, again.firing) == (first[0].fingerprint, AT, True)
    assert again.annotations["summary"].startswith("300 of 500 VMs failed while the plan still runs: app-0, app-1")


def test_it_gets_critical_when_a_service_is_down_and_never_milder_again() -> None:
    first, down = raised(), replace(ONE, impact=Impact.DOWN)
    both = (*first, *judge(Standing(first, RUNNING, down, read=True), LOCAL, LATER, OWN_ALERTS))
    assert [one.labels["severity"] for one in both] == ["warning", "critical"]
    assert not [one for one in said(Standing(both, RUNNING, ONE, read=True)) if one[1] == "warning"]
    assert len(said(Standing(both, FAILED, taken_over=True))) == 2


def test_what_is_switched_off_is_not_raised_and_ends_where_it_fires() -> None:
    assert said(Standing((), RUNNING, ONE, read=True), on=(UNALERTED,)) == []
    assert said(Standing(raised(), RUNNING, ONE, read=True), on=()) == [(VM_FAILED, "warning", "resolved")]


def test_an_alert_carries_the_labels_that_its_cluster_is_known_by() -> None:
    for text, value in (('cluster="east"', "east"), ('cluster=~"ea.*"', "east")):
        east = ClusterConfig("east", parse_matchers(text))
        (one,) = judge(Standing((), RUNNING, ONE, read=True), east, AT, OWN_ALERTS)
        assert one.labels["cluster"] == value
        assert all(matcher.matches(one.labels) for matcher in east.matchers)


def test_failed_vms_are_news_only_while_the_plan_executes() -> None:
    found = failing_of(half_failed(), str)
    assert found is not None
    assert (found.failed, found.total, found.names, found.impact) == (1, 2, ("erp-win01",), Impact.DOWN)
    assert failing_of(plan("Executing"), str) is None
    assert failing_of(plan("Failed"), str) is None
    assert failing_of({"metadata": {}, "status": {"conditions": "x", "migration": 7}}, str) is None


@pytest.mark.parametrize("name", OWN_ALERTS)
@pytest.mark.parametrize("subjects", ["", """subjects: [{matchers: ['severity="critical"'], uid_label: other}]"""])
def test_our_own_alerts_are_about_the_plan_whatever_the_subjects_say(tmp_path: Path, name: str, subjects: str) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(
        f"receivers: [{{name: a, pagerduty_configs: [{{routing_key_env: K}}]}}]\nroute: {{receiver: a}}\n{subjects}\n"
    )
    config = load(path, ALL)
    assert config.watch.alerts == OWN_ALERTS
    labels = {"alertname": name, "severity": "critical", "plan": "uid-1"}
    first = next(one for one in config.subjects if all(matcher.matches(labels) for matcher in one.matchers))
    assert (first.role, first.uid_label) == ("failure", "plan")


def test_names_of_metrics_are_those_of_the_alerts() -> None:
    assert metrics.OWN_ALERTS == OWN_ALERTS == (VM_FAILED, *WAITS, UNALERTED)


# --- what it costs ---


def busy(plans: int) -> Pace:
    pace = Pace()
    for number in range(plans):
        pace.executes(f"plan-{number:02}", "0", 0.0)
    return pace


def minutes(pace: Pace, plans: int, size: int, seconds: int, **hints: int) -> list[tuple[int, str]]:
    """Let Plans of so many bytes change every 3 s; return who was read when."""
    read: list[tuple[int, str]] = []
    for second in range(seconds):
        for number in range(plans):
            pace.executes(f"plan-{number:02}", str(second // 3), float(second))
        for uid, at in hints.items():
            if at == second:
                pace.hinted(uid.replace("_", "-"), float(second))
        while uid_read := pace.next(float(second)):
            read.append((second, uid_read))
            pace.was_read(uid_read, float(second), size, str(second // 3))
    return read


def test_twenty_plans_of_five_hundred_vms_cost_less_than_four_megabytes_a_minute_and_each_has_its_turn() -> None:
    size = 885_000
    read = minutes(busy(20), 20, size, 600)
    for begins in range(0, 540, 30):
        assert sum(size for at, _ in read if begins <= at < begins + 60) <= 60 * BYTES_PER_S + size
    assert sum(size for at, _ in read if at < 60) <= 4_000_000
    assert {uid for at, uid in read if at < 330} == {f"plan-{number:02}" for number in range(20)}


def test_a_small_plan_is_read_every_fifteen_seconds_and_only_when_it_has_changed() -> None:
    read = minutes(busy(1), 1, 36_000, 61)
    assert [at for at, _ in read] == [15, 30, 45, 60]
    pace = busy(1)
    pace.was_read("plan-00", 15.0, 36_000, "0")
    assert pace.next(500.0) is None
    pace.executes("plan-00", "1", 500.0)
    assert pace.next(500.0) == "plan-00"


def test_a_plan_that_was_never_read_goes_before_all_that_have_been() -> None:
    pace = busy(100)
    minutes(pace, 100, 300_000, 900)
    pace.executes("new", "1", 900.0)
    read = []
    for second in range(900, 930):
        if uid := pace.next(float(second)):
            read.append(uid)
            pace.was_read(uid, float(second), 300_000, "0")
    assert "new" in read, "though a round of all of them takes eight minutes"


def test_a_plan_with_a_failed_pod_is_read_at_once_whatever_the_budget_says() -> None:
    read = minutes(busy(20), 20, 885_000, 40, plan_17=20)
    assert (20 + int(SETTLE_S), "plan-17") in read
    assert sum(uid == "plan-17" for _, uid in read) == 2  # at 22 and at 37: not more than once in 15 s


def test_failed_pods_are_asked_for_of_plans_without_a_known_failure_and_not_too_often() -> None:
    pace = busy(3)
    assert pace.to_hint(1.0, frozenset({"plan-01"})) == ("plan-00", "plan-02")
    assert pace.to_hint(1.0 + HINTS_EVERY_S / 2, frozenset()) == ()
    pace.hinted("plan-00", 1.5)
    assert pace.to_hint(1.0 + HINTS_EVERY_S, frozenset()) == ("plan-01", "plan-02")
    assert "plan-00" in pace.to_hint(2.0 + REST_S, frozenset())


def test_of_many_plans_each_is_asked_for_in_its_turn() -> None:
    pace = busy(90)
    first, second = pace.to_hint(0.0, frozenset()), pace.to_hint(HINTS_EVERY_S, frozenset())
    assert len(first) == 50
    assert set(first) | set(second) == {f"plan-{number:02}" for number in range(90)}


def test_a_plan_that_could_not_be_read_is_tried_again_and_one_that_ended_is_not() -> None:
    pace = busy(1)
    pace.was_read("plan-00", 20.0, 0, "")
    assert pace.next(20.0 + EVERY_S) == "plan-00"
    pace.ended("plan-00")
    assert pace.next(100.0) is None


# --- logs whose pods are gone ---


def read_of(run: str, **fields: Any) -> Evidence:
    failure = VMFailure("vm-1402", "erp-win01")
    return Evidence(run=run, phase=PlanPhase.FAILED, failures=(failure,), **fields)


def test_a_log_outlives_its_pod_within_a_run_and_is_never_shown_as_another_runs() -> None:
    log = LogExcerpt("erp-win01", "erp-prod", "pod-1", "virt-v2v", ("virt-v2v: error: x",))
    cause = Cause("windows-fast-startup", "It slept.")
    before = read_of("run-1", logs=(log,), cause=cause)
    gone = Missing("logs of erp-win01", "its pods are gone", passing=False)
    now = carry(before, read_of("run-1", missing=(gone,), unrecognised="line", signature="s"))
    assert (now.logs, now.cause, now.missing, now.unrecognised) == ((log,), cause, (), "")
    assert carry(before, read_of("run-2", missing=(gone,))).logs == ()
    newer = replace(log, lines=("virt-v2v: error: y",))
    assert carry(before, read_of("run-1", logs=(newer,))).logs == (newer,)
    assert carry(None, read_of("run-1")) == read_of("run-1")


def test_an_own_alert_says_when_it_ended() -> None:
    (over,) = judge(Standing(raised(), None), LOCAL, LATER, OWN_ALERTS)
    assert (over.status, over.starts_at, over.ends_at) == (AlertStatus.RESOLVED, AT, LATER)
