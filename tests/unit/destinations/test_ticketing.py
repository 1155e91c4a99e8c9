"""The decisions that all ticket systems share, one by one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from receiver.destinations.logfiles import MAX_FILES, logfiles
from receiver.destinations.ticketing import (
    START,
    Act,
    Verdict,
    comment_mark,
    end_mark,
    judge,
    judged,
    next_act,
    splice,
    told_links,
)
from receiver.keeping import pack
from receiver.model import Change, DeliveryState, Link, Told
from tests.contract.examples import EVIDENCE, FIXED, OPENED, moved, story, wanted

OPEN: dict[str, Any] = {"id": "7", "state": "open", "hash": "h", "revision": 2}


def act(root: dict[str, Any] | None, **changes: Any) -> str:
    following = next_act(wanted(root=root, **changes), "h", send_resolved=True)
    return following.act.value if following else ""


@pytest.mark.parametrize(
    ("root", "changes", "expected"),
    [
        (None, {}, "create"),
        ({"started": True}, {}, "create"),
        ({"started": True}, {"firing": False}, "adopt"),
        (None, {"firing": False}, ""),
        ({"state": "absent"}, {"firing": False}, ""),
        ({"state": "absent"}, {"firing": False, "confirm": True}, "adopt"),
        ({**OPEN, "gone": True}, {"audible": False}, ""),
        ({**OPEN, "gone": True}, {"audible": True}, "create"),
        ({**OPEN, "gone": True}, {"firing": False}, ""),
        (OPEN, {}, ""),
        (OPEN, {"confirm": True}, "update"),
        ({**OPEN, "hash": "old"}, {}, "update"),
        ({**OPEN, "state": "done"}, {"audible": True}, "reopen"),
        ({**OPEN, "state": "done"}, {"audible": False}, ""),
        ({**OPEN, "state": "declined"}, {"audible": True}, ""),
        (OPEN, {"firing": False}, "resolve"),
        ({**OPEN, "state": "declined"}, {"firing": False}, ""),
        ({**OPEN, "state": "done"}, {"firing": False}, ""),
    ],
)
def test_what_a_ticket_needs_next(root: dict[str, Any] | None, changes: dict[str, Any], expected: str) -> None:
    assert act(root, **changes) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (Change.FAILED_AGAIN, "look"),
        (Change.REOPENED, "look"),
        (Change.WORSE, "comment"),
        (Change.RERUN, "comment"),
        (Change.EVIDENCE, ""),
    ],
)
def test_only_a_recurrence_looks_whether_a_person_closed_the_ticket_and_only_once(
    change: Change, expected: str
) -> None:
    state = moved(wanted(root=OPEN), change, key="k")
    following = next_act(state, "h", send_resolved=True)
    assert (following.act.value if following else "") == expected
    looked = replace(state, root=judged(OPEN, Verdict.REOPEN, state.story.revision))
    again = next_act(looked, "h", send_resolved=True)
    assert again is None or again.act is Act.COMMENT


def test_without_send_resolved_nothing_is_said_at_the_end() -> None:
    state = moved(wanted(root=OPEN), Change.RESOLVED, key="resolved", **FIXED)
    assert next_act(state, "h", send_resolved=False) is None


@pytest.mark.parametrize(
    ("resolution", "hours", "verdict"),
    [
        ("Done", 1, Verdict.REOPEN),
        ("", 1, Verdict.REOPEN),
        ("WON'T DO", 1, Verdict.DECLINED),
        ("won't do", 999, Verdict.DECLINED),
        ("Done", 3, Verdict.TOO_OLD),
        ("Done", None, Verdict.REOPEN),
    ],
)
def test_a_closed_ticket_is_judged_by_resolution_and_age(
    resolution: str, hours: float | None, verdict: Verdict
) -> None:
    closed = None if hours is None else OPENED - timedelta(hours=hours)
    assert judge(resolution, closed, OPENED, wont_fix=("Won't Do",), reopen_s=7_200) is verdict


STORY = "01K9ZQ4T7MABCDEFGHJKMNPQRS"
OTHER = "01K9AAAAAAABCDEFGHJKMNPQRS"


@pytest.mark.parametrize("dress", ["{}", "_{}_", "> {}", "<!-- {} -->"])
def test_a_section_is_replaced_between_its_marks_and_nothing_else(dress: str) -> None:
    old = "\n".join(["above", dress.format(START), "old", dress.format(end_mark(STORY)), "----", "below"])
    assert splice(old, "NEW", STORY, rule="----") == "above\nNEW\nbelow"
    assert splice(old, "NEW", STORY) == "above\nNEW\n----\nbelow"
    assert splice(old, "NEW", OTHER, rule="----") == "above\nNEW\nbelow", "the ticket passed to another story"


def test_a_text_of_the_cluster_that_looks_like_a_mark_ends_no_section() -> None:
    old = "\n".join([START, "└ story of a disk", "    └ story " + OTHER, end_mark(STORY), "people's"])
    assert splice(old, "NEW", "01K9BBBBBBABCDEFGHJKMNPQRS") == "NEW\npeople's"
    assert splice(old, "NEW", STORY) == "NEW\npeople's"


@pytest.mark.parametrize("text", ["", "all new", f"{START}\nno end", f"no start\n{end_mark(STORY)}", None, {"a": 1}])
def test_without_both_marks_a_description_is_peoples(text: object) -> None:
    assert splice(text, "NEW", STORY) is None


def test_two_entries_of_one_key_have_marks_of_their_own() -> None:
    first = moved(wanted(), Change.WORSE, key="worse")
    second = moved(first, Change.WORSE, key="worse")
    assert comment_mark(second, second.entries[0]) != comment_mark(second, second.entries[1])


def test_only_addresses_of_others_become_links() -> None:
    def told(destination: str, url: str) -> Told:
        return Told("team", destination.split(":")[0], destination, DeliveryState.DELIVERED, Link("MIG-1", url))

    shown = (told("jira:me", "https://me"), told("slack:x", "https://slack.com/1"), told("github:y", "javascript:x"))
    links = told_links(wanted(story(told=shown)), "jira:me", "full")
    assert links == (Link("Slack thread", "https://slack.com/1"),)


def test_files_have_names_of_their_own_and_there_are_not_too_many() -> None:
    log = replace(EVIDENCE.logs[0], kept=pack("text"))
    hostile = replace(log, vm="../../etc/<b>\u202e", container="virt v2v")
    many = tuple(replace(log, vm=f"vm-{at}") for at in range(40))
    found = logfiles(wanted(story(evidence=replace(EVIDENCE, logs=(hostile, log, log, *many)))), "full")
    assert len(found) == MAX_FILES
    assert found[0].name == "etc-b--virt-v2v.log"
    assert len({file.part for file in found}) == len({file.name for file in found}) == MAX_FILES
    assert all(file.part.startswith("file-") and file.part.endswith("-run-1") for file in found)
    assert found[0].text == "text"


def test_files_keep_their_parts_when_more_logs_are_read() -> None:
    log = replace(EVIDENCE.logs[0], kept=pack("text"))
    before = logfiles(wanted(story(evidence=replace(EVIDENCE, logs=(log,)))), "full")
    after = logfiles(wanted(story(evidence=replace(EVIDENCE, logs=(replace(log, vm="first"), log)))), "full")
    assert before[0] in after
