"""`GET /api/v1/stories/{id}/evidence`: all that the page of a story shows of what was found out."""

from __future__ import annotations

import json
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver.guard import Guarding, page
from receiver.model import Evidence
from receiver.store import reading
from receiver.store.codec import EVIDENCE, dump
from receiver.store.engine import Store
from receiver.web.viewers import is_shown, viewer_of
from receiver.wire import clean


class Evident(Guarding, Protocol):
    """What knows: `receiver.service.Service`."""

    store: Store | None


def routes(service: Evident) -> list[Route]:
    """Return the address."""

    async def answer(request: Request) -> Response:
        store, story = service.store, clean(request.path_params["id"])
        if store is None:
            return JSONResponse({"error": "not ready"}, 503)
        found = await store.browse(lambda conn: reading.whole(conn, story))
        if found is None or not await is_shown(viewer_of(request), store, story):
            return JSONResponse({"error": "no story has this id"}, 404)
        evidence = found.story.evidence
        return JSONResponse({"evidence": evidence_json(evidence, story) if evidence else None})

    return [Route("/api/v1/stories/{id}/evidence", page(service, answer))]


def evidence_json(evidence: Evidence, story: str) -> dict[str, Any]:
    """Return evidence as it is stored; of each log where all that is kept of it can be had, instead of itself."""
    said: dict[str, Any] = json.loads(dump(EVIDENCE, evidence))
    for number, log in enumerate(said.get("logs") or (), 1):
        kept = log.pop("kept", "")
        log["raw"] = f"/stories/{story}/logs/{number}/raw" if kept else None
    return said
