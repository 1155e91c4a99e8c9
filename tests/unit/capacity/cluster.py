"""The example plan and clusters, read as the service would read them."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import yaml

from receiver.capacity import (
    Answer,
    Disk,
    Holes,
    NodeSums,
    Profile,
    Question,
    QuotaFacts,
    SourceVm,
    StorageFacts,
    VmNeed,
    check,
    flow_of,
    in_flight,
    kubevirt_disks,
    need_of,
    rules_of,
)

DATA = Path(__file__).parents[2] / "data" / "capacity"
PROFILE = Profile(version=(1, 9))
Object = dict[str, Any]


@functools.cache
def objects(name: str) -> dict[str, list[Object]]:
    """Objects of one file by kind."""
    found: dict[str, list[Object]] = {}
    for item in yaml.safe_load_all((DATA / name).read_text()):
        if item:
            found.setdefault(item["kind"], []).append(item)
    return found


@functools.cache
def expected() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DATA / "expected.json").read_text())
    return loaded


def plan() -> Object:
    return objects("01-cclm-plan.yaml")["Plan"][0]


def named(items: list[Object], name: str) -> Object | None:
    return next((item for item in items if item["metadata"]["name"] == name), None)


def source_vm(name: str, *without: str) -> SourceVm:
    """What is known of a source VM, without some of it: pods, vmi."""
    source = objects("00-source-vms.yaml")
    pods = [each for each in source["Pod"] if each["metadata"]["labels"]["vm.kubevirt.io/name"] == name]
    return SourceVm(
        name,
        "payments",
        () if "pods" in without else tuple(pods),
        None if "vmi" in without else named(source["VirtualMachineInstance"], name),
        named(source["VirtualMachine"], name),
        None,
        source["Node"][0],
    )


@functools.cache
def needs() -> tuple[VmNeed, ...]:
    return tuple(need_of(source_vm(vm["name"]), PROFILE) for vm in plan()["spec"]["vms"])


@functools.cache
def disks() -> tuple[Disk, ...]:
    source = objects("00-source-vms.yaml")
    rules = rules_of(objects("01-cclm-plan.yaml")["StorageMap"][0])
    return tuple(
        disk
        for vm in plan()["spec"]["vms"]
        for disk in kubevirt_disks(
            vm["name"],
            (named(source["VirtualMachineInstance"], vm["name"]) or {})["spec"],
            source["DataVolume"],
            source["PersistentVolumeClaim"],
            rules,
        )
    )


def holes(name: str) -> Holes:
    found = objects(name)
    sums = NodeSums(found["Node"])
    for pod in found.get("Pod", []):
        sums.add(pod)
    return sums.holes()


def question(name: str, cluster: str = "west") -> Question:
    found = objects(name)
    return Question(
        cluster,
        needs(),
        disks(),
        holes(name),
        StorageFacts(found.get("StorageClass", []), found.get("CSIDriver", []), found.get("CSIStorageCapacity", [])),
        QuotaFacts(
            "payments",
            named(found.get("Namespace", []), "payments"),
            found.get("ResourceQuota", []),
            found.get("LimitRange", []),
        ),
        in_flight=in_flight([flow_of(plan())], plan()),
    )


def answer(name: str, cluster: str = "west") -> Answer:
    return check(question(name, cluster))
