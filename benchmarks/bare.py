"""The measure for ingest: a Starlette app that parses JSON and answers 200, on uvicorn with our options.

`python -m benchmarks.bare PORT`
"""

from __future__ import annotations

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


async def take(request: Request) -> Response:
    found = await request.json()
    return JSONResponse({"accepted": len(found["alerts"]), "rejected": []})


async def ready(_: Request) -> Response:
    return Response()


if __name__ == "__main__":
    app = Starlette(routes=[Route("/webhook", take, methods=["POST"]), Route("/ready", ready)])
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        http="h11",
        ws="none",
        proxy_headers=False,
        log_config=None,
        access_log=False,
        server_header=False,
    )
    uvicorn.Server(config).run()
