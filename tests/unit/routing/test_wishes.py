"""What owners of a namespace may choose: what is allowed is told besides, all else is refused and says why."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.config.load import check, load
from receiver.config.model import Config
from receiver.destinations.registry import ALL
from receiver.enrichers.facts import namespace_facts
from receiver.routing.tree import ASKED, route
from receiver.routing.wishes import MOST, wishes

CONFIG = """
receivers:
  - name: platform
    slack_configs: [{channel: '#platform', app_token_env: TOKEN, mention: '@oncall'}]
  - name: team-payments
    pagerduty_configs: [{routing_key_env: KEY}]
  - name: oncall
    pagerduty_configs: [{routing_key_env: OTHER}]
route: {receiver: platform, routes: [{matchers: ['severity="page"'], receiver: oncall}]}
namespace_routing: {allow: {receivers: ['team-*'], slack_channels: ['#mig-*', 'C0*']}}
"""
PREFIX = "mtv-receiver.io"


def loaded(folder: Path, text: str = CONFIG) -> Config:
    path = folder / "routes.yaml"
    path.write_text(text)
    return load(path, ALL)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return loaded(tmp_path_factory.mktemp("config"))


def facts(receiver: str = "", channel: str = "", data: dict[str, str] | None = None) -> dict[str, str]:
    """Return the facts of a namespace with these annotations, and ConfigMaps that hold `data`."""
    written = {f"{PREFIX}/receiver": receiver, f"{PREFIX}/slack-channel": channel}
    return {"owner_namespace": "shop", **namespace_facts(PREFIX, {}, written, data or {})}


def told(known: dict[str, str], config: Config, **labels: str) -> list[str]:
    return [one.config.label for one in route(labels, known, config).targets]


def test_an_allowed_receiver_is_told_besides_what_the_tree_says(config: Config) -> None:
    assert told(facts("team-payments"), config) == ["platform/slack", "team-payments/pagerduty"]
    assert told(facts("team-payments"), config, severity="page") == ["oncall/pagerduty", "team-payments/pagerduty"]


def test_why_it_is_told_names_the_namespace_and_the_line(config: Config) -> None:
    (target,) = [one for one in route({}, facts("team-payments"), config).targets if "team" in one.config.label]
    (reason,) = target.reasons
    assert reason.text == "namespace shop asks for receiver team-payments"
    assert reason.route.endswith("routes.yaml:10")


def test_a_channel_is_posted_to_by_the_bot_that_there_is_and_calls_nobody(config: Config) -> None:
    targets = {one.config.identity: one.config for one in route({}, facts(channel="#mig-shop"), config).targets}
    chosen = targets["slack:slack.com #mig-shop"]
    assert (chosen.label, chosen.settings.channel, chosen.settings.mention) == ("#mig-shop/slack", "#mig-shop", "")
    assert chosen.settings.app_token == config.receivers["platform"].destinations[0].settings.app_token


def test_a_chosen_channel_is_known_by_its_identity_alone_after_a_restart(config: Config) -> None:
    found = config.destination("slack:slack.com #mig-shop")
    assert found is not None
    assert found.settings.channel == "#mig-shop"
    assert config.destination("slack:slack.com #general") is None
    assert config.destination("slack:slack.com #platform") == config.receivers["platform"].destinations[0]


def test_annotations_and_configmaps_count_together_and_each_once(config: Config) -> None:
    known = facts("team-payments", data={"receiver": "team-payments", "slack-channel": "#mig-a, #mig-b"})
    assert told(known, config) == ["platform/slack", "team-payments/pagerduty", "#mig-a/slack", "#mig-b/slack"]


def test_a_configured_channel_that_is_chosen_too_is_told_once(tmp_path: Path) -> None:
    config = loaded(tmp_path, CONFIG.replace("'#mig-*'", "'#*'"))
    known = facts(channel="#platform")
    (target,) = route({}, known, config).targets
    assert (target.config.label, len(target.reasons)) == ("platform/slack", 2)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (facts("oncall"), "namespace_routing.allow.receivers does not allow it"),
        (facts("team-nobody"), "there is no receiver of this name"),
        (facts(channel="#general"), "namespace_routing.allow.slack_channels does not allow it"),
        (facts(channel="#mig-x y"), "Slack has no such channels: write #name or the channel's id"),
        (facts(channel="#mig-\u202egnp"), "Slack has no such channels: write #name or the channel's id"),
        (facts(channel="mig-shop"), "Slack has no such channels: write #name or the channel's id"),
        (facts(channel="#mig-" + "a" * 100), "Slack has no such channels: write #name or the channel's id"),
    ],
)
def test_what_is_refused_changes_nothing_and_says_why(config: Config, asked: dict[str, str], why: str) -> None:
    (wish,) = wishes(asked, config)
    assert wish.refused == why
    routed = route({}, asked, config)
    assert [one.config.label for one in routed.targets] == ["platform/slack"]
    (said,) = [one for one in routed.verdicts if one.path == ASKED]
    assert (said.matched, said.reason.endswith(f": {why}")) == (False, True)


def test_more_than_a_few_are_refused(config: Config) -> None:
    known = facts(channel=",".join(f"#mig-{number}" for number in range(50)))
    granted = [one for one in wishes(known, config) if not one.refused]
    (refused,) = [one for one in wishes(known, config) if one.refused]
    assert len(granted) == MOST
    assert refused.refused == f"a namespace may name {MOST} of each"


@given(st.text(max_size=3_000), st.text(max_size=3_000))
def test_nothing_that_a_namespace_writes_reaches_anybody_who_is_not_allowed(
    config: Config, receiver: str, channel: str
) -> None:
    known = facts(receiver, channel)
    allowed = {"platform", "team-payments"}
    for target in route({}, known, config).targets:
        one = target.config
        assert one.receiver in allowed or (one.kind == "slack" and one.settings.channel.startswith(("#mig-", "C0")))
    for wish in wishes(known, config):
        assert wish.text.isprintable()
        assert len(wish.text) < 120


def test_without_namespace_routing_nothing_that_namespaces_write_counts(tmp_path: Path) -> None:
    config = loaded(tmp_path, CONFIG.split("namespace_routing")[0])
    assert told(facts("team-payments", "#mig-shop"), config) == ["platform/slack"]


def test_facts_of_a_namespace_can_be_matched(tmp_path: Path) -> None:
    config = loaded(tmp_path, CONFIG.replace('severity="page"', 'namespace_label_tier="gold"'))
    known = {"owner_namespace": "shop", **namespace_facts(PREFIX, {"tier": "gold"}, {}, {})}
    assert told(known, config) == ["oncall/pagerduty"]


def test_another_prefix(tmp_path: Path) -> None:
    config = loaded(tmp_path, CONFIG.replace("{allow:", "{annotation_prefix: example.com, allow:"))
    assert config.namespace_routing is not None
    known = namespace_facts("example.com", {}, {"example.com/receiver": "team-payments"}, {})
    assert known["namespace_receiver"] == "team-payments"
    assert "namespace_receiver" not in namespace_facts("example.com", {}, {f"{PREFIX}/receiver": "team-payments"}, {})


def test_channels_without_a_bot_are_an_error_that_names_the_cure(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(CONFIG.replace("slack_configs: [{channel: '#platform', app_token_env: TOKEN, mention: '@oncall'}]",
                                   "slack_configs: [{api_url_env: HOOK}]"))  # fmt: skip
    config, problems = check(path, ALL)
    assert config is None
    (problem,) = [one for one in problems if not one.warning]
    assert "no slack_configs of any receiver has a bot token" in problem.what
    assert problem.cure == "give one app_token_file, or remove this key"


def test_a_receiver_that_only_namespaces_choose_is_used(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(CONFIG)
    _, problems = check(path, ALL)
    assert not [one for one in problems if "no route uses" in one.what]


def test_a_matcher_on_what_is_not_read_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(CONFIG.split("namespace_routing")[0].replace('severity="page"', 'namespace_label_tier="gold"'))
    _, problems = check(path, ALL)
    assert [one.what for one in problems if "namespace_label" in one.what] == [
        "namespace_label_tier is never known: namespaces are not read"
    ]


def test_the_example_of_the_page_is_a_configuration(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "self-service.md").read_text(encoding="utf-8")
    path = tmp_path / "routes.yaml"
    path.write_text(page.split("```yaml\n")[1].split("```")[0])
    config, problems = check(path, ALL)
    assert [str(one) for one in problems if not one.warning] == []
    assert config is not None
    assert config.namespace_routing is not None
    assert config.namespace_routing.may_post("#mig-payments")


def test_a_channel_that_is_configured_under_a_name_is_that_destination(tmp_path: Path) -> None:
    """Else it would be told twice, and past the shadow or the content that its entry has."""
    named = "{name: pay, channel: '#mig-pay', app_token_env: TOKEN, content: minimal}"
    config = loaded(tmp_path, CONFIG.replace("[{channel: '#platform'", f"[{named}, {{channel: '#platform'"))
    targets = [one.config for one in route({}, facts("", "#mig-pay"), config).targets]
    assert [one.identity for one in targets] == ["slack:name:pay", "slack:slack.com #platform"]
    assert targets[0].content == "minimal"
