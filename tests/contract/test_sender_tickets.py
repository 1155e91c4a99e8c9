"""What people do to a ticket stays: their text, their closing, their won't fix."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from receiver.model import Change, StoryState
from tests.contract.examples import (
    FIXED,
    OPENED,
    deliver,
    moved,
    wanted,
)
from tests.contract.sender_making import Made, make, vendors
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio
__all__ = ["make", "vendors"]


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
