"""Namespaces and the ConfigMaps in them, followed at a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from receiver.kube import FollowsNamespaces, NamespaceBook, NamespaceRow
from receiver.kube.client import LiveCluster
from receiver.kube.mustgather import MustGather
from tests.fakes.kubernetes import KubernetesApi, running
from tests.unit.kube.helpers import QUICK, cluster_for, eventually

pytestmark = pytest.mark.anyio

PREFIX = "mtv-receiver.io"
LABELS = {f"{PREFIX}/routing": "true"}


@pytest.fixture
async def api() -> AsyncIterator[KubernetesApi]:
    async with running(KubernetesApi()) as server:
        yield server


@pytest.fixture
async def cluster(api: KubernetesApi, tmp_path: Path) -> AsyncIterator[LiveCluster]:
    one = cluster_for(api, tmp_path)
    yield one
    await one.aclose()


def namespace(name: str, annotations: Any = None, labels: Any = None) -> dict[str, Any]:
    metadata = {"name": name, "annotations": annotations or {}, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata, "spec": {"finalizers": ["kubernetes"]}}


def configmap(space: str, name: str, labels: Any = None, **data: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": space, "labels": LABELS if labels is None else labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


class Changes:
    """Names that were told, in order."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._news = asyncio.Event()

    def take(self, name: str) -> None:
        self.names.append(name)
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def following(cluster: FollowsNamespaces, prefix: str = PREFIX) -> AsyncIterator[Changes]:
    """Follow for the length of the block; following that ends of itself is an error."""
    changes = Changes()
    task = asyncio.create_task(cluster.follow_namespaces(prefix, changes.take))
    try:
        yield changes
        assert not task.done(), "following ended"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def annotated(book: NamespaceBook, name: str) -> Any:
    row = book.of(name)
    return None if row is None else dict(row.annotations)


def wished(book: NamespaceBook, name: str) -> Any:
    row = book.of(name)
    return None if row is None else dict(row.wishes)


async def open_watches(api: KubernetesApi) -> None:
    await api.until(lambda: {one.resource for one in api.watchers} == {"namespaces", "configmaps"})


async def test_what_exists_is_listed_and_only_what_is_needed_of_it(api: KubernetesApi, cluster: LiveCluster) -> None:
    await api.apply(namespace("shop", {f"{PREFIX}/receiver": "team-a"}, {"team": "a"}))
    await api.apply(configmap("shop", "routing", slack_channel="#mig-shop"))
    await api.apply(configmap("shop", "unlabelled", {}, slack_channel="#mig-secret"))
    await api.apply(configmap("shop", "off", {f"{PREFIX}/routing": "false"}, slack_channel="#mig-off"))
    async with following(cluster) as changes:
        await eventually(lambda: cluster.namespaces().synced)
        row = NamespaceRow("shop", {"team": "a"}, {f"{PREFIX}/receiver": "team-a"}, {"slack_channel": "#mig-shop"})
        assert cluster.namespaces().rows() == (row,)
        await open_watches(api)
    assert set(changes.names) == {"shop"}
    namespaces = [one for one in api.asked if one.resource == "namespaces"]
    assert [one.accept.split(",")[0] for one in namespaces] == [
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
    ]
    configmaps = [one for one in api.asked if one.resource == "configmaps"]
    assert {one.query["labelSelector"] for one in configmaps} == {f"{PREFIX}/routing=true"}
    assert {one.verb for one in api.asked} == {"list", "watch"}
    assert all(one.query["allowWatchBookmarks"] == "true" for one in api.asked if one.verb == "watch")


async def test_every_change_is_in_the_book_before_it_is_told(api: KubernetesApi, cluster: LiveCluster) -> None:
    book = cluster.namespaces()
    async with following(cluster) as changes:
        await open_watches(api)
        await api.apply(namespace("shop"))
        await changes.until(lambda: annotated(book, "shop") == {})
        await api.apply(namespace("shop", {"a": "1"}))
        await changes.until(lambda: annotated(book, "shop") == {"a": "1"})
        await api.apply(configmap("shop", "routing", receiver="team-a"))
        await changes.until(lambda: wished(book, "shop") == {"receiver": "team-a"})
        await api.apply(configmap("shop", "routing", {}, receiver="team-a"))  # out of the selection
        await changes.until(lambda: wished(book, "shop") == {})
        await api.apply(configmap("shop", "routing", receiver="team-b"))  # and in again
        await changes.until(lambda: wished(book, "shop") == {"receiver": "team-b"})
        await api.delete("ConfigMap", "shop", "routing")
        await changes.until(lambda: wished(book, "shop") == {})
        await api.apply(configmap("other", "unlabelled", {}, receiver="x"))
        await api.apply({**namespace("shop", {"a": "1"}), "spec": {"finalizers": []}})  # nothing that counts
        await api.delete("Namespace", "", "shop")
        await changes.until(lambda: book.of("shop") is None)
    assert changes.names == ["shop"] * 7
    assert book.skipped == 0
    assert api.calls["list", "namespaces"] == api.calls["list", "configmaps"] == 1


