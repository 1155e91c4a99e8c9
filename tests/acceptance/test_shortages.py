"""A Plan that does not fit where it goes is told before it starts, as a story of its own, until it fits."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from receiver import rooms, shortages
from receiver.room import supply
from tests.acceptance.harness import Running, alert, failed, routes_yaml, running, three
from tests.databases import ask
from tests.fakes.vendors import FakeVendors
from tests.fleet import S4, Fleet, fleet, load

pytestmark = [pytest.mark.anyio, pytest.mark.past_proxy("asks API servers by clients of its own")]

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "shortages"
ROUTE = "{receiver: platform, routes: [{namespaces: ['payments'], receiver: payments}]}"
RECEIVERS = f"{three('platform', '#platform')}{three('payments', '#payments')}"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked again after minutes otherwise; what is tested is not how long that takes."""
    monkeypatch.setattr(shortages, "AGAIN_S", 0.3)
    monkeypatch.setattr(shortages, "SOON_S", 0.1)
    monkeypatch.setattr(shortages, "TICK_S", 0.1)
    monkeypatch.setattr(shortages, "PER_MINUTE", 1_000)
    monkeypatch.setattr(supply, "FRESH_S", 0.1)
    monkeypatch.setattr(supply, "FAILED_S", 0.1)


@asynccontextmanager
async def watching(folder: Path, clusters: Fleet, more: str = "") -> AsyncIterator[tuple[Running, FakeVendors]]:
    """Run the service on the fleet's clusters."""
    top = yaml.safe_dump({"clusters": yaml.safe_load(clusters.config.read_text())["clusters"]})
    async with FakeVendors() as vendors:
        config = routes_yaml(
            vendors, folder, top=f"{top}global: {{resolve_delay: 100ms}}\n{more}", receivers=RECEIVERS, route=ROUTE
        )
        async with running(config, vendors) as service:
            yield service, vendors


async def test_a_plan_that_does_not_fit_is_told_to_its_team_before_it_starts_and_ends_when_there_is_room(
    tmp_path: Path,
) -> None:
    async with fleet(tmp_path, S4) as clusters, watching(tmp_path, clusters) as (service, vendors):
        story = await service.until_state("firing", timeout=30)
        await service.idle()
        uid = story["labels"]["plan"]
        assert (story["subject"], story["severity"]) == (f"capacity/{uid}", "warning")
        assert story["labels"]["alertname"] == "MTVPlanCapacityShort"
        assert {one["receiver"] for one in await service.deliveries()} == {"payments"}
        assert len(vendors.slack_roots()) == len(vendors.incidents()) == 1
        ((payload,),) = ask(service.folder, "SELECT payload FROM alerts")
        said = json.loads(payload)["annotations"]
        assert said["summary"] == (
            "west lacks 17.03 GiB requests.memory (quota payments/payments-quota): "
            "plan cross-cluster-migration-k7x2 does not fit"
        )
        assert said["description"].startswith("The plan needs 57.03 GiB requests.memory, quota payments/payments-quota")
        assert "south fits, which leaves" in said["description"]

        quota = next(each for each in clusters["west"].objects.values() if each["kind"] == "ResourceQuota")
        quota["status"]["hard"]["requests.memory"] = "128Gi"
        await clusters["west"].apply(quota)
        await service.until_state("resolved", timeout=30, outcome="cleared")
        await service.idle()
        assert len(vendors.incidents()) == 1
        assert not vendors.incidents_open()


async def test_a_plan_that_fits_is_not_talked_about(tmp_path: Path) -> None:
    async with fleet(tmp_path) as clusters, watching(tmp_path, clusters) as (service, _):
        await clusters["west"].until(lambda: clusters["west"].calls["list", "pods"] >= 1)
        await service.idle()
        assert await service.stories() == []


async def test_what_may_not_be_read_is_never_called_short(tmp_path: Path) -> None:
    async with fleet(tmp_path, {"west": "s2-fragmented-memory.yaml"}) as clusters:
        clusters["west"].forbidden = {("list", "pods")}
        async with watching(tmp_path, clusters) as (service, _):
            asked = clusters["west"].calls
            await clusters["west"].until(lambda: asked["list", "nodes"] >= 2)
            assert await service.stories() == []


