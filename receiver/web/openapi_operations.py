"""What each address takes and answers, by path and method. Who may, and what the path holds, its route says.

Here are the API and what machines call; the pages are in `openapi_pages`.
"""

from __future__ import annotations

from typing import Final

from receiver.model import DeliveryState, StoryState
from receiver.store.audit import Kind
from receiver.web import (
    actions_api,
    audit_api,
    capacity_api,
    destinations_api,
    explain_api,
    pagerduty_hook,
    slack,
    status_api,
)
from receiver.web.openapi_pages import PAGES
from receiver.web.openapi_parts import (
    BAD_BODY,
    BAD_QUERY,
    CHOSEN,
    CURSOR,
    FORM,
    JSON,
    JSON_LINES,
    LIMIT,
    NOT_READY,
    PLAIN,
    SHIFT,
    TOO_LARGE,
    Operation,
    answer,
    any_of,
    body_of,
    error,
    limit,
    parameter,
)
from receiver.web.openapi_primitives import DURATION, NUMBER, TEXT, YES_OR_NO, Schema, given, list_of, ref
from receiver.web.pages.routes import PATH as ROUTES

_ON: Final[Schema] = answer("In force.", PLAIN)

_WEBHOOK: Final = Operation(
    "Take Alertmanager's webhook",
    {
        200: answer("What can be used of it is on disk.", schema=ref("Accepted")),
        400: error("Nothing in the body can be used."),
        413: error("More than web.max_body_bytes."),
        503: error("Cannot be stored now: send it again."),
    },
    body=body_of(JSON, schema=ref("Webhook")),
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
            400: BAD_BODY,
            409: answer("Not done; `text` says why.", schema=ref("Answer")),
            503: NOT_READY,
        },
        body=body_of(JSON, schema=ref(body), most=actions_api.MAX_BYTES),
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
            400: BAD_QUERY,
            503: NOT_READY,
        },
        query=(
            any_of("state", StoryState),
            *CHOSEN,
            parameter("counts", "With sums of the open stories that fit the other filters.", YES_OR_NO),
            LIMIT,
            CURSOR,
        ),
    ),
    ("/api/v1/stories/{id}", "GET"): Operation(
        "One story", {200: answer("The story.", schema=ref("Story")), 404: error("No such story."), 503: NOT_READY}
    ),
    ("/api/v1/stories/{id}/presses", "GET"): Operation(
        "What people asked of a story, oldest first",
        {200: answer("All of it; empty for an id that nobody knows.", schema=ref("Presses")), 503: NOT_READY},
    ),
    ("/api/v1/stories/{id}/acknowledge", "POST"): _act("Take a story", "Acknowledge"),
    ("/api/v1/stories/{id}/silence", "POST"): _act("Silence a story's alerts", "Silence"),
    ("/api/v1/stories/{id}/move", "POST"): _act("Give a story to another receiver", "Move"),
    ("/api/v1/deliveries", "GET"): Operation(
        "Deliveries, newest first",
        {200: answer("A page.", schema=ref("Deliveries")), 400: BAD_QUERY, 503: NOT_READY},
        query=(parameter("story", "Of this story.", TEXT), any_of("state", DeliveryState), LIMIT, CURSOR),
    ),
    ("/api/v1/deliveries/{id}", "GET"): Operation(
        "One delivery",
        {200: answer("The delivery.", schema=ref("Delivery")), 404: error("No such delivery."), 503: NOT_READY},
    ),
    ("/api/v1/deliveries/retry", "POST"): Operation(
        "Try again what could not be told",
        {
            200: answer("The deliveries that are tried, or would be.", schema=ref("Retried")),
            400: BAD_BODY,
            409: error("One of them cannot be tried again."),
            503: NOT_READY,
        },
        body=body_of(JSON, schema=ref("Retry"), most=actions_api.MAX_BYTES),
    ),
    (destinations_api.PATH, "GET"): Operation(
        "How each destination does, those in trouble first",
        {200: answer("All of them.", schema=ref("Destinations")), 503: NOT_READY},
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
            400: BAD_QUERY,
            503: NOT_READY,
        },
        query=(
            parameter("since", "Not older than this.", DURATION),
            any_of("kind", Kind),
            limit(audit_api.DEFAULT_LIMIT, audit_api.MAX_LIMIT),
            parameter(
                "cursor", "`id` of the last line seen.", {**NUMBER, "minimum": 0, "maximum": audit_api.MAX_CURSOR}
            ),
        ),
    ),
    ("/api/v1/explain", "POST"): Operation(
        "Where alerts would go, and what would be sent",
        {
            200: answer("Nothing was sent.", schema=ref("Explained")),
            400: error(f"None can be used, or there are more than {explain_api.MAX_ALERTS}."),
            413: TOO_LARGE,
            503: NOT_READY,
        },
        body=body_of(
            JSON,
            schema={"anyOf": [ref("Webhook"), ref("BareAlert"), list_of(ref("BareAlert"))]},
            most=explain_api.MAX_BYTES,
        ),
    ),
    (capacity_api.PATH, "GET"): Operation(
        "Does a plan fit where it goes, and which other cluster would do?",
        {
            200: answer("What was found; what could not be read stands under `unknown`.", schema=ref("Capacity")),
            400: BAD_QUERY,
            404: error("No such plan."),
            503: error("The cluster does not answer, or too many plans are being judged."),
        },
        query=(parameter("cluster", "Where the plan is, by its name in `clusters`; else the default one.", TEXT),),
    ),
    ("/api/v1/stories/{id}/evidence", "GET"): Operation(
        "What was found out about a story: impact, cause, VMs, logs, waits, room, events",
        {
            200: answer("All that its page shows.", schema=given(evidence={"type": ["object", "null"]})),
            404: error("No such story."),
            503: NOT_READY,
        },
    ),
    ("/api/v1/handover", "GET"): Operation(
        "What the next shift must know",
        {200: answer("At most 200 of each.", schema=ref("Handover")), 400: BAD_QUERY, 503: NOT_READY},
        query=(SHIFT,),
    ),
    (ROUTES, "GET"): Operation(
        "The tree of routes that is in force, as of now, and what namespaces ask for besides",
        {
            200: answer(
                "The tree from the root; the wishes of namespaces that the caller may see, refused ones first.",
                schema=given(route=ref("Route"), namespaces=list_of(ref("Wish"))),
            )
        },
    ),
    ("/slack/interactive", "POST"): Operation(
        "Hear which button was pressed in Slack",
        {
            200: answer("Heard."),
            400: error("The connection ended within the body."),
            404: error("No signing secret is set."),
            413: TOO_LARGE,
            503: error("Not taken now: press again."),
        },
        body=body_of(FORM, schema={"type": "object", "properties": {"payload": TEXT}}, most=slack.MAX_BODY),
    ),
    ("/pagerduty/webhook", "POST"): Operation(
        "Hear from PagerDuty who acknowledged or resolved",
        {
            200: answer("Heard.", schema=given(taken={"type": "boolean", "description": "Was it about ours?"})),
            400: error("The body is no JSON."),
            404: error("No signing secret is set."),
            413: TOO_LARGE,
            503: error("Busy: send it again."),
        },
        body=body_of(JSON, schema={"type": "object"}, most=pagerduty_hook.MAX_BYTES),
    ),
    **PAGES,
}
