"""An ASGI application on a real loopback port, inside the test's own event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import uvicorn

STARTED_WITHIN_S = 10.0


class _Server(uvicorn.Server):
    """A server that leaves the signals to pytest."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serve(app: Any, port: int = 0) -> AsyncIterator[str]:
    """Serve `app` on 127.0.0.1 and give its base URL (no trailing slash); it answers when the block begins.

    Port 0 takes a free one. Its lifespan runs. At the end open connections are closed and nothing is left behind.
    Raises RuntimeError when the application does not start.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    server = _Server(
        uvicorn.Config(
            app, log_config=None, log_level="critical", lifespan="auto", ws="none", timeout_graceful_shutdown=1
        )
    )

    async def run() -> None:
        with suppress(SystemExit):  # uvicorn's word for "the lifespan failed"; seen below as a task that is done
            await server.serve(sockets=[listener])

    task = asyncio.create_task(run())
    try:
        async with asyncio.timeout(STARTED_WITHIN_S):
            while not server.started:
                if task.done():
                    raise RuntimeError("the application did not start")
                await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await asyncio.wait([task])
        listener.close()
