"""`GET /api/v1/capacity/plans/{namespace}/{name}`: the command's answer as JSON, guarded, shared and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette

from receiver import build
from receiver.clock import Clock, SystemClock
from receiver.config.load import load
from receiver.config.model import Auth, Config, Secret
from receiver.destinations.registry import ALL
from receiver.kube import Cluster
from receiver.room.supply import Supply
from receiver.web.capacity_api import MAX_AT_A_TIME, PATH, CapacityApi
from receiver.web.openapi import document
from receiver.web.viewers import Viewers
from tests.acceptance.test_openapi import Document
from tests.fakes.server import serve
from tests.fleet import PLAN, S4, Fleet, fleet

pytestmark = pytest.mark.anyio

ADDRESS = f"/api/v1/capacity/plans/{PLAN}"


@dataclass
class Parts:
    """What the address needs of a service."""

    config: Config
    clock: Clock = field(default_factory=SystemClock)
    clusters: Mapping[str, Cluster] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.supply = Supply(self.clock)
        self.viewers = Viewers(self)


@dataclass
class Asking:
    """The address, what stands behind it, and its document."""

    clusters: Fleet
    http: httpx2.AsyncClient
    document: Document

    async def get(self, path: str = ADDRESS, status: int = 200) -> httpx2.Response:
        answer = await self.http.get(path)
        assert answer.status_code == status, answer.text
        self.document.check("GET", PATH, answer)
        return answer


@asynccontextmanager
async def asking(folder: Path, targets: Mapping[str, str] = S4, *, auth: Auth | None = None) -> AsyncIterator[Asking]:
    async with fleet(folder, targets) as clusters:
        config = load(clusters.config, ALL)
        if auth is not None:
            config = replace(config, web=replace(config.web, page_auth=auth))
        parts = Parts(config, clusters=build.clusters(config))
        api = CapacityApi(parts)
        app = Starlette(routes=api.routes())
        async with serve(app) as url, httpx2.AsyncClient(timeout=30, base_url=url) as http:
            yield Asking(clusters, http, Document(document(app.routes, config)))
        await api.aclose()
        await parts.supply.aclose()
        for cluster in parts.clusters.values():
            await cluster.aclose()


async def test_a_plan_is_judged_as_the_command_judges_it_and_looks_as_described(tmp_path: Path) -> None:
    async with asking(tmp_path) as it:
        found = (await it.get()).json()
        by_name = (await it.get(f"{ADDRESS}?cluster=hub")).json()
    assert found["verdict"] == "short"
    assert found["headline"].startswith(
        "Short: the plan needs 57.03 GiB requests.memory, quota payments/payments-quota"
    )
    assert [one["missing"] for one in found["shortages"]] == [18_283_113_536]
    assert [one["cluster"] for one in found["others"]] == ["south", "north"]
    assert by_name["verdict"] == "short"


async def test_many_who_ask_at_once_cost_one_computation(tmp_path: Path) -> None:
    async with asking(tmp_path) as it:
        await it.get()
        first = it.clusters.asked
        found = await asyncio.gather(*(it.get() for _ in range(20)))
        assert it.clusters.asked - first < first
        nodes = [one for one in it.clusters["west"].asked if one.resource == "nodes"]
    assert len({answer.content for answer in found}) == 1
    assert len(nodes) == 1  # the room of a minute ago is good enough


async def test_what_is_asked_wrongly_or_of_nobody_is_said(tmp_path: Path) -> None:
    async with asking(tmp_path) as it:
        wrong = await it.get(f"{ADDRESS}?cluster=nowhere", 400)
        missing = await it.get("/api/v1/capacity/plans/mtv-integrations/other", 404)
        odd = await it.get("/api/v1/capacity/plans/%2E%2E/x", 404)
        await it.clusters["hub"].down()
        away = await it.get(status=503)
    assert "none of the configuration" in wrong.json()["error"]
    assert "there is mtv-integrations/cross-cluster-migration-k7x2" in missing.json()["error"]
    assert "no plan can have such a name" in odd.json()["error"]
    assert "hub" in away.json()["error"]


async def test_a_target_that_refuses_is_an_answer_and_no_error(tmp_path: Path) -> None:
    async with asking(tmp_path, {"west": "s1-fits.yaml"}) as it:
        it.clusters["west"].rotate_token("another")
        found = (await it.get()).json()
    assert found["verdict"] == "unknown"
    assert found["age"] is None


async def test_no_more_plans_are_judged_at_a_time_than_the_clusters_are_asked_for_gladly(tmp_path: Path) -> None:
    async with asking(tmp_path, {"west": "s1-fits.yaml"}) as it:
        it.clusters["hub"].hang()
        waiting = [
            asyncio.create_task(it.http.get(f"/api/v1/capacity/plans/team/plan-{number}"))
            for number in range(MAX_AT_A_TIME)
        ]
        await it.clusters["hub"].until(lambda: len(it.clusters["hub"].asked) >= MAX_AT_A_TIME)
        busy = await it.get("/api/v1/capacity/plans/team/one-more", 503)
        it.clusters["hub"].release()
        assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {404}
        await it.get()
    assert "busy" in busy.json()["error"]


async def test_only_who_is_signed_in_may_ask(tmp_path: Path) -> None:
    (tmp_path / "page").write_text("page secret")
    auth = Auth(bearer=(Secret(file=tmp_path / "page"),))
    async with asking(tmp_path, {"west": "s1-fits.yaml"}, auth=auth) as it:
        await it.get(status=401)
        assert it.clusters.asked == 0
        it.http.headers["Authorization"] = "Bearer page secret"
        await it.get()
