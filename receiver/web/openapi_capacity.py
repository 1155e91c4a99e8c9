"""The forms of whether a plan fits: the answer, and what is short."""

from __future__ import annotations

from typing import Final

from receiver.capacity import Origin, Proof, Scope, Verdict
from receiver.web.openapi_primitives import (
    FRACTION,
    MOMENT,
    NUMBER,
    TEXT,
    YES_OR_NO,
    Schema,
    given,
    list_of,
    one_of,
    or_null,
    ref,
)

_AMOUNT: Final[Schema] = {**NUMBER, "description": "Millicores of CPU, bytes of memory and storage, else a count."}
_AGE: Final[Schema] = or_null({**FRACTION, "description": "Seconds since its nodes were read; null: they were not."})
_LACKING: Final = list_of(ref("Shortage"))

CAPACITY: Final[Schema] = given(
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
)

SHORTAGE: Final[Schema] = given(
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
)
