"""What the workers share that watch Plans: which clusters, rounds without end, and who reads and speaks for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import structlog

from receiver.clock import Clock
from receiver.config.model import ClusterConfig, Config
from receiver.kube import Cluster
from receiver.metrics import Metrics
from receiver.watch_rules import Notices

log = structlog.get_logger(__name__)


class Voice(Protocol):
    """What reads Plans and speaks for us: `receiver.watch.OwnAlerts`."""

    async def ours(self) -> bool: ...
    def told(self, uid: str, name: str) -> bool: ...
    def may_read(self, cluster: str, uid: str) -> bool: ...
    async def read(self, cluster: str, uid: str) -> dict[str, Any] | None: ...
    async def tell(self, cluster: str, uid: str, notices: Notices) -> None: ...


def live(config: Config, clusters: Mapping[str, Cluster]) -> list[tuple[ClusterConfig, Cluster]]:
    """Return the clusters where something may happen. What was gathered once does not go on: it raises nothing."""
    return [(one, clusters[one.name]) for one in config.clusters if one.name in clusters and one.must_gather is None]


async def for_ever(
    work: Callable[[], Awaitable[None]], seconds: float, *, name: str, clock: Clock, metrics: Metrics
) -> None:
    """Work in rounds, with a rest of so many seconds after each. A bug of ours costs one round and is counted."""
    while True:
        try:
            await work()
        except Exception:
            metrics.bugs.labels(name).inc()
            log.exception(f"{name}.bug")
        await clock.sleep(seconds)
