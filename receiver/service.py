"""The running service: opens the store, starts the workers, and knows whether it is ready."""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.exc import OperationalError

from receiver import build
from receiver.actions import Actions
from receiver.alertmanagers import Alertmanagers
from receiver.attempt import Destination
from receiver.clock import Clock
from receiver.config.model import Config
from receiver.deliver import Deliverer
from receiver.digests import Admission, Digester
from receiver.enrichers.redact import Redactor
from receiver.follow import Follower
from receiver.gather import Gatherer
from receiver.hearing import Hearing
from receiver.http import warm_up
from receiver.identify import Identifier
from receiver.inbox import InboxWorker
from receiver.kube import Cluster
from receiver.metrics import Metrics
from receiver.record import Recorded, Recorder
from receiver.rendering import Renderer
from receiver.silences import SilenceNotes
from receiver.slack_presses import Presses
from receiver.slack_socket import SlackSocket, lines
from receiver.store import digests, figures, inbox, presses, stories
from receiver.store.engine import Store, StoreBusyError, is_passing
from receiver.store.upgrade import FileLock, LockedError, upgrade
from receiver.telling import Teller
from receiver.watch import OwnAlerts

log = structlog.get_logger(__name__)

LOCK_AGAIN_S = 0.5
DRAIN_S = 8.0
"""How long a stop waits for what is being sent."""
HOUSEKEEPING_EVERY_S = 5.0
STORE_AGAIN_S = 1.0
"""How long a worker waits before it begins anew after the disk failed."""
READY_TIMEOUT_S = 3.0


