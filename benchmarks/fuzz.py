"""Bodies that nobody should send, at a running service: `python -m benchmarks.fuzz [--count 100000] [--seed 1]`.

Nothing may be answered 500 (503 neither, on a disk that is not full), the process lives on, and its memory does not
grow. There is no OpenAPI document of /api/v1 that a tool could read; a part of the requests goes there with made up
parameters and bodies.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.backlog import status_kb
from benchmarks.ingest import CONFIG
from benchmarks.odd import Odd
from benchmarks.table import Row, arguments, end
from tests.acceptance.process import Process, process

CONNECTIONS = 16
GROWTH = 1.15
"""Resident memory at the end, in that at a quarter."""
ANSWER_S = 20.0


class Fuzz:
    """What was asked and answered."""

    def __init__(self, service: Process, seed: int, count: int) -> None:
        self.statuses: Counter[int] = Counter()
        self.broken: list[bytes] = []
        self._odd = Odd(seed)
        self._service = service
        self._left = count
        self._quarter = count * 3 // 4
        self.memory_kb: list[int] = []

    async def run(self) -> None:
        """Send all, over several connections."""
        await asyncio.gather(*(self._client() for _ in range(CONNECTIONS)))
        self.memory_kb.append(status_kb(self._service, "VmRSS"))

    async def _client(self) -> None:
        port = int(self._service.url.rpartition(":")[2])
        while self._left > 0:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                while self._left > 0:
                    self._left -= 1
                    if self._left == self._quarter:
                        self.memory_kb.append(status_kb(self._service, "VmRSS"))
                    if not await self._ask(self._odd.request(), reader, writer):
                        break
            finally:
                writer.transport.abort()

    async def _ask(self, request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send one request; False when the connection is over."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError, ValueError):
            async with asyncio.timeout(ANSWER_S):
                writer.write(request)
                await writer.drain()
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                status = int(head[9:12])
                self.statuses[status] += 1
                if status >= 500:
                    self.broken.append(request[:2_000])
                if b"content-length:" in head:
                    await reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r")[0]))
                return b"connection: close" not in head and b"content-length:" in head
        self.statuses[0] += 1
        return False


async def measure(count: int, seed: int) -> list[Row]:
    """Fuzz a service on SQLite."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "routes.yaml"
        config.write_text(CONFIG)
        async with process(config) as service:
            fuzz = Fuzz(service, seed, count)
            began = time.monotonic()
            await fuzz.run()
            took = time.monotonic() - began
            await service.until_answers("/-/ready")
    wrong = sum(number for status, number in fuzz.statuses.items() if status >= 500)
    start, stop = fuzz.memory_kb
    for one in fuzz.broken[:3]:
        print(one)
    answers = ", ".join(f"{number} x {status or 'no answer'}" for status, number in fuzz.statuses.most_common())
    return [
        Row(f"fuzz: {count} requests with seed {seed}", f"{took:.0f} s; {answers}"),
        Row("fuzz: answered 5xx", str(wrong), "0", not wrong, ratio=True),
        Row(
            "fuzz: memory at the end, in that after a quarter",
            f"{stop / start:.2f}; {start * 1024 / 1e6:.0f} MB, {stop * 1024 / 1e6:.0f} MB",
            f"<= {GROWTH}",
            stop <= GROWTH * start,
            ratio=True,
        ),
    ]


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.exit(end("Fuzz", asyncio.run(measure(given.count, given.seed)), given))
