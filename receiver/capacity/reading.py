"""Safe reading of objects that somebody else wrote: what has the wrong type counts as absent, nothing here raises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from receiver.capacity.quantity import amount

_EMPTY: Final[Mapping[str, Any]] = {}
NAME: Final = 253
"""Longest name of a Kubernetes object."""


def mapping(value: object) -> Mapping[str, Any]:
    """Return the mapping, or an empty one."""
    return value if isinstance(value, dict) else _EMPTY


def dig(value: object, *path: str) -> object:
    """Return what lies below `path`, or None."""
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def records(value: object) -> tuple[Mapping[str, Any], ...]:
    """Return the mappings in a list; everything else in it is left out."""
    return tuple(item for item in value if isinstance(item, dict)) if isinstance(value, list | tuple) else ()


def text(value: object) -> str:
    """Return a string of at most 500 characters; anything else is the empty string."""
    return value[:500] if isinstance(value, str) else ""


def texts(value: object) -> tuple[str, ...]:
    """Return the strings of a list."""
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list | tuple) else ()


def strings(value: object) -> tuple[tuple[str, str], ...]:
    """Return the string entries of a mapping, in the order of their keys: labels, selectors."""
    return tuple(sorted((k, v) for k, v in mapping(value).items() if isinstance(k, str) and isinstance(v, str)))


def whole(value: object) -> int:
    """Return a whole number of 1 or more, else 0; a numeral counts, as OVA inventories write them."""
    if isinstance(value, str) and len(value) <= 20 and value.isascii() and value.isdigit():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def named(value: object) -> tuple[str, str]:
    """Return namespace and name of an object, empty where it has none."""
    return text(dig(value, "metadata", "namespace"))[:NAME], text(dig(value, "metadata", "name"))[:NAME]


def by_name(objects: object) -> dict[str, Mapping[str, Any]]:
    """Return objects by their name; those without one are left out."""
    return {name: item for item in records(objects) if (name := named(item)[1])}


def size(value: object) -> int | None:
    """Return a quantity of bytes or a count, rounded up; None if absent or unreadable."""
    return amount("", value)


def condition(obj: object, kind: str) -> str:
    """Return the status of a condition (True, False, Unknown), or the empty string without it."""
    for item in records(dig(obj, "status", "conditions")):
        if item.get("type") == kind:
            return text(item.get("status"))
    return ""
