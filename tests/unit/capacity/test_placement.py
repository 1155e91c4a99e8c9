"""Which nodes may take a receiver pod, and why not."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.capacity import NodeSums, placement_of
from receiver.capacity.placement import label_prefixes, refusal

SOURCE = {
    "metadata": {
        "name": "east-w1",
        "labels": {
            "host-model-cpu.node.kubevirt.io/Cascadelake-Server": "true",
            "host-model-required-features.node.kubevirt.io/vmx": "true",
            "cpu-vendor.node.kubevirt.io/Intel": "true",
        },
    }
}


def _node(name: str = "n", ready: str = "True", spec: dict[str, Any] | None = None, **labels: str) -> dict[str, Any]:
    written = {key.replace("__", "/").replace("_", "-").replace("~", "."): value for key, value in labels.items()}
    return {
        "metadata": {
            "name": name,
            "labels": {"kubevirt.io/schedulable": "true", "kubernetes.io/arch": "amd64", "zone": "a", "size": "5"}
            | written,
        },
        "spec": spec or {},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def _with(**labels: str) -> dict[str, Any]:
    node = _node()
    node["metadata"]["labels"] |= labels
    return node


def _affinity(*terms: dict[str, Any]) -> dict[str, Any]:
    return {
        "affinity": {
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
        }
    }


def _zone(operator: str, *values: str, key: str = "zone") -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


TAINT = {"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]}


@pytest.mark.parametrize(
    ("spec", "node", "reason"),
    [
        ({}, _node(), ""),
        ({}, _node(ready="False"), "not ready"),
        ({}, _node(ready="Unknown"), "not ready"),
        ({}, {"metadata": {"name": "n"}}, "not ready"),
        ({}, _node(spec={"unschedulable": True}), "cordoned"),
        ({"tolerations": [{"operator": "Exists"}]}, _node(spec={"unschedulable": True}), ""),
        ({}, _with(**{"kubevirt.io/schedulable": "false"}), "not schedulable for KubeVirt"),
        ({"architecture": "arm64"}, _node(), "architecture is not arm64"),
        ({"nodeSelector": {"zone": "a"}}, _node(), ""),
        ({"nodeSelector": {"zone": "b"}}, _node(), "label zone=b is missing"),
        # Taints.
        ({}, _node(spec=TAINT), "untolerated taint gpu=yes"),
        ({}, _node(spec={"taints": [{"key": "gpu", "effect": "PreferNoSchedule"}]}), ""),
        ({}, _node(spec={"taints": [{"key": "gpu", "effect": "NoExecute"}]}), "untolerated taint gpu"),
        (
            {"tolerations": [{"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}]},
            _node(spec=TAINT),
            "",
        ),
        ({"tolerations": [{"key": "gpu", "value": "yes"}]}, _node(spec=TAINT), ""),
        ({"tolerations": [{"key": "gpu", "value": "no"}]}, _node(spec=TAINT), "untolerated taint gpu=yes"),
        (
            {"tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoExecute"}]},
            _node(spec=TAINT),
            "untolerated taint gpu=yes",
        ),
        ({"tolerations": [{"operator": "Exists"}]}, _node(spec=TAINT), ""),
        # Node affinity: terms are alternatives, what is in a term must all hold, an empty one holds for no node.
        (_affinity(_zone("In", "a", "b")), _node(), ""),
        (_affinity(_zone("In", "b")), _node(), "does not match the VM's node affinity"),
        (_affinity(_zone("In", "b"), _zone("Exists")), _node(), ""),
        (_affinity(_zone("NotIn", "a")), _node(), "does not match the VM's node affinity"),
        (_affinity(_zone("NotIn", "x", key="other")), _node(), ""),
        (_affinity(_zone("DoesNotExist", key="other")), _node(), ""),
        (_affinity(_zone("Gt", "4", key="size")), _node(), ""),
        (_affinity(_zone("Gt", "5", key="size")), _node(), "does not match the VM's node affinity"),
        (_affinity(_zone("Lt", "6", key="size")), _node(), ""),
        (_affinity(_zone("Lt", "x", key="size")), _node(), "does not match the VM's node affinity"),
        (_affinity({}), _node(), "does not match the VM's node affinity"),
        (_affinity(), _node(), "does not match the VM's node affinity"),
        (_affinity({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}), _node(), ""),
        (
            _affinity({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["m"]}]}),
            _node(),
            "does not match the VM's node affinity",
        ),
        # CPU.
        ({"domain": {"cpu": {"model": "Skylake"}}}, _node(), "CPU model Skylake is not supported"),
        ({"domain": {"cpu": {"model": "Skylake"}}}, _with(**{"cpu-model.node.kubevirt.io/Skylake": "true"}), ""),
        (
            {"domain": {"cpu": {"features": [{"name": "aes", "policy": "require"}]}}},
            _node(),
            "CPU feature aes is missing",
        ),
        ({"domain": {"cpu": {"features": [{"name": "aes", "policy": "optional"}]}}}, _node(), ""),
        ({"domain": {"cpu": {"dedicatedCpuPlacement": True}}}, _node(), "no dedicated CPUs (CPU manager is off)"),
        ({"domain": {"cpu": {"dedicatedCpuPlacement": True}}}, _with(cpumanager="true"), ""),
    ],
)
def test_rules_of_the_vm(spec: dict[str, Any], node: dict[str, Any], reason: str) -> None:
    assert refusal(node, placement_of(spec, live=False)) == reason


MODEL = "cpu-model-migration.node.kubevirt.io/Cascadelake-Server"
FEATURE = "cpu-feature.node.kubevirt.io/vmx"


@pytest.mark.parametrize(
    ("model", "labels", "reason"),
    [
        (None, {}, "CPU feature vmx is missing"),
        (None, {FEATURE: "true"}, "CPU model Cascadelake-Server is not supported"),
        (None, {FEATURE: "true", MODEL: "true"}, ""),
        ("host-model", {FEATURE: "true", MODEL: "true"}, ""),
        ("host-passthrough", {}, "CPU of another vendor"),
        ("host-passthrough", {"cpu-vendor.node.kubevirt.io/AMD": "true"}, "CPU of another vendor"),
        ("host-passthrough", {"cpu-vendor.node.kubevirt.io/Intel": "true"}, ""),
    ],
)
def test_live_migration_needs_the_cpu_of_the_source(model: str | None, labels: dict[str, str], reason: str) -> None:
    spec = {"domain": {"cpu": {"model": model}}}
    assert refusal(_with(**labels), placement_of(spec, SOURCE)) == reason
    # A cold one starts afresh.
    assert refusal(_with(**labels), placement_of(spec, SOURCE, live=False)) == ""


def test_other_machine_with_the_host_name_of_the_source_is_left_out() -> None:
    labels = {FEATURE: "true", MODEL: "true"}
    rules = placement_of({}, SOURCE)
    assert (
        refusal(_with(**labels, **{"kubernetes.io/hostname": "east-w1"}), rules)
        == "has the host name of the source node"
    )
    assert refusal(_with(**labels, **{"kubernetes.io/hostname": "west-w1"}), rules) == ""


def test_source_node_that_cannot_be_read_is_said_and_excludes_nothing() -> None:
    rules = placement_of({}, None)
    assert refusal(_node(), rules) == ""
    assert rules.unchecked == ("CPU of the source node, which could not be read",)


def test_machine_type_counts_only_where_nodes_tell_theirs() -> None:
    rules = placement_of({"domain": {"machine": {"type": "pc-q35-rhel9.6.0"}}}, live=False)
    old, new = _node("old"), _with(**{"machine-type.node.kubevirt.io/pc-q35-rhel9.4.0": "true"})
    assert refusal(old, rules, label_prefixes((old,))) == ""
    assert refusal(old, rules, label_prefixes((old, new))) == "machine type pc-q35-rhel9.6.0 is not supported"


def test_rules_that_are_not_modelled_are_said() -> None:
    rule = {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}
    spec = {
        "affinity": {"podAntiAffinity": rule, "podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{}]}},
        "topologySpreadConstraints": [{"whenUnsatisfiable": "ScheduleAnyway"}],
    }
    assert placement_of(spec, live=False).unchecked == ("pod anti-affinity of the VM",)


def test_reasons_are_counted() -> None:
    nodes = [_node("a"), _node("b", ready="False"), _node("c", ready="False"), _node("d", spec={"unschedulable": True})]
    for node in nodes:
        node["status"]["allocatable"] = {"cpu": "1", "memory": "1Gi", "pods": "1"}
    eligible = NodeSums(nodes).holes().eligible(placement_of({}, live=False))
    assert eligible.nodes == ("a",)
    assert eligible.reasons() == (("not ready", 2), ("cordoned", 1))
