"""`POST /slack/interactive`: presses of buttons, as Slack sends them. Signed, fresh, answered at once."""

from __future__ import annotations

import json
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver.actions import Actions
from receiver.clock import Clock
from receiver.config.model import Config, SecretError
from receiver.destinations.slack_buttons import parse
from receiver.guard import Rule, declared
from receiver.ingest import Held, NoRoomError, Room
from receiver.slack_presses import Presses

log = structlog.get_logger(__name__)

MAX_BODY: Final = 1_048_576
"""Slack sends the whole message along: some ten thousand characters."""
ROOM: Final = 16 * MAX_BODY
"""Of bodies that are held at once before anybody knows who sent them."""


class Interactive(Protocol):
    """What is pressed at: `receiver.service.Service`."""

    config: Config
    clock: Clock
    actions: Actions | None
    presses: Presses


def routes(service: Interactive) -> list[Route]:
    """Return the address."""
    room = Room(ROOM)

    async def interactive(request: Request) -> Response:
        with room.entered() as held:
            return await _answer(request, service, held)

    return [Route("/slack/interactive", declared(Rule.SIGNED, interactive), methods=["POST"])]


async def _answer(request: Request, service: Interactive, held: Held) -> Response:
    secret = service.config.web.slack_signing_secret
    if secret is None:
        return _error(404, "nothing is taken from Slack here: web.slack_signing_secret_file is not set")
    try:
        raw = await _body(request, held)
    except NoRoomError:
        return _error(503, "not taken now: press again in a minute")
    except ClientDisconnect:
        return _error(400, "the connection ended within the body")
    if raw is None:
        return _error(413, f"more than {MAX_BODY} bytes")
    try:
        signed = _is_signed(raw, request, secret.read(), service.clock)
    except SecretError as error:
        log.error("slack.secret_unreadable", error=str(error))
        return _error(503, "the secret that guards this address cannot be read; see the log")
    if not signed:
        log.warning("slack.not_signed")
        return _error(401, "not signed by Slack within the last 5 minutes")
    press = parse(_payload(raw))
    if press is None:  # a link button, or nothing of ours: Slack only wants to hear that it came
        return Response(status_code=200)
    if service.actions is None or not service.presses.offer(press):
        return _error(503, "not taken now: press again in a minute")
    return Response(status_code=200)


class _Now:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.now().timestamp()


async def _body(request: Request, held: Held) -> bytes | None:
    """Return the body; None where it is too long."""
    parts: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY:
            return None
        held.add(len(chunk))
        parts.append(chunk)
    return b"".join(parts)


def _is_signed(raw: bytes, request: Request, secret: str, clock: Clock) -> bool:
    from slack_sdk.signature import SignatureVerifier  # the whole SDK comes with it, which only presses need

    headers = request.headers
    verifier = SignatureVerifier(secret, _Now(clock))  # type: ignore[arg-type]  # it asks for nothing but `now`
    try:
        return verifier.is_valid(raw, headers.get("x-slack-request-timestamp"), headers.get("x-slack-signature"))
    except (ValueError, TypeError, OverflowError):  # a time that is none, a body or signature that is no text
        return False


def _payload(raw: bytes) -> Any:
    """Return what the form field `payload` holds; None where there is none."""
    try:
        fields = parse_qs(raw.decode(), max_num_fields=20)
        return json.loads(fields["payload"][0])
    except (KeyError, ValueError, RecursionError):
        return None


def _error(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status_code=status)
