"""One connection of a client, and how much of us it may take: uvicorn bounds neither a slow request nor their number.

- A request's headers must be there within `header_timeout`, counted from the connection's begin or the request's first
  byte; its body within `body_timeout` from then. An idle connection is closed after `idle_timeout_s` (uvicorn).
- Headers may hold `max_header_bytes`, or one read of 256 KiB (h11); uvicorn reads 64 KiB of a body ahead.
- Of more than `max_connections` connections the one that has asked nothing for the longest time is closed, or the new
  one where all are being answered. So whoever opens many keeps nobody out.
"""

from __future__ import annotations

import asyncio
import socket
import time
from functools import partial
from typing import Any, Final, cast

import h11
import structlog
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

from receiver.config.listening import ListenLimits
from receiver.config.model import Web
from receiver.tls import Certificates

log = structlog.get_logger(__name__)

ENDLESS: Final = "mtv_receiver.endless"
"""In the scope of a request: its answer goes on until somebody ends it. When we stop, we do."""
HANDSHAKE_S: Final = 10.0
"""How long a TLS handshake may take."""
TOO_SLOW: Final = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nContent-Length: 48\r\nConnection: close\r\n\r\n"
    b'{"error": "the request took too long to arrive"}'
)


class Connection(H11Protocol):
    """uvicorn's connection with limits. See the module's docstring."""

    limits = ListenLimits()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._awaited = ""
        self._since = time.monotonic()

    # --- how many ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            others = [one for one in self.connections if isinstance(one, Connection) and one is not self]
            asking_nothing = [one for one in others if one.is_idle]
            gone = min(asking_nothing, key=lambda one: one._since, default=self)
            log.warning("web.too_many_connections", limit=self.limits.max_connections, closed_new=gone is self)
            self.connections.discard(gone)
            gone.transport.abort()
            if gone is self:
                return
        self._await("headers")

    @property
    def is_idle(self) -> bool:
        """Is no request of it being answered?"""
        return self.cycle is None or self.cycle.response_complete

    # --- how slowly ---

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._judge()

    def on_response_complete(self) -> None:
        self._since = time.monotonic()
        super().on_response_complete()
        self._judge()

    def shutdown(self) -> None:
        super().shutdown()
        if not self.is_idle and self.cycle.scope.get(ENDLESS):
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._await("")
        super().connection_lost(exc)

    def _judge(self) -> None:
        """Say what is to come in time now."""
        if self.transport.is_closing():
            self._await("")
        elif self.conn.their_state is h11.SEND_BODY:
            self._await("body")
        elif self.conn.their_state is h11.IDLE and (self.conn.trailing_data[0] or self.cycle is None):
            self._await("headers")
        else:
            self._await("")

    def _await(self, what: str) -> None:
        """Begin a time, or let the one that runs run on; empty: nothing is awaited."""
        if what == self._awaited:
            return
        self._awaited = what
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if what:
            seconds = self.limits.header_timeout_s if what == "headers" else self.limits.body_timeout_s
            self._deadline = self.loop.call_later(seconds, self._too_slow)

    def _too_slow(self) -> None:
        log.warning("web.too_slow", awaited=self._awaited, client=self.client[0] if self.client else "")
        if self._awaited == "headers" and not self.transport.is_closing():
            self.transport.write(TOO_SLOW)
        self.transport.close()


def limited(limits: ListenLimits) -> type[asyncio.Protocol]:
    """Return the class of connections with these limits, for uvicorn."""
    return cast(type[asyncio.Protocol], type("LimitedConnection", (Connection,), {"limits": limits}))


class HandshakesInTime:
    """A mixin for uvicorn's server: its listeners give a TLS handshake HANDSHAKE_S."""

    config: Config

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        before = loop.create_server
        if self.config.is_ssl:
            loop.create_server = partial(before, ssl_handshake_timeout=HANDSHAKE_S)  # type: ignore[method-assign]
        try:
            await super().startup(sockets)  # type: ignore[misc]
        finally:
            loop.create_server = before  # type: ignore[method-assign]


def configured(app: Any, web: Web, **options: Any) -> Config:
    """Return uvicorn's configuration for our port, wherever it listens. Raises CertificateError."""
    limits = web.limits
    if web.tls is not None:
        context = Certificates(web.tls).context
        options["ssl_context_factory"] = lambda _config, _default: context
    return Config(
        app,
        http=limited(limits),
        ws="none",
        h11_max_incomplete_event_size=limits.max_header_bytes,
        timeout_keep_alive=int(limits.idle_timeout_s),
        proxy_headers=False,  # the address that `trusted_proxies` are compared with is the connection's own
        log_config=None,
        access_log=False,
        server_header=False,
        **options,
    )
