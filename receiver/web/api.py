"""JSON under `/api/v1/`: stories and deliveries, with keyset pages."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver.clock import Clock
from receiver.config.model import Config
from receiver.guard import page
from receiver.rendering import Renderer
from receiver.store import attempts, deliveries, filters, listing, overview, presses, reading
from receiver.store.engine import Conn, Store
from receiver.store.filters import Filter
from receiver.store.overview import Counts
from receiver.views import delivery_json, press_json, story_json
from receiver.web.lately import Lately
from receiver.web.viewers import Viewer, Viewers, is_shown, sight, viewer_of
from receiver.wire import clean

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
NO_STORY = "no story has this id"
MAX_DIGITS = 9
"""Python refuses to read numbers of more than 4,300 digits."""
Handler = Callable[[Request, Store], Awaitable[Response]]


class Shown(Protocol):
    """What is shown: `receiver.service.Service`."""

    config: Config
    clock: Clock
    store: Store | None
    words: Renderer | None
    viewers: Viewers


class BadQueryError(ValueError):
    """A query parameter that makes no sense; the message says which."""


class Api:
    """`/api/v1/stories` and `/api/v1/deliveries`."""

    def __init__(self, service: Shown) -> None:
        self._service = service
        self._sums: Lately[Filter, Counts] = Lately(service.clock)

    def routes(self) -> list[Route]:
        """Return the addresses."""
        return [
            Route("/api/v1/stories", self._guard(self._stories)),
            Route("/api/v1/stories/{id}", self._guard(_story)),
            Route("/api/v1/stories/{id}/presses", self._guard(_presses)),
            Route("/api/v1/deliveries", self._guard(_deliveries)),
            Route("/api/v1/deliveries/{id}", self._guard(_delivery)),
        ]

    async def _stories(self, request: Request, store: Store) -> Response:
        limit, cursor = _page(request)
        with_counts = request.query_params.get("counts", "false")
        if with_counts not in ("true", "false"):
            raise BadQueryError("counts must be true or false")
        viewer = viewer_of(request)
        sees = await sight(viewer, store)
        try:
            wanted = filters.parse(request.query_params.multi_items(), sees=sees)
        except ValueError as error:
            raise BadQueryError(str(error)) from None

        async def read(conn: Conn) -> tuple[list[dict[str, Any]], str | None, dict[str, Any]]:
            ids, following = await overview.ids(conn, wanted, cursor, limit)
            known = await reading.wholes(conn, ids)
            found = [known[one] for one in ids if one in known]
            items = [story_json(one.story, [row.id for row in one.deliveries]) for one in found]
            more: dict[str, Any] = {}
            if with_counts == "true":
                every = replace(wanted, states=())
                more["counts"] = asdict(await self._sums.of(every, lambda: overview.counts(conn, every)))
            return items, _cursor(*following) if following is not None else None, more

        items, following, more = await store.browse(read)
        return _listed(items, following, viewer, more)

    def _guard(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            if self._service.store is None:
                return _error(503, "not ready")
            try:
                return await handler(request, self._service.store)
            except BadQueryError as error:
                return _error(400, str(error))

        return page(self._service, guarded)


def held(request: Request) -> str:
    """Return the id that an address holds, as a database takes it."""
    return clean(request.path_params["id"])


def _error(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status_code=status)


async def _story(request: Request, store: Store) -> Response:
    if not await is_shown(viewer_of(request), store, held(request)):
        return _error(404, NO_STORY)

    async def read(conn: Conn) -> dict[str, Any] | None:
        found = await reading.whole(conn, held(request))
        return story_json(found.story, [row.id for row in found.deliveries]) if found else None

    item = await store.browse(read)
    return JSONResponse(item) if item else _error(404, NO_STORY)


async def _presses(request: Request, store: Store) -> Response:
    if not await is_shown(viewer_of(request), store, held(request)):
        return JSONResponse({"items": [], "next": None})

    async def read(conn: Conn) -> list[dict[str, Any]]:
        return [press_json(one) for one in await presses.of_story(conn, held(request))]

    return JSONResponse({"items": await store.browse(read), "next": None})


async def _deliveries(request: Request, store: Store) -> Response:
    limit, cursor = _page(request)
    story = clean(request.query_params.get("story", ""))
    state = [clean(one) for one in request.query_params.getlist("state")]
    viewer = viewer_of(request)
    sees = await sight(viewer, store)

    async def read(conn: Conn) -> tuple[list[dict[str, Any]], str | None]:
        found = await listing.deliveries_page(conn, story=story, state=state, before=cursor, limit=limit + 1, sees=sees)
        items = [delivery_json(row, tries) for row, tries in found[:limit]]
        last = found[limit - 1][0] if len(found) > limit else None
        return items, _cursor(last.created, last.id) if last else None

    items, following = await store.browse(read)
    return _listed(items, following, viewer)


async def _delivery(request: Request, store: Store) -> Response:
    async def read(conn: Conn) -> dict[str, Any] | None:
        row = await deliveries.one(conn, held(request))
        return delivery_json(row, await attempts.of_delivery(conn, row.id)) if row else None

    item = await store.browse(read)
    if item is None or not await is_shown(viewer_of(request), store, item["story"]):
        return _error(404, "no delivery has this id")
    return JSONResponse(item)


def _listed(
    items: list[dict[str, Any]], following: str | None, viewer: Viewer, more: Mapping[str, Any] | None = None
) -> Response:
    """Return a page, with why something may be missing from it."""
    notes = {"missing": list(viewer.notes)} if viewer.notes else {}
    return JSONResponse({"items": items, "next": following, **(more or {}), **notes})


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
