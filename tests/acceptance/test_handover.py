"""The shift handover: the same on the page, as JSON and from the command; told once, at its times, to who reads."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from receiver import shifts
from tests.acceptance.harness import Running, alert, failed, jira, pagerduty, routes_yaml, running, slack
from tests.acceptance.test_replicas import replicas
from tests.databases import Postgres, ask
from tests.fakes import faults
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

TOP = """
global: {resolve_delay: 100ms, confirm_after: 1h, evidence_wait: 0s, fallback_after: 1h}
clusters: []
web: {external_url: 'https://mtv.example.com'}
"""
RECEIVERS = f"""
- name: platform
  {slack("#platform")}
- name: readers
  {slack("#shift")}
  {pagerduty()}
  {jira()}
"""
ROUTE = "{receiver: platform, routes: [{matchers: [plan_name=never], receiver: readers}]}"
OPEN = failed("00000000-0000-4000-8000-000000000001", "erp-wave1")
OVER = failed("00000000-0000-4000-8000-000000000002", "crm-wave2")


def schedule() -> str:
    """Return a section whose time is this minute, or was a moment ago."""
    now = datetime.now(UTC)
    return f"{TOP}handover: {{at: ['{now:%H:%M}'], receiver: readers, since: 8h}}\n"


async def happened(service: Running) -> None:
    """Let one story end, and one stay open that Slack refuses and Ana has taken."""
    await service.post(alert(OVER))
    await service.idle()
    await service.post(alert(OVER, "resolved"))
    await service.until_state("resolved")
    rule = service.vendors.fail("slack", faults.slack_error("invalid_blocks"), on="chat.postMessage", always=True)
    await service.post(alert(OPEN))
    await service.idle()
    rule.cancel()
    (story,) = await service.stories(state="firing")
    taken = await service.http.post(f"{service.url}/api/v1/stories/{story['id']}/acknowledge", json={"by": "Ana"})
    assert taken.status_code == 200


async def handed(service: Running, **query: str) -> Any:
    answer = await service.http.get(f"{service.url}/api/v1/handover", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_page_api_and_command_say_the_same(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=TOP, receivers=RECEIVERS, route=ROUTE)
        async with running(config, vendors) as service:
            await happened(service)
            found = await handed(service, since="1h")
            assert found["summary"] == "1 story open; 1 dead letter"
            (story,) = found["open"]["items"]
            assert (story["title"], story["taken_by"]) == ("plan erp-wave1", "Ana")
            assert story["url"] == f"https://mtv.example.com/stories/{story['id']}"
            (dead,) = found["dead"]["items"]
            assert (dead["to"], dead["why"], dead["story"]) == ("platform/slack", "invalid_blocks", story["id"])
            assert found["numbers"]["outcomes"] == {"cleared": 1}
            assert [one["title"] for one in found["ended"]["items"]] == ["plan crm-wave2"]
            assert [one["by"] for one in found["done"]["items"]] == ["Ana"]

            page = await service.http.get(f"{service.url}/handover?since=1h")
            for words in ("1 story open; 1 dead letter.", "plan erp-wave1", "Ana", "invalid_blocks", "plan crm-wave2"):
                assert words in page.text

            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "receiver", "handover", "--json", "--since", "1h", "--config", str(config),
                cwd=Path(__file__).parents[2], stdout=asyncio.subprocess.PIPE,
                env={"MTV_RECEIVER_DATABASE_URL": f"sqlite:///{tmp_path}/test.db"},
            )  # fmt: skip
            said, _ = await process.communicate()
            assert {**json.loads(said), "at": ""} == {**found, "at": ""}


async def test_what_is_older_than_the_shift_is_left_out(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=TOP, receivers=RECEIVERS, route=ROUTE)
        async with running(config, vendors) as service:
            await happened(service)
            await change(tmp_path, "UPDATE stories SET closed = closed - 7200 WHERE closed IS NOT NULL")
            await change(tmp_path, "UPDATE presses SET at = at - 7200")
            short, long = await handed(service, since="1h"), await handed(service, since="3h")
            assert (short["ended"]["total"], short["done"]["total"], short["numbers"]["open"]) == (0, 0, 1)
            assert (long["ended"]["total"], long["done"]["total"], long["numbers"]["open"]) == (1, 1, 1)


@pytest.mark.parametrize("since", ["10", "soon", "10d", "1s", f"{'9' * 400}h", f"{'9' * 5000}h"])
async def test_a_time_that_makes_no_sense_is_refused_with_the_cure(tmp_path: Path, since: str) -> None:
    async with FakeVendors() as vendors, running(routes_yaml(vendors, tmp_path, top=TOP), vendors) as service:
        for path in ("/api/v1/handover", "/handover"):
            answer = await service.http.get(service.url + path, params={"since": since})
            assert answer.status_code == 400
            assert re.search(r"since: .+; write", answer.text)


async def change(folder: Path, query: str, *values: object) -> None:
    """Change what is stored, while the service goes on: it may have to end a transaction first."""
    await asyncio.to_thread(ask, folder, query, *values)


async def missed(folder: Path, seconds: float) -> None:
    """Let the last time that was told be so long ago."""
    at = datetime.now(UTC).timestamp() - seconds
    await change(folder, "UPDATE jobs SET state = ? WHERE name = 'handover'", json.dumps({"told": at}))


class Looks:
    """Counts how often the schedule was looked at, to the end."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ended = 0
        look = shifts.Shifts.look

        async def counted(one: shifts.Shifts) -> bool:
            told = await look(one)
            self.ended += 1
            return told

        monkeypatch.setattr(shifts, "LOOK_EVERY_S", 0.1)
        monkeypatch.setattr(shifts.Shifts, "look", counted)

    async def another(self, service: Running) -> None:
        """Await a look that begins from now on, and that whatever it told has gone out."""
        enough = self.ended + 2  # one may be under way

        async def looked() -> bool:
            return self.ended >= enough

        await service.until(looked)
        await service.idle()


