"""Time intervals with Alertmanager's notation and meaning."""

from __future__ import annotations

import calendar
import difflib
import re
import zoneinfo
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_T = TypeVar("_T")

_WEEKDAYS: Final = {
    name: number
    for number, name in enumerate(("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"))
}
_MONTHS: Final = {name.lower(): number for number, name in enumerate(calendar.month_name) if name}
_TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00")
_NUMBER = re.compile(r"[+-]?[0-9]{1,9}")
_SHORTEST_MONTH_DAYS: Final = 28
_MINUTE: Final = timedelta(minutes=1)


class IntervalError(ValueError):
    """A time interval that cannot be read; the message is one line: what is wrong, and the cure.

    `key` is the field; `path` leads to the element from there, such as ``("times", 0, "end_time")``.
    """

    def __init__(self, message: str, *path: str | int) -> None:
        super().__init__(message)
        self.path = path
        self.key = str(path[0]) if path else ""


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Minutes since local midnight, 0 to 1440: `start` inside, `end` outside. It ends at midnight at the latest."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Span:
    """Whole numbers from `first` to `last`, both inside."""

    first: int
    last: int

    def __contains__(self, number: int) -> bool:
        return self.first <= number <= self.last


@dataclass(frozen=True, slots=True)
class TimeInterval:
    """Moments for which every field holds; a field holds if any of its elements does, or if it has none.

    `weekdays` count from Sunday 0 to Saturday 6, `months` from 1, `days_of_month` from 1, or from -1, the last day,
    backwards. `location` is the zone in which all of them are read; None is this machine's own.
    """

    times: tuple[TimeRange, ...] = ()
    weekdays: tuple[Span, ...] = ()
    days_of_month: tuple[Span, ...] = ()
    months: tuple[Span, ...] = ()
    years: tuple[Span, ...] = ()
    location: tzinfo | None = UTC

    def contains(self, moment: datetime) -> bool:
        """Judge a moment, which must know its zone (ValueError otherwise)."""
        if moment.tzinfo is None:
            raise ValueError("a moment without time zone is in no interval: use an aware datetime")
        local = moment.astimezone(self.location)
        minute = local.hour * 60 + local.minute
        days = calendar.monthrange(local.year, local.month)[1]
        return (
            _any(self.times, lambda span: span.start <= minute < span.end)
            and _any(self.weekdays, lambda span: local.isoweekday() % 7 in span)
            and _any(self.days_of_month, lambda span: local.day in _within_month(span, days))
            and _any(self.months, lambda span: local.month in span)
            and _any(self.years, lambda span: local.year in span)
        )


def next_allowed(
    now: datetime, allowed: Callable[[datetime], bool], horizon: timedelta = timedelta(days=14)
) -> datetime | None:
    """Return the first whole minute, not before `now`, for which `allowed` says yes; None if none within `horizon`.

    The answer is in UTC. Interval borders are whole minutes, so no shorter one is missed; a full search of 14 days
    asks 20,160 times. `now` must know its zone (ValueError otherwise).
    """
    if now.tzinfo is None:
        raise ValueError("a moment without time zone: use an aware datetime")
    now = now.astimezone(UTC)
    moment = now.replace(second=0, microsecond=0)
    if moment < now:
        moment += _MINUTE
    while moment <= now + horizon:
        if allowed(moment):
            return moment
        moment += _MINUTE
    return None


def parse_time_interval(spec: Mapping[str, object]) -> TimeInterval:
    """Read one element of `time_intervals:`, as YAML gives it. A key with null counts as absent.

    Raises IntervalError for the first problem. Where Alertmanager would accept what can never match (an empty list,
    month 13), this refuses.
    """
    known = [item.name for item in fields(TimeInterval)]
    for key in spec:
        if key not in known:
            guess = difflib.get_close_matches(str(key), known, n=1)
            cure = f"did you mean {guess[0]}?" if guess else f"known are {', '.join(known)}"
            raise IntervalError(f"unknown key {key}: {cure}", str(key))
    return TimeInterval(
        times=_elements(spec, "times", _time_range),
        weekdays=_elements(spec, "weekdays", _weekdays),
        days_of_month=_elements(spec, "days_of_month", _days_of_month),
        months=_elements(spec, "months", _months),
        years=_elements(spec, "years", _years),
        location=location_of(spec.get("location")),
    )


def _any(elements: Sequence[_T], holds: Callable[[_T], bool]) -> bool:
    return not elements or any(map(holds, elements))


def _within_month(span: Span, days: int) -> Span:
    """Resolve negative days in a month of so many days. What begins behind the month's end stays empty."""
    first = span.first if span.first > 0 else days + span.first + 1
    last = span.last if span.last > 0 else days + span.last + 1
    return Span(first, last)


