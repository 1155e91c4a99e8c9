"""One issue per story at GitHub and GitLab: its life, and what people decide. Counted at the forge."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from receiver.errors import DestinationRefused, Gone
from receiver.model import Change, Outcome, StoryState
from tests.contract.examples import EVIDENCE, OPENED, deliver, moved, wanted
from tests.contract.forge_making import Made, again, ended
from tests.fakes.github import Issue as GitHubIssue

pytestmark = pytest.mark.anyio


# --- the life of an issue -------------------------------------------------------------------------------------------


async def test_the_first_failure_makes_one_issue_with_label_title_and_marked_text(forge: Made) -> None:
    steps, state = await deliver(forge({"labels": ["vm-migration"]}), wanted())
    assert steps == ["create"]
    assert forge.requests() == ["POST issues"]
    assert forge.issue.title == "[payments-prod] Migration plan pay-w17-03 failed on ocp-prod-2"
    assert forge.issue.labels == ["mtv-receiver", "vm-migration", "guest-bitlocker"]
    label = wanted().keys.label
    assert forge.text.startswith(f"<!-- begin {label} -->\n### 🔴 3 VMs down")
    assert f"<!-- end {label} story {wanted().story.id} -->" in forge.text
    assert state.root is not None
    assert state.root["url"].endswith("/issues/1")
    assert forge().link(state.root) == state.root["url"]


@pytest.mark.parametrize("outcome", [Outcome.FIXED, Outcome.CANCELED, Outcome.DELETED, Outcome.CLEARED])
async def test_an_end_rewrites_comments_and_closes(forge: Made, outcome: Outcome) -> None:
    the_sender = forge()
    _, state = await deliver(the_sender, wanted())
    steps, state = await deliver(the_sender, ended(state, outcome))
    assert steps == ["update", "comment", "resolve"]
    assert not forge.issue.open
    assert forge.issue.edits == 1
    assert len(forge.site.comments()) == 1
    if isinstance(forge.issue, GitHubIssue):
        assert forge.issue.moves == [("closed", "completed")], "what we close may be opened again"
    assert await deliver(the_sender, state) == ([], state)


async def test_a_rerun_is_a_comment_and_closes_nothing(forge: Made) -> None:
    the_sender = forge()
    _, state = await deliver(the_sender, wanted())
    steps, _ = await deliver(the_sender, moved(state, Change.RERUN, key="rerun-1", state=StoryState.RERUNNING, run="2"))
    assert steps == ["update", "comment"]
    assert forge.issue.open
    assert "### 🔵 Re-running" in forge.text


async def test_a_quiet_change_makes_no_comment_and_an_equal_story_no_request(forge: Made) -> None:
    the_sender = forge()
    _, state = await deliver(the_sender, wanted())
    seen = len(forge.requests())
    equal = replace(state, story=replace(state.story, revision=9), audible=True)
    assert await deliver(the_sender, equal) == ([], replace(equal, audible=False))
    assert len(forge.requests()) == seen
    changed = replace(EVIDENCE, impact_text="All of them are off since 23:00 UTC.")
    steps, _ = await deliver(the_sender, moved(state, Change.EVIDENCE, key="evidence", evidence=changed))
    assert steps == ["update"]
    assert forge.site.comments() == []


async def test_failing_again_after_the_end_opens_the_same_issue(forge: Made) -> None:
    the_sender = forge()
    _, state = await deliver(the_sender, wanted())
    _, state = await deliver(the_sender, ended(state))
    steps, _ = await deliver(the_sender, again(state))
    assert steps == ["reopen", "update", "comment"]
    assert forge.issue.open
    assert len(forge.issue.moves) == 2


async def test_failing_again_opens_what_a_person_closed_too_early(forge: Made) -> None:
    the_sender = forge()
    _, state = await deliver(the_sender, wanted())
    forge.site.close(forge.number())
    steps, _ = await deliver(the_sender, moved(state, Change.FAILED_AGAIN, key="failed-again-1"))
    assert steps[0] == "look"
    assert forge.issue.open


async def test_failing_again_moves_nothing_where_the_issue_is_open(forge: Made) -> None:
    the_sender = forge()
    _, state = await deliver(the_sender, wanted())
    steps, state = await deliver(the_sender, moved(state, Change.FAILED_AGAIN, key="failed-again-1"))
    assert steps == ["look", "comment"]
    assert not [each for each in forge.vendors.requests if each.json and each.json.keys() & {"state", "state_event"}]
    assert await deliver(the_sender, state) == ([], state), "and it is not looked again"


async def test_a_person_who_closed_it_is_not_contradicted_by_a_quiet_change_or_the_end(forge: Made) -> None:
    the_sender = forge()
    _, state = await deliver(the_sender, wanted())
    forge.site.close(forge.number())
    changed = replace(EVIDENCE, impact_text="All of them are off since 23:00 UTC.")
    _, state = await deliver(the_sender, moved(state, Change.EVIDENCE, key="evidence", evidence=changed))
    _, state = await deliver(the_sender, ended(state))
    assert not forge.issue.open
    assert len(forge.issue.moves) == 1, "closed by the person alone"


async def test_an_issue_closed_too_long_ago_is_left_and_a_new_one_made(forge: Made) -> None:
    the_sender = forge({"reopen_duration": "1h"})
    _, state = await deliver(the_sender, wanted())
    _, state = await deliver(the_sender, ended(state))
    forge.issue.closed_at = OPENED.timestamp()
    later = again(state)
    later = replace(later, story=replace(later.story, updated=OPENED + timedelta(hours=3)))
    steps, _ = await deliver(the_sender, later)
    assert steps == ["reopen", "create"]
    assert [each.open for each in forge.site.issues()] == [False, True]


async def test_the_issue_whose_place_a_new_one_takes_is_not_taken_for_it(forge: Made) -> None:
    the_sender = forge()
    _, state = await deliver(the_sender, wanted())
    gone = replace(again(state), root={**(state.root or {}), "gone": True})
    step = the_sender.plan(gone)
    assert step is not None
    assert step.op == "create"
    assert await the_sender.find(step, gone) is None
    await the_sender.send(step, gone)
    assert (await the_sender.find(step, gone) or {}).get("id") == "2"


async def test_without_send_resolved_nothing_is_closed(forge: Made) -> None:
    the_sender = forge(send_resolved=False)
    _, state = await deliver(the_sender, wanted())
    steps, _ = await deliver(the_sender, ended(state))
    assert steps == ["update"]
    assert forge.issue.open


async def test_a_story_that_ended_before_its_issue_was_made_gets_none(forge: Made) -> None:
    assert (await deliver(forge(), ended(wanted())))[0] == []
    assert forge.requests() == []


# --- what people decide ---------------------------------------------------------------------------------------------


async def test_what_people_write_label_and_assign_stays(forge: Made) -> None:
    the_sender = forge()
    _, state = await deliver(the_sender, wanted())
    forge.write(f"Read this first!\r\n\r\n{forge.text}called the guest team\r\n- [ ] ask Bob")
    forge.issue.labels.append("ours")
    forge.issue.title = "renamed by a person"
    _, state = await deliver(the_sender, ended(state))
    assert "🟢 Fixed" in forge.text
    assert forge.text.startswith("Read this first!\r\n\r\n<!-- begin ")
    assert forge.text.endswith("-->\ncalled the guest team\r\n- [ ] ask Bob")
    assert forge.text.count("<!-- begin ") == 1
    assert forge.issue.title == "renamed by a person"
    assert "ours" in forge.issue.labels
    for each in forge.vendors.seen(forge.kind):  # type: ignore[arg-type]
        if each.method in ("PATCH", "PUT"):
            assert not each.json.keys() & {"title", "labels", "assignees", "assignee_ids"}


@pytest.mark.parametrize("text", [None, "", "all rewritten by a person"])
async def test_a_text_without_our_marks_is_left_alone(forge: Made, text: str | None) -> None:
    the_sender = forge()
    _, state = await deliver(the_sender, wanted())
    forge.write(text)
    _, state = await deliver(the_sender, ended(state))
    assert (forge.issue.body if isinstance(forge.issue, GitHubIssue) else forge.issue.description) == text
    assert forge.issue.edits == 0


async def test_a_text_that_leaves_no_room_for_ours_is_left_alone(forge: Made) -> None:
    the_sender = forge()
    _, state = await deliver(the_sender, wanted())
    full = forge.text + "y" * ((65_536 if forge.kind == "github" else 1_000_000) - len(forge.text))
    forge.write(full)
    longer = replace(EVIDENCE, impact_text="They are off. " * 20)
    steps, _ = await deliver(the_sender, moved(state, Change.EVIDENCE, evidence=longer))
    assert steps == ["update"]
    assert forge.text == full


async def test_wont_fix_stays_closed_and_still_hears_of_it(forge: Made) -> None:
    the_sender = forge()
    _, state = await deliver(the_sender, wanted())
    if forge.kind == "github":
        forge.site.close(forge.number(), "not_planned")
    else:
        forge.site.close(forge.number())
        forge.issue.labels.append("WontFix")
    steps, state = await deliver(the_sender, moved(state, Change.FAILED_AGAIN, key="failed-again-1"))
    assert steps[0] == "look"
    assert steps[-1] == "comment"
    assert not forge.issue.open
    assert state.root is not None
    assert state.root["state"] == "declined"


@pytest.mark.parametrize("forge", ["gitlab"], indirect=True)
@pytest.mark.parametrize("how", [{"moved_to": 77}, {"duplicate_of": "https://gitlab.example.com/api/v4/x/3"}])
async def test_an_issue_moved_away_or_closed_as_duplicate_is_not_opened_again(forge: Made, how: dict[str, Any]) -> None:
    the_sender = forge()
    _, state = await deliver(the_sender, wanted())
    forge.site.close(forge.number())
    for name, value in how.items():
        setattr(forge.issue, name, value)
    await deliver(the_sender, moved(state, Change.FAILED_AGAIN, key="failed-again-1"))
    assert not forge.issue.open


async def test_a_deleted_issue_is_gone_and_comes_back_only_with_an_audible_change(forge: Made) -> None:
    the_sender = forge()
    _, state = await deliver(the_sender, wanted())
    forge.site.delete(forge.number())
    changed = ended(state)
    step = the_sender.plan(changed)
    assert step is not None
    with pytest.raises(Gone):
        await the_sender.send(step, changed)
    gone = replace(changed, root={**(changed.root or {}), "gone": True})
    assert the_sender.plan(gone) is None
    steps, _ = await deliver(the_sender, again(gone))
    assert steps == ["create"]


@pytest.mark.parametrize("forge", ["github"], indirect=True)
async def test_an_issue_transferred_to_another_repository_is_gone(forge: Made) -> None:
    the_sender = forge()
    _, state = await deliver(the_sender, wanted())
    forge.vendors.github.transferred.add(forge.number())
    changed = ended(state)
    step = the_sender.plan(changed)
    assert step is not None
    with pytest.raises(Gone):
        await the_sender.send(step, changed)


async def test_an_account_that_lost_its_rights_does_not_take_issues_for_deleted(forge: Made) -> None:
    the_sender = forge()
    _, state = await deliver(the_sender, wanted())
    forge.site.hidden = True
    changed = ended(state)
    step = the_sender.plan(changed)
    assert step is not None
    with pytest.raises(DestinationRefused):
        await the_sender.send(step, changed)
