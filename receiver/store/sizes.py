"""How much room the store takes.

Neither database gives room back to the disk when rows are deleted: it is used again. So what counts against a limit is
what is in use. SQLite knows that exactly. PostgreSQL does not: there the rows are measured, which takes a while, and
only when everything that was ever allocated is more than the limit.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Text, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from receiver.store.engine import Conn
from receiver.store.schema import audit, metadata, snapshots, stories

ROW_BYTES = 64
"""What a row takes beside its texts: its head, numbers, and its place in the indexes."""


class _Allocated(FunctionElement[int]):
    type = BigInteger()
    inherit_cache = True


class _InUse(FunctionElement[int]):
    type = BigInteger()
    inherit_cache = True


class Bytes(FunctionElement[int]):
    """What a text takes, as it is stored; NULL takes nothing."""

    type = BigInteger()
    inherit_cache = True


@compiles(_Allocated, "sqlite")
def _file(_element: _Allocated, _compiler: SQLCompiler, **_: Any) -> str:
    return "(SELECT c.page_count * s.page_size FROM pragma_page_count AS c, pragma_page_size AS s)"


@compiles(_InUse, "sqlite")
def _pages(_element: _InUse, _compiler: SQLCompiler, **_: Any) -> str:
    return (
        "(SELECT (c.page_count - f.freelist_count) * s.page_size"
        " FROM pragma_page_count AS c, pragma_freelist_count AS f, pragma_page_size AS s)"
    )


@compiles(_Allocated, "postgresql")
def _relations(_element: _Allocated, _compiler: SQLCompiler, **_: Any) -> str:
    sizes = " + ".join(f"pg_total_relation_size('\"{name}\"')" for name in metadata.tables)
    return f"({sizes})"


@compiles(_InUse, "postgresql")
def _rows(_element: _InUse, _compiler: SQLCompiler, **_: Any) -> str:
    sums: list[str] = []
    for table in metadata.tables.values():
        texts = [f'coalesce(pg_column_size("{column.name}"), 0)' for column in table.c if isinstance(column.type, Text)]
        sums.append(f'(SELECT coalesce(sum({" + ".join([str(ROW_BYTES), *texts])}), 0) FROM "{table.name}")')  # noqa: S608  # our own tables
    return f"({' + '.join(sums)})"


@compiles(Bytes, "sqlite")
def _bytes_of_sqlite(element: Bytes, compiler: SQLCompiler, **more: Any) -> str:
    return f"coalesce(length(CAST({compiler.process(element.clauses, **more)} AS BLOB)), 0)"


@compiles(Bytes, "postgresql")
def _bytes_of_postgresql(element: Bytes, compiler: SQLCompiler, **more: Any) -> str:
    return f"coalesce(pg_column_size({compiler.process(element.clauses, **more)}), 0)"


class _Searched(FunctionElement[int]):
    type = BigInteger()
    inherit_cache = True


@compiles(_Searched, "sqlite")
def _with_index(element: _Searched, compiler: SQLCompiler, **more: Any) -> str:
    # FTS5's index takes at most about as much as the words, and its pages count as in use.
    return f"2 * length(CAST({compiler.process(element.clauses, **more)} AS BLOB))"


@compiles(_Searched, "postgresql")
def _without_index(element: _Searched, compiler: SQLCompiler, **more: Any) -> str:
    return f"pg_column_size({compiler.process(element.clauses, **more)})"


def searched(words: ColumnElement[Any]) -> ColumnElement[int]:
    """Return what the search takes for some words, about, as `in_use` counts it."""
    return _Searched(words)


def bytes_of(column: ColumnElement[Any]) -> Bytes:
    """Return what a text takes."""
    return Bytes(column)


async def allocated(conn: Conn) -> int:
    """Return what the tables take on the disk, with the room that is free within."""
    return int((await conn.execute(select(_Allocated()))).scalar_one())


async def in_use(conn: Conn) -> int:
    """Return what the rows take. Reads every row where the database does not know (PostgreSQL)."""
    return int((await conn.execute(select(_InUse()))).scalar_one())


async def evidence(conn: Conn) -> int:
    """Return what the evidence of closed stories takes."""
    kept = (stories.c.closed.is_not(None), stories.c.evidence.is_not(None))
    return int((await conn.execute(select(func.sum(bytes_of(stories.c.evidence))).where(*kept))).scalar_one() or 0)


async def of_audit(conn: Conn) -> int:
    """Return what the audit stream takes."""
    return int((await conn.execute(select(func.sum(bytes_of(audit.c.text) + ROW_BYTES)))).scalar_one() or 0)


async def of_snapshots(conn: Conn) -> int:
    """Return what is kept of migrations that run takes."""
    size = bytes_of(snapshots.c.payload) + bytes_of(snapshots.c.marks) + ROW_BYTES
    return int((await conn.execute(select(func.sum(size)))).scalar_one() or 0)
