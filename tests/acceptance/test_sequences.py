"""What a real Alertmanager sent, captured, played again: how many stories, messages, incidents and tickets it makes."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.harness import DATA, Running, captured, routes_yaml, running, slack
from tests.acceptance.plans import cluster, plan, top, watched
from tests.databases import ask
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

FAST = "global: {resolve_delay: 300ms, confirm_after: 1h}\nclusters: []"
SLOW = "global: {resolve_delay: 1h, confirm_after: 1h}\nclusters: []"
RESTART = "real-chain-01-metrics-exporter-restart-resolves-everything.json"
TWO_PLANS = "real-chain-02-two-plans-failed-in-one-body.json"
PHASE = "real-chain-03-phase-changed-resolved-and-firing-in-one-body.json"
RERUN = "real-chain-04-re-run-started-looks-like-resolved.json"
SUCCEEDED = "real-chain-05-succeeded-fires-under-another-name.json"
DELETED = "real-chain-06-plan-deleted-looks-like-resolved.json"

OPENED_ALONE = {
    "01-one-firing.json": 1,
    "01-one-firing.raw.json": 1,
    "02-group-3-firing.json": 3,
    "03-group-3-one-resolved.json": 2,
    "04-all-resolved.json": 0,
    "05-truncated-max-alerts-1.json": 1,
    "06-truncated-all-resolved.json": 0,
    "07-send-resolved-false-one-firing.json": 3,
    "08-migration-failed-prometheus-labels.json": 1,
    "09-migration-failed-resolved.json": 0,
    "10-sync-failed-unicode-name.json": 1,
    "11-sync-failed-no-annotations-in-common.json": 2,
    "12-receiver-name-escaped.json": 1,
    "13-repeat-identical.json": 1,
    "14-truncated-hides-firing.json": 0,
    "15-timezones.json": 2,
    "16-ha-duplicate-first-peer.json": 1,
    "17-ha-duplicate-second-peer.json": 1,
    RESTART: 0,
    TWO_PLANS: 2,
    PHASE: 2,
    RERUN: 1,
    SUCCEEDED: 0,
    DELETED: 0,
}
"""How many stories each captured body opens when it is the first thing ever heard: what only resolves opens none."""


def bodies(name: str) -> list[dict[str, Any]]:
    """Return the webhook bodies of a captured file, in order."""
    found = captured(name)
    if "deliveries" in found:
        return [one["body"] for one in found["deliveries"]]
    return [found["request"]["body"] if "request" in found else found]


def firing_again(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body that must have come before one that only resolves."""
    copied: dict[str, Any] = copy.deepcopy(dict(body))
    copied["status"] = "firing"
    for one in copied["alerts"]:
        one |= {"status": "firing", "endsAt": "0001-01-01T00:00:00Z"}
    return copied


async def settled(service: Running) -> None:
    """Await that everything accepted so far is worked off, and then told."""

    async def worked_off() -> bool:
        return ask(service.folder, "SELECT count(*) FROM inbox WHERE state = 'new'") == [(0,)]

    await service.until(worked_off)
    await service.idle()


async def play(service: Running, *names: str) -> None:
    """Send captured bodies one after the other, each after the one before has had its effect."""
    for name in names:
        for body in bodies(name):
            await service.send(body)
            await settled(service)


async def states(service: Running) -> dict[str, tuple[str, str | None]]:
    """Return state and outcome of every story, by the name of its plan."""
    return {
        one["labels"].get("plan_name", one["title"]): (one["state"], one["outcome"]) for one in await service.stories()
    }


async def until_states(service: Running, **expected: tuple[str, str | None]) -> None:
    """Await the states of all stories; `_` in a name stands for `-`."""
    wanted = {name.replace("_", "-"): value for name, value in expected.items()}

    async def look() -> bool:
        return await states(service) == wanted

    await service.until(look)
    await settled(service)


