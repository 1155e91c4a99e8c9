"""PostgreSQL, for several replicas.

Writes that decide (record an alert, open a story, plan an attempt) run one after another in all replicas: each takes an
advisory lock of its transaction. So everything that holds for SQLite's one writer holds here, and no statement had to
be written twice. A replica that stops within such a transaction (SIGSTOP, a partition) loses it to the server after
IDLE_S, so it holds up nobody for long. What only adds rows (`Store.offer`: the inbox) takes no lock: an answer to
Alertmanager waits for its own commit alone.

A transaction that was rolled back by the server (deadlock, serialization) or whose connection broke before COMMIT was
begun is run again. One whose connection broke within COMMIT may have been committed: its caller is told that it failed,
and all callers can live with a write that happened nevertheless (an alert that comes twice, a lease that runs out).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import psycopg
import structlog
from sqlalchemy import CursorResult, Executable, event, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from receiver.store.database import Conn, Outcome, Write, driver_url, is_passing, whole

T = TypeVar("T")
log = structlog.get_logger(__name__)

CHANNEL = "mtv_receiver"
DECIDING = 0x6D74_7601
"""Key of the lock that deciding transactions take."""
READERS = 4
BROWSERS = 3
CONNECT_S = 5
IDLE_S = 8
"""A transaction whose client says nothing for so long is ended by the server. Well under the lease of a claim."""
STATEMENT_S = 30
LOCK_S = 20
TRIES = 4
AGAIN_S = 0.1
LISTEN_AGAIN_S = 1.0

_LOCK = text(f"SELECT pg_advisory_xact_lock({DECIDING})")
_NOTIFY = text("SELECT pg_notify(:channel, :topic)")


class _Conn(Conn):
    def __init__(self, connection: AsyncConnection) -> None:
        super().__init__()
        self._connection = connection

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        return cast("CursorResult[Any]", await self._connection.execute(statement, parameters))


class PostgresDatabase:
    """One database of a server, used by any number of replicas. `upgrade` has made its tables."""

    shared = True

    def __init__(self, url: str) -> None:
        self._url = url
        self._writer = _engine(url, 2, read_only=False)
        self._reader = _engine(url, READERS, read_only=True)
        self._browser = _engine(url, BROWSERS, read_only=True)
        self._mine: set[int] = set()
        """Process numbers of the writers' connections at the server: what they tell is no news here."""
        event.listen(self._writer.sync_engine, "connect", self._connected)

    def _connected(self, connection: Any, _record: Any) -> None:
        self._mine.add(connection.driver_connection.info.backend_pid)

    async def aclose(self) -> None:
        """Close every connection."""
        for engine in (self._writer, self._reader, self._browser):
            await engine.dispose()

    async def read(self, fn: Write[T]) -> T:
        """Run `fn`, which reads a few rows, on a snapshot."""
        async with self._reader.connect() as connection:
            return await fn(_Conn(connection))

    async def browse(self, fn: Write[T]) -> T:
        """Run `fn`, which may read many rows, on a snapshot; such reads wait for each other, not for `read`."""
        async with self._browser.connect() as connection:
            return await fn(_Conn(connection))

    async def transaction(self, group: Sequence[Write[Any]], *, alone: bool) -> list[Outcome]:
        """Run writes in one transaction; where one fails, all once more, each within a savepoint."""
        apart = False
        for left in reversed(range(TRIES)):
            try:
                return await self._try(group, alone=alone, apart=apart)
            except _OneFailedError as failed:
                if len(group) == 1:
                    return [Outcome(None, failed.error)]
                apart = True
            except _MayRunAgainError as failed:
                if not left:
                    raise failed.error from None
                log.warning("store.again", error=str(failed.error.orig))
            await asyncio.sleep(AGAIN_S)
        return await self._try(group, alone=alone, apart=True)

    async def _try(self, group: Sequence[Write[Any]], *, alone: bool, apart: bool) -> list[Outcome]:
        committing = False
        try:
            async with self._writer.connect() as connection:
                transaction = await connection.begin()
                if alone:
                    await connection.execute(_LOCK)
                conn = _Conn(connection)
                results = [await _one(fn, conn, connection, apart=apart) for fn in group]
                for topic in sorted(conn.topics):
                    await connection.execute(_NOTIFY, {"channel": CHANNEL, "topic": topic})
                committing = True
                await transaction.commit()
        except DBAPIError as error:
            if not is_passing(error) or (committing and not _is_rolled_back(error)):
                raise
            raise _MayRunAgainError(error) from None
        return results

    async def listen(self, on_topic: Callable[[str], None]) -> None:
        """Call `on_topic` with what other replicas and commands tell, until cancelled; empty: some may be missed."""
        conninfo = make_url(self._url).set(drivername="postgresql").render_as_string(hide_password=False)
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    conninfo, autocommit=True, **_KEPT_ALIVE
                ) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    on_topic("")
                    async for one in connection.notifies():
                        if one.pid not in self._mine:
                            on_topic(one.payload)
            except psycopg.Error as error:
                log.warning("store.listener_lost", error=str(error).strip())
            await asyncio.sleep(LISTEN_AGAIN_S)


class _OneFailedError(Exception):
    """A write of the group failed by itself."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class _MayRunAgainError(Exception):
    """Nothing was committed, and the server or the connection is to blame."""

    def __init__(self, error: DBAPIError) -> None:
        super().__init__(str(error))
        self.error = error


def _is_rolled_back(error: DBAPIError) -> bool:
    """Does this answer to COMMIT say that nothing was committed? A broken connection says nothing."""
    state = getattr(error.orig, "sqlstate", None) or ""
    return state.startswith("40") or state == "25P03"


async def _one(fn: Write[Any], conn: Conn, connection: AsyncConnection, *, apart: bool) -> Outcome:
    try:
        if not apart:
            return Outcome(await whole(fn, conn), None)
        async with connection.begin_nested():
            return Outcome(await whole(fn, conn), None)
    except Exception as error:
        if isinstance(error, DBAPIError) and is_passing(error):
            raise
        if apart:
            return Outcome(None, error)
        raise _OneFailedError(error) from error


_KEPT_ALIVE: dict[str, Any] = {
    "connect_timeout": CONNECT_S,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "application_name": "mtv-receiver",
}


def _engine(url: str, connections: int, *, read_only: bool) -> AsyncEngine:
    settings = {
        "idle_in_transaction_session_timeout": IDLE_S * 1000,
        "statement_timeout": STATEMENT_S * 1000,
        "lock_timeout": LOCK_S * 1000,
        "timezone": "UTC",
    }
    if read_only:
        settings["default_transaction_read_only"] = "on"
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    engine = create_async_engine(
        driver_url(url),
        pool_size=connections,
        max_overflow=0,
        hide_parameters=True,  # no row in a message: it holds what alerts said as they came (P6)
        pool_pre_ping=True,
        isolation_level="REPEATABLE READ" if read_only else "READ COMMITTED",
        connect_args={**_KEPT_ALIVE, "options": options},
    )
    if not read_only:
        event.listen(engine.sync_engine, "connect", _insist_on_the_disk)
    return engine


def _insist_on_the_disk(connection: Any, _record: Any) -> None:
    """An answer of 200 means on disk (P1), whatever the server's default is."""
    cursor = connection.cursor()
    cursor.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
    cursor.close()
    connection.commit()
