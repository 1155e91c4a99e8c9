"""A client in a process of its own that costs little: requests on kept connections, written and read by hand.

`python -m benchmarks.load PORT CONNECTIONS SECONDS ALERTS [RATE]` prints one line of JSON. Without RATE every
connection asks as soon as it was answered; with RATE (requests per second in all) requests have a time at which they
are due, and the time that one waits because an earlier answer is late counts as its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field

from tests.acceptance.harness import alert, body, failed

BODIES = 200
"""Different bodies, sent in turn: the first round opens stories, later ones repeat them, as Alertmanager does."""


@dataclass
class Load:
    """What came of it."""

    seconds: float
    statuses: dict[int, int] = field(default_factory=dict)
    p50_s: float = 0.0
    p99_s: float = 0.0
    longest_s: float = 0.0
    behind: int = 0
    """Requests that were due and not sent when the time was over."""

    @property
    def rate(self) -> float:
        """Answers of 200 per second."""
        return self.statuses.get(200, 0) / self.seconds


def requests(alerts: int) -> list[bytes]:
    """Return whole requests, head and body."""
    return [request(body(*(one_alert(which, at) for at in range(alerts)))) for which in range(BODIES)]


def one_alert(which: int, at: int) -> dict[str, object]:
    """Return an alert of a plan of its own."""
    summary = {
        "summary": "Migration plan failed",
        "description": "Cold migration plan\nfailed on ConvertGuest phase.\n",
    }
    labels = failed(f"{which:08x}-{at:04x}-4000-8000-000000000000", f"wave-{which}-{at}", instance="10.128.2.17:2112")
    return alert(labels, annotations=summary)


def request(document: object) -> bytes:
    """Return a POST of a document as Alertmanager writes it."""
    content = json.dumps(document).encode()
    head = (
        "POST /webhook HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Alertmanager/0.28.0\r\n"
        f"Content-Length: {len(content)}\r\nContent-Type: application/json\r\n\r\n"
    )
    return head.encode() + content


class Plan:
    """Who sends what when."""

    def __init__(self, alerts: int, seconds: float, rate: float | None) -> None:
        self.wire = requests(alerts)
        self.began = time.perf_counter()
        self.ends = self.began + seconds
        self.rate = rate
        self.sent = 0
        self.statuses: Counter[int] = Counter()
        self.took: list[float] = []

    def next(self) -> tuple[bytes, float] | None:
        """Return the next request and when it is due; None when the time is over."""
        now = time.perf_counter()
        due = now if self.rate is None else self.began + self.sent / self.rate
        if max(now, due) >= self.ends:
            return None
        self.sent += 1
        return self.wire[self.sent % len(self.wire)], due


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, plan: Plan) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._plan = plan
        self._got = b""
        self._due = 0.0
        self._wants = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def _next(self) -> None:
        found = self._plan.next()
        if found is None:
            self._transport.close()
            return
        content, self._due = found
        wait = self._due - time.perf_counter()
        if wait > 0:
            asyncio.get_running_loop().call_later(wait, self._transport.write, content)
        else:
            self._transport.write(content)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, found, rest = self._got.partition(b"\r\n\r\n")
        if not found:
            return
        if not self._wants:
            self._wants = int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0])
        if len(rest) < self._wants:
            return
        self._got, self._wants = b"", 0
        self._plan.statuses[int(head[9:12])] += 1
        self._plan.took.append(time.perf_counter() - self._due)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._plan.statuses[0] += 1
        self.over.set_result(None)


async def load(port: int, connections: int, seconds: float, alerts: int, rate: float | None) -> Load:
    """Send for so many seconds."""
    plan = Plan(alerts, seconds, rate)
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: Client(plan), "127.0.0.1", port) for _ in range(connections)]
    await asyncio.gather(*(client.over for _, client in made))
    took = sorted(plan.took) or [0.0]
    due = 0 if rate is None else max(0, int(rate * seconds) - plan.sent)
    last = time.perf_counter() - plan.began
    return Load(last, dict(plan.statuses), took[len(took) // 2], took[len(took) * 99 // 100], took[-1], due)


async def run(port: int, connections: int, seconds: float, alerts: int, rate: float | None = None) -> Load:
    """Send from a process of its own."""
    words = [str(port), str(connections), str(seconds), str(alerts), *([str(rate)] if rate else [])]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.load", *words, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    found = json.loads(said)
    found["statuses"] = {int(key): value for key, value in found["statuses"].items()}
    return Load(**found)


if __name__ == "__main__":
    given = [float(word) for word in sys.argv[1:]]
    rate = given[4] if len(given) > 4 else None
    print(json.dumps(asdict(asyncio.run(load(int(given[0]), int(given[1]), given[2], int(given[3]), rate)))))
