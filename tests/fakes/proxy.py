"""A CONNECT proxy that alone knows where names lead to, and TLS in front of what speaks without.

`Behind` is both for a whole run of tests: it moves a configuration that names loopback fakes behind them.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.fakes.authority import Authority

HEAD_MAX = 16_384
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Proxy:
    """Tunnels to the loopback ports of `hosts`, and nowhere else: names that no resolver knows prove who was asked."""

    hosts: Mapping[str, int]
    connects: list[str] = field(default_factory=list)
    """`host:port` of every CONNECT."""
    refuses: bool = False
    """Answer every CONNECT with 403."""
    others: list[str] = field(default_factory=list)
    """First lines of requests that were no CONNECT."""
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        """Listen on a free port until the end of the block."""
        async with _listening(self._serve) as self.port:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        if method != "CONNECT":
            self.others.append(f"{method} {target}")
            writer.write(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            return
        self.connects.append(target)
        port = self.hosts.get(target.rpartition(":")[0])
        if self.refuses or port is None:
            status = "403 Forbidden" if self.refuses else "502 Bad Gateway"
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await _join(reader, writer, port)


@contextlib.asynccontextmanager
async def tls_before(port: int, context: ssl.SSLContext) -> AsyncIterator[int]:
    """Speak TLS on a free port, which is given, and pass everything on to `port` without."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _join(reader, writer, port)

    async with _listening(serve, context) as own:
        yield own


