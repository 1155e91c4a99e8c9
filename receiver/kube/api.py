"""GET requests to one API server: bounded in time, bytes and number. Knows URLs and answers, not what they mean."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from lightkube.core.exceptions import ConfigError

from receiver.kube import ClusterError
from receiver.kube.connection import Connection, as_status, from_http_error, from_status
from receiver.kube.kinds import Kind, where

MAX_ANSWER = 64 * 1024 * 1024  # bytes of one answer; a Plan of 500 VMs has 0.9 MB
MAX_LINE = 16 * 1024 * 1024  # bytes of one watch event
MAX_REFUSAL = 64 * 1024  # bytes of an error's body that are read
MAX_OBJECTS = 20_000  # of one list
MAX_PAGES = 1_000  # of one list: a server that hands out continue tokens for ever

JSON = "application/json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

Query = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of all calls to one cluster. Times in seconds."""

    request_timeout: float = 10.0
    """For one request as a whole, the wait for a free place included."""
    connect_timeout: float = 3.0
    in_flight: int = 10
    """Requests at the same time, the one watch not counted."""
    bulk_in_flight: int = 7
    """Of these at most so many for lists and logs: look-ups that routing waits for always find a place."""
    trust_env: bool = False
    """Honour HTTPS_PROXY and its kin. Off: an API server is rarely reached through a web proxy."""


class TooLargeError(ClusterError):
    """An answer beyond MAX_ANSWER."""


