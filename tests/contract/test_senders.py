"""Every ending of a story at every kind of destination, over the wire, against vendors that behave like real ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx2
import pytest

from receiver.config.model import HttpConfig
from receiver.destinations import Manner, Sender
from receiver.errors import DestinationRefused, Gone
from receiver.model import Change, Evidence, Outcome, StoryState, VMCounts
from tests.contract.examples import (
    EVIDENCE,
    FIXED,
    OPENED,
    ROUTING_KEY,
    TOKEN,
    deliver,
    moved,
    quiet_alerts,
    secret,
    sender,
    story,
    wanted,
)
from tests.fakes.faults import Fault, Reply
from tests.fakes.vendors import FakeVendors, is_reply

pytestmark = pytest.mark.anyio

JIRA_TOKEN = "planted-jira-token"
KINDS = ("slack", "pagerduty", "jira", "jira-dc")


@pytest.fixture
async def vendors(anyio_backend: str) -> AsyncIterator[FakeVendors]:
    del anyio_backend
    async with FakeVendors(slack_channels=["payments"], jira_projects=["MIG"]) as started:
        yield started


@dataclass(frozen=True, slots=True)
class Made:
    """Builds senders that speak to the vendors of this test."""

    vendors: FakeVendors
    folder: Path
    clients: list[httpx2.AsyncClient]

    def __call__(self, name: str, raw: Mapping[str, Any] = MappingProxyType({}), **common: Any) -> Sender:
        """Return the sender; `raw` are further settings, `common` what every kind has."""
        http = HttpConfig()
        if name == "slack":
            given = {"channel": "#payments", "app_token_file": TOKEN, "app_url": self.vendors.slack_url}
        elif name == "pagerduty":
            given = {"routing_key_file": ROUTING_KEY, "url": self.vendors.pagerduty_url}
        else:
            url = self.vendors.jira_url if name == "jira" else self.vendors.jira_dc_url
            given = {"api_url": url, "project": "MIG"}
            http = HttpConfig(credentials=secret(self.folder, "jira-token", JIRA_TOKEN))
        kind = name.removesuffix("-dc")
        return sender(kind, {**given, **raw}, self.folder, clients=self.clients, http=http, **common)


@pytest.fixture
async def make(vendors: FakeVendors, tmp_path: Path) -> AsyncIterator[Made]:
    made = Made(vendors, tmp_path, [])
    yield made
    for client in made.clients:
        await client.aclose()


def ended(outcome: Outcome) -> dict[str, Any]:
    return {**FIXED, "outcome": outcome}


def reads_new_run() -> Evidence:
    return replace(EVIDENCE, run="run-2", run_number=2, counts=VMCounts(total=20, failed=0, succeeded=17, running=3))


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table of endings: what happens to the Plan, and which steps follow at each kind."""

    name: str
    change: Change
    key: str
    story: dict[str, Any]
    slack: list[str]
    pagerduty: list[str]
    jira: list[str]
    incident: str
    ticket: str


ALERT_GONE = {"note": "alert gone, plan still failed", "alerts": quiet_alerts(story())}

TABLE = (
    Row("succeeded", Change.RESOLVED, "resolved", ended(Outcome.FIXED),
        ["update", "reply"], ["resolve"], ["update", "comment", "resolve"], "resolved", "Done"),
    Row("executing", Change.RERUN, "rerun-1", {"state": StoryState.RERUNNING, "run": "run-2"},
        ["update", "reply"], ["update"], ["update", "comment"], "triggered", "To Do"),
    Row("alert gone, plan still failed", Change.ALERT_GONE, "", ALERT_GONE,
        ["update"], ["update"], [], "triggered", "To Do"),
    Row("canceled", Change.RESOLVED, "resolved", ended(Outcome.CANCELED),
        ["update", "reply"], ["resolve"], ["update", "comment", "resolve"], "resolved", "Done"),
    Row("deleted", Change.RESOLVED, "resolved", ended(Outcome.DELETED),
        ["update", "reply"], ["resolve"], ["update", "comment", "resolve"], "resolved", "Done"),
    Row("not readable, or no plan at all", Change.RESOLVED, "resolved", ended(Outcome.CLEARED),
        ["update", "reply"], ["resolve"], ["update", "comment", "resolve"], "resolved", "Done"),
)  # fmt: skip


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


