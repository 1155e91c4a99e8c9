"""Fetches evidence for open stories: severe ones first, then the newest; again later where something passing failed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from receiver.clock import Clock
from receiver.config.model import Config
from receiver.enrichers.carried import carry
from receiver.enrichers.causes import causes_with
from receiver.enrichers.controller import CONTROLLER_NAMESPACES
from receiver.enrichers.evidence import Settings, gather_plan
from receiver.enrichers.facts import evidence_facts
from receiver.enrichers.others import gather_other
from receiver.enrichers.overrides import Overrides, own_namespace
from receiver.enrichers.redact import Redactor
from receiver.enrichers.shelf import Shelf
from receiver.enrichers.unrecognised import Tally, newly_unrecognised
from receiver.kube import Cluster
from receiver.kube.sharing import SharedCluster
from receiver.metrics import Metrics
from receiver.model import CAPACITY, Alert, Evidence, Identity, Impact
from receiver.record import Recorder
from receiver.rooms_rules import Looked, may_explain
from receiver.routing.tree import Routed, route
from receiver.store import deliveries, snapshots, stories
from receiver.store.engine import NOW, Conn, Store
from receiver.store.own_alerts import SOURCE as OWN
from receiver.store.stories import Draft

log = structlog.get_logger(__name__)

AT_ONCE = 8
IDLE_S = 1.0
PAGING_S = 0.1
"""How soon to look again whether the pages are out."""
AGAIN_MIN_S = 5.0
AGAIN_MAX_S = 300.0
LEASE_SLACK_S = 30.0
"""For how much longer than the reading may take a story is ours."""
LATECOMERS_S = 5.0
"""A story also takes what was read for others so shortly before it wanted evidence: an alert is older than that."""
ROOM_WAIT_S = 2.0
"""So long what was found waits for a look at the room that may explain it; a look that takes longer follows it."""

LACKS_ROOM = "Nothing is down: the plan lacks room where it goes, and no VM has failed because of it."


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
        room: Callable[[Identity, Evidence], Awaitable[Looked | None]],
        on_change: Callable[[], None],
        paging: Callable[[], bool],
    ) -> None:
        """`room` says whether a Plan finds room where it goes (`receiver.rooms.Rooms.of`).

        `paging`: pages are going out, and evidence has to wait for them (P4).
        """
        self._store = store
        self._config = config
        self._clusters = clusters
        self._recorder = recorder
        self._redactor = redactor
        self._clock = clock
        self._metrics = metrics
        self._room = room
        self._on_change = on_change
        self._paging = paging
        self._wake = asyncio.Event()
        self._in_hand: dict[str, asyncio.Task[None]] = {}
        self._settings = Settings(
            runbooks=config.runbooks,
            causes=causes_with(config.causes),
            controller_namespaces=tuple(dict.fromkeys((*CONTROLLER_NAMESPACES, *config.global_.shared_namespaces))),
        )
        self._shared = {name: SharedCluster(cluster) for name, cluster in clusters.items()}
        self._unrecognised = Tally()
        self._shelf = Shelf(config.runbooks, config.web.external_url, Overrides(own_namespace()))

    def wake(self) -> None:
        """Say that a story may want evidence."""
        self._wake.set()

    async def run(self) -> None:
        """Gather for ever."""
        try:
            while True:
                self._wake.clear()
                free = AT_ONCE - len(self._in_hand)
                if free > 0 and not self._paging():
                    for story in await self._take(free):
                        task = asyncio.create_task(self._gather(story), name=f"gather-{story}")
                        self._in_hand[story] = task
                        task.add_done_callback(partial(self._done, story))
                try:
                    async with asyncio.timeout(PAGING_S if self._paging() else IDLE_S):
                        await self._wake.wait()
                except TimeoutError:
                    pass
        finally:
            for task in self._in_hand.values():
                task.cancel()
            await asyncio.gather(*self._in_hand.values(), return_exceptions=True)
            for shared in self._shared.values():
                await shared.aclose()

    async def _take(self, limit: int) -> Sequence[str]:
        due = await self._store.read(partial(stories.due_evidence, limit=limit, in_hand=tuple(self._in_hand)))
        if not due:
            return ()
        lease_s = self._config.global_.evidence_timeout_s + LEASE_SLACK_S
        taken = await self._store.write(lambda conn: stories.claim_evidence(conn, due, lease_s))
        return [story for story in due if story in taken]

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
        finally:
            await self._store.write(lambda conn: stories.release_evidence(conn, story))

    async def _gather_one(self, story: str) -> None:
        draft = await self._store.read(partial(_draft, story=story))
        cluster = self._clusters.get(draft.identity.cluster) if draft and draft.identity else None
        if draft is None or draft.identity is None or cluster is None or not draft.open:
            await self._store.write(lambda conn: stories.set_gather_due(conn, story, None))
            return
        newest = max(draft.failures, key=lambda row: row.seq, default=None)
        if newest is None or (draft.identity.kind == "plan" and not draft.identity.namespace):
            # Nothing to read before the Plan is found, and then evidence is wanted anew: only let nobody wait for it.
            await self._store.write(lambda conn: _nothing_yet(conn, story, draft.gather_due))
            self._on_change()
            return
        waited_s = max(0.0, draft.now - (draft.gather_due or draft.now))
        if newest.source != OWN:  # what our own watch sees fail has failed just now: an older list may not show it
            waited_s += LATECOMERS_S
        found = await self._look(cluster, draft.identity, newest.alert, waited_s)
        look = asyncio.create_task(self._looked(draft.identity, found), name=f"room-{story}")
        try:
            if may_explain(found):
                await asyncio.wait([look], timeout=ROOM_WAIT_S)
            in_time = look.result() if look.done() and look.exception() is None else None
            evidence = _with_room(carry(draft.evidence, found), in_time)
            await self._tell(story, draft, evidence, draft.gather_due)
            self._count_unrecognised(story, draft.evidence, evidence)
            late = _with_room(evidence, await look)
            if late != evidence:
                await self._tell(story, draft, late, None)
        finally:
            look.cancel()

    async def _tell(self, story: str, draft: Draft, evidence: Evidence, seen_due: float | None) -> None:
        again = None if evidence.complete else min(AGAIN_MAX_S, AGAIN_MIN_S * 2.0 ** min(draft.gather_tries, 10))

        def route_again(current: Draft, alert: Alert) -> Routed:
            facts = current.identity.facts if current.identity else {}
            learnt = evidence_facts(evidence) if current.identity and current.identity.kind == "plan" else {}
            return route(alert.labels, {**facts, **learnt}, self._config)

        await self._store.write(
            lambda conn: self._recorder.gathered(conn, story, evidence, route_again, again, seen_due)
        )
        self._on_change()

    async def _look(self, cluster: Cluster, identity: Identity, alert: Alert, waited_s: float) -> Evidence:
        """Return the evidence about a Plan, or about whatever else the alert names, with its runbook.

        What Plans of a namespace have in common is read once for all stories that have been waiting for it.
        """
        runbook = await self._shelf.runbook(cluster, identity, alert)
        now, timeout_s = self._clock.now(), self._config.global_.evidence_timeout_s
        if identity.kind != "plan":
            found = await gather_other(
                cluster, alert, redactor=self._redactor, now=now, timeout_s=timeout_s, runbook=runbook
            )
            return replace(found, impact=Impact.NONE, impact_text=LACKS_ROOM) if identity.kind == CAPACITY else found
        seen = {name: one.for_one_waiting(waited_s) for name, one in self._shared.items()}
        evidence = await gather_plan(
            seen[cluster.name],
            identity,
            alert.annotations,
            redactor=self._redactor,
            now=now,
            timeout_s=timeout_s,
            alertname=alert.name,
            settings=replace(self._settings, runbooks={alert.name: runbook.url} if runbook else {}),
            destinations={
                provider: seen[one.name]
                for one in self._config.clusters
                for provider in one.providers
                if one.name in seen
            },
            kept=self._kept,
        )
        return await self._shelf.for_cause(cluster, identity, evidence, alert)

    async def _looked(self, identity: Identity, evidence: Evidence) -> Looked | None:
        """Look at the room of a Plan's target; with it goes the open story that tells of the shortage."""
        looked = await self._room(identity, evidence) if identity.kind == "plan" else None
        if looked is None or looked.room is None or not identity.uid:
            return looked
        story = await self._store.read(partial(_shortage, uid=identity.uid))
        return Looked(replace(looked.room, story=story))

    async def _kept(self, plan: str, run: str) -> tuple[Mapping[str, Any], datetime] | None:
        """Return what our watch saw of a run before Forklift deleted it."""
        return await self._store.read(partial(snapshots.of_run, plan=plan, run=run))

    def _count_unrecognised(self, story: str, before: Evidence | None, evidence: Evidence) -> None:
        """Count a failure without a known cause, once per run, when nothing more is to be learnt."""
        unknown = newly_unrecognised(before, evidence)
        if unknown is None:
            return
        self._metrics.unrecognised.inc()
        times = self._unrecognised.add(unknown.signature)
        log.info("gather.unrecognised", story=story, signature=unknown.signature, times=times)


def _with_room(evidence: Evidence, looked: Looked | None) -> Evidence:
    return evidence if looked is None else replace(evidence, room=looked.room)


async def _draft(conn: Conn, story: str) -> Draft | None:
    return await stories.load_draft(conn, story, await stories.now_of(conn))


async def _shortage(conn: Conn, uid: str) -> str:
    """Return the id of the open story that says that this Plan lacks room, or the empty string."""
    found = await stories.find_open(conn, [f"{CAPACITY}/{uid}"], await stories.now_of(conn))
    return found[0].id if found else ""


async def _nothing_yet(conn: Conn, story: str, seen_due: float | None) -> None:
    await stories.set_gather_due(conn, story, None, seen_due)
    await deliveries.hurry(conn, story, await stories.now_of(conn))
