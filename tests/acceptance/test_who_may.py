"""Who sees and does what over HTTP, with `web.visibility`: every address against everybody who may come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.routing import Route

from receiver.app import build_app
from receiver.config.load import load
from receiver.destinations.registry import ALL
from receiver.guard import READING, Rule, for_admins, rule_of
from receiver.store.engine import sqlite_url
from tests.acceptance.harness import Running, alert, body, failed, routes_yaml, running, slack
from tests.acceptance.plans import NAMESPACE, cluster, load_example, plan, top
from tests.fakes import faults
from tests.fakes.kubernetes import KubernetesApi
from tests.fakes.vendors import FakeVendors

pytestmark = [pytest.mark.anyio, pytest.mark.past_proxy("the cluster is asked by names that the proxy does not know")]

PLANS = "plans.forklift.konveyor.io"
WEB = """
web:
  page_auth:
    bearer_token_file: page
    proxy_header: {header: X-Forwarded-User, trusted_proxies: [127.0.0.1]}
  visibility:
    by: access_review
    groups_header: X-Forwarded-Groups
    admin_groups: [mtv-admins]
"""
RECEIVERS = f"- name: platform\n  {slack('#platform')}\n- name: network\n  {slack('#network')}\n"

ANONYMOUS, STRANGER, VIEWER, ADMIN, MACHINE = "anonymous", "stranger", "viewer", "admin", "machine"
WHO: Mapping[str, Mapping[str, str]] = {
    ANONYMOUS: {},
    STRANGER: {"X-Forwarded-User": "eve", "X-Forwarded-Groups": "team-b,others"},
    VIEWER: {"X-Forwarded-User": "ana", "X-Forwarded-Groups": "team-a"},
    ADMIN: {"X-Forwarded-User": "root", "X-Forwarded-Groups": "team-b,mtv-admins"},
    MACHINE: {"Authorization": "Bearer page secret"},
}
ALL_SEE = (401, 200, 200, 200, 200)
THEIRS = (401, 404, 200, 200, 200)
ADMINS = (401, 403, 403, 200, 200)
REFUSED = (401, 409, 409, 409, 409)


@dataclass(frozen=True)
class Row:
    """One question at one address. `answers` are for WHO, in its order."""

    method: str
    path: str
    answers: tuple[int, ...]
    word: str = ""
    """What those who may see read there, and nobody else."""
    json: Any = None
    form: Mapping[str, str] | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    endless: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return self.method, self.path


STORY, DELIVERY = "$STORY", "$DELIVERY"
EXPLAINED = body(alert(failed()))
ROWS = (
    Row("GET", "/api/v1/stories", ALL_SEE, STORY),
    Row("GET", "/api/v1/stories/{id}", THEIRS, STORY),
    Row("GET", "/api/v1/stories/{id}/evidence", THEIRS, "windows-fast-startup"),
    Row("POST", "/api/v1/stories/{id}/acknowledge", (401, 409, 200, 200, 200), "has it", json={}),
    Row("POST", "/api/v1/stories/{id}/silence", REFUSED, "Nothing was silenced", json={"hours": 1}),
    Row("POST", "/api/v1/stories/{id}/move", REFUSED, "There is no receiver", json={"to": "nobody"}),
    Row("GET", "/api/v1/stories/{id}/presses", ALL_SEE, "acknowledge"),
    Row("GET", "/api/v1/deliveries", ALL_SEE, DELIVERY),
    Row("GET", "/api/v1/deliveries", ALL_SEE, DELIVERY, query={"story": STORY}),
    Row("GET", "/api/v1/deliveries/{id}", THEIRS, DELIVERY),
    Row("POST", "/api/v1/deliveries/retry", REFUSED, "is delivered", json={"ids": [DELIVERY]}),
    Row("POST", "/api/v1/deliveries/retry", ADMINS, json={"state": "dead"}),
    Row("GET", "/api/v1/destinations", ALL_SEE, "platform/slack"),
    Row("GET", "/api/v1/status", ADMINS, "routes.yaml"),
    Row("GET", "/api/v1/audit", ADMINS, STORY),
    Row("POST", "/api/v1/explain", ALL_SEE, "erp-win01", json=EXPLAINED),
    Row("GET", "/api/v1/capacity/plans/{namespace}/{name}", THEIRS, "erp-wave1"),
    Row("GET", "/api/v1/openapi.json", ALL_SEE),
    Row("POST", "/-/reload", ADMINS),
    Row("PUT", "/-/reload", ADMINS),
    Row("GET", "/stories/{id}", THEIRS, "erp-win01"),
    Row("GET", "/stories/{id}/vms.csv", THEIRS, "erp-win01"),
    Row("GET", "/stories/{id}/logs/{number}", THEIRS, "virt-v2v"),
    Row("GET", "/stories/{id}/logs/{number}/raw", THEIRS, "virt-v2v"),
    Row("POST", "/stories/{id}/acknowledge", (401, 404, 303, 303, 303), form={"note": ""}),
    Row("POST", "/stories/{id}/silence", (401, 404, 303, 303, 303), form={"hours": "1"}),
    Row("POST", "/stories/{id}/move", (401, 404, 303, 303, 303), form={"to": "nobody"}),
    Row("GET", "/", ALL_SEE, STORY),
    Row("GET", "/events", ALL_SEE, endless=True),
    Row("GET", "/routes", ALL_SEE, STORY),
    Row("POST", "/routes", (401, 400, 200, 200, 200), "erp-win01", form={"story": STORY}),
    Row("GET", "/api/v1/routes", ALL_SEE),
    Row("GET", "/deliveries", ALL_SEE, DELIVERY, query={"state": "all"}),
    Row("GET", "/deliveries/retry", ADMINS),
    Row("POST", "/deliveries/retry", (401, 403, 403, 303, 303), form={"all": "yes"}),
    Row("POST", "/deliveries/retry", REFUSED, "is delivered", form={"id": DELIVERY}),
    Row("GET", "/status", ADMINS, "routes.yaml"),
    Row("GET", "/handover", ALL_SEE, STORY),
    Row("GET", "/api/v1/handover", ALL_SEE, STORY),
    Row("GET", "/runbooks/", ALL_SEE),
    Row(
        "GET", "/runbooks/{alert}", ALL_SEE, "what our team does",
        query={"cluster": "local", "namespace": NAMESPACE},
    ),
)  # fmt: skip


@dataclass
class Asking:
    """The service, and the one story that there is."""

    service: Running
    api: KubernetesApi
    story: str
    delivery: str

    def filled(self, text: str) -> str:
        return text.replace(STORY, self.story).replace(DELIVERY, self.delivery)

    async def ask(self, row: Row, who: str, **more: str) -> tuple[int, str]:
        """Return status and text of an answer."""
        ids = {"{id}": self.delivery if "deliveries" in row.path else self.story, "{number}": "1"}
        ids |= {"{alert}": "MTVPlanFailed", "{namespace}": NAMESPACE, "{name}": "erp-wave1"}
        path = row.path
        for name, value in ids.items():
            path = path.replace(name, value)
        request = self.service.http.build_request(
            row.method,
            self.service.url + path,
            headers={**WHO[who], **more},
            params={name: self.filled(value) for name, value in row.query.items()},
            json=json.loads(self.filled(json.dumps(row.json))) if row.json is not None else None,
            data={name: self.filled(value) for name, value in row.form.items()} if row.form is not None else None,
        )
        answer = await self.service.http.send(request, stream=True)
        text = ""
        try:
            async with asyncio.timeout(0.5 if row.endless else 20):
                async for chunk in answer.aiter_text():
                    text += chunk
        except TimeoutError:
            assert row.endless
        finally:
            await answer.aclose()
        return answer.status_code, text


@asynccontextmanager
async def told(folder: Path) -> AsyncIterator[Asking]:
    """Run a service with one story, of a Plan in NAMESPACE."""
    (folder / "page").write_text("page secret")
    async with cluster(folder) as api, FakeVendors() as vendors:
        await load_example(api)
        await api.apply(plan())
        name = {"name": "team", "namespace": NAMESPACE, "labels": {"mtv-receiver.io/runbooks": "true"}}
        text = "# Failed\n\nwhat our team does\n"
        await api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": name, "data": {"MTVPlanFailed": text}})
        api.may = {("group:team-a", "get", PLANS, NAMESPACE), ("group:team-b", "get", PLANS, "mig-team-b")}
        config = routes_yaml(vendors, folder, top=top() + WEB, receivers=RECEIVERS)
        async with running(config, vendors) as service, httpx2.AsyncClient(timeout=30) as nobody:
            service.http.headers.update(WHO[MACHINE])
            await service.post(alert(failed()))
            await vendors.until(lambda v: v.slack_roots())
            await service.idle()
            (story,), (delivery,) = await service.stories(), await service.deliveries()
            assert story["facts"]["owner_namespace"] == NAMESPACE
            service.http = nobody
            yield Asking(service, api, story["id"], delivery["id"])


def routes(folder: Path) -> list[Route]:
    """Return the addresses of the whole application that `web.page_auth` guards."""
    (folder / "routes.yaml").write_text("receivers: [{name: a, pagerduty_configs: [{routing_key_env: K}]}]\n")
    with (folder / "routes.yaml").open("a") as file:
        file.write("route: {receiver: a}\n")
    app = build_app(load(folder / "routes.yaml", ALL), sqlite_url(folder / "none.db"), on_fatal=pytest.fail)
    return [one for one in app.routes if isinstance(one, Route) and rule_of(one.endpoint) is Rule.PAGE]


def test_every_address_behind_a_sign_in_has_a_row(tmp_path: Path) -> None:
    there = {(method, one.path) for one in routes(tmp_path) for method in (one.methods or set()) - {"HEAD"}}
    rows = {row.key for row in ROWS}
    assert sorted(there - rows) == [], "say in ROWS who may ask there"
    assert sorted(rows - there) == [], "no such address"
    ours = [one for one in routes(tmp_path) if for_admins(one.endpoint)]
    closed = {(method, one.path) for one in ours for method in one.methods or () if method != "HEAD"}
    assert closed == {row.key for row in ROWS if row.answers == ADMINS and not row.path.endswith("/retry")}


async def test_each_answers_whom_it_should_and_shows_nobody_else_anything(tmp_path: Path) -> None:
    wrong: list[str] = []
    async with told(tmp_path) as it:
        for row in ROWS:
            for who, status in zip(WHO, row.answers, strict=True):
                got, text = await it.ask(row, who)
                where = f"{row.method} {row.path} {dict(row.query)} {who}: {got}"
                if got != status:
                    wrong.append(f"{where} instead of {status}: {text[:200]}")
                may = who in (VIEWER, ADMIN, MACHINE) and got != 403
                if row.word and (it.filled(row.word) in text) is not may:
                    wrong.append(f"{where}: {'lacks' if may else 'shows'} {row.word}")
                if who in (ANONYMOUS, STRANGER) and "erp-win01" in text:
                    wrong.append(f"{where}: tells of the VM")
        reviews = [spec["resourceAttributes"] for spec in it.api.reviewed]
        assert {(one["verb"], one["resource"], one["group"]) for one in reviews} == {
            ("get", "plans", "forklift.konveyor.io")
        }
        assert {spec["user"] for spec in it.api.reviewed} == {"eve", "ana"}, "nobody asks about admins and tokens"
    assert wrong == [], chr(10).join(one[:150] for one in wrong)


async def test_what_one_may_not_see_answers_as_what_there_is_not(tmp_path: Path) -> None:
    async with told(tmp_path) as it:
        nothing = Asking(it.service, it.api, "01ARZ3NDEKTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAW")
        for row in ROWS:
            if "{id}" not in row.path and "ids" not in (row.json or {}):
                continue
            hidden = await it.ask(row, STRANGER)
            missing = await nothing.ask(row, STRANGER)
            assert (hidden[0], hidden[1].replace(it.delivery, nothing.delivery)) == missing, row.key


async def test_nothing_is_changed_where_another_site_makes_a_browser_ask(tmp_path: Path) -> None:
    async with told(tmp_path) as it:
        changing = [row for row in ROWS if row.method not in READING]
        assert len(changing) >= 8
        for row in changing:
            for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example.com"}):
                status, text = await it.ask(row, ADMIN, **headers)
                assert status == 403, row.key
                assert "another site" in text
        for row in ROWS:
            if row.method in READING and not row.endless:
                assert (await it.ask(row, ADMIN, **{"Sec-Fetch-Site": "cross-site"}))[0] == 200, row.key
        own = Row("POST", "/api/v1/stories/{id}/acknowledge", (), json={})
        for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": it.service.url}):
            assert (await it.ask(own, VIEWER, **headers))[0] == 200


async def test_people_are_refused_by_a_page_and_not_led_where_they_may_not_go(tmp_path: Path) -> None:
    html = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
    async with told(tmp_path) as it:
        rows = {row.key: row for row in ROWS}
        for who, method, path, more, status, said in (
            (VIEWER, "GET", "/status", {}, 403, "For admins only"),
            (ANONYMOUS, "GET", "/", {}, 401, "Not signed in"),
            (ADMIN, "POST", "/stories/{id}/acknowledge", {"Sec-Fetch-Site": "cross-site"}, 403, "another site"),
        ):
            answer = await it.ask(rows[method, path], who, **html, **more)
            assert answer[0] == status
            assert f"<h1>{said}" in answer[1] or said in answer[1]
            assert answer[1].startswith("<!doctype html>")
            plain = await it.ask(rows[method, path], who, **more)
            assert (plain[0], json.loads(plain[1]).keys()) == (status, {"error"})
        assert json.loads((await it.ask(rows["GET", "/api/v1/status"], VIEWER, **html))[1])["error"]
        for who, led in ((VIEWER, False), (ADMIN, True), (MACHINE, True)):
            _, page = await it.ask(rows["GET", "/handover"], who)
            assert ('href="/status"' in page) is led, who
            assert 'href="/deliveries"' in page
        nowhere = await it.service.http.get(f"{it.service.url}/nowhere", headers=html)
        assert (nowhere.status_code, 'href="/status"' in nowhere.text) == (404, False)
        policy = await it.service.http.get(f"{it.service.url}/status", headers=html)
        assert "unsafe" not in policy.headers["content-security-policy"]
        wrong = await it.service.http.get(f"{it.service.url}/deliveries/retry/x", headers={**html, **WHO[ADMIN]})
        assert wrong.text.startswith("<!doctype html>")
        form = await it.service.http.get(f"{it.service.url}/stories/X/acknowledge", headers={**html, **WHO[ADMIN]})
        assert (form.status_code, form.headers["allow"]) == (405, "POST")
        assert "<h1>GET is not taken at" in form.text


async def test_who_acted_stands_in_the_audit_by_name(tmp_path: Path) -> None:
    async with told(tmp_path) as it:
        for who in (STRANGER, VIEWER):
            await it.ask(Row("POST", "/api/v1/stories/{id}/acknowledge", (), json={"by": "Somebody Else"}), who)
        rule = it.service.vendors.fail(
            "slack", faults.slack_error("invalid_blocks"), on="chat.postMessage", always=True
        )
        await it.ask(Row("POST", "/api/v1/stories/{id}/move", (), json={"to": "network"}), VIEWER)

        async def dead() -> str:
            _, text = await it.ask(Row("GET", "/api/v1/deliveries", (), query={"state": "dead"}), ADMIN)
            return "".join(one["id"] for one in json.loads(text)["items"])

        lost = await it.service.until(dead)
        rule.cancel()
        again = Row("POST", "/api/v1/deliveries/retry", (), json={"ids": [lost]})
        assert (await it.ask(again, STRANGER))[0] == 409
        assert (await it.ask(again, VIEWER))[0] == 200
        assert (await it.ask(Row("POST", "/-/reload", ()), ADMIN))[0] == 200
        _, text = await it.ask(Row("GET", "/api/v1/audit", ()), ADMIN)
    lines = [json.loads(line) for line in text.splitlines()]
    pressed = [(one["action"], one["by"], one["done"]) for one in lines if one["kind"] == "press"]
    assert pressed == [("acknowledge", "eve", False), ("acknowledge", "ana", True), ("move", "ana", True)]
    assert [one["by"] for one in lines if one["kind"] == "retry"] == ["ana"]
    assert [one["why"] for one in lines if one["kind"] == "reload"] == ["asked for at /-/reload by root"]


async def test_a_cluster_that_does_not_answer_shows_nothing_and_that_is_said(tmp_path: Path) -> None:
    async with told(tmp_path) as it:
        it.api.forbidden = {("create", "subjectaccessreviews.authorization.k8s.io")}
        listed = Row("GET", "/api/v1/stories", ())
        status, text = await it.ask(listed, VIEWER)
        said = ["cluster local does not answer: stories of its namespaces are not shown"]
        assert (status, json.loads(text)) == (200, {"items": [], "next": None, "missing": said})
        assert (await it.ask(Row("GET", "/api/v1/stories/{id}", ()), VIEWER))[0] == 404
        status, text = await it.ask(listed, ADMIN)
        assert status == 200
        assert "missing" not in json.loads(text)
        assert it.story in text
