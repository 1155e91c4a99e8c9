"""Cursors of keyset pages, as they stand in addresses."""

from __future__ import annotations

import base64
import binascii
import json

from receiver.wire import clean


class BadCursorError(ValueError):
    """A cursor that we have not given out."""


def cursor_of(place: tuple[float, str]) -> str:
    """Return where a page ends as text."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def read_cursor(text: str) -> tuple[float, str] | None:
    """Return where a page ends; None for the empty string. Raises BadCursorError."""
    if not text:
        return None
    try:
        at, last = json.loads(base64.urlsafe_b64decode(text.encode()))
        return float(at), clean(str(last))
    except (binascii.Error, ValueError, TypeError, OverflowError, RecursionError):
        raise BadCursorError("cursor is none that was given out: take `next` of the page before") from None
