"""Issues at GitHub and GitLab: nothing twice whatever is lost, logs, and what a check says."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from receiver.destinations import Sender, Step
from receiver.errors import DeliveryError, DestinationRefused, Refused, Transient
from receiver.model import Change, Wanted
from tests.contract.examples import deliver, moved, story, wanted
from tests.contract.forge_making import TOKEN, Made, again, ended, logs
from tests.fakes import faults
from tests.fakes.faults import Fault

pytestmark = pytest.mark.anyio


# --- never twice ----------------------------------------------------------------------------------------------------


async def test_an_unanswered_create_is_found_by_its_mark_and_nothing_else_is_taken_for_it(forge: Made) -> None:
    the_sender = forge()
    other = wanted(story(id="01K9ZZZZZZABCDEFGHJKMNPQRS"))
    other = replace(other, keys=replace(other.keys, label="mtvr-ffffffffffffffffffffffffffffffff"))
    await deliver(the_sender, other)
    state = wanted()
    step = the_sender.plan(state)
    assert step is not None
    assert step.creates
    assert await the_sender.find(step, state) is None
    await the_sender.send(step, state)
    found = await the_sender.find(step, state)
    assert found is not None
    assert found["id"] == "2"
    steps, _ = await deliver(the_sender, replace(state, root=found))
    assert steps == ["update"]
    assert len(forge.site.issues()) == 2


async def test_an_unanswered_create_is_found_although_its_label_is_gone(forge: Made) -> None:
    if forge.kind == "github":
        forge.vendors.github.push = False
    the_sender, state = forge(), wanted()
    step = the_sender.plan(state)
    assert step is not None
    await the_sender.send(step, state)
    forge.issue.labels.clear()
    assert (await the_sender.find(step, state) or {}).get("id") == "1"


@pytest.mark.parametrize("forge", ["github"], indirect=True)
async def test_a_pull_request_is_never_taken_for_our_issue(forge: Made) -> None:
    the_sender, state = forge(), wanted()
    step = the_sender.plan(state)
    assert step is not None
    row = {"number": 9, "body": step.body["body"], "state": "open", "pull_request": {"url": "x"}}
    forge.vendors.github.others.append(row)
    assert await the_sender.find(step, state) is None


async def test_a_look_up_reads_further_pages(forge: Made) -> None:
    the_sender, state = forge(), wanted()
    step = the_sender.plan(state)
    assert step is not None
    await the_sender.send(step, state)
    for at in range(60):
        label = f"mtvr-{at:032x}"
        await the_sender.send(step, state)
        last = forge.site.issues()[-1]
        newer = str(step.body.get("body") or step.body.get("description")).replace(state.keys.label, label)
        setattr(last, "body" if forge.kind == "github" else "description", newer)
        last.at += 10 + at
        if forge.kind == "github":
            last.updated_at = last.at
    found = await the_sender.find(step, state)
    assert found is not None
    assert found["id"] == "1"


@pytest.mark.parametrize("landed", [True, False])
async def test_an_unanswered_issue_ends_with_its_story_and_is_never_made_for_an_ended_one(
    forge: Made, landed: bool
) -> None:
    the_sender, started = forge(), wanted()
    step = the_sender.plan(started)
    assert step is not None
    if landed:
        await the_sender.send(step, started)
    closed = ended(replace(started, root={"started": True}))
    steps, state = await deliver(the_sender, closed)
    assert steps == (["adopt", "update", "comment", "resolve"] if landed else ["adopt"])
    assert [each.open for each in forge.site.issues()] == ([False] if landed else [])
    assert await deliver(the_sender, state) == ([], state)


async def test_a_create_that_landed_after_its_story_ended_is_taken_up_when_it_begins_again(forge: Made) -> None:
    the_sender, started = forge(), wanted()
    lost = the_sender.plan(started)
    assert lost is not None
    steps, state = await deliver(the_sender, ended(replace(started, root={"started": True})))
    assert steps == ["adopt"]
    await the_sender.send(lost, started)
    steps, _ = await deliver(the_sender, again(state))
    assert steps == ["create", "look", "update", "comment"]
    assert forge.issue.open, "one issue"


async def test_a_comment_is_found_and_another_of_the_same_key_is_not_taken_for_it(forge: Made) -> None:
    the_sender = forge()
    _, state = await deliver(the_sender, wanted())
    _, state = await deliver(the_sender, moved(state, Change.WORSE, key="worse", severity="critical"))
    second = moved(state, Change.WORSE, key="worse")
    step = the_sender.plan(second)
    while step is not None and step.part == "root":
        second = replace(second, root=await the_sender.send(step, second))
        step = the_sender.plan(second)
    assert step is not None
    assert await the_sender.find(step, second) is None
    await the_sender.send(step, second)
    assert await the_sender.find(step, second) is not None


async def test_confirm_makes_nothing_new_and_changes_nothing_that_is_equal(forge: Made) -> None:
    the_sender = forge()
    _, state = await deliver(the_sender, wanted())
    steps, _ = await deliver(the_sender, replace(state, confirm=True))
    assert steps == ["update"]
    assert forge.issue.edits == 0


# --- logs -----------------------------------------------------------------------------------------------------------


async def test_every_kept_log_is_added_once(forge: Made) -> None:
    the_sender = forge()
    steps, state = await deliver(the_sender, logs(3))
    assert steps == ["create", "attach", "attach", "attach"]
    comments = forge.site.comments()
    assert len(comments) == 3
    assert await deliver(the_sender, state) == ([], state)
    if forge.kind == "github":
        assert "<details><summary>pay-win-app00-virt-v2v.log, 200 lines</summary>" in comments[0]
        assert "00000 virt-v2v: could not read key" in comments[0]
    else:
        assert re.match(
            r"Log: \[pay-win-app00-virt-v2v\.log\]\(/uploads/\w+/pay-win-app00-virt-v2v\.log\)", comments[0]
        )
        files = forge.vendors.gitlab.uploads.values()
        assert [each.count(b"could not read key") for each in files] == [200, 200, 200]


async def test_a_long_log_is_cut_to_its_end_and_says_so(forge: Made) -> None:
    hostile = "```` </details> <!-- x --> @team"
    _, _ = await deliver(forge(), logs(1, lines=3_000, mark=hostile))
    (comment,) = forge.site.comments()
    if forge.kind == "gitlab":
        (kept,) = forge.vendors.gitlab.uploads.values()
        assert kept.endswith(b"x" * 60)
        return
    assert 59_000 < len(comment.encode()) <= 60_000
    assert re.search(r"its last \d+ of \d[\d,]* lines", comment)
    assert "02999 virt-v2v" in comment
    assert comment.count("`````\n") == 2, "the fence is longer than what is inside"


async def test_an_unanswered_log_is_found_by_its_mark(forge: Made) -> None:
    the_sender, state = forge(), logs(2)
    step = the_sender.plan(state)
    assert step is not None
    state = replace(state, root=await the_sender.send(step, state))
    step = the_sender.plan(state)
    assert step is not None
    assert (step.op, step.creates, step.kept_in_root) == ("attach", True, True)
    assert await the_sender.find(step, state) is None
    sent = await the_sender.send(step, state)
    assert await the_sender.find(step, state) == sent
    assert list(sent["files"]) == [step.part]


async def test_a_log_that_was_refused_is_not_offered_again(forge: Made) -> None:
    the_sender, state = forge(), logs(1)
    step = the_sender.plan(state)
    assert step is not None
    root = {**await the_sender.send(step, state), "skipped": {}}
    step = the_sender.plan(replace(state, root=root))
    assert step is not None
    assert the_sender.plan(replace(state, root={**root, "skipped": {step.part: "too large"}})) is None


@pytest.mark.parametrize("content", ["summary", "minimal"])
async def test_below_full_content_no_log_leaves(forge: Made, content: str) -> None:
    steps, _ = await deliver(forge(content=content), logs(2))
    assert steps == ["create"]
    assert "could not read key" not in forge.text


async def attaching(the_sender: Sender) -> tuple[Step, Wanted]:
    """Return the step that adds a log to an issue, and what is wanted then."""
    state = logs(1)
    step = the_sender.plan(state)
    assert step is not None
    state = replace(state, root=await the_sender.send(step, state))
    step = the_sender.plan(state)
    assert step is not None
    assert step.op == "attach"
    return step, state


async def test_a_log_that_fails_again_and_again_is_left_out_so_that_the_end_can_come(forge: Made) -> None:
    the_sender = forge()
    step, state = await attaching(the_sender)
    with pytest.raises(Refused, match="left out after 6 tries"):
        await the_sender.send(step, replace(state, tries=6))
    assert forge.site.comments() == []
    await the_sender.send(step, replace(state, tries=5))
    assert len(forge.site.comments()) == 1


@pytest.mark.parametrize("forge", ["gitlab"], indirect=True)
@pytest.mark.parametrize(
    ("fault", "meaning"),
    [(faults.server_error_after(), Transient), (faults.cut_after(), Transient), (faults.jira_refused(403), Refused)],
)
async def test_an_upload_that_fails_is_tried_again_or_left_out_and_parks_nothing(
    forge: Made, fault: Fault, meaning: type[DeliveryError]
) -> None:
    the_sender = forge()
    step, state = await attaching(the_sender)
    forge.vendors.fail("gitlab", fault, on="POST uploads")
    with pytest.raises(meaning):
        await the_sender.send(step, state)
    assert forge.site.comments() == []


async def test_logs_stay_here_where_the_configuration_says_so(forge: Made) -> None:
    steps, _ = await deliver(forge({"attach_logs": False}), logs(2))
    assert steps == ["create"]


# --- check ----------------------------------------------------------------------------------------------------------


async def test_a_probe_shows_nothing_to_anybody(forge: Made) -> None:
    await forge().probe()
    assert forge.site.issues() == []
    assert forge.requests() == ["GET repo" if forge.kind == "github" else "GET project"]


@pytest.mark.parametrize("wrong", ["revoked", "hidden", "archived", "no issues"])
async def test_a_probe_says_why_nothing_would_be_taken(forge: Made, wrong: str) -> None:
    match wrong:
        case "revoked":
            forge.site.revoked.add(TOKEN)
        case "no issues" if forge.kind == "github":
            forge.site.has_issues = False
        case "no issues":
            forge.site.issues_access = "disabled"
        case name:
            setattr(forge.site, name, True)
    with pytest.raises(DestinationRefused) as raised:
        await forge().probe()
    assert {"revoked": "401", "hidden": "404", "archived": "archived", "no issues": "switched off"}[wrong] in (
        raised.value.reason
    )


async def test_check_says_what_is_amiss(forge: Made) -> None:
    the_sender: Any = forge()
    assert await the_sender.shortcomings() == ()
    if forge.kind == "github":
        forge.vendors.github.push, forge.vendors.github.private = False, False
        rights, public = await the_sender.shortcomings()
        assert "labels" in rights
    else:
        forge.vendors.gitlab.visibility = "public"
        (public,) = await the_sender.shortcomings()
        confidential: Any = forge({"confidential": True})
        assert await confidential.shortcomings() == ()
    assert "public" in public


async def test_the_token_is_in_its_header_alone(forge: Made) -> None:
    the_sender = forge()
    _, state = await deliver(the_sender, logs(1))
    await deliver(the_sender, ended(state))
    for request in forge.vendors.seen(forge.kind):  # type: ignore[arg-type]
        name = "authorization" if forge.kind == "github" else "private-token"
        assert request.headers[name].removeprefix("Bearer ") == TOKEN
        assert TOKEN.encode() not in request.raw
        assert TOKEN not in request.path + request.query
