"""What the page of a storm says at a glance: the sums of its stories, and what is sensible to do."""

from __future__ import annotations

from receiver.digest_rules import sum_up
from receiver.model import Impact
from receiver.web.pages.storm_parts import storm_of
from tests.unit.test_digest_rules import FULL, LOGIN, member


def test_vms_that_are_down_come_first_then_cures_then_what_nobody_knows() -> None:
    found = storm_of(sum_up([member(1, cause=FULL), member(2, failed=2, down=2, cause=LOGIN), member(3)]))
    assert found.impact is Impact.DOWN
    assert found.text == "2 VMs are down, in 1 of 3 plans."
    assert [[row.name for row in step.rows] for step in found.steps if step.rows] == [["w-2"], ["w-3"]]
    assert found.steps[0].text.startswith("Begin with what is down")
    assert [one.id for one in found.causes] == ["vcenter-login", "storage-full"]
    assert (found.unrecognised, found.counts.total, found.counts.failed) == (1, 30, 4)


def test_plans_are_called_by_their_own_namespace_and_places_are_where_vms_go() -> None:
    found = sum_up([member(1, down=1)])
    assert (found.rows[0].namespace, found.places[0].name) == ("mig", "prod")


def test_what_is_not_down_not_read_or_over_is_not_called_down() -> None:
    nothing = storm_of(sum_up([member(1), member(2)]))
    assert (nothing.impact, nothing.text) == (Impact.NONE, "Nothing is down.")
    unread = storm_of(sum_up([member(1), member(2, run="r2")]))
    assert unread.impact is Impact.UNKNOWN
    assert unread.text == "Not known yet: 1 of 2 plans is still being read."
    over = storm_of(sum_up([member(1, state="fixed"), member(2, state="deleted")]))
    assert over.text.startswith("1 of 2 plans fixed")
    assert over.steps == ()


def test_only_the_first_of_many_are_named() -> None:
    (step,) = storm_of(sum_up([member(number, down=1) for number in range(9)])).steps[:1]
    assert (len(step.rows), step.more) == (3, 6)