class Service:
    """One configuration at work on one database."""

    def __init__(
        self, config: Config, url: str, clock: Clock, metrics: Metrics, on_fatal: Callable[[str], None]
    ) -> None:
        """`on_fatal` is told when a worker died: the process must end then."""
        self.config = config
        self.metrics = metrics
        self.clock = clock
        self.store: Store | None = None
        self.words: Renderer | None = None
        self.clusters: Mapping[str, Cluster] = {}
        self.destinations: Mapping[str, Destination] = {}
        self.actions: Actions | None = None
        """What people may do; None until the service works."""
        self.hearing: Hearing | None = None
        self.presses = Presses(self)
        self._url = url
        self._on_fatal = on_fatal
        self._owner = secrets.token_hex(8)
        self._stopping = asyncio.Event()
        self._inbox: InboxWorker | None = None
        self.why_not_ready = "starting"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run beside the web server; leaving finishes or keeps what is being sent."""
        task = asyncio.create_task(self._guarded(), name="service")
        try:
            yield
        finally:
            self.why_not_ready = "stopping"
            self._stopping.set()
            await task

    def accepted(self) -> None:
        """Say that the inbox has something new."""
        if self._inbox is not None:
            self._inbox.wake()

    async def ready(self) -> str:
        """Return the empty string when the store takes writes and the workers live, else what is wrong."""
        store = self.store
        if self.why_not_ready or store is None:
            return self.why_not_ready or "starting"
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                await store.write(inbox.beat)
        except Exception as error:  # anything here means the same: do not send us alerts now
            return f"the store cannot be written: {type(error).__name__}"
        return ""

    async def _guarded(self) -> None:
        try:
            await self._run()
        except Exception as error:
            causes = error.exceptions if isinstance(error, ExceptionGroup) else (error,)
            text = "; ".join(f"{type(one).__name__}: {one}" for one in causes)
            self.why_not_ready = f"a worker died: {text}"
            log.critical("service.died", error=text, exc_info=error)
            self._on_fatal(text)

    async def _run(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            if not await self._lock(stack):
                return
            self.why_not_ready = "the database is being migrated"
            await asyncio.to_thread(upgrade, self._url)
            await asyncio.to_thread(warm_up)
            store = await stack.enter_async_context(Store.open(self._url))
            await self._work(store, stack)

    async def _lock(self, stack: contextlib.AsyncExitStack) -> bool:
        """Wait until no other process serves this SQLite file; False when we are stopped first."""
        if not self._url.startswith("sqlite"):
            return True
        lock = FileLock(Path(self._url.partition(":///")[2]))
        while not self._stopping.is_set():
            try:
                lock.acquire()
            except LockedError as error:
                if self.why_not_ready == "starting":
                    log.warning("service.waits", why=str(error))
                self.why_not_ready = f"waits: {error}"
                await self._pause(LOCK_AGAIN_S)
            else:
                stack.callback(lock.release)
                return True
        return False

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _work(self, store: Store, stack: contextlib.AsyncExitStack) -> None:
        config, metrics = self.config, self.metrics
        words = self.words = build.renderer(config, lambda _: metrics.templates_broken.inc())
        destinations = await stack.enter_async_context(build.destinations(config, words))
        clusters = build.clusters(config)
        self.clusters, self.destinations = clusters, destinations
        for cluster in clusters.values():
            stack.push_async_callback(cluster.aclose)
        alertmanagers = Alertmanagers(config.alertmanagers)
        stack.push_async_callback(alertmanagers.aclose)
        redactor = Redactor(config.redaction_patterns)
        identifier = Identifier(config, clusters, self.clock, redactor.text)
        stack.push_async_callback(identifier.aclose)
        teller = Teller(config, {key: one.sender for key, one in destinations.items()}, _random80)
        recorder = Recorder(config, teller, _random80)
        deliverer = Deliverer(
            store, config, destinations, teller, self.clock, metrics,
            jitter=random.random, owner=self._owner, admission=Admission(config, _random80),
        )  # fmt: skip
        digester = Digester(store, config, self.clock, metrics, on_change=deliverer.wake)

        def changed(recorded: Recorded | None = None) -> None:
            deliverer.wake()
            gatherer.wake()

        gatherer = Gatherer(
            store, config, clusters, recorder, redactor, self.clock, metrics,
            on_change=deliverer.wake, paging=deliverer.paging,
        )  # fmt: skip
        own = OwnAlerts(
            store, config, clusters, self.clock, metrics, redactor.text,
            on_alert=self.accepted, on_change=gatherer.wake,
        )  # fmt: skip
        follower = Follower(
            store, config, clusters, identifier, recorder, metrics, on_change=changed, on_event=own.noticed
        )
        self._inbox = InboxWorker(
            store, config, identifier, recorder, alertmanagers, redactor, self.clock, metrics,
            owner=self._owner, on_change=changed, on_plan=follower.recorded,
        )  # fmt: skip
        notes = SilenceNotes(store, teller, self.clock, on_change=deliverer.wake)
        self.actions = Actions(store, config, teller, alertmanagers, self.clock, on_change=deliverer.wake)
        self.hearing = Hearing(store, self.actions, destinations, self.clock)
        tasks = [
            self._worker("silences", notes.run),
            self._worker("hearing", self.hearing.run),
            self._worker("presses", self.presses.run),
            *(
                self._worker(f"slack-{at}", SlackSocket(one, self.presses.offer, self.clock, random.random).run)
                for at, one in enumerate(lines(config.destinations), 1)
            ),
            self._worker("inbox", self._inbox.run),
            self._worker("gather", gatherer.run),
            self._worker("follow", follower.run),
            self._worker("watch", own.run),
            self._worker("deliver", deliverer.run),
            self._worker("digest", digester.run),
            self._worker("housekeeping", partial(self._housekeeping, store)),
            *(asyncio.create_task(follower.watch(one), name=f"watch-{one.name}") for one in clusters.values()),
        ]
        self.store = store
        self.why_not_ready = ""
        metrics.config_loaded.set(1)
        log.info("service.ready", config=str(config.path), hash=config.hash, clusters=sorted(clusters))
        stop = asyncio.create_task(self._stopping.wait(), name="stop")
        try:
            done, _ = await asyncio.wait([*tasks, stop], return_when=asyncio.FIRST_COMPLETED)
            dead = [task for task in done if task is not stop]
            if not dead:
                await asyncio.gather(deliverer.drain(DRAIN_S), self.presses.drain(DRAIN_S))
        finally:
            self.store = self.actions = self.hearing = None
            for task in (*tasks, stop):
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for task, result in zip(tasks, results, strict=True):
            if task in dead:
                raise result if isinstance(result, Exception) else RuntimeError(f"{task.get_name()} ended")

    def _worker(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        return asyncio.create_task(self._through_bad_disks(name, run), name=name)

    async def _through_bad_disks(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a worker for ever. Where the disk fails it begins anew, as after a start: nothing is lost by that.

        Ending the process would help nobody: it would only come back later than the disk does.
        """
        while True:
            try:
                await run()
            except (OperationalError, StoreBusyError) as error:
                if not is_passing(error):
                    raise
                log.error("service.store_failed", worker=name, error=str(getattr(error, "orig", error)))
                await self.clock.sleep(STORE_AGAIN_S)
            else:
                return

    async def _housekeeping(self, store: Store) -> None:
        while True:
            await store.write(inbox.prune)
            await store.write(lambda conn: stories.prune(conn, self.config.retention_s))
            await store.write(digests.forget)
            await store.write(lambda conn: presses.prune(conn, self.config.retention_s))
            await figures.collect(store, self.metrics)
            await self.clock.sleep(HOUSEKEEPING_EVERY_S)


def _random80() -> int:
    return secrets.randbits(80)
