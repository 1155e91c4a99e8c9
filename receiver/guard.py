"""Who may call an address. Every route declares one rule; a test walks the routes and asks."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

import structlog
from prometheus_client import Counter
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from receiver.config.listening import ProxyHeader
from receiver.config.model import Auth, Config, Secret, SecretError

if TYPE_CHECKING:
    from receiver.web.viewers import Viewers

log = structlog.get_logger(__name__)

MAX_NAME: Final = 80
"""Of a person's name as it is shown and recorded."""
MAX_USER: Final = 512
"""A longer name is nobody's: cut off it could be somebody else's."""
MAX_GROUPS: Final = 200
"""Of one person; more do not count, nor does one whose name is longer than MAX_USER."""
READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""
_ADMINS: Final = "for admins only", "web.visibility.admin_groups and admin_users name them"
ADMINS_ONLY: Final = ": ".join(_ADMINS)
_FOREIGN: Final = "the browser says that another site sends this", "do it from our own pages, or by a script"
FOREIGN: Final = ": ".join(_FOREIGN)
Endpoint = Callable[[Request], Awaitable[Response]]
E = TypeVar("E", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why somebody is not let in, and what helps."""

    status: int
    what: str
    cure: str
    headers: Mapping[str, str]

    def as_json(self) -> Response:
        """Return the answer for scripts."""
        return JSONResponse({"error": f"{self.what}: {self.cure}"}, self.status, self.headers)


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


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed in, as far as the request says it."""

    name: str = ""
    """As it is shown and recorded; empty: a token, or everybody may."""
    user: str = ""
    """As a cluster knows them, in full; empty where a cluster could know nobody of that name."""
    groups: frozenset[str] = frozenset()
    machine: bool = False
    """Nobody in person: a token, or everybody may."""


class Guarding(Protocol):
    """What is guarded: `receiver.service.Service`."""

    config: Config
    viewers: Viewers


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


def page(
    service: Guarding, handler: Endpoint, headers: Mapping[str, str] | None = None, *, admins: bool = False
) -> Endpoint:
    """Return `handler` for those whom `web.page_auth` names; with `admins` only for the admins among them.

    `request.state.viewer` is then who signed in, and `request.state.user` their name, or empty. What changes something
    is refused where a browser says that another site has made it do so. `app.state.refused` says a refusal, where there
    is one: people are told by a page.
    """

    async def guarded(request: Request) -> Response:
        web = service.config.web
        if request.method not in READING and is_foreign(request.headers, web.external_url):
            return refused(request, 403, *_FOREIGN, headers)
        try:
            caller = signed_in(request, web.page_auth, web.visibility.groups_header if web.visibility else "")
        except SecretError as error:
            log.error("web.secret_unreadable", error=str(error))
            return refused(request, 503, "the secret that guards this address cannot be read", "see the log", headers)
        if caller is None:
            ways = {**(headers or {}), **challenge(web.page_auth)}
            return refused(request, 401, "not signed in", "use what web.page_auth names", ways)
        viewer = service.viewers.of(caller)
        if admins and not viewer.admin:
            return refused(request, 403, *_ADMINS, headers)
        request.state.viewer, request.state.user = viewer, caller.name
        return await handler(request)

    guarded.__dict__["admins"] = admins
    return declared(Rule.PAGE, guarded)


def refused(request: Request, status: int, what: str, cure: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer to who is not let in."""
    refusal = Refusal(status, what, cure, headers or {})
    say: Callable[[Request, Refusal], Response] | None = getattr(request.app.state, "refused", None)
    return say(request, refusal) if say is not None else refusal.as_json()


def for_admins(endpoint: Any) -> bool:
    """Is an address closed to all but admins, whatever is asked there?"""
    return getattr(endpoint, "admins", False) is True


def is_foreign(headers: Headers, external_url: str) -> bool:
    """Does the browser say that a page of another site makes this request?

    Scripts send neither header, and their credentials themselves; a browser adds a person's to whatever a page asks.
    """
    fetch = headers.get("sec-fetch-site")
    if fetch is not None:
        return fetch.strip().lower() not in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return False
    here = _place(origin)
    # Behind a proxy that ends TLS we do not know our own scheme: a bare Host is taken to be of the origin's.
    ours = {_place(f"{origin.partition('://')[0]}://{headers.get('host', '')}"), _place(external_url)}
    return here is None or here not in ours


def _place(url: str) -> tuple[str, int] | None:
    """Return host and port; None for what has none, as the origin `null`."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname and port else None


def challenge(auth: Auth) -> dict[str, str]:
    """Return what tells a client, and a browser, how to sign in."""
    ways = ['Basic realm="mtv-receiver", charset="UTF-8"'] if auth.basic else []
    ways += ["Bearer"] if auth.bearer else []
    return {"WWW-Authenticate": ", ".join(ways)} if ways else {}


def signed_in(request: Request, auth: Auth, groups_header: str = "") -> Caller | None:
    """Return who calls, None for nobody whom `auth` names. Raises SecretError.

    Groups are those of `groups_header`, in requests of a trusted proxy that names a user.
    """
    if auth.proxy is not None and (name := _by_proxy(request, auth.proxy)):
        return _caller(name, _groups(request, groups_header) if groups_header else frozenset())
    user = credentials(request.headers.get("authorization", ""), auth)
    if user is None:
        return None
    return _caller(user) if user else Caller(machine=True)


def _caller(user: str, groups: frozenset[str] = frozenset()) -> Caller:
    name = "".join(char for char in user if char.isprintable()).strip()[:MAX_NAME]
    return Caller(name, user if user.isprintable() and len(user) <= MAX_USER else "", groups)


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
    user = _text(names[0]).strip()
    return user if any(char.isprintable() and not char.isspace() for char in user) else ""


def _groups(request: Request, header: str) -> frozenset[str]:
    """Return the groups that a trusted proxy names. As with users, two headers say nothing."""
    lines = request.headers.getlist(header)
    if len(lines) != 1:
        return frozenset()
    names = dict.fromkeys(name.strip() for name in _text(lines[0]).split(","))
    good = [name for name in names if name and name.isprintable() and len(name) <= MAX_USER]
    return frozenset(good[:MAX_GROUPS])


def _text(value: str) -> str:
    """Return a header's text: proxies write UTF-8, servers read Latin-1."""
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError:
        return value


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
