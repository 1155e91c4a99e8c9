"""Refusals for good: of a message (plain form, dead letter) and of a destination (parked, freed); somebody is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.faulty import (
    CHANNEL,
    QUICK,
    all_three,
    all_told,
    config,
    plan,
    roots_about,
    shown,
    until_delivery,
    with_fallback,
)
from tests.acceptance.harness import Running, jira, pagerduty, running, slack
from tests.fakes import faults
from tests.fakes.vendors import FakeVendors, is_reply

pytestmark = pytest.mark.anyio

TOKEN = "xoxb-test"
TEAM = "{receiver: team}"
IMPATIENT = """
global: {resolve_delay: 0s, digest_after: 0, confirm_after: 1s, fallback_after: 1s}
clusters: []
"""


def slack_then_pagerduty(manners: str = QUICK) -> str:
    """Return a team in Slack whose fallback is a pager."""
    return with_fallback(slack(CHANNEL, manners), pagerduty(QUICK))


async def count(service: Running, kind: str, state: str) -> int:
    return sum(one["kind"] == kind for one in await service.deliveries(state=state))


# --- of a message ---


async def test_blocks_that_are_refused_once_are_sent_in_plain_form(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        vendors.fail("slack", faults.slack_error("invalid_blocks"), on="chat.postMessage")
        async with running(config(vendors, tmp_path, slack_then_pagerduty(), route=TEAM), vendors) as service:
            await service.post(plan(1))
            await vendors.until(lambda v: v.slack_roots())
            await all_told(service, "firing", 1)
            refused, taken = vendors.seen("slack", "chat.postMessage")
            assert refused.json["text"]
            assert len(str(taken.json)) < len(str(refused.json)), "the plain form says it with less"
            await vendors.settle()
            assert len(vendors.slack_roots()) == 1
            assert not vendors.incidents(), "nobody else is told what was told"


@pytest.mark.parametrize("kind", ["slack", "jira", "pagerduty"])
async def test_a_message_refused_in_both_forms_is_a_dead_letter_and_the_fallback_lives_it_to_its_end(
    tmp_path: Path, kind: str
) -> None:
    team = {"slack": slack(CHANNEL, QUICK), "jira": jira("MIG", QUICK), "pagerduty": pagerduty(QUICK)}[kind]
    platform = jira("OPS", QUICK) if kind == "pagerduty" else pagerduty(QUICK)
    async with FakeVendors() as vendors:
        vendors.fail("slack", faults.slack_error("invalid_blocks"), on="chat.postMessage", always=True)
        is_mig = lambda one: one.json["fields"]["project"]["key"] == "MIG"  # noqa: E731
        vendors.fail("jira", faults.jira_refused(errors={"summary": "no"}), on="POST issue", when=is_mig, always=True)
        if kind == "pagerduty":
            vendors.fail("pagerduty", faults.pagerduty_refused("too long"), always=True)
        receivers = with_fallback(team, platform)
        async with running(config(vendors, tmp_path, receivers, route=TEAM), vendors) as service:
            await service.post(plan(1))
            await until_delivery(service, kind, "dead")
            await vendors.until(lambda v: v.incidents_open() or v.jira_issues())
            asked = len(vendors.seen(kind, {"slack": "chat.*", "jira": "POST issue", "pagerduty": "*"}[kind]))  # type: ignore[arg-type]
            assert asked == 2, "once as it is, once in plain form"
            fallback = next(one for one in await service.deliveries() if one["fallback_for"])
            assert "team" in fallback["fallback_for"]
            await service.post(plan(1, "resolved"))
            await all_told(service, "resolved", 1)
            await vendors.settle()
            assert len(vendors.incidents()) + len(vendors.jira_issues()) == 1
            assert not vendors.incidents_open()
            assert all(one.category == "done" for one in vendors.jira_issues())


async def test_an_entry_refused_in_both_forms_is_left_out_and_the_story_goes_on(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        too_long = faults.slack_error("msg_blocks_too_long")
        rule = vendors.fail("slack", too_long, too_long, on="chat.postMessage", when=is_reply)
        receivers = slack_then_pagerduty()
        async with running(config(vendors, tmp_path, receivers, route=TEAM), vendors) as service:
            await service.post(plan(1, severity="warning"))
            await vendors.until(lambda v: v.slack_roots())
            await service.post(plan(1, severity="critical"))
            await vendors.until(lambda _: rule.remaining == 0)
            await all_told(service, "firing", 1)
            await service.post(plan(1, "resolved", severity="critical"), plan(1, "resolved", severity="warning"))
            await all_told(service, "resolved", 1)
            await vendors.settle()
            assert len(vendors.slack_replies()) == 1
            assert len(vendors.slack_roots()) == 1
            assert "cleared" in shown(vendors.slack_roots()[0]).lower()


# --- of a destination ---


@pytest.mark.slow
async def test_a_dead_token_parks_300_stories_and_a_new_one_tells_each_open_one_once(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        vendors.sandbox.slack.revoked.add(TOKEN)
        async with running(config(vendors, tmp_path, slack_then_pagerduty(), route=TEAM), vendors) as service:
            for start in range(0, 300, 50):
                await service.post(*map(plan, range(start, start + 50)))
            await vendors.until(lambda v: len(v.incidents_open()) == 300, 60)
            assert len(vendors.seen("slack")) <= 10, "a destination that refuses everything is left alone"
            assert not await service.deliveries(state="dead")
            assert await count(service, "slack", "parked") == 300
            await service.post(*(plan(number, "resolved") for number in range(50)))
            await vendors.until(lambda v: len(v.incidents_resolved()) == 50, 60)
            assert len(vendors.seen("slack")) <= 10

            (tmp_path / "slack-token").write_text("xoxb-a-new-one")
            await vendors.until(lambda v: len(v.slack_roots()) >= 250, 60)
            await all_told(service, "firing", 250)
            await vendors.settle(1.5)
            told = {number: len(roots_about(vendors, f"plan-{number:03d}")) for number in range(300)}
            assert told == {number: int(number >= 50) for number in range(300)}
            assert await count(service, "slack", "skipped") == 50
            assert len(vendors.incidents()) == 300, "the fallback was told once each"


async def test_a_secret_file_that_is_missing_at_start_parks_until_it_is_there(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        path = config(vendors, tmp_path)
        for name in ("slack-token", "routing-key", "jira-token"):
            (tmp_path / name).rename(tmp_path / f"{name}.later")
        async with running(path, vendors) as service:
            await service.post(plan(1))
            for kind in ("slack", "pagerduty", "jira"):
                await until_delivery(service, kind, "parked")
            assert not vendors.requests
            for name in ("slack-token", "routing-key", "jira-token"):
                (tmp_path / f"{name}.later").rename(tmp_path / name)
            await vendors.until(lambda v: v.slack_roots() and v.incidents_open() and v.jira_issues())
            await all_told(service, "firing", 1)
            await vendors.settle()
            counts = len(vendors.slack_roots()), len(vendors.incidents()), len(vendors.jira_issues())
            assert counts == (1, 1, 1)


async def test_a_wrong_channel_parks_no_other_channel_of_the_same_token(tmp_path: Path) -> None:
    receivers = (
        f"- name: wrong\n  fallback: right\n  {slack('#mistyped', QUICK)}\n- name: right\n  {slack('#team', QUICK)}\n"
    )
    route = "{receiver: right, routes: [{matchers: ['phase=\"CreateVM\"'], receiver: wrong}]}"
    async with (
        FakeVendors(slack_channels=["team"]) as vendors,
        running(config(vendors, tmp_path, receivers, route=route), vendors) as service,
    ):
        await service.post(plan(1, phase="CreateVM"))
        parked = await until_delivery(service, "slack", "parked")
        assert "mistyped" in parked["destination"]
        await service.post(plan(2))
        await vendors.until(lambda v: len(v.slack_roots("team")) == 2)
        await service.post(plan(1, "resolved", phase="CreateVM"), plan(2, "resolved"))
        await vendors.until(lambda v: all("cleared" in shown(one).lower() for one in v.slack_roots("team")))
        assert "channel_not_found" in shown(roots_about(vendors, "plan-001")[0])
        assert len(vendors.slack_roots()) == 2


async def test_a_story_that_ended_while_its_destination_was_parked_is_brought_up_to_date_there(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        receivers = slack_then_pagerduty()
        async with running(config(vendors, tmp_path, receivers, route=TEAM), vendors) as service:
            await service.post(plan(1))
            await vendors.until(lambda v: v.slack_roots())
            await all_told(service, "firing", 1)
            vendors.sandbox.slack.revoked.add(TOKEN)
            await service.post(plan(1, "resolved"))
            await until_delivery(service, "slack", "parked")
            (tmp_path / "slack-token").write_text("xoxb-a-new-one")
            await vendors.until(lambda v: "cleared" in shown(v.slack_roots()[0]).lower())
            await all_told(service, "resolved", 1)
            await vendors.settle()
            assert len(vendors.slack_roots()) == 1
            assert len(vendors.slack_replies()) == 1


# --- waiting too long ---


async def test_what_waits_longer_than_fallback_after_is_told_to_the_fallback_once_and_to_its_end(
    tmp_path: Path,
) -> None:
    async with FakeVendors() as vendors:
        outage = vendors.fail("slack", faults.server_error(), always=True)
        receivers = slack_then_pagerduty()
        async with running(config(vendors, tmp_path, receivers, top=IMPATIENT, route=TEAM), vendors) as service:
            await service.post(plan(1))
            await vendors.until(lambda v: v.incidents_open())
            assert not await service.deliveries(state="dead")
            outage.cancel()
            await vendors.until(lambda v: v.slack_roots())
            await all_told(service, "firing", 1)
            await service.post(plan(1, "resolved"))
            await all_told(service, "resolved", 1)
            await vendors.settle(1.5)
            assert len(vendors.incidents()) == 1
            assert not vendors.incidents_open(), "the fallback is told the end too"
            assert len(vendors.slack_roots()) == 1
            assert "cleared" in shown(vendors.slack_roots()[0]).lower()


async def test_what_is_delivered_and_only_waits_to_confirm_tells_no_fallback(tmp_path: Path) -> None:
    top = "global: {resolve_delay: 0s, digest_after: 0, confirm_after: 3s, fallback_after: 1500ms}\nclusters: []"
    manners = ", timeout: 1s, lookup_grace: 0s, retry: {min: 50ms, max: 200ms}"
    async with FakeVendors() as vendors:
        vendors.fail("slack", faults.cut_after(), on="chat.postMessage")
        receivers = slack_then_pagerduty(manners)
        async with running(config(vendors, tmp_path, receivers, top=top, route=TEAM), vendors) as service:
            await service.post(plan(1))
            await until_delivery(service, "slack", "delivered")
            edits = len(vendors.seen("slack", "chat.update"))
            await vendors.until(lambda v: len(v.seen("slack", "chat.update")) > edits)
            await vendors.settle()
            assert not vendors.incidents()


async def test_several_destinations_of_a_fallback_are_each_told_once(tmp_path: Path) -> None:
    receivers = f"- name: team\n  fallback: platform\n  {slack('#mistyped', QUICK)}\n{all_three()}"
    async with (
        FakeVendors(slack_channels=["team"]) as vendors,
        running(config(vendors, tmp_path, receivers, route=TEAM), vendors) as service,
    ):
        await service.post(plan(1))
        await vendors.until(lambda v: v.slack_roots() and v.incidents_open() and v.jira_issues())
        await service.post(plan(1, "resolved"))
        await all_told(service, "resolved", 1)
        await vendors.settle()
        counts = len(vendors.slack_roots()), len(vendors.incidents()), len(vendors.jira_issues())
        assert counts == (1, 1, 1)
        assert not vendors.incidents_open()
