"""What the addresses of the pages take and answer, their forms among them, by path and method."""

from __future__ import annotations

from typing import Final

from receiver.model import DeliveryState
from receiver.web.openapi_parts import (
    BAD_QUERY,
    CHOSEN,
    CURSOR,
    FORM,
    HTML,
    PLAIN,
    SHIFT,
    Operation,
    answer,
    body_of,
    error,
    parameter,
)
from receiver.web.openapi_primitives import NUMBER, TEXT, Schema, list_of, one_of, ref
from receiver.web.pages.routes import MAX_FORM

_DELIVERIES: Final = (
    parameter("state", "Any of these, or all; may be repeated.", list_of(one_of((*DeliveryState, "all")))),
    parameter("receiver", "Of this receiver.", TEXT),
    parameter("destination", "Its name, such as payments/slack, or its identity.", TEXT),
    parameter("kind", "Of destinations of this kind.", TEXT),
    parameter("story", "Of this story.", TEXT),
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


PAGES: Final[dict[tuple[str, str], Operation]] = {
    ("/", "GET"): _page("The page of the stories", {400: "A filter makes no sense."}, query=CHOSEN),
    ("/events", "GET"): Operation(
        "Which stories change from now on, as server-sent events; for the list, or with `story` for one page",
        {
            200: answer("Goes on for some minutes; come again then, with Last-Event-ID.", "text/event-stream"),
            400: BAD_QUERY,
            404: error("No such story."),
            503: error("Not ready, or too many pages listen."),
        },
        query=(parameter("story", "Of this story only.", TEXT), *CHOSEN),
    ),
    ("/stories/{id}", "GET"): _page("The page of a story", {404: "No such story."}),
    ("/stories/{id}/vms.csv", "GET"): _page("The failed VMs of a story", {404: "No such story."}, "text/csv"),
    ("/stories/{id}/logs/{number}", "GET"): _page(
        "The page of a log", {404: "No such log."}, query=(parameter("find", "Words that are marked.", TEXT),)
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
            body=body_of(FORM, schema={"type": "object", "properties": dict.fromkeys(fields, TEXT)}),
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
        query=(parameter("v", "A mark of its content: with it the file may be kept for a year.", TEXT),),
    ),
    ("/deliveries", "GET"): _page(
        "The page of the deliveries",
        {400: "A filter makes no sense."},
        query=(
            *_DELIVERIES,
            parameter("retried", "How many were just given another try.", {**NUMBER, "minimum": 0}),
            CURSOR,
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
            409: answer("No such delivery, or one that has nothing to try again.", HTML),
            503: answer("Not ready.", HTML, schema=ref("Error")),
        },
        query=_DELIVERIES,
        body=body_of(FORM, schema={"type": "object", "properties": {"id": TEXT, "all": {"const": "yes"}}}),
    ),
    ("/status", "GET"): _page("The page of the service itself", {}),
    ("/handover", "GET"): Operation(
        "The page that one shift reads with the next",
        {
            200: answer("HTML.", HTML),
            400: answer("`since` makes no sense: the usual time is shown.", HTML),
            503: answer("Not ready.", HTML, schema=ref("Error")),
        },
        query=(SHIFT,),
    ),
    ("/routes", "GET"): Operation(
        "The page of the routes, with a form that tries alerts",
        {200: answer("HTML.", HTML)},
        query=(parameter("story", "The stored story that is chosen in the form.", TEXT),),
    ),
    ("/routes", "POST"): Operation(
        "Try alerts: where would they go, and what would be sent? Nothing is",
        {
            200: answer("The same page, with the answer; a pasted configuration may have problems.", HTML),
            400: answer("The page says what cannot be used.", HTML),
            503: answer("Not ready, or too much to do in time.", HTML, schema=ref("Error")),
        },
        body=body_of(
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
            parameter("cluster", "Where a ConfigMap may hold it.", TEXT),
            parameter("namespace", "The namespace that the alert names.", TEXT),
        ),
    ),
}
