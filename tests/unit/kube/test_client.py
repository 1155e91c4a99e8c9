from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from receiver.kube import ClusterError
from receiver.kube.account import in_pod
from receiver.kube.api import Limits
from receiver.kube.client import LiveCluster
from tests.fakes.kubernetes import KubernetesApi, running
from tests.unit.kube.helpers import DATA, ERP_UID, cluster_for, plan

pytestmark = pytest.mark.anyio

PLANS = "plans.forklift.konveyor.io"
SHORT = Limits(request_timeout=0.3, connect_timeout=0.2)


@pytest.fixture
async def api() -> AsyncIterator[KubernetesApi]:
    async with running(KubernetesApi()) as server:
        yield server


@pytest.fixture
async def cluster(api: KubernetesApi, tmp_path: Path) -> AsyncIterator[LiveCluster]:
    live = cluster_for(api, tmp_path)
    yield live
    await live.aclose()


async def refused(awaitable: object) -> ClusterError:
    with pytest.raises(ClusterError) as caught:
        await awaitable  # type: ignore[misc]
    assert "\n" not in caught.value.message
    return caught.value


async def test_plans_of_one_name_are_found_in_all_namespaces_by_one_list(
    api: KubernetesApi, cluster: LiveCluster
) -> None:
    await api.load_yaml(DATA / "a-cold-vsphere-imageconversion.yaml")
    await api.apply(plan("erp-wave1", namespace="mig-team-c"))
    await api.apply(plan("other"))
    found = await cluster.find_plans("erp-wave1")
    assert sorted(obj["metadata"]["namespace"] for obj in found) == ["mig-team-a", "mig-team-c"]
    assert ERP_UID in {obj["metadata"]["uid"] for obj in found}
    assert len(api.asked) == 1
    assert api.asked[0].query["fieldSelector"] == "metadata.name=erp-wave1"


async def test_a_server_that_ignores_field_selectors_still_gives_only_the_plans_of_that_name(
    api: KubernetesApi, cluster: LiveCluster
) -> None:
    api.ignore_field_selectors = True
    for number in range(60):
        await api.apply(plan(f"p{number}"))
    assert [obj["metadata"]["name"] for obj in await cluster.find_plans("p7")] == ["p7"]


async def test_an_object_that_does_not_exist_is_none(cluster: LiveCluster) -> None:
    assert await cluster.get_plan("team", "nothing") is None
    assert await cluster.get("Namespace", None, "nothing") is None


async def test_a_kind_that_is_not_served_is_an_error_and_no_proof_that_the_object_is_gone(
    api: KubernetesApi, cluster: LiveCluster
) -> None:
    api.unserved.add(PLANS)
    assert (await refused(cluster.get_plan("team", "a"))).reason == "not found"
    assert (await refused(cluster.list("Plan", None))).message == f"cluster local does not serve {PLANS}"


async def test_objects_have_their_kind_and_lose_managed_fields(api: KubernetesApi, cluster: LiveCluster) -> None:
    await api.load_yaml(DATA / "a-cold-vsphere-imageconversion.yaml")
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "yes"}
    await api.apply(plan("a", managedFields=[{"manager": "kubectl"}], annotations=annotations))
    found = await cluster.get_plan("team", "a")
    assert found is not None
    assert "managedFields" not in found["metadata"]
    assert found["metadata"]["annotations"] == {"kept": "yes"}
    pods = await cluster.list("Pod", "erp-prod")
    assert {(pod["kind"], pod["apiVersion"]) for pod in pods} == {("Pod", "v1")}


async def test_a_list_is_read_page_by_page_and_filtered_by_the_server(api: KubernetesApi, cluster: LiveCluster) -> None:
    for number in range(7):
        await api.apply(plan(f"p{number}", labels={"wave": str(number % 2)}))
    assert len(await cluster.list("Plan", "team", limit=3)) == 7
    assert api.calls["list", PLANS] == 3
    assert len(await cluster.list("Plan", None, label_selector="wave=1")) == 3
    assert len(await cluster.list("Plan", "team", field_selector="metadata.name=p4")) == 1
    assert await cluster.list("Plan", "elsewhere") == ()


