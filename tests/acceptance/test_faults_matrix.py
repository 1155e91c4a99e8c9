"""Every fault at every step of every destination: what counts is what was created there, not what was asked."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.acceptance.faulty import all_three, all_told, config, plan, roots_about, shown
from tests.acceptance.harness import Running, running
from tests.fakes import faults
from tests.fakes.faults import Fault
from tests.fakes.vendors import FakeVendors, Rule, SeenRequest, Vendor, is_reply, is_root

pytestmark = pytest.mark.anyio

VENDORS: tuple[Vendor, ...] = ("slack", "pagerduty", "jira")
FAULTS = {
    "429 with Retry-After": faults.rate_limited(1),
    "500 before": faults.server_error(),
    "500 after storing": faults.server_error_after(),
    "503 after storing": faults.server_error_after(503),
    "HTML 502": faults.html_502(),
    "cut without doing it": faults.cut(),
    "cut after doing it": faults.cut_after(),
    "done after the cut": faults.cut_then_done(0.4),
    "reset": faults.reset(),
    "slower than the time-out": faults.slow(1.4),
    "hang": faults.hang(),
    "done after the time-out": faults.hang_then_done(0.4),
}


When = Callable[[SeenRequest], object]


def always(request: SeenRequest) -> bool:
    return True


def fail_creates(vendors: FakeVendors, script: Sequence[Fault], when: When = always) -> list[Rule]:
    """Let the creates that `when` speaks of meet these faults, each destination in this order."""
    return [
        vendors.fail("slack", *script, on="chat.postMessage", when=lambda one: is_root(one) and when(one)),
        vendors.fail("pagerduty", *script, on="trigger", when=when),
        vendors.fail("jira", *script, on="POST issue", when=when),
    ]


def fail_ends(vendors: FakeVendors, script: Sequence[Fault], when: When = always) -> list[Rule]:
    """The same for every request that the end of a story makes."""
    return [
        vendors.fail("slack", *script, on="chat.update", when=when),
        vendors.fail("slack", *script, on="chat.postMessage", when=lambda one: is_reply(one) and when(one)),
        vendors.fail("pagerduty", *script, on="resolve", when=when),
        vendors.fail("jira", *script, on="PUT issue/*", when=when),
        vendors.fail("jira", *script, on="POST issue/*/comment", when=when),
        vendors.fail("jira", *script, on="POST issue/*/transitions", when=when),
    ]


def about(*marks: str) -> When:
    """Return a condition on requests: one of these marks is in path or body."""
    return lambda one: any(mark in one.path or mark.encode() in one.raw for mark in marks)


async def marks_of(service: Running, number: int) -> list[str]:
    """Return everything by which a story's requests are told from those of others."""
    name = f"plan-{number:03d}"
    story = next(one for one in await service.stories() if name in one["title"])
    receipts = [one["receipt"] for one in await service.deliveries(story=story["id"])]
    return [name, story["id"], *(text for one in receipts for text in (one.get("ts"), one.get("id")) if text)]


def counted(vendors: FakeVendors, number: int) -> dict[str, int]:
    """Return how many things of each kind speak of a plan."""
    uid, name = f"{number:012d}", f"plan-{number:03d}"
    roots = roots_about(vendors, name)
    incidents = [one for one in vendors.incidents() if uid in one.dedup_key]
    issues = [one for one in vendors.jira_issues() if name in one.summary]
    return {
        "messages": len(roots),
        "messages that say it is over": sum("cleared" in shown(one).lower() for one in roots),
        "replies": sum(one.thread_ts in {root.ts for root in roots} for one in vendors.slack_replies()),
        "incidents": len(incidents),
        "incidents resolved": sum(not one.open for one in incidents),
        "tickets": len(issues),
        "tickets closed": sum(len(one.moves) for one in issues if one.category == "done"),
        "comments": sum(len(one.comments) for one in issues),
    }


TOLD = {
    "messages": 1, "messages that say it is over": 0, "replies": 0,
    "incidents": 1, "incidents resolved": 0,
    "tickets": 1, "tickets closed": 0, "comments": 0,
}  # fmt: skip
OVER = dict.fromkeys(TOLD, 1)


async def told_once(vendors: FakeVendors, service: Running, numbers: Sequence[int]) -> None:
    """Await that new stories are shown everywhere, each once, after what lands late and what is sent once more."""
    await all_told(service, "firing", len(numbers))
    await vendors.settle(1.2, 30)
    assert {number: counted(vendors, number) for number in numbers} == dict.fromkeys(numbers, TOLD)


async def closed_once(vendors: FakeVendors, service: Running, numbers: Sequence[int]) -> None:
    """Await that the stories' end is shown everywhere, each once."""
    await all_told(service, "resolved", len(numbers))
    await vendors.settle(1.2, 30)
    assert {number: counted(vendors, number) for number in numbers} == dict.fromkeys(numbers, OVER)


async def test_each_fault_on_roots_and_on_entries_makes_each_thing_exactly_once(tmp_path: Path) -> None:
    numbers = range(len(FAULTS))
    async with FakeVendors() as vendors:
        rules = []
        for number, fault in enumerate(FAULTS.values()):
            rules += fail_creates(vendors, [fault], about(f"plan-{number:03d}"))
        async with running(config(vendors, tmp_path), vendors) as service:
            await service.post(*map(plan, numbers))
            await told_once(vendors, service, numbers)
            assert [rule.used for rule in rules] == [1] * len(rules), "not every fault happened"
            rules = []
            for number, fault in enumerate(FAULTS.values()):
                rules += fail_ends(vendors, [fault], about(*await marks_of(service, number)))
            await service.post(*(plan(number, "resolved") for number in numbers))
            await closed_once(vendors, service, numbers)
            assert [rule.used for rule in rules] == [1] * len(rules), "not every fault happened"


@pytest.mark.parametrize("seed", range(3))
async def test_any_row_of_faults_on_any_request_makes_each_thing_exactly_once(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    # Look-ups fail here too, so what lands late must do so while it is still looked for.
    quick = [fault for fault in FAULTS.values() if fault.ending != "hang" and not fault.delay_s]
    manners = ", timeout: 1s, lookup_grace: 1s, retry: {min: 50ms, max: 200ms}"

    def fail_anything(vendors: FakeVendors) -> None:
        for vendor in VENDORS:
            vendors.fail(vendor, *(chance.choice([faults.PASS, *quick]) for _ in range(16)))

    async with FakeVendors() as vendors:
        fail_anything(vendors)
        async with running(config(vendors, tmp_path, all_three(manners)), vendors) as service:
            await service.post(*map(plan, range(3)))
            await told_once(vendors, service, range(3))
            fail_anything(vendors)
            await service.post(*(plan(number, "resolved") for number in range(3)))
            await closed_once(vendors, service, range(3))


@pytest.mark.slow
async def test_a_request_carried_out_five_seconds_after_the_cut_is_found_with_the_default_waits(tmp_path: Path) -> None:
    late = [faults.cut_then_done(5.0)]
    async with FakeVendors() as vendors:
        fail_creates(vendors, late)
        async with running(config(vendors, tmp_path, all_three("")), vendors) as service:
            await service.post(plan(1))
            await told_once(vendors, service, [1])
            fail_ends(vendors, late)
            await service.post(plan(1, "resolved"))
            await closed_once(vendors, service, [1])
