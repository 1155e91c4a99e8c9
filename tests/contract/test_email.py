"""The email destination against a real mail server: threads, forms, attachments, refusals, lost answers."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from receiver.destinations import Sender
from receiver.destinations.email_message import MAX_ATTACHED_BYTES, MAX_HTML, bounded
from receiver.errors import DeliveryError, DestinationRefused, Refused, Transient, Unknown
from receiver.keeping import pack
from receiver.model import Change, StoryState, Wanted
from receiver.rendering import Message, Paragraph, Span
from receiver.verdict import merged
from tests.contract.examples import (
    EVIDENCE,
    FIXED,
    KINDS,
    FixedRenderer,
    deliver,
    moved,
    sender,
    story,
    wanted,
)
from tests.contract.test_sender_bodies import HOSTILE, HOSTILE_MESSAGE, hostile_story, state
from tests.fakes.smtp import CUT, CUT_AFTER, TLS_FILES, MailServer, mail_server

pytestmark = pytest.mark.anyio
__all__ = ["state"]

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "mail"
NOTHING: Mapping[str, Any] = MappingProxyType({})
PASSWORD = "planted-mail-password"
TRUST = {"ca_file": str(TLS_FILES / "ca.pem"), "server_name": "peer.test"}
LOGGED = replace(
    EVIDENCE, logs=tuple(replace(one, kept=pack("first line\nlast line: BitLocker")) for one in EVIDENCE.logs)
)


def settings(server: MailServer, **more: Any) -> dict[str, Any]:
    given = {
        "to": "Ops <ops@example.com>, dba@example.com", "from": "MTV <mtv@example.com>", "smarthost": server.smarthost,
        "hello": "mtv.example.com", "tls_config": TRUST,
    }  # fmt: skip
    return given | more


@dataclass(frozen=True, slots=True)
class Made:
    server: MailServer
    folder: Path

    def __call__(self, raw: Mapping[str, Any] = NOTHING, **common: Any) -> Sender:
        return sender("email", settings(self.server, **raw), self.folder, transport=never(), **common)


def never() -> httpx2.MockTransport:
    def handle(request: httpx2.Request) -> httpx2.Response:
        raise AssertionError("mail does not go over HTTP")

    return httpx2.MockTransport(handle)


@pytest.fixture
async def make(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Made]:
    del anyio_backend
    async with mail_server() as server:
        yield Made(server, tmp_path)


def part(mail: EmailMessage, kind: str) -> str:
    found = mail.get_body((kind,))
    assert found is not None
    return str(found.get_content())


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


def test_the_news_of_a_mail_say_nothing_that_the_story_says_below(tmp_path: Path) -> None:
    body = planned(tmp_path, *SHOWN["failed-again"][:1])
    assert body["text"].startswith("Failed again 21:49 UTC: ")
    assert body["text"].count("BitLocker-encrypted") == 1
    worse = moved(wanted(), Change.WORSE, key="worse-3", text="10 more VMs are down")
    assert "10 more VMs are down" in planned(tmp_path, replace(worse, root={"revision": 2}))["text"]


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


# --- what people see ------------------------------------------------------------------------------------------------


def planned(folder: Path, of: Wanted, **common: Any) -> dict[str, Any]:
    raw = {"to": "ops@example.com", "from": "mtv@example.com", "smarthost": "mail.example.com:587"}
    step = sender("email", raw, folder, **common).plan(of)
    assert step is not None
    return dict(step.body)


def first_mail() -> Wanted:
    return wanted(story(evidence=LOGGED))


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


def test_every_golden_mail_has_its_test() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == set(SHOWN)


class Strict(HTMLParser):
    """Reads HTML as browsers do and keeps what could act or load."""

    VOID = frozenset({"meta", "br", "img", "link"})
    SAFE = frozenset(
        [
            "html",
            "head",
            "meta",
            "title",
            "body",
            "div",
            "h1",
            "p",
            "strong",
            "em",
            "code",
            "pre",
            "ol",
            "ul",
            "li",
            "table",
            "tr",
            "th",
            "td",
            "a",
        ]
    )

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.said = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        named = dict(attrs)
        if tag not in self.SAFE:
            self.wrong.append(f"<{tag}>")
        self.wrong += [name for name in named if name.startswith("on") or name in ("src", "srcset", "background")]
        if tag == "a" and not re.match(r"(https?://|mailto:)", str(named.get("href"))):
            self.wrong.append(str(named.get("href")))
        if "url(" in str(named.get("style")):
            self.wrong.append("url()")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.said += data


def check_html(text: str) -> Strict:
    page = Strict()
    page.feed(text)
    page.close()
    assert (page.wrong, page.open) == ([], [])
    assert len(text) <= MAX_HTML
    return page


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


# --- the server -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tls", "raw"),
    [
        ("starttls", {}),
        ("implicit", {"force_implicit_tls": True}),
        ("none", {"require_tls": False}),
    ],
)
async def test_mail_is_handed_over_as_configured(tls: Any, raw: dict[str, Any], tmp_path: Path) -> None:
    async with mail_server(tls) as server:
        await deliver(Made(server, tmp_path)(raw), wanted())
        (kept,) = server.kept
        assert kept.secured is (tls != "none")
        assert (kept.sender, server.hello) == ("mtv@example.com", "mtv.example.com")
        assert [one for one in kept.options if one.startswith("SIZE=")]


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_a_password_signs_in_behind_tls(tls: Any, tmp_path: Path) -> None:
    raw = {"auth_username": "mtv", "auth_password_file": PASSWORD, "force_implicit_tls": tls == "implicit"}
    users = {"mtv": PASSWORD}
    # aiosmtpd knows of TLS only what STARTTLS made.
    async with mail_server(tls, users) as server:
        make = Made(server, tmp_path)
        await make(raw).probe()
        assert server.kept == []
        await deliver(make(raw), wanted())
        assert server.kept[0].user == "mtv"
        with pytest.raises(DestinationRefused, match="the sign-in is refused: 535") as raised:
            await deliver(make({**raw, "auth_password_file": "wrong-planted"}), wanted())
        assert "planted" not in raised.value.reason
        with pytest.raises(DestinationRefused, match="530"):
            await deliver(make(), wanted()) if tls == "starttls" else await deliver(
                make({"force_implicit_tls": True}), wanted()
            )


async def test_no_password_and_no_mail_is_sent_to_a_server_that_has_lost_its_tls(tmp_path: Path) -> None:
    raw = {"auth_username": "mtv", "auth_password_file": PASSWORD}
    async with mail_server("none") as server:
        with pytest.raises(DestinationRefused, match="STARTTLS"):
            await deliver(Made(server, tmp_path)(raw), wanted())
        assert server.kept == []


@pytest.mark.parametrize("raw", [{"tls_config": {}}, {"tls_config": {"ca_file": str(TLS_FILES / "ca.pem")}}])
async def test_a_server_that_cannot_prove_itself_gets_nothing(raw: dict[str, Any], make: Made) -> None:
    with pytest.raises(Transient, match="TLS: "):
        await deliver(make(raw), wanted())
    assert make.server.kept == []


async def test_a_missing_password_or_certificate_parks_and_connects_nowhere(make: Made) -> None:
    mails = make({"auth_username": "mtv", "auth_password_file": PASSWORD})
    (make.folder / "auth_password_file").unlink()
    with pytest.raises(DestinationRefused, match="cannot be read"):
        await deliver(mails, wanted())
    with pytest.raises(DestinationRefused, match=r"ca_file \S+ cannot be read"):
        await deliver(make({"tls_config": {"ca_file": "none.pem"}}), wanted())
    assert make.server.connections == 0


REFUSALS: tuple[tuple[str, str, type[DeliveryError]], ...] = (
    ("mail", "550 5.7.1 sender not allowed", DestinationRefused),
    ("mail", "530 5.7.0 sign in first", DestinationRefused),
    ("mail", "552 5.3.4 too large", Refused),
    ("mail", "451 4.7.1 greylisted", Transient),
    ("mail", "421 4.3.2 closing", Transient),
    ("mail", CUT, Transient),
    ("rcpt", "550 5.1.1 unknown", DestinationRefused),
    ("rcpt", "450 4.2.0 busy", Transient),
    ("data", "554 5.7.1 looks like spam", Refused),
    ("data", "552 5.2.2 too large", Refused),
    ("data", "452 4.3.1 disk full", Transient),
    ("data", CUT, Unknown),
    ("data", CUT_AFTER, Unknown),
)


@pytest.mark.parametrize(
    ("phase", "said", "meaning"), REFUSALS, ids=lambda value: str(getattr(value, "__name__", value))
)
async def test_a_refusal_means_one_thing(phase: Any, said: str, meaning: type[DeliveryError], make: Made) -> None:
    make.server.answer(phase, said, *([said] if phase == "rcpt" else []))
    with pytest.raises(DeliveryError) as raised:
        await deliver(make(), wanted())
    assert type(raised.value) is meaning, raised.value.reason
    assert len(make.server.kept) == (said == CUT_AFTER)
    if said[0].isdigit():
        assert raised.value.status == int(said[:3])
        assert said in raised.value.reason


async def test_those_who_are_taken_are_told_though_others_are_refused(make: Made) -> None:
    make.server.refused["dba@example.com"] = "550 5.1.1 no such user"
    mails = make()
    steps, now = await deliver(mails, wanted())
    assert steps == ["create"]
    assert make.server.kept[0].to == ("ops@example.com",)
    assert now.root is not None
    assert now.root["refused"] == {"dba@example.com": "550 5.1.1 no such user"}


async def test_all_wait_a_little_for_one_who_is_refused_for_now_and_then_no_longer(make: Made) -> None:
    make.server.refused["dba@example.com"] = "451 4.7.1 greylisted"
    mails = make()
    for tries in range(3):
        with pytest.raises(Transient, match=r"dba@example\.com: 451"):
            await deliver(mails, replace(wanted(), tries=tries))
    assert make.server.kept == []
    await deliver(mails, replace(wanted(), tries=3))
    assert make.server.kept[0].to == ("ops@example.com",)


async def test_everybody_refused_for_now_is_tried_again_and_for_good_is_parked(make: Made) -> None:
    make.server.refused |= {"ops@example.com": "550 no such user", "dba@example.com": "450 busy"}
    with pytest.raises(Transient, match=r"dba@example\.com: 450"):
        await deliver(make(), wanted())
    make.server.refused["dba@example.com"] = "553 relaying denied"
    with pytest.raises(DestinationRefused, match="not every recipient is taken"):
        await deliver(make(), wanted())


async def test_nobody_there_is_a_matter_of_time(make: Made) -> None:
    mails = make({"smarthost": "127.0.0.1:1"})
    with pytest.raises(Transient, match="connection refused"):
        await deliver(mails, wanted())
    with pytest.raises(Transient):
        await mails.probe()


async def test_a_probe_sends_no_mail(make: Made) -> None:
    await make().probe()
    assert make.server.connections == 1
    assert make.server.kept == []
    make.server.answer("mail", "550 not you")
    with pytest.raises(DestinationRefused):
        await make().probe()


# --- settings -------------------------------------------------------------------------------------------------------

GOOD = {"to": "ops@example.com", "from": "mtv@example.com", "smarthost": "smtp.example.com:587"}


@pytest.mark.parametrize(
    ("raw", "cure"),
    [
        ({"to": ""}, "no mail address"),
        ({"to": "ops@example.com\r\nBcc: x@example.com"}, "no mail address"),
        ({"to": "öps@example.com"}, "no mail address"),
        ({"from": "a@example.com, b@example.com"}, "keep one"),
        ({"smarthost": "smtp.example.com"}, "write such as smtp.example.com:587"),
        ({"smarthost": "smtp.example.com:99999"}, "write such as"),
        ({"auth_username": "x"}, "give both or none"),
        ({"auth_username": "x", "auth_password_file": "f", "require_tls": False}, "would go in clear"),
        ({"headers": {"Subject": "x"}}, "Subject is a header of ours"),
        ({"headers": {"Bcc": "x@example.com"}}, "Bcc is a header of ours"),
        ({"headers": {"X-A": "x\nBcc: y"}}, "keep one line"),
        ({"headers": {"X A": "x"}}, "X A is a header of ours, or none"),
    ],
)
def test_what_cannot_work_is_refused_with_a_cure(raw: dict[str, Any], cure: str) -> None:
    with pytest.raises(ValidationError, match=cure):
        KINDS["email"].settings.model_validate(GOOD | raw, context={"base": Path("conf")})


def test_a_destination_is_its_server_and_its_addresses_in_any_order() -> None:
    kind = KINDS["email"]

    def target(to: str) -> str:
        return kind.target(kind.settings.model_validate(GOOD | {"to": to}, context={"base": Path()}))

    assert target("b@example.com, Ann <a@example.com>") == target("a@example.com,b@example.com")
    assert target("a@example.com") == "smtp.example.com:587 a@example.com"


@pytest.mark.parametrize(
    ("raw", "implicit"),
    [
        ({"smarthost": "h:465"}, True),
        ({"smarthost": "h:587"}, False),
        ({"smarthost": "h:465", "require_tls": False}, False),
        ({"smarthost": "h:465", "force_implicit_tls": False}, False),
        ({"smarthost": "[::1]:2525", "force_implicit_tls": True}, True),
    ],
)
def test_tls_from_the_start_is_port_465_or_as_it_is_said(raw: dict[str, Any], implicit: bool) -> None:
    assert KINDS["email"].settings.model_validate(GOOD | raw, context={"base": Path()}).implicit_tls is implicit
