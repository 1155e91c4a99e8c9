"""No redirect is followed, whoever sends it: a redirected POST would carry secrets to somewhere else."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Route

from receiver.app import build_app
from receiver.config.load import load
from receiver.destinations.registry import ALL
from receiver.store.engine import sqlite_url
from tests.acceptance.harness import alert, body, failed
from tests.fakes.server import serve

pytestmark = [pytest.mark.anyio, pytest.mark.past_proxy("nothing is asked that could go through it")]

EVERYWHERE = """
global: {resolve_delay: 100ms, evidence_wait: 100ms, evidence_timeout: 1s, confirm_after: 1s, digest_after: 0}
clusters: [{name: local, kubeconfig_file: kubeconfig}]
alertmanagers: [{name: main, url: '$URL/alertmanager', grace: 1s}]
receivers:
  - name: platform
    slack_configs:
      - {channel: '#a', app_token_file: secret, app_url: '$URL/slack/', socket_token_file: secret}
      - {api_url_file: hook, name: hook}
    pagerduty_configs: [{routing_key_file: secret, url: '$URL/pagerduty', api_token_file: secret, api_url: '$URL/rest'}]
    jira_configs: [{api_url: '$URL/jira/rest/api/3', project: MIG, issue_type: Bug, $BASIC}]
    servicenow_configs: [{instance_url: '$URL/servicenow', $BASIC}]
    github_configs: [{repo: a/b, token_file: secret, api_url: '$URL/api/v3'}]
    gitlab_configs: [{project: a/b, token_file: secret, url: '$URL/gitlab'}]
    webhook_configs: [{url: '$URL/webhook'}]
route: {receiver: platform}
"""
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: x
contexts: [{name: x, context: {cluster: x, user: x}}]
clusters: [{name: x, cluster: {server: '$URL/kubernetes'}}]
users: [{name: x, user: {token: secret}}]
"""
ASKED = {"slack", "hook", "pagerduty", "jira", "servicenow", "api", "gitlab", "webhook", "kubernetes", "alertmanager"}


@asynccontextmanager
async def trap() -> AsyncIterator[tuple[str, list[bytes]]]:
    caught: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caught.append(await reader.read(1000))
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", caught


@pytest.mark.parametrize("status", [302, 307, 308])
async def test_a_redirect_leads_nobody_anywhere(tmp_path: Path, status: int) -> None:
    seen: set[str] = set()
    async with trap() as (elsewhere, caught):

        async def away(request: Request) -> RedirectResponse:
            seen.add(request.url.path.split("/")[1])
            return RedirectResponse(elsewhere + request.url.path, status)

        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        async with serve(Starlette(routes=[Route("/{path:path}", away, methods=methods)])) as url:
            (tmp_path / "secret").write_text("secret")
            (tmp_path / "hook").write_text(f"{url}/hook")
            (tmp_path / "kubeconfig").write_text(KUBECONFIG.replace("$URL", url))
            basic = "http_config: {basic_auth: {username: a, password_file: secret}}"
            (tmp_path / "routes.yaml").write_text(EVERYWHERE.replace("$URL", url).replace("$BASIC", basic))
            config = load(tmp_path / "routes.yaml", ALL)
            app = build_app(config, sqlite_url(tmp_path / "test.db"), on_fatal=lambda _: None)
            async with serve(app) as service, httpx2.AsyncClient(base_url=service, timeout=30) as http:
                async with asyncio.timeout(60):
                    while (await http.get("/-/ready")).status_code != 200:
                        await asyncio.sleep(0.02)
                    await http.post("/webhook/main", json=body(alert(failed())))
                    while not (seen >= ASKED and ended(tmp_path) >= len(config.destinations)):
                        await asyncio.sleep(0.05)
        assert caught == []


def ended(folder: Path) -> int:
    """Return how many destinations a try has ended at: where one followed, it had followed by then."""
    with closing(sqlite3.connect(folder / "test.db")) as database:
        query = "SELECT count(DISTINCT delivery) FROM attempts WHERE ended IS NOT NULL"
        return int(database.execute(query).fetchone()[0])
