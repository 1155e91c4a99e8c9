"""Deliveries that may need somebody: none is missed, and no others are read to find them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from itertools import product
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.dialects import sqlite

from receiver.model import DeliveryState
from receiver.store import health, ledger, needing, owners, retrying
from receiver.store.database import Conn
from receiver.store.engine import NOW, Store
from receiver.store.ledger import Wanted
from receiver.store.listing import SHOWN_STATE
from receiver.store.schema import deliveries
from tests.unit.store.kept import HERE, add_story

pytestmark = pytest.mark.anyio

ATTENTION = tuple(one.value for one in needing.STATES)


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with Store.open(url) as opened:
        yield opened


async def test_what_is_shown_as_needing_somebody_is_found_by_its_index_alone(store: Store) -> None:
    cases = dict(enumerate(product(DeliveryState, (None, NOW), (1, 2), ("", "moved"))))

    async def fill(conn: Conn) -> None:
        for number, (state, due, desired, moved) in cases.items():
            await add_story(conn, f"s{number}")
            values = {"state": state.value, "due": due, "desired": desired, "delivered": 1, "moved": moved}
            await conn.execute(update(deliveries).where(deliveries.c.story == f"s{number}").values(**values))

    await store.write(fill)

    async def read(conn: Conn) -> tuple[set[str], set[str], set[str]]:
        shown = select(deliveries.c.id).where(SHOWN_STATE.in_(ATTENTION))
        every = set((await conn.execute(shown)).scalars())
        page = await ledger.page(conn, Wanted(ATTENTION), None, len(cases))
        stuck = await retrying.chosen(conn, retrying.Choice())
        return every, {one.row.id for one in page.lines}, {one.id for one in stuck}

    every, listed, stuck = await store.browse(read)
    assert listed == every
    assert stuck == {
        f"d-s{number}" for number, (state, *_, moved) in cases.items() if state in retrying.STUCK and not moved
    }


async def test_destinations_are_known_whatever_waits_for_them(store: Store) -> None:
    await store.write(partial(add_story, name="one"))
    await store.write(partial(add_story, name="two", destination="slack:slack.com #there"))
    await store.write(
        lambda conn: conn.execute(
            update(deliveries).where(deliveries.c.story == "one").values(state="delivered", due=None)
        )
    )
    known = await store.browse(health.read)
    assert {one: (of.names, of.waiting) for one, of in known.of.items()} == {
        HERE: (("r/slack",), 0), "slack:slack.com #there": (("r/slack",), 1)
    }  # fmt: skip


async def test_sqlite_reads_nothing_else(store: Store) -> None:
    if store.shared:
        pytest.skip("a planner takes what it likes for an empty table")
    asked: list[Any] = []

    class Noting(Conn):
        def __init__(self, conn: Conn) -> None:
            super().__init__()
            self._conn = conn

        async def execute(self, statement: Any, parameters: Any = None) -> Any:
            asked.append(statement)
            return await self._conn.execute(statement, parameters)

    async def read(conn: Conn) -> list[str]:
        noting = Noting(conn)
        await ledger.page(noting, Wanted(("dead",)), None, 50)
        del asked[1:]  # the titles of what was found
        await ledger.stuck(noting, Wanted())
        await retrying.chosen(noting, retrying.Choice())
        await health._backlog(noting, None, {})
        await owners.every(noting)
        plans = []
        for one in asked:
            words = str(one.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
            plans.append(" ".join(str(row) for row in (await conn.execute(text(f"EXPLAIN QUERY PLAN {words}"))).all()))
        return plans

    *of_deliveries, of_owners = await store.browse(read)
    assert len(of_deliveries) == 4
    for plan in of_deliveries:
        assert "deliveries_needing" in plan
    assert "COVERING INDEX stories_owner" in of_owners
