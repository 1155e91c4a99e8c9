"""The part of Alertmanager's API that is asked whether an alert is still there, and where silences are made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver.fingerprint import fingerprint
from tests.fakes.server import serve


class AlertmanagerApi:
    """`GET /api/v2/alerts`, as far as labels and filters go; what it holds and how it behaves may be changed."""

    def __init__(self) -> None:
        self.held: list[Mapping[str, str]] = []
        """Label sets of the alerts that it holds."""
        self.behaves: Literal["well", "error", "hangs", "html"] = "well"
        self.asked: list[list[str]] = []
        """The filters of every request that has some: rounds of reconciliation ask for all."""
        self.silences: list[dict[str, Any]] = []
        """The bodies of the silences that were made."""
        self.takes: int | None = None
        """So many silences it takes and no more; None: any number."""
        self.url = ""
        self._let_go = asyncio.Event()

    async def _alerts(self, request: Request) -> Response:
        filters = request.query_params.getlist("filter")
        if filters:
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
        if self.behaves != "well" or (self.takes is not None and len(self.silences) >= self.takes):
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


class WholeAlertmanager:
    """An Alertmanager that is asked for all that it holds; each answer may be held back.

    async with WholeAlertmanager().running() as api:
        api.holds(failed(), state="suppressed")
        api.hold()                    # from now on nobody is answered …
        await api.until_asked(2)      # … somebody waits for the second answer …
        api.let_go()                  # … and gets it
    """

    def __init__(self) -> None:
        self.alerts: dict[str, dict[str, Any]] = {}
        self.up = timedelta(hours=1)
        self.answers = 200
        self.silences: list[dict[str, Any]] = []
        """As `GET /api/v2/silences` tells them."""
        self.asked = 0
        self.url = ""
        self._free = asyncio.Event()
        self._free.set()
        self._asked = asyncio.Condition()

    def holds(
        self, labels: Mapping[str, str], *, state: str = "active", receiver: str = "mtv-receiver",
        starts_at: str = "2026-11-21T08:29:50Z",
    ) -> None:  # fmt: skip
        """Let it hold an alert, in this form."""
        key = fingerprint(labels)
        self.alerts[key] = {
            "labels": dict(labels), "annotations": {"summary": "Migration plan failed"}, "fingerprint": key,
            "startsAt": starts_at, "endsAt": "2030-01-01T00:00:00Z", "updatedAt": starts_at, "generatorURL": "",
            "receivers": [{"name": receiver}],
            "status": {"state": state, "silencedBy": [], "inhibitedBy": []},
        }  # fmt: skip

    def forgets(self, labels: Mapping[str, str]) -> None:
        self.alerts.pop(fingerprint(labels), None)

    def hold(self) -> None:
        """Answer nobody until `let_go`."""
        self._free.clear()

    def let_go(self) -> None:
        self._free.set()

    async def until_asked(self, count: int, timeout: float = 40.0) -> None:
        """Await that it was asked for alerts so many times."""
        async with asyncio.timeout(timeout), self._asked:
            await self._asked.wait_for(lambda: self.asked >= count)

    async def rounds(self, count: int = 2) -> None:
        """Await that so many rounds have begun and ended from now on: the next one begins after the last has ended."""
        await self.until_asked(self.asked + count + 1)

    async def _alerts(self, request: Request) -> Response:
        async with self._asked:
            self.asked += 1
            self._asked.notify_all()
        held = list(self.alerts.values())  # as of when it was asked
        await self._free.wait()
        return JSONResponse(held) if self.answers == 200 else Response("out of order", self.answers)

    async def _all_silences(self, request: Request) -> Response:
        await self._free.wait()
        return JSONResponse(self.silences) if self.answers == 200 else Response("out of order", self.answers)

    async def _status(self, request: Request) -> Response:
        since = datetime.now(UTC) - self.up
        return JSONResponse({"uptime": since.isoformat().replace("+00:00", "Z"), "versionInfo": {"version": "0.25.0"}})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[WholeAlertmanager]:
        """Serve on a free loopback port until the end of the block."""
        routes = [Route("/api/v2/alerts", self._alerts), Route("/api/v2/status", self._status)]
        routes.append(Route("/api/v2/silences", self._all_silences))
        async with serve(Starlette(routes=routes)) as self.url:
            try:
                yield self
            finally:
                self._free.set()
