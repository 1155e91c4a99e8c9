"""What one template may cost: steps and sizes are counted, so that a mistake costs a message's own form and no more.

Every value that a template makes is weighed where it comes into being, so none grows beyond `MAX_VALUE`; loops, calls,
filters and printed text spend from one budget. Neither a clock nor a thread is needed: work is counted, not time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import wraps
from types import GeneratorType
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

MAX_STEPS = 100_000
"""Of one template with all that it includes: the longest shipped one takes some thousand; this many take well below a
second."""
MAX_VALUE = 262_144
"""Characters of one value, its parts included."""
MAX_RANGE = 10_000
CHARACTERS_A_STEP = 64
_NUMBER = 1e15

MAX_WIDTH = 120
"""Of what `center`, `format` and their like pad to."""

# Randomness would make equal stories into different messages; the others are for HTML, which is not what is written.
_NO_FILTERS = ("pprint", "random", "urlize", "xmlattr")
_PADDING = ("batch", "center", "indent", "slice", "wordwrap")
_WIDE_FORMAT = re.compile(r"\d{4}|\*")
_NO_GLOBALS = ("cycler", "joiner", "lipsum")
_NO_METHODS = frozenset(
    {
        *("center", "encode", "expandtabs", "format", "format_map", "join", "ljust", "maketrans", "replace", "rjust"),
        *("translate", "zfill"),
    }
)

_spent: ContextVar[Budget | None] = ContextVar("spent", default=None)


class TooMuchWorkError(jinja2.TemplateRuntimeError):
    """A template works too long or makes something too large."""


class Budget:
    """What one run may still spend."""

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self._left = steps

    def __enter__(self) -> Budget:
        self._token = _spent.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _spent.reset(self._token)

    def spend(self, steps: int) -> None:
        """Raises TooMuchWorkError when nothing is left."""
        self._left -= steps
        if self._left < 0:
            raise TooMuchWorkError(f"works too long: more than {MAX_STEPS:,} steps")


def spend(characters: int = 0) -> None:
    """Count one step, and one more for each 64 characters."""
    if (budget := _spent.get()) is not None:
        budget.spend(1 + characters // CHARACTERS_A_STEP)


def weighed(value: Any) -> Any:
    """Return the value if it is no larger than a value may be; raises TooMuchWorkError."""
    if isinstance(value, GeneratorType | map | filter | zip):
        return counted(value)
    spend(_weight(value, 0))
    return value


def counted(items: Iterable[Any], characters: int = 0) -> Iterator[Any]:
    """Give the items, each for a step and for `characters` that are written with each."""
    for item in items:
        spend(characters)
        yield item


def _weight(value: Any, already: int) -> int:
    """Return about how many characters it has; stops where it is too many."""
    match value:
        case str() | bytes():
            weight = already + len(value) + 1
        case bool() | None:
            return already + 1
        case int() | float():
            if abs(value) > _NUMBER:
                raise TooMuchWorkError("a number with more than 15 digits")
            return already + 20
        case Mapping():
            weight = already + 1
            for key, item in value.items():
                weight = _weight(item, _weight(key, weight))
        case list() | tuple() | set() | frozenset():
            weight = already + 1
            for item in value:
                weight = _weight(item, weight)
        case _:
            return already + 1
    if weight > MAX_VALUE:
        raise TooMuchWorkError(f"makes something of more than {MAX_VALUE:,} characters")
    return weight


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, which also bounds what a template costs."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def bound(self) -> None:
        """Take away what has no bound, and count the rest; to be called when filters and globals are complete."""
        for name in _NO_GLOBALS:
            self.globals.pop(name, None)
        self.globals["range"] = _range
        for name in _NO_FILTERS:
            self.filters.pop(name, None)
        self.filters["replace"] = _replace
        self.filters["format"] = _format
        self.filters.update({name: _narrow(self.filters[name]) for name in _PADDING})
        self.filters.update({name: _counting(function) for name, function in self.filters.items()})
        self.filters |= {"_weighed": weighed, "_counted": counted}

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if operator != "+" and (not numbers or (operator == "**" and (abs(left) > 1_000 or abs(right) > 10))):
            raise SecurityError(f"{operator} is for small numbers only")
        return weighed(super().call_binop(context, operator, left, right))

    def call(self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # as Jinja names them
        spend(_weight(args, 0) + _weight(kwargs, 0))
        return weighed(super().call(__context, __obj, *args, **kwargs))

    def get_template(self, name: Any, parent: str | None = None, globals: Any = None) -> jinja2.Template:  # noqa: A002 - as Jinja names it
        spend(10 * CHARACTERS_A_STEP)  # an include
        return super().get_template(name, parent, globals)

    def wrap_str_format(self, value: Any) -> Any:
        if super().wrap_str_format(value) is not None:  # comes before is_safe_attribute
            raise SecurityError("format() may write any length; use the filter: '%5d' | format(number)")
        return None

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, int | float) or (isinstance(obj, str) and attr in _NO_METHODS):
            return False
        return super().is_safe_attribute(obj, attr, value)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = _Counting().visit(super()._parse(source, name, filename))
        return tree


class _Counting(NodeTransformer):
    """Puts the counting into a template: at every loop, and wherever a value is made that is no filter's or call's."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - named by Jinja
        self.generic_visit(node)
        written = sum(len(text.data) for text in node.find_all(nodes.TemplateData))
        size = nodes.Const(written, lineno=node.lineno)
        node.iter = nodes.Filter(node.iter, "_counted", [size], [], None, None, lineno=node.lineno)
        return node

    def visit_Concat(self, node: nodes.Expr) -> nodes.Node:  # noqa: N802 - named by Jinja
        self.generic_visit(node)
        return nodes.Filter(node, "_weighed", [], [], None, None, lineno=node.lineno)

    visit_List = visit_Concat  # noqa: N815 - named by Jinja
    visit_Dict = visit_Concat  # noqa: N815 - named by Jinja

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802 - named by Jinja
        return self.visit_Concat(node) if node.ctx == "load" else node


def _counting(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)  # with the marks by which Jinja knows what it passes first
    def filtered(*args: Any, **kwargs: Any) -> Any:
        spend(sum(len(one) for one in args if isinstance(one, str)))
        return weighed(function(*args, **kwargs))

    return filtered


def _narrow(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def padded(*args: Any, **kwargs: Any) -> Any:
        if any(isinstance(one, int) and one > MAX_WIDTH for one in (*args, *kwargs.values())):
            raise TooMuchWorkError(f"a width of more than {MAX_WIDTH}")
        return function(*args, **kwargs)

    return padded


def _format(pattern: str, *args: Any, **kwargs: Any) -> str:
    if _WIDE_FORMAT.search(str(pattern)):
        raise TooMuchWorkError(f"{pattern!r} pads to too much")
    return str(pattern) % (kwargs or args)


def _range(*args: int) -> range:
    made = range(*args)
    if len(made) > MAX_RANGE:
        raise TooMuchWorkError(f"a range of more than {MAX_RANGE:,} numbers")
    return made


def _replace(value: object, old: str, new: str, count: int | None = None) -> str:
    text = str(value)
    if len(text) + text.count(old) * len(new) > MAX_VALUE:
        raise TooMuchWorkError(f"replaces to more than {MAX_VALUE:,} characters")
    return text.replace(old, new, -1 if count is None else count)
