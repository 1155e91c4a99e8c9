"""Amounts of several resources at once: what a pod asks for, what a node has left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from receiver.capacity.quantity import amount


class Vector(Mapping[str, int]):
    """Resource to amount, immutable. `cpu` in millicores, memory and storage in bytes, everything else a count.

    A resource that is not there counts as 0 in arithmetic, and is not iterated. Amounts may be negative: a node can be
    promised more than it has.
    """

    __slots__ = ("_amounts",)

    def __init__(self, amounts: Mapping[str, int] | Iterable[tuple[str, int]] = ()) -> None:
        self._amounts: Final = dict(amounts)

    def __getitem__(self, resource: str) -> int:
        return self._amounts[resource]

    def __iter__(self) -> Iterator[str]:
        return iter(self._amounts)

    def __len__(self) -> int:
        return len(self._amounts)

    def __hash__(self) -> int:
        return hash(frozenset(self._amounts.items()))

    def __repr__(self) -> str:
        return f"Vector({self._amounts})"

    def __add__(self, other: Mapping[str, int]) -> Vector:
        total = dict(self._amounts)
        add_into(total, other)
        return Vector(total)

    def __sub__(self, other: Mapping[str, int]) -> Vector:
        left = dict(self._amounts)
        for resource, count in other.items():
            left[resource] = left.get(resource, 0) - count
        return Vector(left)

    def amount(self, resource: str) -> int:
        """Return the amount of a resource, 0 if it is not there."""
        return self._amounts.get(resource, 0)

    def replace(self, **amounts: int) -> Vector:
        """Return the same with other amounts of some resources."""
        return Vector({**self._amounts, **amounts})


def add_into(total: dict[str, int], more: Mapping[str, int]) -> None:
    """Add amounts to a sum that is still being built."""
    for resource, count in more.items():
        total[resource] = total.get(resource, 0) + count


def raise_to(total: dict[str, int], floor: Mapping[str, int]) -> None:
    """Raise each amount to at least `floor`."""
    for resource, count in floor.items():
        if count > total.get(resource, 0):
            total[resource] = count


def read_vector(value: object) -> tuple[dict[str, int], bool]:
    """Read a resource list such as `requests`; the second is False if an amount of it could not be read."""
    if value is None:
        return {}, True
    if not isinstance(value, dict):
        return {}, False
    found: dict[str, int] = {}
    readable = True
    for resource, written in value.items():
        count = amount(resource, written) if isinstance(resource, str) else None
        if count is None:
            readable = False
        else:
            found[resource] = count
    return found, readable
