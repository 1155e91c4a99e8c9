"""One configuration at work: everything that a reload replaces while the store and the web server stay."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy.exc import DBAPIError

from receiver import build
from receiver.actions import Actions
from receiver.alertmanagers import Alertmanagers
from receiver.arrivals import Arrivals
from receiver.attempt import Destination
from receiver.chosen import Senders
from receiver.clock import Clock
from receiver.config.model import ClusterConfig, Config
from receiver.deliver import Deliverer
from receiver.destinations import Manner
from receiver.digests import Admission, Digester
from receiver.doctor.rounds import ChainWatch
from receiver.enrichers.redact import Redactor
from receiver.follow import Follower
from receiver.gather import Gatherer
from receiver.hearing import Hearing
from receiver.heartbeat import HeartbeatWatch
from receiver.http import warm_up
from receiver.identify import Identifier
from receiver.inbox import InboxWorker
from receiver.indexing import Indexer
from receiver.kube import Cluster, FollowsNamespaces
from receiver.metrics import Metrics
from receiver.model import Evidence, Identity
from receiver.reconcile import Reconciler
from receiver.record import Recorded, Recorder
from receiver.rendering import Renderer
from receiver.resettle import Resettler
from receiver.retention import Retention
from receiver.rooms_rules import Looked
from receiver.self_service import Refusals
from receiver.shifts import Shifts
from receiver.silence_notes import SilenceNotes
from receiver.silencing import Silencing
from receiver.slack_presses import Presses
from receiver.slack_socket import Line, SlackSocket, lines
from receiver.store import claims, figures, inbox, jobs
from receiver.store.engine import Conn, Store, StoreBusyError, is_passing
from receiver.telling import Teller
from receiver.waits import Waits
from receiver.watch import OwnAlerts

if TYPE_CHECKING:
    from receiver.room.supply import Supply
    from receiver.rooms import Rooms
    from receiver.shortages import Shortages

log = structlog.get_logger(__name__)

DRAIN_S = 8.0
"""How long a stop waits for what is being sent."""
GIVE_BACK_S = 3.0
FIGURES_EVERY_S = 5.0
NAMESPACES_LOOK_S = 0.02
WARM_UP_REST_S = 0.01
STORE_AGAIN_S = 1.0
"""How long a worker waits before it begins anew after the disk failed."""


class Work:
    """`prepare`, `begin`; then `pause` and `finish`, in this order, each once."""

    words: Renderer
    destinations: Mapping[str, Destination]
    actions: Actions
    hearing: Hearing

    def __init__(
        self,
        config: Config,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        pressed: Presses,
        supply: Callable[[], Supply],
        on_dead: Callable[[BaseException], None],
    ) -> None:
        """`on_dead` is told when a worker ended that never should."""
        self.config = config
        self.clusters: Mapping[str, Cluster] = {}
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._presses = pressed
        self._supply = supply
        self._on_dead = on_dead
        self._owner = secrets.token_hex(8)
        self._stack = contextlib.AsyncExitStack()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._passed_on: set[str] = set()
        self._warming: asyncio.Task[None] | None = None
        self._rooms: Rooms | None = None
        self._shortages: Shortages | None = None

    async def prepare(self, before: Work | None = None) -> None:
        """Make all that the configuration names. Raises what is wrong; then only `finish` is left to do.

        A cluster that is configured as it was goes on with what its watch knows.
        """
        config = self.config
        self.words = build.renderer(config, lambda _: self._metrics.templates_broken.inc())
        self.destinations = await self._stack.enter_async_context(build.destinations(config, self.words))
        self.clusters = build.clusters(config, before.still(config) if before is not None else {})
        alertmanagers = Alertmanagers(config.alertmanagers)
        self._stack.push_async_callback(alertmanagers.aclose)
        self._build(alertmanagers)

    def still(self, config: Config) -> dict[str, Cluster]:
        """Return the clusters that another configuration has just as this one."""
        mine = {one.name: one for one in self.config.clusters}
        return {one.name: self.clusters[one.name] for one in config.clusters if self._same(mine.get(one.name), one)}

    def _same(self, mine: ClusterConfig | None, other: ClusterConfig) -> bool:
        return mine is not None and mine == other and mine.name in self.clusters

    def _build(self, alertmanagers: Alertmanagers) -> None:
        store, config, clusters, clock, metrics = self._store, self.config, self.clusters, self._clock, self._metrics
        redactor = Redactor(config.redaction_patterns)
        self._identifier = Identifier(config, clusters, clock, redactor.text)
        self._stack.push_async_callback(self._identifier.aclose)
        teller = Teller(config, Senders(self.destinations), random80)
        recorder = Recorder(config, teller, random80)
        self._resettler = Resettler(store, config, teller)
        self._deliverer = deliverer = Deliverer(
            store, config, self.destinations, teller, clock, metrics,
            jitter=random.random, owner=self._owner, admission=Admission(config, random80),
        )  # fmt: skip
        self._digester = Digester(store, config, clock, metrics, owner=self._owner, on_change=deliverer.wake)
        self._gatherer = gatherer = Gatherer(
            store, config, clusters, recorder, redactor, clock, metrics,
            room=self._room, on_change=deliverer.wake, paging=deliverer.paging,
        )  # fmt: skip
        self._own = OwnAlerts(
            store, config, clusters, clock, metrics, redactor.text,
            owner=self._owner, silenced=Silencing(alertmanagers, config.alertmanagers, clock).holds,
            on_alert=self.accepted, on_change=gatherer.wake, on_plan=self._plan_read,
        )  # fmt: skip
        self._waits = Waits(store, config, clusters, clock, metrics, redactor.text, self._own)
        if clusters:
            from receiver.rooms import Rooms  # with the engine below: nobody pays for it who names no cluster
            from receiver.shortages import Shortages

            self._rooms = Rooms(config, clusters, clock, self._supply())
            self._shortages = Shortages(config, clusters, clock, metrics, self._supply(), self._own)
        self._follower = Follower(
            store, config, clusters, self._identifier, recorder, metrics,
            on_change=self._changed, on_event=self._own.noticed,
        )  # fmt: skip
        arrivals = Arrivals(config, [key for key, one in self.destinations.items() if one.sender.manner is Manner.CHAT])
        self._inbox = InboxWorker(
            store, config, self._identifier, recorder, alertmanagers, redactor, clock, metrics,
            owner=self._owner, on_change=self._changed, on_plan=self._follower.recorded, arrivals=arrivals,
        )  # fmt: skip
        self._reconciler = Reconciler(
            store, config, alertmanagers, self._identifier, clusters, arrivals, clock, metrics,
            owner=self._owner, on_alert=self.accepted,
        )  # fmt: skip
        self._heartbeat = HeartbeatWatch(store, config, clock, metrics, owner=self._owner, on_alert=self.accepted)
        self._stack.push_async_callback(self._heartbeat.aclose)
        self._refusals = Refusals(config, clusters, clock, metrics)
        self._chain = ChainWatch(store, config, clusters, clock, metrics, owner=self._owner, on_alert=self.accepted)
        self._shifts = Shifts(store, config, clock, metrics, owner=self._owner, on_alert=self.accepted)
        self._retention = Retention(store, config, clock, metrics, owner=self._owner)
        self._indexer = Indexer(store, clock, metrics, owner=self._owner)
        self._notes = SilenceNotes(store, teller, clock, metrics, on_change=deliverer.wake)
        self.actions = Actions(store, config, teller, alertmanagers, clock, on_change=deliverer.wake)
        self.hearing = Hearing(store, self.actions, self.destinations, clock, owner=self._owner)

    def accepted(self) -> None:
        """Say that the inbox has something new."""
        self._inbox.wake()

    async def _room(self, identity: Identity, evidence: Evidence) -> Looked | None:
        return await self._rooms.of(identity, evidence) if self._rooms is not None else None

    async def _plan_read(self, cluster: str, plan: dict[str, Any]) -> None:
        await self._waits.planned(cluster, plan)

    def _changed(self, recorded: Recorded | None = None) -> None:
        self._deliverer.wake()
        self._gatherer.wake()

    def _elsewhere(self, topic: str) -> None:
        """Take in what another replica told."""
        if topic in ("", "inbox"):
            self.accepted()
        if topic in ("", "deliveries"):
            self._changed()

    def _socket(self, line: Line) -> SlackSocket:
        stands = self._metrics.slack_sockets.labels(line.config.label)
        return SlackSocket(line, self._presses.offer, self._clock, random.random, stands.set)

    def begin(self) -> None:
        """Start the workers."""
        runs: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "listener": partial(self._store.listen, self._elsewhere),
            "silences": self._notes.run,
            "hearing": self.hearing.run,
            "presses": self._presses.run,
            **{f"slack-{at}": self._socket(one).run for at, one in enumerate(lines(self.config.destinations), 1)},
            "inbox": self._inbox_after_routes,
            "gather": self._gatherer.run,
            "follow": self._follower.run,
            "watch": self._own.run,
            "waits": self._waits.run,
            **({"shortages": self._shortages.run} if self._shortages is not None else {}),
            "reconcile": self._reconciler.run,
            "heartbeat": self._heartbeat.run,
            "doctor": self._chain.run,
            "shifts": self._shifts.run,
            "deliver": self._deliverer.run,
            "digest": self._digester.run,
            "retention": self._retention.run,
            "search": self._indexer.run,
            "figures": self._figures,
        }
        for name, run in runs.items():
            self._start(name, self._through_bad_disks(name, run))
        for one in self.clusters.values():
            self._start(f"watch-{one.name}", self._follower.watch(one))
        if (rules := self.config.namespace_routing) is not None:
            self._start("self_service", self._refusals.run())
            for one in self.clusters.values():
                if isinstance(one, FollowsNamespaces):
                    heard = partial(self._namespace_changed, one.name)
                    self._start(f"namespaces-{one.name}", one.follow_namespaces(rules.annotation_prefix, heard))
        self._warming = asyncio.create_task(self._warm_up(), name="warm-up")

    def _namespace_changed(self, cluster: str, namespace: str) -> None:
        self._follower.namespace_changed(cluster, namespace)
        self._refusals.changed(cluster, namespace)

    async def _warm_up(self) -> None:
        """Spare the first page what can be done before it, without being in anybody's way."""
        await asyncio.to_thread(warm_up, tls=build.uses_tls(self.config))
        for _ in self.words.warm_up():
            await self._clock.sleep(WARM_UP_REST_S)

    def _start(self, name: str, run: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(run, name=name)
        self._tasks[name] = task
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._on_dead(task.exception() or RuntimeError(f"{task.get_name()} ended"))

    async def _inbox_after_routes(self) -> None:
        await self._resettler.run()
        await self._namespaces_read()
        await self._inbox.run()

    async def _namespaces_read(self) -> None:
        """Give the first lists of namespaces as long as one look-up: routes that need them would lead to others."""
        books = [one.namespaces() for one in self.clusters.values() if isinstance(one, FollowsNamespaces)]
        if self.config.namespace_routing is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.config.global_.identify_timeout_s):
                while any(not book.synced and book.problem is None for book in books):
                    await self._clock.sleep(NAMESPACES_LOOK_S)

    async def pause(self, *, drain_presses_s: float = 0.0) -> None:
        """End all workers, but let what is being sent go on until `finish`."""
        if drain_presses_s:
            await self._presses.drain(drain_presses_s)
        self._deliverer.begin_nothing_new()
        if self._warming is not None:
            self._warming.cancel()
        ending = [task for name, task in self._tasks.items() if name != "deliver"]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await self._give_back(self._release_inbox)

    async def finish(self, after: Work | None = None) -> None:
        """Wait for what is being sent, DRAIN_S seconds at most, and close everything that is not passed on."""
        kept = after.clusters if after is not None else {}
        task = self._tasks.pop("deliver", None)
        if task is not None:
            await self._deliverer.drain(DRAIN_S)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._give_back(self._release_claims)
        await self._stack.aclose()
        left = {one.name for one in after.config.alertmanagers} if after is not None else set()
        for one in self.config.alertmanagers:
            if after is not None and one.name not in left:
                self._metrics.forget_alertmanager(one.name)
        for name, cluster in self.clusters.items():
            if kept.get(name) is not cluster:
                await cluster.aclose()
            if after is not None and name not in kept:
                self._metrics.forget_cluster(name)

    async def _give_back(self, release: Callable[[Conn], Coroutine[Any, Any, None]]) -> None:
        """Let others go on at once with what was ours; where that cannot be written, the leases end by themselves."""
        with contextlib.suppress(DBAPIError, StoreBusyError, TimeoutError):
            async with asyncio.timeout(GIVE_BACK_S):
                await self._store.write(release)

    async def _release_inbox(self, conn: Conn) -> None:
        await inbox.release_all(conn, self._owner)
        await jobs.let_go(conn, self._owner)

    async def _release_claims(self, conn: Conn) -> None:
        await claims.free_claims(conn, self._owner)

    async def _through_bad_disks(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a worker for ever. Where the disk fails it begins anew, as after a start: nothing is lost by that.

        Ending the process would help nobody: it would only come back later than the disk does.
        """
        while True:
            try:
                await run()
            except (DBAPIError, StoreBusyError) as error:
                if not is_passing(error):
                    raise
                log.error("service.store_failed", worker=name, error=str(getattr(error, "orig", error)))
                await self._clock.sleep(STORE_AGAIN_S)
            else:
                return

    async def _figures(self) -> None:
        while True:
            await figures.collect(self._store, self._metrics)
            await self._clock.sleep(FIGURES_EVERY_S)


def random80() -> int:
    """Return what makes an id unique."""
    return secrets.randbits(80)
