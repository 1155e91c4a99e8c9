"""A changed configuration: all of it or nothing, and open stories keep their destinations."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import httpx2
import pytest

from tests.acceptance.harness import Running, alert, failed, jira, pagerduty, routes_yaml, running, slack
from tests.acceptance.plans import cluster, load_example, plan, top, watched
from tests.acceptance.process import process
from tests.fakes import proxy
from tests.fakes.faults import jira_refused, slow
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

TOP = "global: {resolve_delay: 200ms, digest_after: 0, confirm_after: 1h}\nclusters: []"
ONE = f"- name: platform\n  {slack('#platform')}\n"
TWO = f"- name: platform\n  {slack('#platform')}\n- name: payments\n  {slack('#payments')}\n  {pagerduty()}\n"
TWO_TURNED = f"- name: payments\n  {pagerduty()}\n  {slack('#payments')}\n- name: platform\n  {slack('#platform')}\n"
BY_SEVERITY = """
  receiver: platform
  routes:
    - {matchers: ['severity="critical"'], receiver: payments, continue: true}
    - {matchers: ['app="forklift"'], receiver: platform}
"""
BY_SEVERITY_TURNED = """
  receiver: platform
  routes:
    - {matchers: ['app="forklift"'], receiver: platform, continue: true}
    - {matchers: ['severity="critical"'], receiver: payments}
