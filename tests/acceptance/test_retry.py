"""`POST /api/v1/deliveries/retry`: what could not be told is told once the cause is gone, and exactly once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.faulty import QUICK, all_told, config, plan
from tests.acceptance.harness import Running, pagerduty, running, slack
from tests.fakes import faults
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

RECEIVERS = f"- name: platform\n  {slack('#team', QUICK)}\n  {pagerduty(QUICK)}\n"


async def retry(service: Running, **body: Any) -> tuple[int, dict[str, Any]]:
    response = await service.http.post(f"{service.url}/api/v1/deliveries/retry", json=body)
    return response.status_code, response.json()


async def test_dead_letters_are_counted_tried_again_by_filter_and_told_once(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        rule = vendors.fail("slack", faults.slack_error("invalid_blocks"), on="chat.postMessage", always=True)
        async with running(config(vendors, tmp_path, RECEIVERS), vendors) as service:
            await service.post(plan(1), plan(2))

            async def dead() -> bool:
                return len(await service.deliveries(state="dead")) == 2

            await service.until(dead)
            rule.cancel()
            asked = len(vendors.seen("slack"))
            status, counted = await retry(service, destination="platform/slack", since="1h", dry_run=True)
            assert (status, len(counted["items"]), counted["dry_run"]) == (200, 2, True)
            assert await retry(service, destination="platform/pagerduty") == (200, {"items": [], "dry_run": False})
            await vendors.settle()
            assert len(vendors.seen("slack")) == asked
            status, freed = await retry(service, state="dead", receiver="platform")
            assert (status, sorted(freed["items"])) == (200, sorted(counted["items"]))
            await vendors.until(lambda v: len(v.slack_roots()) == 2)
            await all_told(service, "firing", 2)
            await vendors.settle()
            assert len(vendors.slack_roots()) == 2
            assert len(vendors.incidents()) == 2, "the pager heard nothing of it"


async def test_what_makes_no_sense_changes_nothing_and_says_why(tmp_path: Path) -> None:
    async with (
        FakeVendors() as vendors,
        running(config(vendors, tmp_path, RECEIVERS), vendors) as service,
    ):
        for body, status, words in (
            ({}, 400, "say which deliveries"),
            ({"ids": ["x"], "state": ["dead"]}, 400, "say which deliveries"),
            ({"state": ["lost"]}, 400, "lost"),
            ({"since": "yesterday"}, 400, "not a duration"),
            ({"states": ["dead"]}, 400, "'states' is not known here"),
            ({"ids": ["nothing"]}, 409, "no delivery has the id nothing"),
        ):
            got, answer = await retry(service, **body)
            assert got == status, body
            assert words in answer["error"]
        form = await service.http.post(f"{service.url}/api/v1/deliveries/retry", data={"state": "dead"})
        assert form.status_code == 400, "no foreign page may post a form"
