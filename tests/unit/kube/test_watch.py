from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from receiver.kube import PlanEvent
from receiver.kube.api import Limits
from receiver.kube.watch import TABLE_PAGE
from tests.fakes.kubernetes import KubernetesApi, running
from tests.unit.kube.helpers import DATA, ERP_UID, QUICK, cluster_for, eventually, plan, watching

pytestmark = pytest.mark.anyio

PLANS = "plans.forklift.konveyor.io"


@pytest.fixture
async def api() -> AsyncIterator[KubernetesApi]:
    async with running(KubernetesApi()) as server:
        yield server


async def test_plans_that_exist_are_told_before_synced_and_their_states_come_from_the_columns(
    api: KubernetesApi, tmp_path: Path
) -> None:
    await api.load_yaml(DATA / "a-cold-vsphere-imageconversion.yaml")
    cluster = cluster_for(api, tmp_path)
    async with watching(cluster) as watched:
        await watched.until(lambda: watched.told("synced") == 1)
    assert [event.kind for event in watched.events] == ["added", "synced"]
    row = cluster.plans().by_uid(ERP_UID)
    assert row is not None
    assert (row.namespace, row.name) == ("mig-team-a", "erp-wave1")
    assert (row.ready, row.executing, row.succeeded, row.failed, row.canceled) == (True, False, False, True, None)
    assert cluster.plans().by_name("mig-team-a", "erp-wave1") == row
    assert cluster.plans().named("erp-wave1") == (row,)
    assert "as=Table" in api.asked[0].accept
    assert api.asked[0].query["includeObject"] == "Metadata"
    await cluster.aclose()


async def test_changes_and_deletions_are_told_while_the_watch_is_open(api: KubernetesApi, tmp_path: Path) -> None:
    cluster = cluster_for(api, tmp_path)
    async with watching(cluster) as watched:
        await api.until(lambda: api.watchers)
        await api.apply(plan("a", "Executing"))
        await api.apply(plan("a", "Failed"))
        await api.delete("Plan", "team", "a")
        await watched.until(lambda: watched.told("deleted", "a") == 1)
    added, changed, deleted = [event for event in watched.events if event.kind != "synced"]
    assert added.kind == "added"
    assert added.row is not None
    assert added.row.executing
    assert changed.before == added.row
    assert changed.row is not None
    assert changed.row.failed
    assert deleted.kind == "deleted"
    assert cluster.plans().was_deleted("uid-team-a")
    assert len(cluster.plans()) == 0
    await cluster.aclose()


async def test_more_plans_than_a_page_holds_are_all_listed(api: KubernetesApi, tmp_path: Path) -> None:
    for number in range(TABLE_PAGE + 5):
        await api.apply(plan(f"p{number}"))
    cluster = cluster_for(api, tmp_path)
    async with watching(cluster) as watched:
        await watched.until(lambda: watched.told("synced") == 1)
    assert len(cluster.plans()) == TABLE_PAGE + 5
    assert api.calls["list", PLANS] == 2
    await cluster.aclose()


async def test_a_continue_token_that_expired_begins_the_list_again(api: KubernetesApi, tmp_path: Path) -> None:
    for number in range(TABLE_PAGE + 1):
        await api.apply(plan(f"p{number}"))
    api.expire_continue = 1
    cluster = cluster_for(api, tmp_path)
    async with watching(cluster) as watched:
        await watched.until(lambda: watched.told("synced") == 1)
    assert len(cluster.plans()) == TABLE_PAGE + 1
    await cluster.aclose()


async def test_a_server_that_gives_no_tables_is_watched_as_whole_objects(api: KubernetesApi, tmp_path: Path) -> None:
    api.ignore_table = True
    await api.apply(plan("old", "Ready", "Canceled"))
    cluster = cluster_for(api, tmp_path)
    async with watching(cluster) as watched:
        await api.until(lambda: api.watchers)
        await api.apply(plan("new", "Executing"))
        await watched.until(lambda: watched.told("added", "new") == 1)
    old, new = cluster.plans().by_name("team", "old"), cluster.plans().by_name("team", "new")
    assert old is not None
    assert old.ready
    assert old.canceled is True
    assert new is not None
    assert new.executing
    assert new.canceled is False
    await cluster.aclose()


async def test_a_table_without_the_columns_we_need_is_given_up_for_whole_objects(
    api: KubernetesApi, tmp_path: Path
) -> None:
    api.drop_columns = {"EXECUTING"}
    await api.apply(plan("a", "Executing"))
    cluster = cluster_for(api, tmp_path)
    async with watching(cluster) as watched:
        await watched.until(lambda: watched.told("synced") == 1)
        row = cluster.plans().by_name("team", "a")
        assert row is not None
        assert row.executing
        await api.until(lambda: api.watchers)
        assert "as=Table" not in api.asked[-1].accept
    await cluster.aclose()


