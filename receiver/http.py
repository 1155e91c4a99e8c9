"""HTTP clients for destinations and Alertmanagers: the one module that builds them.

Proxies, private CAs, client certificates, sign-in and time-outs come from `HttpConfig`. Files are read when they are
used: a replaced secret or certificate counts from the next request on, and one that is missing refuses requests instead
of stopping the service. No error raised here holds a URL, a header or a secret.
"""

from __future__ import annotations

import base64
import functools
import importlib
import logging
import os
import re
import socket
import ssl
from collections.abc import Generator, Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, NoReturn
from urllib.request import getproxies_environment

import httpx2

from receiver.config.model import TLS, HttpConfig, Secret, SecretError
from receiver.errors import DestinationRefused, Transient, Unknown
from receiver.no_proxy import bypasses
from receiver.spared import without

DIRECT: Final = HttpConfig()
"""No proxy, no sign-in, the usual authorities."""

_MAX_RETRY_AFTER_S: Final = 3600.0
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_NOT_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
_WORDS: Final[tuple[tuple[type[httpx2.HTTPError], str], ...]] = (
    (httpx2.ConnectTimeout, "no connection in time"),
    (httpx2.PoolTimeout, "no free connection in time"),
    (httpx2.ReadTimeout, "no answer in time"),
    (httpx2.WriteTimeout, "could not send in time"),
    (httpx2.ProxyError, "the proxy refuses the connection"),
    (httpx2.ConnectError, "no connection"),
    (httpx2.RemoteProtocolError, "connection closed without a full answer"),
    (httpx2.ReadError, "connection broke while waiting for the answer"),
    (httpx2.WriteError, "connection broke while sending"),
    (httpx2.DecodingError, "the answer cannot be decoded"),
)


def build_client(
    http: HttpConfig,
    timeout_s: float,
    *,
    max_connections: int = 8,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> httpx2.AsyncClient:
    """Return a client that signs in by itself and never follows a redirect. Reads no file and opens no connection.

    `timeout_s` bounds connecting, waiting for a free connection, sending and each read; the total is the caller's to
    bound. Besides httpx2's errors, requests raise DestinationRefused where a secret or certificate cannot be used.
    """
    limits = httpx2.Limits(max_connections=max_connections, max_keepalive_connections=max_connections)
    return httpx2.AsyncClient(
        transport=transport or Transport(http, limits),
        timeout=httpx2.Timeout(timeout_s),
        auth=_auth(http),
        headers={"User-Agent": f"mtv-receiver/{own_version()}"},
        follow_redirects=False,
        trust_env=False,  # netrc and SSL_CERT_FILE never count; the environment's proxies only where asked for
    )


def warm_up(*, tls: bool) -> None:
    """Do at start, in a thread of its own, what the first page would have to wait for."""
    with without("h2"):  # 6 MB of HTTP/2, which no client here speaks
        importlib.import_module("httpcore2")  # httpx2 imports it with its first request
    if tls:
        _default_context()


def silence_url_logs() -> None:
    """Keep httpx2 from logging requests: at INFO it writes whole URLs, and some URLs are secrets."""
    for name in ("httpx2", "httpcore2", "websockets"):
        logging.getLogger(name).setLevel(logging.WARNING)


def read_secret(secret: Secret) -> str:
    """Return a secret's content, stripped. Raises DestinationRefused, naming the file or variable and the cure."""
    try:
        return secret.read()
    except SecretError as error:
        raise DestinationRefused(str(error)) from None


def header_secret(secret: Secret) -> str:
    """Like `read_secret`, for use in a header: also refuses what no header may carry, such as a line break.

    The HTTP library would refuse it too, with the whole value in its error.
    """
    value = read_secret(secret)
    if not _HEADER_VALUE.fullmatch(value):
        raise DestinationRefused(f"{_place(secret)} holds characters that no header may carry; keep one line of ASCII")
    return value


def raise_for_transport(error: httpx2.HTTPError) -> NoReturn:
    """Raise Transient where the request surely did not leave, else Unknown.

    Raises DestinationRefused for a URL that nothing can be sent to.
    """
    if isinstance(error, httpx2.UnsupportedProtocol):
        raise DestinationRefused("the URL is neither http nor https; correct it in the configuration") from None
    words = next((words for kind, words in _WORDS if isinstance(error, kind)), type(error).__name__)
    detail = _detail(error)
    reason = f"{words} ({detail})" if detail else words
    # The chain is cut: errors below may quote URLs and headers, and tracebacks are logged.
    raise (Transient(reason) if isinstance(error, _NOT_SENT) else Unknown(reason)) from None


def retry_after_s(response: httpx2.Response, now: datetime | None = None) -> float | None:
    """Return how long `Retry-After` asks to wait, in seconds from 0 to one hour; None where it says nothing usable.

    A date is measured against `now`, else against the answer's own `Date`.
    """
    value = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d+(?:\.\d+)?", value):
        return min(float(value), _MAX_RETRY_AFTER_S)
    try:
        until = parsedate_to_datetime(value)
        since = now or parsedate_to_datetime(response.headers.get("Date", ""))
        wait_s = (until - since).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(wait_s, 0.0), _MAX_RETRY_AFTER_S)


