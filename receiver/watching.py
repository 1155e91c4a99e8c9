"""What the workers share that watch Plans: which clusters, and who reads and speaks for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from receiver.config.model import ClusterConfig, Config
from receiver.kube import Cluster
from receiver.watch_rules import Notices


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
