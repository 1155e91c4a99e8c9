"""`serve` listens beyond loopback only where somebody asks who is there."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from receiver.__main__ import app
from receiver.cli import serve
from receiver.cli.serve import is_loopback
from tests.fakes.authority import Authority

SMALL = """
clusters: []
receivers:
  - name: platform
    pagerduty_configs: [{routing_key_env: NO_SUCH_KEY, url: 'http://127.0.0.1:9/enqueue'}]
route: {receiver: platform}
"""
BOTH = "web: {webhook_auth: {bearer_token_env: A}, page_auth: {bearer_token_env: B}}\n"


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Which hosts it would have listened at."""
    found: list[str] = []

    def run(self: Any, sockets: Any = None) -> None:
        found.append(self.config.host)
        self.started = True

    monkeypatch.setattr(serve.Server, "run", run)
    monkeypatch.setattr(serve, "set_up", lambda *_: None)
    monkeypatch.setenv("MTV_RECEIVER_DATA", str(tmp_path / "data"))
    return found


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that are resolved to what a test needs."""
    known = {"both.test": ["127.0.0.1", "::1"], "mixed.test": ["127.0.0.1", "10.0.0.1"], "far.test": ["10.0.0.1"]}
    real = socket.getaddrinfo

    def resolved(host: str, *rest: Any, **more: Any) -> Any:
        if host.endswith(".test"):
            if host not in known:
                raise socket.gaierror("unknown")
            return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, 0)) for address in known[host]]
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)


@pytest.mark.usefixtures("names")
@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True), ("localhost", True),
        ("both.test", True), ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("::ffff:10.0.0.1", False),
        ("fe80::1", False), ("mixed.test", False), ("far.test", False), ("unknown.test", False),
        ("a" * 300, False),
    ],
)  # fmt: skip
def test_what_stands_for_this_machine_alone(host: str, inside: bool) -> None:
    assert is_loopback(host) is inside


def serving(folder: Path, text: str, *arguments: str) -> tuple[int, str]:
    path = folder / "routes.yaml"
    path.write_text(SMALL + text)
    result = CliRunner().invoke(app, ["serve", "--config", str(path), *arguments])
    return result.exit_code, result.stderr.replace(str(folder), "DIR")


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "10.0.0.1", "far.test"])
@pytest.mark.usefixtures("names")
def test_beyond_loopback_both_doors_need_a_lock(tmp_path: Path, reached: list[str], host: str) -> None:
    webhook = BOTH.replace(", page_auth: {bearer_token_env: B}", "")
    pages = BOTH.replace("webhook_auth: {bearer_token_env: A}, ", "")
    listen = ("--listen", f"{host}:9095")
    bare = host.strip("[]")
    for text, names in (
        ("", "web.webhook_auth and web.page_auth"),
        (webhook, "web.page_auth"),
        (pages, "web.webhook_auth"),
    ):
        code, said = serving(tmp_path, text, *listen)
        expected = f"DIR/routes.yaml: {names} not set, so {bare} would be open to all; set it, or give --insecure\n"
        assert (code, said) == (1, expected)
    assert reached == []
    assert serving(tmp_path, BOTH, *listen) == (0, "")
    assert serving(tmp_path, "", "--insecure", *listen) == (0, "")
    assert reached == [bare, bare]


def test_an_alertmanagers_own_secret_leaves_the_other_names_open(tmp_path: Path, reached: list[str]) -> None:
    text = BOTH.replace("webhook_auth: {bearer_token_env: A}, ", "")
    text += "alertmanagers: [{name: main, url: 'http://x', webhook_auth: {bearer_token_env: A}}]\n"
    code, said = serving(tmp_path, text, "--listen", "0.0.0.0:9095")
    assert (code, reached) == (1, [])
    assert "web.webhook_auth not set" in said


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_on_loopback_nobody_asks(tmp_path: Path, reached: list[str], host: str) -> None:
    assert serving(tmp_path, "", "--listen", f"{host}:9095") == (0, "")
    assert reached == [host.strip("[]")]


def test_whoever_must_show_a_certificate_is_known(tmp_path: Path, reached: list[str]) -> None:
    authority = Authority(tmp_path)
    one = authority.issue("mtv")
    files = f"cert_file: {one.cert}, key_file: {one.key}"
    listen = ("--listen", "0.0.0.0:9095")
    for more, code in (("", 1), (f", client_ca_file: {authority.ca_file}", 0)):
        assert serving(tmp_path, f"web: {{tls_server_config: {{{files}{more}}}}}\n", *listen)[0] == code
    assert reached == ["0.0.0.0"]


def test_a_certificate_that_cannot_be_used_is_named_in_one_line(tmp_path: Path, reached: list[str]) -> None:
    one = Authority(tmp_path).issue("mtv")
    text = f"web: {{tls_server_config: {{cert_file: {one.cert}, key_file: {one.cert}}}}}\n"
    code, said = serving(tmp_path, text)
    assert (code, reached) == (1, [])
    assert said.startswith("DIR/routes.yaml: web.tls_server_config: no usable certificate and key in DIR/ca-mtv.pem")
    assert said.count("\n") == 1
