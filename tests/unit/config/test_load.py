"""What good files mean."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.config.jsonschema import schema
from receiver.config.load import check, load
from receiver.config.model import Config, HttpConfig, Route, Secret
from receiver.config.positions import read_yaml
from receiver.config.settings import plain
from receiver.config.storage import Kept, Storage
from receiver.destinations.registry import ALL

ROOT = Path(__file__).parents[3]
EVERYTHING = ROOT / "tests/configs/good/everything.yaml"
MAIL = EVERYTHING.with_name("mail-and-webhook.yaml")
SHIPPED = ROOT / "routes.yaml"
SANDBOX = ROOT / "examples/sandbox/routes.yaml"
SMALL = """
receivers:
  - name: platform
    pagerduty_configs: [{routing_key_env: PD_KEY}]
route:
  receiver: platform
"""

Written = Callable[[str], Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(text: str) -> Path:
        file = tmp_path / "routes.yaml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


@pytest.fixture(scope="module")
def everything() -> Config:
    return load(EVERYTHING, ALL)


def _mistakes(file: Path) -> list[str]:
    return [f"{problem.key}: {problem.what}" for problem in check(file, ALL)[1] if not problem.warning]


def test_the_shipped_configuration_lacks_nothing_but_its_secret_files() -> None:
    config, problems = check(SHIPPED, ALL)
    assert config is not None
    assert set(config.receivers) == {"platform", "payments", "payments-chat"}
    assert {problem.what.partition(" /")[0] for problem in problems} == {"there is no file"}


def test_the_sandbox_configuration_is_complete() -> None:
    config, problems = check(SANDBOX, ALL)
    assert problems == ()
    assert config is not None
    assert [destination.identity.partition(":")[0] for destination in config.receivers["erp-team"].destinations] == [
        "slack",
        "pagerduty",
        "jira",
    ]
    assert config.clusters[0].must_gather is not None
    assert (config.clusters[0].must_gather / "namespaces").is_dir()


def test_the_smallest_file_gets_the_defaults(written: Written) -> None:
    config = load(written(SMALL), ALL)
    assert config.global_.fallback_after_s == 900
    assert config.web.webhook_auth.open
    assert [cluster.name for cluster in config.clusters] == ["local"]
    labels = [{"alertname": name} for name in ("MTVPlanFailed", "MigrationFailed", "MTVVMFailed", "MTVPlanStuck")]
    failure, success = config.subjects
    assert all(matcher.matches(one) for matcher in failure.matchers for one in labels)
    assert (failure.role, success.role) == ("failure", "success")
    assert success.matchers[0].matches({"alertname": "MigrationSucceeded"})
    assert not success.matchers[0].matches({"alertname": "MigrationFailed"})


def test_no_clusters_is_something_else_than_nothing_said_about_clusters(written: Written) -> None:
    assert load(written(SMALL + "clusters: []\n"), ALL).clusters == ()


def test_times_and_sizes_are_seconds_and_bytes(everything: Config) -> None:
    seen = everything.global_
    assert (seen.identify_timeout_s, seen.fallback_after_s, seen.confirm_after_s) == (0.5, 5400.0, 0.0)
    assert (seen.reopen_within_s, seen.digest_window_s) == (86_400.0, 604_800.0)
    assert everything.storage == Storage(
        90 * 86_400, 1024**3, Kept(14 * 86_400, 512 * 1024**2), Kept(365 * 86_400, 64 * 1024**2)
    )
    assert everything.web.max_body_bytes == 2 * 1024 * 1024


def test_secrets_are_places_and_relative_to_the_file(everything: Config) -> None:
    base = EVERYTHING.parent
    assert everything.web.webhook_auth.bearer == (
        Secret(file=base / "secrets/old"),
        Secret(file=base / "secrets/new"),
        Secret(env="WEBHOOK_TOKEN"),
    )
    payments = everything.receivers["payments"].destinations
    assert payments[0].settings.routing_key == Secret(file=base / "secrets/pd")
    assert payments[1].http.password == Secret(env="JIRA_TOKEN")


def test_a_secret_file_that_is_missing_is_no_reason_to_refuse(written: Written) -> None:
    config, problems = check(written(SMALL.replace("routing_key_env: PD_KEY", "routing_key_file: nowhere")), ALL)
    assert config is not None
    assert [problem.warning for problem in problems] == [True]


def test_text_stays_as_it_was_written_and_free_values_get_their_type(everything: Config) -> None:
    settings = everything.receivers["payments"].destinations[1].settings
    assert settings.project == "NO"
    assert settings.fields == {
        "customfield_1": 5,
        "customfield_2": {"value": "Yes"},
        "customfield_3": "010",
        "components": [{"name": "VM"}],
        "flag": True,
    }


def test_yaml_1_1_booleans_and_numbers_are_what_their_key_makes_of_them(written: Written) -> None:
    text = """
