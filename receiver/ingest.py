"""The webhook: parse, authenticate, commit, answer. A 200 means that everything usable is on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from receiver.clock import Clock
from receiver.config.model import Auth, Config, SecretError
from receiver.guard import challenge, is_allowed
from receiver.metrics import Metrics
from receiver.store import inbox
from receiver.store.audit import Kind, Note
from receiver.store.engine import MAX_WAITING, Store, StoreBusyError
from receiver.store.grouping import Grouped
from receiver.store.inbox import NewEntry, Taken
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
        self._intake: tuple[Store, Grouped[Taken, None]] | None = None
        self._room = Room(max(LEAST_ROOM, BODIES_IN_ROOM * service.config.web.max_body_bytes))

    async def __call__(self, request: Request) -> Response:
        """Answer one request; never a redirect, and 5xx only where Alertmanager should try again soon."""
        response = await self._answer(request)
        self._metrics.webhooks.labels(str(response.status_code)).inc()
        return response

    async def _answer(self, request: Request) -> Response:
        if request.method != "POST":
            return _error(405, "send Alertmanager's webhook with POST", {"Allow": "POST"})
        source = clean(request.path_params.get("alertmanager", ""))
        try:
            auth = self._auth(source)
            if not is_allowed(request.headers.get("authorization", ""), auth):
                log.warning("webhook.not_signed_in", alertmanager=source)
                return _error(401, "not signed in: use one of webhook_auth's secrets", challenge(auth))
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
            return await self._take(source, raw)

    def _auth(self, source: str) -> Auth:
        """Return who may post under this name: an Alertmanager's own secrets take the place of those for all."""
        config = self._service.config
        own = next((one.webhook_auth for one in config.alertmanagers if one.name == source), Auth())
        return config.web.webhook_auth if own.open else own

    async def _take(self, source: str, raw: bytes) -> Response:
        try:
            body = parse_body(raw, self._service.clock.now())
            kept = inbox.new_entries(source, body.alerts)
        except UnusableBodyError as error:
            return _error(400, str(error))
        except Exception as error:  # our own bug must not cost an alert: keep the body, tell it as it came
            self._metrics.bugs.labels("web").inc()
            log.exception("webhook.bug")
            text = clean(raw.decode("utf-8", errors="replace"))
            return await self._commit([NewEntry(source, "raw", text, f"{type(error).__name__}: {error}")], Body((), ()))
        return await self._commit(kept, body, self._note(source, body))

    def _into(self, store: Store) -> Grouped[Taken, None]:
        """Return what commits bodies: those that come while the disk is busy share one statement and one fsync."""
        if self._intake is None or self._intake[0] is not store:
            self._intake = store, Grouped(store.offer, inbox.take_all, MAX_WAITING)
        return self._intake[1]

    def _note(self, source: str, body: Body) -> Note | None:
        """Return what the report of shadow mode has to know of a webhook; nothing where nobody is in shadow."""
        if not self._service.config.shadowed:
            return None
        facts = {
            "alertmanager": source,
            "receiver": body.receiver,
            "status": body.status,
            "alerts": len(body.alerts),
            "fingerprints": [one.fingerprint for one in body.alerts],
        }
        return Note(Kind.RECEIVED, "", facts)

    async def _commit(self, kept: Sequence[NewEntry], body: Body, note: Note | None = None) -> Response:
        store = self._service.store
        if store is None:
            return _error(503, f"cannot be stored now: {self._service.why_not_ready}", {"Retry-After": "5"})
        store.webhook_came()
        try:
            await self._into(store)(Taken(kept, note))
        except StoreBusyError as error:
            return _error(503, f"cannot be stored now: {error}", {"Retry-After": "5"})
        except Exception as error:
            log.exception("webhook.not_stored")
            return _error(503, f"cannot be stored: {type(error).__name__}", {"Retry-After": "5"})
        self._metrics.alerts.inc(len(body.alerts))
        self._metrics.heard_webhook(self._service.clock.now().timestamp())
        for one in body.rejected:
            self._metrics.rejected.labels(one.reason).inc()
        if body.rejected:
            log.warning("webhook.rejected", alerts=len(body.rejected), first=body.rejected[0].detail)
        if kept:
            self._service.accepted()
        rejected = [{"index": one.index, "reason": one.detail} for one in body.rejected]
        return JSONResponse({"accepted": len(kept), "rejected": rejected})


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


def _error(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": text}, status_code=status, headers=headers)
