"""Health, readiness and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from receiver.guard import open_to_all
from receiver.metrics import Metrics
from receiver.web.actions_api import who

log = structlog.get_logger(__name__)


class Operated(Protocol):
    """What is operated: `receiver.service.Service`."""

    metrics: Metrics

    async def ready(self) -> str: ...

    async def reload(self, why: str) -> Sequence[str]: ...


class Operation:
    """`/-/healthy`, `/-/ready`, `/metrics`, and the answers to what goes wrong."""

    def __init__(self, service: Operated) -> None:
        self._service = service

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

    async def not_found(self, request: Request, _: Exception) -> Response:
        """Say what there is instead."""
        text = f"nothing is at {request.url.path[:200]}; webhooks go to /webhook"
        return JSONResponse({"error": text}, status_code=404)

    async def not_allowed(self, request: Request, error: Exception) -> Response:
        """Name the method that is not taken here."""
        headers = getattr(error, "headers", None)
        text = f"{request.method} is not taken at {request.url.path[:200]}; webhooks go to /webhook, by POST"
        return JSONResponse({"error": text}, status_code=405, headers=headers)

    async def bug(self, request: Request, error: Exception) -> Response:
        """Our own error: counted and logged, told without detail."""
        self._service.metrics.bugs.labels("web").inc()
        log.error("web.bug", path=request.url.path, error=type(error).__name__, exc_info=error)
        return JSONResponse({"error": "internal error; see the log"}, status_code=500)
