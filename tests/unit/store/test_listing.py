"""Pages of stories and deliveries: whole, in order, and for the price of a few queries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest
from sqlalchemy import update

from receiver import ids
from receiver.model import Alert, AlertStatus, AttemptOutcome, Change, DeliveryState, Reason
from receiver.store import attempts, deliveries, listing, reading, stories
from receiver.store.deliveries import NewDelivery
from receiver.store.engine import NOW, Conn, Store
from receiver.store.schema import deliveries as table
from receiver.store.stories import AlertRow, Draft

pytestmark = pytest.mark.anyio

KINDS = ("slack", "jira")


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with Store.open(url) as opened:
        yield opened


class Counting(Conn):
    """A connection that counts what it is asked."""

    def __init__(self, conn: Any) -> None:
        super().__init__()
        self._conn = conn
        self.asked = 0

    async def execute(self, statement: Any, parameters: Any = None) -> Any:
        self.asked += 1
        return await self._conn.execute(statement, parameters)


async def fill(conn: Conn, numbers: range, opened: float | None = None) -> None:
    """Make stories of two alerts and two revisions, each shown at two destinations after two tries."""
    now = await stories.now_of(conn)
    for number in numbers:
        draft = Draft(
            id=f"story-{number:03}", subject=f"s{number}", kind="alert", severity="critical", title=f"t{number}",
            opened=now + number if opened is None else opened, now=now, new=True,
        )  # fmt: skip
        for name, status in (("a", AlertStatus.FIRING), ("b", AlertStatus.RESOLVED)):
            labels = {"alertname": f"{name}{number}"}
            alert = Alert(f"{name}{number}", status, labels, {}, datetime(2026, 11, 21, tzinfo=UTC), None)
            draft.alerts[alert.fingerprint] = AlertRow(alert, "failure", number, "main", now, dirty=True)
        await stories.save(conn, draft, Change.FIRED, "fires", "")
        await stories.save(conn, draft, Change.EVIDENCE, "more is known", "evidence")
        for kind in KINDS:
            new = NewDelivery(
                id=f"{kind}-{number:03}", receiver="r", kind=kind, destination=f"{kind}:x", label=f"r/{kind}",
                keys=ids.keys(draft.id, draft.subject, f"{kind}:x"), reasons=(Reason("", "x"),), intervals=(),
                wait_s=0.0,
            )  # fmt: skip
            await deliveries.add(conn, draft.id, new, 1, draft.opened)
            row = await deliveries.one(conn, new.id)
            assert row is not None
            for op in ("create", "update"):
                (begun,) = await attempts.begin_all(conn, [attempts.Try(row, "root", op)])
                assert isinstance(begun, attempts.Begun)
                await attempts.end(conn, begun.attempt, AttemptOutcome.OK)


async def test_a_page_holds_each_story_as_it_is_read_alone_with_its_own_deliveries(store: Store) -> None:
    await store.write(lambda conn: fill(conn, range(5)))

    async def read(conn: Conn) -> None:
        page = await listing.stories_page(conn)
        assert [one.story.id for one in page] == [f"story-{number:03}" for number in (4, 3, 2, 1, 0)]
        for one in page:
            assert one == await reading.whole(conn, one.story.id)
            assert list(one.deliveries) == await deliveries.of_story(conn, one.story.id)
            assert len(one.story.alerts) == len(one.story.timeline) == len(one.deliveries) == 2

    await store.browse(read)


async def test_a_page_holds_each_delivery_with_its_own_tries(store: Store) -> None:
    await store.write(lambda conn: fill(conn, range(3)))

    async def read(conn: Conn) -> None:
        page = await listing.deliveries_page(conn)
        assert len(page) == 6
        for row, tries in page:
            assert row == await deliveries.one(conn, row.id)
            assert tries == await attempts.of_delivery(conn, row.id)
            assert [one.op for one in tries] == ["create", "update"]

    await store.browse(read)


async def test_a_larger_page_costs_no_more_queries(store: Store) -> None:
    await store.write(lambda conn: fill(conn, range(40)))

    async def cost(conn: Conn, limit: int) -> tuple[int, int]:
        of_stories, of_deliveries = Counting(conn), Counting(conn)
        assert len(await listing.stories_page(of_stories, limit=limit)) == limit
        assert len(await listing.deliveries_page(of_deliveries, limit=limit)) == limit
        return of_stories.asked, of_deliveries.asked

    small = await store.browse(lambda conn: cost(conn, 1))
    large = await store.browse(lambda conn: cost(conn, 40))

    assert small == large
    assert max(large) <= 4


async def test_pages_follow_on_each_other_even_among_stories_of_one_moment(store: Store) -> None:
    await store.write(lambda conn: fill(conn, range(7), opened=1_000.0))

    async def read(conn: Conn) -> tuple[list[str], list[str]]:
        told: list[str] = []
        shown: list[str] = []
        before = None
        while page := await listing.stories_page(conn, before=before, limit=3):
            told += [one.story.id for one in page]
            before = (page[-1].story.opened.timestamp(), page[-1].story.id)
        before = None
        while rows := await listing.delivery_rows(conn, before=before, limit=3):
            shown += [row.id for row in rows]
            before = (rows[-1].created, rows[-1].id)
        return told, shown

    told, shown = await store.browse(read)

    assert told == [f"story-{number:03}" for number in reversed(range(7))]
    assert shown == sorted((f"{kind}-{number:03}" for kind in KINDS for number in range(7)), reverse=True)


async def test_deliveries_are_chosen_by_the_state_that_is_shown(store: Store) -> None:
    cases = list(product(DeliveryState, (1, 2), (None, 5.0)))
    await store.write(lambda conn: fill(conn, range(len(cases))))

    async def spread(conn: Conn) -> None:
        for number, (state, desired, due) in enumerate(cases):
            values = {"state": state.value, "desired": desired, "delivered": 1, "due": due}
            await conn.execute(update(table).where(table.c.story == f"story-{number:03}").values(**values))

    await store.write(spread)

    async def read(conn: Conn) -> None:
        shown = {row.id: listing.shown_state(row) for row in await listing.delivery_rows(conn, limit=500)}
        for state in DeliveryState:
            chosen = await listing.deliveries_page(conn, state=[state.value], limit=500)
            assert {row.id for row, _ in chosen} == {row for row, is_shown in shown.items() if is_shown is state}

    await store.browse(read)


async def test_a_delivered_one_that_will_be_brought_up_to_date_is_shown_as_pending(store: Store) -> None:
    await store.write(lambda conn: fill(conn, range(1)))
    lagging = {"state": "delivered", "delivered": 1, "desired": 2, "due": NOW}
    await store.write(lambda conn: conn.execute(update(table).where(table.c.kind == "slack").values(**lagging)))
    behind = {"state": "delivered", "delivered": 1, "desired": 2, "due": None}
    await store.write(lambda conn: conn.execute(update(table).where(table.c.kind == "jira").values(**behind)))

    async def chosen(conn: Conn, state: str) -> list[str]:
        return [row.kind for row, _ in await listing.deliveries_page(conn, state=[state])]

    assert await store.browse(lambda conn: chosen(conn, "pending")) == ["slack"]
    assert await store.browse(lambda conn: chosen(conn, "delivered")) == ["jira"]
