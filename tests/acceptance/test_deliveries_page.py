"""`/deliveries`: what needs attention first, how destinations do, and another try from the page."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from receiver.web.pages import deliveries as page
from tests.acceptance.faulty import QUICK, config, plan
from tests.acceptance.harness import Running, pagerduty, running, slack
from tests.fakes import faults
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

RECEIVERS = f"- name: platform\n  {slack('#team', QUICK)}\n  {pagerduty(QUICK)}\n"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@asynccontextmanager
async def refused(folder: Path, error: str = "invalid_blocks", plans: int = 2) -> AsyncIterator[tuple[Running, Any]]:
    """Run a service whose Slack refuses everything, told of some plans; with the rule that makes it refuse."""
    async with FakeVendors() as vendors:
        rule = vendors.fail("slack", faults.slack_error(error), on="chat.postMessage", always=True)
        async with running(config(vendors, folder, RECEIVERS), vendors) as service:
            await service.post(*(plan(number) for number in range(1, plans + 1)))
            state = "dead" if error == "invalid_blocks" else "parked"

            async def all_of_them() -> bool:
                return len(await service.deliveries(state=state)) == plans

            await service.until(all_of_them)
            await service.idle()
            yield service, rule


async def shown(service: Running, query: str = "", status: int = 200) -> str:
    answer = await service.http.get(f"{service.url}/deliveries{query}")
    assert answer.status_code == status, answer.text
    return answer.text


async def health(service: Running) -> dict[str, dict[str, Any]]:
    answer = await service.http.get(f"{service.url}/api/v1/destinations")
    return {one["names"][0]: one for one in answer.json()["items"]}


def lines(text: str) -> list[str]:
    """Return the ids of the deliveries that a page lists."""
    return re.findall(r'<li class="story" id="d-(\w+)"', text)


async def test_what_needs_attention_comes_first_and_the_rest_behind_a_filter(tmp_path: Path) -> None:
    async with refused(tmp_path) as (service, _):
        dead = [one["id"] for one in await service.deliveries(state="dead")]
        text = await shown(service)
        assert lines(text) == dead
        assert "invalid_blocks" in text
        every = [one["id"] for one in await service.deliveries()]
        assert len(every) == 4
        assert lines(await shown(service, "?state=all")) == every
        pager = [one["id"] for one in await service.deliveries() if one["kind"] == "pagerduty"]
        for query in ("kind=pagerduty&state=all", "destination=platform/pagerduty&state=delivered"):
            assert lines(await shown(service, f"?{query}")) == pager
        story = (await service.deliveries())[0]["story"]
        assert len(lines(await shown(service, f"?story={story}"))) == 2, "all of one story, whatever its state"
        assert lines(await shown(service, "?receiver=nobody")) == []


async def test_pages_follow_each_other_without_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "ON_A_PAGE", 3)
    async with refused(tmp_path, plans=4) as (service, _):
        every = [one["id"] for one in await service.deliveries()]
        seen: list[str] = []
        query = "?state=all"
        while query:
            text = await shown(service, query)
            seen += lines(text)
            found = re.search(r'rel="next" href="/deliveries([^"]+)"', text)
            query = found[1].replace("&amp;", "&") if found else ""
        assert seen == every


async def test_what_makes_no_sense_is_said_and_breaks_nothing(tmp_path: Path) -> None:
    async with refused(tmp_path, plans=1) as (service, _):
        for query in ("?state=lost", "?cursor=x", "?receiver=a&receiver=b", "?story=" + "x" * 501):
            assert 'role="alert"' in await shown(service, query, 400), query
        for query in ("?story=%00", "?receiver=%ED%A0%80", "?destination=%3Cscript%3E"):
            assert "<script>" not in (await shown(service, query))
        assert "2 deliveries are tried again" in await shown(service, "?retried=2")
        for query in ("?retried=" + "9" * 5000, "?retried=-1", "?retried=%3Cb%3E", "?retried=%C2%B2"):
            assert "tried again now" not in await shown(service, query)
        for query in ("?state=lost", "?receiver=a&receiver=b"):
            answer = await service.http.post(f"{service.url}/deliveries/retry{query}", data={"all": "yes"})
            assert answer.status_code == 400, "a filter that makes no sense would mean all"
        for fields in ({}, {"id": "X", "all": "yes"}, {"all": "no"}):
            answer = await service.http.post(f"{service.url}/deliveries/retry", data=fields or None, headers=FORM)
            assert answer.status_code == 400, fields
        unknown = await service.http.post(f"{service.url}/deliveries/retry", data={"id": "X"})
        assert unknown.status_code == 409
        assert len(await service.deliveries(state="dead")) == 1


async def test_a_button_gives_one_another_try_in_the_name_of_who_pressed(tmp_path: Path) -> None:
    async with refused(tmp_path) as (service, rule):
        first, other = (one["id"] for one in await service.deliveries(state="dead"))
        rule.cancel()
        answer = await service.http.post(f"{service.url}/deliveries/retry?state=dead", data={"id": first})
        assert (answer.status_code, answer.headers["location"]) == (303, "/deliveries?state=dead&retried=1")
        await service.vendors.until(lambda v: len(v.slack_roots()) == 1)
        await service.idle()
        assert [one["id"] for one in await service.deliveries(state="dead")] == [other]
        audit = await service.http.get(f"{service.url}/api/v1/audit", params={"kind": "retry"})
        (line,) = [json.loads(one) for one in audit.text.splitlines()]
        assert (line["delivery"], line["by"]) == (first, "somebody at the page")


async def test_all_of_a_filter_are_tried_again_after_a_question(tmp_path: Path) -> None:
    async with refused(tmp_path) as (service, rule):
        asked = await service.http.get(f"{service.url}/deliveries/retry?destination=platform/slack")
        assert "Try 2 deliveries again?" in asked.text
        every = await service.http.get(f"{service.url}/deliveries/retry?state=all")
        assert "Try 2 deliveries again?" in every.text, "of all only what is stuck"
        assert len(await service.deliveries(state="dead")) == 2, "asking changes nothing"
        none = await service.http.get(f"{service.url}/deliveries/retry?destination=platform/pagerduty")
        assert "Nothing to try again" in none.text
        rule.cancel()
        answer = await service.http.post(f"{service.url}/deliveries/retry?kind=slack", data={"all": "yes"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/deliveries?kind=slack&retried=2")
        await service.vendors.until(lambda v: len(v.slack_roots()) == 2)
        await service.vendors.settle()
        assert len(service.vendors.incidents()) == 2, "what was shown is not told again"


async def test_destinations_say_how_they_do(tmp_path: Path) -> None:
    async with refused(tmp_path) as (service, _):
        found = await health(service)
        chat, pager = found["platform/slack"], found["platform/pagerduty"]
        assert (chat["state"], chat["dead"], chat["configured"]) == ("working", 2, True)
        assert chat["tries"] == chat["errors"] == 4, "each in its full and in its plain form"
        assert (pager["state"], pager["dead"], pager["errors"]) == ("working", 0, 0)
        assert pager["tries"] >= 2


async def test_a_parked_destination_says_why_and_when_it_is_asked_again(tmp_path: Path) -> None:
    async with refused(tmp_path, "is_archived") as (service, _):
        chat = (await health(service))["platform/slack"]
        assert (chat["state"], chat["reason"], chat["parked"], chat["dead"]) == ("parked", "is_archived", 2, 0)
        assert chat["since"] < chat["next"]
        text = await shown(service)
        assert re.search(r"parked</span>\s+since .*: Slack answered is_archived: .*; asked again in", text)


async def test_a_destination_that_left_the_configuration_is_remembered(tmp_path: Path) -> None:
    async with refused(tmp_path, plans=1) as (service, _):
        text = (tmp_path / "routes.yaml").read_text()
        (tmp_path / "routes.yaml").write_text(
            "\n".join(line for line in text.splitlines() if "slack_configs" not in line)
        )
        answer = await service.http.post(f"{service.url}/-/reload")
        assert answer.status_code == 200, answer.text
        chat = (await health(service))["platform/slack"]
        assert (chat["configured"], chat["dead"]) == (False, 1)
        assert "left the configuration" in await shown(service)
