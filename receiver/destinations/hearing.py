"""What people do at a destination itself, as far as it tells us."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable


class What(StrEnum):
    """What became of an incident."""

    ACKNOWLEDGED = "acknowledged"
    UNACKNOWLEDGED = "unacknowledged"
    RESOLVED = "resolved"
    REOPENED = "reopened"


@dataclass(frozen=True, slots=True)
class Heard:
    """One thing that a destination told us."""

    key: str
    """The dedup key under which it knows the story."""
    what: What
    by: str
    """The person; empty where it was nobody, such as a time-out, or our own request."""
    at: datetime
    """When, by the destination's clock."""


@runtime_checkable
class Hears(Protocol):
    """A sender that can be asked what people did."""

    @property
    def ask_every_s(self) -> float | None:
        """How often it may be asked, in seconds; None: not at all, since it was given no right to."""
        ...

    async def hear(self, keys: Mapping[str, datetime]) -> tuple[Heard, ...]:
        """Return what people did with these stories, known by key and by the time of their first message.

        Makes one request. Raises `receiver.errors.DeliveryError`.
        """
        ...
