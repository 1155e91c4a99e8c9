"""Other running plans: read once for all checks of a minute, kept small, and counted where they do not come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver.room import running
from receiver.room.running import MOST_RESERVED, reduced
from tests.unit.room.clusters import Room, room

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
GET_PLAN = ("get", "plans.forklift.konveyor.io")
LIST_PLANS = ("list", "plans.forklift.konveyor.io")
LIST_PODS = ("list", "pods")


async def _crowd(it: Room, count: int) -> None:
    """Add executing plans to the same target, each with a VM that has begun and has no pod there yet."""
    vms = {one["name"]: one for one in it.plan()["spec"]["vms"]}
    begun = [{**vms["pay-web-01"], "started": "2026-09-01T08:00:00Z", "phase": "CreateTarget"}]
    for at in range(count):
        await it.clusters["hub"].apply(
            {
                **it.plan(),
                "metadata": {"name": f"run{at:02}", "namespace": "mtv-integrations", "uid": f"uid-{at}"},
                "spec": {**it.plan()["spec"], "vms": [vms["pay-web-01"]]},
                "status": {"conditions": [{"type": "Executing", "status": "True"}], "migration": {"vms": begun}},
            }
        )


@asynccontextmanager
async def watched(it: Room) -> AsyncIterator[None]:
    """Let the watch of the hub know all plans until the end of the block."""
    hub = it.live["hub"]
    watch = asyncio.create_task(hub.watch(lambda _: None))
    async with asyncio.timeout(10):
        while not hub.plans().synced:
            await asyncio.sleep(0.01)
    yield
    watch.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watch


async def test_other_plans_are_read_once_a_minute_however_many_checks_ask(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        await _crowd(it, 5)
        hub, east = it.clusters["hub"], it.clusters["east"]
        async with watched(it):
            first = await it.judged(NOW)
            plans, pods = hub.calls[GET_PLAN], east.calls[LIST_PODS]
            again = await asyncio.gather(*(it.judged(NOW + timedelta(seconds=20 * at)) for at in range(4)))
            shared = hub.calls[GET_PLAN] - plans
            await it.judged(NOW + timedelta(seconds=61))
            later = hub.calls[GET_PLAN] - plans
    assert (plans, shared, later) == (5, 0, 5)
    assert pods == 1 + 5
    assert "room is held back for 5 VMs of other running plans" in first.notes
    assert [one.notes for one in again] == [first.notes] * 4
    assert [one.answer.in_flight for one in again] == [first.answer.in_flight] * 4


async def test_without_a_watch_the_plans_are_listed_page_by_page_once_a_minute(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        await _crowd(it, 30)
        hub = it.clusters["hub"]
        first = await it.judged(NOW)
        pages = hub.calls[LIST_PLANS]
        again = await it.judged(NOW + timedelta(seconds=59))
    assert first.answer.in_flight is not None
    assert (first.answer.in_flight.moving, len(first.answer.in_flight.plans)) == (30, 30)
    assert (pages, hub.calls[LIST_PLANS]) == (2, 2)
    assert again.answer.in_flight == first.answer.in_flight


async def test_more_plans_than_are_looked_at_are_counted(tmp_path: Path) -> None:
    async with room(tmp_path) as it:
        await _crowd(it, MOST_RESERVED + 3)
        async with watched(it):
            found = await it.judged(NOW)
    assert it.clusters["hub"].calls[GET_PLAN] == MOST_RESERVED
    told = [one.why for one in found.unknown if one.resource == "other running plans"]
    assert told == ["3 of them were not looked at: too many, or no answer in time"]


async def test_a_cluster_that_hangs_costs_one_wait_and_not_one_for_each_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with room(tmp_path) as it:
        await _crowd(it, 3)
        async with watched(it):
            monkeypatch.setattr(running, "WAIT_S", 0.2)
            it.clusters["hub"].hang()
            found = await it.supply.running.beside(it.live["hub"], it.plan(), NOW)
            asked = it.clusters["hub"].calls[GET_PLAN]
            it.clusters["hub"].release()
    assert found == ((), 3)
    assert asked == 1


def test_of_a_large_plan_little_is_kept() -> None:
    status = [{"id": f"vm-{at}", "name": f"erp-{at}", "started": "x", "pipeline": ["…"] * 100} for at in range(500)]
    vms = [{"id": f"vm-{at}", "luks": {}, "hooks": ["…"] * 10} for at in range(500)]
    plan: dict[str, Any] = {
        "metadata": {"name": "big", "namespace": "mtv", "managedFields": ["…"]},
        "spec": {"vms": vms, "map": {"storage": {}}, "provider": {"source": {"name": "s", "namespace": "mtv"}}},
        "status": {"conditions": [{"type": "Executing", "status": "True"}], "migration": {"vms": status}},
    }
    found = reduced(plan)
    assert found is not None
    assert (found.flow.moving, found.flow.waiting, found.flow.source) == (500, 0, ("mtv", "s"))
    assert found.plan["spec"]["vms"] == [{"id": f"vm-{at}"} for at in range(MOST_RESERVED)]
    assert found.plan["status"]["migration"]["vms"][0] == {"id": "vm-0", "name": "erp-0", "namespace": ""}
    assert set(found.plan) == {"metadata", "spec", "status"}
    assert set(found.plan["metadata"]) == {"name", "namespace"}
    assert reduced({**plan, "status": {}}) is None
    assert reduced({"status": {"conditions": [{"type": "Executing", "status": "True"}]}, "spec": 3}) is not None
