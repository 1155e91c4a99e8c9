"""Does the Plan of a story find room in its target, or in another cluster?

Every failed or stuck Plan is asked about where failures are rare; of many only those that room may explain: what a
storm costs the clusters must not grow with the number of its Plans.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from receiver.capacity import Verdict
from receiver.clock import Clock
from receiver.config.model import Config
from receiver.kube import Cluster, ClusterError
from receiver.model import Evidence, Identity, Room
from receiver.plan_capacity import plan_capacity
from receiver.room.supply import Supply
from receiver.room.words import reason
from receiver.rooms_rules import Looked, may_explain

TIMEOUT_S: Final = 15.0
"""So long may an answer take, the wait for other stories included; else a story goes without."""
AT_ONCE: Final = 2
REST_S: Final = 60.0
"""So long nobody asks for a Plan that room does not explain, after somebody did: an answer costs a dozen lists."""


class Rooms:
    """Asks for stories, a few at a time."""

    def __init__(self, config: Config, clusters: Mapping[str, Cluster], clock: Clock, supply: Supply) -> None:
        self._config = config
        self._clusters = clusters
        self._clock = clock
        self._supply = supply
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._asked: dict[str, float] = {}
        """When a Plan of a cluster was asked about last that room does not explain."""

    async def of(self, identity: Identity, evidence: Evidence) -> Looked | None:
        """Return what is to be said of a Plan's room; None where nobody looked, or it could not be had in time."""
        home, explains = self._clusters.get(identity.cluster), may_explain(evidence)
        if home is None or not identity.namespace or not (explains or self._may_ask(home.name)):
            return None
        try:
            async with asyncio.timeout(TIMEOUT_S), self._gate:
                plan = await home.get_plan(identity.namespace, identity.name)
                if plan is None:
                    return None
                found = await plan_capacity(
                    self._config, home, plan, clusters=self._clusters, supply=self._supply, now=self._clock.now()
                )
        except (TimeoutError, ClusterError):
            return None
        if not explains and found.verdict is Verdict.UNKNOWN:
            return None
        if not explains and found.verdict is Verdict.FITS:
            return Looked(None)
        others = found.ranking.clusters
        return Looked(
            Room(
                cluster=found.answer.cluster,
                verdict=found.verdict.value,
                text=found.headline,
                others=tuple(f"{one.cluster} {reason(one.answer)}" for one in others),
                fitting=tuple(one.cluster for one in others if one.verdict is Verdict.FITS),
            )
        )

    def _may_ask(self, cluster: str) -> bool:
        now = self._clock.monotonic()
        if now - self._asked.get(cluster, float("-inf")) < REST_S:
            return False
        self._asked[cluster] = now
        return True
