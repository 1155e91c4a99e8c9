"""`POST /pagerduty/webhook`: PagerDuty (v3 webhooks) says who acknowledged or resolved an incident of ours."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import timedelta
from typing import Protocol

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver.clock import Clock
from receiver.config.model import Config, SecretError
from receiver.destinations.pagerduty_incidents import of_webhook
from receiver.guard import Rule, declared
from receiver.hearing import BusyError, Hearing
from receiver.ingest import Held, NoRoomError, Room
from receiver.store.engine import StoreBusyError

log = structlog.get_logger(__name__)

MAX_BYTES = 512 * 1024
"""PagerDuty drops what is over 256 KB (Webhooks v3, "Payload size")."""
MAX_AGE = timedelta(hours=49)
"""PagerDuty tries for 48 hours; what is older was kept by somebody else."""
ROOM = 32 * MAX_BYTES
"""Of bodies that are held at once before anybody knows who sent them."""
HEADER = "x-pagerduty-signature"
MAX_SIGNATURES = 10


class Listening(Protocol):
    """What listens: `receiver.service.Service`."""

    config: Config
    clock: Clock
    hearing: Hearing | None


def routes(service: Listening) -> list[Route]:
    """Return the address. PagerDuty repeats after 429 and 5xx, and gives up after any other answer but 2xx."""
    room = Room(ROOM)

    async def hear(request: Request) -> Response:
        with room.entered() as held:
            return await heard_in(request, held)

    async def heard_in(request: Request, held: Held) -> Response:
        secret = service.config.web.pagerduty_signing_secret
        if secret is None:
            return _error(404, "set web.pagerduty_signing_secret_file to hear from PagerDuty")
        raw = b""
        try:
            async for chunk in request.stream():
                held.add(len(chunk))
                raw += chunk
                if len(raw) > MAX_BYTES:
                    return _error(413, f"more than {MAX_BYTES} bytes")
        except NoRoomError:
            return _error(503, "busy; send it again")
        except ClientDisconnect:
            return _error(400, "the connection ended within the body")
        try:
            key = secret.read()
        except SecretError as error:
            log.error("pagerduty.secret_unreadable", error=str(error))
            return _error(503, "the secret that signatures are checked with cannot be read; see the log")
        if not is_signed(raw, request.headers.get(HEADER, ""), key):
            log.warning("pagerduty.not_signed")
            return _error(401, "no signature is right: is this the secret of that webhook subscription?")
        return await _take(service, raw)

    return [Route("/pagerduty/webhook", declared(Rule.SIGNED, hear), methods=["POST"])]


def is_signed(raw: bytes, header: str, secret: str) -> bool:
    """Is one of the signatures ours? While a secret rotates there are several. Compared in constant time."""
    expected = "v1=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    given = [each.strip() for each in header.split(",")[:MAX_SIGNATURES]]
    equal = [hmac.compare_digest(each.encode("utf-8", "replace"), expected.encode()) for each in given]
    return any(equal)


async def _take(service: Listening, raw: bytes) -> Response:
    try:
        heard = of_webhook(json.loads(raw))
    except (ValueError, RecursionError):
        return _error(400, "the body is no JSON")
    if heard is None:
        return JSONResponse({"taken": False})  # a ping, another event, another tool's incident
    if service.clock.now() - heard.at > MAX_AGE:
        log.warning("pagerduty.too_old", key=heard.key, at=heard.at.isoformat())
        return JSONResponse({"taken": False})
    hearing = service.hearing
    if hearing is None:
        return _error(503, "not ready")
    try:
        return JSONResponse({"taken": await hearing.take(heard)})
    except (BusyError, StoreBusyError):
        return _error(503, "busy; send it again")


def _error(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status_code=status)
