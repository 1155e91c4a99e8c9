"""The part of Alertmanager's API that is asked whether an alert is still there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.fakes.server import serve


class AlertmanagerApi:
    """`GET /api/v2/alerts`, as far as labels and filters go; what it holds and how it behaves may be changed."""

    def __init__(self) -> None:
        self.held: list[Mapping[str, str]] = []
        """Label sets of the alerts that it holds."""
        self.behaves: Literal["well", "error", "hangs", "html"] = "well"
        self.asked: list[list[str]] = []
        """The filters of every request."""
        self.url = ""
        self._let_go = asyncio.Event()

    async def _alerts(self, request: Request) -> Response:
        filters = request.query_params.getlist("filter")
        self.asked.append(filters)
        match self.behaves:
            case "error":
                return Response("out of order", 500)
            case "hangs":
                await self._let_go.wait()
                return Response("too late", 500)
            case "html":
                return Response("<html>sign in first</html>", media_type="text/html")
        held = [labels for labels in self.held if all(_matches(labels, one) for one in filters)]
        return JSONResponse([{"labels": dict(labels), "status": {"state": "active"}} for labels in held])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[AlertmanagerApi]:
        """Serve on a free loopback port until the end of the block."""
        async with serve(Starlette(routes=[Route("/api/v2/alerts", self._alerts)])) as self.url:
            try:
                yield self
            finally:
                self._let_go.set()


def _matches(labels: Mapping[str, Any], matcher: str) -> bool:
    name, _, value = matcher.partition("=")
    return labels.get(name) == value.removeprefix('"').removesuffix('"')
