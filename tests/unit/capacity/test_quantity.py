"""Kubernetes quantities as exact whole numbers."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.capacity.quantity import amount, byte_count, exact, millicores, ratio


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("0", 0), ("7", 7), ("+7", 7), ("1Ki", 1024), ("1Mi", 1024**2), ("1Gi", 1024**3), ("1Ti", 1024**4),
        ("1Pi", 1024**5), ("1Ei", 1024**6), ("1k", 1000), ("35M", 35_000_000), ("1G", 10**9), ("1T", 10**12),
        ("1P", 10**15), ("1E", 10**18), ("1.5Gi", 3 * 1024**3 // 2), (".5Gi", 1024**3 // 2), ("5.", 5),
        # An exponent is not the suffix E, and a small e is never a suffix.
        ("1E3", 1000), ("1e3", 1000), ("1e+3", 1000), ("12e-1", 2),
        # Whole values round up, down to a single nano.
        ("1n", 1), ("1u", 1), ("1500m", 2), ("0.1", 1), ("34144990003.2", 34_144_990_004),
        # Beyond what a float can hold.
        ("9007199254740993", 9_007_199_254_740_993), ("8191.9999999999999999Pi", 8192 * 1024**5),
        # Plain numbers, as YAML gives them.
        (6, 6), (1.5, 2), (0, 0),
    ],
)  # fmt: skip
def test_bytes(written: object, count: int) -> None:
    assert byte_count(written) == count
    assert amount("memory", written) == count


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("1", 1000),
        ("250m", 250),
        ("0.5", 500),
        ("100u", 1),
        ("1.0005", 1001),
        ("31500m", 31500),
        (2, 2000),
        (0.25, 250),
    ],
)
def test_millicores(written: object, count: int) -> None:
    assert millicores(written) == count
    assert amount("cpu", written) == amount("requests.cpu", written) == amount("limits.cpu", written) == count


@pytest.mark.parametrize(
    "nonsense",
    [
        "", " ", "x", "Gi", ".", "+", "-1", "-1Gi", "1 Gi", " 1", "1\n", "1gi", "1KI", "1K", "1ki", "1Mib", "1e",
        "1e3Mi", "1Ee3", "1e999", "1e-999", "0x10", "1_000", "1,5", "١", "NaN", "inf", "1" * 41, None, True, False, [],
        {}, b"1", -1, -0.5, float("nan"), float("inf"), float("-inf"),
    ],
)  # fmt: skip
def test_nonsense(nonsense: object) -> None:
    with pytest.raises(ValueError, match=r"quantity|exponent"):
        byte_count(nonsense)
    assert amount("memory", nonsense) is None
    assert amount("cpu", nonsense) is None
    assert ratio(nonsense) is None


@given(st.integers(0, 10**15), st.sampled_from(["", "k", "M", "G", "Ki", "Mi", "Gi"]))
def test_whole_numbers_are_exact(number: int, suffix: str) -> None:
    factor = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}[suffix]
    assert exact(f"{number}{suffix}") == Fraction(number * factor)
