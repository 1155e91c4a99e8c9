"""Alerts that are not of a Plan: which objects they name, what may be missing, and what is never done."""

from __future__ import annotations

import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from receiver.enrichers.autopilot import is_autopilots
from receiver.enrichers.looking import command
from receiver.enrichers.others import gather_other
from receiver.enrichers.redact import Redactor
from receiver.kube.api import Limits
from receiver.model import Evidence
from receiver.model.naming import Named, named_by
from tests.fakes.kubernetes import KubernetesApi, running
from tests.platform_alerts import CNV, HCO, NOW, SCENARIOS, Scenario, autopilot, event, hyperconverged, obj
from tests.unit.kube.helpers import cluster_for

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api() -> AsyncIterator[KubernetesApi]:
    async with running(KubernetesApi()) as server:
        yield server


async def look(
    api: KubernetesApi, scenario: Scenario, folder: Path, timeout_s: float = 10.0, **options: Any
) -> Evidence:
    for one in scenario.objects:
        await api.apply(one)
    for (namespace, pod, container, previous), text in scenario.logs.items():
        api.set_log(namespace, pod, container, text, previous=previous)
    cluster = cluster_for(api, folder, **options)
    try:
        return await gather_other(cluster, scenario.alert, redactor=Redactor(), now=NOW, timeout_s=timeout_s)
    finally:
        await cluster.aclose()


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ({"namespace": "a", "pod": "p"}, [Named("Pod", "a", "p")]),
        ({"namespace": "a", "pod": "p", "exported_namespace": "b", "exported_pod": "q"}, [Named("Pod", "b", "q")]),
        ({"namespace": "monitoring", "pod": "exporter-1", "exported_namespace": "payments"}, []),
        ({"namespace": "a", "pod": "p", "exported_namespace": "a"}, [Named("Pod", "a", "p")]),
        ({"namespace": "m", "pod": "ksm-1", "service": "ksm", "node": "n"}, [Named("Node", "m", "n")]),
        ({"namespace": "a", "pod": "p", "node": "n"}, [Named("Pod", "a", "p"), Named("Node", "a", "n")]),
        (
            {"namespace": "a", "persistentvolumeclaim": "c", "job": "kubelet"},
            [Named("PersistentVolumeClaim", "a", "c")],
        ),
        ({"namespace": "a", "job": "scrape", "job_name": "j"}, [Named("Job", "a", "j")]),
        ({"namespace": "a", "name": "vm1", "vm": "vm1"}, [Named("VirtualMachine", "a", "vm1")]),
        ({"namespace": "o", "exported_namespace": "b", "kind": "X", "name": "x"}, [Named("X", "b", "x")]),
        ({"namespace": "a", "deployment": "d"}, [Named("Deployment", "a", "d")]),
        ({"severity": "none"}, []),
    ],
)
def test_the_object_is_the_alerts_and_not_its_exporters(labels: dict[str, str], named: list[Named]) -> None:
    assert list(named_by(labels)) == named


@pytest.mark.parametrize("prefix", ["VirtPlatform", "VirtPlatformAutopilot"])
@pytest.mark.parametrize(
    "what",
    [
        "SyncFailed", "ThrashingDetected", "DependencyMissing", "TombstoneStuck", "RenderFailed",
        "LoggingStorageNotConfigured", "MachineConfigUpdateStaged",
    ],
)  # fmt: skip
def test_autopilots_alerts_are_known_by_old_and_new_names(prefix: str, what: str) -> None:
    assert is_autopilots({"alertname": prefix + what}) == what


def test_other_alerts_are_not_taken_for_autopilots() -> None:
    assert is_autopilots({"alertname": "VirtPlatformNodeNotReady"}) == ""


@pytest.mark.parametrize(
    ("verb", "resource", "said"),
    [
        ("get", "pods", "needs get pods in namespace payments-prod"),
        ("list", "events", "needs list events in namespace payments-prod"),
        ("get", "pods/log", "needs get pods/log in namespace payments-prod"),
    ],
)
async def test_each_missing_right_is_said_and_the_rest_is_shown(
    verb: str, resource: str, said: str, api: KubernetesApi, tmp_path: Path
) -> None:
    api.forbidden.add((verb, resource))
    found = await look(api, SCENARIOS["pod-crash-loop"](), tmp_path)
    assert said in [one.cure for one in found.missing]
    assert not found.complete
    assert found.objects or found.events


async def test_a_server_that_never_answers_costs_the_time_and_no_exception(api: KubernetesApi, tmp_path: Path) -> None:
    api.hang()
    found = await look(api, SCENARIOS["pod-crash-loop"](), tmp_path, timeout_s=0.3)
    api.release()
    assert [one.why for one in found.missing if one.passing] == ["timeout"]