def _elements(spec: Mapping[str, object], key: str, parse: Callable[[object, str, int], _T]) -> tuple[_T, ...]:
    raw = spec.get(key)
    if raw is None:
        return ()
    if not isinstance(raw, list | tuple):
        raise IntervalError(f"{key} must be a list: write [{raw}]", key)
    if not raw:
        raise IntervalError(f"{key} is an empty list, which no moment fits: name an element, or leave the key out", key)
    return tuple(parse(element, key, index) for index, element in enumerate(raw))


def _time_range(raw: object, key: str, index: int) -> TimeRange:
    if not isinstance(raw, dict) or set(raw) != {"start_time", "end_time"}:
        raise IntervalError('a time is {start_time: "HH:MM", end_time: "HH:MM"}, both and nothing else', key, index)
    start = _minute_of_day(raw["start_time"], key, index, "start_time")
    end = _minute_of_day(raw["end_time"], key, index, "end_time")
    if start >= end:
        raise IntervalError(
            f"{raw['start_time']} is not before {raw['end_time']}: for a night write two times, one to 24:00 and "
            "one from 00:00",
            key,
            index,
        )
    return TimeRange(start, end)


def _minute_of_day(raw: object, *path: str | int) -> int:
    if isinstance(raw, int):
        raise IntervalError(f'{raw} is a number (YAML may read 17:00 as one): write it in quotes, "17:00"', *path)
    if not isinstance(raw, str) or not _TIME_OF_DAY.fullmatch(raw):
        raise IntervalError(f'{raw} is no time of day: write two digits each, "00:00" to "24:00"', *path)
    hours, minutes = raw.split(":")
    return int(hours) * 60 + int(minutes)


def _span(raw: object, number: Callable[[str], int | None], form: str, *path: str | int) -> Span:
    """Read ``element`` or ``first:last``; `form` tells the admin what an element looks like."""
    text = str(raw).lower()
    numbers = [number(part) for part in text.split(":")]
    first, last = numbers[0], numbers[-1]
    if isinstance(raw, bool) or len(numbers) > 2 or first is None or last is None:
        raise IntervalError(f"{raw} cannot be read: write {form}", *path)
    return Span(first, last)


def _number(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None


def _weekdays(raw: object, *path: str | int) -> Span:
    span = _span(raw, _WEEKDAYS.get, "a day or a range of days, such as saturday or 'monday:friday'", *path)
    if span.first > span.last:
        raise IntervalError(f"{raw} runs over the end of the week (sunday is its first day): write two elements", *path)
    return span


def _days_of_month(raw: object, *path: str | int) -> Span:
    form = "a day or a range in quotes, such as 1, '1:5' or '-3:-1', from 1 to 31 or from -31 to -1"
    span = _span(raw, _number, form, *path)
    if any(day == 0 or abs(day) > 31 for day in (span.first, span.last)):
        raise IntervalError(f"{raw} is outside a month: write {form}", *path)
    if span.first < 0 < span.last:
        raise IntervalError(f"{raw} starts from the end of the month: then count its end from there too", *path)
    # Alertmanager's rule: a range must make sense in the shortest month.
    first, last = (day if day > 0 else _SHORTEST_MONTH_DAYS + day for day in (span.first, span.last))
    if first > last:
        raise IntervalError(f"{raw} ends before it starts: swap the two, or write two elements", *path)
    return span


def _months(raw: object, *path: str | int) -> Span:
    form = "a month or a range, such as march, 3 or 'march:may', from 1 to 12"
    span = _span(raw, lambda text: _MONTHS.get(text, _number(text)), form, *path)
    if not (1 <= span.first <= 12 and 1 <= span.last <= 12):
        raise IntervalError(f"{raw} is no month: write {form}", *path)
    if span.first > span.last:
        raise IntervalError(f"{raw} runs over the end of the year: write two elements", *path)
    return span


def _years(raw: object, *path: str | int) -> Span:
    span = _span(raw, _number, "a year or a range, such as 2026 or '2026:2028'", *path)
    if span.first > span.last:
        raise IntervalError(f"{raw} ends before it starts: swap the two", *path)
    return span


def location_of(raw: object) -> tzinfo | None:
    """Return a time zone by its name; None for this machine's own. Raises IntervalError."""
    if raw in (None, "", "UTC"):
        return UTC  # without looking it up: slim systems have no zone database
    if raw == "Local":
        return None
    try:
        return zoneinfo.ZoneInfo(str(raw))
    except (KeyError, ValueError, OSError):  # not found; a path that leaves the database; a folder in it
        available = zoneinfo.available_timezones()
    if not available:
        raise IntervalError(
            f"{raw} cannot be looked up, this system has no time zone database: install tzdata, or use UTC", "location"
        )
    by_folded = {name.lower(): name for name in sorted(available)}
    guess = difflib.get_close_matches(str(raw).lower(), by_folded, n=1)
    cure = f"did you mean {by_folded[guess[0]]}?" if guess else "write an IANA name such as Europe/Berlin, UTC or Local"
    raise IntervalError(f"unknown time zone {raw}: {cure}", "location")
