"""The email destination against a real mail server: threads, headers, what is told when, lost answers."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from receiver.errors import Refused, Unknown
from receiver.model import Change, StoryState
from receiver.verdict import merged
from tests.contract.examples import (
    EVIDENCE,
    FIXED,
    deliver,
    moved,
    story,
    wanted,
)
from tests.contract.mails import LOGGED, Made, first_mail, make, part
from tests.fakes.smtp import CUT_AFTER

pytestmark = pytest.mark.anyio
__all__ = ["make"]

# --- threads --------------------------------------------------------------------------------------------------------


async def test_a_story_is_one_thread_under_one_subject(make: Made) -> None:
    mails = make()
    _, now = await deliver(mails, first_mail())
    _, now = await deliver(mails, moved(now, Change.WORSE, key="worse-3", text="5 more VMs failed"))
    _, now = await deliver(mails, moved(now, Change.ALERTS, severity="info"))
    _, now = await deliver(mails, moved(now, Change.RESOLVED, key="resolved", **FIXED))
    first, worse, end = make.server.inbox("ops@example.com")
    assert make.server.kept[0].to == ("ops@example.com", "dba@example.com")
    assert first["Subject"] == "3 VMs down · 3 of 20 VMs failed: bitlocker · pay-w17-03"
    assert worse["Subject"] == end["Subject"] == f"Re: {first['Subject']}"
    assert (first["In-Reply-To"], first["References"]) == (None, None)
    for one in (worse, end):
        assert one["In-Reply-To"] == one["References"] == first["Message-ID"]
    assert len({one["Message-ID"] for one in (first, worse, end)}) == 3
    assert re.fullmatch(r"<[0-9a-f-]{36}@example\.com>", str(first["Message-ID"]))
    assert part(worse, "plain").startswith("Worse 21:49 UTC: ")
    assert "🟢 Fixed" in part(end, "html")
    assert [len(list(one.iter_attachments())) for one in (first, worse, end)] == [1, 0, 0]


async def test_headers_keep_robots_quiet_and_let_people_sort(make: Made) -> None:
    await deliver(make({"headers": {"Reply-To": "oncall@example.com"}}), wanted())
    (mail,) = make.server.inbox("ops@example.com")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-Auto-Response-Suppress"] == "All"
    assert mail["List-Id"] == "<payments.mtv-receiver.example.com>"
    assert mail["Reply-To"] == "oncall@example.com"
    assert mail["X-MTV-Story"] == "01K9ZQ4T7MABCDEFGHJKMNPQRS"
    assert (mail["X-MTV-State"], mail["X-MTV-Change"], mail["Importance"]) == ("firing", "fired", "high")
    assert mail["Date"].datetime is not None
    assert (str(mail["From"]), str(mail["To"])) == ("MTV <mtv@example.com>", "Ops <ops@example.com>, dba@example.com")


async def test_what_is_over_is_not_of_high_importance(make: Made) -> None:
    _, now = await deliver(make(), wanted())
    await deliver(make(), moved(now, Change.RESOLVED, key="resolved", **FIXED))
    end = make.server.inbox("ops@example.com")[-1]
    assert (end["Importance"], end["X-MTV-State"]) == (None, "fixed")


async def test_an_equal_story_is_no_mail(make: Made) -> None:
    mails = make()
    _, now = await deliver(mails, wanted())
    later = replace(now, story=replace(now.story, revision=9, severity="info"), audible=True, confirm=True)
    assert (await deliver(mails, later))[0] == []
    assert make.server.connections == 1


async def test_evidence_that_came_too_late_for_the_first_mail_is_one_more(make: Made) -> None:
    mails = make()
    _, now = await deliver(mails, wanted(story(evidence=None, revision=1)))
    partly = replace(EVIDENCE, complete=False)
    _, now = await deliver(mails, moved(now, Change.EVIDENCE, key="evidence", evidence=partly))
    assert len(make.server.kept) == 1
    _, now = await deliver(mails, moved(now, Change.EVIDENCE, evidence=LOGGED))
    _, now = await deliver(mails, moved(now, Change.EVIDENCE, evidence=replace(LOGGED, hidden=9)))
    first, second = make.server.inbox("ops@example.com")
    assert second["In-Reply-To"] == first["Message-ID"]
    assert [one.get_filename() for one in second.iter_attachments()] == ["pay-win-app04-virt-v2v.log"]


async def test_evidence_that_is_refused_is_left_out_and_the_end_is_still_told(make: Made) -> None:
    mails = make()
    _, now = await deliver(mails, wanted(story(evidence=None, revision=1)))
    late = moved(now, Change.EVIDENCE, evidence=LOGGED)
    step = mails.plan(late)
    assert step is not None
    assert step.kept_in_root
    make.server.answer("data", "552 5.2.3 too large")
    with pytest.raises(Refused):
        await mails.send(step, late)
    left_out = replace(late, root=merged(late.root or {}, {"skipped": {step.part: "552"}}))
    assert mails.plan(left_out) is None
    steps, _ = await deliver(mails, moved(left_out, Change.RESOLVED, key="resolved", **FIXED))
    assert steps == ["reply"]


async def test_each_run_brings_its_evidence_once(make: Made) -> None:
    mails = make()
    _, now = await deliver(mails, wanted())
    _, now = await deliver(mails, moved(now, Change.RERUN, key="", state=StoryState.RERUNNING, run="run-2"))
    _, now = await deliver(mails, moved(now, Change.FAILED_AGAIN, key="failed-again-1", state=StoryState.FIRING,
                                        evidence=None))  # fmt: skip
    again = replace(LOGGED, run="run-2", run_number=2)
    _, now = await deliver(mails, moved(now, Change.EVIDENCE, evidence=again))
    told = [one["X-MTV-Change"] for one in make.server.inbox("ops@example.com")]
    assert told == ["fired", "failed-again", "evidence"]


async def test_a_reopened_story_goes_on_in_its_thread(make: Made) -> None:
    mails = make()
    _, now = await deliver(mails, wanted())
    _, now = await deliver(mails, moved(now, Change.RESOLVED, key="resolved", **FIXED))
    again = {"state": StoryState.FIRING, "outcome": None, "closed": None, "evidence": None}
    _, now = await deliver(mails, moved(now, Change.REOPENED, key="reopened-1", **again))
    first, _, reopened = make.server.inbox("ops@example.com")
    assert reopened["In-Reply-To"] == first["Message-ID"]
    assert reopened["X-MTV-State"] == "firing"


async def test_without_send_resolved_there_is_no_mail_about_the_end(make: Made) -> None:
    mails = make(send_resolved=False)
    _, now = await deliver(mails, wanted())
    assert (await deliver(mails, moved(now, Change.RESOLVED, key="resolved", **FIXED)))[0] == []


# --- doubles --------------------------------------------------------------------------------------------------------


async def test_a_mail_whose_answer_was_lost_is_sent_again_as_the_same_mail(make: Made) -> None:
    mails, first = make(), wanted(story(evidence=None, revision=1))
    step = mails.plan(first)
    assert step is not None
    assert not step.creates
    make.server.answer("data", CUT_AFTER)
    with pytest.raises(Unknown):
        await mails.send(step, first)
    changed = moved(moved(first, Change.EVIDENCE, key="evidence", evidence=LOGGED), Change.WORSE, key="worse-3")
    await deliver(mails, changed)
    assert len(make.server.kept) == 4
    shown = make.server.inbox("ops@example.com")
    assert [one["X-MTV-Change"] for one in shown] == ["fired", "worse", "evidence"], "nothing twice, nothing lost"
    assert await mails.find(step, first) is None