async def test_what_was_learnt_before_the_time_was_over_stays(api: KubernetesApi, tmp_path: Path) -> None:
    scenario = SCENARIOS["pod-crash-loop"]()
    for one in scenario.objects:
        await api.apply(one)
    api.delay = 0.25
    found = await look(api, Scenario(scenario.labels), tmp_path, timeout_s=0.4)
    assert [one.kind for one in found.objects] == ["Pod"]
    assert "timeout" in [one.why for one in found.missing]


@pytest.mark.parametrize("name", SCENARIOS)
async def test_no_secret_is_asked_for_and_nothing_is_written(name: str, api: KubernetesApi, tmp_path: Path) -> None:
    await look(api, SCENARIOS[name](), tmp_path)
    assert api.asked
    assert not any("secret" in one.resource for one in api.asked)
    assert {one.verb for one in api.asked} <= {"get", "list"}
    assert len(api.asked) <= 10


async def test_a_secret_that_an_alert_names_is_not_read(api: KubernetesApi, tmp_path: Path) -> None:
    secret = obj("v1", "Secret", "db", "team", data={"password": "aHVudGVyMg=="})
    labels = {"alertname": "X", "kind": "Secret", "name": "db", "namespace": "team"}
    found = await look(api, Scenario(labels, {}, [secret]), tmp_path)
    assert found.objects == ()
    assert ("get", "secrets") not in api.calls


@pytest.mark.parametrize("name", ["a'; rm -rf /", "../../api/v1/secrets", "a b", "wéb💥", "x" * 300])
async def test_a_name_that_no_object_can_have_is_asked_for_nowhere(
    name: str, api: KubernetesApi, tmp_path: Path
) -> None:
    for labels in (
        {"alertname": "X", "namespace": "a", "pod": name},
        autopilot("VirtPlatformSyncFailed", kind="Plan", name=name),
    ):
        found = await look(api, Scenario(labels), tmp_path)
        assert all(name not in one.url for one in (*found.commands, *found.steps))
    assert not any(one.path.endswith(("secrets", "/log")) for one in api.asked)


async def test_a_kind_of_several_groups_is_read_where_autopilot_manages_it(api: KubernetesApi, tmp_path: Path) -> None:
    right = obj("metallb.io/v1beta1", "MetalLB", "metallb", "ns", status={"phase": "right"})
    wrong = obj("example.com/v1", "MetalLB", "metallb", "ns", status={"phase": "wrong"})
    labels = autopilot("VirtPlatformSyncFailed", kind="MetalLB", name="metallb", exported_namespace="ns")
    found = await look(api, Scenario(labels, {}, [wrong, right]), tmp_path)
    assert [one.state for one in found.objects] == ["right"]


async def test_a_kind_of_several_groups_that_nobody_prefers_is_said_not_guessed(
    api: KubernetesApi, tmp_path: Path
) -> None:
    both = [obj(f"{group}/v1", "Widget", "w", "ns") for group in ("a.example.com", "b.example.com")]
    labels = {"alertname": "X", "kind": "Widget", "name": "w", "namespace": "ns"}
    found = await look(api, Scenario(labels, {}, both), tmp_path)
    assert found.objects == ()
    assert "a.example.com" in found.findings[0]
    assert "b.example.com" in found.findings[0]


async def test_events_about_another_object_are_not_this_ones(api: KubernetesApi, tmp_path: Path) -> None:
    scenario = SCENARIOS["autopilot-thrashing"]()
    scenario.objects.append(event("HyperConverged", CNV, HCO, "ThrashingDetected", "Edit war on MetalLB/m/metallb"))
    found = await look(api, scenario, tmp_path)
    assert all("MetalLB" not in one.message for one in found.events)


async def test_a_dependency_that_came_meanwhile_is_said(api: KubernetesApi, tmp_path: Path) -> None:
    api.also_served = [("loki.grafana.com/v1", "LokiStack", "Namespaced")]
    found = await look(api, SCENARIOS["autopilot-dependency-missing"](), tmp_path)
    assert "is served by now" in found.findings[0]
    assert found.steps == ()


async def test_a_server_without_aggregated_discovery_is_said(api: KubernetesApi, tmp_path: Path) -> None:
    api.no_aggregated_discovery = True
    found = await look(api, SCENARIOS["autopilot-sync-failed"](), tmp_path)
    assert any("before 1.27" in one.why for one in found.missing)
    assert found.events


