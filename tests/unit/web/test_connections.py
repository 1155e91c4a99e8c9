"""What one who is connected may take of us: time, headers, connections. Real sockets, short times."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from receiver.config.listening import ListenLimits, ServerTLS
from receiver.config.model import Web
from receiver.web import connections
from receiver.web.connections import TOO_SLOW, HandshakesInTime, configured
from tests.fakes.authority import Authority

pytestmark = pytest.mark.anyio
LONG = 300.0
"""A time that no test waits for: what closes a connection within a test is another one."""
GET = b"GET /fast HTTP/1.1\r\nHost: x\r\n\r\n"


class _Server(HandshakesInTime, uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass
class Port:
    """A server, and how to talk to it byte by byte."""

    number: int
    cut: list[str] = field(default_factory=list)
    """Paths whose body ended early."""
    go: asyncio.Event = field(default_factory=asyncio.Event)
    """Lets /slow answer."""
    begun: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    """One for each request for /slow that has come."""

    async def open(self, sent: bytes = b"") -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.number)
        client = Client(reader, writer)
        await client.send(sent)
        return client


class Client:
    """A connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, sent: bytes) -> None:
        self.writer.write(sent)
        await self.writer.drain()

    async def status(self) -> int:
        """Read a whole answer and return its status; 0 where the connection ended instead."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return 0
        length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line)
        await self.reader.readexactly(length)
        return int(head.split()[1])

    async def ended(self) -> bytes:
        """Await the connection's end, by a close or a reset, and return what came before it."""
        came = b""
        with contextlib.suppress(ConnectionError):
            while more := await asyncio.wait_for(self.reader.read(65_536), 20):
                came += more
        return came


