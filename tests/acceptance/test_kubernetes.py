"""With a Kubernetes API server, and with one that is away, hangs or refuses: who is told, when, and what they read."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

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
    three,
)
from tests.acceptance.plans import CLUSTER, cluster, load_example, plan, run_of, top, watched
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


async def test_no_page_waits_for_an_api_server_that_hangs(tmp_path: Path) -> None:
    count, at_once, most_s = 300, 20, 2.0
    receivers = f"- name: platform\n  {pagerduty()}\n  {slack('#platform')}\n"
    answered: dict[str, float] = {}
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        api.hang()
        settings = top(digest_after="0", evidence_wait="2s", evidence_timeout="10s")
        async with running(routes_yaml(vendors, tmp_path, top=settings, receivers=receivers), vendors) as service:
            gate = asyncio.Semaphore(at_once)

            async def post(number: int) -> None:
                name = f"plan-{number:03}"
                async with gate:
                    await service.post(alert(failed(f"00000000-0000-4000-8000-{number:012}", name)))
                    answered[name] = time.monotonic()

            await asyncio.gather(*(post(number) for number in range(count)))
            await vendors.until(lambda v: len(v.incidents()) == count, timeout=60)
            pages = {one.json["payload"]["component"]: one.at for one in vendors.seen("pagerduty", "trigger")[::-1]}
            waits = sorted(pages[name] - at for name, at in answered.items())
            print(f"from 200 to page: median {waits[count // 2]:.2f} s, longest {waits[-1]:.2f} s")
            assert waits[-1] <= most_s, f"median {waits[count // 2]:.2f} s, longest {waits[-1]:.2f} s"
            assert len(pages) == count
            api.release()
