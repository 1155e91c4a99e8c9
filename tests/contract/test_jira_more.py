"""Jira beyond create, update and close: what people decided, logs, fields from templates, and what a project lacks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from receiver.config.model import HttpConfig
from receiver.destinations import Inspects, Sender
from receiver.errors import Refused, Unknown
from receiver.keeping import pack
from receiver.model import Change, DeliveryState, Identity, Link, StoryState, Told, Wanted
from tests.contract.examples import EVIDENCE, FIXED, OPENED, deliver, moved, secret, sender, story, wanted
from tests.fakes import faults
from tests.fakes.vendors import FakeVendors, SeenRequest

pytestmark = pytest.mark.anyio

TEXT = "virt-v2v: opening the disk 🔴\n" * 40 + "virt-v2v: could not read key from user\n"
WITH_LOG = replace(EVIDENCE, logs=(replace(EVIDENCE.logs[0], kept=pack(TEXT)),))
AGAIN: dict[str, Any] = {"state": StoryState.FIRING, "run": "run-2"}


class Site:
    """A project, in one of Jira's two forms."""

    def __init__(self, vendors: FakeVendors, folder: Path, cloud: bool) -> None:
        self.vendors = vendors
        self.jira = vendors.sandbox.jira
        self.clients: list[httpx2.AsyncClient] = []
        self._folder = folder
        self._url = vendors.jira_url if cloud else vendors.jira_dc_url

    def sender(self, **raw: Any) -> Sender:
        common = {name: raw.pop(name) for name in ("content", "send_resolved") if name in raw}
        http = HttpConfig(credentials=secret(self._folder, "jira-token", "planted"))
        given = {"api_url": self._url, "project": "MIG", **raw}
        return sender("jira", given, self._folder, clients=self.clients, http=http, **common)

    async def lacks(self, **raw: Any) -> tuple[str, ...]:
        asked = self.sender(**raw)
        assert isinstance(asked, Inspects)
        return await asked.shortcomings()

    def close(self, resolution: str, at: timedelta = timedelta(minutes=10)) -> None:
        """Close the one ticket as a person would."""
        (issue,) = self.vendors.jira_issues()
        issue.status, issue.resolution, issue.resolved_at = "Done", resolution, (OPENED + at).timestamp()


@pytest.fixture(params=[True, False], ids=["cloud", "dc"])
async def site(request: pytest.FixtureRequest, anyio_backend: str, tmp_path: Path) -> AsyncIterator[Site]:
    del anyio_backend
    async with FakeVendors(jira_projects=["MIG"]) as vendors:
        made = Site(vendors, tmp_path, request.param)
        yield made
        for client in made.clients:
            await client.aclose()


# --- what a person decided ---


@pytest.mark.parametrize(
    ("resolution", "change", "status"),
    [
        ("Done", Change.EVIDENCE, "Done"),
        ("Done", Change.WORSE, "Done"),
        ("Done", Change.RERUN, "Done"),
        ("Done", Change.FAILED_AGAIN, "To Do"),
        ("Done", Change.REOPENED, "To Do"),
        ("won't do", Change.FAILED_AGAIN, "Done"),
        ("Duplicate", Change.REOPENED, "Done"),
    ],
)
async def test_what_a_person_closed_is_reopened_only_when_it_fails_again_and_nobody_said_never(
    resolution: str, change: Change, status: str, site: Site
) -> None:
    tickets = site.sender(wont_fix_resolution=["Won't Do", "Duplicate"])
    _, state = await deliver(tickets, wanted())
    site.close(resolution)
    key = "" if change is Change.EVIDENCE else "again"
    _, state = await deliver(tickets, moved(state, change, key=key, **AGAIN))
    (issue,) = site.vendors.jira_issues()
    assert issue.status == status
    assert len(issue.comments) == bool(key), "people are told all the same"
    assert await deliver(tickets, state) == ([], state), "and it is not looked again"


