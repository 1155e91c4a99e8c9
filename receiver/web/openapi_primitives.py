"""What the forms of the HTTP API are made of: kinds of values, and objects that we give or take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pydantic import TypeAdapter

from receiver.config.durations import Duration
from receiver.destinations.registry import ALL

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
NUMBER: Final[Schema] = {"type": "integer"}
FRACTION: Final[Schema] = {"type": "number"}
YES_OR_NO: Final[Schema] = {"type": "boolean"}
MOMENT: Final[Schema] = {"type": "string", "format": "date-time"}
TEXTS: Final[Schema] = {"type": "object", "additionalProperties": TEXT}
NUMBERS: Final[Schema] = {"type": "object", "additionalProperties": NUMBER}
DURATION: Final[Schema] = TypeAdapter(Duration).json_schema()


def ref(name: str) -> Schema:
    """Return a reference to one of `openapi_schemas.SCHEMAS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def one_of(words: Iterable[str]) -> Schema:
    """Return the schema of one of some words."""
    return {"type": "string", "enum": [str(word) for word in words]}


def or_null(schema: Schema) -> Schema:
    """Return a schema that takes null, too."""
    return {"anyOf": [schema, {"type": "null"}]}


def list_of(schema: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": schema}


def given(**properties: Schema) -> Schema:
    """Return the schema of an object that we give: all of this is in it. Later versions may add to it."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def taken(required: tuple[str, ...], **properties: Schema) -> Schema:
    """Return the schema of an object that we take: nothing else may be in it."""
    found: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**found, "required": list(required)} if required else found


def page_of(name: str) -> Schema:
    """Return the schema of a page; `next` is the cursor of the page after it, null on the last one."""
    return given(items=list_of(ref(name)), next=or_null(TEXT))


def filtered(page: Schema) -> Schema:
    """Return the schema of a page of what somebody may see: it may say what it lacks."""
    lacks: Schema = {**list_of(TEXT), "description": "Clusters that do not say what may be shown; left out if none."}
    return {**page, "properties": {**page["properties"], "missing": lacks}}


def first_of(schema: Schema) -> Schema:
    """Return the schema of the first of a list, and how many there are."""
    return given(items=list_of(schema), total=NUMBER)


KIND: Final = one_of(kind.kind for kind in ALL)
REJECTED: Final = list_of(given(index=NUMBER, reason=TEXT))
"""Alerts that cannot be used."""
