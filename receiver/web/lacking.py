"""Which rights we lack in clusters: asked at most once in FRESH_S, and only by who looks at the status."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from receiver.clock import Clock
from receiver.config.model import ClusterConfig, Config
from receiver.kube import Cluster, ClusterError

FRESH_S: Final = 60.0
"""So long an answer counts, the one that there was none, too."""
ANSWER_S: Final = 3.0
"""How long a cluster may take for all questions together."""


@dataclass(frozen=True, slots=True)
class Lacking:
    """What one cluster said."""

    names: tuple[str, ...] = ()
    """Rights that every cluster needs and this one does not grant."""
    why: str = ""
    """Why that is not known."""


class Rights:
    """Asks clusters, and remembers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[ClusterConfig, tuple[float, Lacking]] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def of(self, config: Config, clusters: Mapping[str, Cluster]) -> dict[str, Lacking]:
        """Return what each API server says that is configured and used; never raises for what one of them does."""
        asked = [one for one in config.clusters if one.must_gather is None and one.name in clusters]
        self._kept = {one: kept for one, kept in self._kept.items() if one in config.clusters}
        answers = await asyncio.gather(*(self._one(one, config) for one in asked))
        return {one.name: answer for one, answer in zip(asked, answers, strict=True)}

    async def _one(self, cluster: ClusterConfig, config: Config) -> Lacking:
        async with self._locks[cluster.name]:  # who looks at the same time waits for the same answer
            kept = self._kept.get(cluster)
            if kept is not None and self._clock.monotonic() - kept[0] < FRESH_S:
                return kept[1]
            found = await _ask(cluster, config)
            self._kept[cluster] = (self._clock.monotonic(), found)
            return found


async def _ask(cluster: ClusterConfig, config: Config) -> Lacking:
    from receiver.kube.review import missing_rights  # with the client below: a service without clusters spares it
    from receiver.kube.rights import RIGHTS, beside

    needed = [*(one for one in RIGHTS if not one.optional), *beside(config, cluster.name)]
    try:
        lacking = await missing_rights(
            cluster.name, cluster.kubeconfig_file, timeout_s=ANSWER_S, rights=needed, http=cluster.http
        )
    except ClusterError as error:
        return Lacking(why=error.message)
    return Lacking(tuple(one.name for one in lacking))
