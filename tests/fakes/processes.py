"""Real programs beside a test: started on loopback ports in folders of their own, awaited, and ended by their id.

    async with program("prometheus", [path, f"--web.listen-address=127.0.0.1:{port}", ...], port, folder) as one:
        ... one.url ...

What a program prints is kept, and is part of the message when it does not do what it should.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2

READY_WITHIN_S = 30.0
STOP_WITHIN_S = 10.0
POLL_S = 0.05
LOG_SHOWN = 3_000


@dataclass(frozen=True, slots=True)
class Program:
    """A program that runs."""

    name: str
    url: str
    log: Path

    def said(self) -> str:
        """Return the end of what it printed."""
        return self.log.read_text(errors="replace")[-LOG_SHOWN:] if self.log.exists() else ""


def free_port() -> int:
    """Return a loopback port that was free a moment ago, for programs that take only a number."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def program(
    name: str, command: Sequence[str], port: int, folder: Path, *, ready: str = "/-/ready"
) -> AsyncIterator[Program]:
    """Run a program until the end of the block; it answers 200 at `ready` when the block begins.

    Raises AssertionError with what it printed when it ends before, or is not ready in READY_WITHIN_S.
    """
    one = Program(name, f"http://127.0.0.1:{port}", folder / f"{name}.log")
    with one.log.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder
        )
    try:
        await _until_ready(one, process, ready)
        yield one
    finally:
        await _end(process)


async def _until_ready(one: Program, process: asyncio.subprocess.Process, path: str) -> None:
    last = "no answer"
    async with httpx2.AsyncClient(timeout=2.0, trust_env=False) as http:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_WITHIN_S):
                while process.returncode is None:
                    with contextlib.suppress(httpx2.HTTPError):
                        response = await http.get(one.url + path)
                        if response.status_code == 200:
                            return
                        last = f"{response.status_code} {response.text[:100]}"
                    await asyncio.sleep(POLL_S)
                last = f"it ended with {process.returncode}"
    raise AssertionError(f"{one.name} is not ready ({last}); it said:\n{one.said()}")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    try:
        async with asyncio.timeout(STOP_WITHIN_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
