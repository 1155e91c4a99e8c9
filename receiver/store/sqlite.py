"""SQLite, the embedded database: one file, one writer.

Store functions are coroutines that await nothing but their connection, whose calls end at once, so a whole transaction
runs in one go, right where it is called. Only what may wait goes to a thread: BEGIN (for another process's lock),
COMMIT (for the disk), and long reads for people (`browse`). Handing every statement to another thread and back, as
asyncio drivers for SQLite do, took several times as long: each way waits for the interpreter.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, CursorResult, Engine, Executable, create_engine, event
from sqlalchemy.engine import RootTransaction
from sqlalchemy.exc import OperationalError

from receiver.store.database import Conn, Outcome, StoreBusyError, Write, whole

T = TypeVar("T")

READERS = 3
BUSY_MS = 1_000
BEGIN_TRIES = 60
"""How often, BUSY_MS milliseconds each, a write waits for another process that holds the file."""


def sqlite_url(path: Path) -> str:
    """Return SQLAlchemy's URL of a database file."""
    return f"sqlite:///{path}"


class _Conn(Conn):
    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
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


class SqliteDatabase:
    """One file, opened once for writing. `upgrade` has made it."""

    shared = False

    def __init__(self, url: str) -> None:
        self.begin_tries = BEGIN_TRIES
        self._writer = _engine(url, 1, "BEGIN IMMEDIATE")
        self._reader = _engine(url, READERS + 1, "BEGIN")
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="store-write")
        self._browsing = ThreadPoolExecutor(READERS, thread_name_prefix="store-browse")

    async def listen(self, on_topic: Callable[[str], None]) -> None:
        """Wait for ever: there are no others, one process has the file."""
        await asyncio.Event().wait()

    async def aclose(self) -> None:
        """Close every connection."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writing.shutdown()
        self._browsing.shutdown()
        self._writer.dispose()
        self._reader.dispose()

    async def read(self, fn: Write[T]) -> T:
        """Run `fn`, which reads a few rows, on a snapshot."""
        return self._read(fn)

    async def browse(self, fn: Write[T]) -> T:
        """Run `fn`, which may read many rows, on a snapshot."""
        return await asyncio.get_running_loop().run_in_executor(self._browsing, self._read, fn)

    def _read(self, fn: Write[T]) -> T:
        with self._reader.connect() as connection:
            return _finish(fn(_Conn(connection)))

    async def transaction(self, group: Sequence[Write[Any]], *, alone: bool) -> list[Outcome]:
        """Run writes in one transaction; where one fails, all once more, each within a savepoint."""
        loop = asyncio.get_running_loop()
        connection = self._writer.connect()
        try:
            transaction = await loop.run_in_executor(self._writing, self._begin, connection)
            try:
                results = [Outcome(_finish(whole(fn, _Conn(connection))), None) for fn in group]
            except Exception as error:
                transaction.rollback()
                if len(group) == 1:
                    return [Outcome(None, error)]  # the caller's own failure, handed back to the caller
                transaction = await loop.run_in_executor(self._writing, self._begin, connection)
                results = _each_apart(connection, group)
            await loop.run_in_executor(self._writing, transaction.commit)
        finally:
            connection.close()
        return results

    def _begin(self, connection: Connection) -> RootTransaction:
        """Begin, with patience for another process (a backup, VACUUM, a command) that holds the file for a while."""
        for left in reversed(range(self.begin_tries)):
            try:
                return connection.begin()
            except OperationalError as error:
                if "locked" not in str(error) or not left:
                    raise
        raise StoreBusyError("the file was never asked for")


def _each_apart(connection: Connection, group: Sequence[Write[Any]]) -> list[Outcome]:
    results: list[Outcome] = []
    for fn in group:
        savepoint = connection.begin_nested()
        try:
            result = _finish(whole(fn, _Conn(connection)))
        except Exception as error:
            if not _in_transaction(connection):
                raise  # a full disk, say: SQLite took back everything, and there is no savepoint any more
            savepoint.rollback()
            results.append(Outcome(None, error))
        else:
            savepoint.commit()
            results.append(Outcome(result, None))
    return results


def _in_transaction(connection: Connection) -> bool:
    driver = cast("sqlite3.Connection", connection.connection.dbapi_connection)
    return driver.in_transaction


def _engine(url: str, connections: int, begin: str) -> Engine:
    # No row in a message: it holds what alerts said as they came (P6).
    engine = create_engine(url, pool_size=connections, max_overflow=0, hide_parameters=True)

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

    return engine
