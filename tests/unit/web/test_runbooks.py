"""Runbook pages: readable, and whatever a ConfigMap holds, harmless."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette

from receiver.clock import Clock, SystemClock
from receiver.config.load import load
from receiver.config.model import Auth, Config, Secret, Web
from receiver.destinations.registry import ALL
from receiver.enrichers.shelf import own_pages
from receiver.kube import Cluster
from receiver.web.pages.runbooks import routes, to_html
from receiver.web.pages.site import Site
from receiver.web.viewers import Viewers
from tests.fakes.server import serve
from tests.unit.enrichers.cluster import MemoryCluster
from tests.unit.enrichers.test_shelf import book

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[3]


@dataclass
class Service:
    config: Config
    clusters: Mapping[str, Cluster] = field(default_factory=dict)
    clock: Clock = field(default_factory=SystemClock)

    def __post_init__(self) -> None:
        self.viewers = Viewers(self)


@asynccontextmanager
async def pages(cluster: MemoryCluster | None = None, auth: Auth | None = None) -> AsyncIterator[httpx2.AsyncClient]:
    config = load(ROOT / "examples/sandbox/routes.yaml", ALL)
    config = replace(config, web=Web(page_auth=auth or Auth()))
    service = Service(config, {"memory": cluster} if cluster else {})
    async with (
        serve(Starlette(routes=routes(service, Site(service)))) as url,
        httpx2.AsyncClient(base_url=url, timeout=30) as http,
    ):
        yield http


async def test_every_own_page_and_alias_is_served_as_plain_html() -> None:
    async with pages() as http:
        for name in own_pages():
            answer = await http.get(f"/runbooks/{name}")
            assert answer.status_code == 200
            assert "<h2>Mitigation</h2>" in answer.text
            assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert (
            "was renamed VirtPlatformAutopilotSyncFailed" in (await http.get("/runbooks/VirtPlatformSyncFailed")).text
        )
        assert (await http.get("/runbooks/")).status_code == 200


async def test_a_page_that_is_not_there_is_404_and_leads_nowhere_else() -> None:
    async with pages() as http:
        for name in ("Nothing", "..%2F..%2Fpyproject.toml", "README", "%3Cscript%3E"):
            answer = await http.get(f"/runbooks/{name}")
            assert answer.status_code == 404
            assert "<script>" not in answer.text
            assert "build-system" not in answer.text


async def test_the_text_of_a_configmap_is_shown_in_place_of_ours_and_its_source_is_said() -> None:
    async with pages(MemoryCluster([book("team-a", MTVPlanFailed="# Call us")])) as http:
        mine = await http.get("/runbooks/MTVPlanFailed?cluster=memory&namespace=team-a")
        assert "<h1>Call us</h1>" in mine.text
        assert "team-a/books" in mine.text
        for other in ("cluster=memory&namespace=team-b", "cluster=x&namespace=team-a", "cluster=memory&namespace=../x"):
            assert "Call us" not in (await http.get(f"/runbooks/MTVPlanFailed?{other}")).text


async def test_pages_ask_who_is_there_where_page_auth_is_set(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("let-me-in")
    async with pages(auth=Auth(bearer=(Secret(file=token),))) as http:
        assert (await http.get("/runbooks/MTVPlanFailed")).status_code == 401
        assert (await http.get("/runbooks/")).status_code == 401
        allowed = await http.get("/runbooks/MTVPlanFailed", headers={"Authorization": "Bearer let-me-in"})
        assert allowed.status_code == 200


@pytest.mark.parametrize(
    "markdown",
    [
        "<script>alert(1)</script>",
        "[x](javascript:alert(1))",
        "[x](data:text/html;base64,AAAA)",
        "![x](https://track.example.com/p.png)",
        "<img src=x onerror=alert(1)>",
        '[x](https://a.example.com/" onclick="alert(1))',
        "`<b>`",
        "[a]: javascript:x\n\n[a]",
    ],
)
def test_markdown_can_do_no_harm(markdown: str) -> None:
    html = to_html(markdown)
    assert "<script" not in html
    assert "<img" not in html
    assert "<b>" not in html
    assert 'href="javascript' not in html
    assert 'href="data' not in html
    assert ' onclick="' not in html


def test_tables_and_code_are_kept() -> None:
    html = to_html("| a | b |\n| - | - |\n| 1 | 2 |\n\n```\noc get <x>\n```\n")
    assert "<table>" in html
    assert "oc get &lt;x&gt;" in html
