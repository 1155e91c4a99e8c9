"""What people do with a story: given to somebody else, where it is told in full, and no more where it was."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from receiver.actions import Answer
from receiver.model import AlertStatus, DeliveryState, PlanPhase, PlanState
from receiver.store import schema
from tests.unit.hands import ANA, BOB, FAILED_LABELS, OWN, hands
from tests.unit.recording import STARTED

pytestmark = pytest.mark.anyio


async def test_a_moved_story_fires_at_its_new_receiver_and_nowhere_where_it_was(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        await one.opens("payments")
        answer = await one.actions.move(one.story, "oncall", ANA)
        assert answer == Answer(True, "Moved from payments to oncall by Ana Costa (API).")
        rows = await one.desk.deliveries(one.story)
        old, new = rows["payments/slack"], rows["oncall/pagerduty"]
        assert (old.firing, old.moved) == (False, "oncall by Ana Costa (API)")
        assert old.due is not None  # it says once more where the story went
        assert (new.firing, new.state, new.moved) == (True, DeliveryState.PENDING, "")
        assert [reason.text for reason in new.reasons] == ["given by Ana Costa (API) (was payments)"]
        assert new.reasons[0].given
        assert (await one.said())[-1] == ("moved", "moved from payments to oncall by Ana Costa (API)")
        assert [told.receiver for told in (await one.whole()).story.told] == ["oncall"]


async def test_what_was_moved_away_is_not_changed_any_more_until_the_story_comes_back(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        await one.opens("payments")
        await one.actions.move(one.story, "oncall", ANA)
        await one.desk.shown(one.story)
        await one.actions.acknowledge(one.story, ANA)
        await one.fires("payments", OWN)  # routed to who gave it away
        await one.desk.plan_changed(one.story, PlanState(PlanPhase.FAILED, "run-2"))
        for labels in (OWN, FAILED_LABELS):
            await one.fires("payments", labels, status=AlertStatus.RESOLVED)
        rows = await one.desk.deliveries(one.story)
        assert not (await one.whole()).story.open
        assert rows["payments/slack"].due is None
        assert rows["oncall/pagerduty"].due is not None
        await one.fires("payments", started=STARTED + timedelta(hours=2))
        rows = await one.desk.deliveries(one.story)
        assert (await one.said())[-1][0] == "reopened"
        assert (rows["payments/slack"].firing, rows["payments/slack"].moved) == (True, "")
        assert rows["payments/slack"].due is not None


async def test_whoever_was_given_a_story_is_told_to_its_end_whatever_alert_fires(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        await one.opens("payments")
        await one.actions.move(one.story, "oncall", ANA)
        failed = PlanState(PlanPhase.FAILED)
        await one.fires("payments", {**FAILED_LABELS, "phase": "DiskTransfer"})
        await one.fires("payments", status=AlertStatus.RESOLVED, state=failed)
        assert (await one.whole()).story.open
        assert (await one.desk.deliveries(one.story))["oncall/pagerduty"].firing


async def test_a_button_gives_away_only_what_its_own_receiver_has(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        await one.opens("payments, oncall")
        pressed = (await one.desk.deliveries(one.story))["payments/slack"].keys.client_id
        await one.actions.move(one.story, "tickets", ANA, pressed)
        rows = await one.desk.deliveries(one.story)
        assert {label: bool(row.moved) for label, row in rows.items()} == {
            "payments/slack": True, "oncall/pagerduty": False, "tickets/jira": False
        }  # fmt: skip
        assert rows["oncall/pagerduty"].firing


async def test_a_message_that_is_not_sent_yet_is_not_sent_any_more_when_its_story_is_moved(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        await one.fires("payments")
        one.story = (await one.desk.stories())[-1].id
        await one.actions.move(one.story, "oncall", ANA)
        row = (await one.desk.deliveries(one.story))["payments/slack"]
        assert (row.state, row.due) == (DeliveryState.SKIPPED, None)


async def test_a_story_can_be_given_back(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        await one.opens("payments")
        await one.actions.move(one.story, "oncall", ANA)
        await one.desk.shown(one.story)
        assert (await one.actions.move(one.story, "payments", BOB)).done
        rows = await one.desk.deliveries(one.story)
        assert (rows["payments/slack"].firing, rows["payments/slack"].moved) == (True, "")
        assert (rows["oncall/pagerduty"].firing, rows["oncall/pagerduty"].moved) == (
            False, "payments by Bob (command line)"
        )  # fmt: skip
        assert rows["payments/slack"].due is not None


async def test_a_digest_is_not_moved_and_what_it_tells_of_stays_its_member(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        await one.opens("payments")
        await one.desk.set(schema.deliveries, {"state": "digest", "root": None, "started": False}, story=one.story)
        assert (await one.actions.move(one.story, "oncall", ANA)).done
        row = (await one.desk.deliveries(one.story))["payments/slack"]
        assert (row.state, row.firing, bool(row.moved)) == (DeliveryState.DIGEST, False, True)
        await one.desk.set(schema.stories, {"kind": "digest"}, id=one.story)
        answer = await one.actions.move(one.story, "tickets", ANA)
        assert (answer.done, answer.text[:8]) == (False, "a digest")


async def test_whoever_is_given_a_story_has_not_taken_it_yet(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        await one.opens("payments")
        await one.actions.acknowledge(one.story, ANA)
        await one.actions.move(one.story, "oncall", ANA)
        assert (await one.whole()).story.ack is None


@pytest.mark.parametrize(
    ("to", "giver", "said"),
    [
        ("onkall", "", "There is no receiver 'onkall'; did you mean oncall?"),
        ("oncall", "tickets", "tickets does not have it; payments does."),
        ("payments", "", "payments has it already."),
    ],
)
async def test_a_move_that_makes_no_sense_changes_nothing_and_says_why(
    tmp_path: Path, to: str, giver: str, said: str
) -> None:
    async with hands(tmp_path) as one:
        await one.opens("payments")
        before = await one.whole()
        answer = await one.actions.move(one.story, to, ANA, giver=giver)
        assert answer == Answer(False, said)
        assert await one.whole() == before
        assert [press.done for press in await one.pressed()] == [False]
