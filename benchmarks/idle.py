"""What the service costs while nothing happens: `python -m benchmarks.idle [--times 5]`.

A process with one destination and no cluster is started anew each time, on an empty and on an existing database.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.backlog import status_kb
from benchmarks.ingest import CONFIG
from benchmarks.table import Row, arguments, end, spread
from tests.acceptance.process import Process, free_port

RSS_MB = 90
"""Resident memory, in MB of 1,000,000 bytes."""
READY_S = 1.5
SETTLED_S = 3.0


async def measure(times: int) -> list[Row]:
    """Start, look and stop, in turn with a Python that only imports."""
    starts: list[float] = []
    first: list[float] = []
    imports: list[float] = []
    empty: list[float] = []
    memory: list[float] = []
    for _ in range(times):
        empty.append(await _python("pass"))
        imports.append(await _python("import receiver.cli.serve, receiver.cli"))
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "routes.yaml"
            config.write_text(CONFIG)
            for figures in (first, starts):
                one = Process(config, free_port())
                began = time.monotonic()
                await one.start()
                figures.append(time.monotonic() - began)
                if figures is starts:
                    await asyncio.sleep(SETTLED_S)
                    memory.append(status_kb(one, "VmRSS") * 1024 / 1e6)
                await one.kill()
    ready, held = sorted(starts)[times // 2], sorted(memory)[times // 2]
    return [
        Row("idle: resident memory", f"{spread(memory, '{:.0f}')} MB", f"<= {RSS_MB} MB", held <= RSS_MB, ratio=True),
        Row("idle: start to ready", f"{spread(starts)} s", f"<= {READY_S} s", ready <= READY_S),
        Row("idle: start to ready, new database", f"{spread(first)} s"),
        Row("idle: the imports alone", f"{spread(imports)} s"),
        Row("idle: Python alone", f"{spread(empty)} s"),
        Row("idle: start to ready, in imports", f"{ready / sorted(imports)[times // 2]:.2f}"),
    ]


async def _python(text: str) -> float:
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", text)
    await process.wait()
    return time.monotonic() - began


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--times", type=int, default=5)
    given = parser.parse_args()
    sys.exit(end("Idle", asyncio.run(measure(given.times)), given))
