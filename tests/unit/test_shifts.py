"""When a shift is told: by the clock of the schedule's zone, once, and not what is long past."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from receiver.clock import SystemClock
from receiver.config.handover import HandoverPost
from receiver.config.model import Config, Route
from receiver.metrics import Metrics
from receiver.shifts import Shifts, due_at
from receiver.store import shift
from receiver.store.engine import Conn, Store
from receiver.store.schema import inbox

pytestmark = pytest.mark.anyio

BERLIN = ZoneInfo("Europe/Berlin")
SHIFTS = HandoverPost((time(6, 0), time(18, 0)), "platform", BERLIN)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2026-11-22 04:59:59", None),
        ("2026-11-22 05:00:00", "2026-11-22T06:00:00+01:00"),
        ("2026-11-22 06:00:00", "2026-11-22T06:00:00+01:00"),
        ("2026-11-22 06:00:01", None),
        ("2026-11-22 17:00:03", "2026-11-22T18:00:00+01:00"),
        # The day on which summer time begins, and the one on which it ends.
        ("2026-03-29 03:59:59", None),
        ("2026-03-29 04:00:00", "2026-03-29T06:00:00+02:00"),
        ("2026-10-25 04:30:00", None),
        ("2026-10-25 05:00:00", "2026-10-25T06:00:00+01:00"),
    ],
)
def test_times_are_those_of_the_zone_and_are_made_up_for_within_an_hour(now: str, due: str | None) -> None:
    found = due_at(SHIFTS, utc(now))
    assert (found.isoformat() if found else None) == due


def test_a_time_that_summer_time_leaves_out_comes_later_and_a_doubled_one_once() -> None:
    night = HandoverPost((time(2, 30),), "platform", BERLIN)
    left_out = due_at(night, utc("2026-03-29 01:30:00"))
    assert left_out is not None
    assert left_out.isoformat() == "2026-03-29T03:30:00+02:00"
    assert due_at(night, utc("2026-03-29 01:29:59")) is None
    times = {
        due_at(night, datetime.fromtimestamp(utc("2026-10-25 00:00:00").timestamp() + at, UTC))
        for at in range(0, 9000, 60)
    }
    assert {one.isoformat() for one in times if one} == {"2026-10-25T02:30:00+02:00"}


def test_a_time_shortly_before_midnight_is_made_up_for_after_it() -> None:
    late = HandoverPost((time(23, 45),), "platform", UTC)
    found = due_at(late, utc("2026-11-22 00:10:00"))
    assert found == utc("2026-11-21 23:45:00")


class At(SystemClock):
    """A clock that a test sets."""

    def __init__(self, text: str) -> None:
        self.text = text

    def now(self) -> datetime:
        return utc(self.text)


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with Store.open(url) as opened:
        yield opened


def shifts(store: Store, clock: At, owner: str = "one") -> Shifts:
    config = Config(Path("routes.yaml"), Route(("platform",)), {}, handover=SHIFTS)
    return Shifts(store, config, clock, Metrics([]), owner=owner, on_alert=lambda: None)


async def told(store: Store) -> list[str]:
    async def read(conn: Conn) -> list[str]:
        return list((await conn.execute(select(inbox.c.payload).where(inbox.c.source == shift.SOURCE))).scalars())

    return await store.read(read)


async def test_each_time_is_told_once_and_the_first_only_after_the_schedule_has_begun(store: Store) -> None:
    clock = At("2026-11-21 17:30:00")
    one = shifts(store, clock)
    assert not await one.look(), "18:00 passed before anybody asked for it"
    clock.text = "2026-11-22 04:59:58"
    assert not await one.look()
    clock.text = "2026-11-22 05:00:02"
    assert await one.look()
    assert not await one.look()
    assert not await shifts(store, clock, "after a restart").look()
    (alert,) = await told(store)
    assert '"shift":"2026-11-22T06:00+01:00"' in alert
    clock.text = "2026-11-22 17:00:00"
    assert await one.look()
    assert len(await told(store)) == 2


async def test_a_missed_time_is_made_up_for_within_an_hour_and_else_left_out(store: Store) -> None:
    clock = At("2026-11-21 17:30:00")
    await shifts(store, clock).look()
    clock.text = "2026-11-22 06:00:05"
    assert not await shifts(store, clock, "came too late").look()
    clock.text = "2026-11-22 17:59:00"
    assert await shifts(store, clock, "in time").look()
    assert len(await told(store)) == 1


async def test_replicas_that_look_at_the_same_moment_tell_it_once(store: Store) -> None:
    clock = At("2026-11-21 17:30:00")
    await shifts(store, clock).look()
    clock.text = "2026-11-22 05:00:00"
    found = await asyncio.gather(*(shifts(store, clock, f"replica-{number}").look() for number in range(8)))
    assert sorted(found) == [*[False] * 7, True]
    assert len(await told(store)) == 1