def counts(vendors: FakeVendors) -> tuple[int, int, int]:
    """Return how many messages, incidents and tickets were ever made."""
    return len(vendors.slack_roots()), len(vendors.incidents()), len(vendors.jira_issues())


def test_every_captured_body_has_an_expectation() -> None:
    files = {path.name for path in (DATA / "alertmanager").glob("*.json")}
    sequences = {name for name in files if "-sequence-" in name}
    others = {name for name in files if name.startswith(("api-v2-", "retry-", "sizes"))}
    assert files - sequences - others == set(OPENED_ALONE)
    assert len(sequences) == 5


@pytest.mark.parametrize(("name", "expected"), OPENED_ALONE.items())
async def test_a_captured_body_is_accepted_whole_and_opens_the_stories_it_should(
    name: str, expected: int, tmp_path: Path
) -> None:
    receivers = f"- name: platform\n  {slack('#platform')}\n"
    async with (
        FakeVendors() as vendors,
        running(routes_yaml(vendors, tmp_path, top=SLOW, receivers=receivers), vendors) as service,
    ):
        for body in bodies(name):
            assert await service.send(body) == {"accepted": len(body["alerts"]), "rejected": []}
        await settled(service)
        assert [one["state"] for one in await service.stories()] == ["firing"] * expected
        assert len(vendors.slack_roots()) == expected


async def test_the_bytes_as_alertmanager_sent_them_are_accepted(tmp_path: Path) -> None:
    raw = (DATA / "alertmanager" / "01-one-firing.raw.json").read_bytes()
    async with FakeVendors() as vendors, running(routes_yaml(vendors, tmp_path, top=SLOW), vendors) as service:
        headers = {"Content-Type": "application/json", "User-Agent": "Alertmanager/0.25.0"}
        response = await service.http.post(service.url + "/webhook", content=raw, headers=headers)
        assert response.json() == {"accepted": 1, "rejected": []}
        await settled(service)
        assert counts(vendors) == (1, 1, 1)


async def test_a_group_that_resolves_bit_by_bit_closes_each_plan_once(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, running(routes_yaml(vendors, tmp_path, top=FAST), vendors) as service:
        await play(service, "01-one-firing.json", "02-group-3-firing.json")
        assert counts(vendors) == (3, 3, 3)
        await play(service, "03-group-3-one-resolved.json")
        await until_states(
            service, win2019_batch1=("resolved", "cleared"), rhel8_db=("firing", None), rhel9_web=("firing", None)
        )
        assert len(vendors.incidents_open()) == 2
        await play(service, "04-all-resolved.json")
        cleared = ("resolved", "cleared")
        await until_states(service, win2019_batch1=cleared, rhel8_db=cleared, rhel9_web=cleared)
        assert counts(vendors) == (3, 3, 3)
        assert len(vendors.pagerduty_events("resolve", "resolved")) == 3


async def test_a_truncated_body_ends_only_what_it_names(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, running(routes_yaml(vendors, tmp_path, top=FAST), vendors) as service:
        await play(
            service, "02-group-3-firing.json", "05-truncated-max-alerts-1.json", "06-truncated-all-resolved.json"
        )
        await until_states(
            service, rhel8_db=("resolved", "cleared"), win2019_batch1=("firing", None), rhel9_web=("firing", None)
        )
        assert len(vendors.incidents_open()) == 2
        await play(service, "14-truncated-hides-firing.json")
        assert len(vendors.incidents_open()) == 2, "a body that says resolved while it hides alerts ends nothing else"


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ("08-migration-failed-prometheus-labels.json", "13-repeat-identical.json"),
        ("16-ha-duplicate-first-peer.json", "17-ha-duplicate-second-peer.json"),
    ],
)
async def test_a_repeat_and_an_ha_twin_cost_no_request(first: str, again: str, tmp_path: Path) -> None:
    async with FakeVendors() as vendors, running(routes_yaml(vendors, tmp_path, top=SLOW), vendors) as service:
        await play(service, first)
        before = len(vendors.requests)
        revision = (await service.stories())[0]["revision"]
        await play(service, again)
        assert counts(vendors) == (1, 1, 1)
        assert len(vendors.requests) == before
        assert (await service.stories())[0]["revision"] == revision


