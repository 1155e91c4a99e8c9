from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.kubernetes import KubernetesApi, running
from tests.unit.kube.helpers import cluster_for, plan, watching

pytestmark = pytest.mark.anyio

PLANS = "plans.forklift.konveyor.io"


@pytest.fixture
async def api() -> AsyncIterator[KubernetesApi]:
    async with running(KubernetesApi()) as server:
        yield server


@pytest.mark.parametrize(
    "lie",
    [
        {"cells": "x", "object": {"metadata": {"uid": "uid-team-a", "name": "a", "namespace": "team"}}},
        {"cells": [1, 2, 3, 4, 5, 6], "object": {"metadata": {"uid": "uid-team-a", "name": "a", "namespace": "team"}}},
        {"cells": [], "object": {"metadata": {"uid": "uid-team-a", "name": ["a"], "namespace": "team"}}},
        {"cells": [], "object": []},
        {"cells": [], "object": None},
        "a string",
        None,
        7,
    ],
)
async def test_a_row_of_wrong_types_is_counted_and_its_plan_is_not_taken_for_deleted(
    api: KubernetesApi, tmp_path: Path, lie: Any
) -> None:
    await api.apply(plan("a", "Executing"))
    await api.apply(plan("b"))
    cluster = cluster_for(api, tmp_path)
    async with watching(cluster) as watched:
        await api.until(lambda: api.watchers)
        api.replace["uid-team-a"] = lie
        await api.apply(plan("a", "Failed"))
        api.compact()
        api.revision += 1
        api.compacted = api.revision
        api.cut_watches()
        await api.until(lambda: api.calls["list", PLANS] == 2 and api.watchers)
        await api.apply(plan("c"))
        await watched.until(lambda: watched.told("added", "c") == 1)
    assert cluster.plans().skipped == 2
    row = cluster.plans().by_uid("uid-team-a")
    assert row is not None
    assert row.executing
    assert watched.told("deleted") == 0
    await cluster.aclose()


@pytest.mark.parametrize(
    "line",
    [b"\n", b"not json\n", b"[]\n", b"{}\n", b'{"type": 7, "object": {}}\n', b'{"type": "ADDED", "object": {"a": 1}}\n',
     b'{"type": "ADDED", "object": {"kind": "Table", "rows": {}}}\n', b'{"type":"NEW","object":{"kind":"Table"}}\n',
     b"\xff\xfe\n", b"[" * 100_000 + b"\n"],
    ids=range(10),
)  # fmt: skip
async def test_a_line_that_is_no_event_does_not_end_the_watch(api: KubernetesApi, tmp_path: Path, line: bytes) -> None:
    cluster = cluster_for(api, tmp_path)
    async with watching(cluster) as watched:
        await api.until(lambda: api.watchers)
        api.send_raw(line)
        await api.apply(plan("a"))
        await watched.until(lambda: watched.told("added", "a") == 1)
    assert api.calls["watch", PLANS] == 1
    await cluster.aclose()


async def test_line_separators_inside_a_label_do_not_cut_an_event(api: KubernetesApi, tmp_path: Path) -> None:
    cluster = cluster_for(api, tmp_path)
    async with watching(cluster) as watched:
        await api.until(lambda: api.watchers)
        await api.apply(plan("a", annotations={"note": "one\u2028two\x85three"}))
        await watched.until(lambda: watched.told("added", "a") == 1)
    row = cluster.plans().by_name("team", "a")
    assert row is not None
    assert row.annotations["note"] == "one\u2028two\x85three"
    assert cluster.plans().skipped == 0
    await cluster.aclose()


async def test_any_error_event_makes_the_list_be_read_again(api: KubernetesApi, tmp_path: Path) -> None:
    cluster = cluster_for(api, tmp_path)
    async with watching(cluster) as watched:
        await api.until(lambda: api.watchers)
        api.send_raw(b'{"type":"ERROR","object":{"kind":"Status","code":500,"message":"etcd is away"}}\n')
        await api.until(lambda: api.calls["list", PLANS] == 2 and api.watchers)
        await api.apply(plan("a"))
        await watched.until(lambda: watched.told("added", "a") == 1)
    assert cluster.plans().problem is None
    await cluster.aclose()


async def test_events_cut_anywhere_into_packets_are_put_together(api: KubernetesApi, tmp_path: Path) -> None:
    cluster = cluster_for(api, tmp_path)
    async with watching(cluster) as watched:
        await api.until(lambda: api.watchers)
        lines = b"".join(
            json.dumps({"type": "ADDED", "object": plan(f"p{number}", resourceVersion="2000")}).encode() + b"\n"
            for number in range(20)
        )
        for start in range(0, len(lines), 97):
            api.send_raw(lines[start : start + 97])
        await watched.until(lambda: watched.told("added") == 20)
    assert cluster.plans().skipped == 0
    await cluster.aclose()
