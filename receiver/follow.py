"""Follows what open stories are about: the Plan watch, late look-ups and the timers that close stories."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any

import structlog

from receiver.config.model import Config
from receiver.enrichers.facts import OF_NAMESPACES, evidence_facts
from receiver.identify import Identifier
from receiver.kube import Cluster, PlanEvent, PlanRow
from receiver.metrics import Metrics
from receiver.model import Alert, Identity, PlanPhase, PlanState
from receiver.record import Recorder
from receiver.routing.tree import Routed, nodes, route
from receiver.routing.wishes import FACTS
from receiver.store import stories
from receiver.store.engine import Conn, Store
from receiver.store.stories import Draft

log = structlog.get_logger(__name__)

IDLE_S = 0.5
PROBE_EVERY_S = 2.0
IDENTIFY_AGAIN_MIN_S, IDENTIFY_AGAIN_MAX_S = 5.0, 300.0
IDENTIFY_AGAIN_SHARE = 0.25
"""An identity is asked for again after so much of the time that has passed since the story's newest alert."""
LIMIT = 200
NAMESPACE_REST_S = 10.0
"""Between two looks at the open stories of one namespace, however often somebody changes an annotation."""


class Follower:
    """Runs until cancelled."""

    def __init__(
        self,
        store: Store,
        config: Config,
        clusters: Mapping[str, Cluster],
        identifier: Identifier,
        recorder: Recorder,
        metrics: Metrics,
        *,
        on_change: Callable[[], None],
        on_event: Callable[[str, PlanEvent], None] | None = None,
    ) -> None:
        """`on_event` hears of every event of every cluster's watch, too; it must not block."""
        self._store = store
        self._config = config
        self._clusters = clusters
        self._identifier = identifier
        self._recorder = recorder
        self._metrics = metrics
        self._on_change = on_change
        self._on_event = on_event
        self._moved: dict[tuple[str, str], PlanRow] = {}
        self._synced: set[str] = set()
        self._changed_namespaces: set[tuple[str, str]] = set()
        self._resting: dict[tuple[str, str], float] = {}
        """Namespaces that were looked at a moment ago."""
        self._namespaces: dict[tuple[str, str], Mapping[str, str]] = {}
        """What was seen of each that matters."""
        self._of_namespaces = {*FACTS.values(), *(one.name for node in nodes(config.route) for one in node.matchers)}
        self._unfollowed: frozenset[str] = frozenset()
        """Open stories whose cluster is no longer configured: no watch tells of them."""
        self._wake = asyncio.Event()

    async def watch(self, cluster: Cluster) -> None:
        """Follow one cluster's Plans for ever."""
        async with asyncio.TaskGroup() as both:
            both.create_task(cluster.watch(lambda event: self._noticed(cluster.name, event)))
            both.create_task(self._probe(cluster))

    async def _probe(self, cluster: Cluster) -> None:
        """Ask for all stories at once whether a cluster answers again, or at all while its Plans are not known yet.

        So no alert has to find out, and pays for it with a time-out.
        """
        while True:
            await asyncio.sleep(PROBE_EVERY_S)
            await self._safely(self._probe_once(cluster))

    async def _probe_once(self, cluster: Cluster) -> None:
        rested = self._identifier.rests_s(cluster.name) > 0
        if (rested or not cluster.plans().synced) and await self._identifier.probe(cluster) and rested:
            self._synced.add(cluster.name)
            self._wake.set()

    def namespace_changed(self, cluster: str, namespace: str) -> None:
        """Route the open stories of a namespace again: its owners may want others to be told, too."""
        self._changed_namespaces.add((cluster, namespace))
        self._wake.set()

    def _noticed(self, cluster: str, event: PlanEvent) -> None:
        """Remember the newest word on each Plan; `run` works it off."""
        if self._on_event is not None:
            try:
                self._on_event(cluster, event)
            except Exception:  # who else listens keeps no news from the stories
                self._metrics.bugs.labels("watch").inc()
                log.exception("watch.bug")
        if event.row is not None:
            self._moved[(cluster, event.row.uid)] = event.row
        if event.kind == "synced":
            self._identifier.answered(cluster)
            self._synced.add(cluster)
            self._metrics.clusters.labels(cluster).set(1)
        elif event.kind == "lost":
            self._metrics.clusters.labels(cluster).set(0)
        self._wake.set()

    def recorded(self, identity: Identity, state: PlanState) -> None:
        """Judge a story again whose Plan moved on between the look-up and the transaction that wrote it.

        Its watch told of that before there was a story that it could have changed.
        """
        cluster = self._clusters.get(identity.cluster)
        row = cluster.plans().by_uid(identity.uid) if cluster is not None and identity.uid else None
        if row is not None and _differs(row, state.phase):
            self._moved.setdefault((identity.cluster, row.uid), row)
            self._wake.set()

    async def run(self) -> None:
        """Work for ever."""
        await self._safely(self._take_stock())
        while True:
            self._wake.clear()
            try:
                await self._round()
            except asyncio.CancelledError:
                raise
            except Exception:
                self._metrics.bugs.labels("follow").inc()
                log.exception("follow.bug")
            try:
                async with asyncio.timeout(IDLE_S):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _take_stock(self) -> None:
        """Find the stories that nothing else would ever look at again."""
        followed = await self._store.browse(stories.clusters_of_open)
        self._unfollowed = frozenset(story for story, cluster in followed.items() if cluster not in self._clusters)
        for story in await self._store.browse(stories.endless_without_timer):
            await self._safely(self._judge_again(story))

    async def _judge_unfollowed(self) -> None:
        """A Plan that can no longer be read decides nothing: without an alert its story ends, even a re-run."""
        if not self._unfollowed:
            return
        for story in await self._store.read(lambda conn: stories.left_alone(conn, self._unfollowed)):
            await self._safely(self._judge_again(story))

    async def _round(self) -> None:
        """Timers first: what moves all the time must not keep a story from its end."""
        await self._judge_unfollowed()
        for story in await self._due("close_at"):
            await self._safely(self._judge_again(story))
        for story in await self._due("remind_at"):
            await self._safely(self._attend(story))
        for key, row in list(self._moved.items()):
            if self._moved.get(key) is row:
                del self._moved[key]
            if not await self._safely(self._plan_moved(key[0], row)):
                self._moved.setdefault(key, row)
        for cluster in tuple(self._synced):
            self._synced.discard(cluster)
            if not await self._safely(self._catch_up(cluster)):
                self._synced.add(cluster)
        now = asyncio.get_running_loop().time()
        self._resting = {one: until for one, until in self._resting.items() if until > now}
        for one in self._changed_namespaces - self._resting.keys():
            self._changed_namespaces.discard(one)
            self._resting[one] = now + NAMESPACE_REST_S
            if not await self._safely(self._namespace_changed(*one)):
                self._changed_namespaces.add(one)
        await self._identify_due()

    async def _safely(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do one thing; False when it broke. One broken story holds up no other."""
        try:
            await work
        except Exception:
            self._metrics.bugs.labels("follow").inc()
            log.exception("follow.bug")
            return False
        return True

    async def _identify_due(self) -> None:
        due = await self._due("identify_due")
        rests_s = min((self._identifier.rests_s(cluster) for cluster in self._clusters), default=0.0)
        if due and rests_s:  # a storm of stories costs one statement while nobody can be asked
            await self._store.write(lambda conn: stories.ask_later(conn, due, rests_s))
            return
        for story in due:
            await self._safely(self._identify_again(story))

    async def _due(self, timer: str) -> tuple[str, ...]:
        return await self._store.read(lambda conn: stories.due_stories(conn, timer, LIMIT))

    async def _plan_moved(self, cluster: str, row: PlanRow) -> None:
        alias = f"plan/{cluster}/{row.namespace}/{row.name}"
        found = await self._store.read(lambda conn: stories.open_of_plan(conn, row.uid, alias))
        if not found:
            return
        index = self._clusters[cluster].plans()
        if index.by_uid(row.uid) is None:
            state = PlanState(PlanPhase.GONE, why=f"plan {row.namespace}/{row.name} was deleted")
        else:
            state = await self._identifier.state_of(cluster, row)
        for story in found:
            await self._changed(story, state)

    async def _catch_up(self, cluster: str) -> None:
        """A watch is in sync (again): whatever happened meanwhile is seen now."""
        followed = await self._store.browse(stories.clusters_of_open)
        for story in (story for story, its in followed.items() if its == cluster):
            await self._identify_again(story)

    async def _namespace_changed(self, cluster: str, namespace: str) -> None:
        asked = self._identifier.with_namespace(
            Identity("", "alert", cluster=cluster, namespace=namespace, owner_namespace=namespace)
        )
        matters = {name: value for name, value in asked.facts.items() if name in self._of_namespaces}
        if self._namespaces.get((cluster, namespace)) == matters:
            return
        self._namespaces[cluster, namespace] = matters
        for story in await self._store.read(lambda conn: stories.open_of_namespace(conn, cluster, namespace)):
            await self._identify_again(story, of_any_kind=True)

    async def _judge_again(self, story: str) -> None:
        draft = await self._store.read(lambda conn: stories.load_draft(conn, story, 0.0))
        if draft is not None and draft.identity is not None:
            await self._changed(story, await self._state(draft.identity))

    async def _attend(self, story: str) -> None:
        change = await self._store.write(lambda conn: self._recorder.attend(conn, story))
        if change is not None:
            self._metrics.changes.labels(change.value).inc()
            self._on_change()

    async def _state(self, identity: Identity) -> PlanState:
        if identity.kind != "plan":
            return PlanState(PlanPhase.NO_PLAN)
        _, state = await self._identifier.look_up(identity.cluster, identity.uid, identity.namespace, identity.name)
        return state

    async def _identify_again(self, story: str, *, of_any_kind: bool = False) -> None:
        draft = await self._store.read(lambda conn: _load(conn, story))
        if draft is None or draft.identity is None:
            return
        if draft.identity.kind != "plan":
            if of_any_kind:
                bare = {name: one for name, one in draft.identity.facts.items() if not name.startswith(OF_NAMESPACES)}
                found = self._identifier.with_namespace(replace(draft.identity, facts=bare))
                await self._route_again(draft, found, PlanState(PlanPhase.NO_PLAN))
            return
        old = draft.identity
        if rests_s := self._identifier.rests_s(old.cluster):
            await self._store.write(lambda conn: stories.ask_later(conn, (story,), rests_s))
            return
        identity, state = await self._identifier.look_up(old.cluster, old.uid, old.namespace, old.name)
        await self._route_again(draft, identity, state)

    async def _route_again(self, draft: Draft, found: Identity, state: PlanState) -> None:
        evidence = evidence_facts(draft.evidence) if draft.evidence and found.kind == "plan" else {}
        facts = self._identifier.again(draft.identity, found).facts if draft.identity is not None else found.facts
        identity = replace(found, facts=facts) if found.complete else found

        def route_again(alert: Alert) -> Routed:
            return route(alert.labels, {**facts, **evidence}, self._config)

        await self._store.write(
            lambda conn: self._recorder.identified(conn, draft.id, identity, state, route_again, _again_in_s(draft))
        )
        self._on_change()

    async def _changed(self, story: str, state: PlanState) -> None:
        change = await self._store.write(lambda conn: self._recorder.plan_changed(conn, story, state))
        if change is not None:
            self._metrics.changes.labels(change.value).inc()
            self._on_change()


def _differs(row: PlanRow, phase: PlanPhase) -> bool:
    if row.executing is not (phase is PlanPhase.EXECUTING):
        return True
    return not row.executing and row.succeeded is not (phase is PlanPhase.SUCCEEDED)


async def _load(conn: Conn, story: str) -> Draft | None:
    return await stories.load_draft(conn, story, await stories.now_of(conn))


def _again_in_s(draft: Draft) -> float:
    age_s = draft.now - max((row.changed_at for row in draft.alerts.values()), default=draft.opened)
    return min(IDENTIFY_AGAIN_MAX_S, max(IDENTIFY_AGAIN_MIN_S, age_s * IDENTIFY_AGAIN_SHARE))
