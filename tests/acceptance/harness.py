"""The whole service on real sockets, between fake vendors and a fake API server."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from receiver.app import build_app
from receiver.config.load import load
from receiver.destinations.registry import ALL
from receiver.fingerprint import fingerprint
from tests.databases import ask, database_of
from tests.fakes import proxy
from tests.fakes.server import serve
from tests.fakes.vendors import ROUTING_KEY, FakeVendors

PLAN_UID = "3f0c3d0e-6c55-4f0a-9c1b-0a7a5a2e41d1"
DATA = Path(__file__).parent.parent / "data"


def captured(name: str) -> dict[str, Any]:
    """Return a captured file of tests/data/alertmanager."""
    found: dict[str, Any] = json.loads((DATA / "alertmanager" / name).read_text())
    return found


def alert(
    labels: Mapping[str, str],
    status: str = "firing",
    *,
    starts_at: str = "2026-11-21T08:29:50Z",
    ends_at: str = "2026-11-21T09:00:00Z",
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return one alert as Alertmanager sends it."""
    return {
        "status": status,
        "labels": dict(labels),
        "annotations": dict(annotations or {"summary": "Migration plan failed"}),
        "startsAt": starts_at,
        "endsAt": "0001-01-01T00:00:00Z" if status == "firing" else ends_at,
        "generatorURL": "",
        "fingerprint": fingerprint(labels),
    }


def body(*alerts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a webhook of these alerts."""
    firing = any(one["status"] == "firing" for one in alerts)
    return {
        "receiver": "mtv-receiver",
        "status": "firing" if firing else "resolved",
        "alerts": [copy.deepcopy(dict(one)) for one in alerts],
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager",
        "version": "4",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
    }


def failed(uid: str = PLAN_UID, name: str = "erp-wave1", **labels: str) -> dict[str, str]:
    """Return the labels of Forklift's own alert."""
    return {
        "alertname": "MigrationFailed",
        "severity": "critical",
        "app": "forklift",
        "type": "migration-failed",
        "status": "Failed",
        "provider": "vsphere",
        "mode": "Cold",
        "target": "Local",
        "plan": uid,
        "plan_name": name,
        "phase": "ConvertGuest",
        "namespace": "openshift-mtv",
        "service": "forklift-metrics",
        "job": "forklift-metrics",
        **labels,
    }


def succeeded(uid: str = PLAN_UID, name: str = "erp-wave1") -> dict[str, str]:
    """Return the labels of Forklift's MigrationSucceeded."""
    return {
        "alertname": "MigrationSucceeded", "severity": "info", "app": "forklift", "type": "migration-succeeded",
        "status": "Succeeded", "plan": uid, "plan_name": name, "phase": "Completed", "namespace": "openshift-mtv",
    }  # fmt: skip


def brief(name: str = "erp-wave1", namespace: str = "mig-team-a", **labels: str) -> dict[str, str]:
    """Return the labels of the project's brief."""
    return {"alertname": "MTVPlanFailed", "severity": "critical", "plan_name": name, "namespace": namespace, **labels}


@dataclass
class Running:
    """A service that runs, and how to talk to it."""

    url: str
    http: httpx2.AsyncClient
    folder: Path
    vendors: FakeVendors
    fatal: list[str] = field(default_factory=list)

    async def post(self, *alerts: Mapping[str, Any]) -> dict[str, Any]:
        """Send a webhook; it must be accepted."""
        return await self.send(body(*alerts))

    async def send(self, document: Mapping[str, Any], path: str = "/webhook") -> dict[str, Any]:
        """Send a body as it is; it must be accepted."""
        response = await self.http.post(self.url + path, json=document)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def stories(self, **query: str) -> list[dict[str, Any]]:
        """Return all stories, newest first."""
        response = await self.http.get(f"{self.url}/api/v1/stories", params={"limit": "500", **query})
        items: list[dict[str, Any]] = response.json()["items"]
        return items

    async def deliveries(self, **query: str) -> list[dict[str, Any]]:
        """Return all deliveries, newest first."""
        response = await self.http.get(f"{self.url}/api/v1/deliveries", params={"limit": "500", **query})
        items: list[dict[str, Any]] = response.json()["items"]
        return items

    async def until(self, what: Callable[[], Awaitable[Any]], timeout: float = 10.0) -> Any:
        """Await a condition over the API and return what made it true."""
        seen: Any = None
        try:
            async with asyncio.timeout(timeout):
                while True:
                    seen = await what()
                    if seen:
                        return seen
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"not within {timeout} s; stories: {await self.stories()}") from None

    async def until_state(self, state: str, timeout: float = 10.0, outcome: str | None = None) -> dict[str, Any]:
        """Await that the only open-or-newest story has a state."""

        async def look() -> dict[str, Any] | None:
            found = await self.stories()
            if found and found[0]["state"] == state and (outcome is None or found[0]["outcome"] == outcome):
                return found[0]
            return None

        story: dict[str, Any] = await self.until(look, timeout)
        return story

    async def idle(self, timeout: float = 15.0) -> None:
        """Await that the inbox is empty and no delivery lags (parked, muted and dead ones may)."""

        async def look() -> bool:
            ((new,),) = ask(self.folder, "SELECT count(*) FROM inbox WHERE state = 'new'")
            return not new and not [one for one in await self.deliveries() if one["state"] in ("pending", "retrying")]

        await self.until(look, timeout)

    async def metric(self, name: str) -> float:
        """Return the value of one series, such as `mtv_receiver_inbox_backlog`."""
        for line in (await self.http.get(f"{self.url}/metrics")).text.splitlines():
            if line.startswith(name + " "):
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"no series {name}")


