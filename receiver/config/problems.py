"""What is wrong with a configuration, for people: where, what, and the cure."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from receiver.config.positions import Document, Path, Place


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake, or (as a warning) one thing that does not do what it looks like. Ordered by place."""

    file: str
    line: int
    """1-based."""
    column: int
    """1-based, in characters."""
    key: str
    """Such as `route.routes[0].matchers[1]`; empty for the file as a whole."""
    what: str
    cure: str
    warning: bool = False

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        return f"{self.file}:{self.line}:{self.column}: {key}{self.what}; {self.cure}"


class ConfigError(Exception):
    """The configuration cannot be used; `problems` holds every reason, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class Problems:
    """Collects problems while a document is read; each is said once."""

    def __init__(self, file: str, document: Document) -> None:
        self.file = file
        self.document = document
        self._found: dict[Problem, None] = {}

    def add(  # every argument is one part of the printed line
        self, path: Path, what: str, cure: str, *, on_key: bool = False, offset: int = 0, warning: bool = False
    ) -> None:
        """Note a problem at the value under `path`, `offset` characters into it, or at its key.

        A path that is not in the file stands for the nearest thing around it that is.
        """
        place = self.document.key_place(path) if on_key else self.document.place(path, offset)
        self.at(place, path, what, cure, warning=warning)

    def at(self, place: Place, path: Path, what: str, cure: str, *, warning: bool = False) -> None:
        """Note a problem at a place that is known already."""
        self._found[Problem(self.file, place.line, place.column, dotted(path), what, cure, warning)] = None

    def take(self, problems: Iterable[Problem]) -> None:
        """Note problems of another file that this one names."""
        self._found |= dict.fromkeys(problems)

    def warn(self, path: Path, what: str, cure: str, *, on_key: bool = True) -> None:
        """Note something that works, but not as it may be thought to."""
        self.add(path, what, cure, on_key=on_key, warning=True)

    def sorted(self) -> tuple[Problem, ...]:
        """Return all of them in file order."""
        return tuple(sorted(self._found))


def dotted(path: Path) -> str:
    """Write a path the way people do: `receivers[0].slack_configs[1].channel`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def suggestion(word: str, known: Iterable[str], *, fallback: str = "") -> str:
    """Return the cure for a word that is not known."""
    names = sorted(set(known))
    close = get_close_matches(word, names, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return fallback or (f"there are {', '.join(names)}" if names else "remove it")
