"""Rate limit and breaker as rows: what several workers share, whatever each of them believes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from receiver import ids
from receiver.config.model import Manners
from receiver.model import Reason
from receiver.store import attempts, claims, deliveries, manners, stories
from receiver.store.attempts import Begun, Done, Resting, Try
from receiver.store.deliveries import DeliveryRow, NewDelivery
from receiver.store.engine import NOW, Store
from receiver.store.manners import BREAK_AFTER, PROBE_MOST_S
from receiver.store.schema import deliveries as table
from receiver.store.schema import destinations
from receiver.store.stories import Draft

pytestmark = pytest.mark.anyio

HERE = "slack:here"
SLOW = Manners(rate_per_minute=6.0, rate_burst=2)
QUICK = Manners(retry_min_s=0.05, retry_max_s=0.2)


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """Return a store with six deliveries of one destination, claimed by one worker."""
    async with Store.open(url) as opened:
        await opened.write(fill)
        yield opened


async def fill(conn: Any) -> None:
    now = await stories.now_of(conn)
    for number in range(6):
        draft = Draft(
            id=f"story-{number}", subject=f"s{number}", kind="alert", severity="critical", title="t",
            opened=now, now=now, new=True,
        )  # fmt: skip
        await stories.save(conn, draft, None, "", "")
        new = NewDelivery(
            id=f"d{number}", receiver="r", kind="slack", destination=HERE, label="r/slack",
            keys=ids.keys(draft.id, draft.subject, HERE), reasons=(Reason("", "x"),), intervals=(), wait_s=0.0,
        )  # fmt: skip
        await deliveries.add(conn, draft.id, new, 1, now)


async def claimed(store: Store) -> list[DeliveryRow]:
    return await store.write(lambda conn: claims.claim(conn, "me", HERE, 10))


async def begin(store: Store, *rows: DeliveryRow, limits: Manners = QUICK) -> list[bool]:
    tries = [Try(row, "root", "create", manners=limits) for row in rows]
    found = await store.write(lambda conn: attempts.begin_all(conn, tries))
    assert all(isinstance(one, Begun | Resting) for one in found)
    return [isinstance(one, Begun) for one in found]


async def fail(store: Store, times: int, tries: int = 0, pause_s: float = 20.0) -> None:
    for _ in range(times):
        await store.write(lambda conn: manners.failed(conn, HERE, "no connection", tries, lambda _: pause_s))


async def here(store: Store) -> Any:
    async def read(conn: Any) -> Any:
        held = (destinations.c.hold_until - NOW).label("held_s")
        query = select(destinations, held).where(destinations.c.identity == HERE)
        return (await conn.execute(query)).one_or_none()

    return await store.read(read)


async def later(store: Store, seconds: float) -> None:
    """Let time pass, as far as the destination's row knows."""
    values = {name: destinations.c[name] - seconds for name in ("tokens_at", "hold_until", "away_since")}
    await store.write(lambda conn: conn.execute(update(destinations).values(**values)))


async def test_a_burst_goes_at_once_and_the_rest_waits_for_tokens_that_all_workers_share(store: Store) -> None:
    one, two, three, *others = await claimed(store)
    assert await begin(store, one, two, three, limits=SLOW) == [True, True, False]
    assert await begin(store, *others, limits=SLOW) == [False] * 3, "another worker's"
    assert 9.0 < (await here(store)).held_s <= 10.0, "until the next token of six a minute"
    await later(store, 10.0)
    assert await begin(store, three, *others, limits=SLOW) == [True, False, False, False]


async def test_no_more_than_a_burst_is_saved_up(store: Store) -> None:
    rows = await claimed(store)
    await begin(store, rows[0], limits=SLOW)
    await later(store, 3600.0)
    assert await begin(store, *rows[1:], limits=SLOW) == [True, True, False, False, False]


async def test_the_most_urgent_try_gets_the_token(store: Store) -> None:
    await store.write(lambda conn: conn.execute(update(table).where(table.c.id != "d4").values(priority=2)))
    rows = await claimed(store)
    limits = Manners(rate_per_minute=6.0, rate_burst=1)
    begun = await begin(store, *sorted(rows, key=lambda row: row.id), limits=limits)
    assert begun == [False, False, False, False, True, False]


