"""The service as a process of its own, to be killed, stopped and started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2

ENDS_WITHIN_S = 60.0


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """`python -m receiver serve` on a configuration, its data beside it unless a database is named."""

    def __init__(self, config: Path, port: int, database: str = "") -> None:
        self.config = config
        self._database = database
        self.url = f"http://127.0.0.1:{port}"
        self._port = port
        self.more: dict[str, str] = {}
        """Environment variables besides our own, for instance another database."""
        self._process: asyncio.subprocess.Process | None = None
        self.log = config.parent / f"serve-{port}.log"

    async def start(self, *, ready: bool = True) -> None:
        """Start, and await readiness unless told otherwise."""
        environment = {**os.environ, "MTV_RECEIVER_DATA": str(self.config.parent / "data")}
        environment.pop("MTV_RECEIVER_DATABASE_URL", None)
        environment |= self.more
        if self._database:
            environment["MTV_RECEIVER_DATABASE_URL"] = self._database
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "receiver", "serve", "--config", str(self.config),
                "--listen", f"127.0.0.1:{self._port}", env=environment, stdout=log, stderr=log,
            )  # fmt: skip
        await self.until_answers("/-/ready" if ready else "/-/healthy")

    async def until_answers(self, path: str, timeout: float = 60.0) -> None:
        """Await a 200."""
        async with httpx2.AsyncClient(timeout=2) as http:
            try:
                async with asyncio.timeout(timeout):
                    while True:
                        with contextlib.suppress(httpx2.HTTPError):
                            if (await http.get(self.url + path)).status_code == 200:
                                return
                        await asyncio.sleep(0.05)
            except TimeoutError:
                raise AssertionError(f"{path} does not answer 200: {self.log.read_text()[-3000:]}") from None

    def signal(self, number: int) -> None:
        """Send a signal to our own process."""
        assert self._process is not None
        self._process.send_signal(number)

    def limit_files(self, size: int) -> tuple[int, int]:
        """Let no write go beyond `size` bytes of a file, as on a full disk; returns the limits that were."""
        assert self._process is not None
        try:
            before = resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE)
            return resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size, before[1]))
        except ProcessLookupError:
            raise AssertionError(f"the process has ended: {self.log.read_text()[-3000:]}") from None

    async def ended(self) -> int:
        """Await the end and return the exit code."""
        assert self._process is not None
        async with asyncio.timeout(ENDS_WITHIN_S):
            return await self._process.wait()

    async def kill(self) -> None:
        """Kill it as the out-of-memory killer would."""
        self.signal(signal.SIGKILL)
        await self.ended()


@contextlib.asynccontextmanager
async def process(config: Path, database: str = "") -> AsyncIterator[Process]:
    """Start a service; whatever is left of it at the end is killed."""
    one = Process(config, free_port(), database)
    await one.start()
    try:
        yield one
    finally:
        if one._process is not None and one._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                one.signal(signal.SIGCONT)
                await one.kill()
