"""What keeps a Plan from being Ready."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.stuck import NotReady, not_ready
from tests.unit.stuck.build import at, condition, plan


def blocker(kind: str = "SourceProviderNotReady", category: str = "Critical", status: str = "True", **more: Any) -> Any:
    message = "The source provider does not have the Ready condition."
    return condition(kind, status, "NotReady", message, more.pop("since", 0)) | {"category": category} | more


def test_a_critical_condition_that_stands_for_five_minutes_is_told() -> None:
    one = plan(conditions=(blocker(),))
    assert not_ready(one, at(299)) == ()
    (found,) = not_ready(one, at(300))
    message = "The source provider does not have the Ready condition."
    assert found == NotReady("SourceProviderNotReady", message, at(0), "NotReady")
    assert found.line == f"SourceProviderNotReady: {message}"
    assert len(not_ready(one, at(30), older_than_s=10)) == 1


@pytest.mark.parametrize(
    "calm",
    [
        blocker(category="Warn"), blocker(category="Advisory"), blocker(category="Required"), blocker(status="False"),
        blocker(status="Unknown"), blocker(type=""),
    ],
)  # fmt: skip
def test_what_blocks_nothing_is_not_told(calm: dict[str, Any]) -> None:
    assert not_ready(plan(conditions=(calm,)), at(10_000)) == ()


def test_an_error_blocks_as_a_critical_one_does() -> None:
    assert len(not_ready(plan(conditions=(blocker(category="Error"),)), at(10_000))) == 1


@pytest.mark.parametrize("end", ["Archived", "Succeeded"])
def test_a_plan_that_is_over_needs_nothing(end: str) -> None:
    assert not_ready(plan(conditions=(blocker(), condition(end, "True"))), at(10_000)) == ()
    assert len(not_ready(plan(conditions=(blocker(), condition(end, "False"))), at(10_000))) == 1


def test_the_oldest_comes_first_and_each_names_what_it_is_about() -> None:
    vms = [f"web-{number}" for number in range(7)]
    found = not_ready(
        plan(
            conditions=(
                blocker("B", since=50),
                blocker("A", since=60, items=vms),
                blocker("C", lastTransitionTime=None),
            )
        ),
        at(10_000),
    )
    assert [one.type for one in found] == ["C", "B", "A"]
    assert found[2].line.endswith("(web-0, web-1, web-2, web-3, web-4 and 2 more)")
