"""How long a page takes in a storm, from the webhook's 200 on: `python -m benchmarks.pages [ALERTS] [--hang]`.

Everything is on loopback and ends by itself; PagerDuty and Slack are fakes. With `--hang` the cluster's API server
takes connections but answers nothing any more, from just before the storm on. Prints, judges nothing.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2

from tests.acceptance.harness import alert, body, failed, pagerduty, routes_yaml, slack
from tests.acceptance.process import Process, process
from tests.fakes.kubernetes import KubernetesApi, running
from tests.fakes.vendors import FakeVendors

AT_ONCE = 20


async def main(count: int, *, hang: bool) -> None:
    """Post `count` alerts of as many plans, AT_ONCE at a time, and print what was seen."""
    receivers = f"- name: platform\n  {pagerduty()}\n  {slack('#platform')}\n"
    api = KubernetesApi()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        vendors = await stack.enter_async_context(FakeVendors())
        await stack.enter_async_context(running(api))
        clusters = (
            f"[{{name: local, kubeconfig_file: {api.write_kubeconfig(folder / 'kubeconfig')}}}]" if hang else "[]"
        )
        top = f"global: {{digest_after: 0}}\nclusters: {clusters}"
        service = await stack.enter_async_context(process(routes_yaml(vendors, folder, top=top, receivers=receivers)))
        if hang:
            api.hang()
        answered, posted = await _storm(service, count)
        await vendors.until(lambda v: len(v.incidents()) == count, timeout=300)
        first = {one.json["payload"]["component"]: one.at for one in vendors.seen("pagerduty", "trigger")[::-1]}
        api.release()
    waits = sorted(first[name] - at for name, at in answered.items())
    hanging = ", the API server hangs" if hang else ""
    print(f"{count} alerts, {AT_ONCE} at a time{hanging}: all answered after {posted:.2f} s")
    print(f"200 to page: median {waits[len(waits) // 2]:.2f} s, longest {waits[-1]:.2f} s")


async def _storm(service: Process, count: int) -> tuple[dict[str, float], float]:
    """Return when each plan's alert was answered, and after how many seconds all were."""
    answered: dict[str, float] = {}
    gate = asyncio.Semaphore(AT_ONCE)
    async with httpx2.AsyncClient(timeout=30) as http:

        async def post(number: int) -> None:
            name = f"plan-{number:04}"
            one = alert(failed(f"00000000-0000-4000-8000-{number:012}", name))
            async with gate:
                (await http.post(f"{service.url}/webhook", json=body(one))).raise_for_status()
                answered[name] = time.monotonic()

        began = time.monotonic()
        await asyncio.gather(*(post(number) for number in range(count)))
    return answered, time.monotonic() - began


if __name__ == "__main__":
    numbers = [int(one) for one in sys.argv[1:] if one.isdecimal()]
    asyncio.run(main(numbers[0] if numbers else 300, hang="--hang" in sys.argv))
