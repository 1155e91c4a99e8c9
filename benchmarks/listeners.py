"""100 open pages while stories change: `python -m benchmarks.listeners [--listeners 100] [--seconds 20]`.

Twenty times a second somebody takes one of twenty stories. Every listener must have heard of the last change of each;
the service's memory is read before and after.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2

from benchmarks.table import Row, arguments, end
from tests.acceptance.harness import alert, body, failed, routes_yaml, slack
from tests.acceptance.process import Process, process
from tests.fakes.vendors import FakeVendors

STORIES = 20
A_SECOND = 20
GROWTH = 1.2
TOP = "global: {digest_after: 0, evidence_wait: 100ms}\nclusters: []"


class Listener:
    """An open list: the newest revision that it has heard of, by story."""

    def __init__(self) -> None:
        self.heard: dict[str, int] = {}
        self.events = 0
        self.opened = asyncio.Event()

    async def listen(self, http: httpx2.AsyncClient, url: str) -> None:
        """Listen until cancelled."""
        async with http.stream("GET", f"{url}/events?state=all", timeout=None) as answer:
            async for line in answer.aiter_lines():
                self.opened.set()
                if line.startswith("data: ") and (said := json.loads(line.removeprefix("data: "))):
                    self.events += 1
                    self.heard[said["id"]] = max(self.heard.get(said["id"], 0), said["revision"])


def _memory(service: Process) -> float:
    """Return the resident memory of the service, in MB."""
    assert service._process is not None
    status = Path(f"/proc/{service._process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


async def measure(listeners: int, seconds: float) -> list[Row]:
    """Let stories change under the eyes of many."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        vendors = await stack.enter_async_context(FakeVendors())
        receivers = f"- name: platform\n  {slack('#platform')}\n"
        config = routes_yaml(vendors, folder, top=TOP, receivers=receivers)
        service = await stack.enter_async_context(process(config))
        limits = httpx2.Limits(max_connections=None)
        http = await stack.enter_async_context(httpx2.AsyncClient(timeout=30, trust_env=False, limits=limits))
        labels = [failed(f"00000000-0000-4000-8000-{number:012}", f"plan-{number}") for number in range(STORIES)]
        sent = await http.post(f"{service.url}/webhook", json=body(*(alert(one) for one in labels)))
        sent.raise_for_status()
        async with asyncio.timeout(30):
            while len(ids := await _ids(http, service.url)) < STORIES:
                await asyncio.sleep(0.1)
        every = [Listener() for _ in range(listeners)]
        tasks = [asyncio.create_task(one.listen(http, service.url)) for one in every]
        await asyncio.gather(*(one.opened.wait() for one in every))
        before = _memory(service)
        for number in range(int(seconds * A_SECOND)):
            # Two people take it from each other: each time it changes.
            story, who = ids[number % STORIES], f"person {number // STORIES % 2}"
            url = f"{service.url}/api/v1/stories/{story}/acknowledge"
            (await http.post(url, json={"by": who})).raise_for_status()
            await asyncio.sleep(1 / A_SECOND)
        after = _memory(service)
        answer = (await http.get(f"{service.url}/api/v1/stories?limit=100")).json()
        last = {one["id"]: one["revision"] for one in answer["items"]}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(15):
                while any(one.heard.get(story, 0) < revision for one in every for story, revision in last.items()):
                    await asyncio.sleep(0.2)
        missed = sum(one.heard.get(story, 0) < revision for one in every for story, revision in last.items())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    events = sum(one.events for one in every)
    return [
        Row(
            f"{listeners} listeners, {int(seconds * A_SECOND)} changes: last changes missed",
            f"{missed}",
            "0",
            not missed,
        ),
        Row("listeners: events sent", f"{events:,}"),
        Row(
            "listeners: memory of the service",
            f"{before:.0f} to {after:.0f} MB",
            f"<= x {GROWTH}",
            after <= before * GROWTH,
        ),
    ]


async def _ids(http: httpx2.AsyncClient, url: str) -> list[str]:
    return [one["id"] for one in (await http.get(f"{url}/api/v1/stories?limit=100")).json()["items"]]


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--listeners", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20)
    given = parser.parse_args()
    sys.exit(end("Listeners", asyncio.run(measure(given.listeners, given.seconds)), given))
