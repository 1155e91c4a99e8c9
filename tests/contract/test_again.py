"""Tickets that pass from one story to the next, creates that land late, and the one quiet update of a pager."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from receiver.config.model import HttpConfig
from receiver.destinations import Sender
from receiver.model import Change, Entry, Evidence, StoryState, Wanted
from tests.contract.examples import EVIDENCE, FIXED, OPENED, ROUTING_KEY, deliver, moved, secret, sender, story, wanted
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio


@dataclass(frozen=True, slots=True)
class Tickets:
    """A project, in both of Jira's forms."""

    vendors: FakeVendors
    sender: Sender

    @property
    def states(self) -> list[str]:
        return [each.status for each in self.vendors.jira_issues()]


@pytest.fixture(params=["jira", "jira-dc"])
async def tickets(request: pytest.FixtureRequest, anyio_backend: str, tmp_path: Path) -> AsyncIterator[Tickets]:
    del anyio_backend
    clients: list[httpx2.AsyncClient] = []
    async with FakeVendors(jira_projects=["MIG"]) as vendors:
        url = vendors.jira_url if request.param == "jira" else vendors.jira_dc_url
        http = HttpConfig(credentials=secret(tmp_path, "jira-token", "planted"))
        given = {"api_url": url, "project": "MIG", "wont_fix_resolution": "Won't Do"}
        yield Tickets(vendors, sender("jira", given, tmp_path, clients=clients, http=http))
        for client in clients:
            await client.aclose()


def next_story(before: Wanted) -> Wanted:
    """Return a new story that was given the ticket of the one before."""
    new = story(
        id="01K9ZZZZZZABCDEFGHJKMNPQRS", previous=before.story.id, revision=1, updated=OPENED + timedelta(days=2)
    )
    entry = Entry("reopened", Change.REOPENED, new.updated, "MTVPlanFailed fires: a new failure", 1)
    root = {**(before.root or {}), "revision": 0}
    return replace(wanted(new), keys=before.keys, root=root, entries=(entry,))


async def fixed(tickets: Tickets) -> Wanted:
    _, state = await deliver(tickets.sender, wanted())
    _, state = await deliver(tickets.sender, moved(state, Change.RESOLVED, key="resolved", **FIXED))
    issue = tickets.vendors.jira_issues()[0]
    issue.resolved_at = (OPENED + timedelta(days=1)).timestamp()
    return state


async def test_a_ticket_that_passes_to_a_new_story_is_reopened_once_rewritten_and_says_so_once(
    tickets: Tickets,
) -> None:
    before = await fixed(tickets)
    steps, state = await deliver(tickets.sender, next_story(before))
    assert steps == ["reopen", "update", "comment"]
    assert tickets.states == ["To Do"]
    (issue,) = tickets.vendors.jira_issues()
    shown = str(issue.fields["description"])
    assert f"story {state.story.id}" in shown
    assert f"└ story {before.story.id}" not in shown, "the section of the story before is replaced"

    _, state = await deliver(tickets.sender, moved(state, Change.RESOLVED, key="resolved", **FIXED))
    assert tickets.states == ["Done"]
    create = tickets.sender.plan(wanted())
    assert create is not None
    found = await tickets.sender.find(create, replace(state, root=None))
    assert found is not None, "the label finds it still"
    assert found["id"] == issue.id


async def test_a_ticket_that_was_closed_as_wont_fix_stays_closed_for_the_next_story(tickets: Tickets) -> None:
    before = await fixed(tickets)
    tickets.vendors.jira_issues()[0].resolution = "Won't Do"
    steps, _ = await deliver(tickets.sender, next_story(before))
    assert steps == ["reopen", "update", "comment"]
    assert tickets.states == ["Done"]


async def test_the_section_of_a_ticket_that_moved_with_a_merge_is_still_ours(tickets: Tickets) -> None:
    _, state = await deliver(tickets.sender, wanted())
    older = replace(state.story, id="01K9AAAAAAABCDEFGHJKMNPQRS", revision=9)
    steps, _ = await deliver(tickets.sender, moved(replace(state, story=older), Change.ALERTS, severity="info"))
    assert steps == ["update"]
    assert f"story {older.id}" in str(tickets.vendors.jira_issues()[0].fields["description"])


