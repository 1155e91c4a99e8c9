"""Bodies that users write themselves: one template over plain data, in the sandbox of all templates.

Unlike messages, a body is no markup of ours: values are printed as they are, so JSON needs `| tojson`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import jinja2
import re2
from jinja2 import meta

from receiver.rendering.bounds import Budget
from receiver.rendering.templates import MAX_OUTPUT, TemplateError, environment

__all__ = ["BodyTemplate", "TemplateError"]


class BodyTemplate:
    """A template that is compiled once and run for each body."""

    def __init__(self, source: str, names: Collection[str]) -> None:
        env = environment([]).overlay(finalize=None)
        env.filters["tojson"] = _to_json
        self.problem = ""
        """Why it cannot be used; empty where it can."""
        try:
            unknown = sorted(meta.find_undeclared_variables(env.parse(source)) - {*names, *env.globals})
            self._template = env.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            self.problem = f"line {error.lineno}: {error.message}".replace(";", ",")
        else:
            self.problem = f"no variable is called {unknown[0]}" if unknown else ""

    def render(self, values: Mapping[str, Any]) -> str:
        """Return the body. Raises TemplateError: wrong name or type, forbidden, or too long."""
        if self.problem:
            raise TemplateError(self.problem)
        written: list[str] = []
        size = 0
        try:
            with Budget():
                for piece in self._template.generate(dict(values)):
                    size += len(piece)
                    if size > MAX_OUTPUT:
                        raise TemplateError(f"writes more than {MAX_OUTPUT:,} characters")
                    written.append(piece)
        except (jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError,
                ValueError, re2.error) as error:  # fmt: skip
            raise TemplateError(f"{type(error).__name__}: {error}") from error
        return "".join(written)


def _to_json(value: Any) -> str:
    """Return JSON without the escapes that Jinja's own filter makes for web pages."""
    return json.dumps(value, ensure_ascii=False)
