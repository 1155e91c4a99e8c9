"""What is wrong with a configuration, for people: where, what, and the cure."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from receiver.config.positions import Document, Origin, Path, Place


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

    @property
    def printed(self) -> str:
        """The same as it is printed: a warning says that it is one."""
        place = f"{self.file}:{self.line}:{self.column}: "
        return f"{place}warning: {str(self).removeprefix(place)}" if self.warning else str(self)


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
        document, own = self.document.home(path)
        place = document.key_place(own) if on_key else document.place(own, offset)
        self.at(place, path, what, cure, warning=warning)

    def at(self, place: Place, path: Path, what: str, cure: str, *, warning: bool = False) -> None:
        """Note a problem at a place that is known already."""
        document, own = self.document.home(path)
        file = document.origin.file if document.origin else self.file
        self._found[Problem(file, place.line, place.column, dotted(own), what, cure, warning)] = None

    def take(self, problems: Iterable[Problem]) -> None:
        """Note problems of another file that this one names."""
        self._found |= dict.fromkeys(problems)

    def warn(self, path: Path, what: str, cure: str, *, on_key: bool = True) -> None:
        """Note something that works, but not as it may be thought to."""
        self.add(path, what, cure, on_key=on_key, warning=True)

    def element(self, path: Path, at: int) -> Path:
        """Return the path of a list's element, or of the whole where one value was written instead of a list."""
        element = (*path, at)
        document, own = self.document.home(element)
        return element if own in document.nodes else path

    def written(self, path: Path) -> str:
        """Return a scalar's text; empty for anything else."""
        document, own = self.document.home(path)
        return document.written(own)

    def line_behind(self, path: Path) -> str:
        """Return what stands behind the key in its line: to explain why a value is empty."""
        document, own = self.document.home(path)
        return document.line_behind(own)

    def origin(self, path: Path) -> Origin | None:
        """Return which file something stands in; None for the one that everything began with."""
        return self.document.home(path)[0].origin

    def position(self, path: Path) -> str:
        """Return `routes.yaml:23` for people who are told why."""
        document, own = self.document.home(path)
        name = document.origin.name if document.origin else self.file.rpartition("/")[2]
        return f"{name}:{document.place(own).line}"

    def seen_from(self, path: Path, other: Path) -> str:
        """Return where something is, for people who look at `other`: `line 23`, or a position in another file."""
        near = self.origin(path) == self.origin(other)
        position = self.position(path)
        return f"line {position.rpartition(':')[2]}" if near else position

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
