"""Matchers, globs and names inside the file, with a position for each mistake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from receiver.config.positions import Path
from receiver.config.problems import Problems, suggestion
from receiver.config.reader import split_message
from receiver.routing.matchers import Glob, Matcher, MatcherError, parse_glob, parse_matchers_with_warning


def read_matchers(texts: Sequence[str], path: Path, problems: Problems) -> tuple[Matcher, ...]:
    """Read a `matchers:` list; each element may hold several, comma-separated."""
    found: list[Matcher] = []
    for at, text in enumerate(texts):
        where = problems.element(path, at)
        try:
            matchers, warning = parse_matchers_with_warning(text)
        except MatcherError as error:
            problems.add(where, *split_message(str(error)), offset=error.position)
            continue
        if warning:
            problems.warn(where, *split_message(warning), on_key=False)
        found += matchers
    return tuple(found)


def read_globs(texts: Sequence[str], path: Path, problems: Problems) -> tuple[Glob, ...]:
    """Read a list of globs."""
    found: list[Glob] = []
    for at, text in enumerate(texts):
        where = problems.element(path, at)
        try:
            found.append(parse_glob(text))
        except MatcherError as error:
            problems.add(where, *split_message(str(error)), offset=error.position)
    return tuple(found)


def check_names(names: Sequence[str], known: Mapping[str, Any], kind: str, path: Path, problems: Problems) -> None:
    """Report every name that does not exist. `kind` is what the names are of, such as `receiver`."""
    for at, name in enumerate(names):
        if name not in known:
            cure = suggestion(
                name, known, fallback=f"define it, or use one of: {', '.join(sorted(known)) or 'none yet'}"
            )
            problems.add(problems.element(path, at), f"there is no {kind} {name!r}", cure)
