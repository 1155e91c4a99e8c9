"""Effective requests of a pod, and decoding pages of pods."""

from __future__ import annotations

import json
from typing import Any

import pytest

from receiver.capacity import NodeSums, Vector, decode_page, effective_requests


def _container(cpu: str | None = None, memory: str | None = None, name: str = "c", **more: Any) -> dict[str, Any]:
    requests = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    return {"name": name, "resources": {"requests": requests}, **more}


def _sidecar(cpu: str, memory: str, name: str = "s") -> dict[str, Any]:
    return _container(cpu, memory, name, restartPolicy="Always")


def _resized(spec: str, actual: str, allocated: str, **status: Any) -> dict[str, Any]:
    state = {"name": "c", "resources": {"requests": {"memory": actual}}, "allocatedResources": {"memory": allocated}}
    return {"spec": {"containers": [_container("1", spec)]}, "status": {"containerStatuses": [state], **status}}


@pytest.mark.parametrize(
    ("spec", "cpu", "memory"),
    [
        ({"containers": [_container("1", "10"), _container("500m", "5")]}, 1500, 15),
        ({"containers": [_container()]}, 0, 0),
        ({}, 0, 0),
        # An init container is only the floor, each resource by itself.
        ({"containers": [_container("1", "10")], "initContainers": [_container("100m", "30")]}, 1000, 30),
        # Init containers run one after the other.
        (
            {"containers": [_container("1", "10")], "initContainers": [_container("3", "5"), _container("2", "8")]},
            3000,
            10,
        ),
        # A sidecar adds.
        ({"containers": [_container("1", "10")], "initContainers": [_sidecar("1", "2")]}, 2000, 12),
        # An init container runs beside the sidecars before it, not beside those after it.
        (
            {
                "containers": [_container("1", "1")],
                "initContainers": [_sidecar("1", "4"), _container("1", "10"), _sidecar("1", "2")],
            },
            3000,
            14,
        ),
        (
            {"containers": [_container("1", "1")], "initContainers": [_container("1", "10"), _sidecar("1", "4")]},
            2000,
            10,
        ),
        # Pod level replaces, also downwards, and overhead comes on top of it.
        ({"containers": [_container("4", "10")], "resources": {"requests": {"cpu": "2", "memory": "30"}}}, 2000, 30),
        (
            {
                "containers": [_container("4", "10")],
                "resources": {"requests": {"memory": "8"}},
                "overhead": {"memory": "2", "cpu": "250m"},
            },
            4250,
            10,
        ),
    ],
)
def test_effective_requests(spec: dict[str, Any], cpu: int, memory: int) -> None:
    found, readable = effective_requests({"spec": spec})
    assert readable
    assert (found.amount("cpu"), found.amount("memory"), found["pods"]) == (cpu, memory, 1)

    body = json.dumps({"items": [{"spec": spec}]}).encode()
    assert effective_requests(decode_page(body).pods[0]) == (found, True)


def test_pod_level_replaces_only_what_it_may() -> None:
    container = {"resources": {"requests": {"nvidia.com/gpu": "1", "hugepages-2Mi": "4Mi", "ephemeral-storage": "5"}}}
    level = {"requests": {"nvidia.com/gpu": "9", "hugepages-2Mi": "8Mi", "ephemeral-storage": "9"}}
    found, _ = effective_requests({"spec": {"containers": [container], "resources": level}})
    assert found == {"nvidia.com/gpu": 1, "hugepages-2Mi": 8 * 1024**2, "ephemeral-storage": 5, "pods": 1}


@pytest.mark.parametrize(
    ("pod", "memory"),
    [
        (_resized("10", "10", "10"), 10),
        (_resized("20", "10", "10"), 20),  # asked for, not granted yet
        (_resized("10", "20", "15"), 20),  # granted, not taken back yet
        (_resized("10", "10", "30"), 30),
        (_resized("99", "10", "12", conditions=[{"type": "PodResizePending", "reason": "Infeasible"}]), 12),
        (_resized("99", "10", "12", conditions=[{"type": "PodResizePending", "reason": "Deferred"}]), 99),
    ],
)
def test_resize_under_way_counts_the_greatest(pod: dict[str, Any], memory: int) -> None:
    assert effective_requests(pod)[0]["memory"] == memory


