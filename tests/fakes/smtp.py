"""A mail server on a loopback port (aiosmtpd, in the test's own loop), with TLS, sign-in, refusals and lost answers."""

from __future__ import annotations

import asyncio
import email
import email.policy
import ssl
import warnings
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Literal, cast

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

TLS_FILES = Path(__file__).parents[1] / "data" / "tls"
Phase = Literal["mail", "rcpt", "data"]
CUT, CUT_AFTER = "cut", "cut after"
"""Instead of an answer: the connection breaks, before or after the mail was kept."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A mail that was taken."""

    sender: str
    to: tuple[str, ...]
    raw: bytes
    options: tuple[str, ...]
    secured: bool
    user: str

    @property
    def mail(self) -> EmailMessage:
        return cast("EmailMessage", email.message_from_bytes(self.raw, policy=email.policy.default))


@dataclass
class MailServer:
    """What was taken, and what is answered: a phase's script, each once, then 250."""

    port: int = 0
    kept: list[Kept] = field(default_factory=list)
    script: dict[Phase, deque[str]] = field(default_factory=lambda: {"mail": deque(), "rcpt": deque(), "data": deque()})
    refused: dict[str, str] = field(default_factory=dict)
    """Answers to RCPT, by address, always."""
    users: dict[str, str] = field(default_factory=dict)
    connections: int = 0
    hello: str = ""

    def answer(self, phase: Phase, *texts: str) -> None:
        self.script[phase].extend(texts)

    @property
    def smarthost(self) -> str:
        return f"127.0.0.1:{self.port}"

    def inbox(self, address: str) -> list[EmailMessage]:
        """What a mailbox shows that keeps a Message-ID once, as it first came."""
        shown: dict[str, EmailMessage] = {}
        for one in self.kept:
            if address in one.to:
                shown.setdefault(str(one.mail["Message-ID"]), one.mail)
        return list(shown.values())

    async def until(self, ready: Callable[[MailServer], Any], timeout: float = 10.0) -> None:
        async with asyncio.timeout(timeout):
            while not ready(self):
                await asyncio.sleep(0.02)

    # --- what aiosmtpd calls ---

    async def handle_EHLO(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        self.hello = session.host_name = hostname
        return responses

    async def handle_MAIL(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        said = self.script["mail"].popleft() if self.script["mail"] else ""
        if said == CUT:
            server.transport.abort()
        if said:
            return said
        envelope.mail_from, envelope.mail_options = address, list(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        said = self.script["rcpt"].popleft() if self.script["rcpt"] else self.refused.get(address, "")
        if said:
            return said
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        said = self.script["data"].popleft() if self.script["data"] else ""
        if said in ("", CUT_AFTER):
            user = session.auth_data.login.decode() if session.auth_data else ""
            raw, to = bytes(envelope.content), tuple(envelope.rcpt_tos)
            options = tuple(envelope.mail_options)
            secured = server.transport.get_extra_info("sslcontext") is not None
            self.kept.append(Kept(envelope.mail_from, to, raw, options, secured, user))
        if said in (CUT, CUT_AFTER):
            server.transport.abort()
        return said or "250 kept"

    def sign_in(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        good = isinstance(data, LoginPassword) and self.users.get(data.login.decode()) == data.password.decode()
        return AuthResult(success=good, handled=False, auth_data=data)


def server_context() -> ssl.SSLContext:
    """Return TLS under the tests' own authority, for the name localhost."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS_FILES / "server.pem", TLS_FILES / "server.key")
    return context


@asynccontextmanager
async def mail_server(
    tls: Literal["none", "starttls", "implicit"] = "starttls", users: dict[str, str] | None = None, **more: Any
) -> AsyncIterator[MailServer]:
    """Serve a mail server; with `users`, nobody else may send."""
    made = MailServer(users=users or {})
    loop = asyncio.get_running_loop()
    open_ones: list[Any] = []

    def connected() -> SMTP:
        made.connections += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of sign-in without STARTTLS, and does not see TLS from the start
            one = SMTP(
                made,
                hostname="mail.example.com",
                tls_context=server_context() if tls == "starttls" else None,
                require_starttls=tls == "starttls",
                authenticator=made.sign_in,
                auth_required=bool(users),
                auth_require_tls=tls == "starttls",
                loop=loop,
                timeout=20,
                **more,
            )
        open_ones.append(one)
        return one

    context = server_context() if tls == "implicit" else None
    server = await loop.create_server(connected, "127.0.0.1", 0, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for one in open_ones:
            if one.transport is not None:
                one.transport.abort()
        await asyncio.sleep(0)
        await server.wait_closed()