async def test_what_a_person_closed_too_long_ago_is_left_and_a_new_ticket_made(site: Site) -> None:
    tickets = site.sender(reopen_duration="1h")
    _, state = await deliver(tickets, wanted())
    site.close("Done", timedelta(minutes=1))
    again = moved(state, Change.FAILED_AGAIN, key="again", **AGAIN)
    again = replace(again, story=replace(again.story, updated=OPENED + timedelta(hours=2)))
    steps, _ = await deliver(tickets, again)
    assert steps == ["look", "create"]
    assert [each.status for each in site.vendors.jira_issues()] == ["Done", "To Do"]


async def test_a_ticket_that_a_person_declined_and_then_reopened_is_closed_with_its_story(site: Site) -> None:
    tickets = site.sender(wont_fix_resolution="Won't Do")
    _, state = await deliver(tickets, wanted())
    site.close("Won't Do")
    _, state = await deliver(tickets, moved(state, Change.FAILED_AGAIN, key="again-1", **AGAIN))
    (issue,) = site.vendors.jira_issues()
    issue.status, issue.resolution, issue.resolved_at = "To Do", None, None
    _, state = await deliver(tickets, moved(state, Change.FAILED_AGAIN, key="again-2", **AGAIN))
    await deliver(tickets, moved(state, Change.RESOLVED, key="resolved", **FIXED))
    assert issue.status == "Done"


async def test_a_ticket_found_closed_after_a_lost_answer_was_closed_by_a_person(site: Site) -> None:
    tickets = site.sender()
    step = tickets.plan(wanted())
    assert step is not None
    await tickets.send(step, wanted())
    site.close("Won't Do")
    found = await tickets.find(step, wanted())
    assert found is not None
    await deliver(tickets, replace(wanted(), root=found))
    assert [each.status for each in site.vendors.jira_issues()] == ["Done"]


# --- logs ---


def files_sent(request: SeenRequest) -> list[tuple[str | None, str]]:
    head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + request.raw)
    return [(part.get_filename(), part.get_payload(decode=True).decode()) for part in message.iter_parts()]  # type: ignore[union-attr]


async def test_the_log_is_attached_whole_once_the_evidence_is_complete(site: Site) -> None:
    tickets = site.sender()
    steps, state = await deliver(tickets, wanted(story(evidence=replace(WITH_LOG, complete=False))))
    assert steps == ["create"]
    steps, state = await deliver(tickets, moved(state, Change.EVIDENCE, evidence=WITH_LOG))
    assert steps == ["attach"]
    (request,) = site.vendors.seen("jira", "POST issue/*/attachments")
    assert request.headers["x-atlassian-token"] == "no-check"
    assert files_sent(request) == [("pay-win-app04-virt-v2v.log", TEXT)]
    steps, _ = await deliver(tickets, moved(state, Change.RESOLVED, key="resolved", **FIXED))
    assert steps == ["update", "comment", "resolve"]
    assert len(site.vendors.jira_issues()[0].attachments) == 1


async def test_the_logs_of_a_second_run_are_files_of_their_own(site: Site) -> None:
    tickets = site.sender()
    _, state = await deliver(tickets, wanted(story(evidence=WITH_LOG)))
    second = replace(WITH_LOG, run="run-2", run_number=2)
    steps, _ = await deliver(tickets, moved(state, Change.FAILED_AGAIN, key="again", evidence=second, **AGAIN))
    assert steps[-1] == "attach"
    names = [each["filename"] for each in site.vendors.jira_issues()[0].attachments]
    assert names == ["pay-win-app04-virt-v2v.log", "pay-win-app04-virt-v2v-run2.log"]


async def test_a_log_whose_upload_was_never_answered_is_found_by_its_name(site: Site) -> None:
    tickets = site.sender()
    state = wanted(story(evidence=WITH_LOG))
    create = tickets.plan(state)
    assert create is not None
    state = replace(state, root=await tickets.send(create, state))
    step = tickets.plan(state)
    assert step is not None
    assert await tickets.find(step, state) is None
    site.vendors.fail("jira", faults.cut_after(), on="POST issue/*/attachments")
    with pytest.raises(Unknown):
        await tickets.send(step, state)
    found = await tickets.find(step, state)
    assert found is not None
    assert list(found["files"]) == [step.part]
    assert tickets.plan(replace(state, root={**(state.root or {}), **found}, audible=False)) is None