async def test_a_list_that_expires_between_two_pages_is_read_once_more(
    api: KubernetesApi, cluster: LiveCluster
) -> None:
    for number in range(4):
        await api.apply(plan(f"p{number}"))
    api.expire_continue = 1
    assert len(await cluster.list("Plan", None, limit=2)) == 4
    api.expire_continue = 2
    assert (await refused(cluster.list("Plan", None, limit=2))).reason == "gone"


async def test_a_missing_right_is_named_as_an_administrator_needs_it(api: KubernetesApi, cluster: LiveCluster) -> None:
    api.forbidden |= {("*", PLANS), ("*", "pods"), ("*", "pods/log"), ("*", "nodes")}
    api.set_log("x", "p", "c", "text")
    messages = [
        (await refused(cluster.get_plan("x", "a"))).message,
        (await refused(cluster.find_plans("a"))).message,
        (await refused(cluster.list("Pod", "x"))).message,
        (await refused(cluster.log("x", "p", "c"))).message,
        (await refused(cluster.list("Node", None))).message,
    ]
    assert messages == [
        f"forbidden on cluster local: needs get {PLANS} in namespace x",
        f"forbidden on cluster local: needs list {PLANS} in all namespaces",
        "forbidden on cluster local: needs list pods in namespace x",
        "forbidden on cluster local: needs get pods/log in namespace x",
        "forbidden on cluster local: needs list nodes",
    ]


async def test_a_server_that_refuses_connections_is_unreachable(api: KubernetesApi, cluster: LiveCluster) -> None:
    await api.down()
    assert (await refused(cluster.find_plans("a"))).reason == "unreachable"
    await api.up()
    assert await cluster.find_plans("a") == ()


async def test_a_server_that_never_answers_is_a_timeout(api: KubernetesApi, tmp_path: Path) -> None:
    live = cluster_for(api, tmp_path, limits=SHORT)
    api.hang()
    error = await refused(live.find_plans("a"))
    assert error.reason == "timeout"
    assert error.message == "cluster local did not answer within 0.3 s"
    await live.aclose()


@pytest.mark.parametrize(("code", "reason"), [(429, "unreachable"), (503, "unreachable"), (500, "bad answer")])
async def test_status_codes_have_their_reasons(
    api: KubernetesApi, cluster: LiveCluster, code: int, reason: str
) -> None:
    api.errors["list", PLANS] = code
    error = await refused(cluster.find_plans("a"))
    assert error.reason == reason
    assert error.message == f"cluster local answers {code} for {PLANS}: the fake was told to fail"


async def test_a_wrong_token_is_unauthorized_and_is_not_told(api: KubernetesApi, tmp_path: Path) -> None:
    path = api.write_kubeconfig(tmp_path / "config", token="planted-secret")
    live = cluster_for(api, tmp_path, kubeconfig=path)
    error = await refused(live.find_plans("a"))
    assert error.reason == "unauthorized"
    assert "planted-secret" not in f"{error!r}{error.__cause__!r}{error.__context__!r}{live!r}"
    await live.aclose()


