"""Claims: two workers never hold one delivery, and a stale answer is never recorded."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from sqlalchemy import select, update

from receiver import ids
from receiver.model import Reason
from receiver.store import attempts, claims, deliveries, digests, stories
from receiver.store.attempts import Begun, Done, Try
from receiver.store.deliveries import NewDelivery
from receiver.store.engine import NOW, Store
from receiver.store.schema import deliveries as table
from receiver.store.stories import Draft

pytestmark = pytest.mark.anyio


async def fill(conn: Any, count: int) -> None:
    now = await stories.now_of(conn)
    for number in range(count):
        draft = Draft(
            id=f"story-{number}", subject=f"s{number}", kind="alert", severity="critical", title="t",
            opened=now, now=now, new=True,
        )  # fmt: skip
        await stories.save(conn, draft, None, "", "")
        new = NewDelivery(
            id=f"d{number}", receiver="r", kind="slack", destination="slack:x", label="r/slack",
            keys=ids.keys(draft.id, draft.subject, "slack:x"), reasons=(Reason("", "x"),), intervals=(), wait_s=0.0,
        )  # fmt: skip
        await deliveries.add(conn, draft.id, new, 1, now)


async def test_two_workers_and_1000_shuffled_claims_end_with_the_highest_revision_once(url: str) -> None:
    chance = random.Random(5)
    shown: dict[str, list[int]] = {}
    holders: dict[str, str] = {}
    async with Store.open(url) as store:
        await store.write(lambda conn: fill(conn, 20))

        async def bump() -> None:
            for revision in range(2, 52):
                await asyncio.gather(
                    *(
                        store.write(
                            lambda conn, number=number, revision=revision: deliveries.bump(
                                conn, f"story-{number}", revision, 0.0, audible=False
                            )
                        )
                        for number in chance.sample(range(20), 20)
                    )
                )

        async def work(owner: str, done: asyncio.Event) -> None:
            while True:
                rows = await store.write(lambda conn: claims.claim(conn, owner, "slack:x", 3))
                if not rows and done.is_set():
                    return
                for row in rows:
                    assert row.id not in holders, "two workers hold one delivery"
                    holders[row.id] = owner
                for row in chance.sample(rows, len(rows)):
                    current = await store.read(lambda conn, row=row: deliveries.one(conn, row.id))
                    assert current is not None
                    await asyncio.sleep(0)
                    shown.setdefault(row.id, []).append(current.desired)

                    async def finish(conn: Any, row: Any = row, revision: int = current.desired) -> bool:
                        now = await deliveries.one(conn, row.id)
                        lags = now.desired > revision
                        del holders[row.id]
                        values = {"delivered": revision, "due": NOW if lags else None}
                        return await claims.release(conn, row, values)

                    assert await store.write(finish)
                await asyncio.sleep(0)

        done = asyncio.Event()
        workers = [asyncio.create_task(work(name, done)) for name in ("a", "b")]
        await bump()
        done.set()
        await asyncio.gather(*workers)
        rows = await store.read(lambda conn: _all(conn))
        assert {row.delivered for row in rows} == {51}
        for revisions in shown.values():
            assert revisions == sorted(revisions), "something old overwrote something newer"


async def _all(conn: Any) -> list[Any]:
    return list((await conn.execute(select(table.c.delivered))).all())


async def test_an_answer_after_the_lease_is_not_recorded_over_the_newer_claim(url: str) -> None:
    async with Store.open(url) as store:
        await store.write(lambda conn: fill(conn, 1))
        (old,) = await store.write(lambda conn: claims.claim(conn, "a", "slack:x", 1))
        (begun,) = await store.write(lambda conn: attempts.begin_all(conn, [Try(old, "root", "create")]))
        assert isinstance(begun, Begun)
        await store.write(lambda conn: conn.execute(update(table).values(claimed_until=NOW - 1)))
        (new,) = await store.write(lambda conn: claims.claim(conn, "b", "slack:x", 1))
        assert new.unknown_part == "root", "the second claim knows that a create is unanswered"
        late = Done(old, "root", {"ts": "1"}, attempt=begun.attempt, revision=1)
        assert await store.write(lambda conn: attempts.finish_all(conn, [late])) == [False]
        row = await store.read(lambda conn: deliveries.one(conn, new.id))
        assert row is not None
        assert (row.root, row.delivered, row.fence) == (None, 0, new.fence)
        (known,) = await store.read(lambda conn: attempts.of_delivery(conn, new.id))
        assert known.outcome == "ok", "the ledger tells what happened, whoever holds the claim"
        assert not await store.write(lambda conn: claims.release(conn, old, {"due": None}))
        assert await store.write(lambda conn: attempts.begin_all(conn, [Try(old, "root", "create")])) == [None]


async def test_what_is_claimed_and_not_yet_begun_counts_towards_a_storm(url: str) -> None:
    async with Store.open(url) as store:
        await store.write(lambda conn: fill(conn, 5))
        assert len(await store.write(lambda conn: claims.claim(conn, "a", "slack:x", 2))) == 2
        rush = await store.read(lambda conn: digests.rush(conn, "slack:x", 600.0))
        assert (rush.made, len(rush.waiting)) == (2, 3)


async def test_a_try_that_is_taken_over_is_looked_for_from_the_takeover_on(url: str) -> None:
    async with Store.open(url) as store:
        await store.write(lambda conn: fill(conn, 1))
        (old,) = await store.write(lambda conn: claims.claim(conn, "a", "slack:x", 1))
        await store.write(lambda conn: attempts.begin_all(conn, [Try(old, "root", "create")]))
        long_ago = {"claimed_until": NOW - 1, "unknown_at": NOW - 3600}
        await store.write(lambda conn: conn.execute(update(table).values(**long_ago)))
        (new,) = await store.write(lambda conn: claims.claim(conn, "b", "slack:x", 1))
        age = await store.read(_age)
        assert new.unknown_part == "root"
        assert age < 60.0


async def _age(conn: Any) -> float:
    return float((await conn.execute(select(NOW - table.c.unknown_at))).scalar_one())
