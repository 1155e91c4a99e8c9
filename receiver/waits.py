"""Finds Plans that do not go on: VMs that wait or stand still while they run, and Plans that are not ready.

What it finds is told through `receiver.watch`, which raises and ends the alerts. On the way it keeps what the objects
of a migration looked like, since Forklift deletes them when a live VM fails. Whole Plans come from `receiver.watch`,
too, as they are read there; whose objects are listed when: `receiver.waits_pace`; when and how a wait is told:
`receiver.waits_rules`.

What is kept does not depend on which alerts are switched on: any failed Plan's story shows it. Only `watch.alerts: []`
ends that, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from receiver.clock import Clock
from receiver.config.model import ClusterConfig, Config
from receiver.enrichers.evidence import destination_of
from receiver.enrichers.planstate import plan_phase, provider, run_uid
from receiver.enrichers.reading import dig, text
from receiver.enrichers.view import read_view
from receiver.forever import for_ever
from receiver.kube import Cluster, PlanRow
from receiver.metrics import Metrics
from receiver.model import Missing, PlanPhase
from receiver.store import snapshots
from receiver.store.engine import Store
from receiver.stuck import Stuck, View, not_ready, to_json
from receiver.stuck.tails import Tail
from receiver.waits_going import Going, seen_in
from receiver.waits_pace import UNREADY_PER_MINUTE, VIEW_EVERY_S, VIEWS_FOR_LIVE, VIEWS_PER_MINUTE, Turns
from receiver.waits_rules import is_news, not_ready_notice, stuck_notice, waits_of
from receiver.watch_rules import NOT_READY, STUCK
from receiver.watching import Voice, live

log = structlog.get_logger(__name__)

TICK_S = 0.5
VIEW_TIMEOUT_S = 20.0
PROVIDER_S = 3.0
SWEEP_EVERY_S = 30.0
"""How often what is kept of Plans that have succeeded is dropped."""
UNREADY_EVERY_S = 60.0
"""How often a Plan that is not ready is read while it changes, or while something is too young to be told."""
PLACES_FRESH_S = 600.0
"""How long a Provider that was read counts."""


@dataclass(slots=True)
class _Watched:
    config: ClusterConfig
    cluster: Cluster
    views: Turns = field(default_factory=lambda: Turns(VIEWS_PER_MINUTE, VIEWS_FOR_LIVE))
    unready: Turns = field(default_factory=lambda: Turns(UNREADY_PER_MINUTE))
    judged: dict[str, str] = field(default_factory=dict)
    """Plans that are not ready and of which nothing more is to be told: UID → version."""
    going: dict[str, Going] = field(default_factory=dict)
    synced: bool = False
    swept_at: float = float("-inf")


class Waits:
    """Runs until cancelled."""

    def __init__(
        self,
        store: Store,
        config: Config,
        clusters: Mapping[str, Cluster],
        clock: Clock,
        metrics: Metrics,
        redact: Callable[[str], tuple[str, int]],
        voice: Voice,
    ) -> None:
        self._store = store
        self._watch = config.watch
        self._clock = clock
        self._metrics = metrics
        self._redact = lambda text: redact(text)[0]
        self._voice = voice
        self._destinations = {
            provider: clusters[one.name]
            for one in config.clusters
            for provider in one.providers
            if one.name in clusters
        }
        self._watched = {one.name: _Watched(one, cluster) for one, cluster in live(config, clusters)}

    async def run(self) -> None:
        """Work for ever."""
        again = partial(for_ever, name="waits", clock=self._clock, metrics=self._metrics, raises=False)
        async with asyncio.TaskGroup() as all_of_them:
            for one in self._watched.values():  # a cluster that hangs holds up no other
                all_of_them.create_task(again(partial(self._round, one), TICK_S))
            await asyncio.Event().wait()  # without a cluster, too: a worker never ends

    async def _round(self, one: _Watched) -> None:
        index = one.cluster.plans()
        if not index.synced or index.problem is not None or not await self._voice.ours():
            return
        now = self._clock.monotonic()
        self._sort(one, index.rows(), now)
        if self._watch.alerts:
            uid = one.views.next(now, partial(self._voice.may_read, one.config.name))
            if uid is not None:
                await self._look(one, uid)
        if NOT_READY in self._watch.alerts:
            uid = one.unready.next(now, partial(self._may_read_unready, one))
            if uid is not None:
                await self._read_unready(one, uid)
        if now - one.swept_at >= SWEEP_EVERY_S:
            one.swept_at = now
            await self._sweep(one)

    def _sort(self, one: _Watched, rows: tuple[PlanRow, ...], now: float) -> None:
        """Take in what the watch knows: who runs, and who is not ready."""
        running = {row.uid for row in rows if row.executing}
        for uid in [uid for uid in one.going if uid not in running]:
            del one.going[uid]
            one.views.remove(uid)
        unready = {
            row.uid: row for row in rows if not row.ready and (row.executing or not (row.failed or row.succeeded))
        }
        for uid in [uid for uid in one.unready.names() if uid not in unready]:
            one.unready.remove(uid)
        for uid in [uid for uid in one.judged if uid not in unready]:
            del one.judged[uid]
        for uid, row in unready.items():
            version = int(row.resource_version) if row.resource_version.isdecimal() else 0
            one.unready.add(uid, now, newest=None if one.synced else version)
        one.synced = True

    async def _sweep(self, one: _Watched) -> None:
        """Drop what is kept of Plans that have succeeded."""
        index = one.cluster.plans()
        rows = [
            index.by_uid(uid) for uid in await self._store.browse(partial(snapshots.plans_of, cluster=one.config.name))
        ]
        over = [row.uid for row in rows if row is not None and row.succeeded and not row.executing]
        if over:
            await self._store.write(lambda conn: snapshots.drop(conn, over))

    # --- VMs that stand still ---

    async def planned(self, cluster: str, plan: dict[str, Any]) -> None:
        """Take in a whole Plan that executes, as it was just read."""
        one, uid = self._watched.get(cluster), text(dig(plan, "metadata", "uid"))
        if one is None or not self._watch.alerts:
            return
        going = await self._going(one, uid, run_uid(plan))
        still = await asyncio.to_thread(going.move, plan, self._clock.now())
        if going.wants_look(plan, self._clock.now()):
            one.views.add(uid, self._clock.monotonic(), first=going.is_live(plan))
            await self._tell(one, uid, going, still)
        else:
            one.views.remove(uid)
            going.blocks, going.told = (), {}
            await self._voice.tell(cluster, uid, {STUCK: None})

    async def _going(self, one: _Watched, uid: str, run: str) -> Going:
        going = one.going.get(uid)
        if going is None or going.run != run:
            going = Going.again(run, await self._store.browse(lambda conn: snapshots.marks_of(conn, uid, run)))
            one.going[uid] = going
        return going

    async def _look(self, one: _Watched, uid: str) -> None:
        """Look at the objects of a Plan whose turn it is."""
        plan = await self._voice.read(one.config.name, uid)
        going = one.going.get(uid)
        # What has ended since is not looked at: Forklift has deleted its objects, so that nothing seems to wait.
        if plan is not None and plan_phase(plan) is PlanPhase.EXECUTING and going is not None and uid in one.views:
            self._metrics.views.labels(one.config.name).inc()
            await self._judge(one, uid, going, plan)
        one.views.again(uid, self._clock.monotonic() + VIEW_EVERY_S)

    async def _judge(self, one: _Watched, uid: str, going: Going, plan: dict[str, Any]) -> None:
        target, source = await self._places(one, going, plan)
        now, run, name = self._clock.now(), going.run, one.config.name
        view, missing, logs = View(plan, now), tuple[Missing, ...](), tuple[Tail, ...]()
        if target is not None:
            view, missing = await read_view(one.cluster, target, plan, now, source=source, timeout_s=VIEW_TIMEOUT_S)
            logs = await going.tails.read(target, view, self._clock.monotonic(), now)
        old = await self._store.browse(lambda conn: snapshots.of_run(conn, uid, run))
        seen = await asyncio.to_thread(seen_in, view, old[0] if old is not None else None, self._redact, logs)
        going.details = {**going.details, **seen.details} if missing else seen.details
        still = await asyncio.to_thread(going.move, plan, now)
        going.put(seen.blocks, now)
        whole = target is not None and not missing
        await self._tell(one, uid, going, still, is_over=whole and going.may_end(seen.blocks, still))
        keep, marks = seen.keep if target is not None else None, to_json(going.marks)
        if keep is not None or marks != going.saved:
            if not await self._store.write(lambda conn: snapshots.save(conn, uid, run, name, keep, marks)):
                log.warning("waits.not_kept", cluster=name, plan=uid, why="too large")
            going.saved = marks

    async def _tell(
        self, one: _Watched, uid: str, going: Going, still: tuple[Stuck, ...], *, is_over: bool = False
    ) -> None:
        """Tell what has lasted for long enough; that nothing has, only where the objects or the VMs' moves say so."""
        waits = waits_of(going.blocks, still, self._clock.now(), self._watch.stuck_after_s)
        notice = stuck_notice(waits, going.total, self._redact)
        if notice is not None or is_over or going.moved_on:
            going.tells(waits)
            await self._voice.tell(one.config.name, uid, {STUCK: notice})

    async def _places(self, one: _Watched, going: Going, plan: dict[str, Any]) -> tuple[Cluster | None, Cluster | None]:
        """Return the clusters that the VMs go to and, where that is known, that they come from."""
        now = self._clock.monotonic()
        if going.places is None or now - going.placed_at >= PLACES_FRESH_S:
            other, unreadable, _ = await destination_of(one.cluster, plan, self._destinations, PROVIDER_S)
            namespace = text(dig(plan, "spec", "provider", "source", "namespace"))
            namespace = namespace or text(dig(plan, "metadata", "namespace"))
            source = self._destinations.get(f"{namespace}/{provider(plan, 'source')}")
            going.places, going.placed_at = (None if unreadable is not None else other or one.cluster, source), now
        return going.places

    # --- Plans that are not ready ---

    def _may_read_unready(self, one: _Watched, uid: str) -> bool:
        row = one.cluster.plans().by_uid(uid)
        if row is None or one.judged.get(uid) == row.resource_version:
            return False
        return not row.executing or self._voice.may_read(one.config.name, uid)

    async def _read_unready(self, one: _Watched, uid: str) -> None:
        plan, name = await self._voice.read(one.config.name, uid), one.config.name
        one.unready.again(uid, self._clock.monotonic() + UNREADY_EVERY_S)
        row, now = one.cluster.plans().by_uid(uid), self._clock.now()
        if plan is None or row is None:
            return
        standing = not_ready(plan, now)
        if self._voice.told(uid, NOT_READY) or is_news(standing, now, executing=row.executing):
            place = f"{row.namespace}/{row.name}"
            notice = not_ready_notice(standing, place, self._redact, executing=row.executing)
            await self._voice.tell(name, uid, {NOT_READY: notice})
            if notice is not None and not self._voice.told(uid, NOT_READY):
                return  # the watch was lost meanwhile
        if len(not_ready(plan, now, older_than_s=0.0)) == len(standing):  # else some are too young to be told
            one.judged[uid] = text(dig(plan, "metadata", "resourceVersion"))
