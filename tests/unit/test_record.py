"""From looked-up alerts to stories and deliveries: merges, aliases, what is over, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from receiver.clock import SystemClock
from receiver.follow import Follower
from receiver.identify import Identifier
from receiver.metrics import Metrics
from receiver.model import AlertStatus, Evidence, Identity, PlanPhase, PlanState
from receiver.store import inbox, schema
from tests.unit.recording import FAILED, NAMED, NO_PLAN, UID, Desk, bare, counted, desk, named, uid, work

pytestmark = pytest.mark.anyio

EXECUTING = PlanState(PlanPhase.EXECUTING, "run-2")


async def two_stories(one: Desk) -> tuple[str, str]:
    """Open a story by name, told to platform, and one by UID, told to payments, which has heard much more."""
    await one.record(one.incoming("platform", named()))
    await one.record(one.incoming("payments", bare()))
    older, younger = await one.stories()
    await one.shown(younger.id)
    for number in range(4):
        phase = EXECUTING if number % 2 == 0 else replace(FAILED, run=f"run-{number + 2}")
        await one.plan_changed(younger.id, phase)
    await one.shown(older.id)
    await one.shown(younger.id, '{"revision":5,"ts":"1"}')
    return older.id, younger.id


async def test_after_a_merge_the_next_change_is_newer_than_all_that_a_moved_destination_was_told(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as one:
        older, younger = await two_stories(one)
        before = (await one.deliveries(younger))["payments/slack"]
        assert before.delivered >= 5
        await one.record(one.incoming("platform", uid(), name="Another"))

        moved = (await one.deliveries(older))["payments/slack"]
        assert (moved.id, moved.keys) == (before.id, before.keys)
        assert moved.desired > before.delivered
        assert moved.audible <= moved.delivered, "nothing new that people should notice"
        await one.shown(older)
        told = dict(await one.entries(moved.id))

        await one.plan_changed(older, EXECUTING)
        await one.plan_changed(older, replace(FAILED, run="run-9"))
        again = (await one.deliveries(older))["payments/slack"]
        assert again.audible > again.delivered
        new = [(key, state) for key, state in await one.entries(moved.id) if key not in told]
        assert [state for _, state in new] == ["folded", "pending"], f"the re-run, and that it failed again: {new}"


async def test_a_merge_within_one_batch_tells_those_whom_the_younger_story_would_have_told(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        await one.record(one.incoming("platform", named()))
        await one.record(one.incoming("platform", bare()))
        older, younger = await one.stories()
        await one.record(
            one.incoming("payments oncall", bare(), name="Second"), one.incoming("platform", uid(), name="Third")
        )
        told = await one.deliveries(older.id)
        assert set(told) == {"platform/slack", "payments/slack", "oncall/pagerduty"}
        assert not (set(await one.deliveries(younger.id)) - {"platform/slack"})


async def test_two_stories_that_one_batch_would_open_for_one_plan_are_one_that_tells_both_receivers(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as one:
        await one.record(
            one.incoming("platform", named(), severity="warning"),
            one.incoming("payments", bare(), name="Second"),
            one.incoming("oncall", uid(), name="Third"),
        )
        (story,) = await one.stories()
        assert story.subject == UID
        assert story.severity == "critical"
        assert set(await one.deliveries(story.id)) == {"platform/slack", "payments/slack", "oncall/pagerduty"}
        assert len(await one.rows(schema.alerts)) == 3


async def test_two_plans_of_one_name_in_one_batch_are_two_stories(tmp_path: Path) -> None:
    other = Identity("plan/other", "plan", "local", "other", "mig", "erp", alias=NAMED)
    async with desk(tmp_path) as one:
        await one.record(one.incoming("platform", uid()), one.incoming("platform", other))
        assert [row.subject for row in await one.stories()] == [UID, "plan/other"]


async def test_an_alert_that_knows_no_uid_joins_by_name_in_one_batch(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        await one.record(one.incoming("platform", uid()), one.incoming("platform", named(), name="Second"))
        (story,) = await one.stories()
        assert len(await one.rows(schema.alerts, story=story.id)) == 2


async def test_what_is_news_for_one_destination_is_a_quiet_edit_where_nothing_of_ones_own_fires(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path, top="global: {resolve_delay: 1ms}\nclusters: []") as one:
        mine = one.incoming("payments", uid(), name="Mine", plan=NO_PLAN)
        other = one.incoming("platform", uid(), name="Other", plan=NO_PLAN)
        await one.record(mine, other)
        (story,) = await one.stories()
        await one.shown(story.id)
        over = [
            replace(each, seq=one.numbers(), alert=replace(each.alert, status=AlertStatus.RESOLVED))
            for each in (mine, other)
        ]
        await one.record(*over)
        await one.set(schema.stories, {"close_at": 1.0}, id=story.id)
        await one.plan_changed(story.id, NO_PLAN)
        await one.shown(story.id)

        await one.record(replace(other, seq=one.numbers()))
        (story,) = await one.stories()
        assert (story.state, story.reopens) == ("firing", 1)
        rows = await one.deliveries(story.id)
        loud, quiet = rows["platform/slack"], rows["payments/slack"]
        assert ("reopened-1", "pending") in await one.entries(loud.id)
        assert loud.audible > loud.delivered
        assert "reopened-1" not in dict(await one.entries(quiet.id))
        assert quiet.audible <= quiet.delivered < quiet.desired
        assert quiet.due is not None


async def test_an_alert_that_could_not_be_processed_is_closed_after_reopen_within(tmp_path: Path) -> None:
    poison = Identity("inbox/7", "alert", name="MTVReceiverCouldNotProcess")
    async with desk(tmp_path, top="global: {reopen_within: 24h, resolve_delay: 1ms}\nclusters: []") as one:
        await one.record(one.incoming("platform", poison, plan=NO_PLAN))
        (story,) = await one.stories()
        assert story.state == "firing"
        assert story.close_at - story.opened == pytest.approx(86_400)
        await one.plan_changed(story.id, NO_PLAN)
        assert (await one.stories())[0].state == "firing"
        await one.set(schema.stories, {"close_at": story.opened - 1}, id=story.id)
        await one.plan_changed(story.id, NO_PLAN)
        (story,) = await one.stories()
        assert (story.state, story.outcome) == ("resolved", "cleared")


def follower(one: Desk) -> Follower:
    identifier = Identifier(one.config, {}, SystemClock(), lambda text: (text, 0))
    return Follower(one.store, one.config, {}, identifier, one.recorder, Metrics(()), on_change=lambda: None)


@pytest.mark.parametrize("state", ["firing", "re-running"])
async def test_a_story_whose_cluster_is_no_longer_configured_ends_once_its_alerts_are_gone(
    state: str, tmp_path: Path
) -> None:
    async with desk(tmp_path, top="global: {resolve_delay: 1ms}\nclusters: []") as one:
        fired = one.incoming("platform", uid())
        await one.record(fired)
        (story,) = await one.stories()
        gone = replace(fired, seq=one.numbers(), alert=replace(fired.alert, status=AlertStatus.RESOLVED))
        after = follower(one)
        await after._take_stock()
        await after._round()
        assert (await one.stories())[0].state == "firing", "its alert fires"
        await one.record(replace(gone, plan=EXECUTING if state == "re-running" else FAILED))
        assert (await one.stories())[0].state == state
        for _ in range(3):
            await after._round()
        (story,) = await one.stories()
        assert (story.state, story.outcome) == ("resolved", "cleared")


async def test_evidence_that_comes_in_vain_for_the_last_time_lets_pagers_look_again(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        await one.record(one.incoming("oncall platform", uid()))
        (story,) = await one.stories()
        partly = Evidence(run="run-1", phase=PlanPhase.FAILED)

        async def gathered(again_in_s: float) -> None:
            due = (await one.stories())[0].gather_due
            await one.store.write(
                lambda conn: one.recorder.gathered(
                    conn, story.id, partly, lambda _, alert: one.route(alert), again_in_s, due
                )
            )

        await gathered(5.0)
        await one.shown(story.id)
        await gathered(40.0)
        rows = await one.deliveries(story.id)
        assert [row.due for row in rows.values()] == [None, None], "there is still time for more"
        await gathered(300.0)
        rows = await one.deliveries(story.id)
        assert rows["oncall/pagerduty"].due is not None
        assert rows["platform/slack"].due is None


async def test_a_storm_of_new_alerts_costs_five_statements_each(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:

        def plan(number: int) -> Identity:
            return replace(uid(), subject=f"plan/{number}", uid=str(number), alias=f"plan/local/mig/p{number}")

        batch = [one.incoming("platform payments oncall tickets", plan(number)) for number in range(20)]
        with counted() as seen:
            await one.record(*batch)
        assert len(await one.rows(schema.deliveries)) == 80
        assert len(work(seen)) <= 5 * 20 + 5, "story, alert, revision, deliveries, their alerts; five for the batch"


async def test_what_begins_and_ends_within_one_batch_is_told_to_those_who_would_have_been_told(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        fired = one.incoming("platform oncall", uid(), plan=NO_PLAN)
        over = replace(fired, seq=one.numbers(), alert=replace(fired.alert, status=AlertStatus.RESOLVED))
        await one.record(fired, over)
        (story,) = await one.stories()
        assert set(await one.deliveries(story.id)) == {"platform/slack", "oncall/pagerduty"}


async def test_an_end_that_another_replica_was_quicker_with_does_not_hide_that_it_began(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        fired = one.incoming("platform oncall", uid(), plan=NO_PLAN)
        over = replace(fired.alert, status=AlertStatus.RESOLVED)
        await one.store.write(lambda conn: inbox.add(conn, "main", [fired.alert, over]))
        await one.store.write(lambda conn: inbox.done(conn, [2]))
        await one.record(replace(fired, seq=1))
        (story,) = await one.stories()
        assert set(await one.deliveries(story.id)) == {"platform/slack", "oncall/pagerduty"}
        (alert,) = await one.rows(schema.alerts)
        assert (alert.status, alert.seq) == ("resolved", 2)


async def test_a_repeat_reads_and_writes_once_however_many_destinations_there_are(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        costs = []
        for to in ("platform", "platform payments oncall tickets"):
            fired = one.incoming(to, replace(uid(), subject=f"plan/{to}"))
            await one.record(fired)
            with counted() as seen:
                await one.record(replace(fired, seq=one.numbers()))
            costs.append(len(work(seen)))
        assert costs[0] == costs[1]
