"""The webhook: parse, authenticate, commit, answer. A 200 means that everything usable is on disk."""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Any, Protocol

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


class BodyTooLargeError(Exception):
    """More bytes than `max_body_bytes`."""


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
        try:
            raw = await _read(request, self._service.config.web.max_body_bytes)
        except BodyTooLargeError:
            log.error("webhook.too_large", limit=self._service.config.web.max_body_bytes)
            return _error(413, f"more than web.max_body_bytes ({self._service.config.web.max_body_bytes}) bytes")
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


async def _read(request: Request, limit: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise BodyTooLargeError
    parts: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise BodyTooLargeError
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
