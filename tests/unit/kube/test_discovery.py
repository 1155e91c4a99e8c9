"""Which resource a kind is: asked of the server, kept for a while, never guessed, never a Secret."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from receiver.kube import ClusterError
from receiver.kube.client import LiveCluster
from receiver.kube.discovery import Discovers
from receiver.kube.kinds import Kind
from tests.fakes.kubernetes import KubernetesApi, running
from tests.unit.kube.helpers import cluster_for

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api() -> AsyncIterator[KubernetesApi]:
    async with running(KubernetesApi()) as server:
        yield server


@pytest.fixture
async def cluster(api: KubernetesApi, tmp_path: Path) -> AsyncIterator[LiveCluster]:
    made = cluster_for(api, tmp_path)
    yield made
    await made.aclose()


def widget(**metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "ns", **metadata}}


async def test_a_kind_is_found_with_its_group_plural_and_scope(api: KubernetesApi, cluster: LiveCluster) -> None:
    await api.apply(widget())
    api.also_served = [
        ("machineconfiguration.openshift.io/v1", "MachineConfigPool", "Cluster"),
        ("v1", "Service", "Namespaced"),
    ]
    assert isinstance(cluster, Discovers)
    assert await cluster.kinds_named("Widget") == (Kind("Widget", "example.com", "v1", "widgets"),)
    (pool,) = await cluster.kinds_named("MachineConfigPool")
    assert not pool.namespaced
    assert [kind.resource for kind in await cluster.kinds_named("Service")] == ["services"]
    assert await cluster.kinds_named("Nothing") == ()


async def test_the_documents_are_read_once_however_many_ask(api: KubernetesApi, cluster: LiveCluster) -> None:
    await api.apply(widget())
    for kind in ("Widget", "Gadget", "Widget", "Gizmo"):
        await cluster.kinds_named(kind)
    assert [asked.path for asked in api.asked] == ["/api", "/apis"]


async def test_a_kind_that_was_installed_meanwhile_is_found_after_a_while(
    api: KubernetesApi, cluster: LiveCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.apply(widget())
    assert await cluster.kinds_named("Gadget") == ()
    api.also_served = [("example.com/v1", "Gadget", "Namespaced")]
    assert await cluster.kinds_named("Gadget") == ()
    monkeypatch.setattr("receiver.kube.discovery.MISS_AGAIN_S", -1.0)
    assert len(await cluster.kinds_named("Gadget")) == 1


async def test_an_object_comes_with_who_wrote_it_and_without_kubectls_copy(
    api: KubernetesApi, cluster: LiveCluster
) -> None:
    copy = {"kubectl.kubernetes.io/last-applied-configuration": "{}"}
    await api.apply(widget(managedFields=[{"manager": "oc"}], annotations=copy))
    (kind,) = await cluster.kinds_named("Widget")
    found = await cluster.read(kind, "ns", "w")
    assert found is not None
    assert found["metadata"]["managedFields"] == [{"manager": "oc"}]
    assert found["metadata"]["annotations"] == {}


@pytest.mark.parametrize("kind", [Kind("Secret", "", "v1", "secrets"), Kind("U", "user.openshift.io", "v1", "users")])
async def test_secrets_and_users_are_refused_before_anything_is_asked(
    kind: Kind, api: KubernetesApi, cluster: LiveCluster
) -> None:
    with pytest.raises(ClusterError) as refused:
        await cluster.read(kind, "ns", "x")
    assert refused.value.reason == "forbidden"
    assert api.asked == []


@pytest.mark.parametrize(
    "items", [None, 5, [5], [{"metadata": 5, "versions": 5}], [{"versions": [{"resources": [7]}]}]]
)
async def test_a_lying_server_is_a_bad_answer(
    items: Any, api: KubernetesApi, cluster: LiveCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fakes.kubernetes.discovery", lambda *_, **__: {"items": items})
    with pytest.raises(ClusterError) as told:
        await cluster.kinds_named("Widget")
    assert told.value.reason == "bad answer"
