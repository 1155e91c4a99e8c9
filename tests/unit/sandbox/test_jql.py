from __future__ import annotations

import pytest

from receiver.sandbox import jql

NOW_S = 1_000_000.0
ROW: jql.Row = {
    "project": ("MIG",),
    "labels": ("mtvr-1", "wave-17"),
    "status": ("Done",),
    "statuscategory": ("done",),
    "resolution": ("Done",),
    "resolutiondate": (NOW_S - 3 * 86_400,),
    "summary": ("pay-w17-03: 3 of 20 VMs failed",),
}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ('project = MIG AND labels = "mtvr-1"', True),
        ("project = mig and labels = 'mtvr-1' order by created DESC", True),
        ('project="MIG" and labels="mtvr-2"', False),
        ("labels in (mtvr-9, wave-17)", True),
        ("labels not in (mtvr-1)", False),
        ("statusCategory != Done", False),
        ("resolution is EMPTY", False),
        ("resolution is not EMPTY", True),
        ("resolution = Unresolved", False),
        ("NOT (status = Done)", False),
        ('labels="mtvr-1" and (resolutiondate is EMPTY OR resolutiondate >= -7d)', True),
        ('labels="mtvr-1" and (resolutiondate is EMPTY OR resolutiondate >= -60m)', False),
        ('summary ~ "pay-w17-03"', True),
        ("project = NO OR labels = wave-17 AND status = Done", True),
    ],
)
def test_a_query_finds_what_jira_would_find(query: str, found: bool) -> None:
    assert jql.parse(query, NOW_S).test(ROW) is found


@pytest.mark.parametrize(
    "query",
    [
        "project MIG",
        "project =",
        "project = A B",
        "nosuchfield = 1",
        "(project = A",
        "created >= tomorrow",
        "labels > 1",
    ],
)
def test_a_query_that_jira_cannot_read_is_an_error(query: str) -> None:
    with pytest.raises(jql.JqlError):
        jql.parse(query, NOW_S)


def test_an_empty_query_is_unbounded() -> None:
    assert jql.parse("ORDER BY created", NOW_S).bounded is False
