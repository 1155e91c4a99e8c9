"""Safe reading of objects that somebody else wrote: every function takes anything and never raises.

A Kubernetes object is only *usually* what its schema says: older releases lack fields, a must-gather file may be cut.
What has the wrong type counts as absent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

# Longer than any name, reason or message that a person would read; keeps one absurd field from filling a story.
TEXT_LIMIT = 2_000


def mapping(value: object) -> Mapping[str, Any]:
    """Return the mapping, or an empty one."""
    return value if isinstance(value, dict) else {}


def dig(value: object, *path: str) -> object:
    """Return what lies below `path`, or None."""
    for key in path:
        value = mapping(value).get(key)
    return value


def records(value: object) -> tuple[Mapping[str, Any], ...]:
    """Return the mappings in a list; everything else in it is left out."""
    return tuple(item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()


def text(value: object, limit: int = TEXT_LIMIT) -> str:
    """Return a string with white space collapsed, cut at `limit` characters; anything else is the empty string."""
    if not isinstance(value, str):
        return ""
    # The slice comes first so that a value of many megabytes costs nothing. Lone surrogates cannot be stored or sent.
    clean = value[: limit * 2].encode("utf-8", "replace").decode("utf-8").replace("\x00", "")
    collapsed = " ".join(clean.split())
    return collapsed if len(collapsed) <= limit else collapsed[: limit - 1] + "…"


def texts(value: object) -> tuple[str, ...]:
    """Return the non-empty strings of a list."""
    if not isinstance(value, list):
        return ()
    return tuple(found for item in value if (found := text(item)))


def number(value: object) -> float | None:
    """Return a finite number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        finite = math.isfinite(value)
    except OverflowError:
        return None
    return float(value) if finite and value >= 0 else None


def moment(value: object) -> datetime | None:
    """Return a time in UTC; one without a zone is taken for UTC, as Kubernetes writes it."""
    if isinstance(value, datetime):
        read = value
    elif isinstance(value, str):
        try:
            read = datetime.fromisoformat(value)
        except ValueError:
            return None
    else:
        return None
    try:
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (OverflowError, ValueError):
        return None


def strings(value: object) -> dict[str, str]:
    """Return the string entries of a mapping: labels, annotations."""
    return {key: item for key, item in mapping(value).items() if isinstance(key, str) and isinstance(item, str)}