async def test_a_token_file_is_read_again_after_it_was_rotated(api: KubernetesApi, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("test-token\n")
    path = api.write_kubeconfig(tmp_path / "config", token_file=Path("token"))
    live = cluster_for(api, tmp_path, kubeconfig=path)
    assert await live.find_plans("a") == ()
    api.rotate_token("second")
    assert (await refused(live.find_plans("a"))).reason == "unauthorized"
    token.write_text("second\n")
    assert await live.find_plans("a") == ()
    token.unlink()
    api.rotate_token("third")
    assert (await refused(live.find_plans("a"))).message == (
        "cluster local: the credentials cannot be read (ConfigError)"
    )
    await live.aclose()


async def test_a_kubeconfig_that_was_rewritten_is_read_again_after_a_401(api: KubernetesApi, tmp_path: Path) -> None:
    path = api.write_kubeconfig(tmp_path / "config")
    live = cluster_for(api, tmp_path, kubeconfig=path)
    assert await live.find_plans("a") == ()
    api.rotate_token("second")
    api.write_kubeconfig(path)
    assert await live.find_plans("a") == ()
    await live.aclose()


@pytest.mark.parametrize("content", [None, "", "{", "token: planted-secret\n  bad", "[]", "clusters: 7", "a: b"])
async def test_a_kubeconfig_that_cannot_be_used_is_told_by_its_path_and_never_quoted(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content)
    live = LiveCluster.from_kubeconfig("east", path)
    error = await refused(live.find_plans("a"))
    assert error.reason == "unauthorized"
    assert str(path) in error.message
    assert "planted-secret" not in str(error)
    await live.aclose()


async def test_a_kubeconfig_without_user_is_used_without_credentials(api: KubernetesApi, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(
        f"current-context: c\nclusters: [{{name: k, cluster: {{server: '{api.url}'}}}}]\n"
        "contexts: [{name: c, context: {cluster: k}}]\n"
    )
    api.tokens.add("")
    live = cluster_for(api, tmp_path, kubeconfig=path)
    assert await live.version() == "v1.33.4"
    await live.aclose()


async def test_a_folder_without_a_token_is_no_pod(tmp_path: Path) -> None:
    assert not in_pod(tmp_path)
    (tmp_path / "token").write_text("x")
    assert in_pod(tmp_path)


@pytest.mark.parametrize("name", ["../secrets/x", "a/b", "", ".", "..", "a%2fb", "x,metadata.namespace=y", "a?b", "é"])
async def test_a_name_that_no_object_can_have_never_reaches_the_server(
    api: KubernetesApi, cluster: LiveCluster, name: str
) -> None:
    assert await cluster.find_plans(name) == ()
    assert await cluster.get_plan("team", name) is None
    assert await cluster.get_plan(name, "a") is None
    assert await cluster.list("Pod", name) == ()
    assert (await refused(cluster.log("x", name, "c"))).reason == "not found"
    assert api.asked == []


async def test_secrets_cannot_be_asked_for(cluster: LiveCluster) -> None:
    with pytest.raises(ValueError, match="may be read"):
        await cluster.get("Secret", "x", "y")


async def test_no_more_than_ten_requests_are_in_flight_and_lists_leave_room_for_look_ups(
    api: KubernetesApi, tmp_path: Path
) -> None:
    live = cluster_for(api, tmp_path)
    api.hang()
    reads = [asyncio.create_task(live.list("Pod", "x")) for _ in range(30)]
    await api.until(lambda: api.calls["list", "pods"] == 7)
    lookups = [asyncio.create_task(live.get_plan("x", "a")) for _ in range(30)]
    await api.until(lambda: api.calls["get", PLANS] == 3)
    assert api.most_in_flight == 10
    api.release()
    await asyncio.gather(*reads, *lookups)
    assert api.most_in_flight == 10
    await live.aclose()


async def test_a_call_that_finds_no_free_place_ends_in_time(api: KubernetesApi, tmp_path: Path) -> None:
    live = cluster_for(api, tmp_path, limits=Limits(request_timeout=0.3, in_flight=1, bulk_in_flight=1))
    api.hang()
    results = await asyncio.gather(*(live.get_plan("x", "a") for _ in range(5)), return_exceptions=True)
    assert [getattr(result, "reason", None) for result in results] == ["timeout"] * 5
    await live.aclose()


async def test_a_log_is_its_last_lines_and_bytes_that_are_no_utf8_are_replaced(
    api: KubernetesApi, cluster: LiveCluster
) -> None:
    await api.load_yaml(DATA / "a-cold-vsphere-imageconversion.yaml")
    text = (DATA / "logs" / "a-virt-v2v-erp-win01.log").read_text()
    pod = "erp-wave1-vm-1402-d8f6k"
    api.set_log("erp-prod", pod, "virt-v2v", text)
    assert await cluster.log("erp-prod", pod, "virt-v2v") == text
    assert (await cluster.log("erp-prod", pod, "virt-v2v", tail_lines=2)).splitlines() == text.splitlines()[-2:]
    assert api.asked[-1].query["container"] == "virt-v2v"
    api.set_log("erp-prod", pod, "virt-v2v", b"caf\xe9\n", previous=True)
    assert await cluster.log("erp-prod", pod, "virt-v2v", previous=True, since_seconds=60) == "caf\ufffd\n"
    assert (api.asked[-1].query["previous"], api.asked[-1].query["sinceSeconds"]) == ("true", "60")


async def test_a_tail_larger_than_the_limit_is_asked_for_again_with_fewer_lines(
    api: KubernetesApi, cluster: LiveCluster
) -> None:
    api.set_log("x", "p", "c", "debug " * 50 + "\n" + ("noise " * 50 + "\n") * 500 + "virt-v2v: error: at the end\n")
    assert (await cluster.log("x", "p", "c", limit_bytes=10_000)).endswith("virt-v2v: error: at the end\n")


async def test_a_line_of_5_mb_and_a_server_without_limits_cost_no_more_than_the_limit(
    api: KubernetesApi, cluster: LiveCluster
) -> None:
    api.set_log("x", "p", "c", b"x" * 5_000_000)
    assert len(await cluster.log("x", "p", "c", limit_bytes=1_000)) == 1_000
    api.ignore_log_limits = True
    assert len(await cluster.log("x", "p", "c", limit_bytes=1_000)) == 1_000
    assert api.calls["get", "pods/log"] <= 8


async def test_a_log_that_does_not_exist_says_what_is_missing(api: KubernetesApi, cluster: LiveCluster) -> None:
    gone = await refused(cluster.log("x", "p", "c"))
    assert (gone.reason, gone.message) == ("not found", 'cluster local has no log of x/p (c): pods "p" not found')
    api.set_log("x", "p", "c", "text")
    never = await refused(cluster.log("x", "p", "c", previous=True))
    assert never.reason == "not found"
    assert 'previous terminated container "c"' in never.message


@pytest.mark.parametrize("body", ["", "[]", "null", "<html>", '{"items": {}}', '{"items": 7}'])
async def test_an_answer_that_is_no_list_is_a_bad_answer(
    api: KubernetesApi, cluster: LiveCluster, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    from starlette.responses import PlainTextResponse

    monkeypatch.setattr(api, "_serve", lambda *_: PlainTextResponse(body))
    assert (await refused(cluster.list("Pod", "x"))).reason == "bad answer"


async def test_items_of_wrong_types_are_left_out(
    api: KubernetesApi, cluster: LiveCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    from starlette.responses import JSONResponse

    items: list[object] = [7, None, {"metadata": []}, {"metadata": {"name": "good"}}, {}]
    monkeypatch.setattr(api, "_serve", lambda *_: JSONResponse({"items": items, "metadata": {"continue": 7}}))
    assert [pod["metadata"]["name"] for pod in await cluster.list("Pod", "x")] == ["good"]


async def test_proxy_variables_of_the_environment_are_ignored(
    api: KubernetesApi, cluster: LiveCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert await cluster.find_plans("a") == ()


async def test_the_service_account_of_a_pod_is_used(
    api: KubernetesApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(api.port))
    for name, text in (("token", "test-token"), ("namespace", "x"), ("ca.crt", "no certificate")):
        (tmp_path / name).write_text(text)
    live = LiveCluster.from_service_account("local", tmp_path)
    # The fake speaks no TLS: what can be shown is that address and CA come from the account, and errors stay errors.
    error = await refused(live.find_plans("a"))
    assert error.message.startswith(f"cluster local: service account {tmp_path} cannot be used")
    await live.aclose()
