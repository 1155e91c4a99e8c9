"""Tickets on a bad day, over the wire: a fault at each creating request, and one ticket and one note in the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from tests.acceptance.harness import Running, alert, failed, jira, routes_yaml, running, servicenow, slack
from tests.acceptance.plans import cluster, load_example, plan, top, watched
from tests.fakes import faults
from tests.fakes.faults import Fault
from tests.fakes.vendors import FakeVendors, SeenRequest

pytestmark = pytest.mark.anyio

QUICK = ", timeout: 500ms, retry: {min: 50ms, max: 100ms}, lookup_grace: 1s"
Kind = Literal["jira", "servicenow"]
FAULTS: tuple[Callable[[], Fault], ...] = (
    faults.cut,
    faults.cut_after,
    faults.reset,
    faults.server_error,
    faults.server_error_after,
    faults.html_502,
    faults.hang,
    lambda: faults.cut_then_done(0.3),
    lambda: faults.rate_limited(1),
)


@dataclass(frozen=True)
class Made:
    """What exists at one ticket system."""

    tickets: int
    notes: int
    open: int


CONFIGS = {"jira": jira("MIG", QUICK), "servicenow": servicenow(QUICK)}
CREATES = {"jira": "POST issue", "servicenow": "POST incident"}
NOTES = {"jira": "POST issue/*/comment", "servicenow": "PATCH incident/*"}


def made(vendors: FakeVendors, kind: Kind) -> Made:
    if kind == "jira":
        issues = vendors.jira_issues()
        return Made(len(issues), len(vendors.jira_comments()), sum(one.resolution is None for one in issues))
    now = vendors.servicenow
    return Made(len(now.incidents()), len(now.notes()), len(now.open_incidents()))


def is_note(request: SeenRequest) -> bool:
    return bool({"work_notes", "body"} & set(request.json or ()))


async def fail_and_fix(service: Running, vendors: FakeVendors, kind: Kind) -> Made:
    await service.post(alert(failed()))
    await vendors.until(lambda v: made(v, kind).tickets)
    await service.idle()
    await service.post(alert(failed(), "resolved"))
    await service.until_state("resolved")
    await vendors.until(lambda v: made(v, kind).open == 0 and made(v, kind).notes)
    await service.idle()
    return made(vendors, kind)


TOP = "global: {resolve_delay: 100ms, confirm_after: 1s, evidence_timeout: 100ms}\nclusters: []"


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("number", range(len(FAULTS)), ids=[each().name for each in FAULTS])
async def test_whatever_happens_to_create_and_note_there_is_one_of_each(
    number: int, kind: Kind, tmp_path: Path
) -> None:
    receivers = f"- name: platform\n  {CONFIGS[kind]}\n"
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=TOP, receivers=receivers)
        vendors.fail(kind, FAULTS[number](), FAULTS[number](), on=CREATES[kind])
        notes = vendors.fail(
            kind,
            FAULTS[number](),
            on=NOTES[kind],
            when=lambda request: {"work_notes", "body"} & set(request.json or ()),
        )
        async with running(config, vendors) as service:
            assert await fail_and_fix(service, vendors, kind) == Made(tickets=1, notes=1, open=0)
            assert notes.used == 1


@pytest.mark.parametrize("kind", CONFIGS)
async def test_five_repeats_of_a_webhook_ask_a_ticket_system_nothing(kind: Kind, tmp_path: Path) -> None:
    receivers = f"- name: platform\n  {CONFIGS[kind]}\n"
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=TOP, receivers=receivers)
        async with running(config, vendors) as service:
            await service.post(alert(failed()))
            await vendors.until(lambda v: made(v, kind).tickets)
            await service.idle()
            await vendors.settle()
            before = len(vendors.requests)
            for _ in range(5):
                await service.post(alert(failed()))
            await service.idle()
            assert len(vendors.requests) == before
            assert made(vendors, kind) == Made(1, 0, 1)


@pytest.mark.parametrize("kind", CONFIGS)
async def test_who_takes_over_from_one_that_stopped_while_it_made_a_ticket_makes_no_second(
    kind: Kind, tmp_path: Path
) -> None:
    """The ticket is there, its answer never came, and the database knows only that a create was begun."""
    receivers = f"- name: platform\n  {CONFIGS[kind]}\n"
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=TOP, receivers=receivers)
        vendors.fail(kind, faults.slow(30), on=CREATES[kind])
        async with running(config, vendors) as one:
            await one.post(alert(failed()))
            await vendors.until(lambda v: made(v, kind).tickets)
        async with running(config, vendors) as other:
            await other.idle()
            await other.post(alert(failed(), "resolved"))
            await vendors.until(lambda v: made(v, kind).open == 0 and made(v, kind).notes)
            await other.idle()
            assert made(vendors, kind) == Made(tickets=1, notes=1, open=0)


def attached(vendors: FakeVendors, kind: Kind) -> list[str]:
    if kind == "jira":
        return [str(one["filename"]) for issue in vendors.jira_issues() for one in issue.attachments]
    return [one.name for one in vendors.servicenow.attachments]


UPLOADS = {"jira": "POST issue/*/attachments", "servicenow": "POST attachment/file"}


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("fault", [faults.cut(), faults.cut_after(), faults.server_error_after()], ids=lambda f: f.name)
async def test_a_log_is_attached_once_whatever_happens_to_its_upload(fault: Fault, kind: Kind, tmp_path: Path) -> None:
    receivers = f"- name: platform\n  {CONFIGS[kind]}\n"
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await load_example(api)
        rule = vendors.fail(kind, fault, on=UPLOADS[kind])
        async with running(routes_yaml(vendors, tmp_path, top=top(), receivers=receivers), vendors) as service:
            await watched(api, service)
            await service.post(alert(failed()))
            await vendors.until(lambda v: attached(v, kind))
            await service.idle()
            assert rule.used == 1
            assert len(attached(vendors, kind)) == 1
            assert attached(vendors, kind)[0].endswith("-virt-v2v.log")
            before = len(vendors.requests)
            await service.post(alert(failed()))
            await service.idle()
            assert len(vendors.requests) == before


async def test_the_message_shows_the_ticket_that_came_after_it(tmp_path: Path) -> None:
    receivers = f"- name: platform\n  {slack('#mig')}\n  {CONFIGS['jira']}\n"
    timing = top()
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await api.apply(plan("Failed"))
        config = routes_yaml(vendors, tmp_path, top=timing, receivers=receivers)
        async with running(config, vendors) as service:
            await watched(api, service)
            await service.post(alert(failed()))
            (issue,) = await vendors.until(lambda v: v.jira_issues())
            address = f"/jira/browse/{issue.key}"
            await vendors.until(lambda v: [one for one in v.slack_roots() if address in json.dumps(one.blocks)])
