"""Requests without an answer: what may have been done is looked for, and what lands late is put right."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.faulty import (
    CHANNEL,
    QUICK,
    all_told,
    client_ids,
    config,
    plan,
    shown,
    until_delivery,
)
from tests.acceptance.harness import jira, pagerduty, running, slack
from tests.fakes import faults
from tests.fakes.vendors import FakeVendors, is_reply, is_root

pytestmark = pytest.mark.anyio

CONFIRM_LATE = """
global: {resolve_delay: 0s, digest_after: 0, confirm_after: 2s}
clusters: []
"""
TOKEN = "xoxb-test"


def only(destination: str) -> str:
    return f"- name: platform\n  {destination}\n"


async def test_where_looking_is_forbidden_the_message_is_made_again_under_the_same_client_id(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        vendors.fail("slack", faults.cut(), on="chat.postMessage")
        vendors.fail("slack", faults.slack_error("missing_scope"), on="conversations.*", always=True)
        async with running(config(vendors, tmp_path, only(slack(CHANNEL, QUICK))), vendors) as service:
            await service.post(plan(1))
            await vendors.until(lambda v: v.slack_roots())
            await all_told(service, "firing", 1)
            await vendors.settle(1.5)
            assert len(vendors.slack_roots()) == 1
            posts = vendors.seen("slack", "chat.postMessage")
            assert len(posts) == 2
            assert len(client_ids(posts)) == 1
            assert not await service.deliveries(state="parked"), "a look-up that is refused parks nobody"


async def test_a_token_that_dies_before_the_look_up_does_not_make_the_message_twice(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        vendors.fail("slack", faults.cut_after(), on="chat.postMessage")
        async with running(config(vendors, tmp_path, only(slack(CHANNEL, QUICK))), vendors) as service:
            await service.post(plan(1))
            await vendors.until(lambda v: v.slack_roots())
            vendors.sandbox.slack.revoked.add(TOKEN)
            await until_delivery(service, "slack", "parked")
            (tmp_path / "slack-token").write_text("xoxb-new-token")
            await until_delivery(service, "slack", "delivered")
            await vendors.settle(1.5)
            assert len(vendors.slack_roots()) == 1


@pytest.mark.parametrize("ends", [False, True], ids=["the root is edited meanwhile", "the story ends meanwhile"])
async def test_a_reply_without_an_answer_is_looked_for_and_neither_sent_nor_told_again(
    ends: bool, tmp_path: Path
) -> None:
    async with (
        FakeVendors() as vendors,
        running(config(vendors, tmp_path, only(slack(CHANNEL, QUICK))), vendors) as service,
    ):
        await service.post(plan(1, severity="warning"))
        await vendors.until(lambda v: v.slack_roots())
        await all_told(service, "firing", 1)
        vendors.fail("slack", faults.cut_after(), on="chat.postMessage", when=is_reply)
        edits = len(vendors.seen("slack", "chat.update"))
        await service.post(plan(1, severity="critical"))
        await vendors.until(lambda v: v.slack_replies())
        if ends:
            await service.post(plan(1, "resolved", severity="critical"), plan(1, "resolved", severity="warning"))
        else:
            vendors.fail("slack", faults.server_error(), on="chat.update")
            await service.post(plan(1, severity="critical", phase="CreateVM"))
            await vendors.until(lambda v: len(v.seen("slack", "chat.update")) >= edits + 3)
        await all_told(service, "resolved" if ends else "firing", 1)
        await vendors.settle(1.5)
        replies = [shown(one) for one in vendors.slack_replies()]
        assert ["fires too" in reply for reply in replies] == ([True, False] if ends else [True])


async def test_a_story_that_ends_while_its_create_is_unknown_is_closed_where_it_landed(tmp_path: Path) -> None:
    patient = ", timeout: 1s, lookup_grace: 500ms, retry: {min: 1s, max: 1s}"
    receivers = only(f"{slack(CHANNEL, patient)}\n  {pagerduty(patient)}\n  {jira('MIG', patient)}")
    async with FakeVendors() as vendors:
        vendors.fail("slack", faults.cut_after(), on="chat.postMessage")
        vendors.fail("pagerduty", faults.cut_after(), on="trigger")
        vendors.fail("jira", faults.cut_after(), on="POST issue")
        async with running(config(vendors, tmp_path, receivers), vendors) as service:
            await service.post(plan(1))
            await vendors.until(lambda v: v.slack_roots() and v.incidents() and v.jira_issues())
            await service.post(plan(1, "resolved"))
            await all_told(service, "resolved", 1)
            await vendors.settle(1.5)
            assert [move.after for move in vendors.jira_transitions()] == ["Done"]
            assert len(vendors.jira_issues()) == 1
            assert len(vendors.incidents()) == 1
            assert not vendors.incidents_open()
            assert len(vendors.slack_roots()) == 1
            assert "cleared" in shown(vendors.slack_roots()[0]).lower()


async def test_a_lost_trigger_that_lands_after_the_resolve_is_resolved_again(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        vendors.fail("pagerduty", faults.cut(), on="trigger")
        receivers = only(pagerduty(QUICK))
        async with running(config(vendors, tmp_path, receivers, top=CONFIRM_LATE), vendors) as service:
            await service.post(plan(1))
            lost = (await vendors.until(lambda v: v.seen("pagerduty", "trigger")))[0]
            await service.post(plan(1, "resolved"))
            await all_told(service, "resolved", 1)
            resolves = len(vendors.pagerduty_events("resolve"))
            assert resolves, "its create was started, so its end is sent"
            assert not vendors.incidents_open()
            vendors.sandbox.pagerduty.enqueue(lost.json)
            assert vendors.incidents_open(), "the lost trigger opened an incident"
            await vendors.until(lambda v: len(v.pagerduty_events("resolve")) > resolves)
            await vendors.settle(2.5)
            assert not vendors.incidents_open()
            assert len(vendors.pagerduty_events("resolve")) == resolves + 1, "once more, not for ever"


async def test_a_lost_edit_that_lands_after_a_newer_one_is_written_over(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        receivers = only(slack(CHANNEL, QUICK))
        async with running(config(vendors, tmp_path, receivers, top=CONFIRM_LATE), vendors) as service:
            await service.post(plan(1, severity="warning"))
            await vendors.until(lambda v: v.slack_roots())
            await all_told(service, "firing", 1)
            vendors.fail("slack", faults.cut(), on="chat.update")
            await service.post(plan(1, severity="critical"))
            lost = (await vendors.until(lambda v: v.seen("slack", "chat.update")))[0]
            await service.post(plan(1, "resolved", severity="critical"), plan(1, "resolved", severity="warning"))
            await all_told(service, "resolved", 1)
            assert "cleared" in shown(vendors.slack_roots()[0]).lower()
            vendors.sandbox.slack.call("chat.update", lost.json, TOKEN)
            assert "cleared" not in shown(vendors.slack_roots()[0]).lower(), "the lost edit wrote over the end"
            await vendors.until(lambda v: "cleared" in shown(v.slack_roots()[0]).lower())
            await vendors.settle(2.5)
            assert "cleared" in shown(vendors.slack_roots()[0]).lower()


async def test_a_resolve_does_not_wait_for_the_moment_of_the_confirmation(tmp_path: Path) -> None:
    top = "global: {resolve_delay: 0s, digest_after: 0, confirm_after: 10m}\nclusters: []"
    async with FakeVendors() as vendors:
        vendors.fail("pagerduty", faults.cut_after(), on="trigger")
        async with running(config(vendors, tmp_path, only(pagerduty(QUICK)), top=top), vendors) as service:
            await service.post(plan(1))
            await until_delivery(service, "pagerduty", "delivered")
            await service.post(plan(1, "resolved"))
            await vendors.until(lambda v: v.incidents_resolved())
            assert len(vendors.incidents()) == 1


async def test_a_429_after_an_unknown_outcome_does_not_make_the_earlier_try_forgotten(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        vendors.fail("pagerduty", faults.cut(), faults.rate_limited(1), on="trigger")
        receivers = only(pagerduty(QUICK))
        async with running(config(vendors, tmp_path, receivers, top=CONFIRM_LATE), vendors) as service:
            await service.post(plan(1))
            lost = (await vendors.until(lambda v: v.seen("pagerduty", "trigger")))[0]
            await vendors.until(lambda v: len(v.seen("pagerduty", "trigger")) == 2)
            await service.post(plan(1, "resolved"))
            await all_told(service, "resolved", 1)
            vendors.sandbox.pagerduty.enqueue(lost.json)
            assert vendors.incidents_open()
            await vendors.until(lambda v: not v.incidents_open())


async def test_a_message_lost_for_good_is_made_once_after_the_last_look(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        vendors.fail("slack", faults.cut(), on="chat.postMessage", when=is_root)
        async with running(config(vendors, tmp_path, only(slack(CHANNEL, QUICK))), vendors) as service:
            await service.post(plan(1))
            await vendors.until(lambda v: v.slack_roots())
            await all_told(service, "firing", 1)
            await vendors.settle(1.5)
            posts = vendors.seen("slack", "chat.postMessage")
            looks = vendors.seen("slack", "conversations.history")
            assert len(vendors.slack_roots()) == 1
            assert len(posts) == 2
            assert looks
            assert looks[-1].at > posts[0].at + 0.5, "it is looked for until a late request has had its time"
            assert looks[-1].ended_at is not None
            assert looks[-1].ended_at <= posts[1].at