@pytest.mark.parametrize("status", [403, 404, 413])
async def test_a_project_without_attachments_keeps_its_tickets(status: int, site: Site) -> None:
    site.vendors.fail("jira", faults.jira_refused(status, "no"), on="POST issue/*/attachments", always=True)
    tickets = site.sender()
    state = wanted(story(evidence=WITH_LOG))
    create = tickets.plan(state)
    assert create is not None
    state = replace(state, root=await tickets.send(create, state))
    step = tickets.plan(state)
    assert step is not None
    if status == 404:
        with pytest.raises(Exception, match="404"):
            await tickets.send(step, state)
        return
    with pytest.raises(Refused, match="no"):
        await tickets.send(step, state)
    assert tickets.plan(replace(state, root={**(state.root or {}), "skipped": {step.part: "no"}})) is None


@pytest.mark.parametrize("raw", [{"attach_logs": False}, {"content": "summary"}, {"content": "minimal"}])
async def test_no_log_leaves_where_it_is_not_wanted(raw: dict[str, Any], site: Site) -> None:
    assert (await deliver(site.sender(**raw), wanted(story(evidence=WITH_LOG))))[0] == ["create"]


# --- fields and links ---


async def test_fields_are_filled_from_labels_and_facts(site: Site) -> None:
    facts = {"plan_label_wave": "17", "plan_annotation_change": "CHG0048213"}
    identity = wanted().story.identity
    assert identity is not None
    raw: dict[str, Any] = {
        "summary": "[{{ namespace }}] {{ name }}: {{ failed_of }} at {{ step }}",
        "priority": "{{ 'High' if impact == 'down' else 'Low' }}",
        "labels": ["wave-{{ facts.get('plan_label_wave', 'none') }}", "{{ alert_labels.severity | toUpper }}", "a b"],
        "components": ["{{ owner }}", "{{ facts.get('none', '') }}"],
        "fields": {"customfield_1": "{{ facts.get('plan_annotation_change', '') }}", "customfield_2": {"id": 5}},
    }
    with pytest.raises(ValidationError, match="a label is empty, too long or has blanks"):
        site.sender(**raw)
    raw["labels"] = ["wave-{{ facts.get('plan_label_wave', 'none') }}", "{{ alert_labels.severity | toUpper }}"]
    await deliver(site.sender(**raw), wanted(story(identity=replace(identity, facts=facts))))
    (issue,) = site.vendors.jira_issues()
    assert issue.summary == "[payments-prod] pay-w17-03: 3 of 20 VMs failed at ImageConversion"
    assert issue.priority == "High"
    assert issue.labels == [wanted().keys.label, "wave-17", "CRITICAL", "guest-bitlocker"]
    assert issue.fields["components"] == [{"name": "Windows guest team"}]
    assert issue.fields["customfield_1"] == "CHG0048213"
    assert issue.fields["customfield_2"] == {"id": 5}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"summary": "{{ nmae }}"}, "no variable is called nmae; did you mean name?"),
        ({"priority": "{{ .Labels.x }}"}, "no Jinja template"),
        ({"labels": ["{% if %}"]}, "no Jinja template"),
        ({"components": "{{ nonsense_of_all_kinds }}"}, "no variable is called nonsense_of_all_kinds"),
        ({"fields": {"a": [{"b": "{{ x y }}"}]}}, "no Jinja template"),
    ],
)
async def test_a_template_that_could_never_run_is_found_when_the_file_is_read(
    raw: dict[str, Any], said: str, site: Site
) -> None:
    with pytest.raises(ValidationError, match=said.replace("?", r"\?")):
        site.sender(**raw)


async def test_a_template_that_breaks_leaves_its_field_out_and_the_ticket_is_made(site: Site) -> None:
    raw = {
        "summary": "{{ facts.no_such_fact }}",
        "priority": "{{ 1 / (failed - 3) }}",
        "fields": {"customfield_1": "{{ 'x' * 99999 }}", "customfield_2": "stays"},
    }
    await deliver(site.sender(**raw), wanted())
    (issue,) = site.vendors.jira_issues()
    assert "pay-w17-03" in issue.summary
    assert issue.priority == "Medium"
    assert "customfield_1" not in issue.fields
    assert issue.fields["customfield_2"] == "stays"


