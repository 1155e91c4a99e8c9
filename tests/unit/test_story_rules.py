"""The table of endings, cell by cell, and what stands beside it."""

from __future__ import annotations

from itertools import product

import pytest

from receiver.model import Change, Evidence, Outcome, PlanPhase, PlanState, StoryState, VMCounts
from receiver.story import Judgement, Standing, entry_key, evidence_text, is_worse, judge, primary, severer

FIRING, RERUNNING, RESOLVED = StoryState.FIRING, StoryState.RERUNNING, StoryState.RESOLVED
GONE_NOTE = "alert gone, plan still failed"
Seen = tuple[StoryState, Change | None, Outcome | None, bool]


def standing(
    state: StoryState = FIRING,
    phase: PlanPhase = PlanPhase.NO_PLAN,
    *,
    firing: bool = False,
    run: str = "",
    plan_run: str = "",
    seen_phase: PlanPhase | None = None,
    **more: object,
) -> Standing:
    more = {"seen": seen_phase, **more}
    return Standing(state, firing, PlanState(phase, plan_run), run=run, **more)  # type: ignore[arg-type]


def seen(judgement: Judgement) -> Seen:
    return judgement.state, judgement.change, judgement.close_as, judgement.delayed


def closed(outcome: Outcome, *, delayed: bool) -> Seen:
    return RESOLVED, Change.RESOLVED, outcome, delayed


RERUN: Seen = (RERUNNING, Change.RERUN, None, False)
STILL_RERUNNING: Seen = (RERUNNING, None, None, False)
STILL_FIRING: Seen = (FIRING, None, None, False)
FAILED_AGAIN: Seen = (FIRING, Change.FAILED_AGAIN, None, False)
ALERT_GONE: Seen = (FIRING, Change.ALERT_GONE, None, False)
FIXED = closed(Outcome.FIXED, delayed=False)
CANCELED, DELETED, CLEARED = (
    closed(outcome, delayed=True) for outcome in (Outcome.CANCELED, Outcome.DELETED, Outcome.CLEARED)
)

QUIET = {
    PlanPhase.SUCCEEDED: FIXED,
    PlanPhase.EXECUTING: RERUN,
    PlanPhase.FAILED: ALERT_GONE,
    PlanPhase.CANCELED: CANCELED,
    PlanPhase.GONE: DELETED,
    PlanPhase.READY: CLEARED,
    PlanPhase.UNREADABLE: CLEARED,
    PlanPhase.NO_PLAN: CLEARED,
}
"""No alert fires any more: the Plan decides."""

RERUN_ENDS = {
    PlanPhase.SUCCEEDED: FIXED,
    PlanPhase.EXECUTING: STILL_RERUNNING,
    PlanPhase.FAILED: FAILED_AGAIN,
    PlanPhase.CANCELED: CANCELED,
    PlanPhase.GONE: DELETED,
    PlanPhase.READY: CLEARED,
    PlanPhase.UNREADABLE: STILL_RERUNNING,
}
"""A re-running story follows the Plan, with or without an alert. NO_PLAN is apart: nobody is there to follow."""


@pytest.mark.parametrize(("phase", "expected"), QUIET.items(), ids=str)
def test_when_no_alert_fires_the_plan_decides(phase: PlanPhase, expected: Seen) -> None:
    assert seen(judge(standing(phase=phase))) == expected


@pytest.mark.parametrize("phase", PlanPhase)
def test_every_phase_has_a_cell_in_the_table(phase: PlanPhase) -> None:
    assert phase in QUIET


@pytest.mark.parametrize("phase", PlanPhase)
def test_while_an_alert_fires_no_state_of_the_plan_closes_the_story(phase: PlanPhase) -> None:
    assert seen(judge(standing(phase=phase, firing=True))) == STILL_FIRING


@pytest.mark.parametrize(("phase", "firing"), [*product(RERUN_ENDS, (True, False))], ids=str)
def test_a_rerun_follows_the_plan_with_or_without_an_alert(phase: PlanPhase, firing: bool) -> None:
    assert seen(judge(standing(RERUNNING, phase, firing=firing))) == RERUN_ENDS[phase]


