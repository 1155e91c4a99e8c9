"""The webhook: parse, authenticate, commit, answer. A 200 means that everything usable is on disk."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from receiver.clock import Clock
from receiver.config.model import Auth, Config, SecretError
from receiver.metrics import Metrics
from receiver.store import inbox
from receiver.store.engine import Store, StoreBusyError
from receiver.wire import Body, UnusableBodyError, clean, parse_body

log = structlog.get_logger(__name__)


LEAST_ROOM: Final = 64 * 1024 * 1024
BODIES_IN_ROOM: Final = 4
"""Bodies of the largest size that are taken at once, however large that size is."""


class BodyTooLargeError(Exception):
    """More bytes than `max_body_bytes`."""


class NoRoomError(Exception):
    """The bodies that are being taken hold all the memory that they may."""


class Room:
    """Bytes of bodies held at once, from a body's first byte until it is committed or refused.

    Counted as they come: a client that announces much and sends nothing takes nothing from others.
    """

    def __init__(self, size: int) -> None:
        self.free = size

    @contextmanager
    def entered(self) -> Iterator[Held]:
        """Hold bytes until the end of the block."""
        held = Held(self)
        try:
            yield held
        finally:
            self.free += held.size


class Held:
    """What one request holds of the room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.size = 0

    def expect(self, size: int) -> None:
        """Raise NoRoomError where so many bytes have no chance now."""
        if size > self._room.free:
            raise NoRoomError

    def add(self, size: int) -> None:
        """Hold so many bytes more, or raise NoRoomError."""
        self.expect(size)
        self._room.free -= size
        self.size += size


class Keeper(Protocol):
    """What keeps webhooks: `receiver.service.Service`."""

    config: Config
    clock: Clock
    store: Store | None
    why_not_ready: str

    def accepted(self) -> None: ...


class Webhook:
    """`POST /webhook` and `POST /webhook/{alertmanager}`."""

    def __init__(self, service: Keeper, metrics: Metrics) -> None:
        self._service = service
        self._metrics = metrics
        self._room = Room(max(LEAST_ROOM, BODIES_IN_ROOM * service.config.web.max_body_bytes))

    async def __call__(self, request: Request) -> Response:
        """Answer one request; never a redirect, and 5xx only where Alertmanager should try again soon."""
        response = await self._answer(request)
        self._metrics.webhooks.labels(str(response.status_code)).inc()
        return response

    async def _answer(self, request: Request) -> Response:
        if request.method != "POST":
            return _error(405, "send Alertmanager's webhook with POST", {"Allow": "POST"})
        try:
            if not is_allowed(request.headers.get("authorization", ""), self._service.config.web.webhook_auth):
                return _error(401, "not signed in: use one of webhook_auth's tokens", {"WWW-Authenticate": "Bearer"})
        except SecretError as error:
            log.error("webhook.secret_unreadable", error=str(error))
            return _error(503, "the secret that guards this address cannot be read; see the log")
        limit = self._service.config.web.max_body_bytes
        with self._room.entered() as held:
            try:
                raw = await _read(request, limit, held)
            except BodyTooLargeError:
                log.error("webhook.too_large", limit=limit)
                return _error(413, f"more than web.max_body_bytes ({limit}) bytes")
            except NoRoomError:
                log.warning("webhook.no_room")
                return _error(503, "too many large bodies at once: send it again", {"Retry-After": "5"})
            except ClientDisconnect:
                return _error(400, "the connection ended within the body")
            return await self._take(clean(request.path_params.get("alertmanager", "")), raw)

    async def _take(self, source: str, raw: bytes) -> Response:
        try:
            body = parse_body(raw, self._service.clock.now())
        except UnusableBodyError as error:
            return _error(400, str(error))
        except Exception as error:  # our own bug must not cost an alert: keep the body, tell it as it came
            self._metrics.bugs.labels("web").inc()
            log.exception("webhook.bug")
            return await self._commit(source, Body((), ()), raw, f"{type(error).__name__}: {error}")
        return await self._commit(source, body, None, "")

    async def _commit(self, source: str, body: Body, raw: bytes | None, bug: str) -> Response:
        async def write(conn: Any) -> None:
            if raw is not None:
                await inbox.add_raw(conn, source, clean(raw.decode("utf-8", errors="replace")), bug)
            await inbox.add(conn, source, body.alerts)

        store = self._service.store
        if store is None:
            return _error(503, f"cannot be stored now: {self._service.why_not_ready}", {"Retry-After": "5"})
        try:
            await store.offer(write)
        except StoreBusyError as error:
            return _error(503, f"cannot be stored now: {error}", {"Retry-After": "5"})
        except Exception as error:
            log.exception("webhook.not_stored")
            return _error(503, f"cannot be stored: {type(error).__name__}", {"Retry-After": "5"})
        self._metrics.alerts.inc(len(body.alerts))
        for one in body.rejected:
            self._metrics.rejected.labels(one.reason).inc()
        if body.rejected:
            log.warning("webhook.rejected", alerts=len(body.rejected), first=body.rejected[0].detail)
        if body.alerts or raw is not None:
            self._service.accepted()
        rejected = [{"index": one.index, "reason": one.detail} for one in body.rejected]
        return JSONResponse({"accepted": len(body.alerts) + (raw is not None), "rejected": rejected})


async def _read(request: Request, limit: int, held: Held) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise BodyTooLargeError
    held.expect(int(declared) if declared.isdigit() else 0)
    parts: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise BodyTooLargeError
        held.add(len(chunk))
        parts.append(chunk)
    return b"".join(parts)


def is_allowed(authorization: str, auth: Auth) -> bool:
    """Does this header open the door? Compared in constant time. Raises SecretError when no secret can be read."""
    if auth.open:
        return True
    scheme, _, value = authorization.partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer":
        equal = [hmac.compare_digest(value.encode(), secret.read().encode()) for secret in auth.bearer]
        return any(equal)
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return False
        equal = [hmac.compare_digest(given, f"{user}:{secret.read()}".encode()) for user, secret in auth.basic]
        return any(equal)
    return False


def _error(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": text}, status_code=status, headers=headers)
