"""The forms of the routes that are in force, and of where they would lead alerts."""

from __future__ import annotations

from typing import Final

from receiver.explain import MUTED, NOT_TOLD, TOLD
from receiver.web.openapi_primitives import (
    KIND,
    REJECTED,
    TEXT,
    TEXTS,
    YES_OR_NO,
    Schema,
    given,
    list_of,
    one_of,
    or_null,
    ref,
)

EXPLAIN: Final[dict[str, Schema]] = {
    "Route": given(
        path={**TEXT, "description": "Such as route.routes[1]."},
        line={**TEXT, "description": "File and line."},
        namespaces=list_of(TEXT),
        matchers=list_of(TEXT),
        receivers=list_of(given(name=TEXT, destinations=list_of(given(kind=KIND, label=TEXT)))),
        **{"continue": YES_OR_NO},
        notify_success=YES_OR_NO,
        labels=TEXTS,
        mute_time_intervals=list_of(TEXT),
        active_time_intervals=list_of(TEXT),
        muted={**YES_OR_NO, "description": "Do its time intervals hold first messages back now?"},
        routes=list_of(ref("Route")),
    ),
    "Wish": given(
        cluster=TEXT,
        namespace=TEXT,
        asks_for={**TEXT, "description": "Such as receiver team-payments."},
        granted=YES_OR_NO,
        refused={**TEXT, "description": "Why it is not granted; empty: it is."},
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
                        kind=KIND,
                        destination=TEXT,
                        state=one_of((TOLD, MUTED, NOT_TOLD)),
                        reason=TEXT,
                        request={**or_null({"type": "object"}), "description": "What would be sent."},
                    )
                ),
            )
        ),
        rejected=REJECTED,
    ),
}
