"""The audit stream of the whole service: over HTTP and by the command."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from receiver.__main__ import app
from receiver.cli import audit as command
from receiver.store import audit
from receiver.store.audit import Entry, Kind
from receiver.store.engine import Store, sqlite_url
from tests.acceptance.harness import Running, alert, failed, routes_yaml, running
from tests.fakes import faults
from tests.fakes.vendors import ROUTING_KEY, FakeVendors

pytestmark = [pytest.mark.anyio, pytest.mark.sqlite_only("the commands are pointed at its file")]
TOP = """
global: {resolve_delay: 100ms, confirm_after: 1h, evidence_wait: 100ms, evidence_timeout: 1s}
clusters: []
web: {page_auth: {bearer_token_file: page}}
"""
PAGE = {"Authorization": "Bearer page secret"}


async def lines(service: Running, **query: Any) -> list[dict[str, Any]]:
    answer = await service.http.get(f"{service.url}/api/v1/audit", params=query, headers=PAGE)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/jsonl")
    return [json.loads(line) for line in answer.text.splitlines()]


async def told(service: Running, vendors: FakeVendors) -> str:
    """Let a plan fail, be told and be over; return its story."""
    service.http.headers.update(PAGE)
    await service.post(alert(failed(), annotations={"summary": "password=hunter2hunter2"}))
    await vendors.until(lambda v: v.slack_roots() and v.incidents() and v.jira_issues())
    await service.idle()
    (story,) = await service.stories()
    await service.http.post(f"{service.url}/api/v1/stories/{story['id']}/acknowledge", json={"by": "Ana"})
    await service.post(alert(failed(), "resolved"))
    await service.until_state("resolved")
    await service.idle()
    return str(story["id"])


async def test_it_says_who_was_told_why_how_it_ended_and_who_pressed(tmp_path: Path) -> None:
    (tmp_path / "page").write_text("page secret")
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=TOP)
        async with running(config, vendors) as service:
            story = await told(service, vendors)
            every = await lines(service)
            assert [one["id"] for one in every] == sorted(one["id"] for one in every)
            assert every[0]["kind"] == "start"
            assert every[0]["config"]
            mine = [one for one in every if one["story"] == story]
            changes = [(one["revision"], one["change"]) for one in mine if one["kind"] == "story"]
            assert (changes[0], changes[-1][1]) == ((1, "fired"), "resolved")
            assert [number for number, _ in changes] == sorted({number for number, _ in changes})
            labels = {"platform/slack", "platform/pagerduty", "platform/jira"}
            routed = {one["destination"]: one["why"] for one in mine if one["kind"] == "routed"}
            assert set(routed) == labels
            assert all("routes.yaml:" in why for (why,) in routed.values())
            ended = {(one["destination"], one["part"], one["outcome"]) for one in mine if one["kind"] == "attempt"}
            assert {(label, "root", "ok") for label in labels} <= ended
            (press,) = [one for one in mine if one["kind"] == "press"]
            assert (press["by"], press["action"], press["done"]) == ("Ana", "acknowledge", True)
            tries = sum(len(one["attempts"]) for one in await service.deliveries())
            assert tries == len([one for one in mine if one["kind"] == "attempt"])
            pages: list[dict[str, Any]] = []
            while found := await lines(service, limit=3, cursor=pages[-1]["id"] if pages else 0):
                assert len(found) <= 3
                pages += found
            assert pages == every
            assert await lines(service, kind=["press", "start"]) == [every[0], press]
            assert await lines(service, since="1h") == every
            text = json.dumps(every)
            for secret in ("hunter2", "xoxb-test", ROUTING_KEY, "jira-secret", "page secret"):
                assert secret not in text
            assert (
                await service.http.get(f"{service.url}/api/v1/audit", headers={"Authorization": ""})
            ).status_code == 401
            for bad in ("limit=0", "limit=x", "cursor=-1", "cursor=" + "9" * 30, "kind=other", "since=12"):
                answer = await service.http.get(f"{service.url}/api/v1/audit?{bad}")
                assert (bad, answer.status_code) == (bad, 400)
        stored = await read(tmp_path)
        assert [one.kind for one in stored if one.story == ""] == ["start", "stop"]


async def test_what_fails_says_how(tmp_path: Path) -> None:
    (tmp_path / "page").write_text("page secret")
    async with FakeVendors() as vendors:
        vendors.fail("slack", faults.slack_error("channel_not_found"), on="chat.postMessage", always=True)
        async with running(routes_yaml(vendors, tmp_path, top=TOP), vendors) as service:
            service.http.headers.update(PAGE)
            await service.post(alert(failed()))
            await vendors.until(lambda v: v.incidents() and v.jira_issues())

            async def parked() -> list[dict[str, Any]]:
                return await lines(service, kind="parked")

            (one,) = await service.until(parked)
            assert "channel_not_found" in one["why"]
            tries = await lines(service, kind="attempt")
            (ended,) = [each for each in tries if each["destination"] == "platform/slack"]
            assert ended["outcome"] == "permanent"
            assert "channel_not_found" in ended["error"]


async def read(folder: Path) -> list[Entry]:
    async with Store.open(sqlite_url(folder / "test.db")) as store:
        return await store.read(audit.page)


async def test_the_command_shows_the_same_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page").write_text("page secret")
    async with FakeVendors() as vendors, running(routes_yaml(vendors, tmp_path, top=TOP), vendors) as service:
        story = await told(service, vendors)
        every = await lines(service)
    monkeypatch.setenv("MTV_RECEIVER_DATABASE_URL", sqlite_url(tmp_path / "test.db"))
    monkeypatch.setenv("COLUMNS", "150")

    async def said(*arguments: str) -> str:
        result = await asyncio.to_thread(CliRunner().invoke, app, ["audit", *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    printed = [json.loads(line) for line in (await said("--json")).splitlines()]
    assert printed[: len(every)] == every
    assert [one["kind"] for one in printed[len(every) :]] == ["stop"]
    shown = await said("--kind", "press")
    assert shown.splitlines()[0].split() == ["AT", "(UTC)", "WHAT", "STORY", "FACTS"]
    assert story in shown
    assert "by=Ana" in shown
    assert await said("--kind", "reload") == "nothing within 12h\n"
    result = CliRunner().invoke(app, ["audit", "--since", "soon"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)

    seen: list[int] = []
    async with Store.open(sqlite_url(tmp_path / "test.db")) as store:
        rounds = 0

        async def wait() -> None:
            nonlocal rounds
            rounds += 1
            if rounds == 3:
                raise KeyboardInterrupt
            await store.write(lambda conn: audit.note(conn, Kind.RELOAD, why=f"round {rounds}"))

        def emit(found: list[Entry]) -> None:
            seen.extend(one.id for one in found)

        monkeypatch.setattr(command, "PAGE", 4)  # several pages at once, and then what comes
        with pytest.raises(KeyboardInterrupt):
            await command.show(store, 3600.0, [], emit, wait)
        stored = [one.id for one in await store.read(audit.page)]
    assert seen == stored
    assert len(seen) == len(printed) + 2
