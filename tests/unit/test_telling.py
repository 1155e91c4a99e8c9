"""Who is told: fallbacks, and the ticket of the failure before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from receiver.model import AlertStatus
from receiver.store import schema, stories
from receiver.store.engine import Conn
from tests.unit.recording import NO_PLAN, Desk, desk, uid

pytestmark = pytest.mark.anyio

CLOSED_AT_ONCE = "global: {resolve_delay: 1ms, reopen_within: 1ms}\nclusters: []"
TICKET = json.dumps(
    {"id": "10001", "key": "MIG-12", "url": "https://jira/browse/MIG-12", "state": "done", "revision": 2}
)
DAY_S = 86_400.0


async def fall_back(one: Desk, story: str, label: str) -> list[str]:
    row = (await one.deliveries(story))[label]

    async def write(conn: Conn) -> list[str]:
        draft = await stories.load_draft(conn, story, await stories.now_of(conn))
        assert draft is not None
        return await one.teller.fall_back(conn, draft, row, "channel_not_found")

    return await one.store.write(write)


async def test_a_fallback_is_a_quiet_change_that_the_other_destinations_show(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        await one.record(one.incoming("payments platform", uid()))
        (story,) = await one.stories()
        await one.shown(story.id)
        assert await fall_back(one, story.id, "payments/slack") == ["oncall/pagerduty"]

        last = (await one.rows(schema.revisions, story=story.id))[-1]
        assert (last.change, last.text) == (
            "told",
            "also told: oncall/pagerduty, in place of payments/slack: channel_not_found",
        )
        rows = await one.deliveries(story.id)
        other, stand_in = rows["platform/slack"], rows["oncall/pagerduty"]
        assert other.due is not None
        assert other.audible <= other.delivered < other.desired
        assert stand_in.audible == stand_in.desired == last.revision
        assert stand_in.fallback_for == "payments/slack: channel_not_found"


async def test_where_the_fallback_knows_already_the_root_receiver_is_told_and_then_nobody(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        await one.record(one.incoming("payments oncall", uid()))
        (story,) = await one.stories()
        assert await fall_back(one, story.id, "payments/slack") == ["platform/slack"]
        revision = (await one.stories())[0].revision
        assert await fall_back(one, story.id, "payments/slack") == []
        assert (await one.stories())[0].revision == revision, "nothing changed"


async def second_failure(one: Desk, *, days: float = 1.0, root: str = TICKET, shown: bool = True) -> tuple[str, str]:
    """Fail a Plan, close its story with this ticket so many days ago, and fail the Plan anew."""
    await one.record(one.incoming("tickets", uid(), plan=NO_PLAN))
    (first,) = await one.stories()
    await one.shown(first.id, root)
    await one.record(one.incoming("tickets", uid(), plan=NO_PLAN, status=AlertStatus.RESOLVED))
    await one.set(schema.stories, {"close_at": 1.0}, id=first.id)
    await one.plan_changed(first.id, NO_PLAN)
    if shown:
        await one.shown(first.id)
    await one.set(schema.stories, {"closed": first.opened - days * DAY_S}, id=first.id)
    await one.record(one.incoming("tickets", uid(), name="Second", plan=NO_PLAN))
    newest = next(row for row in await one.stories() if row.id != first.id)
    assert (newest.state, newest.previous) == ("firing", first.id)
    return first.id, newest.id


async def test_a_new_story_reopens_the_ticket_of_the_one_before_it(tmp_path: Path) -> None:
    async with desk(tmp_path, top=CLOSED_AT_ONCE) as one:
        first, second = await second_failure(one)
        old, new = (await one.deliveries(first))["tickets/jira"], (await one.deliveries(second))["tickets/jira"]
        assert new.keys == old.keys
        assert new.started
        assert json.loads(new.root or "{}") == {**json.loads(TICKET), "revision": 0}
        assert await one.entries(new.id) == [("reopened", "pending")]
        assert new.audible > new.delivered


@pytest.mark.parametrize(
    ("root", "state"),
    [('{"id":"1","state":"open"}', "done"), ('{"id":"1","state":"declined"}', "declined")],
)
async def test_a_ticket_that_is_taken_over_is_looked_at_before_it_is_reopened_and_one_that_was_declined_stays_so(
    root: str, state: str, tmp_path: Path
) -> None:
    async with desk(tmp_path, top=CLOSED_AT_ONCE) as one:
        _, second = await second_failure(one, root=root)
        new = (await one.deliveries(second))["tickets/jira"]
        assert json.loads(new.root or "{}")["state"] == state


async def test_a_ticket_closed_longer_ago_is_left_alone_and_named_in_the_new_one(tmp_path: Path) -> None:
    async with desk(tmp_path, top=CLOSED_AT_ONCE) as one:
        first, second = await second_failure(one, days=8)
        old, new = (await one.deliveries(first))["tickets/jira"], (await one.deliveries(second))["tickets/jira"]
        assert new.root is None
        assert not new.started
        assert new.keys.label != old.keys.label
        assert new.keys.follows == "https://jira/browse/MIG-12"


@pytest.mark.parametrize("root", ['{"state":"absent"}', '{"id":"1","gone":true}'])
async def test_a_ticket_that_is_not_there_is_not_taken_over(root: str, tmp_path: Path) -> None:
    async with desk(tmp_path, top=CLOSED_AT_ONCE) as one:
        _, second = await second_failure(one, root=root)
        new = (await one.deliveries(second))["tickets/jira"]
        assert (new.root, new.keys.follows) == (None, "")


async def test_what_the_older_story_still_had_to_do_at_its_ticket_is_left_to_the_new_one(tmp_path: Path) -> None:
    async with desk(tmp_path, top=CLOSED_AT_ONCE) as one:
        first, _ = await second_failure(one, shown=False)
        old = (await one.deliveries(first))["tickets/jira"]
        assert (old.state.value, old.due) == ("skipped", None)
