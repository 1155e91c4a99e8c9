"""What people delete stays deleted until there is something that they should notice; short stories trouble nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.faulty import CHANNEL, QUICK, all_told, config, plan, roots_about, shown
from tests.acceptance.harness import jira, running, slack
from tests.fakes import faults
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

TOKEN = "xoxb-test"


async def test_a_deleted_message_is_missed_by_nothing_quiet_and_made_once_by_the_next_audible_change(
    tmp_path: Path,
) -> None:
    receivers = f"- name: platform\n  {slack(CHANNEL, QUICK)}\n"
    async with (
        FakeVendors() as vendors,
        running(config(vendors, tmp_path, receivers), vendors) as service,
    ):
        await service.post(plan(1, severity="warning"))
        await vendors.until(lambda v: v.slack_roots())
        await all_told(service, "firing", 1)
        deleted = vendors.slack_roots()[0]
        vendors.sandbox.slack.call("chat.delete", {"channel": deleted.channel, "ts": deleted.ts}, TOKEN)

        edits = len(vendors.seen("slack", "chat.update"))
        await service.post(plan(1, severity="warning", phase="CreateVM"))
        await vendors.until(lambda v: len(v.seen("slack", "chat.update")) > edits)
        await all_told(service, "firing", 1)
        seen = len(vendors.seen("slack"))
        await service.post(plan(1, severity="warning", phase="CopyDisks"))
        await vendors.settle()
        assert len(vendors.seen("slack")) == seen, "what is known to be gone is not asked for again"
        assert not vendors.slack_messages()

        await service.post(plan(1, severity="critical"))
        await vendors.until(lambda v: v.slack_roots())
        await all_told(service, "firing", 1)
        await vendors.settle()
        assert len(vendors.slack_messages()) == 1
        alerts = [plan(1, "resolved", severity="critical"), plan(1, "resolved", severity="warning")]
        alerts += [plan(1, "resolved", severity="warning", phase=phase) for phase in ("CreateVM", "CopyDisks")]
        await service.post(*alerts)
        await all_told(service, "resolved", 1)
        await vendors.settle()
        assert len(vendors.slack_roots()) == 1
        assert [one.thread_ts for one in vendors.slack_replies()] == [vendors.slack_roots()[0].ts]
        assert "cleared" in shown(vendors.slack_roots()[0]).lower()


async def test_a_message_deleted_when_its_end_comes_is_made_once_in_its_final_form(tmp_path: Path) -> None:
    receivers = f"- name: platform\n  {slack(CHANNEL, QUICK)}\n"
    async with (
        FakeVendors() as vendors,
        running(config(vendors, tmp_path, receivers), vendors) as service,
    ):
        await service.post(plan(1))
        await vendors.until(lambda v: v.slack_roots())
        await all_told(service, "firing", 1)
        deleted = vendors.slack_roots()[0]
        vendors.sandbox.slack.call("chat.delete", {"channel": deleted.channel, "ts": deleted.ts}, TOKEN)
        # The answer to the message that takes its place is lost as well: the deleted one must not be taken for it.
        vendors.fail("slack", faults.cut_after(), on="chat.postMessage")
        await service.post(plan(1, "resolved"))
        await all_told(service, "resolved", 1)
        await vendors.settle(1.5)
        assert len(vendors.slack_messages()) == 1
        assert "cleared" in shown(vendors.slack_roots()[0]).lower()


async def test_a_deleted_ticket_is_made_again_once_by_the_next_audible_change(tmp_path: Path) -> None:
    receivers = f"- name: platform\n  {jira('MIG', QUICK)}\n"
    async with (
        FakeVendors() as vendors,
        running(config(vendors, tmp_path, receivers), vendors) as service,
    ):
        await service.post(plan(1, severity="warning"))
        await vendors.until(lambda v: v.jira_issues())
        await all_told(service, "firing", 1)
        vendors.sandbox.jira.delete(vendors.jira_issues()[0])
        asked = len(vendors.seen("jira"))
        await service.post(plan(1, severity="warning", phase="CreateVM"))
        await vendors.until(lambda v: len(v.seen("jira")) > asked)
        await all_told(service, "firing", 1)
        assert not vendors.jira_issues()
        await service.post(plan(1, severity="critical"))
        await vendors.until(lambda v: v.jira_issues())
        await all_told(service, "firing", 1)
        await vendors.settle()
        assert len(vendors.jira_issues()) == 1


async def test_a_story_that_ends_before_its_first_create_was_started_is_told_in_chat_alone(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        for vendor, op in (("slack", "chat.postMessage"), ("pagerduty", "trigger"), ("jira", "POST issue")):
            vendors.fail(vendor, faults.rate_limited(4), on=op)  # type: ignore[arg-type]
        async with running(config(vendors, tmp_path), vendors) as service:
            await service.post(plan(1))
            await vendors.until(lambda v: len([one for one in v.requests if one.status == 429]) == 3)
            held = len(vendors.requests)
            await service.post(plan(2))
            await service.post(plan(2, "resolved"))

            async def over() -> bool:
                return bool(await service.stories(state="resolved"))

            await service.until(over)
            assert len(vendors.requests) == held, "the story ended before any of its creates was started"
            await vendors.until(lambda v: len(v.slack_roots()) == 2 and v.incidents() and v.jira_issues())

            async def skipped() -> bool:
                return {one["kind"] for one in await service.deliveries(state="skipped")} == {"pagerduty", "jira"}

            await service.until(skipped)
            await vendors.settle()
            assert [one.raw for one in vendors.seen("pagerduty") if b"000000000002" in one.raw] == []
            assert len(vendors.incidents()) == 1
            assert ["plan-001" in one.summary for one in vendors.jira_issues()] == [True]
            final = roots_about(vendors, "plan-002")
            assert len(final) == 1
            assert final[0].edits == 0
            assert "cleared" in shown(final[0]).lower()


async def test_a_story_that_was_skipped_and_fires_again_is_told_after_all(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        vendors.fail("pagerduty", faults.rate_limited(3), on="trigger")
        vendors.fail("jira", faults.rate_limited(3), on="POST issue")
        async with running(config(vendors, tmp_path), vendors) as service:
            await service.post(plan(1))
            await vendors.until(lambda v: len([one for one in v.requests if one.status == 429]) == 2)
            await service.post(plan(1, "resolved"))

            async def skipped() -> bool:
                return len(await service.deliveries(state="skipped")) == 2

            await service.until(skipped)
            assert not vendors.incidents()
            again = plan(1)
            again["startsAt"] = "2026-11-21T10:00:00Z"
            await service.post(again)
            await vendors.until(lambda v: v.incidents_open() and v.jira_issues())
            await all_told(service, "firing", 1)
            assert len(vendors.incidents()) == 1
            assert len(vendors.jira_issues()) == 1