@asynccontextmanager
async def listening(limits: ListenLimits, tls: ServerTLS | None = None) -> AsyncIterator[Port]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    port = Port(listener.getsockname()[1])

    async def fast(_: Request) -> Response:
        return PlainTextResponse("ok")

    async def slow(_: Request) -> Response:
        port.begun.release()
        await port.go.wait()
        return PlainTextResponse("ok")

    async def body(request: Request) -> Response:
        try:
            return PlainTextResponse(str(len(await request.body())))
        except ClientDisconnect:
            port.cut.append(request.url.path)
            raise

    async def unread(_: Request) -> Response:
        return PlainTextResponse("not signed in", 401)

    app = Starlette(
        routes=[
            Route("/fast", fast),
            Route("/slow", slow),
            Route("/body", body, methods=["POST"]),
            Route("/unread", unread, methods=["POST"]),
        ]
    )
    server = _Server(configured(app, Web(limits=limits, tls=tls), timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield port
    finally:
        port.go.set()
        server.should_exit = True
        await asyncio.wait([task])
        listener.close()


BRIEF_HEADERS = ListenLimits(header_timeout_s=0.2, body_timeout_s=LONG, idle_timeout_s=LONG)
BRIEF_BODIES = ListenLimits(header_timeout_s=LONG, body_timeout_s=0.2, idle_timeout_s=LONG)
FEW = ListenLimits(max_connections=3, header_timeout_s=LONG, body_timeout_s=LONG, idle_timeout_s=LONG)


@pytest.mark.parametrize("sent", [b"", b"G", b"GET /fast HTTP/1.1\r\nHost: x\r\n"])
async def test_headers_that_do_not_come_in_time_end_the_connection(sent: bytes) -> None:
    async with listening(BRIEF_HEADERS) as port:
        client = await port.open(sent)
        assert (await client.ended()).startswith(b"HTTP/1.1 408 ")


async def test_a_byte_now_and_then_buys_no_time() -> None:
    async with listening(BRIEF_HEADERS) as port:
        client = await port.open(b"GET /fast HTTP/1.1\r\n")

        async def drip() -> None:
            with contextlib.suppress(ConnectionError):
                while True:
                    await client.send(b"X-A: b\r\n")
                    await asyncio.sleep(0.02)

        task = asyncio.create_task(drip())
        # Bytes that cross our end make the system reset the connection, and a reset may overtake the 408.
        assert await client.ended() in (b"", TOO_SLOW)
        task.cancel()


async def test_the_time_begins_anew_with_each_request_and_not_between_them() -> None:
    async with listening(BRIEF_HEADERS) as port:
        client = await port.open(GET)
        assert await client.status() == 200
        other = await port.open()
        await other.ended()  # longer than a request's headers may take
        await client.send(GET)
        assert await client.status() == 200
        await client.send(GET[:10])
        assert b" 408 " in await client.ended()


async def test_a_slow_answer_of_ours_ends_nothing() -> None:
    async with listening(BRIEF_HEADERS) as port:
        client = await port.open(GET.replace(b"fast", b"slow"))
        other = await port.open()
        await other.ended()
        port.go.set()
        assert await client.status() == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc",
        b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
async def test_a_body_that_does_not_come_in_time_ends_the_connection_and_frees_who_reads_it(sent: bytes) -> None:
    async with listening(BRIEF_BODIES) as port:
        client = await port.open(sent)
        await client.ended()
        assert port.cut == ["/body"]


async def test_a_body_that_nobody_reads_is_no_way_to_stay() -> None:
    async with listening(BRIEF_BODIES) as port:
        client = await port.open(b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
        assert await client.status() == 401
        assert await client.ended() == b""


async def test_a_body_in_time_is_read_and_the_connection_goes_on() -> None:
    async with listening(BRIEF_BODIES) as port:
        client = await port.open(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab")
        await client.send(b"c")
        assert await client.status() == 200
        slow = await port.open(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab")
        await slow.ended()
        await client.send(GET)
        assert await client.status() == 200


@pytest.mark.parametrize(
    "more",
    [
        b"X-Long: " + b"a" * 1_000_000 + b"\r\n",
        b"".join(b"X-%d: a\r\n" % number for number in range(100_000)),
        b"a" * 1_000_000,
    ],
)
async def test_headers_are_bounded(more: bytes) -> None:
    async with listening(ListenLimits()) as port:
        client = await port.open()
        with contextlib.suppress(ConnectionError):
            await client.send(GET[:-2] + more + b"\r\n")
        assert (await client.ended())[:13] in (b"HTTP/1.1 400 ", b"")
        assert await (await port.open(GET)).status() == 200


async def test_an_upgrade_leads_past_none_of_it() -> None:
    async with listening(BRIEF_HEADERS) as port:
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        client = await port.open(GET[:-2] + upgrade + b"Sec-WebSocket-Key: YQ==\r\n\r\n")
        assert await client.status() == 200


async def test_beyond_the_limit_who_asks_nothing_makes_room() -> None:
    async with listening(FEW) as port:
        busy = await port.open(GET.replace(b"fast", b"slow"))
        await port.begun.acquire()
        silent = await port.open()
        used = await port.open(GET)
        assert await used.status() == 200
        newest = await port.open(GET)
        assert await newest.status() == 200
        assert await silent.ended() == b"", "the one that has asked nothing for the longest time"
        await used.send(GET)
        assert await used.status() == 200
        port.go.set()
        assert await busy.status() == 200


async def test_many_connections_that_say_nothing_keep_nobody_out() -> None:
    async with listening(FEW) as port:
        for _ in range(20):
            await port.open(b"GET /")
        assert await (await port.open(GET)).status() == 200


async def test_where_all_are_being_answered_the_new_one_is_turned_away() -> None:
    async with listening(FEW) as port:
        busy = [await port.open(GET.replace(b"fast", b"slow")) for _ in range(3)]
        for _ in busy:
            await port.begun.acquire()
        late = await port.open(GET)
        assert await late.status() == 0
        port.go.set()
        assert [await one.status() for one in busy] == [200, 200, 200]
        again = await port.open(GET)
        assert await again.status() == 200


async def test_a_handshake_that_does_not_come_in_time_ends_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HANDSHAKE_S", 0.2)
    one = Authority(tmp_path).issue("localhost")
    async with listening(ListenLimits(header_timeout_s=LONG), ServerTLS(one.cert, one.key)) as port:
        client = await port.open(b"\x16\x03\x01")
        assert await client.ended() == b""
