"""A configuration as people are shown it: all of what is in force, and no secret."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from receiver.config.load import check
from receiver.config.model import Config, HttpConfig, Secret
from receiver.config.shown import HIDDEN, address, effective
from receiver.destinations.registry import ALL
from receiver.enrichers.redact import Redactor

EVERYTHING = Path(__file__).parents[2] / "configs" / "good" / "everything.yaml"


def everything() -> Config:
    config, _ = check(EVERYTHING, ALL)
    assert config is not None
    return config


def same(text: str) -> str:
    return text


def test_all_that_is_in_force_is_there_as_it_is_written() -> None:
    found = yaml.safe_load(effective(everything(), same))
    assert found["global"]["resolve_delay"] == "45s"
    assert found["global"]["fallback_after"] == "90m"
    assert found["web"]["visibility"]["admin_groups"] == ["mtv-admins"]
    assert found["web"]["page_auth"]["proxy_header"]["trusted"] == ["10.128.0.0/14", "::1/128"]
    assert found["route"]["routes"][0]["matchers"][0] == 'severity=~"critical|warning"'
    assert found["route"]["routes"][0]["namespaces"] == ["payments-*", "pay"]
    assert found["time_intervals"]["nights"][0] == {"times": ["22:00-24:00"], "location": "Europe/Berlin"}
    slack = found["receivers"][0]["slack_configs"][0]
    assert (slack["channel"], slack["timeout"], slack["rate_per_minute"]) == ("#platform", "5s", 30.0)
    assert slack["app_token"] == f"<read from file:{EVERYTHING.parent}/secrets/slack>"
    assert found["causes"] == ["site-firewall"]


def test_patterns_by_which_secrets_are_known_are_not_shown() -> None:
    text = effective(everything(), same)
    assert "tok_" not in text
    assert "(2 patterns)" in text


def test_what_looks_like_a_secret_is_hidden_wherever_it_stands() -> None:
    config = replace(everything(), runbooks={"A": "read password=Fa4ePw77 first"})
    assert "Fa4ePw77" in effective(config, same), "the test can fail"
    assert "Fa4ePw77" not in effective(config, lambda text: Redactor().text(text)[0])


def test_a_secret_is_where_it_is_read_even_if_it_could_be_read(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("Fa4ePw77")
    config = everything()
    alertmanager = replace(config.alertmanagers[0], http=HttpConfig("me", Secret(file=tmp_path / "here")))
    text = effective(replace(config, alertmanagers=(alertmanager,)), same)
    assert f"password: <read from file:{tmp_path}/here>" in text
    assert "Fa4ePw77" not in text


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://x.example.com/a/b", "https://x.example.com/a/b"),
        ("https://me:pw@x.example.com:8/a", f"https://{HIDDEN}@x.example.com:8/a"),
        ("https://pw@x/a?b=c&d", f"https://{HIDDEN}@x/a?b={HIDDEN}&d={HIDDEN}"),
        ("https://x/a#access_token=pw", f"https://x/a#{HIDDEN}"),
        ("https://x/a#chapter", "https://x/a#chapter"),
        ("https://[broken/?pw", HIDDEN),
    ],
)
def test_an_address_lets_nobody_in(url: str, wanted: str) -> None:
    assert address(url, same) == wanted
