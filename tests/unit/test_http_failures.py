"""What a failed request means: no connection, no answer, no HTTP, and when to ask again."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest

from receiver.config.model import HttpConfig
from receiver.errors import DestinationRefused, Transient, Unknown
from receiver.http import (
    build_client,
    raise_for_transport,
    retry_after_s,
    silence_url_logs,
)
from tests.unit.http_peers import OK, SECRET, Peer, Reader, Writer, failure_of, peer, post, serving

pytestmark = pytest.mark.anyio
__all__ = ["peer"]


async def test_a_refused_connection_is_transient_as_nothing_was_sent() -> None:
    async with serving(Peer()) as peer:
        url = f"{peer.url}hidden-path"
    failure = await failure_of(url)
    assert isinstance(failure, Transient)
    assert str(failure) == "no connection (connection refused)"


async def test_a_host_that_does_not_exist_is_transient() -> None:
    failure = await failure_of("http://nowhere.invalid/hidden-path")
    assert isinstance(failure, Transient)
    assert "hidden-path" not in str(failure)


async def test_no_answer_in_time_is_unknown() -> None:
    async def silent(reader: Reader, _: Writer) -> None:
        await reader.read()  # until the client gives up and closes

    async with serving(Peer(silent)) as peer:
        failure = await failure_of(peer.url, timeout_s=0.05)
    assert isinstance(failure, Unknown)
    assert str(failure) == "no answer in time"


async def test_a_connection_that_ends_without_an_answer_is_unknown() -> None:
    async def cut(_: Reader, writer: Writer) -> None:
        writer.close()

    async with serving(Peer(cut)) as peer:
        failure = await failure_of(f"{peer.url}hidden-path")
    assert isinstance(failure, Unknown)
    assert "hidden-path" not in str(failure)


async def test_an_answer_that_is_no_http_is_unknown() -> None:
    async with serving(Peer(b"SMTP ready\r\n\r\n")) as peer:
        failure = await failure_of(peer.url)
    assert isinstance(failure, Unknown)
    assert "SMTP" not in str(failure)


async def test_no_free_connection_in_time_is_transient() -> None:
    entered, done = asyncio.Event(), asyncio.Event()

    async def slow(_: Reader, writer: Writer) -> None:
        entered.set()
        await done.wait()
        writer.write(OK)

    async with serving(Peer(slow)) as peer, build_client(HttpConfig(), 5, max_connections=1) as client:
        first = asyncio.create_task(client.get(peer.url))
        await entered.wait()
        with pytest.raises(Transient, match="no free connection in time"):
            await post(client, peer.url, pool_s=0.05)
        done.set()
        assert (await first).status_code == 200


async def test_a_url_that_nothing_can_be_sent_to_refuses_the_destination() -> None:
    failure = await failure_of("ftp://example.com/hidden-path")
    assert isinstance(failure, DestinationRefused)
    assert "hidden-path" not in str(failure)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx2.ConnectError(SECRET), Transient),
        (httpx2.ConnectTimeout(SECRET), Transient),
        (httpx2.PoolTimeout(SECRET), Transient),
        (httpx2.ProxyError(SECRET), Transient),
        (httpx2.ReadTimeout(SECRET), Unknown),
        (httpx2.WriteTimeout(SECRET), Unknown),
        (httpx2.ReadError(SECRET), Unknown),
        (httpx2.WriteError(SECRET), Unknown),
        (httpx2.RemoteProtocolError(SECRET), Unknown),
        (httpx2.LocalProtocolError(SECRET), Unknown),
        (httpx2.DecodingError(SECRET), Unknown),
        (httpx2.TooManyRedirects(SECRET), Unknown),
        (httpx2.UnsupportedProtocol(SECRET), DestinationRefused),
    ],
)
def test_each_transport_error_has_its_class_and_its_own_text_is_dropped(
    error: httpx2.HTTPError, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as raised:
        raise_for_transport(error)
    assert type(raised.value) is kind
    assert SECRET not in str(raised.value)
    assert raised.value.__suppress_context__


def test_every_transport_error_of_the_library_is_classified() -> None:
    def below(kind: type[httpx2.HTTPError]) -> set[type[httpx2.HTTPError]]:
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    for kind in below(httpx2.TransportError):
        with pytest.raises((Transient, Unknown, DestinationRefused)):
            raise_for_transport(kind("x"))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        (" 0 ", 0.0),
        ("1.5", 1.5),
        ("999999", 3600.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1e9", None),
    ],
)
def test_retry_after_in_seconds(value: str, seconds: float | None) -> None:
    assert retry_after_s(httpx2.Response(429, headers={"Retry-After": value})) == seconds


def test_retry_after_as_a_date_is_measured_against_now_or_the_answers_own_date() -> None:
    now = datetime(2026, 5, 1, 12, tzinfo=UTC)

    def answer(after_s: float, **headers: str) -> httpx2.Response:
        until = format_datetime(now + timedelta(seconds=after_s), usegmt=True)
        return httpx2.Response(503, headers={"Retry-After": until, **headers})

    assert retry_after_s(answer(90), now) == 90
    assert retry_after_s(answer(-90), now) == 0
    assert retry_after_s(answer(90_000), now) == 3600
    assert retry_after_s(answer(60, Date=format_datetime(now, usegmt=True))) == 60
    assert retry_after_s(answer(60)) is None


async def test_urls_are_not_logged_once_the_library_is_silenced(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    names = ("httpx2", "httpcore2")
    before = {name: logging.getLogger(name).level for name in names}
    caplog.set_level(logging.DEBUG)
    try:
        silence_url_logs()
        async with build_client(HttpConfig(), 5) as client:
            await client.get(f"{peer.url}{SECRET}")
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
    assert SECRET not in caplog.text
