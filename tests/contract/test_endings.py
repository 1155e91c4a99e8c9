"""How a story ends, or does not: the table of endings, a case per cell, counted at each kind of destination.

Each case fails one plan, waits until the destination shows it whole, lets the ending happen at the API server and in
Alertmanager's webhooks, and compares what was made there before and after.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

import pytest

from tests.acceptance.harness import (
    Running,
    alert,
    failed,
    jira,
    pagerduty,
    routes_yaml,
    running,
    servicenow,
    slack,
    succeeded,
)
from tests.acceptance.plans import NAMESPACE, cluster, plan, top, watched
from tests.fakes.kubernetes import KubernetesApi
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

Kind = Literal["slack", "pagerduty", "jira", "servicenow"]
Cluster = Literal["with the plan", "without it", "away"]
KINDS: tuple[Kind, ...] = ("slack", "pagerduty", "jira", "servicenow")
TICKETS: tuple[Kind, ...] = ("jira", "servicenow")
NEVER = "1h"
"""A `resolve_delay` that no test outlives: what ends nevertheless ended at once."""
SOON = "400ms"
FIRST = "2026-09-14T08:29:44Z"
LATER = "2026-09-14T10:15:00Z"


@dataclass(frozen=True)
class Made:
    """What exists at one destination, and what was done to it."""

    roots: int = 0
    """Messages, incidents, tickets."""
    edits: int = 0
    """Slack: edits of the message. PagerDuty: events that updated an open incident. Jira: new descriptions."""
    entries: int = 0
    """Replies and comments."""
    broadcasts: int = 0
    open: int = 0
    """PagerDuty: open incidents. Tickets: those that are not done."""
    transitions: int = 0

    def __sub__(self, other: Made) -> Made:
        return Made(**{one.name: getattr(self, one.name) - getattr(other, one.name) for one in fields(self)})


def made(vendors: FakeVendors, kind: Kind) -> Made:
    """Count at the fake."""
    match kind:
        case "slack":
            roots, replies = vendors.slack_roots(), vendors.slack_replies()
            broadcasts = sum(reply.reply_broadcast for reply in replies)
            return Made(len(roots), sum(root.edits for root in roots), len(replies), broadcasts)
        case "pagerduty":
            updates = len(vendors.pagerduty_events("trigger", "appended"))
            return Made(len(vendors.incidents()), updates, open=len(vendors.incidents_open()))
        case "jira":
            issues, edits = vendors.jira_issues(), vendors.seen("jira", "PUT issue/*")
            left = sum(issue.resolution is None for issue in issues)
            moves = len(vendors.jira_transitions())
            return Made(len(issues), len(edits), len(vendors.jira_comments()), open=left, transitions=moves)
        case "servicenow":
            rows = vendors.servicenow.incidents()
            edits = [one for one in vendors.seen("servicenow", "PATCH incident/*") if "description" in one.json]
            moves = sum(len(row.states) - 1 for row in rows)
            left = len(vendors.servicenow.open_incidents())
            return Made(len(rows), len(edits), len(vendors.servicenow.notes()), open=left, transitions=moves)


DESTINATIONS: Mapping[Kind, str] = {
    "slack": slack("#mig"),
    "pagerduty": pagerduty(),
    "jira": jira(),
    "servicenow": servicenow(),
}
SHOWN: Mapping[Kind, Made] = {
    "slack": Made(roots=1),
    "pagerduty": Made(roots=1, open=1),
    "jira": Made(roots=1, open=1),
    "servicenow": Made(roots=1, open=1),
}
"""A failure, before anything ended; how often it was edited while evidence came is not this table's matter."""


@dataclass
class Case:
    """One failed plan that a destination shows."""

    api: KubernetesApi
    vendors: FakeVendors
    service: Running
    kind: Kind

    async def alert_resolves(self) -> None:
        await self.service.post(alert(failed(), "resolved", starts_at=FIRST))

    async def count(self) -> Made:
        await self.service.idle()
        return made(self.vendors, self.kind)


@contextlib.asynccontextmanager
async def failing(folder: Path, kind: Kind, state: Cluster = "with the plan", **timing: str) -> AsyncIterator[Case]:
    """Fail a plan and await that the one destination shows it with its evidence."""
    receivers = f"- name: platform\n  {DESTINATIONS[kind]}\n"
    async with FakeVendors() as vendors, cluster(folder, up=state != "away") as api:
        if state == "with the plan":
            await api.apply(plan("Failed"))
        config = routes_yaml(vendors, folder, top=top(**timing), receivers=receivers)
        async with running(config, vendors) as service:
            if state != "away":
                await watched(api, service)
            case = Case(api, vendors, service, kind)
            await service.post(alert(failed(), starts_at=FIRST))
            await service.until(lambda: known(service, with_evidence=state == "with the plan"))
            shown = await case.count()
            assert shown == replace(SHOWN[kind], edits=shown.edits, entries=shown.entries)
            yield case


