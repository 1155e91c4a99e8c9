"""Who may call: bearer, basic, a proxy's word; several secrets at once, read when they are needed."""

from __future__ import annotations

import base64
import hmac
import ipaddress
from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.requests import Request

from receiver.config.listening import ProxyHeader
from receiver.config.model import Auth, Secret, SecretError
from receiver.guard import MAX_GROUPS, Caller, challenge, credentials, is_allowed, is_foreign, signed_in


def file(folder: Path, name: str, text: str | None) -> Secret:
    if text is not None:
        (folder / name).write_text(text)
    return Secret(file=folder / name)


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_any_of_several_secrets_opens_the_door(tmp_path: Path) -> None:
    auth = Auth(
        bearer=(file(tmp_path, "old", "one\n"), file(tmp_path, "new", "two")),
        basic=(("am", file(tmp_path, "a", "first")), ("am", file(tmp_path, "b", "second")), ("ops", Secret(env="NO"))),
    )
    for good in ("Bearer one", "bearer  two ", basic("am:first"), basic("am:second")):
        assert is_allowed(good, auth), good
    for bad in ("", "Bearer", "Bearer ", "Bearer on", "Bearer onee", "Bearer three", "one", "Digest one"):
        assert not is_allowed(bad, auth), bad
    assert credentials(basic("am:first"), auth) == "am"
    assert credentials("Bearer one", auth) == ""


def test_a_changed_file_counts_with_the_next_request(tmp_path: Path) -> None:
    auth = Auth(bearer=(file(tmp_path, "token", "old"),))
    assert is_allowed("Bearer old", auth)
    (tmp_path / "token").write_text("new")
    assert not is_allowed("Bearer old", auth)
    assert is_allowed("Bearer new", auth)


def test_a_secret_that_is_gone_keeps_nobody_out_who_has_another(tmp_path: Path) -> None:
    auth = Auth(bearer=(file(tmp_path, "gone", None), file(tmp_path, "new", "two")))
    assert is_allowed("Bearer two", auth)
    with pytest.raises(SecretError):
        is_allowed("Bearer one", auth)


def test_an_empty_secret_is_none(tmp_path: Path) -> None:
    auth = Auth(bearer=(file(tmp_path, "token", "\n"),), basic=(("am", file(tmp_path, "password", "")),))
    for empty in ("Bearer ", "Bearer", basic("am:")):
        with pytest.raises(SecretError):
            is_allowed(empty, auth)


def test_secrets_that_are_no_ascii_fit_as_bytes(tmp_path: Path) -> None:
    auth = Auth(bearer=(file(tmp_path, "token", "schlüssel"),), basic=(("jörg", file(tmp_path, "p", "pässword")),))
    assert is_allowed("Bearer " + "schlüssel".encode().decode("latin-1"), auth)  # as a server reads the header
    assert credentials(basic("jörg:pässword"), auth) == "jörg"
    assert not is_allowed("Bearer schl\ud800ssel", auth)


