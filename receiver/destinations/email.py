"""Email: one thread per story, a mail for each change that people should notice.

A mail cannot be edited, so the first one waits for evidence; each later one repeats the whole story as it is then, with
its news on top. Nothing can be looked up either: an unanswered mail is sent again under the same Message-ID, by which
most servers and programs know doubles.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import replace
from email.headerregistry import Address
from email.utils import getaddresses
from typing import Annotated, Any, ClassVar, Self

import httpx2
import structlog
from pydantic import AfterValidator, Field, model_validator

from receiver.clock import Clock, SystemClock
from receiver.config.http_settings import TLSWire
from receiver.config.model import TLS, DestinationConfig, Secret
from receiver.config.settings import Settings
from receiver.destinations import InStorm, Manner, Step
from receiver.destinations.complete import complete_run, part_of, untold_run
from receiver.destinations.email_html import html
from receiver.destinations.email_message import (
    MAX_HTML,
    Parts,
    as_body,
    common_headers,
    message_id,
    plain_text,
    subject,
    written,
)
from receiver.destinations.email_server import IMPLICIT_TLS_PORT, Server
from receiver.destinations.logfiles import logfiles
from receiver.fitting import fit, payload_hash
from receiver.model import AUDIBLE, Change, Entry, Impact, Receipt, Wanted
from receiver.rendering import Block, Message, Paragraph, Renderer, Span
from receiver.rendering.text import blocks_text

log = structlog.get_logger(__name__)

PATIENT_TRIES = 3
"""So often all wait for one address that is refused for now; then the others are told without it."""
_ONE_LINE = 1_000_000
"""A width at which no text is wrapped."""
_HEADER = re.compile(r"[A-Za-z0-9-]{1,76}")
_OURS = re.compile(
    r"(?i)content-.*|mime-version|message-id|date|references|in-reply-to|auto-submitted|bcc|subject|x-mtv-.*"
)
_SMARTHOST = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):(?P<port>\d{1,5})")
_LOCAL = re.compile(r"localhost|127\.\d+\.\d+\.\d+|::1")


def _addresses(text: str) -> str:
    if not addresses(text):
        raise ValueError("holds no mail address; write such as team@example.com, or several with commas between")
    return text


def _one(text: str) -> str:
    if len(addresses(_addresses(text))) != 1:
        raise ValueError("has room for one mail address; keep one")
    return text


def addresses(text: str) -> tuple[Address, ...]:
    """Return the mail addresses of a list with commas. Raises ValueError where one is none."""
    found: list[Address] = []
    for name, spec in getaddresses([text]):
        if not re.fullmatch(r"[\x21-\x7e]+@[A-Za-z0-9.-]+", spec) or not text.isprintable():
            raise ValueError(
                "holds something that is no mail address; write such as team@example.com (domains as xn--… in ASCII)"
            )
        found.append(Address(display_name=name, addr_spec=spec))
    return tuple(found)


def _headers(given: Mapping[str, str]) -> Mapping[str, str]:
    for name, value in given.items():
        if not _HEADER.fullmatch(name) or _OURS.fullmatch(name):
            raise ValueError(f"{name} is a header of ours, or none; leave it out")
        if not value.isprintable():
            raise ValueError("holds a line break; keep one line")
    return given


class EmailSettings(Settings):
    """`email_configs`: a mail server and the addresses that are told. Keys are Alertmanager's."""

    secrets = ("auth_password",)

    to: Annotated[str, AfterValidator(_addresses)]
    """Who is told: one or more addresses with commas between."""
    from_: Annotated[str, AfterValidator(_one)] = Field(alias="from")
    """Sender; its domain is also that of the Message-IDs."""
    smarthost: str
    """Mail server, `host:port`: 587 with STARTTLS, 465 with TLS from the start."""
    hello: str = Field(default="localhost", pattern=r"^[A-Za-z0-9.\[\]:-]{1,253}$")
    """Name that we introduce ourselves by."""
    auth_username: str = ""
    auth_password: Secret | None = None
    """Password of auth_username."""
    require_tls: bool = True
    """Demand STARTTLS, or TLS from the start on port 465. False: the mail goes in clear."""
    force_implicit_tls: bool | None = None
    """TLS from the start whatever the port, or (false) never."""
    tls_config: TLSWire = TLSWire()
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = Field(default_factory=dict)
    """Further headers, such as Reply-To."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if _SMARTHOST.fullmatch(self.smarthost) is None or not 0 < self.place[1] < 65_536:
            raise ValueError("smarthost is no host with a port; write such as smtp.example.com:587")
        if bool(self.auth_username) != (self.auth_password is not None):
            raise ValueError("auth_username and auth_password_file belong together; give both or none")
        clear = not self.require_tls and not self.implicit_tls
        if self.auth_username and clear and not _LOCAL.fullmatch(self.place[0]):
            raise ValueError("the password would go in clear; remove require_tls: false, or auth_username")
        return self

    @property
    def place(self) -> tuple[str, int]:
        """Host and port of the mail server."""
        found = _SMARTHOST.fullmatch(self.smarthost)
        return (found["host"].strip("[]"), int(found["port"])) if found else ("", 0)

    @property
    def implicit_tls(self) -> bool:
        """TLS from the first byte on."""
        by_port = self.require_tls and self.place[1] == IMPLICIT_TLS_PORT
        return by_port if self.force_implicit_tls is None else self.force_implicit_tls


class EmailSender:
    """One list of addresses behind one mail server."""

    kind: ClassVar[str] = "email"
    manner: ClassVar[Manner] = Manner.CHAT
    waits_for_evidence: ClassVar[bool] = True
    in_storm: ClassVar[InStorm] = InStorm.ANEW
    entry_changes: ClassVar[frozenset[Change]] = (AUDIBLE - {Change.FIRED}) | {Change.EVIDENCE, Change.REMINDED}

    def __init__(self, config: DestinationConfig, renderer: Renderer, clock: Clock) -> None:
        self._config = config
        self._settings: EmailSettings = config.settings
        self._renderer = renderer
        self._clock = clock
        self._from = addresses(self._settings.from_)[0]
        self._to = addresses(self._settings.to)

    def plan(self, wanted: Wanted) -> Step | None:
        """Return the first mail, the next one, or that evidence has come; see `Sender.plan`."""
        root = wanted.root or {}
        if "revision" not in root:
            # Entries are kept only once something may have been sent: that mail may be there without their news.
            told = min((entry.revision for entry in wanted.entries), default=wanted.story.revision + 1) - 1
            return self._step("root", "create", wanted, told=told)
        for entry in wanted.entries:
            muted = entry.change is Change.RESOLVED and not self._config.send_resolved
            if entry.revision > int(root["revision"]) and entry.change is not Change.EVIDENCE and not muted:
                return self._step(entry.key, "reply", wanted, entry)
        if run := untold_run(wanted):
            said = Entry(f"evidence {run}", Change.EVIDENCE, wanted.story.updated, "evidence has come", 0)
            return self._step(part_of(run), "evidence", wanted, said, kept_in_root=True)
        return None

    def _step(self, part: str, op: str, wanted: Wanted, entry: Entry | None = None, **extra: Any) -> Step:
        if entry is not None and entry.plain:
            wanted = replace(wanted, plain=True)
        parts = self._parts(wanted, entry)
        body = as_body(parts)
        return Step(part, op, body, hash=payload_hash(body), extra={"parts": parts, **extra})

    def _parts(self, wanted: Wanted, entry: Entry | None) -> Parts:
        content, story = self._config.content, wanted.story
        message = self._renderer.root(wanted, self.kind, content)
        first = str((wanted.root or {}).get("subject") or subject(message))
        news = self._news(wanted, entry, message)
        footer = self._footer(wanted)
        message = fit(message, lambda one: len(html(one, news, footer)), MAX_HTML)
        own = uuid.UUID(wanted.keys.client_id)
        name = str(own) if entry is None else str(uuid.uuid5(own, f"{entry.key} {entry.revision}"))
        change = entry.change if entry else Change.FIRED
        facts = {
            "Story": story.id,
            "State": story.outcome.value if story.outcome else story.state.value,
            "Change": change.value,
            "Revision": str(story.revision),
        }
        headers = common_headers(self._config.receiver, self._from, facts)
        down = story.impact is Impact.DOWN or (story.digest is not None and story.digest.down > 0)
        if wanted.firing and change in AUDIBLE and down:
            headers["Importance"] = "high"
        return Parts(
            message_id=message_id(name, self._from),
            reply_to="" if entry is None else message_id(str(own), self._from),
            subject=first,
            sender=self._from,
            to=self._to,
            headers=headers | self._settings.headers,
            text=plain_text(message, news, footer),
            html=html(message, news, footer),
            files=self._files(wanted, entry),
        )

    def _news(self, wanted: Wanted, entry: Entry | None, message: Message) -> tuple[Block, ...]:
        """Return what this mail is sent for, without what the story says below in the same words."""
        if entry is None or (entry.change is Change.RESOLVED and not entry.folded):
            return ()  # how it ended is the story's own first line by then
        said = self._renderer.entry(entry, wanted, self.kind, self._config.content)
        below = blocks_text(message.blocks, _ONE_LINE)
        new = (block for block in said.blocks if blocks_text((block,), _ONE_LINE) not in below)
        return (Paragraph((Span(said.title, "b"),)), *new)

    def _footer(self, wanted: Wanted) -> str:
        return f"Sent by mtv-receiver to receiver {self._config.receiver}. Story {wanted.story.id}."

    def _files(self, wanted: Wanted, entry: Entry | None) -> tuple[tuple[str, str], ...]:
        """Return the kept logs, once for each run: with the first mail, or with that which brings its evidence."""
        if wanted.plain or (entry is not None and entry.change is not Change.EVIDENCE):
            return ()
        return tuple((one.name, one.text) for one in logfiles(wanted, self._config.content))

    async def send(self, step: Step, wanted: Wanted) -> Receipt:
        parts: Parts = step.extra["parts"]
        mail = written(parts, self._clock.now())
        to = [one.addr_spec for one in self._to]
        patient = wanted.tries < PATIENT_TRIES
        from receiver.destinations.email_smtp import hand_over  # with its library: not every installation sends mail

        refused = await hand_over(self._server(), self._from.addr_spec, to, mail, patient=patient)
        if refused:
            log.warning("email.recipients_refused", destination=self._config.label, refused=refused)
        receipt = {"hash": step.hash, "message_id": parts.message_id, **({"refused": refused} if refused else {})}
        if step.kept_in_root:
            return {"complete": complete_run(wanted)}
        if step.part != "root":
            return receipt
        # With entries waiting, an earlier try may be there that lacked the evidence: it gets a mail of its own.
        complete = "" if wanted.entries else complete_run(wanted)
        return {**receipt, "subject": parts.subject, "revision": step.extra["told"], "complete": complete}

    async def find(self, step: Step, wanted: Wanted) -> Receipt | None:
        """Return None: no step creates, since each mail can be sent again under its Message-ID."""
        del step, wanted
        return None

    def link(self, root: Receipt) -> str:
        """Return nothing: where people read their mail is not known."""
        del root
        return ""

    async def probe(self) -> None:
        """Sign in and name the sender, then leave."""
        from receiver.destinations.email_smtp import knock

        await knock(self._server(), self._from.addr_spec)

    def _server(self) -> Server:
        given = self._settings
        host, port = given.place
        return Server(
            host=host,
            port=port,
            hello=given.hello,
            require_tls=given.require_tls,
            implicit_tls=given.implicit_tls,
            tls=TLS(**given.tls_config.model_dump()),
            username=given.auth_username,
            password=given.auth_password,
            timeout_s=self._config.manners.timeout_s,
        )


class Email:
    """The kind; see `receiver.destinations.Kind`."""

    kind: ClassVar[str] = "email"
    config_key: ClassVar[str] = "email_configs"
    settings: ClassVar[type[Any]] = EmailSettings
    speaks_http: ClassVar[bool] = False

    def target(self, settings: EmailSettings) -> str:
        to = ",".join(sorted(one.addr_spec for one in addresses(settings.to)))
        return f"{settings.smarthost} {to}"

    def build(self, config: DestinationConfig, http: httpx2.AsyncClient, renderer: Renderer) -> EmailSender:
        """Return the sender; mail does not go over HTTP, so the client is left alone."""
        del http
        return EmailSender(config, renderer, SystemClock())
