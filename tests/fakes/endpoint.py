"""An HTTP endpoint of somebody's own: takes webhooks, drops what it has by `webhook-id`, and fails as it is told to."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.fakes.server import serve


@dataclass(frozen=True, slots=True)
class Came:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


@dataclass
class Endpoint:
    """What came, and what is answered: `answers` first, each once, then 204."""

    url: str = ""
    came: list[Came] = field(default_factory=list)
    answers: deque[tuple[int, bytes, dict[str, str]]] = field(default_factory=deque)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.answers.append((status, body, {name.replace("_", "-"): value for name, value in headers.items()}))

    @property
    def posts(self) -> list[Came]:
        return [one for one in self.came if one.method != "OPTIONS"]

    @property
    def taken(self) -> Iterator[Any]:
        """What an idempotent receiver keeps: each id once, as it first came."""
        seen: set[str] = set()
        for one in self.posts:
            name = one.headers["webhook-id"]
            if name not in seen:
                seen.add(name)
                yield one.json

    async def until(self, ready: Callable[[Endpoint], Any], timeout: float = 10.0) -> None:
        async with asyncio.timeout(timeout):
            while not ready(self):
                await asyncio.sleep(0.02)

    async def _take(self, request: Request) -> Response:
        raw = await request.body()
        self.came.append(Came(request.method, request.url.path, dict(request.headers), raw))
        if request.method == "OPTIONS" or not self.answers:
            return Response(status_code=204)
        status, content, headers = self.answers.popleft()
        return Response(content, status, headers)


@asynccontextmanager
async def endpoint() -> AsyncIterator[Endpoint]:
    """Serve an endpoint on loopback."""
    made = Endpoint()
    methods = ["GET", "POST", "PUT", "PATCH", "OPTIONS"]
    async with serve(Starlette(routes=[Route("/{path:path}", made._take, methods=methods)])) as url:
        made.url = url
        yield made
