"""`causes_files`: tables of known errors. The tables that are shipped have the same form and the same reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Annotated, Any, Final

import re2
from pydantic import AfterValidator, BeforeValidator, Field

from receiver.config.known_errors import ANYWHERE, LOGS, KnownError, Place, compiled, flat, reason_of
from receiver.config.positions import Document, Path, YamlError, read_yaml
from receiver.config.problems import Problem, Problems, dotted
from receiver.config.reader import Reader
from receiver.config.settings import LinkUrl, Names, Settings
from receiver.config.sources import Sources

MAX_CAUSES: Final = 1_000  # of all files: every text of every failure is compared with each of them
_ID_LIMIT: Final = 60
_SENTENCE_LIMIT: Final = 300  # what the messages show of it


def _dashed(value: str) -> str:
    words = value.split("-")
    if not all((word.isalnum() and word.isascii() and word.islower()) or word.isdigit() for word in words):
        raise ValueError("not an id; write two or three small words with dashes, such as vpn-down")
    if len(value) > _ID_LIMIT:
        raise ValueError(f"longer than {_ID_LIMIT} characters; it stands in headlines, write two or three words")
    return value


def _sentence(value: str) -> str:
    clean = flat(value)
    if not clean:
        raise ValueError("empty; say in one sentence what is wrong")
    if len(clean) > _SENTENCE_LIMIT:
        raise ValueError(f"longer than {_SENTENCE_LIMIT} characters; say it shorter, details belong to the remedy")
    return clean if clean[-1] in ".!?" else f"{clean}."


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _line(value: str) -> str:
    if not value.strip():
        raise ValueError("empty; give a value, or remove the line")
    return flat(value)


def _some(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("empty; give at least one")
    return value


Line = Annotated[str, AfterValidator(_line)]


class CauseWire(Settings):
    """One entry of a causes file."""

    id: Annotated[str, AfterValidator(_dashed)]
    """Two or three words with dashes: they stand in headlines. The id of a shipped cause replaces that one."""
    where: Annotated[tuple[Place, ...], BeforeValidator(_listed)] = ()
    """Where it is looked for; anywhere if missing."""
    patterns: Annotated[Names, AfterValidator(_some)]
    """RE2; all must meet in one text. Case does not matter, white space is collapsed first."""
    sentence: Annotated[str, AfterValidator(_sentence)]
    remedy: Annotated[tuple[Line, ...], AfterValidator(_some), Field()]
    owner: Line
    link: LinkUrl = ""
    example: Line
    """A text as it really comes: `check` looks whether the patterns find it."""


def read_causes_files(
    files: Sequence[FilePath], path: Path, problems: Problems, sources: Sources
) -> tuple[tuple[KnownError, ...], tuple[Problem, ...]]:
    """Return the causes of all files in their order, and what is wrong in them.

    A file that cannot be read is a problem of the configuration, at the line that names it.
    """
    found: dict[str, tuple[KnownError, str]] = {}
    wrong: list[Problem] = []
    for at, file in enumerate(files):
        if not file.is_file():
            problems.add((*path, at), f"there is no file {file}", "create it, or remove it from the list")
            continue
        try:
            content = sources.read(file)
        except OSError as error:
            problems.add((*path, at), f"{file} cannot be read ({error.strerror})", "let this user read it")
            continue
        wrong += read_causes(sources.shown(file), content, found)
    if len(found) > MAX_CAUSES:
        problems.add(path, f"more than {MAX_CAUSES} causes", "keep those that happen")
    return tuple(cause for cause, _ in found.values()), tuple(wrong)


def read_causes(
    file: str, content: bytes, found: dict[str, tuple[KnownError, str]], *, examples: bool = True
) -> tuple[Problem, ...]:
    """Add the causes of one file to `found` (id → cause and where it stands); return everything that is wrong.

    Without `examples` nobody looks whether the patterns find them: that has been done where the file was made.
    """
    try:
        document = read_yaml(content, quick=not examples)
    except YamlError as error:
        bad = error.place
        return (Problem(file, bad.line, bad.column, dotted(error.path[:6]), error.what, error.cure),)
    problems = Problems(file, document)
    for path, at, first in document.duplicates:
        problems.at(at, path, f"stands here a second time, first in line {first.line}", "keep one of them")
    if document.value is None:
        problems.add((), "the file is empty", "write one entry for each cause, or take the file out of causes_files")
    elif not isinstance(document.value, list):
        problems.add((), "not a list of causes", "begin each cause with `- id: …`")
    else:
        for index, raw in enumerate(document.value):
            _entry(raw, index, document, problems, found, examples=examples)
    return problems.sorted()


def _entry(
    raw: Any,
    at: int,
    document: Document,
    problems: Problems,
    found: dict[str, tuple[KnownError, str]],
    *,
    examples: bool,
) -> None:
    path: Path = (at,)
    if not isinstance(raw, Mapping):
        problems.add(path, "not a mapping", "write id:, patterns:, sentence:, remedy:, owner: and example: under it")
        return
    # Relative paths have no meaning here: an entry names no files.
    wire = Reader(problems, FilePath()).read(CauseWire, raw, path)
    good = _patterns(raw.get("patterns"), path, problems)
    if wire is None or not good:
        return
    cause = KnownError(
        id=str(wire.id),
        sentence=wire.sentence,
        remedy=wire.remedy,
        owner=wire.owner,
        where=frozenset(str(place) for place in wire.where) or ANYWHERE,
        patterns=tuple(str(pattern) for pattern in wire.patterns),
        example=str(raw["example"]),
        link=str(wire.link),
    )
    line = f"{problems.file}:{document.key_place((*path, 'id')).line}"
    if cause.id in found:
        what = f"{cause.id!r} stands here a second time, first at {found[cause.id][1]}"
        problems.add((*path, "id"), what, "put the patterns into one entry, or give another id")
        return
    if not examples or _example(cause, path, problems, found):
        found[cause.id] = (cause, line)


def _patterns(raw: Any, path: Path, problems: Problems) -> bool:
    """Report each pattern that RE2 refuses, or that any text would meet."""
    good = True
    listed = raw if isinstance(raw, list) else [raw]
    for index, pattern in enumerate(listed):
        if not isinstance(pattern, str) or not pattern:
            continue  # the form is judged elsewhere
        where: Path = (*path, "patterns", index) if isinstance(raw, list) else (*path, "patterns")
        try:
            found = compiled(pattern).search("")
        except re2.error as error:
            problems.add(where, f"not a regular expression ({reason_of(error)})", "correct it (RE2 syntax)")
            good = False
        else:
            if found:
                problems.add(where, "every text meets it", "name words that only this error has")
                good = False
    return good


def _example(cause: KnownError, path: Path, problems: Problems, found: Mapping[str, tuple[KnownError, str]]) -> bool:
    """Report an example that its own patterns, or those of an earlier entry, would not leave to it."""
    where = (*path, "example")
    if missed := next((pattern for pattern in cause.patterns if not _meets((pattern,), cause.example)), None):
        cure = "correct the pattern, or give a text as it really came"
        problems.add(where, f"the pattern {missed!r} does not find it", cure)
        return False
    for earlier, place in found.values():
        if _same_place(earlier, cause) and _meets(earlier.patterns, cause.example):
            what = f"{earlier.id!r} ({place}) comes first and finds it, too"
            problems.add(where, what, "put the more specific entry first")
            return False
    return True


def _same_place(one: KnownError, other: KnownError) -> bool:
    both = one.where | other.where
    logs = bool(one.where & LOGS and other.where & LOGS and "log" in both)
    return bool(one.where & other.where) or logs


def _meets(patterns: Sequence[str], example: str) -> bool:
    text = flat(example)
    return all(compiled(pattern).search(text) for pattern in patterns)
