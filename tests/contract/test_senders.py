"""Every ending of a story at every kind of destination, over the wire, against vendors that behave like real ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from receiver.destinations import Manner
from receiver.model import Change, StoryState
from tests.contract.examples import (
    EVIDENCE,
    FIXED,
    OPENED,
    ROUTING_KEY,
    TOKEN,
    deliver,
    moved,
    story,
    wanted,
)
from tests.contract.sender_making import JIRA_TOKEN, KINDS, TABLE, Made, Row, make, reads_new_run, vendors
from tests.fakes.vendors import FakeVendors, is_reply

pytestmark = pytest.mark.anyio
__all__ = ["make", "vendors"]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
async def test_every_ending_takes_the_steps_of_the_table(row: Row, name: str, make: Made, vendors: FakeVendors) -> None:
    the_sender = make(name)
    first, state = await deliver(the_sender, wanted())
    assert first == (["trigger"] if name == "pagerduty" else ["create"])

    steps, state = await deliver(the_sender, moved(state, row.change, key=row.key, quiet_allowed=True, **row.story))

    assert steps == getattr(row, name.removesuffix("-dc"))
    assert await deliver(the_sender, replace(state, quiet_allowed=True)) == ([], replace(state, quiet_allowed=True))
    if name == "pagerduty":
        assert [each.state for each in vendors.incidents()] == [row.incident]
    elif name == "slack":
        assert len(vendors.slack_roots("payments")) == 1
        assert len(vendors.slack_replies("payments")) == ("reply" in steps)
    else:
        assert [each.status for each in vendors.jira_issues("MIG")] == [row.ticket]
        assert len(vendors.jira_comments()) == ("comment" in steps)


@pytest.mark.parametrize("name", KINDS)
async def test_a_failed_rerun_stays_one_thing_and_is_told_aloud(name: str, make: Made, vendors: FakeVendors) -> None:
    the_sender = make(name)
    _, state = await deliver(the_sender, wanted())
    rerun = moved(state, Change.RERUN, key="rerun-1", state=StoryState.RERUNNING, evidence=reads_new_run(), run="run-2")
    _, state = await deliver(the_sender, rerun)
    again = moved(
        state,
        Change.FAILED_AGAIN,
        key="failed-again-1",
        state=StoryState.FIRING,
        evidence=replace(EVIDENCE, run="run-2"),
    )
    steps, state = await deliver(the_sender, again)
    _, state = await deliver(the_sender, moved(state, Change.RESOLVED, key="resolved", **FIXED))

    if name == "pagerduty":
        assert steps == ["update"]
        assert [(each.state, each.title) for each in vendors.incidents()] == [
            ("resolved", vendors.incidents()[0].title)
        ]
        assert len(vendors.pagerduty_events("resolve", "resolved")) == 1
    elif name == "slack":
        assert steps == ["update", "reply"]
        assert [each.reply_broadcast for each in vendors.slack_replies()] == [False, True, False]
    else:
        assert steps == ["look", "update", "comment"]
        assert [each.name for each in vendors.jira_transitions()] == ["Done"]


async def test_failing_again_pages_again_when_a_person_resolved_the_incident(make: Made, vendors: FakeVendors) -> None:
    pager = make("pagerduty")
    _, state = await deliver(pager, wanted())
    vendors.incidents()[0].state = "resolved"
    steps, _ = await deliver(pager, moved(state, Change.FAILED_AGAIN))  # all evidence reads as before
    assert steps == ["update"]
    assert [each.state for each in vendors.incidents()] == ["resolved", "triggered"]


@pytest.mark.parametrize("name", KINDS)
async def test_firing_again_reopens_the_same_thing(name: str, make: Made, vendors: FakeVendors) -> None:
    the_sender = make(name)
    _, state = await deliver(the_sender, wanted())
    _, state = await deliver(the_sender, moved(state, Change.RESOLVED, key="resolved", **FIXED))
    again = moved(state, Change.REOPENED, key="reopened-1", state=StoryState.FIRING, outcome=None, closed=None)
    steps, state = await deliver(the_sender, again)

    if name == "pagerduty":
        assert steps == ["trigger"]
        assert len({each.title for each in vendors.incidents()}) == 1
        assert [each.state for each in vendors.incidents()] == ["resolved", "triggered"]
    elif name == "slack":
        assert steps == ["update", "reply"]
        assert len(vendors.slack_roots()) == 1
    else:
        assert steps == ["reopen", "update", "comment"]
        assert [(each.status, each.resolution) for each in vendors.jira_issues()] == [("To Do", None)]


@pytest.mark.parametrize("name", KINDS)
async def test_an_equal_story_costs_no_request(name: str, make: Made, vendors: FakeVendors) -> None:
    the_sender = make(name)
    _, state = await deliver(the_sender, wanted())
    before = len(vendors.requests)
    later = replace(state, story=replace(state.story, revision=9, updated=OPENED), audible=True, quiet_allowed=True)
    assert await deliver(the_sender, later) == ([], replace(later, audible=False))
    assert len(vendors.requests) == before


@pytest.mark.parametrize("name", KINDS)
async def test_a_story_that_closed_before_its_first_create_pages_nobody_and_is_told_once_in_chat(
    name: str, make: Made, vendors: FakeVendors
) -> None:
    the_sender = make(name)
    closed = moved(wanted(), Change.RESOLVED, key="resolved", **FIXED)
    steps, _ = await deliver(the_sender, closed)
    assert steps == (["create"] if the_sender.manner is Manner.CHAT else [])
    assert len(vendors.slack_messages()) == (the_sender.manner is Manner.CHAT)
    assert not vendors.pagerduty_events()
    assert not vendors.jira_issues()


@pytest.mark.parametrize("name", KINDS)
async def test_without_send_resolved_the_end_makes_no_noise(name: str, make: Made, vendors: FakeVendors) -> None:
    the_sender = make(name, send_resolved=False)
    _, state = await deliver(the_sender, wanted())
    steps, _ = await deliver(the_sender, moved(state, Change.RESOLVED, key="resolved", **FIXED))
    assert steps == ([] if name == "pagerduty" else ["update"])
    assert [each.state for each in vendors.incidents()] in ([], ["triggered"])
    assert not vendors.slack_replies()
    assert not vendors.jira_transitions()


@pytest.mark.parametrize("name", KINDS)
async def test_confirm_sends_the_same_state_once_more_and_makes_nothing_new(
    name: str, make: Made, vendors: FakeVendors
) -> None:
    the_sender = make(name)
    _, state = await deliver(the_sender, wanted())
    steps, _ = await deliver(the_sender, replace(state, confirm=True, quiet_allowed=False))
    assert steps == ["update"]
    assert len(vendors.slack_messages()) + len(vendors.incidents()) + len(vendors.jira_issues()) == 1


async def test_a_lost_resolve_is_sent_again_to_confirm(make: Made, vendors: FakeVendors) -> None:
    pager = make("pagerduty")
    _, state = await deliver(pager, wanted())
    _, state = await deliver(pager, moved(state, Change.RESOLVED, key="resolved", **FIXED))
    assert await deliver(pager, state) == ([], state)
    steps, _ = await deliver(pager, replace(state, confirm=True))
    assert steps == ["resolve"]


async def test_an_unanswered_trigger_is_resolved_with_its_story(make: Made, vendors: FakeVendors) -> None:
    pager = make("pagerduty")
    started = wanted()
    step = pager.plan(started)
    assert step is not None
    await pager.send(step, started)  # carried out, but nobody recorded it

    closed = moved(replace(started, root={"started": True}), Change.RESOLVED, key="resolved", **FIXED)
    steps, _ = await deliver(pager, closed)
    assert steps == ["resolve"]
    assert [each.state for each in vendors.incidents()] == ["resolved"]


@pytest.mark.parametrize("name", ["jira", "jira-dc"])
@pytest.mark.parametrize("landed", [True, False])
async def test_an_unanswered_ticket_is_closed_with_its_story_and_never_made_for_a_closed_one(
    name: str, landed: bool, make: Made, vendors: FakeVendors
) -> None:
    tickets = make(name)
    started = wanted()
    step = tickets.plan(started)
    assert step is not None
    if landed:
        await tickets.send(step, started)

    closed = moved(replace(started, root={"started": True}), Change.RESOLVED, key="resolved", **FIXED)
    steps, state = await deliver(tickets, closed)
    assert steps == (["adopt", "update", "comment", "resolve"] if landed else ["adopt"])
    assert [each.status for each in vendors.jira_issues()] == (["Done"] if landed else [])
    assert await deliver(tickets, state) == ([], state)


async def test_every_request_to_slack_carries_the_token_in_its_header_alone(make: Made, vendors: FakeVendors) -> None:
    chat = make("slack")
    _, state = await deliver(chat, wanted())
    await deliver(chat, moved(state, Change.REOPENED, key="reopened-1"))
    assert vendors.requests
    for request in vendors.requests:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        assert TOKEN.encode() not in request.raw
        assert TOKEN not in request.path + request.query
    assert is_reply(vendors.seen("slack", "chat.postMessage")[-1])


@pytest.mark.parametrize("name", KINDS)
async def test_a_planned_body_holds_no_secret(name: str, make: Made) -> None:
    step = make(name).plan(wanted(story()))
    assert step is not None
    for planted in (TOKEN, ROUTING_KEY, JIRA_TOKEN):
        assert planted not in str(step)