async def test_a_target_that_takes_long_to_read_is_known_to_the_next_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shortages, "AGAIN_S", 300.0)
    monkeypatch.setattr(supply, "FRESH_S", 60.0)
    monkeypatch.setitem(supply.Supply.__init__.__kwdefaults__, "wait_s", 0.1)
    async with fleet(tmp_path, {"west": "s2-fragmented-memory.yaml"}) as clusters:
        west = clusters["west"]
        west.hang("list", "nodes")
        async with watching(tmp_path, clusters) as (service, _):
            await west.until(lambda: west.calls["list", "resourcequotas"] >= 2)  # it gave up waiting, and asked again
            assert await service.stories() == []
            west.release()
            await service.until_state("firing", timeout=30)
            assert west.calls["list", "nodes"] == 1


async def test_an_edited_plan_is_judged_again(tmp_path: Path) -> None:
    async with fleet(tmp_path) as clusters, watching(tmp_path, clusters) as (service, _):
        west, hub = clusters["west"], clusters["hub"]
        await west.until(lambda: west.calls["list", "pods"] >= 1)
        await service.idle()
        assert await service.stories() == []
        quota = next(each for each in west.objects.values() if each["kind"] == "ResourceQuota")
        for part in ("spec", "status"):
            quota[part]["hard"]["requests.memory"] = "1Gi"
        await west.apply(quota)
        plan = next(each for each in hub.objects.values() if each["kind"] == "Plan")
        await hub.apply({**plan, "metadata": {**plan["metadata"], "generation": 7}})
        await service.until_state("firing", timeout=30)


@pytest.mark.parametrize("kind", ["Canceled", "Archived"])
async def test_a_shortage_ends_with_the_plan_that_will_not_start(kind: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, S4, executing=True) as clusters:
        off = "watch: {alerts: [MTVPlanCapacityShort]}"
        async with watching(tmp_path, clusters, off) as (service, vendors):
            await service.until_state("firing", timeout=60)
            hub = clusters["hub"]
            plan = next(each for each in hub.objects.values() if each["kind"] == "Plan")
            plan["status"]["conditions"] = [{"type": each, "status": "True"} for each in ("Ready", kind)]
            await hub.apply(plan)
            await service.until_state("resolved", timeout=30)
            await vendors.until(lambda v: not v.incidents_open())


async def test_switched_off_nothing_is_computed(tmp_path: Path) -> None:
    async with fleet(tmp_path, {"west": "s2-fragmented-memory.yaml"}) as clusters:
        off = "watch: {alerts: [MTVPlanNotReady]}"
        async with watching(tmp_path, clusters, off) as (service, _):
            await clusters["hub"].until(lambda: clusters["hub"].calls["watch", "plans.forklift.konveyor.io"] >= 1)
            await service.idle()
            assert clusters["west"].calls["list", "pods"] == 0


async def test_the_story_of_a_stuck_migration_says_what_the_target_lacks_and_where_there_is_room(
    tmp_path: Path,
) -> None:
    async with fleet(tmp_path, S4, executing=True) as clusters:
        await load(clusters["west"], "s5-observed-pending.yaml")
        off = "watch: {alerts: [MTVPlanStuck]}"
        async with watching(tmp_path, clusters, off) as (service, vendors):
            await service.until_state("firing", timeout=30)
            await vendors.until(lambda v: "*Room*" in json.dumps([one.blocks for one in v.slack_roots()]), timeout=30)
            shown = json.dumps([one.blocks for one in vendors.slack_roots()], ensure_ascii=False)
            assert "Take cluster south instead: the plan fits there" in shown


async def test_what_was_found_waits_for_no_slow_look_at_the_room_and_is_told_of_it_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "TIMEOUT_S", 300.0)
    monkeypatch.setitem(supply.Supply.__init__.__kwdefaults__, "wait_s", 300.0)
    async with fleet(tmp_path, S4, executing=True) as clusters:
        await load(clusters["west"], "s5-observed-pending.yaml")
        clusters["west"].hang("list", "nodes")
        off = "watch: {alerts: [MTVPlanStuck]}"
        async with watching(tmp_path, clusters, off) as (_, vendors):

            def shown() -> str:
                return json.dumps([one.blocks for one in vendors.slack_roots()], ensure_ascii=False)

            await vendors.until(lambda v: "Cause" in shown() and v.jira_issues(), timeout=30)
            (ticket,) = vendors.jira_issues()
            assert "Insufficient memory" in str(ticket)
            assert "*Room*" not in shown()
            clusters["west"].release()
            await vendors.until(lambda _: "*Room*" in shown(), timeout=30)


