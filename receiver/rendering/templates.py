"""Loading and running templates: sandboxed, strict about names, compiled and tried once when they are loaded."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jinja2
import re2
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from receiver.rendering import words
from receiver.rendering.context import NAMES, Context, variables
from receiver.rendering.markup import code_spans, escape
from receiver.rendering.sample import samples as trial_contexts

MAX_OUTPUT = 65_536
"""Characters that one template may write: far above what any destination takes."""
MESSAGES = (
    *("firing", "alert-gone", "alert", "re-running", "ended-here"),
    *("fixed", "canceled", "deleted", "cleared", "merged"),
)
PARTS = ("title", "push", "summary", "body")
ENTRIES = ("default", "fired", "evidence", "rerun", "failed-again", "worse", "reopened", "resolved")


class TemplateError(Exception):
    """A template could not be run. The message says where and why."""


@dataclass(frozen=True, slots=True)
class TemplateProblem:
    """What is wrong with a template: `file:line: what; cure`."""

    file: str
    line: int
    what: str
    cure: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}" + (f"; {self.cure}" if self.cure else "")


def shipped_templates() -> Path:
    """Return the folder of the templates that come with the program, in a checkout or in an installed package."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / "templates"
    return checkout if (checkout / "firing").is_dir() else package / "_shipped" / "templates"


class Templates:
    """The shipped templates, each overridden by a file of the same name in the user's folder, if there is one.

    Everything is compiled here, so a broken file shows as a problem now. It does not raise: what is broken stays
    broken until it is used, and then the plain message is sent instead.
    """

    def __init__(self, directory: Path | None = None, samples: Iterable[Context] | None = None) -> None:
        folders = [*([directory] if directory else []), shipped_templates()]
        self._env = _environment(folders)
        self._folders = tuple(folders)
        self._variants = frozenset(self._env.list_templates(extensions=["j2"]))
        self.problems: tuple[TemplateProblem, ...] = tuple(
            self._check(directory, tuple(trial_contexts() if samples is None else samples))
        )
        """Everything that is wrong, for `check`."""

    def render(self, name: str, context: Context) -> str:
        """Run `firing/title` for a context: the destination kind's own `firing/title.slack.j2` where there is one.

        Raises TemplateError.
        """
        own = f"{name}.{context.kind}.j2"
        return self._run(own if own in self._variants else f"{name}.j2", context)

    def _run(self, file: str, context: Context) -> str:
        try:
            template = self._env.get_template(file)
            written: list[str] = []
            size = 0
            for piece in template.generate(variables(context)):
                size += len(piece)
                if size > MAX_OUTPUT:
                    raise TemplateError(f"{file}: writes more than {MAX_OUTPUT:,} characters")
                written.append(piece)
        except jinja2.TemplateError as error:
            raise TemplateError(f"{file}: {type(error).__name__}: {error}") from error
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
            re2.error,
        ) as error:
            raise TemplateError(f"{file}: {type(error).__name__}: {error}") from error
        return "".join(written)

    def _check(self, directory: Path | None, samples: tuple[Context, ...]) -> Iterable[TemplateProblem]:
        if directory is not None and not directory.is_dir():
            yield TemplateProblem(str(directory), 1, "is no folder", "create it or drop the key")
        elif directory is not None:
            yield from _unknown_files(directory)
        for name in (
            *(f"{message}/{part}" for message in MESSAGES for part in PARTS),
            *(f"entry/{one}" for one in ENTRIES),
        ):
            if f"{name}.j2" not in self._variants:
                yield TemplateProblem(str(self._folders[-1]), 1, f"{name}.j2 is missing", "install the program again")
        for file in sorted(self._variants):
            source, path = self._source(file)
            try:
                tree = self._env.parse(source, file, path)
                self._env.get_template(file)
            except jinja2.TemplateSyntaxError as error:
                yield TemplateProblem(error.filename or path, error.lineno, error.message or "cannot be read")
                continue
            except (UnicodeDecodeError, OSError) as error:
                yield TemplateProblem(path, 1, f"cannot be read: {error}")
                continue
            problems = list(_unknown_names(tree, path))
            yield from problems
            if not problems and not file.startswith("_"):
                yield from self._tried(file, path, samples)

    def _source(self, file: str) -> tuple[str, str]:
        for folder in self._folders:
            path = folder / file
            if path.is_file():
                return path.read_text(encoding="utf-8", errors="replace"), str(path)
        return "", file

    def _tried(self, file: str, path: str, samples: tuple[Context, ...]) -> Iterable[TemplateProblem]:
        """Run a template for each sample: what only shows when it runs, shows now."""
        for sample in samples:
            try:
                self._run(file, sample)
            except TemplateError as error:
                yield _where(error, path)
                return