async def test_minimal_content_reaches_templates_too(site: Site) -> None:
    raw: dict[str, Any] = {"summary": "x {{ owner }} {{ alert_labels.get('plan', '') }} {{ facts.get('w', '') }}"}
    identity: Identity | None = wanted().story.identity
    assert identity is not None
    told = wanted(story(identity=replace(identity, facts={"w": "17"})))
    await deliver(site.sender(content="minimal", **raw), told)
    assert site.vendors.jira_issues()[0].summary == "x"


def linked(state: Wanted) -> Wanted:
    told = (
        Told("team", "slack", "slack:#pay", DeliveryState.DELIVERED, Link("", "https://slack.com/archives/C1/p1")),
        Told("team", "pagerduty", "pagerduty:x", DeliveryState.DELIVERED),
    )
    return replace(state, story=replace(state.story, told=told))


async def test_a_ticket_links_to_the_thread_and_to_the_tickets_of_its_cause(site: Site) -> None:
    await deliver(site.sender(), linked(wanted()))
    text = str(site.vendors.jira_issues()[0].fields["description"])
    assert "Slack thread" in text
    assert "https://slack.com/archives/C1/p1" in text
    assert "Other tickets of this cause" in text
    assert "/issues/?jql=project%20%3D%20%22MIG%22%20AND%20labels%20%3D%20%22guest-bitlocker%22" in text


async def test_minimal_content_links_to_nothing_else(site: Site) -> None:
    await deliver(site.sender(content="minimal"), linked(wanted()))
    text = str(site.vendors.jira_issues()[0].fields["description"])
    assert "slack.com" not in text
    assert "Other tickets" not in text


# --- what a project lacks ---


async def test_a_project_that_has_everything_lacks_nothing(site: Site) -> None:
    _, state = await deliver(site.sender(), wanted())
    assert await site.lacks(priority="High", resolve_transition="Done") == ()
    await deliver(site.sender(), moved(state, Change.RESOLVED, key="resolved", **FIXED))
    assert await site.lacks(reopen_transition="Reopen") == ()
    assert len(site.vendors.jira_issues()) == 1, "looking makes nothing"


async def test_a_permission_that_is_missing_is_named_with_what_it_is_for(site: Site) -> None:
    site.jira.denied |= {"TRANSITION_ISSUES", "CREATE_ATTACHMENTS"}
    said = "permission {} is not granted in project MIG (needed to {}); grant it to this account"
    transitions = said.format("TRANSITION_ISSUES", "close and reopen")
    assert await site.lacks() == (transitions, said.format("CREATE_ATTACHMENTS", "attach logs"))
    assert await site.lacks(attach_logs=False) == (transitions,)


async def test_a_field_that_the_create_screen_demands_is_named_unless_it_is_given(site: Site) -> None:
    site.jira.demanded["customfield_10010"] = "Change"
    said = "Bug in project MIG demands the field Change (customfield_10010); give it in fields:"
    assert await site.lacks() == (said,)
    assert await site.lacks(fields={"customfield_10010": "CHG1"}) != (said,)


async def test_fields_and_values_that_the_create_screen_lacks_are_named(site: Site) -> None:
    site.jira.off_screen |= {"labels", "priority"}
    site.jira.components = ("Storage",)
    assert await site.lacks(priority="High", components=["Network", "{{ owner }}"]) == (
        "Bug in project MIG has no field labels on its create screen; add it there",
        "Bug in project MIG has no field priority on its create screen; add it there or leave it out",
        "Bug in project MIG has no components Network; name one of Storage",
    )


async def test_transitions_that_an_existing_ticket_does_not_offer_are_named(site: Site) -> None:
    _, state = await deliver(site.sender(), wanted())
    assert await site.lacks(resolve_transition="Close it") == (
        "an issue like MIG-1 does not offer the transition Close it (offered: Start progress, Done); "
        "set resolve_transition",
    )
    await deliver(site.sender(), moved(state, Change.RESOLVED, key="resolved", **FIXED))
    assert await site.lacks(reopen_transition="Again") == (
        "an issue like MIG-1 does not offer the transition Again (offered: Reopen); set reopen_transition",
    )
