"""What an API server says of somebody's rights, and what is made of an answer that is none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.responses import JSONResponse, Response

from receiver.kube import ClusterError, Reviews
from receiver.kube.client import LiveCluster
from tests.fakes.kubernetes import KubernetesApi, running

pytestmark = pytest.mark.anyio

PLANS = "plans.forklift.konveyor.io"
RIGHT = "create subjectaccessreviews.authorization.k8s.io"


@pytest.fixture
async def api() -> AsyncIterator[KubernetesApi]:
    async with running(KubernetesApi()) as one:
        one.may = {("ana", "get", PLANS, "a"), ("group:team", "get", PLANS, "b")}
        yield one


@pytest.fixture
async def cluster(api: KubernetesApi, tmp_path: Path) -> AsyncIterator[LiveCluster]:
    one = LiveCluster.from_kubeconfig("east", api.write_kubeconfig(tmp_path / "kubeconfig"))
    yield one
    await one.aclose()


async def may(cluster: LiveCluster, user: str, *groups: str, namespace: str) -> bool:
    assert isinstance(cluster, Reviews)
    return await cluster.subject_access_review(
        user, groups, verb="get", group="forklift.konveyor.io", resource="plans", namespace=namespace
    )


async def test_a_user_or_one_of_their_groups_is_allowed(api: KubernetesApi, cluster: LiveCluster) -> None:
    assert await may(cluster, "ana", namespace="a")
    assert not await may(cluster, "ana", namespace="b")
    assert await may(cluster, "ana", "team", "other", namespace="b")
    assert not await may(cluster, "team", namespace="b"), "no user is a group"
    assert api.reviewed[2] == {
        "user": "ana",
        "groups": ["other", "team"],
        "resourceAttributes": {
            "verb": "get", "group": "forklift.konveyor.io", "resource": "plans", "namespace": "b",
        },
    }  # fmt: skip
    assert {one.verb for one in api.asked} == {"create"}


@pytest.mark.parametrize(
    "answer",
    [
        JSONResponse({"status": {"allowed": "true"}}, 201),
        JSONResponse({"status": {}}, 201),
        JSONResponse(["allowed"], 201),
        Response("allowed", 201),
    ],
)
async def test_an_answer_that_says_nothing_allows_nothing(
    api: KubernetesApi, cluster: LiveCluster, answer: Response, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_subject_review", lambda _: answer)
    with pytest.raises(ClusterError) as raised:
        await may(cluster, "ana", namespace="a")
    assert raised.value.reason == "bad answer"


async def test_what_one_authorizer_denies_is_not_allowed(
    api: KubernetesApi, cluster: LiveCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = JSONResponse({"status": {"allowed": True, "denied": True}}, 201)
    monkeypatch.setattr(api, "_subject_review", lambda _: both)
    assert not await may(cluster, "ana", namespace="a")


async def test_refusals_and_silence_are_errors(
    api: KubernetesApi, cluster: LiveCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.forbidden = {("create", "subjectaccessreviews.authorization.k8s.io")}
    with pytest.raises(ClusterError, match=f"needs {RIGHT}"):
        await may(cluster, "ana", namespace="a")
    api.forbidden = set()
    monkeypatch.setattr("receiver.kube.client.REVIEW_S", 0.1)
    api.hang()
    with pytest.raises(ClusterError) as raised:
        await may(cluster, "ana", namespace="a")
    assert raised.value.reason == "timeout"
    api.release()


async def test_a_changed_credential_is_read_anew(api: KubernetesApi, cluster: LiveCluster, tmp_path: Path) -> None:
    assert await may(cluster, "ana", namespace="a")
    api.rotate_token("next")
    api.write_kubeconfig(tmp_path / "kubeconfig")
    assert await may(cluster, "ana", namespace="a")
