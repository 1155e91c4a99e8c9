"""A real Alertmanager, us and a stand-in for Slack, beside Alertmanager's own Slack notifier, for the same alerts.

`python -m benchmarks.latency [--count 200]`: every alert is a group of its own and goes to both by `continue: true`.
What we add to an alert is when our message is asked for at the sink, less when Alertmanager's own is.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import yaml

from benchmarks.table import Row, arguments, end, spread
from tests.acceptance.harness import failed, routes_yaml, slack
from tests.acceptance.process import process
from tests.fakes.processes import free_port, program
from tests.fakes.vendors import FakeVendors, SeenRequest
from tests.servers import need

EVERY_S = 0.1
P50_S = 0.05
P99_S = 0.25
TOP = "global: {digest_after: 0}\nclusters: []"
_PLAN = re.compile(r"plan-(\d+)-x")


async def measure(count: int) -> list[Row]:
    """Fire `count` alerts, one after the other, and pair what came."""
    alertmanager, port = need("prometheus-alertmanager", "prometheus-alertmanager"), free_port()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        vendors = await stack.enter_async_context(FakeVendors())
        receivers = f"- name: platform\n  {slack('#platform')}\n"
        config = routes_yaml(vendors, folder, top=TOP, receivers=receivers)
        service = await stack.enter_async_context(process(config))
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(_alertmanager(service.url, vendors)))
        command = [
            alertmanager, "--config.file=alertmanager.yml", "--storage.path=alertmanager-data",
            f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
        ]  # fmt: skip
        await stack.enter_async_context(program("alertmanager", command, port, folder))
        async with httpx2.AsyncClient(timeout=10, trust_env=False) as http:
            for number in range(count):
                labels = failed(f"00000000-0000-4000-8000-{number:012}", f"plan-{number}-x")
                alert = {"labels": labels, "annotations": {"summary": "Migration plan failed"}}
                (await http.post(f"http://127.0.0.1:{port}/api/v2/alerts", json=[alert])).raise_for_status()
                await asyncio.sleep(EVERY_S)
        await vendors.until(lambda v: len(_first(v, own=False)) == len(_first(v, own=True)) == count, timeout=60)
        ours, theirs = _first(vendors, own=False), _first(vendors, own=True)
    added = sorted(ours[number] - theirs[number] for number in theirs)
    p50, p99 = added[len(added) // 2], added[len(added) * 99 // 100]
    return [
        Row(f"latency: added to Alertmanager's own, p50 of {count}", f"{p50 * 1000:.0f} ms", "<= 50 ms", p50 <= P50_S),
        Row("latency: added, p99", f"{p99 * 1000:.0f} ms", "<= 250 ms", p99 <= P99_S),
        Row("latency: added, median (least to most)", f"{spread([one * 1000 for one in added], '{:.0f}')} ms"),
    ]


def _first(vendors: FakeVendors, *, own: bool) -> dict[int, float]:
    """Return when the first message of each alert was asked for."""
    found: dict[int, float] = {}
    for one in vendors.seen("slack", "chat.postMessage"):
        number = _PLAN.search(json.dumps(one.json))
        if number is not None and _is_own(one) is own:
            found.setdefault(int(number[1]), one.at)
    return found


def _is_own(one: SeenRequest) -> bool:
    return one.headers.get("user-agent", "").startswith("Alertmanager")


def _alertmanager(service: str, vendors: FakeVendors) -> dict[str, object]:
    own = {
        "api_url": f"{vendors.slack_url}chat.postMessage",
        "channel": "#platform",
        "title": "{{ .CommonLabels.plan_name }}",
        "http_config": {"authorization": {"credentials": "xoxb-test"}},
    }
    timing = {"group_by": ["plan"], "group_wait": "0s", "group_interval": "1h", "repeat_interval": "4h"}
    routes = [{"receiver": "own", "continue": True}, {"receiver": "mtv-receiver"}]
    return {
        "route": {"receiver": "own", **timing, "routes": routes},
        "receivers": [
            {"name": "own", "slack_configs": [own]},
            {"name": "mtv-receiver", "webhook_configs": [{"url": f"{service}/webhook/main"}]},
        ],
    }


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--count", type=int, default=200)
    given = parser.parse_args()
    sys.exit(end("Latency", asyncio.run(measure(given.count)), given))
