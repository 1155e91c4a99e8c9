"""Kubernetes quantities ("1.5Gi", "250m", "1e3") as exact whole numbers.

Rules of k8s.io/apimachinery/pkg/api/resource: a number with one suffix or one exponent; whole values round up.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Final

_QUANTITY: Final = re.compile(
    r"([+-]?)([0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE])|[eE]([+-]?[0-9]{1,3}))?"
)
_BINARY: Final = {f"{letter}i": Fraction(1024**power) for power, letter in enumerate("KMGTPE", start=1)}
_DECIMAL: Final = {
    "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "": Fraction(1), "k": Fraction(10**3),
    "M": Fraction(10**6), "G": Fraction(10**9), "T": Fraction(10**12), "P": Fraction(10**15), "E": Fraction(10**18),
}  # fmt: skip
_FACTORS: Final = _BINARY | _DECIMAL
_MOST_EXPONENT: Final = 100
"""Larger exponents mean nothing in a cluster; the bound keeps one hostile field from costing memory."""
_UNREADABLE: Final = -1


def exact(value: object) -> Fraction:
    """Return the exact value of a quantity; also takes the plain numbers that YAML gives.

    Raises ValueError for everything else, and for negative amounts: no request, limit or size is one.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("not a quantity")
    if isinstance(value, int):
        number = Fraction(value)
    elif isinstance(value, float):
        if not abs(value) < 1e30:  # also catches what is not a number at all
            raise ValueError("not a finite quantity")
        number = Fraction(Decimal(repr(value)))
    else:
        number = _parsed(value)
    if number < 0:
        raise ValueError("a negative quantity")
    return number


def byte_count(value: object) -> int:
    """Return bytes (or a plain count), rounded up to a whole one; ValueError for what is no quantity."""
    return _up(exact(value))


def millicores(value: object) -> int:
    """Return thousandths of a CPU, rounded up to a whole one; ValueError for what is no quantity."""
    return _up(exact(value) * 1000)


def is_cpu(resource: str) -> bool:
    """Tell whether amounts of this resource or quota key count in millicores."""
    return resource in ("cpu", "requests.cpu", "limits.cpu", "cpu/vmi", "requests.cpu/vmi")


def amount(resource: str, value: object) -> int | None:
    """Return an amount of a resource: millicores for CPU, else bytes or a count; None if it cannot be read."""
    if isinstance(value, str):
        found = _cached(is_cpu(resource), value)
        return None if found == _UNREADABLE else found
    try:
        return millicores(value) if is_cpu(resource) else byte_count(value)
    except ValueError:
        return None


def ratio(value: object) -> Fraction | None:
    """Return a factor such as "0.055" or 10; None if it cannot be read."""
    try:
        return exact(value)
    except ValueError:
        return None


@lru_cache(maxsize=16_384)
def _cached(cpu: bool, value: str) -> int:
    """Read a quantity once: 100,000 pods repeat the same few hundred texts."""
    try:
        return millicores(value) if cpu else byte_count(value)
    except ValueError:
        return _UNREADABLE


def _parsed(value: str) -> Fraction:
    match = _QUANTITY.fullmatch(value)
    if match is None:
        raise ValueError("not a quantity")
    sign, digits, suffix, exponent = match.groups()
    number = Fraction(digits)
    if exponent is not None:
        power = int(exponent)
        if abs(power) > _MOST_EXPONENT:
            raise ValueError("an exponent without meaning")
        number *= Fraction(10) ** power
    else:
        number *= _FACTORS[suffix or ""]
    return -number if sign == "-" else number


def _up(value: Fraction) -> int:
    return -(-value.numerator // value.denominator)