"""


async def reload(service: Running) -> tuple[int, str]:
    answer = await service.http.post(f"{service.url}/-/reload")
    return answer.status_code, answer.text


def write(service: Running, **config: str) -> Path:
    return routes_yaml(service.vendors, service.folder, top=config.pop("top", TOP), **config)  # type: ignore[arg-type]


async def told(service: Running) -> set[str]:
    return {f"{one['receiver']}/{one['kind']}" for one in await service.deliveries()}


async def test_a_bad_file_changes_nothing_and_says_everything_that_is_wrong(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=TOP, receivers=ONE)
        async with running(config, vendors) as service:
            config.write_text(
                config.read_text().replace("route: {receiver: platform}", "route: {receiver: nobody}\nx: 1")
            )
            code, text = await reload(service)
            assert code == 500
            lines = text.splitlines()
            assert lines[0] == "not reloaded, the old configuration stays in force:"
            assert any("nobody" in line and line.startswith(f"{config}:") for line in lines), text
            assert any("unknown key" in line for line in lines), text
            assert await service.metric("mtv_receiver_config_last_reload_successful") == 0
            await service.post(alert(failed()))
            await vendors.until(lambda v: len(v.slack_roots()) == 1)
            write(service, receivers=ONE)
            assert await reload(service) == (200, "OK\n")
            assert await service.metric("mtv_receiver_config_last_reload_successful") == 1


async def test_new_routes_hold_for_new_stories_and_open_ones_keep_their_destinations(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=TOP, receivers=ONE)
        async with running(config, vendors) as service:
            await service.post(alert(failed()))
            await vendors.until(lambda v: len(v.slack_roots()) == 1)
            write(service, receivers=TWO, route=BY_SEVERITY)
            assert await reload(service) == (200, "OK\n")
            await service.post(alert(failed()))  # Alertmanager repeats it
            await service.post(alert(failed("other", "other-plan")))
            await vendors.until(lambda v: len(v.slack_roots()) == 3 and len(v.incidents()) == 1)
            await service.idle()
            of = {one["id"]: one["subject"] for one in await service.stories()}
            shown = sorted((of[one["story"]], f"{one['receiver']}/{one['kind']}") for one in await service.deliveries())
            first = next(subject for subject in of.values() if "other" not in subject)
            assert shown == [
                *((first, each) for each in ("platform/slack",)),
                *(("plan/other", each) for each in ("payments/pagerduty", "payments/slack", "platform/slack")),
            ]
            # Its end is told where it was told, once; when it fails again later, today's routes hold.
            await service.post(alert(failed(), "resolved"))
            await service.until(lambda: _closed(service, first))
            await service.post(alert(failed(), starts_at="2026-11-21T10:00:00Z"))
            await vendors.until(lambda v: len(v.incidents()) == 2)


async def _closed(service: Running, subject: str) -> bool:
    return any(one["subject"] == subject and one["state"] == "resolved" for one in await service.stories())


async def test_another_order_of_receivers_entries_and_routes_makes_no_request(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=TOP, receivers=TWO, route=BY_SEVERITY)
        async with running(config, vendors) as service:
            await service.post(alert(failed()))
            await vendors.until(lambda v: len(v.slack_roots()) == 2 and len(v.incidents()) == 1)
            await service.idle()
            before = len(vendors.requests)
            write(service, receivers=TWO_TURNED, route=BY_SEVERITY_TURNED)
            assert await reload(service) == (200, "OK\n")
            await service.post(alert(failed()))
            await service.idle()
            await vendors.settle(quiet_s=1.0)
            assert len(vendors.requests) == before
            (story,) = await service.stories()
            assert story["revision"] == 1


async def test_a_story_whose_destinations_are_gone_is_told_to_the_root_receiver(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=TOP, receivers=TWO, route="{receiver: payments}")
        async with running(config, vendors) as service:
            await service.post(alert(failed()))
            await vendors.until(lambda v: len(v.slack_roots()) == 1 and len(v.incidents()) == 1)
            await service.idle()
            write(service, receivers=ONE)
            assert await reload(service) == (200, "OK\n")
            await vendors.until(lambda v: len(v.slack_roots()) == 2)
            await service.idle()
            assert await told(service) == {"payments/slack", "payments/pagerduty", "platform/slack"}
            (reason,) = next(one["reasons"] for one in await service.deliveries() if one["receiver"] == "platform")
            assert "payments/pagerduty and payments/slack left the configuration" in str(reason)
            # They come back: what they show is brought up to date, and nobody is told a second time.
            write(service, receivers=TWO, route="{receiver: payments}")
            assert await reload(service) == (200, "OK\n")
            await service.post(alert(failed(), "resolved"))
            await vendors.until(lambda v: len(v.incidents_resolved()) == 1)
            await service.idle()
            assert (len(vendors.slack_roots()), len(vendors.incidents())) == (2, 1)


async def test_the_same_holds_for_a_restart_with_another_configuration(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        async with running(routes_yaml(vendors, tmp_path, top=TOP, receivers=ONE), vendors) as service:
            await service.post(alert(failed()))
            await vendors.until(lambda v: len(v.slack_roots()) == 1)
            await service.idle()
        config = routes_yaml(vendors, tmp_path, top=TOP, receivers=TWO, route=BY_SEVERITY)
        async with running(config, vendors) as service:
            await service.post(alert(failed()))
            await service.idle()
            assert await told(service) == {"platform/slack"}


async def test_webhooks_are_taken_and_what_is_being_sent_is_finished_during_reloads(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        vendors.fail("slack", slow(0.3), on="chat.postMessage", always=True)
        config = routes_yaml(vendors, tmp_path, top=TOP, receivers=ONE)
        async with running(config, vendors) as service:
            posts = [asyncio.create_task(service.post(alert(failed(f"plan-{n}", f"plan-{n}")))) for n in range(30)]
            for _ in range(4):
                assert await reload(service) == (200, "OK\n")
            await asyncio.gather(*posts)  # each was answered 200
            await vendors.until(lambda v: len(v.slack_roots()) >= 30, timeout=60)
            await service.idle(timeout=60)
            assert len(vendors.slack_roots()) == 30, "none is lost, none is twice"


async def test_a_changed_file_and_an_exchanged_link_are_seen(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        first, second = tmp_path / "first", tmp_path / "second"
        for folder, receivers in ((first, ONE), (second, TWO)):
            folder.mkdir()
            routes_yaml(vendors, folder, top=TOP, receivers=receivers)
        link = tmp_path / "data"
        link.symlink_to(first, target_is_directory=True)
        (tmp_path / "routes.yaml").symlink_to("data/routes.yaml")
        for name in ("slack-token", "routing-key", "jira-token"):
            (tmp_path / name).symlink_to(f"data/{name}")
        async with running(tmp_path / "routes.yaml", vendors) as service:
            in_force = "mtv_receiver_config_last_reload_success_timestamp_seconds"
            started = await service.metric(in_force)
            new = tmp_path / "new"
            new.symlink_to(second, target_is_directory=True)
            new.rename(link)  # as Kubernetes does with a mounted ConfigMap

            async def sees_it() -> bool:
                return await service.metric(in_force) > started

            await service.until(sees_it, 20)


async def test_a_reload_frees_what_was_parked(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        refusing = vendors.fail("jira", jira_refused(401, "who are you?"), always=True)
        config = routes_yaml(vendors, tmp_path, top=TOP, receivers=f"- name: platform\n  {jira()}\n")
        async with running(config, vendors) as service:
            await service.post(alert(failed()))

            async def parked() -> bool:
                return any(one["state"] == "parked" for one in await service.deliveries())

            await service.until(parked)
            refusing.cancel()
            assert await reload(service) == (200, "OK\n")
            await vendors.until(lambda v: len(v.jira_issues()) == 1)


async def test_a_cluster_that_stays_configured_is_watched_on(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await load_example(api)
        await api.apply(plan())
        config = routes_yaml(vendors, tmp_path, top=top(), receivers=ONE)
        async with running(config, vendors) as service:
            await watched(api, service)
            await service.post(alert(failed()))
            await vendors.until(lambda v: v.slack_roots() and "virt-v2v" in str(v.slack_roots()[0].blocks))
            write(service, top=top(), receivers=TWO)
            assert await reload(service) == (200, "OK\n")
            await api.apply(plan("Executing", runs=2))
            await service.until_state("re-running")
            await api.apply(plan("Succeeded", runs=2))
            await service.until_state("resolved", outcome="fixed")
            await service.idle()
            assert len(vendors.slack_roots()) == 1


TEAM = """
receivers:
  - name: payments
    slack_configs: [{channel: '#payments', app_token_file: ../slack-token, app_url: '$SLACK'}]