def tls_context(tls: TLS) -> ssl.SSLContext:
    """Return the context for a peer that is not spoken to by HTTP. Raises DestinationRefused, naming the file."""
    _stamp(tls)
    return _ssl_context(tls)


def tls_reason(error: BaseException) -> str:
    """Return why a connection failed, in words that hold nothing of what was sent; empty where nobody says."""
    return _detail(error)


# --- sign-in --------------------------------------------------------------------------------------------------------


class _Basic(httpx2.Auth):
    def __init__(self, username: str, password: Secret) -> None:
        self._username = username
        self._password = password

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        pair = f"{self._username}:{read_secret(self._password)}"
        request.headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        yield request


class _Authorization(httpx2.Auth):
    def __init__(self, scheme: str, credentials: Secret) -> None:
        self._scheme = scheme
        self._credentials = credentials

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        request.headers["Authorization"] = f"{self._scheme} {header_secret(self._credentials)}"
        yield request


def _auth(http: HttpConfig) -> httpx2.Auth | None:
    if http.password is not None:
        return _Basic(http.username, http.password)
    if http.credentials is not None:
        return _Authorization(http.authorization_type, http.credentials)
    return None


# --- connections ----------------------------------------------------------------------------------------------------


class Transport(httpx2.AsyncBaseTransport):
    """Sends directly or through the proxy, with certificates as they are on disk now.

    Where the caller has a `context` of its own, that one counts instead of the files of `http.tls`.
    """

    def __init__(self, http: HttpConfig, limits: httpx2.Limits, context: ssl.SSLContext | None = None) -> None:
        self._tls = http.tls
        self._context = context
        self._limits = limits
        self._proxies, self._no_proxy = _proxies(http)
        self._open: dict[str, httpx2.AsyncHTTPTransport] = {}
        self._retired: list[httpx2.AsyncHTTPTransport] = []
        self._stamp: tuple[object, ...] = ()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if self._tls.server_name:
            request.extensions = {**request.extensions, "sni_hostname": self._tls.server_name}
        return await self._way(request.url).handle_async_request(request)

    async def aclose(self) -> None:
        for transport in (*self._open.values(), *self._retired):
            await transport.aclose()

    def _way(self, url: httpx2.URL) -> httpx2.AsyncHTTPTransport:
        stamp = () if self._context else _stamp(self._tls)
        if stamp != self._stamp:  # requests under way keep their connections until the client is closed
            self._retired += self._open.values()
            self._open, self._stamp = {}, stamp
        proxy = self._proxies.get(url.scheme, "")
        if proxy and bypasses(url.host, url.port, self._no_proxy):
            proxy = ""
        if proxy not in self._open:
            context = self._context or _ssl_context(self._tls)
            secured = context if proxy.startswith("https:") else None
            self._open[proxy] = httpx2.AsyncHTTPTransport(
                verify=context,
                trust_env=False,
                limits=self._limits,
                proxy=httpx2.Proxy(proxy, ssl_context=secured) if proxy else None,
            )
        return self._open[proxy]


