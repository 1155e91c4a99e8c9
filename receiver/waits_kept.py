"""What is kept of a migration that runs: redacted, and with the objects that were there before and are gone. Pure.

When a live VM fails, Forklift deletes what tells why in the next reconcile, while other VMs of the Plan go on: the next
look must not forget what the one before has seen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

LIMIT_BYTES = 60_000
"""Of what is kept of a Plan, as compact JSON: what is hidden may make it a little longer."""
GONE = "gone"
"""Marks an object that was there in an earlier look of the same run."""

_SAME = ("kind", "namespace", "name", "uid", "reason", "message", "type")


def redacted(snapshot: Mapping[str, Any], redact: Callable[[str], str]) -> dict[str, Any]:
    """Return a snapshot without secrets."""
    return {key: _clean(value, redact) for key, value in snapshot.items()}


def _clean(value: Any, redact: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: _clean(held, redact) for key, held in value.items()}
    return [_clean(held, redact) for held in value] if isinstance(value, list) else value


def joined(old: Mapping[str, Any] | None, new: Mapping[str, Any], limit_bytes: int = LIMIT_BYTES) -> dict[str, Any]:
    """Return what is there, then what was there and is gone, as far as there is room."""
    kept: dict[str, Any] = {key: list(value) if isinstance(value, list) else value for key, value in new.items()}
    size = _size(kept)
    for key, listed in (old or {}).items():
        if not isinstance(listed, list):
            continue
        there = {_name(one) for one in kept.get(key, ())}
        for one in listed:
            if not isinstance(one, dict) or _name(one) in there:
                continue
            gone = {**one, GONE: True}
            size += _size(gone) + 1 + (0 if key in kept else len(key) + 6)
            if size > limit_bytes:
                return kept
            kept.setdefault(key, []).append(gone)
    return kept


def _name(one: object) -> tuple[str, ...]:
    return tuple(str(one.get(key, "")) for key in _SAME) if isinstance(one, dict) else ()


def _size(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace"))
