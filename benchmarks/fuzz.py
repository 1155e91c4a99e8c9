"""Requests that nobody should send, at a running service: `python -m benchmarks.fuzz [--count 100000] [--seed 1]`.

Nothing may be answered 500 (503 neither, on a disk that is not full), the process lives on, and its memory does not
grow. A part of the requests goes to /api/v1 with odd parameters and bodies (`benchmarks.odd`).

Then schemathesis reads /api/v1/openapi.json of another service, which holds some stories, and makes requests of it
(`--seconds`, `--examples` for each operation): no answer may be 5xx, have a code that the document does not name, or
look otherwise than it says.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.backlog import status_kb
from benchmarks.ingest import CONFIG
from benchmarks.odd import Odd, captured
from benchmarks.table import Row, arguments, end
from receiver.web.openapi_route import PATH
from tests.acceptance.process import Process, process

CONNECTIONS = 16
GROWTH = 1.15
"""Resident memory at the end, in that at a quarter."""
ANSWER_S = 20.0
CHECKS = {
    "not_a_server_error": {"ServerError"},
    "status_code_conformance": {"UndefinedStatusCode"},
    "response_schema_conformance": {"JsonSchemaError", "MalformedJson", "ContentDeserializationError"},
    "content_type_conformance": {"UndefinedContentType", "MissingContentType", "MalformedMediaType"},
}
"""What schemathesis checks, and how it calls what each finds."""
OVERTIME_S = 60.0
"""So much longer than it was told schemathesis may take."""


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


async def conform(seed: int, examples: int, seconds: int) -> list[Row]:
    """Let schemathesis compare a service with some stories with its document."""
    with tempfile.TemporaryDirectory() as folder:
        config, report = Path(folder) / "routes.yaml", Path(folder) / "report.json"
        config.write_text(CONFIG)
        async with process(config) as service:
            async with httpx2.AsyncClient(timeout=30, trust_env=False) as http:
                for body in captured():
                    (await http.post(f"{service.url}/webhook", json=body)).raise_for_status()
            command = [
                sys.executable, "-m", "schemathesis.cli", "run", service.url + PATH, "--checks", ",".join(CHECKS),
                "--seed", str(seed), "--max-examples", str(examples), "--max-time", str(seconds), "--no-shrink",
                "--continue-on-failure", "--generation-database", "none", "--no-color",
                "--report", "json", "--report-json-path", str(report),
            ]  # fmt: skip
            log = Path(folder) / "schemathesis.log"
            with log.open("wb") as out:
                running = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=out, stderr=out)
                try:
                    async with asyncio.timeout(seconds + OVERTIME_S):
                        code = await running.wait()
                except TimeoutError:
                    running.kill()
                    code = await running.wait()
            if code != 0:
                print(log.read_text(errors="replace"))
            await service.until_answers("/-/ready")
        return found(json.loads(report.read_text()) if report.exists() else {}, seed)


def found(report: dict[str, Any], seed: int) -> list[Row]:
    """Return what schemathesis found; a run that left an operation out is none."""
    operations, made = report.get("operations", {}), report.get("test_cases", {}).get("generated", 0)
    tested, every = operations.get("tested", 0), operations.get("total", 0)
    whole = bool(every) and tested == every and not report["errors"] and report["complete"]
    counts: Counter[str] = Counter()
    for one in report.get("failures", ()):
        check = next((check for check, types in CHECKS.items() if one["type"] in types), one["type"])
        counts[check] += one["count"]
    rows = [
        Row(
            f"fuzz: schemathesis with seed {seed}: operations tested, of those in the document",
            f"{tested} of {every}; {made} requests, {report.get('running_time', 0.0):.0f} s",
            "all, without an error",
            whole,
            ratio=True,
        )
    ]
    for check in [*CHECKS, *sorted(set(counts) - set(CHECKS))]:
        wrong = counts[check]
        rows.append(Row(f"fuzz: schemathesis, {check}: failures", str(wrong), "0", whole and not wrong, ratio=True))
    return rows


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="requests of our own; 0 for schemathesis alone")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--examples", type=int, default=20, help="of schemathesis for each operation")
    parser.add_argument("--seconds", type=int, default=120, help="that schemathesis may take; 0 leaves it out")
    given = parser.parse_args()
    rows = asyncio.run(measure(given.count, given.seed)) if given.count else []
    rows += asyncio.run(conform(given.seed, given.examples, given.seconds)) if given.seconds else []
    sys.exit(end("Fuzz", rows, given))
