"""What `/metrics` says of what is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import insert

from receiver.metrics import Metrics
from receiver.store.engine import NOW, Conn, Store
from receiver.store.figures import collect
from receiver.store.schema import alerts, deliveries, stories
from receiver.store.schema import inbox as inbox_table
from tests.unit.store.kept import DAY, add_story, change

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with Store.open(url) as opened:
        yield opened


async def _insert(conn: Conn, values: dict[str, Any]) -> None:
    await conn.execute(insert(inbox_table).values(**values))


async def seen(store: Store, name: str, **labels: str) -> float:
    metrics = Metrics(["slack", "email"])
    await collect(store, metrics)
    value = metrics.registry.get_sample_value(f"mtv_receiver_{name}", labels)
    assert value is not None
    return value


async def test_the_oldest_entry_that_waits_is_the_one_with_the_lowest_number(store: Store) -> None:
    assert await seen(store, "inbox_oldest_seconds") == 0
    for state, age in (("done", 900), ("new", 500), ("new", 100), ("poison", 900)):
        values = {"received_at": NOW - age, "payload": "{}", "state": state}
        await store.write(partial(_insert, values=values))
    assert 500 <= await seen(store, "inbox_oldest_seconds") < 600
    assert await seen(store, "inbox_backlog") == 2


@pytest.mark.parametrize(
    ("values", "waits"),
    [
        ({"state": "pending"}, True),
        ({"state": "retrying", "priority": 1}, True),
        ({"state": "pending", "priority": 2}, False),
        ({"state": "muted"}, False),
        ({"state": "parked"}, False),
        ({"state": "delivered"}, False),
        ({"state": "retrying", "due": None}, False),
    ],
)
async def test_people_wait_for_what_is_new_or_audible_and_may_be_sent(
    store: Store, values: dict[str, Any], waits: bool
) -> None:
    await store.write(partial(add_story, name="one"))
    await change(store, deliveries, {"waiting_since": NOW - 700, **values})
    assert (await seen(store, "delivery_oldest_seconds", kind="slack") > 600) == waits
    assert await seen(store, "delivery_oldest_seconds", kind="email") == 0


async def test_failed_plans_of_the_last_day_by_cause_and_nothing_else(store: Store) -> None:
    for name, kind in (("disk", "plan"), ("disk2", "plan"), ("none", "plan"), ("old", "plan"), ("node", "object")):
        await store.write(partial(add_story, name=name, kind=kind))
    await store.write(partial(add_story, name="good", kind="plan"))
    await change(store, alerts, {"role": "success"}, alerts.c.story == "good")
    await change(store, stories, {"cause": "disk-full"}, stories.c.id.in_(["disk", "disk2", "old", "node", "good"]))
    await change(store, stories, {"opened": NOW - 2 * DAY}, stories.c.id == "old")
    assert await seen(store, "failed_plans", cause="disk-full") == 2
    assert await seen(store, "failed_plans", cause="not recognised") == 1
