from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from receiver.routing.intervals import (
    IntervalError,
    Span,
    TimeInterval,
    TimeRange,
    next_allowed,
    parse_time_interval,
)
from tests.servers import need

if TYPE_CHECKING:
    from pathlib import Path


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _contains(spec: dict[str, Any], text: str) -> bool:
    return parse_time_interval(spec).contains(_at(text))


# --- meaning (2026-11-21 is a Saturday) -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "moment", "expected"),
    [
        ({}, "2026-11-21T12:00", True),
        # The start is inside, the end outside, and 24:00 is the end of the day.
        ({"times": [{"start_time": "09:00", "end_time": "17:00"}]}, "2026-11-21T08:59:59", False),
        ({"times": [{"start_time": "09:00", "end_time": "17:00"}]}, "2026-11-21T09:00", True),
        ({"times": [{"start_time": "09:00", "end_time": "17:00"}]}, "2026-11-21T16:59:59", True),
        ({"times": [{"start_time": "09:00", "end_time": "17:00"}]}, "2026-11-21T17:00", False),
        ({"times": [{"start_time": "22:00", "end_time": "24:00"}]}, "2026-11-21T23:59:59", True),
        ({"times": [{"start_time": "22:00", "end_time": "24:00"}]}, "2026-11-22T00:00", False),
        # Weekdays.
        ({"weekdays": ["monday:friday"]}, "2026-11-20T12:00", True),
        ({"weekdays": ["monday:friday"]}, "2026-11-21T12:00", False),
        ({"weekdays": ["monday:friday", "Saturday"]}, "2026-11-21T12:00", True),
        ({"weekdays": ["sunday:monday"]}, "2026-11-22T12:00", True),
        ({"weekdays": ["sunday:monday"]}, "2026-11-23T12:00", True),
        ({"weekdays": ["sunday:monday"]}, "2026-11-24T12:00", False),
        # Days of the month, from the end too, kept inside the month.
        ({"days_of_month": [21]}, "2026-11-21T12:00", True),
        ({"days_of_month": ["1:5"]}, "2026-11-05T12:00", True),
        ({"days_of_month": ["1:5"]}, "2026-11-06T12:00", False),
        ({"days_of_month": ["-3:-1"]}, "2026-02-26T12:00", True),
        ({"days_of_month": ["-3:-1"]}, "2026-02-25T12:00", False),
        ({"days_of_month": ["-3:-1"]}, "2028-02-29T12:00", True),
        ({"days_of_month": ["-1"]}, "2026-03-31T12:00", True),  # the month in which clocks change in many zones
        ({"days_of_month": ["15:-1"]}, "2026-02-28T12:00", True),
        ({"days_of_month": ["25:31"]}, "2026-02-28T12:00", True),
        ({"days_of_month": ["31"]}, "2026-11-30T12:00", False),
        ({"days_of_month": ["-31"]}, "2026-02-01T12:00", False),
        ({"days_of_month": ["-31:-28"]}, "2026-02-01T12:00", True),
        # Months and years.
        ({"months": ["november"]}, "2026-11-21T12:00", True),
        ({"months": [11]}, "2026-11-21T12:00", True),
        ({"months": ["March:may", "9:10"]}, "2026-11-21T12:00", False),
        ({"months": ["October:12"]}, "2026-11-21T12:00", True),
        ({"years": [2026]}, "2026-11-21T12:00", True),
        ({"years": ["2020:2025", "2027"]}, "2026-11-21T12:00", False),
        # All fields must hold, any element is enough.
        ({"weekdays": ["saturday"], "months": ["may"]}, "2026-11-21T12:00", False),
        ({"weekdays": ["saturday"], "months": ["may", "november"], "years": None}, "2026-11-21T12:00", True),
    ],
)
def test_a_moment_is_inside_as_in_alertmanager(spec: dict[str, Any], moment: str, expected: bool) -> None:
    assert _contains(spec, moment) is expected


def test_all_fields_are_read_in_the_location() -> None:
    berlin = parse_time_interval(
        {
            "location": "Europe/Berlin",
            "times": [{"start_time": "00:00", "end_time": "01:00"}],
            "weekdays": ["friday"],
            "days_of_month": [1],
            "months": ["january"],
            "years": [2027],
        }
    )

    assert berlin.contains(_at("2026-12-31T23:30"))
    assert not berlin.contains(_at("2027-01-01T00:30"))


