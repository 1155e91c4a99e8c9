"""Alertmanager's template helpers under their own names: functions with its order of arguments, and filters.

Go's pipe gives the piped value last, so `x | join(", ")` and `join(", ", x)` mean the same, here as there.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import unquote_plus
from zoneinfo import ZoneInfo

import re2
from jinja2 import pass_context
from jinja2.filters import do_title
from jinja2.runtime import Context as Variables

from receiver.rendering import words
from receiver.rendering.bounds import MAX_VALUE, TooMuchWorkError
from receiver.rendering.markup import code_spans

_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

# Go's layouts are the moment "Mon Jan 2 15:04:05 MST 2006" as one would like to read it.
_LAYOUT: Final[Mapping[str, Callable[[datetime], str]]] = MappingProxyType(
    {
        "January": lambda at: _MONTHS[at.month - 1],
        "Jan": lambda at: _MONTHS[at.month - 1][:3],
        "Monday": lambda at: _DAYS[at.weekday()],
        "Mon": lambda at: _DAYS[at.weekday()][:3],
        "MST": lambda at: at.tzname() or "",
        "2006": lambda at: f"{at.year:04}",
        "-07:00": lambda at: _offset(at, ":"),
        "Z07:00": lambda at: _offset(at, ":") if at.utcoffset() else "Z",
        "-0700": lambda at: _offset(at, ""),
        "01": lambda at: f"{at.month:02}",
        "02": lambda at: f"{at.day:02}",
        "_2": lambda at: f"{at.day:2}",
        "03": lambda at: f"{(at.hour - 1) % 12 + 1:02}",
        "04": lambda at: f"{at.minute:02}",
        "05": lambda at: f"{at.second:02}",
        "06": lambda at: f"{at.year % 100:02}",
        "15": lambda at: f"{at.hour:02}",
        "PM": lambda at: "AM" if at.hour < 12 else "PM",
        "pm": lambda at: "am" if at.hour < 12 else "pm",
        "1": lambda at: f"{at.month}",
        "2": lambda at: f"{at.day}",
        "3": lambda at: f"{(at.hour - 1) % 12 + 1}",
    }
)
_TOKEN: Final = re.compile("|".join(sorted(map(re.escape, _LAYOUT), key=len, reverse=True)))
_PARSED: Final = MappingProxyType(
    {
        "January": "%B", "Jan": "%b", "Monday": "%A", "Mon": "%a", "MST": "%Z", "2006": "%Y", "-07:00": "%z",
        "Z07:00": "%z", "-0700": "%z", "01": "%m", "02": "%d", "_2": "%d", "03": "%I", "04": "%M", "05": "%S",
        "06": "%y", "15": "%H", "PM": "%p", "pm": "%p", "1": "%m", "2": "%d", "3": "%I",
    }
)  # fmt: skip


def _offset(at: datetime, between: str) -> str:
    minutes = int((at.utcoffset() or at - at).total_seconds()) // 60
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}{between}{abs(minutes) % 60:02}"


def _moment(value: object) -> datetime | None:
    """Read a time: RFC 3339 text, seconds since 1970, or a time; None where there is none."""
    match value:
        case datetime():
            return value
        case "" | None:
            return None
        case int() | float():
            return datetime.fromtimestamp(value, UTC)
    found = datetime.fromisoformat(str(value))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _date(layout: str, value: object) -> str:
    at = _moment(value)
    return _TOKEN.sub(lambda match: _LAYOUT[match[0]](at), layout) if at else ""


def _tz(zone: str, value: object) -> datetime | str:
    at = _moment(value)
    return at.astimezone(ZoneInfo(zone)) if at else ""


def _to_date(layout: str, text: str) -> datetime:
    pattern = _TOKEN.sub(lambda match: _PARSED[match[0]], layout.replace("%", "%%"))
    found = datetime.strptime(text, pattern)  # noqa: DTZ007 - the zone is set below where the layout has none
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@pass_context
def _since(variables: Variables, value: object) -> float | str:
    """Seconds until the story last changed: no template reads a clock, or its message would never be finished."""
    at, until = _moment(value), _moment(variables.get("changed_at", ""))
    return max((until - at).total_seconds(), 0.0) if at and until else ""


def _humanize(value: object, base: float = 1000.0, units: str = "kMGTPEZY", small: str = "mµnpfazy") -> str:
    number = float(str(value))
    if number == 0 or number != number or abs(number) == float("inf"):
        return f"{number:.4g}"
    prefix = ""
    if abs(number) >= 1:
        for prefix_now in units:
            if abs(number) < base:
                break
            prefix, number = prefix_now, number / base
    else:
        for prefix_now in small:
            if abs(number) >= 1:
                break
            prefix, number = prefix_now, number * base
    return f"{number:.4g}{prefix}"


def _humanize1024(value: object) -> str:
    if abs(float(str(value))) <= 1:
        return f"{float(str(value)):.4g}"
    made = _humanize(value, 1024.0, "kMGTPEZY", "")
    return made if made[-1].isdigit() else f"{made}i"


def _humanize_timestamp(value: object) -> str:
    at = _moment(float(str(value)))
    return _date("2006-01-02 15:04:05 -0700 MST", at) if at else ""


def _duration(value: object) -> str:
    return words.duration(float(str(value))) if value != "" else ""


def _join(separator: str, items: Iterable[object]) -> str:
    parts = [str(item) for item in items]
    if sum(map(len, parts)) + len(separator) * len(parts) > MAX_VALUE:
        raise TooMuchWorkError(f"joins to more than {MAX_VALUE:,} characters")
    return separator.join(parts)


def _re_replace(pattern: str, replacement: str, text: object) -> str:
    """Replace every match; `$1` and `${1}` are groups, as in Alertmanager."""
    source = str(text)
    if len(replacement) * (len(source) + 1) > 64 * MAX_VALUE:
        raise TooMuchWorkError("replaces too much at once")
    groups = re2.sub(r"\$\{?(\d+)\}?", r"\\\1", replacement.replace("\\", "\\\\"))
    return str(re2.sub(pattern, groups, source))


def _match(pattern: str, text: object) -> bool:
    return re2.search(pattern, str(text)) is not None


def _plain(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _to_json(value: object) -> str:
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"))


def _dict(*pairs: object, **named: object) -> dict[str, object]:
    if len(pairs) % 2:
        raise ValueError("dict takes names and values in turn")
    return {str(name): value for name, value in zip(pairs[::2], pairs[1::2], strict=True)} | named


def _list(*items: object) -> list[object]:
    return list(items)


def _append(items: Iterable[object], *more: object) -> list[object]:
    return [*items, *more]


def _decode64(text: object) -> str:
    padded = str(text) + "=" * (-len(str(text)) % 4)
    return base64.urlsafe_b64decode(padded).decode("utf-8", "replace")


_FUNCTIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "title": lambda text: do_title(str(text)),
        "toUpper": lambda text: str(text).upper(),
        "toLower": lambda text: str(text).lower(),
        "trimSpace": lambda text: str(text).strip(),
        "join": _join,
        "match": _match,
        "reReplaceAll": _re_replace,
        "safeHtml": str,
        "safeUrl": str,
        "urlUnescape": lambda text: unquote_plus(str(text)),
        "stringSlice": _list,
        "date": _date,
        "tz": _tz,
        "since": _since,
        "toDate": _to_date,
        "mustToDate": _to_date,
        "humanize": lambda value: _humanize(value),
        "humanize1024": _humanize1024,
        "humanizeDuration": _duration,
        "humanizePercentage": lambda value: f"{float(str(value)) * 100:.4g}%",
        "humanizeTimestamp": _humanize_timestamp,
        "toJson": _to_json,
        "dict": _dict,
        "list": _list,
        "append": _append,
        "base64encode": lambda text: base64.urlsafe_b64encode(str(text).encode()).decode(),
        "base64decode": _decode64,
    }
)
"""What stands between the functions and Alertmanager's: `now` (no template reads a clock) and `routeLabels`."""

_OWN_ORDER = frozenset({"stringSlice", "dict", "list"})
"""Take their values as they come: no use as filters, and Jinja has a `list` of its own."""


def functions() -> dict[str, Callable[..., Any]]:
    """Return the helpers as functions, arguments in Alertmanager's order."""
    return dict(_FUNCTIONS)


def filters() -> dict[str, Callable[..., Any]]:
    """Return the helpers as filters: what is piped comes last, as in Go. `append` takes its list first there, too."""
    made = {name: _piped(name, one) for name, one in _FUNCTIONS.items() if name not in _OWN_ORDER}
    return {**made, "codes": code_spans}


def _piped(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    if name in {"append", "since"}:
        return function
    if name == "join":  # as Jinja's own, which may be told an attribute and needs no separator
        return lambda items, separator="", attribute=None: _join(
            separator, [getattr(one, attribute) for one in items] if attribute else items
        )
    return lambda value, *args: function(*args, value)