async def known(service: Running, *, with_evidence: bool) -> bool:
    """A story is open, and nothing is left to be learnt that could edit what is shown."""
    return any(not with_evidence or one["revision"] >= 2 for one in await service.stories())


# --- the endings ---


async def plan_succeeds(case: Case) -> None:
    await case.api.apply(plan("Succeeded", runs=2))
    await case.alert_resolves()


async def success_fires(case: Case) -> None:
    await case.service.post(alert(succeeded(), starts_at=LATER))


async def plan_runs_again(case: Case) -> None:
    await case.api.apply(plan("Executing", runs=2))
    await case.service.until_state("re-running")
    await case.alert_resolves()


async def alert_goes(case: Case) -> None:
    await case.alert_resolves()
    await case.service.until(lambda: noted(case.service, "alert gone, plan still failed"))


async def noted(service: Running, text: str) -> bool:
    return bool((await service.stories())[0]["note"] == text)


async def plan_is_canceled(case: Case) -> None:
    await case.api.apply(plan("Canceled", runs=2))
    await case.alert_resolves()


async def plan_is_deleted(case: Case) -> None:
    await case.api.delete("Plan", NAMESPACE, "erp-wave1")
    await case.alert_resolves()


@dataclass(frozen=True)
class Ending:
    """A row of the table."""

    happens: Callable[[Case], Awaitable[None]]
    state: str
    outcome: str | None
    cells: Mapping[Kind, Made]
    resolve_delay: str = NEVER
    cluster: Cluster = "with the plan"