receivers:
  - name: no
    pagerduty_configs: [{routing_key_env: K, send_resolved: off}]
route: {receiver: no, labels: {tier: 010, on: yes}}
"""
    config = load(written(text), ALL)
    assert config.route.receivers == ("no",)
    assert config.route.labels == {"tier": "010", "on": "yes"}
    assert not config.receivers["no"].destinations[0].send_resolved


def test_manners_and_identity_of_a_destination(everything: Config) -> None:
    named, hook = everything.receivers["platform"].destinations
    assert named.identity == "slack:name:platform-chat"
    assert named.label == "platform/platform-chat"
    assert (named.send_resolved, named.content) == (False, "minimal")
    manners = named.manners
    assert (manners.timeout_s, manners.max_in_flight, manners.retry_min_s, manners.retry_max_s) == (5.0, 2, 2.0, 600.0)
    assert (manners.rate_per_minute, manners.rate_burst, manners.lookup_grace_s) == (30.0, 5, 30.0)
    assert str(EVERYTHING.parent / "secrets/hook") in hook.identity
    assert hook.position == f"everything.yaml:{_line('- api_url_file: secrets/hook')}"


def test_a_destination_may_have_templates_and_a_cluster_a_way_of_its_own(everything: Config) -> None:
    chat = everything.receivers["platform"].destinations[0]
    assert chat.templates_dir == EVERYTHING.parent / "short"
    assert all(one.templates_dir is None for one in everything.receivers["payments"].destinations)
    local, east, _ = everything.clusters
    assert (local.http.proxy_url, local.http.no_proxy) == ("http://proxy.example.com:3128", "10.0.0.0/8")
    assert east.http == HttpConfig()


def test_an_alias_brings_its_value_along(everything: Config) -> None:
    chat = everything.receivers["platform"].destinations[0]
    pager = everything.receivers["payments"].destinations[0]
    assert chat.http.proxy_from_environment
    assert pager.http == chat.http


def test_jira_cloud_may_hide_a_new_ticket_for_longer_than_data_center(everything: Config) -> None:
    _, cloud, data_center = everything.receivers["payments"].destinations
    assert (cloud.manners.lookup_grace_s, data_center.manners.lookup_grace_s) == (120.0, 5.0)


def test_a_route_inherits_receiver_and_labels_and_nothing_else(everything: Config) -> None:
    parent = everything.route.routes[0]
    child = parent.routes[0]
    assert child.receivers == ("payments", "platform")
    assert child.labels == {"team": "payments", "tier": "1"}
    assert not child.namespaces
    assert not child.mute_time_intervals
    assert not child.active_time_intervals
    assert not child.continue_
    assert not child.notify_success
    assert [str(matcher) for matcher in child.matchers] == ['impact="down"']
    assert (child.path, child.position) == (
        "route.routes[0].routes[0]",
        f"everything.yaml:{_line('- receiver: [payments, platform]') + 9}",
    )


def test_one_matcher_text_may_hold_several(everything: Config) -> None:
    texts = [str(matcher) for matcher in everything.route.routes[0].matchers]
    assert texts == ['severity=~"critical|warning"', 'team="a"', 'cluster!="lab"']


def test_merge_keys_fill_in_what_is_not_written(written: Written) -> None:
    text = """
receivers:
  - name: platform
    jira_configs:
      - &jira {api_url: 'https://x.atlassian.net/rest/api/3', project: A, priority: High}
      - {<<: *jira, project: B}
route: {receiver: platform}
"""
    first, second = load(written(text), ALL).receivers["platform"].destinations
    assert (first.settings.project, second.settings.project) == ("A", "B")
    assert second.settings.priority == "High"


def test_one_destination_in_two_receivers_is_listed_once(written: Written) -> None:
    text = """
