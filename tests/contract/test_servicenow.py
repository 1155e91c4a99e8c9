"""ServiceNow over the wire: every ending, nothing twice, and what people decided stays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx2
import pytest

from receiver.config.model import HttpConfig
from receiver.destinations import Sender
from receiver.errors import DestinationRefused, Gone, Refused, Unknown
from receiver.keeping import pack
from receiver.model import Change, Impact, Outcome, StoryState
from tests.contract.examples import EVIDENCE, FIXED, OPENED, deliver, moved, secret, sender, story, wanted
from tests.contract.sender_making import TABLE, Row
from tests.fakes import faults
from tests.fakes.servicenow import Incident
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

PASSWORD = "planted-servicenow-password"
TEXT = "virt-v2v: opening the disk\n" * 40 + "virt-v2v: could not read key from user\n"
WITH_LOG = replace(EVIDENCE, logs=(replace(EVIDENCE.logs[0], kept=pack(TEXT)),))


class Site:
    """An instance, and senders that speak to it."""

    def __init__(self, vendors: FakeVendors, folder: Path) -> None:
        self.vendors = vendors
        self.clients: list[httpx2.AsyncClient] = []
        self._folder = folder

    def sender(self, **raw: Any) -> Sender:
        common = {name: raw.pop(name) for name in ("content", "send_resolved") if name in raw}
        http = HttpConfig(username="mtv", password=secret(self._folder, "password", PASSWORD))
        given = {"instance_url": self.vendors.servicenow_url, **raw}
        return sender("servicenow", given, self._folder, clients=self.clients, http=http, **common)

    @property
    def only(self) -> Incident:
        (row,) = self.vendors.servicenow.incidents()
        return row


@pytest.fixture
async def site(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Site]:
    del anyio_backend
    async with FakeVendors() as vendors:
        made = Site(vendors, tmp_path)
        yield made
        for client in made.clients:
            await client.aclose()


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
async def test_every_ending_takes_the_steps_of_the_table(row: Row, site: Site) -> None:
    tickets = site.sender()
    first, state = await deliver(tickets, wanted())
    assert first == ["create"]

    steps, state = await deliver(tickets, moved(state, row.change, key=row.key, quiet_allowed=True, **row.story))

    assert steps == row.jira, "the steps of a ticket"
    assert await deliver(tickets, state) == ([], state)
    assert site.only["state"] == ("6" if row.ticket == "Done" else "1")
    assert len(site.only.notes()) == ("comment" in steps)


async def test_a_new_incident_says_what_the_failure_is_and_how_bad(site: Site) -> None:
    await deliver(site.sender(), wanted())
    row = site.only
    assert row["correlation_id"] == wanted().keys.label
    assert row["correlation_display"] == "mtv-receiver guest-bitlocker"
    assert (row["impact"], row["urgency"]) == ("1", "1")
    assert "pay-w17-03" in row["short_description"]
    lines = row["description"].splitlines()
    assert lines[0].startswith("┌ written by mtv-receiver")
    assert lines[-1] == f"└ story {wanted().story.id}"
    assert "Other tickets of this cause: http" in row["description"]


@pytest.mark.parametrize(
    ("impact", "levels"), [(Impact.DOWN, "1"), (Impact.AT_RISK, "2"), (Impact.NONE, "3"), (Impact.UNKNOWN, "2")]
)
async def test_impact_and_urgency_follow_the_impact_on_services(impact: Impact, levels: str, site: Site) -> None:
    await deliver(site.sender(), wanted(story(evidence=replace(EVIDENCE, impact=impact))))
    assert (site.only["impact"], site.only["urgency"]) == (levels, levels)


async def test_columns_are_filled_from_templates_and_a_broken_one_costs_only_itself(site: Site) -> None:
    tickets = site.sender(
        short_description="[{{ namespace }}] {{ name }}: {{ failed_of }}",
        caller="{{ alert_labels.no_such_label }}",
        assignment_group="{{ owner }}",
        fields={"category": "{{ 'software' if is_plan else 'network' }}", "cmdb_ci": "{{ facts.get('ci', '') }}"},
    )
    await deliver(tickets, wanted())
    row = site.only
    assert row["short_description"] == "[payments-prod] pay-w17-03: 3 of 20 VMs failed"
    assert (row["assignment_group"], row["category"]) == ("Windows guest team", "software")
    assert (row["caller_id"], row["cmdb_ci"]) == ("", "")
    sent = site.vendors.seen("servicenow", "POST incident")[0].json
    assert "caller_id" not in sent
    assert "cmdb_ci" not in sent


async def test_five_repeats_of_a_story_cost_no_request(site: Site) -> None:
    tickets = site.sender()
    _, state = await deliver(tickets, wanted())
    before = len(site.vendors.requests)
    for revision in range(3, 8):
        same = replace(state, story=replace(state.story, revision=revision), audible=True)
        assert (await deliver(tickets, same))[0] == []
    assert len(site.vendors.requests) == before


async def test_a_failed_rerun_stays_one_incident_and_is_told_in_a_note(site: Site) -> None:
    tickets = site.sender()
    _, state = await deliver(tickets, wanted())
    rerun = moved(state, Change.RERUN, key="rerun-1", state=StoryState.RERUNNING, run="run-2")
    _, state = await deliver(tickets, rerun)
    again = moved(state, Change.FAILED_AGAIN, key="failed-again-1", state=StoryState.FIRING, run="run-2")
    steps, state = await deliver(tickets, again)
    assert steps == ["look", "update", "comment"]
    assert (len(site.only.notes()), site.only["state"]) == (2, "1")


async def test_it_is_resolved_with_code_and_notes_and_reopened_soon_after(site: Site) -> None:
    tickets = site.sender(close_code="Known error", states={"reopened": "3"})
    _, state = await deliver(tickets, wanted())
    _, state = await deliver(tickets, moved(state, Change.RESOLVED, key="resolved", **FIXED))
    assert (site.only["state"], site.only["close_code"]) == ("6", "Known error")
    assert "Fixed" in site.only["close_notes"]
    site.only.values["resolved_at"] = "2025-11-23 05:00:00"

    again = moved(state, Change.REOPENED, key="reopened-1", state=StoryState.FIRING, outcome=None, closed=None)
    steps, _ = await deliver(tickets, again)
    assert steps == ["reopen", "update", "comment"]
    assert site.only.states == ["1", "6", "3"]


async def test_one_that_was_resolved_too_long_ago_is_left_alone(site: Site) -> None:
    tickets = site.sender(reopen_duration="1h")
    _, state = await deliver(tickets, wanted())
    _, state = await deliver(tickets, moved(state, Change.RESOLVED, key="resolved", **FIXED))
    first = site.only
    first.values["resolved_at"] = "2025-11-22 21:00:00"
    again = moved(state, Change.REOPENED, key="reopened-1", state=StoryState.FIRING)
    again = replace(again, story=replace(again.story, updated=OPENED + timedelta(hours=3)))
    steps, _ = await deliver(tickets, again)
    assert steps == ["reopen", "create"]
    assert [each["state"] for each in site.vendors.servicenow.incidents()] == ["6", "1"]


def closed_by_a_person(row: Incident, state: str, code: str = "Solution provided") -> None:
    row.values |= {"state": state, "close_code": code, "close_notes": "x", "resolved_at": "2025-11-22 21:30:00"}


@pytest.mark.parametrize(
    ("closing", "change", "steps", "states"),
    [
        (("6", "Solution provided"), Change.EVIDENCE, ["update"], ["6"]),
        (("6", "Solution provided"), Change.WORSE, ["update", "comment"], ["6"]),
        (("6", "Solution provided"), Change.FAILED_AGAIN, ["look", "update", "comment"], ["2"]),
        (("6", "Duplicate"), Change.FAILED_AGAIN, ["look", "update", "comment"], ["6"]),
        (("8", ""), Change.FAILED_AGAIN, ["look", "update", "comment"], ["8"]),
        (("7", "Solution provided"), Change.FAILED_AGAIN, ["look", "create"], ["7", "1"]),
    ],
)
async def test_what_a_person_closed_is_reopened_only_when_it_fails_again_and_nobody_said_never(
    closing: tuple[str, str], change: Change, steps: list[str], states: list[str], site: Site
) -> None:
    tickets = site.sender(wont_fix_resolution="duplicate")
    _, state = await deliver(tickets, wanted())
    closed_by_a_person(site.only, *closing)
    key = "" if change is Change.EVIDENCE else "again"
    later = moved(state, change, key=key, evidence=replace(EVIDENCE, impact=Impact.AT_RISK, impact_text="elsewhere"))
    done, state = await deliver(tickets, later)
    assert done == steps
    assert [each["state"] for each in site.vendors.servicenow.incidents()] == states
    assert await deliver(tickets, state) == ([], state), "and it is not looked again"


async def test_an_incident_that_a_person_resolved_is_not_resolved_again(site: Site) -> None:
    tickets = site.sender()
    _, state = await deliver(tickets, wanted())
    closed_by_a_person(site.only, "6", "Known error")
    await deliver(tickets, moved(state, Change.RESOLVED, key="resolved", **FIXED))
    assert site.only["close_code"] == "Known error"


async def test_what_people_write_assign_and_set_stays(site: Site) -> None:
    tickets = site.sender(assignment_group="MTV")
    _, state = await deliver(tickets, wanted())
    row = site.only
    row.values |= {"assigned_to": "ann", "assignment_group": "Guest team", "impact": "3", "short_description": "mine"}
    row.values["description"] = f"seen by Ann\n{row['description']}\ncalled the guest team"
    await deliver(tickets, moved(state, Change.RESOLVED, key="resolved", **FIXED))
    text = row["description"]
    assert text.startswith("seen by Ann\n┌ written by")
    assert text.endswith("\ncalled the guest team")
    assert text.count("written by mtv-receiver") == 1
    assert [row[name] for name in ("assigned_to", "assignment_group", "impact", "short_description")] == [
        "ann", "Guest team", "3", "mine",
    ]  # fmt: skip


@pytest.mark.parametrize("own", ["all rewritten by a person", "x" * 3_990])
async def test_a_description_without_our_marks_or_without_room_is_left_alone(own: str, site: Site) -> None:
    tickets = site.sender()
    _, state = await deliver(tickets, wanted())
    if len(own) > 1_000:  # ours is still there, but would not fit any more
        own = site.only["description"] + "\n" + own[: 3_999 - len(site.only["description"])]
    site.only.values["description"] = own
    longer = replace(EVIDENCE, impact_text="It is all much worse than we thought. " * 20)
    steps, _ = await deliver(tickets, moved(state, Change.EVIDENCE, evidence=longer))
    assert steps == ["update"]
    assert site.only["description"] == own


@pytest.mark.parametrize("landed", [True, False])
async def test_an_unanswered_create_ends_with_its_story(landed: bool, site: Site) -> None:
    tickets = site.sender()
    step = tickets.plan(wanted())
    assert step is not None
    if landed:
        await tickets.send(step, wanted())
    closed = moved(replace(wanted(), root={"started": True}), Change.RESOLVED, key="resolved", **FIXED)
    steps, state = await deliver(tickets, closed)
    assert steps == (["adopt", "update", "comment", "resolve"] if landed else ["adopt"])
    assert [each["state"] for each in site.vendors.servicenow.incidents()] == (["6"] if landed else [])
    assert await deliver(tickets, state) == ([], state)


async def test_a_create_whose_answer_was_lost_is_found_even_by_a_plain_second_create(site: Site) -> None:
    tickets = site.sender()
    site.vendors.fail("servicenow", faults.cut_after(), on="POST incident")
    step = tickets.plan(wanted())
    assert step is not None
    with pytest.raises(Unknown):
        await tickets.send(step, wanted())
    found = await tickets.send(step, wanted())
    assert found["id"] == site.only["sys_id"]
    steps, _ = await deliver(tickets, replace(wanted(), root=found))
    assert steps == ["update"]


async def test_a_record_of_another_key_is_never_taken_for_ours(site: Site) -> None:
    """The column is hidden from us, so the instance ignores that part of the query and returns another's incident."""
    tickets = site.sender()
    await deliver(tickets, wanted())
    other = wanted(story(id="01K9OTHERSTORY000000000000"))
    site.vendors.servicenow.dropped.add("correlation_id")
    step = tickets.plan(other)
    assert step is not None
    assert await tickets.find(step, other) is None


