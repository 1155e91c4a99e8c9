"""Addresses that Slack hands out are asked only where they are Slack's own."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httpx2
import pytest
from websockets.exceptions import InvalidStatus

from receiver.destinations.slack_answer import answer
from receiver.destinations.slack_api import SlackApi
from receiver.destinations.slack_buttons import Action, Press
from receiver.slack_socket import _Connect

pytestmark = pytest.mark.anyio


class Api:
    """Slack's API, as far as an answer needs it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.called: list[str] = []

    async def call(self, method: str, _arguments: Any) -> None:
        self.called.append(method)


async def asked(response_url: str, app_url: str = "https://slack.com/api/") -> list[str]:
    """Return which addresses were asked besides the API."""
    seen: list[str] = []

    def note(request: httpx2.Request) -> httpx2.Response:
        seen.append(str(request.url))
        return httpx2.Response(200)

    api = Api(app_url)
    press = Press(Action.TAKE, "S", "c", "U1", "Ana", "C1", "", response_url, "key")
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(note)) as http:
        await answer(cast(SlackApi, api), http, press, "Done.")
    assert api.called == ([] if seen else ["chat.postEphemeral"]), "the person is answered by name instead"
    return seen


@pytest.mark.parametrize("url", ["https://hooks.slack.com/actions/T/1/x", "https://slack.com/actions/T/1/x"])
async def test_slacks_own_response_url_is_used(url: str) -> None:
    assert await asked(url) == [url]


@pytest.mark.parametrize(
    "url",
    [
        "https://trap.example.com/actions/T/1/x", "https://slack.com.example.com/x", "https://notslack.com/x",
        "http://hooks.slack.com/x", "https://hooks.slack.com:8443/x", "https://hooks.slack.com:x/x",
        "https://user@hooks.slack.com/x", "https://hooks.slack.com@trap.example.com/x", "//hooks.slack.com/x",
        "file:///etc/passwd", "https://[::1", "https://169.254.169.254/latest/meta-data", "",
    ],
)  # fmt: skip
async def test_any_other_is_not(url: str) -> None:
    assert await asked(url) == []


async def test_another_port_of_the_same_host_is_another_server() -> None:
    assert await asked("http://127.0.0.1:9999/x", "http://127.0.0.1:8080/api/") == []
    assert await asked("http://127.0.0.1:8080/x", "http://127.0.0.1:8080/api/") == ["http://127.0.0.1:8080/x"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_websocket_is_not_led_elsewhere(status: int) -> None:
    caught: list[bytes] = []

    async def trap(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caught.append(await reader.read(1000))
        writer.close()

    async with await asyncio.start_server(trap, "127.0.0.1", 0) as elsewhere:
        there = elsewhere.sockets[0].getsockname()[1]

        async def away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            head = f"HTTP/1.1 {status} Away\r\nLocation: ws://127.0.0.1:{there}/\r\nContent-Length: 0\r\n\r\n"
            writer.write(head.encode())
            writer.close()

        async with await asyncio.start_server(away, "127.0.0.1", 0) as server:
            with pytest.raises(InvalidStatus):
                await _Connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/?ticket=secret", proxy=None)
    assert caught == []
