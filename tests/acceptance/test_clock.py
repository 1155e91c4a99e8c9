"""The whole service after its database's clock was wrong: everything is told, once, without waiting for that clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.harness import Running, alert, failed, pagerduty, routes_yaml, running, slack
from tests.databases import ask
from tests.fakes import faults
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

TOP = "global: {resolve_delay: 500ms, confirm_after: 1s}\nclusters: []"
QUICK = ", timeout: 1s, lookup_grace: 0s, retry: {min: 100ms, max: 1s}"
RECEIVERS = f"- name: platform\n  {slack('#platform', QUICK)}\n  {pagerduty(QUICK)}\n"
TIMES = {
    "deliveries": ("due", "waiting_since", "created", "unknown_at", "confirm_at", "claimed_until", "told_at"),
    "stories": ("opened", "updated", "close_at", "identify_due", "gather_due", "remind_at"),
    "alerts": ("changed_at", "heard_at"),
    "destinations": ("hold_until", "tokens_at", "away_since"),
    "inbox": ("received_at", "done_at", "claimed_until"),
    "revisions": ("at",),
    "jobs": ("due", "claimed_until"),
    "pulse": ("at",),
}


def set_back(service: Running, seconds: float) -> None:
    """Leave behind what a clock stores that is so many seconds ahead."""
    for table, columns in TIMES.items():
        for column in columns:
            ask(service.folder, f"UPDATE {table} SET {column} = {column} + ?", seconds)


@pytest.mark.parametrize("seconds", [3_600.0, 86_400.0], ids=["an-hour", "a-day"])
async def test_after_a_clock_that_was_ahead_all_is_told_once(tmp_path: Path, seconds: float) -> None:
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=TOP, receivers=RECEIVERS)
        refusing = vendors.fail("slack", faults.server_error(), on="chat.postMessage", always=True)
        async with running(config, vendors) as service:
            await service.post(alert(failed()))

            async def told() -> bool:
                states = {one["kind"]: one["state"] for one in await service.deliveries()}
                return states == {"slack": "retrying", "pagerduty": "delivered"}

            await service.until(told)
        set_back(service, seconds)
        refusing.cancel()
        async with running(config, vendors) as service:
            await vendors.until(lambda v: len(v.slack_roots()) == 1)
            await service.post(alert(failed(), status="resolved"))
            await service.until_state("resolved")
            await service.idle()
            assert await service.metric("mtv_receiver_times_corrected_total") > 0
        assert len(vendors.slack_roots()) == 1
        assert len(vendors.incidents()) == len(vendors.incidents_resolved()) == 1


async def test_a_message_without_an_answer_is_found_after_a_clock_that_was_ahead_when_its_story_was_opened(
    tmp_path: Path,
) -> None:
    """Slack's clock was right all the time: by ours, the message was there an hour before its story."""
    async with FakeVendors() as vendors:
        receivers = f"- name: platform\n  {slack('#platform', QUICK)}\n"
        config = routes_yaml(vendors, tmp_path, top=TOP, receivers=receivers)
        vendors.fail("slack", faults.cut_after(), on="chat.postMessage")
        blind = vendors.fail("slack", faults.server_error(), on="conversations.*", always=True)
        async with running(config, vendors) as service:
            await service.post(alert(failed()))
            await vendors.until(lambda v: v.seen("slack", "conversations.history"))
            set_back(service, 3_600.0)  # nobody has corrected it yet when the message is looked for
            ask(service.folder, "UPDATE deliveries SET due = due - 3600, unknown_at = unknown_at - 3600")
            blind.cancel()
            await vendors.until(lambda v: v.slack_roots())
            await service.idle()
        assert len(vendors.slack_roots()) == 1
        assert len(vendors.seen("slack", "chat.postMessage")) == 1
