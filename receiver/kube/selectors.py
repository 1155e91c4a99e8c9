"""Label and field selectors, for sources that have no server to evaluate them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Set
from typing import Any

_SET = re.compile(r"(?P<key>\S+)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)")
_EQUALS = re.compile(r"(?P<key>[^!=\s]+)\s*(?P<op>==|=|!=)\s*(?P<value>[^!=]*)")
_COMMA = re.compile(r",(?![^(]*\))")  # not the commas inside (a,b)

Test = Callable[[Mapping[str, Any]], bool]


def label_test(selector: str) -> Test:
    """Return a test on an object's labels; ValueError for a selector that is none.

    Knows ``a=b``, ``a==b``, ``a!=b``, ``a in (x,y)``, ``a notin (x,y)``, ``a`` and ``!a``.
    """
    tests = [_label_requirement(part.strip()) for part in _COMMA.split(selector) if part.strip()]

    def test(obj: Mapping[str, Any]) -> bool:
        metadata = obj.get("metadata")
        labels = metadata.get("labels") if isinstance(metadata, dict) else None
        return all(one(labels if isinstance(labels, dict) else {}) for one in tests)

    return test


def widened(selector: str, keys: Set[str]) -> str:
    """Return a selector that finds at least the same objects, whatever value those keys have.

    ``plan=a,vmID in (x,y)`` for the keys plan and vmID is ``plan,vmID``.
    """
    parts: dict[str, None] = {}
    for part in filter(None, (part.strip() for part in _COMMA.split(selector))):
        found = _SET.fullmatch(part) or _EQUALS.fullmatch(part)
        loose = found is not None and found["key"] in keys and found["op"] not in ("!=", "notin")
        parts[found["key"] if found is not None and loose else part] = None
    return ",".join(parts)


def _label_requirement(text: str) -> Callable[[Mapping[str, Any]], bool]:
    if found := _SET.fullmatch(text):
        key, wanted = found["key"], {value.strip() for value in found["values"].split(",")}
        if found["op"] == "in":
            return lambda labels: labels.get(key) in wanted
        return lambda labels: labels.get(key) not in wanted
    if found := _EQUALS.fullmatch(text):
        key, value = found["key"], found["value"].strip()
        if found["op"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if re.fullmatch(r"!?[\w./-]+", text) is None:
        raise ValueError(f"not a label selector: {text!r}")
    if text.startswith("!"):
        return lambda labels: text[1:] not in labels
    return lambda labels: text in labels


def field_test(selector: str) -> Test:
    """Return a test on an object's fields (``path=value``, ``path!=value``); ValueError for anything else.

    A field that is missing counts as empty, as on the server.
    """
    wanted: list[tuple[list[str], str, bool]] = []
    for part in filter(None, (part.strip() for part in selector.split(","))):
        found = _EQUALS.fullmatch(part)
        if found is None:
            raise ValueError(f"not a field selector: {part!r}")
        wanted.append((found["key"].split("."), found["value"].strip(), found["op"] != "!="))
    return lambda obj: all((_field(obj, path) == value) == equal for path, value, equal in wanted)


def _field(obj: Mapping[str, Any], path: list[str]) -> str:
    found: Any = obj
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return "" if found is None else str(found)
