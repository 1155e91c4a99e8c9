"""When people are called again for a storm: one reminder for what is down in it and nobody took, in its own thread."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from receiver import build
from receiver.clock import SystemClock
from receiver.destinations.registry import ALL
from receiver.digests import Admission, Digester
from receiver.metrics import Metrics
from receiver.model import Ack, Change, DeliveryState, Evidence, Impact, PlanPhase, PlanState, VMFailure
from receiver.store import schema, stories
from receiver.store.attention import REMINDERS
from receiver.store.codec import moment
from receiver.store.engine import Conn
from tests.unit.recording import Desk, desk, uid

pytestmark = pytest.mark.anyio

HALF_HOUR = 1_800.0
TOP = "clusters: []\nglobal: {digest_after: 1}"
NAMES = ("a", "b", "c")
DOWN = Evidence(
    run="r1",
    phase=PlanPhase.FAILED,
    failures=(VMFailure("db01", "db01", power_before="On", power_now="off"),),
    impact=Impact.DOWN,
    complete=True,
)


class Storm:
    """A desk whose stories are told by one digest at #platform."""

    def __init__(self, opened: Desk) -> None:
        self.desk = opened
        self.digest = ""

    async def fails(self, names: Iterable[str], evidence: Evidence = DOWN) -> None:
        """Let plans fail, and their destination take them into its digest."""
        before = set(await self.ids())
        plan = PlanState(PlanPhase.FAILED, run="r1")
        for name in names:
            await self.desk.record(
                self.desk.incoming("platform", uid(subject=f"plan/{name}", uid=name, name=name, alias=""), plan=plan)
            )
        for story in set(await self.ids()) - before:
            await self.gathered(story, evidence)
        config = next(one for one in self.desk.config.destinations if one.label == "platform/slack")
        async with build.destinations(self.desk.config, build.renderer(self.desk.config, lambda _: None)) as made:
            admission = Admission(self.desk.config, lambda: secrets.randbits(80))
            sender = made[config.identity].sender
            await self.desk.store.write(lambda conn: admission.admit(conn, config, sender))
        (self.digest,) = [row.id for row in await self.desk.stories(kind="digest")]
        await self.looked_at()

    async def looked_at(self) -> None:
        """Let the digest be summed up, and shown."""
        changed = asyncio.Event()
        await self.desk.set(schema.digests, {"look_at": 0.0, "seen": ""})
        metrics = Metrics([kind.kind for kind in ALL])
        digester = Digester(
            self.desk.store, self.desk.config, SystemClock(), metrics, owner="me", on_change=changed.set
        )
        running = asyncio.create_task(digester.run())
        async with asyncio.timeout(20):
            await changed.wait()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await self.desk.shown(self.digest)

    async def gathered(self, story: str, evidence: Evidence) -> None:
        await self.desk.store.write(
            lambda conn: self.desk.recorder.gathered(
                conn, story, evidence, lambda _, alert: self.desk.route(alert), None, None
            )
        )

    async def ids(self) -> list[str]:
        """Return the stories without the digest, the oldest first."""
        return [row.id for row in await self.desk.stories() if row.kind != "digest"]

    async def taken(self, *names: str) -> None:
        for name in names:
            await self.taken_by_id(await self.of(name))

    async def of(self, name: str) -> str:
        (row,) = await self.desk.stories(subject=f"plan/{name}")
        return str(row.id)

    async def taken_by_id(self, story: str) -> None:
        async def write(conn: Conn) -> None:
            draft = await stories.load_draft(conn, story, await stories.now_of(conn))
            assert draft is not None
            draft.ack = Ack("Ana Costa", "Slack", moment(0.0))
            await stories.save(conn, draft, None, "", "")

        await self.desk.store.write(write)

    async def later(self, seconds: float) -> Change | None:
        """Let time pass, as far as the rows know, and look whether somebody is to be called for the storm."""

        async def write(conn: Conn) -> None:
            of = {schema.stories: ("opened", "remind_at"), schema.revisions: ("at",)}
            for table, columns in of.items():
                await conn.execute(update(table).values({column: table.c[column] - seconds for column in columns}))

        await self.desk.store.write(write)
        due = await self.desk.store.read(lambda conn: stories.due_stories(conn, "remind_at", 10))
        if self.digest not in due:
            return None
        return await self.desk.store.write(lambda conn: self.desk.recorder.attend(conn, self.digest))

    async def said(self) -> list[str]:
        """Return what was called out in the storm's thread."""
        (row,) = (await self.desk.deliveries(self.digest)).values()
        found = await self.desk.rows(schema.entries, delivery=row.id, change="reminded")
        return [one.text for one in sorted(found, key=lambda one: one.revision)]


