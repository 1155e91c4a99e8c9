"""Words for VMs that wait: which stories they fit, what is grouped, and which commands are never made."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from receiver.model import (
    Alert,
    Cause,
    Evidence,
    Identity,
    Impact,
    Link,
    PlanPhase,
    Story,
    StoryAlert,
    StoryState,
    VMCounts,
    VMFailure,
    Wait,
)
from receiver.rendering.build import build
from receiver.rendering.context import Do
from receiver.rendering.renderer import StoryRenderer
from receiver.rendering.templates import Templates
from receiver.rendering.text import message_text
from receiver.rendering.waits import is_stuck, lines, options
from tests import stories

NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
PATCH = "oc -n erp-prod patch resourcequota q -p '{}'"


def wait(vm: str = "app-01", **more: Any) -> Wait:
    given: dict[str, Any] = {
        "cause": "live-quota", "sentence": "ResourceQuota erp-prod/q refuses the receiver pod.", "since": NOW,
        "owner": "quota owner", "lacks": ("requests.memory: needs 2 GiB",), "vm_id": f"id-{vm}", "cluster": "west",
        "cures": (Link("The quota owner raises it", PATCH),), **more,
    }  # fmt: skip
    return Wait(vm, **given)


def evidence(*waits: Wait, **more: Any) -> Evidence:
    given: dict[str, Any] = {
        "run": stories.story().run, "run_name": "erp-wave1-7k2qp", "phase": PlanPhase.EXECUTING, "mode": "live",
        "counts": VMCounts(total=3, succeeded=1, running=2), "impact": Impact.NONE, "impact_text": "None yet.",
        "cause": Cause("live-quota", "ResourceQuota erp-prod/q refuses the receiver pod.", owner="quota owner"),
        "waits": waits, "read_at": NOW, "complete": True, **more,
    }  # fmt: skip
    return Evidence(**given)


def fires(*names: str, firing: bool = True) -> tuple[StoryAlert, ...]:
    return tuple(StoryAlert(replace_name(stories.alert(firing=firing), name), "failure", 1) for name in names)


def replace_name(alert: Alert, name: str) -> Alert:
    return replace(alert, labels={**alert.labels, "alertname": name})


def story(*waits: Wait, alerts: tuple[str, ...] = ("MTVPlanStuck",), **more: Any) -> Story:
    return stories.story(evidence=evidence(*waits, **more), alerts=fires(*alerts))


@pytest.fixture(scope="module")
def renderer() -> StoryRenderer:
    def broken(what: str) -> None:
        raise AssertionError(what)

    return StoryRenderer(Templates(), broken)


def shown(of: Story, renderer: StoryRenderer, kind: str = "slack", content: str = "full") -> tuple[str, str]:
    message = renderer.root(stories.wanted(of), kind, content)
    return message.title, message_text(message)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (story(wait()), True),
        (story(), True),
        (story(alerts=("MTVPlanNotReady", "MTVPlanStuck")), True),
        (story(wait(), alerts=("MTVPlanStuck", "MTVVMFailed")), False),
        (story(wait(), alerts=("MigrationFailed",)), False),
        (story(wait(), counts=VMCounts(total=2, failed=1, running=1)), False),
        (story(wait(), failures=(VMFailure("1", "a"),)), False),
        (story(wait(), phase=PlanPhase.FAILED), False),
        (replace(story(wait()), state=StoryState.RERUNNING), False),
        (replace(story(wait()), alerts=fires("MTVPlanStuck", firing=False)), False),
    ],
)
def test_only_a_story_in_which_nothing_has_failed_is_told_as_stuck(of: Story, expected: bool) -> None:
    assert is_stuck(stories.wanted(of), of.evidence) is expected


@pytest.mark.parametrize(
    ("waits", "title"),
    [
        ((wait(),), "Stuck: app-01 refused by quota on west · erp-wave1"),
        ((wait(), wait("app-02")), "Stuck: 2 VMs refused by quota on west · erp-wave1"),
        (
            (wait("db", cause="live-unschedulable", sentence="No node."), wait()),
            "Stuck: app-01 refused by quota on west, 1 more waits · erp-wave1",
        ),
        ((wait(cluster=""),), "Stuck: app-01 refused by quota · erp-wave1"),
        ((wait(cause="of-tomorrow"),), "Stuck: app-01 waits on west · erp-wave1"),
        ((), "Stuck: 2 of 3 VMs not done: quota · erp-wave1"),
    ],
)
def test_the_headline_says_who_waits_for_what_and_where(
    waits: tuple[Wait, ...], title: str, renderer: StoryRenderer
) -> None:
    assert shown(story(*waits), renderer)[0] == title


def test_before_anything_was_read_nothing_is_said_to_have_failed(renderer: StoryRenderer) -> None:
    title, text = shown(stories.story(evidence=None, alerts=fires("MTVPlanStuck")), renderer)
    assert title == "Stuck: what it waits for is not known yet · erp-wave1"
    assert "The plan is stuck" in text
    assert "failed" not in text.lower()


def test_a_plan_that_is_not_ready_says_why(renderer: StoryRenderer) -> None:
    of = story(alerts=("MTVPlanNotReady",), plan_reasons=("The source provider is not ready.",), cause=None,
               phase=PlanPhase.READY, counts=VMCounts(total=2, waiting=2), impact_text="")  # fmt: skip
    title, text = shown(of, renderer)
    assert title == "Stuck: The source provider is not ready · erp-wave1"
    assert "failed" not in text


def test_all_vms_that_wait_for_the_same_are_told_once(renderer: StoryRenderer) -> None:
    _, text = shown(story(wait(), wait("app-02"), wait("app-03")), renderer)
    assert text.count("refuses the receiver pod") == 1
    assert text.count(PATCH) == 1
    assert "one of these" in text


def test_vms_that_wait_for_different_things_need_a_step_each(renderer: StoryRenderer) -> None:
    other = wait("db-01", cause="live-unschedulable", sentence="No node has room.", cures=(Link("Add a node", ""),))
    _, text = shown(story(wait(), other), renderer)
    assert "one of these" not in text
    assert "1. app-01: The quota owner raises it" in text
    assert "2. db-01: Add a node" in text
    assert "3. Or give up for now" in text


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "No. Nothing has a time limit here"),
        (
            {"ends_by_itself": True, "ends_at": NOW + timedelta(minutes=5)},
            "Only badly: at 08:35 UTC the VM's migration",
        ),
        ({"ends_by_itself": True, "ends_at": NOW - timedelta(minutes=5)}, "should have failed at 08:25 UTC."),
        ({"ends_by_itself": True}, "Only badly: KubeVirt gives up after a while"),
    ],
)
def test_whether_it_ends_by_itself(more: dict[str, Any], said: str, renderer: StoryRenderer) -> None:
    assert f"Ends by itself? {said.split(':')[0]}" in shown(story(wait(**more)), renderer)[1] or "should" in said
    assert said in " ".join(shown(story(wait(**more)), renderer)[1].split())


def test_minimal_content_names_nobody(renderer: StoryRenderer) -> None:
    title, text = shown(story(wait()), renderer, content="minimal")
    assert title.startswith("Stuck: 2 of 3 VMs not done")
    assert not [one for one in ("app-01", "west", "quota", "erp") if one in title + text]


def test_summary_content_gives_no_address(renderer: StoryRenderer) -> None:
    _, text = shown(story(wait(sentence="No answer of 192.0.2.10:9185.")), renderer, content="summary")
    assert "192.0.2.10" not in text


def test_a_ticket_says_it_too(renderer: StoryRenderer) -> None:
    message = renderer.root(stories.wanted(story(wait())), "jira")
    assert message.summary == "[erp-prod] Migration plan erp-wave1 is stuck on local"
    assert PATCH in message_text(message)


def test_the_plain_form_says_it_too(renderer: StoryRenderer) -> None:
    text = message_text(renderer.root(stories.wanted(story(wait()), plain=True), "slack"))
    assert "erp-wave1: stuck" in text
    assert PATCH in text


def test_a_failure_tells_what_the_vm_waited_for_when_last_seen(renderer: StoryRenderer) -> None:
    failure = VMFailure("id-app-01", "app-01", step="Synchronization")
    of = story(
        wait(), wait("db-01"), alerts=("MigrationFailed",), failures=(failure,), phase=PlanPhase.FAILED,
        counts=VMCounts(total=2, failed=1, running=1), kept_at=NOW - timedelta(minutes=4),
    )  # fmt: skip
    text = shown(of, renderer)[1]
    assert "Waited for, as last seen 08:26 UTC (Forklift has deleted it since):\n\n- app-01 since 08:30 UTC" in text
    assert "Waiting:\n\n- db-01" in text
    found = lines(of.evidence or Evidence())
    assert ["Seen 21 Nov 2026 08:26 UTC" in one for one in found] == [True, False]


IDENTITY = stories.erp_identity()


@pytest.mark.parametrize(
    ("identity", "more", "command"),
    [
        (IDENTITY, {}, True),
        (None, {}, False),
        (replace(IDENTITY, namespace="a; rm -rf /"), {}, False),
        (IDENTITY, {"run_name": "$(reboot)"}, False),
        (IDENTITY, {"run_name": ""}, False),
        (IDENTITY, {"waits": (wait(vm_id="a'b"),)}, False),
        (IDENTITY, {"waits": tuple(wait(f"app-{number}") for number in range(21))}, False),
    ],
)
def test_the_command_that_cancels_is_made_of_names_only(
    identity: Identity | None, more: dict[str, Any], command: bool
) -> None:
    *_, last = options(identity, evidence(**{"waits": (wait(),), **more}))
    assert last.text.startswith("Give up for now: cancel")
    assert bool(last.command) is command


def test_what_was_kept_can_no_longer_be_canceled() -> None:
    over = evidence(wait(), failures=(VMFailure("id-app-01", "app-01"),), kept_at=NOW)
    assert not any("cancel" in one.text for one in options(IDENTITY, over))


@pytest.mark.parametrize(
    ("mode", "said"),
    [("live", "it stays on the source"), ("cold", "MTV powers its source on again if it was On")],
)
def test_what_becomes_of_a_canceled_vm_is_said(mode: str, said: str) -> None:
    *_, last = options(IDENTITY, evidence(wait(), mode=mode))
    assert said in last.text
    assert last.text.endswith(", 1 other VM goes on")
    assert "(in cluster local)" in last.text


def test_other_clusters_come_before_giving_up() -> None:
    south = Do("Move to south: the plan fits", "")
    found = options(IDENTITY, evidence(wait()), elsewhere=(south,))
    assert [found[0].command, found[1]] == [PATCH, south]
    assert len(found) == 3


def test_a_plan_that_runs_is_not_run_again() -> None:
    commands = (Link("Run again (deletes)", "oc create"), Link("Must-gather", "oc adm must-gather"))
    known = build(stories.wanted(story(wait(), commands=commands)), "slack", "full")
    assert known.commands == ()
    unknown = build(stories.wanted(story(commands=commands)), "slack", "full")
    assert [one.command for one in unknown.commands] == ["oc adm must-gather"]