async def test_the_story_of_a_plan_links_the_story_of_its_shortage(tmp_path: Path) -> None:
    async with fleet(tmp_path, S4) as clusters, watching(tmp_path, clusters) as (service, vendors):
        shortage = await service.until_state("firing", timeout=30)
        await service.post(alert(failed(shortage["labels"]["plan"], shortage["labels"]["plan_name"])))
        link = f"More in story {shortage['id']}."
        await vendors.until(lambda v: link in json.dumps([one.blocks for one in v.slack_roots()]), timeout=30)


@pytest.mark.parametrize(("file", "told"), [("s2-fragmented-memory.yaml", True), ("s1-fits.yaml", False)])
async def test_a_plan_that_failed_for_another_reason_is_told_with_the_room_that_it_lacks(
    tmp_path: Path, file: str, *, told: bool
) -> None:
    async with fleet(tmp_path, {"west": file}) as clusters:
        (plan,) = [one for one in clusters["hub"].objects.values() if one["kind"] == "Plan"]
        plan["status"]["conditions"].append({"type": "Failed", "status": "True", "category": "Advisory"})
        plan["spec"]["type"] = "warm"
        await clusters["hub"].apply(plan)
        uid = plan["metadata"]["uid"]
        async with watching(tmp_path, clusters, "watch: {alerts: []}") as (service, vendors):
            await service.post(alert(failed(uid, plan["metadata"]["name"])))
            await service.until_state("firing", timeout=30)
            await clusters["west"].until(lambda: clusters["west"].calls["list", "nodes"] >= 1)

            async def gathered() -> bool:
                return bool(ask(service.folder, "SELECT evidence FROM stories WHERE evidence LIKE '%\"verdict\"%'"))

            if told:
                await service.until(gathered, timeout=30)
            await service.idle()
            shown = json.dumps([one.blocks for one in vendors.slack_roots()])
            assert ("*Room*" in shown) is told


def drawn(root: Any) -> str:
    """Return a Slack message as text, what differs from run to run left out."""
    lines = [root.text]
    for block in root.blocks:
        parts = block.get("elements") or [block.get("text")]
        lines += [
            "",
            *(str(part["text"]) for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)),
        ]
    text = re.sub(r"\d{1,2} \w{3} \d{4} \d\d:\d\d UTC", "<now>", "\n".join(lines))
    text = re.sub(r"<http[^|>]*\|([^>]*)>", r"\1", text)
    return re.sub(r"routes\.yaml:\d+", "routes.yaml:<line>", text) + "\n"


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("s2-fragmented-memory", {"west": "s2-fragmented-memory.yaml"}),
        ("s3-storage-short", {"west": "s3-storage-short.yaml"}),
        ("s4-quota-short", S4),
    ],
)
async def test_a_shortage_reads_in_slack_as_its_golden_file(
    name: str, targets: Mapping[str, str], tmp_path: Path
) -> None:
    """UPDATE_GOLDEN=1 rewrites the file; read the difference."""
    async with fleet(tmp_path, targets) as clusters, watching(tmp_path, clusters) as (service, vendors):
        await service.until_state("firing", timeout=30)

        async def complete() -> bool:
            return all(one["state"] == "delivered" for one in await service.deliveries())

        await service.until(complete, timeout=30)
        await vendors.until(
            lambda v: "Not known" in drawn(v.slack_roots()[0]) or "runbook" in drawn(v.slack_roots()[0])
        )
        await service.idle()
        (root,) = vendors.slack_roots()
    file = GOLDEN / f"{name}.txt"
    # Tickets and pages get their links at different moments.
    text = re.sub(r"Told: .*?, because", "Told: …, because", drawn(root))
    if os.environ.get("UPDATE_GOLDEN") == "1":
        file.write_text(text)
    assert text == file.read_text()
