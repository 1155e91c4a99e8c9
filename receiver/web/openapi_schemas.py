"""The forms of what the HTTP API takes and gives, as JSON Schema. What the code knows is taken from it.

Here are alerts, stories, deliveries and what people ask for; other areas have a module each (`openapi_capacity`,
`openapi_explain`, `openapi_handover`, `openapi_status`), and all stand together in SCHEMAS.
"""

from __future__ import annotations

from typing import Final

from receiver.actions import API, COMMAND_LINE, LONGEST_SILENCE_H, PAGE, PAGERDUTY, SLACK
from receiver.model import AlertStatus, AttemptOutcome, Change, DeliveryState, Impact, Outcome, StoryState
from receiver.store import retrying
from receiver.store.audit import Kind
from receiver.web import retry_api
from receiver.web.openapi_capacity import CAPACITY, SHORTAGE
from receiver.web.openapi_explain import EXPLAIN
from receiver.web.openapi_handover import HANDOVER
from receiver.web.openapi_primitives import (
    DURATION,
    KIND,
    MOMENT,
    NUMBER,
    REJECTED,
    TEXT,
    TEXTS,
    YES_OR_NO,
    Schema,
    filtered,
    given,
    list_of,
    one_of,
    or_null,
    page_of,
    ref,
    taken,
)
from receiver.web.openapi_status import STATUS
from receiver.web.openapi_storm import STORM, STORY_COUNTS, counted

_BY: Final[Schema] = {**TEXT, "description": "Who acts, where the way of signing in does not say it."}
_VIA: Final = one_of((SLACK, PAGERDUTY, COMMAND_LINE, API, PAGE))
_RETRY: Final[dict[str, Schema]] = {
    "ids": {
        **list_of(TEXT),
        "minItems": 1,
        "maxItems": retrying.AT_ONCE,
        "description": "These deliveries; not together with a filter.",
    },
    "state": {"anyOf": [one_of(retrying.STUCK), list_of(one_of(retrying.STUCK))]},
    "destination": {**TEXT, "description": "Such as payments/slack."},
    "receiver": TEXT,
    "since": DURATION,
    "dry_run": {**YES_OR_NO, "default": False},
}

SCHEMAS: Final[dict[str, Schema]] = {
    "Error": given(error={**TEXT, "description": "What is wrong, and what helps."}),
    "Webhook": {
        "type": "object",
        "description": "Alertmanager's webhook, version 4. Keys that are not listed are left alone.",
        "properties": {"version": {"const": "4"}, "alerts": list_of(ref("WebhookAlert"))},
        "required": ["version", "alerts"],
    },
    "WebhookAlert": {
        "type": "object",
        "properties": {
            "status": one_of(AlertStatus),
            "labels": {**TEXTS, "minProperties": 1},
            "annotations": TEXTS,
            "startsAt": TEXT,
            "endsAt": TEXT,
            "generatorURL": TEXT,
        },
        "required": ["status", "labels"],
    },
    "BareAlert": {
        "type": "object",
        "description": "One alert; without a status, or with Alertmanager's own state in its place, it fires.",
        "properties": {"labels": {**TEXTS, "minProperties": 1}, "annotations": TEXTS, "startsAt": TEXT},
        "required": ["labels"],
    },
    "Accepted": given(accepted={**NUMBER, "description": "Alerts on disk."}, rejected=REJECTED),
    "Story": given(
        id=TEXT,
        subject=TEXT,
        state=one_of(StoryState),
        outcome=or_null(one_of(Outcome)),
        impact=one_of(Impact),
        severity=TEXT,
        title=TEXT,
        labels=TEXTS,
        facts=TEXTS,
        missing=list_of(TEXT),
        cause=or_null(TEXT),
        ack=or_null(given(by=TEXT, via=_VIA, at=MOMENT)),
        note=TEXT,
        revision=NUMBER,
        alerts=list_of(ref("StoryAlert")),
        timeline=list_of(given(revision=NUMBER, at=MOMENT, change=one_of(Change), text=TEXT)),
        opened=MOMENT,
        updated=MOMENT,
        closed=or_null(MOMENT),
        previous=or_null(TEXT),
        continued_in=or_null(TEXT),
        deliveries={**list_of(TEXT), "description": "Ids of what shows it."},
        storm={**or_null(ref("Storm")), "description": "Of what stands for a storm: what it consists of."},
    ),
    "Storm": STORM,
    "StoryAlert": given(
        fingerprint=TEXT, status=one_of(AlertStatus), startsAt=MOMENT, endsAt=or_null(MOMENT), labels=TEXTS
    ),
    "Stories": counted(filtered(page_of("Story"))),
    "StoryCounts": STORY_COUNTS,
    "Press": given(
        at=MOMENT,
        action={**TEXT, "description": "What was asked for, such as acknowledge, silence or move."},
        by=TEXT,
        via=_VIA,
        done=YES_OR_NO,
        text={**TEXT, "description": "What the person was answered."},
    ),
    "Presses": page_of("Press"),
    "Delivery": given(
        id=TEXT,
        story=TEXT,
        receiver=TEXT,
        kind=KIND,
        destination=TEXT,
        reasons=list_of(TEXT),
        state=one_of(DeliveryState),
        firing=YES_OR_NO,
        moved=or_null(TEXT),
        desired={**NUMBER, "description": "The revision of its story that it is to show."},
        delivered={**NUMBER, "description": "The revision that it shows; 0 for none."},
        receipt=or_null({"type": "object"}),
        error=TEXT,
        fallback_for=or_null(TEXT),
        attempts=list_of(ref("Attempt")),
    ),
    "Attempt": given(
        part=TEXT,
        op=TEXT,
        started=MOMENT,
        ended=or_null(MOMENT),
        outcome=one_of(AttemptOutcome),
        status=or_null({**NUMBER, "description": "The HTTP status of the answer."}),
        error=TEXT,
    ),
    "Deliveries": filtered(page_of("Delivery")),
    **STATUS,
    "AuditLine": {
        **given(id=NUMBER, at=MOMENT, kind=one_of(Kind), story=TEXT),
        "description": "One line; what is known of the event stands beside these.",
    },
    "Acknowledge": taken(
        (), by=_BY, note={**TEXT, "description": "What others are to know, such as what is being done."}
    ),
    "Silence": taken(("hours",), hours={"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST_SILENCE_H}, by=_BY),
    "Move": taken(
        ("to",),
        to={**TEXT, "minLength": 1, "description": "The receiver that takes the story."},
        **{"from": {**TEXT, "description": "The receiver that gives it; without one all that show it."}},
        by=_BY,
    ),
    "Answer": given(done=YES_OR_NO, text={**TEXT, "description": "What came of it, for people."}),
    "Retry": {
        **taken((), **{name: _RETRY[name] for name in retry_api.KEYS}),
        "oneOf": [
            {"required": ["ids"]},
            {"anyOf": [{"required": [name]} for name in retry_api.KEYS if name not in ("ids", "dry_run")]},
        ],
    },
    "Retried": given(items=list_of(TEXT), dry_run=YES_OR_NO),
    **EXPLAIN,
    "Capacity": CAPACITY,
    **HANDOVER,
    "Shortage": SHORTAGE,
}
