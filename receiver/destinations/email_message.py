"""One mail: headers that thread it and keep robots quiet, the story as text and HTML, kept logs as attachments."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any

from receiver import fitting
from receiver.limits import truncate
from receiver.rendering import Block, Message
from receiver.rendering.text import blocks_text, message_text

MAX_HTML = 90_000
"""Gmail cuts what is longer than 102 KB."""
MAX_SUBJECT = 180
MAX_ATTACHED_BYTES = 5_000_000
_POLICY = SMTP.clone(cte_type="7bit")
"""Plain ASCII on the wire: no server has to know 8BITMIME or SMTPUTF8."""
_WIDTH = 76
_SLUG = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a mail is made of; all of it is known when its step is planned, but for the time."""

    message_id: str
    reply_to: str
    """Message-ID of the first mail of the story; empty for that one."""
    subject: str
    sender: Address
    to: tuple[Address, ...]
    headers: Mapping[str, str]
    text: str
    html: str
    files: tuple[tuple[str, str], ...] = ()
    """Name and text of each attachment."""


def written(parts: Parts, at: datetime) -> bytes:
    """Return the bytes of a mail. Header fields cannot hold a line break: the library refuses it, with ValueError."""
    mail = EmailMessage(policy=_POLICY)
    mail["From"] = parts.sender
    mail["To"] = parts.to
    mail["Subject"] = ("Re: " if parts.reply_to else "") + parts.subject
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = parts.message_id
    if parts.reply_to:
        mail["In-Reply-To"] = parts.reply_to
        mail["References"] = parts.reply_to
    for name, value in parts.headers.items():
        mail[name] = value
    mail.set_content(parts.text, cte="quoted-printable")
    mail.add_alternative(parts.html, subtype="html", cte="quoted-printable")
    for name, text in bounded(parts.files):
        mail.add_attachment(text.encode("utf-8", "replace"), "text", "plain", cte="base64", filename=name,
                            params={"charset": "utf-8"})  # fmt: skip
    return mail.as_bytes()


def bounded(files: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the files that fit together; the one that does not keeps its end, where the error is."""
    kept: list[tuple[str, str]] = []
    room = MAX_ATTACHED_BYTES
    for name, text in files:
        size = len(text.encode("utf-8", "replace"))
        if size > room:
            text = text.encode("utf-8", "replace")[-room:].decode("utf-8", "ignore") if room > 0 else ""
            size = room
        if text:
            kept.append((name, text))
        room -= size
    return kept


def message_id(name: str, sender: Address) -> str:
    """Return a lasting Message-ID in the domain of the sender."""
    return f"<{name}@{sender.domain}>"


def subject(message: Message) -> str:
    """Return the first line; it stays as it was first sent, since mail programs thread by it."""
    return fitting.one_line(message.title or message.push, MAX_SUBJECT) or "VM migration failed"


def plain_text(message: Message, news: Sequence[Block], footer: str) -> str:
    """Return the text part: what changed, the story, links, why one gets it."""
    body = message_text(message, _WIDTH)
    said = blocks_text(news, _WIDTH)
    return fitting.clean("\n\n".join(part for part in (said, body, f"-- \n{footer}") if part)) + "\n"


def list_id(receiver: str, sender: Address) -> str:
    """Return the List-Id by which people sort: one list for each receiver."""
    return f"<{_SLUG.sub('-', receiver.lower()).strip('-') or 'all'}.mtv-receiver.{sender.domain}>"


def common_headers(receiver: str, sender: Address, story: Mapping[str, str]) -> dict[str, str]:
    """Return what every mail carries: nobody answers it automatically, and rules can sort it."""
    named = {f"X-MTV-{name}": truncate(fitting.one_line(value, 200), 200) for name, value in story.items() if value}
    return {
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "All",
        "Precedence": "bulk",
        "List-Id": list_id(receiver, sender),
        **named,
    }


def as_body(parts: Parts) -> dict[str, Any]:
    """Return a mail as data: what is compared, hashed and kept as golden files."""
    return {
        "message_id": parts.message_id,
        "reply_to": parts.reply_to,
        "subject": parts.subject,
        "from": str(parts.sender),
        "to": [str(one) for one in parts.to],
        "headers": dict(parts.headers),
        "text": parts.text,
        "html": parts.html,
        "files": [name for name, _ in parts.files],
    }
