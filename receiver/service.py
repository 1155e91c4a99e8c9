"""The running service: holds the store, keeps one configuration at work, and knows whether it is ready."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import DBAPIError

from receiver.actions import Actions
from receiver.attempt import Destination
from receiver.clock import Clock
from receiver.config.model import Config
from receiver.config.problems import Problem
from receiver.hearing import Hearing
from receiver.http import own_version
from receiver.kube import Cluster
from receiver.metrics import Metrics
from receiver.rendering import Renderer
from receiver.slack_presses import Presses
from receiver.store import audit, claims, inbox, stories
from receiver.store.audit import Kind
from receiver.store.database import place_of
from receiver.store.engine import Conn, Store, StoreBusyError, is_shared
from receiver.store.upgrade import FileLock, LockedError, upgrade
from receiver.web.viewers import Viewers
from receiver.work import DRAIN_S, Work

if TYPE_CHECKING:
    from receiver.room.supply import Supply

log = structlog.get_logger(__name__)

LOCK_AGAIN_S = 0.5
READY_TIMEOUT_S = 3.0
LOOK_AT_FILES_S = 2.0
PRESSES_S = 3.0
"""How long a reload waits for what people have pressed."""

Reread = Callable[[], tuple[Config | None, tuple[Problem, ...]]]
"""Reads the configuration again: a Config, or None and what is wrong with it."""


class Service:
    """One store, and the configuration that is in force."""

    def __init__(
        self,
        config: Config,
        url: str,
        clock: Clock,
        metrics: Metrics,
        on_fatal: Callable[[str], None],
        reread: Reread,
    ) -> None:
        """`on_fatal` is told when a worker died: the process must end then."""
        self.config = config
        """The configuration in force."""
        self.words: Renderer | None = None
        self.clusters: Mapping[str, Cluster] = {}
        self.destinations: Mapping[str, Destination] = {}
        self.actions: Actions | None = None
        """What people may do; None until the service works."""
        self.hearing: Hearing | None = None
        self.viewers = Viewers(self)
        self.metrics = metrics
        self.clock = clock
        self.store: Store | None = None
        """None until the service works."""
        self.presses = Presses(self)
        self.reload_problems: Sequence[str] = ()
        """What kept the newest configuration from being in force."""
        self._work: Work | None = None
        self._reread = reread
        self._url = url
        self._on_fatal = on_fatal
        self._stopping = asyncio.Event()
        self._dead: asyncio.Future[BaseException] | None = None
        self._reloading = asyncio.Lock()
        self._finishing: set[asyncio.Task[None]] = set()
        self.why_not_ready = "starting"

    @cached_property
    def supply(self) -> Supply:
        """The free room of clusters, for all who ask. Loaded with the first of them: without clusters nobody does."""
        from receiver.room.supply import Supply

        return Supply(self.clock)

    @property
    def database(self) -> str:
        """Where the store is, for people."""
        return place_of(self._url)

    async def forget_room(self) -> None:
        """End what is being read of clusters' room."""
        if "supply" in self.__dict__:
            await self.supply.aclose()

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
        if self._work is not None:
            self._work.accepted()

    async def ready(self) -> str:
        """Return the empty string when the store takes writes and the workers live, else what is wrong."""
        store = self.store
        if self.why_not_ready or store is None:
            return self.why_not_ready or "starting"
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                await store.offer(inbox.beat)  # behind no deciding transaction of another replica
        except Exception as error:  # anything here means the same: do not send us alerts now
            return f"the store cannot be written: {type(error).__name__}"
        return ""

    async def _guarded(self) -> None:
        try:
            await self._run()
        except Exception as error:
            causes = error.exceptions if isinstance(error, ExceptionGroup) else (error,)
            text = "; ".join(f"{type(one).__name__}: {one}" for one in causes)
            # Anybody may read this, and what an error says may be of what it stumbled over.
            kinds = ", ".join(type(one).__name__ for one in causes)
            self.why_not_ready = f"a worker died: {kinds}; see the log"
            log.critical("service.died", error=text, exc_info=error)
            self._on_fatal(text)

    async def _run(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            if not await self._lock(stack):
                return
            self.why_not_ready = "the database is being migrated"
            await asyncio.to_thread(upgrade, self._url)
            store = await stack.enter_async_context(Store.open(self._url))
            if not store.shared:
                await store.write(_free_all)
            await self._serve(store)

    async def _lock(self, stack: contextlib.AsyncExitStack) -> bool:
        """Wait until no other process serves this SQLite file; False when we are stopped first."""
        if is_shared(self._url):
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

    async def _serve(self, store: Store) -> None:
        dead = self._dead = asyncio.get_running_loop().create_future()
        first = self._new(self.config, store)
        try:
            await first.prepare()
        except BaseException:
            await first.finish()
            raise
        self._work = first
        try:
            first.begin()
            self.store = store
            self.why_not_ready = ""
            self._in_force(first)
            await self._note(store, Kind.START)
            watch = asyncio.create_task(self._watch_files(), name="config")
            stop = asyncio.create_task(self._stopping.wait(), name="stop")
            await asyncio.wait([stop, dead], return_when=asyncio.FIRST_COMPLETED)
            for task in (watch, stop):
                task.cancel()
        finally:
            async with self._reloading:
                work, self.store, self.actions, self.hearing = self._work, None, None, None
                await work.pause(drain_presses_s=0.0 if dead.done() else DRAIN_S)
                await work.finish()
                await asyncio.gather(*self._finishing)
                await self._note(store, Kind.STOP, why="a worker died" if dead.done() else "")
        if dead.done():
            raise dead.result()

    def _new(self, config: Config, store: Store) -> Work:
        return Work(config, store, self.clock, self.metrics, self.presses, lambda: self.supply, self._died)

    def _died(self, error: BaseException) -> None:
        if self._dead is not None and not self._dead.done():
            self._dead.set_result(error)

    def _in_force(self, work: Work) -> None:
        self._work, self.config, self.words = work, work.config, work.words
        self.clusters, self.destinations = work.clusters, work.destinations
        self.actions, self.hearing = work.actions, work.hearing
        self.reload_problems = ()
        self.metrics.config_loaded.set(1)
        self.metrics.config_loaded_at.set(self.clock.now().timestamp())
        if notice := work.config.shadow_notice:
            log.warning("service.shadow", what=notice, receivers=list(work.config.shadowed))
        log.info("service.ready", config=str(work.config.path), hash=work.config.hash, clusters=sorted(work.clusters))

    # --- reload: all or nothing ---

    async def reload(self, why: str) -> Sequence[str]:
        """Read the configuration again and put it in force; returns what is wrong, and then the old one stays.

        Webhooks are taken all the time. What is being sent is finished under the old configuration.
        """
        return await asyncio.shield(asyncio.create_task(self._reload(why), name="reload"))

    async def _reload(self, why: str) -> Sequence[str]:
        async with self._reloading:
            store, old = self.store, self._work
            if store is None or old is None:
                return (f"not now: {self.why_not_ready or 'stopping'}",)
            config, problems = await asyncio.to_thread(self._reread)
            if config is None:
                return self._refused(why, [str(problem) for problem in problems if not problem.warning])
            new = self._new(config, store)
            try:
                await new.prepare(old)
            except Exception as error:  # whatever it is, the old configuration works
                log.exception("service.reload_failed", why=why)
                await new.finish(old)
                return self._refused(why, [f"{config.path}: {type(error).__name__}: {error}"])
            await old.pause(drain_presses_s=PRESSES_S)
            new.begin()
            self._in_force(new)
            await self._note(store, Kind.RELOAD, why=why)
            task = asyncio.create_task(old.finish(new), name="finish")
            self._finishing.add(task)
            task.add_done_callback(self._finishing.discard)
            log.info("service.reloaded", why=why)
            if (old.config.web.tls, old.config.web.limits) != (config.web.tls, config.web.limits):
                log.warning("service.restart_needed", why="web.tls_server_config and limits hold from the start on")
            return ()

    async def _note(self, store: Store, kind: Kind, why: str = "") -> None:
        facts = {"config": self.config.hash, "version": own_version(), "why": why}
        try:
            await store.write(lambda conn: audit.note(conn, kind, **facts))
        except (DBAPIError, StoreBusyError) as error:
            log.error("service.not_noted", kind=kind.value, error=type(error).__name__)

    def _refused(self, why: str, problems: Sequence[str]) -> Sequence[str]:
        self.metrics.config_loaded.set(0)
        self.reload_problems = problems
        log.error("service.reload_refused", why=why, problems=len(problems), first=problems[0] if problems else "")
        return problems

    async def _watch_files(self) -> None:
        """Reload when a file of the configuration has changed and has been the same for a while since."""
        last = seen = self.config.mark()
        while True:
            await self.clock.sleep(LOOK_AT_FILES_S)
            before, seen = seen, await asyncio.to_thread(self.config.mark)
            if seen != last and seen == before:
                last = seen
                await self.reload("a file has changed")
                last = seen = await asyncio.to_thread(self.config.mark)


async def _free_all(conn: Conn) -> None:
    """Nobody else works on this database: whatever was claimed when the last process ended is free."""
    await inbox.release_all(conn)
    await claims.free_claims(conn)
    await stories.release_evidence(conn)