def test_a_rerun_without_a_plan_ends_when_the_alert_is_gone() -> None:
    assert seen(judge(standing(RERUNNING, PlanPhase.NO_PLAN, firing=True))) == STILL_RERUNNING
    assert seen(judge(standing(RERUNNING, PlanPhase.NO_PLAN))) == CLEARED


@pytest.mark.parametrize("phase", [PlanPhase.UNREADABLE, PlanPhase.NO_PLAN])
def test_a_rerun_that_nobody_sees_fails_again_only_with_an_alert_that_just_began(phase: PlanPhase) -> None:
    assert seen(judge(standing(RERUNNING, phase, firing=True, began=True))) == FAILED_AGAIN
    assert seen(judge(standing(RERUNNING, phase, firing=True, began=False))) == STILL_RERUNNING


@pytest.mark.parametrize(
    ("state", "phase", "firing"), [*product((FIRING, RERUNNING), PlanPhase, (True, False))], ids=str
)
def test_a_success_after_the_failure_closes_at_once_whatever_the_plan_looks_like(
    state: StoryState, phase: PlanPhase, firing: bool
) -> None:
    assert seen(judge(standing(state, phase, firing=firing, succeeded=True))) == FIXED


@pytest.mark.parametrize(("phase", "firing", "succeeded"), [*product(PlanPhase, (True, False), (True, False))], ids=str)
def test_a_closed_story_stays_closed(phase: PlanPhase, firing: bool, succeeded: bool) -> None:
    judgement = judge(standing(RESOLVED, phase, firing=firing, succeeded=succeeded))
    assert seen(judgement) == (RESOLVED, None, None, False)


def test_a_new_run_is_seen_even_before_the_old_alert_resolves() -> None:
    executing = standing(phase=PlanPhase.EXECUTING, firing=True, seen=PlanPhase.FAILED)
    assert seen(judge(executing)) == RERUN


@pytest.mark.parametrize("firing", [True, False])
def test_a_run_that_began_and_failed_unseen_is_told(firing: bool) -> None:
    failed = standing(phase=PlanPhase.FAILED, firing=firing, run="first", plan_run="second")
    assert seen(judge(failed)) == FAILED_AGAIN


@pytest.mark.parametrize(("run", "plan_run"), [("", "second"), ("first", ""), ("", ""), ("first", "first")])
def test_a_run_that_is_not_known_to_be_another_one_did_not_fail_again(run: str, plan_run: str) -> None:
    assert seen(judge(standing(phase=PlanPhase.FAILED, run=run, plan_run=plan_run))) == ALERT_GONE
    assert seen(judge(standing(phase=PlanPhase.FAILED, run=run, plan_run=plan_run, firing=True))) == STILL_FIRING


def test_a_rerun_that_turns_out_to_be_the_known_failure_goes_back_unheard() -> None:
    same = standing(RERUNNING, PlanPhase.FAILED, firing=True, run="first", plan_run="first")
    assert seen(judge(same)) == (FIRING, Change.ALERTS, None, False)
    quiet = standing(RERUNNING, PlanPhase.FAILED, run="first", plan_run="first")
    assert seen(judge(quiet)) == ALERT_GONE


def test_an_alert_gone_is_noted_once_and_its_return_takes_the_note_away() -> None:
    first = judge(standing(phase=PlanPhase.FAILED))
    assert (first.change, first.note) == (Change.ALERT_GONE, GONE_NOTE)
    second = judge(standing(phase=PlanPhase.FAILED, note=first.note))
    assert (second.change, second.note) == (None, GONE_NOTE)
    back = judge(standing(phase=PlanPhase.FAILED, firing=True, note=second.note))
    assert (back.change, back.note) == (Change.ALERTS, "")


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (PlanState(PlanPhase.UNREADABLE, why="cluster local does not answer"), "cluster local does not answer"),
        (PlanState(PlanPhase.UNREADABLE), "the plan cannot be read"),
        (PlanState(PlanPhase.NO_PLAN, why="no cluster is configured"), "no cluster is configured"),
        (PlanState(PlanPhase.NO_PLAN), "the alert is gone"),
    ],
)
def test_a_story_that_is_cleared_says_why(plan: PlanState, words: str) -> None:
    judgement = judge(Standing(FIRING, False, plan))
    assert judgement.close_as is Outcome.CLEARED
    assert words in judgement.text


