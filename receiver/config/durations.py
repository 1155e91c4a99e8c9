"""Durations as Prometheus writes them (`1h30m`), and sizes (`2GiB`). Both as pydantic types for settings."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, WithJsonSchema

# Prometheus' own notation and order, each unit at most once (common repo: model/time.go ParseDuration).
DURATION_PATTERN: Final = r"^(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?$"
_DURATION = re.compile(DURATION_PATTERN)
_SECONDS: Final = (31_536_000.0, 604_800.0, 86_400.0, 3_600.0, 60.0, 1.0, 0.001)
_LONGEST_S: Final = 100 * 31_536_000.0
SIZE_PATTERN: Final = r"^\d+(?:\.\d+)?\s?(?:[kKMGT]i?)?B?$"
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s?(?:([kKMGT])(i?))?(B?)")


def parse_duration(value: Any) -> float:
    """Return seconds. Accepts text such as `1h30m` or `0s`; a float or int is taken as seconds (our own defaults).

    Raises ValueError `what; cure`.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        raise ValueError("not a duration; write a number and a unit, such as 30s, 5m or 1h30m")
    text = value.strip()
    if re.fullmatch(r"\d+", text):
        raise ValueError(f"{text} has no unit; write {text}s for seconds, or use ms, m, h, d, w")
    found = _DURATION.match(text) if text else None
    if found is None:
        raise ValueError(f"{_shown(value)} is not a duration; write numbers with units, such as 30s, 5m, 1h30m or 7d")
    seconds = sum(int(number) * unit for number, unit in zip(found.groups(), _SECONDS, strict=True) if number)
    if seconds > _LONGEST_S:
        raise ValueError(f"{_shown(value)} is longer than 100 years; write a shorter duration")
    return seconds


def is_duration(text: str) -> bool:
    """Tell whether `parse_duration` would take this text."""
    return bool(text) and not text.isdigit() and _DURATION.match(text) is not None


def parse_size(value: Any) -> int:
    """Return bytes. Accepts text such as `2GiB`, `16MB` or `16777216`. Raises ValueError `what; cure`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f"{_shown(value)} is not a size; write bytes as a number, or such as 16MiB or 2GiB")
    number, prefix, binary, _ = found.groups()
    factor = (1024 if binary else 1000) ** " kMGT".index((prefix or " ").replace("K", "k"))
    return int(float(number) * factor)


def duration_text(seconds: float) -> str:
    """Write seconds the way `parse_duration` reads them, for messages: 5400 is `1h30m`."""
    rest = round(seconds * 1000)
    parts: list[str] = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _shown(value: Any) -> str:
    text = str(value)
    return repr(text if len(text) <= 40 else text[:39] + "…")


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\d+(ms|[smhdwy])(\d+(ms|[smhdwy]))*$", "examples": ["30s", "1h30m"]}
    ),
]
"""Seconds, written as a Prometheus duration."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": SIZE_PATTERN}]}),
]
"""Bytes, written as a number or such as `2GiB`."""
