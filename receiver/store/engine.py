"""How the database is opened, read and written.

Writes go through one queue: whatever has gathered while the last transaction was being synced shares the next one, so a
burst costs one fsync for many writes. Every write is a function of the connection. Where one fails, its group is rolled
back and run once more with a savepoint for each, so that it takes none of its neighbours along; a write may therefore
run twice and must change nothing but the database.

Store functions are coroutines that await nothing but their connection, whose calls end at once, so a whole transaction
runs in one go, right where it is called. Only what may wait goes to a thread: BEGIN (for another process's lock),
COMMIT (for the disk), and long reads for people (`browse`). Handing every statement to another thread and back, as
asyncio drivers for SQLite do, took several times as long: each way waits for the interpreter.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, CursorResult, Engine, Executable, Float, create_engine, event, literal_column
from sqlalchemy.engine import RootTransaction
from sqlalchemy.exc import OperationalError

T = TypeVar("T")
Write = Callable[["Conn"], Awaitable[T]]

MAX_WAITING = 2_000
"""Writes that may wait; beyond, the caller is told at once (a webhook is then answered 503)."""
MAX_GROUP = 32
"""Writes that share one transaction: bounds how long the first of them waits, and everybody for them."""
READERS = 3
BUSY_MS = 1_000
BEGIN_TRIES = 60
"""How often, BUSY_MS milliseconds each, a write waits for another process that holds the file."""

NOW = literal_column("((julianday('now') - 2440587.5) * 86400.0)", Float)
"""The database's clock, in seconds since 1970."""


_Waiting = tuple[Write[Any], "asyncio.Future[Any]"]


class StoreBusyError(Exception):
    """More writes wait than the queue holds: the disk is slower than what comes in."""


_DISK = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)


def is_passing(error: BaseException) -> bool:
    """Tell whether the disk (or whoever holds the file) failed, which passes, rather than what was asked of it."""
    if isinstance(error, StoreBusyError):
        return True
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
    return isinstance(error, OperationalError) and (code is None or code & 0xFF in _DISK)


class StoreClosedError(Exception):
    """The store was closed before the write was committed."""


class Conn:
    """A connection within one transaction. Store functions await its calls and nothing else."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run a statement; rows are read while the transaction lasts."""
        return cast("CursorResult[Any]", self._connection.execute(statement, parameters))


def _finish(work: Awaitable[T]) -> T:
    """Run a store function to its end; it never has to wait."""
    coroutine = cast("Coroutine[Any, Any, T]", work)
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    coroutine.close()
    raise RuntimeError("a store function awaited something other than its connection")


def sqlite_url(path: Path) -> str:
    """Return SQLAlchemy's URL of a database file."""
    return f"sqlite:///{path}"


class Store:
    """One database, opened once: `async with Store.open(url) as store`."""

    def __init__(self, writer: Engine, reader: Engine, begin_tries: int = BEGIN_TRIES) -> None:
        self._begin_tries = begin_tries
        self._writer = writer
        self._reader = reader
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._browsing = ThreadPoolExecutor(READERS, thread_name_prefix="store-browse")
        self._queue: asyncio.Queue[_Waiting | None] = asyncio.Queue(MAX_WAITING)
        """None: the store is being closed."""

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Store]:
        """Open the database, whose schema must be current (see `receiver.store.upgrade`), and close it at the end."""
        writer = create_engine(url, pool_size=1, max_overflow=0)
        reader = create_engine(url, pool_size=READERS + 1, max_overflow=0)
        _prepare_sqlite(writer, "BEGIN IMMEDIATE")
        _prepare_sqlite(reader, "BEGIN")
        store = cls(writer, reader)
        task = asyncio.create_task(store._write_groups(), name="store-writer")
        try:
            yield store
        finally:
            await store._queue.put(None)
            await task
            while not store._queue.empty():
                late = store._queue.get_nowait()
                _fail([late] if late else [], StoreClosedError("the store was closed"))
            await asyncio.to_thread(store._close)

    def _close(self) -> None:
        self._writing.shutdown()
        self._browsing.shutdown()
        self._writer.dispose()
        self._reader.dispose()

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

    async def read(self, fn: Write[T]) -> T:
        """Run `fn`, which reads a few rows, on a snapshot."""
        return self._read(fn)

    async def browse(self, fn: Write[T]) -> T:
        """Run `fn`, which may read many rows, on a snapshot."""
        return await asyncio.get_running_loop().run_in_executor(self._browsing, self._read, fn)

    def _read(self, fn: Write[T]) -> T:
        with self._reader.connect() as connection:
            return _finish(fn(Conn(connection)))

    async def _write_groups(self) -> None:
        while True:
            first = await self._queue.get()
            if first is None:
                return
            group = [first]
            closing = False
            while len(group) < MAX_GROUP and not self._queue.empty() and not closing:
                following = self._queue.get_nowait()
                closing = following is None
                if following is not None:
                    group.append(following)
            try:
                results = await self._transaction([fn for fn, _ in group])
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
            if closing:
                return

    def _begin(self, connection: Connection) -> RootTransaction:
        """Begin, with patience for another process (a backup, VACUUM, a command) that holds the file for a while."""
        for left in reversed(range(self._begin_tries)):
            try:
                return connection.begin()
            except OperationalError as error:
                if "locked" not in str(error) or not left:
                    raise
        raise StoreBusyError("the file was never asked for")

    async def _transaction(self, group: list[Write[Any]]) -> list[tuple[Any, Exception | None]]:
        loop = asyncio.get_running_loop()
        connection = self._writer.connect()
        try:
            transaction = await loop.run_in_executor(self._writing, self._begin, connection)
            try:
                results: list[tuple[Any, Exception | None]] = [(_finish(fn(Conn(connection))), None) for fn in group]
            except Exception as error:
                transaction.rollback()
                if len(group) == 1:
                    return [(None, error)]  # the caller's own failure, handed back to the caller
                transaction = await loop.run_in_executor(self._writing, self._begin, connection)
                results = self._each_apart(connection, group)
            await loop.run_in_executor(self._writing, transaction.commit)
        finally:
            connection.close()
        return results

    @staticmethod
    def _each_apart(connection: Connection, group: list[Write[Any]]) -> list[tuple[Any, Exception | None]]:
        results: list[tuple[Any, Exception | None]] = []
        for fn in group:
            try:
                with connection.begin_nested():
                    results.append((_finish(fn(Conn(connection))), None))
            except Exception as error:
                results.append((None, error))
        return results


def _fail(group: list[_Waiting], error: BaseException) -> None:
    for _, future in group:
        if not future.done():
            future.set_exception(error)


def _prepare_sqlite(engine: Engine, begin: str) -> None:
    if engine.dialect.name != "sqlite":
        return

    @event.listens_for(engine, "connect")
    def _connect(dbapi_connection: Any, _record: Any) -> None:
        dbapi_connection.isolation_level = None  # SQLAlchemy emits BEGIN itself, below
        cursor = dbapi_connection.cursor()
        # WAL is a property of the file: `upgrade` has set it, where nobody else could be in the way.
        for pragma in (f"busy_timeout={BUSY_MS}", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(conn: Any) -> None:
        conn.exec_driver_sql(begin)
