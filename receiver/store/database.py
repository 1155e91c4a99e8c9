"""What store functions are written against: a connection within a transaction, the database's clock, its errors."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from sqlalchemy import CursorResult, Executable, Float, Insert, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

T = TypeVar("T")
Write = Callable[["Conn"], Awaitable[T]]
"""A function of the connection. It may run twice and must change nothing but the database."""


class StoreBusyError(Exception):
    """More writes wait than the queue holds: the disk is slower than what comes in."""


class StoreClosedError(Exception):
    """The store was closed before the write was committed."""


class Conn(ABC):
    """A connection within one transaction. Store functions await its calls and nothing else."""

    def __init__(self) -> None:
        self.topics: set[str] = set()
        """What this transaction changes that other replicas wait for."""
        self._last: dict[Insert, list[Mapping[str, Any]]] = {}

    @abstractmethod
    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run a statement; rows are read while the transaction lasts."""

    def add_last(self, into: Insert, rows: Iterable[Mapping[str, Any]]) -> None:
        """Insert rows that nobody reads within this transaction when it ends, by one statement for all of them."""
        self._last.setdefault(into, []).extend(rows)

    async def end(self) -> None:
        """Do what was left for the end."""
        last, self._last = self._last, {}
        for into, rows in last.items():
            if rows:
                await self.execute(into, rows)

    def tell(self, topic: str) -> None:
        """Wake other replicas when this transaction is committed: they would else find out within a second."""
        self.topics.add(topic)


async def whole(fn: Write[T], conn: Conn) -> T:
    """Run a write with what it left for the end."""
    result = await fn(conn)
    await conn.end()
    return result


class Outcome(NamedTuple):
    """What came of one write of a group."""

    result: Any
    failure: Exception | None


class Database(Protocol):
    """One kind of database: how transactions run on it."""

    shared: bool
    """May several processes serve it at the same time? Then what only adds rows is committed beside other writes."""

    async def transaction(self, group: Sequence[Write[Any]], *, alone: bool) -> list[Outcome]:
        """Run writes in one transaction; a failing one takes none of its neighbours along.

        With `alone` no other such transaction, of this process or any other, runs at the same time.
        """
        ...

    async def read(self, fn: Write[T]) -> T:
        """Run `fn`, which reads a few rows, on a snapshot."""
        ...

    async def browse(self, fn: Write[T]) -> T:
        """Run `fn`, which may read many rows, on a snapshot."""
        ...

    async def listen(self, on_topic: Callable[[str], None]) -> None:
        """Tell what other replicas did, until cancelled. Empty: anything may have changed."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


def driver_url(url: str) -> str:
    """Return the URL with the driver that is used here; `postgresql://` and `postgres://` are what people write."""
    scheme, separator, rest = url.partition("://")
    return f"postgresql+psycopg{separator}{rest}" if scheme in ("postgres", "postgresql") else url


def place_of(url: str) -> str:
    """Return where a database is, for people: no user, no password and none of its options."""
    parsed = make_url(url)
    server = f"{parsed.host}:{parsed.port}" if parsed.host and parsed.port else parsed.host or ""
    return "/".join(one for one in (server, parsed.database or "") if one) or "its default place"


class _Now(FunctionElement[float]):
    type = Float()
    inherit_cache = True


@compiles(_Now, "sqlite")
def _now_of_sqlite(_element: _Now, _compiler: SQLCompiler, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(_Now, "postgresql")
def _now_of_postgresql(_element: _Now, _compiler: SQLCompiler, **_: Any) -> str:
    # Not now(): that is when the transaction began, perhaps long before it was its turn.
    return "CAST(extract(epoch FROM statement_timestamp()) AS double precision)"


NOW = _Now()
"""The database's clock, in seconds since 1970."""

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
_SERVER = ("08", "40", "53", "55", "57", "58")
"""Classes of SQLSTATE: connection, rollback (deadlock), resources, lock not available, shutdown, system error."""
_SERVER_TOO = ("25006", "25P03")
"""A standby that is not the primary yet, or any more; a transaction that the server ended since nobody spoke."""


_NO_SUCH = ("42P01", "42703")
"""Of PostgreSQL: no such table, no such column."""


def is_of_store(error: BaseException) -> bool:
    """Tell whether the store failed, for now or for good, rather than what was to be written."""
    lacks = getattr(getattr(error, "orig", None), "sqlstate", None) in _NO_SUCH
    return is_passing(error) or isinstance(error, OperationalError) or lacks


def is_passing(error: BaseException) -> bool:
    """Tell whether the disk or the server failed, which passes, rather than what was asked of it."""
    if isinstance(error, StoreBusyError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated:
        return True
    original = error.orig
    if (code := getattr(original, "sqlite_errorcode", None)) is not None:
        return isinstance(error, OperationalError) and code & 0xFF in _DISK
    if (state := getattr(original, "sqlstate", None)) is not None:
        return state in _SERVER_TOO or state[:2] in _SERVER
    return isinstance(error, OperationalError | InterfaceError)
