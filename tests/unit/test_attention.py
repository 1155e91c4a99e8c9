"""When people are called again: for what became worse, and for what is down and nobody took."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from receiver.model import (
    CALL_EVERY_S,
    Ack,
    AlertStatus,
    Cause,
    Change,
    Evidence,
    Impact,
    PlanPhase,
    PlanState,
    VMFailure,
)
from receiver.store import attention, schema, stories
from receiver.store.attention import REMINDERS
from receiver.store.codec import moment
from receiver.store.engine import Conn
from receiver.story import news_in
from tests.unit.recording import FAILED, Desk, desk, uid

pytestmark = pytest.mark.anyio

HALF_HOUR = 1_800.0


def vm(name: str) -> VMFailure:
    return VMFailure(name, name, power_before="On", power_now="off")


def down(*names: str, run: str = "r1", cause: str = "") -> Evidence:
    """Return evidence of a run that left these VMs off."""
    known = Cause(cause, f"{cause} is at fault") if cause else None
    failures = tuple(map(vm, names))
    return Evidence(
        run=run, phase=PlanPhase.FAILED, failures=failures, impact=Impact.DOWN, complete=True, cause=known
    )  # fmt: skip


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Desk]:
    """Return a desk with one story that Slack and PagerDuty show, with a VM down."""
    async with desk(tmp_path) as opened:
        await opened.record(opened.incoming("platform oncall", uid(), plan=PlanState(PlanPhase.FAILED, run="r1")))
        await gather(opened, down("db01"))
        await opened.shown(await story(opened))
        yield opened


async def story(desk: Desk) -> str:
    (found,) = await desk.stories()
    return str(found.id)


async def gather(desk: Desk, evidence: Evidence) -> None:
    name = await story(desk)
    await desk.store.write(
        lambda conn: desk.recorder.gathered(conn, name, evidence, lambda _, alert: desk.route(alert), None, None)
    )


async def later(desk: Desk, seconds: float) -> Change | None:
    """Let time pass, as far as the story's rows know, and look whether somebody is to be called."""
    name = await story(desk)

    async def write(conn: Conn) -> None:
        of = {schema.stories: ("opened", "worse_at", "remind_at"), schema.revisions: ("at",)}
        for table, columns in of.items():
            await conn.execute(update(table).values({column: table.c[column] - seconds for column in columns}))

    await desk.store.write(write)
    if name not in await desk.store.read(lambda conn: stories.due_stories(conn, "remind_at", 10)):
        return None
    return await desk.store.write(lambda conn: desk.recorder.attend(conn, name))


async def keys(desk: Desk, label: str = "platform/slack") -> list[str]:
    """Return the keys of the entries at a destination."""
    rows = await desk.deliveries(await story(desk))
    return [key for key, _ in await desk.entries(rows[label].id)]


async def calls(desk: Desk) -> list[tuple[str, str]]:
    """Return change and text of every revision that may call people."""
    rows = await desk.rows(schema.revisions)
    wanted = {"worse", "failed-again", "reminded"}
    return [(row.change, row.text) for row in sorted(rows, key=lambda row: row.revision) if row.change in wanted]


async def test_more_vms_down_and_another_cause_are_worse(one: Desk) -> None:
    await gather(one, down("db01", "web02", "web03"))
    assert await calls(one) == [("worse", "2 more VMs down: web02, web03")]
    assert [key.partition("-")[0] for key in await keys(one)] == ["worse"]


def test_what_is_worse_and_what_is_only_known_better() -> None:
    before = down("db01", cause="nbd")
    assert news_in(before, down("db01", cause="xfs")) == (Change.WORSE, "another cause: xfs is at fault")
    assert news_in(before, down("db01"))[0] is Change.EVIDENCE
    assert news_in(None, before)[0] is Change.EVIDENCE
    assert news_in(replace(before, complete=False), down("db01", "web02"))[0] is Change.EVIDENCE, "still reading"
    assert news_in(before, down("db01", "web02", run="r2"))[0] is Change.EVIDENCE, "another run is told as such"
    many = down("db01", *(f"web{number}" for number in range(9)), cause="nbd")
    assert news_in(before, many)[1] == "9 more VMs down: web0, web1, web2, web3, web4 and 4 more"


