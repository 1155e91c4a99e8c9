"""A handover as a message carries it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

HANDOVER = "handover"
"""The kind of a story that holds a handover: it is about no failure, and over at once."""
HANDED = "mtv_receiver_handover"
"""Annotation of its alert: a `Handed` as JSON."""


@dataclass(frozen=True, slots=True)
class HandedLine:
    """One line of it."""

    part: str
    """Heading, on the first line of a part; else empty."""
    name: str
    """What it is about, such as a plan."""
    text: str
    story: str = ""
    """Id of the story that it is about."""


@dataclass(frozen=True, slots=True)
class Handed:
    """All of it."""

    since: str
    """How long the shift was, as `/handover?since=` takes it."""
    lines: tuple[HandedLine, ...]
