"""Slack's end of Socket Mode: says hello, sends envelopes, hears acknowledgements, asks to reconnect."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.fakes.vendors import FakeVendors


class SocketServer:
    """Every connection is kept in `connections`, in the order in which it came, also when it is closed."""

    def __init__(self) -> None:
        self.connections: list[ServerConnection] = []
        self.acknowledged: list[str] = []
        """Ids of envelopes, in the order of their acknowledgements."""
        self.says_hello = True
        self.port = 0
        self._numbers = itertools.count(1)
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def running(self, vendors: FakeVendors) -> AsyncIterator[SocketServer]:
        """Serve on a free loopback port, and let `apps.connections.open` name it."""
        async with serve(self._serve, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            vendors.sandbox.slack_more.socket_url = f"ws://127.0.0.1:{self.port}/link/?ticket=planted-ticket"
            try:
                yield self
            finally:
                vendors.sandbox.slack_more.socket_url = ""

    @property
    def open(self) -> list[ServerConnection]:
        return [one for one in self.connections if one.state.name == "OPEN"]

    async def until_open(self, count: int, timeout: float = 10.0) -> ServerConnection:
        """Await so many connections in all, and return the last."""
        async with asyncio.timeout(timeout):
            while len(self.connections) < count:
                await self._change()
        return self.connections[-1]

    async def send(
        self, content: Mapping[str, Any], kind: str = "interactive", to: ServerConnection | None = None
    ) -> str:
        """Send an envelope on the newest connection, or on `to`; return its id."""
        number = f"envelope-{next(self._numbers)}"
        message = {"envelope_id": number, "type": kind, "accepts_response_payload": False, "payload": content}
        await (to or self.connections[-1]).send(json.dumps(message))
        return number

    async def until_acknowledged(self, number: str, timeout: float = 10.0) -> None:
        """Await the acknowledgement of an envelope."""
        async with asyncio.timeout(timeout):
            while number not in self.acknowledged:
                await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _serve(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        if self.says_hello:
            await connection.send(json.dumps({"type": "hello", "num_connections": 1, "connection_info": {}}))
        self._changed.set()
        try:
            async for text in connection:
                self.acknowledged.append(json.loads(text)["envelope_id"])
                self._changed.set()
        except ConnectionClosed:
            pass
