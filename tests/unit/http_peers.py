"""A server on loopback that answers as it is told, and requests to it as destinations make them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from receiver.config.model import HttpConfig, Secret
from receiver.errors import DestinationRefused, Transient, Unknown
from receiver.http import (
    build_client,
    raise_for_transport,
)

TLS_FILES = Path(__file__).parents[1] / "data/tls"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SECRET = "planted-secret"

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


@dataclass
class Peer:
    """A server that keeps the head of each request and answers as told."""

    answer: Callable[[Reader, Writer], Awaitable[None]] | bytes = OK
    heads: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def serve(self, reader: Reader, writer: Writer) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head.decode())
                if callable(self.answer):
                    await self.answer(reader, writer)
                    return
                writer.write(self.answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(peer: Peer, context: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=context)
    async with server:
        peer.port = server.sockets[0].getsockname()[1]
        yield peer


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with serving(Peer()) as one:
        yield one


def secret_file(tmp_path: Path, content: str = SECRET) -> Secret:
    file = tmp_path / "secret"
    file.write_text(content, encoding="utf-8")
    return Secret(file=file)


async def failure_of(url: str, http: HttpConfig | None = None, timeout_s: float = 5.0) -> Exception:
    """Ask, and return what a destination would raise."""
    async with build_client(http or HttpConfig(), timeout_s) as client:
        with pytest.raises((Transient, Unknown, DestinationRefused)) as raised:
            await post(client, url)
    return raised.value


async def post(client: httpx2.AsyncClient, url: str, pool_s: float = 5.0) -> None:
    try:
        await client.post(url, content=b"x" * 10, timeout=httpx2.Timeout(client.timeout.read, pool=pool_s))
    except httpx2.HTTPError as error:
        raise_for_transport(error)