async def test_a_server_that_sends_whole_objects_is_understood(api: KubernetesApi, cluster: LiveCluster) -> None:
    api.ignore_metadata_only = True
    await api.apply(namespace("old", {"a": "1"}))
    async with following(cluster) as changes:
        await open_watches(api)
        await api.apply(namespace("new", {"b": "2"}))
        await changes.until(lambda: "new" in changes.names)
    assert annotated(cluster.namespaces(), "old") == {"a": "1"}
    assert annotated(cluster.namespaces(), "new") == {"b": "2"}


async def test_metadata_alone_costs_little_of_a_large_object(api: KubernetesApi, cluster: LiveCluster) -> None:
    await api.apply({**namespace("shop"), "status": {"conditions": ["x" * 500_000]}})
    async with following(cluster):
        await eventually(lambda: cluster.namespaces().synced)
    assert api.bytes_sent["list", "namespaces"] < 2_000


@pytest.mark.parametrize("how", ["http", "stream"])
async def test_after_410_only_what_differs_is_told(api: KubernetesApi, cluster: LiveCluster, how: Any) -> None:
    api.gone_as = how
    await api.apply(namespace("stays"))
    await api.apply(namespace("goes"))
    await api.apply(configmap("changes", "routing", receiver="before"))
    await api.apply(configmap("empties", "routing", receiver="x"))
    async with following(cluster) as changes:
        await open_watches(api)
        api.refuse_watches = True
        api.cut_watches()
        await api.until(lambda: not api.watchers)
        changes.names.clear()
        await api.delete("Namespace", "", "goes")
        await api.delete("ConfigMap", "empties", "routing")
        await api.apply(configmap("changes", "routing", receiver="after"))
        api.compact()
        api.refuse_watches = False
        await changes.until(lambda: len(changes.names) >= 3)
        await open_watches(api)
        await eventually(lambda: cluster.namespaces().synced and cluster.namespaces().problem is None)
    assert sorted(changes.names) == ["changes", "empties", "goes"]
    assert {row.name: dict(row.wishes) for row in cluster.namespaces().rows()} == {
        "stays": {}, "changes": {"receiver": "after"},
    }  # fmt: skip
    assert api.calls["list", "namespaces"] == api.calls["list", "configmaps"] == 2


async def test_a_bookmark_moves_the_place_from_which_the_watch_goes_on(
    api: KubernetesApi, cluster: LiveCluster
) -> None:
    async with following(cluster) as changes:
        await open_watches(api)
        api.revision += 500
        await api.bookmark()
        bookmarked = api.revision
        await api.apply(namespace("marker"))
        await api.apply(configmap("marker", "routing", receiver="x"))
        await changes.until(lambda: wished(cluster.namespaces(), "marker") == {"receiver": "x"})
        api.compacted = bookmarked
        api.cut_watches()
        await api.until(lambda: api.calls["watch", "namespaces"] >= 2 and api.calls["watch", "configmaps"] >= 2)
    assert api.calls["list", "namespaces"] == api.calls["list", "configmaps"] == 1
    again = [one for one in api.asked if one.verb == "watch"][2:]
    assert all(int(one.query["resourceVersion"]) >= bookmarked for one in again)


async def test_a_server_that_was_away_for_long_is_compared_with_a_whole_list(
    api: KubernetesApi, tmp_path: Path
) -> None:
    cluster = cluster_for(api, tmp_path, times=replace(QUICK, lost_after=0.1))
    await api.apply(namespace("goes"))
    await api.apply(namespace("stays", {"a": "1"}))
    async with following(cluster) as changes:
        await open_watches(api)
        await api.down()
        await eventually(lambda: not cluster.namespaces().namespaces.synced)
        assert annotated(cluster.namespaces(), "stays") == {"a": "1"}, "what was known is used on"
        await eventually(lambda: "cannot be reached" in (cluster.namespaces().problem or ""))
        await api.delete("Namespace", "", "goes")
        await api.up()
        await eventually(lambda: cluster.namespaces().synced)
        await open_watches(api)
        await eventually(lambda: cluster.namespaces().problem is None)
    assert cluster.namespaces().of("goes") is None
    assert changes.names.count("goes") == 2
    assert changes.names.count("stays") == 1
    await cluster.aclose()


@pytest.mark.parametrize(("lacking", "other"), [("configmaps", "namespaces"), ("namespaces", "configmaps")])
@pytest.mark.parametrize("verb", ["list", "watch"])
async def test_a_right_that_is_missing_for_one_stops_nothing_of_the_other(
    api: KubernetesApi, cluster: LiveCluster, lacking: str, other: str, verb: str
) -> None:
    api.forbidden.add((verb, lacking))
    book = cluster.namespaces()
    async with following(cluster) as changes:
        await eventually(lambda: book.problem is not None)
        everywhere = " in all namespaces" if lacking == "configmaps" or verb == "watch" else ""
        assert book.problem == f"forbidden on cluster local: needs {verb} {lacking}{everywhere}"
        await api.until(lambda: any(one.resource == other for one in api.watchers))
        await api.apply(namespace("shop", {"a": "1"}))
        await api.apply(configmap("shop", "routing", receiver="team-a"))
        seen = (lambda: annotated(book, "shop") == {"a": "1"}) if other == "namespaces" else (
            lambda: wished(book, "shop") == {"receiver": "team-a"}
        )  # fmt: skip
        await changes.until(seen)
        assert (book.namespaces if other == "namespaces" else book.configmaps).synced
        api.forbidden.clear()
        await changes.until(lambda: bool(annotated(book, "shop")) and bool(wished(book, "shop")))
        await eventually(lambda: book.synced and book.problem is None)


