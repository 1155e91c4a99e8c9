"""`send-test`: a made-up failure goes the way of a real one, says so wherever it is seen, and is gone afterwards."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from receiver.__main__ import app
from receiver.cli.scenarios import Scenario
from tests.acceptance.harness import Running, alert, failed, pagerduty, routes_yaml, running, slack
from tests.databases import database_of
from tests.fakes import faults
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

TOP = "clusters: []\nglobal: {remind_after: 1s, fallback_after: 1s}"


async def send(config: Path, *words: str, database: Path | None = None) -> Result:
    """Run the command beside the fakes, which are served by this loop."""
    env = {"MTV_RECEIVER_CONFIG": str(config), "MTV_RECEIVER_DATA": str(config.parent / "data"), "COLUMNS": "100"}
    env["MTV_RECEIVER_DATABASE_URL"] = database_of(database.parent) if database else ""
    return await asyncio.to_thread(CliRunner().invoke, app, ["send-test", *words], env=env)


def seen(vendors: FakeVendors) -> list[str]:
    """Return every headline that people see."""
    found = [message.text for message in vendors.slack_messages()]
    found += [incident.title for incident in vendors.incidents()]
    created = [json.loads(one.raw)["fields"]["summary"] for one in vendors.seen("jira", "POST issue")]
    return found + created


def triggers(vendors: FakeVendors) -> list[dict[str, Any]]:
    return [one.json for one in vendors.seen("pagerduty", "trigger")]


@pytest.mark.parametrize("scenario", [one for one in Scenario if one is not Scenario.STORM], ids=str)
async def test_a_scenario_is_told_everywhere_marked_and_over_when_the_command_ends(
    tmp_path: Path, scenario: Scenario
) -> None:
    async with FakeVendors() as vendors:
        result = await send(routes_yaml(vendors, tmp_path, top=TOP), "platform", "--scenario", scenario.value)

        assert result.exit_code == 0, result.output
        assert [line[:1] for line in result.stdout.splitlines()].count("✓") == 3
        assert "/browse/MIG-1" in result.stdout
        assert (len(vendors.slack_roots()), len(vendors.incidents()), len(vendors.jira_issues())) == (1, 1, 1)
        assert all("[TEST] " in one for one in seen(vendors)), seen(vendors)
        assert {one["payload"]["severity"] for one in triggers(vendors)} == {"info"}
        assert not vendors.incidents_open()
        assert vendors.jira_transitions()
        assert vendors.slack_roots()[0].text[0] in "🟢⚪"


async def test_a_storm_is_one_message_and_one_incident_which_a_fourth_failure_joins_and_ends_with_all_clear(
    tmp_path: Path,
) -> None:
    async with FakeVendors() as vendors:
        result = await send(routes_yaml(vendors, tmp_path, top=TOP), "platform", "--scenario", "storm")

        assert result.exit_code == 0, result.output
        assert "  a fourth plan fails and joins\n  new runs of all plans succeed\n" in result.stdout
        shown = [str(one.json["text"]) for one in vendors.seen("slack") if "text" in (one.json or {})]
        at = [next(n for n, text in enumerate(shown) if words in text) for words in ("3 plans", "4 plans", "All clear")]
        assert at == sorted(at)
        assert (len(vendors.slack_roots()), len(vendors.incidents())) == (1, 1)
        assert all("[TEST] " in one for one in seen(vendors)), seen(vendors)
        assert all("[TEST] " in one for one in shown), shown
        assert {one["payload"]["severity"] for one in triggers(vendors)} == {"info"}
        assert any("4 of 4 plans fixed" in reply.text for reply in vendors.slack_replies())
        causes = sorted(issue.summary for issue in vendors.jira_issues())
        assert len(causes) == 2, causes
        assert not vendors.incidents_open()
        assert result.stdout.count("✓") == 4


async def test_a_storm_beside_a_service_takes_in_no_real_failure_and_makes_none_a_storm(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=TOP)
        async with running(config, vendors) as service:
            await service.post(alert(failed()))
            await service.idle()
            database = tmp_path / "test.db"

            kept = await send(config, "platform", "--scenario", "storm", "--keep", database=database)
            assert kept.exit_code == 0, kept.output
            await service.post(alert(failed(uid="00000000-0000-4000-8000-000000000002", name="real-two")))
            await vendors.until(lambda v: len(v.slack_roots()) == 3, timeout=15)
            await service.idle()
            texts = [root.text for root in vendors.slack_roots()]
            assert [("[TEST]" in text, "4 plans" in text) for text in texts] == [
                (False, False), (True, True), (False, False),
            ]  # fmt: skip
            assert "real-two" in texts[2]

            ended = await send(config, "platform", "--end", (await _story(service, kept))["id"], database=database)
            assert ended.exit_code == 0, ended.output
            states = [one["state"] for one in await service.stories()]
            assert sorted(states) == ["firing"] * 2 + ["resolved"] * 4
            assert len(vendors.incidents_open()) == 2


async def test_where_storms_are_told_one_by_one_none_is_played(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top="clusters: []\nglobal: {digest_after: 0}")
        result = await send(config, "platform", "--scenario", "storm")
        assert result.exit_code == 1
        assert "set global.digest_after to see one" in result.stderr
        assert not vendors.requests


async def test_nobody_is_mentioned_and_no_fallback_is_told_of_a_test(tmp_path: Path) -> None:
    receivers = (
        f"- name: platform\n  {slack('#platform')}\n"
        f"- name: team\n  fallback: platform\n  {slack('#team', ', mention: <!here>')}\n  {pagerduty()}\n"
    )
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=TOP, receivers=receivers.replace("<!here>", "'@here'"))
        vendors.fail("pagerduty", faults.pagerduty_refused("bad key"), always=True)

        result = await send(config, "team")

        assert result.exit_code == 1
        assert "✗ team/pagerduty: " in result.stdout
        assert "✓ team/slack: delivered" in result.stdout
        assert not vendors.slack_roots("#platform")
        assert "<!here>" not in str([one.json for one in vendors.requests])


@pytest.mark.past_proxy("says the words for a refused port: here it is the proxy that refuses")
async def test_a_destination_that_does_not_answer_is_no_no_but_could_not_be_asked(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=TOP, receivers=f"- name: platform\n  {slack('#platform')}\n")
        async with vendors.away():
            result = await send(config, "platform", "--wait", "1", "--json")

        told = json.loads(result.stdout[result.stdout.index("{\n") :])
        assert result.exit_code == 3
        assert [(one["label"], one["state"]) for one in told["destinations"]] == [("platform/slack", "retrying")]
        assert "no connection" in told["destinations"][0]["error"]


async def test_beside_a_service_it_is_the_service_that_delivers_and_keeps_the_ledger(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=TOP)
        async with running(config, vendors) as service:
            await service.post(alert(failed()))
            await service.idle()
            real = (await service.stories())[0]["id"]

            result = await send(config, "platform", "--scenario", "fixed", database=tmp_path / "test.db")

            assert result.exit_code == 0, result.output
            story = await _story(service, result)
            assert (story["state"], story["outcome"]) == ("resolved", "fixed")
            rows = await service.deliveries(story=story["id"])
            assert len(rows) == 3
            assert all(row["attempts"] for row in rows)
            states = {one["id"]: one["state"] for one in await service.stories()}
            assert states == {real: "firing", story["id"]: "resolved"}
            assert len(vendors.incidents_open()) == 1


async def test_a_test_that_is_kept_stays_open_until_it_is_ended(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=TOP)
        async with running(config, vendors) as service:
            await service.post(alert(failed()))
            await service.idle()
            real = (await service.stories())[0]["id"]
            database = tmp_path / "test.db"

            kept = await send(config, "platform", "--keep", database=database)
            assert kept.exit_code == 0, kept.output
            story = await _story(service, kept)
            assert story["state"] == "firing"
            assert len(vendors.incidents_open()) == 2

            refused = await send(config, "platform", "--end", real, database=database)
            assert refused.exit_code == 1
            assert f"story {real} is no test; " in refused.stderr

            ended = await send(config, "platform", "--end", story["id"].lower(), database=database)
            assert ended.exit_code == 0, ended.output
            assert (await _story(service, kept))["state"] == "resolved"
            assert len(vendors.incidents_open()) == 1


async def test_what_cannot_be_done_is_said_in_a_line_with_its_cure(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=TOP)
        nobody = await send(config, "plattform")
        homeless = await send(config, "platform", "--keep")

        assert (nobody.exit_code, nobody.stderr) == (2, "no receiver is called plattform; there are platform\n")
        assert homeless.exit_code == 3
        assert homeless.stderr.startswith("no service holds the database; start ")
        assert (await send(config, "platform", "--scenario", "quake")).exit_code == 2
        assert not vendors.requests


async def _story(service: Running, result: Result) -> dict[str, Any]:
    named = next(line for line in result.stdout.splitlines() if line.startswith("story ")).split()[1]
    found: dict[str, Any] = (await service.http.get(f"{service.url}/api/v1/stories/{named}")).json()
    return found
