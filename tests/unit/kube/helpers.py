"""What the tests of clusters share: small Plans, quick time-outs, a watch that can be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from receiver.kube import Cluster, PlanEvent
from receiver.kube.api import Limits
from receiver.kube.client import LiveCluster
from receiver.kube.watch import WatchTimes
from tests.fakes.kubernetes import KubernetesApi

DATA = Path(__file__).parents[2] / "data" / "kube"
EXAMPLE = Path(__file__).parents[3] / "examples" / "must-gather"
ERP_UID = "3f0c3d0e-6c55-4f0a-9c1b-0a7a5a2e41d1"

QUICK = WatchTimes(length=60, silence=5.0, pause_min=0.01, pause_max=0.05, refused_pause=0.05, lost_after=20.0)


def plan(name: str, *states: str, namespace: str = "team", uid: str | None = None, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "forklift.konveyor.io/v1beta1",
        "kind": "Plan",
        "metadata": {"name": name, "namespace": namespace, "uid": uid or f"uid-{namespace}-{name}", **metadata},
        "spec": {"targetNamespace": "target"},
        "status": {"conditions": [{"type": state, "status": "True"} for state in states]},
    }


def cluster_for(api: KubernetesApi, folder: Path, **options: Any) -> LiveCluster:
    limits = options.pop("limits", Limits(request_timeout=5.0, connect_timeout=2.0))
    times = options.pop("times", QUICK)
    path = options.pop("kubeconfig", None) or api.write_kubeconfig(folder / "kubeconfig")
    return LiveCluster.from_kubeconfig("local", path, limits=limits, times=times, jitter=lambda: 0.0, **options)


class Watched:
    """The events of a watch, in order."""

    def __init__(self) -> None:
        self.events: list[PlanEvent] = []
        self._news = asyncio.Event()

    def take(self, event: PlanEvent) -> None:
        self.events.append(event)
        self._news.set()

    def told(self, kind: str, name: str | None = None) -> int:
        """Count the events of a kind, about one Plan or any."""
        return sum(
            event.kind == kind and (name is None or (event.row is not None and event.row.name == name))
            for event in self.events
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._news.clear()
                await self._news.wait()


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for a state that no event announces."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def watching(cluster: Cluster) -> AsyncIterator[Watched]:
    """Run a watch for the length of the block; a watch that ends of itself is an error."""
    watched = Watched()
    task = asyncio.create_task(cluster.watch(watched.take))
    try:
        yield watched
        assert not task.done(), "the watch ended"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
