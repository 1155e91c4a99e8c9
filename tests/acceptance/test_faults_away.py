"""A destination that is away, or that is to be asked slowly: what it gets, what others get, what it is told at last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.faulty import (
    CHANNEL,
    QUICK,
    all_told,
    config,
    overlapping,
    plan,
    roots_about,
    shown,
    until_delivery,
)
from tests.acceptance.harness import Running, pagerduty, running, slack
from tests.databases import ask
from tests.fakes import faults
from tests.fakes.vendors import FakeVendors, SeenRequest, is_reply

pytestmark = pytest.mark.anyio

IMPATIENT = ", timeout: 300ms, lookup_grace: 0s, retry: {min: 50ms, max: 200ms}"
RECEIVERS = f"- name: platform\n  {slack(CHANNEL, IMPATIENT)}\n  {pagerduty(IMPATIENT)}\n"


def long_ago(service: Running, seconds: float) -> None:
    """Let an outage have begun earlier, and all that came meanwhile with it."""
    ask(service.folder, "UPDATE destinations SET away_since = away_since - ?, since = since - ?", seconds, seconds)
    ask(service.folder, "UPDATE deliveries SET created = created - ?", seconds)


def failures(service: Running, kind: str = "slack") -> int:
    found = ask(service.folder, "SELECT failures FROM destinations WHERE identity LIKE ?", f"{kind}:%")
    return int(found[0][0]) if found else 0


async def until_away(service: Running) -> None:
    async def look() -> bool:
        return failures(service) >= 5

    await service.until(look)


def _all_ended(requests: list[SeenRequest]) -> list[SeenRequest]:
    return requests if all(one.ended_at is not None for one in requests) else []


async def test_a_rate_limit_is_kept_the_urgent_goes_first_and_waiting_costs_no_tries(tmp_path: Path) -> None:
    limited = ", rate_limit: {per_minute: 240, burst: 2}, retry: {min: 50ms, max: 200ms}"
    receivers = f"- name: platform\n  {slack(CHANNEL, limited)}\n  {pagerduty(QUICK)}\n"
    async with (
        FakeVendors() as vendors,
        running(config(vendors, tmp_path, receivers), vendors) as service,
    ):
        await service.post(*map(plan, range(10)))
        await vendors.until(lambda v: len(v.incidents()) == 10)
        assert len(vendors.slack_roots()) < 10, "nobody else waits with it"
        await all_told(service, "firing", 10)
        posts = vendors.seen("slack")
        assert len(posts) == len(vendors.slack_roots()) == 10
        # Every token is there a quarter of a second after the one before; the database counts in milliseconds.
        assert all(one.at - posts[0].at > (at - 1) * 0.25 - 0.1 for at, one in enumerate(posts))
        ((tries, most),) = ask(service.folder, "SELECT count(*), max(fence) FROM attempts WHERE op = 'create'")
        assert tries == 10
        assert most <= 12, "what waits is not taken up again and again"


async def test_a_destination_that_is_away_is_asked_by_one_try_at_a_time_and_delays_nobody(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        outage = vendors.fail("slack", faults.hang(), always=True)
        async with running(config(vendors, tmp_path, RECEIVERS), vendors) as service:
            await service.post(*map(plan, range(12)))
            await until_away(service)
            seen = await vendors.until(lambda v: _all_ended(v.seen("slack")), 30)
            since = seen[-1].number
            await vendors.until(lambda v: len([one for one in v.seen("slack") if one.number > since]) >= 5, 30)
            assert overlapping([one for one in vendors.seen("slack") if one.number > since]) == 1
            await service.post(plan(12))
            await vendors.until(lambda v: len(v.incidents()) == 13)
            assert not vendors.slack_roots()
            outage.cancel()
            await all_told(service, "firing", 13)
            await vendors.settle()
            assert len(vendors.slack_roots()) == 13
            assert failures(service) == 0


async def test_a_message_that_is_answered_with_500_for_ever_delays_no_other_of_its_channel(tmp_path: Path) -> None:
    def poison(request: SeenRequest) -> bool:
        return "plan-000" in str(request.json)

    async with FakeVendors() as vendors:
        vendors.fail("slack", faults.server_error(), when=poison, always=True)
        async with running(config(vendors, tmp_path, RECEIVERS), vendors) as service:
            await service.post(plan(0))
            await vendors.until(lambda v: len([one for one in v.seen("slack") if poison(one)]) >= 6, 30)
            assert failures(service) == 4, "one delivery alone does not make its destination look away"
            await service.post(*map(plan, range(1, 4)))
            await vendors.until(lambda v: len(v.slack_roots()) == 3)
            assert await until_delivery(service, "slack", "retrying")


@pytest.mark.parametrize("end", ["answers again", "has a new token"])
async def test_after_an_outage_the_channel_gets_current_states_late_and_one_sum(tmp_path: Path, end: str) -> None:
    async with FakeVendors() as vendors:
        back: Callable[[], Any]
        if end == "answers again":
            back = vendors.fail("slack", faults.server_error(503), always=True).cancel
        else:
            vendors.sandbox.slack.revoked.add("xoxb-test")
            back = lambda: (tmp_path / "slack-token").write_text("xoxb-a-new-one")  # noqa: E731
        async with running(config(vendors, tmp_path, RECEIVERS), vendors) as service:
            await service.post(*map(plan, range(6)))
            await vendors.until(lambda v: len(v.incidents_open()) == 6)
            await (until_away(service) if end == "answers again" else until_delivery(service, "slack", "parked"))
            await service.post(plan(0, "resolved"), plan(1, "resolved"))
            await vendors.until(lambda v: len(v.incidents_resolved()) == 2)
            long_ago(service, 43 * 60.0)
            back()
            (summary,) = await vendors.until(lambda v: [one for one in v.slack_replies() if "was away" in one.text])
            await all_told(service, "firing", 4)
            await vendors.settle(1.5)
            said = shown(summary)
            assert "6 failures came, 2 are cleared: plan plan-000, plan plan-001" in said
            assert len([one for one in vendors.slack_replies() if "was away" in one.text]) == 1
            for number in range(2, 6):
                (message,) = roots_about(vendors, f"plan-{number:03d}")
                assert "Late by 43 min" in shown(message)
            told = [len(roots_about(vendors, f"plan-{number:03d}")) for number in range(2)]
            assert told == ([1, 1] if end == "answers again" else [0, 0]), "in their final form, or not at all"
            assert ask(service.folder, "SELECT count(*) FROM destinations WHERE away_since IS NOT NULL") == [(0,)]


async def test_a_short_outage_is_not_worth_a_word(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        outage = vendors.fail("slack", faults.server_error(503), always=True)
        async with running(config(vendors, tmp_path, RECEIVERS), vendors) as service:
            await service.post(*map(plan, range(6)))
            await until_away(service)
            await service.post(plan(0, "resolved"))
            await vendors.until(lambda v: v.incidents_resolved())
            outage.cancel()
            await all_told(service, "firing", 5)
            await vendors.settle(1.5)
            assert not vendors.slack_replies()
            assert ask(service.folder, "SELECT count(*) FROM destinations WHERE away_since IS NOT NULL") == [(0,)]


async def test_a_reply_that_slack_refuses_takes_nothing_from_the_message_above_it(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        vendors.fail("slack", faults.slack_error("invalid_blocks"), on="chat.postMessage", when=is_reply)
        async with running(
            config(vendors, tmp_path, f"- name: platform\n  {slack(CHANNEL, QUICK)}\n"), vendors
        ) as service:
            await service.post(plan(1, severity="warning"))
            await vendors.until(lambda v: v.slack_roots())
            await service.post(plan(1, severity="critical"))
            (reply,) = await vendors.until(lambda v: v.slack_replies())
            await all_told(service, "firing", 1)
            assert not reply.blocks, "the second try is plain"
            edits = vendors.seen("slack", "chat.update")
            assert edits
            assert all(one.json["blocks"] for one in edits)