async def test_worse_is_called_out_once_in_a_quarter_of_an_hour_and_what_comes_meanwhile_together(one: Desk) -> None:
    await gather(one, down("db01", "web02"))
    first = await keys(one)
    assert len(first) == 1
    await gather(one, down("db01", "web02", "web03"))
    await gather(one, down("db01", "web02", "web03", "web04"))
    rows = await one.deliveries(await story(one))
    assert await keys(one) == first, "shown at once, but nobody is called"
    assert rows["platform/slack"].audible < rows["platform/slack"].desired
    assert await later(one, CALL_EVERY_S - 5.0) is None
    assert await later(one, 6.0) is Change.WORSE
    assert (await calls(one))[-1] == ("worse", "1 more VM down: web03; 1 more VM down: web04")
    assert len(await keys(one)) == 2
    assert await later(one, CALL_EVERY_S) is None, "nothing is left to call out"


async def test_a_plan_that_fails_again_and_again_is_told_each_time(one: Desk) -> None:
    name = await story(one)
    for run in ("r2", "r3", "r4"):
        await one.plan_changed(name, PlanState(PlanPhase.EXECUTING, run=run))
        await one.plan_changed(name, PlanState(PlanPhase.FAILED, run=run))
    assert [key for key in await keys(one) if key.startswith("failed-again")] == [
        f"failed-again-{run}" for run in (1, 2, 3)
    ]
    assert (await one.stories())[0].state == "firing"
    assert await later(one, CALL_EVERY_S + 1.0) is None, "nothing was held back"


async def test_what_is_held_back_is_not_called_out_while_the_plan_runs_again(one: Desk) -> None:
    await gather(one, down("db01", "web02"))
    await gather(one, down("db01", "web02", "web03"))
    await one.plan_changed(await story(one), PlanState(PlanPhase.EXECUTING, run="r2"))
    assert await later(one, CALL_EVERY_S + 1.0) is None


async def test_what_is_down_and_not_taken_is_reminded_of_three_times_in_chat_only(one: Desk) -> None:
    for number in range(REMINDERS):
        assert await later(one, HALF_HOUR - 10.0) is None
        assert await later(one, 11.0) is Change.REMINDED
        assert len(await keys(one)) == number + 1
    assert await later(one, 10 * HALF_HOUR) is None
    await one.set(schema.stories, {"remind_at": 1.0})
    assert await later(one, 0.0) is None, "whatever else made us look"
    texts = [text for change, text in await calls(one) if change == "reminded"]
    assert texts[0] == "still down after 30 min, nobody has taken it"
    assert len(texts) == REMINDERS
    assert await keys(one, "oncall/pagerduty") == [], "pagers escalate by themselves"


@pytest.mark.parametrize("what", ["acknowledged", "running again", "over", "nothing is down"])
async def test_nobody_is_reminded_of_what_somebody_took_or_what_is_no_longer_down(one: Desk, what: str) -> None:
    name = await story(one)
    if what == "acknowledged":
        ack = Ack("Ana Costa", "Slack", moment(0.0))

        async def take(conn: Conn) -> None:
            draft = await stories.load_draft(conn, name, 0.0)
            assert draft is not None
            draft.ack = ack
            await stories.save(conn, draft, None, "", "")

        await one.store.write(take)
    elif what == "running again":
        await one.plan_changed(name, PlanState(PlanPhase.EXECUTING, run="r2"))
    elif what == "over":
        good = PlanState(PlanPhase.SUCCEEDED, run="r2")
        await one.record(one.incoming("platform oncall", uid(), status=AlertStatus.RESOLVED, plan=good))
        assert (await one.stories())[0].state == "resolved"
    else:
        await gather(one, replace(down("db01"), impact=Impact.NONE))
    before = await calls(one)
    assert await later(one, 2 * HALF_HOUR) is None
    assert await calls(one) == before


async def test_zero_never_reminds(tmp_path: Path) -> None:
    async with desk(tmp_path, top="clusters: []\nglobal: {remind_after: 0s}") as never:
        await never.record(never.incoming("platform", uid(), plan=FAILED))
        await gather(never, down("db01", run=""))
        assert (await never.stories())[0].remind_at is None


async def test_two_replicas_that_look_at_once_remind_once(one: Desk) -> None:
    name = await story(one)
    assert await later(one, HALF_HOUR + 1.0) is Change.REMINDED
    again: Any = await one.store.write(lambda conn: one.recorder.attend(conn, name))
    assert again is None
    assert len(await keys(one)) == 1
    await one.set(schema.stories, {"remind_at": 1.0})
    assert [await one.store.write(lambda conn: attention.take(conn, name)) for _ in range(2)] == [True, False]
