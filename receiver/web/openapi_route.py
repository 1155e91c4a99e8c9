"""`GET /api/v1/openapi.json`. The document's parts are loaded when somebody asks for it: few do."""

from __future__ import annotations

from typing import Final, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver.config.model import Config
from receiver.guard import page
from receiver.web.viewers import Viewers

PATH: Final = "/api/v1/openapi.json"


class Described(Protocol):
    """What is described: `receiver.service.Service`."""

    config: Config
    viewers: Viewers


def routes(service: Described) -> list[Route]:
    """Return the address."""

    async def answer(request: Request) -> Response:
        from receiver.web.openapi import document

        return JSONResponse(document(request.app.routes, service.config))

    return [Route(PATH, page(service, answer))]
