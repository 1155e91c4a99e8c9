"""`/status` and `/api/v1/status`: what is in force and how everything around it does, and no secret."""

from __future__ import annotations

import asyncio
import html
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from receiver.store import standing
from receiver.web import lacking
from tests.acceptance.harness import Running, alert, failed, routes_yaml, running, slack
from tests.acceptance.plans import cluster, load_example, top, watched
from tests.fakes.kubernetes import KubernetesApi
from tests.fakes.vendors import ROUTING_KEY, FakeVendors

pytestmark = pytest.mark.anyio

PLANTED = "Fa4eStatusPw77"
FILES = ("page", "hook", "ping", "webhook-url", "header", "signing")
MORE = f"""
web:
  page_auth: {{bearer_token_file: page}}
  pagerduty_signing_secret_file: signing
alertmanagers:
  - name: main
    url: 'http://127.0.0.1:9/am?token={PLANTED}query'
    http_config: {{authorization: {{credentials_file: hook}}, proxy_url: 'http://127.0.0.1:8'}}
heartbeat: {{matchers: ['alertname="Watchdog"'], ping_url_file: ping}}
redaction: {{patterns: ['{PLANTED}pattern']}}
runbooks: {{PlanBroke: 'https://wiki.example.com/x?password={PLANTED}runbook'}}
"""
RECEIVERS = f"""
- name: platform
  {slack("#platform")}
  pagerduty_configs: [{{routing_key_file: routing-key, url: '$PAGERDUTY'}}]
  webhook_configs:
    - {{url: 'http://127.0.0.1:9/in?key={PLANTED}key', headers: {{X-Api-Key: {PLANTED}header}}}}
    - {{url_file: webhook-url, header_files: {{X-Other: header}}, signing_secret_file: signing, name: second}}
"""


@asynccontextmanager
async def watching(folder: Path, more: str = MORE) -> AsyncIterator[tuple[Running, KubernetesApi]]:
    """Run a service with secrets wherever its configuration may have some."""
    for name in FILES:
        (folder / name).write_text(f"{PLANTED}{name}")
    async with FakeVendors() as vendors, cluster(folder) as api:
        await load_example(api)
        config = routes_yaml(vendors, folder, top=top() + more, receivers=RECEIVERS)
        async with running(config, vendors) as service:
            service.http.headers["Authorization"] = f"Bearer {PLANTED}page"
            await watched(api, service)
            yield service, api


async def status(service: Running) -> dict[str, Any]:
    answer = await service.http.get(f"{service.url}/api/v1/status")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def shown(service: Running) -> str:
    answer = await service.http.get(f"{service.url}/status")
    assert answer.status_code == 200, answer.text
    return html.unescape(answer.text)


async def test_it_says_what_is_in_force_and_how_it_does(tmp_path: Path) -> None:
    async with watching(tmp_path) as (service, _):
        await service.post(alert(failed()))
        await service.until(service.stories)
        found = await status(service)
        assert (found["ready"], found["unknown"]) == ("", [])
        assert found["configuration"]["file"] == str(tmp_path / "routes.yaml")
        assert found["configuration"]["loaded"]
        assert found["configuration"]["problems"] == []
        (one,) = found["clusters"]
        assert (one["name"], one["synced"], one["plans"], one["problem"]) == ("local", True, 1, "")
        assert sum(found["store"]["stories"].values()) == 1
        assert found["store"]["bytes"] > 10_000
        (am,) = found["alertmanagers"]
        assert am["last_complete"] is None
        text = await shown(service)
        for words in ("in force", "in sync", "1 plan", found["configuration"]["hash"], "does not answer"):
            assert words in text, words


async def test_no_secret_of_the_configuration_is_shown_but_where_each_is(tmp_path: Path) -> None:
    async with watching(tmp_path) as (service, _):
        (tmp_path / "routes.yaml").write_text((tmp_path / "routes.yaml").read_text() + "\nnonsense: 1\n")
        assert (await service.http.post(f"{service.url}/-/reload")).status_code == 500
        asked = [await service.http.get(service.url + path) for path in ("/status", "/api/v1/status")]
        for answer in asked:
            assert answer.status_code == 200
            for secret in (PLANTED, "xoxb-test", ROUTING_KEY):
                at = answer.text.find(secret)
                assert at < 0, answer.text[max(0, at - 80) : at + 60]
        text = (await status(service))["configuration"]["yaml"]
        for name in (*FILES, "slack-token", "routing-key"):
            assert f"{tmp_path / name}" in text, name
        # What stands beside the secrets is shown: the places were reached, and the test can fail.
        for words in ("127.0.0.1:9/in?key=‹hidden›", "X-Api-Key: ‹hidden›", "x?password=‹hidden›", "(1 pattern)"):
            assert words in text, words


async def test_a_reload_that_was_refused_is_said_with_its_lines(tmp_path: Path) -> None:
    async with watching(tmp_path) as (service, _):
        before = (await status(service))["configuration"]["hash"]
        (tmp_path / "routes.yaml").write_text((tmp_path / "routes.yaml").read_text() + "\nnonsense: 1\n")
        await service.http.post(f"{service.url}/-/reload")
        found = (await status(service))["configuration"]
        assert found["hash"] == before
        (problem,) = found["problems"]
        assert "routes.yaml:" in problem
        assert "nonsense" in problem
        text = await shown(service)
        assert "The newest configuration is not in force" in text
        assert problem in text


async def test_a_piece_that_fails_is_said_to_be_unknown_and_takes_no_other_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError(PLANTED)

    monkeypatch.setattr(standing, "holdings", broken)
    async with watching(tmp_path) as (service, _):
        found = await status(service)
        assert found["store"] is None
        assert found["unknown"] == [{"what": "store", "why": "RuntimeError; the log has more"}]
        assert found["configuration"]["hash"]
        text = await shown(service)
        assert "Not known: RuntimeError" in text
        assert PLANTED not in text


async def test_missing_rights_are_named_and_asked_for_once_a_minute(tmp_path: Path) -> None:
    asked = 0
    real = lacking._ask

    async def counted(*args: Any) -> lacking.Lacking:
        nonlocal asked
        asked += 1
        return await real(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lacking, "_ask", counted)
        async with watching(tmp_path) as (service, api):
            api.forbidden.add(("get", "pods/log"))
            answers = await asyncio.gather(*(status(service) for _ in range(5)))
            assert asked == 1
            for found in answers:
                (one,) = found["clusters"]
                assert one["lacking"] == ["get pods/log"]
            assert "get pods/log" in await shown(service)