async def test_a_cut_stream_is_resumed_where_it_ended_without_a_new_list(api: KubernetesApi, tmp_path: Path) -> None:
    await api.apply(plan("a"))
    cluster = cluster_for(api, tmp_path)
    async with watching(cluster) as watched:
        await api.until(lambda: api.watchers)
        api.cut_watches(midline=True)
        await api.until(lambda: not api.watchers or api.calls["watch", PLANS] == 2)
        await api.apply(plan("b"))
        await watched.until(lambda: watched.told("added", "b") == 1)
        await api.apply(plan("c"))
        await watched.until(lambda: watched.told("added", "c") == 1)
    assert api.calls["list", PLANS] == 1
    assert watched.told("added") == 3
    assert cluster.plans().synced
    await cluster.aclose()


@pytest.mark.parametrize("how", ["http", "stream"])
async def test_after_410_the_list_is_read_again_and_tells_what_was_deleted_meanwhile(
    api: KubernetesApi, tmp_path: Path, how: Any
) -> None:
    api.gone_as = how
    await api.apply(plan("stays"))
    await api.apply(plan("goes"))
    cluster = cluster_for(api, tmp_path)
    async with watching(cluster) as watched:
        await api.until(lambda: api.watchers)
        api.refuse_watches = True
        api.cut_watches()
        await api.until(lambda: not api.watchers)
        await api.delete("Plan", "team", "goes")
        await api.apply(plan("comes"))
        api.compact()
        api.refuse_watches = False
        await watched.until(lambda: watched.told("added", "comes") == 1 and watched.told("deleted", "goes") == 1)
    assert api.calls["list", PLANS] == 2
    assert watched.told("added", "stays") == 1
    assert cluster.plans().was_deleted("uid-team-goes")
    assert watched.told("synced") == 1
    await cluster.aclose()


async def test_a_bookmark_moves_the_place_from_which_the_watch_goes_on(api: KubernetesApi, tmp_path: Path) -> None:
    cluster = cluster_for(api, tmp_path)
    async with watching(cluster) as watched:
        await api.until(lambda: api.watchers)
        api.revision += 500
        await api.bookmark()
        bookmarked = str(api.revision)
        await api.apply(plan("marker"))
        await watched.until(lambda: watched.told("added", "marker") == 1)
        api.history.clear()
        api.compacted = int(bookmarked)
        api.cut_watches()
        await api.until(lambda: api.calls["watch", PLANS] == 2)
    assert api.calls["list", PLANS] == 1
    assert int(api.asked[-1].query["resourceVersion"]) >= int(bookmarked)
    assert api.asked[-1].query["allowWatchBookmarks"] == "true"
    await cluster.aclose()


async def test_a_bookmark_adds_no_plan(api: KubernetesApi, tmp_path: Path) -> None:
    cluster = cluster_for(api, tmp_path)
    async with watching(cluster) as watched:
        await api.until(lambda: api.watchers)
        await api.bookmark()
        await api.apply(plan("after"))
        await watched.until(lambda: watched.told("added") == 1)
    assert cluster.plans().skipped == 0
    assert len(cluster.plans()) == 1
    await cluster.aclose()


async def test_a_server_that_is_away_at_the_start_is_found_when_it_comes(api: KubernetesApi, tmp_path: Path) -> None:
    await api.apply(plan("a"))
    cluster = cluster_for(api, tmp_path, times=replace(QUICK, lost_after=0.1))
    await api.down()
    async with watching(cluster) as watched:
        await watched.until(lambda: watched.told("lost") == 1)
        assert not cluster.plans().synced
        await eventually(lambda: "cannot be reached" in (cluster.plans().problem or ""))
        await api.up()
        await watched.until(lambda: watched.told("synced") == 1)
        await api.until(lambda: api.watchers)
    assert cluster.plans().by_name("team", "a") is not None
    await cluster.aclose()


async def test_a_server_away_for_long_is_lost_and_its_return_tells_every_difference(
    api: KubernetesApi, tmp_path: Path
) -> None:
    await api.apply(plan("a"))
    await api.apply(plan("b"))
    # So short that a busy machine may already be taken for one whose server is away: what counts is what comes after.
    cluster = cluster_for(api, tmp_path, times=replace(QUICK, lost_after=0.1))
    async with watching(cluster) as watched:
        await api.until(lambda: api.watchers)
        await api.down()
        await watched.until(lambda: watched.told("lost") and not cluster.plans().synced)
        assert cluster.plans().synced_once
        assert cluster.plans().by_name("team", "a") is not None
        assert not cluster.plans().was_deleted("uid-team-a")
        before = watched.told("synced")
        await api.delete("Plan", "team", "a")
        await api.up()
        await watched.until(lambda: watched.told("synced") > before)
    assert watched.told("deleted", "a") == 1
    assert cluster.plans().was_deleted("uid-team-a")
    await cluster.aclose()


async def test_a_half_open_connection_is_given_up_and_the_watch_goes_on(api: KubernetesApi, tmp_path: Path) -> None:
    cluster = cluster_for(api, tmp_path, times=replace(QUICK, length=0, silence=0.2))
    api.silent_watches = True
    async with watching(cluster) as watched:
        await api.until(lambda: api.calls["watch", PLANS] >= 2)
        api.silent_watches = False
        await api.apply(plan("a"))
        await watched.until(lambda: watched.told("added", "a") == 1)
    await cluster.aclose()


