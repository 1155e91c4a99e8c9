"""What is kept of migrations that run."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from receiver.store import retention, sizes, snapshots
from receiver.store.engine import NOW, Conn, Store
from receiver.store.schema import snapshots as table

pytestmark = pytest.mark.anyio

SNAPSHOT = {"pods": [{"name": "virt-launcher", "phase": "Pending", "reason": "\x00 ünd \ud83d"}]}
MARKS: dict[str, Any] = {"vm-1": ["app", "run", "WaitForTargetVMI", "", 0, 0, "", "2026-09-01T08:00:00+00:00"]}


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with Store.open(url) as opened:
        yield opened


async def save(store: Store, snapshot: Any = SNAPSHOT, *, plan: str = "p", run: str = "r", marks: Any = MARKS) -> bool:
    return await store.write(lambda conn: snapshots.save(conn, plan, run, "local", snapshot, marks))


async def of_run(store: Store, plan: str = "p", run: str = "r") -> dict[str, Any] | None:
    found = await store.browse(lambda conn: snapshots.of_run(conn, plan, run))
    return found[0] if found is not None else None


async def test_the_newest_run_of_a_plan_is_kept_with_the_time_of_its_last_snapshot(store: Store) -> None:
    assert await of_run(store) is None
    assert await save(store)
    found = await store.browse(lambda conn: snapshots.of_run(conn, "p", "r"))
    assert found is not None
    assert found[0]["pods"][0]["phase"] == "Pending"
    await save(store, {"pods": []})
    assert await of_run(store) == {"pods": []}
    await save(store, run="r2")
    assert await of_run(store) is None
    assert await store.browse(lambda conn: snapshots.marks_of(conn, "p", "r2")) == MARKS
    assert await store.browse(lambda conn: snapshots.plans_of(conn, "local")) == ("p",)


async def test_marks_alone_leave_what_was_seen_and_when(store: Store) -> None:
    await save(store, None)
    assert await of_run(store) is None
    await save(store)
    before = await store.browse(lambda conn: snapshots.of_run(conn, "p", "r"))
    await save(store, None, marks={})
    assert await store.browse(lambda conn: snapshots.of_run(conn, "p", "r")) == before
    assert await store.browse(lambda conn: snapshots.marks_of(conn, "p", "r")) == {}


async def test_a_new_run_of_which_nothing_was_seen_yet_takes_nothing_over(store: Store) -> None:
    await save(store)
    await save(store, None, run="r2")
    assert await of_run(store, run="r2") is None


async def test_what_is_too_much_is_not_kept(store: Store) -> None:
    noise = random.Random(7)
    assert not await save(store, {"x": "y" * 70_000})
    assert not await save(store, {"x": "y"}, marks={"x": "y" * 70_000})
    assert await save(store, {"x": "".join(chr(noise.randrange(33, 126)) for _ in range(50_000))})


async def test_the_oldest_go_first_until_there_is_room(store: Store) -> None:
    for number in range(5):
        await save(store, plan=f"p{number}")
        await store.write(partial(_age, plan=f"p{number}", seconds=100 - number))
    held = await store.browse(sizes.of_snapshots)
    await store.write(lambda conn: retention.snapshots_oldest(conn, held / 5))
    assert [await of_run(store, f"p{number}") is None for number in range(5)] == [True, False, False, False, False]
    await store.write(lambda conn: retention.snapshots_older(conn, 97.5))
    assert await of_run(store, "p2") is None
    assert await of_run(store, "p3") is not None
    await store.write(lambda conn: snapshots.drop(conn, ["p3", "p4", "nobody"]))
    assert await store.browse(sizes.of_snapshots) == 0


async def _age(conn: Conn, plan: str, seconds: float) -> None:
    await conn.execute(table.update().where(table.c.plan == plan).values(taken_at=NOW - seconds))
