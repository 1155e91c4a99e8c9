"""A success next to failures: what it ends, what it must not open, and runs that nobody watched."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.harness import alert, failed, routes_yaml, running, slack, succeeded
from tests.acceptance.plans import cluster, plan, top, watched
from tests.acceptance.test_sequences import settled
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

FAST = "global: {resolve_delay: 200ms, confirm_after: 1h}\nclusters: []"
WITH_SUCCESS = (
    "{receiver: platform, routes: [{matchers: ['app=\"forklift\"'], receiver: platform, notify_success: true}]}"
)
CHAT = f"- name: platform\n  {slack('#platform')}\n"


async def test_a_success_that_follows_a_story_closed_as_fixed_is_not_told_again(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await api.apply(plan("Failed"))
        config = routes_yaml(vendors, tmp_path, top=top(), receivers=CHAT, route=WITH_SUCCESS)
        async with running(config, vendors) as service:
            await watched(api, service)
            await service.post(alert(failed()))
            await service.until_state("firing")
            await api.apply(plan("Executing", runs=2))
            await service.until_state("re-running")
            await api.apply(plan("Succeeded", runs=2))
            await service.until_state("resolved", outcome="fixed")
            await settled(service)
            await service.post(alert(succeeded(), starts_at="2026-11-21T09:30:00Z"))
            await settled(service)
            assert len(await service.stories()) == 1
            assert len(vendors.slack_roots()) == 1


async def test_a_late_copy_of_a_failure_older_than_the_last_success_opens_nothing(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, running(routes_yaml(vendors, tmp_path, top=FAST), vendors) as service:
        await service.post(alert(failed()))
        await service.post(alert(failed(), "resolved"))
        await service.until_state("resolved", outcome="cleared")
        await service.post(alert(succeeded(), starts_at="2026-11-21T09:30:00Z"))
        await service.post(alert(failed(phase="CopyDisks")))
        await settled(service)
        assert [one["state"] for one in await service.stories()] == ["resolved"]
        assert vendors.incidents_open() == []


async def test_a_failure_after_a_success_that_was_told_is_a_story_of_its_own(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=FAST, receivers=CHAT, route=WITH_SUCCESS)
        async with running(config, vendors) as service:
            await service.post(alert(succeeded(), starts_at="2026-11-21T08:00:00Z"))
            await settled(service)
            assert len(vendors.slack_roots()) == 1, "this route wants to hear of successes"
            await service.post(alert(failed(), starts_at="2026-11-21T08:30:00Z"))
            await settled(service)
            failure, success = await service.stories()
            assert (failure["state"], success["state"], success["outcome"]) == ("firing", "resolved", "fixed")
            assert failure["previous"] == success["id"]
            assert len(vendors.slack_roots()) == 2


async def test_a_run_that_began_and_failed_while_the_service_was_away_is_told_with_its_own_evidence(
    tmp_path: Path,
) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        config = routes_yaml(vendors, tmp_path, top=top(), receivers=CHAT)
        await api.apply(plan("Failed", reasons=["the first reason"]))
        async with running(config, vendors) as service:
            await service.post(alert(failed()))
            await vendors.until(lambda v: any("the first reason" in str(one.blocks) for one in v.slack_roots()))
            await settled(service)
        await api.apply(plan("Failed", runs=2, reasons=["the second reason"]))
        async with running(config, vendors) as service:
            await service.post(alert(failed(), starts_at="2026-11-21T10:00:00Z"))

            async def told_again() -> bool:
                (story,) = await service.stories()
                return "failed-again" in [one["change"] for one in story["timeline"]]

            await service.until(told_again)
            await vendors.until(lambda v: any("the second reason" in str(one.blocks) for one in v.slack_roots()))
            (root,) = vendors.slack_roots()
            assert "the first reason" not in str(root.blocks)