async def test_following_again_with_another_prefix_reads_everything_anew(
    api: KubernetesApi, cluster: LiveCluster
) -> None:
    await api.apply(namespace("shop"))
    await api.apply(configmap("shop", "ours", receiver="a"))
    await api.apply(configmap("shop", "theirs", {"example.com/routing": "true"}, receiver="b"))
    book = cluster.namespaces()
    async with following(cluster):
        await eventually(lambda: book.synced)
        assert wished(book, "shop") == {"receiver": "a"}
    api.hang()
    async with following(cluster, "example.com") as changes:
        await eventually(lambda: not book.synced)  # what is known was asked for by another prefix
        api.release()
        await changes.until(lambda: wished(book, "shop") == {"receiver": "b"})
        await eventually(lambda: book.synced)
    assert book.configmap_names() == (("shop", "theirs"),)


async def test_unreadable_objects_are_counted_and_nothing_is_taken_for_deleted(
    api: KubernetesApi, cluster: LiveCluster
) -> None:
    await api.apply(namespace("known"))
    odd = await api.apply(namespace("odd"))
    book = cluster.namespaces()
    async with following(cluster) as changes:
        await open_watches(api)
        api.replace = {odd["metadata"]["uid"]: {"metadata": {"name": ["no", "name"]}}}
        api.cut_watches()
        await api.delete("Namespace", "", "known")
        api.compact()  # what was deleted is seen only by a list, and that list holds an entry that nobody can read
        await eventually(lambda: book.namespaces.lists == 2)
        await open_watches(api)
        assert book.skipped > 0
        for line in (b"no json\n", b"[]\n", b'{"type":"ADDED","object":{"metadata":{"name":"../x"}}}\n', b"\n"):
            api.send_raw(line)
        await api.apply(namespace("after"))
        await changes.until(lambda: "after" in changes.names)
        assert book.of("odd") is not None
    assert book.of("../x") is None


async def test_an_answer_that_is_too_large_is_asked_for_in_smaller_pages(
    api: KubernetesApi, cluster: LiveCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.kube.api.MAX_ANSWER", 60_000)
    for number in range(10):
        await api.apply(configmap("shop", f"c{number}", receiver="x" * 10_000))
    async with following(cluster):
        await eventually(lambda: cluster.namespaces().synced)
    limits = [int(one.query["limit"]) for one in api.asked if (one.verb, one.resource) == ("list", "configmaps")]
    assert limits == [50, 5, 5]
    assert len(cluster.namespaces().configmap_names()) == 10


async def test_a_listener_that_raises_does_not_end_the_watch(api: KubernetesApi, cluster: LiveCluster) -> None:
    seen: list[str] = []

    def listener(name: str) -> None:
        seen.append(name)
        raise RuntimeError("a bug elsewhere")

    task = asyncio.create_task(cluster.follow_namespaces(PREFIX, listener))
    await open_watches(api)
    await api.apply(namespace("a"))
    await api.apply(namespace("b"))
    await eventually(lambda: seen == ["a", "b"])
    assert cluster.namespaces().problem is None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_must_gather_gives_a_book_of_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "namespaces" / "shop" / "core").mkdir(parents=True)
    (tmp_path / "namespaces" / "shop" / "shop.yaml").write_text(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {mtv-receiver.io/receiver: team-a}}\n"
    )
    (tmp_path / "namespaces" / "shop" / "core" / "configmaps.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMapList\nitems:\n"
        "- metadata: {name: a, namespace: shop, labels: {mtv-receiver.io/routing: 'true'}}\n"
        "  data: {receiver: team-b}\n"
        "- {metadata: {name: b, namespace: shop}, data: {receiver: nobody}}\n"
    )
    gather = MustGather("sample", tmp_path)
    assert isinstance(gather, FollowsNamespaces)
    async with following(gather) as changes:
        await changes.until(lambda: changes.names == ["shop"])
    assert gather.namespaces().synced
    assert gather.namespaces().rows() == (
        NamespaceRow("shop", {}, {f"{PREFIX}/receiver": "team-a"}, {"receiver": "team-b"}),
    )
    await gather.aclose()


async def test_a_must_gather_that_is_none_says_so(tmp_path: Path) -> None:
    gather = MustGather("sample", tmp_path / "nothing")
    async with following(gather) as changes:
        await eventually(lambda: gather.namespaces().problem is not None)
    assert "does not exist" in (gather.namespaces().problem or "")
    assert not gather.namespaces().synced
    assert changes.names == []
