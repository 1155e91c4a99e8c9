"""Durations, times, names, and tables as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from receiver.rendering import Table, words
from receiver.rendering.text import table_lines

AT = datetime(2026, 11, 21, 22, 19, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (43 * 60 + 5, "43 min"),
        (3_600, "1 h"),
        (26_520, "7 h 22 min"),
        (86_400, "1 d"),
        (3 * 86_400 + 4 * 3_600 + 59, "3 d 4 h"),
    ],
)
def test_durations_are_human(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


def test_a_time_has_its_zone_and_a_date_only_on_another_day() -> None:
    assert words.when(AT, AT.date()) == "22:19 UTC"
    assert words.when(AT + timedelta(days=1), AT.date()) == "22 Nov 22:19 UTC"
    assert words.when(AT) == "21 Nov 2026 22:19 UTC"
    assert words.when(AT.astimezone(timezone(timedelta(hours=5))), AT.date()) == "22:19 UTC"
    assert words.when(None) == ""


def test_a_span_repeats_the_date_only_where_it_ends_on_another_day() -> None:
    assert words.span(AT, AT + timedelta(minutes=12), AT.date()) == "22:19–22:31 UTC"
    assert words.span(AT, AT + timedelta(seconds=30), AT.date()) == "22:19 UTC"
    assert words.span(AT, AT + timedelta(hours=3)) == "21 Nov 2026 22:19–22 Nov 01:19 UTC"


def test_many_names_end_in_a_count() -> None:
    assert [words.names(list(some)) for some in ("", "a", "ab", "abc", "abcde")] == [
        "",
        "a",
        "a and b",
        "a, b and c",
        "a, b and 3 more",
    ]


def test_a_number_has_its_of() -> None:
    assert words.of(3, 20) == "3 of 20 VMs"
    assert words.of(1, 1) == "1 of 1 VM"


def test_a_sentence_gets_one_full_stop_and_keeps_names_as_they_are() -> None:
    assert words.sentence("the plan failed again") == "The plan failed again."
    assert words.sentence("pay-win-app04 failed…") == "pay-win-app04 failed…"
    assert words.sentence("a-node is away") == "a-node is away."
    assert words.sentence("") == ""


@pytest.mark.parametrize(
    "text",
    [
        "10.1.2.3",
        "10.1.2.3:6443",
        "10.0.0.0/8",
        "https://x.example.com/a?b=c",
        "vc01.dc.example.com",
        "fd00:1::5",
        "::1",
    ],
)
def test_addresses_are_hidden(text: str) -> None:
    assert words.hide_addresses(f"at {text} now") == "at [address] now"


@pytest.mark.parametrize(
    "text", ["08:03:21", "08:03", "plans.forklift.konveyor.io", "v2.12", "1.5", "erp-prod", "a: b"]
)
def test_what_is_no_address_stays(text: str) -> None:
    assert words.hide_addresses(f"at {text} now") == f"at {text} now"


def test_a_table_is_aligned_and_wraps_its_widest_column() -> None:
    table = Table(("VM", "what"), (("a", "one two three four five six"), ("bbbb", "x")))

    assert table_lines(table) == ["VM    what", "a     one two three four five six", "bbbb  x"]
    assert table_lines(table, 20) == ["VM    what", "a     one two three", "      four five six", "bbbb  x"]
    assert max(map(len, table_lines(Table(("a",), (("x" * 500,),)), 30))) == 30
