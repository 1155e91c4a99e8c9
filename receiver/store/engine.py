"""How the store is opened, read and written.

Writes go through a queue: whatever has gathered while the last transaction was being synced shares the next one, so a
burst costs one fsync for many writes. Every write is a function of the connection. Where one fails, its group is rolled
back and run once more with a savepoint for each, so that it takes none of its neighbours along; a write may therefore
run twice and must change nothing but the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar, cast

from receiver.store.database import (
    NOW,
    Conn,
    Database,
    Outcome,
    StoreBusyError,
    StoreClosedError,
    Write,
    is_of_store,
    is_passing,
)
from receiver.store.sqlite import SqliteDatabase, sqlite_url

__all__ = [
    "NOW",
    "Conn",
    "Store",
    "StoreBusyError",
    "StoreClosedError",
    "Write",
    "is_of_store",
    "is_passing",
    "is_shared",
    "sqlite_url",
]

T = TypeVar("T")

MAX_WAITING = 2_000
"""Writes that may wait; beyond, the caller is told at once (a webhook is then answered 503)."""
MAX_GROUP = 32
"""Writes that share one transaction: bounds how long the first of them waits, and everybody for them."""
MAX_GROUP_IN_RUSH = 2
"""The same for what is no webhook, while webhooks come in a row."""
RUSH = 60
RUSH_S = 1.0
"""Webhooks come in a row when so many of them came within so many seconds ..."""
QUIET_S = 0.5
"""... and the last one not longer ago than this."""
TURNS_TO_READ = 3
"""Turns of the loop until a webhook that came during a transaction is seen: only then it is decided who is next."""
REST = 2.0
"""Then all other writes have one part of the time in 1 + REST."""
REST_S = 0.25
"""Seconds that other writes wait for webhooks at most: work goes on whatever comes."""

_Waiting = tuple[Write[Any], "asyncio.Future[Any]"]


def is_shared(url: str) -> bool:
    """May several replicas use this database at a time?"""
    return not url.startswith("sqlite")


class _Pace:
    """Who may use the processor while webhooks come: one loop answers them and does everything else.

    All other work goes through writes sooner or later. So after each group of them the next one waits REST times as
    long as that took, while webhooks come in a row. An answer to Alertmanager is then never far behind, and all
    work goes on.
    """

    def __init__(self) -> None:
        self._came = deque([-RUSH_S] * RUSH, maxlen=RUSH)

    def came(self) -> None:
        """Note that a webhook came."""
        self._came.append(time.monotonic())

    @property
    def rush(self) -> bool:
        """Do webhooks come in a row?"""
        now = time.monotonic()
        return now - self._came[0] < RUSH_S and now - self._came[-1] < QUIET_S


class _Lane:
    """Queues of writes and what runs them, a group at a time. What only adds rows may have a queue of its own."""

    def __init__(self, database: Database, pace: _Pace, *, alone: bool) -> None:
        self._database = database
        self._pace = pace
        self._alone = alone
        self._writes: asyncio.Queue[_Waiting] = asyncio.Queue(MAX_WAITING)
        self._appends: asyncio.Queue[_Waiting] = asyncio.Queue(MAX_WAITING)
        self._came = asyncio.Event()
        self._closing = False
        self._rest_until = 0.0
        """Until then no group of writes begins, in `time.monotonic()`."""
        self._owed = False
        """Were writes run last? Then appends that wait are next."""

    async def put(self, fn: Write[T]) -> T:
        """Run `fn` with others and return its result once that is on disk."""
        future = self._future()
        await self._writes.put((fn, future))
        self._came.set()
        return cast(T, await future)

    async def offer(self, fn: Write[T]) -> T:
        """Run `fn`, which only adds rows; raises StoreBusyError at once when the queue is full."""
        future = self._future()
        try:
            self._appends.put_nowait((fn, future))
        except asyncio.QueueFull:
            raise StoreBusyError(f"{MAX_WAITING} writes are waiting for the disk") from None
        self._came.set()
        return cast(T, await future)

    def _future(self) -> asyncio.Future[Any]:
        if self._closing:
            raise StoreClosedError("the store was closed")
        return asyncio.get_running_loop().create_future()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work the queues off; leaving finishes what waits and refuses what comes later."""
        task = asyncio.create_task(self._run(), name="store-writer")
        try:
            yield
        finally:
            self._closing = True
            self._came.set()
            await task
            for queue in (self._writes, self._appends):
                while not queue.empty():
                    _fail([queue.get_nowait()], StoreClosedError("the store was closed"))

    async def _run(self) -> None:
        while True:
            queue = await self._next()
            if queue is None:
                return
            group = [queue.get_nowait() for _ in range(min(self._most(queue), queue.qsize()))]
            began = time.monotonic()
            try:
                outcomes = await self._database.transaction([fn for fn, _ in group], alone=self._alone)
            except Exception as error:
                _fail(group, error)
            else:
                _answer(group, outcomes)
            for _ in range(TURNS_TO_READ):
                await asyncio.sleep(0)
            self._owed = queue is self._writes
            if self._owed:
                ended = time.monotonic()
                self._rest_until = ended + min(REST_S, REST * (ended - began))

    async def _next(self) -> asyncio.Queue[_Waiting] | None:
        """Wait for work and return whose turn it is; None: the lane is closed and nothing waits."""
        while True:
            self._came.clear()
            writes, appends = not self._writes.empty(), not self._appends.empty()
            rest = self._rest_until - time.monotonic() if writes and self._pace.rush and not self._closing else 0.0
            if writes and rest <= 0 and not (self._owed and appends):
                return self._writes
            if appends:
                return self._appends
            if self._closing and not writes:
                return None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(rest, QUIET_S) if writes else None):
                    await self._came.wait()

    def _most(self, queue: asyncio.Queue[_Waiting]) -> int:
        return MAX_GROUP_IN_RUSH if queue is self._writes and self._pace.rush else MAX_GROUP


