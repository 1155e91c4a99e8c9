"""What many deliveries ask at the same time is one set operation, and each gets its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from receiver import ids
from receiver.model import Change, DeliveryState, Reason
from receiver.store import attempts, claims, deliveries, parking, reading, stories
from receiver.store.attempts import Begun, Done, Resting, Try
from receiver.store.deliveries import AUDIBLE_CHANGE, NewDelivery
from receiver.store.engine import NOW, Conn, Store
from receiver.store.grouping import Grouped
from receiver.store.schema import deliveries as table
from receiver.store.schema import destinations, entries
from receiver.store.stories import Draft

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with Store.open(url) as opened:
        yield opened


async def fill(conn: Conn, *destinations_of: str) -> None:
    """Make a story per destination: delivery `dN` of story `sN`, at revision 1."""
    now = await stories.now_of(conn)
    for number, destination in enumerate(destinations_of):
        draft = Draft(
            id=f"s{number}", subject=f"subject-{number}", kind="alert", severity="critical", title="t",
            opened=now, now=now, new=True,
        )  # fmt: skip
        await stories.save(conn, draft, Change.FIRED, "fires", "fired")
        new = NewDelivery(
            id=f"d{number}", receiver="r", kind="slack", destination=destination, label=f"r/{destination}",
            keys=ids.keys(draft.id, draft.subject, destination), reasons=(Reason("", "x"),), intervals=(), wait_s=0.0,
        )  # fmt: skip
        await deliveries.add(conn, draft.id, new, 1, now)


async def claim(store: Store, destination: str) -> list[deliveries.DeliveryRow]:
    return await store.write(lambda conn: claims.claim(conn, "me", destination, 10))


async def row_of(store: Store, delivery: str) -> deliveries.DeliveryRow:
    row = await store.read(lambda conn: deliveries.one(conn, delivery))
    assert row is not None
    return row


async def test_tries_at_free_parked_and_held_destinations_each_get_their_own_answer(store: Store) -> None:
    await store.write(lambda conn: fill(conn, "free", "parked", "held", "lost"))
    rows = {name: (await claim(store, name))[0] for name in ("free", "parked", "held", "lost")}

    async def rest(conn: Conn) -> None:
        await parking.park(conn, "parked", "invalid_auth", 300.0, "mark")
        await parking.hold(conn, "held", 30.0)
        await conn.execute(update(table).where(table.c.id == "d3").values(fence=table.c.fence + 1))

    await store.write(rest)
    tries = [Try(row, "root", "create") for row in rows.values()]
    free, parked, held, lost = await store.write(lambda conn: attempts.begin_all(conn, tries))
    assert isinstance(free, Begun)
    assert (parked, held, lost) == (Resting(), Resting(), None)
    probes = [Try(rows["parked"], "root", "create", probe=True), Try(rows["held"], "root", "create", probe=True)]
    parked, held = await store.write(lambda conn: attempts.begin_all(conn, probes))
    assert isinstance(parked, Begun), "a probe is what may be sent to a parked destination"
    assert held == Resting(), "who asked for a pause is not probed either"


async def test_numbers_of_tries_begun_together_belong_to_their_deliveries(store: Store) -> None:
    await store.write(lambda conn: fill(conn, *["x"] * 5))
    rows = await claim(store, "x")
    begun = await store.write(lambda conn: attempts.begin_all(conn, [Try(row, "root", row.id) for row in rows]))
    done = [
        Done(row, "root", {"ts": row.id}, told=True, attempt=one.attempt, revision=1)
        for row, one in zip(rows, begun, strict=True)
        if isinstance(one, Begun) and row.id != "d2"
    ]
    assert await store.write(lambda conn: attempts.finish_all(conn, done)) == [True] * 4
    for row in rows:
        (tried,) = await store.read(lambda conn, row=row: attempts.of_delivery(conn, row.id))
        current = await row_of(store, row.id)
        assert tried.op == row.id
        if row.id == "d2":
            assert (tried.outcome, current.unknown_part, current.root) == (None, "root", None)
        else:
            assert (tried.outcome, current.unknown_part, current.root) == ("ok", None, f'{{"ts":"{row.id}"}}')
            assert (current.state, current.due, current.delivered) == (DeliveryState.DELIVERED, None, 1)
            assert current.told_at is not None


async def test_a_revision_that_came_meanwhile_lets_a_finished_delivery_lag_again(store: Store) -> None:
    await store.write(lambda conn: fill(conn, "x", "x"))
    rows = await claim(store, "x")
    await store.write(lambda conn: deliveries.bump(conn, "s1", 2, 0.0, audible=True))
    done = [Done(row, "root", {}, revision=1) for row in rows]
    await store.write(lambda conn: attempts.finish_all(conn, done))
    first, second = await row_of(store, "d0"), await row_of(store, "d1")
    assert (first.state, first.due) == (DeliveryState.DELIVERED, None)
    assert (second.state, second.priority, second.delivered) == (DeliveryState.PENDING, AUDIBLE_CHANGE, 1)
    assert [row.id for row in await claim(store, "x")] == ["d1"]


async def test_a_step_that_is_not_the_last_keeps_the_claim_and_an_entry_of_unknown_outcome(store: Store) -> None:
    await store.write(lambda conn: fill(conn, "x"))
    await store.write(lambda conn: conn.execute(update(table).values(unknown_part="resolved", unknown_at=5.0)))
    (row,) = await claim(store, "x")
    (begun,) = await store.write(lambda conn: attempts.begin_all(conn, [Try(row, "root", "update")]))
    assert isinstance(begun, Begun)
    await store.write(lambda conn: attempts.finish_all(conn, [Done(row, "root", {"a": 1}, attempt=begun.attempt)]))
    current = await row_of(store, "d0")
    assert (current.unknown_part, current.unknown_at, current.root) == ("resolved", 5.0, '{"a":1}')
    assert current.fence == row.fence
    assert await claim(store, "x") == [], "the claim is still held"


async def test_what_is_shown_confirms_later_and_sends_no_leftover_entry(store: Store) -> None:
    await store.write(lambda conn: fill(conn, "x"))

    async def entry(conn: Conn, key: str, revision: int) -> None:
        await conn.execute(
            insert(entries).values(
                delivery="d0", key=key, revision=revision, at=0.0, change="evidence", text="t", state="pending"
            )
        )

    await store.write(lambda conn: entry(conn, "old", 1))
    await store.write(lambda conn: entry(conn, "newer", 2))
    (row,) = await claim(store, "x")
    await store.write(lambda conn: attempts.finish_all(conn, [Done(row, revision=1, confirm_in_s=60.0)]))
    current = await row_of(store, "d0")
    now = await store.read(stories.now_of)
    assert current.confirm_at is not None
    assert current.due == current.confirm_at
    assert 50.0 < current.confirm_at - now <= 60.0

    async def states(conn: Conn) -> dict[str, str]:
        return {row.key: row.state for row in await conn.execute(select(entries.c.key, entries.c.state))}

    assert await store.read(states) == {"old": "skipped", "newer": "pending"}


async def test_deliveries_are_read_together_each_with_its_story_and_none_whose_claim_is_lost(store: Store) -> None:
    await store.write(lambda conn: fill(conn, "x", "y", "x"))
    rows = [*await claim(store, "x"), *await claim(store, "y")]
    await store.write(
        lambda conn: conn.execute(update(table).where(table.c.id == "d2").values(fence=table.c.fence + 1))
    )
    found = await store.read(lambda conn: reading.contexts(conn, rows))
    assert [one and (one.row.id, one.story.id) for one in found] == [("d0", "s0"), None, ("d1", "s1")]


async def test_a_delivery_that_a_merge_moved_is_read_with_its_new_story(store: Store) -> None:
    await store.write(lambda conn: fill(conn, "x", "y"))
    (row,) = await claim(store, "x")
    await store.write(lambda conn: conn.execute(update(table).where(table.c.id == "d0").values(story="s1")))
    (found,) = await store.read(lambda conn: reading.contexts(conn, [row]))
    assert found is not None
    assert found.story.id == "s1"


async def test_whoever_asks_while_the_disk_is_busy_shares_one_operation(store: Store) -> None:
    groups: list[list[int]] = []

    async def double(conn: Conn, items: Sequence[int]) -> list[int]:
        groups.append(list(items))
        return [2 * item for item in items]

    grouped = Grouped(store.write, double)
    assert await asyncio.gather(*(grouped(item) for item in range(50))) == [2 * item for item in range(50)]
    assert groups == [list(range(50))]


async def test_one_broken_item_of_a_group_fails_alone(store: Store) -> None:
    async def put(conn: Conn, items: Sequence[str]) -> list[str]:
        for item in items:
            await conn.execute(insert(destinations).values(identity=item))
            if item == "bad":
                raise ValueError("bad item")
        return list(items)

    grouped = Grouped(store.write, put)
    answers = await asyncio.gather(*(grouped(item) for item in ("a", "bad", "c")), return_exceptions=True)
    assert [answers[0], answers[2]] == ["a", "c"]
    assert isinstance(answers[1], ValueError)

    async def kept(conn: Conn) -> list[Any]:
        return sorted((await conn.execute(select(destinations.c.identity))).scalars())

    assert await store.read(kept) == ["a", "c"]


async def test_of_two_pagers_only_what_is_due_counts_as_busy(store: Store) -> None:
    await store.write(lambda conn: fill(conn, "now", "later"))
    await store.write(lambda conn: conn.execute(update(table).where(table.c.id == "d1").values(due=NOW + 60)))
    outlook = await store.read(claims.outlook)
    assert outlook.busy == {"now": deliveries.NEW_ROOT}
    assert outlook.next_due_s is not None
    assert 50 < outlook.next_due_s <= 60
