"""What a ResourceQuota says when it refuses: "exceeded quota: Q, requested: k=v,…, used: k=v,…, limited: k=v,…".

The text is the API server's (admission plug-in `resourcequota`); Application Aware Quota words it alike. Only the keys
that are exceeded stand in it, all of them in each of the three lists. Amounts are Kubernetes quantities and are read
exactly: a shortage of one byte is one.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from receiver.stuck.kinds import Shortage

Unit = Literal["m", "B", ""]

MAX_KEYS = 20

_LIST = r"[^\s,=]+=[^\s,]+(?:,\s?[^\s,=:]+=[^\s,]+)*"
_REFUSAL = re.compile(
    rf"exceeded quota: (?P<quota>[^\s,]{{1,253}}), requested: (?P<requested>{_LIST}), "
    rf"used: (?P<used>{_LIST}), limited: (?P<limited>{_LIST})",
    re.IGNORECASE,
)
# Digits are bounded, so that no text makes arithmetic slow.
_QUANTITY = re.compile(r"([+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,18})?|\.[0-9]{1,18}))([numkKMGTPE]?i?|[eE][+-]?[0-9]{1,2})")
_TEN = Fraction(10)
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refusal. `short` of a key is what must be freed or added before the same request passes."""

    quota: str
    keys: tuple[Shortage, ...]


def parse_refusal(message: str) -> Refusal | None:
    """Return what a quota refused, or None where the text is of something else. Of several refusals the first."""
    found = _REFUSAL.search(message[:20_000])
    if found is None:
        return None
    requested, used, limited = (_amounts(found[part]) for part in ("requested", "used", "limited"))
    keys = []
    for key, need in list(requested.items())[:MAX_KEYS]:
        unit = unit_of(key)
        keys.append(shortage(key, unit, need, used.get(key), limited.get(key)))
    return Refusal(found["quota"], tuple(keys))


def shortage(
    resource: str, unit: Unit, need: Fraction | None, used: Fraction | None = None, limit: Fraction | None = None
) -> Shortage:
    """Return the shortage in whole units. What a request needs is rounded up, as Kubernetes does; so is what lacks."""
    scale = 1_000 if unit == "m" else 1
    free = limit - used if limit is not None and used is not None else None
    lacks = need - free if need is not None and free is not None else None
    return Shortage(
        resource,
        unit,
        need=None if need is None else math.ceil(need * scale),
        used=None if used is None else math.ceil(used * scale),
        limit=None if limit is None else math.floor(limit * scale),
        free=None if free is None else math.floor(free * scale),
        short=None if lacks is None else math.ceil(lacks * scale),
    )


def unit_of(resource: str) -> Unit:
    """Return in what a resource is counted: thousandths of a CPU, bytes, or pieces."""
    bare = resource.rpartition("/")[2].removeprefix("requests.").removeprefix("limits.")
    if bare == "cpu":
        return "m"
    # `count/…` and `services.…` are pieces; hugepages and all storage are bytes.
    return "B" if bare in ("memory", "storage", "ephemeral-storage") or bare.startswith("hugepages-") else ""


def quantity(value: object) -> Fraction | None:
    """Return a Kubernetes quantity such as 52Gi, 405m, 1.5 or 2e3, exactly; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return Fraction(value) if abs(value) < 1 << 100 else None
    found = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    number, suffix = Fraction(found[1].rstrip(".")), found[2]
    if suffix in _BINARY:
        return number * int(1_024 ** _BINARY[suffix])
    power = _DECIMAL.get(suffix)
    if power is None and suffix[1:].lstrip("+-").isdigit():  # 2e3; a lone E is a suffix
        power = int(suffix[1:])
    return None if power is None else number * _TEN**power


def _amounts(listed: str) -> dict[str, Fraction | None]:
    pairs = (pair.strip().partition("=") for pair in listed.split(","))
    return {key: quantity(value.rstrip(".;)")) for key, _, value in pairs}