CLOSED: Mapping[Kind, Made] = {
    "slack": Made(edits=1, entries=1),
    "pagerduty": Made(open=-1),
    "jira": Made(edits=1, entries=1, open=-1, transitions=1),
    "servicenow": Made(edits=1, entries=1, open=-1, transitions=1),
}
TABLE: Mapping[str, Ending] = {
    "Succeeded": Ending(plan_succeeds, "resolved", "fixed", CLOSED),
    "MigrationSucceeded": Ending(success_fires, "resolved", "fixed", CLOSED),
    "Executing": Ending(
        plan_runs_again,
        "re-running",
        None,
        {"slack": Made(edits=1, entries=1), "pagerduty": Made(), **dict.fromkeys(TICKETS, Made(edits=1, entries=1))},
    ),
    "still Failed": Ending(
        alert_goes,
        "firing",
        None,
        {"slack": Made(edits=1), "pagerduty": Made(), **dict.fromkeys(TICKETS, Made())},
        resolve_delay="0s",
    ),
    "Canceled": Ending(plan_is_canceled, "resolved", "canceled", CLOSED, resolve_delay=SOON),
    "deleted": Ending(plan_is_deleted, "resolved", "deleted", CLOSED, resolve_delay=SOON),
    "not readable": Ending(Case.alert_resolves, "resolved", "cleared", CLOSED, resolve_delay=SOON, cluster="away"),
    "no Plan": Ending(Case.alert_resolves, "resolved", "cleared", CLOSED, resolve_delay=SOON, cluster="without it"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TABLE)
async def test_an_ending_is_shown_as_the_table_says(tmp_path: Path, name: str, kind: Kind) -> None:
    ending = TABLE[name]
    async with failing(tmp_path, kind, ending.cluster, resolve_delay=ending.resolve_delay) as case:
        before = await case.count()
        await ending.happens(case)
        await case.service.until_state(ending.state, outcome=ending.outcome)
        assert await case.count() - before == ending.cells[kind]
        assert len(await case.service.stories()) == 1


async def test_an_alert_that_comes_back_within_the_resolve_delay_closes_nothing(tmp_path: Path) -> None:
    async with failing(tmp_path, "pagerduty", resolve_delay="2s") as case:
        before = await case.count()
        await plan_is_canceled(case)
        await case.service.until(lambda: all_alerts(case.service, "resolved"))
        await case.api.apply(plan("Failed", runs=3))
        await case.service.post(alert(failed(), starts_at=LATER))
        await case.service.until(lambda: all_alerts(case.service, "firing"))
        await case.service.idle()
        assert (await case.service.stories())[0]["state"] == "firing"
        assert (await case.count()).open == before.open
        assert not case.vendors.pagerduty_events("resolve")


async def all_alerts(service: Running, status: str) -> bool:
    return all(one["status"] == status for one in (await service.stories())[0]["alerts"])


# --- re-runs ---


async def test_a_pager_hears_of_a_rerun_while_its_one_quiet_update_is_unused(tmp_path: Path) -> None:
    receivers = f"- name: platform\n  {pagerduty()}\n"
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await api.apply(plan("Failed"))
        config = routes_yaml(vendors, tmp_path, top=top(evidence_timeout="1m"), receivers=receivers)
        async with running(config, vendors) as service:
            await watched(api, service)
            api.hang()  # evidence does not come, so it cannot use the update up
            await service.post(alert(failed(), starts_at=FIRST))
            await vendors.until(lambda v: v.incidents_open())
            await api.apply(plan("Executing", runs=2))
            await service.until_state("re-running")
            await vendors.until(lambda v: v.pagerduty_events("trigger", "appended"))
            api.release()
            await service.until(lambda: evidence_is_there(service))
            await service.idle()
            assert made(vendors, "pagerduty") == Made(roots=1, edits=1, open=1)


async def evidence_is_there(service: Running) -> bool:
    return any(one["change"] == "evidence" for one in (await service.stories())[0]["timeline"])


async def fails_again(case: Case, runs: int) -> None:
    await case.api.apply(plan("Failed", runs=runs))
    await case.service.until_state("firing")
    await case.service.post(alert(failed(), starts_at=f"2026-09-14T1{runs}:00:00Z"))
    await case.service.idle()


async def runs_again(case: Case, runs: int) -> None:
    await case.api.apply(plan("Executing", runs=runs))
    await case.service.until_state("re-running")
    await case.alert_resolves()


@pytest.mark.parametrize("kind", KINDS)
async def test_failing_twice_and_then_succeeding_is_one_story_told_audibly_each_time(
    tmp_path: Path, kind: Kind
) -> None:
    audible: Mapping[Kind, Made] = {
        "slack": Made(edits=1, entries=1, broadcasts=1),
        "pagerduty": Made(edits=1),
        **dict.fromkeys(TICKETS, Made(edits=1, entries=1)),
    }
    async with failing(tmp_path, kind, resolve_delay=NEVER) as case:
        for runs in (2, 3):
            await runs_again(case, runs)
            before = await case.count()
            await fails_again(case, runs)
            await case.service.until(lambda: evidence_after_failing_again(case.service))
            told = await case.count() - before
            # New evidence may edit once more, and add its own reply.
            assert told.roots == 0
            assert told.open == 0
            # Everybody is called once in a quarter of an hour; the thread tells each time.
            assert told.broadcasts == (audible[kind].broadcasts if runs == 2 else 0)
            # Twice within one minute is one text to a pager that was not told of the run in between.
            assert told.edits >= (audible[kind].edits if runs == 2 or kind != "pagerduty" else 0)
            assert told.entries >= audible[kind].entries
        await runs_again(case, 4)
        await case.api.apply(plan("Succeeded", runs=4))
        await case.service.until_state("resolved", outcome="fixed")
        end = await case.count()
        assert len(await case.service.stories()) == 1
        assert end.roots == 1
        assert end.open == 0
        if kind == "pagerduty":
            assert len(case.vendors.pagerduty_events("resolve")) == 1
        if kind in TICKETS:
            assert (end.entries, end.transitions) == (6, 1), "three re-runs, two failures, one success"


async def evidence_after_failing_again(service: Running) -> bool:
    changes = [one["change"] for one in (await service.stories())[0]["timeline"]]
    return "failed-again" in changes and "evidence" in changes[len(changes) - changes[::-1].index("failed-again") :]


# --- after the end ---


async def fixed_and_failing_again(case: Case) -> None:
    await plan_succeeds(case)
    await case.service.until_state("resolved", outcome="fixed")
    await case.service.idle()
    await case.api.apply(plan("Failed", runs=3))
    await case.service.post(alert(failed(), starts_at=LATER))
    await case.service.until_state("firing")
    await case.service.idle()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_failure_soon_after_the_end_reopens_what_was_closed(tmp_path: Path, kind: Kind) -> None:
    async with failing(tmp_path, kind, resolve_delay=NEVER, reopen_within="1h") as case:
        await fixed_and_failing_again(case)
        end = await case.count()
        assert len(await case.service.stories()) == 1
        match kind:
            case "slack":
                assert end.roots == 1
                assert [one.reply_broadcast for one in case.vendors.slack_replies()].count(True) == 1
            case "pagerduty":
                assert len({one.dedup_key for one in case.vendors.incidents()}) == 1
                assert end.open == 1
                assert len(case.vendors.incidents()) == 2, "PagerDuty opens a new incident under a resolved key"
            case _:
                assert (end.roots, end.open, end.transitions) == (1, 1, 2)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_failure_long_after_the_end_is_a_new_story_that_names_the_old_one(tmp_path: Path, kind: Kind) -> None:
    async with failing(tmp_path, kind, resolve_delay=NEVER, reopen_within="0s") as case:
        await fixed_and_failing_again(case)
        new, old = await case.service.stories()
        assert (new["previous"], new["state"]) == (old["id"], "firing")
        assert (old["state"], old["outcome"]) == ("resolved", "fixed")
        end = await case.count()
        if kind in TICKETS:
            assert (end.roots, end.open, end.transitions) == (1, 1, 2), "closed less than reopen_duration ago"
            return
        assert end.roots == 2
        if kind == "pagerduty":
            assert len({one.dedup_key for one in case.vendors.incidents()}) == 2