class Store:
    """One database, opened once: `async with Store.open(url) as store`."""

    def __init__(self, database: Database, writes: _Lane, appends: _Lane, pace: _Pace) -> None:
        self.database = database
        self._pace = pace
        self._writes = writes
        self._appends = appends

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Store]:
        """Open the database, whose schema must be current (see `receiver.store.upgrade`), and close it at the end."""
        database = _database(url)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(database.aclose)
            pace = _Pace()
            writes = _Lane(database, pace, alone=True)
            appends = _Lane(database, pace, alone=False) if database.shared else writes
            for lane in {writes, appends}:
                await stack.enter_async_context(lane.running())
            yield cls(database, writes, appends, pace)

    @property
    def shared(self) -> bool:
        """May other replicas use the database at the same time? Then claims end by their leases alone."""
        return self.database.shared

    @property
    def rush(self) -> bool:
        """Do webhooks come in a row? Then whatever else is written should be small."""
        return self._pace.rush

    def webhook_came(self) -> None:
        """Say that there is a webhook to be committed."""
        self._pace.came()

    async def write(self, fn: Write[T]) -> T:
        """Run `fn` in a transaction and return its result once that is on disk. Raises what `fn` raises.

        No other such transaction runs at the same time, in no replica.
        """
        return await self._writes.put(fn)

    async def offer(self, fn: Write[T]) -> T:
        """Run `fn`, which only adds rows, in a transaction and return once that is on disk.

        For callers that must not pile up: raises StoreBusyError at once when the queue is full.
        """
        return await self._appends.offer(fn)

    async def read(self, fn: Write[T]) -> T:
        """Run `fn`, which reads a few rows, on a snapshot."""
        return await self.database.read(fn)

    async def browse(self, fn: Write[T]) -> T:
        """Run `fn`, which may read many rows, on a snapshot."""
        return await self.database.browse(fn)

    async def listen(self, on_topic: Callable[[str], None]) -> None:
        """Tell what other replicas did, until cancelled. Empty: anything may have changed."""
        await self.database.listen(on_topic)


def _database(url: str) -> Database:
    if not is_shared(url):
        return SqliteDatabase(url)
    from receiver.store.postgres import PostgresDatabase  # its driver costs 20 MB, which SQLite's users keep

    return PostgresDatabase(url)


def _answer(group: list[_Waiting], outcomes: Sequence[Outcome]) -> None:
    for (_, future), (result, failure) in zip(group, outcomes, strict=True):
        if future.done():
            continue
        if failure is None:
            future.set_result(result)
        else:
            future.set_exception(failure)


def _fail(group: list[_Waiting], error: BaseException) -> None:
    for _, future in group:
        if not future.done():
            future.set_exception(error)
