"""A plan that fails anew days later: its old ticket is opened again, and stays one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.acceptance.harness import alert, failed, jira, routes_yaml, running, slack
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

TOP = "global: {resolve_delay: 100ms, reopen_within: 1ms}\nclusters: []"
RECEIVERS = f"- name: platform\n  {jira()}\n  {slack('#platform')}\n"


async def test_a_new_story_of_the_same_plan_reopens_the_ticket_and_makes_a_message_of_its_own(tmp_path: Path) -> None:
    async with (
        FakeVendors() as vendors,
        running(routes_yaml(vendors, tmp_path, top=TOP, receivers=RECEIVERS), vendors) as service,
    ):
        for day in (21, 23, 25):
            await service.post(alert(failed(), starts_at=f"2026-11-{day}T08:00:00Z"))
            await service.until_state("firing")
            await service.idle()
            (issue,) = vendors.jira_issues()
            assert issue.status == "To Do"
            await service.post(alert(failed(), "resolved", starts_at=f"2026-11-{day}T08:00:00Z"))
            await service.until_state("resolved")
            await service.idle()
            assert issue.status == "Done"
        assert len(await service.stories()) == 3
        assert len(vendors.slack_roots()) == 3
        assert [move.name for move in vendors.jira_transitions()] == ["Done", "Reopen"] * 2 + ["Done"]
        said = [json.dumps(comment.body) for comment in vendors.jira_comments()]
        assert sum("a new failure of the same subject" in text for text in said) == 2
        assert len(said) == 5, "an end and a beginning each"
        newest = (await service.stories())[0]["id"]
        assert f"└ story {newest}" in json.dumps(issue.fields["description"], ensure_ascii=False)


async def test_two_failures_at_once_after_a_ticket_was_closed_reopen_it_once(tmp_path: Path) -> None:
    async with (
        FakeVendors() as vendors,
        running(routes_yaml(vendors, tmp_path, top=TOP, receivers=RECEIVERS), vendors) as service,
    ):
        await service.post(alert(failed()))
        await service.until_state("firing")
        await service.idle()
        await service.post(alert(failed(), "resolved"))
        await service.until_state("resolved")
        await service.idle()
        later = "2026-11-23T08:00:00Z"
        await asyncio.gather(
            *(service.post(alert(failed(phase=phase), starts_at=later)) for phase in ("CopyDisks", "ConvertGuest"))
        )
        await service.until_state("firing")
        await service.idle()
        assert len(vendors.jira_issues()) == 1
        assert [move.name for move in vendors.jira_transitions()] == ["Done", "Reopen"]