@pytest.fixture
async def storm(tmp_path: Path) -> AsyncIterator[Storm]:
    async with desk(tmp_path, top=TOP) as opened:
        made = Storm(opened)
        await made.fails(NAMES)
        yield made


async def test_a_storm_reminds_once_for_all_and_three_times_at_most(storm: Storm) -> None:
    for number in range(REMINDERS):
        assert await storm.later(HALF_HOUR - 20.0) is None
        assert await storm.later(21.0) is Change.REMINDED
        assert len(await storm.said()) == number + 1
    assert await storm.later(10 * HALF_HOUR) is None
    assert (await storm.said())[0] == "still down after 30 min, nobody has taken plan mig/a, plan mig/b and plan mig/c"


async def test_a_failure_of_a_storm_that_is_reminded_of_itself_says_nothing_of_its_own(storm: Storm) -> None:
    assert await storm.later(HALF_HOUR + 1.0) is Change.REMINDED
    for story in await storm.ids():
        assert await storm.desk.store.write(lambda conn, one=story: storm.desk.recorder.attend(conn, one))
        (row,) = (await storm.desk.deliveries(story)).values()
        assert (row.state, row.due) == (DeliveryState.DIGEST, None)
        assert await storm.desk.entries(row.id) == []


async def test_what_somebody_took_is_not_named_and_nobody_is_called_once_all_is_taken(storm: Storm) -> None:
    await storm.taken("a", "c")
    assert await storm.later(HALF_HOUR + 1.0) is Change.REMINDED
    assert await storm.said() == ["still down after 30 min, nobody has taken plan mig/b"]
    await storm.taken("b")
    assert await storm.later(HALF_HOUR + 1.0) is None
    assert await storm.later(HALF_HOUR + 1.0) is None
    assert len(await storm.said()) == 1


async def test_who_takes_the_storm_takes_all_of_it(storm: Storm) -> None:
    await storm.taken_by_id(storm.digest)
    assert await storm.later(2 * HALF_HOUR) is None
    await storm.looked_at()
    assert await storm.later(2 * HALF_HOUR) is None


@pytest.mark.parametrize("what", ["nothing is down", "running again"])
async def test_nobody_is_called_for_what_is_not_down_or_runs_again(storm: Storm, what: str) -> None:
    for story in await storm.ids():
        if what == "running again":
            await storm.desk.plan_changed(story, PlanState(PlanPhase.EXECUTING, run="r2"))
        else:
            called_down = VMFailure("down", "down", power_before="On")
            await storm.gathered(story, replace(DOWN, impact=Impact.NONE, failures=(called_down,)))
    assert await storm.later(2 * HALF_HOUR) is None
    await storm.looked_at()
    assert await storm.later(2 * HALF_HOUR) is None


async def test_who_joins_later_is_called_for_by_the_time_that_it_is_down(storm: Storm) -> None:
    await storm.taken(*NAMES)
    assert await storm.later(HALF_HOUR + 1.0) is None
    await storm.fails(["d"])
    assert await storm.later(HALF_HOUR - 20.0) is None, "the storm is older, but what is down is not"
    await storm.desk.set(schema.stories, {"remind_at": 1.0}, id=storm.digest)
    assert await storm.later(0.0) is None, "whatever else made us look"
    assert await storm.later(21.0) is Change.REMINDED
    assert await storm.said() == ["still down after 30 min, nobody has taken plan mig/d"]


async def test_zero_never_reminds_of_a_storm(tmp_path: Path) -> None:
    async with desk(tmp_path, top=TOP.replace("{", "{remind_after: 0s, ")) as opened:
        storm = Storm(opened)
        await storm.fails(NAMES)
        rows: list[Any] = await opened.stories()
        assert {row.remind_at for row in rows} == {None}
