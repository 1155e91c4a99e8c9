"""Every address of the whole service has a guard that holds; nothing leaves for an address that somebody sent us."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from receiver.app import build_app
from receiver.config.load import load
from receiver.destinations.registry import ALL
from receiver.guard import Rule, rule_of
from receiver.store.engine import sqlite_url
from tests.acceptance.harness import alert, body, failed, routes_yaml, running
from tests.fakes.pagerduty_people import SECRET, signed, webhook
from tests.fakes.server import serve
from tests.fakes.vendors import FakeVendors

pytestmark = [pytest.mark.anyio, pytest.mark.past_proxy("nothing is asked that could go through it")]

GUARDED = """
clusters: []
web:
  webhook_auth: {bearer_token_file: webhook}
  page_auth:
    bearer_token_file: page
    basic_auth: [{username: ana, password_file: old}, {username: ana, password_file: new}]
    proxy_header: {header: X-Forwarded-User, trusted_proxies: [127.0.0.1]}
  slack_signing_secret_file: slack-signing
  pagerduty_signing_secret_file: pagerduty-signing
alertmanagers:
  - {name: east, url: 'http://127.0.0.1:9', webhook_auth: {bearer_token_file: [east, east-next]}}
  - {name: west, url: 'http://127.0.0.1:9'}
actions: {allow: [ana@example.com]}
receivers:
  - name: platform
    pagerduty_configs: [{routing_key_env: NO_SUCH_KEY, url: 'http://127.0.0.1:9/enqueue'}]