async def test_a_server_that_accepts_and_never_answers_is_lost_and_comes_back(
    api: KubernetesApi, tmp_path: Path
) -> None:
    api.hang()
    cluster = cluster_for(api, tmp_path, limits=Limits(request_timeout=0.2), times=replace(QUICK, lost_after=0.1))
    async with watching(cluster) as watched:
        await watched.until(lambda: watched.told("lost") == 1)
        api.release()
        await watched.until(lambda: watched.told("synced") == 1)
    await cluster.aclose()


async def test_a_rotated_service_account_token_is_read_again(api: KubernetesApi, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("test-token")
    config = api.write_kubeconfig(tmp_path / "kubeconfig", token_file=token)
    cluster = cluster_for(api, tmp_path, kubeconfig=config)
    async with watching(cluster) as watched:
        await api.until(lambda: api.watchers)
        token.write_text("rotated")
        api.rotate_token("rotated")
        api.cut_watches()
        await api.until(lambda: api.asked[-1].token == "rotated" and bool(api.watchers))
        await api.apply(plan("a"))
        await watched.until(lambda: watched.told("added", "a") == 1)
    assert cluster.plans().problem is None
    await cluster.aclose()


async def test_a_missing_right_is_named_and_the_watch_works_once_it_is_given(
    api: KubernetesApi, tmp_path: Path
) -> None:
    api.forbidden.add(("list", PLANS))
    cluster = cluster_for(api, tmp_path)
    async with watching(cluster) as watched:
        await eventually(lambda: cluster.plans().problem is not None)
        assert cluster.plans().problem == (
            "forbidden on cluster local: needs list plans.forklift.konveyor.io in all namespaces"
        )
        api.forbidden.clear()
        await watched.until(lambda: watched.told("synced") == 1)
        await api.until(lambda: api.watchers)
        await api.apply(plan("a"))
        await watched.until(lambda: watched.told("added", "a") == 1)
    assert cluster.plans().problem is None
    await cluster.aclose()


async def test_a_plan_made_again_under_its_name_is_another_plan(api: KubernetesApi, tmp_path: Path) -> None:
    await api.apply(plan("a", uid="first"))
    cluster = cluster_for(api, tmp_path)
    async with watching(cluster) as watched:
        await api.until(lambda: api.watchers)
        api.refuse_watches = True
        api.cut_watches()
        await api.until(lambda: not api.watchers)
        await api.delete("Plan", "team", "a")
        await api.apply(plan("a", uid="second"))
        api.compact()
        api.refuse_watches = False
        await watched.until(lambda: watched.told("added", "a") == 2)
    assert cluster.plans().was_deleted("first")
    row = cluster.plans().by_name("team", "a")
    assert row is not None
    assert row.uid == "second"
    assert len(cluster.plans()) == 1
    await cluster.aclose()


async def test_a_listener_that_raises_does_not_end_the_watch(api: KubernetesApi, tmp_path: Path) -> None:
    cluster = cluster_for(api, tmp_path)
    seen: list[str] = []
    done = asyncio.Event()

    def listener(event: PlanEvent) -> None:
        seen.append(event.kind)
        if event.kind == "deleted":
            done.set()
        raise RuntimeError("a bug elsewhere")

    task = asyncio.create_task(cluster.watch(listener))
    await api.until(lambda: api.watchers)
    await api.apply(plan("a"))
    await api.delete("Plan", "team", "a")
    async with asyncio.timeout(10):
        await done.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert seen == ["synced", "added", "deleted"]
    await cluster.aclose()


async def test_rows_do_not_keep_what_kubectl_applied_last(api: KubernetesApi, tmp_path: Path) -> None:
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": '{"secret": "x"}', "team": "erp"}
    await api.apply(plan("a", annotations=annotations, labels={"app": "shop"}))
    cluster = cluster_for(api, tmp_path)
    async with watching(cluster) as watched:
        await watched.until(lambda: watched.told("synced") == 1)
    row = cluster.plans().by_name("team", "a")
    assert row is not None
    assert row.annotations == {"team": "erp"}
    assert row.labels == {"app": "shop"}
    await cluster.aclose()


async def test_an_update_of_a_large_plan_costs_little_of_its_size(api: KubernetesApi, tmp_path: Path) -> None:
    large = plan("large", "Executing")
    large["status"]["migration"] = {"vms": [{"name": f"vm-{n}", "pipeline": ["x" * 1000]} for n in range(500)]}
    cluster = cluster_for(api, tmp_path)
    async with watching(cluster) as watched:
        await api.until(lambda: api.watchers)
        await api.apply(large)
        await watched.until(lambda: watched.told("added", "large") == 1)
    assert len(json.dumps(large)) > 500_000
    assert api.bytes_sent["watch", PLANS] < 3_000
    await cluster.aclose()
