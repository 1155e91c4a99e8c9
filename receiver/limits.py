"""Cutting text to a destination's limits: by characters or by UTF-8 bytes, never through a character."""

from __future__ import annotations

import unicodedata

MARKER = "…"
"""Stands where text was cut off."""

_JOINER = "\u200d"
_MAX_CLUSTER = 16  # a letter with more marks than this is no writing, and may be cut


def truncate(text: str, limit: int, marker: str = MARKER) -> str:
    """Return `text`, or its beginning and the marker: at most `limit` characters (code points) in all.

    A letter keeps its combining marks and an emoji its joiners. A limit below the marker's length leaves no marker;
    a limit below 1 leaves nothing.
    """
    if len(text) <= limit:
        return text
    if limit < len(marker):
        return text[: _boundary(text, max(limit, 0))]
    return text[: _boundary(text, limit - len(marker))].rstrip() + marker


def truncate_bytes(text: str, limit: int, marker: str = MARKER) -> str:
    """Return `text`, or its beginning and the marker: at most `limit` bytes of UTF-8 in all.

    A lone surrogate, which UTF-8 cannot hold, is counted and returned as U+FFFD.
    """
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    data = text.encode()
    if len(data) <= limit:
        return text
    room = limit - len(marker.encode())
    if room < 0:
        room, marker = max(limit, 0), ""
    whole = len(data[:room].decode("utf-8", "ignore"))
    kept = text[: _boundary(text, whole)]
    return kept.rstrip() + marker if marker else kept


def _boundary(text: str, cut: int) -> int:
    """Return the nearest place at or before `cut` that is not inside a character as people see it."""
    for place in range(cut, max(cut - _MAX_CLUSTER, 0), -1):
        if place >= len(text) or not _joined(text[place - 1], text[place]):
            return place
    return 0 if cut <= _MAX_CLUSTER else cut


def _joined(before: str, after: str) -> bool:
    return (
        unicodedata.category(after) in {"Mn", "Me"}  # combining marks and variation selectors
        or _JOINER in (before, after)
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # skin tones
    )
