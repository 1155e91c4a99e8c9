"""Socket Mode: one connection that comes back by itself, in no hurry where nobody lets it in."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from receiver.clock import SystemClock
from receiver.config.model import TLS, DestinationConfig, HttpConfig, Secret
from receiver.destinations.slack import SlackSettings
from receiver.destinations.slack_buttons import Press
from receiver.slack_socket import REFUSED_AGAIN_S, SlackSocket, lines
from tests.fakes import faults
from tests.fakes.authority import Authority
from tests.fakes.proxy import Proxy, tls_before
from tests.fakes.slack_socket import SocketServer
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

PRESS: dict[str, Any] = {
    "type": "block_actions",
    "user": {"id": "U0ADA00001", "name": "ada"},
    "actions": [
        {
            "action_id": "mtv_receiver_take",
            "value": "01K9ZQ4T7MABCDEFGHJKMNPQRS 0b8f6a2e-1111-4222-8333-944455556666",
            "action_ts": "1.000001",
        }
    ],
}


class Hasty(SystemClock):
    """Notes how long it was to sleep, and hardly does."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0.005)


class Taken:
    """Takes presses, or does not."""

    def __init__(self) -> None:
        self.presses: list[Press] = []
        self.full = False

    def offer(self, press: Press) -> bool:
        if not self.full:
            self.presses.append(press)
        return not self.full


def destination(vendors: FakeVendors, folder: Path, channel: str = "#a", token: str = "one") -> DestinationConfig:
    for name in ("bot", token):
        (folder / name).write_text(f"xapp-{name}")
    settings = SlackSettings(
        channel=channel,
        app_token=Secret(file=folder / "bot"),
        app_url=vendors.slack_url,
        socket_token=Secret(file=folder / token),
    )
    return DestinationConfig("slack", f"slack:{channel}", "platform", "routes.yaml:1", settings)


