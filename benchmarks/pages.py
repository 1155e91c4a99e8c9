"""How long a page takes from the webhook's 200 to PagerDuty, in a storm: `python -m benchmarks.pages [ALERTS]`.

Everything is on loopback and ends by itself; PagerDuty and Slack are the sandbox. Prints, judges nothing.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import httpx2

from tests.acceptance.harness import alert, body, failed, pagerduty, routes_yaml, slack
from tests.acceptance.process import process
from tests.fakes.vendors import FakeVendors

AT_ONCE = 20
TOP = "global: {digest_after: 0}\nclusters: []"


async def main(count: int) -> None:
    """Post `count` alerts of as many plans, AT_ONCE at a time, and print what was seen."""
    receivers = f"- name: platform\n  {pagerduty()}\n  {slack('#platform')}\n"
    answered: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with FakeVendors() as vendors:
            config = routes_yaml(vendors, Path(folder), top=TOP, receivers=receivers)
            async with process(config) as service, httpx2.AsyncClient(timeout=30) as http:
                gate = asyncio.Semaphore(AT_ONCE)

                async def post(number: int) -> None:
                    name = f"plan-{number:04}"
                    one = alert(failed(f"00000000-0000-4000-8000-{number:012}", name))
                    async with gate:
                        (await http.post(f"{service.url}/webhook", json=body(one))).raise_for_status()
                        answered[name] = time.monotonic()

                began = time.monotonic()
                await asyncio.gather(*(post(number) for number in range(count)))
                posted = time.monotonic() - began
                await vendors.until(lambda v: len(v.incidents()) == count, timeout=300)
            first = {one.json["payload"]["component"]: one.at for one in vendors.seen("pagerduty", "trigger")[::-1]}
    waits = sorted(first[name] - at for name, at in answered.items())
    print(f"{count} alerts, {AT_ONCE} at a time: all answered after {posted:.2f} s")
    print(f"200 to page: median {waits[len(waits) // 2]:.2f} s, longest {waits[-1]:.2f} s")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 300))
