"""With a Kubernetes API server, and with one that is away, hangs or refuses: who is told, when, and what they read."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from receiver.app import build_app
from receiver.clock import SystemClock
from receiver.config.load import load
from receiver.destinations.registry import ALL
from tests.acceptance.harness import (
    PLAN_UID,
    Running,
    alert,
    brief,
    failed,
    pagerduty,
    routes_yaml,
    running,
    slack,
)
from tests.acceptance.plans import cluster, load_example, plan, top, watched
from tests.databases import database_of
from tests.fakes.server import serve
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

TEAM_ROUTE = """
  receiver: platform
  routes:
    - {namespaces: ['mig-team-*'], receiver: team}
"""
LATER = "2026-11-21T10:15:00Z"


def two_channels() -> str:
    """Return the root receiver and a team's, a channel each."""
    return f"- name: platform\n  {slack('#platform')}\n- name: team\n  {slack('#team')}\n"


def shown(message: Any) -> str:
    """Return everything that a Slack message shows, as text."""
    return f"{message.text}\n{json.dumps(message.blocks, ensure_ascii=False)}"


# --- two names of one plan ---


@pytest.mark.parametrize("first", ["brief", "forklift"])
async def test_both_forms_of_an_alert_are_one_story_while_the_api_server_answers(tmp_path: Path, first: str) -> None:
    forms = [alert(brief()), alert(failed())]
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await api.apply(plan())
        async with running(routes_yaml(vendors, tmp_path, top=top()), vendors) as service:
            for one in forms if first == "brief" else forms[::-1]:
                await service.post(one)
            await vendors.until(lambda v: v.slack_roots() and v.incidents() and v.jira_issues())
            await service.idle()
            (story,) = await service.stories()
            assert story["subject"] == f"plan/{PLAN_UID}"
            assert len(story["alerts"]) == 2
            assert (len(vendors.slack_roots()), len(vendors.incidents()), len(vendors.jira_issues())) == (1, 1, 1)


@pytest.mark.parametrize("first", ["brief", "forklift"])
async def test_both_forms_end_as_one_open_story_when_the_api_server_comes_back(tmp_path: Path, first: str) -> None:
    forms = [alert(brief()), alert(failed())]
    async with FakeVendors() as vendors, cluster(tmp_path, up=False) as api:
        await api.apply(plan())
        config = routes_yaml(vendors, tmp_path, top=top(evidence_wait="100ms", evidence_timeout="300ms"))
        async with running(config, vendors) as service:
            for number, one in enumerate(forms if first == "brief" else forms[::-1], 1):
                await service.post(one)
                await vendors.until(lambda v, number=number: len(v.incidents()) == number)  # type: ignore[misc]
            await vendors.until(lambda v: len(v.slack_roots()) == len(v.jira_issues()) == 2)
            await service.idle()
            await api.up()
            await service.until(lambda: merged(service))
            await service.idle()
            younger, older = await service.stories()
            assert (older["state"], len(older["alerts"])) == ("firing", 2)
            assert (younger["state"], younger["continued_in"]) == ("resolved", older["id"])
            assert (len(vendors.slack_roots()), len(vendors.incidents()), len(vendors.jira_issues())) == (2, 2, 2)
            assert len(vendors.incidents_open()) == 1
            assert sum(issue.resolution is None for issue in vendors.jira_issues()) == 1
            assert sum("ontinued in" in shown(root) for root in vendors.slack_roots()) == 1
            assert older["id"] in vendors.incidents_open()[0].dedup_key
            await service.until(lambda: evidence_of(service, older["id"]))


async def evidence_of(service: Running, story: str) -> bool:
    found = next(one for one in await service.stories() if one["id"] == story)
    return any(one["change"] == "evidence" for one in found["timeline"])


async def merged(service: Running) -> bool:
    return [one["outcome"] for one in await service.stories()] == ["merged", None]


# --- an API server that is away ---


