"""A clock that was wrong: what it stored too far ahead is due now, and what is right is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sqlalchemy import insert, select

from receiver.attempt import Destination, Worker
from receiver.clock import SystemClock
from receiver.config.load import load
from receiver.config.model import Config
from receiver.destinations import InStorm, Manner, Step
from receiver.destinations.registry import ALL
from receiver.metrics import Metrics
from receiver.model import Change, Receipt, Wanted
from receiver.retention import Retention, longest
from receiver.store import claims, heartbeats, inbox, jobs, parking, stories
from receiver.store import deliveries as delivery_store
from receiver.store.deliveries import DeliveryRow
from receiver.store.engine import NOW, Conn, Store
from receiver.store.schema import (
    alerts,
    deliveries,
    destinations,
    entries,
    pulse,
    revisions,
)
from receiver.store.schema import digests as digest_table
from receiver.store.schema import inbox as inbox_table
from receiver.store.schema import jobs as job_table
from receiver.store.schema import stories as story_table
from receiver.store.timers import Timers
from receiver.verdict import End
from tests.unit.store.kept import DAY, add_story, change, column

pytestmark = pytest.mark.anyio

ROUTES = """
clusters: []
global: {confirm_after: 60s, resolve_delay: 30s, reopen_within: 24h}
receivers:
  - name: platform
    slack_configs:
      - {channel: '#here', app_token_env: SLACK}
      - {channel: '#slow', app_token_env: SLACK, rate_limit: {per_minute: 0.5}, retry: {min: 1s, max: 40m}}
