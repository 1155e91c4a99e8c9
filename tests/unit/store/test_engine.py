"""The store's one write queue, its schema and its lock."""

from __future__ import annotations

import ast
import asyncio
import sqlite3
import traceback
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, func, insert, select, text
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from receiver.store import engine, sqlite
from receiver.store.database import Conn, driver_url
from receiver.store.engine import Store, StoreBusyError, sqlite_url
from receiver.store.schema import metadata, pulse
from receiver.store.upgrade import FileLock, LockedError, NewerSchemaError, upgrade

FOR_SEARCH = {"search_words", "search_fts", *(f"search_fts_{part}" for part in ("config", "data", "docsize", "idx"))}

PLANTED = "Fa4eStorePw77"

pytestmark = pytest.mark.anyio


def put(number: int) -> Any:
    async def write(conn: Any) -> int:
        await conn.execute(insert(pulse).values(id=number, at=0.0))
        return number

    return write


async def count(conn: Any) -> int:
    return int((await conn.execute(select(func.count()).select_from(pulse))).scalar_one())


async def test_a_failing_write_takes_none_of_its_neighbours_along(url: str) -> None:
    async with Store.open(url) as store:
        results = await asyncio.gather(*(store.write(put(number)) for number in (1, 2, 2, 3)), return_exceptions=True)
        assert [type(one) for one in results] == [int, int, IntegrityError, int]
        assert await store.read(count) == 3


async def test_a_write_that_was_answered_is_on_disk(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "x.db")
    upgrade(url)
    async with Store.open(url) as store:
        await store.write(put(7))
        other = create_engine(url)
        with other.connect() as conn:
            assert conn.execute(select(pulse.c.id)).scalars().all() == [7]
            assert conn.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        other.dispose()


async def test_more_writes_than_the_queue_holds_are_refused_at_once(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "x.db")
    upgrade(url)
    async with Store.open(url) as store:
        gate = asyncio.Event()

        async def slow(_: Any) -> None:
            await gate.wait()

        first = asyncio.create_task(store.write(slow))
        waiting = [asyncio.create_task(store.offer(put(number))) for number in range(engine.MAX_WAITING + 200)]
        await asyncio.sleep(0)
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        refused = [one for one in waiting if one.done() and isinstance(one.exception(), StoreBusyError)]
        assert refused
        gate.set()
        await first
        await asyncio.gather(*waiting, return_exceptions=True)
        assert await store.read(count) == len(waiting) - len(refused)


def test_the_migrations_make_exactly_the_declared_schema(url: str) -> None:
    made = create_engine(driver_url(url))
    with made.connect() as conn:
        # What SQLite's search keeps for itself, and the type and index by which PostgreSQL searches, are not declared:
        # that would load a dialect into every process.
        ours: dict[str, Any] = {
            "include_name": lambda name, kind, _: not (kind in ("table", "index") and name in FOR_SEARCH),
            "compare_type": lambda _context, _there, column, *_types: False if column.name == "words" else None,
        }
        assert compare_metadata(MigrationContext.configure(conn, opts=ours), metadata) == []
    made.dispose()


def test_upgrading_twice_changes_nothing(url: str) -> None:
    assert upgrade(url) == upgrade(url)


def test_a_schema_of_a_newer_version_is_refused_with_a_clear_line(url: str) -> None:
    made = create_engine(driver_url(url))
    with made.begin() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    made.dispose()
    with pytest.raises(NewerSchemaError, match="9999"):
        upgrade(url)


def test_the_lock_is_held_once_and_freed_with_its_holder(tmp_path: Path) -> None:
    one, other = FileLock(tmp_path / "x.db"), FileLock(tmp_path / "x.db")
    with one, pytest.raises(LockedError):
        other.acquire()
    with other:
        pass


async def test_a_write_waits_for_another_process_that_holds_the_file(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "x.db")
    upgrade(url)
    async with Store.open(url) as store:
        other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        refused = await _refusal(store)  # longer than SQLite's own wait: the lock is really in the way
        assert "locked" in refused
        write = asyncio.create_task(store.write(put(1)))
        await asyncio.sleep(0)
        other.execute("COMMIT")
        other.close()
        assert await write == 1


async def _refusal(store: Store) -> str:
    store.database.begin_tries = 1
    try:
        await store.write(put(9))
    except OperationalError as error:
        return str(error)
    finally:
        store.database.begin_tries = sqlite.BEGIN_TRIES
    return ""


async def test_where_sqlite_took_back_a_whole_transaction_every_write_of_it_fails_with_the_reason(
    tmp_path: Path,
) -> None:
    """A full disk does that; here a statement that says so itself. Nobody looks for a savepoint that is gone."""
    url = sqlite_url(tmp_path / "test.db")
    upgrade(url)

    async def takes_all_back(conn: Conn) -> None:
        await conn.execute(text("INSERT OR ROLLBACK INTO pulse (id, at) VALUES (1, 1), (1, 2)"))

    async with Store.open(url) as store:
        group = [put(2), takes_all_back, put(3)]
        with pytest.raises(IntegrityError, match="UNIQUE"):
            await store.database.transaction(group, alone=True)
        assert await store.write(put(4)) == 4
        assert await store.read(_ids) == [4]


async def test_no_message_of_a_failed_statement_holds_what_was_to_be_written(url: str) -> None:
    async def write(conn: Conn) -> None:
        await conn.execute(text("SELECT :secret FROM nowhere"), {"secret": PLANTED})

    async with Store.open(url) as store:
        for ask in (store.write, store.offer, store.read, store.browse):
            with pytest.raises(SQLAlchemyError) as caught:
                await ask(write)
            assert PLANTED not in "".join(traceback.format_exception(caught.value))


def test_every_engine_hides_what_is_written() -> None:
    calls = []
    for file in Path(engine.__file__).parents[1].rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("create_engine", "create_async_engine"):
                calls.append((file.name, "hide_parameters" in [one.arg for one in node.keywords]))
    assert len(calls) >= 4
    assert [name for name, hides in calls if not hides] == []


async def _ids(conn: Conn) -> list[int]:
    return list((await conn.execute(select(pulse.c.id))).scalars())
