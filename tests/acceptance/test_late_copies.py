"""A firing body that comes after its own end: a late copy, or a comeback? Only Alertmanager can tell."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from tests.acceptance.harness import Running, alert, body, failed, routes_yaml, running
from tests.acceptance.test_sequences import settled
from tests.fakes.alertmanager import AlertmanagerApi
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

STARTED = "2026-11-21T08:07:33.095Z"


@dataclass
class Scene:
    """A service with an Alertmanager that has a peer."""

    service: Running
    vendors: FakeVendors
    main: AlertmanagerApi
    peer: AlertmanagerApi

    async def hears(self, status: str, starts_at: str = STARTED) -> None:
        """Let the webhook tell of the one alert."""
        await self.service.send(body(alert(failed(), status, starts_at=starts_at)), "/webhook/main")

    async def closed(self) -> None:
        """Fire, resolve, and await the end of the story."""
        await self.hears("firing")
        await settled(self.service)
        await self.hears("resolved")
        await self.service.until_state("resolved", outcome="cleared")
        await settled(self.service)


@contextlib.asynccontextmanager
async def scene(folder: Path, resolve_delay: str = "200ms") -> AsyncIterator[Scene]:
    async with FakeVendors() as vendors, AlertmanagerApi().running() as main, AlertmanagerApi().running() as peer:
        top = (
            f"global: {{resolve_delay: {resolve_delay}, confirm_after: 1h}}\nclusters: []\n"
            f"alertmanagers: [{{name: main, url: '{main.url}', peers: ['{peer.url}']}}]"
        )
        async with running(routes_yaml(vendors, folder, top=top), vendors) as service:
            yield Scene(service, vendors, main, peer)


async def test_a_late_copy_of_an_alert_that_is_gone_is_recorded_only(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        await it.closed()
        before = len(it.vendors.requests)
        await it.hears("firing")
        await settled(it.service)
        (story,) = await it.service.stories()
        assert (story["state"], story["alerts"][0]["status"]) == ("resolved", "resolved")
        assert len(it.vendors.requests) == before
        assert (
            it.main.asked == it.peer.asked == [[f'alertname="{failed()["alertname"]}"', f'plan="{failed()["plan"]}"']]
        )


async def test_a_comeback_after_a_late_copy_is_not_taken_for_another_one(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        await it.closed()
        await it.hears("firing")
        await settled(it.service)
        it.peer.held = [failed()]
        await it.hears("firing")
        await it.service.until_state("firing")
        await settled(it.service)
        assert len(it.vendors.slack_roots()) == 1
        assert len(it.vendors.incidents_open()) == 1


async def test_an_alert_that_a_peer_still_holds_reopens_its_story(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        await it.closed()
        it.peer.held = [failed(plan_name="another"), failed()]
        await it.hears("firing")
        await it.service.until_state("firing")
        await settled(it.service)
        (story,) = await it.service.stories()
        assert "reopened" in [one["change"] for one in story["timeline"]]
        assert len(it.vendors.slack_roots()) == len(it.vendors.jira_issues()) == 1
        assert len(it.vendors.incidents_open()) == 1


@pytest.mark.parametrize("behaves", ["error", "hangs", "html"])
async def test_an_alertmanager_that_does_not_answer_cannot_keep_a_story_closed(
    behaves: Literal["error", "hangs", "html"], tmp_path: Path
) -> None:
    async with scene(tmp_path) as it:
        await it.closed()
        it.main.behaves = behaves  # its peer answers, and does not know the alert
        await it.hears("firing")
        await it.service.until_state("firing")


async def test_a_new_start_is_no_late_copy_and_nobody_is_asked(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        await it.closed()
        await it.hears("firing", "2026-11-21T08:30:00Z")
        await it.service.until_state("firing")
        assert it.main.asked == []


async def test_a_late_copy_right_behind_the_end_does_not_keep_the_story_open(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        await it.hears("firing")
        await settled(it.service)
        both = body(alert(failed(), "resolved", starts_at=STARTED), alert(failed(), starts_at=STARTED))
        await it.service.send(both, "/webhook/main")
        await it.service.until_state("resolved", outcome="cleared")
        assert len(it.main.asked) == 1


async def test_a_comeback_right_behind_the_end_keeps_the_story_open(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        it.main.held = [failed()]
        await it.hears("firing")
        await settled(it.service)
        both = body(alert(failed(), "resolved", starts_at=STARTED), alert(failed(), starts_at=STARTED))
        await it.service.send(both, "/webhook/main")
        await settled(it.service)
        (story,) = await it.service.stories()
        assert (story["state"], story["alerts"][0]["status"]) == ("firing", "firing")
        assert it.vendors.pagerduty_events("resolve") == []


async def test_a_late_copy_within_the_delay_does_not_stop_the_story_from_closing(tmp_path: Path) -> None:
    async with scene(tmp_path, resolve_delay="1s") as it:
        await it.hears("firing")
        await settled(it.service)
        await it.hears("resolved")
        await settled(it.service)
        await asyncio.gather(*(it.hears("firing") for _ in range(3)))
        await it.service.until_state("resolved", outcome="cleared")
        await settled(it.service)
        assert len(it.vendors.incidents()) == len(it.vendors.incidents_resolved()) == 1
