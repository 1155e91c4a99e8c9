"""The forms of sums: what a storm consists of, and how many stories are open."""

from __future__ import annotations

from typing import Final

from receiver.model import Impact, Outcome, StoryState
from receiver.web.openapi_primitives import (
    NUMBER,
    NUMBERS,
    TEXT,
    YES_OR_NO,
    Schema,
    given,
    list_of,
    one_of,
    or_null,
    ref,
)

_VMS: Final = ("total", "failed", "done", "running", "waiting", "canceled", "down", "not_recognised")

STORM: Final[Schema] = given(
    stories=NUMBER,
    open=NUMBER,
    rerunning=NUMBER,
    fixed=NUMBER,
    unread={**NUMBER, "description": "Open stories of which nothing is known yet."},
    vms=given(**dict.fromkeys(_VMS, NUMBER)),
    causes=list_of(
        given(
            id=TEXT, sentence=TEXT, owner=TEXT, remedy=list_of(TEXT), link=TEXT, vms=NUMBER, stories=NUMBER, down=NUMBER
        )
    ),
    namespaces={
        **list_of(given(name=TEXT, stories=NUMBER, failed=NUMBER, down=NUMBER)),
        "description": "Where the VMs go to; the one with most down first.",
    },
    members={
        **list_of(
            given(
                story=TEXT,
                name=TEXT,
                namespace={**TEXT, "description": "The Plan's own."},
                state=one_of(
                    (*(one for one in StoryState if one is not StoryState.RESOLVED), *Outcome),
                ),
                impact=one_of(Impact),
                failed=NUMBER,
                total=NUMBER,
                down=NUMBER,
                cause=or_null(TEXT),
                line={**TEXT, "description": "What says most where no cause is known."},
            )
        ),
        "description": "The first 60, those with VMs that are down first.",
    },
)

STORY_COUNTS: Final[Schema] = given(
    by_state=NUMBERS,
    by_cause={**NUMBERS, "description": "The empty name: not recognised."},
    by_namespace={**NUMBERS, "description": "Of the owner; the empty name: not known."},
    by_impact=NUMBERS,
    counted=NUMBER,
    capped={**YES_OR_NO, "description": "There are more: these are the newest."},
)


def counted(page: Schema) -> Schema:
    """Return the schema of a page that may come with sums."""
    sums: Schema = {**ref("StoryCounts"), "description": "Of open stories, with `counts=true`."}
    return {**page, "properties": {**page["properties"], "counts": sums}}
