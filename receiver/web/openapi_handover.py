"""The forms of what a shift leaves to the next one."""

from __future__ import annotations

from typing import Final

from receiver.model import DeliveryState, Impact, Outcome, StoryState
from receiver.web.openapi_primitives import (
    FRACTION,
    MOMENT,
    NUMBER,
    NUMBERS,
    TEXT,
    YES_OR_NO,
    Schema,
    filtered,
    first_of,
    given,
    list_of,
    one_of,
    or_null,
    ref,
)

HANDOVER: Final[dict[str, Schema]] = {
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
                outcomes=NUMBERS,
            ),
            storms=list_of(
                given(
                    id=TEXT,
                    url=or_null(TEXT),
                    title=TEXT,
                    members=NUMBER,
                    failed={**NUMBER, "description": "VMs, of `total`."},
                    total=NUMBER,
                    cause={**TEXT, "description": "What most of its stories have in common."},
                    with_that_cause={**NUMBER, "description": "So many of its stories."},
                    since=MOMENT,
                    taken_by=or_null(TEXT),
                    takers={**NUMBERS, "description": "Who took how many of its stories."},
                )
            ),
            open={**first_of(ref("OpenStory")), "description": "Neither of a storm nor stuck, the worst first."},
            stuck=first_of(ref("OpenStory")),
            dead=first_of(ref("Untold")),
            waiting=first_of(ref("Untold")),
            ended=first_of(
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
            done=first_of(given(at=MOMENT, story=TEXT, title=TEXT, action=TEXT, by=TEXT, via=TEXT, text=TEXT)),
            silences_ending=first_of(given(story=TEXT, title=TEXT, until=MOMENT, by=TEXT)),
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
        told_in_its_place={**YES_OR_NO, "description": "Others know all of it."},
        told_elsewhere={**NUMBER, "description": "Messages of these that others were told of."},
    ),
}