route: {receiver: platform}
"""
OPEN = {"/-/healthy", "/-/ready", "/metrics", "/static/site.css"}
SIGNED = {"/slack/interactive", "/pagerduty/webhook"}


def configuration(folder: Path, text: str = GUARDED) -> Path:
    names = ("webhook", "page", "old", "new", "slack-signing", "pagerduty-signing", "east", "east-next")
    for name in names:
        (folder / name).write_text(f"{name} secret")
    path = folder / "routes.yaml"
    path.write_text(text)
    return path


@asynccontextmanager
async def guarded(folder: Path, text: str = GUARDED) -> AsyncIterator[tuple[Starlette, httpx2.AsyncClient]]:
    fatal: list[str] = []
    app = build_app(load(configuration(folder, text), ALL), sqlite_url(folder / "test.db"), on_fatal=fatal.append)
    async with serve(app) as url, httpx2.AsyncClient(base_url=url, timeout=30) as http:
        async with asyncio.timeout(20):
            while (await http.get("/-/ready")).status_code != 200:
                await asyncio.sleep(0.02)
        yield app, http
    assert not fatal


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


async def figure(http: httpx2.AsyncClient, guard: str) -> float:
    text = (await http.get("/metrics")).text
    found = re.search(rf'^mtv_receiver_unauthorized_total{{guard="{guard}"}} (\S+)$', text, re.MULTILINE)
    assert found
    return float(found[1])


async def test_every_route_declares_a_guard_and_keeps_it(tmp_path: Path) -> None:
    async with guarded(tmp_path) as (app, http):
        pages = 0
        for route in app.routes:
            assert isinstance(route, Route), f"{route} is of a kind whose guard nobody looks at"
            rule = rule_of(route.endpoint)
            assert rule is not None, f"{route.path} declares no guard: see receiver/guard.py"
            path = re.sub(r"\{\w+\}", "site.css" if route.path.startswith("/static/") else "x", route.path)
            for method in sorted((route.methods or set()) - {"HEAD"}):
                answer = await http.request(method, path, json={} if method == "POST" else None)
                where = (method, path, answer.status_code)
                if rule is Rule.OPEN:
                    assert path in OPEN, where
                    assert answer.status_code == 200, where
                elif rule is Rule.SIGNED:
                    assert path in SIGNED, where
                    assert answer.status_code == 401, where
                elif rule is Rule.WEBHOOK:
                    assert path.startswith("/webhook"), where
                    assert answer.status_code == (401 if method == "POST" else 405), where
                else:
                    assert rule is Rule.PAGE
                    assert answer.status_code == 401, where
                    assert answer.headers["www-authenticate"].startswith("Basic realm"), where
                    assert answer.json() == {"error": "not signed in: use what web.page_auth names"}, where
                    pages += 1
        assert pages >= 10
        assert await figure(http, "page") == pages
        assert await figure(http, "signed") == len(SIGNED)
        assert await figure(http, "webhook") == 3


async def test_whom_page_auth_names_is_let_in(tmp_path: Path) -> None:
    async with guarded(tmp_path) as (_, http):
        good = (
            bearer("page secret"),
            basic("ana", "old secret"),
            basic("ana", "new secret"),
            {"X-Forwarded-User": "x"},
        )
        bad = (bearer("webhook secret"), basic("eve", "old secret"), basic("ana", "page secret"), {"X-User": "x"})
        assert [(await http.get("/api/v1/stories", headers=one)).status_code for one in good] == [200] * 4
        assert [(await http.get("/api/v1/stories", headers=one)).status_code for one in bad] == [401] * 4
        (tmp_path / "page").write_text("another")
        assert (await http.get("/api/v1/stories", headers=bearer("page secret"))).status_code == 401
        assert (await http.get("/api/v1/stories", headers=bearer("another"))).status_code == 200


async def test_who_signed_in_is_who_acts_whatever_the_body_says(tmp_path: Path) -> None:
    async with guarded(tmp_path) as (_, http):
        tries = (
            (basic("ana", "new secret"), "ana"),
            ({"X-Forwarded-User": "Jo"}, "Jo"),
            (bearer("page secret"), "Eve"),
        )
        for headers, name in tries:
            await http.post("/api/v1/stories/X/acknowledge", json={"by": "Eve"}, headers=headers)
            asked = await http.get("/api/v1/stories/X/presses", headers=headers)
            assert asked.json()["items"][-1]["by"] == name


async def test_an_alertmanager_with_secrets_of_its_own_takes_no_others(tmp_path: Path) -> None:
    tries = [
        ("/webhook", "webhook secret", 200),
        ("/webhook/", "webhook secret", 200),
        ("/webhook/west", "webhook secret", 200),
        ("/webhook/nobody", "webhook secret", 200),
        ("/webhook/east", "east secret", 200),
        ("/webhook/east", "east-next secret", 200),
        ("/webhook/e%61st", "east secret", 200),
        ("/webhook/east", "webhook secret", 401),
        ("/webhook/e%61st", "webhook secret", 401),
        ("/webhook/ea%00st", "webhook secret", 401),  # told as east
        ("/webhook", "east secret", 401),
        ("/webhook/west", "east secret", 401),
        ("/webhook/east", "page secret", 401),
    ]
    async with guarded(tmp_path) as (_, http):
        got = []
        for path, token, _status in tries:
            answer = await http.post(path, json=body(alert(failed())), headers=bearer(token))
            got.append((path, token, answer.status_code))
        assert got == tries
        (tmp_path / "east").write_text("changed")
        assert (await http.post("/webhook/east", json=body(), headers=bearer("changed"))).status_code == 200
        assert (await http.post("/webhook/east", json=body(), headers=bearer("east secret"))).status_code == 401


# --- nothing is asked that a payload names ---


class Trap:
    """An address that nobody has any business at."""

    def __init__(self) -> None:
        self.caught: list[bytes] = []
        self.url = ""

    @asynccontextmanager
    async def set(self) -> AsyncIterator[Trap]:
        async def caught(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.caught.append(await reader.read(1000))
            writer.close()

        server = await asyncio.start_server(caught, "127.0.0.1", 0)
        async with server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self


URLS = ("runbook_url", "runbook", "dashboard_url", "summary", "description", "link", "url", "image", "silenceURL")


async def test_no_address_of_a_webhook_a_press_or_an_incident_is_ever_asked(tmp_path: Path) -> None:
    async with Trap().set() as trap, FakeVendors() as vendors:
        (tmp_path / "signing-secret").write_text(SECRET)
        config = routes_yaml(
            vendors, tmp_path,
            top="clusters: []\nweb: {pagerduty_signing_secret_file: signing-secret}\n"
            "global: {resolve_delay: 100ms, confirm_after: 1h, evidence_wait: 100ms, evidence_timeout: 1s}",
        )  # fmt: skip
        async with running(config, vendors) as service:
            labels = failed(instance=trap.url, endpoint=trap.url, cluster=trap.url, runbook_url=trap.url)
            one = alert(labels, annotations={name: f"{trap.url}/{name}" for name in URLS})
            two = alert({"alertname": "Other", "severity": "critical", "url": trap.url}, annotations=one["annotations"])
            for each in (one, two):
                each["generatorURL"] = f"{trap.url}/generator"
            document = body(one, two)
            document |= {"externalURL": f"{trap.url}/external", "callback_url": trap.url, "url": trap.url}
            document["commonAnnotations"] = one["annotations"]
            document["commonLabels"] = document["groupLabels"] = {"runbook_url": trap.url}
            await service.send(document)
            await vendors.until(lambda v: len(v.slack_roots()) == 2 and len(v.incidents()) == 2)
            event = webhook("incident.acknowledged", vendors.incidents()[0].dedup_key, "Ana", now())
            text = json.dumps(event)
            for name in ("html_url", "self"):
                text = re.sub(rf'"{name}": ?"[^"]*"', f'"{name}": "{trap.url}/{name}"', text)
            event = json.loads(text)
            event["event"]["data"] |= {"html_url": trap.url, "self": trap.url, "callback_url": trap.url}
            headers, raw = signed(event)
            answer = await service.http.post(f"{service.url}/pagerduty/webhook", content=raw, headers=headers)
            assert answer.status_code == 200
            document["status"] = "resolved"
            for each in document["alerts"]:
                each |= {"status": "resolved", "endsAt": "2026-11-21T09:00:00Z"}
            await service.send(document)
            await service.until_state("resolved")
            await service.idle()
            said = json.dumps([root.blocks for root in vendors.slack_roots()])
            assert trap.url in said, "it is shown to people, who may follow it"
        assert trap.caught == []


def now() -> float:
    return datetime.now(UTC).timestamp()


# --- what is open says nothing ---


async def test_what_is_open_names_no_plan_namespace_vm_or_story(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top="clusters: []")
        async with running(config, vendors) as service:
            labels = {**failed(), **{name: f"planted-{name}" for name in ("plan_name", "namespace", "vm", "pod")}}
            await service.post(alert(labels, annotations={"summary": "planted-text"}))
            await vendors.until(lambda v: v.slack_roots() and v.incidents() and v.jira_issues())
            await service.idle()
            (story,) = await service.stories()
            await service.http.get(service.url + "/planted-path")
            for path in sorted(OPEN):
                text = (await service.http.get(service.url + path)).text
                assert "planted" not in text
                assert story["id"] not in text
                assert failed()["plan"] not in text
