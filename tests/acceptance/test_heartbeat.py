"""The dead man's switch: an alert that stays out is told, and somebody outside is called while all is well."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from receiver import heartbeat
from tests.acceptance.harness import Running, alert, pagerduty, routes_yaml, running, slack
from tests.fakes.server import serve
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

WATCHDOG = {"alertname": "Watchdog", "severity": "none"}
RECEIVERS = f"""
- name: platform
  {slack("#platform")}
- name: oncall
  {pagerduty()}
"""


class Outside:
    """Somebody outside who is called."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.behaves = "well"
        self.url = ""

    async def called(self, request: Request) -> Response:
        self.calls.append(f"{request.method} {request.url.path}")
        if self.behaves == "redirects":
            return RedirectResponse("/elsewhere")
        return PlainTextResponse("OK", 200 if self.behaves == "well" else 500)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Outside]:
        routes = [Route("/ping/SECRET-UUID", self.called), Route("/elsewhere", self.called)]
        async with serve(Starlette(routes=routes)) as url:
            self.url = f"{url}/ping/SECRET-UUID"
            yield self


@contextlib.asynccontextmanager
async def service(folder: Path, outside: Outside | None = None, **more: str) -> AsyncIterator[Running]:
    keys = {"matchers": """['alertname="Watchdog"']""", "interval": "1h", "receiver": "oncall", **more}
    if outside is not None:
        (folder / "ping").write_text(outside.url)
        keys["ping_url_file"] = "ping"
    written = ", ".join(f"{key}: {value}" for key, value in keys.items())
    head = "global: {resolve_delay: 10ms}\nclusters: []\n"
    head += f"heartbeat: {{{written}}}"
    async with (
        FakeVendors() as vendors,
        running(routes_yaml(vendors, folder, top=head, receivers=RECEIVERS), vendors) as one,
    ):
        yield one


async def beats(it: Running, status: str = "firing") -> None:
    assert await it.post(alert(WATCHDOG, status)) == {"accepted": 1, "rejected": []}


async def silent(it: Running) -> bool:
    return await it.metric('mtv_receiver_silence_firing{alertname="MTVReceiverNoHeartbeat"}') == 1


async def heard(it: Running) -> bool:
    return await it.metric("mtv_receiver_heartbeat_last_timestamp_seconds") > 0


async def test_a_heartbeat_is_no_story_and_other_alerts_beside_it_are(tmp_path: Path) -> None:
    async with service(tmp_path, interval="2s") as it:
        disk = {"alertname": "DiskFull", "severity": "warning"}
        await it.post(alert(WATCHDOG), alert(disk))
        await it.until_state("firing")
        await it.until(lambda: heard(it))
        await it.idle()
        assert [one["title"] for one in await it.stories() if one["subject"] != "heartbeat/MTVReceiverNoHeartbeat"] == [
            "Migration plan failed"
        ]


async def test_one_that_stays_out_is_told_to_its_receiver_until_it_comes_back(tmp_path: Path) -> None:
    async with service(tmp_path, interval="600ms") as it:
        story = await it.until_state("firing")
        assert story["labels"] == {"alertname": "MTVReceiverNoHeartbeat", "severity": "critical"}
        await it.vendors.until(lambda vendors: len(vendors.incidents_open()) == 1)
        assert it.vendors.slack_roots() == []
        await it.until(lambda: silent(it))

        await beats(it, "resolved")  # it ended where it comes from: the very opposite
        await it.idle()
        with contextlib.closing(sqlite3.connect(tmp_path / "test.db")) as database:
            assert database.execute("SELECT * FROM jobs WHERE name = 'heartbeat'").fetchall() == []
        assert (await it.stories())[0]["state"] == "firing"
        ended = False
        while not ended:  # as Alertmanager does: again and again
            await beats(it)
            ended = it.vendors.pagerduty_events("resolve") != []
        assert len(await it.stories()) == 1