@dataclass(frozen=True, slots=True)
class _Call:
    path: str
    query: Query
    needs: str
    what: str
    accept: str = JSON
    keep_first: int | None = None
    """Read so many bytes and leave the rest; None: the whole answer, at most MAX_ANSWER."""
    missing: frozenset[int] = frozenset({404})
    """Refusals that the caller makes sense of; all others raise."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes


class Api:
    """The requests that we make of an API server."""

    def __init__(self, cluster: str, connection: Connection, limits: Limits) -> None:
        self.cluster = cluster
        self._connection = connection
        self._limits = limits
        self._places = asyncio.Semaphore(limits.in_flight)
        self._bulk_places = asyncio.Semaphore(limits.bulk_in_flight)

    async def object(self, kind: Kind, namespace: str | None, name: str) -> dict[str, Any] | None:
        """Return one object; None only where the server itself says that this object does not exist."""
        needs = f"get {kind.resource}{where(kind, namespace)}"
        call = _Call(kind.path(namespace, name), {}, needs, f"{kind.resource} {name!r}")
        answer = await self._ask(call)
        if answer.status == 404:
            # "404 page not found" is a kind that is not served, or a proxy: no proof that the object is gone.
            if as_status(answer.body).get("reason") == "NotFound":
                return None
            raise ClusterError("not found", f"cluster {self.cluster} does not serve {kind.resource}")
        return self._parsed(answer.body, call.what)

    async def page(
        self, kind: Kind, namespace: str | None, query: Query, *, accept: str = JSON, bulk: bool = True
    ) -> bytes:
        """Return one page of a list as the server sent it."""
        needs = f"list {kind.resource}{where(kind, namespace)}"
        answer = await self._ask(_Call(kind.path(namespace), query, needs, kind.resource, accept), bulk=bulk)
        if answer.status == 404:
            raise ClusterError("not found", f"cluster {self.cluster} does not serve {kind.resource}")
        return answer.body

    async def pages(
        self, kind: Kind, namespace: str | None, query: Query, *, accept: str = JSON, bulk: bool = True
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the pages of a list, as many as the server has (at most MAX_PAGES)."""
        more: dict[str, str] = {}
        for _ in range(MAX_PAGES):
            body = await self.page(kind, namespace, {**query, **more}, accept=accept, bulk=bulk)
            page = self._parsed(body, kind.resource)
            yield page
            metadata = page.get("metadata")
            token = metadata.get("continue") if isinstance(metadata, dict) else None
            if not isinstance(token, str) or not token:
                return
            more = {"continue": token}
        raise ClusterError("bad answer", f"cluster {self.cluster}: the list of {kind.resource} has no end")

    async def text(self, path: str, query: Query, *, needs: str, what: str, limit_bytes: int) -> bytes:
        """Return the first ``limit_bytes`` of a text, whatever the server sends."""
        # 400 is the answer for a container that is unknown, not yet started, or never ran before.
        missing = frozenset({400, 404})
        call = _Call(path, query, needs, what, accept="*/*", keep_first=limit_bytes, missing=missing)
        answer = await self._ask(call, bulk=True)
        if answer.status != 200:
            raise from_status(self.cluster, 404, answer.body, needs, what)
        return answer.body

    async def json(self, path: str, *, accept: str = JSON, needs: str = "", what: str = "") -> dict[str, Any]:
        """Return a document outside the resource tree, such as /version, or a subresource.

        `needs` is the right that it takes, `what` its name in messages; without them the path says both.
        """
        call = _Call(path, {}, needs or f"get {path}", what or path, accept)
        answer = await self._ask(call)
        if answer.status == 404:
            raise from_status(self.cluster, 404, answer.body, call.needs, call.what)
        return self._parsed(answer.body, call.what)

    @asynccontextmanager
    async def watching(
        self, kind: Kind, query: Query, *, accept: str, silence: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a watch over all namespaces; the context gives its lines once the server has agreed.

        A stream without a byte for ``silence`` seconds raises ``timeout``: a half-open connection looks like that.
        """
        call = _Call(
            kind.path(None),
            query,
            f"watch {kind.resource} in all namespaces",
            kind.resource,
            accept,
            missing=frozenset(),
        )
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._limits.request_timeout):
                    response = await self._open(stack, call, httpx2.Timeout(None, connect=self._limits.connect_timeout))
            except TimeoutError:
                raise self._late() from None
            yield await stack.enter_async_context(aclosing(self._lines(response, silence)))

    async def _lines(self, response: httpx2.Response, silence: float) -> AsyncGenerator[bytes, None]:
        # Not httpx's aiter_lines: it also splits at U+2028 and other characters that JSON strings may hold.
        rest = bytearray()
        chunks = response.aiter_bytes()
        while True:
            try:
                async with asyncio.timeout(silence):
                    chunk = await anext(chunks, None)
            except TimeoutError:
                raise ClusterError("timeout", f"cluster {self.cluster}: the watch fell silent") from None
            except httpx2.HTTPError as error:
                raise from_http_error(self.cluster, error) from None
            if chunk is None:
                return
            scanned = len(rest)
            rest += chunk
            start = 0
            while (end := rest.find(b"\n", max(start, scanned))) >= 0:
                yield bytes(rest[start:end])
                start = end + 1
            del rest[:start]
            if len(rest) > MAX_LINE:
                raise TooLargeError("bad answer", f"cluster {self.cluster}: a watch event is larger than {MAX_LINE} B")

    async def _ask(self, call: _Call, *, bulk: bool = False) -> _Answer:
        try:
            async with asyncio.timeout(self._limits.request_timeout), AsyncExitStack() as stack:
                if bulk:
                    await stack.enter_async_context(self._bulk_places)
                await stack.enter_async_context(self._places)
                return await self._read(call)
        except TimeoutError:
            raise self._late() from None

    async def _read(self, call: _Call) -> _Answer:
        async with AsyncExitStack() as stack:
            response = await self._open(stack, call, None)
            body = bytearray()
            try:
                async with aclosing(response.aiter_bytes()) as chunks:
                    async for chunk in chunks:
                        body += chunk
                        if call.keep_first is not None and len(body) >= call.keep_first:
                            return _Answer(response.status_code, bytes(body[: call.keep_first]))
                        if len(body) > MAX_ANSWER:
                            text = f"cluster {self.cluster}: the answer for {call.what} is larger than {MAX_ANSWER} B"
                            raise TooLargeError("bad answer", text)
            except httpx2.HTTPError as error:
                raise from_http_error(self.cluster, error) from None
            return _Answer(response.status_code, bytes(body))

    async def _open(self, stack: AsyncExitStack, call: _Call, times: httpx2.Timeout | None) -> httpx2.Response:
        """Return the response's head: 200, or a refusal of which the caller makes sense; all else raises."""
        try:
            return await self._try(stack, call, times)
        except ClusterError as error:
            # Rotated credentials or a new CA: their files have changed since they were read.
            if error.reason not in {"unauthorized", "unreachable"} or not await self._connection.renew():
                raise
        return await self._try(stack, call, times)

    async def _try(self, stack: AsyncExitStack, call: _Call, times: httpx2.Timeout | None) -> httpx2.Response:
        client = await stack.enter_async_context(self._connection.client())
        request = client.build_request("GET", call.path, params=dict(call.query), headers={"Accept": call.accept})
        if times is not None:
            request.extensions["timeout"] = times.as_dict()
        try:
            response = await client.send(request, stream=True)
            stack.push_async_callback(response.aclose)
            if response.status_code == 200 or response.status_code in call.missing:
                return response
            refusal = await _first(response, MAX_REFUSAL)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise from_http_error(self.cluster, error) from None
        except (ConfigError, OSError, ValueError, LookupError) as error:
            # A token file that is gone, a credential helper that fails: signing happens inside send().
            text = f"cluster {self.cluster}: the credentials cannot be read ({type(error).__name__})"
            raise ClusterError("unauthorized", text) from None
        raise from_status(self.cluster, response.status_code, refusal, call.needs, call.what)

    def _late(self) -> ClusterError:
        seconds = self._limits.request_timeout
        return ClusterError("timeout", f"cluster {self.cluster} did not answer within {seconds:g} s")

    def _parsed(self, body: bytes, what: str) -> dict[str, Any]:
        try:
            parsed = json.loads(body)
        except (ValueError, RecursionError):
            parsed = None
        if not isinstance(parsed, dict):
            raise ClusterError("bad answer", f"cluster {self.cluster} sent no JSON object for {what}")
        return parsed


async def _first(response: httpx2.Response, limit: int) -> bytes:
    body = bytearray()
    async with aclosing(response.aiter_bytes()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) >= limit:
                break
    return bytes(body[:limit])
