"""Alertmanager's webhook body (version 4), read tolerantly: what can be used is used, what cannot is named.

Versions 0.21 to 0.34 differ only in keys that nothing here depends on. An odd alert never costs its neighbours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from receiver.fingerprint import fingerprint
from receiver.model import Alert, AlertStatus

MAX_DEPTH_ERROR = "nested too deeply"
_FRACTION = re.compile(r"(\.\d{6})\d+")
_NEVER = "0001-01-01T00:00:00Z"
_WHOLE_SECONDS = len(_NEVER)
_ABOUT = ("receiver", "status")
_UNCLEAN = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
"""How a NUL or a lone surrogate comes out of a JSON text; neither can stand in one as it is."""


class UnusableBodyError(ValueError):
    """Nothing in the body can be used; the message says what is wrong and what to send."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """An alert that could not be used. `reason` is one of `receiver.metrics.REJECTED`, `detail` is for people."""

    index: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Body:
    """What a webhook told."""

    alerts: tuple[Alert, ...]
    rejected: tuple[Rejected, ...]
    receiver: str = ""
    """Alertmanager's, as it was posted to."""
    status: str = ""


def parse_body(raw: bytes, now: datetime) -> Body:
    """Read a body. `now` stands in for a missing or unreadable `startsAt`. Raises UnusableBodyError."""
    text = raw.decode("utf-8", errors="replace").removeprefix("\ufeff")
    document = _document(text)
    version = document.get("version")
    if version != "4":
        raise UnusableBodyError(
            f'version is {_shown(version)}, not "4": send Alertmanager\'s own webhook body, no `payload:`'
        )
    alerts = document.get("alerts")
    if not isinstance(alerts, list):
        raise UnusableBodyError(f"alerts is {_kind(alerts)}, not a list: send Alertmanager's own webhook body")
    cleaned = _cleaner(text)
    good: list[Alert] = []
    rejected: list[Rejected] = []
    for index, item in enumerate(alerts):
        result = _alert(index, item, now, cleaned)
        if isinstance(result, Rejected):
            rejected.append(result)
        else:
            good.append(result)
    if rejected and not good:
        first = rejected[0]
        raise UnusableBodyError(f"none of {len(alerts)} alerts can be used; alerts[{first.index}]: {first.detail}")
    receiver, status = (cleaned(one) if isinstance(one, str) else "" for one in map(document.get, _ABOUT))
    return Body(tuple(good), tuple(rejected), receiver, status)


def read_held(item: object, now: datetime) -> Alert | None:
    """Read an alert as `GET /api/v2/alerts` gives it, which holds only what fires; None where nobody can."""
    found = _alert(0, {**item, "status": "firing"} if isinstance(item, dict) else item, now, clean)
    return found if isinstance(found, Alert) else None


def _document(text: str) -> Mapping[str, Any]:
    try:
        document = json.loads(text, parse_constant=lambda _: None, parse_int=_integer)
    except RecursionError:
        raise UnusableBodyError(f"the body is {MAX_DEPTH_ERROR}") from None
    except ValueError as error:
        where = f" at byte {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise UnusableBodyError(f"the body is no JSON{where}: send Alertmanager's webhook body, version 4") from None
    if not isinstance(document, dict):
        raise UnusableBodyError(f"the body is {_kind(document)}, not a JSON object")
    return document


def _integer(digits: str) -> int | float:
    """Read a number; Python refuses integers of more than 4,300 digits, and one must not cost the whole body."""
    return int(digits) if len(digits) < 400 else float(digits)


def _cleaner(text: str) -> Callable[[str], str]:
    """Return what makes the strings of a JSON text clean: nothing, where none of them can need it."""
    return clean if _UNCLEAN.search(text) else str


def _alert(index: int, item: object, now: datetime, cleaned: Callable[[str], str]) -> Alert | Rejected:
    if not isinstance(item, dict):
        return Rejected(index, "not an object", f"{_kind(item)}, not an object")
    status = item.get("status")
    if status not in ("firing", "resolved"):
        return Rejected(index, "no status", f"status is {_shown(status)}, not firing or resolved")
    labels = _strings(item.get("labels"), cleaned)
    if "" in labels or "" in labels.values():
        labels = {name: value for name, value in labels.items() if value and name}
    if not labels:
        return Rejected(index, "no labels", "no label with a value")
    starts_at = _time(item.get("startsAt")) or now
    ends_at = _time(item.get("endsAt")) if status == "resolved" else None
    url = item.get("generatorURL")
    return Alert(
        fingerprint=fingerprint(labels),
        status=AlertStatus(status),
        labels=labels,
        annotations=_strings(item.get("annotations"), cleaned),
        starts_at=starts_at,
        ends_at=ends_at,
        generator_url=cleaned(url) if isinstance(url, str) else "",
    )


def _strings(value: object, cleaned: Callable[[str], str]) -> dict[str, str]:
    """Return a string map; scalars become text, everything else is left out."""
    if not isinstance(value, dict):
        return {}
    if cleaned is str and {str}.issuperset(map(type, value.values())):
        return value  # as all real ones are
    found: dict[str, str] = {}
    for name, item in value.items():
        if isinstance(item, str):
            found[cleaned(name)] = cleaned(item)
        elif isinstance(item, bool):
            found[cleaned(name)] = "true" if item else "false"
        elif isinstance(item, (int, float)):
            found[cleaned(name)] = str(item)
    return found


def clean(text: str) -> str:
    """Return text that every database and vendor takes: no NUL, no lone surrogates."""
    if "\x00" in text:
        text = text.replace("\x00", "")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _time(value: object) -> datetime | None:
    """Return the moment in UTC; None for the zero time, and for what nobody can read."""
    if not isinstance(value, str):
        return None
    if value == _NEVER:
        return None
    try:
        moment = datetime.fromisoformat(_FRACTION.sub(r"\1", value.strip()) if len(value) > _WHOLE_SECONDS else value)
        if moment.year <= 1:
            return None
        if moment.tzinfo is UTC:
            return moment
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _kind(value: object) -> str:
    match value:
        case None:
            return "missing"
        case bool():
            return "a boolean"
        case str():
            return "text"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"


def _shown(value: object) -> str:
    return json.dumps(value)[:40] if isinstance(value, (str, int, float)) else _kind(value)
