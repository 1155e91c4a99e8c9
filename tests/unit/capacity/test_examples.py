"""The worked examples: every figure of `expected.json`, exactly."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from receiver.capacity import Origin, Proof, Scope, Shortage, Unread, Vector, candidates, check, need_of, rank
from receiver.capacity.quota import peak_extra
from tests.unit.capacity.cluster import (
    PROFILE,
    answer,
    disks,
    expected,
    needs,
    objects,
    question,
    source_vm,
)

S1, S2, S3 = "s1-fits.yaml", "s2-fragmented-memory.yaml", "s3-storage-short.yaml"
WEST, SOUTH, NORTH = "s4-quota-short-west.yaml", "s4-alternative-south.yaml", "s4-alternative-north.yaml"


def _figures(vector: Vector | None) -> dict[str, int]:
    assert vector is not None
    return {"cpu_m": vector["cpu"], "memory_bytes": vector["memory"]}


def test_need_of_each_vm_comes_from_its_running_pod() -> None:
    assert {vm.name: _figures(vm.requests) for vm in needs()} == expected()["demand"]
    assert {vm.origin for vm in needs()} == {Origin.SOURCE_POD}
    total = sum((vm.requests for vm in needs() if vm.requests), Vector())
    assert _figures(total) == expected()["demand_total"]


def test_formula_gives_the_same_need_when_the_pod_cannot_be_read() -> None:
    computed = [need_of(source_vm(vm.name, "pods"), PROFILE) for vm in needs()]

    assert {vm.name: _figures(vm.requests) for vm in computed} == expected()["demand"]
    assert {vm.origin for vm in computed} == {Origin.VMI}
    pods = {vm.name: vm.requests for vm in needs()}
    assert {vm.name: vm.requests for vm in computed} == pods  # devices and ephemeral storage as well


def test_formula_gives_the_same_overhead_when_the_vmi_does_not_report_it() -> None:
    for name, figures in expected()["demand"].items():
        source = source_vm(name, "pods")
        assert source.vmi is not None
        vmi = {**source.vmi, "status": {}}
        need = need_of(type(source)(name, "payments", vmi=vmi, node=source.node), PROFILE)
        assert _figures(need.requests) == figures


def test_volumes_by_class_and_at_the_peak() -> None:
    sums: dict[str, dict[str, int]] = defaultdict(lambda: {"bytes": 0, "volumes": 0})
    for disk in disks():
        assert disk.size is not None
        assert not disk.why
        sums[disk.storage_class]["bytes"] += disk.size
        sums[disk.storage_class]["volumes"] += 1
    assert sums == expected()["demand_storage"]

    extra = peak_extra(disks(), 20)
    suffix = ".storageclass.storage.k8s.io/"
    assert {
        name: {
            "bytes": extra[f"{name}{suffix}requests.storage"],
            "volumes": extra[f"{name}{suffix}persistentvolumeclaims"],
        }
        for name in sums
    } == expected()["demand_storage_peak_extra"]


@pytest.mark.parametrize(("name", "cluster"), [(S1, "west"), (S2, "west"), (SOUTH, "south"), (NORTH, "north")])
def test_nodes_and_both_passes(name: str, cluster: str) -> None:
    want, got = expected()[name], answer(name, cluster).compute

    assert list(got.eligible["pay-db-01"].nodes) == want["eligible_nodes"]
    assert {node: _figures(free) for node, free in got.free.items()} == want["free"]
    for case, packed in (("best_case", got.best), ("likely_case", got.likely)):
        assert packed.where == want[case]["placed"]
        assert sorted(packed.not_placed) == sorted(want[case]["not_placed"])


def test_excluded_nodes_keep_their_reason() -> None:
    assert dict(answer(S1).compute.eligible["pay-db-01"].excluded) == {
        "west-cp1": "not schedulable for KubeVirt",
        "west-w4": "cordoned",
        "west-w5": "not ready",
    }


@pytest.mark.parametrize(
    ("name", "cluster"), [(S1, "west"), (S2, "west"), (S3, "west"), (WEST, "west"), (SOUTH, "south"), (NORTH, "north")]
)
def test_verdict_and_shortages(name: str, cluster: str) -> None:
    want, got = expected()[name], answer(name, cluster)

    assert got.verdict == want["verdict"]
    assert got.compute.part.verdict == want.get("compute_verdict", got.compute.part.verdict)
    assert [_as_expected(each, like) for each, like in zip(got.shortages, want.get("shortages", []), strict=True)] == (
        want.get("shortages", [])
    )
    assert all(each.certain for each in got.shortages)
    assert len(got.unknown) == len(want.get("unknown", []))


def _as_expected(shortage: Shortage, like: dict[str, Any]) -> dict[str, Any]:
    """Write a shortage with the keys that the example uses."""
    written = {
        "resource": shortage.resource,
        "scope": shortage.scope.value,
        "vm": shortage.vm,
        "need_bytes": shortage.need,
        "have_bytes": shortage.have,
        "missing_bytes": shortage.missing,
        "best_node": shortage.owner,
        "storage_class": shortage.owner,
        "quota": shortage.owner,
        "proof": shortage.proof.value,
        "why": shortage.why,
    }
    return {key: written[key] for key in like}


def test_total_free_memory_of_fragmented_nodes() -> None:
    line = next(each for each in answer(S2).lines if each.resource == "memory" and each.scope is Scope.CLUSTER)
    assert line.free == expected()[S2]["total_free_memory_bytes"]
    assert line.short_by == 0  # the sum would suffice: it is the wrong question


def test_class_without_capacity_is_unknown_with_its_need() -> None:
    [unknown] = answer(S3).unknown
    assert {
        "resource": unknown.resource,
        "storage_class": unknown.subject,
        "need_bytes": unknown.need,
        "why": unknown.why,
    } == expected()[S3]["unknown"][0]


def test_quota_peak_warns_and_what_holds_is_shown() -> None:
    want, got = expected()[WEST], answer(WEST)

    assert [
        {"resource": each.resource, "need": each.need, "peak": each.peak, "have": each.have} for each in got.quota.risks
    ] == sorted(
        (
            {
                "resource": each["resource"],
                "need": each.get("need", each.get("need_bytes")),
                "peak": each.get("peak", each.get("peak_bytes")),
                "have": each.get("have", each.get("have_bytes")),
            }
            for each in want["warnings"]
        ),
        key=lambda each: each["resource"],
    )
    assert {each.proof for each in got.quota.risks} == {Proof.PEAK}
    lines = {each.resource: each for each in got.quota.lines}
    storage, cpu = want["holds_even_at_peak"]
    assert (lines["requests.storage"].peak, lines["requests.storage"].free) == (
        storage["peak_bytes"],
        storage["have_bytes"],
    )
    assert (lines["requests.cpu"].need, lines["requests.cpu"].free) == (cpu["need_m"], cpu["have_m"])


def test_what_remains_after_the_plan() -> None:
    remaining = answer(SOUTH, "south").remaining
    assert {f"{key}_percent": round(remaining[key], 1) for key in ("memory", "cpu")} == (
        expected()[SOUTH]["remaining_after"]
    )


def test_namespace_that_does_not_exist_is_said() -> None:
    assert any("does not exist yet" in note for note in answer(SOUTH, "south").notes)
    assert not any("does not exist yet" in note for note in answer(WEST).notes)


def test_ranking_of_clusters() -> None:
    good, left_out = candidates(objects("managedclusters.yaml")["ManagedCluster"], "east")
    assert good == ("north", "south", "west")
    assert dict(left_out) == expected()["ranking_left_out"]

    files = {"west": WEST, "south": SOUTH, "north": NORTH}
    ranking = rank([answer(files[name], name) for name in good], left_out)

    assert [{"cluster": each.cluster, "verdict": each.verdict.value} for each in ranking.clusters] == (
        expected()["ranking_for_s4"]
    )
    assert not ranking.none_fits
    assert all(each.reason for each in ranking.clusters)


def test_if_none_fits_the_smallest_shortage_comes_first() -> None:
    ranking = rank([answer(NORTH, "north"), answer(WEST), answer(S3, "a-third")])
    assert ranking.none_fits
    # 21 of 521 GiB, 17 of 57 GiB, and a class that is not there at all.
    assert [each.cluster for each in ranking.clusters] == ["a-third", "west", "north"]


def test_in_flight_is_a_fact_beside_the_verdict() -> None:
    fact = answer(S1).in_flight
    assert fact is not None
    assert (fact.limit, fact.moving, fact.waiting, fact.ahead, fact.full) == (20, 3, 0, 0, False)
    assert fact.plans == ("mtv-integrations/cross-cluster-migration-k7x2",)


def test_nodes_that_may_not_be_read_make_compute_unknown_and_name_the_right() -> None:
    from dataclasses import replace

    asked = replace(question(S1), nodes=Unread("pods", "403", "list pods in all namespaces"))
    got = check(asked)

    assert got.compute.part.verdict == "unknown"
    assert got.verdict == "unknown"
    assert not got.shortages
    assert {each.right for each in got.unknown} == {"list pods in all namespaces"}