@pytest.mark.parametrize("name", ["jira", "jira-dc"])
async def test_what_people_write_into_a_ticket_stays(name: str, make: Made, vendors: FakeVendors) -> None:
    tickets = make(name)
    _, state = await deliver(tickets, wanted())
    issue = vendors.jira_issues()[0]
    issue.labels.append("ours")
    issue.summary = "renamed by a person"
    if name == "jira":
        issue.fields["description"]["content"].append(
            {"type": "paragraph", "content": [{"type": "text", "text": "called the guest team"}]}
        )
    else:
        issue.fields["description"] += "\ncalled the guest team"

    steps, _ = await deliver(tickets, moved(state, Change.RESOLVED, key="resolved", **FIXED))
    assert steps == ["update", "comment", "resolve"]
    text = str(issue.fields["description"])
    assert "called the guest team" in text
    assert text.count("written by mtv-receiver") == 1
    assert issue.summary == "renamed by a person"
    assert "ours" in issue.labels


@pytest.mark.parametrize("name", ["jira", "jira-dc"])
async def test_a_description_without_our_marks_is_left_alone(name: str, make: Made, vendors: FakeVendors) -> None:
    tickets = make(name)
    _, state = await deliver(tickets, wanted())
    own: Any = "all rewritten by a person"
    if name == "jira":
        paragraph = {"type": "paragraph", "content": [{"type": "text", "text": own}]}
        own = {"version": 1, "type": "doc", "content": [paragraph]}
    vendors.jira_issues()[0].fields["description"] = own
    await deliver(tickets, moved(state, Change.RESOLVED, key="resolved", **FIXED))
    assert vendors.jira_issues()[0].fields["description"] == own


@pytest.mark.parametrize("name", ["jira", "jira-dc"])
async def test_a_ticket_closed_as_wont_fix_gets_comments_but_is_not_reopened(
    name: str, make: Made, vendors: FakeVendors
) -> None:
    tickets = make(name, {"wont_fix_resolution": "Won't Do"})
    _, state = await deliver(tickets, wanted())
    _, state = await deliver(tickets, moved(state, Change.RESOLVED, key="resolved", **FIXED))
    vendors.jira_issues()[0].resolution = "Won't Do"
    steps, _ = await deliver(tickets, moved(state, Change.REOPENED, key="reopened-1", state=StoryState.FIRING))
    assert steps == ["reopen", "update", "comment"]
    assert [each.status for each in vendors.jira_issues()] == ["Done"]


async def test_a_ticket_closed_too_long_ago_is_left_and_a_new_one_made(make: Made, vendors: FakeVendors) -> None:
    tickets = make("jira", {"reopen_duration": "1h"})
    _, state = await deliver(tickets, wanted())
    _, state = await deliver(tickets, moved(state, Change.RESOLVED, key="resolved", **FIXED))
    first = vendors.jira_issues()[0]
    first.resolved_at = OPENED.timestamp()
    again = moved(state, Change.REOPENED, key="reopened-1", state=StoryState.FIRING)
    again = replace(again, story=replace(again.story, updated=OPENED + timedelta(hours=3)))
    steps, state = await deliver(tickets, again)
    assert steps == ["reopen", "create"]
    assert [each.status for each in vendors.jira_issues()] == ["Done", "To Do"]
    assert state.root is not None
    assert state.root["id"] != first.id


@pytest.mark.parametrize("name", ["jira", "jira-dc"])
async def test_a_quiet_change_never_reopens_a_ticket(name: str, make: Made) -> None:
    closed = {"state": "done", "id": "7", "hash": "x", "revision": 9}
    step = make(name).plan(wanted(root=closed, audible=False))
    assert step is not None
    assert step.op == "update"


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