async def test_the_root_receiver_is_told_while_the_api_server_is_away_and_the_team_when_it_is_back(
    tmp_path: Path,
) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await api.apply(plan(uid="another", name="crm"))
        config = routes_yaml(vendors, tmp_path, top=top(), receivers=two_channels(), route=TEAM_ROUTE)
        async with running(config, vendors) as service:
            await watched(api, service)
            await api.down()
            await service.post(alert(failed()))
            await vendors.until(lambda v: v.slack_roots("#platform"), timeout=3)
            assert "cluster local does not answer" in shown(vendors.slack_roots("#platform")[0])
            assert not vendors.slack_roots("#team")
            await api.apply(plan())
            await api.up()
            await vendors.until(lambda v: v.slack_roots("#team"), timeout=15)
            await service.idle()
            assert "does not answer" not in shown(vendors.slack_roots("#platform")[0])
            assert "team" in shown(vendors.slack_roots("#platform")[0])
            await api.apply(plan("Succeeded", runs=2))
            await service.post(alert(failed(), "resolved"))
            await service.until_state("resolved", outcome="fixed")
            await service.idle()
            assert (len(vendors.slack_roots("#platform")), len(vendors.slack_roots("#team"))) == (1, 1)
            for channel in ("#platform", "#team"):
                assert "ixed" in shown(vendors.slack_roots(channel)[0])
                texts = [reply.text for reply in vendors.slack_replies(channel)]
                assert len(texts) == len(set(texts)), "nothing is said twice"


async def test_pages_leave_while_the_api_server_hangs(tmp_path: Path) -> None:
    """How soon they leave is a figure, not a verdict: see benchmarks/pages.py."""
    receivers = f"- name: platform\n  {pagerduty()}\n  {slack('#platform')}\n"
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        config = routes_yaml(vendors, tmp_path, top=top(digest_after="0"), receivers=receivers)
        async with running(config, vendors) as service:
            api.hang()
            before = api.bytes_sent
            plans = [(f"00000000-0000-4000-8000-{number:012}", f"plan-{number:03}") for number in range(300)]
            await asyncio.gather(*(service.post(alert(failed(*plan))) for plan in plans))
            await vendors.until(lambda v: len(v.incidents()) == len(plans), timeout=60)
            assert api.bytes_sent == before, "a page waited for the API server"
            api.release()


# --- evidence ---


async def test_the_message_names_the_failed_vm_its_step_and_the_cause_found_in_the_log(tmp_path: Path) -> None:
    receivers = f"- name: platform\n  {slack('#platform')}\n"
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await load_example(api)
        async with running(routes_yaml(vendors, tmp_path, top=top(), receivers=receivers), vendors) as service:
            await service.post(alert(failed()))
            (root,) = await vendors.until(lambda v: v.slack_roots())
            await service.idle()
            text = shown(root)
            assert "erp-win01" in text
            assert "ImageConversion" in text
            assert (await service.stories())[0]["cause"] == "windows-fast-startup"
            assert "Fast Startup" in text


async def test_a_log_that_may_not_be_read_is_said_and_asked_for_again(tmp_path: Path) -> None:
    receivers = f"- name: platform\n  {slack('#platform')}\n"
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await load_example(api)
        api.forbidden.add(("get", "pods/log"))
        async with running(routes_yaml(vendors, tmp_path, top=top(), receivers=receivers), vendors) as service:
            await service.post(alert(failed()))
            (root,) = await vendors.until(lambda v: v.slack_roots())
            assert "forbidden" in shown(root)
            assert "get pods/log in namespace erp-prod" in shown(root)
            assert "Fast Startup" not in shown(root)
            api.forbidden.clear()
            await vendors.until(lambda v: "Fast Startup" in shown(v.slack_roots()[0]), timeout=15)
            assert "get pods/log" not in shown(vendors.slack_roots()[0])
            assert len(vendors.slack_roots()) == 1


async def test_the_evidence_of_a_run_is_never_the_reason_of_the_next_one(tmp_path: Path) -> None:
    receivers = f"- name: platform\n  {slack('#platform')}\n"
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await load_example(api)
        async with running(routes_yaml(vendors, tmp_path, top=top(), receivers=receivers), vendors) as service:
            await watched(api, service)
            await service.post(alert(failed()))
            await vendors.until(lambda v: v.slack_roots() and "Fast Startup" in shown(v.slack_roots()[0]))
            await api.apply(plan("Executing", runs=2))
            await service.until_state("re-running")
            await api.apply(plan("Failed", runs=2, reasons=["The snapshot could not be made."]))
            await service.until_state("firing")
            await vendors.until(lambda v: "The snapshot could not be made." in shown(v.slack_roots()[0]))
            await service.idle()
            assert "Fast Startup" not in shown(vendors.slack_roots()[0]), "the pods of run 1 are still there"
            bodies = [one.raw.decode() for one in vendors.seen("slack")]
            first = next(at for at, body in enumerate(bodies) if "ailed again" in body)
            assert not [body for body in bodies[first:] if "Fast Startup" in body]


