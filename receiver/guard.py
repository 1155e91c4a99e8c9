"""Who may call an address. Every route declares one rule; a test walks the routes and asks."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, Protocol, TypeVar

import structlog
from prometheus_client import Counter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from receiver.config.listening import ProxyHeader
from receiver.config.model import Auth, Config, Secret, SecretError

log = structlog.get_logger(__name__)

MAX_NAME: Final = 80
Endpoint = Callable[[Request], Awaitable[Response]]
E = TypeVar("E", bound=Callable[..., Any])


class Rule(StrEnum):
    """Whom an address lets in."""

    PAGE = "page"
    """Whom `web.page_auth` names: everything that shows stories or does something with them."""
    WEBHOOK = "webhook"
    """Whom `web.webhook_auth`, or that Alertmanager's own, names."""
    SIGNED = "signed"
    """Whose body carries a signature of the secret that we share."""
    OPEN = "open"
    """Everybody: says nothing about any failure."""


class Guarding(Protocol):
    """What is guarded: `receiver.service.Service`."""

    config: Config


def declared(rule: Rule, endpoint: E) -> E:
    """Say which rule an endpoint keeps by itself."""
    endpoint.__dict__["guard"] = rule
    return endpoint


def open_to_all(endpoint: E) -> E:
    """Say that an endpoint answers everybody."""
    return declared(Rule.OPEN, endpoint)


def rule_of(endpoint: Any) -> Rule | None:
    """Return the rule that an endpoint declares."""
    found = getattr(endpoint, "guard", None)
    return found if isinstance(found, Rule) else None


def page(service: Guarding, handler: Endpoint, headers: Mapping[str, str] | None = None) -> Endpoint:
    """Return `handler` for those whom `web.page_auth` names; `request.state.user` is then who signed in, or empty."""

    async def guarded(request: Request) -> Response:
        auth = service.config.web.page_auth
        try:
            user = signed_in(request, auth)
        except SecretError as error:
            log.error("web.secret_unreadable", error=str(error))
            text = "the secret that guards this address cannot be read; see the log"
            return JSONResponse({"error": text}, 503, headers)
        if user is None:
            text = "not signed in: use what web.page_auth names"
            return JSONResponse({"error": text}, 401, {**(headers or {}), **challenge(auth)})
        request.state.user = user
        return await handler(request)

    return declared(Rule.PAGE, guarded)


def challenge(auth: Auth) -> dict[str, str]:
    """Return what tells a client, and a browser, how to sign in."""
    ways = ['Basic realm="mtv-receiver", charset="UTF-8"'] if auth.basic else []
    ways += ["Bearer"] if auth.bearer else []
    return {"WWW-Authenticate": ", ".join(ways)} if ways else {}


def signed_in(request: Request, auth: Auth) -> str | None:
    """Return who calls (empty: a token says no name), None for nobody whom `auth` names. Raises SecretError."""
    if auth.proxy is not None and (name := _by_proxy(request, auth.proxy)):
        return name
    return credentials(request.headers.get("authorization", ""), auth)


def is_allowed(authorization: str, auth: Auth) -> bool:
    """Does this header open the door? Compared in constant time. Raises SecretError."""
    return credentials(authorization, auth) is not None


def credentials(authorization: str, auth: Auth) -> str | None:
    """Return whose header this is (empty: a token's), None if nobody's. Secrets are read now.

    So a changed file is in force at once. Raises SecretError when none fits and one cannot be read.
    """
    if auth.open:
        return ""
    scheme, _, value = authorization.partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer":
        return "" if _any_fits(_bytes(value), ((secret, b"") for secret in auth.bearer)) else None
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(_bytes(value), validate=True)
        except (binascii.Error, ValueError):
            return None
        if _any_fits(given, ((secret, f"{user}:".encode()) for user, secret in auth.basic)):
            return given.partition(b":")[0].decode("utf-8", "replace")
    return None


def _any_fits(given: bytes, known: Iterable[tuple[Secret, bytes]]) -> bool:
    """Compare with all of them, each with what stands before the secret, however early one fits."""
    digest = hashlib.sha256(given).digest()
    fits, unreadable = False, None
    for secret, before in known:
        try:
            expected = hashlib.sha256(before + secret.read().encode()).digest()
        except SecretError as error:
            unreadable = error
            continue
        fits |= hmac.compare_digest(digest, expected)
    if unreadable is not None and not fits:
        raise unreadable
    return fits


def _bytes(value: str) -> bytes:
    """Return a header's value as it came: servers read headers as Latin-1."""
    return value.encode("latin-1", "replace")


def _by_proxy(request: Request, proxy: ProxyHeader) -> str:
    """Return whom a trusted proxy signed in. Two names are none: one of them was sent by the client."""
    names = request.headers.getlist(proxy.header)
    if len(names) != 1 or request.client is None or not is_trusted(request.client.host, proxy):
        return ""
    return "".join(char for char in names[0] if char.isprintable()).strip()[:MAX_NAME]


def is_trusted(host: str, proxy: ProxyHeader) -> bool:
    """Is this the address of a proxy that is believed?"""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in proxy.trusted)


class CountRefusals:
    """Counts the answers 401, by the rule of the address."""

    def __init__(self, app: ASGIApp, counter: Counter) -> None:
        self._app = app
        self._counter = counter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 401:
                self._counter.labels(rule_of(scope.get("endpoint")) or Rule.OPEN).inc()
            await send(message)

        await self._app(scope, receive, counting)
