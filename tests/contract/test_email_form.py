"""What people see of a mail: its text, its HTML, its attachments, and what no text may do to it."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from receiver.destinations.email_message import MAX_ATTACHED_BYTES, bounded
from receiver.keeping import pack
from receiver.model import Change, Wanted
from receiver.rendering import Message, Paragraph, Span
from tests.contract.examples import (
    EVIDENCE,
    FIXED,
    FixedRenderer,
    deliver,
    moved,
    story,
    wanted,
)
from tests.contract.mails import Made, check_html, first_mail, make, part, planned
from tests.contract.test_sender_bodies import HOSTILE, HOSTILE_MESSAGE, hostile_story, state

pytestmark = pytest.mark.anyio
__all__ = ["make", "state"]

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "mail"


SHOWN = {
    "fired": (first_mail(), "full"),
    "fired-without-evidence": (wanted(story(evidence=None, revision=1)), "full"),
    "summary": (first_mail(), "summary"),
    "minimal": (first_mail(), "minimal"),
    "failed-again": (replace(moved(wanted(), Change.FAILED_AGAIN, key="failed-again-1",
                                   text="the plan failed again: 2 of 20 VMs"),
                             root={"revision": 2, "subject": "3 VMs down"}), "full"),
    "fixed": (replace(moved(wanted(), Change.RESOLVED, key="resolved", text="the plan succeeded", **FIXED),
                      root={"revision": 2, "subject": "3 VMs down"}), "full"),
    "plain": (replace(first_mail(), plain=True), "full"),
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_a_mail_reads_as_its_golden_files(name: str, tmp_path: Path) -> None:
    of, content = SHOWN[name]
    body = planned(tmp_path, of, content=content)
    heads = [f"{key}: {body[key]}" for key in ("subject", "message_id", "reply_to", "from", "to", "files")]
    heads += [f"{key}: {value}" for key, value in body["headers"].items()]
    for suffix, shown in (("txt", "\n".join([*heads, "", body["text"]])), ("html", body["html"])):
        file = GOLDEN / f"{name}.{suffix}"
        if os.environ.get("UPDATE_GOLDEN") == "1":
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(shown, encoding="utf-8")
        assert shown == file.read_text(encoding="utf-8")


def test_the_news_of_a_mail_say_nothing_that_the_story_says_below(tmp_path: Path) -> None:
    body = planned(tmp_path, *SHOWN["failed-again"][:1])
    assert body["text"].startswith("Failed again 21:49 UTC: ")
    assert body["text"].count("BitLocker-encrypted") == 1
    worse = moved(wanted(), Change.WORSE, key="worse-3", text="10 more VMs are down")
    assert "10 more VMs are down" in planned(tmp_path, replace(worse, root={"revision": 2}))["text"]


def test_every_golden_mail_has_its_test() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == set(SHOWN)


def test_html_is_whole_and_loads_and_runs_nothing_whatever_a_story_holds(state: Wanted, tmp_path: Path) -> None:
    body = planned(tmp_path, state)
    page = check_html(body["html"])
    assert page.said.count("Story 01K9ZQ4T7M") == 1
    assert body["subject"] in page.said
    assert "\n" not in body["subject"]
    assert not [char for char in "\x00\x1b\u202e" if char in body["html"] + body["text"] + body["subject"]]
    (body["html"] + body["text"]).encode("utf-8")


def test_the_worst_message_is_cut_and_says_so(tmp_path: Path) -> None:
    body = planned(tmp_path, wanted(), texts=FixedRenderer(HOSTILE_MESSAGE))
    page = check_html(body["html"])
    assert "lines left out" in page.said
    assert "lines left out" in body["text"]
    assert not [char for char in "\x00\x1b\u202e\ud800" if char in body["html"] + body["text"] + body["subject"]]


def test_a_link_that_is_none_is_only_text(tmp_path: Path) -> None:
    evil = (Span("click", "", "javascript:alert(1)"), Span("x", "", 'https://a.example/"onload="x'))
    message = Message("push", "title", "🔴", "#d00000", (Paragraph(evil),))
    page = check_html(planned(tmp_path, wanted(), texts=FixedRenderer(message))["html"])
    assert "click" in page.said


@pytest.mark.parametrize("content", ["summary", "minimal"])
async def test_logs_stay_inside_below_full_content(content: str, make: Made) -> None:
    await deliver(make(content=content), first_mail())
    (kept,) = make.server.kept
    assert list(kept.mail.iter_attachments()) == []
    text = part(kept.mail, "plain") + part(kept.mail, "html") + str(kept.mail.items())
    assert "could not read key" not in text
    inside = ("pay-win-app04", "BitLocker", "bitlocker") if content == "minimal" else ()
    assert [word for word in inside if word in text] == []


async def test_the_wire_is_plain_ascii_in_short_lines_and_reads_back_the_same(make: Made) -> None:
    log = "ünïcode ✓ " * 300 + "\n.\n..dots\nFrom here\n" + "x" * 3_000
    evidence = replace(EVIDENCE, logs=(replace(EVIDENCE.logs[0], kept=pack(log)),))
    mails = make()
    step = mails.plan(wanted(story(evidence=evidence)))
    assert step is not None
    await mails.send(step, wanted(story(evidence=evidence)))
    (kept,) = make.server.kept
    assert kept.raw.isascii()
    assert max(map(len, kept.raw.splitlines())) <= 998
    assert part(kept.mail, "plain").replace("\r\n", "\n") == step.body["text"]
    assert part(kept.mail, "html").replace("\r\n", "\n") == step.body["html"]
    (file,) = kept.mail.iter_attachments()
    assert (file.get_content(), file.get_content_type()) == (log, "text/plain")
    assert [one.get_content_type() for one in kept.mail.walk()][:4] == [
        "multipart/mixed", "multipart/alternative", "text/plain", "text/html",
    ]  # fmt: skip


async def test_hostile_text_makes_no_header_and_no_recipient(make: Made) -> None:
    evil = "x\r\nBcc: evil@example.com\r\n\r\nbody " + HOSTILE
    message = Message(evil, evil, "🔴", "#d00000", (Paragraph((Span(evil),)),))
    await deliver(make(texts=FixedRenderer(message)), hostile_story())
    (kept,) = make.server.kept
    assert kept.to == ("ops@example.com", "dba@example.com")
    assert kept.mail["Bcc"] is None
    assert "Bcc: evil@example.com" in str(kept.mail["Subject"])
    heads = kept.raw.split(b"\r\n\r\n", 1)[0]
    assert not re.search(rb"(?m)^bcc", heads, re.IGNORECASE)


def test_attachments_stay_below_five_megabytes_and_keep_their_ends() -> None:
    kept = bounded([("a", "a" * 3_000_000), ("b", "b" * 3_000_000 + "END"), ("c", "c")])
    assert [name for name, _ in kept] == ["a", "b"]
    assert sum(len(text) for _, text in kept) == MAX_ATTACHED_BYTES
    assert kept[1][1].endswith("END")


async def test_the_plain_form_is_short_and_carries_no_file(make: Made) -> None:
    _, now = await deliver(make(), replace(first_mail(), plain=True))
    worse = moved(replace(now, plain=False), Change.WORSE, key="worse-3")
    await deliver(make(), replace(worse, entries=tuple(replace(one, plain=True) for one in worse.entries)))
    assert len(make.server.kept) == 2
    for mail in make.server.inbox("ops@example.com"):
        assert list(mail.iter_attachments()) == []
        assert "Migration plan pay-w17-03" in part(mail, "plain")
        assert "<table" not in part(mail, "html")
