"""Reads one piece of the file into its settings model and turns what pydantic finds into problems."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from receiver.config.durations import duration_text, is_duration
from receiver.config.positions import Path
from receiver.config.problems import Problems, suggestion
from receiver.config.settings import SecretProblem, Settings

_S = TypeVar("_S", bound=Settings)

_EMPTY: Final = ("empty", "give a value, or remove the line")
_WORDS: Final = {
    "string_type": ("not text", "write one word or sentence, in quotes if it holds special characters"),
    "bool_parsing": ("neither true nor false", "write true or false"),
    "bool_type": ("neither true nor false", "write true or false"),
    "int_parsing": ("not a whole number", "write such as 4"),
    "int_type": ("not a whole number", "write such as 4"),
    "int_from_float": ("not a whole number", "write such as 4"),
    "float_parsing": ("not a number", "write such as 4 or 0.5"),
    "float_type": ("not a number", "write such as 4 or 0.5"),
    "tuple_type": ("not a list", "write [one, two], or one line with a dash for each"),
    "list_type": ("not a list", "write [one, two], or one line with a dash for each"),
    "dict_type": ("not a mapping", "write key: value lines under it"),
    "model_type": ("not a mapping", "write key: value lines under it"),
    "string_too_short": _EMPTY,
    "too_short": ("empty", "give at least one"),
}
_FOREIGN: Final = {
    "inhibit_rules": "remove it: inhibition stays in Alertmanager",
    "resolve_timeout": "remove it: this one stays in Alertmanager; here is resolve_delay",
    "oauth2": "write authorization with credentials_file",
    "bearer_token": "put the token into a file and write bearer_token_file: PATH",
    "slack_api_url": "write api_url_file, or app_token_file and channel, in each of slack_configs",
    "pagerduty_url": "write url in each of pagerduty_configs",
}
"""Keys that people bring along from Alertmanager, and where their meaning went."""


class Reader:
    """Reads pieces of one document; every mistake becomes a problem at its place."""

    def __init__(self, problems: Problems, base: FilePath) -> None:
        self.problems = problems
        self.base = base

    def read(self, model: type[_S], raw: Any, path: Path, *, also: Iterable[str] = ()) -> _S | None:
        """Return the piece, or None where it cannot be used even without its wrong keys.

        Wrong keys are reported and then left out, so that what depends on the others can still be checked.
        `also` are keys which may stand here too, and belong to somebody else: for suggestions only.
        """
        origin = self.problems.origin(path)
        context = {"base": origin.folder if origin else self.base}
        try:
            return model.model_validate(raw, context=context)
        except ValidationError as error:
            errors = error.errors(include_url=False)
        for one in errors:
            self._report(one, model, path, also)
        if not isinstance(raw, Mapping):
            return None
        wrong = {part for one in errors for part in _top_keys(one, model)}
        rest = {key: value for key, value in raw.items() if key not in wrong}
        if len(rest) == len(raw):
            return None
        try:
            return model.model_validate(rest, context=context)
        except ValidationError as error:
            # A rule between keys is judged last. It would miss what was misspelt or empty, or a key that it names and
            # that was wrong, and say so falsely.
            missed = any(one["type"] in ("missing", "extra_forbidden") or one["input"] is None for one in errors)
            for one in error.errors(include_url=False):
                if not one["loc"] and not missed and wrong.isdisjoint(re.findall(r"\w+", one["msg"])):
                    self._report(one, model, path, also)
            return None

    def _report(self, error: Any, model: type[Settings], path: Path, also: Iterable[str]) -> None:
        loc: Path = tuple(error["loc"])
        at = (*path, *loc)
        value = error["input"]
        inner = _model_at(model, loc[:-1])
        if isinstance(value, SecretProblem):
            what, _, cure = value.text.partition("; ")
            self.problems.add((*at[:-1], value.key), what, cure)
        elif error["type"] == "missing":
            name = str(loc[-1])
            key = f"{name}_file" if inner and name in inner.secrets else name
            self.problems.add(at[:-1], f"{key} is missing", f"add {key}: …")
        elif error["type"] == "extra_forbidden":
            self.unknown_key(at, (*(inner.written_keys() if inner else ()), *(also if len(loc) == 1 else ())))
        elif value is None:
            self.empty(at)
        else:
            self.problems.add(at, *_explained(error, value, self.problems.written(at)))

    def unknown_key(self, path: Path, known: Iterable[str]) -> None:
        """Report a key that means nothing here, with the one that was probably meant."""
        name = str(path[-1])
        self.problems.add(path, "unknown key", _FOREIGN.get(name) or suggestion(name, known), on_key=True)

    def empty(self, path: Path) -> None:
        """Report a key without a value."""
        if self.problems.line_behind(path).lstrip(" :").startswith("#"):
            self.problems.add(path, "empty: # starts a comment", "put a value that starts with # in quotes")
        else:
            self.problems.add(path, *_EMPTY)

    def mapping(self, raw: Any, path: Path) -> Mapping[str, Any]:
        """Return a mapping; anything else is reported and read as an empty one."""
        if isinstance(raw, Mapping):
            return raw
        if raw is None:
            self.empty(path)
        else:
            self.problems.add(path, *_WORDS["dict_type"])
        return {}

    def sequence(self, raw: Any, path: Path) -> list[Any]:
        """Return a list; anything else is reported and read as an empty one."""
        if isinstance(raw, list):
            return raw
        if raw is None:
            self.problems.add(path, "empty", "give a list, [] for none, or remove the line")
        else:
            self.problems.add(path, *_WORDS["list_type"])
        return []


def split_message(message: str) -> tuple[str, str]:
    """Split `what; cure`, or `what: cure` as parsers of matchers and intervals write it."""
    what, mark, cure = message.partition("; ")
    if not mark:
        what, mark, cure = message.rpartition(": ")
    return (what, cure) if mark else (message, "correct it")


def _explained(error: Any, value: Any, written: str) -> tuple[str, str]:
    kind = error["type"]
    context = error.get("ctx", {})
    if kind == "value_error":
        return split_message(str(context["error"]))
    if kind == "literal_error":
        known = [word.strip("' ") for word in str(context["expected"]).replace(" or ", ", ").split(",")]
        return f"{str(value)[:40]!r} is not known here", suggestion(str(value), known)
    if kind == "string_pattern_mismatch":
        return "not written as it must be", f"it must match {context['pattern']}"
    if kind in _WORDS:
        return _WORDS[kind]
    for bound, words in (("gt", "more than"), ("ge", "at least"), ("lt", "less than"), ("le", "at most")):
        if bound in context:
            limit = context[bound]
            shown = duration_text(limit) if is_duration(written) else f"{limit:g}"
            return "out of range", f"it must be {words} {shown}"
    return error["msg"][:1].lower() + error["msg"][1:], "correct it"


def _top_keys(error: Any, model: type[Settings]) -> tuple[str, ...]:
    """Return the keys, as written, that must go for this error to go."""
    if not error["loc"]:
        return ()
    name = str(error["loc"][0])
    return (name, f"{name}_file", f"{name}_env") if name in model.secrets else (name,)


def _model_at(model: type[Settings] | None, loc: Path) -> type[Settings] | None:
    """Return the model that `loc` leads to, as far as it is one."""
    for part in loc:
        if isinstance(part, int) or model is None:
            continue
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        model = _settings_in(fields[part].annotation) if part in fields else None
    return model


def _settings_in(annotation: Any) -> type[Settings] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation if issubclass(annotation, Settings) else None
    for argument in get_args(annotation):
        if (found := _settings_in(argument)) is not None:
            return found
    return None
