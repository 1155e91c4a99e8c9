"""What the fake forges share: reading requests, answering failures, and pages of rows."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

Handler = Callable[[Request], Awaitable[Response]]


class Failure(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, body: dict[str, Any], headers: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body
        self.headers = headers


def guarded(handler: Handler, admit: Callable[[Request], None]) -> Handler:
    """Return a handler that answers failures; `admit` raises one for whom it does not know."""

    async def answer(request: Request) -> Response:
        try:
            admit(request)
            return await handler(request)
        except Failure as failure:
            return JSONResponse(failure.body, status_code=failure.status, headers=failure.headers)

    return answer


async def json_object(request: Request, otherwise: Failure) -> dict[str, Any]:
    """Return a request's JSON object. Raises `otherwise` where it has none."""
    try:
        body = json.loads(await request.body())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise otherwise
    return body


def labels_asked(asked: Mapping[str, str]) -> set[str]:
    """Return the labels that a list is narrowed to."""
    return {each for each in asked.get("labels", "").split(",") if each}


def page(found: list[Any], asked: Mapping[str, str], size: int) -> list[Any]:
    """Return the page that was asked for, of `size` rows where nothing else is said."""
    size = min(int(asked.get("per_page", str(size))), 100)
    start = (int(asked.get("page", "1")) - 1) * size
    return found[start : start + size]


def short_name(method: str, parts: list[str], project: str) -> str:
    """Return a request's short name, such as `POST issues/*/notes`; `project` is that of the project itself."""
    return f"{method} {'/'.join('*' if each.isdigit() else each for each in parts) or project}"


def seconds(text: str | None) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0.0
