"""What people do with a story: taken and silenced; every press is written down."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver.actions import API, PAGERDUTY, SLACK, Actor, Answer
from receiver.alertmanagers import Alertmanagers
from receiver.clock import SystemClock
from receiver.metrics import Metrics
from receiver.model import AlertStatus, PlanPhase, PlanState
from receiver.silence_notes import SilenceNotes
from receiver.store import schema
from tests.unit.hands import ANA, BOB, FAILED_LABELS, OF_PLAN, OWN, hands
from tests.unit.recording import STARTED

pytestmark = pytest.mark.anyio


# --- taking ---


async def test_an_acknowledgement_is_one_quiet_revision_that_says_who_and_where(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        await one.opens()
        before = (await one.whole()).story
        answer = await one.actions.acknowledge(one.story.lower(), ANA)
        after = await one.whole()
        assert (answer.done, answer.text) == (True, "Ana Costa has it now.")
        assert after.story.ack is not None
        assert (after.story.ack.by, after.story.ack.via) == ("Ana Costa", "API")
        assert after.story.revision == before.revision + 1
        assert (await one.said())[-1] == ("acknowledged", "acknowledged by Ana Costa through the API")
        for row in after.deliveries:  # edited, and nobody is woken
            assert (row.desired, row.audible, row.priority) == (after.story.revision, before.revision, 2)


async def test_to_acknowledge_twice_is_to_acknowledge_once(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        await one.opens()
        await one.actions.acknowledge(one.story, ANA)
        first = (await one.whole()).story
        again = await one.actions.acknowledge(one.story, ANA)
        assert again.done
        assert again.text.startswith("Ana Costa has it since ")
        assert (await one.whole()).story == first
        assert [(press.action, press.done) for press in await one.pressed()] == [("acknowledge", True)] * 2


async def test_somebody_else_takes_over_and_is_told_from_whom(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        await one.opens()
        await one.actions.acknowledge(one.story, ANA)
        answer = await one.actions.acknowledge(one.story, BOB)
        ack = (await one.whole()).story.ack
        assert ack is not None
        assert ack.by == "Bob"
        assert answer.text.startswith("Bob has it now. Ana Costa had taken it at ")
        assert (await one.said())[-1][1] == "acknowledged by Bob on the command line, who takes over from Ana Costa"


async def test_a_story_that_fails_again_keeps_its_acknowledgement(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        await one.opens()
        await one.actions.acknowledge(one.story, ANA)
        await one.desk.plan_changed(one.story, PlanState(PlanPhase.EXECUTING, "run-2"))
        await one.desk.plan_changed(one.story, PlanState(PlanPhase.FAILED, "run-2"))
        assert (await one.said())[-1][0] == "failed-again"
        assert (await one.whole()).story.ack is not None


async def test_a_story_that_comes_back_after_its_end_has_nobody(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        await one.opens()
        await one.actions.acknowledge(one.story, ANA)
        await one.fires("payments, oncall", status=AlertStatus.RESOLVED)
        assert not (await one.whole()).story.open
        await one.fires("payments, oncall", started=STARTED + timedelta(hours=2))
        assert (await one.said())[-1][0] == "reopened"
        assert (await one.whole()).story.ack is None


async def test_what_is_over_is_not_taken_and_the_refusal_is_a_sentence_and_a_press(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        await one.opens()
        await one.fires("payments, oncall", status=AlertStatus.RESOLVED)
        before = (await one.whole()).story
        answer = await one.actions.acknowledge(one.story, ANA)
        assert not answer.done
        assert answer.text.startswith("This story is over: fixed at ")
        assert (await one.whole()).story == before
        (press,) = await one.pressed()
        assert (press.by, press.via, press.done, press.text) == ("Ana Costa", "API", False, answer.text)


async def test_a_story_that_nobody_knows_is_said_to_be_none(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        answer = await one.actions.acknowledge("01NOTHING", ANA)
        assert answer == Answer(False, "There is no such story; it may be forgotten by now.")


async def test_only_the_place_where_it_was_acknowledged_takes_it_back(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        await one.opens()
        await one.actions.acknowledge(one.story, ANA)
        await one.actions.let_go(one.story, Actor("Bob", PAGERDUTY))
        assert (await one.whole()).story.ack is not None
        await one.actions.let_go(one.story, Actor("", API))
        assert (await one.whole()).story.ack is None
        assert (await one.said())[-1][1] == "no longer taken by Ana Costa: the acknowledgement through the API ended"


@pytest.mark.parametrize(
    ("who", "may"),
    [
        (Actor("Ana", SLACK, "U1", "ANA@example.com"), True),
        (Actor("Ana", SLACK, "U1", "", frozenset({"S0123ABCDEF"})), True),
        (Actor("Ana", SLACK, "U1", "", frozenset({"on-call"})), True),
        (Actor("Eve", SLACK, "U2", "eve@example.com", frozenset({"S9999999", "everybody"})), False),
        (Actor("Eve", SLACK), False),
    ],
)
async def test_in_slack_only_those_may_press_whom_the_configuration_names(
    tmp_path: Path, who: Actor, may: bool
) -> None:
    async with hands(tmp_path) as one:
        await one.opens()
        answer = await one.actions.acknowledge(one.story, who)
        assert answer.done is may
        assert ((await one.whole()).story.ack is not None) is may
        assert [press.done for press in await one.pressed()] == [may]
        assert may or "actions.allow" in answer.text


async def test_where_nobody_is_named_nobody_in_slack_may_press(tmp_path: Path) -> None:
    async with hands(tmp_path, top="") as one:
        await one.opens()
        assert not (await one.actions.silence(one.story, 1, Actor("Ana", SLACK, "U1", "ana@example.com"))).done
        assert one.alertmanager.silences == []


# --- silencing ---


async def test_a_silence_names_alert_and_plan_so_that_the_next_phase_is_silent_too(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        await one.opens()
        one.alertmanager.held = [{"to": "payments, oncall", **FAILED_LABELS}]
        answer = await one.actions.silence(one.story, 4, ANA)
        assert answer.done, answer
        assert answer.text.startswith("Silenced for 4 h by Ana Costa through the API, until ")
        (made,) = one.alertmanager.silences
        assert made["matchers"] == [
            {"name": "alertname", "value": "MigrationFailed", "isRegex": False, "isEqual": True},
            {"name": "plan", "value": "7c1e0b52", "isRegex": False, "isEqual": True},
        ]
        assert made["createdBy"] == "Ana Costa"
        assert one.story in made["comment"]
        began, ends = datetime.fromisoformat(made["startsAt"]), datetime.fromisoformat(made["endsAt"])
        assert ends - began == timedelta(hours=4)
        (kept,) = await one.desk.rows(schema.silences)
        assert (kept.id, kept.alertmanager, kept.story, kept.until) == (
            "silence-1", "main", one.story, ends.timestamp()
        )  # fmt: skip
        assert (await one.said())[-1][0] == "silenced"


async def test_an_alert_without_a_plan_is_silenced_by_its_own_lasting_labels(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        labels = {"alertname": "MTVPlanFailed", "plan_name": "erp", "namespace": "mig", "phase": "X", "pod": "ctl-1"}
        await one.opens(**labels)
        assert (await one.actions.silence(one.story, 1, ANA)).done
        names = {one["name"]: one["value"] for one in one.alertmanager.silences[0]["matchers"]}
        assert names == {"alertname": "MTVPlanFailed", "plan_name": "erp", "namespace": "mig", "to": "payments, oncall"}


async def test_a_silence_that_would_hit_too_many_others_is_refused(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        labels = {"alertname": "MTVPlanFailed", "namespace": "mig"}
        await one.opens(**labels)
        own = {"to": "payments, oncall", **labels}
        next_phase = {**own, "phase": "other"}
        one.alertmanager.held = [own, next_phase, *({**own, "plan_name": f"other-{n}"} for n in range(3))]
        answer = await one.actions.silence(one.story, 1, ANA)
        assert not answer.done
        assert "would also hit 3 other alerts (at most 2)" in answer.text
        assert one.alertmanager.silences == []
        one.alertmanager.held.pop()
        assert (await one.actions.silence(one.story, 1, ANA)).done


async def test_without_its_alertmanager_nothing_is_silenced_and_the_answer_says_why(tmp_path: Path) -> None:
    async with hands(tmp_path, alertmanager=False) as one:
        await one.opens()
        answer = await one.actions.silence(one.story, 1, ANA)
        assert not answer.done
        assert "alertmanagers:" in answer.text


@pytest.mark.parametrize("behaves", ["error", "html"])
async def test_an_alertmanager_that_does_not_answer_well_silences_nothing(tmp_path: Path, behaves: str) -> None:
    async with hands(tmp_path) as one:
        await one.opens()
        one.alertmanager.behaves = behaves  # type: ignore[assignment]
        answer = await one.actions.silence(one.story, 1, ANA)
        assert answer == Answer(False, "Alertmanager main does not answer, so nothing was silenced; try again.")
        assert await one.desk.rows(schema.silences) == []


async def test_what_could_be_silenced_is_kept_and_the_answer_says_what_could_not_and_the_next_press_can(
    tmp_path: Path,
) -> None:
    async with hands(tmp_path) as one:
        await one.opens()
        await one.fires("payments, oncall", {"alertname": "MTVPlanFailed", **OF_PLAN})
        one.alertmanager.takes = 1
        answer = await one.actions.silence(one.story, 4, ANA)
        assert not answer.done
        assert answer.text.startswith("Silenced in part for 4 h by Ana Costa through the API, until ")
        assert answer.text.endswith(
            ": alertname=MigrationFailed and plan=7c1e0b52; not silenced: alertname=MTVPlanFailed and plan=7c1e0b52."
            " Alertmanager main refuses the silence (HTTP 500: out of order); try again for the rest."
        )
        assert [(kept.id, kept.story) for kept in await one.desk.rows(schema.silences)] == [("silence-1", one.story)]
        (change, said) = (await one.said())[-1]
        assert change == "silenced"
        assert said.endswith("not silenced: alertname=MTVPlanFailed and plan=7c1e0b52")
        one.alertmanager.takes = None
        again = await one.actions.silence(one.story, 4, BOB)
        assert again.done
        assert [made["matchers"][0]["value"] for made in one.alertmanager.silences[-2:]] == [
            "MigrationFailed", "MTVPlanFailed"
        ]  # fmt: skip
        assert (await one.actions.silence(one.story, 4, ANA)).text.startswith("It is silenced until ")


async def test_where_nothing_could_be_silenced_nothing_is_said_to_be(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        await one.opens()
        one.alertmanager.takes = 0
        answer = await one.actions.silence(one.story, 4, ANA)
        assert (answer.done, answer.text) == (
            False,
            "Alertmanager main refuses the silence (HTTP 500: out of order); nothing is known to be silenced.",
        )
        assert await one.desk.rows(schema.silences) == []


async def test_a_silence_of_a_story_that_ended_meanwhile_is_kept_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Alertmanagers.silence

    async def ends_meanwhile(*given: Any, **more: Any) -> str:
        number = await made(*given, **more)
        await one.fires("payments, oncall", status=AlertStatus.RESOLVED)
        return number

    monkeypatch.setattr(Alertmanagers, "silence", ends_meanwhile)
    async with hands(tmp_path) as one:
        await one.opens()
        answer = await one.actions.silence(one.story, 4, ANA)
        assert not answer.done
        assert answer.text.startswith("This story is over: fixed at ")
        assert "Meanwhile its alerts were silenced at main until " in answer.text
        assert [kept.id for kept in await one.desk.rows(schema.silences)] == ["silence-1"]
        assert [(press.done, press.text) for press in await one.pressed()] == [(False, answer.text)]


async def test_only_our_own_alerts_cannot_be_silenced_in_alertmanager(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        await one.fires("payments", OWN, source="mtv-receiver/watch")
        one.story = (await one.desk.stories())[-1].id
        answer = await one.actions.silence(one.story, 1, ANA)
        assert not answer.done
        assert "own alerts" in answer.text
        assert one.alertmanager.silences == []


async def test_a_second_press_makes_no_second_silence_but_a_longer_one_does(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        await one.opens()
        await one.actions.silence(one.story, 4, ANA)
        again = await one.actions.silence(one.story, 4, BOB)
        assert again.done
        assert "by Ana Costa" in again.text
        assert len(one.alertmanager.silences) == 1
        await one.actions.silence(one.story, 24, BOB)
        assert len(one.alertmanager.silences) == 2


@pytest.mark.parametrize("hours", [0, -1, 169, float("nan"), float("inf")])
async def test_a_silence_without_a_sensible_end_is_refused(tmp_path: Path, hours: float) -> None:
    async with hands(tmp_path) as one:
        await one.opens()
        assert not (await one.actions.silence(one.story, hours, ANA)).done
        assert one.alertmanager.silences == []


async def test_people_are_told_once_that_a_silence_ends_soon(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        await one.opens()
        await one.actions.silence(one.story, 1, ANA)
        notes = SilenceNotes(one.desk.store, one.desk.teller, SystemClock(), Metrics([]), on_change=lambda: None)
        await notes.round()
        assert [change for change, _ in await one.said()].count("silenced") == 1  # an hour is left
        now = datetime.now(UTC).timestamp()
        await one.desk.set(schema.silences, {"until": now + 500}, story=one.story)
        await notes.round()
        await notes.round()
        (_, text) = (await one.said())[-1]
        assert [change for change, _ in await one.said()].count("silenced") == 2
        assert text.startswith("the silence by Ana Costa ends in 8 min, at ")
        (*_, last) = (await one.whole()).story.timeline
        assert last.key == "silence-ends-silence-1"


async def test_the_end_of_a_silence_that_a_longer_one_outlasts_is_no_news(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        await one.opens()
        await one.actions.silence(one.story, 1, ANA)
        await one.actions.silence(one.story, 24, ANA)
        now = datetime.now(UTC).timestamp()
        await one.desk.set(schema.silences, {"until": now + 500}, id="silence-1")
        before = await one.said()
        await SilenceNotes(one.desk.store, one.desk.teller, SystemClock(), Metrics([]), on_change=lambda: None).round()
        assert await one.said() == before


async def test_names_of_people_are_one_line_and_of_bounded_length(tmp_path: Path) -> None:
    async with hands(tmp_path) as one:
        await one.opens()
        await one.actions.acknowledge(one.story, Actor("Ana\n\u202e<!channel> " + "x" * 500, API))
        ack = (await one.whole()).story.ack
        assert ack is not None
        assert len(ack.by) <= 80
        assert "\n" not in ack.by
        assert "\u202e" not in ack.by
        assert json.dumps(ack.by)