async def test_ha_twins_that_arrive_together_make_one_story(tmp_path: Path) -> None:
    twins = [*bodies("16-ha-duplicate-first-peer.json"), *bodies("17-ha-duplicate-second-peer.json")]
    async with FakeVendors() as vendors, running(routes_yaml(vendors, tmp_path, top=SLOW), vendors) as service:
        await asyncio.gather(*(service.send(body) for body in twins))
        await settled(service)
        assert len(await service.stories()) == 1
        assert counts(vendors) == (1, 1, 1)


async def test_18_a_comeback_before_the_story_closed_is_no_news(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, running(routes_yaml(vendors, tmp_path, top=SLOW), vendors) as service:
        await play(service, "18-sequence-timeout-resolve-same-startsat.json")
        assert await states(service) == {"x": ("firing", None)}
        assert counts(vendors) == (1, 1, 1)
        assert vendors.pagerduty_events("resolve") == []


async def test_18_a_comeback_after_the_story_closed_reopens_the_same_story(tmp_path: Path) -> None:
    first, resolved, again = bodies("18-sequence-timeout-resolve-same-startsat.json")
    async with FakeVendors() as vendors, running(routes_yaml(vendors, tmp_path, top=FAST), vendors) as service:
        await service.send(first)
        await settled(service)
        await service.send(resolved)
        await until_states(service, x=("resolved", "cleared"))
        await service.send(again)
        await until_states(service, x=("firing", None))
        assert len(await service.stories()) == 1
        assert len(vendors.slack_roots()) == len(vendors.jira_issues()) == 1
        assert len(vendors.incidents_open()) == 1, "one incident at a time"
        assert len(vendors.pagerduty_events("resolve", "resolved")) == 1


async def test_19_a_new_start_of_an_alert_that_never_resolved_joins_its_story(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, running(routes_yaml(vendors, tmp_path, top=FAST), vendors) as service:
        await play(service, "19-sequence-silence-hides-resolve.json")
        (story,) = await service.stories()
        assert story["alerts"][0]["startsAt"] == "2026-11-21T08:09:45.345Z"
        assert counts(vendors) == (1, 1, 1)


async def test_20_what_a_resolved_body_does_not_name_stays_open(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, running(routes_yaml(vendors, tmp_path, top=FAST), vendors) as service:
        await play(service, "20-sequence-restart-loses-alert.json")
        await until_states(service, x=("resolved", "cleared"), y=("firing", None))
        assert counts(vendors) == (2, 2, 2)
        assert len(vendors.incidents_open()) == 1


async def test_21_a_duplicate_after_a_crash_of_alertmanager_makes_nothing_new(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, running(routes_yaml(vendors, tmp_path, top=FAST), vendors) as service:
        await play(service, "21-sequence-kill9-duplicate.json")
        await until_states(service, x=("resolved", "cleared"), y=("firing", None))
        assert counts(vendors) == (2, 2, 2)
        assert len(vendors.pagerduty_events("resolve", "resolved")) == 1


async def test_22_a_changed_annotation_makes_nothing_new(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, running(routes_yaml(vendors, tmp_path, top=FAST), vendors) as service:
        await play(service, "22-sequence-annotation-change.json")
        assert await states(service) == {"x": ("firing", None)}
        assert counts(vendors) == (1, 1, 1)
        assert vendors.slack_replies() == []
        assert vendors.jira_comments() == []


async def test_a_changed_phase_in_one_body_keeps_one_of_each(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, running(routes_yaml(vendors, tmp_path, top=FAST), vendors) as service:
        await play(service, TWO_PLANS)
        assert counts(vendors) == (2, 2, 2)
        await play(service, PHASE)
        assert await states(service) == {"erp-wave1": ("firing", None), "files-cold": ("firing", None)}
        assert counts(vendors) == (2, 2, 2)
        assert vendors.pagerduty_events("resolve") == []
        files = next(one for one in await service.stories() if one["title"].endswith("files-cold"))
        assert sorted(one["status"] for one in files["alerts"]) == ["firing", "resolved"]


async def test_a_restart_of_the_exporter_ends_nothing_while_the_plans_are_still_failed(tmp_path: Path) -> None:
    (resolved,) = bodies(RESTART)
    uids = {one["labels"]["plan_name"]: one["labels"]["plan"] for one in resolved["alerts"]}
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        for name, uid in uids.items():
            await api.apply(plan("Failed", uid=uid, name=name))
        async with running(routes_yaml(vendors, tmp_path, top=top()), vendors) as service:
            await service.send(firing_again(resolved))
            await settled(service)
            assert counts(vendors) == (2, 2, 2)
            await service.send(resolved)

            async def noted() -> bool:
                return [one["note"] for one in await service.stories()] == ["alert gone, plan still failed"] * 2

            await service.until(noted)
            await service.send(firing_again(resolved))
            await settled(service)
            assert {state for state, _ in (await states(service)).values()} == {"firing"}
            assert counts(vendors) == (2, 2, 2)
            assert vendors.pagerduty_events("resolve") == []
            assert vendors.jira_transitions() == []


async def test_the_real_chain_from_two_failures_to_a_success_and_a_deletion(tmp_path: Path) -> None:
    two = bodies(TWO_PLANS)[0]["alerts"]
    uids = {one["labels"]["plan_name"]: one["labels"]["plan"] for one in two}
    erp = {"uid": uids["erp-wave1"], "name": "erp-wave1"}
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await api.apply(plan("Failed", uid=erp["uid"], name=erp["name"]))
        await api.apply(plan("Failed", uid=uids["files-cold"], name="files-cold"))
        async with running(routes_yaml(vendors, tmp_path, top=top()), vendors) as service:
            await watched(api, service)
            await play(service, TWO_PLANS, PHASE)
            await api.apply(plan("Executing", runs=2, uid=erp["uid"], name=erp["name"]))
            await play(service, RERUN)
            await until_states(service, erp_wave1=("re-running", None), files_cold=("firing", None))
            assert len(vendors.incidents_open()) == 2, "a re-run is not a fix"
            await api.apply(plan("Succeeded", runs=2, uid=erp["uid"], name=erp["name"]))
            await play(service, SUCCEEDED)
            await until_states(service, erp_wave1=("resolved", "fixed"), files_cold=("firing", None))
            await api.delete("Plan", "mig-team-a", "files-cold")
            await play(service, DELETED)
            await until_states(service, erp_wave1=("resolved", "fixed"), files_cold=("resolved", "deleted"))
            await play(service, PHASE, SUCCEEDED)
            assert (await states(service))["erp-wave1"] == ("resolved", "fixed"), "a late copy of its failure is old"
            assert counts(vendors)[0] == 2
            assert len([one for one in vendors.incidents_resolved() if "erp-wave1" in json.dumps(one.title)]) == 1


async def test_a_success_alone_fixes_the_plan_that_failed_before_it(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, running(routes_yaml(vendors, tmp_path, top=SLOW), vendors) as service:
        await play(service, TWO_PLANS, RERUN, SUCCEEDED)
        assert await states(service) == {"erp-wave1": ("resolved", "fixed"), "files-cold": ("firing", None)}
        await play(service, TWO_PLANS)
        assert (await states(service))["erp-wave1"] == ("resolved", "fixed"), "the failure is older than the success"
        assert len(vendors.incidents_open()) == 1
        assert counts(vendors)[0] == 2
