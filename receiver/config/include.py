"""`include:` → the files that teams own, joined with routes.yaml into one document.

What is read afterwards sees one list of receivers and one root route; whatever is said of a part names its own file.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Final

from receiver.config.files import is_folder, is_glob, matching
from receiver.config.positions import Document, Origin, Path, YamlError, read_yaml
from receiver.config.problems import Problem, Problems, dotted
from receiver.config.reader import Reader
from receiver.config.sources import Sources
from receiver.config.wire import IncludedFile, IncludeWire, RoutesFile

MAX_FILES: Final = 1_000
_NAMES: Final = re.compile(r"""(?:^|[\s{,-])name:[ \t]*['"]?([^'"\s#,}]+)""", re.MULTILINE)
_LISTS: Final = {"receivers": ("receivers",), "time_intervals": ("time_intervals",), "routes": ("route", "routes")}
"""Lists of an included file, and the list of routes.yaml that each is appended to."""


@dataclass(slots=True)
class Joined(Document):
    """routes.yaml with the parts of other files in it. Its own nodes are those of routes.yaml alone."""

    moved: dict[Path, tuple[Document, Path]] = field(default_factory=dict)
    """Where each part that was added comes from."""

    def home(self, path: Path) -> tuple[Document, Path]:
        for length in (2, 3):  # a receiver, interval or runbook; a route
            if (found := self.moved.get(path[:length])) is not None:
                document, start = found
                return document, (*start, *path[length:])
        return self, path


@dataclass(slots=True)
class Included:
    """What `include:` led to."""

    files: tuple[FilePath, ...] = ()
    globs: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    """Names, as far as they can be told, in files that are no YAML: they are not said to be missing as well."""
    broken: bool = False
    """Something of them could not be read, so that what they would have used is not known."""


class _Includes:
    def __init__(self, problems: Problems, sources: Sources) -> None:
        self._problems = problems
        self._sources = sources
        self._main = sources.path.name
        self._lists: dict[str, list[tuple[Document, list[Any]]]] = {key: [] for key in _LISTS}
        self._runbooks: dict[str, tuple[Document, Any]] = {}
        self._names: set[str] = set()
        self._broken = False

    def read(self) -> Included:
        main = self._problems.document
        wire = Reader(self._problems, self._sources.folder).read(IncludeWire, {"include": main.value["include"]}, ())
        patterns = wire.include if wire else ()
        self._broken = not patterns and main.value["include"] != []
        places: dict[str, Path] = {}
        for at, pattern in enumerate(patterns):
            where = self._problems.element(("include",), at)
            for name in self._meant(pattern, where):
                places.setdefault(name, where)
        if len(places) > MAX_FILES:
            self._problems.add(("include",), f"more than {MAX_FILES} files", "join some of them")
            places = {}
        files = tuple(name for name, where in places.items() if self._file(name, where))
        self._join(main)
        return Included(
            tuple(self._sources.folder / name for name in files),
            tuple(pattern for pattern in patterns if is_glob(pattern)),
            frozenset(self._names),
            self._broken,
        )

    def _meant(self, pattern: str, where: Path) -> tuple[str, ...]:
        folder, problems = self._sources.folder, self._problems
        if not pattern or "\0" in pattern:
            problems.add(where, "empty", "name a file or a glob such as 'routes.d/*.yaml', or remove it")
            return ()
        pattern = str(FilePath(pattern))
        if "**" in pattern:
            problems.add(where, "** is not known here", "write one glob for each folder, such as 'teams/*/routes.yaml'")
            return ()
        if is_glob(pattern):
            found = matching(folder, pattern)
            if not found:
                problems.warn(where, f"no file matches {pattern}", "correct it, unless the first file is still to come")
            return found
        if is_folder(folder / pattern):
            problems.add(where, f"{pattern} is a folder", f"write '{pattern}/*.yaml'")
            self._broken = True
            return ()
        return (pattern,)

    def _content(self, name: str, where: Path) -> bytes | None:
        file = self._sources.folder / name
        try:
            if stat.S_ISREG(file.stat().st_mode):
                return self._sources.read(file)
            wrong = f"{name} is no file", "leave it out of include"
        except FileNotFoundError:
            cure = "correct or remove the link" if file.is_symlink() else "create it, or remove it from include"
            wrong = f"there is no file {name}", cure
        except OSError as error:
            wrong = f"{name} cannot be read ({error.strerror})", "let this user read it"
        self._problems.add(where, *wrong)
        self._broken = True
        return None

    def _file(self, name: str, where: Path) -> bool:
        """Read one file and keep its parts; False where there is nothing to read."""
        file, problems = self._sources.folder / name, self._problems
        content = self._content(name, where)
        if content is None:
            return False
        if file.samefile(self._sources.path):
            cure = "keep the files of teams in a folder of their own, such as routes.d"
            problems.add(where, f"{self._main} includes itself", cure)
            return False
        shown = self._sources.shown(file)
        try:
            document = read_yaml(content)
        except YamlError as error:
            at = error.place
            problems.take([Problem(shown, at.line, at.column, dotted(error.path[:6]), error.what, error.cure)])
            self._names |= {found[1] for found in _NAMES.finditer(content.decode("utf-8", "replace"))}
            self._broken = True
        else:
            document.origin = Origin(shown, name, file.parent)
            self._document(document, Problems(shown, document))
        return True

    def _document(self, document: Document, problems: Problems) -> None:
        value = document.value
        if value is None or value == {}:
            cure = "give receivers, routes, runbooks or time_intervals, or remove the file"
            problems.add((), "the file is empty", cure)
        elif not isinstance(value, Mapping):
            problems.add((), "not a mapping", "write keys such as receivers: and routes:")
        else:
            self._keys(document, problems)
            reader = Reader(problems, self._sources.folder)
            for key, found in self._lists.items():
                if key in value:
                    found.append((document, reader.sequence(value[key], (key,))))
            if "runbooks" in value:
                for alert, link in reader.mapping(value["runbooks"], ("runbooks",)).items():
                    self._runbook(alert, link, document, problems)
        self._problems.take(problems.sorted())

    def _keys(self, document: Document, problems: Problems) -> None:
        here = IncludedFile.written_keys()
        for key in document.value:
            if key in here:
                continue
            if key == "include":
                what, cure = "an included file includes no others", f"name them in include of {self._main}"
            elif key == "route":
                what = f"there is one root route, and it is in {self._main}"
                cure = "write routes: with a list, which is appended to the root route's own"
            elif key in RoutesFile.written_keys():
                what = f"not for an included file, which holds only {', '.join(sorted(here))}"
                cure = f"move it to {self._main}"
            else:
                Reader(problems, self._sources.folder).unknown_key((key,), here)
                continue
            problems.add((key,), what, cure, on_key=True)
        for path, place, first in document.duplicates:
            problems.at(place, path, f"stands here a second time, first in line {first.line}", "keep one of them")

    def _runbook(self, alert: str, link: Any, document: Document, problems: Problems) -> None:
        main = self._problems.document.value.get("runbooks")
        path = ("runbooks", alert)
        if isinstance(main, Mapping) and alert in main:
            first = self._problems.position(path)
        elif alert in self._runbooks:
            other = self._runbooks[alert][0]
            first = Problems("", other).position(path)
        else:
            self._runbooks[alert] = (document, link)
            return
        problems.add(path, f"a second runbook of this alert, first at {first}", "keep one of them", on_key=True)

    def _join(self, main: Document) -> None:
        whole = Joined(dict(main.value), main.duplicates, main.text, main.nodes, main.keys, main.origin)
        reader = Reader(self._problems, self._sources.folder)
        for key, path in _LISTS.items():
            if not self._lists[key] or not isinstance(around := self._around(whole.value, path), dict):
                continue  # where there is no root route, that is said
            items = list(reader.sequence(around[path[-1]], path)) if path[-1] in around else []
            for document, more in self._lists[key]:
                for at, item in enumerate(more):
                    whole.moved[(*path, len(items))] = (document, (key, at))
                    items.append(item)
            around[path[-1]] = items
        if self._runbooks:
            own = reader.mapping(whole.value["runbooks"], ("runbooks",)) if "runbooks" in whole.value else {}
            whole.value["runbooks"] = dict(own)
            for alert, (document, link) in self._runbooks.items():
                whole.value["runbooks"][alert] = link
                whole.moved["runbooks", alert] = (document, ("runbooks", alert))
        self._problems.document = whole

    @staticmethod
    def _around(value: dict[str, Any], path: tuple[str, ...]) -> Any:
        """Return the mapping that holds a list, which may be changed."""
        if len(path) == 1:
            return value
        if value.get(path[0]) and isinstance(value[path[0]], Mapping):
            value[path[0]] = dict(value[path[0]])
            return value[path[0]]
        return None


def read_include(problems: Problems, sources: Sources) -> Included:
    """Join the files that `include` names with the document of `problems`, which stands for all of them then."""
    if "include" not in problems.document.value:
        return Included()
    return _Includes(problems, sources).read()
