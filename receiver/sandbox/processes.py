"""Starts and stops what `run` and `demo` are made of: applications in this process, programs beside it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import uvicorn

CHECKOUT = Path(__file__).parents[2]
"""The folder that `examples/` is in; `run` and `demo` work in a checkout only."""
READY_WITHIN_S = 90.0
STOP_WITHIN_S = 15.0  # the service itself gives what is being sent 8 s
POLL_S = 0.05


class SetupError(Exception):
    """Something could not be started; the message says what, and what to do about it."""


class _Server(uvicorn.Server):
    """A server in a process that handles its signals itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(app: Any, port: int = 0) -> AsyncIterator[int]:
    """Serve an application on 127.0.0.1 until the end of the block; gives its port (0 takes a free one).

    Raises SetupError when the port is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise SetupError(f"port {port} of 127.0.0.1 cannot be used ({error.strerror}): end what runs there") from None
    config = uvicorn.Config(
        app, log_level="critical", access_log=False, ws="none", lifespan="off", timeout_graceful_shutdown=1
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        # No need to wait for `started`: the socket listens, connections queue until the server takes them.
        yield int(listener.getsockname()[1])
    finally:
        server.should_exit = True
        await asyncio.wait([task])
        listener.close()


@contextlib.asynccontextmanager
async def program(*command: str, env: Mapping[str, str], log: Path | None = None) -> AsyncIterator[asyncio.Task[int]]:
    """Run a program until the end of the block; gives a task that ends with it and knows its exit code.

    `log` takes what it prints, else it prints where we do. At the end it is asked to stop, and killed when it does
    not within STOP_WITHIN_S. Raises SetupError when it cannot be started.
    """
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("ab")) if log else None
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **env}
            )
        except OSError as error:
            raise SetupError(f"{command[0]} cannot be started: {error.strerror}") from None
        ended = asyncio.create_task(process.wait())
        try:
            yield ended
        finally:
            if process.returncode is None:
                process.terminate()
            await asyncio.wait([ended], timeout=STOP_WITHIN_S)
            if process.returncode is None:
                process.kill()
            await ended


def service(config: Path, port: int) -> tuple[str, ...]:
    """Return the command that serves a configuration on 127.0.0.1, with this Python."""
    return (sys.executable, "-m", "receiver", "serve", "--config", str(config), "--listen", f"127.0.0.1:{port}")


def free_port() -> int:
    """Return a port that is free now, for programs that take only a number."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


async def answers(url: str, ended: asyncio.Task[int], what: str) -> None:
    """Wait until `url` answers 200; SetupError when the program ends before, or after READY_WITHIN_S."""
    last = "no answer"
    async with httpx2.AsyncClient(trust_env=False, timeout=2.0) as client:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_WITHIN_S):
                while not ended.done():
                    try:
                        response = await client.get(url)
                    except httpx2.HTTPError as error:
                        last = type(error).__name__
                    else:
                        if response.status_code == 200:
                            return
                        last = f"{response.status_code} {response.text.strip()[:200]}"
                    await asyncio.sleep(POLL_S)
                raise SetupError(f"{what} ended with exit code {ended.result()} before it was ready")
    raise SetupError(f"{what} was not ready after {READY_WITHIN_S:.0f} s: {last}")


@contextlib.contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """Give an event that SIGINT and SIGTERM set, instead of ending the process in the middle of something."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def until(condition: Callable[[], bool], within_s: float, *endings: asyncio.Task[Any]) -> bool:
    """Wait until a condition holds; False when it did not in time, or when one of the tasks ended first."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            while not condition():
                if any(task.done() for task in endings):
                    return condition()
                await asyncio.sleep(POLL_S)
            return True
    return False
