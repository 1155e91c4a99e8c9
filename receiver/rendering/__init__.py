"""A story, as of now, in words: neutral messages that each destination puts into its own form.

Templates (see `templates/README.md`) write a small markup; `markup.parse` turns it into the blocks below. Values never
carry markup: they are escaped where a template prints them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from receiver.model import Entry, Link, Wanted


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of text in one style: "" plain, "b" bold, "i" italic, "c" code; `url` makes it a link."""

    text: str
    style: str = ""
    url: str = ""


Text = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text."""

    text: Text


@dataclass(frozen=True, slots=True)
class Steps:
    """A list; numbered where the order matters."""

    items: tuple[Text, ...]
    numbered: bool = True


@dataclass(frozen=True, slots=True)
class Code:
    """Lines to read or copy as they are, under an optional caption."""

    lines: tuple[str, ...]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a header; destinations without tables align them as code."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Small:
    """Small print: context, what is unknown, who was told."""

    text: Text


Block = Paragraph | Steps | Code | Table | Small


@dataclass(frozen=True, slots=True)
class Message:
    """One message for one destination, before that destination's own form."""

    push: str
    """First line that stands alone on a lock screen: impact, what, where; about 90 characters."""
    title: str
    """Headline, at most 150 characters, no markup."""
    mark: str
    """State as one emoji: 🔴 🟠 🔵 🟢 ⚪."""
    color: str
    """State as `#rrggbb`."""
    blocks: tuple[Block, ...]
    links: tuple[Link, ...] = ()
    summary: str = ""
    """One line without numbers that age or causes that may change: PagerDuty's title, a ticket's summary."""


class Renderer(Protocol):
    """Words for a story. Never raises: a broken template falls back to the plain built-in message and is counted."""

    def warm_up(self) -> Iterator[None]:
        """Do beforehand, in steps of some milliseconds, what the first message of each kind would have to wait for."""
        ...

    def in_folder(self, folder: Path | None) -> Renderer:
        """Return the words of a destination whose own templates are in this folder; None: these words."""
        ...

    def root(self, wanted: Wanted, kind: str, content: str = "full") -> Message:
        """Return what the root shows now. `kind` is a destination kind, `content` full, summary or minimal."""
        ...

    def entry(self, entry: Entry, wanted: Wanted, kind: str, content: str = "full") -> Message:
        """Return what an entry (thread reply, comment) says."""
        ...
