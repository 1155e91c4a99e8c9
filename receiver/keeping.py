"""The end of a log, small enough to be kept with its story: a re-run deletes the pod that wrote it."""

from __future__ import annotations

import base64
import binascii
import zlib

KEPT_CHARACTERS = 65_536
"""Of each log; conversion logs shrink to about a tenth of that."""


def pack(text: str) -> str:
    """Return the end of a text, from the beginning of a line, compressed as ASCII; redact it first."""
    end = text[-KEPT_CHARACTERS:]
    if len(end) < len(text):
        end = end.partition("\n")[2] or end
    if not end:
        return ""
    return base64.b85encode(zlib.compress(end.encode("utf-8", errors="replace"), 6)).decode("ascii")


def unpack(packed: str) -> str:
    """Return the text again; empty for what `pack` has not made."""
    try:
        whole = zlib.decompressobj()
        # Four bytes is the most that a character needs: nothing larger was ever packed.
        return whole.decompress(base64.b85decode(packed), KEPT_CHARACTERS * 4).decode("utf-8", errors="replace")
    except (ValueError, zlib.error, binascii.Error):
        return ""
