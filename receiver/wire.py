"""Alertmanager's webhook body (version 4), read tolerantly: what can be used is used, what cannot is named.

Versions 0.21 to 0.34 differ only in keys that nothing here depends on. An odd alert never costs its neighbours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from receiver.fingerprint import fingerprint
from receiver.model import Alert, AlertStatus

MAX_DEPTH_ERROR = "nested too deeply"
_FRACTION = re.compile(r"(\.\d{6})\d+")


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


def parse_body(raw: bytes, now: datetime) -> Body:
    """Read a body. `now` stands in for a missing or unreadable `startsAt`. Raises UnusableBodyError."""
    document = _document(raw)
    version = document.get("version")
    if version != "4":
        raise UnusableBodyError(
            f'version is {_shown(version)}, not "4": send Alertmanager\'s own webhook body, no `payload:`'
        )
    alerts = document.get("alerts")
    if not isinstance(alerts, list):
        raise UnusableBodyError(f"alerts is {_kind(alerts)}, not a list: send Alertmanager's own webhook body")
    good: list[Alert] = []
    rejected: list[Rejected] = []
    for index, item in enumerate(alerts):
        result = _alert(index, item, now)
        if isinstance(result, Rejected):
            rejected.append(result)
        else:
            good.append(result)
    if rejected and not good:
        first = rejected[0]
        raise UnusableBodyError(f"none of {len(alerts)} alerts can be used; alerts[{first.index}]: {first.detail}")
    return Body(tuple(good), tuple(rejected))


def _document(raw: bytes) -> Mapping[str, Any]:
    try:
        text = raw.decode("utf-8", errors="replace").removeprefix("\ufeff")
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


def _alert(index: int, item: object, now: datetime) -> Alert | Rejected:
    if not isinstance(item, dict):
        return Rejected(index, "not an object", f"{_kind(item)}, not an object")
    status = item.get("status")
    if status not in ("firing", "resolved"):
        return Rejected(index, "no status", f"status is {_shown(status)}, not firing or resolved")
    labels = _strings(item.get("labels"))
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
        annotations=_strings(item.get("annotations")),
        starts_at=starts_at,
        ends_at=ends_at,
        generator_url=clean(url) if isinstance(url, str) else "",
    )


def _strings(value: object) -> dict[str, str]:
    """Return a string map; scalars become text, everything else is left out."""
    if not isinstance(value, dict):
        return {}
    found: dict[str, str] = {}
    for name, item in value.items():
        if isinstance(item, str):
            found[clean(name)] = clean(item)
        elif isinstance(item, bool):
            found[clean(name)] = "true" if item else "false"
        elif isinstance(item, (int, float)):
            found[clean(name)] = str(item)
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
    try:
        moment = datetime.fromisoformat(_FRACTION.sub(r"\1", value.strip()))
        if moment.year <= 1:
            return None
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
