"""Shadow mode in the running service: everything is done but send, and what was not sent is told when it counts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    three,
)
from tests.acceptance.test_forges import forges
from tests.databases import ask
from tests.fakes.endpoint import Endpoint, endpoint
from tests.fakes.faults import slack_error
from tests.fakes.smtp import TLS_FILES, MailServer, mail_server
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

TOP = "global: {resolve_delay: 100ms, evidence_wait: 0s, reopen_within: 1h, fallback_after: 1s}\nclusters: []"
SHADOW = f"shadow: true\n{TOP}"
BOTH = "{receiver: [platform, payments]}"


@dataclass
class Everybody:
    """A service, and a fake of every kind of destination."""

    service: Running
    vendors: FakeVendors
    mail: MailServer
    hook: Endpoint

    @property
    def requests(self) -> list[Any]:
        """All that any of them was sent."""
        return [*self.vendors.requests, *self.mail.kept, *self.hook.came]


@asynccontextmanager
async def everybody(folder: Path, top: str) -> AsyncIterator[Everybody]:
    async with FakeVendors() as vendors, mail_server() as mail, endpoint() as hook:
        letters = {
            "to": "ops@example.com", "from": "mtv@example.com", "smarthost": mail.smarthost,
            "tls_config": {"ca_file": str(TLS_FILES / "ca.pem"), "server_name": "peer.test"},
        }  # fmt: skip
        receivers = forges(vendors, folder) + "".join(
            f"  {line}\n"
            for line in (
                slack("#platform"),
                pagerduty(),
                jira(),
                servicenow(),
                f"email_configs: [{json.dumps(letters)}]",
                f"webhook_configs: [{{url: '{hook.url}/hook'}}]",
            )
        )
        async with running(routes_yaml(vendors, folder, top=top, receivers=receivers), vendors) as service:
            yield Everybody(service, vendors, mail, hook)


async def reload(service: Running, **config: str) -> None:
    routes_yaml(service.vendors, service.folder, **config)  # type: ignore[arg-type]
    answer = await service.http.post(f"{service.url}/-/reload")
    assert (answer.status_code, answer.text) == (200, "OK\n")


async def states(service: Running, **query: str) -> set[str]:
    return {one["state"] for one in await service.deliveries(**query)}


async def until_told(service: Running, what: Callable[[dict[str, Any]], bool]) -> None:
    async def look() -> bool:
        found = await service.deliveries()
        return bool(found) and all(what(one) for one in found)

    await service.until(look, timeout=20)


async def test_a_failure_from_webhook_to_end_sends_nothing_to_anybody(tmp_path: Path) -> None:
    async with everybody(tmp_path, SHADOW) as all_of_them:
        service = all_of_them.service
        await service.post(alert(failed()))
        await until_told(service, lambda one: one["state"] == "shadow" and one["delivered"] == 1)
        await service.post(alert(failed()), alert(failed(phase="CopyDisks")))
        await service.post(alert(failed(), "resolved"), alert(failed(phase="CopyDisks"), "resolved"))
        await service.until_state("resolved")
        await service.idle()
        shown = await service.deliveries()
        assert {one["kind"] for one in shown} == {
            *("slack", "pagerduty", "jira", "servicenow", "email", "webhook", "github", "gitlab")
        }
        assert {one["state"] for one in shown} == {"shadow"}
        assert {each["outcome"] for one in shown for each in one["attempts"]} == {"shadow"}
        assert {each["op"].split()[0] for one in shown for each in one["attempts"]} == {"shadow"}
        assert {one["desired"] for one in shown} == {one["delivered"] for one in shown}
        assert await states(service, state="delivered") == set()
        await all_of_them.vendors.settle(quiet_s=1.5)  # the fallback is due by then
        assert all_of_them.requests == []
        assert len(await service.deliveries()) == len(shown), "nobody stands in"


async def test_pages_status_and_metrics_say_so(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        two = f"- name: platform\n  {slack('#platform')}\n- name: payments\n  shadow: true\n  {slack('#payments')}\n"
        config = routes_yaml(vendors, tmp_path, top=TOP, receivers=two, route=BOTH)
        async with running(config, vendors) as service:
            await service.post(alert(failed()))
            await vendors.until(lambda v: len(v.slack_roots()) == 1)
            await service.idle()
            listed = (await service.http.get(f"{service.url}/")).text
            assert "· told platform · would be told payments" in listed, "nobody of payments was told"
            number = (await service.stories())[0]["id"]
            for path in ("/", "/deliveries", "/routes", "/handover", "/status", f"/stories/{number}"):
                page = (await service.http.get(service.url + path)).text
                assert "Shadow: nothing is sent to payments." in page, path
            status = (await service.http.get(f"{service.url}/api/v1/status")).json()
            assert status["configuration"]["shadow"] == ["payments"]
            assert await service.metric('mtv_receiver_attempts_total{kind="slack",outcome="shadow"}') == 1
            assert await service.metric('mtv_receiver_attempts_total{kind="slack",outcome="ok"}') == 1
            told = {one["receiver"]: one["state"] for one in await service.deliveries()}
            assert told == {"platform": "delivered", "payments": "shadow"}


async def test_a_live_receiver_is_told_as_ever_and_names_nobody_who_was_not(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        two = f"- name: platform\n  {slack('#platform')}\n"
        two += f"- name: payments\n  shadow: true\n  {jira()}\n  {pagerduty()}\n"
        config = routes_yaml(vendors, tmp_path, top=TOP, receivers=two, route=BOTH)
        async with running(config, vendors) as service:
            await service.post(alert(failed()))
            await vendors.until(lambda v: len(v.slack_roots()) == 1)
            await service.idle()
            await service.post(alert(failed(), "resolved"))
            await service.until_state("resolved")
            await service.idle()
            (root,) = vendors.slack_roots()
            assert "payments" not in json.dumps(root.blocks), "nothing stands there"
            assert {one.vendor for one in vendors.requests} == {"slack"}


@pytest.mark.parametrize("later", ["goes on", "is over"])
async def test_switched_off_it_tells_an_open_failure_once_and_its_end(tmp_path: Path, later: str) -> None:
    async with FakeVendors() as vendors:
        mine = three("platform", "#platform")
        async with running(routes_yaml(vendors, tmp_path, top=SHADOW, receivers=mine), vendors) as service:
            await service.post(alert(failed()))
            await until_told(service, lambda one: one["state"] == "shadow")
            if later == "is over":
                await service.post(alert(failed(), "resolved"))
                await service.until_state("resolved")
                await service.idle()
            await reload(service, top=TOP, receivers=mine)
            if later == "is over":
                await until_told(service, lambda one: one["state"] == "skipped")
                await vendors.settle(quiet_s=1.0)
                assert vendors.requests == []
                await service.post(alert(failed(), starts_at="2026-11-21T10:00:00Z"))
            await until_told(service, lambda one: one["state"] == "delivered")
            await service.post(alert(failed()))
            await service.idle()
            made = (len(vendors.slack_roots()), len(vendors.incidents()), len(vendors.jira_issues()))
            assert made == (1, 1, 1)
            await reload(service, top=f"{TOP}\n# read again", receivers=mine)
            await service.post(alert(failed(), "resolved"))
            await service.until_state("resolved")
            await service.idle()
            await vendors.settle(quiet_s=1.0)
            made = (len(vendors.slack_roots()), len(vendors.incidents()), len(vendors.jira_issues()))
            assert made == (1, 1, 1)
            assert [one.state for one in vendors.incidents()] == ["resolved"]
            assert await states(service) == {"delivered"}
            assert all("shadow" not in one["receipt"] for one in await service.deliveries())


async def test_what_was_real_before_goes_on_where_it_stopped(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        mine = three("platform", "#platform")
        async with running(routes_yaml(vendors, tmp_path, top=TOP, receivers=mine), vendors) as service:
            await service.post(alert(failed()))
            await until_told(service, lambda one: one["state"] == "delivered")
            await service.idle()
            await reload(service, top=SHADOW, receivers=mine)
            before = len(vendors.requests)
            await service.post(alert(failed(), "resolved"))
            await service.until_state("resolved")
            await service.idle()
            await vendors.settle(quiet_s=1.0)
            assert len(vendors.requests) == before
            assert [one.state for one in vendors.incidents()] == ["triggered"]
            await reload(service, top=TOP, receivers=mine)
            await vendors.until(lambda v: [one.state for one in v.incidents()] == ["resolved"])
            await until_told(service, lambda one: one["state"] == "delivered")
            assert (len(vendors.slack_roots()), len(vendors.incidents()), len(vendors.jira_issues())) == (1, 1, 1)


async def test_a_storm_sends_nothing_and_is_told_as_one_once_it_counts(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        two = f"- name: platform\n  {slack('#platform')}\n  {pagerduty()}\n"
        async with running(routes_yaml(vendors, tmp_path, top=SHADOW, receivers=two), vendors) as service:
            plans = [failed(f"00000000-0000-4000-8000-{number:012}", f"wave-{number:03}") for number in range(40)]
            await service.post(*(alert(one) for one in plans))
            await until_told(service, lambda one: one["state"] in ("shadow", "digest"))
            await service.idle(timeout=30)
            assert "digest" in await states(service)
            await vendors.settle(quiet_s=1.5)
            assert vendors.requests == []
            await reload(service, top=TOP, receivers=two)
            await vendors.until(lambda v: any("at once" in one.text for one in v.slack_roots()), timeout=30)
            await service.idle(timeout=30)
            assert len(vendors.slack_roots()) <= 4
            assert await states(service) == {"delivered", "digest"}


async def test_a_live_receiver_has_no_fallback_in_shadow(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        listed = (
            f"- name: platform\n  {slack('#platform')}\n"
            f"- name: payments\n  fallback: oncall\n  {slack('#payments')}\n"
            f"- name: oncall\n  shadow: true\n  {pagerduty()}\n"
        )
        vendors.fail(
            "slack",
            slack_error("channel_not_found"),
            when=lambda one: (one.json or {}).get("channel") == "#payments",
            always=True,
        )
        route = "{receiver: platform, routes: [{matchers: ['app=\"forklift\"'], receiver: payments}]}"
        config = routes_yaml(vendors, tmp_path, top=TOP, receivers=listed, route=route)
        async with running(config, vendors) as service:
            await service.post(alert(failed()))
            await vendors.until(
                lambda v: v.slack_roots("#platform")
            )  # the root receiver, as nobody of oncall would know
            assert {one["receiver"] for one in await service.deliveries()} == {"payments", "platform"}


async def test_webhooks_are_noted_for_the_report_while_somebody_is_in_shadow_and_only_then(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, running(routes_yaml(vendors, tmp_path, top=SHADOW), vendors) as service:
        await service.post(alert(failed()), alert(failed(phase="CopyDisks")))
        await service.idle()
        noted = ask(tmp_path, "SELECT text FROM audit WHERE kind = 'received'")
        (facts,) = (json.loads(text) for (text,) in noted)
        assert (facts["receiver"], facts["status"], facts["alerts"]) == ("mtv-receiver", "firing", 2)
        assert len(facts["fingerprints"]) == 2
        await reload(service, top=TOP)
        await service.post(alert(failed("other", "other-plan")))
        await service.idle()
        assert ask(tmp_path, "SELECT count(*) FROM audit WHERE kind = 'received'") == [(1,)]
