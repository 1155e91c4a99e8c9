"""The identity Alertmanager gives to a label set."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# 64-bit FNV-1a, as in prometheus/common: model/fnv.go and model/signature.go.
_OFFSET_BASIS = 0xCBF29CE484222325
_PRIME = 0x100000001B3
_MASK = 0xFFFFFFFFFFFFFFFF
# Ends every name and every value. 0xFF occurs in no UTF-8 text, so ("ab", "c") and ("a", "bc") differ.
_SEPARATOR = b"\xff"


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return the fingerprint Alertmanager computes for these labels: 16 lower-case hex digits.

    Labels with an empty value count as absent, and order does not matter. Total: text that is not valid
    Unicode (a lone surrogate, which Alertmanager itself never sends) gets a fingerprint too.
    """
    present = sorted((_encoded(name), _encoded(value)) for name, value in labels.items() if value)
    state = _OFFSET_BASIS
    for name, value in present:
        for byte in name + _SEPARATOR + value + _SEPARATOR:
            state = ((state ^ byte) * _PRIME) & _MASK
    return f"{state:016x}"


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
