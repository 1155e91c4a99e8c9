"""Objects with anything anywhere: the engine answers, and never raises."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.capacity import (
    Disk,
    NodeSums,
    Question,
    QuotaFacts,
    SourceVm,
    StorageFacts,
    Unread,
    Verdict,
    VmNeed,
    candidates,
    check,
    decode_page,
    flow_of,
    foreign_disks,
    from_inventory,
    in_flight,
    inventory_disks,
    kubevirt_disks,
    need_of,
    profile_of,
    rank,
    rules_of,
)
from tests.unit.capacity.cluster import objects, question

JUNK: list[Any] = [
    None, True, False, 0, -1, 10**30, 1.5, float("nan"), float("inf"), "", "x", "-5", "1e999", "1Gi", "\ud800", [], {},
    [None], [[]], [{}], {"": None}, {"a": {"b": []}}, "0x10", "Ki", "9" * 5000,
]  # fmt: skip


def _spoil(value: Any, dice: random.Random, share: float) -> Any:
    """Replace some of a tree, at any depth, by junk."""
    if dice.random() < share:
        return copy.deepcopy(dice.choice(JUNK))
    if isinstance(value, dict):
        return {key: _spoil(item, dice, share) for key, item in value.items()}
    if isinstance(value, list):
        return [_spoil(item, dice, share) for item in value]
    return value


def _answer_of(spoilt: dict[str, list[Any]], source: dict[str, list[Any]], hub: dict[str, list[Any]]) -> None:
    profile = profile_of(source["Node"][0] if source["Node"] else None)
    rules = rules_of(hub["StorageMap"][0], spoilt["StorageClass"], spoilt["CSIDriver"], spoilt["LimitRange"])
    vms: list[VmNeed] = []
    disks: list[Disk] = []
    for at, vmi in enumerate(source["VirtualMachineInstance"]):
        vm = SourceVm(
            f"vm{at}", "payments", tuple(source["Pod"][at:]), vmi, source["VirtualMachine"][at], vmi, source["Node"][0]
        )
        vms += [
            need_of(vm, profile),
            need_of(replace(vm, pods=()), profile),
            need_of(replace(vm, pods=(), vmi=None), profile),
        ]
        spec = vmi.get("spec") if isinstance(vmi, dict) else {}
        spec = spec if isinstance(spec, dict) else {}
        disks += kubevirt_disks(vm.name, spec, source["DataVolume"], source["PersistentVolumeClaim"], rules)
    for provider in ("vsphere", "ovirt", "openstack", "hyperv", "ova", "nutanix", "nonsense"):
        vms.append(from_inventory(provider, spoilt["Node"][0], profile))
        disks += foreign_disks("x", inventory_disks(provider, spoilt["Pod"][0]), rules)
    sums = NodeSums(spoilt["Node"])
    for pod in spoilt["Pod"]:
        sums.add(pod)
    asked = Question(
        "west",
        vms,
        disks,
        sums.holes(),
        StorageFacts(spoilt["StorageClass"], spoilt["CSIDriver"], spoilt["CSIStorageCapacity"]),
        QuotaFacts(
            "payments",
            spoilt["Namespace"][0],
            spoilt["ResourceQuota"],
            spoilt["LimitRange"],
            spoilt["ResourceQuota"],
            spoilt["ResourceQuota"],
        ),
        in_flight=in_flight([flow_of(each) for each in hub["Plan"]], hub["Plan"][0]),
    )
    ranking = rank([check(asked)], candidates(hub["Plan"], "east")[1])
    assert len(ranking.clusters) == 1


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.01, 0.05, 0.2]))
def test_spoilt_objects_never_raise(seed: int, share: float) -> None:
    dice = random.Random(seed)
    found = [
        {kind: [_spoil(item, dice, share) for item in items] for kind, items in objects(name).items()}
        for name in ("s4-quota-short-west.yaml", "00-source-vms.yaml", "01-cclm-plan.yaml")
    ]
    found[0].setdefault("Namespace", [None])
    _answer_of(*found)


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: repr(junk)[:20])
def test_junk_in_place_of_every_object(junk: Any) -> None:
    found = [
        {kind: [junk for _ in items] for kind, items in objects(name).items()}
        for name in ("s4-quota-short-west.yaml", "00-source-vms.yaml", "01-cclm-plan.yaml")
    ]
    found[0].setdefault("Namespace", [None])
    _answer_of(*found)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_page_with_spoilt_pods_is_read_pod_by_pod(seed: int) -> None:
    dice = random.Random(seed)
    pods = [_spoil(pod, dice, 0.05) for pod in objects("s1-fits.yaml")["Pod"]]
    body = msgspec.json.encode({"metadata": {"continue": "next"}, "items": [_sendable(pod) for pod in pods]})
    page = decode_page(body)
    assert page.token == "next"
    assert len(page.pods) + page.unreadable == len(pods)
    sums = NodeSums(objects("s1-fits.yaml")["Node"])
    for pod in page.pods:
        sums.add(pod)
    assert sums.holes().holes


def _sendable(value: Any) -> Any:
    """JSON has no lone surrogates and no endless numbers."""
    if isinstance(value, dict):
        return {str(key): _sendable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_sendable(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return None if isinstance(value, float) or (isinstance(value, int) and abs(value) > 2**63) else value


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"nonsense", b'{"items": 1}', b"\xff\xfe", b'{"items": [{}'])
def test_answer_that_is_no_list_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(ValueError, match="list of pods"):
        decode_page(body)


def test_pod_that_cannot_be_read_makes_its_node_unknown_not_free() -> None:
    asked = question("s1-fits.yaml")
    pods = copy.deepcopy(objects("s1-fits.yaml")["Pod"])
    for pod in pods:
        if pod["spec"]["nodeName"] in ("west-w1", "west-w2"):
            pod["spec"]["containers"][0]["resources"]["requests"]["memory"] = {"not": "a quantity"}
    sums = NodeSums(objects("s1-fits.yaml")["Node"])
    for pod in pods:
        sums.add(pod)
    # Only w3 is known, with 34 GiB: too little for all, but the other two may have the room.
    got = check(replace(asked, nodes=sums.holes()))
    assert got.compute.part.verdict is Verdict.UNKNOWN
    assert not got.shortages
    assert "west-w1, west-w2" in got.unknown[0].why


def test_each_list_that_could_not_be_read_is_neither_fits_nor_short() -> None:
    asked = question("s4-quota-short-west.yaml")
    quota = replace(asked.quota, quotas=Unread("resourcequotas", "403", "list resourcequotas in payments"))
    got = check(replace(asked, quota=quota))
    assert not got.quota.shortages
    assert [each.right for each in got.unknown] == ["list resourcequotas in payments"]

    for name in ("classes", "drivers", "capacities"):
        unread = Unread(name, "timed out")
        storage = check(replace(asked, storage=replace(asked.storage, **{name: unread}))).storage
        assert storage.verdict is Verdict.UNKNOWN
        assert {each.subject for each in storage.unknown} == {"array-gold", "nfs-shared"}
        assert all("timed out" in each.why for each in storage.unknown)


def test_need_that_is_not_known_forbids_fits_but_not_short() -> None:
    asked = question("s1-fits.yaml")
    more = need_of(SourceVm("pay-ghost"), profile_of(None))
    got = check(replace(asked, vms=[*asked.vms, more]))
    assert got.compute.part.verdict is Verdict.UNKNOWN
    assert got.verdict is Verdict.UNKNOWN

    asked = question("s2-fragmented-memory.yaml")
    assert check(replace(asked, vms=[*asked.vms, more])).verdict is Verdict.SHORT
