"""Handing one mail over by SMTP, and what each refusal means.

One connection per mail, as mail programs do it: nothing is left open, and a replaced certificate or password counts at
once. Until the mail itself is sent, whatever breaks surely did nothing; afterwards the outcome is unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import aiosmtplib

from receiver.destinations.email_server import Server
from receiver.errors import DestinationRefused, Refused, Transient, Unknown
from receiver.fitting import one_line
from receiver.http import read_secret, tls_context, tls_reason

_TOO_LARGE = 552
_FOR_GOOD = 500


async def hand_over(
    server: Server, sender: str, to: Sequence[str], mail: bytes, *, patient: bool = False
) -> dict[str, str]:
    """Hand a mail over and return those who are refused, with the reason, while others are taken.

    `patient`: nobody gets it yet while somebody is refused for now.

    Raises Transient, Unknown, Refused (this mail) and DestinationRefused (everything of ours, or everybody).
    """
    async with _session(server) as client:
        with _before():
            size = (f"SIZE={len(mail)}",) if client.supports_extension("size") else ()
            await client.mail(sender, options=size)
            refused: dict[str, aiosmtplib.SMTPRecipientRefused] = {}
            for address in to:
                try:
                    await client.rcpt(address)
                except aiosmtplib.SMTPRecipientRefused as error:
                    refused[address] = error
            for_now = any(error.code < _FOR_GOOD for error in refused.values())
            if len(refused) == len(to) or (patient and for_now):
                _nobody(refused)
        try:
            await client.data(mail)
        except aiosmtplib.SMTPDataError as error:
            _raise(error, Refused)
        except (aiosmtplib.SMTPException, OSError) as error:
            raise Unknown(f"connection lost while the mail was sent ({type(error).__name__})") from None
        return {address: _said(error) for address, error in refused.items()}


async def knock(server: Server, sender: str) -> None:
    """Sign in and name the sender, then leave: nothing is sent. Raises as `hand_over`."""
    async with _session(server) as client:
        with _before():
            await client.mail(sender)
            await client.rset()


@asynccontextmanager
async def _session(server: Server) -> Any:
    context = tls_context(server.tls)
    password = read_secret(server.password) if server.password is not None else None
    with _before():
        client = await _connected(server, context)
    try:
        with _before():
            if server.require_tls and not server.implicit_tls:
                await client.starttls(server_hostname=server.tls.server_name or server.host)
            await client.ehlo()  # what it offers now: before TLS anybody could have said so
            if password is not None:
                await client.login(server.username, password)
        yield client
    finally:
        with contextlib.suppress(aiosmtplib.SMTPException, OSError, TimeoutError):
            await client.quit(timeout=2.0)
        client.close()


async def _connected(server: Server, context: ssl.SSLContext) -> aiosmtplib.SMTP:
    client = aiosmtplib.SMTP(
        hostname=server.tls.server_name or server.host,
        port=None if server.tls.server_name else server.port,
        sock=await _socket(server) if server.tls.server_name else None,
        local_hostname=server.hello,
        timeout=server.timeout_s,
        use_tls=server.implicit_tls,
        start_tls=False,  # done by us, so that a password is never sent before it
        tls_context=context,
    )
    await client.connect()
    return client


async def _socket(server: Server) -> socket.socket:
    """Connect to the host where the certificate is to be checked for another name."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    last: OSError = OSError("no address")
    for family, kind, protocol, _, address in found:
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        try:
            async with asyncio.timeout(server.timeout_s):
                await loop.sock_connect(made, address)
        except OSError as error:  # TimeoutError is one
            made.close()
            last = error
        else:
            return made
    raise last


@contextlib.contextmanager
def _before() -> Iterator[None]:
    """What breaks in here surely left no mail behind."""
    try:
        yield
    except aiosmtplib.SMTPAuthenticationError as error:
        _raise(error, DestinationRefused, "the sign-in is refused")
    except aiosmtplib.SMTPSenderRefused as error:
        _raise(error, Refused if error.code == _TOO_LARGE else DestinationRefused, "the sender is refused")
    except aiosmtplib.SMTPResponseException as error:
        _raise(error, DestinationRefused)
    except (aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError, aiosmtplib.SMTPConnectError) as error:
        raise Transient(f"no connection ({tls_reason(error) or _kind(error)})") from None
    except aiosmtplib.SMTPException as error:  # what the server does not offer: STARTTLS, a way to sign in
        raise DestinationRefused(one_line(error.message, 200)) from None
    except OSError as error:
        raise Transient(f"no connection ({tls_reason(error) or _kind(error)})") from None


def _raise(
    error: aiosmtplib.SMTPResponseException, permanent: type[Refused] | type[DestinationRefused], what: str = ""
) -> NoReturn:
    """4yz is for now, 5yz for good (RFC 5321 4.2.1); what is neither is no answer of SMTP."""
    reason = f"{what}: {_said(error)}" if what else _said(error)
    if 400 <= error.code < 500:
        raise Transient(reason, status=error.code) from None
    raise permanent(reason, status=error.code) from None


def _nobody(refused: dict[str, aiosmtplib.SMTPRecipientRefused]) -> NoReturn:
    """Raise for those who are refused: for now where one of them is for now."""
    address, error = next(
        ((who, why) for who, why in refused.items() if why.code < _FOR_GOOD), next(iter(refused.items()))
    )
    _raise(error, DestinationRefused, f"not every recipient is taken, such as {address}")


def _said(error: aiosmtplib.SMTPResponseException) -> str:
    return f"{error.code} {one_line(error.message, 160)}".rstrip()


def _kind(error: BaseException) -> str:
    return type(error).__name__.removeprefix("SMTP")
