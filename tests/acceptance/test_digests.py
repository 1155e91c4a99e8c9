"""Storms: more new failures at once than a destination has room for are told as one, and nothing is dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.harness import Running, alert, failed, jira, pagerduty, routes_yaml, running, slack
from tests.acceptance.plans import cluster, plan, top
from tests.fakes.faults import cut_after
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

FAST = "global: {resolve_delay: 100ms, evidence_wait: 100ms, reopen_within: 1h}\nclusters: []"
WITHOUT_TICKETS = f"- name: platform\n  {slack('#platform')}\n  {pagerduty()}\n"


def one(number: int, status: str = "firing", **labels: str) -> dict[str, Any]:
    """Return the alert of the nth plan of a storm."""
    plan = failed(uid=f"00000000-0000-4000-8000-{number:012}", name=f"wave-{number:03}", **labels)
    return alert(plan, status)


def storm(count: int, status: str = "firing") -> list[dict[str, Any]]:
    return [one(number, status) for number in range(count)]


async def states(service: Running, kind: str) -> list[str]:
    return [row["state"] for row in await service.deliveries() if row["kind"] == kind]


def digest_root(vendors: FakeVendors) -> Any:
    """Return the one message that tells of the storm."""
    found = [root for root in vendors.slack_roots() if "at once" in root.text or "All clear" in root.text]
    assert len(found) == 1, [root.text for root in vendors.slack_roots()]
    return found[0]


async def test_200_failures_at_once_are_one_message_and_one_incident_and_every_story_has_its_row(
    tmp_path: Path,
) -> None:
    async with (
        FakeVendors() as vendors,
        running(routes_yaml(vendors, tmp_path, top=FAST, receivers=WITHOUT_TICKETS), vendors) as service,
    ):
        await service.post(*storm(200))
        await vendors.until(lambda v: any("200 plans" in root.text for root in v.slack_roots()), timeout=30)
        await service.idle(timeout=30)

        assert len(await service.stories()) == 200, "nothing is dropped, and a digest is no story of its own"
        for kind, made in (("slack", vendors.slack_roots()), ("pagerduty", vendors.incidents())):
            assert len(made) <= 4, f"{kind}: {len(made)} messages for 200 failures"
            told = await states(service, kind)
            own = told.count("delivered")
            assert told.count("digest") == 201 - own, f"{kind}: each story has its row: {told}"
            assert own == len(made)


async def test_the_first_message_of_a_storm_turns_into_the_digest(tmp_path: Path) -> None:
    receivers = f"- name: platform\n  {slack('#platform')}\n"
    async with (
        FakeVendors() as vendors,
        running(routes_yaml(vendors, tmp_path, top=FAST, receivers=receivers), vendors) as service,
    ):
        for number in range(3):
            await service.post(one(number))
            await service.idle()
        before = [root.ts for root in vendors.slack_roots()]
        assert not any("at once" in root.text for root in vendors.slack_roots())
        await service.post(one(3))
        await vendors.until(lambda v: any("2 plans failed at once" in root.text for root in v.slack_roots()))
        await service.idle()

        assert [root.ts for root in vendors.slack_roots()] == before, "no further message"
        assert digest_root(vendors).ts == before[0]


async def test_a_storm_ends_with_all_clear_and_who_fails_again_later_gets_a_message_of_its_own(tmp_path: Path) -> None:
    async with (
        FakeVendors() as vendors,
        running(routes_yaml(vendors, tmp_path, top=FAST, receivers=WITHOUT_TICKETS), vendors) as service,
    ):
        await service.post(*storm(12))
        await vendors.until(lambda v: any("12 plans" in root.text for root in v.slack_roots()))
        await service.post(*storm(12, "resolved"))
        await vendors.until(lambda v: any("All clear" in root.text for root in v.slack_roots()), timeout=20)
        await vendors.until(lambda v: not v.incidents_open(), timeout=20)
        await service.idle()
        assert len(vendors.slack_roots()) == len(vendors.incidents()) == 1
        replies = [reply.text for reply in vendors.slack_replies()]
        assert sum("0 of 12 plans fixed" in reply for reply in replies) == 1, replies

        await service.post(one(5))
        await vendors.until(lambda v: len(v.slack_roots()) == 2 and v.incidents_open(), timeout=20)
        await service.idle()
        assert "wave-005" in vendors.slack_roots()[1].text


async def test_a_storm_goes_on_after_a_restart_in_the_same_message(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=FAST, receivers=WITHOUT_TICKETS)
        async with running(config, vendors) as service:
            await service.post(*storm(8))
            await vendors.until(lambda v: any("8 plans" in root.text for root in v.slack_roots()))
            await service.idle()
        async with running(config, vendors) as service:
            await service.post(*(one(number) for number in range(8, 20)))
            await vendors.until(lambda v: any("20 plans" in root.text for root in v.slack_roots()), timeout=20)
            await service.idle()
        assert len(vendors.slack_roots()) == len(vendors.incidents()) == 1


async def test_a_lost_answer_to_the_digests_first_message_makes_no_second_one(tmp_path: Path) -> None:
    async with (
        FakeVendors() as vendors,
        running(routes_yaml(vendors, tmp_path, top=FAST, receivers=WITHOUT_TICKETS), vendors) as service,
    ):
        vendors.fail("slack", cut_after(), on="chat.postMessage")
        await service.post(*storm(30))
        await vendors.until(lambda v: any("30 plans" in root.text for root in v.slack_roots()), timeout=30)
        await service.idle(timeout=30)
        assert len(vendors.slack_roots()) == 1


async def test_tickets_of_a_storm_wait_and_are_one_for_each_cause(tmp_path: Path) -> None:
    receivers = f"- name: platform\n  {jira()}\n"
    async with (
        FakeVendors() as vendors,
        running(routes_yaml(vendors, tmp_path, top=FAST, receivers=receivers), vendors) as service,
    ):
        await service.post(*storm(40))
        await vendors.until(lambda v: v.jira_issues())
        await service.idle(timeout=20)
        (issue,) = vendors.jira_issues()
        assert "not recognised" in issue.summary
        assert len(await states(service, "jira")) == 41


async def test_a_ticket_of_a_storm_says_its_cause_and_lists_its_plans(tmp_path: Path) -> None:
    reasons = {"login": "vcenter: incorrect username or password", "away": "Unable to connect to vCenter: i/o timeout"}
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        for number in range(6):
            why = reasons["login" if number < 4 else "away"]
            uid = f"00000000-0000-4000-8000-{number:012}"
            await api.apply(plan(uid=uid, name=f"wave-{number:03}", namespace="mig-a", reasons=[why]))
        receivers = f"- name: platform\n  {jira()}\n"
        config = routes_yaml(vendors, tmp_path, top=top(evidence_wait="100ms"), receivers=receivers)
        async with running(config, vendors) as service:
            await service.post(*storm(6))
            await vendors.until(lambda v: len(v.jira_issues()) == 2, timeout=20)
            await service.idle(timeout=20)
        issues = {issue.summary: str(issue.fields.get("description")) for issue in vendors.jira_issues()}
        (login,) = (text for summary, text in issues.items() if "refuses the login" in summary)
        (away,) = (text for summary, text in issues.items() if "cannot be reached" in summary)
        assert [name for name in range(6) if f"wave-{name:03}" in login] == [0, 1, 2, 3]
        assert [name for name in range(6) if f"wave-{name:03}" in away] == [4, 5]


async def test_without_digests_every_story_is_told_on_its_own(tmp_path: Path) -> None:
    top = FAST.replace("global: {", "global: {digest_after: 0, ")
    async with (
        FakeVendors() as vendors,
        running(routes_yaml(vendors, tmp_path, top=top, receivers=WITHOUT_TICKETS), vendors) as service,
    ):
        await service.post(*storm(10))
        await service.idle(timeout=20)
        assert len(vendors.slack_roots()) == len(vendors.incidents()) == 10
        assert set(await states(service, "slack")) == {"delivered"}