async def test_a_note_is_found_again_and_another_one_is_not_taken_for_it(site: Site) -> None:
    tickets = site.sender()
    _, state = await deliver(tickets, wanted())
    _, state = await deliver(tickets, moved(state, Change.WORSE, key="worse", severity="info"))
    second = moved(state, Change.WORSE, key="worse")
    step = tickets.plan(second)
    assert step is not None
    while step.op != "comment":
        second = replace(second, root=await tickets.send(step, second))
        step = tickets.plan(second)
        assert step is not None
    assert await tickets.find(step, second) is None
    await tickets.send(step, second)
    assert await tickets.find(step, second) is not None


async def test_notes_can_be_comments_that_the_caller_sees(site: Site) -> None:
    tickets = site.sender(notes="comments")
    _, state = await deliver(tickets, wanted())
    await deliver(tickets, moved(state, Change.WORSE, key="worse", severity="info"))
    assert (len(site.only.notes("comments")), site.only.notes("work_notes")) == (1, [])


async def test_a_log_is_attached_once_although_the_answer_was_lost(site: Site) -> None:
    tickets = site.sender()
    site.vendors.fail("servicenow", faults.PASS, faults.PASS)
    state = wanted(story(evidence=WITH_LOG))
    create = tickets.plan(state)
    assert create is not None
    state = replace(state, root=await tickets.send(create, state))
    step = tickets.plan(state)
    assert step is not None
    assert (step.op, step.kept_in_root, step.creates) == ("attach", True, True)
    site.vendors.fail("servicenow", faults.cut_after(), on="POST attachment/file")
    with pytest.raises(Unknown):
        await tickets.send(step, state)
    found = await tickets.find(step, state)
    assert found == {"files": {step.part: site.vendors.servicenow.attachments[0].id}}
    assert tickets.plan(replace(state, root={**(state.root or {}), **found}, audible=False)) is None
    (file,) = site.vendors.servicenow.attachments
    assert (file.name, file.content.decode()) == ("pay-win-app04-virt-v2v.log", TEXT)