def _environment(folders: list[Path]) -> _Sandbox:
    env = _Sandbox(
        loader=jinja2.ChoiceLoader([jinja2.FileSystemLoader(folder) for folder in folders]),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # values are escaped for our own markup, by finalize
        finalize=escape,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=-1,
    )
    env.filters.update(_FILTERS)
    # Randomness would make equal stories into different payloads, and lipsum is of no use.
    for unused in ("lipsum", "cycler", "joiner"):
        env.globals.pop(unused, None)
    env.filters.pop("random", None)
    return env


class _Sandbox(ImmutableSandboxedEnvironment):
    """Also refuses what makes a huge text in one step."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if not numbers or (operator == "**" and (abs(left) > 1_000 or abs(right) > 10)):
            raise jinja2.exceptions.SecurityError(f"{operator} is for small numbers only")
        return super().call_binop(context, operator, left, right)


def _re_replace(text: object, pattern: str, replacement: str) -> str:
    """Replace every match; `$1` and `${1}` are groups, as in Alertmanager."""
    groups = re2.sub(r"\$\{?(\d+)\}?", r"\\\1", replacement.replace("\\", "\\\\"))
    return str(re2.sub(pattern, groups, str(text)))


_FILTERS: Mapping[str, Any] = MappingProxyType(
    {
        "codes": code_spans,
        "toUpper": lambda text: str(text).upper(),
        "toLower": lambda text: str(text).lower(),
        "match": lambda text, pattern: re2.search(pattern, str(text)) is not None,
        "reReplaceAll": _re_replace,
        "humanizeDuration": lambda seconds: words.duration(float(seconds)),
    }
)
"""Beside Jinja's own (`title`, `join`, `default`, …), named as in Alertmanager."""


def _unknown_files(directory: Path) -> Iterable[TemplateProblem]:
    folders = {*MESSAGES, "entry"}
    for path in sorted(directory.rglob("*.j2")):
        parts = path.relative_to(directory).parts
        if parts[0].startswith("_") or len(parts) < 2:
            continue
        stem = parts[-1].split(".")[0]
        if parts[0] not in folders:
            yield TemplateProblem(str(path), 1, f'no message is called "{parts[0]}"', _meant(parts[0], folders))
        elif stem not in (known := ENTRIES if parts[0] == "entry" else PARTS):
            yield TemplateProblem(str(path), 1, f'no part is called "{stem}"', _meant(stem, known))


def _unknown_names(tree: nodes.Template, path: str) -> Iterable[TemplateProblem]:
    own = {name.name for name in tree.find_all(nodes.Name) if name.ctx in {"store", "param"}}
    own |= {macro.name for macro in tree.find_all(nodes.Macro)} | {"loop", "caller", "range", "dict", "namespace"}
    for name in tree.find_all(nodes.Name):
        if name.ctx == "load" and name.name not in NAMES | own:
            yield TemplateProblem(path, name.lineno, f'no variable is called "{name.name}"', _meant(name.name, NAMES))


def _meant(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f'did you mean "{near[0]}"?' if near else f"one of: {', '.join(sorted(known))}"


def _where(error: TemplateError, path: str) -> TemplateProblem:
    """Jinja gives tracebacks the template's own file names and lines."""
    cause = error.__cause__
    frames = [one for one in traceback.extract_tb(cause.__traceback__) if one.filename.endswith(".j2")] if cause else []
    if frames:
        return TemplateProblem(frames[-1].filename, frames[-1].lineno or 1, str(cause))
    return TemplateProblem(path, 1, str(error))
