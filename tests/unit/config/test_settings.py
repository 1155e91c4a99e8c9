"""Settings models, durations, sizes and URLs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from receiver.config.durations import duration_text, is_duration, parse_duration, parse_size
from receiver.config.model import Secret, SecretError
from receiver.config.settings import LinkUrl, Names, PathFromFile, Scalar, Settings, Url


class _Peer(Settings):
    secrets = ("token", "spare")

    token: Secret
    spare: Secret | None = None
    url: Url = "https://peer.example.com"
    page: LinkUrl = ""
    names: Names = ()
    file: PathFromFile | None = None
    free: dict[str, Any] = {}  # noqa: RUF012  # pydantic copies it


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("30s", 30),
        ("1h30m", 5400),
        ("24h", 86_400),
        ("1d", 86_400),
        ("1w", 604_800),
        ("1y", 31_536_000),
        ("500ms", 0.5),
        ("1m500ms", 60.5),
        ("1w2d3h4m5s6ms", 788_645.006),
    ],
)
def test_durations_are_those_of_prometheus(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds
    assert is_duration(text)


@pytest.mark.parametrize(
    "text", ["", "30", "s", "1.5h", "-1s", "30m1h", "1h1h", "1 h", "1:30", "ten", "999y", None, True, []]
)
def test_what_is_no_duration_is_refused_with_a_cure(text: Any) -> None:
    with pytest.raises(ValueError, match=r"; .*write|; .*use"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**10))
def test_a_duration_written_by_us_is_read_back(milliseconds: int) -> None:
    assert parse_duration(duration_text(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("16777216", 16_777_216),
        (5, 5),
        ("2GiB", 2 * 1024**3),
        ("16MB", 16_000_000),
        ("1.5 KiB", 1536),
        ("3k", 3000),
        ("0", 0),
    ],
)
def test_sizes_are_bytes(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "2 gigs", "-1", "GiB", "1iB", None, True])
def test_what_is_no_size_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="is not a size; write"):
        parse_size(text)


def test_a_secret_is_a_file_relative_to_the_configuration_or_a_variable() -> None:
    context = {"base": Path("/etc/mtv")}
    read = _Peer.model_validate({"token_file": "secrets/token", "spare_env": "SPARE"}, context=context)
    assert read.token == Secret(file=Path("/etc/mtv/secrets/token"))
    assert read.spare == Secret(env="SPARE")
    absolute = _Peer.model_validate({"token_file": "/run/token"}, context=context)
    assert absolute.token == Secret(file=Path("/run/token"))


def test_settings_can_be_built_in_code_too() -> None:
    secret = Secret(env="TOKEN")
    assert _Peer(token=secret).token is secret


@pytest.mark.parametrize(
    "raw",
    [
        {"token": "planted-secret"},
        {"token": {"env": "planted-secret"}},
        {"token": "planted-secret", "token_file": "x"},
        {"token_env": "$planted-secret"},
        {"token_file": ["planted-secret"]},
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_and_never_shown(raw: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as raised:
        _Peer.model_validate(raw)
    assert "planted-secret" not in str(raised.value)
    assert "planted-secret" not in repr(raised.value)


@pytest.mark.parametrize(
    "url", ["host/path", "ftp://host", "https://", "https://a b", "https://u:p@host", "https://host:port"]
)
def test_what_cannot_be_called_is_no_url(url: str) -> None:
    with pytest.raises(ValidationError):
        _Peer.model_validate({"token_env": "A", "url": url})


def test_a_link_may_have_a_fragment_and_a_url_to_call_may_not() -> None:
    assert _Peer.model_validate({"token_env": "A", "page": "https://wiki/x#y"}).page == "https://wiki/x#y"
    with pytest.raises(ValidationError):
        _Peer.model_validate({"token_env": "A", "url": "https://wiki/x#y"})


def test_one_name_is_a_list_of_one_and_free_values_get_their_type() -> None:
    raw = {"token_env": "A", "names": Scalar("one", "one"), "free": {"a": [Scalar("5", 5)]}}
    read = _Peer.model_validate(raw)
    assert read.names == ("one",)
    assert read.free == {"a": [5]}


def test_a_secret_prints_as_its_place_and_names_it_when_unreadable(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(" planted-secret \n")
    secret = Secret(file=file)
    assert secret.read() == "planted-secret"
    assert repr(secret) == f"<secret file:{file}>"
    file.unlink()
    with pytest.raises(SecretError, match="cannot be read"):
        secret.read()
