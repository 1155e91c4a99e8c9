"""The forms of what the HTTP API takes and gives, as JSON Schema. What the code knows is taken from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pydantic import TypeAdapter

from receiver.actions import API, COMMAND_LINE, LONGEST_SILENCE_H, PAGE, PAGERDUTY, SLACK
from receiver.capacity import Origin, Proof, Scope, Verdict
from receiver.config.durations import Duration
from receiver.destinations.registry import ALL
from receiver.explain import MUTED, NOT_TOLD, TOLD
from receiver.model import AlertStatus, AttemptOutcome, Change, DeliveryState, Impact, Outcome, StoryState
from receiver.store.audit import Kind
from receiver.store.health import Standing
from receiver.web import retry_api

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
NUMBER: Final[Schema] = {"type": "integer"}
FRACTION: Final[Schema] = {"type": "number"}
YES_OR_NO: Final[Schema] = {"type": "boolean"}
MOMENT: Final[Schema] = {"type": "string", "format": "date-time"}
TEXTS: Final[Schema] = {"type": "object", "additionalProperties": TEXT}
DURATION: Final[Schema] = TypeAdapter(Duration).json_schema()


def ref(name: str) -> Schema:
    """Return a reference to one of SCHEMAS."""
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


def _first(schema: Schema) -> Schema:
    """Return the schema of the first of a list, and how many there are."""
    return given(items=list_of(schema), total=NUMBER)


_BY: Final[Schema] = {**TEXT, "description": "Who acts, where the way of signing in does not say it."}
_KIND: Final = one_of(kind.kind for kind in ALL)
_VIA: Final = one_of((SLACK, PAGERDUTY, COMMAND_LINE, API, PAGE))
_REJECTED: Final = list_of(given(index=NUMBER, reason=TEXT))
_RETRY: Final[dict[str, Schema]] = {
    "ids": {**list_of(TEXT), "minItems": 1, "description": "These deliveries; not together with a filter."},
    "state": {"anyOf": [one_of(DeliveryState), list_of(one_of(DeliveryState))]},
    "destination": {**TEXT, "description": "Such as payments/slack."},
    "receiver": TEXT,
    "since": DURATION,
    "dry_run": {**YES_OR_NO, "default": False},
}

_AMOUNT: Final[Schema] = {**NUMBER, "description": "Millicores of CPU, bytes of memory and storage, else a count."}
_AGE: Final[Schema] = or_null({**FRACTION, "description": "Seconds since its nodes were read; null: they were not."})
_LACKING: Final = list_of(ref("Shortage"))

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
    "Accepted": given(accepted={**NUMBER, "description": "Alerts on disk."}, rejected=_REJECTED),
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
    ),
    "StoryAlert": given(
        fingerprint=TEXT, status=one_of(AlertStatus), startsAt=MOMENT, endsAt=or_null(MOMENT), labels=TEXTS
    ),
    "Stories": filtered(page_of("Story")),
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
        kind=_KIND,
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
    "Destination": given(
        identity=TEXT,
        names={**list_of(TEXT), "description": "Such as payments/slack; several where receivers share it."},
        kind=TEXT,
        configured={**YES_OR_NO, "description": "False: it left the configuration, and is remembered."},
        state=one_of(Standing),
        reason=TEXT,
        since=or_null(MOMENT),
        next=or_null({**MOMENT, "description": "When it is asked again; null: with the next delivery."}),
        failures={**NUMBER, "description": "Tries in a row that did not get through."},
        waiting={**NUMBER, "description": "Deliveries that are pending or retrying."},
        oldest=or_null({**MOMENT, "description": "Since when the first of them waits."}),
        parked=NUMBER,
        dead=NUMBER,
        tries={**NUMBER, "description": "Answered ones, since `tries_since`."},
        errors={**NUMBER, "description": "Those that went wrong."},
    ),
    "Destinations": filtered(
        given(
            items=list_of(ref("Destination")),
            tries_since={**MOMENT, "description": "An hour ago; later where there were very many tries."},
        )
    ),
    "Status": given(
        ready={**or_null(TEXT), "description": "Empty: it is. Else why not; null: not known."},
        versions=given(receiver=TEXT, python=TEXT, database=or_null(TEXT)),
        configuration=or_null(
            given(
                file=TEXT,
                hash=TEXT,
                loaded=or_null(MOMENT),
                problems={**list_of(TEXT), "description": "What keeps the newest configuration from being in force."},
                included={**list_of(TEXT), "description": "Files that `include` led to."},
                files=NUMBER,
                yaml={**TEXT, "description": "All of it, defaults filled in; secrets are where they are read."},
            )
        ),
        clusters=list_of(
            given(
                name=TEXT,
                source=TEXT,
                synced=YES_OR_NO,
                problem=TEXT,
                plans=or_null(NUMBER),
                lacking={**or_null(list_of(TEXT)), "description": "Rights that are missing; null: not known."},
                lacking_unknown={**TEXT, "description": "Why not."},
            )
        ),
        alertmanagers=list_of(
            given(
                name=TEXT,
                urls=list_of(TEXT),
                last_round=or_null(MOMENT),
                last_complete={**or_null(MOMENT), "description": "When all peers last answered this process."},
                failed_rounds=NUMBER,
            )
        ),
        heartbeat=or_null(
            given(
                expected=YES_OR_NO,
                heard=or_null(MOMENT),
                webhook=or_null(MOMENT),
                firing=list_of(TEXT),
                ping_error=TEXT,
            )
        ),
        store=or_null(
            given(
                kind=TEXT,
                place=TEXT,
                bytes={**NUMBER, "description": "Taken from the disk."},
                used={**or_null(NUMBER), "description": "In use; null: another replica counts it."},
                limit=NUMBER,
                stories={"type": "object", "additionalProperties": NUMBER},
                deliveries={"type": "object", "additionalProperties": NUMBER},
                inbox=NUMBER,
                inbox_oldest_s=FRACTION,
            )
        ),
        replicas=or_null(given(shared=YES_OR_NO, holders=list_of(given(owner=TEXT, jobs=list_of(TEXT))))),
        unknown={**list_of(given(what=TEXT, why=TEXT)), "description": "Parts that could not be told."},
    ),
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
    "Route": given(
        path={**TEXT, "description": "Such as route.routes[1]."},
        line={**TEXT, "description": "File and line."},
        namespaces=list_of(TEXT),
        matchers=list_of(TEXT),
        receivers=list_of(given(name=TEXT, destinations=list_of(given(kind=_KIND, label=TEXT)))),
        **{"continue": YES_OR_NO},
        notify_success=YES_OR_NO,
        labels=TEXTS,
        mute_time_intervals=list_of(TEXT),
        active_time_intervals=list_of(TEXT),
        muted={**YES_OR_NO, "description": "Do its time intervals hold first messages back now?"},
        routes=list_of(ref("Route")),
    ),
    "Explained": given(
        alerts=list_of(
            given(
                fingerprint=TEXT,
                subject=TEXT,
                facts=TEXTS,
                missing=list_of(TEXT),
                routes=list_of(given(path=TEXT, line=TEXT, matched=YES_OR_NO, reason=TEXT)),
                destinations=list_of(
                    given(
                        receiver=TEXT,
                        kind=_KIND,
                        destination=TEXT,
                        state=one_of((TOLD, MUTED, NOT_TOLD)),
                        reason=TEXT,
                        request={**or_null({"type": "object"}), "description": "What would be sent."},
                    )
                ),
            )
        ),
        rejected=_REJECTED,
    ),
    "Capacity": given(
        plan=TEXT,
        cluster={**TEXT, "description": "The target."},
        namespace={**TEXT, "description": "The namespace there."},
        source=TEXT,
        at=MOMENT,
        age=_AGE,
        verdict=one_of(Verdict),
        headline={**TEXT, "description": "The verdict in one line."},
        parts=given(compute=one_of(Verdict), storage=one_of(Verdict), quota=one_of(Verdict)),
        shortages=_LACKING,
        risks=_LACKING,
        unknown=list_of(
            given(
                resource=TEXT,
                why=TEXT,
                subject=TEXT,
                need=or_null(_AMOUNT),
                right={**TEXT, "description": "The right that is missing, such as `list pods in all namespaces`."},
                text=TEXT,
            )
        ),
        resources=list_of(
            given(
                resource=TEXT,
                scope=one_of(Scope),
                owner={**TEXT, "description": "What sets the limit."},
                need=_AMOUNT,
                free=or_null(_AMOUNT),
                short_by=_AMOUNT,
                how=TEXT,
                certain={**YES_OR_NO, "description": "False for estimates."},
                peak=or_null(_AMOUNT),
            )
        ),
        vms=list_of(
            given(
                name=TEXT,
                namespace=TEXT,
                cpu=or_null(_AMOUNT),
                memory=or_null(_AMOUNT),
                origin=one_of(Origin),
                node={**or_null(TEXT), "description": "Where it would probably land."},
                why=TEXT,
            )
        ),
        vms_total=NUMBER,
        remaining_percent={"type": "object", "additionalProperties": FRACTION},
        in_flight=or_null(given(limit=NUMBER, moving=NUMBER, waiting=NUMBER, ahead=NUMBER, plans=list_of(TEXT))),
        others=list_of(given(cluster=TEXT, verdict=one_of(Verdict), reason=TEXT, age=_AGE)),
        none_fits=YES_OR_NO,
        left_out=list_of(given(cluster=TEXT, reason=TEXT)),
        notes=list_of(TEXT),
    ),
    "Handover": filtered(
        given(
            summary={**TEXT, "description": "All of it in one sentence."},
            at=MOMENT,
            since_seconds=FRACTION,
            numbers=given(
                open=NUMBER,
                with_vms_down=NUMBER,
                vms_down=NUMBER,
                vms_down_at_least=YES_OR_NO,
                nobody_has=NUMBER,
                outcomes={"type": "object", "additionalProperties": NUMBER},
            ),
            storms=list_of(
                given(id=TEXT, url=or_null(TEXT), title=TEXT, members=NUMBER, since=MOMENT, taken_by=or_null(TEXT))
            ),
            open={**_first(ref("OpenStory")), "description": "Neither of a storm nor stuck, the worst first."},
            stuck=_first(ref("OpenStory")),
            dead=_first(ref("Untold")),
            waiting=_first(ref("Untold")),
            ended=_first(
                given(
                    id=TEXT,
                    url=or_null(TEXT),
                    title=TEXT,
                    namespace=TEXT,
                    cluster=TEXT,
                    outcome=one_of(Outcome),
                    opened=MOMENT,
                    closed=MOMENT,
                    rerun=YES_OR_NO,
                )
            ),
            done=_first(given(at=MOMENT, story=TEXT, title=TEXT, action=TEXT, by=TEXT, via=TEXT, text=TEXT)),
            silences_ending=_first(given(story=TEXT, title=TEXT, until=MOMENT, by=TEXT)),
        )
    ),
    "OpenStory": given(
        id=TEXT,
        url=or_null(TEXT),
        title=TEXT,
        namespace=TEXT,
        cluster=TEXT,
        state=one_of(one for one in StoryState if one is not StoryState.RESOLVED),
        impact=one_of(Impact),
        severity=TEXT,
        failed=NUMBER,
        total=NUMBER,
        cause=TEXT,
        since=MOMENT,
        taken_by=or_null(TEXT),
        silenced_until=or_null(MOMENT),
        silenced_by=or_null(TEXT),
    ),
    "Untold": given(
        state=one_of((DeliveryState.DEAD, DeliveryState.PARKED, DeliveryState.RETRYING)),
        to=TEXT,
        why=TEXT,
        since=MOMENT,
        number={**NUMBER, "description": "Messages that wait there."},
        story=or_null(TEXT),
        title=TEXT,
        told_in_its_place=YES_OR_NO,
    ),
    "Shortage": given(
        resource=TEXT,
        scope=one_of(Scope),
        vm={**TEXT, "description": "`plan` where all VMs together are meant."},
        need=_AMOUNT,
        have=or_null(_AMOUNT),
        peak=or_null(_AMOUNT),
        missing=_AMOUNT,
        owner=TEXT,
        proof=one_of(Proof),
        certain={**YES_OR_NO, "description": "False where the proof is a heuristic: it is only probable."},
        source=TEXT,
        text=TEXT,
    ),
}
