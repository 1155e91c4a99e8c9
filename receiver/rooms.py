"""Does the Plan of a story find room in its target, or in another cluster?

Every failed or stuck Plan is asked about, but in a storm only those that room may explain: what a storm costs the
clusters must not grow with the number of its Plans.
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

TIMEOUT_S: Final = 15.0
"""So long may an answer take, the wait for other stories included; else a story goes without."""
AT_ONCE: Final = 2
CAPACITY_CAUSES: Final = frozenset(
    {
        *("live-unschedulable", "live-quota", "live-quota-gate", "quota"),
        *("storage-full", "provisioning-failed", "volume-no-fit", "volume-unbound"),
    }
)
"""Causes that have to do with room, by their ids."""


def may_explain(evidence: Evidence) -> bool:
    """Can room, or the lack of it, tell why this failed or waits?"""
    cause = evidence.cause.id if evidence.cause is not None else ""
    return evidence.mode == "live" or bool(evidence.waits) or cause in CAPACITY_CAUSES


class Rooms:
    """Asks for stories, a few at a time."""

    def __init__(self, config: Config, clusters: Mapping[str, Cluster], clock: Clock, supply: Supply) -> None:
        self._config = config
        self._clusters = clusters
        self._clock = clock
        self._supply = supply
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def of(self, identity: Identity, evidence: Evidence) -> Room | None:
        """Return what is known of a Plan's room; None where that would tell nothing, or could not be had in time."""
        home, explains = self._clusters.get(identity.cluster), may_explain(evidence)
        if home is None or not identity.namespace or not (explains or not self._gate.locked()):
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
        if found.verdict is Verdict.UNKNOWN and not explains:
            return None
        others = found.ranking.clusters
        return Room(
            cluster=found.answer.cluster,
            verdict=found.verdict.value,
            text=found.headline,
            others=tuple(f"{one.cluster}: {reason(one.answer)}" for one in others),
            fitting=tuple(one.cluster for one in others if one.verdict is Verdict.FITS),
        )
