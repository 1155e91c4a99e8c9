"""The story list over 100,000 stories beside an empty one: `python -m benchmarks.story_list [--stories 100000]`.

Two services on SQLite files, asked in turn for the same page of theirs, as browsers ask for it. One story in four is
open; they are spread over 50 namespaces and 20 causes. The open list (what people see first) and one namespace of it.
The numbers beside the list are kept for some seconds by the service; what they cost is measured apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import yaml
from sqlalchemy import insert

from benchmarks.table import Row, arguments, end, spread
from receiver.store import overview
from receiver.store.engine import Conn, Store, sqlite_url
from receiver.store.filters import OPEN, parse
from receiver.store.schema import deliveries, stories
from receiver.store.upgrade import upgrade
from tests.acceptance.process import Process, process

GOAL = 3.0
BEGAN = time.time() - 200_000
EVIDENCE = json.dumps({"impact_text": "x" * 6_000})
KEYS = json.dumps({"dedup_key": "k", "label": "l", "client_id": "c"})
NOWHERE = {
    "clusters": [],
    "receivers": [{"name": "team", "webhook_configs": [{"name": "nowhere", "url": "http://127.0.0.1:9/"}]}],
    "route": {"receiver": "team"},
}
IDENTITY = "webhook:name:nowhere"
"""Of that destination: a story of none that is configured would be told anew."""
AT_ONCE = 5_000
TRIES = 40
CALM_S = 0.2
"""A service that uses less of the processor in a second does nothing but wait."""
OPEN_STATES = [("state", one) for one in OPEN]
QUERIES = {"open stories": OPEN_STATES, "one namespace": [*OPEN_STATES, ("namespace", "team-07")]}


@contextlib.asynccontextmanager
async def _store(folder: Path, count: int) -> AsyncIterator[Store]:
    url = sqlite_url(folder / f"{count}.db")
    upgrade(url)
    async with Store.open(url) as store:
        for rows in _stories(count):

            async def fill(conn: Conn, rows: list[dict[str, Any]] = rows) -> None:
                await conn.execute(insert(stories), rows)
                await conn.execute(insert(deliveries), [_delivery(row) for row in rows])

            await store.write(fill)
        yield store


def _stories(count: int) -> Iterator[list[dict[str, Any]]]:
    for first in range(0, count, AT_ONCE):
        yield [_story(number) for number in range(first, min(count, first + AT_ONCE))]


def _story(number: int) -> dict[str, Any]:
    is_open = number % 4 == 0
    at = BEGAN + number  # long ago it would be forgotten by the service
    return {
        "id": f"{number:026}", "subject": f"plan/{number}", "kind": "plan",
        "state": OPEN[0] if is_open else "resolved", "outcome": None if is_open else "fixed",
        "revision": 3, "severity": "critical", "title": f"Plan {number} failed",
        "opened": at, "updated": at, "closed": None if is_open else at,
        "evidence": EVIDENCE if is_open else None, "indexed": 3,
        "namespace": f"team-{number // 4 % 50:02}", "cluster": "east", "cause": f"cause-{number % 20}",
        "cause_text": "the disk is full", "impact": "down", "failed": 1, "total": 20,
    }  # fmt: skip


def _delivery(story: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"d-{story['id']}", "story": story["id"], "receiver": "platform", "kind": "slack", "label": "p",
        "destination": IDENTITY, "keys": KEYS, "reasons": "[]", "state": "delivered", "firing": False, "desired": 3,
        "audible": 1, "created": story["opened"],
    }  # fmt: skip


def _write(config: Path) -> None:
    config.parent.mkdir()
    config.write_text(yaml.safe_dump(NOWHERE))


async def _calm(service: Process) -> None:
    """Await that a service has gone through the stories that it found at its start."""
    assert service._process is not None
    used = [0.0]
    while len(used) < 3 or used[-1] - used[-2] > CALM_S:
        used.append(_used(service._process.pid))
        await asyncio.sleep(1)


def _used(pid: int) -> float:
    """Return how many seconds of the processor a process has used."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextlib.asynccontextmanager
async def _served(folder: Path, count: int) -> AsyncIterator[tuple[Store, str]]:
    """Serve a store with so many stories; the address is that of the list."""
    config = folder / "routes.yaml"
    await asyncio.to_thread(_write, config)
    async with _store(folder, count) as store, process(config, sqlite_url(folder / f"{count}.db")) as service:
        await _calm(service)
        yield store, f"{service.url}/"


async def _page(http: httpx2.AsyncClient, store: Store, url: str, query: list[tuple[str, str]]) -> float:
    """Return how long one page takes, in milliseconds."""
    del store
    began = time.perf_counter()
    (await http.get(url, params=query)).raise_for_status()
    return (time.perf_counter() - began) * 1_000


async def _sums(http: httpx2.AsyncClient, store: Store, url: str, query: list[tuple[str, str]]) -> float:
    """Return how long the numbers beside a list take, in milliseconds."""
    del http, url
    began = time.perf_counter()
    await store.browse(lambda conn: overview.counts(conn, parse(query)))
    return (time.perf_counter() - began) * 1_000


async def measure(count: int) -> list[Row]:
    """Fill a store, ask it and an empty one in turn, and return the ratios."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name:
        async with (
            httpx2.AsyncClient(timeout=30, trust_env=False) as http,
            _served(Path(name) / "empty", 0) as empty,
            _served(Path(name) / "full", count) as full,
        ):
            for what, query in QUERIES.items():
                for ask, part, goal in ((_page, "a page", GOAL), (_sums, "sums", None)):
                    took: dict[bool, list[float]] = {False: [], True: []}
                    for _ in range(TRIES):
                        for is_full, (store, url) in ((False, empty), (True, full)):
                            took[is_full].append(await ask(http, store, url, query))
                    ratio = statistics.median(took[True]) / statistics.median(took[False])
                    of = f"{spread(took[True])} ms of {spread(took[False])} ms"
                    judged = goal is not None
                    rows.append(
                        Row(
                            f"story list, {count:,} stories, {what}: {part}, ratio to the empty list",
                            f"{ratio:.2f}; {of}",
                            f"<= {goal:g}" if goal is not None else "",
                            ratio <= goal if goal is not None else None,
                            ratio=judged,
                        )
                    )
    return rows


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--stories", type=int, default=100_000)
    given = parser.parse_args()
    sys.exit(end("Story list", asyncio.run(measure(given.stories)), given))