def test_severities_are_compared_by_weight_and_unknown_words_count_as_warning() -> None:
    assert severer("warning", "critical") == "critical"
    assert severer("CRITICAL", "info") == "CRITICAL"
    assert severer("page", "info") == "page"
    assert severer("warning", "page") == "warning", "equal weight: the first stays"
    assert is_worse("critical", "page")
    assert not is_worse("page", "warning")
    assert is_worse("info", "none")


def test_entries_that_can_come_again_have_a_key_each() -> None:
    for change in (Change.RERUN, Change.FAILED_AGAIN):
        assert entry_key(change, 1, 0, 5) != entry_key(change, 2, 0, 5)
    for change in (Change.REOPENED, Change.RESOLVED):
        assert entry_key(change, 0, 1, 5) != entry_key(change, 0, 2, 5)
    assert entry_key(Change.WORSE, 0, 0, 5) != entry_key(Change.WORSE, 0, 0, 6)
    assert entry_key(Change.EVIDENCE, 0, 0, 5) == entry_key(Change.EVIDENCE, 0, 0, 6), "one entry for each run"
    assert entry_key(Change.FIRED, 0, 0, 1) == "fired"
    assert entry_key(Change.RESOLVED, 0, 0, 9) == "resolved"


def test_a_revision_is_named_after_its_loudest_change_and_says_all() -> None:
    changes = [(Change.ALERTS, "more"), (Change.RESOLVED, "over"), (Change.EVIDENCE, "known"), (Change.ALERTS, "more")]
    assert primary(changes) == (Change.RESOLVED, "over; known; more")
    assert primary([]) == (None, "")


@pytest.mark.parametrize("change", Change)
def test_every_change_can_name_a_revision(change: Change) -> None:
    assert primary([(change, "words")]) == (change, "words")


def test_evidence_counts_vms_where_there_are_any() -> None:
    assert evidence_text(Evidence(counts=VMCounts(total=3, failed=1))) == "evidence: 1 of 3 VMs failed"
    assert evidence_text(Evidence()) == "evidence"


@pytest.mark.parametrize(
    ("now", "wanted"),
    [
        # Nothing has failed, and the plan goes on: that is no re-run, and nobody waits for its end.
        (standing(phase=PlanPhase.EXECUTING, seen_phase=PlanPhase.EXECUTING, waited=True), CLEARED),
        (standing(phase=PlanPhase.READY, waited=True), CLEARED),
        (standing(phase=PlanPhase.EXECUTING, waited=True, firing=True), STILL_FIRING),
        (standing(phase=PlanPhase.SUCCEEDED, waited=True), FIXED),
        (standing(phase=PlanPhase.FAILED, waited=True, firing=True), STILL_FIRING),
        # It had failed meanwhile: what runs now is a re-run.
        (standing(phase=PlanPhase.EXECUTING, seen_phase=PlanPhase.FAILED, waited=True), RERUN),
        # A re-run that stands still is worse, and still a re-run; its end is no failure either.
        (
            standing(RERUNNING, PlanPhase.EXECUTING, firing=True, stands_still=True),
            (RERUNNING, Change.WORSE, None, False),
        ),
        (standing(RERUNNING, PlanPhase.EXECUTING), STILL_RERUNNING),
    ],
)
def test_a_plan_that_did_not_go_on_has_not_failed(now: Standing, wanted: Seen) -> None:
    assert seen(judge(now)) == wanted
