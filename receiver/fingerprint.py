"""The identity Alertmanager gives to a label set."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# 64-bit FNV-1a, as in prometheus/common: model/fnv.go and model/signature.go.
_OFFSET_BASIS: Final = 0xCBF29CE484222325
_PRIME: Final = 0x100000001B3
_MASK: Final = 0xFFFFFFFFFFFFFFFF
# Ends every name and every value. 0xFF occurs in no UTF-8 text, so ("ab", "c") and ("a", "bc") differ.
_SEPARATOR: Final = b"\xff"
_LOW_AFTER: Final = bytes(low * _PRIME & 0xFF for low in range(256))

REMEMBERED: Final = 16_384
"""Labels whose part in a hash is kept, for each lowest byte of what comes before."""
LONGEST_REMEMBERED: Final = 200
"""Characters of a value; longer ones are computed each time, so that a sender cannot fill our memory."""
SETS_REMEMBERED: Final = 4_096
"""Label sets whose hash is kept: Alertmanager repeats what fires."""
LARGEST_SET_REMEMBERED: Final = 1_500
"""Characters of a set's values."""


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return the fingerprint Alertmanager computes for these labels: 16 lower-case hex digits.

    Labels with an empty value count as absent, and order does not matter. Total: text that is not valid
    Unicode (a lone surrogate, which Alertmanager itself never sends) gets a fingerprint too.
    """
    if sum(map(len, labels.values())) > LARGEST_SET_REMEMBERED:
        return _of(labels)
    return _of_items(tuple(labels.items()))


def _of(labels: Mapping[str, str]) -> str:
    state = _OFFSET_BASIS
    for name in sorted(labels):  # by code points, which is also the order of their UTF-8 bytes
        value = labels[name]
        if value:
            part = _remembered if len(value) <= LONGEST_REMEMBERED else _part
            factor, addend = part(name, value, state & 0xFF)
            state = (state * factor + addend) & _MASK
    return f"{state:016x}"


@lru_cache(SETS_REMEMBERED)
def _of_items(items: tuple[tuple[str, str], ...]) -> str:
    return _of(dict(items))


def _part(name: str, value: str, low: int) -> tuple[int, int]:
    """Return what a label does to a state with this lowest byte: `state * factor + addend`.

    Hashing a byte is `(state ^ byte) * PRIME`, and the xor adds a number that depends on the lowest byte of the state
    alone. So whole labels can be remembered: alerts share most of theirs, and computing takes Python much longer.
    """
    data = _encoded(name) + _SEPARATOR + _encoded(value) + _SEPARATOR
    addend = 0
    for byte in data:
        changed = low ^ byte
        addend = (addend + changed - low) * _PRIME & _MASK
        low = _LOW_AFTER[changed]
    return pow(_PRIME, len(data), _MASK + 1), addend


_remembered = lru_cache(REMEMBERED)(_part)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
