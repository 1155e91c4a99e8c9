"""What each address takes and answers, by path and method. Who may, and what the path holds, its route says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from receiver.handover import USUAL
from receiver.model import DeliveryState, Impact, StoryState
from receiver.store.audit import Kind
from receiver.web import (
    actions_api,
    api,
    audit_api,
    capacity_api,
    destinations_api,
    explain_api,
    pagerduty_hook,
    slack,
    status_api,
)
from receiver.web.openapi_schemas import DURATION, NUMBER, TEXT, Schema, given, list_of, one_of, ref
from receiver.web.pages.routes import MAX_FORM
from receiver.web.pages.routes import PATH as ROUTES

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


def _query(name: str, text: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "description": text, "schema": schema}


def _limit(default: int, most: int) -> Schema:
    return _query("limit", "At most so many.", {**NUMBER, "minimum": 1, "maximum": most, "default": default})


def _any_of(name: str, words: Iterable[str]) -> Schema:
    return _query(name, "Any of these; may be repeated.", list_of(one_of(words)))


def _texts(name: str, text: str) -> Schema:
    return _query(name, text, list_of(TEXT))


def _body(*media: str, schema: Schema, most: int | None = None) -> Schema:
    found: Schema = {"required": True, "content": {one: {"schema": schema} for one in media}}
    return {**found, "description": f"At most {most} bytes."} if most is not None else found


_LIMIT: Final = _limit(api.DEFAULT_LIMIT, api.MAX_LIMIT)
_CURSOR: Final = _query("cursor", "`next` of the page before.", TEXT)
_SHIFT: Final = _query("since", "How long the shift was: 1m to 7d.", {**DURATION, "default": USUAL})
_TOO_LARGE: Final = error("The body is too large.")
_BAD_QUERY: Final = error("A query parameter makes no sense.")
_BAD_BODY: Final = error("The body makes no sense, is no JSON object, or is not said to be JSON.")
_NOT_READY: Final = error("Not ready.")
_ON: Final[Schema] = answer("In force.", PLAIN)

_DELIVERIES: Final = (
    _query("state", "Any of these, or all; may be repeated.", list_of(one_of((*DeliveryState, "all")))),
    _query("receiver", "Of this receiver.", TEXT),
    _query("destination", "Its name, such as payments/slack, or its identity.", TEXT),
    _query("kind", "Of destinations of this kind.", TEXT),
    _query("story", "Of this story.", TEXT),
)
_CHOSEN: Final = (
    _any_of("impact", Impact),
    _texts("receiver", "Told to any of these; may be repeated."),
    _texts("namespace", "Of any of these owners' namespaces; may be repeated."),
    _texts("cause", "Any of these known errors, by id; may be repeated."),
    _texts("cluster", "In any of these clusters; may be repeated."),
    _texts("severity", "Any of these; may be repeated."),
    _texts("matcher", "As in Alertmanager, on labels, facts and these names; all must match."),
    _query("q", "Words that must stand in the story; several in quotes stand together.", TEXT),
)

_TRIED: Final = {
    "story": "Its alert is tried, with what was found out about it.",
    "alert": "Or this one: labels, an alert, a webhook body, or the answer of /api/v2/alerts.",
    "owner": "The namespace that owns what no cluster knows.",
    "at": "The time to judge for, in UTC.",
    "config": "The configuration to judge by; empty: the one in force.",
    "why_not": "A receiver: why is it not told?",
}


def _page(summary: str, refused: dict[int, str], media: str = HTML, query: tuple[Schema, ...] = ()) -> Operation:
    """Return an operation that shows something to people."""
    said = {status: answer(text, HTML, schema=ref("Error")) for status, text in refused.items()}
    return Operation(
        summary,
        {200: answer("As it is now.", media), 503: answer("Not ready.", HTML, schema=ref("Error")), **said},
        query,
    )


_WEBHOOK: Final = Operation(
    "Take Alertmanager's webhook",
    {
        200: answer("What can be used of it is on disk.", schema=ref("Accepted")),
        400: error("Nothing in the body can be used."),
        413: error("More than web.max_body_bytes."),
        503: error("Cannot be stored now: send it again."),
    },
    body=_body(JSON, schema=ref("Webhook")),
)
_RELOAD: Final = Operation(
    "Read the configuration again",
    {200: _ON, 500: answer("Its problems; the old one stays in force.", PLAIN)},
)


def _act(summary: str, body: str) -> Operation:
    return Operation(
        summary,
        {
            200: answer("Done.", schema=ref("Answer")),
            400: _BAD_BODY,
            409: answer("Not done; `text` says why.", schema=ref("Answer")),
            503: _NOT_READY,
        },
        body=_body(JSON, schema=ref(body), most=actions_api.MAX_BYTES),
    )


OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("/webhook", "POST"): _WEBHOOK,
    ("/webhook/", "POST"): _WEBHOOK,
    ("/webhook/{alertmanager}", "POST"): _WEBHOOK,
    ("/-/healthy", "GET"): Operation("Does the process answer?", {200: answer("It does.", PLAIN)}),
    ("/-/ready", "GET"): Operation(
        "Are webhooks taken and worked off?", {200: answer("They are.", PLAIN), 503: answer("Why not.", PLAIN)}
    ),
    ("/-/reload", "POST"): _RELOAD,
    ("/-/reload", "PUT"): _RELOAD,
    ("/metrics", "GET"): Operation("Figures for Prometheus", {200: answer("Its text format.", PLAIN)}),
    ("/api/v1/openapi.json", "GET"): Operation(
        "This document", {200: answer("OpenAPI 3.1.", schema={"type": "object", "required": ["openapi", "paths"]})}
    ),
    ("/api/v1/stories", "GET"): Operation(
        "Stories, newest first",
        {
            200: answer(
                "A page; with `matcher` it may be short, or empty, and yet have a `next`.", schema=ref("Stories")
            ),
            400: _BAD_QUERY,
            503: _NOT_READY,
        },
        query=(
            _any_of("state", StoryState),
            *_CHOSEN,
            _LIMIT,
            _CURSOR,
        ),
    ),
    ("/api/v1/stories/{id}", "GET"): Operation(
        "One story", {200: answer("The story.", schema=ref("Story")), 404: error("No such story."), 503: _NOT_READY}
    ),
    ("/api/v1/stories/{id}/presses", "GET"): Operation(
        "What people asked of a story, oldest first",
        {200: answer("All of it; empty for an id that nobody knows.", schema=ref("Presses")), 503: _NOT_READY},
    ),
    ("/api/v1/stories/{id}/acknowledge", "POST"): _act("Take a story", "Acknowledge"),
    ("/api/v1/stories/{id}/silence", "POST"): _act("Silence a story's alerts", "Silence"),
    ("/api/v1/stories/{id}/move", "POST"): _act("Give a story to another receiver", "Move"),
    ("/api/v1/deliveries", "GET"): Operation(
        "Deliveries, newest first",
        {200: answer("A page.", schema=ref("Deliveries")), 400: _BAD_QUERY, 503: _NOT_READY},
        query=(_query("story", "Of this story.", TEXT), _any_of("state", DeliveryState), _LIMIT, _CURSOR),
    ),
    ("/api/v1/deliveries/{id}", "GET"): Operation(
        "One delivery",
        {200: answer("The delivery.", schema=ref("Delivery")), 404: error("No such delivery."), 503: _NOT_READY},
    ),
    ("/api/v1/deliveries/retry", "POST"): Operation(
        "Try again what could not be told",
        {
            200: answer("The deliveries that are tried, or would be.", schema=ref("Retried")),
            400: _BAD_BODY,
            409: error("One of them cannot be tried again."),
            503: _NOT_READY,
        },
        body=_body(JSON, schema=ref("Retry"), most=actions_api.MAX_BYTES),
    ),
    (destinations_api.PATH, "GET"): Operation(
        "How each destination does, those in trouble first",
        {200: answer("All of them.", schema=ref("Destinations")), 503: _NOT_READY},
    ),
    (status_api.PATH, "GET"): Operation(
        "What the service works with, and how that does",
        {200: answer("Also while it is not ready.", schema=ref("Status"))},
    ),
    ("/api/v1/audit", "GET"): Operation(
        "The audit stream, oldest first",
        {
            # What a line holds, in the words of OpenAPI 3.2: 3.1 has none for streams.
            200: {
                "description": "One JSON object on each line.",
                "content": {JSON_LINES: {"schema": TEXT, "x-itemSchema": ref("AuditLine")}},
            },
            400: _BAD_QUERY,
            503: _NOT_READY,
        },
        query=(
            _query("since", "Not older than this.", DURATION),
            _any_of("kind", Kind),
            _limit(audit_api.DEFAULT_LIMIT, audit_api.MAX_LIMIT),
            _query("cursor", "`id` of the last line seen.", {**NUMBER, "minimum": 0, "maximum": audit_api.MAX_CURSOR}),
        ),
    ),
    ("/api/v1/explain", "POST"): Operation(
        "Where alerts would go, and what would be sent",
        {
            200: answer("Nothing was sent.", schema=ref("Explained")),
            400: error(f"None can be used, or there are more than {explain_api.MAX_ALERTS}."),
            413: _TOO_LARGE,
            503: _NOT_READY,
        },
        body=_body(
            JSON,
            schema={"anyOf": [ref("Webhook"), ref("BareAlert"), list_of(ref("BareAlert"))]},
            most=explain_api.MAX_BYTES,
        ),
    ),
    (capacity_api.PATH, "GET"): Operation(
        "Does a plan fit where it goes, and which other cluster would do?",
        {
            200: answer("What was found; what could not be read stands under `unknown`.", schema=ref("Capacity")),
            400: _BAD_QUERY,
            404: error("No such plan."),
            503: error("The cluster does not answer, or too many plans are being judged."),
        },
        query=(_query("cluster", "Where the plan is, by its name in `clusters`; else the default one.", TEXT),),
    ),
    ("/api/v1/stories/{id}/evidence", "GET"): Operation(
        "What was found out about a story: impact, cause, VMs, logs, waits, room, events",
        {
            200: answer("All that its page shows.", schema=given(evidence={"type": ["object", "null"]})),
            404: error("No such story."),
            503: _NOT_READY,
        },
    ),
    ("/", "GET"): _page("The page of the stories", {400: "A filter makes no sense."}, query=_CHOSEN),
    ("/events", "GET"): Operation(
        "Which stories change from now on, as server-sent events; for the list, or with `story` for one page",
        {
            200: answer("Goes on for some minutes; come again then, with Last-Event-ID.", "text/event-stream"),
            400: _BAD_QUERY,
            404: error("No such story."),
            503: error("Not ready, or too many pages listen."),
        },
        query=(_query("story", "Of this story only.", TEXT), *_CHOSEN),
    ),
    ("/stories/{id}", "GET"): _page("The page of a story", {404: "No such story."}),
    ("/stories/{id}/vms.csv", "GET"): _page("The failed VMs of a story", {404: "No such story."}, "text/csv"),
    ("/stories/{id}/logs/{number}", "GET"): _page(
        "The page of a log", {404: "No such log."}, query=(_query("find", "Words that are marked.", TEXT),)
    ),
    ("/stories/{id}/logs/{number}/raw", "GET"): _page(
        "All that is kept of a log, secrets hidden", {404: "No such log."}, PLAIN
    ),
    **{
        (f"/stories/{{id}}/{name}", "POST"): Operation(
            f"{what}, from a form of the page",
            {
                303: answer("Done or not: the page says it."),
                400: answer("No form.", HTML),
                404: answer("No such story.", HTML, schema=ref("Error")),
                503: answer("Not ready.", HTML, schema=ref("Error")),
            },
            body=_body(FORM, schema={"type": "object", "properties": dict.fromkeys(fields, TEXT)}),
        )
        for name, what, fields in (
            ("acknowledge", "Take a story", ("note",)),
            ("silence", "Silence a story's alerts", ("hours",)),
            ("move", "Give a story to another receiver", ("to",)),
        )
    },
    ("/static/{name}", "GET"): Operation(
        "What pages load",
        {200: answer("A file.", "text/css", "text/javascript", "image/svg+xml"), 404: answer("None.")},
        query=(_query("v", "A mark of its content: with it the file may be kept for a year.", TEXT),),
    ),
    ("/deliveries", "GET"): _page(
        "The page of the deliveries",
        {400: "A filter makes no sense."},
        query=(
            *_DELIVERIES,
            _query("retried", "How many were just given another try.", {**NUMBER, "minimum": 0}),
            _CURSOR,
        ),
    ),
    ("/deliveries/retry", "GET"): _page(
        "The question whether all of a filter are to be tried again",
        {400: "A filter makes no sense.", 403: "A filter is for admins."},
        query=_DELIVERIES,
    ),
    ("/deliveries/retry", "POST"): Operation(
        "Try again one delivery, or all of a filter that are stuck, from a form of the page",
        {
            303: answer("They are tried again."),
            400: answer("No form, or a filter that makes no sense.", HTML),
            403: answer("A filter is for admins.", HTML, schema=ref("Error")),
            409: answer("No such delivery, or one that is delivered.", HTML),
            503: answer("Not ready.", HTML, schema=ref("Error")),
        },
        query=_DELIVERIES,
        body=_body(FORM, schema={"type": "object", "properties": {"id": TEXT, "all": {"const": "yes"}}}),
    ),
    ("/status", "GET"): _page("The page of the service itself", {}),
    ("/handover", "GET"): Operation(
        "The page that one shift reads with the next",
        {
            200: answer("HTML.", HTML),
            400: answer("`since` makes no sense: the usual time is shown.", HTML),
            503: answer("Not ready.", HTML, schema=ref("Error")),
        },
        query=(_SHIFT,),
    ),
    ("/api/v1/handover", "GET"): Operation(
        "What the next shift must know",
        {200: answer("At most 200 of each.", schema=ref("Handover")), 400: _BAD_QUERY, 503: _NOT_READY},
        query=(_SHIFT,),
    ),
    (ROUTES, "GET"): Operation(
        "The tree of routes that is in force, as of now",
        {200: answer("From the root.", schema=given(route=ref("Route")))},
    ),
    ("/routes", "GET"): Operation(
        "The page of the routes, with a form that tries alerts",
        {200: answer("HTML.", HTML)},
        query=(_query("story", "The stored story that is chosen in the form.", TEXT),),
    ),
    ("/routes", "POST"): Operation(
        "Try alerts: where would they go, and what would be sent? Nothing is",
        {
            200: answer("The same page, with the answer; a pasted configuration may have problems.", HTML),
            400: answer("The page says what cannot be used.", HTML),
            503: answer("Not ready, or too much to do in time.", HTML, schema=ref("Error")),
        },
        body=_body(
            FORM,
            schema={"type": "object", "properties": {name: {**TEXT, "description": _TRIED[name]} for name in _TRIED}},
            most=MAX_FORM,
        ),
    ),
    ("/runbooks/", "GET"): Operation("The list of runbooks", {200: answer("HTML.", HTML)}),
    ("/runbooks/{alert}", "GET"): Operation(
        "One runbook",
        {200: answer("HTML.", HTML), 404: answer("No such runbook.", HTML, schema=ref("Error"))},
        query=(
            _query("cluster", "Where a ConfigMap may hold it.", TEXT),
            _query("namespace", "The namespace that the alert names.", TEXT),
        ),
    ),
    ("/slack/interactive", "POST"): Operation(
        "Hear which button was pressed in Slack",
        {
            200: answer("Heard."),
            400: error("The connection ended within the body."),
            404: error("No signing secret is set."),
            413: _TOO_LARGE,
            503: error("Not taken now: press again."),
        },
        body=_body(FORM, schema={"type": "object", "properties": {"payload": TEXT}}, most=slack.MAX_BODY),
    ),
    ("/pagerduty/webhook", "POST"): Operation(
        "Hear from PagerDuty who acknowledged or resolved",
        {
            200: answer("Heard.", schema=given(taken={"type": "boolean", "description": "Was it about ours?"})),
            400: error("The body is no JSON."),
            404: error("No signing secret is set."),
            413: _TOO_LARGE,
            503: error("Busy: send it again."),
        },
        body=_body(JSON, schema={"type": "object"}, most=pagerduty_hook.MAX_BYTES),
    ),
}
