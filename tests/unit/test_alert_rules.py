"""The alerts about ourselves: each fires in its own case and in no other, has a runbook, asks for what we measure."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from receiver.metrics import Metrics
from tests.servers import need

ROOT = Path(__file__).parents[2]
RULE = yaml.safe_load((ROOT / "deploy/components/monitoring/prometheusrule.yaml").read_text())
RULES: dict[str, dict[str, Any]] = {rule["alert"]: rule for rule in RULE["spec"]["groups"][0]["rules"]}

NOW = "0+60x120"
"""A time that was set each minute: Prometheus' own clock begins at 0 here."""
ZERO, ONE = "0x120", "1x120"
ROUND = 'mtv_receiver_reconcile_last_success_timestamp_seconds{alertmanager="main",pod="holder"}'
HEALTHY = {
    "mtv_receiver_stories_open": "3x120",
    "mtv_receiver_store_written_timestamp_seconds": NOW,
    'mtv_receiver_webhooks_total{code="200"}': "0+50x120",
    'mtv_receiver_webhooks_total{code="503"}': "4x120",
    "mtv_receiver_inbox_oldest_seconds": "0 1 60 0 2 0x115",
    'mtv_receiver_delivery_oldest_seconds{kind="slack"}': "1 400 0x118",
    "mtv_receiver_destinations_parked": "0 1 1 0x117",
    'mtv_receiver_deliveries{kind="slack",state="dead"}': "7x120",
    'mtv_receiver_deliveries{kind="slack",state="delivered"}': "0+3x120",
    ROUND: NOW,
    'mtv_receiver_reconcile_last_success_timestamp_seconds{alertmanager="main",pod="other"}': ZERO,
    'mtv_receiver_silence_firing{alertname="MTVReceiverNoHeartbeat"}': ZERO,
    'mtv_receiver_silence_firing{alertname="MTVReceiverNoWebhook"}': ZERO,
    "mtv_receiver_config_last_reload_successful": "0 1x119",
    'mtv_receiver_cluster_synced{cluster="local"}': "0 0 0 1x117",
    'mtv_receiver_store_used_bytes{pod="holder"}': "1e9x120",
    'mtv_receiver_store_used_bytes{pod="other"}': ZERO,
    "mtv_receiver_store_max_bytes": "2e9x120",
    "mtv_receiver_inbox_poison_total": "1x120",
    'mtv_receiver_bugs_total{where="inbox"}': "2x120",
}


class Case(NamedTuple):
    """What is different from a healthy service, and which alert says so, with which labels."""

    alert: str
    series: Mapping[str, str | None]
    labels: Mapping[str, str] = {}
    minute: int = 100


CASES = (
    Case("MTVReceiverDown", dict.fromkeys(HEALTHY)),
    Case("MTVReceiverStoreNotWritable", {"mtv_receiver_store_written_timestamp_seconds": "0+60x20 1200x100"}),
    Case("MTVReceiverStoreNotWritable", {'mtv_receiver_webhooks_total{code="503"}': "0+1x120"}),
    Case("MTVReceiverInboxStuck", {"mtv_receiver_inbox_oldest_seconds": "0+60x120"}),
    Case(
        "MTVReceiverDeliveryFailing",
        {'mtv_receiver_delivery_oldest_seconds{kind="slack"}': "0+60x120"},
        {"kind": "slack"},
    ),
    Case("MTVReceiverDestinationParked", {"mtv_receiver_destinations_parked": ONE}),
    Case(
        "MTVReceiverDeadLetters",
        {'mtv_receiver_deliveries{kind="slack",state="dead"}': "7x80 8x40"},
        {"kind": "slack"},
    ),
    Case(
        "MTVReceiverReconcileBroken",
        {'mtv_receiver_reconcile_last_success_timestamp_seconds{alertmanager="main",pod="holder"}': "0+60x20 1200x100"},
        {"alertmanager": "main"},
    ),
    Case("MTVReceiverNoHeartbeat", {'mtv_receiver_silence_firing{alertname="MTVReceiverNoHeartbeat"}': ONE}),
    Case("MTVReceiverNoWebhook", {'mtv_receiver_silence_firing{alertname="MTVReceiverNoWebhook"}': ONE}),
    Case("MTVReceiverReloadFailed", {"mtv_receiver_config_last_reload_successful": "1x50 0x70"}),
    Case(
        "MTVReceiverClusterUnreadable",
        {'mtv_receiver_cluster_synced{cluster="local"}': "1x50 0x70"},
        {"cluster": "local"},
    ),
    Case("MTVReceiverStoreTooLarge", {'mtv_receiver_store_used_bytes{pod="holder"}': "3e9x120"}),
    Case("MTVReceiverCouldNotProcess", {"mtv_receiver_inbox_poison_total": "1x95 2x25"}),
    Case("MTVReceiverBugs", {'mtv_receiver_bugs_total{where="inbox"}': "2x95 3x25"}, {"where": "inbox"}),
)


