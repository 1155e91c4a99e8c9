"""`GET /api/v1/audit`: the audit stream as JSON lines, oldest first."""

from __future__ import annotations

import json
from functools import partial
from typing import Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver.config.durations import parse_duration
from receiver.config.model import Config
from receiver.guard import page
from receiver.store import audit
from receiver.store.audit import Kind
from receiver.store.engine import Store
from receiver.views import audit_json
from receiver.web.viewers import Viewers

DEFAULT_LIMIT = 500
MAX_LIMIT = 5000
MAX_CURSOR = 2**63 - 1


class Noted(Protocol):
    """What is noted: `receiver.service.Service`."""

    config: Config
    store: Store | None
    viewers: Viewers


def routes(service: Noted) -> list[Route]:
    """Return the address. The next page begins at the `id` of the last line: `cursor=ID`."""

    async def answer(request: Request) -> Response:
        if service.store is None:
            return _error(503, "not ready")
        query = request.query_params
        try:
            since = query.get("since", "")
            within_s = parse_duration(since) if since else None
            kinds = [Kind(one).value for one in query.getlist("kind")]
        except ValueError as error:
            return _error(400, f"{error}; since is a time such as 12h, kind one of {', '.join(Kind)}")
        limit, cursor = query.get("limit", str(DEFAULT_LIMIT)), query.get("cursor", "0")
        if not limit.isdecimal() or not 1 <= int(limit[:9]) <= MAX_LIMIT:
            return _error(400, f"limit must be a number from 1 to {MAX_LIMIT}")
        if not cursor.isdecimal() or len(cursor) > 19 or int(cursor) > MAX_CURSOR:
            return _error(400, "cursor is the id of the last line that you have")
        wanted = partial(audit.page, within_s=within_s, kinds=kinds, after=int(cursor), limit=int(limit[:9]))
        lines = [json.dumps(audit_json(one), ensure_ascii=False) for one in await service.store.browse(wanted)]
        return Response("".join(f"{line}\n" for line in lines), media_type="application/jsonl")

    return [Route("/api/v1/audit", page(service, answer, admins=True))]


def _error(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status_code=status)
