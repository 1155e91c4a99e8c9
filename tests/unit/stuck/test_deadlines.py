"""When KubeVirt gives up a receiver pod."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.stuck.pods import deadline_of, pod_request
from tests.unit.stuck.build import at, migration, pod

UNSCHEDULABLE, PENDING = (f"kubevirt.io/migration{kind}PodTimeoutSeconds" for kind in ("Unschedulable", "Pending"))


def job(**annotations: str) -> dict[str, Any]:
    return migration(
        meta={"annotations": {{"u": UNSCHEDULABLE, "p": PENDING}[key]: it for key, it in annotations.items()}}
    )


@pytest.mark.parametrize(
    ("annotations", "unschedulable", "seconds"),
    [
        ({}, True, 300),
        ({}, False, 900),
        ({"u": "60"}, True, 60),
        ({"u": "60"}, False, 900),
        ({"p": "120"}, False, 120),
        ({"p": "120"}, True, 120),  # whatever keeps it pending
        ({"u": "3600"}, True, 900),
        ({"u": "3600", "p": "7200"}, True, 3_600),
        ({"u": "soon"}, True, 300),
        ({"u": "1.5"}, True, 300),
        ({"u": ""}, True, 300),
        ({"u": "0"}, True, 0),
        ({"u": "-5"}, True, 0),
    ],
)
def test_limits_count_from_the_pods_creation(annotations: dict[str, str], unschedulable: bool, seconds: int) -> None:
    born = pod(created=40)
    assert deadline_of(born, job(**annotations), unschedulable=unschedulable) == (at(40 + seconds), seconds)


def test_a_pod_without_age_or_a_limit_of_ages_has_no_deadline() -> None:
    assert deadline_of({}, {}, unschedulable=True) == (None, 300)
    ages = "9" * 17
    assert deadline_of(pod(), job(p=ages), unschedulable=False)[0] is None


def asks(**memory: Any) -> dict[str, Any]:
    return {"resources": {"requests": {"memory": memory.pop("memory", "1Gi")}}, **memory}


@pytest.mark.parametrize(
    ("spec", "gib"),
    [
        ({"containers": [asks(), asks(memory="2Gi")]}, 3),
        ({"containers": [asks()], "initContainers": [asks(memory="5Gi")]}, 5),
        ({"containers": [asks()], "initContainers": [asks(restartPolicy="Always"), asks(memory="5Gi")]}, 6),
        ({"containers": [asks()], "initContainers": [asks(restartPolicy="Always")]}, 2),
        ({"containers": [asks()], "overhead": {"memory": "2Gi"}}, 3),
        ({"containers": [asks()], "resources": {"requests": {"memory": "4Gi"}}}, 4),
    ],
)
def test_what_a_pod_asks_of_a_node(spec: dict[str, Any], gib: int) -> None:
    assert pod_request({"spec": spec}, "memory") == gib << 30


def test_a_pod_that_asks_nothing() -> None:
    assert pod_request({"spec": {"containers": [{}]}}, "memory") is None
