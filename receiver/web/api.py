"""JSON under `/api/v1/`: stories and deliveries, with keyset pages."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver.config.model import Config
from receiver.guard import page
from receiver.rendering import Renderer
from receiver.store import attempts, deliveries, listing, presses, reading
from receiver.store.engine import Conn, Store
from receiver.views import delivery_json, press_json, story_json
from receiver.web.story_page import held, story_page
from receiver.wire import clean

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
MAX_DIGITS = 9
"""Python refuses to read numbers of more than 4,300 digits."""
Handler = Callable[[Request, Store], Awaitable[Response]]


class Shown(Protocol):
    """What is shown: `receiver.service.Service`."""

    config: Config
    store: Store | None
    words: Renderer | None


class BadQueryError(ValueError):
    """A query parameter that makes no sense; the message says which."""


class Api:
    """`/api/v1/stories` and `/api/v1/deliveries`."""

    def __init__(self, service: Shown) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Return the addresses."""
        return [
            Route("/api/v1/stories", self._guard(_stories)),
            Route("/api/v1/stories/{id}", self._guard(_story)),
            Route("/api/v1/stories/{id}/presses", self._guard(_presses)),
            Route("/api/v1/deliveries", self._guard(_deliveries)),
            Route("/api/v1/deliveries/{id}", self._guard(_delivery)),
            Route("/stories/{id}", self._guard(self._story_page)),
        ]

    async def _story_page(self, request: Request, store: Store) -> Response:
        return await story_page(request, store, self._service.words)

    def _guard(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            if self._service.store is None:
                return _error(503, "not ready")
            try:
                return await handler(request, self._service.store)
            except BadQueryError as error:
                return _error(400, str(error))

        return page(self._service, guarded)


def _error(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status_code=status)


async def _stories(request: Request, store: Store) -> Response:
    limit, cursor = _page(request)
    state = [clean(one) for one in request.query_params.getlist("state")]

    async def read(conn: Conn) -> tuple[list[dict[str, Any]], str | None]:
        found = await listing.stories_page(conn, state=state, before=cursor, limit=limit + 1)
        items = [story_json(one.story, [row.id for row in one.deliveries]) for one in found[:limit]]
        last = found[limit - 1].story if len(found) > limit else None
        return items, _cursor(last.opened.timestamp(), last.id) if last else None

    items, following = await store.browse(read)
    return JSONResponse({"items": items, "next": following})


async def _story(request: Request, store: Store) -> Response:
    async def read(conn: Conn) -> dict[str, Any] | None:
        found = await reading.whole(conn, held(request))
        return story_json(found.story, [row.id for row in found.deliveries]) if found else None

    item = await store.browse(read)
    return JSONResponse(item) if item else _error(404, "no story has this id")


async def _presses(request: Request, store: Store) -> Response:
    async def read(conn: Conn) -> list[dict[str, Any]]:
        return [press_json(one) for one in await presses.of_story(conn, held(request))]

    return JSONResponse({"items": await store.browse(read), "next": None})


async def _deliveries(request: Request, store: Store) -> Response:
    limit, cursor = _page(request)
    story = clean(request.query_params.get("story", ""))
    state = [clean(one) for one in request.query_params.getlist("state")]

    async def read(conn: Conn) -> tuple[list[dict[str, Any]], str | None]:
        found = await listing.deliveries_page(conn, story=story, state=state, before=cursor, limit=limit + 1)
        items = [delivery_json(row, tries) for row, tries in found[:limit]]
        last = found[limit - 1][0] if len(found) > limit else None
        return items, _cursor(last.created, last.id) if last else None

    items, following = await store.browse(read)
    return JSONResponse({"items": items, "next": following})


async def _delivery(request: Request, store: Store) -> Response:
    async def read(conn: Conn) -> dict[str, Any] | None:
        row = await deliveries.one(conn, held(request))
        return delivery_json(row, await attempts.of_delivery(conn, row.id)) if row else None

    item = await store.browse(read)
    return JSONResponse(item) if item else _error(404, "no delivery has this id")


def _page(request: Request) -> tuple[int, tuple[float, str] | None]:
    text = request.query_params.get("limit", str(DEFAULT_LIMIT))
    if not text.isdecimal() or len(text) > MAX_DIGITS or not 1 <= int(text) <= MAX_LIMIT:
        raise BadQueryError(f"limit must be a number from 1 to {MAX_LIMIT}")
    cursor = request.query_params.get("cursor")
    if not cursor:
        return int(text), None
    try:
        at, last = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        return int(text), (float(at), clean(str(last)))
    except (binascii.Error, ValueError, TypeError, OverflowError, RecursionError):
        raise BadQueryError("cursor is none that was given out: take `next` of the page before") from None


def _cursor(at: float, last: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([at, last]).encode()).decode()
