"""What the operations of the HTTP API are made of: parameters, bodies, and answers that many have in common."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from receiver.handover import USUAL
from receiver.model import Impact
from receiver.web import api
from receiver.web.openapi_primitives import DURATION, NUMBER, TEXT, Schema, list_of, one_of, ref

JSON: Final = "application/json"
JSON_LINES: Final = "application/jsonl"
FORM: Final = "application/x-www-form-urlencoded"
PLAIN, HTML = "text/plain", "text/html"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. Answers that follow from its guard, and from what its path holds, are not repeated."""

    summary: str
    answers: dict[int, Schema]
    query: tuple[Schema, ...] = ()
    body: Schema | None = None


def answer(text: str, *media: str, schema: Schema | None = None) -> Schema:
    """Return an answer: JSON of this form, or text of these types; neither: without a body."""
    content = {JSON: {"schema": schema}} if schema is not None else {}
    return {"description": text, "content": {**content, **{one: {"schema": TEXT} for one in media}}}


def error(text: str) -> Schema:
    """Return an answer that says what is wrong."""
    return answer(text, schema=ref("Error"))


def parameter(name: str, text: str, schema: Schema) -> Schema:
    """Return a parameter of the query."""
    return {"name": name, "in": "query", "description": text, "schema": schema}


def limit(default: int, most: int) -> Schema:
    """Return the parameter that says how long a page is."""
    return parameter("limit", "At most so many.", {**NUMBER, "minimum": 1, "maximum": most, "default": default})


def any_of(name: str, words: Iterable[str]) -> Schema:
    """Return a parameter that takes some words, as often as one likes."""
    return parameter(name, "Any of these; may be repeated.", list_of(one_of(words)))


def texts(name: str, text: str) -> Schema:
    """Return a parameter that takes any text, as often as one likes."""
    return parameter(name, text, list_of(TEXT))


def body_of(*media: str, schema: Schema, most: int | None = None) -> Schema:
    """Return a body of this form, in any of these types."""
    found: Schema = {"required": True, "content": {one: {"schema": schema} for one in media}}
    return {**found, "description": f"At most {most} bytes."} if most is not None else found


LIMIT: Final = limit(api.DEFAULT_LIMIT, api.MAX_LIMIT)
CURSOR: Final = parameter("cursor", "`next` of the page before.", TEXT)
SHIFT: Final = parameter("since", "How long the shift was: 1m to 7d.", {**DURATION, "default": USUAL})
TOO_LARGE: Final = error("The body is too large.")
BAD_QUERY: Final = error("A query parameter makes no sense.")
BAD_BODY: Final = error("The body makes no sense, is no JSON object, or is not said to be JSON.")
NOT_READY: Final = error("Not ready.")
CHOSEN: Final = (
    any_of("impact", Impact),
    texts("receiver", "Told to any of these; may be repeated."),
    texts("namespace", "Of any of these owners' namespaces; may be repeated."),
    texts("cause", "Any of these known errors, by id; may be repeated."),
    texts("cluster", "In any of these clusters; may be repeated."),
    texts("severity", "Any of these; may be repeated."),
    texts("matcher", "As in Alertmanager, on labels, facts and these names; all must match."),
    parameter("q", "Words that must stand in the story; several in quotes stand together.", TEXT),
)
"""How stories are chosen: by the API, on their page, and in what tells the page of changes."""
