"""The forms of how the service itself does, and each of its destinations."""

from __future__ import annotations

from typing import Final

from receiver.store.health import Standing
from receiver.web.openapi_primitives import (
    FRACTION,
    MOMENT,
    NUMBER,
    TEXT,
    YES_OR_NO,
    Schema,
    filtered,
    given,
    list_of,
    one_of,
    or_null,
    ref,
)

STATUS: Final[dict[str, Schema]] = {
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
                shadow={**list_of(TEXT), "description": "Receivers in shadow mode: nothing is sent to them."},
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
}
