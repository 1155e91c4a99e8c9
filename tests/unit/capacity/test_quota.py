"""Quotas and limits of the target namespace."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.capacity import Container, Disk, Part, Proof, QuotaFacts, Scope, Unread, Vector, VmNeed
from receiver.capacity.quota import judge_quota, peak_extra

NAMESPACE: dict[str, Any] = {"metadata": {"name": "payments"}}


def _vm(
    name: str = "vm", cpu: int = 1000, memory: int = 100, limits: dict[str, int] | None = None, **more: Any
) -> VmNeed:
    compute = Container("compute", Vector({"cpu": cpu, "memory": memory}), Vector(limits or {}))
    total = Vector({"cpu": cpu, "memory": memory, "pods": 1, "nvidia.com/gpu": 1, "ephemeral-storage": 7})
    return VmNeed(name, "payments", total, containers=(compute,), vcpus=4, guest_memory=90, **more)


def _quota(hard: dict[str, Any], used: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "kind": "ResourceQuota",
        "metadata": {"name": "q", "namespace": "payments"},
        "spec": spec,
        "status": {"hard": hard, "used": used or {}},
    }


def _judge(
    *quotas: dict[str, Any], vms: list[VmNeed] | None = None, disks: list[Disk] | None = None, **facts: Any
) -> Part:
    given: dict[str, Any] = {"quotas": list(quotas), "namespace": NAMESPACE} | facts
    return judge_quota([_vm()] if vms is None else vms, disks or [], QuotaFacts("payments", **given))


DISKS = [Disk("vm", "a", 100, "fast", "Block", prime=True), Disk("vm", "b", 50, "slow", "Block")]


@pytest.mark.parametrize(
    ("key", "need"),
    [
        ("requests.cpu", 1000),
        ("cpu", 1000),
        ("requests.memory", 100),
        ("memory", 100),
        ("limits.memory", 200),  # KubeVirt doubles the request by itself
        ("limits.cpu", 4000),
        ("pods", 1),
        ("count/pods", 1),
        ("requests.nvidia.com/gpu", 1),
        ("requests.ephemeral-storage", 7),
        ("requests.storage", 150),
        ("persistentvolumeclaims", 2),
        ("count/persistentvolumeclaims", 2),
        ("fast.storageclass.storage.k8s.io/requests.storage", 100),
        ("slow.storageclass.storage.k8s.io/persistentvolumeclaims", 1),
        ("count/virtualmachines.kubevirt.io", 1),
        ("count/datavolumes.cdi.kubevirt.io", 1),
    ],
)
def test_keys(key: str, need: int) -> None:
    suffix = "m" if key.endswith("cpu") else ""
    extra = peak_extra(DISKS, 20).get(key, 0)

    exactly = _judge(_quota({key: f"{need + extra + 3}{suffix}"}, {key: f"3{suffix}"}), disks=DISKS)
    assert (exactly.verdict, exactly.lines[0].need, exactly.lines[0].free) == ("fits", need, need + extra)

    short = _judge(_quota({key: f"{need + 2}{suffix}"}, {key: f"3{suffix}"}), disks=DISKS)
    [shortage] = short.shortages
    assert (shortage.resource, shortage.owner, shortage.missing) == (key, "payments/q", 1)
    assert (shortage.scope, shortage.proof) == (Scope.QUOTA, Proof.SUM)


def test_what_the_plan_does_not_ask_is_not_judged() -> None:
    assert (
        _judge(_quota({"services.loadbalancers": "0", "count/secrets": "0", "requests.amd.com/gpu": "0"})).lines == ()
    )


def test_quota_that_is_overdrawn_already_has_nothing_left() -> None:
    [shortage] = _judge(_quota({"pods": "1"}, {"pods": "5"})).shortages
    assert (shortage.have, shortage.missing) == (0, 1)


def test_peak_only_makes_it_risky_and_counts_the_importers_pods() -> None:
    part = _judge(_quota({"persistentvolumeclaims": "2", "pods": "1", "requests.storage": "250"}), disks=DISKS)
    assert part.verdict == "at_risk"
    assert {(each.resource, each.need, each.peak, each.have) for each in part.risks} == {
        ("persistentvolumeclaims", 2, 3, 2),
        ("pods", 1, 2, 1),
    }


def test_peak_counts_no_more_vms_than_move_at_a_time() -> None:
    disks = [Disk(f"vm{at}", "d", at, "fast", "Block", prime=True) for at in range(1, 6)]
    assert peak_extra(disks, 2)["requests.storage"] == 5 + 4
    assert peak_extra(disks, 2)["persistentvolumeclaims"] == 2
    assert peak_extra(disks, 20)["requests.storage"] == 15


@pytest.mark.parametrize(
    ("spec", "priority", "counted"),
    [
        ({}, "", True),
        ({"scopes": ["NotBestEffort"]}, "", True),
        ({"scopes": ["NotTerminating", "NotBestEffort"]}, "", True),
        ({"scopes": ["BestEffort"]}, "", False),
        ({"scopes": ["Terminating"]}, "", False),
        ({"scopeSelector": [("PriorityClass", "In", ["high"])]}, "high", True),
        ({"scopeSelector": [("PriorityClass", "In", ["high"])]}, "", False),
        ({"scopeSelector": [("PriorityClass", "NotIn", ["high"])]}, "low", True),
        ({"scopeSelector": [("PriorityClass", "Exists", [])]}, "low", True),
        ({"scopeSelector": [("PriorityClass", "Exists", [])]}, "", False),
        ({"scopeSelector": [("PriorityClass", "DoesNotExist", [])]}, "", True),
        ({"scopeSelector": [("CrossNamespacePodAffinity", "Exists", [])]}, "", False),
    ],
)
def test_scopes(spec: dict[str, Any], priority: str, counted: bool) -> None:
    if "scopeSelector" in spec:
        names = ("scopeName", "operator", "values")
        spec = {
            "scopeSelector": {
                "matchExpressions": [dict(zip(names, each, strict=True)) for each in spec["scopeSelector"]]
            }
        }
    part = _judge(_quota({"pods": "0"}, **spec), vms=[_vm(priority_class=priority)])
    assert bool(part.shortages) == counted


def test_quota_with_scopes_counts_no_volumes() -> None:
    quota = _quota({"requests.storage": "0", "pods": "9"}, scopes=["NotBestEffort"])
    assert [line.resource for line in _judge(quota, disks=DISKS).lines] == ["pods"]


@pytest.mark.parametrize(
    ("labels", "limits", "need"),
    [
        ({}, None, 200),
        ({"alpha.kubevirt.io/auto-memory-limits-ratio": "1.5"}, None, 150),
        ({"alpha.kubevirt.io/auto-memory-limits-ratio": "x"}, None, 200),
        ({}, {"memory": 120}, 120),  # the VM says its own
    ],
)
def test_memory_limits(labels: dict[str, str], limits: dict[str, int] | None, need: int) -> None:
    namespace = {"metadata": {"labels": labels}}
    part = _judge(_quota({"limits.memory": "1Gi"}), vms=[_vm(limits=limits)], namespace=namespace)
    assert part.lines[0].need == need


@pytest.mark.parametrize(
    "status", [None, {}, {"hard": 5}, {"hard": {"pods": "x"}}, {"hard": {"pods": "5"}, "used": {"pods": "?"}}]
)
def test_quota_that_cannot_be_read_is_unknown(status: object) -> None:
    part = _judge({"metadata": {"name": "q"}, "status": status})
    assert not part.shortages
    assert [each.subject for each in part.unknown] == ["q"]


def test_unread_and_missing_namespace() -> None:
    unread = Unread("quotas", "403", "list resourcequotas")
    part = _judge(quotas=unread, limit_ranges=unread, cluster_quotas=unread, aaq=unread)
    assert part.verdict == "unknown"
    assert {each.right for each in part.unknown} == {"list resourcequotas"}

    assert _judge(cluster_quotas=unread).verdict == "unknown"  # one list is enough
    assert _judge(_quota({"pods": "0"}), cluster_quotas=unread).verdict == "short"

    missing = _judge(namespace=None)
    assert missing.verdict == "fits"
    assert "does not exist yet" in missing.notes[0]


def test_unknown_need_is_never_said_to_fit_a_quota() -> None:
    ghost = VmNeed("ghost", why="?")
    assert _judge(_quota({"pods": "99"}), vms=[_vm(), ghost]).verdict == "unknown"
    assert _judge(_quota({"pods": "0"}), vms=[_vm(), ghost]).verdict == "short"
    assert _judge(vms=[_vm(), ghost]).verdict == "fits"  # there is no quota


# --- cluster-wide, and AAQ ------------------------------------------------------------------------------------------


def _cluster_quota(kind: str, hard: dict[str, str], *namespaces: str) -> dict[str, Any]:
    status = {"total": {"hard": hard, "used": {}}, "namespaces": [{"namespace": name} for name in namespaces]}
    return {"kind": kind, "metadata": {"name": "team", "namespace": "payments"}, "status": status}


def test_cluster_quota_counts_if_it_names_the_namespace() -> None:
    mine = _cluster_quota("ClusterResourceQuota", {"pods": "0"}, "payments", "shop")
    theirs = _cluster_quota("ClusterResourceQuota", {"pods": "0"}, "shop")
    applied = _cluster_quota("AppliedClusterResourceQuota", {"pods": "0"})
    assert [each.owner for each in _judge(cluster_quotas=[mine]).shortages] == ["team"]
    assert not _judge(cluster_quotas=[theirs]).shortages
    # Both views of one quota are one quota.
    assert [each.owner for each in _judge(cluster_quotas=[mine, applied]).shortages] == ["team"]


@pytest.mark.parametrize(
    ("calculator", "counted"),
    [
        ("DedicatedVirtualResources", {"requests.cpu/vmi": 4000, "cpu/vmi": 4000, "requests.memory/vmi": 90,
                                       "memory/vmi": 90, "requests.instances/vmi": 1, "instances/vmi": 1}),
        ("VirtualResources", {"requests.cpu": 4000, "requests.memory": 90, "pods": 1}),
        ("VmiPodUsage", {"requests.cpu": 1000, "requests.memory": 100, "pods": 1}),
        ("IgnoreVmiCalculator", {}),
    ],
)  # fmt: skip
def test_aaq_counts_vms_its_own_way(calculator: str, counted: dict[str, int]) -> None:
    keys = ["requests.cpu", "requests.memory", "pods"]
    keys += [f"{prefix}{key}/vmi" for prefix in ("", "requests.") for key in ("cpu", "memory", "instances")]
    quota = {**_quota(dict.fromkeys(keys, "1Ti")), "kind": "ApplicationAwareResourceQuota"}
    part = _judge(aaq=[quota], aaq_calculator=calculator)
    assert {line.resource: line.need for line in part.lines} == counted


# --- LimitRange -----------------------------------------------------------------------------------------------------


def _range(kind: str, **bounds: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": "l", "namespace": "payments"}, "spec": {"limits": [{"type": kind, **bounds}]}}


@pytest.mark.parametrize(
    ("limit", "verdict", "resource"),
    [
        (_range("Container", max={"memory": "100"}), "fits", None),
        (_range("Container", max={"memory": "99"}), "short", "memory"),
        (_range("Container", max={"cpu": "1"}), "fits", None),
        (_range("Container", max={"cpu": "999m"}), "short", "cpu"),
        (_range("Container", min={"memory": "101"}), "short", "memory"),
        (_range("Pod", max={"memory": "99"}), "short", "memory"),
        (_range("Pod", max={"memory": "100"}), "fits", None),
        (_range("Container", default={"memory": "99"}), "at_risk", "memory"),
        (_range("Container", default={"memory": "100"}), "fits", None),
        (_range("PersistentVolumeClaim", max={"storage": "99"}), "short", "storage"),
        (_range("PersistentVolumeClaim", max={"storage": "100"}), "fits", None),
        (_range("PersistentVolumeClaim", min={"storage": "51"}), "short", "storage"),
        (_range("Something", max={"memory": "1"}), "fits", None),
    ],
)
def test_limit_ranges_judge_each_object(limit: dict[str, Any], verdict: str, resource: str | None) -> None:
    part = _judge(disks=DISKS, limit_ranges=[limit])
    assert part.verdict == verdict
    findings = [*part.shortages, *part.risks]
    assert [each.resource for each in findings] == ([resource] if resource else [])
    assert all((each.scope, each.owner, each.proof) == (Scope.LIMIT, "payments/l", Proof.ONE) for each in findings)


def test_limit_far_above_the_request_is_risky() -> None:
    limit = _range("Container", maxLimitRequestRatio={"memory": "2"})
    assert _judge(vms=[_vm(limits={"memory": 200})], limit_ranges=[limit]).verdict == "fits"
    assert _judge(vms=[_vm(limits={"memory": 201})], limit_ranges=[limit]).verdict == "at_risk"
