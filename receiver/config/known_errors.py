"""One known error, as causes files and the shipped tables write it.

Patterns are RE2: whatever a user writes, the time to look for it grows with the length of the text only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, get_args

import re2

Place = Literal[
    "log",
    "virt-v2v log",
    "importer log",
    "populator log",
    "hook log",
    "controller log",
    "reason",
    "event",
    "condition",
]
"""Where a text comes from: any log, the log of one program, an error of a pipeline or task, an event, a condition."""

ANYWHERE: Final[frozenset[str]] = frozenset({"log", "reason", "event", "condition"})
LOGS: Final[frozenset[str]] = frozenset(place for place in get_args(Place) if place.endswith("log"))


@dataclass(frozen=True, slots=True)
class KnownError:
    """An error that has a name: where it shows, what it means, what to do, and who usually does it."""

    id: str
    sentence: str
    """What is wrong, for people; ends with a full stop. The id, with blanks for dashes, stands in headlines."""
    remedy: tuple[str, ...]
    """Steps. Running the plan again is no step: messages say it themselves, with the command and what it costs."""
    owner: str
    where: frozenset[str]
    patterns: tuple[str, ...]
    """All of them must meet in one text."""
    example: str
    """A text as it really comes."""
    link: str = ""

    def shows_in(self, source: str, program: str = "") -> bool:
        """Tell whether a text of this source counts. A log of a program nobody knows may be any program's."""
        if source != "log":
            return source in self.where
        return "log" in self.where or bool(self.where & LOGS if not program else f"{program} log" in self.where)


def flat(text: str) -> str:
    """Return text as patterns see it: white space collapsed, because virt-v2v wraps its messages."""
    return " ".join(text.split())


def options() -> Any:
    """Return how patterns are compiled: case does not matter, and a mistake is for us to tell."""
    chosen = re2.Options()
    chosen.case_sensitive = False
    chosen.log_errors = False
    return chosen


@lru_cache(maxsize=4_096)
def compiled(pattern: str) -> Any:
    """Return the pattern, ready for use. Raises re2.error."""
    return re2.compile(pattern, options())


def reason_of(error: Exception) -> str:
    """Return why RE2 refuses a pattern."""
    said = error.args[0] if error.args else ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said) or "RE2 refuses it"
