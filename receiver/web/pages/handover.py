"""`/handover`: what the next shift must know, to read together and to print; the same as JSON under `/api/v1/`."""

from __future__ import annotations

from functools import partial
from typing import Final, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver import handover_words as said
from receiver.config.durations import duration_text, parse_duration
from receiver.guard import Guarding
from receiver.guard import page as guarded
from receiver.handover import USUAL, Handover, outcome_words, read, read_since
from receiver.store.engine import Store
from receiver.web.pages.site import HEADERS, Served, Site
from receiver.web.viewers import Viewer, sight, viewer_of

SHIFTS: Final = ("4h", "8h", "12h", "24h")


class Handing(Guarding, Served, Protocol):
    """What is handed over: `receiver.service.Service`."""

    store: Store | None


def routes(service: Handing, site: Site) -> list[Route]:
    """Return the addresses."""

    async def shown(request: Request) -> Response:
        store = service.store
        if store is None:
            return site.page(request, "error.html", 503, said="Not ready yet", cure="Try again in a moment.")
        viewer = viewer_of(request)
        wrong = ""
        try:
            since_s = _since(request)
        except ValueError as error:
            wrong, since_s = str(error), parse_duration(USUAL)
        found = await _read(store, viewer, since_s)
        return site.page(
            request, "handover.html", 400 if wrong else 200, found=found, words=said, wrong=wrong, notes=viewer.notes,
            shifts=[(one, parse_duration(one) == since_s) for one in SHIFTS], since=duration_text(since_s),
            ended=outcome_words(found.outcomes),
        )  # fmt: skip

    async def answered(request: Request) -> Response:
        store = service.store
        if store is None:
            return JSONResponse({"error": "not ready"}, 503)
        try:
            since_s = _since(request)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        viewer = viewer_of(request)
        found = said.handover_json(await _read(store, viewer, since_s), service.config.web.external_url)
        return JSONResponse({**found, **({"missing": list(viewer.notes)} if viewer.notes else {})})

    return [
        Route("/handover", guarded(service, shown, HEADERS)),
        Route("/api/v1/handover", guarded(service, answered)),
    ]


def _since(request: Request) -> float:
    """Return how long the shift was. Raises ValueError with the cure."""
    try:
        return read_since(request.query_params.get("since") or USUAL)
    except ValueError as error:
        raise ValueError(f"since: {error}") from None


async def _read(store: Store, viewer: Viewer, since_s: float) -> Handover:
    sees = await sight(viewer, store)
    return await store.browse(partial(read, since_s=since_s, sees=sees))
