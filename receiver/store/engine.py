"""How the database is opened, read and written.

Writes go through one queue: whatever has gathered while the last transaction was being synced shares the next one, so a
burst costs one fsync for many writes. Every write is a function of the connection and runs in a savepoint of its own: a
failing one takes none of its neighbours along.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Float, event, literal_column
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

T = TypeVar("T")
Write = Callable[[AsyncConnection], Awaitable[T]]

MAX_WAITING = 2_000
"""Writes that may wait; beyond, the caller is told at once (a webhook is then answered 503)."""
MAX_GROUP = 128
"""Writes that share one transaction: bounds how long the first of them waits."""

NOW = literal_column("((julianday('now') - 2440587.5) * 86400.0)", Float)
"""The database's clock, in seconds since 1970."""


class StoreBusyError(Exception):
    """More writes wait than the queue holds: the disk is slower than what comes in."""


class StoreClosedError(Exception):
    """The store was closed before the write was committed."""


def sqlite_url(path: Path) -> str:
    """Return SQLAlchemy's URL of a database file."""
    return f"sqlite+aiosqlite:///{path}"


class Store:
    """One database, opened once: `async with Store.open(url) as store`."""

    def __init__(self, writer: AsyncEngine, reader: AsyncEngine) -> None:
        self._writer = writer
        self._reader = reader
        self._queue: asyncio.Queue[tuple[Write[Any], asyncio.Future[Any]]] = asyncio.Queue(MAX_WAITING)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Store]:
        """Open the database, whose schema must be current (see `receiver.store.upgrade`), and close it at the end."""
        writer = create_async_engine(url, pool_size=1, max_overflow=0)
        reader = create_async_engine(url, pool_size=4, max_overflow=4)
        _prepare_sqlite(writer, "BEGIN IMMEDIATE")
        _prepare_sqlite(reader, "BEGIN")
        store = cls(writer, reader)
        task = asyncio.create_task(store._write_groups(), name="store-writer")
        try:
            yield store
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            while not store._queue.empty():
                _, future = store._queue.get_nowait()
                if not future.done():
                    future.set_exception(StoreClosedError("the store was closed"))
            await writer.dispose()
            await reader.dispose()

    async def write(self, fn: Write[T]) -> T:
        """Run `fn` in a transaction and return its result once that is on disk. Raises what `fn` raises."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        await self._queue.put((fn, future))
        return await future

    async def offer(self, fn: Write[T]) -> T:
        """Like `write` for callers that must not pile up: raises StoreBusyError at once when the queue is full."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((fn, future))
        except asyncio.QueueFull:
            raise StoreBusyError(f"{MAX_WAITING} writes are waiting for the disk") from None
        return await future

    async def read(self, fn: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run `fn` on a snapshot."""
        async with self._reader.connect() as conn:
            return await fn(conn)

    async def _write_groups(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            conn: AsyncConnection | None = None
            while True:
                group = [await self._queue.get()]
                while len(group) < MAX_GROUP and not self._queue.empty():
                    group.append(self._queue.get_nowait())
                try:
                    if conn is None:
                        conn = await stack.enter_async_context(self._writer.connect())
                    results = await self._commit(conn, group)
                except asyncio.CancelledError:
                    _fail(group, StoreClosedError("the store was closed"))
                    raise
                except Exception as error:
                    _fail(group, error)
                else:
                    for (_, future), (result, failure) in zip(group, results, strict=True):
                        if future.done():
                            continue
                        if failure is None:
                            future.set_result(result)
                        else:
                            future.set_exception(failure)

    async def _commit(
        self, conn: AsyncConnection, group: list[tuple[Write[Any], asyncio.Future[Any]]]
    ) -> list[tuple[Any, Exception | None]]:
        """Run a group in one transaction; shielded, so that closing never leaves one half done."""
        return await asyncio.shield(self._transaction(conn, group))

    async def _transaction(
        self, conn: AsyncConnection, group: list[tuple[Write[Any], asyncio.Future[Any]]]
    ) -> list[tuple[Any, Exception | None]]:
        results: list[tuple[Any, Exception | None]] = []
        async with conn.begin():
            for fn, _ in group:
                try:
                    async with conn.begin_nested():
                        results.append((await fn(conn), None))
                except Exception as error:  # the caller's own failure, handed back to the caller
                    results.append((None, error))
        return results


def _fail(group: list[tuple[Write[Any], asyncio.Future[Any]]], error: BaseException) -> None:
    for _, future in group:
        if not future.done():
            future.set_exception(error)


def _prepare_sqlite(engine: AsyncEngine, begin: str) -> None:
    if engine.dialect.name != "sqlite":
        return

    @event.listens_for(engine.sync_engine, "connect")
    def _connect(dbapi_connection: Any, _record: Any) -> None:
        dbapi_connection.isolation_level = None  # SQLAlchemy emits BEGIN itself, below
        cursor = dbapi_connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(conn: Any) -> None:
        conn.exec_driver_sql(begin)
