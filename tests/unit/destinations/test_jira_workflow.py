"""Which transition closes or reopens a ticket."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.destinations.jira_workflow import choose, resolution_fields
from receiver.model import Outcome


def to(name: str, category: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "name": name, "to": {"statusCategory": {"key": category}}, **more}


@pytest.mark.parametrize(
    ("offered", "name", "closes", "chosen"),
    [
        ([to("Start", "indeterminate"), to("Fertig", "done")], "", True, "Fertig"),
        ([to("Won't do", "done"), to("Done", "done")], "", True, "Done"),
        ([to("Won't do", "done"), to("Done", "done")], "won't do", True, "Won't do"),
        ([to("Done", "done")], "Close it", True, None),
        ([to("Start", "indeterminate")], "", True, None),
        ([to("Archive", "done"), to("Review", "indeterminate"), to("Wieder auf", "new")], "", False, "Wieder auf"),
        ([to("Review", "indeterminate")], "", False, "Review"),
        ([to("Archive", "done")], "", False, None),
        ([], "", True, None),
    ],
)
def test_a_transition_is_chosen_by_its_name_else_by_where_it_leads(
    offered: list[dict[str, Any]], name: str, closes: bool, chosen: str | None
) -> None:
    found = choose(offered, name, closes=closes)
    assert (found["name"] if found else None) == chosen


def screen(*names: str, required: bool = False) -> dict[str, Any]:
    values = [{"name": name} for name in names]
    return to("Done", "done", fields={"resolution": {"required": required, "allowedValues": values}})


@pytest.mark.parametrize(
    ("transition", "outcome", "resolution"),
    [
        (to("Done", "done"), Outcome.FIXED, None),
        (screen("Won't Fix", "Fixed", "Done"), Outcome.FIXED, "Fixed"),
        (screen("Won't Fix", "Fixed", "Done"), Outcome.CANCELED, "Done"),
        (screen("Won't Fix", "Fixed"), Outcome.CANCELED, None),
        (screen("Erledigt", required=True), Outcome.FIXED, "Erledigt"),
        (screen("Erledigt"), Outcome.FIXED, None),
    ],
)
def test_only_what_was_fixed_is_called_fixed(
    transition: dict[str, Any], outcome: Outcome, resolution: str | None
) -> None:
    expected = {"resolution": {"name": resolution}} if resolution else {}
    assert resolution_fields(transition, outcome) == expected