def a_test(name: str, series: Mapping[str, str | None], minute: int, alerts: list[str]) -> dict[str, Any]:
    """Return a unit test as promtool reads it: exactly these alerts fire."""
    wanted = [{"labels": alert, "value": 1} for alert in alerts]
    fire = {"expr": 'ALERTS{alertstate="firing"}', "eval_time": f"{minute}m", "exp_samples": wanted}
    given = [{"series": one, "values": values} for one, values in {**HEALTHY, **series}.items() if values is not None]
    return {"name": name, "interval": "1m", "input_series": given, "promql_expr_test": [fire]}


def firing(alert: str, labels: Mapping[str, str]) -> str:
    every = {"alertname": alert, "alertstate": "firing", **RULES[alert]["labels"], **labels}
    return "ALERTS{" + ", ".join(f'{name}="{value}"' for name, value in every.items()) + "}"


def promtool(folder: Path, *tests: dict[str, Any]) -> tuple[int, str]:
    (folder / "rules.yaml").write_text(yaml.safe_dump(RULE["spec"]))
    file = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": list(tests)}
    (folder / "tests.yaml").write_text(yaml.safe_dump(file))
    command = [need("promtool", "prometheus"), "test", "rules", str(folder / "tests.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_promtool_takes_the_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(RULE["spec"]))
    command = [need("promtool", "prometheus"), "check", "rules", "--lint-fatal", str(tmp_path / "rules.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_every_alert_fires_in_its_case_and_none_while_all_is_well(tmp_path: Path) -> None:
    tests = [a_test("healthy", {}, minute, []) for minute in (2, 6, 15, 60, 100)]
    tests += [a_test(one.alert, one.series, one.minute, [firing(one.alert, one.labels)]) for one in CASES]
    code, said = promtool(tmp_path, *tests)
    assert code == 0, said


def test_the_tests_can_fail(tmp_path: Path) -> None:
    parked = {"mtv_receiver_destinations_parked": ONE}
    assert promtool(tmp_path, a_test("wrong", parked, 100, []))[0] != 0
    assert promtool(tmp_path, a_test("too early", parked, 4, [firing("MTVReceiverDestinationParked", {})]))[0] != 0


def test_every_alert_has_a_case() -> None:
    assert {one.alert for one in CASES} == set(RULES)


@pytest.mark.parametrize("name", sorted(RULES))
def test_an_alert_asks_for_metrics_and_labels_that_there_are(name: str) -> None:
    metrics = Metrics(["slack"], ["local"])
    metrics.reconciled_at.labels("main")
    known = {sample.name: sample.labels for family in metrics.registry.collect() for sample in family.samples}
    asked = re.findall(r"(mtv_receiver_\w+)(?:\{(\w+)=)?", RULES[name]["expr"])
    assert asked
    for metric, label in asked:
        assert metric in known
        assert not label or label in known[metric]
    for by in re.findall(r"by \((\w+)\)", RULES[name]["expr"]):
        assert all(by in known[metric] for metric, _ in asked)


@pytest.mark.parametrize("name", sorted(RULES))
def test_an_alert_says_what_it_means_and_has_a_runbook(name: str) -> None:
    rule = RULES[name]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"].endswith(f"/docs/runbooks/{name}.md")
    text = (ROOT / f"docs/runbooks/{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Meaning", "Impact", "Diagnosis", "Mitigation"]
    assert "```" in text