async def begun(service: Running) -> bool:
    """Has the schedule noted since when it is looked at?"""
    query = "SELECT 1 FROM jobs WHERE name = 'handover' AND state <> '{}'"
    return bool(await asyncio.to_thread(ask, service.folder, query))


async def test_it_is_told_once_in_final_form_to_who_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = Looks(monkeypatch)
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=schedule(), receivers=RECEIVERS, route=ROUTE)
        async with running(config, vendors) as service:
            await happened(service)
            await service.until(lambda: begun(service))
            await looks.another(service)
            assert vendors.slack_roots("#shift") == [], "what passed before anybody asked was not missed"
            await missed(tmp_path, 600)
            await vendors.until(lambda v: v.slack_roots("#shift"))
            await service.idle()
            (root,) = vendors.slack_roots("#shift")
            text = json.dumps(root.blocks, ensure_ascii=False)
            assert root.text.startswith("⚪ 1 story open; 1 dead letter")
            (story,) = await service.stories(state="firing")
            link = f"<https://mtv.example.com/stories/{story['id']}|plan erp-wave1>"
            assert f"{link}: impact not known; Ana has it." in text
            assert "https://mtv.example.com/handover?since=8h" in text
            assert "platform/slack" in text
            assert "invalid_blocks" in text
            assert not vendors.incidents()
            assert not vendors.jira_issues()
            (told,) = [one for one in await service.stories() if one["subject"].startswith("handover/")]
            rows = {one["kind"]: one["state"] for one in await service.deliveries(story=told["id"])}
            assert rows == {"slack": "delivered", "pagerduty": "skipped", "jira": "skipped"}
            await looks.another(service)
            assert len(vendors.slack_roots("#shift")) == 1
            assert vendors.slack_replies("#shift") == []
            found = await handed(service)
            assert found["numbers"]["outcomes"] == {"cleared": 1}, "a handover is no story that ended"
            assert found["summary"] == "1 story open; 1 dead letter"


async def test_a_time_that_passed_while_nobody_was_there_is_made_up_for_after_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shifts, "LOOK_EVERY_S", 0.1)
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=schedule(), receivers=RECEIVERS, route=ROUTE)

        async with running(config, vendors) as service:
            await service.until(lambda: begun(service))
        await missed(tmp_path, 7200)
        async with running(config, vendors) as service:
            await vendors.until(lambda v: v.slack_roots("#shift"))
            await service.idle()
            (root,) = vendors.slack_roots("#shift")
            assert root.text.startswith("⚪ Nothing is open, and everything was told")


async def test_two_replicas_tell_it_once(tmp_path: Path, postgres: Postgres) -> None:
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=schedule(), receivers=RECEIVERS, route=ROUTE)
        address = postgres.new(template="template0")
        async with replicas(config, address, 2):
            at = datetime.now(UTC).timestamp() - 600
            async with await psycopg.AsyncConnection.connect(address, autocommit=True) as conn, asyncio.timeout(20):
                changed = 0
                while not changed:  # until one of them has begun
                    query = "UPDATE jobs SET state = %s WHERE name = 'handover' AND state <> '{}'"
                    changed = (await conn.execute(query, (json.dumps({"told": at}),))).rowcount
                    await asyncio.sleep(0.1)
            await vendors.until(lambda v: v.slack_roots("#shift"), timeout=30)
            await asyncio.sleep(2 * shifts.LOOK_EVERY_S)  # both have looked again: nothing tells that nothing comes
            assert len(vendors.slack_roots("#shift")) == 1
