"""Safe reading of objects that somebody else wrote: every function takes anything and never raises.

What has the wrong type counts as absent: older releases lack fields, and a reduced object may be cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

Obj = Mapping[str, Any]

TEXT_LIMIT = 2_000
"""Characters: longer than any message that a person would read."""


def mapping(value: object) -> Obj:
    """Return the mapping, or an empty one."""
    return value if isinstance(value, dict) else {}


def dig(value: object, *path: str) -> object:
    """Return what lies below `path`, or None."""
    for key in path:
        value = mapping(value).get(key)
    return value


def records(value: object) -> tuple[Obj, ...]:
    """Return the mappings in a list; everything else in it is left out."""
    return tuple(item for item in value if isinstance(item, dict)) if isinstance(value, list | tuple) else ()


def text(value: object, limit: int = TEXT_LIMIT) -> str:
    """Return a string with white space collapsed, cut at `limit` characters; anything else is the empty string."""
    if not isinstance(value, str):
        return ""
    # The slice comes first so that a value of many megabytes costs nothing. Lone surrogates cannot be stored or sent.
    clean = value[: limit * 2].encode("utf-8", "replace").decode("utf-8").replace("\x00", "")
    collapsed = " ".join(clean.split())
    return collapsed if len(collapsed) <= limit else collapsed[: limit - 1] + "…"


def whole(value: object) -> int | None:
    """Return a whole number of a sane size that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < 1 << 63 else None


def moment(value: object) -> datetime | None:
    """Return a time in UTC; one without a zone is taken for UTC, as Kubernetes and the controller's log write it."""
    if not isinstance(value, str):
        return None
    try:
        read = datetime.fromisoformat(value)
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (OverflowError, ValueError):
        return None


def name_of(obj: Obj) -> str:
    """Return the object's name."""
    return text(dig(obj, "metadata", "name"), 253)


def namespace_of(obj: Obj) -> str:
    """Return the object's namespace."""
    return text(dig(obj, "metadata", "namespace"), 253)


def uid_of(obj: Obj) -> str:
    """Return the object's UID."""
    return text(dig(obj, "metadata", "uid"), 100)


def created(obj: Obj) -> datetime | None:
    """Return when the object was made."""
    return moment(dig(obj, "metadata", "creationTimestamp"))


def label(obj: Obj, key: str) -> str:
    """Return a label's value."""
    return text(dig(obj, "metadata", "labels", key), 253)


def annotation(obj: Obj, key: str) -> str:
    """Return an annotation's value."""
    return text(dig(obj, "metadata", "annotations", key))


def phase_of(obj: Obj) -> str:
    """Return `status.phase`."""
    return text(dig(obj, "status", "phase"), 100)


def condition(obj: Obj, kind: str) -> Obj:
    """Return the condition of that type, or an empty mapping."""
    return next((one for one in records(dig(obj, "status", "conditions")) if one.get("type") == kind), {})


def earliest(*times: datetime | None) -> datetime | None:
    """Return the first of the times that are known."""
    return min((at for at in times if at is not None), default=None)