def test_every_secret_is_compared_in_constant_time_however_early_one_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def noted(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return real(one, other)

    monkeypatch.setattr("receiver.guard.hmac.compare_digest", noted)
    auth = Auth(bearer=tuple(file(tmp_path, name, name) for name in ("a", "bb", "ccc")))
    assert is_allowed("Bearer a", auth)
    assert compared == [(32, 32)] * 3  # digests: not even lengths differ


PROXY = ProxyHeader(
    "x-forwarded-user", tuple(ipaddress.ip_network(one) for one in ("10.0.0.0/8", "127.0.0.1", "fd00::/8"))
)


def request(client: str | None, *headers: tuple[str, str]) -> Request:
    scope: dict[str, Any] = {
        "type": "http",
        "client": None if client is None else (client, 1),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
    }
    return Request(scope)


@pytest.mark.parametrize("client", ["10.1.2.3", "127.0.0.1", "fd00::1", "::ffff:10.1.2.3"])
def test_the_word_of_a_trusted_proxy_counts(client: str) -> None:
    caller = signed_in(request(client, ("X-Forwarded-User", " Ana Costa\x07 ")), Auth(proxy=PROXY))
    assert caller == Caller("Ana Costa", user=""), "no cluster knows a user of that name"


@pytest.mark.parametrize(
    ("client", "names"),
    [
        ("11.1.2.3", ["Eve"]),
        ("::ffff:11.1.2.3", ["Eve"]),
        ("2001:db8::1", ["Eve"]),
        (None, ["Eve"]),
        ("no address", ["Eve"]),
        ("10.1.2.3", []),
        ("10.1.2.3", ["  "]),
        ("10.1.2.3", ["Eve", "Ana Costa"]),
    ],
)
def test_nobody_else_is_believed(client: str | None, names: list[str]) -> None:
    seen = request(client, *(("X-Forwarded-User", name) for name in names), ("X-Forwarded-For", "10.0.0.1"))
    assert signed_in(seen, Auth(proxy=PROXY)) is None


def test_a_proxy_is_no_open_door_and_says_no_way_to_sign_in(tmp_path: Path) -> None:
    assert not Auth(proxy=PROXY).open
    assert challenge(Auth(proxy=PROXY)) == {}
    both = Auth(bearer=(file(tmp_path, "t", "t"),), basic=(("ops", file(tmp_path, "p", "p")),))
    assert challenge(both) == {"WWW-Authenticate": 'Basic realm="mtv-receiver", charset="UTF-8", Bearer'}


def named(*headers: tuple[str, str], client: str = "10.1.2.3") -> Caller | None:
    return signed_in(request(client, *headers), Auth(proxy=PROXY), "x-groups")


ANA = ("X-Forwarded-User", "ana")


@pytest.mark.parametrize(
    ("headers", "groups"),
    [
        ([], set()),
        ([("X-Groups", "")], set()),
        ([("X-Groups", "a")], {"a"}),
        ([("X-Groups", " a , b,,b, c d ,")], {"a", "b", "c d"}),
        ([("X-Groups", "a"), ("X-Groups", "admins")], set()),
        ([("X-Groups", "a\x07,b")], {"b"}),
        ([("X-Groups", "a," + "b" * 600)], {"a"}),
        ([("X-Groups", "gr\xc3\xbcn")], {"grün"}),
        ([("X-Other-Groups", "a")], set()),
    ],
)
def test_groups_are_those_that_the_proxy_names_once_separated_by_commas(
    headers: list[tuple[str, str]], groups: set[str]
) -> None:
    assert named(ANA, *headers) == Caller("ana", "ana", frozenset(groups))


def test_so_many_groups_count_and_no_more() -> None:
    caller = named(ANA, ("X-Groups", ",".join(f"g{number:03}" for number in range(300))))
    assert caller is not None
    assert caller.groups == {f"g{number:03}" for number in range(MAX_GROUPS)}


def test_groups_of_nobody_whom_the_proxy_named_are_none(tmp_path: Path) -> None:
    auth = Auth(basic=(("ops", file(tmp_path, "p", "p")),), bearer=(file(tmp_path, "t", "t"),), proxy=PROXY)
    groups = ("X-Groups", "admins")
    for client in ("10.1.2.3", "11.1.2.3"):
        seen = request(client, groups, ("Authorization", basic("ops:p")))
        assert signed_in(seen, auth, "x-groups") == Caller("ops", "ops")
        seen = request(client, groups, ("Authorization", "Bearer t"))
        assert signed_in(seen, auth, "x-groups") == Caller(machine=True)
    assert named(ANA, groups, client="11.1.2.3") is None
    assert signed_in(request("10.1.2.3", ANA, groups), auth) == Caller("ana", "ana"), "no header of groups is set"


def test_whoever_the_proxy_names_is_no_token_whatever_else_they_send(tmp_path: Path) -> None:
    auth = Auth(bearer=(file(tmp_path, "t", "t"),), proxy=PROXY)
    assert signed_in(request("10.1.2.3", ANA, ("Authorization", "Bearer t")), auth) == Caller("ana", "ana")


def test_a_name_that_had_to_be_changed_to_be_shown_is_no_name_that_a_cluster_is_asked_about() -> None:
    long = "a" * 100
    assert named(("X-Forwarded-User", long)) == Caller("a" * 80, long), "in full, as it could be somebody else's else"
    assert named(("X-Forwarded-User", "a" * 600)) == Caller("a" * 80, "")
    assert named(("X-Forwarded-User", "ro\x07ot")) == Caller("root", "")
    assert named(("X-Forwarded-User", "J\xc3\xb6rg")) == Caller("Jörg", "Jörg")


EXTERNAL = "https://mtv.example.com/base"


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({}, False),
        ({"Sec-Fetch-Site": "same-origin"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": ""}, True),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://mtv.example.com"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example.com"}, False),
        ({"Origin": "https://mtv.example.com"}, False),
        ({"Origin": "https://MTV.example.com:443"}, False),
        ({"Origin": "https://mtv.example.com:8443"}, True),
        ({"Origin": "http://mtv.example.com"}, True),
        ({"Origin": "http://inside:9095", "Host": "inside:9095"}, False),
        ({"Origin": "http://inside", "Host": "inside"}, False),
        ({"Origin": "https://inside", "Host": "inside"}, False),
        ({"Origin": "http://inside:9096", "Host": "inside:9095"}, True),
        ({"Origin": "https://evil.example.com", "Host": "inside:9095"}, True),
        ({"Origin": "null", "Host": "inside:9095"}, True),
        ({"Origin": "null", "Host": ""}, True),
        ({"Origin": "", "Host": ""}, True),
        ({"Origin": "https://[", "Host": "["}, True),
        ({"Origin": "https://inside:port", "Host": "inside:port"}, True),
        ({"Origin": "https://mtv.example.com.evil.example.com"}, True),
        ({"Origin": "https://mtv.example.com@evil.example.com"}, True),
    ],
)
def test_a_request_that_another_site_makes_a_browser_send_is_foreign(headers: dict[str, str], foreign: bool) -> None:
    assert is_foreign(Headers(headers), EXTERNAL) is foreign
    if "Host" not in headers and "Origin" in headers and "Sec-Fetch-Site" not in headers:
        assert is_foreign(Headers(headers), "") is True, "there is nothing to be compared with"