@pytest.mark.parametrize(
    "requests", [{"memory": "lots"}, {"memory": None}, {"memory": -1}, {"memory": ["1"]}, "1Gi", [], 5]
)
def test_amount_that_cannot_be_read_is_told(requests: object) -> None:
    pod = {"spec": {"containers": [{"name": "c", "resources": {"requests": requests}}]}}
    assert effective_requests(pod)[1] is False
    body = json.dumps({"items": [pod]}).encode()
    assert effective_requests(decode_page(body).pods[0])[1] is False


def test_page_has_its_token_and_only_what_is_needed() -> None:
    pod = {
        "metadata": {"name": "p", "managedFields": [{"big": 1}]},
        "spec": {"nodeName": "n"},
        "status": {"phase": "Running"},
    }
    page = decode_page(json.dumps({"metadata": {"continue": "abc"}, "items": [pod]}).encode())
    assert page.token == "abc"
    assert (page.pods[0].metadata.name, page.pods[0].spec.node_name, page.pods[0].status.phase) == ("p", "n", "Running")
    assert decode_page(b'{"items": null, "metadata": {"continue": ""}}').token == ""


def test_one_spoilt_pod_does_not_cost_the_page() -> None:
    good = {"metadata": {"name": "good"}, "spec": {"containers": [_container("1", "7")]}}
    bad = {"metadata": {"name": 5}, "spec": {"containers": [_container("1", "9")], "initContainers": "none"}}
    page = decode_page(json.dumps({"items": [good, bad, 5]}).encode())
    assert [effective_requests(pod)[0]["memory"] for pod in page.pods] == [7, 9]
    assert page.unreadable == 1


def _node(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"allocatable": {"cpu": "10", "memory": "100", "pods": "5"}}}


@pytest.mark.parametrize(
    ("pod", "used"),
    [
        ({"status": {"phase": "Running"}}, 7),
        ({"status": {"phase": "Pending"}}, 7),
        ({"status": {}}, 7),
        ({"status": {"phase": "Running"}, "metadata": {"deletionTimestamp": "2026-09-01T08:00:00Z"}}, 7),
        ({"status": {"phase": "Succeeded"}}, 0),
        ({"status": {"phase": "Failed"}}, 0),
    ],
)
def test_which_pods_hold_room(pod: dict[str, Any], used: int) -> None:
    sums = NodeSums([_node("n")])
    sums.add({**pod, "spec": {"nodeName": "n", "containers": [_container("1", "7")]}})
    [hole] = sums.holes().holes
    assert hole.free["memory"] == 100 - used
    assert hole.free["pods"] == (4 if used else 5)


def test_pods_without_node_are_summed_apart() -> None:
    sums = NodeSums([_node("n")])
    for nominated in ({}, {"nominatedNodeName": "n"}):
        sums.add({"spec": {"containers": [_container("1", "7")]}, "status": {"phase": "Pending", **nominated}})
    holes = sums.holes()
    assert holes.holes[0].free["memory"] == 100
    assert (holes.competing.pods, holes.competing.requests) == (2, Vector({"cpu": 2000, "memory": 14}))


def test_pods_of_a_node_that_is_not_listed_are_no_error() -> None:
    sums = NodeSums([_node("n")])
    sums.add({"spec": {"nodeName": "gone", "containers": [_container("1", "7")]}})
    assert sums.holes().holes[0].free["memory"] == 100


@pytest.mark.parametrize("allocatable", [None, {}, {"cpu": "1"}, {"cpu": "1", "memory": "x", "pods": "1"}])
def test_node_whose_room_cannot_be_read_is_marked(allocatable: object) -> None:
    [hole] = NodeSums([{"metadata": {"name": "n"}, "status": {"allocatable": allocatable}}]).holes().holes
    assert hole.unreadable