async def test_a_new_ticket_names_the_one_that_it_follows(tickets: Tickets) -> None:
    asked = wanted()
    address = "https://jira.example.com/browse/MIG-12"
    await deliver(tickets.sender, replace(asked, keys=replace(asked.keys, follows=address)))
    shown = str(tickets.vendors.jira_issues()[0].fields["description"])
    assert "Follows the ticket of an earlier failure" in shown
    assert address in shown


async def test_a_create_that_lands_after_its_story_ended_is_found_and_closed_when_it_is_confirmed(
    tickets: Tickets,
) -> None:
    lost = tickets.sender.plan(wanted())
    assert lost is not None
    closed = moved(replace(wanted(), root={"started": True}), Change.RESOLVED, key="resolved", **FIXED)
    steps, state = await deliver(tickets.sender, closed)
    assert steps == ["adopt"]
    assert tickets.states == []
    assert await deliver(tickets.sender, replace(state, confirm=True)) == (["adopt"], state), "still nothing"

    await tickets.sender.send(lost, wanted())
    steps, _ = await deliver(tickets.sender, replace(state, confirm=True))
    assert steps == ["adopt", "update", "resolve"]
    assert tickets.states == ["Done"]


async def test_a_story_that_begins_again_takes_the_ticket_that_landed_meanwhile(tickets: Tickets) -> None:
    lost = tickets.sender.plan(wanted())
    assert lost is not None
    await tickets.sender.send(lost, wanted())
    again = moved(replace(wanted(), root={"state": "absent"}), Change.REOPENED, key="reopened-1")
    await deliver(tickets.sender, again)
    assert tickets.states == ["To Do"]


PARTLY = replace(EVIDENCE, complete=False)


@pytest.mark.parametrize(
    ("evidence", "asked_again_after_s", "sent"),
    [
        (EVIDENCE, None, True),
        (EVIDENCE, 60.0, True),
        (PARTLY, 60.0, False),
        (PARTLY, 121.0, True),
        (PARTLY, None, True),
        (None, 1.0, False),
        (None, None, True),
    ],
)
async def test_a_pager_keeps_its_quiet_update_for_complete_evidence_or_the_last_that_comes_in_time(
    evidence: Evidence | None, asked_again_after_s: float | None, sent: bool, tmp_path: Path
) -> None:
    async with FakeVendors() as vendors:
        clients: list[httpx2.AsyncClient] = []
        given = {"routing_key_file": ROUTING_KEY, "url": vendors.pagerduty_url}
        pager = sender("pagerduty", given, tmp_path, clients=clients)
        _, state = await deliver(pager, wanted(story(evidence=None, revision=1)))
        again = None if asked_again_after_s is None else OPENED + timedelta(seconds=asked_again_after_s)
        more = moved(
            state, Change.EVIDENCE, quiet_allowed=True, evidence=evidence, more_evidence_at=again, severity="info"
        )
        steps, _ = await deliver(pager, more)
        assert steps == (["update"] if sent else [])
        for client in clients:
            await client.aclose()


async def test_a_rerun_is_worth_the_quiet_update_at_once(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        clients: list[httpx2.AsyncClient] = []
        given = {"routing_key_file": ROUTING_KEY, "url": vendors.pagerduty_url}
        pager = sender("pagerduty", given, tmp_path, clients=clients)
        _, state = await deliver(pager, wanted(story(evidence=PARTLY, revision=1)))
        rerun = moved(
            state, Change.RERUN, quiet_allowed=True, state=StoryState.RERUNNING,
            more_evidence_at=OPENED + timedelta(seconds=30),
        )  # fmt: skip
        assert (await deliver(pager, rerun))[0] == ["update"]
        for client in clients:
            await client.aclose()
