"""The JSON schemas of routes.yaml and of what it includes, for editors: made from the models that read the files."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from pydantic import create_model

from receiver.config.durations import duration_text
from receiver.config.settings import Settings
from receiver.config.wire import EntryWire, IncludedFile, ReceiverWire, RoutesFile

if TYPE_CHECKING:
    from receiver.destinations import Kind

_REFUSED: Final = ("match", "match_re")


def schema(kinds: Sequence[Kind], *, included: bool = False) -> dict[str, Any]:
    """Return a JSON schema (draft 2020-12) that takes what `load` takes, except for rules between keys.

    Of routes.yaml, or of a file that it includes.
    """
    for model in _models(Settings):
        _describe(model)
    lists: Any = {}
    for kind in kinds:
        settings: type[Settings] = kind.settings
        entry = create_model(f"{kind.kind}_entry", __base__=(settings, EntryWire), __doc__=settings.__doc__)
        lists[kind.config_key] = (tuple[entry, ...], ())  # type: ignore[valid-type]  # made a line above
    receiver = create_model("receiver", __base__=ReceiverWire, __doc__=ReceiverWire.__doc__, **lists)
    model = IncludedFile if included else RoutesFile
    needed = () if included else ...
    receivers: Any = {"receivers": (tuple[receiver, ...], needed)}  # type: ignore[valid-type]  # made some lines above
    whole = create_model("routes_file", __base__=model, __doc__=model.__doc__, **receivers)
    result = whole.model_json_schema()
    definitions = result["$defs"]
    definitions.pop("Secret", None)
    route = definitions["RouteWire"]["properties"]
    route["routes"]["items"] = {"$ref": "#/$defs/RouteWire"}
    for key in _REFUSED:
        route.pop(key)
    _tidy(result)
    if not included:  # all receivers may stand in included files
        result["required"].remove("receivers")
        result["anyOf"] = [{"required": ["receivers"]}, {"required": ["include"]}]
    title = "mtv-receiver included file" if included else "mtv-receiver routes.yaml"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **result, "title": title}


def _models(base: type[Settings]) -> Iterator[type[Settings]]:
    for model in base.__subclasses__():
        yield model
        yield from _models(model)


def _describe(model: type[Settings]) -> None:
    """Give fields the docstrings below them. pydantic does that too, but for every model at every start."""
    said = {name: text for base in reversed(model.__mro__) for name, text in _docstrings(base)}
    for name, field in model.model_fields.items():
        if field.description is None:
            field.description = said.get(name)
    model.model_rebuild(force=True)


def _docstrings(model: type) -> Iterator[tuple[str, str]]:
    try:
        (found,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    except (OSError, TypeError):  # made by a program, or built in
        return
    for field, below in pairwise(found.body if isinstance(found, ast.ClassDef) else ()):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, inspect.cleandoc(text)


def _tidy(node: Any) -> None:
    """Drop what helps nobody: titles made from names, defaults that are whole sections, null beside a type."""
    if isinstance(node, list):
        for item in node:
            _tidy(item)
    if not isinstance(node, dict):
        return
    if isinstance(node.get("title"), str):
        node.pop("title")
    if isinstance(node.get("default"), float) and node.get("type") == "string":
        node["default"] = duration_text(node["default"])
    if isinstance(node.get("default"), dict | list) or node.get("default", "") in ("", None):
        node.pop("default", None)
    choices = node.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        rest = [choice for choice in choices if choice != {"type": "null"}]
        if len(rest) == 1:
            node.pop("anyOf")
            node.update(rest[0])
        else:
            node["anyOf"] = rest
    for value in node.values():
        _tidy(value)
