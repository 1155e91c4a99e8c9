"""What is down and nobody took is called out again in chat, three times; pagers and tickets hear nothing of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance.harness import PLAN_UID, Running, alert, failed, jira, pagerduty, routes_yaml, running, slack
from tests.acceptance.plans import cluster, plan, top, watched
from tests.fakes.kubernetes import KubernetesApi
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

TEAM = slack("#platform", ", mention: '@here'")
RECEIVERS = f"- name: platform\n  {TEAM}\n  {pagerduty()}\n  {jira()}\n"


async def told(vendors: FakeVendors, api: KubernetesApi, service: Running) -> None:
    """Await that a plan with a VM down is shown everywhere."""
    await api.apply(plan())
    await watched(api, service)
    await service.post(alert(failed(PLAN_UID)))
    await vendors.until(lambda v: v.slack_roots() and v.incidents() and v.jira_issues(), timeout=15)


def reminders(vendors: FakeVendors) -> list[str]:
    """Return what was said about nobody having taken it."""
    found = [one for one in vendors.seen("slack", "chat.postMessage") if "Nobody has taken it" in json.dumps(one.json)]
    assert all(one.json["reply_broadcast"] is True for one in found)
    assert all("<!here>" in json.dumps(one.json) for one in found)
    return [str(one.json["text"]) for one in found]


async def test_three_reminders_in_chat_and_none_at_pagers_and_tickets(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        config = routes_yaml(vendors, tmp_path, top=top(remind_after="1s"), receivers=RECEIVERS)
        async with running(config, vendors) as service:
            await told(vendors, api, service)
            await vendors.until(lambda v: reminders(v), timeout=15)
            await service.idle()
            others = len(vendors.seen("pagerduty")), len(vendors.seen("jira"))
            await vendors.until(lambda v: len(reminders(v)) == 3, timeout=15)
            await vendors.settle(3.0)
            assert len(reminders(vendors)) == 3
            assert (len(vendors.seen("pagerduty")), len(vendors.seen("jira"))) == others
            assert len(vendors.slack_roots()) == 1
            assert "VM down" in reminders(vendors)[0]


async def test_an_acknowledgement_stops_reminders(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        config = routes_yaml(vendors, tmp_path, top=top(remind_after="2s"), receivers=RECEIVERS)
        async with running(config, vendors) as service:
            await told(vendors, api, service)
            await vendors.until(lambda v: len(reminders(v)) == 1, timeout=15)
            (story,) = await service.stories()
            address = f"{service.url}/api/v1/stories/{story['id']}/acknowledge"
            answer = await service.http.post(address, json={"by": "Ana Costa"})
            assert answer.status_code == 200
            await vendors.settle(4.0)
            assert len(reminders(vendors)) == 1


async def test_a_storm_is_called_out_in_its_own_thread_and_not_once_for_each_failure(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        config = routes_yaml(vendors, tmp_path, top=top(remind_after="2s", digest_after="1"), receivers=RECEIVERS)
        uids = [f"00000000-0000-4000-8000-{number:012}" for number in range(3)]
        for at, uid in enumerate(uids):
            await api.apply(plan(uid=uid, name=f"wave-{at}"))
        async with running(config, vendors) as service:
            await watched(api, service)
            await service.post(*(alert(failed(uid, name=f"wave-{at}")) for at, uid in enumerate(uids)))
            await vendors.until(lambda v: len(reminders(v)) == 3, timeout=40)
            (root,) = vendors.slack_roots()
            assert all(one.json["thread_ts"] == root.ts for one in vendors.seen("slack", "chat.postMessage")[1:])
            assert "plans" in reminders(vendors)[0]
            assert "VMs down" in reminders(vendors)[0]
            said = [reply.text for reply in vendors.slack_replies() if "Nobody has taken it" in reply.text]
            assert len(said) == 3
            assert len(vendors.incidents()) == 1