@pytest.mark.parametrize("raw", [{"attach_logs": False}, {"content": "summary"}, {"content": "minimal"}])
async def test_no_log_leaves_where_it_is_not_wanted(raw: dict[str, Any], site: Site) -> None:
    steps, _ = await deliver(site.sender(**raw), wanted(story(evidence=WITH_LOG)))
    assert steps == ["create"]
    assert not site.vendors.servicenow.attachments


async def test_an_instance_that_refuses_attachments_refuses_nothing_else(site: Site) -> None:
    site.vendors.servicenow.attachments_allowed = False
    tickets = site.sender()
    state = wanted(story(evidence=WITH_LOG))
    create = tickets.plan(state)
    assert create is not None
    state = replace(state, root=await tickets.send(create, state))
    step = tickets.plan(state)
    assert step is not None
    with pytest.raises(Refused, match="not attached: HTTP 403: User Not Authorized; no attachments here"):
        await tickets.send(step, state)
    root = {**(state.root or {}), "skipped": {step.part: "refused"}}
    assert tickets.plan(replace(state, root=root, audible=False)) is None


async def test_a_deleted_incident_is_gone(site: Site) -> None:
    tickets = site.sender()
    _, state = await deliver(tickets, wanted())
    site.vendors.servicenow.rows.clear()
    changed = moved(state, Change.WORSE, key="worse", severity="info", evidence=replace(EVIDENCE, impact_text="new"))
    step = tickets.plan(changed)
    assert step is not None
    with pytest.raises(Gone):
        await tickets.send(step, changed)
    gone = replace(changed, root={**(changed.root or {}), "gone": True})
    assert tickets.plan(replace(gone, audible=False)) is None
    assert (await deliver(tickets, gone))[0] == ["create"]


