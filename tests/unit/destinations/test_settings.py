"""Settings of the kinds: what identifies a destination, and what is refused with a cure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from receiver.destinations.registry import ALL
from tests.contract.examples import KINDS, sender


def parse(kind: str, raw: dict[str, Any]) -> Any:
    return KINDS[kind].settings.model_validate(raw, context={"base": Path("conf")})


@pytest.mark.parametrize(
    ("kind", "raw", "target"),
    [
        ("slack", {"channel": "#a", "app_token_file": "t"}, "slack.com #a"),
        ("slack", {"channel": "#a", "app_token_file": "t", "app_url": "http://127.0.0.1:1/api/"}, "127.0.0.1:1 #a"),
        ("slack", {"api_url_file": "hook"}, "webhook file:conf/hook"),
        ("pagerduty", {"routing_key_env": "PD_KEY"}, "https://events.pagerduty.com/v2/enqueue env:PD_KEY"),
        ("jira", {"api_url": "https://x.example/rest/api/3/", "project": "MIG"}, "https://x.example/rest/api/3 MIG"),
        ("github", {"repo": "acme/m", "token_file": "t"}, "https://api.github.com acme/m"),
        (
            "github",
            {"api_url": "https://x.example/api/v3/", "repo": "a/m", "token_env": "T"},
            "https://x.example/api/v3 a/m",
        ),
        ("gitlab", {"project": "acme/sub/m", "token_file": "t"}, "https://gitlab.com acme/sub/m"),
        ("gitlab", {"url": "https://x.example/api/v4", "project": "7", "token_file": "t"}, "https://x.example 7"),
    ],
)
def test_a_destination_is_known_by_its_target_never_by_a_secret(kind: str, raw: dict[str, Any], target: str) -> None:
    assert KINDS[kind].target(parse(kind, raw)) == target


@pytest.mark.parametrize(
    ("kind", "raw", "cure"),
    [
        ("slack", {"channel": "#a"}, "give either app_token_file or api_url_file"),
        ("slack", {"channel": "#a", "app_token_file": "t", "api_url_file": "u"}, "give either"),
        ("slack", {"app_token_file": "t"}, "write channel: '#name'"),
        ("slack", {"api_url_file": "u", "socket_token_file": "x"}, "socket_token_file needs an app"),
        ("slack", {"api_url_file": "u", "mention": "@oncall"}, "mention needs an app"),
        ("slack", {"channel": "#a", "app_token_file": "t", "mention": "<!channel>"}, "write '@group', '@here'"),
        ("slack", {"channel": "#a", "app_token_file": "t", "mention": "oncall"}, "write '@group', '@here'"),
        ("pagerduty", {}, "Field required"),
        ("jira", {"api_url": "https://x.atlassian.net", "project": "MIG"}, "write the whole URL"),
        ("jira", {"api_url": "https://x.atlassian.net/rest/api/3", "project": "MIG", "labels": ["a b"]}, "has blanks"),
        ("jira", {"api_url": "https://x.atlassian.net/rest/api/3", "project": "MIG", "colour": "red"}, "Extra inputs"),
    ],
)
def test_what_cannot_work_is_refused_with_a_cure(kind: str, raw: dict[str, Any], cure: str) -> None:
    with pytest.raises(ValidationError, match=cure):
        parse(kind, raw)


def test_jira_clouds_search_is_given_more_time_than_data_centers() -> None:
    cloud = parse("jira", {"api_url": "https://x.atlassian.net/rest/api/3", "project": "MIG"})
    center = parse("jira", {"api_url": "https://jira.example.com/rest/api/2", "project": "MIG"})
    assert (cloud.default_lookup_grace_s, center.default_lookup_grace_s) == (120.0, 5.0)


def test_each_kind_has_a_name_and_a_list_of_its_own() -> None:
    assert len({kind.kind for kind in ALL}) == len({kind.config_key for kind in ALL}) == len(ALL)


@pytest.mark.parametrize(
    ("app_url", "link"),
    [
        ("https://slack.com/api/", "https://slack.com/archives/C0123456789/p1763846380000100"),
        ("http://127.0.0.1:9/api/", ""),
    ],
)
def test_a_slack_link_is_given_only_where_slack_really_is(app_url: str, link: str, tmp_path: Path) -> None:
    chat = sender("slack", {"channel": "#a", "app_token_file": "t", "app_url": app_url}, tmp_path)
    assert chat.link({"channel": "C0123456789", "ts": "1763846380.000100"}) == link
    assert chat.link({}) == ""


def test_a_jira_link_is_the_address_for_people(tmp_path: Path) -> None:
    tickets = sender("jira", {"api_url": "https://x.example/jira/rest/api/2", "project": "MIG"}, tmp_path)
    assert tickets.link({"url": "https://x.example/jira/browse/MIG-1"}) == "https://x.example/jira/browse/MIG-1"
