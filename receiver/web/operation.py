"""Health, readiness and metrics; and what is answered where something goes wrong, to people and to scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from receiver.guard import Refusal, open_to_all
from receiver.metrics import Metrics
from receiver.web.actions_api import who
from receiver.web.pages.site import Site

log = structlog.get_logger(__name__)


class Operated(Protocol):
    """What is operated: `receiver.service.Service`."""

    metrics: Metrics

    async def ready(self) -> str: ...

    async def reload(self, why: str) -> Sequence[str]: ...


class Operation:
    """`/-/healthy`, `/-/ready`, `/metrics`, and the answers to what goes wrong."""

    def __init__(self, service: Operated, site: Site) -> None:
        self._service = service
        self._site = site

    @open_to_all
    async def healthy(self, _: Request) -> Response:
        """The process answers; restart it only when this does not."""
        return PlainTextResponse("OK\n")

    @open_to_all
    async def ready(self, _: Request) -> Response:
        """The store takes writes and the workers live."""
        why = await self._service.ready()
        return PlainTextResponse(f"not ready: {why}\n", 503) if why else PlainTextResponse("OK\n")

    async def reload(self, request: Request) -> Response:
        """Put the configuration of the file in force; 500 with its problems, and then the old one stays."""
        problems = await self._service.reload(f"asked for at /-/reload by {who(request)}")
        if not problems:
            return PlainTextResponse("OK\n")
        lines = "".join(f"{problem}\n" for problem in problems)
        return PlainTextResponse(f"not reloaded, the old configuration stays in force:\n{lines}", 500)

    @open_to_all
    async def metrics(self, _: Request) -> Response:
        """Prometheus text format."""
        return Response(generate_latest(self._service.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    def refused(self, request: Request, refusal: Refusal) -> Response:
        """Say who is let in."""
        if not reads_pages(request):
            return refusal.as_json()
        return self._page(request, refusal.status, refusal.what, f"{refusal.cure}.", refusal.headers)

    async def not_found(self, request: Request, _: Exception) -> Response:
        """Say what there is instead."""
        path = request.url.path[:200]
        if reads_pages(request):
            return self._page(
                request, 404, f"nothing is at {path}", "The address may be mistyped, or of another version."
            )
        return JSONResponse({"error": f"nothing is at {path}; webhooks go to /webhook"}, status_code=404)

    async def not_allowed(self, request: Request, error: Exception) -> Response:
        """Name the method that is not taken here."""
        headers = error.headers if isinstance(error, HTTPException) else None
        what = f"{request.method} is not taken at {request.url.path[:200]}"
        if reads_pages(request):
            return self._page(request, 405, what, "Use the buttons of our own pages.", headers)
        return JSONResponse({"error": f"{what}; webhooks go to /webhook, by POST"}, status_code=405, headers=headers)

    async def bug(self, request: Request, error: Exception) -> Response:
        """Our own error: counted and logged, told without detail."""
        self._service.metrics.bugs.labels("web").inc()
        log.error("web.bug", path=request.url.path, error=type(error).__name__, exc_info=error)
        if reads_pages(request):
            return self._page(request, 500, "internal error", "The log of this service says more; try again.")
        return JSONResponse({"error": "internal error; see the log"}, status_code=500)

    def _page(
        self, request: Request, status: int, said: str, cure: str, headers: Mapping[str, str] | None = None
    ) -> Response:
        first_up = (one[:1].upper() + one[1:] for one in (said, cure))
        answer = self._site.page(request, "error.html", status, **dict(zip(("said", "cure"), first_up, strict=True)))
        answer.headers.update(headers or {})
        return answer


def reads_pages(request: Request) -> bool:
    """Is this a person with a browser, to whom JSON says nothing?"""
    return not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", "")
