"""Fetches evidence for open stories: severe ones first, then the newest; again later where something passing failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

import structlog

from receiver.clock import Clock
from receiver.config.model import Config
from receiver.enrichers.evidence import Settings, gather_plan
from receiver.enrichers.facts import evidence_facts
from receiver.enrichers.redact import Redactor
from receiver.kube import Cluster
from receiver.metrics import Metrics
from receiver.model import Alert
from receiver.record import Recorder
from receiver.routing.tree import Routed, route
from receiver.store import deliveries, stories
from receiver.store.engine import NOW, Conn, Store
from receiver.store.stories import Draft

log = structlog.get_logger(__name__)

AT_ONCE = 8
IDLE_S = 1.0
AGAIN_MIN_S = 5.0
AGAIN_MAX_S = 300.0


class Gatherer:
    """Runs until cancelled."""

    def __init__(
        self,
        store: Store,
        config: Config,
        clusters: Mapping[str, Cluster],
        recorder: Recorder,
        redactor: Redactor,
        clock: Clock,
        metrics: Metrics,
        *,
        on_change: Callable[[], None],
    ) -> None:
        self._store = store
        self._config = config
        self._clusters = clusters
        self._recorder = recorder
        self._redactor = redactor
        self._clock = clock
        self._metrics = metrics
        self._on_change = on_change
        self._wake = asyncio.Event()
        self._in_hand: dict[str, asyncio.Task[None]] = {}
        self._settings = Settings(runbooks=config.runbooks)

    def wake(self) -> None:
        """Say that a story may want evidence."""
        self._wake.set()

    async def run(self) -> None:
        """Gather for ever."""
        try:
            while True:
                self._wake.clear()
                free = AT_ONCE - len(self._in_hand)
                if free > 0:
                    due = await self._store.read(
                        partial(stories.due_evidence, limit=free, in_hand=tuple(self._in_hand))
                    )
                    for story in due:
                        task = asyncio.create_task(self._gather(story), name=f"gather-{story}")
                        self._in_hand[story] = task
                        task.add_done_callback(partial(self._done, story))
                try:
                    async with asyncio.timeout(IDLE_S):
                        await self._wake.wait()
                except TimeoutError:
                    pass
        finally:
            for task in self._in_hand.values():
                task.cancel()
            await asyncio.gather(*self._in_hand.values(), return_exceptions=True)

    def _done(self, story: str, _: object) -> None:
        del self._in_hand[story]
        self._wake.set()

    async def _gather(self, story: str) -> None:
        try:
            await self._gather_one(story)
        except Exception:
            self._metrics.bugs.labels("gather").inc()
            log.exception("gather.bug", story=story)
            await self._store.write(lambda conn: stories.set_gather_due(conn, story, NOW + AGAIN_MAX_S))

    async def _gather_one(self, story: str) -> None:
        draft = await self._store.read(lambda conn: stories.load_draft(conn, story, 0.0))
        cluster = self._clusters.get(draft.identity.cluster) if draft and draft.identity else None
        if draft is None or draft.identity is None or cluster is None or not draft.open:
            await self._store.write(lambda conn: stories.set_gather_due(conn, story, None))
            return
        if not draft.identity.namespace:
            # Nothing to read before the Plan is found, and then evidence is wanted anew: only let nobody wait for it.
            await self._store.write(lambda conn: _nothing_yet(conn, story, draft.gather_due))
            self._on_change()
            return
        newest = max(draft.failures, key=lambda row: row.seq, default=None)
        evidence = await gather_plan(
            cluster,
            draft.identity,
            newest.alert.annotations if newest else {},
            redactor=self._redactor,
            now=self._clock.now(),
            timeout_s=self._config.global_.evidence_timeout_s,
            alertname=newest.alert.name if newest else "",
            settings=self._settings,
        )
        again = None if evidence.complete else min(AGAIN_MAX_S, AGAIN_MIN_S * 2.0 ** min(draft.gather_tries, 10))

        def route_again(current: Draft, alert: Alert) -> Routed:
            facts = current.identity.facts if current.identity else {}
            return route(alert.labels, {**facts, **evidence_facts(evidence)}, self._config)

        await self._store.write(
            lambda conn: self._recorder.gathered(conn, story, evidence, route_again, again, draft.gather_due)
        )
        self._on_change()


async def _nothing_yet(conn: Conn, story: str, seen_due: float | None) -> None:
    await stories.set_gather_due(conn, story, None, seen_due)
    await deliveries.hurry(conn, story, await stories.now_of(conn))