def _proxies(http: HttpConfig) -> tuple[dict[str, str], str]:
    """Return the proxy per scheme, and what goes past it."""
    if http.proxy_url:
        return {"http": http.proxy_url, "https": http.proxy_url}, http.no_proxy
    if not http.proxy_from_environment:
        return {}, ""
    found = getproxies_environment()
    return {scheme: url for scheme in ("http", "https") if (url := found.get(scheme, ""))}, found.get("no", "")


def way_to(http: HttpConfig, url: str) -> tuple[str | None, ssl.SSLContext]:
    """Return the proxy (None: direct) and the certificates for what is no HTTP request, such as a WebSocket.

    `url` begins with http or https. Raises DestinationRefused where a certificate cannot be used.
    """
    target = httpx2.URL(url)
    proxies, no_proxy = _proxies(http)
    proxy = proxies.get(target.scheme, "")
    return proxy if proxy and not bypasses(target.host, target.port, no_proxy) else None, _ssl_context(http.tls)


def tls_files(tls: TLS) -> Iterator[tuple[str, Path]]:
    """Give key and path of every file that `tls_config` names."""
    for name, file in (("ca_file", tls.ca_file), ("cert_file", tls.cert_file), ("key_file", tls.key_file)):
        if file is not None:
            yield name, file


def _stamp(tls: TLS) -> tuple[object, ...]:
    """Return what changes when a file is replaced. Raises DestinationRefused where one is not there."""
    stamp: list[object] = []
    for name, file in tls_files(tls):
        try:
            status = file.stat()
        except OSError as error:
            raise DestinationRefused(f"{name} {file} cannot be read ({error.strerror}); create or mount it") from None
        stamp.append((name, status.st_mtime_ns, status.st_ino, status.st_size))
    return tuple(stamp)


def _ssl_context(tls: TLS) -> ssl.SSLContext:
    if tls == TLS(server_name=tls.server_name):
        return _default_context()
    try:
        context = ssl.create_default_context(cafile=tls.ca_file) if tls.ca_file else _trusting_the_usual()
        if tls.cert_file is not None:
            context.load_cert_chain(tls.cert_file, tls.key_file)
    except (ssl.SSLError, OSError, ValueError):
        files = ", ".join(f"{name} {file}" for name, file in tls_files(tls))
        raise DestinationRefused(f"no usable certificate or key in {files}; each must hold PEM text") from None
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@functools.cache
def _default_context() -> ssl.SSLContext:
    """Return the one context of all who trust the usual authorities: reading them takes a third of a second."""
    return _trusting_the_usual()


def _trusting_the_usual() -> ssl.SSLContext:
    return httpx2.create_ssl_context(trust_env=False)


# --- words ----------------------------------------------------------------------------------------------------------


def _detail(error: BaseException) -> str:
    """Return why, as far as the system says so in words that hold nothing of the request."""
    for one in _chain(error):
        match one:
            case ssl.SSLCertVerificationError(verify_message=str() as message):
                return f"TLS: {message}"
            case ssl.SSLError(reason=str() as reason):
                return f"TLS: {reason}"
            case socket.gaierror():
                return "host name not found"
            case OSError(errno=int() as number) if number > 0:
                return os.strerror(number).lower()
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    todo, seen = [error], set[int]()
    while todo:
        one = todo.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        todo += [below for below in (one.__cause__, one.__context__) if below is not None]
        todo += one.exceptions if isinstance(one, BaseExceptionGroup) else ()


def _place(secret: Secret) -> str:
    return f"secret file {secret.file}" if secret.file is not None else f"environment variable {secret.env}"


def own_version() -> str:
    """Return the version that is installed, or `dev`."""
    try:
        return version("mtv-receiver")
    except PackageNotFoundError:  # run from a checkout that was not installed
        return "dev"
