"""Loading, trying and running templates: sandboxed, strict about names."""

from __future__ import annotations

import contextlib
import difflib
import re
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jinja2
import re2
from jinja2 import nodes

from receiver.rendering import helpers
from receiver.rendering.bounds import Budget, Sandbox, weighed
from receiver.rendering.context import NAMES, Context, variables
from receiver.rendering.markup import escape
from receiver.rendering.sample import samples as trial_contexts

MAX_OUTPUT = 65_536
"""Characters that one template may write: far above what any destination takes."""
MESSAGES = (
    *("firing", "alert-gone", "alert", "re-running", "ended-here"),
    *("fixed", "canceled", "deleted", "cleared", "merged"),
    *("digest", "digest-over", "handover"),
)
PARTS = ("title", "push", "summary", "body")
_QUOTED = re.compile(r"""["']([^"']+)["']""")
ENTRIES = (
    *("default", "fired", "evidence", "rerun", "failed-again", "worse", "reminded"),
    *("reopened", "resolved", "digest"),
)


class TemplateError(Exception):
    """A template could not be run. The message says where and why."""


@dataclass(frozen=True, slots=True)
class TemplateProblem:
    """What is wrong with a template: `file:line:column: what; cure`."""

    file: str
    line: int
    what: str
    cure: str = ""

    @property
    def column(self) -> int:
        """Where in the line, from 1. Jinja knows lines only: it is where the line has the word that is complained of,
        else where its first tag begins.
        """
        try:
            line = Path(self.file).read_text(encoding="utf-8", errors="replace").split("\n")[self.line - 1]
        except (OSError, IndexError):
            return 1
        for word in reversed(_QUOTED.findall(self.what)):
            if found := re.search(rf"(?<!\w){re.escape(word)}(?!\w)", line):
                return found.start() + 1
        return max(line.find(tag) for tag in ("{{", "{%")) + 1 or 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.what}" + (f"; {self.cure}" if self.cure else "")


def shipped_templates() -> Path:
    """Return the folder of the templates that come with the program, in a checkout or in an installed package."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / "templates"
    return checkout if (checkout / "firing").is_dir() else package / "_shipped" / "templates"


class Templates:
    """The shipped templates, each overridden by a file of the same name in a folder of the user's, the first first.

    A template is compiled when it is first used, or by `compile_all`. What is broken stays broken until it is used, and
    then the plain message is sent instead; `problems` says it before.
    """

    def __init__(self, *directories: Path | None, samples: Iterable[Context] | None = None) -> None:
        own = [one for one in directories if one is not None]
        folders = [*own, shipped_templates()]
        self._own = tuple(own)
        self._env = environment(folders)
        self._folders = tuple(folders)
        self._variants = frozenset(self._env.list_templates(extensions=["j2"]))
        self._samples = samples

    @cached_property
    def problems(self) -> tuple[TemplateProblem, ...]:
        """Everything that is wrong, for `check`."""
        samples = trial_contexts() if self._samples is None else self._samples
        return tuple(self._check(self._own, tuple(samples)))

    def compile_all(self) -> Iterator[None]:
        """Compile one template after the other, so that the first message of each kind need not wait for it."""
        for file in sorted(self._variants):
            with contextlib.suppress(jinja2.TemplateError, OSError, UnicodeDecodeError):
                self._env.get_template(file)
            yield

    def below(self, directory: Path) -> Templates:
        """Return templates for which the files of `directory` count first, then these."""
        return Templates(directory, *self._own)

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
            with Budget():
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

    def _check(self, own: Sequence[Path], samples: tuple[Context, ...]) -> Iterable[TemplateProblem]:
        for directory in own:
            if directory.is_dir():
                yield from _unknown_files(directory)
            else:
                yield TemplateProblem(str(directory), 1, "is no folder", "create it or drop the key")
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
            problems = list(_unknown_names(tree, path, frozenset(self._env.globals)))
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


def environment(folders: list[Path]) -> Sandbox:
    """Return what templates run in: the files of these folders, our filters and functions, and nothing unbounded."""
    env = Sandbox(
        loader=jinja2.ChoiceLoader([jinja2.FileSystemLoader(folder) for folder in folders]),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # values are escaped for our own markup, by finalize
        finalize=_printed,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=-1,
    )
    env.globals.update(helpers.functions())
    env.filters.update(helpers.filters())
    env.bound()
    return env


def _printed(value: object) -> str:
    return escape(weighed(value))


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


def _unknown_names(tree: nodes.Template, path: str, helpers: frozenset[str]) -> Iterable[TemplateProblem]:
    own = {name.name for name in tree.find_all(nodes.Name) if name.ctx in {"store", "param"}}
    own |= {macro.name for macro in tree.find_all(nodes.Macro)} | {"loop", "caller", "varargs", "kwargs"} | helpers
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
