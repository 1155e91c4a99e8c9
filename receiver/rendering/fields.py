"""Templates inside routes.yaml: fields of a ticket, written as Jinja over the variables of message templates.

Besides those (see `templates/README.md`) there are `alert_labels` and `annotations` of the alert that speaks for the
story. The result is plain text on one line. A name that is not known is found when the file is loaded; what only breaks
when it is used leaves its field out, and nobody is told less because of it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated, Any

import jinja2
import structlog
from jinja2 import meta
from pydantic import AfterValidator

from receiver.limits import truncate
from receiver.model import Wanted
from receiver.rendering import helpers
from receiver.rendering.bounds import Budget, Sandbox, weighed
from receiver.rendering.build import build
from receiver.rendering.context import NAMES, Context, variables
from receiver.rendering.markup import clean
from receiver.rendering.view import speaking_alert

log = structlog.get_logger(__name__)

OWN_NAMES = frozenset({"alert_labels", "annotations"})
MAX_FIELD = 4_000
"""Characters of one field: more than any field that is no description holds."""
_MAX_VALUE = 1_000

Broken = Callable[[str, str], None]
"""Is told the source of a template that could not be run, and why."""


@lru_cache(maxsize=1)
def _env() -> Sandbox:
    env = Sandbox(undefined=jinja2.StrictUndefined, autoescape=False, finalize=_text)
    env.globals.update(helpers.functions())
    env.filters.update(helpers.filters())
    env.bound()
    return env


@lru_cache(maxsize=512)
def _compiled(source: str) -> jinja2.Template:
    return _env().from_string(source)


def _text(value: object) -> str:
    return "" if value is None else clean(weighed(value))


def is_template(text: str) -> bool:
    """Tell whether a text has to be run."""
    return "{{" in text or "{%" in text


def check(source: str) -> str:
    """Return `source` unchanged. Raises ValueError, as `what; cure`, where it is no template that could ever run."""
    if not is_template(source):
        return source
    try:
        names = meta.find_undeclared_variables(_env().parse(source))
        _compiled(source)
    except jinja2.TemplateError as error:
        said = (error.message or "cannot be read").replace(";", ",")
        raise ValueError(f"no Jinja template ({said}); write such as {{{{ namespace }}}}") from None
    known = NAMES | OWN_NAMES | set(_env().globals)
    if unknown := sorted(names - known):
        near = difflib.get_close_matches(unknown[0], sorted(known), n=1)
        cure = f"did you mean {near[0]}?" if near else "see the variables in templates/README.md"
        raise ValueError(f"no variable is called {unknown[0]}; {cure}")
    return source


def check_all(value: Any) -> Any:
    """Like `check`, for every text inside a value as YAML gives it."""
    match value:
        case str():
            check(value)
        case Mapping():
            for each in value.values():
                check_all(each)
        case list() | tuple():
            for each in value:
                check_all(each)
    return value


Templated = Annotated[str, AfterValidator(check)]
"""A text that may be a template."""


def values(wanted: Wanted, kind: str, content: str) -> Mapping[str, Any]:
    """Return what templates of a destination's fields may use; `content` leaves out what it forbids."""
    alert = speaking_alert(wanted) if content != "minimal" else None
    try:
        context = build(wanted, kind, content)
    except Exception as error:  # as with messages: whatever broke, people are told
        log.warning("fields.nothing_known", why=f"{type(error).__name__}: {error}")
        context = Context(kind=kind, content=content)
    return {
        **variables(context),
        "alert_labels": _cleaned(alert.labels) if alert else {},
        "annotations": _cleaned(alert.annotations) if alert and content == "full" else {},
    }


def fill(source: str, known: Mapping[str, Any], broken: Broken) -> str:
    """Return a field's text on one line, empty where its template cannot be run."""
    if not is_template(source):
        return source
    written: list[str] = []
    try:
        with Budget():
            for piece in _compiled(source).generate(known):
                written.append(piece)
                if sum(map(len, written)) > MAX_FIELD:
                    break
    except Exception as error:
        broken(source, f"{type(error).__name__}: {error}")
        return ""
    return truncate(" ".join("".join(written).split()), MAX_FIELD)


def fill_all(value: Any, known: Mapping[str, Any], broken: Broken) -> Any:
    """Return a value with every text in it filled; a template that came out empty leaves its key or item out."""
    match value:
        case str():
            return fill(value, known, broken)
        case Mapping():
            filled = {key: (each, fill_all(each, known, broken)) for key, each in value.items()}
            return {key: new for key, (old, new) in filled.items() if not _emptied(old, new)}
        case list() | tuple():
            pairs = [(each, fill_all(each, known, broken)) for each in value]
            return [new for old, new in pairs if not _emptied(old, new)]
        case _:
            return value


def _emptied(old: Any, new: Any) -> bool:
    """Whether nothing is left of what was something."""
    return bool(old) and new in ("", {}, [])


def _cleaned(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: truncate(clean(value), _MAX_VALUE) for name, value in texts.items()}
