"""The part of Alertmanager's API that is asked whether an alert is still there, and where silences are made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
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
        self.silences: list[dict[str, Any]] = []
        """The bodies of the silences that were made."""
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

    async def _silence(self, request: Request) -> Response:
        body = await request.json()
        if self.behaves != "well":
            return Response("out of order", 500)
        # What the real one demands: see its api/v2/openapi.yaml, postableSilence.
        wrong = [name for name in ("matchers", "startsAt", "endsAt", "createdBy", "comment") if not body.get(name)]
        wrong += [one for one in body.get("matchers", []) if not {"name", "value", "isRegex"} <= one.keys()]
        if wrong or not datetime.fromisoformat(body["startsAt"]) < datetime.fromisoformat(body["endsAt"]):
            return JSONResponse({"code": 601, "message": f"{wrong} in body is required"}, 422)
        self.silences.append(body)
        return JSONResponse({"silenceID": f"silence-{len(self.silences)}"})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[AlertmanagerApi]:
        """Serve on a free loopback port until the end of the block."""
        silences = Route("/api/v2/silences", self._silence, methods=["POST"])
        async with serve(Starlette(routes=[Route("/api/v2/alerts", self._alerts), silences])) as self.url:
            try:
                yield self
            finally:
                self._let_go.set()


def _matches(labels: Mapping[str, Any], matcher: str) -> bool:
    name, _, value = matcher.partition("=")
    return labels.get(name) == value.removeprefix('"').removesuffix('"')
