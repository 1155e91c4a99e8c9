"""The webhook destination in the running service: one request per event, none for repeats, doubles that can be told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.acceptance.harness import Running, alert, failed, routes_yaml, running
from tests.acceptance.plans import cluster, plan, top, watched
from tests.fakes.endpoint import Endpoint, endpoint
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio
FIRST = "2026-09-14T08:29:44Z"


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[Endpoint, Running]]:
    """Run a service whose only destination is an endpoint of one's own, without any cluster."""
    async with FakeVendors() as vendors, endpoint() as hook:
        entry = json.dumps({"url": f"{hook.url}/hook", "retry": {"min": "20ms", "max": "50ms"}})
        receivers = f"- name: platform\n  webhook_configs: [{entry}]\n"
        config = routes_yaml(vendors, folder, top="global: {resolve_delay: 100ms}\nclusters: []", receivers=receivers)
        async with running(config, vendors) as service:
            yield hook, service


def changes(hook: Endpoint) -> list[str]:
    return [one["event"]["change"] for one in hook.taken]


async def test_a_failure_its_repeats_and_its_end_are_two_requests(tmp_path: Path) -> None:
    async with served(tmp_path) as (hook, service):
        for _ in range(6):
            await service.post(alert(failed()))
        await service.idle()
        assert len(hook.came) == 1
        await service.post(alert(failed(), "resolved"))
        await service.until_state("resolved", outcome="cleared")
        await service.idle()
        assert changes(hook) == ["fired", "resolved"]
        assert len(hook.came) == 2


async def test_lost_answers_are_repeats_that_the_endpoint_can_drop(tmp_path: Path) -> None:
    async with served(tmp_path) as (hook, service):
        for status in (500, 502, 429, 504):
            hook.answer(status, b"busy")
        await service.post(alert(failed()))
        await hook.until(lambda one: len(one.posts) == 5)
        hook.answer(500)
        await service.post(alert(failed(), "resolved"))
        await service.until_state("resolved")
        await service.idle()
        assert len(hook.posts) == 7
        assert changes(hook) == ["fired", "resolved"]


async def test_complete_evidence_a_rerun_and_the_end_each_come_once_and_in_order(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, endpoint() as hook, cluster(tmp_path) as api:
        await api.apply(plan("Failed"))
        receivers = f"- name: platform\n  webhook_configs: [{{url: '{hook.url}/hook'}}]\n"
        config = routes_yaml(vendors, tmp_path, top=top(resolve_delay="1h"), receivers=receivers)
        async with running(config, vendors) as service:
            await watched(api, service)
            await service.post(alert(failed(), starts_at=FIRST))
            await hook.until(lambda one: any(each["evidence"]["complete"] for each in one.taken))
            await api.apply(plan("Executing", runs=2))
            await service.until_state("re-running")
            await api.apply(plan("Succeeded", runs=2))
            await service.post(alert(failed(), "resolved", starts_at=FIRST))
            await service.until_state("resolved", outcome="fixed")
            await service.idle()
            assert [one for one in changes(hook) if one != "evidence"] == ["fired", "rerun", "resolved"]
            assert [one["story"]["revision"] for one in hook.taken] == sorted(
                one["story"]["revision"] for one in hook.taken
            )
            assert len({one["story"]["id"] for one in hook.taken}) == 1
            assert list(hook.taken)[-1]["story"]["outcome"] == "fixed"


async def test_an_endpoint_that_redirects_is_parked_and_the_redirect_is_not_followed(tmp_path: Path) -> None:
    async with served(tmp_path) as (hook, service):
        hook.answer(302, location=f"{hook.url}/elsewhere")
        await service.post(alert(failed()))
        await service.until(lambda: parked(service))
        assert {one.path for one in hook.posts} == {"/hook"}


async def parked(service: Running) -> bool:
    return any(one["state"] == "parked" for one in await service.deliveries())
