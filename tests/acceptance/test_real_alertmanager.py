"""A plan's life through the real Prometheus and Alertmanager, from its metrics to the three destinations."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.chain import Chain, chain
from tests.fakes.vendors import FakeVendors

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


def told_everywhere(vendors: FakeVendors) -> bool:
    return bool(vendors.slack_roots() and vendors.incidents() and vendors.jira_issues())


def one_of_each(vendors: FakeVendors) -> bool:
    return (len(vendors.slack_roots()), len(vendors.incidents()), len(vendors.jira_issues())) == (1, 1, 1)


def made(vendors: FakeVendors) -> tuple[int, ...]:
    """Return how many messages, incidents, ends of incidents, tickets, comments and transitions there are."""
    resolves = vendors.pagerduty_events("resolve")
    things = (vendors.slack_messages(), vendors.incidents(), resolves, vendors.jira_issues())
    return tuple(len(one) for one in (*things, vendors.jira_comments(), vendors.jira_transitions()))


async def fail_first(it: Chain) -> None:
    await it.fails("ConvertGuest", run=1)
    await it.until_told(1, "firing")
    await it.vendors.until(told_everywhere, 20)


async def state(it: Chain, wanted: str, outcome: str | None = None) -> None:
    await it.service.until_state(wanted, 20, outcome)
    await it.service.idle()


def changes(story: dict[str, list[dict[str, str]]]) -> list[str]:
    """Return what a story went through, evidence and other quiet learning left out."""
    lasting = {"fired", "rerun", "failed-again", "worse", "reopened", "resolved"}
    return [one["change"] for one in story["timeline"] if one["change"] in lasting]


async def test_a_failed_plan_reaches_three_destinations_and_a_changed_phase_adds_nothing(tmp_path: Path) -> None:
    async with chain(tmp_path) as it:
        await fail_first(it)
        (story,) = await it.service.stories()
        assert story["facts"]["plan_namespace"] == "mig-team-a", (
            "the alert says openshift-mtv, the cluster knows better"
        )
        assert one_of_each(it.vendors)

        it.exporter.show("Failed", "ConvertGuest,CopyDisks")
        await it.until_told(1, "firing", phase="ConvertGuest,CopyDisks")
        await it.until_told(1, "resolved", phase="ConvertGuest")
        both = it.told("firing", phase="ConvertGuest,CopyDisks")[0]
        assert {one["status"] for one in both["alerts"]} == {"firing", "resolved"}, "in one body, as in the field"
        await it.until_told(3, "firing", phase="ConvertGuest,CopyDisks")  # its repeats
        await it.service.idle()
        (story,) = await it.service.stories()
        assert (story["state"], len(story["alerts"])) == ("firing", 2)
        assert changes(story) == ["fired"]
        assert one_of_each(it.vendors)
        assert it.vendors.pagerduty_events("resolve") == []
        assert it.vendors.jira_transitions() == []


async def test_two_reruns_and_a_success_are_one_story_and_an_old_success_does_not_end_the_next(tmp_path: Path) -> None:
    async with chain(tmp_path) as it:
        await fail_first(it)

        await it.runs_again(run=2)
        await state(it, "re-running")
        await it.until_told(1, "resolved", phase="ConvertGuest")
        await it.service.idle()
        assert len(it.vendors.incidents_open()) == 1, "resolved is not fixed"

        await it.fails("CopyDisks", run=2)
        await it.until_told(1, "firing", phase="CopyDisks")
        await state(it, "firing")
        await it.runs_again(run=3)
        await state(it, "re-running")
        await it.until_told(1, "resolved", phase="CopyDisks")

        await it.succeeds(run=3)
        await it.until_told(1, "firing", "MigrationSucceeded")
        await state(it, "resolved", "fixed")
        (story,) = await it.service.stories()
        assert changes(story) == ["fired", "rerun", "failed-again", "rerun", "resolved"]
        assert one_of_each(it.vendors)
        assert len(it.vendors.pagerduty_events("trigger", "opened")) == 1
        assert len(it.vendors.pagerduty_events("resolve", "resolved")) == 1
        assert len(it.vendors.jira_transitions()) == 1
        comments = len(it.vendors.jira_comments())
        assert comments >= 4, "each re-run, the second failure and the end are told on the one ticket"

        old_success = it.told("firing", "MigrationSucceeded")[0]
        await it.fails("CreateVM", run=4)
        await it.until_told(1, "firing", phase="CreateVM")
        await state(it, "firing")
        await it.until_told(1, "resolved", "MigrationSucceeded")
        await it.service.idle()
        await it.vendors.settle(1.0)
        before = made(it.vendors)
        await it.service.send(old_success, "/webhook/main")
        await it.until_told(2, "firing", phase="CreateVM")
        await it.service.idle()
        (story,) = await it.service.stories()
        assert (story["state"], changes(story)[-1]) == ("firing", "reopened")
        await it.vendors.settle()
        assert made(it.vendors) == before
        assert len(it.vendors.incidents_open()) == 1
        assert len(it.vendors.slack_roots()) == len(it.vendors.jira_issues()) == 1