async def test_a_leftover_without_autopilots_label_is_left_to_its_owner(api: KubernetesApi, tmp_path: Path) -> None:
    rule = obj("monitoring.coreos.com/v1", "PrometheusRule", "old", "ns")
    labels = autopilot("VirtPlatformTombstoneStuck", kind="PrometheusRule", name="old", exported_namespace="ns")
    found = await look(api, Scenario(labels, {}, [rule, hyperconverged()]), tmp_path)
    assert "somebody else's" in found.findings[0]
    assert "oc delete prometheusrules.monitoring.coreos.com old -n ns" in [one.url for one in found.steps]


async def test_the_pause_is_lifted_last(api: KubernetesApi, tmp_path: Path) -> None:
    found = await look(api, SCENARIOS["autopilot-thrashing"](), tmp_path)
    assert found.steps[-1].url.endswith("platform.kubevirt.io/reconcile-paused-")
    assert "argocd-controller" in found.steps[0].text
    words = {word for one in (*found.steps, *found.commands) for word in shlex.split(one.url)}
    assert not any(
        word.startswith(("platform.kubevirt.io/force-reconcile", "platform.kubevirt.io/ignore=")) for word in words
    )


async def test_a_deployment_shows_its_pod_in_most_trouble_with_its_log(api: KubernetesApi, tmp_path: Path) -> None:
    scenario = SCENARIOS["pod-crash-loop"]()
    bad = scenario.objects[0]
    bad["metadata"]["labels"] = {"app": "billing"}
    good = obj(
        "v1", "Pod", "billing-ok", "payments-prod", metadata={"labels": {"app": "billing"}}, status={"phase": "Running"}
    )
    deployment = obj("apps/v1", "Deployment", "billing", "payments-prod",
                     spec={"replicas": 2, "selector": {"matchLabels": {"app": "billing"}}},
                     status={"readyReplicas": 1})  # fmt: skip
    labels = {"alertname": "KubeDeploymentReplicasMismatch", "namespace": "payments-prod", "deployment": "billing"}
    found = await look(api, Scenario(labels, {}, [*scenario.objects, good, deployment], scenario.logs), tmp_path)
    assert [(one.kind, one.state.split(",")[0]) for one in found.objects] == [
        ("Deployment", "1 of 2 ready"),
        ("Pod", "CrashLoopBackOff"),
    ]
    assert found.logs[0].previous
    assert [one.reason for one in found.events][:1] == ["BackOff"]


async def test_a_vm_that_does_not_run_is_said_to_be_off(api: KubernetesApi, tmp_path: Path) -> None:
    vm = obj("kubevirt.io/v1", "VirtualMachine", "erp", "erp-prod", status={"printableStatus": "ErrorUnschedulable"})
    labels = {"alertname": "VirtualMachineStuckInUnhealthyState", "namespace": "erp-prod", "vm": "erp", "name": "erp"}
    found = await look(api, Scenario(labels, {}, [vm]), tmp_path, limits=Limits(request_timeout=5.0))
    assert found.objects[0].state == "ErrorUnschedulable"
    assert "does not run now" in found.findings[0]


@pytest.mark.parametrize(
    ("namespace", "says"),
    [
        ("payments", "4 VMs run on it: pay-1, pay-2; 2 of other namespaces."),
        ("shop", "4 VMs run on it: shop-1; 3 of other namespaces."),
        ("empty", "4 VMs run on it, all of other namespaces."),
        ("", "4 VMs run on it: hr-1, pay-1, pay-2 and 1 more."),
    ],
)
async def test_what_runs_on_a_node_is_named_to_its_own_namespace_only(
    namespace: str, says: str, api: KubernetesApi, tmp_path: Path
) -> None:
    on = {"labels": {"kubevirt.io/nodeName": "worker-1"}}
    places = {"hr-1": "hr", "pay-1": "payments", "pay-2": "payments", "shop-1": "shop"}
    vms = [obj("kubevirt.io/v1", "VirtualMachineInstance", name, at, metadata=on) for name, at in places.items()]
    labels = {"alertname": "X", "node": "worker-1", **({"namespace": namespace} if namespace else {})}
    found = await look(api, Scenario(labels, {}, [obj("v1", "Node", "worker-1"), *vms]), tmp_path)
    assert found.findings == (says,)


def test_a_command_quotes_what_a_shell_would_read() -> None:
    assert shlex.split(command("oc", "get", "x", "a;b $(c)")) == ["oc", "get", "x", "a;b $(c)"]
    assert command("oc", "") == ""
    assert command("oc", "a\nb") == ""
