"""HTTP clients against real loopback servers, byte for byte."""

from __future__ import annotations

import asyncio
import logging
import shutil
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx2
import pytest

from receiver.config.model import TLS, HttpConfig, Secret
from receiver.errors import DestinationRefused, Transient, Unknown
from receiver.http import (
    build_client,
    header_secret,
    raise_for_transport,
    read_secret,
    retry_after_s,
    silence_url_logs,
)
from receiver.no_proxy import bypasses

pytestmark = pytest.mark.anyio

TLS_FILES = Path(__file__).parents[1] / "data/tls"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SECRET = "planted-secret"

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


@dataclass
class Peer:
    """A server that keeps the head of each request and answers as told."""

    answer: Callable[[Reader, Writer], Awaitable[None]] | bytes = OK
    heads: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def serve(self, reader: Reader, writer: Writer) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head.decode())
                if callable(self.answer):
                    await self.answer(reader, writer)
                    return
                writer.write(self.answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(peer: Peer, context: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=context)
    async with server:
        peer.port = server.sockets[0].getsockname()[1]
        yield peer


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with serving(Peer()) as one:
        yield one


def _secret(tmp_path: Path, content: str = SECRET) -> Secret:
    file = tmp_path / "secret"
    file.write_text(content, encoding="utf-8")
    return Secret(file=file)


async def _failure(url: str, http: HttpConfig | None = None, timeout_s: float = 5.0) -> Exception:
    """Ask, and return what a destination would raise."""
    async with build_client(http or HttpConfig(), timeout_s) as client:
        with pytest.raises((Transient, Unknown, DestinationRefused)) as raised:
            await _post(client, url)
    return raised.value


async def _post(client: httpx2.AsyncClient, url: str, pool_s: float = 5.0) -> None:
    try:
        await client.post(url, content=b"x" * 10, timeout=httpx2.Timeout(client.timeout.read, pool=pool_s))
    except httpx2.HTTPError as error:
        raise_for_transport(error)


async def test_a_client_names_itself_and_sends_nothing_else_of_ours(peer: Peer) -> None:
    async with build_client(HttpConfig(), 5) as client:
        assert (await client.get(peer.url)).text == "ok"
    assert "user-agent: mtv-receiver/" in peer.heads[0].lower()
    assert "authorization" not in peer.heads[0].lower()


async def test_all_four_time_outs_are_set() -> None:
    async with build_client(HttpConfig(), 7.5) as client:
        assert client.timeout == httpx2.Timeout(connect=7.5, read=7.5, write=7.5, pool=7.5)


async def test_a_redirect_is_returned_and_not_followed(peer: Peer) -> None:
    peer.answer = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    async with build_client(HttpConfig(), 5) as client:
        assert (await client.get(peer.url)).status_code == 302
    assert len(peer.heads) == 1


async def test_basic_sign_in(peer: Peer, tmp_path: Path) -> None:
    http = HttpConfig(username="bot@example.com", password=_secret(tmp_path, "s3cret ü"))
    async with build_client(http, 5) as client:
        await client.get(peer.url)
    assert "Basic Ym90QGV4YW1wbGUuY29tOnMzY3JldCDDvA==" in peer.heads[0]


async def test_a_replaced_secret_counts_from_the_next_request_on(peer: Peer, tmp_path: Path) -> None:
    secret = _secret(tmp_path, "old\n")
    async with build_client(HttpConfig(credentials=secret, authorization_type="Token"), 5) as client:
        await client.get(peer.url)
        _secret(tmp_path, "new\n")
        await client.get(peer.url)
    assert "Token old\r\n" in peer.heads[0]
    assert "Token new\r\n" in peer.heads[1]


async def test_an_unreadable_secret_refuses_the_destination_and_sends_nothing(peer: Peer, tmp_path: Path) -> None:
    http = HttpConfig(credentials=Secret(file=tmp_path / "nowhere"))
    failure = await _failure(peer.url, http)
    assert isinstance(failure, DestinationRefused)
    assert str(failure) == (
        f"secret file {tmp_path}/nowhere cannot be read (No such file or directory); create it or mount it"
    )
    assert peer.heads == []


async def test_a_secret_that_no_header_may_carry_is_refused_without_being_shown(peer: Peer, tmp_path: Path) -> None:
    failure = await _failure(peer.url, HttpConfig(credentials=_secret(tmp_path, f"{SECRET}\nsecond line")))
    assert isinstance(failure, DestinationRefused)
    assert "secret file" in str(failure)
    assert SECRET not in str(failure)
    assert peer.heads == []


async def test_secrets_of_variables_are_read_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_OF_TEST", f" {SECRET}\n")
    assert read_secret(Secret(env="TOKEN_OF_TEST")) == SECRET
    assert header_secret(Secret(env="TOKEN_OF_TEST")) == SECRET
    monkeypatch.delenv("TOKEN_OF_TEST")
    with pytest.raises(DestinationRefused, match="environment variable TOKEN_OF_TEST is not set"):
        read_secret(Secret(env="TOKEN_OF_TEST"))


# --- proxies --------------------------------------------------------------------------------------------------------


async def test_requests_go_through_the_proxy(peer: Peer) -> None:
    async with build_client(HttpConfig(proxy_url=peer.url), 5) as client:
        assert (await client.get("http://slack.example.com/api/x")).text == "ok"
    assert peer.heads[0].startswith("GET http://slack.example.com/api/x HTTP/1.1\r\n")


async def test_what_no_proxy_names_goes_past_it() -> None:
    async with serving(Peer()) as gone:
        proxy = gone.url
    through = await _failure("http://slack.invalid/", HttpConfig(proxy_url=proxy))
    past = await _failure("http://slack.invalid/", HttpConfig(proxy_url=proxy, no_proxy="slack.invalid"))
    assert str(through) == "no connection (connection refused)"
    assert str(past) != str(through)
    assert isinstance(past, Transient)


async def test_the_proxy_of_the_environment_counts_only_where_asked_for(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", peer.url)
    async with build_client(HttpConfig(proxy_from_environment=True), 5) as client:
        await client.get("http://slack.example.invalid/")
    assert len(peer.heads) == 1
    failure = await _failure("http://slack.example.invalid/")
    assert isinstance(failure, Transient)
    assert len(peer.heads) == 1


@pytest.mark.parametrize(
    ("host", "port", "no_proxy", "past"),
    [
        ("slack.com", None, "", False),
        ("localhost", 9, "", True),
        ("127.0.0.1", None, "", True),
        ("::1", None, "", True),
        ("slack.com", None, "*", True),
        ("slack.com", None, "slack.com", True),
        ("api.slack.com", None, "slack.com", True),
        ("notslack.com", None, "slack.com", False),
        ("slack.com", None, ".slack.com", False),
        ("api.slack.com", None, " .SLACK.com , x", True),
        ("api.slack.com", None, "*.slack.com", True),
        ("slack.com", 443, "slack.com:443", True),
        ("slack.com", 80, "slack.com:443", False),
        ("10.1.2.3", None, "10.0.0.0/8", True),
        ("11.1.2.3", None, "10.0.0.0/8", False),
        ("10.1.2.3", None, "10.1.2.3", True),
        ("10.1.2.3", None, "2.3", False),
        ("fd00::1", None, "fd00::/8", True),
    ],
)
def test_no_proxy_means_what_it_means_to_alertmanager(host: str, port: int | None, no_proxy: str, past: bool) -> None:
    assert bypasses(host, port, no_proxy) is past


# --- TLS ------------------------------------------------------------------------------------------------------------


def _server_context(*, client_certificate: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS_FILES / "server.pem", TLS_FILES / "server.key")
    if client_certificate:
        context.load_verify_locations(TLS_FILES / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def test_a_private_authority_and_a_server_name_are_honoured() -> None:
    tls = TLS(ca_file=TLS_FILES / "ca.pem", server_name="peer.test")
    async with serving(Peer(), _server_context()) as peer, build_client(HttpConfig(tls=tls), 5) as client:
        assert (await client.get(f"https://127.0.0.1:{peer.port}/")).text == "ok"


async def test_a_peer_that_nobody_vouches_for_is_not_told_anything() -> None:
    async with serving(Peer(), _server_context()) as peer:
        url = f"https://127.0.0.1:{peer.port}/hidden-path"
        unknown = await _failure(url)
        misnamed = await _failure(url, HttpConfig(tls=TLS(ca_file=TLS_FILES / "ca.pem")))
        assert peer.heads == []
    assert isinstance(unknown, Transient)
    assert "TLS: " in str(unknown)
    assert "IP address mismatch" in str(misnamed)
    assert "hidden-path" not in str(unknown) + str(misnamed)


async def test_insecure_skip_verify_takes_any_peer() -> None:
    http = HttpConfig(tls=TLS(insecure_skip_verify=True))
    async with serving(Peer(), _server_context()) as peer, build_client(http, 5) as client:
        assert (await client.get(f"https://127.0.0.1:{peer.port}/")).text == "ok"


async def test_a_client_certificate_is_shown() -> None:
    tls = TLS(
        ca_file=TLS_FILES / "ca.pem",
        cert_file=TLS_FILES / "server.pem",
        key_file=TLS_FILES / "server.key",
        server_name="peer.test",
    )
    server, client = serving(Peer(), _server_context(client_certificate=True)), build_client(HttpConfig(tls=tls), 5)
    async with server as peer, client:
        assert (await client.get(f"https://127.0.0.1:{peer.port}/")).text == "ok"


async def test_a_missing_authority_refuses_requests_until_it_is_there(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    tls = TLS(ca_file=ca, server_name="peer.test")
    async with serving(Peer(), _server_context()) as peer:
        url = f"https://127.0.0.1:{peer.port}/"
        async with build_client(HttpConfig(tls=tls), 5) as client:
            with pytest.raises(DestinationRefused, match=r"ca_file .* cannot be read .*; create or mount it"):
                await client.get(url)
            ca.write_text("not a certificate")
            with pytest.raises(DestinationRefused, match="no usable certificate or key"):
                await client.get(url)
            shutil.copy(TLS_FILES / "ca.pem", ca)
            assert (await client.get(url)).text == "ok"


# --- failures -------------------------------------------------------------------------------------------------------


async def test_a_refused_connection_is_transient_as_nothing_was_sent() -> None:
    async with serving(Peer()) as peer:
        url = f"{peer.url}hidden-path"
    failure = await _failure(url)
    assert isinstance(failure, Transient)
    assert str(failure) == "no connection (connection refused)"


async def test_a_host_that_does_not_exist_is_transient() -> None:
    failure = await _failure("http://nowhere.invalid/hidden-path")
    assert isinstance(failure, Transient)
    assert "hidden-path" not in str(failure)


async def test_no_answer_in_time_is_unknown() -> None:
    async def silent(reader: Reader, _: Writer) -> None:
        await reader.read()  # until the client gives up and closes

    async with serving(Peer(silent)) as peer:
        failure = await _failure(peer.url, timeout_s=0.05)
    assert isinstance(failure, Unknown)
    assert str(failure) == "no answer in time"


async def test_a_connection_that_ends_without_an_answer_is_unknown() -> None:
    async def cut(_: Reader, writer: Writer) -> None:
        writer.close()

    async with serving(Peer(cut)) as peer:
        failure = await _failure(f"{peer.url}hidden-path")
    assert isinstance(failure, Unknown)
    assert "hidden-path" not in str(failure)


async def test_an_answer_that_is_no_http_is_unknown() -> None:
    async with serving(Peer(b"SMTP ready\r\n\r\n")) as peer:
        failure = await _failure(peer.url)
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
            await _post(client, peer.url, pool_s=0.05)
        done.set()
        assert (await first).status_code == 200


async def test_a_url_that_nothing_can_be_sent_to_refuses_the_destination() -> None:
    failure = await _failure("ftp://example.com/hidden-path")
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