def routes_yaml(
    vendors: FakeVendors,
    folder: Path,
    *,
    top: str = "",
    receivers: str | None = None,
    route: str = "{receiver: platform}",
) -> Path:
    """Write a configuration whose destinations are the fakes, and its secret files.

    `$SLACK`, `$PAGERDUTY`, `$JIRA`, `$JIRA_DC` and `$SERVICENOW` in `receivers` stand for the fakes' addresses.
    """
    for name, text in (("slack-token", "xoxb-test"), ("routing-key", ROUTING_KEY), ("jira-token", "jira-secret")):
        (folder / name).write_text(text)
    receivers = receivers or three("platform", "#platform")
    listed = textwrap.indent(textwrap.dedent(receivers), "  ")
    text = f"{textwrap.dedent(top)}\nreceivers:\n{listed}\nroute: {route}\n"
    urls = {
        "$SLACK": vendors.slack_url,
        "$PAGERDUTY": vendors.pagerduty_url,
        "$JIRA_DC": vendors.jira_dc_url,
        "$JIRA": vendors.jira_url,
        "$SERVICENOW": vendors.servicenow_url,
    }
    for name, url in urls.items():
        text = text.replace(name, url)
    path = folder / "routes.yaml"
    path.write_text(text)
    if proxy.BEHIND is not None:
        proxy.BEHIND.move_config(path)
    return path


def slack(channel: str, extra: str = "") -> str:
    """Return a slack_configs line."""
    return f"slack_configs: [{{channel: '{channel}', app_token_file: slack-token, app_url: '$SLACK'{extra}}}]"


def pagerduty(extra: str = "") -> str:
    """Return a pagerduty_configs line."""
    return f"pagerduty_configs: [{{routing_key_file: routing-key, url: '$PAGERDUTY'{extra}}}]"


def jira(project: str = "MIG", extra: str = "") -> str:
    """Return a jira_configs line."""
    auth = "http_config: {basic_auth: {username: bot@example.com, password_file: jira-token}}"
    return f"jira_configs: [{{api_url: '$JIRA', project: {project}, issue_type: Bug, {auth}{extra}}}]"


def servicenow(extra: str = "") -> str:
    """Return a servicenow_configs line."""
    auth = "http_config: {basic_auth: {username: mtv, password_file: jira-token}}"
    return f"servicenow_configs: [{{instance_url: '$SERVICENOW', {auth}{extra}}}]"


def three(name: str, channel: str) -> str:
    """Return a receiver with one destination of each kind."""
    return f"- name: {name}\n  {slack(channel)}\n  {pagerduty()}\n  {jira()}\n"


@contextlib.asynccontextmanager
async def running(config: Path, vendors: FakeVendors) -> AsyncIterator[Running]:
    """Run the service on a configuration; its database is beside it, so that a second run goes on with it."""
    if proxy.BEHIND is not None:
        more = vendors.sandbox.slack_more
        more.socket_url = proxy.BEHIND.moved(more.socket_url, "wss.vendors")
    fatal: list[str] = []
    app = build_app(load(config, ALL), database_of(config.parent), on_fatal=fatal.append)
    async with serve(app) as url, httpx2.AsyncClient(timeout=30) as http:
        one = Running(url, http, config.parent, vendors, fatal)

        async def ready() -> bool:
            return (await http.get(url + "/-/ready")).status_code == 200

        async with asyncio.timeout(20):
            while not await ready():
                await asyncio.sleep(0.02)
        yield one
    assert not fatal, fatal