@contextlib.asynccontextmanager
async def connected(folder: Path) -> AsyncIterator[tuple[FakeVendors, SocketServer, Taken, Hasty, list[bool]]]:
    async with FakeVendors() as vendors, SocketServer().running(vendors) as server:
        taken, clock = Taken(), Hasty()
        (line,) = lines([destination(vendors, folder)])
        states: list[bool] = []
        socket = SlackSocket(line, taken.offer, clock, lambda: 0.5, states.append)
        task = asyncio.create_task(socket.run())
        try:
            yield vendors, server, taken, clock, states
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_each_app_token_is_one_connection_however_many_channels_use_it(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        same = [destination(vendors, tmp_path, channel) for channel in ("#a", "#b", "#c")]
        assert len(lines(same)) == 1
        assert len(lines([*same, destination(vendors, tmp_path, "#d", "two")])) == 2


async def test_a_press_is_taken_and_acknowledged_and_what_is_no_press_only_acknowledged(tmp_path: Path) -> None:
    async with connected(tmp_path) as (_, server, taken, _, _):
        await server.until_open(1)
        for kind, content in (("events_api", {}), ("interactive", {"type": "view_closed"}), ("interactive", PRESS)):
            await server.until_acknowledged(await server.send(content, kind))
        assert [press.user for press in taken.presses] == ["U0ADA00001"]


async def test_a_press_that_cannot_be_taken_is_not_acknowledged_so_that_the_person_sees_it(tmp_path: Path) -> None:
    async with connected(tmp_path) as (_, server, taken, _, _):
        await server.until_open(1)
        taken.full = True
        lost = await server.send(PRESS)
        await server.until_acknowledged(await server.send({}, "events_api"))
        assert lost not in server.acknowledged


async def test_hostile_messages_break_nothing(tmp_path: Path) -> None:
    async with connected(tmp_path) as (_, server, taken, _, _):
        connection = await server.until_open(1)
        for text in ("", "null", "[]", "{", '{"type": 1}', '{"envelope_id": {}}', "[" * 100_000, b"\x00\xff"):
            await connection.send(text)
        odd: tuple[Any, ...] = (None, [], "x", {"type": "block_actions", "actions": [{"value": 1}]})
        for payload in odd:
            await connection.send(json.dumps({"envelope_id": "odd", "type": "interactive", "payload": payload}))
        await server.until_acknowledged(await server.send(PRESS))
        assert len(taken.presses) == 1
        assert len(server.connections) == 1


@pytest.mark.parametrize("reason", ["refresh_requested", "warning"])
async def test_the_next_connection_stands_before_the_old_one_goes(tmp_path: Path, reason: str) -> None:
    async with connected(tmp_path) as (_, server, _, clock, _):
        first = await server.until_open(1)
        await first.send(json.dumps({"type": "disconnect", "reason": reason}))
        await server.until_open(2)
        assert first in server.open
        assert clock.slept == []
        await server.until_acknowledged(await server.send({}, "events_api", to=first))


async def test_a_connection_that_breaks_comes_back_and_a_good_one_ends_the_back_off(tmp_path: Path) -> None:
    async with connected(tmp_path) as (_, server, taken, clock, states):
        for number in range(1, 4):
            connection = await server.until_open(number)
            await server.until_acknowledged(await server.send({}, "events_api"))
            assert states[-1], "Slack said hello"
            connection.transport.abort()
        await server.until_open(4)
        await server.until_acknowledged(await server.send(PRESS))
        assert len(taken.presses) == 1
        assert clock.slept == [], "each had said hello"
        assert states == [True, False, True, False, True, False, True]
    assert not states[-1], "a service that ends is not connected"


async def test_connections_that_never_say_hello_are_tried_less_and_less_often(tmp_path: Path) -> None:
    async with connected(tmp_path) as (_, server, _, clock, states):
        server.says_hello = False
        for number in range(1, 8):
            (await server.until_open(number)).transport.abort()
        assert clock.slept[:-1] == sorted(clock.slept[:-1])
        assert clock.slept[-1] > clock.slept[1]
        assert max(clock.slept) <= 60
        assert True not in states


@pytest.mark.parametrize("code", ["invalid_auth", "missing_scope", "not_allowed_token_type"])
async def test_a_token_that_is_refused_is_asked_about_once_a_minute_and_counts_again_when_it_is_replaced(
    tmp_path: Path, code: str
) -> None:
    async with FakeVendors() as vendors, SocketServer().running(vendors) as server:
        rule = vendors.fail("slack", faults.slack_error(code), on="apps.connections.open", always=True)
        clock = Hasty()
        (line,) = lines([destination(vendors, tmp_path)])
        task = asyncio.create_task(SlackSocket(line, Taken().offer, clock, lambda: 0.5).run())
        await vendors.until(lambda _: rule.used >= 2)
        assert min(clock.slept) >= REFUSED_AGAIN_S
        (tmp_path / "one").write_text("xapp-new")
        rule.cancel()
        await server.until_open(1)
        assert vendors.seen("slack", "apps.connections.open")[-1].headers["authorization"] == "Bearer xapp-new"
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(
    "url", ["wss://evil.example/link", "https://evil.example", "ws://127.0.0.1.evil.example/", "", "ws://[::1"]
)
async def test_an_address_that_is_not_slacks_is_not_connected_to(tmp_path: Path, url: str) -> None:
    async with FakeVendors() as vendors:
        vendors.sandbox.slack_more.socket_url = url or " "
        clock = Hasty()
        (line,) = lines([destination(vendors, tmp_path)])
        task = asyncio.create_task(SlackSocket(line, Taken().offer, clock, lambda: 0.5).run())
        await vendors.until(lambda _: len(clock.slept) >= 2)
        assert min(clock.slept) >= REFUSED_AGAIN_S
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_neither_the_ticket_nor_the_token_is_ever_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with connected(tmp_path) as (vendors, server, _, _, _):
        await server.until_open(1)
        await server.until_acknowledged(await server.send({}, "events_api"))
        vendors.sandbox.slack_more.socket_url = "ws://127.0.0.1:1/link/?ticket=planted-ticket"
        server.connections[0].transport.abort()
        await vendors.until(lambda v: len(v.seen("slack", "apps.connections.open")) >= 3)
    said = "".join(capsys.readouterr()) + caplog.text
    assert "slack.socket_open" in said
    assert "slack.socket_not_open" in said
    assert "planted-ticket" not in said
    assert "xapp-" not in said.replace("file:", "")


async def test_it_ends_cleanly_and_says_so_to_slack(tmp_path: Path) -> None:
    async with connected(tmp_path) as (_, server, _, _, _):
        connection = await server.until_open(1)
        await server.until_acknowledged(await server.send({}, "events_api"))
    assert connection.close_code == 1000


async def test_the_connection_goes_through_the_proxy_and_trusts_the_private_authority_only(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    async with contextlib.AsyncExitStack() as stack:
        vendors = await stack.enter_async_context(FakeVendors())
        server = await stack.enter_async_context(SocketServer().running(vendors))
        ports = {"slack.test": urlsplit(vendors.base_url).port or 0, "wss.slack.test": server.port}
        hosts = {
            host: await stack.enter_async_context(tls_before(port, authority.issue(host).server_context()))
            for host, port in ports.items()
        }
        proxy = await stack.enter_async_context(Proxy(hosts).running())
        vendors.sandbox.slack_more.socket_url = "wss://wss.slack.test/link/?ticket=planted-ticket"
        ca_file = tmp_path / "trusted.pem"
        ca_file.write_text(authority.ca_file.read_text())
        one = destination(vendors, tmp_path)
        settings = one.settings.model_copy(update={"app_url": "https://slack.test/slack/api/"})
        http = HttpConfig(proxy_url=proxy.url, tls=TLS(ca_file=ca_file))
        (line,) = lines([replace(one, settings=settings, http=http)])
        clock, taken = Hasty(), Taken()
        task = asyncio.create_task(SlackSocket(line, taken.offer, clock, lambda: 0.5).run())
        await server.until_open(1)
        await server.until_acknowledged(await server.send(PRESS))
        assert len(taken.presses) == 1
        assert {one.partition(":")[0] for one in proxy.connects} == {"slack.test", "wss.slack.test"}
        ca_file.write_text(other.ca_file.read_text())
        server.connections[0].transport.abort()
        await vendors.until(lambda _: len(clock.slept) >= 2)
        assert len(server.connections) == 1, "nobody vouches for it any more"
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
