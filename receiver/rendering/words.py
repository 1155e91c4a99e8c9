"""Numbers, times and names as people say them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime

_ADDRESS = re.compile(
    r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>)]+"  # URLs
    r"|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?(?:/\d{1,2})?\b"  # IPv4, port, prefix
    r"|(?<![\w:])(?P<six>(?=[0-9a-f]*:[0-9a-f]*:)[0-9a-f:]+)(?![\w:])"  # may be IPv6, or a time
    r"|\b(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.){2,}[a-z]{2,}(?::\d+)?\b",  # host names
    re.IGNORECASE,
)
# API groups look like host names and say what right is missing.
_API_GROUP = re.compile(r"(?:^|\.)(?:k8s|konveyor|openshift|kubevirt)\.io$", re.IGNORECASE)
_OPENING = re.compile(
    r"\A(?:the|an?|no|not|nobody|alert|evidence|run|severity|also|continued|acknowledged|closed|moved|silenced)\b"
    r"(?=[ ,:;])"
)


def duration(seconds: float) -> str:
    """Return "45 s", "12 min", "7 h 22 min" or "3 d 4 h"; the smaller unit is left out where it is zero."""
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    for size, unit, smaller, small_unit in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{whole // 60} min"


def when(moment: datetime | None, day: date | None = None) -> str:
    """Return "22:19 UTC", with its date where it is not on `day`; the empty string for None."""
    if moment is None:
        return ""
    at = moment.astimezone(UTC)
    return f"{_date(at, day)}{at:%H:%M} UTC"


def moment(at: datetime) -> str:
    """Return a time for machines: "2026-11-21T22:19:05+00:00"."""
    return at.astimezone(UTC).isoformat(timespec="seconds")


def span(first: datetime, last: datetime, day: date | None = None) -> str:
    """Return "22:19–22:31 UTC", or one time where both are in the same minute."""
    begin, end = first.astimezone(UTC), last.astimezone(UTC)
    if begin.replace(second=0, microsecond=0) == end.replace(second=0, microsecond=0):
        return when(begin, day)
    return f"{_date(begin, day)}{begin:%H:%M}–{_date(end, begin.date())}{end:%H:%M} UTC"


def names(items: Sequence[str], most: int = 3, number: int = 0) -> str:
    """Return "a", "a and b", "a, b and c", or "a, b and 5 more"; `number` counts those, too, that are not in items."""
    if max(number, len(items)) > most:
        shown = list(items[: most - 1])
        last = f"{max(number, len(items)) - len(shown)} more"
    elif items:
        shown, last = list(items[:-1]), items[-1]
    else:
        return ""
    return f"{', '.join(shown)} and {last}" if shown else last


def count(number: int, noun: str) -> str:
    """Return "1 VM" or "3 VMs"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def of(number: int, total: int, noun: str = "VM") -> str:
    """Return "3 of 20 VMs": a number with its "of"."""
    return f"{number:,} of {count(total, noun)}"


def sentence(text: str) -> str:
    """Return the text as a sentence. The first letter is raised only where it cannot be part of a name."""
    text = _OPENING.sub(lambda match: match[0].capitalize(), text.strip())
    return text if not text or text[-1] in ".!?…" else text + "."


def hide_addresses(text: str) -> str:
    """Return the text with URLs, IP addresses and host names replaced by "[address]"."""
    return _ADDRESS.sub(_hidden, text)


def _hidden(match: re.Match[str]) -> str:
    found = match[0]
    if match["six"] is not None:
        try:
            ipaddress.ip_address(found.rstrip(":") if not found.endswith("::") else found)
        except ValueError:
            return found
    return found if _API_GROUP.search(found) else "[address]"


def _date(at: datetime, day: date | None) -> str:
    if day == at.date():
        return ""
    return f"{at.day} {_MONTHS[at.month - 1]} " + ("" if day and day.year == at.year else f"{at.year} ")


# strftime's names follow the locale of the process.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
