"""Waits: when they are told and in which words, whose turn it is, what is kept, and whose silence holds."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from receiver.config.model import OWN_ALERTS, ClusterConfig
from receiver.kube import PlanRow
from receiver.model import Alert
from receiver.silencing import active_matchers
from receiver.stuck import Block, Kind, NotReady, Owner, Stuck, View, to_json
from receiver.stuck.tails import Tail, from_json
from receiver.waits_going import LOOK_S, Going, seen_in
from receiver.waits_kept import GONE, LIMIT_BYTES, joined, redacted
from receiver.waits_pace import MINUTE_S, VIEW_EVERY_S, VIEWS_FOR_LIVE, VIEWS_PER_MINUTE, Turns
from receiver.waits_rules import TELL_S, Waits, is_news, not_ready_notice, stuck_notice, waits_of
from receiver.watch_rules import NOT_READY, STUCK, Notice, Notices, Standing, judge
from tests.unit.stuck.build import VM_ID, at, event, migration, plan, pod, unschedulable, vm

AFTER_S = 600.0
BLOCK = Block(
    "app", VM_ID, Kind.QUOTA_POD, "WaitForStateTransfer", "ResourceQuota ns/q refuses the receiver pod.", Owner.QUOTA,
    since=at(0), blocks=("keeps 1 of 20 migration slots of provider east busy",), scope="ns/q",
)  # fmt: skip
ENDING = replace(
    BLOCK, kind=Kind.UNSCHEDULABLE, ends_by_itself=True, deadline=at(300), ends_after_s=300, owner=Owner.NODES
)
STILL = Stuck("other-id", "other", "CopyDisks", "DiskTransfer", at(0), 1_900.0, 1_800.0)


# --- when ---


@pytest.mark.parametrize(
    ("block", "after_s", "told"),
    [
        (BLOCK, AFTER_S - 1, False),
        (BLOCK, AFTER_S, True),
        (ENDING, TELL_S - 1, False),
        (ENDING, TELL_S, True),  # KubeVirt gives up after five minutes: ten would be too late
        (replace(ENDING, deadline=None), TELL_S, True),
        (replace(ENDING, deadline=at(900), ends_after_s=900), TELL_S, False),
        (replace(ENDING, deadline=at(900), ends_after_s=900), AFTER_S, True),
        (replace(BLOCK, kind=Kind.IN_FLIGHT), 99_999, False),
        (replace(BLOCK, since=None), 99_999, False),
    ],
)
def test_a_wait_is_told_after_stuck_after_or_before_kubevirt_gives_up(block: Block, after_s: float, told: bool) -> None:
    assert bool(waits_of([block], [], at(after_s), AFTER_S)) is told


def test_stuck_after_shorter_than_a_minute_counts_for_all() -> None:
    assert waits_of([ENDING], [], at(2), 1.0)


def test_a_vm_that_stands_still_and_has_a_block_is_told_by_its_block_alone() -> None:
    same = replace(STILL, vm_id=VM_ID)
    assert waits_of([BLOCK], [same, STILL], at(AFTER_S), AFTER_S) == Waits((BLOCK,), (STILL,))
    assert waits_of([BLOCK], [same], at(1), AFTER_S) == Waits()


# --- words ---


def test_the_words_say_who_waits_for_what_since_when_and_what_it_keeps_from_others() -> None:
    notice = stuck_notice(Waits((BLOCK,)), 3, str)
    assert notice == Notice(
        "VM app stands still: ResourceQuota ns/q refuses the receiver pod.",
        "app (WaitForStateTransfer) since 2026-09-01 08:00 UTC: ResourceQuota ns/q refuses the receiver pod. It does "
        "not end by itself: nothing here has a time limit. Meanwhile it keeps 1 of 20 migration slots of provider east "
        "busy. Who can end it: quota.",
    )
    ending = stuck_notice(Waits((ENDING,)), 3, str)
    assert ending is not None
    assert "KubeVirt gives up at 2026-09-01 08:05 UTC, and then the migration of the VM fails." in ending.description
    assert stuck_notice(Waits(), 3, str) is None


def test_a_transfer_that_cannot_be_seen_is_not_said_to_stand_still() -> None:
    copying = replace(STILL, phase="WaitForStateTransfer", step="Synchronization", limit_s=43_200.0, unseen=True)
    notice = stuck_notice(Waits((), (copying,)), 3, str)
    assert notice == Notice(
        "VM other has not finished the transfer after 12 h, and its progress cannot be seen",
        "other has been in WaitForStateTransfer of Synchronization since 2026-09-01 08:00 UTC, for more than 12 h. It "
        "may still be copying: its progress cannot be seen from here. KubeVirt sees it, and gives up by itself where "
        "there is none; a very large VM, or a slow line, takes so long.",
    )
    two = stuck_notice(Waits((), (copying, replace(copying, name="b", vm_id="b", limit_s=1_800.0))), 3, str)
    assert two is not None
    assert two.summary == (
        "2 of 3 VMs have not finished the transfer after 30 min, and its progress cannot be seen: other, b"
    )
    mixed = stuck_notice(Waits((BLOCK,), (copying,)), 3, str)
    assert mixed is not None
    assert mixed.summary == "2 of 3 VMs of the plan stand still: app, other"


def test_equal_waits_are_one_line_and_three_hundred_vms_are_still_short() -> None:
    many = tuple(replace(BLOCK, vm=f"app-{one}", vm_id=str(one)) for one in range(300))
    found = stuck_notice(Waits(many, (STILL,)), 500, str)
    assert found is not None
    assert found.summary.startswith("301 of 500 VMs of the plan stand still: app-0, app-1, app-2, app-3, app-4, …")
    assert len(found.description.splitlines()) == 2
    apart = tuple(replace(BLOCK, vm=f"app-{one}", scope=str(one), cause="x" * 9_999) for one in range(300))
    long = stuck_notice(Waits(apart), 300, str)
    assert long is not None
    assert len(long.description) < 5_000
    assert "And 295 more reasons." in long.description


def test_secrets_are_hidden_in_the_words() -> None:
    found = stuck_notice(Waits((replace(BLOCK, cause="token s3cret"),)), 1, lambda text: text.replace("s3cret", "-"))
    assert found is not None
    assert "s3cret" not in found.summary + found.description


def test_nothing_that_passes_by_itself_is_in_the_words() -> None:
    """Else the alert would be said anew at every look."""
    still = replace(STILL, for_s=STILL.for_s + 30)
    assert stuck_notice(Waits((BLOCK,), (STILL,)), 3, str) == stuck_notice(Waits((BLOCK,), (still,)), 3, str)


def test_an_old_plan_that_nobody_runs_is_no_news() -> None:
    now = at(100_000)
    old, young = NotReady("VMNotFound", "VM not found.", at(0)), NotReady("X", "x", now - timedelta(minutes=6))
    assert not is_news([old], now, executing=False)
    assert not is_news([], now, executing=True)
    assert is_news([old], now, executing=True)
    assert is_news([old, young], now, executing=False)
    notice = not_ready_notice([old, young], "mtv/wave", str, executing=False)
    assert notice is not None
    assert notice.summary == "Plan mtv/wave is not ready: VMNotFound: VM not found., and 1 more"
    assert not_ready_notice([], "mtv/wave", str, executing=False) is None


# --- alerts ---

NOTE = Notice("VM app stands still", "because")


def row(**states: bool) -> PlanRow:
    all_of_them = {"ready": True, "executing": False, "succeeded": False, "failed": False, **states}
    return PlanRow("uid-1", "mig", "wave-1", {}, {}, canceled=None, resource_version="7", **all_of_them)


RUNNING, FAILED, UNREADY = row(executing=True), row(failed=True), row(ready=False)


def raised(name: str, where: PlanRow) -> tuple[Alert, ...]:
    return judge(Standing((), where, notices={name: NOTE}), ClusterConfig("local"), at(0), OWN_ALERTS)


@pytest.mark.parametrize(
    ("name", "where", "now", "notices", "taken_over", "told"),
    [
        (STUCK, RUNNING, RUNNING, {}, False, []),  # not looked at: nothing is known
        (STUCK, RUNNING, RUNNING, {STUCK: NOTE}, False, []),  # nothing new
        (STUCK, RUNNING, RUNNING, {STUCK: Notice("2 of 3", "x")}, False, ["firing"]),
        (STUCK, RUNNING, RUNNING, {STUCK: None}, False, ["resolved"]),
        (STUCK, RUNNING, RUNNING, {NOT_READY: None}, False, []),
        (STUCK, RUNNING, RUNNING, {}, True, []),  # an alert of the run before takes nothing over
        (STUCK, RUNNING, FAILED, {STUCK: None}, False, []),  # holds until Alertmanager's alert comes
        (STUCK, RUNNING, FAILED, {}, True, ["resolved"]),
        (STUCK, RUNNING, row(), {}, False, ["resolved"]),  # canceled
        (STUCK, RUNNING, row(succeeded=True), {}, False, ["resolved"]),
        (STUCK, RUNNING, None, {}, False, ["resolved"]),
        (NOT_READY, UNREADY, UNREADY, {}, False, []),
        (NOT_READY, UNREADY, UNREADY, {NOT_READY: None}, False, ["resolved"]),
        (NOT_READY, UNREADY, row(), {}, False, ["resolved"]),
        (NOT_READY, UNREADY, row(ready=False, executing=True), {}, False, []),
        (NOT_READY, UNREADY, row(ready=False, failed=True), {}, False, []),
        (NOT_READY, UNREADY, row(ready=False, failed=True), {}, True, ["resolved"]),
        (NOT_READY, UNREADY, row(ready=False, succeeded=True), {}, False, ["resolved"]),
        (NOT_READY, UNREADY, None, {}, False, ["resolved"]),
    ],
)
def test_they_end_when_the_plan_moves_on_and_not_because_it_failed(
    name: str, where: PlanRow, now: PlanRow | None, notices: Notices, taken_over: bool, told: list[str]
) -> None:
    before = raised(name, where)
    assert [one.labels for one in before] == [
        {"alertname": name, "severity": "warning", "plan": "uid-1", "plan_name": "wave-1"}
    ]
    standing = Standing(before, now, taken_over=taken_over, notices=notices)
    said = judge(standing, ClusterConfig("local"), at(60), OWN_ALERTS)
    assert [one.status.value for one in said] == told
    assert {one.fingerprint for one in said} <= {one.fingerprint for one in before}
    assert all(one.starts_at == at(0) for one in said)


def test_what_is_switched_off_or_can_no_longer_be_is_not_raised() -> None:
    local = ClusterConfig("local")
    assert not judge(Standing((), RUNNING, notices={STUCK: NOTE}), local, at(0), (NOT_READY,))
    assert not judge(Standing((), FAILED, notices={STUCK: NOTE}), local, at(0), OWN_ALERTS)
    assert not judge(Standing((), row(), notices={NOT_READY: NOTE}), local, at(0), OWN_ALERTS)
    (ended,) = judge(Standing(raised(STUCK, RUNNING), RUNNING), local, at(0), ())
    assert not ended.firing


# --- turns ---


def test_turns_are_fair_and_never_more_in_a_minute_than_may_be() -> None:
    turns = Turns(20)
    for number in range(2_000):
        turns.add(f"plan-{number:04}", 0.0)
    taken: list[tuple[float, str]] = []
    for tick in range(600):
        now = tick * 0.5
        name = turns.next(now)
        if name is not None:
            taken.append((now, name))
            turns.again(name, now + 30)
    assert len(taken) == len({name for _, name in taken}) == 100, "five minutes, and nobody twice"
    for start, _ in taken:
        assert len([at for at, _ in taken if start <= at < start + MINUTE_S]) <= 20


def test_who_may_not_now_lets_others_go_first_and_what_is_new_goes_before_what_was_there() -> None:
    turns = Turns(20)
    turns.add("old", 0.0, newest=5)
    turns.add("older", 0.0, newest=4)
    turns.add("new", 1.0)
    assert turns.next(2.0, lambda name: name != "new") == "old"
    turns.again("old", 99.0)
    assert turns.next(2.0) == "new"
    turns.remove("new")
    assert turns.next(2.0) == "older"


@pytest.mark.parametrize("begins", range(600, 660, 7))
@pytest.mark.parametrize("others", [30, 100])
def test_a_plan_that_goes_first_has_its_look_whatever_the_others_want(others: int, begins: int) -> None:
    turns = Turns(VIEWS_PER_MINUTE, VIEWS_FOR_LIVE)
    for number in range(others):
        turns.add(f"cold-{number:03}", 0.0)
    looks: list[float] = []
    for tick in range(2 * (begins + 300)):
        now = tick * 0.5
        if now == begins:
            turns.add("live", now, first=True)
        name = turns.next(now)
        if name is not None:
            turns.again(name, now + VIEW_EVERY_S)
        if name == "live":
            looks.append(now - begins)
    assert looks == [number * VIEW_EVERY_S for number in range(10)]


def test_those_that_go_first_leave_a_turn_of_four_to_the_others_and_all_that_these_do_not_want() -> None:
    turns = Turns(20, 5)
    for number in range(40):
        turns.add(f"live-{number:02}", 0.0, first=True)
    alone = [turns.next(0.0) for _ in range(21)]
    assert alone.count(None) == 1, "none of the others waits"
    turns.add("cold-1", 30.0)
    turns.add("cold-2", 30.0)
    taken = []
    for _ in range(10):
        taken.append(turns.next(60.0))
        turns.again(taken[-1] or "", 120.0)
    assert [name for name in taken if name and name.startswith("cold")] == ["cold-1", "cold-2"]
    assert taken.index("cold-2") - taken.index("cold-1") == 4


# --- a run ---

LIVE_STEP: dict[str, Any] = {"pipeline": [{"name": "Synchronization", "phase": "Running"}]}


def test_one_look_that_finds_nothing_ends_nothing() -> None:
    """Forklift deletes the objects a moment before its Plan says that the migration failed."""
    going = Going("run")
    assert going.may_end((BLOCK,), ())
    assert not going.may_end((), ())
    assert going.may_end((), ())
    assert going.may_end((), (STILL,))
    assert not going.may_end((), ())


def test_a_block_counts_from_where_it_was_first_seen_and_goes_when_the_vm_moves() -> None:
    going, waiting = Going("run"), plan(vm(**LIVE_STEP))
    going.move(waiting, at(0))
    assert going.wants_look(waiting, at(0))
    going.put((replace(BLOCK, since=at(10)),), at(20))
    going.put((replace(BLOCK, since=at(200)),), at(210))  # the event that told of its begin has expired
    assert [one.since for one in going.blocks] == [at(10)]
    going.move(waiting, at(220))
    assert going.blocks
    going.move(plan(vm("PostHook", **LIVE_STEP)), at(230))
    assert not going.blocks


def test_an_alert_can_end_without_any_object_when_all_that_it_named_have_moved() -> None:
    """Where something cannot be read, a look that finds nothing tells nothing."""
    going = Going("run")
    going.move(plan(vm(**LIVE_STEP), vm(name="b", vm_id="b", **LIVE_STEP)), at(0))
    assert not going.moved_on, "nobody was told"
    going.tells(Waits((BLOCK,), (replace(STILL, vm_id="b"),)))
    going.move(plan(vm(**LIVE_STEP), vm("Completed", "b", "b", completed="2026-09-01T08:01:00Z")), at(90))
    assert not going.moved_on
    going.move(plan(vm("PostHook", **LIVE_STEP)), at(120))
    assert going.moved_on


def test_a_wait_that_does_not_tell_its_begin_counts_from_where_its_vm_stood_still() -> None:
    going = Going("run")
    going.move(plan(vm(**LIVE_STEP)), at(5))
    going.put((replace(BLOCK, since=None),), at(90))
    assert [one.since for one in going.blocks] == [at(5)]


def test_what_was_stored_goes_on_after_a_restart() -> None:
    going = Going("run", details={VM_ID: "Pending"})
    going.move(plan(vm(**LIVE_STEP)), at(0))
    again = Going.again("run", to_json(going.marks))
    again.move(plan(vm(**LIVE_STEP)), at(500))
    assert again.marks[VM_ID].since == at(0)


@pytest.mark.parametrize(
    ("phase", "seconds"),
    [
        ("CreateVM", 300.0),  # half of its limit
        ("CopyDisks", LOOK_S),  # its limit is longer, but a copy that stands still is seen
        ("ConvertGuest", 3_600.0),  # half of two hours, in which it counts nothing
        ("NextYear", LOOK_S),
    ],
)
def test_a_cold_plan_is_looked_at_when_a_vm_has_not_moved_for_half_of_its_limit(phase: str, seconds: float) -> None:
    cold, going = plan(vm(phase), kind="cold"), Going("run")
    going.move(cold, at(0))
    assert not going.is_live(cold)
    assert not going.wants_look(cold, at(seconds))
    assert going.wants_look(cold, at(seconds + 1))


def test_a_plan_that_only_waits_for_its_cutover_is_never_looked_at() -> None:
    warm, going = plan(vm("CopyingPaused"), kind="warm"), Going("run")
    going.move(warm, at(0))
    assert not going.wants_look(warm, at(10_000_000))


def test_a_live_plan_is_known_by_its_type_its_pipeline_or_kubevirts_migration() -> None:
    going, unnamed = Going("run"), plan(vm(**LIVE_STEP), kind="")
    going.move(unnamed, at(0))
    assert going.is_live(unnamed)
    assert going.wants_look(unnamed, at(0))
    assert Going("run").is_live(plan())
    assert Going("run", details={VM_ID: "Running"}).is_live(plan(kind=""))
    assert not Going("run").is_live(plan(kind="warm"))


# --- what is kept ---


def seen(old: dict[str, Any] | None, **objects: Any) -> Any:
    view = View(plan(vm(**LIVE_STEP)), at(240), **objects)
    return seen_in(view, old, lambda text: text.replace("s3cret", "-"))


def test_what_forklift_deletes_is_still_known_after_the_next_look() -> None:
    lacking = unschedulable("0/5 nodes are available: 5 Insufficient memory.")
    told = event("Pod", "virt-launcher-app", "FailedScheduling", "s3cret: no node")
    first = seen(None, pods=[pod(lacking)], target_migrations=[migration("Scheduling")], events=[told])
    assert first.details == {VM_ID: "Scheduling"}
    assert "s3cret" not in str(first.keep)
    assert (
        seen(first.keep, pods=[pod(lacking)], target_migrations=[migration("Scheduling")], events=[told]).keep is None
    )
    after = seen(first.keep)
    assert [one[GONE] for one in after.keep["pods"]] == [True]
    assert "Insufficient memory" in str(after.keep)
    assert seen(after.keep).keep is None, "gone once is gone"


def test_what_is_gone_gives_way_to_what_is_there() -> None:
    old = {"pods": [{"name": f"pod-{one}", "reason": "x" * 500} for one in range(100)]}
    new = {"pods": [{"name": "pod-1", "phase": "Running"}], "left_out": 3}
    found = joined(old, new, 5_000)
    assert found["pods"][0] == {"name": "pod-1", "phase": "Running"}
    assert 5 < len(found["pods"]) < 12
    assert found["left_out"] == 3
    assert redacted({"a": [{"b": "s3cret", "n": 1}]}, lambda text: "-") == {"a": [{"b": "-", "n": 1}]}


def test_the_logs_of_receivers_are_kept_without_secrets_and_within_the_plans_share() -> None:
    lines = "".join(f"line {number}: s3cret\n" for number in range(2_000))
    read = [Tail(VM_ID, "payments", f"pod-{one}", "compute", "Running", at(one), lines) for one in range(9)]
    many = [event("Pod", f"pod-{number}", "Failed", "x" * 500) for number in range(200)]
    first = seen_in(
        View(plan(vm(**LIVE_STEP)), at(240), events=many), None, lambda text: text.replace("s3cret", "-"), read
    )
    assert first.keep is not None
    kept = from_json(first.keep)
    assert "pod-8" in {one.pod for one in kept}
    assert {one.text.splitlines()[-1] for one in kept} == {"line 1999: -"}
    assert len(json.dumps(first.keep, separators=(",", ":"))) <= LIMIT_BYTES
    assert seen(first.keep, events=many).keep is None, "what is gone stays"
    well = plan(vm("Completed", completed="2026-09-01T08:04:00Z", conditions=[{"type": "Succeeded", "status": "True"}]))
    after = seen_in(View(well, at(300), events=many), first.keep, str)
    assert after.keep is not None
    assert from_json(after.keep) == ()


# --- silences ---


def silence(state: str = "active", **matcher: Any) -> dict[str, Any]:
    return {"status": {"state": state}, "matchers": [{"name": "plan", "value": "uid-1", "isRegex": False, **matcher}]}


@pytest.mark.parametrize(
    ("said", "hits"),
    [
        (silence(), True),
        (silence("pending"), False),
        (silence("expired"), False),
        (silence(isEqual=True), True),
        (silence(isEqual=False), False),
        (silence(isEqual=False, value="other"), True),
        (silence(isRegex=True, value="uid-.*"), True),
        (silence(isRegex=True, value="uid"), False),  # the whole value, as at Alertmanager
        (silence(isRegex=True, value="(?!x)"), False),  # not understood: nothing is kept back
        ({"status": {"state": "active"}, "matchers": []}, False),
        ({"status": {"state": "active"}, "matchers": ["x"]}, False),
        ("nonsense", False),
    ],
)
def test_a_silence_means_here_what_it_means_at_alertmanager(said: Any, hits: bool) -> None:
    matchers = active_matchers(said)
    (alert,) = raised(STUCK, RUNNING)
    assert (bool(matchers) and all(one.matches(alert.labels) for one in matchers)) is hits
