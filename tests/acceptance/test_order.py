"""Two workers on one inbox: whoever is first, the alert with the highest number is what counts in the end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from receiver.config.load import load
from receiver.config.model import Config
from receiver.destinations.registry import ALL
from receiver.fingerprint import fingerprint
from receiver.model import Alert, AlertStatus, Identity, PlanPhase, PlanState
from receiver.record import Incoming, Recorder
from receiver.routing.tree import route
from receiver.store import inbox, listing, schema
from receiver.store.engine import Conn, Store, sqlite_url
from receiver.store.upgrade import upgrade
from receiver.telling import Teller
from tests.acceptance.harness import failed, routes_yaml
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

BEGAN = datetime(2026, 11, 21, 8, tzinfo=UTC)
PLANS = 25
PHASES = ("ConvertGuest", "CopyDisks", "CreateVM")


@dataclass
class Worker:
    """What one worker needs: it looks nothing up, its Plans cannot be read."""

    store: Store
    config: Config
    recorder: Recorder

    def incoming(self, seq: int, alert: Alert) -> Incoming:
        identity = Identity(f"plan/{alert.labels['plan']}", "plan", uid=alert.labels["plan"])
        routed = route(alert.labels, {}, self.config)
        return Incoming(seq, "", alert, "failure", identity, PlanState(PlanPhase.NO_PLAN), routed)

    async def work(self, batch: Sequence[tuple[int, Alert]]) -> None:
        """Record a batch and mark it as done, in one transaction."""

        async def write(conn: Conn) -> None:
            await self.recorder.record(conn, [self.incoming(seq, alert) for seq, alert in batch])
            await inbox.done(conn, [seq for seq, _ in batch])

        await self.store.write(write)


@asynccontextmanager
async def worker(folder: Path) -> AsyncIterator[Worker]:
    url = sqlite_url(folder / "order.db")
    await asyncio.to_thread(upgrade, url)
    async with FakeVendors() as vendors, Store.open(url) as store:
        top = "global: {resolve_delay: 0s}\nclusters: []"
        config = load(routes_yaml(vendors, folder, top=top), ALL)
        chance = random.Random(7)
        roll = lambda: chance.getrandbits(80)  # noqa: E731
        yield Worker(store, config, Recorder(config, Teller(config, {}, roll), roll))


def told(plan: int, phase: str, *, firing: bool, began: datetime) -> Alert:
    labels = failed(f"00000000-0000-4000-8000-{plan:012}", f"plan-{plan}", phase=phase)
    status = AlertStatus.FIRING if firing else AlertStatus.RESOLVED
    ended = None if firing else began + timedelta(minutes=1)
    return Alert(fingerprint(labels), status, labels, {}, began, ended)


async def accept(store: Store, alerts: Sequence[Alert]) -> list[tuple[int, Alert]]:
    """Put alerts into the inbox and return them with their numbers."""
    await store.write(lambda conn: inbox.add(conn, "", alerts))
    rows = await store.read(lambda conn: conn.execute(select(schema.inbox.c.seq).order_by(schema.inbox.c.seq)))
    return list(zip([row.seq for row in rows][-len(alerts) :], alerts, strict=True))


def batches(entries: Sequence[tuple[int, Alert]], chance: random.Random) -> list[list[tuple[int, Alert]]]:
    left, found = list(entries), []
    while left:
        size = chance.randint(1, 20)
        found.append(left[:size])
        left = left[size:]
    return found


async def heard(conn: Conn) -> dict[str, tuple[int, str]]:
    """Return number and status of the newest word that any story holds, by fingerprint."""
    table = schema.alerts
    rows = await conn.execute(select(table.c.fingerprint, table.c.seq, table.c.status).order_by(table.c.seq))
    return {row.fingerprint: (row.seq, row.status) for row in rows}


async def open_plans(conn: Conn) -> list[str]:
    """Return the plan of every open story."""
    page = await listing.stories_page(conn, state=["firing", "re-running"], limit=500)
    return [one.story.subject for one in page]


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_thousand_shuffled_alerts_end_as_their_highest_numbers_say(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    alerts = [
        told(
            chance.randrange(PLANS),
            chance.choice(PHASES),
            firing=chance.random() < 0.4,
            began=BEGAN + timedelta(minutes=number // 250),
        )
        for number in range(1_000)
    ]
    async with worker(tmp_path) as one:
        entries = await accept(one.store, alerts)
        newest = {alert.fingerprint: (seq, alert) for seq, alert in entries}
        shuffled = list(entries)
        chance.shuffle(shuffled)
        waiting = batches(shuffled, chance)

        async def run() -> None:
            while waiting:
                await one.work(waiting.pop())

        await asyncio.gather(run(), run())
        known = await one.store.read(heard)
        fires = {key: (seq, "firing") for key, (seq, alert) in newest.items() if alert.firing}
        assert {key: value for key, value in known.items() if value[1] == "firing"} == fires
        expected = sorted({f"plan/{newest[key][1].labels['plan']}" for key in fires})
        assert 0 < len(expected) < PLANS, "the seed leaves some plans failed and some not"
        assert sorted(await one.store.read(open_plans)) == expected


async def test_a_failure_whose_end_was_worked_off_first_opens_nothing(tmp_path: Path) -> None:
    async with worker(tmp_path) as one:
        fired = told(1, "ConvertGuest", firing=True, began=BEGAN)
        resolved = told(1, "ConvertGuest", firing=False, began=BEGAN)
        first, second = await accept(one.store, [fired, resolved])
        await one.work([second])
        await one.work([first])
        assert await one.store.read(open_plans) == []


async def test_the_end_of_another_alert_does_not_hold_a_failure_back(tmp_path: Path) -> None:
    async with worker(tmp_path) as one:
        fired = told(1, "ConvertGuest", firing=True, began=BEGAN)
        other = told(1, "CopyDisks", firing=False, began=BEGAN)
        first, second = await accept(one.store, [fired, other])
        await one.work([second])
        await one.work([first])
        assert await one.store.read(open_plans) == [f"plan/{fired.labels['plan']}"]


async def test_an_end_that_still_waits_does_not_hold_its_failure_back(tmp_path: Path) -> None:
    async with worker(tmp_path) as one:
        fired = told(1, "ConvertGuest", firing=True, began=BEGAN)
        resolved = told(1, "ConvertGuest", firing=False, began=BEGAN)
        other = told(2, "ConvertGuest", firing=True, began=BEGAN)
        first, _, third = await accept(one.store, [fired, resolved, other])
        await one.work([third])
        await one.work([first])
        assert f"plan/{fired.labels['plan']}" in await one.store.read(open_plans)
