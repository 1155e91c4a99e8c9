"""Webhooks to disk beside an app that only parses JSON and answers 200: `python -m benchmarks.ingest [--seconds 2]`.

Both are processes of their own on uvicorn with the same options, asked in turn by the same client (`benchmarks.load`).
Ours is `python -m receiver serve` on SQLite with full sync. Everything in it works: the alerts become
stories of 200 x 1 or 200 x 20 plans, which later bodies repeat, as Alertmanager does. The one route is muted, so
that stories are recorded and delivered to nobody: how fast some destination takes messages is another figure
(`benchmarks.pages`).
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

from benchmarks.load import Load, run
from benchmarks.table import Row, arguments, end, spread
from tests.acceptance.process import free_port, process
from tests.fakes.processes import program

CONFIG = """
clusters: []
receivers:
  - {name: nobody-now, webhook_configs: [{url: 'http://127.0.0.1:9/'}]}
route:
  receiver: nobody-now
  routes: [{receiver: nobody-now, matchers: ['severity=critical'], mute_time_intervals: [always]}]
time_intervals:
  - {name: always, time_intervals: [{times: [{start_time: '00:00', end_time: '24:00'}]}]}
"""
CONNECTIONS = (1, 16, 64)
GOALS = {1: 0.35, 20: 0.5}
"""Of bare at 64 connections, by alerts in a body."""
P99_S = 0.1
Figures = dict[tuple[str, int, int], list[Load]]


@contextlib.asynccontextmanager
async def ours() -> AsyncIterator[int]:
    """Run the service on an empty database and give its port."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "routes.yaml"
        config.write_text(CONFIG)
        async with process(config) as one:
            yield int(one.url.rpartition(":")[2])


@contextlib.asynccontextmanager
async def bare() -> AsyncIterator[int]:
    """Run the app that does nothing and give its port."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.bare", str(port)]
        async with program("bare", command, port, Path(folder), ready="/ready"):
            yield port


async def measure(seconds: float, rounds: int) -> Figures:
    """Ask both in turn."""
    figures: Figures = defaultdict(list)
    for _ in range(rounds):
        for alerts in GOALS:
            async with bare() as theirs, ours() as mine:
                for connections in CONNECTIONS:
                    figures["bare", alerts, connections].append(await run(theirs, connections, seconds, alerts))
                    figures["ours", alerts, connections].append(await run(mine, connections, seconds, alerts))
                half = figures["ours", alerts, CONNECTIONS[-1]][-1].rate / 2
                figures["half", alerts, CONNECTIONS[-1]].append(await run(mine, CONNECTIONS[-1], seconds, alerts, half))
    return figures


def rows(figures: Figures) -> list[Row]:
    """Return ratios with their goals."""
    found: list[Row] = []
    for alerts, goal in GOALS.items():
        for connections in CONNECTIONS:
            theirs, mine = figures["bare", alerts, connections], figures["ours", alerts, connections]
            ratios = [own.rate / other.rate for own, other in zip(mine, theirs, strict=True)]
            rates = f"{statistics.median(one.rate for one in mine):.0f}/s of "
            rates += f"{statistics.median(one.rate for one in theirs):.0f}/s"
            counts = connections == CONNECTIONS[-1]
            found.append(
                Row(
                    f"ingest, {alerts} alert(s) in a body, {connections} connections: ratio to bare",
                    f"{spread(ratios)}; {rates}",
                    f">= {goal}" if counts else "",
                    statistics.median(ratios) >= goal if counts else None,
                    ratio=counts,
                )
            )
        halves = figures["half", alerts, CONNECTIONS[-1]]
        p99 = [one.p99_s for one in halves]
        found.append(
            Row(
                f"ingest, {alerts} alert(s) in a body, 64 connections, half that load: p99",
                f"{spread([one * 1000 for one in p99], '{:.0f}')} ms",
                f"< {P99_S * 1000:.0f} ms",
                statistics.median(p99) < P99_S,
            )
        )
        refused = sum(count for one in halves for status, count in one.statuses.items() if status != 200)
        found.append(Row(f"ingest, {alerts} alert(s) in a body: not answered 200 at half load", str(refused)))
    return found


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    sys.exit(end("Ingest", rows(asyncio.run(measure(given.seconds, given.rounds))), given))
