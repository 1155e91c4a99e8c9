"""A quota's refusal, to the byte."""

from __future__ import annotations

from fractions import Fraction

import pytest

from receiver.stuck import Shortage, parse_refusal
from receiver.stuck.kinds import amount
from receiver.stuck.quota_text import quantity, unit_of

SEVERAL = (
    'pods "x" is forbidden: exceeded quota: q-1, requested: limits.cpu=4015m,limits.memory=8940039936, '
    "used: limits.cpu=28505m,limits.memory=62900279552, limited: limits.cpu=26,limits.memory=54242646Ki"
)


def test_several_keys_each_have_their_own_sum() -> None:
    found = parse_refusal(SEVERAL)
    assert found is not None
    assert found.quota == "q-1"
    assert found.keys == (
        Shortage("limits.cpu", "m", need=4_015, used=28_505, limit=26_000, free=-2_505, short=6_520),
        Shortage(
            "limits.memory", "B", need=8_940_039_936, used=62_900_279_552, limit=55_544_469_504,
            free=-7_355_810_048, short=16_295_849_984,
        ),
    )  # fmt: skip


def test_a_key_of_a_storage_class_and_a_count_are_read() -> None:
    key = "gold.storageclass.storage.k8s.io/requests.storage"
    found = parse_refusal(
        f"exceeded quota: q, requested: {key}=30Gi,persistentvolumeclaims=1, used: {key}=90Gi,"
        f"persistentvolumeclaims=5, limited: {key}=100Gi,persistentvolumeclaims=5"
    )
    assert found is not None
    assert [(one.resource, one.unit, one.short) for one in found.keys] == [
        (key, "B", 20 * 1024**3),
        ("persistentvolumeclaims", "", 1),
    ]


def test_a_shortage_of_one_byte_is_one() -> None:
    found = parse_refusal("exceeded quota: q, requested: memory=1025, used: memory=1Mi, limited: memory=1025Ki")
    assert found is not None
    assert (found.keys[0].free, found.keys[0].short) == (1_024, 1)


def test_an_amount_that_cannot_be_read_leaves_its_sum_open() -> None:
    found = parse_refusal("exceeded quota: q, requested: memory=lots, used: memory=1Mi, limited: memory=2Mi")
    assert found is not None
    assert found.keys == (Shortage("memory", "B", used=1 << 20, limit=2 << 20, free=1 << 20),)


def test_text_after_the_last_amount_does_not_spoil_it() -> None:
    found = parse_refusal("exceeded quota: q, requested: pods=1, used: pods=3, limited: pods=3. Will retry, at=once.")
    assert found is not None
    assert [(one.resource, one.limit, one.short) for one in found.keys] == [("pods", 3, 1)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "disk quota exceeded",
        "failed quota: q: must specify limits.cpu for: compute",
        "exceeded quota: q, used: a=1",
    ],
)
def test_other_text_is_no_refusal(text: str) -> None:
    assert parse_refusal(text) is None


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("52Gi", 52 * 1024**3), ("405m", Fraction(405, 1000)), ("1.5", Fraction(3, 2)), ("2e3", 2_000), ("1E", 10**18),
        ("1Ei", 1024**6), ("100k", 100_000), (".5Gi", 1 << 29), ("5.", 5), ("-1", -1), (7, 7),
        ("3n", Fraction(3, 10**9)),
    ],
)  # fmt: skip
def test_quantities_are_exact(written: object, value: Fraction) -> None:
    assert quantity(written) == value


@pytest.mark.parametrize("written", ["", "Gi", "1 Gi", "1e999", "1Qi", "9" * 5_000, True, None, 1.5, "1i", "1e"])
def test_what_is_no_quantity_is_none(written: object) -> None:
    assert quantity(written) is None


@pytest.mark.parametrize(
    ("resource", "unit"),
    [
        ("requests.cpu", "m"), ("cpu", "m"), ("limits.memory", "B"), ("requests.storage", "B"), ("pods", ""),
        ("requests.hugepages-2Mi", "B"), ("count/pods", ""), ("requests.nvidia.com/gpu", ""), ("services", ""),
    ],
)  # fmt: skip
def test_units(resource: str, unit: str) -> None:
    assert unit_of(resource) == unit


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (64 << 30, "B", "64 GiB"), (17_542_024_896, "B", "16.34 GiB"), (512 << 20, "B", "512 MiB"), (7, "B", "7 B"),
        (1_415, "m", "1.415 CPUs"), (1_000, "m", "1 CPU"), (2_500, "m", "2.5 CPUs"), (1_200, "", "1,200"),
    ],
)  # fmt: skip
def test_amounts_for_people(value: int, unit: str, words: str) -> None:
    assert amount(value, unit) == words