async def test_a_state_that_does_not_take_is_said(site: Site) -> None:
    tickets = site.sender(states={"resolved": "66"})
    _, state = await deliver(tickets, wanted())
    site.vendors.servicenow.dropped.add("state")
    closed = moved(state, Change.RESOLVED, **FIXED)
    with pytest.raises(Refused, match="stays in state"):
        await deliver(tickets, closed)


async def test_the_instances_own_rule_is_told_in_its_words(site: Site) -> None:
    site.vendors.servicenow.required.add("u_change")
    tickets = site.sender()
    step = tickets.plan(wanted())
    assert step is not None
    with pytest.raises(Refused, match="mandatory fields: u_change"):
        await tickets.send(step, wanted())


async def test_signing_in_is_by_header_alone_and_a_revoked_password_parks(site: Site) -> None:
    tickets = site.sender()
    await tickets.probe()
    assert all(PASSWORD not in request.path + request.query for request in site.vendors.requests)
    assert not site.vendors.servicenow.incidents()
    site.vendors.servicenow.revoked.add(PASSWORD)
    with pytest.raises(DestinationRefused, match="HTTP 401"):
        await tickets.probe()
    site.vendors.servicenow.revoked.clear()
    with pytest.raises(DestinationRefused, match="Invalid table task_x"):
        await site.sender(table="task_x").probe()


async def test_a_close_code_that_the_instance_does_not_know_is_named_beforehand(site: Site) -> None:
    inspected: Any = site.sender(close_code="Solved (Permanently)")
    (said,) = await inspected.shortcomings()
    assert said.startswith("there is no close_code 'Solved (Permanently)'; name one of Duplicate, Known error")
    fine: Any = site.sender()
    assert await fine.shortcomings() == ()


async def test_a_query_asks_for_our_key_alone(site: Site) -> None:
    await deliver(site.sender(), wanted())
    looked = site.vendors.seen("servicenow", "GET incident")[0]
    (query,) = parse_qs(looked.query)["sysparm_query"]
    assert query.split("^")[0] == f"correlation_id={wanted().keys.label}"
    assert len(wanted().keys.label) <= 100


async def test_the_outcome_of_a_story_is_in_the_close_notes(site: Site) -> None:
    tickets = site.sender()
    _, state = await deliver(tickets, wanted())
    ended: dict[str, Any] = {**FIXED, "outcome": Outcome.CANCELED}
    await deliver(tickets, moved(state, Change.RESOLVED, key="resolved", **ended))
    assert "anceled" in site.only["close_notes"]