async def test_who_asks_for_no_heartbeat_any_more_is_told_nothing_more(tmp_path: Path) -> None:
    async with service(tmp_path, interval="300ms") as it:
        await it.until_state("firing")
    config = tmp_path / "routes.yaml"
    config.write_text("".join(line for line in config.read_text().splitlines(True) if "heartbeat:" not in line))
    async with FakeVendors() as vendors, running(config, vendors) as it:
        await it.until_state("resolved", outcome="cleared")


async def test_one_that_never_came_is_told_too(tmp_path: Path) -> None:
    async with service(tmp_path, interval="300ms") as it:
        await it.until_state("firing")
        (shown,) = await it.vendors.until(lambda vendors: vendors.incidents_open())
        assert "No alerts arrive" in str(shown)


async def test_wide_matchers_do_not_swallow_what_is_said_of_the_silence(tmp_path: Path) -> None:
    async with service(tmp_path, interval="300ms", matchers="""['severity=~".+"']""") as it:
        await it.until_state("firing")


async def test_without_a_receiver_the_root_is_told(tmp_path: Path) -> None:
    async with service(tmp_path, interval="300ms", receiver="''") as it:
        await it.vendors.until(lambda vendors: len(vendors.slack_roots()) == 1)
        assert it.vendors.incidents() == []


async def test_no_webhook_at_all(tmp_path: Path) -> None:
    async with service(tmp_path, webhook_silence="500ms") as it:
        assert await it.metric("mtv_receiver_last_webhook_timestamp_seconds") == 0
        await it.post(alert({"alertname": "DiskFull"}))
        assert await it.metric("mtv_receiver_last_webhook_timestamp_seconds") > 0

        async def silence() -> Any:
            return [one for one in await it.stories() if one["subject"] == "heartbeat/MTVReceiverNoWebhook"]

        await it.until(silence)


async def test_the_last_webhook_is_known_after_a_restart(tmp_path: Path) -> None:
    async with service(tmp_path, interval="5s") as it:
        await beats(it)
        await it.until(lambda: heard(it))
        before = await it.metric("mtv_receiver_last_webhook_timestamp_seconds")
    async with service(tmp_path, interval="5s") as it:

        async def known() -> bool:
            return abs(await it.metric("mtv_receiver_last_webhook_timestamp_seconds") - before) < 1

        await it.until(known)


async def test_somebody_outside_is_called_while_all_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "PING_EVERY_S", 0.05)
    async with Outside().running() as outside, service(tmp_path, outside, interval="6s") as it:
        looked = 'mtv_receiver_heartbeat_pings_total{outcome="ok"}'
        await it.post(alert({"alertname": "DiskFull"}))
        await it.idle()
        assert outside.calls == [], "no heartbeat came"
        await beats(it)

        async def called() -> bool:
            return await it.metric(looked) >= 3

        await it.until(called, 30)
        assert set(outside.calls) == {"GET /ping/SECRET-UUID"}
        await it.until(lambda: silent(it), 30)
        calls = len(outside.calls)
        await it.until_state("firing")
        await it.idle()
        assert len(outside.calls) == calls, "no heartbeat comes any more"


async def test_it_is_called_once_a_minute(tmp_path: Path) -> None:
    async with Outside().running() as outside, service(tmp_path, outside, interval="5s") as it:
        await beats(it)
        await it.until_state("firing", 30)  # looked at many times until then
        assert len(outside.calls) == 1


@pytest.mark.parametrize(("how", "said"), [("redirects", "HTTP 307"), ("badly", "HTTP 500")])
async def test_a_call_that_fails_is_counted_and_its_address_is_said_nowhere(
    tmp_path: Path, how: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Outside().running() as outside, service(tmp_path, outside, interval="1h") as it:
        outside.behaves = how
        await beats(it)

        async def failed() -> bool:
            return await it.metric('mtv_receiver_heartbeat_pings_total{outcome="failed"}') == 1

        await it.until(failed, 20)
        assert outside.calls == ["GET /ping/SECRET-UUID"]
        metrics = (await it.http.get(f"{it.url}/metrics")).text
    out = capsys.readouterr()
    assert said in out.out + out.err
    assert "SECRET-UUID" not in out.out + out.err + metrics