def test_a_location_follows_its_summer_time() -> None:
    nine_to_ten = [{"start_time": "09:00", "end_time": "10:00"}]
    berlin = parse_time_interval({"location": "Europe/Berlin", "times": nine_to_ten})

    assert berlin.contains(_at("2026-01-15T08:30"))
    assert berlin.contains(_at("2026-07-15T07:30"))
    assert not berlin.contains(_at("2026-07-15T08:30"))


@pytest.mark.parametrize("location", [None, "", "UTC"])
def test_the_zone_is_utc_unless_another_is_named(location: str | None) -> None:
    interval = parse_time_interval({"location": location, "times": [{"start_time": "12:00", "end_time": "13:00"}]})

    assert interval.contains(datetime(2026, 11, 21, 14, 30, tzinfo=timezone(timedelta(hours=2))))


def test_local_is_the_zone_of_the_machine() -> None:
    moment = _at("2026-11-21T12:30")
    here = moment.astimezone()
    hour = TimeRange(here.hour * 60, here.hour * 60 + 60)

    local = parse_time_interval(
        {"location": "Local", "times": [{"start_time": f"{here.hour:02}:00", "end_time": f"{here.hour + 1:02}:00"}]}
    )

    assert local == TimeInterval(times=(hour,), location=None)
    assert local.contains(moment)


def test_an_interval_can_be_made_without_a_parser() -> None:
    spec = {"times": [{"start_time": "09:00", "end_time": "24:00"}], "weekdays": ["monday:friday"], "years": [2026]}

    made = TimeInterval(times=(TimeRange(540, 1440),), weekdays=(Span(1, 5),), years=(Span(2026, 2026),))

    assert parse_time_interval(spec) == made


def test_a_moment_without_zone_is_refused() -> None:
    naive = datetime(2026, 11, 21)  # noqa: DTZ001 - the mistake under test

    with pytest.raises(ValueError, match="aware"):
        TimeInterval().contains(naive)
    with pytest.raises(ValueError, match="aware"):
        next_allowed(naive, lambda _: True)


# --- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "path", "words"),
    [
        ({"weekday": ["monday"]}, ("weekday",), "did you mean weekdays?"),
        ({"colour": 1}, ("colour",), "known are times"),
        ({"weekdays": "monday:friday"}, ("weekdays",), "must be a list: write [monday:friday]"),
        ({"months": []}, ("months",), "leave the key out"),
        ({"weekdays": ["monday", "caturday"]}, ("weekdays", 1), "such as saturday"),
        ({"weekdays": [1]}, ("weekdays", 0), "such as saturday"),
        ({"weekdays": ["saturday:sunday"]}, ("weekdays", 0), "write two elements"),
        ({"weekdays": ["monday:tuesday:friday"]}, ("weekdays", 0), "range of days"),
        ({"times": [{"start_time": "09:00"}]}, ("times", 0), "both and nothing else"),
        ({"times": ["09:00-17:00"]}, ("times", 0), "both and nothing else"),
        ({"times": [{"start_time": "9:00", "end_time": "17:00"}]}, ("times", 0, "start_time"), "two digits each"),
        ({"times": [{"start_time": "09:00", "end_time": "24:01"}]}, ("times", 0, "end_time"), '"00:00" to "24:00"'),
        ({"times": [{"start_time": "09:00", "end_time": 1020}]}, ("times", 0, "end_time"), "write it in quotes"),
        ({"times": [{"start_time": "22:00", "end_time": "06:00"}]}, ("times", 0), "for a night write two"),
        ({"times": [{"start_time": "09:00", "end_time": "09:00"}]}, ("times", 0), "is not before"),
        ({"days_of_month": [0]}, ("days_of_month", 0), "outside a month"),
        ({"days_of_month": [65]}, ("days_of_month", 0), "in quotes"),
        ({"days_of_month": ["-32"]}, ("days_of_month", 0), "outside a month"),
        ({"days_of_month": ["-3:2"]}, ("days_of_month", 0), "count its end from there"),
        ({"days_of_month": ["5:1"]}, ("days_of_month", 0), "ends before it starts"),
        ({"days_of_month": ["-1:-3"]}, ("days_of_month", 0), "ends before it starts"),
        ({"days_of_month": [True]}, ("days_of_month", 0), "cannot be read"),
        ({"months": [13]}, ("months", 0), "is no month"),
        ({"months": ["movember"]}, ("months", 0), "such as march"),
        ({"months": ["december:january"]}, ("months", 0), "write two elements"),
        ({"years": ["2027:2026"]}, ("years", 0), "swap the two"),
        ({"years": ["soon"]}, ("years", 0), "such as 2026"),
        ({"location": "europe/berlin"}, ("location",), "did you mean Europe/Berlin?"),
        ({"location": "Europe"}, ("location",), "unknown time zone"),
        ({"location": "../etc/passwd"}, ("location",), "unknown time zone"),
        ({"location": "Nowhere/At/All"}, ("location",), "IANA name"),
    ],
)
def test_a_mistake_names_its_field_and_the_cure_in_one_line(
    spec: dict[str, Any], path: tuple[str | int, ...], words: str
) -> None:
    with pytest.raises(IntervalError) as caught:
        parse_time_interval(spec)

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.path == path
    assert caught.value.key == path[0]


