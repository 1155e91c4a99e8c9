"""A small HTTP/1.1 server on a socket of its own, able to do what no framework does: break off on purpose."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import h11

from tests.fakes.faults import Reply

READ_BYTES = 65_536
NO_BODY = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class RawRequest:
    """One request as it came from the socket, its body complete."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


Ending = Reply | Literal["cut", "reset"]
Handler = Callable[[RawRequest, Callable[[], Awaitable[None]]], Awaitable[Ending]]
"""Gets the request and a function that waits until the client has gone; says how the exchange ends."""


class Front:
    """Listens on 127.0.0.1 and hands every request to `handler`. `errors` holds what the handler raised."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.errors: list[Exception] = []

    async def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the listening socket and every connection; a new client is refused."""
        if self._server is None:
            return
        self._server.close()
        await asyncio.sleep(0)  # whoever was accepted just now is among the connections then
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        try:
            await self._converse(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()  # stop() wants the client to see it now
        except (OSError, h11.RemoteProtocolError):
            pass  # the client went away or spoke nonsense: nothing to answer
        except Exception as error:
            self.errors.append(error)
        finally:
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)

        async def client_gone() -> None:
            while await reader.read(READ_BYTES):
                pass

        while (request := await _read(connection, reader)) is not None:
            ending = await self._handler(request, client_gone)
            if ending == "reset":
                linger_none = struct.pack("ii", 1, 0)  # closing with linger 0 sends RST instead of FIN
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_none)
                writer.transport.abort()
                return
            if ending == "cut":
                return
            writer.write(_encode(connection, ending))
            await writer.drain()
            if connection.our_state is h11.MUST_CLOSE:
                return
            connection.start_next_cycle()


async def _read(connection: h11.Connection, reader: asyncio.StreamReader) -> RawRequest | None:
    """Return the next request, None when the client closed the connection."""
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(READ_BYTES))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            headers = tuple((name.decode(), value.decode("latin-1")) for name, value in head.headers)
            return RawRequest(head.method.decode(), head.target.decode(), headers, bytes(body))
        else:
            return None


def _encode(connection: h11.Connection, reply: Reply) -> bytes:
    skipped = {"content-length", "transfer-encoding", "connection"}
    headers = [(name, value) for name, value in reply.headers.items() if name.lower() not in skipped]
    body = b"" if reply.status in NO_BODY else reply.body
    if reply.status not in NO_BODY:
        headers.append(("content-length", str(len(body))))
    sent = connection.send(h11.Response(status_code=reply.status, headers=headers)) or b""
    if body:
        sent += connection.send(h11.Data(data=body)) or b""
    return sent + (connection.send(h11.EndOfMessage()) or b"")
