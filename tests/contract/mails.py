"""What the tests of mail share: senders, a mail server, and a strict reading of HTML."""

from __future__ import annotations

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

from receiver.destinations import Sender
from receiver.destinations.email_message import MAX_HTML
from receiver.keeping import pack
from receiver.model import Wanted
from tests.contract.examples import (
    EVIDENCE,
    sender,
    story,
    wanted,
)
from tests.fakes.smtp import TLS_FILES, MailServer, mail_server

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


def planned(folder: Path, of: Wanted, **common: Any) -> dict[str, Any]:
    raw = {"to": "ops@example.com", "from": "mtv@example.com", "smarthost": "mail.example.com:587"}
    step = sender("email", raw, folder, **common).plan(of)
    assert step is not None
    return dict(step.body)


def first_mail() -> Wanted:
    return wanted(story(evidence=LOGGED))


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