_ELEMENTS = [
    *({"weekdays": [text]} for text in ("monday", "Sunday:SATURDAY", "friday:monday", "mon", "monday:", "1")),
    *({"months": [text]} for text in ("1", "january:march", "March", "5:may", "december:january", "jan", "")),
    *({"years": [text]} for text in ("2026", "2026:2028", "2028:2026", "x", "2026:2027:2028")),
    *(
        {"days_of_month": [text]}
        for text in (
            "1",
            "31",
            "32",
            "0",
            "-1",
            "-31",
            "-32",
            "1:31",
            "31:1",
            "1:-1",
            "27:-1",
            "28:-1",
            "-5:5",
            "-1:-5",
        )
    ),
    *(
        {"times": [{"start_time": start, "end_time": end}]}
        for start, end in (("00:00", "24:00"), ("9:00", "10:00"), ("10:00", "10:00"), ("23:00", "24:30"), ("", "10:00"))
    ),
    *({"location": text} for text in ("Europe/Berlin", "UTC", "Local", "Mars/Phobos", "europe/berlin")),
]


@pytest.mark.parametrize("spec", _ELEMENTS, ids=str)
def test_amtool_accepts_and_refuses_the_same_elements(spec: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "alertmanager.yml"
    intervals = [{"name": "office", "time_intervals": [spec]}]
    file.write_text(
        yaml.safe_dump({"route": {"receiver": "x"}, "receivers": [{"name": "x"}], "time_intervals": intervals}),
        encoding="utf-8",
    )
    amtool = subprocess.run(
        [need("amtool", "prometheus-alertmanager"), "check-config", str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    try:
        parse_time_interval(spec)
        accepted = True
    except IntervalError:
        accepted = False

    assert accepted is (amtool.returncode == 0), amtool.stdout


# --- when it is allowed next ----------------------------------------------------------------------------------------


def test_the_next_allowed_minute_is_now_if_now_is_a_whole_allowed_minute() -> None:
    assert next_allowed(_at("2026-11-21T12:00"), lambda _: True) == _at("2026-11-21T12:00")


def test_the_next_allowed_minute_is_never_before_now() -> None:
    assert next_allowed(_at("2026-11-21T12:00:00.000001"), lambda _: True) == _at("2026-11-21T12:01")


def test_the_weekend_ends_on_monday_morning_local_time() -> None:
    office = parse_time_interval(
        {
            "location": "America/New_York",
            "weekdays": ["monday:friday"],
            "times": [{"start_time": "09:00", "end_time": "17:00"}],
        }
    )

    # 2026-03-08 is the Sunday on which New York puts its clocks forward.
    assert next_allowed(_at("2026-03-06T22:00:01"), office.contains) == _at("2026-03-09T13:00")


def test_the_horizon_is_the_last_moment_asked() -> None:
    now = _at("2026-11-21T12:00:30")
    target = _at("2026-11-21T13:00")

    assert next_allowed(now, lambda moment: moment >= target, timedelta(minutes=59, seconds=30)) == target
    assert next_allowed(now, lambda moment: moment >= target, timedelta(minutes=59)) is None
    assert next_allowed(now, lambda _: False) is None


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)), st.integers(0, 23), st.integers(1, 1440))  # noqa: DTZ001
def test_the_answer_is_the_first_allowed_whole_minute(naive: datetime, hour: int, length: int) -> None:
    interval = TimeInterval(times=(TimeRange(hour * 60, min(1440, hour * 60 + length)),))
    now = naive.replace(tzinfo=UTC)

    found = next_allowed(now, interval.contains)

    assert found is not None
    assert found >= now
    assert (found.second, found.microsecond) == (0, 0)
    assert interval.contains(found)
    before = found - timedelta(minutes=1)
    assert before < now or not interval.contains(before)
