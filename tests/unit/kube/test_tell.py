"""Events: the one thing that is ever written into a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from receiver.kube import ClusterError, Tells
from receiver.kube.client import LiveCluster
from receiver.kube.mustgather import MustGather
from tests.fakes.kubernetes import KubernetesApi, running
from tests.unit.kube.helpers import cluster_for

pytestmark = pytest.mark.anyio

NAME = "shop.routing-refused-3f0c"


@pytest.fixture
async def api() -> AsyncIterator[KubernetesApi]:
    async with running(KubernetesApi()) as server:
        await server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        yield server


@pytest.fixture
async def cluster(api: KubernetesApi, tmp_path: Path) -> AsyncIterator[LiveCluster]:
    one = cluster_for(api, tmp_path)
    yield one
    await one.aclose()


def told(api: KubernetesApi) -> list[dict[str, Any]]:
    return [obj for (resource, _, _), obj in api.objects.items() if resource == "events"]


async def test_an_event_is_about_the_namespace_in_which_it_is(api: KubernetesApi, cluster: LiveCluster) -> None:
    assert isinstance(cluster, Tells)
    assert await cluster.tell("shop", NAME, "RoutingRefused", "#all is not in allow.slack_channels")
    (event,) = told(api)
    assert event["metadata"]["name"] == NAME
    assert event["metadata"]["namespace"] == "shop"
    assert event["involvedObject"] == {"apiVersion": "v1", "kind": "Namespace", "name": "shop", "namespace": "shop"}
    assert (event["type"], event["reason"], event["count"]) == ("Warning", "RoutingRefused", 1)
    assert event["message"] == "#all is not in allow.slack_channels"
    assert event["source"] == {"component": "mtv-receiver"}
    assert event["firstTimestamp"] == event["lastTimestamp"]
    assert event["firstTimestamp"].endswith("Z")
    assert [(one.verb, one.resource) for one in api.asked] == [("create", "events")]


async def test_replicas_that_say_the_same_at_once_make_one_event(
    api: KubernetesApi, cluster: LiveCluster, tmp_path: Path
) -> None:
    other = cluster_for(api, tmp_path)
    made = await asyncio.gather(*(one.tell("shop", NAME, "RoutingRefused", "no") for one in (cluster, other)))
    assert sorted(made) == [False, True]
    assert not await cluster.tell("shop", NAME, "RoutingRefused", "no")
    assert len(told(api)) == 1
    await other.aclose()


async def test_a_missing_right_is_named_with_its_namespace(api: KubernetesApi, cluster: LiveCluster) -> None:
    api.forbidden = {("create", "events")}
    with pytest.raises(ClusterError, match="needs create events in namespace shop") as raised:
        await cluster.tell("shop", NAME, "RoutingRefused", "no")
    assert raised.value.reason == "forbidden"


@pytest.mark.parametrize("away", ["gone", "../shop", "", "a" * 300])
async def test_a_namespace_that_is_none_is_not_found(api: KubernetesApi, cluster: LiveCluster, away: str) -> None:
    with pytest.raises(ClusterError) as raised:
        await cluster.tell(away, NAME, "RoutingRefused", "no")
    assert raised.value.reason == "not found"
    assert told(api) == []
    assert len(api.asked) == (away == "gone"), "no path is made of what is no name"


async def test_a_namespace_that_is_being_deleted_lacks_no_right(api: KubernetesApi, cluster: LiveCluster) -> None:
    api.ending = {"shop"}
    with pytest.raises(ClusterError, match="being deleted") as raised:
        await cluster.tell("shop", NAME, "RoutingRefused", "no")
    assert raised.value.reason == "not found"


@pytest.mark.parametrize(
    "message", ["x" * 5_000, "ü" * 5_000, "\U0001f600" * 600, "a\0b\ud800c\n\r\n d", "", '"},"type":"Normal"']
)
async def test_any_text_is_taken_and_bounded(api: KubernetesApi, cluster: LiveCluster, message: str) -> None:
    assert await cluster.tell("shop", NAME, "RoutingRefused", message)
    (event,) = told(api)
    assert len(event["message"].encode()) <= 1_024
    assert not set(event["message"]) & set("\0\n\r\ud800")
    assert event["type"] == "Warning"


@pytest.mark.parametrize("name", ["", "Upper", "a/b", "a..b", "-a", "a-", "a" * 254, "a\n", "a b"])
async def test_a_name_that_kubernetes_would_refuse_is_a_bug_of_ours(
    api: KubernetesApi, cluster: LiveCluster, name: str
) -> None:
    with pytest.raises(ValueError, match="not a name"):
        await cluster.tell("shop", name, "RoutingRefused", "no")
    assert api.asked == []


@pytest.mark.parametrize("reason", ["", "routing refused", "refused", "R" * 129, "Refused\n"])
async def test_a_reason_is_one_word(cluster: LiveCluster, reason: str) -> None:
    with pytest.raises(ValueError, match="not a reason"):
        await cluster.tell("shop", NAME, reason, "no")


async def test_silence_is_an_error_and_a_changed_credential_is_read_anew(
    api: KubernetesApi, cluster: LiveCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.kube.client.TELL_S", 0.2)
    api.hang()
    with pytest.raises(ClusterError) as raised:
        await cluster.tell("shop", NAME, "RoutingRefused", "no")
    assert raised.value.reason == "timeout"
    api.release()
    monkeypatch.setattr("receiver.kube.client.TELL_S", 5.0)
    api.rotate_token("next")
    api.write_kubeconfig(tmp_path / "kubeconfig")
    await cluster.tell("shop", f"{NAME}.later", "RoutingRefused", "no")
    assert NAME + ".later" in [event["metadata"]["name"] for event in told(api)]


def test_nothing_is_said_in_a_must_gather(tmp_path: Path) -> None:
    assert not isinstance(MustGather("sample", tmp_path), Tells)
