"""What no webhook told: rounds over an Alertmanager's alerts, with one that holds its answers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver import reconcile
from tests.acceptance.harness import Running, alert, body, failed, pagerduty, routes_yaml, running, slack, succeeded
from tests.acceptance.plans import cluster, plan, run_of, top
from tests.fakes.alertmanager import WholeAlertmanager
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

DISK = {"alertname": "DiskFull", "severity": "warning", "namespace": "storage"}
OTHER = {"alertname": "NodeDown", "severity": "critical", "node": "w1"}
GONE_SOON = "global: {resolve_delay: 10ms}\nclusters: []\n"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "EVERY_S", 0.05)


@contextlib.asynccontextmanager
async def service(
    folder: Path, api: WholeAlertmanager, *, head: str = GONE_SOON, receivers: str | None = None, more: str = "",
    grace: str = "1ms",
) -> AsyncIterator[Running]:  # fmt: skip
    async with FakeVendors() as vendors:
        head += f"\nalertmanagers: [{{name: main, url: '{api.url}', grace: {grace}{more}}}]"
        async with running(routes_yaml(vendors, folder, top=head, receivers=receivers), vendors) as one:
            yield one


async def ends(it: Running, outcome: str = "cleared") -> None:
    await it.until_state("resolved", 30, outcome)


async def test_only_what_is_active_and_routed_to_us_is_opened(tmp_path: Path) -> None:
    async with WholeAlertmanager().running() as api:
        api.holds(failed())
        api.holds(DISK, state="suppressed")
        api.holds(OTHER, receiver="somebody")
        async with service(tmp_path, api) as it:
            await it.until_state("firing", 30)
            await api.rounds()
            await it.idle()
            assert [one["alerts"][0]["labels"]["alertname"] for one in await it.stories()] == ["MigrationFailed"]
            assert await it.metric('mtv_receiver_reconciled_alerts_total{alertmanager="main",what="opened"}') == 1
            assert len(it.vendors.slack_roots()) == len(it.vendors.incidents()) == 1


async def test_what_vanishes_is_closed_and_what_is_only_silenced_is_not(tmp_path: Path) -> None:
    async with WholeAlertmanager().running() as api:
        api.holds(failed())
        api.holds(DISK)
        async with service(tmp_path, api) as it:
            await it.send(body_of(failed(), DISK), "/webhook/main")
            await it.until(lambda: count(it, 2), 30)
            api.holds(DISK, state="suppressed")
            api.forgets(failed())
            await it.until(lambda: count(it, 1, "resolved"), 30)
            await api.rounds(4)
            states = {one["alerts"][0]["labels"]["alertname"]: one["state"] for one in await it.stories()}
            assert states == {"MigrationFailed": "resolved", "DiskFull": "firing"}
            await it.vendors.until(lambda vendors: len(vendors.pagerduty_events("resolve")) == 1)


async def test_resolved_is_not_fixed_the_plan_decides(tmp_path: Path) -> None:
    async with cluster(tmp_path) as kube, WholeAlertmanager().running() as api:
        await kube.apply(plan("Failed"))
        api.holds(failed())
        async with service(tmp_path, api, head=top()) as it:
            await it.send(body_of(failed()), "/webhook/main")
            await it.until_state("firing", 30)
            api.forgets(failed())
            closed = 'mtv_receiver_reconciled_alerts_total{alertmanager="main",what="closed"}'
            await it.until(lambda: metric_is(it, closed, 1), 30)
            await it.idle()
            (story,) = await it.stories()
            assert (story["state"], story["alerts"][0]["status"]) == ("firing", "resolved")
            assert it.vendors.pagerduty_events("resolve") == []


@pytest.mark.parametrize("how", ["another source", "young", "error", "a peer is away", "no source, never held"])
async def test_nothing_is_closed_that_may_still_be_there(tmp_path: Path, how: str) -> None:
    async with WholeAlertmanager().running() as api:
        api.up = timedelta(seconds=290) if how == "young" else api.up
        api.answers = 500 if how == "error" else 200
        more = ", peers: ['http://127.0.0.1:9']" if how == "a peer is away" else ""
        source = {"another source": "/webhook/east", "no source, never held": "/webhook"}.get(how, "/webhook/main")
        async with service(tmp_path, api, more=more) as it:
            await it.send(body_of(DISK), source)
            await it.until_state("firing", 30)
            await api.rounds(4)
            assert (await it.stories())[0]["alerts"][0]["status"] == "firing"
            if how in ("young", "error", "a peer is away"):  # and it is this that keeps it
                api.up, api.answers = timedelta(seconds=310), 200
                if not more:
                    await ends(it)


async def test_a_webhook_without_a_name_counts_as_that_alertmanagers_once_it_was_seen_to_hold_it(
    tmp_path: Path,
) -> None:
    async with WholeAlertmanager().running() as api:
        api.holds(DISK)
        async with service(tmp_path, api) as it:
            await it.post(alert(DISK))
            await it.until_state("firing", 30)
            await api.rounds()
            await it.post(alert(DISK))
            await it.idle()
            api.forgets(DISK)
            await ends(it)


async def test_a_webhook_during_a_round_is_newer_than_the_round(tmp_path: Path) -> None:
    async with WholeAlertmanager().running() as api, service(tmp_path, api) as it:
        await it.send(body_of(DISK), "/webhook/main")
        await it.until_state("firing", 30)
        api.hold()
        held = api.asked + 1
        await api.until_asked(held)  # it is absent from this answer, and perhaps was from one before
        await it.send(body_of(DISK), "/webhook/main")
        await it.idle()
        api.let_go()
        api.hold()
        api.holds(DISK)
        await api.until_asked(held + 1)
        assert (await it.stories())[0]["alerts"][0]["status"] == "firing"
        api.let_go()
        await api.rounds()
        assert (await it.stories())[0]["alerts"][0]["status"] == "firing"
        api.forgets(DISK)
        await ends(it)


async def test_one_absence_closes_nothing_before_the_grace_is_over(tmp_path: Path) -> None:
    async with WholeAlertmanager().running() as api, service(tmp_path, api, grace="1h") as it:
        await it.send(body_of(DISK), "/webhook/main")
        await it.until_state("firing", 30)
        await api.rounds(5)
        assert (await it.stories())[0]["alerts"][0]["status"] == "firing"


async def test_what_begins_anew_is_told_although_its_end_never_was(tmp_path: Path) -> None:
    """The Plan's story is over, the alert's end was silenced: only its newer beginning says that it failed again."""
    async with cluster(tmp_path) as kube, WholeAlertmanager().running() as api:
        await kube.apply(plan("Failed"))
        async with service(tmp_path, api, head=top(), grace="1h") as it:
            await it.send(body_of(failed()), "/webhook/main")
            await it.until_state("firing", 30)
            await kube.apply(plan("Succeeded", runs=2))
            await it.send(body_of(succeeded(), starts_at="2026-11-21T09:00:00Z"), "/webhook/main")
            await ends(it, "fixed")
            await kube.apply(plan("Failed", runs=3))
            api.holds(failed(), starts_at="2026-11-21T10:00:00Z")
            await it.until_state("firing", 30)
            await it.vendors.until(lambda vendors: len(vendors.incidents_open()) == 1)


async def test_first_day_what_had_ended_is_one_message_and_no_page(tmp_path: Path) -> None:
    wave2 = failed("11111111-2222-4333-8444-555555555555", "erp-wave2")
    runs = failed("21111111-2222-4333-8444-555555555555", "erp-wave3")
    receivers = f"- name: platform\n  {slack('#platform')}\n  {pagerduty()}\n"
    async with cluster(tmp_path) as kube, WholeAlertmanager().running() as api:
        await kube.apply(plan("Failed"))
        await kube.apply(plan("Canceled", uid=wave2["plan"], name="erp-wave2"))
        await kube.apply(plan("Executing", uid=runs["plan"], name="erp-wave3"))
        for labels in (failed(), wave2, runs, OTHER):
            api.holds(labels)
        async with service(tmp_path, api, head=top(), receivers=receivers, grace="1ms") as it:
            await it.until(lambda: count(it, 3), 30)
            await it.idle()
            titles = sorted(one["title"] for one in await it.stories())
            assert len(it.vendors.slack_roots()) == 3
            assert len(it.vendors.incidents()) == 2, "what goes on, and what is about no plan"
            (shown,) = [one for one in it.vendors.slack_roots() if "before mtv-receiver" in str(one)]
            assert "mig-team-a/erp-wave1" in str(shown)
            assert "mig-team-a/erp-wave2" in str(shown)
            assert any("2 failed migrations from before" in title for title in titles)

            # Alertmanager tells of it by webhook, too, and again after a restart of what watches it.
            await it.send(body_of(failed()), "/webhook/main")
            await it.send(body_of(failed(), starts_at="2026-11-21T09:00:00Z"), "/webhook/main")
            await it.idle()
            assert (len(it.vendors.incidents()), len(await it.stories())) == (2, 3)

            api.forgets(wave2)
            await it.vendors.until(lambda vendors: any("alert gone" in str(one) for one in vendors.slack_roots()))
            await kube.apply(plan("Failed", runs=2))
            assert run_of(2) != run_of(1)
            await it.send(body_of(failed(), starts_at="2026-11-21T11:00:00Z"), "/webhook/main")
            await it.until(lambda: count(it, 4), 30)
            await it.vendors.until(lambda vendors: len(vendors.incidents()) == 3)
            api.holds(failed(), starts_at="2026-11-21T11:00:00Z")
            await it.until(lambda: list_is_over(it), 30)


async def test_a_first_day_is_over_once_it_was_looked(tmp_path: Path) -> None:
    async with cluster(tmp_path) as kube, WholeAlertmanager().running() as api:
        await kube.apply(plan("Failed"))
        async with service(tmp_path, api, head=top()) as it:
            await api.rounds()
            api.holds(failed())
            await it.until_state("firing", 30)
            await it.vendors.until(lambda vendors: len(vendors.incidents()) == 1)


def body_of(*labels: dict[str, str], starts_at: str = "2026-11-21T08:29:50Z") -> dict[str, Any]:
    """Return a webhook in which these alerts fire."""
    return body(*(alert(one, starts_at=starts_at) for one in labels))


async def count(it: Running, wanted: int, state: str | None = None) -> bool:
    found = [one for one in await it.stories() if state is None or one["state"] == state]
    return len(found) == wanted


async def metric_is(it: Running, name: str, wanted: float) -> bool:
    return await it.metric(name) == wanted


async def list_is_over(it: Running) -> bool:
    return any("before mtv" in one["title"] and one["state"] == "resolved" for one in await it.stories())