async def test_a_run_that_nobody_saw_begin_does_not_show_the_evidence_of_the_one_before(tmp_path: Path) -> None:
    receivers = f"- name: platform\n  {slack('#platform')}\n"
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await load_example(api)
        async with running(routes_yaml(vendors, tmp_path, top=top(), receivers=receivers), vendors) as service:
            await watched(api, service)
            await service.post(alert(failed()))
            await vendors.until(lambda v: v.slack_roots() and "Fast Startup" in shown(v.slack_roots()[0]))
            await api.apply(plan("Failed", runs=2, reasons=["The snapshot could not be made."]))
            await service.post(alert(failed(), starts_at=LATER))
            await vendors.until(lambda v: "The snapshot could not be made." in shown(v.slack_roots()[0]))
            assert "Fast Startup" not in shown(vendors.slack_roots()[0])


# --- facts as routes ---


async def test_an_impact_that_evidence_brings_adds_a_destination_and_tells_it_in_full(tmp_path: Path) -> None:
    route = """
  receiver: platform
  routes:
    - {matchers: ['impact="down"'], receiver: team, continue: true}
    - {matchers: ['alertname="MigrationFailed"'], receiver: platform}
"""
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await load_example(api)
        config = routes_yaml(vendors, tmp_path, top=top(), receivers=two_channels(), route=route)
        async with running(config, vendors) as service:
            await service.post(alert(failed()))
            await vendors.until(lambda v: v.slack_roots("#platform") and v.slack_roots("#team"))
            await service.idle()
            (first,), (added,) = vendors.slack_roots("#platform"), vendors.slack_roots("#team")
            assert "Fast Startup" in shown(added)
            assert "team/slack" in shown(first), "the first one says who was told as well"
            assert any("also told: team/slack" in one["text"] for one in (await service.stories())[0]["timeline"])
            await api.apply(plan("Succeeded", runs=2))
            await service.post(alert(failed(), "resolved"))
            await service.until_state("resolved", outcome="fixed")
            await service.idle()
            for channel in ("#platform", "#team"):
                assert len(vendors.slack_roots(channel)) == 1
                assert "ixed" in shown(vendors.slack_roots(channel)[0])


async def test_labels_and_annotations_of_the_plan_are_facts_that_routes_match(tmp_path: Path) -> None:
    route = """
  receiver: platform
  routes:
    - {matchers: ['plan_label_wave="17"', 'plan_annotation_example_com_owner=~".*erp"'], receiver: team}
"""
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await api.apply(plan(labels={"wave": "17"}, annotations={"example.com/owner": "team-erp"}))
        await api.apply(plan(uid="other-uid", name="crm", labels={"wave": "18"}))
        config = routes_yaml(vendors, tmp_path, top=top(), receivers=two_channels(), route=route)
        async with running(config, vendors) as service:
            await service.post(alert(failed()))
            await service.post(alert(failed("other-uid", "crm")))
            await vendors.until(lambda v: v.slack_roots("#platform") and v.slack_roots("#team"))
            await service.idle()
            assert "erp-wave1" in shown(vendors.slack_roots("#team")[0])
            assert "crm" in shown(vendors.slack_roots("#platform")[0])
            assert (len(vendors.slack_roots("#platform")), len(vendors.slack_roots("#team"))) == (1, 1)


async def test_a_plan_in_a_shared_namespace_belongs_to_its_target_namespace(tmp_path: Path) -> None:
    route = """
  receiver: platform
  routes:
    - {namespaces: ['erp-*'], receiver: team}
    - {namespaces: ['openshift-mtv'], receiver: platform}
"""
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await api.apply(plan(namespace="openshift-mtv"))
        config = routes_yaml(vendors, tmp_path, top=top(), receivers=two_channels(), route=route)
        async with running(config, vendors) as service:
            await service.post(alert(failed()))
            await service.post(alert(brief(namespace="openshift-mtv")))
            await vendors.until(lambda v: v.slack_roots("#team"))
            await service.idle()
            (story,) = await service.stories()
            assert story["facts"]["owner_namespace"] == "erp-prod"
            assert story["facts"]["plan_namespace"] == "openshift-mtv"
            assert not vendors.slack_roots("#platform")
            assert len(vendors.slack_roots("#team")) == 1


