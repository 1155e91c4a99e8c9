"""Destinations do not get in each other's way, and none is asked more, or sooner, than it wants to be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from receiver.sandbox.slack import channel_id
from tests.acceptance.faulty import (
    CHANNEL,
    QUICK,
    all_three,
    all_told,
    config,
    overlapping,
    plan,
    until_delivery,
)
from tests.acceptance.harness import Running, jira, pagerduty, running, slack
from tests.databases import ask
from tests.fakes import faults
from tests.fakes.vendors import FakeVendors, SeenRequest, Vendor

pytestmark = pytest.mark.anyio

VENDORS: tuple[Vendor, ...] = ("slack", "pagerduty", "jira")
CREATES = {"slack": "chat.postMessage", "pagerduty": "trigger", "jira": "POST issue"}


@pytest.mark.parametrize("vendor", VENDORS)
async def test_nothing_is_asked_of_a_destination_before_the_time_that_it_named(tmp_path: Path, vendor: Vendor) -> None:
    manners = ", timeout: 1s, lookup_grace: 500ms, max_in_flight: 1, retry: {min: 50ms, max: 200ms}"
    async with FakeVendors() as vendors:
        vendors.fail(vendor, faults.PASS, faults.rate_limited(2), on=CREATES[vendor])
        async with running(config(vendors, tmp_path, all_three(manners)), vendors) as service:
            await service.post(*map(plan, range(6)))
            await all_told(service, "firing", 6)
            seen = vendors.seen(vendor)
            limited = next(one for one in seen if one.status == 429)
            assert limited.ended_at is not None
            later = [one.at - limited.ended_at for one in seen if one.number > limited.number]
            assert len(later) >= 5
            # The database's clock counts in milliseconds.
            assert min(later) > 2.0 - 0.002
            assert len(vendors.slack_roots()) == len(vendors.incidents()) == len(vendors.jira_issues()) == 6


async def test_a_look_up_that_is_told_to_wait_holds_the_whole_destination_back(tmp_path: Path) -> None:
    manners = ", timeout: 1s, lookup_grace: 500ms, max_in_flight: 1, retry: {min: 50ms, max: 200ms}"
    receivers = f"- name: platform\n  {slack(CHANNEL, manners)}\n"
    async with FakeVendors() as vendors:
        vendors.fail("slack", faults.cut_after(), on="chat.postMessage")
        vendors.fail("slack", faults.rate_limited(2), on="conversations.history")
        async with running(config(vendors, tmp_path, receivers), vendors) as service:
            await service.post(plan(1))
            looks = await vendors.until(lambda v: [one for one in v.seen("slack", "conv*") if one.status == 429])
            await service.post(plan(2))
            await vendors.until(lambda v: len(v.slack_roots()) == 2)
            await all_told(service, "firing", 2)
            later = [one.at for one in vendors.seen("slack") if one.number > looks[0].number]
            assert looks[0].ended_at is not None
            assert min(later) - looks[0].ended_at > 2.0 - 0.002
            await vendors.settle(1.2)
            assert len(vendors.slack_roots()) == 2


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_destination_that_hangs_delays_no_other(tmp_path: Path, vendor: Vendor) -> None:
    patient = ", timeout: 10s, lookup_grace: 500ms, retry: {min: 50ms, max: 200ms}"
    receivers = f"- name: platform\n  {slack(CHANNEL, patient)}\n  {pagerduty(patient)}\n  {jira('MIG', patient)}\n"
    async with FakeVendors() as vendors:
        vendors.fail(vendor, faults.hang(), always=True)
        async with running(config(vendors, tmp_path, receivers), vendors) as service:
            await service.post(*map(plan, range(12)))
            await vendors.until(lambda v: len(v.seen(vendor)) == 4)
            told: dict[str, Callable[[], int]] = {
                "slack": lambda: len(vendors.slack_roots()),
                "pagerduty": lambda: len(vendors.incidents()),
                "jira": lambda: len(vendors.jira_issues()),
            }
            del told[vendor]
            await vendors.until(lambda _: all(count() == 12 for count in told.values()))
            hanging = vendors.seen(vendor)
            assert len(hanging) == 4, "all others were told while the first requests still hung"
            assert all(one.ended_at is None for one in hanging)


async def test_a_parked_destination_that_hangs_when_it_is_asked_again_delays_no_other(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        vendors.sandbox.slack.revoked.add("xoxb-test")
        receivers = f"- name: platform\n  {slack(CHANNEL)}\n  {pagerduty(QUICK)}\n"
        async with running(config(vendors, tmp_path, receivers), vendors) as service:
            await service.post(plan(1))
            await until_delivery(service, "slack", "parked")
            await service.post(plan(1, "resolved"))
            await vendors.until(lambda v: v.incidents_resolved())
            vendors.fail("slack", faults.hang(), always=True)
            probe_now(service)
            asked = await vendors.until(lambda v: v.seen("slack", "auth.test"))
            await service.post(plan(2))
            await vendors.until(lambda v: v.incidents_open())
            assert asked[0].ended_at is None, "the pager was told while the other's question still hung"


async def test_a_probe_that_is_answered_well_frees_and_one_that_is_refused_does_not(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        vendors.sandbox.slack.revoked.add("xoxb-test")
        receivers = f"- name: platform\n  {slack(CHANNEL, QUICK)}\n"
        async with running(config(vendors, tmp_path, receivers), vendors) as service:
            await service.post(*map(plan, range(8)))
            await until_delivery(service, "slack", "parked")
            await vendors.settle()
            seen = len(vendors.seen("slack"))
            assert seen <= 8
            probe_now(service)
            await vendors.until(lambda v: len(v.seen("slack")) > seen)
            await vendors.settle(1.5)
            assert len(vendors.seen("slack")) == seen + 1, "one probe is one request"
            assert not vendors.slack_roots()
            vendors.sandbox.slack.revoked.clear()
            probe_now(service)
            await vendors.until(lambda v: len(v.slack_roots()) == 8)
            await all_told(service, "firing", 8)
            await vendors.settle()
            assert len(vendors.slack_roots()) == 8


async def test_no_destination_is_asked_more_at_once_than_max_in_flight_and_no_delivery_twice(tmp_path: Path) -> None:
    manners = ", max_in_flight: 3, retry: {min: 50ms, max: 200ms}"
    other = channel_id("other")
    receivers = f"- name: platform\n  {slack(CHANNEL, manners)}\n"
    receivers += f"- name: more\n  {slack(other, manners)}\n  {pagerduty(manners)}\n"
    route = "{receiver: [platform, more]}"
    async with FakeVendors() as vendors:
        vendors.sandbox.slack.channel("other", create=True)
        for vendor in ("slack", "pagerduty"):
            vendors.fail(vendor, faults.slow(0.15), always=True)
        async with running(config(vendors, tmp_path, receivers, route=route), vendors) as service:
            for severity in ("info", "warning", "critical"):
                await service.post(*(plan(number, severity=severity) for number in range(10)))
                await vendors.until(lambda v: len(v.slack_roots()) >= 3)
            await all_told(service, "firing", 10)
            await vendors.settle()
            for channel in (CHANNEL, other):
                there = [one for one in vendors.seen("slack") if one.json["channel"] == channel]
                assert overlapping(there) == 3, channel
            assert overlapping(vendors.seen("pagerduty")) == 3
            for delivery, requests in by_delivery(vendors).items():
                assert overlapping(requests) == 1, delivery
            assert (
                len(vendors.slack_roots(CHANNEL)) == len(vendors.slack_roots(other)) == len(vendors.incidents()) == 10
            )


def by_delivery(vendors: FakeVendors) -> dict[str, list[SeenRequest]]:
    """Return all requests by what they are about: a story's message in a channel, or an incident."""
    stories = {one.ts: one.metadata["event_payload"]["story"] for one in vendors.slack_roots()}
    found: dict[str, list[SeenRequest]] = {}
    for one in vendors.seen("slack"):
        posted = one.json.get("metadata")
        story = posted["event_payload"]["story"] if posted else stories[one.json["ts"]]
        found.setdefault(f"slack {one.json['channel']} {story}", []).append(one)
    for one in vendors.seen("pagerduty"):
        found.setdefault(f"pagerduty {one.json['dedup_key']}", []).append(one)
    return found


def probe_now(service: Running) -> None:
    """Let the five minutes between two probes be over, as far as the database knows."""
    ask(service.folder, "UPDATE destinations SET probe_at = 0 WHERE parked")