routes:
  - {matchers: ['severity="critical"'], receiver: payments}
"""


async def test_a_new_file_of_a_team_is_seen_and_routed_by(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=f"{TOP}\ninclude: routes.d/*.yaml", receivers=ONE)
        team = tmp_path / "routes.d/payments.yaml"
        team.parent.mkdir()
        async with running(config, vendors) as service:
            loaded = "mtv_receiver_config_last_reload_successful"
            in_force = "mtv_receiver_config_last_reload_success_timestamp_seconds"
            started = await service.metric(in_force)
            team.write_text("routes: [{receiver: payments}]\nglobal: {digest_after: 3}\n")

            async def refused() -> bool:
                return await service.metric(loaded) == 0

            await service.until(refused, 20)
            code, text = await reload(service)
            assert code == 500
            assert f"{team}:1:21: routes[0].receiver: there is no receiver 'payments'" in text
            assert f"{team}:2:1: global: not for an included file" in text

            new = tmp_path / "new.yaml"
            new.write_text(TEAM.replace("$SLACK", vendors.slack_url))
            if proxy.BEHIND is not None:
                proxy.BEHIND.move_config(new)
            new.rename(team)

            async def sees_it() -> bool:
                return await service.metric(in_force) > started

            await service.until(sees_it, 20)
            await service.post(alert(failed()))
            await vendors.until(lambda v: len(v.slack_roots()) == 1)
            await service.idle()
            assert await told(service) == {"payments/slack"}
            (one,) = await service.deliveries()
            assert "routes.d/payments.yaml:" in str(one["reasons"])


async def test_sighup_reads_the_file_again_and_a_bad_one_is_refused(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=TOP, receivers=ONE)
        async with process(config) as service, httpx2.AsyncClient(timeout=10) as http:

            async def reloads() -> list[str]:
                lines = (await http.get(f"{service.url}/api/v1/audit", params={"kind": "reload"})).text.splitlines()
                return [json.loads(line)["why"] for line in lines]

            service.signal(signal.SIGHUP)
            async with asyncio.timeout(20):
                while await reloads() != ["SIGHUP"]:
                    await asyncio.sleep(0.05)
            config.write_text("receivers: []\n")
            service.signal(signal.SIGHUP)
            async with asyncio.timeout(20):
                while "service.reload_refused" not in service.log.read_text():
                    await asyncio.sleep(0.05)
            assert (await http.get(f"{service.url}/-/ready")).status_code == 200
            assert await reloads() == ["SIGHUP"]
