"""Socket Mode: presses come through a WebSocket that we open, for clusters that nobody reaches from outside.

    apps.connections.open ─► wss://… ─► hello · envelopes, each acknowledged · disconnect ─► the next connection

Slack replaces a connection every few hours: the next one stands before the old one is let go.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx2
import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from receiver.clock import Clock
from receiver.config.model import DestinationConfig, Secret
from receiver.destinations.slack_api import SlackApi, belongs
from receiver.destinations.slack_buttons import Press, parse
from receiver.errors import DeliveryError, DestinationRefused, Transient
from receiver.http import build_client, way_to

log = structlog.get_logger(__name__)

AGAIN_MIN_S = 1.0
AGAIN_MAX_S = 60.0
REFUSED_AGAIN_S = 60.0
"""A token that is refused, or Socket Mode switched off: a person has to do something."""
LINGER_S = 30.0
"""How long a replaced connection is still read."""
TIMEOUT_S = 10.0
MAX_MESSAGE = 4_194_304


@dataclass(frozen=True, slots=True)
class Line:
    """One app's way in: however many channels use it, it is one connection."""

    token: Secret
    app_url: str
    config: DestinationConfig
    """The first destination with this token: its way through proxies is used."""


def lines(destinations: Iterable[DestinationConfig]) -> list[Line]:
    """Return one line per app token: none for shadow mode, which would take presses away from whoever is live."""
    found: dict[tuple[str, str], Line] = {}
    for one in destinations:
        token = getattr(one.settings, "socket_token", None)
        if isinstance(token, Secret) and not one.shadow:
            found.setdefault((token.place, one.settings.app_url), Line(token, one.settings.app_url, one))
    return list(found.values())


class _Closed(Exception):
    """A connection could not be opened; says how long to wait at least."""

    def __init__(self, why: str, wait_s: float = 0.0) -> None:
        super().__init__(why)
        self.wait_s = wait_s


class SlackSocket:
    """Keeps one connection open."""

    def __init__(
        self,
        line: Line,
        take: Callable[[Press], bool],
        clock: Clock,
        jitter: Callable[[], float],
        on_state: Callable[[bool], None] = lambda connected: None,
    ) -> None:
        """`on_state` is told whether Slack said hello on the newest connection and it still stands."""
        self._line = line
        self._take = take
        self._clock = clock
        self._jitter = jitter
        self._on_state = on_state

    async def run(self) -> None:
        """Stay connected, for ever."""
        http = build_client(self._line.config.http, TIMEOUT_S, max_connections=2)
        api = SlackApi(http, self._line.app_url, self._line.token)
        failures, said = 0, ""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    try:
                        connection = await self._open(api)
                    except _Closed as closed:
                        if str(closed) != said:  # once, not with every try
                            log.warning("slack.socket_not_open", token=self._line.token.place, error=str(closed))
                        said = str(closed)
                        failures += 1
                        await self._clock.sleep(max(closed.wait_s, self._back_off_s(failures)))
                        continue
                    over, greeted = asyncio.Event(), asyncio.Event()
                    group.create_task(self._read(connection, over, greeted))
                    await over.wait()
                    self._on_state(False)
                    failures = 0 if greeted.is_set() else failures + 1
                    said = "" if greeted.is_set() else said
                    if failures:
                        await self._clock.sleep(self._back_off_s(failures))
        finally:
            self._on_state(False)
            await http.aclose()

    def _back_off_s(self, failures: int) -> float:
        most_s = min(AGAIN_MAX_S, AGAIN_MIN_S * 2.0 ** min(failures, 10))
        return AGAIN_MIN_S + (most_s - AGAIN_MIN_S) * self._jitter()

    async def _open(self, api: SlackApi) -> ClientConnection:
        """Raise _Closed, whose text never holds the address: whoever has it, has the connection."""
        try:
            url = str((await api.call("apps.connections.open", {}, form=True)).get("url", ""))
            scheme, separator, rest = url.partition("://")
            web = {"wss": "https", "ws": "http"}.get(scheme, "") + separator + rest
            if not belongs(web, self._line.app_url):
                raise _Closed("apps.connections.open: the answer names no address of Slack's", REFUSED_AGAIN_S)
            proxy, certificates = way_to(self._line.config.http, web)
            return await _Connect(
                url,
                proxy=proxy,
                ssl=certificates if scheme == "wss" else None,
                open_timeout=TIMEOUT_S,
                close_timeout=1.0,
                max_size=MAX_MESSAGE,
            )
        except Transient as error:
            raise _Closed(error.reason, error.retry_after_s or 0.0) from None
        except DestinationRefused as error:
            raise _Closed(error.reason, REFUSED_AGAIN_S) from None
        except DeliveryError as error:
            raise _Closed(error.reason) from None
        except InvalidStatus as error:
            raise _Closed(f"WebSocket refused: HTTP {error.response.status_code}") from None
        except (OSError, WebSocketException, TimeoutError, httpx2.InvalidURL, ValueError) as error:
            raise _Closed(f"no WebSocket: {type(error).__name__}") from None

    async def _read(self, connection: ClientConnection, over: asyncio.Event, greeted: asyncio.Event) -> None:
        """Read one connection to its end; `over` is set as soon as the next one is needed."""
        try:
            async with connection, _good_bye(connection):
                async for text in connection:
                    message = _json(text)
                    if message.get("type") == "disconnect":
                        break
                    if message.get("type") == "hello":
                        greeted.set()
                        self._on_state(True)
                        log.info("slack.socket_open", token=self._line.token.place)
                    await self._envelope(connection, message)
                else:
                    return
                log.info("slack.socket_replaced", reason=str(message.get("reason"))[:80])
                if message.get("reason") == "link_disabled":  # switched off in the app's settings: no hurry
                    greeted.clear()
                    return
                over.set()
                async with asyncio.timeout(LINGER_S):
                    async for text in connection:
                        await self._envelope(connection, _json(text))
        except (WebSocketException, OSError, TimeoutError) as error:
            log.info("slack.socket_lost", error=type(error).__name__)
        except Exception:  # a bug of ours costs a connection, not the service
            log.exception("slack.socket_failed")
        finally:
            over.set()

    async def _envelope(self, connection: ClientConnection, message: Mapping[str, Any]) -> None:
        envelope = message.get("envelope_id")
        if not isinstance(envelope, str):
            return
        press = parse(message.get("payload")) if message.get("type") == "interactive" else None
        # Without an acknowledgement Slack tells the person that it did not work, and that is so.
        if press is None or self._take(press):
            await connection.send(json.dumps({"envelope_id": envelope}))


class _Connect(connect):
    """A connection to the address that Slack named, and to no other."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Follow no redirect."""
        return exc


@asynccontextmanager
async def _good_bye(connection: ClientConnection) -> AsyncIterator[None]:
    """Let a stop of ours be a normal end to Slack; the library would call it an error."""
    try:
        yield
    except asyncio.CancelledError:
        await connection.close()
        raise


def _json(text: str | bytes) -> Mapping[str, Any]:
    with suppress(ValueError, RecursionError):
        found = json.loads(text)
        if isinstance(found, dict):
            return found
    return {}