async def test_what_waits_for_a_token_is_not_claimed_before_it_comes(store: Store) -> None:
    rows = await claimed(store)
    await begin(store, *rows, limits=SLOW)
    for row in rows:
        await store.write(lambda conn, row=row: claims.release(conn, row, {"due": NOW}))  # type: ignore[misc]
    outlook = await store.read(claims.outlook)
    assert HERE not in outlook.busy
    assert outlook.next_due_s is not None
    assert 9.0 < outlook.next_due_s <= 10.0
    await later(store, 10.0)
    assert HERE in (await store.read(claims.outlook)).busy


async def test_after_some_failures_in_a_row_one_try_at_a_time_goes_out(store: Store) -> None:
    rows = await claimed(store)
    await fail(store, BREAK_AFTER - 1)
    assert (await here(store)).hold_until is None
    await fail(store, 1)
    assert 19.0 < (await here(store)).held_s <= 20.0
    assert await begin(store, *rows) == [False] * 6, "left alone for the back-off"
    await later(store, 21.0)
    assert await begin(store, *rows) == [True] + [False] * 5, "one to see whether it is back"
    assert await begin(store, *rows[1:]) == [False] * 5, "nobody else's try while that one has no answer"
    await fail(store, 1, pause_s=0.5)
    assert (await here(store)).held_s <= 0.5, "it is answered by now: the next one need not wait for its time-out"


async def test_the_pause_of_a_destination_that_is_away_is_bounded(store: Store) -> None:
    await fail(store, BREAK_AFTER, pause_s=3600.0)
    assert PROBE_MOST_S - 1.0 < (await here(store)).held_s <= PROBE_MOST_S


async def test_a_message_that_is_answered_with_500_for_ever_does_not_make_its_destination_look_away(
    store: Store,
) -> None:
    for tries in range(50):
        await fail(store, 1, tries=tries)
    row = await here(store)
    assert row.failures == BREAK_AFTER - 1
    assert row.hold_until is None


async def test_one_success_lets_everything_go_at_once_and_remembers_since_when_it_was_away(store: Store) -> None:
    first, *others = await claimed(store)
    await fail(store, BREAK_AFTER)
    for row in others:
        values = {"state": "retrying", "due": NOW + 300.0}
        await store.write(lambda conn, row=row, values=values: claims.release(conn, row, values))  # type: ignore[misc]
    await later(store, 20.0)
    assert await begin(store, first) == [True]
    assert not await claimed(store)
    done = Done(first, "root", {"ts": "1"}, revision=1, attempt=1)
    assert await store.write(lambda conn: attempts.finish_all(conn, [done])) == [True]
    row = await here(store)
    assert (row.failures, row.hold_until, row.reason) == (0, None, "")
    ((identity, since),) = await store.read(manners.back)
    assert (identity, since) == (HERE, row.away_since)
    assert len(await claimed(store)) == 5


async def test_an_answer_frees_no_destination_that_asked_to_be_left_alone(store: Store) -> None:
    hold = {"identity": HERE, "hold_until": NOW + 60.0, "failures": 1}
    await store.write(lambda conn: conn.execute(insert(destinations).values(**hold)))
    await store.write(lambda conn: manners.answered(conn, [HERE]))
    row = await here(store)
    assert row.failures == 0
    assert row.held_s > 59.0


async def test_a_look_up_is_the_one_try_at_a_destination_that_is_away_and_its_answer_lets_the_next_follow(
    store: Store,
) -> None:
    async def look() -> bool:
        return await store.write(lambda conn: manners.may_look(conn, HERE, QUICK, probe=False))

    first, *others = await claimed(store)
    assert await look()
    await fail(store, BREAK_AFTER)
    assert not await look()
    await later(store, 21.0)
    assert await look()
    assert not await look()
    assert await begin(store, first) == [False]
    await store.write(lambda conn: manners.looked(conn, HERE))
    assert await begin(store, first, *others) == [True] + [False] * 5
