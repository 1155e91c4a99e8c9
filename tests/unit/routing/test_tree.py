"""Where an alert goes: Alertmanager's tree, our namespaces, and a reason for every yes and no."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from receiver.config.load import load
from receiver.config.model import Config
from receiver.destinations.registry import ALL
from receiver.routing.tree import Intervals, Routed, allowed, route
from tests.servers import need

PAYMENTS = {"owner_namespace": "payments-prod", "plan_namespace": "payments-prod"}


@pytest.fixture
def configured(tmp_path: Path) -> Any:
    """Return a function that loads a routing tree; every receiver it names has one destination of its own."""

    def make(tree: Mapping[str, Any], **more: Any) -> Config:
        names = list(dict.fromkeys(_names(tree)))
        receivers = [
            {"name": name, "pagerduty_configs": [{"routing_key_env": f"KEY_{at}"}]} for at, name in enumerate(names)
        ]
        file = tmp_path / "routes.yaml"
        file.write_text(yaml.safe_dump({"receivers": receivers, "route": tree, **more}, sort_keys=False))
        return load(file, ALL)

    return make


def _names(tree: Mapping[str, Any]) -> list[str]:
    own = tree.get("receiver", [])
    below = [name for child in tree.get("routes", ()) for name in _names(child)]
    return [*([own] if isinstance(own, str) else own), *below]


def receivers(routed: Routed) -> list[str]:
    """Return who is told, in order."""
    return [target.config.receiver for target in routed.targets]


def verdicts(routed: Routed) -> dict[str, tuple[bool, str]]:
    """Return what each judged route said."""
    return {one.path: (one.matched, one.reason) for one in routed.verdicts}


# --- the tree ---


def test_what_matches_nothing_goes_to_the_root(configured: Any) -> None:
    config = configured({"receiver": "root", "routes": [{"matchers": ['a="1"'], "receiver": "one"}]})

    assert receivers(route({"a": "2"}, {}, config)) == ["root"]
    assert receivers(route({}, {}, config)) == ["root"]


def test_the_first_matching_route_wins_and_the_root_is_not_told(configured: Any) -> None:
    children = [{"matchers": ['a="1"'], "receiver": "one"}, {"matchers": ['a=~".+"'], "receiver": "two"}]
    config = configured({"receiver": "root", "routes": children})

    assert receivers(route({"a": "1"}, {}, config)) == ["one"]
    assert receivers(route({"a": "2"}, {}, config)) == ["two"]


def test_continue_lets_the_next_sibling_be_told_too(configured: Any) -> None:
    children = [
        {"matchers": ['a="1"'], "receiver": "one", "continue": True},
        {"matchers": ['a="1"'], "receiver": "two"},
        {"matchers": ['a="1"'], "receiver": "three"},
    ]
    config = configured({"receiver": "root", "routes": children})

    assert receivers(route({"a": "1"}, {}, config)) == ["one", "two"]


def test_continue_on_a_route_that_does_not_match_changes_nothing(configured: Any) -> None:
    children = [{"matchers": ['a="1"'], "receiver": "one", "continue": True}]
    config = configured({"receiver": "root", "routes": children})

    assert receivers(route({"a": "2"}, {}, config)) == ["root"]


def test_a_route_whose_children_do_not_match_is_told_itself(configured: Any) -> None:
    inner = [{"matchers": ['b="1"'], "receiver": "inner"}]
    config = configured({"receiver": "root", "routes": [{"matchers": ['a="1"'], "receiver": "outer", "routes": inner}]})

    assert receivers(route({"a": "1", "b": "1"}, {}, config)) == ["inner"]
    assert receivers(route({"a": "1", "b": "2"}, {}, config)) == ["outer"]
    assert receivers(route({"a": "2", "b": "1"}, {}, config)) == ["root"]


def test_continue_of_a_child_goes_on_among_its_siblings_only(configured: Any) -> None:
    inner = [
        {"matchers": ['b="1"'], "receiver": "inner", "continue": True},
        {"matchers": ['c="1"'], "receiver": "inner-two"},
    ]
    children = [{"matchers": ['a="1"'], "routes": inner}, {"matchers": ['a="1"'], "receiver": "after"}]
    config = configured({"receiver": "root", "routes": children})

    assert receivers(route({"a": "1", "b": "1", "c": "1"}, {}, config)) == ["inner", "inner-two"]
    assert receivers(route({"a": "1", "b": "1"}, {}, config)) == ["inner"]


def test_a_route_inherits_the_receiver_of_the_one_above(configured: Any) -> None:
    inner = [{"matchers": ['b="1"'], "routes": [{"matchers": ['c="1"']}]}]
    config = configured({"receiver": "root", "routes": [{"matchers": ['a="1"'], "receiver": "team", "routes": inner}]})

    assert receivers(route({"a": "1", "b": "1", "c": "1"}, {}, config)) == ["team"]


def test_a_list_of_receivers_is_told_each_once(configured: Any) -> None:
    children = [
        {"matchers": ['a="1"'], "receiver": ["one", "two"], "continue": True},
        {"matchers": ['b="1"'], "receiver": ["two", "three"]},
    ]
    config = configured({"receiver": "root", "routes": children})

    routed = route({"a": "1", "b": "1"}, {}, config)

    assert receivers(routed) == ["one", "two", "three"]
    both = next(target for target in routed.targets if target.config.receiver == "two")
    assert [reason.text for reason in both.reasons] == ['a="1"', 'b="1"']


def test_two_receivers_with_the_same_destination_tell_it_once(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(
        """
        receivers:
          - {name: one, pagerduty_configs: [{routing_key_env: SAME}]}
          - {name: two, pagerduty_configs: [{routing_key_env: SAME}]}
        route: {receiver: [one, two]}
        """
    )

    assert len(route({}, {}, load(file, ALL)).targets) == 1


def test_labels_set_by_routes_are_collected(configured: Any) -> None:
    children = [
        {"matchers": ['a="1"'], "receiver": "one", "labels": {"team": "x"}, "continue": True},
        {"matchers": ['b="1"'], "receiver": "two", "labels": {"tier": "gold"}},
    ]
    config = configured({"receiver": "root", "routes": children})

    assert dict(route({"a": "1", "b": "1"}, {}, config).labels) == {"team": "x", "tier": "gold"}
    assert dict(route({"a": "1"}, {}, config).labels) == {"team": "x"}


def test_only_a_route_that_is_told_wants_to_hear_of_successes(configured: Any) -> None:
    children = [{"matchers": ['a="1"'], "receiver": "one", "notify_success": True}]
    config = configured({"receiver": "root", "routes": children})

    assert route({"a": "1"}, {}, config).notify_success
    assert not route({"a": "2"}, {}, config).notify_success


# --- facts and namespaces ---


def test_facts_can_be_matched_and_the_alerts_own_label_wins(configured: Any) -> None:
    config = configured({"receiver": "root", "routes": [{"matchers": ['plan_mode="warm"'], "receiver": "warm"}]})

    assert receivers(route({}, {"plan_mode": "warm"}, config)) == ["warm"]
    assert receivers(route({"plan_mode": "cold"}, {"plan_mode": "warm"}, config)) == ["root"]


@pytest.mark.parametrize(
    ("glob", "namespace", "matches"),
    [
        ("payments-*", "payments-prod", True),
        ("payments-*", "payments", False),
        ("payments", "payments", True),
        ("payments", "payments-prod", False),
        ("*", "anything", True),
        ("*", "", False),
        ("pay?ents", "payments", True),
    ],
)
def test_namespaces_are_globs_on_the_whole_owner_namespace(
    configured: Any, glob: str, namespace: str, matches: bool
) -> None:
    config = configured({"receiver": "root", "routes": [{"namespaces": [glob], "receiver": "team"}]})

    assert receivers(route({}, {"owner_namespace": namespace}, config)) == ["team" if matches else "root"]


def test_an_unknown_namespace_goes_to_the_wider_route_and_says_so(configured: Any) -> None:
    inner = [{"namespaces": ["*"], "receiver": "team"}]
    config = configured({"receiver": "root", "routes": [{"matchers": ['a="1"'], "receiver": "wider", "routes": inner}]})

    routed = route({"a": "1", "namespace": "payments-prod"}, {}, config)

    assert receivers(routed) == ["wider"]
    assert verdicts(routed)["route.routes[0].routes[0]"] == (False, "the owner namespace is not known")


def test_the_alerts_own_namespace_label_is_not_the_owners(configured: Any) -> None:
    config = configured({"receiver": "root", "routes": [{"namespaces": ["payments-*"], "receiver": "team"}]})

    assert receivers(route({"namespace": "openshift-mtv"}, PAYMENTS, config)) == ["team"]
    assert receivers(route({"namespace": "payments-prod"}, {"owner_namespace": "x"}, config)) == ["root"]
    assert receivers(route({"owner_namespace": "payments-prod"}, {}, config)) == ["root"]


def test_namespaces_and_matchers_must_both_match(configured: Any) -> None:
    child = {"namespaces": ["a", "payments-*"], "matchers": ['severity="critical"'], "receiver": "team"}
    config = configured({"receiver": "root", "routes": [child]})

    assert receivers(route({"severity": "critical"}, PAYMENTS, config)) == ["team"]
    assert receivers(route({"severity": "warning"}, PAYMENTS, config)) == ["root"]
    assert receivers(route({"severity": "critical"}, {"owner_namespace": "b"}, config)) == ["root"]


# --- reasons ---


def test_every_yes_and_no_has_its_reason_and_its_place(configured: Any) -> None:
    children = [
        {"matchers": ['severity="critical"'], "receiver": "oncall"},
        {"matchers": ['team="x"'], "receiver": "x"},
        {"namespaces": ["erp-*", "crm"], "receiver": "erp"},
        {"namespaces": ["payments-*"], "matchers": ['severity!="info"'], "receiver": "payments"},
        {"receiver": "never"},
    ]
    config = configured({"receiver": "root", "routes": children})

    routed = route({"severity": "warning"}, PAYMENTS, config)

    assert verdicts(routed) == {
        "route": (False, "root route: a route below matched"),
        "route.routes[0]": (False, 'severity="critical" does not match "warning"'),
        "route.routes[1]": (False, 'team="x" does not match an empty or missing label'),
        "route.routes[2]": (False, "namespace payments-prod matches none of erp-*, crm"),
        "route.routes[3]": (True, 'namespace payments-prod matches payments-* and severity!="info"'),
    }
    lines = config.path.read_text().splitlines()
    for one in routed.verdicts[1:]:
        file, _, line = one.position.rpartition(":")
        assert file == "routes.yaml"
        assert lines[int(line) - 1].lstrip().startswith("- ")
    (reason,) = routed.targets[0].reasons
    assert reason.route == routed.verdicts[4].position


def test_a_target_namespace_is_called_one(configured: Any) -> None:
    config = configured({"receiver": "root", "routes": [{"namespaces": ["payments-*"], "receiver": "team"}]})

    routed = route({}, {"owner_namespace": "payments-prod", "plan_namespace": "openshift-mtv"}, config)

    assert routed.targets[0].reasons[0].text == "target namespace payments-prod matches payments-*"


def test_the_root_says_that_nothing_below_matched(configured: Any) -> None:
    config = configured({"receiver": "root", "routes": [{"matchers": ['a="1"'], "receiver": "one"}]})

    routed = route({}, {}, config)

    assert routed.targets[0].reasons[0].text == "root route: nothing below matched"
    assert verdicts(routed)["route"] == (True, "root route: nothing below matched")


# --- time intervals ---


def test_one_route_that_lets_it_through_is_enough(configured: Any) -> None:
    nights = {"name": "nights", "time_intervals": [{"times": [{"start_time": "20:00", "end_time": "24:00"}]}]}
    days = {"name": "days", "time_intervals": [{"times": [{"start_time": "08:00", "end_time": "18:00"}]}]}
    config = configured({"receiver": "root"}, time_intervals=[nights, days])
    noon, night = datetime(2026, 11, 21, 12, tzinfo=UTC), datetime(2026, 11, 21, 22, tzinfo=UTC)
    quiet_at_night, day_only = Intervals(mute=("nights",)), Intervals(active=("days",))

    assert allowed((), config, night)
    assert allowed((quiet_at_night,), config, noon)
    assert not allowed((quiet_at_night,), config, night)
    assert not allowed((day_only,), config, night)
    assert not allowed((quiet_at_night, day_only), config, night)
    assert allowed((quiet_at_night, Intervals()), config, night)
    assert not allowed((Intervals(mute=("days",), active=("days",)),), config, noon)


# --- against Alertmanager itself ---

LABELS = {"a": ["", "1", "2"], "b": ["", "1", "x y"], "severity": ["warning", "critical"]}
MATCHERS = [
    *('a="1"', 'a!="1"', 'a=""', 'a=~"1|2"', 'a!~"2"', 'b="x y"', 'b=~".+"', 'b!~".*"'),
    *('severity="critical"', 'severity=~"crit.*|info"', 'missing=""', 'missing=~"x?"', 'missing!=""'),
]
TREES = 12
ALERTS_PER_TREE = 6


def random_tree(rng: random.Random, depth: int, names: list[str]) -> dict[str, Any]:
    """Return a route with children; every one has a receiver of its own, so that answers tell routes apart."""
    node: dict[str, Any] = {}
    if rng.random() < 0.8:
        names.append(f"r{len(names)}")
        node["receiver"] = names[-1]
    if rng.random() < 0.9:
        node["matchers"] = rng.sample(MATCHERS, rng.choice([1, 1, 2]))
    if rng.random() < 0.4:
        node["continue"] = True
    if depth > 0:
        node["routes"] = [random_tree(rng, depth - 1, names) for _ in range(rng.randint(0, 3))]
    return node


@pytest.mark.parametrize("seed", range(TREES))
def test_random_trees_reach_the_receivers_that_amtool_says(configured: Any, tmp_path: Path, seed: int) -> None:
    amtool = need("amtool", "prometheus-alertmanager")
    rng = random.Random(seed)
    names = ["root"]
    tree = {"receiver": "root", "routes": [random_tree(rng, 2, names) for _ in range(4)]}
    theirs = tmp_path / "alertmanager.yml"
    theirs.write_text(yaml.safe_dump({"route": tree, "receivers": [{"name": name} for name in names]}))
    config = configured(tree)
    for _ in range(ALERTS_PER_TREE):
        labels = {name: value for name, choices in LABELS.items() if (value := rng.choice(choices))}
        command = [amtool, "config", "routes", "test", f"--config.file={theirs}"]
        answer = subprocess.run(
            [*command, *(f"{name}={json.dumps(value)}" for name, value in labels.items())],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        # amtool names a receiver once per route that reached it; here each is told once.
        expected = list(dict.fromkeys(answer.stdout.strip().split(",")))
        assert receivers(route(labels, {}, config)) == expected, (labels, tree)
