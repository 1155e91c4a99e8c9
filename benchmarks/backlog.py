"""2,000 webhooks at full speed for a sink that takes 0.2 s, is dead for 30 s and comes back.

`python -m benchmarks.backlog`: nothing may be lost or come twice, and what waits is sent as fast as `rate_limit` and
`max_in_flight` allow. The sink is a stand-in for Slack that counts messages, not requests.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2

from benchmarks.table import Row, arguments, end
from tests.acceptance.harness import alert, body, failed, routes_yaml, slack
from tests.acceptance.process import Process, process
from tests.fakes.faults import slow
from tests.fakes.vendors import FakeVendors

IN_FLIGHT = 8
SINK_S = 0.2
ALIVE_FIRST_S = 5.0
AT_ONCE = 32
DRAIN = 1.15
RSS_MB = 200
"""Peak of resident memory, in MB of 1,000,000 bytes."""
TOP = "global: {digest_after: 0}\nclusters: []"
_PLAN = re.compile(r"plan-(\d+)")


async def measure(count: int, dead_s: float) -> list[Row]:
    """Post `count` failures, let the sink die for a while, and wait until all is told."""
    limits = f", max_in_flight: {IN_FLIGHT}, rate_limit: {{per_minute: 60000, burst: 1000}}"
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        vendors = await stack.enter_async_context(FakeVendors())
        vendors.fail("slack", slow(SINK_S), on="chat.postMessage", always=True)
        receivers = f"- name: platform\n  {slack('#platform', limits)}\n"
        service = await stack.enter_async_context(process(routes_yaml(vendors, folder, top=TOP, receivers=receivers)))
        began = time.monotonic()
        answers = await _post(service, count)
        posted = time.monotonic() - began
        await asyncio.sleep(max(0.0, ALIVE_FIRST_S - posted))
        before = len(vendors.slack_roots())
        async with vendors.away():
            await asyncio.sleep(dead_s)
        back = time.monotonic()
        first = await vendors.until(lambda v: len(v.slack_roots()) > before and time.monotonic(), timeout=120)
        await vendors.until(lambda v: len(v.slack_roots()) >= count, timeout=count * SINK_S + 120)
        drained = time.monotonic() - back
        await vendors.settle(quiet_s=3.0, timeout=60)
        told = Counter(found[1] for one in vendors.slack_roots() if (found := _PLAN.search(json.dumps(one.blocks))))
        peak = peak_mb(service)
    allowed = (count - before) * SINK_S / IN_FLIGHT
    return [
        Row("backlog: answers to the client", ", ".join(f"{n} x {status}" for status, n in answers.items())),
        Row("backlog: all answered after", f"{posted:.1f} s, {count / posted:.0f}/s"),
        Row("backlog: lost", str(answers[200] - len(told)), "0", answers[200] == len(told), ratio=True),
        Row("backlog: told twice", str(told.total() - len(told)), "0", told.total() == len(told), ratio=True),
        Row(
            f"backlog: {count - before} sent since the sink is back, by what {IN_FLIGHT} at a time allow",
            f"{drained / allowed:.2f}; {drained:.1f} s of {allowed:.1f} s, the first after {first - back:.1f} s",
            f"<= {DRAIN}",
            drained <= DRAIN * allowed,
            ratio=True,
        ),
        Row("backlog: peak resident memory", f"{peak:.0f} MB", f"<= {RSS_MB} MB", peak <= RSS_MB, ratio=True),
    ]


def peak_mb(service: Process) -> float:
    """Return the most memory that a process ever held, in MB."""
    return status_kb(service, "VmHWM") * 1024 / 1e6


def status_kb(service: Process, key: str) -> int:
    """Return a figure of /proc, which counts in KiB."""
    assert service._process is not None
    text = Path(f"/proc/{service._process.pid}/status").read_text()
    return int(text.partition(f"{key}:")[2].split()[0])


async def _post(service: Process, count: int) -> Counter[int]:
    answers: Counter[int] = Counter()
    gate = asyncio.Semaphore(AT_ONCE)
    async with httpx2.AsyncClient(timeout=30, trust_env=False) as http:

        async def post(number: int) -> None:
            one = alert(failed(f"00000000-0000-4000-8000-{number:012}", f"plan-{number}"))
            async with gate:
                answers[(await http.post(f"{service.url}/webhook", json=body(one))).status_code] += 1

        await asyncio.gather(*(post(number) for number in range(count)))
    return answers


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--dead", type=float, default=30.0, help="seconds that the sink is away")
    given = parser.parse_args()
    sys.exit(end("Backlog", asyncio.run(measure(given.count, given.dead)), given))
