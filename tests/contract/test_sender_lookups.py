"""What was made is found again, what a person deleted is gone, and a probe shows nothing to anybody."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import pytest

from receiver.errors import DestinationRefused, Gone
from receiver.model import Change, StoryState
from tests.contract.examples import (
    ROUTING_KEY,
    TOKEN,
    deliver,
    moved,
    wanted,
)
from tests.contract.sender_making import JIRA_TOKEN, KINDS, Made, make, reads_new_run, vendors
from tests.fakes.faults import Fault, Reply
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio
__all__ = ["make", "vendors"]


@pytest.mark.parametrize("name", ["slack", "jira", "jira-dc"])
async def test_a_created_root_is_found_by_our_own_key_and_brought_up_to_date(
    name: str, make: Made, vendors: FakeVendors
) -> None:
    the_sender = make(name)
    state = wanted()
    step = the_sender.plan(state)
    assert step is not None
    assert step.creates
    if name != "slack":  # a channel that was never posted to does not exist in the sandbox
        assert await the_sender.find(step, state) is None
    await the_sender.send(step, state)

    found = await the_sender.find(step, state)
    assert found is not None
    steps, _ = await deliver(the_sender, replace(state, root=found))
    assert steps == ["update"]
    assert len(vendors.slack_messages()) + len(vendors.jira_issues()) == 1


def said_in_channel(vendors: FakeVendors) -> str:
    (message,) = vendors.slack_roots()
    return str(message.blocks)


@pytest.mark.parametrize("adopted", [False, True], ids=["answered", "found after a lost answer"])
async def test_a_late_slack_message_says_so_through_all_its_edits(
    adopted: bool, make: Made, vendors: FakeVendors
) -> None:
    chat = make("slack")
    state = wanted(late_s=740.0)
    step = chat.plan(state)
    assert step is not None
    root = await chat.send(step, state)
    if adopted:  # by then it waits longer, which the message that was posted does not say
        found = await chat.find(step, replace(state, late_s=9_000.0))
        assert found is not None
        root = found
    rerun = {"key": "rerun-1", "state": StoryState.RERUNNING}
    changed = moved(replace(state, root=root, late_s=0.0), Change.RERUN, **rerun)

    steps, shown = await deliver(chat, changed)

    assert steps[0] == "update"
    assert "Late by 12 min" in said_in_channel(vendors)
    assert await deliver(chat, shown) == ([], shown)


async def test_a_slack_message_in_time_never_becomes_late(make: Made, vendors: FakeVendors) -> None:
    chat = make("slack")
    _, state = await deliver(chat, wanted())

    assert chat.plan(replace(state, late_s=9_000.0)) is None
    rerun = {"key": "rerun-1", "state": StoryState.RERUNNING}
    steps, _ = await deliver(chat, moved(replace(state, late_s=9_000.0), Change.RERUN, **rerun))
    assert steps[0] == "update"
    assert "Late by" not in said_in_channel(vendors)


@pytest.mark.parametrize("name", ["slack", "jira", "jira-dc"])
async def test_a_created_entry_is_found_and_another_entry_is_not_taken_for_it(
    name: str, make: Made, vendors: FakeVendors
) -> None:
    the_sender = make(name)
    _, state = await deliver(the_sender, wanted())
    first = moved(state, Change.WORSE, key="worse", severity="critical")
    _, state = await deliver(the_sender, first)
    second = replace(moved(state, Change.WORSE, key="worse"), root=state.root)
    step = the_sender.plan(second)
    while step is not None and step.part == "root":
        second = replace(second, root=await the_sender.send(step, second))
        step = the_sender.plan(second)
    assert step is not None
    assert await the_sender.find(step, second) is None  # the same key, but the note of an older revision
    await the_sender.send(step, second)
    assert await the_sender.find(step, second) is not None


async def test_slack_without_the_history_scope_says_which_one_is_missing(make: Made, vendors: FakeVendors) -> None:
    body = {"ok": False, "error": "missing_scope", "needed": "channels:history", "provided": "chat:write"}
    vendors.fail("slack", Fault("no_scope", "no", reply=Reply.json(200, body)), on="conversations.history")
    chat, state = make("slack"), wanted()
    step = chat.plan(state)
    assert step is not None
    with pytest.raises(DestinationRefused, match="missing scope channels:history"):
        await chat.find(step, state)


@pytest.mark.parametrize("name", ["slack", "jira", "jira-dc"])
async def test_what_a_person_deleted_is_gone_and_comes_back_only_with_an_audible_change(
    name: str, make: Made, vendors: FakeVendors
) -> None:
    the_sender = make(name)
    _, state = await deliver(the_sender, wanted())
    if name == "slack":
        channel = next(iter(vendors.sandbox.slack.channels.values()))
        channel.messages.clear()
    else:
        vendors.sandbox.jira.clear()
    changed = moved(state, Change.EVIDENCE, evidence=reads_new_run(), run="run-2")
    step = the_sender.plan(changed)
    assert step is not None
    with pytest.raises(Gone):
        await the_sender.send(step, changed)
    assert the_sender.plan(replace(changed, root={**(changed.root or {}), "gone": True})) is None
    steps, _ = await deliver(the_sender, replace(changed, root=None, audible=True))
    assert steps == ["create"]


async def test_a_reply_to_a_deleted_message_leaves_no_stray_message(make: Made, vendors: FakeVendors) -> None:
    chat = make("slack")
    _, state = await deliver(chat, wanted())
    channel = next(iter(vendors.sandbox.slack.channels.values()))
    changed = moved(state, Change.WORSE, key="worse")
    step = chat.plan(changed)
    while step is not None and step.op != "reply":
        changed = replace(changed, root=await chat.send(step, changed))
        step = chat.plan(changed)
    assert step is not None
    channel.messages.clear()
    with pytest.raises(Gone):
        await chat.send(step, changed)
    assert not vendors.slack_messages()


@pytest.mark.parametrize("name", KINDS)
async def test_a_probe_shows_nothing_to_anybody(name: str, make: Made, vendors: FakeVendors) -> None:
    await make(name).probe()
    assert not vendors.slack_messages()
    assert not vendors.incidents()
    assert not vendors.jira_issues()


@pytest.mark.parametrize("name", KINDS)
async def test_a_probe_finds_a_revoked_secret(name: str, make: Made, vendors: FakeVendors) -> None:
    with ExitStack() as revoked:
        for where, what in ((vendors.sandbox.slack, TOKEN), (vendors.sandbox.pagerduty, ROUTING_KEY)):
            where.revoked.add(what)
            revoked.callback(where.revoked.discard, what)
        vendors.sandbox.jira.revoked.add(JIRA_TOKEN)
        with pytest.raises(DestinationRefused):
            await make(name).probe()


@pytest.mark.parametrize("name", ["jira", "jira-dc"])
async def test_a_probe_names_the_issue_type_that_the_project_lacks(name: str, make: Made, vendors: FakeVendors) -> None:
    tickets = make(name, {"issue_type": "Incident"})
    with pytest.raises(DestinationRefused, match="no issue type Incident; it has Bug"):
        await tickets.probe()
