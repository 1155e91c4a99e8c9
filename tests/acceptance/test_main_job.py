"""The main job without a cluster: one failure is one message, one incident, one ticket, until it is over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.harness import alert, failed, routes_yaml, running, succeeded
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

FAST = "global: {resolve_delay: 500ms}\nclusters: []"


async def test_a_failure_is_told_once_at_each_destination_and_closed_everywhere(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, running(routes_yaml(vendors, tmp_path, top=FAST), vendors) as service:
        await service.post(alert(failed()))
        await vendors.until(lambda v: v.slack_roots() and v.incidents_open() and v.jira_issues())
        for _ in range(5):
            await service.post(alert(failed()))
        await service.idle()
        before = len(vendors.requests)
        await service.post(alert(failed()))
        await service.idle()
        assert len(vendors.requests) == before, "a repeat costs no request"
        await service.post(alert(failed(), "resolved"))
        await service.until_state("resolved", outcome="cleared")
        await service.idle()
        assert len(vendors.slack_roots()) == 1
        assert len(vendors.incidents()) == 1
        assert len(vendors.incidents_resolved()) == 1
        assert len(vendors.jira_issues()) == 1
        assert len(vendors.jira_transitions()) == 1


async def test_a_success_that_started_after_the_failure_fixes_the_story_at_once(tmp_path: Path) -> None:
    async with (
        FakeVendors() as vendors,
        running(routes_yaml(vendors, tmp_path, top="clusters: []"), vendors) as service,
    ):
        await service.post(alert(failed(), starts_at="2026-11-21T08:00:00Z"))
        await service.until_state("firing")
        await service.post(alert(succeeded(), starts_at="2026-11-21T07:00:00Z"))
        await service.idle()
        assert (await service.stories())[0]["state"] == "firing", "an old success changes nothing"
        await service.post(alert(succeeded(), starts_at="2026-11-21T09:00:00Z"))
        await service.until_state("resolved", outcome="fixed")
        await service.post(alert(failed(), "resolved", starts_at="2026-11-21T08:00:00Z"))
        await service.idle()
        assert len(await service.stories()) == 1
        assert len(vendors.incidents_resolved()) == 1


async def test_two_routes_to_one_channel_make_one_message_with_both_reasons(tmp_path: Path) -> None:
    route = """
  receiver: platform
  routes:
    - {matchers: ['severity="critical"'], receiver: platform, continue: true}
    - {matchers: ['app="forklift"'], receiver: platform}
"""
    config = lambda v: routes_yaml(v, tmp_path, top=FAST, route=route)  # noqa: E731
    async with FakeVendors() as vendors, running(config(vendors), vendors) as service:
        await service.post(alert(failed()))
        await service.idle()
        assert len(vendors.slack_roots()) == 1
        delivery = next(one for one in await service.deliveries() if one["kind"] == "slack")
        assert len(delivery["reasons"]) == 2
