"""HTTP clients against real loopback servers, byte for byte."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

import httpx2
import pytest

from receiver.config.model import TLS, HttpConfig, Secret
from receiver.errors import DestinationRefused, Transient
from receiver.http import (
    build_client,
    header_secret,
    read_secret,
)
from receiver.no_proxy import bypasses
from tests.unit.http_peers import SECRET, TLS_FILES, Peer, failure_of, peer, secret_file, serving

pytestmark = pytest.mark.anyio
__all__ = ["peer"]


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
    http = HttpConfig(username="bot@example.com", password=secret_file(tmp_path, "s3cret ü"))
    async with build_client(http, 5) as client:
        await client.get(peer.url)
    assert "Basic Ym90QGV4YW1wbGUuY29tOnMzY3JldCDDvA==" in peer.heads[0]


async def test_a_replaced_secret_counts_from_the_next_request_on(peer: Peer, tmp_path: Path) -> None:
    secret = secret_file(tmp_path, "old\n")
    async with build_client(HttpConfig(credentials=secret, authorization_type="Token"), 5) as client:
        await client.get(peer.url)
        secret_file(tmp_path, "new\n")
        await client.get(peer.url)
    assert "Token old\r\n" in peer.heads[0]
    assert "Token new\r\n" in peer.heads[1]


async def test_an_unreadable_secret_refuses_the_destination_and_sends_nothing(peer: Peer, tmp_path: Path) -> None:
    http = HttpConfig(credentials=Secret(file=tmp_path / "nowhere"))
    failure = await failure_of(peer.url, http)
    assert isinstance(failure, DestinationRefused)
    assert str(failure) == (
        f"secret file {tmp_path}/nowhere cannot be read (No such file or directory); create it or mount it"
    )
    assert peer.heads == []


async def test_a_secret_that_no_header_may_carry_is_refused_without_being_shown(peer: Peer, tmp_path: Path) -> None:
    failure = await failure_of(peer.url, HttpConfig(credentials=secret_file(tmp_path, f"{SECRET}\nsecond line")))
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
    through = await failure_of("http://slack.invalid/", HttpConfig(proxy_url=proxy))
    past = await failure_of("http://slack.invalid/", HttpConfig(proxy_url=proxy, no_proxy="slack.invalid"))
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
    failure = await failure_of("http://slack.example.invalid/")
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
        unknown = await failure_of(url)
        misnamed = await failure_of(url, HttpConfig(tls=TLS(ca_file=TLS_FILES / "ca.pem")))
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