receivers:
  - {name: a, pagerduty_configs: [{routing_key_env: K}]}
  - {name: b, pagerduty_configs: [{routing_key_env: K}]}
route: {receiver: [a, b]}
"""
    config = load(written(text), ALL)
    assert [destination.label for destination in config.destinations] == ["a/pagerduty"]
    assert [receiver.destinations[0].receiver for receiver in config.receivers.values()] == ["a", "b"]


def test_a_byte_order_mark_and_windows_line_ends_are_no_problem(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert load(file, ALL).route.receivers == ("platform",)


def test_the_hash_follows_the_content(written: Written) -> None:
    one = load(written(SMALL), ALL).hash
    assert load(written(SMALL), ALL).hash == one
    assert load(written(SMALL + "\n"), ALL).hash != one


def test_a_receiver_with_a_mistake_is_not_reported_as_missing_where_it_is_named(written: Written) -> None:
    assert _mistakes(written(SMALL.replace("routing_key_env", "routing_kye_env"))) == [
        "receivers[0].pagerduty_configs[0]: routing_key_file is missing",
        "receivers[0].pagerduty_configs[0].routing_kye_env: unknown key",
    ]


def test_no_secret_is_read_while_loading(written: Written, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("content-of-the-file")
    monkeypatch.setitem(os.environ, "PD_KEY", "content-of-the-variable")
    text = SMALL + "  routes: []\nweb: {webhook_auth: {bearer_token_file: key}}\n"
    assert "content-of" not in repr(load(written(text), ALL))


@pytest.mark.parametrize("file", [EVERYTHING, MAIL, SHIPPED, SANDBOX], ids=lambda file: file.stem)
def test_the_schema_for_editors_takes_good_files(file: Path) -> None:
    found = schema(ALL)
    jsonschema.Draft202012Validator.check_schema(found)
    # Editors read YAML 1.2, PyYAML reads 1.1: take what our own reader makes of scalars.
    raw = plain(read_yaml(file.read_bytes()).value)
    assert [error.message for error in jsonschema.Draft202012Validator(found).iter_errors(raw)] == []


def test_the_schema_for_editors_refuses_misspelt_keys_and_plain_secrets() -> None:
    validator = jsonschema.Draft202012Validator(schema(ALL))
    good: dict[str, Any] = {
        "receivers": [{"name": "a", "pagerduty_configs": [{"routing_key_file": "x"}]}],
        "route": {"receiver": "a"},
    }
    assert validator.is_valid(good)
    for text in (
        json.dumps(good).replace("routing_key_file", "routing_key"),
        json.dumps(good).replace("pagerduty_configs", "pagerduty_config"),
        json.dumps(good).replace('"route":', '"routes":'),
        json.dumps(good).replace('{"receiver"', '{"group_wiat": "1s", "receiver"'),
    ):
        assert not validator.is_valid(json.loads(text))


def test_every_route_knows_its_line(everything: Config) -> None:
    def walk(route: Route) -> list[str]:
        return [route.position, *(position for child in route.routes for position in walk(child))]

    lines = [int(position.rpartition(":")[2]) for position in walk(everything.route)]
    assert lines == sorted(set(lines))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_piece_of_a_good_file_replaced_by_anything_is_a_config_or_a_problem(data: st.DataObject) -> None:
    raw = plain(read_yaml(EVERYTHING.read_bytes()).value)
    for _ in range(data.draw(st.integers(1, 3))):
        node: Any = raw
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            key = data.draw(st.sampled_from(keys))
            deeper = isinstance(node[key], dict | list) and node[key]
            if not deeper or data.draw(st.booleans()):
                break
            node = node[key]
        node[key] = data.draw(st.sampled_from([None, "", "x", [], {}, [[]], [None], {"x": "y"}, 0, True, "1h", "a=b"]))
    with TemporaryDirectory() as folder:
        file = Path(folder, "routes.yaml")
        file.write_text(json.dumps(raw), encoding="utf-8")
        config, problems = check(file, ALL)
    assert (config is None) == any(not problem.warning for problem in problems)


def _line(text: str) -> int:
    """Return the number of the first line of everything.yaml that begins so."""
    lines = EVERYTHING.read_text().splitlines()
    return 1 + next(at for at, line in enumerate(lines) if line.strip().startswith(text))
