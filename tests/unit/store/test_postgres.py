"""What only PostgreSQL can show: several replicas on one database, cut connections, a server that restarts."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from receiver.model import Alert, AlertStatus
from receiver.store import claims, inbox, jobs, postgres
from receiver.store.engine import Conn, Store, is_passing
from receiver.store.jobs import Turn
from receiver.store.schema import inbox as inbox_table
from receiver.store.schema import pulse
from receiver.store.upgrade import upgrade
from tests.databases import Postgres, postgres_running

pytestmark = pytest.mark.anyio


@pytest.fixture
def address(postgres: Postgres) -> str:
    return postgres.new()


@contextlib.asynccontextmanager
async def replicas(address: str, number: int = 2) -> AsyncIterator[list[Store]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Store.open(address)) for _ in range(number)]


def alert(number: int) -> Alert:
    import datetime

    at = datetime.datetime(2026, 11, 21, 8, 0, tzinfo=datetime.UTC)
    return Alert(f"{number:016x}", AlertStatus.FIRING, {"alertname": "X"}, {}, at)


async def count(conn: Conn) -> int:
    """Add one by reading and writing: what runs beside it is lost."""
    await conn.execute(text("INSERT INTO pulse (id, at) VALUES (1, 0) ON CONFLICT DO NOTHING"))
    before = (await conn.execute(select(pulse.c.at).where(pulse.c.id == 1))).scalar_one()
    await asyncio.sleep(0)
    await conn.execute(update(pulse).where(pulse.c.id == 1).values(at=before + 1))
    return int(before) + 1


async def at_last(conn: Conn) -> float:
    return float((await conn.execute(select(pulse.c.at).where(pulse.c.id == 1))).scalar_one())


async def test_writes_of_all_replicas_run_one_after_another(address: str) -> None:
    async with replicas(address, 3) as stores:
        seen = await asyncio.gather(*(store.write(count) for _ in range(40) for store in stores))
        assert sorted(seen) == list(range(1, 121))
        assert await stores[0].read(at_last) == 120.0


async def test_no_entry_is_claimed_by_two_replicas_and_none_is_left(address: str) -> None:
    chance = random.Random(7)
    async with replicas(address, 3) as stores:
        held: list[int] = []

        async def add(number: int) -> None:
            store = chance.choice(stores)
            await store.offer(lambda conn: inbox.add(conn, "main", [alert(number)]))

        async def take(number: int, store: Store) -> None:
            while len(held) < 200:
                taken = await store.write(lambda conn: inbox.claim(conn, f"replica-{number}", 7))
                held.extend(entry.seq for entry in taken)
                await asyncio.sleep(0)

        await asyncio.gather(*(add(number) for number in range(200)), *(take(*one) for one in enumerate(stores)))
        assert len(held) == len(set(held)) == 200


async def test_what_only_adds_rows_waits_for_no_deciding_transaction(address: str) -> None:
    gate, inside = asyncio.Event(), asyncio.Event()

    async def decide(_: Conn) -> None:
        inside.set()
        await gate.wait()

    async with replicas(address) as (one, other):
        deciding = asyncio.create_task(one.write(decide))
        await inside.wait()
        await other.offer(lambda conn: inbox.add(conn, "main", [alert(1)]))
        await one.offer(lambda conn: inbox.add(conn, "main", [alert(2)]))
        assert await other.read(inbox.backlog) == 2
        assert not deciding.done()
        gate.set()
        await deciding


async def test_a_replica_that_stops_within_a_transaction_holds_up_the_others_for_a_bounded_time(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "IDLE_S", 1)
    gate, inside = asyncio.Event(), asyncio.Event()

    async def stop(_: Conn) -> None:
        inside.set()
        await gate.wait()

    async with replicas(address) as (one, other):
        stopped = asyncio.create_task(one.write(stop))
        await inside.wait()
        assert await other.write(count) == 1, "the server has ended the other's transaction"
        assert not stopped.done()
        gate.set()
        await stopped  # nothing was asked of the broken connection in between: it runs again on another
        assert await one.write(count) == 2


async def test_a_connection_cut_before_commit_is_made_anew_and_the_write_happens_once(address: str) -> None:
    cut = []

    async def cut_and_count(conn: Conn) -> int:
        if not cut:
            cut.append(True)
            pid = (await conn.execute(select(func.pg_backend_pid()))).scalar_one()
            async with await psycopg.AsyncConnection.connect(address, autocommit=True) as other:
                await other.execute("SELECT pg_terminate_backend(%s)", (pid,))
        return await count(conn)

    async with replicas(address, 1) as (store,):
        assert await store.write(cut_and_count) == 1
        assert await store.read(at_last) == 1.0


async def test_a_server_that_restarts_is_a_passing_failure_and_then_all_goes_on() -> None:
    with _own_server() as server:
        address = server.new()
        async with replicas(address, 1) as (store,):
            heard: list[str] = []
            listening = asyncio.create_task(store.listen(heard.append))
            assert await store.write(count) == 1
            await _until(lambda: heard == [""])
            await asyncio.to_thread(server.stop)
            with pytest.raises(DBAPIError) as failed:
                await store.write(count)
            assert is_passing(failed.value)
            with pytest.raises(DBAPIError) as failed:
                await store.read(at_last)
            assert is_passing(failed.value)
            await asyncio.to_thread(server.start)
            assert await store.write(count) == 2
            await _until(lambda: heard == ["", ""])  # it listens again, and something may have been missed
            listening.cancel()


async def test_replicas_hear_of_each_other_and_not_of_themselves(address: str) -> None:
    heard: dict[str, list[str]] = {"one": [], "other": []}
    async with replicas(address) as (one, other):
        tasks = [
            asyncio.create_task(one.listen(heard["one"].append)),
            asyncio.create_task(other.listen(heard["other"].append)),
        ]
        await _until(lambda: heard == {"one": [""], "other": [""]})
        await one.offer(lambda conn: inbox.add(conn, "main", [alert(1)]))
        await _until(lambda: heard["other"] == ["", "inbox"])
        await other.offer(lambda conn: inbox.add(conn, "main", [alert(2)]))
        await _until(lambda: heard["one"] == ["", "inbox"])
        assert heard["other"] == ["", "inbox"]
        for task in tasks:
            task.cancel()


async def test_replicas_that_start_together_migrate_once(postgres: Postgres) -> None:
    address = postgres.new(template="template0")
    found = await asyncio.gather(*(asyncio.to_thread(upgrade, address) for _ in range(4)))
    assert len(set(found)) == 1
    async with replicas(address, 1) as (store,):
        assert await store.write(count) == 1


async def test_an_answer_means_on_disk_whatever_the_servers_default_is(postgres: Postgres) -> None:
    address = postgres.new()
    name = address.rpartition("/")[2]
    postgres.run(f"ALTER DATABASE {name} SET synchronous_commit = off")
    async with replicas(address, 1) as (store,):

        async def setting(conn: Conn) -> Any:
            return (await conn.execute(text("SHOW synchronous_commit"))).scalar_one()

        assert await store.write(setting) == "on"
        assert await store.offer(setting) == "on"


async def test_a_read_cannot_write(address: str) -> None:
    async with replicas(address, 1) as (store,):
        with pytest.raises(DBAPIError, match="read-only"):
            await store.read(lambda conn: conn.execute(insert(inbox_table).values(received_at=0.0, payload="{}")))


async def test_a_turn_is_kept_taken_over_when_it_runs_out_and_given_back_at_a_stop(address: str) -> None:
    now = 0.0
    async with replicas(address) as (one, other):
        first = Turn(one, "digests", "first", lambda: now)
        second = Turn(other, "digests", "second", lambda: now)
        assert await first.ours()
        assert not await second.ours()
        await one.write(lambda conn: conn.execute(text("UPDATE jobs SET claimed_until = 1")))
        assert await second.ours(), "its holder has not been heard of for a lease"
        now = jobs.PROLONG_AFTER_S
        assert not await first.ours()
        await other.write(lambda conn: jobs.let_go(conn, "second"))
        now *= 2
        assert await first.ours()


async def test_a_stop_gives_back_what_a_replica_had_claimed_and_nothing_else(address: str) -> None:
    async with replicas(address) as (one, other):
        for number in range(4):
            await one.offer(lambda conn, number=number: inbox.add(conn, "main", [alert(number)]))
        mine = await one.write(lambda conn: inbox.claim(conn, "first", 2))
        await other.write(lambda conn: inbox.claim(conn, "second", 2))
        await one.write(lambda conn: inbox.release_all(conn, "first"))
        await one.write(lambda conn: claims.free_claims(conn, "first"))
        again = await other.write(lambda conn: inbox.claim(conn, "second", 9))
        assert [entry.seq for entry in again] == [entry.seq for entry in mine]


@contextlib.contextmanager
def _own_server() -> Iterator[Postgres]:
    with postgres_running() as server:
        yield server


async def _until(true: Any, timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not true():
            await asyncio.sleep(0.02)