# --- parts of a story, and times ---


async def test_the_incident_is_resolved_with_its_critical_alert_while_a_warning_keeps_the_message_open(
    tmp_path: Path,
) -> None:
    route = """
  receiver: platform
  routes:
    - {matchers: ['severity="critical"'], receiver: oncall, continue: true}
    - {matchers: ['alertname!=""'], receiver: platform}
"""
    receivers = f"- name: platform\n  {slack('#platform')}\n- name: oncall\n  {pagerduty()}\n"
    warning = failed(alertname="MTVPlanStuck", severity="warning")
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await api.apply(plan())
        config = routes_yaml(vendors, tmp_path, top=top(), receivers=receivers, route=route)
        async with running(config, vendors) as service:
            await service.post(alert(failed()), alert(warning))
            await vendors.until(lambda v: v.incidents_open() and v.slack_roots())
            await service.post(alert(failed(), "resolved"), alert(warning))
            await vendors.until(lambda v: v.incidents_resolved())
            await service.idle()
            (story,) = await service.stories()
            assert story["state"] == "firing"
            assert "ixed" not in shown(vendors.slack_roots()[0])
            states = {one["kind"]: one["firing"] for one in await service.deliveries()}
            assert states == {"slack": True, "pagerduty": False}
            assert len(vendors.incidents()) == 1


class ShiftedClock(SystemClock):
    """The machine's clock, of which the wall time begins at a moment of our choice."""

    def __init__(self, start: datetime) -> None:
        self._shift = start - super().now()

    def now(self) -> datetime:
        return super().now() + self._shift


MUTED = """
time_intervals:
  - {name: nights, time_intervals: [{times: [{start_time: '22:00', end_time: '24:00'}]}]}
"""
MUTED_ROUTE = """
  receiver: platform
  routes:
    - {matchers: ['severity="critical"'], receiver: platform, mute_time_intervals: [nights]}
"""


@contextlib.asynccontextmanager
async def running_at(start: datetime, config: Path, vendors: FakeVendors) -> AsyncIterator[Running]:
    """Run the service with a wall clock that begins at `start`."""
    fatal: list[str] = []
    url = database_of(config.parent)
    app = build_app(load(config, ALL), url, on_fatal=fatal.append, clock=ShiftedClock(start))
    async with serve(app) as address, httpx2.AsyncClient(timeout=30) as http:
        service = Running(address, http, config.parent, vendors, fatal)

        async def ready() -> bool:
            return (await http.get(address + "/-/ready")).status_code == 200

        await service.until(ready)
        yield service
    assert not fatal


async def the_state(service: Running, state: str) -> bool:
    return [one["state"] for one in await service.deliveries()] == [state]


@pytest.mark.parametrize("ends", [False, True], ids=["the story goes on", "the story ends while muted"])
async def test_a_muted_message_is_made_in_the_first_minute_that_allows_it_if_its_story_goes_on(
    ends: bool, tmp_path: Path
) -> None:
    receivers = f"- name: platform\n  {slack('#platform')}\n"
    head = f"global: {{resolve_delay: 100ms}}\nclusters: []\n{MUTED}"
    # What ends at ten is known to be skipped at once, two hours before the interval does.
    start = datetime(2026, 11, 21, 22, 0, tzinfo=UTC) if ends else datetime(2026, 11, 21, 23, 59, 57, tzinfo=UTC)
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=head, receivers=receivers, route=MUTED_ROUTE)
        async with running_at(start, config, vendors) as service:
            await service.post(alert(failed()))
            await service.until(lambda: the_state(service, "muted"))
            assert not vendors.seen("slack")
            if ends:
                await service.post(alert(failed(), "resolved"))
                await service.until_state("resolved")
            else:
                await vendors.until(lambda v: v.slack_roots())
            await service.until(lambda: the_state(service, "skipped" if ends else "delivered"))
            assert bool(vendors.seen("slack")) is not ends
