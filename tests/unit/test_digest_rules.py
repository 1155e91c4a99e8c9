"""Sums of a storm, and when people should notice."""

from __future__ import annotations

from receiver.digest_rules import (
    MORE_DOWN,
    NOT_RECOGNISED,
    SETTLING_S,
    Member,
    all_clear,
    member_of,
    news,
    sum_up,
    told,
    topic_of,
)
from receiver.model import Cause, Evidence, Identity, Impact, PlanPhase, VMCounts, VMFailure

LATER = SETTLING_S + 1
FULL = Cause("storage-full", "No space is left.", owner="storage", remedy=("Extend it.",))
LOGIN = Cause("vcenter-login", "The login is refused.")


def member(
    number: int, *, failed: int = 1, down: int = 0, cause: Cause | None = None, state: str = "firing", run: str = "r1"
) -> Member:
    """Return a plan of 10 VMs."""
    failures = tuple(
        VMFailure(f"vm-{at}", f"app{at}", "DiskTransfer", power_before="On" if at < down else "Off", power_now="off",
                  target_exists=False)
        for at in range(failed)
    )  # fmt: skip
    evidence = Evidence(
        run="r1",
        phase=PlanPhase.FAILED,
        counts=VMCounts(total=10, failed=failed, succeeded=10 - failed),
        failures=failures,
        impact=Impact.DOWN if down else Impact.NONE,
        cause=cause,
    )
    identity = Identity(f"plan/{number}", "plan", "east", str(number), "mig", f"w-{number}", target_namespace="prod")
    return member_of(f"story-{number}", state, "", "critical", run, identity, evidence)


def test_vms_are_summed_over_the_plans_and_those_down_come_first() -> None:
    digest = sum_up([member(1), member(2, failed=3, down=2), member(3, failed=2, down=1)])
    assert (digest.plans, digest.failed, digest.total, digest.done, digest.down) == (3, 6, 30, 24, 3)
    assert [row.name for row in digest.rows] == ["w-2", "w-3", "w-1"]
    assert digest.places[0].down == 3


def test_causes_are_grouped_with_the_one_that_takes_most_down_first() -> None:
    digest = sum_up([member(1, cause=FULL), member(2, cause=FULL), member(3, cause=LOGIN, down=1), member(4)])
    assert [(one.id, one.plans, one.vms, one.down) for one in digest.causes] == [
        ("vcenter-login", 1, 1, 1),
        ("storage-full", 2, 2, 0),
    ]
    assert digest.unrecognised == 1


def test_what_is_over_is_neither_down_nor_a_cause_any_more() -> None:
    digest = sum_up([member(1, down=1, cause=FULL, state="fixed"), member(2, state="canceled")])
    assert (digest.open, digest.fixed, digest.down, digest.causes, digest.failed) == (0, 1, 0, (), 0)
    assert digest.done == 10 + 9


def test_a_run_that_goes_on_has_not_failed_yet() -> None:
    digest = sum_up([member(1, failed=3, down=2, state="re-running"), member(2, failed=3, run="r2")])
    assert (digest.failed, digest.down, digest.running, digest.rerunning) == (0, 0, 6, 1)


def test_a_story_without_evidence_is_counted_as_not_read() -> None:
    unread = member_of("story-1", "firing", "Node is not ready", "critical", "", None, None)
    digest = sum_up([unread])
    assert (digest.plans, digest.unread, digest.total, digest.unrecognised) == (1, 1, 0, 0)
    assert not digest.rows[0].plan


def test_ten_more_down_are_news_and_nine_are_not() -> None:
    before = sum_up([member(1, failed=5, down=5)])
    nine = sum_up([member(1, failed=5, down=5), member(2, failed=9, down=9)], before=before)
    ten = sum_up([member(1, failed=5, down=5), member(2, failed=10, down=MORE_DOWN)], before=before)
    assert news(nine, LATER) == ""
    assert news(ten, LATER) == "10 more VMs down, 15 in all"
    assert news(told(ten), LATER) == "", "said once"


def test_a_new_cause_is_news_with_its_owner_and_a_known_one_is_not() -> None:
    before = sum_up([member(1, cause=LOGIN)])
    now = sum_up([member(1, cause=LOGIN), member(2, cause=FULL)], before=before)
    assert news(now, LATER) == "new cause: 1 VM: No space is left (owner storage)"
    assert news(now, SETTLING_S - 1) == "", "in the first minute evidence comes in one by one"
    assert news(told(now), LATER) == ""


def test_a_cause_that_went_away_and_comes_back_is_no_news() -> None:
    first = told(sum_up([member(1, cause=FULL)]))
    gone = told(sum_up([member(1)], before=first))
    again = sum_up([member(1, cause=FULL)], before=gone)
    assert news(again, LATER) == ""


def test_the_end_says_how_many_are_fixed_and_how_many_are_not() -> None:
    fixed, canceled = member(1, state="fixed"), member(2, state="canceled")
    assert all_clear(sum_up([fixed])) == "1 of 1 plans fixed"
    assert all_clear(sum_up([fixed, canceled])).startswith("1 of 2 plans fixed, 1 ended otherwise")


def test_a_ticket_without_a_known_cause_has_a_topic_of_its_own() -> None:
    assert topic_of("storage-full") == "storage-full"
    assert topic_of("") == NOT_RECOGNISED


def test_only_the_first_rows_are_kept_and_all_are_counted() -> None:
    digest = sum_up([member(number) for number in range(100)])
    assert len(digest.rows) == 60
    assert digest.plans == 100