@contextlib.asynccontextmanager
async def _listening(serve: Serve, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    open_now: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_now[task := asyncio.create_task(converse(reader, writer))] = writer
        task.add_done_callback(closed)

    def closed(task: asyncio.Task[None]) -> None:
        open_now.pop(task).close()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await serve(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context, limit=HEAD_MAX)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(open_now):
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Connect to a port and carry bytes both ways until one side ends it."""
    await _carry(reader, writer, *await asyncio.open_connection("127.0.0.1", port))


async def _carry(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
) -> None:
    """Carry bytes both ways until one side ends it; what the far side resets is reset here too."""
    pumps = [asyncio.create_task(_pump(far_reader, writer)), asyncio.create_task(_pump(reader, far_writer))]
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        if isinstance(far_reader.exception(), ConnectionResetError) and not writer.is_closing():
            linger_none = struct.pack("ii", 1, 0)  # closing with linger 0 sends RST instead of FIN
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_none)
            writer.transport.abort()
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        far_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


# --- a whole run of tests -------------------------------------------------------------------------------------------

DOMAIN = "fakes.test"
"""Reserved by RFC 6761: no resolver knows it."""
_FAKE = re.compile(r"(http|ws)://127\.0\.0\.1:(\d+)")
_MOVED = re.compile(rf"[a-z.-]+\.{re.escape(DOMAIN)}:(\d+)")


class Behind:
    """Every loopback port as `https://KIND.fakes.test:PORT`, with a certificate of a private authority.

    The proxy opens the TLS of its tunnels itself, so that a port that refuses is refused to the one who asks for the
    tunnel. It runs in a thread of its own: fakes and services of any loop, and other processes, talk through it.
    """

    def __init__(self, folder: Path) -> None:
        authority = Authority(folder)
        self.ca_file = authority.ca_file
        self._context = authority.issue(f"*.{DOMAIN}", f"*.vendors.{DOMAIN}").server_context()
        self.url = ""
        self.tunnels: list[str] = []
        """`host:port` of every CONNECT."""
        self._moved: set[int] = set()
        self._own: set[int] = set()
        self._accepted: list[tuple[int, int]] = []

    # -- what is told to others

    def moved(self, text: str, kind: str = "peer") -> str:
        """Return a text in which every URL of a loopback port is one behind the proxy."""

        def instead(found: re.Match[str]) -> str:
            self._moved.add(int(found[2]))
            return f"{found[1]}s://{kind}.{DOMAIN}:{found[2]}"

        return _FAKE.sub(instead, text)

    def move_file(self, file: Path, kind: str = "peer") -> None:
        """Do the same to what a file holds; one that is not there stays so."""
        if file.is_file():
            file.write_text(self.moved(file.read_text(), kind))

    def move_config(self, file: Path) -> None:
        """Let every destination, Alertmanager and cluster of a routes.yaml be reached through the proxy only."""
        config = yaml.safe_load(file.read_text())
        for kind, entry in _peers(config):
            for key, value in entry.items():
                entry[key] = _each_text(value, lambda text, kind=kind: self.moved(text, kind))  # type: ignore[misc]
                if key.endswith("url_file") or key == "kubeconfig_file":
                    self.move_file(file.parent / value, kind)
            given = entry.get("http_config") or {}
            tls = {"ca_file": str(self.ca_file), **given.get("tls_config", {})}
            entry["http_config"] = {"proxy_url": self.url, **given, "tls_config": tls}
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, default_flow_style=None, width=10_000)
        left = text.replace(self.url, "")
        assert not _FAKE.search(left), f"this leads past the proxy:\n{left}"
        file.write_text(text)

    # -- who came

    def beside(self) -> list[int]:
        """Return the ports among those moved to which somebody connected without the proxy."""
        return [port for port, peer in self._accepted if port in self._moved and peer not in self._own]

    def forget(self) -> None:
        """Begin anew: ports and connections of one test say nothing about the next."""
        self.tunnels.clear()
        self._moved.clear()
        self._accepted.clear()
        self._own.clear()

    def accepted(self, port: int, peer: int) -> None:
        """Note a connection to a port of this process."""
        self._accepted.append((port, peer))

    # -- running

    @contextlib.contextmanager
    def running(self) -> Iterator[Behind]:
        """Listen, in a thread, until the end of the block."""
        ready = threading.Event()
        end: list[Callable[[], object]] = []

        async def listen() -> None:
            ended = asyncio.Event()
            loop = asyncio.get_running_loop()
            end.append(lambda: loop.call_soon_threadsafe(ended.set))
            async with _listening(self._serve) as port:
                self.url = f"http://127.0.0.1:{port}"
                ready.set()
                await ended.wait()

        thread = threading.Thread(target=lambda: asyncio.run(listen()), name="proxy", daemon=True)
        thread.start()
        assert ready.wait(10), "the proxy does not start"
        try:
            yield self
        finally:
            end[0]()
            thread.join(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        self.tunnels.append(target)
        found = _MOVED.fullmatch(target) if method == "CONNECT" else None
        try:
            far = await self._dial(int(found[1])) if found else None
        except OSError:
            far = None
        if far is None:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await writer.start_tls(self._context)
        except BaseException:
            far[1].close()
            raise
        await _carry(reader, writer, *far)

    async def _dial(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect from a port that is noted as ours before anybody can see a connection from it."""
        ours = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            ours.setblocking(False)
            ours.bind(("127.0.0.1", 0))
            self._own.add(ours.getsockname()[1])
            await asyncio.get_running_loop().sock_connect(ours, ("127.0.0.1", port))
            return await asyncio.open_connection(sock=ours)
        except BaseException:
            ours.close()
            raise


BEHIND: Behind | None = None
"""What every configuration and kubeconfig is moved behind now (`pytest --through-proxy`)."""


def _peers(config: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give every entry that takes `http_config`, and a word for what it is."""
    for section, kind in (("alertmanagers", "alertmanager"), ("clusters", "api")):
        for entry in config.get(section) or ():
            yield kind, entry
    for receiver in config.get("receivers") or ():
        for section, entries in receiver.items():
            if section.endswith("_configs") and section != "email_configs":  # SMTP knows no proxy
                for entry in entries:
                    yield section.removesuffix("_configs").replace("_", "-"), entry


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    match value:
        case str():
            return change(value)
        case list():
            return [_each_text(one, change) for one in value]
        case dict():
            return {key: _each_text(one, change) for key, one in value.items()}
    return value
