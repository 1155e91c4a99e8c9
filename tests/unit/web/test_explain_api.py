"""`POST /api/v1/explain`: the same answer as the command's, guarded and bounded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from starlette.applications import Starlette

from receiver import build, explain_input
from receiver.attempt import Destination
from receiver.clock import Clock
from receiver.config.load import load
from receiver.config.model import Auth, Config, Secret
from receiver.destinations.registry import ALL
from receiver.explain import FixedClock
from receiver.explain_input import read_alerts
from receiver.kube import Cluster
from receiver.model import Alert, AlertStatus
from receiver.web import explain_api
from receiver.web.explain_api import MAX_ALERTS, MAX_BYTES, is_shown, routes
from receiver.web.viewers import Pair, Viewer, Viewers
from tests.fakes.server import serve
from tests.odd_bodies import alert, body
from tests.unit.identifying import NOW, MemoryCluster, identifier

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]
FAILED = (ROOT / "examples/alerts/erp-wave1-failed.json").read_bytes()


def about(labels: Mapping[str, str]) -> Alert:
    return Alert("0123456789abcdef", AlertStatus.FIRING, dict(labels), {}, NOW)


@dataclass
class Parts:
    """What the address needs of a service."""

    config: Config
    clock: Clock = field(default_factory=lambda: FixedClock(datetime(2026, 9, 14, 8, 31, tzinfo=UTC)))
    clusters: Mapping[str, Cluster] = field(default_factory=dict)
    destinations: Mapping[str, Destination] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.viewers = Viewers(self)


@asynccontextmanager
async def explaining(auth: Auth | None = None, *, ready: bool = True) -> AsyncIterator[tuple[str, httpx2.AsyncClient]]:
    """Serve the address on the sandbox's configuration, and give its URL and a client."""
    config = load(ROOT / "examples/sandbox/routes.yaml", ALL)
    if auth is not None:
        config = replace(config, web=replace(config.web, page_auth=auth))
    parts = Parts(config)
    async with build.destinations(config, build.renderer(config, pytest.fail)) as destinations:
        if ready:
            parts.destinations, parts.clusters = destinations, build.clusters(config)
        async with serve(Starlette(routes=routes(parts))) as url, httpx2.AsyncClient(timeout=30) as http:
            yield url + "/api/v1/explain", http
        for cluster in parts.clusters.values():
            await cluster.aclose()


async def test_an_alert_is_explained_as_the_command_explains_it() -> None:
    async with explaining() as (url, http):
        response = await http.post(url, content=FAILED)

    (one,) = response.json()["alerts"]
    assert response.status_code == 200
    assert one["facts"]["owner_namespace"] == "mig-team-a"
    assert [(each["receiver"], each["state"]) for each in one["destinations"]] == [("erp-team", "told")] * 3
    assert "erp-win01" in json.dumps(one["destinations"][0]["request"])


async def test_odd_alerts_are_listed_as_the_webhook_lists_them() -> None:
    async with explaining() as (url, http):
        answer = (await http.post(url, content=body(None, alert()))).json()

    assert len(answer["alerts"]) == 1
    assert answer["rejected"] == [{"index": 0, "reason": "missing, not an object"}]


@pytest.mark.parametrize(
    ("raw", "status", "says"),
    [
        (b"", 400, "no JSON"),
        (b"{}", 400, "none of the known forms"),
        (body(*[alert()] * (MAX_ALERTS + 1)), 400, "at most 100"),
        (b" " * (MAX_BYTES + 1), 413, "more than"),
    ],
    ids=["empty", "unknown form", "too many alerts", "too many bytes"],
)
async def test_what_cannot_be_explained_is_said(raw: bytes, status: int, says: str) -> None:
    async with explaining() as (url, http):
        response = await http.post(url, content=raw)

    assert response.status_code == status
    assert says in response.json()["error"]


async def test_it_is_guarded_like_the_pages(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret")
    tries: dict[str, Any] = {"": 401, "Bearer wrong": 401, "Bearer s3cret": 200}
    async with explaining(Auth(bearer=(Secret(file=tmp_path / "token"),))) as (url, http):
        got = {
            value: (await http.post(url, content=FAILED, headers={"Authorization": value} if value else {})).status_code
            for value in tries
        }
        (tmp_path / "token").unlink()
        unreadable = await http.post(url, content=FAILED, headers={"Authorization": "Bearer s3cret"})

    assert got == tries
    assert unreadable.status_code == 503


async def test_before_the_service_works_it_says_so() -> None:
    async with explaining(ready=False) as (url, http):
        response = await http.post(url, content=FAILED)

    assert (response.status_code, response.json()) == (503, {"error": "not ready"})


async def test_too_many_alerts_are_counted_beside_the_event_loop_before_anything_is_made_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def aside(*given: Any) -> Any:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return read_alerts(*given)

    monkeypatch.setattr(explain_api, "read_alerts", aside)
    monkeypatch.setattr(explain_input, "parse_body", lambda *_: pytest.fail("they are read"))
    one = {"labels": {"alertname": "X"}}
    async with explaining() as (url, http):
        for document in ({"version": "4", "alerts": [one] * 101}, [one] * 101, [1] * 101):
            response = await http.post(url, content=json.dumps(document))
            assert response.status_code == 400
            assert response.json()["error"].startswith("101 alerts, at most 100: ")


class Payments:
    """A cluster that lets people see the namespace payments."""

    async def allowed(self, _viewer: Viewer, pairs: Iterable[Pair]) -> frozenset[Pair]:
        return frozenset(pair for pair in pairs if pair == ("local", "payments"))


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        ({"namespace": "payments"}, True),
        ({"namespace": "payments", "pod": "api-1"}, True),
        ({"namespace": "payments", "kind": "VirtualMachine", "name": "x"}, True),
        ({"exported_namespace": "payments", "namespace": "monitoring", "pod": "exporter-1"}, True),
        ({"namespace": "shop", "pod": "api-1"}, False),
        ({"namespace": "payments", "node": "worker-1"}, False),
        ({"namespace": "payments", "pod": "api-1", "node": "worker-1"}, False),
        ({"namespace": "payments", "persistentvolume": "pv-1"}, False),
        ({"namespace": "payments", "kind": "Node", "name": "worker-1"}, False),
        ({"namespace": "payments", "kind": "ClusterOperator", "name": "dns"}, False),  # only discovery knows it
        (
            {"alertname": "VirtPlatformSyncFailed", "namespace": "payments", "kind": "VirtualMachine", "name": "x",
             "asset": "e"},
            False,
        ),
        ({"alertname": "VirtPlatformAutopilotRenderFailed", "namespace": "payments", "asset": "e"}, False),
    ],
)  # fmt: skip
async def test_evidence_is_for_whom_all_that_is_looked_at_is(labels: dict[str, str], shown: bool) -> None:
    one = about({"alertname": "X", **labels})
    identity = (await identifier(MemoryCluster()).identify(one)).identity
    ana = Viewer("Ana", "ana", frozenset(), False, cast(Viewers, Payments()))
    assert identity.owner == ("local", labels.get("exported_namespace") or labels["namespace"])
    assert await is_shown(ana, identity, one) is shown
    assert await is_shown(replace(ana, admin=True), identity, one)


async def test_it_only_takes_posts() -> None:
    async with explaining() as (url, http):
        assert (await http.get(url)).status_code == 405