route: {receiver: platform}
"""
HERE, SLOW = "slack:slack.com #here", "slack:slack.com #slow"
JUMPS = pytest.mark.parametrize("ahead", [3_600.0, DAY], ids=["an-hour", "a-day"])

# Where a time is, and how far ahead it may rightly be: just below its longest delay.
DELIVERIES: dict[str, dict[str, Any]] = {
    "first": {"state": "pending", "due": 9.0},
    "retrying": {"state": "retrying", "tries": 3, "due": 299.0},
    "asked-to-wait": {"state": "retrying", "tries": 1, "due": 3_598.0},
    "confirms": {"state": "delivered", "due": 59.0, "confirm_at": 59.0},
    "muted": {"state": "muted", "due": 13.5 * DAY},
    "claimed": {"state": "pending", "due": 0.0, "claimed_until": 59.0},
}
STORIES: dict[str, dict[str, float]] = {
    "first": {"close_at": 29.0, "identify_due": 299.0, "gather_due": 299.0, "remind_at": 1_799.0, "gather_until": 39.0},
    "endless": {"close_at": 23.5 * 3600},
}


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with Store.open(url) as opened:
        yield opened


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "routes.yaml").write_text(ROUTES)
    return load(tmp_path / "routes.yaml", ALL)


def moved(values: Mapping[str, Any], ahead: float) -> dict[str, Any]:
    """Return values with their times so much later than they say."""
    return {name: NOW + value + ahead if isinstance(value, float) else value for name, value in values.items()}


async def wait(store: Store, ahead: float) -> None:
    """Store one of every kind of time, as a clock would that is so many seconds ahead."""

    async def write(conn: Conn) -> None:
        for name in DELIVERIES:
            await add_story(conn, name)
        await add_story(conn, "endless", subject="inbox/7")
        await add_story(conn, "slow", destination=SLOW)
        await conn.execute(insert(inbox_table).values(received_at=NOW, payload="{}", claimed_until=NOW + 19 + ahead))
        await conn.execute(
            insert(digest_table).values(id="first", destination=HERE, joined_at=0, look_at=NOW + 29 + ahead)
        )
        asked = {"hold_until": NOW + 3_599 + ahead, "asked_s": 3_600.0, "parked": True, "probe_at": NOW + 299 + ahead}
        await conn.execute(insert(destinations).values(identity=HERE, **asked))
        await conn.execute(insert(destinations).values(identity=SLOW, hold_until=NOW + 119 + ahead))
        await conn.execute(insert(job_table).values(name="j", due=NOW + 59 + ahead, claimed_until=NOW + 59 + ahead))

    await store.write(write)
    for name, values in DELIVERIES.items():
        await change(store, deliveries, moved(values, ahead), deliveries.c.id == f"d-{name}")
    slow = {"state": "retrying", "tries": 9, "due": 2_399.0}
    await change(store, deliveries, moved(slow, ahead), deliveries.c.id == "d-slow")
    for name, times in STORIES.items():
        await change(store, story_table, moved(times, ahead), story_table.c.id == name)


TIMES = (
    *(deliveries.c.due, deliveries.c.confirm_at, deliveries.c.claimed_until, inbox_table.c.claimed_until),
    *(story_table.c.close_at, story_table.c.identify_due, story_table.c.gather_due, story_table.c.remind_at),
    *(story_table.c.gather_until, digest_table.c.look_at, destinations.c.probe_at, destinations.c.hold_until),
    *(job_table.c.due, job_table.c.claimed_until),
)


async def left(store: Store) -> dict[str, list[float]]:
    """Return how far ahead every time is."""

    async def read(conn: Conn) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for time in TIMES:
            rows = await conn.execute(select(time - NOW).where(time.is_not(None)).order_by(time))
            found[str(time)] = list(rows.scalars())
        return found

    return await store.read(read)


async def test_times_within_their_longest_delay_are_left_alone(store: Store, config: Config) -> None:
    await wait(store, 0.0)
    assert await store.write(Timers(longest(config)).correct) == 0


async def test_a_destination_is_left_alone_for_as_long_as_it_asked(store: Store, config: Config) -> None:
    await store.write(lambda conn: parking.hold(conn, HERE, 3_500.0))
    timers = Timers(longest(config))
    assert await store.write(timers.correct) == 0
    await change(store, destinations, {"hold_until": NOW + 3_510})
    assert await store.write(timers.correct) == 1


@JUMPS
async def test_what_is_further_ahead_than_its_longest_delay_is_due_now(
    store: Store, config: Config, ahead: float
) -> None:
    await wait(store, ahead)
    timers = Timers(longest(config))
    assert await store.write(timers.correct) >= 18
    leases = {"deliveries.claimed_until": 60, "inbox.claimed_until": 20, "jobs.claimed_until": 60}
    leases["stories.gather_until"] = 40
    muted_longer = {"deliveries.due"} if ahead < DAY / 2 else set()  # within 14 days: it may have been meant
    for name, times in (await left(store)).items():
        late = [one for one in times if one > leases.get(name, 0) + 0.01]
        assert len(late) == (name in muted_longer), f"{name}: {late}"
    assert await store.write(timers.correct) == 0, "once is enough"


async def test_a_lease_that_is_too_long_ends_a_lease_from_now_since_its_holder_may_be_at_work(
    store: Store, config: Config
) -> None:
    await wait(store, DAY)
    await store.write(Timers(longest(config)).correct)
    row = await store.read(lambda conn: delivery_store.one(conn, "d-claimed"))
    assert row is not None
    assert await store.write(lambda conn: claims.claim(conn, "other", HERE, 9)) != []
    assert 50 < (await left(store))["deliveries.claimed_until"][-1] <= 60
    assert await column(store, deliveries.c.fence, deliveries.c.id == "d-claimed") == [0], "nobody else has it"


async def test_what_was_cannot_be_later_than_now_once_the_clock_was_seen_to_go_back(
    store: Store, config: Config
) -> None:
    timers = Timers(longest(config))
    await store.write(lambda conn: add_story(conn, "one"))
    await store.write(timers.correct)
    later = NOW + DAY
    await change(store, deliveries, {"unknown_at": later, "created": later, "waiting_since": later})
    await change(store, alerts, {"heard_at": later, "changed_at": later, "absent_at": later})
    await change(store, revisions, {"at": later})
    await change(store, entries, {"at": later})
    await store.write(lambda conn: parking.hold(conn, HERE, 1.0))
    await change(store, destinations, {"tokens": 0.0, "tokens_at": later})
    await store.write(lambda conn: jobs.note(conn, heartbeats.HEARD, {"at": 9e9}))
    assert await store.write(timers.correct) == 0, "nothing says that the clock was wrong"
    await change(store, job_table, {"state": '{"at":9000000000.0}'}, job_table.c.name == "clock")
    assert await store.write(timers.correct) >= 10

    async def latest(conn: Conn) -> list[float]:
        past = (
            *(deliveries.c.unknown_at, deliveries.c.created, deliveries.c.waiting_since, alerts.c.heard_at),
            *(alerts.c.changed_at, alerts.c.absent_at, revisions.c.at, entries.c.at, destinations.c.tokens_at),
        )
        said = [(await conn.execute(select(time - NOW))).scalar_one() for time in past]
        heard = await heartbeats.last(conn, heartbeats.HEARD)
        return [*said, (heard or 0.0) - await stories.now_of(conn)]

    assert max(await store.read(latest)) <= 0.01
    assert await store.write(timers.correct) == 0


@pytest.mark.parametrize("sign", ["mark", "inbox", "pulse"])
async def test_the_clock_went_back_if_anything_is_newer_than_now(store: Store, config: Config, sign: str) -> None:
    timers = Timers(longest(config))
    await store.write(inbox.beat)
    await store.write(timers.correct)
    await store.write(lambda conn: conn.execute(insert(inbox_table).values(received_at=NOW, payload="{}")))
    if sign == "mark":
        await change(store, job_table, {"state": '{"at":9000000000.0}'})
    else:
        table, name = (inbox_table, "received_at") if sign == "inbox" else (pulse, "at")
        await change(store, table, {name: NOW + 60})
    await store.write(lambda conn: add_story(conn, "one"))
    await change(store, deliveries, {"unknown_at": NOW + 60})
    assert await store.write(timers.correct) >= 1
    assert await column(store, deliveries.c.id, deliveries.c.unknown_at > NOW + 1) == []


# --- what people see of it ---


class Chat:
    """A destination that keeps what was made there, and can be slow."""

    kind: ClassVar[str] = "slack"
    manner: ClassVar[Manner] = Manner.CHAT
    entry_changes: ClassVar[frozenset[Change]] = frozenset()
    waits_for_evidence: ClassVar[bool] = False
    in_storm: ClassVar[InStorm] = InStorm.EACH

    def __init__(self) -> None:
        self.made: list[str] = []
        self.sending = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()

    def plan(self, wanted: Wanted) -> Step | None:
        return None if wanted.root and wanted.root.get("id") else Step("root", "create", {}, creates=True)

    async def send(self, step: Step, wanted: Wanted) -> Receipt:
        self.made.append(wanted.story.id)
        self.sending.set()
        await self.answers.wait()
        return {"id": wanted.story.id}

    async def find(self, step: Step, wanted: Wanted) -> Receipt | None:
        return {"id": wanted.story.id} if wanted.story.id in self.made else None

    def link(self, root: Receipt) -> str:
        return ""

    async def probe(self) -> None:
        return None


class Desk:
    """What a replica does with deliveries."""

    def __init__(self, store: Store, config: Config, chat: Chat, owner: str) -> None:
        self._store = store
        self._owner = owner
        self._clock = SystemClock()
        self._worker = Worker(store, config, self._clock, Metrics(["slack"]), lambda: 0.0)
        (here,) = (one for one in config.destinations if one.identity == HERE)
        self._destination = Destination(here, chat, lambda: "", asyncio.Semaphore(4))

    async def claim(self) -> list[DeliveryRow]:
        """Take what there is to do, if the destination is not held back."""
        busy = (await self._store.read(claims.outlook)).busy
        return await self._store.write(lambda conn: claims.claim(conn, self._owner, HERE, 9)) if busy else []

    async def work(self, row: DeliveryRow) -> End:
        return await self._worker.work(row, self._destination, self._clock.monotonic())


@JUMPS
async def test_after_a_clock_that_ran_ahead_everything_is_told_at_once(
    store: Store, config: Config, ahead: float
) -> None:
    chat = Chat()
    desk = Desk(store, config, chat, "me")
    for name in ("first", "retried"):
        await store.write(partial(add_story, name=name))
    await change(store, deliveries, {"due": NOW + 2 + ahead}, deliveries.c.id == "d-first")
    retried = {"due": NOW + 1 + ahead, "state": "retrying", "tries": 1}
    await change(store, deliveries, retried, deliveries.c.id == "d-retried")
    await store.write(lambda conn: parking.hold(conn, HERE, 1.0))  # a 429 of one second …
    await change(store, destinations, {"hold_until": NOW + 1 + ahead})  # … by the wrong clock
    assert await desk.claim() == []
    metrics = Metrics(["slack"])
    await Retention(store, config, SystemClock(), metrics, owner="me").look()
    assert metrics.registry.get_sample_value("mtv_receiver_times_corrected_total") == 3
    for row in await desk.claim():
        assert await desk.work(row) is End.DONE
    assert sorted(chat.made) == ["first", "retried"]


async def test_a_clock_that_leaps_ahead_ends_leases_early_and_nothing_is_sent_twice(
    store: Store, config: Config
) -> None:
    chat = Chat()
    one, other = Desk(store, config, chat, "one"), Desk(store, config, chat, "other")
    for name in ("begun", "waits"):
        await store.write(partial(add_story, name=name))
    rows = {row.story: row for row in await one.claim()}
    chat.answers.clear()
    sending = asyncio.create_task(one.work(rows["begun"]))
    await chat.sending.wait()
    # Now the clock leaps: all leases are over, though the first replica is still at work.
    await change(store, deliveries, {"claimed_until": NOW - 3_540})
    await change(store, deliveries, {"unknown_at": NOW - 3_600}, deliveries.c.id == "d-begun")
    taken = {row.story: row for row in await other.claim()}
    assert taken.keys() == {"begun", "waits"}
    chat.answers.set()
    assert await other.work(taken["begun"]) is End.NOTHING, "it was looked for, and found"
    assert await other.work(taken["waits"]) is End.DONE
    assert await sending is End.LOST
    assert await one.work(rows["waits"]) is End.LOST
    assert sorted(chat.made) == ["begun", "waits"]
    assert await column(store, deliveries.c.state) == ["delivered", "delivered"]
