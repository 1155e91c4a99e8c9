"""What the service answers is what its OpenAPI document says: stories and deliveries, and what is refused."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from receiver.web import explain_api
from receiver.web.openapi_route import PATH
from tests.acceptance.harness import Running, alert, body, failed, routes_yaml, running, slack
from tests.fakes import faults
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

MOST = 100_000
TOP = f"""
global: {{resolve_delay: 100ms, confirm_after: 1h, evidence_wait: 100ms, evidence_timeout: 1s}}
clusters: []
web: {{max_body_bytes: {MOST}, page_auth: {{bearer_token_file: page}}}}
"""
RECEIVERS = f"- name: platform\n  {slack('#platform')}\n- name: network\n  {slack('#network')}\n"
PAGE = {"Authorization": "Bearer page secret"}


def closed(schema: Any) -> Any:
    """Return a schema of answers that takes nothing besides what it names: what is new must be described."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(one) for key, one in schema.items()}
    is_answer = isinstance(found.get("properties"), dict) and "additionalProperties" not in found
    return {**found, "additionalProperties": False} if is_answer else found


class Document:
    """The document, and answers held against it."""

    def __init__(self, described: dict[str, Any]) -> None:
        self.described = described
        self._known = closed(described)
        del self._known["components"]["schemas"]["AuditLine"]["additionalProperties"]
        self._registry = Registry().with_resource("urn:it", DRAFT202012.create_resource(self._known))
        self.seen: set[tuple[str, str, int]] = set()

    def check(self, method: str, path: str, answer: httpx2.Response) -> Any:
        """Fail unless this answer is described for the path, and looks as described; return what it holds."""
        self.seen.add((method, path, answer.status_code))
        operation = self._known["paths"][path][method.lower()]
        assert str(answer.status_code) in operation["responses"], (method, path, answer.status_code)
        content = operation["responses"][str(answer.status_code)]["content"]
        kind = answer.headers.get("content-type", "").partition(";")[0]
        assert kind in content if content else not answer.content, (method, path, kind)
        if kind == "application/json":
            self.validate(answer.json(), content[kind]["schema"])
        elif kind == "application/jsonl":
            for line in answer.text.splitlines():
                self.validate(json.loads(line), content[kind]["x-itemSchema"])
        return answer.json() if kind == "application/json" else answer.text

    def validate(self, item: Any, schema: dict[str, Any]) -> None:
        """Raise ValidationError unless an item is of this form."""
        text = json.dumps(schema).replace('"#/', '"urn:it#/')
        checker = Draft202012Validator.FORMAT_CHECKER
        assert "date-time" in checker.checkers
        Draft202012Validator(json.loads(text), registry=self._registry, format_checker=checker).validate(item)


class Asking:
    """A service, its document, and requests to it whose answers are compared with that."""

    def __init__(self, service: Running, document: Document) -> None:
        self.service = service
        self.document = document

    async def ask(self, method: str, path: str, status: int, held: str = "", **more: Any) -> Any:
        """Ask for a path of the document; `held` takes the place of what it holds."""
        several = path.count("{")  # parts of their own, or the same one everywhere
        parts = iter(held.split("/") if several > 1 and held.count("/") == several - 1 else [held] * several)
        address = re.sub(r"\{\w+\}", lambda _: next(parts), path) if held else path
        answer = await self.service.http.request(method, self.service.url + address, **more)
        assert answer.status_code == status, (method, path, answer.status_code, answer.text[:300])
        return self.document.check(method, path, answer)


@asynccontextmanager
async def told(folder: Path) -> AsyncIterator[Asking]:
    """Run a service with a story that is over, one that is acknowledged and open, and one told nowhere."""
    (folder / "page").write_text("page secret")
    async with (
        FakeVendors() as vendors,
        running(routes_yaml(vendors, folder, top=TOP, receivers=RECEIVERS), vendors) as service,
    ):
        service.http.headers.update(PAGE)
        first, second, third = (failed(f"00000000-0000-4000-8000-00000000000{n}", f"plan-{n}") for n in (1, 2, 3))
        await service.post(alert(first))
        await service.idle()
        await service.post(alert(first, "resolved"))
        await service.until_state("resolved")
        await service.post(alert(second))
        await service.idle()
        rule = vendors.fail("slack", faults.slack_error("invalid_blocks"), on="chat.postMessage", always=True)
        await service.post(alert(third))
        await service.idle()
        rule.cancel()
        described = (await service.http.get(service.url + PATH)).json()
        yield Asking(service, Document(described))


async def test_answers_of_a_service_with_stories_are_as_described(tmp_path: Path) -> None:
    async with told(tmp_path) as it:
        await it.ask("GET", PATH, 200)
        stories = (await it.ask("GET", "/api/v1/stories", 200))["items"]
        third, second, first = (one["id"] for one in stories)
        assert {one["state"] for one in stories} == {"firing", "resolved"}
        page = await it.ask("GET", "/api/v1/stories", 200, params={"limit": 1, "state": ["firing", "resolved"]})
        assert page["next"]
        await it.ask("GET", "/api/v1/stories", 200, params={"cursor": page["next"]})
        await it.ask("POST", "/api/v1/stories/{id}/acknowledge", 200, second, json={"by": "Ana"})
        assert (await it.ask("GET", "/api/v1/stories/{id}", 200, second))["ack"]["by"] == "Ana"
        for path, status, sent in (
            ("move", 200, {"to": "network", "from": "platform", "by": "Ana"}),
            ("move", 409, {"to": "nobody"}),
            ("silence", 409, {"hours": 4}),
        ):
            await it.ask("POST", f"/api/v1/stories/{{id}}/{path}", status, second, json=sent)
        await it.service.idle()
        assert len((await it.ask("GET", "/api/v1/stories/{id}/presses", 200, second))["items"]) == 4
        assert (await it.ask("GET", "/api/v1/stories/{id}", 200, first))["closed"]
        deliveries = (await it.ask("GET", "/api/v1/deliveries", 200))["items"]
        assert {"delivered", "dead"} <= {one["state"] for one in deliveries}
        assert any(one["attempts"] for one in deliveries)
        await it.ask("GET", "/api/v1/deliveries", 200, params={"story": third, "state": "dead", "limit": 1})
        await it.ask("GET", "/api/v1/deliveries/{id}", 200, deliveries[0]["id"])
        assert (await it.ask("POST", "/api/v1/deliveries/retry", 200, json={"state": "dead", "dry_run": True}))["items"]
        assert {one["state"] for one in (await it.ask("GET", "/api/v1/destinations", 200))["items"]} == {"working"}
        assert (await it.ask("GET", "/api/v1/status", 200))["store"]["stories"]
        for path in ("/deliveries", "/deliveries/retry", "/status"):
            await it.ask("GET", path, 200)
        await it.ask("POST", "/deliveries/retry", 409, data={"id": "X"})
        await it.ask("POST", "/deliveries/retry", 303, params={"kind": "email"}, data={"all": "yes"})
        assert "attempt" in await it.ask("GET", "/api/v1/audit", 200, params={"since": "1h", "kind": ["attempt"]})
        assert len((await it.ask("GET", "/api/v1/audit", 200)).splitlines()) > 10
        explained = await it.ask("POST", "/api/v1/explain", 200, json=body(alert(failed())))
        assert explained["alerts"][0]["destinations"]
        await it.ask("POST", "/api/v1/explain", 200, json={"labels": failed()})
        odd = {**body(alert(failed())), "alerts": [alert(failed(), "resolved"), {"status": "firing"}]}
        assert (await it.ask("POST", "/webhook", 200, json=odd))["rejected"]
        await it.ask("POST", "/webhook/{alertmanager}", 200, "main", json=body())
        await it.ask("POST", "/webhook/", 200, json=body())
        for path, held in (("/stories/{id}", first), ("/runbooks/{alert}", "MTVVMFailed")):
            await it.ask("GET", path, 200, held)
        await it.ask("GET", "/api/v1/routes", 200)
        await it.ask("GET", "/routes", 200, params={"story": first})
        await it.ask("POST", "/routes", 200, data={"story": first, "why_not": "network"})
        await it.ask("POST", "/routes", 400, data={"alert": "{"})
        await it.ask("GET", "/api/v1/capacity/plans/{namespace}/{name}", 503, "team/wave-1")
        handover = await it.ask("GET", "/api/v1/handover", 200, params={"since": "1h"})
        assert all(handover[part]["items"] for part in ("open", "dead", "ended", "done"))
        for path in ("/-/healthy", "/-/ready", "/metrics", "/runbooks/", "/handover"):
            await it.ask("GET", path, 200)
        await it.ask("POST", "/-/reload", 200)
        await it.ask("PUT", "/-/reload", 200)


async def test_json_holds_the_sums_that_pages_show(tmp_path: Path) -> None:
    async with told(tmp_path) as it:
        wave = (failed(f"00000000-0000-4000-8000-1{n:011}", f"wave-{n}") for n in range(8))
        await it.service.post(*(alert(one) for one in wave))
        await it.service.idle()
        (storm,) = (await it.ask("GET", "/api/v1/handover", 200))["storms"]

        async def counted() -> bool:  # a storm counts its stories a little later
            sums = (await it.ask("GET", "/api/v1/stories/{id}", 200, storm["id"]))["storm"]
            return sums["open"] == storm["members"] == len(sums["members"]) > 1

        await it.service.until(counted)
        found = await it.ask("GET", "/api/v1/stories/{id}", 200, storm["id"])
        page = await it.ask("GET", "/stories/{id}", 200, storm["id"])
        for one in found["storm"]["members"]:
            assert f'href="/stories/{one["story"]}"' in page
            assert (await it.ask("GET", "/api/v1/stories/{id}", 200, one["story"]))["storm"] is None
        await it.ask("GET", "/api/v1/stories", 400, params={"counts": "perhaps"})
        assert "counts" not in await it.ask("GET", "/api/v1/stories", 200)
        counts = (await it.ask("GET", "/api/v1/stories", 200, params={"counts": "true", "limit": 1}))["counts"]
        listed = await it.ask("GET", "/", 200)
        shown = re.findall(r"<span>([^<]+)</span> <b>(\d+)</b>", listed)
        sums = [*counts["by_cause"].items(), *counts["by_namespace"].items()]
        assert [(name, int(number)) for name, number in shown] == [
            (name or ("not recognised" if at < len(counts["by_cause"]) else "not known"), number)
            for at, (name, number) in enumerate(sums)
        ]
        assert counts["counted"] == sum(counts["by_state"].values()) == 10


async def test_what_is_refused_is_refused_as_described(tmp_path: Path) -> None:
    async with told(tmp_path) as it:
        document = it.document
        for path, query in (
            ("/api/v1/stories", {"limit": "0"}),
            ("/api/v1/deliveries", {"cursor": "x"}),
            ("/api/v1/audit", {"kind": "nothing"}),
            ("/api/v1/handover", {"since": "soon"}),
            ("/handover", {"since": "soon"}),
        ):
            await it.ask("GET", path, 400, params=query)
        for path in ("acknowledge", "silence", "move"):
            await it.ask("POST", f"/api/v1/stories/{{id}}/{path}", 400, "X", json={"what": 1})
            await it.ask("POST", f"/api/v1/stories/{{id}}/{path}", 400, "X", data={"by": "a form"})
        await it.ask("POST", "/api/v1/deliveries/retry", 400, json={})
        await it.ask("POST", "/deliveries/retry", 400, json={})
        for path in ("/deliveries", "/deliveries/retry"):
            await it.ask("GET", path, 400, params={"state": "lost"})
        await it.ask("POST", "/api/v1/deliveries/retry", 409, json={"ids": ["X"]})
        await it.ask("POST", "/api/v1/explain", 400, content=b"{")
        await it.ask("POST", "/api/v1/explain", 413, content=b" " * (explain_api.MAX_BYTES + 1))
        await it.ask("POST", "/webhook", 400, json={"version": "3"})
        await it.ask("POST", "/webhook", 413, content=b" " * (MOST + 1))
        for path in ("/api/v1/stories/{id}", "/api/v1/deliveries/{id}", "/stories/{id}", "/runbooks/{alert}"):
            await it.ask("GET", path, 404, "nothing")
            await it.ask("GET", path, 404, "nothing%2Fnowhere")
        for path in ("/slack/interactive", "/pagerduty/webhook"):
            await it.ask("POST", path, 404)
        guarded = 0
        for path, methods in document.described["paths"].items():
            for method, operation in methods.items():
                if operation["security"] == [{"pageBearer": []}]:
                    await it.ask(
                        method.upper(), path, 401, "/".join("x" * path.count("{")), headers={"Authorization": ""}
                    )
                    guarded += 1
            address = it.service.url + path.replace("{", "").replace("}", "")
            wrong = await it.service.http.request("TRACE", address)
            assert wrong.status_code == 405, path
            document.validate(wrong.json(), {"$ref": "#/components/schemas/Error"})
        assert guarded >= 15
        nowhere = await it.service.http.get(it.service.url + "/api/v2/stories")
        assert nowhere.status_code == 404
        document.validate(nowhere.json(), {"$ref": "#/components/schemas/Error"})


LONG, HUGE, NONE = "9" * 5_000, 10**400, "\ud800\x00"


def cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


async def test_what_no_number_and_no_database_can_hold_is_answered_as_described(tmp_path: Path) -> None:
    async with told(tmp_path) as it:
        for path in ("/api/v1/stories", "/api/v1/deliveries"):
            await it.ask("GET", path, 400, params={"limit": LONG})
            await it.ask("GET", path, 400, params={"cursor": cursor("[" * 20_000)})
            await it.ask("GET", path, 400, params={"cursor": cursor(f'[{HUGE}, "x"]')})
            for last in ('"\\ud800"', '"\\u0000"'):
                await it.ask("GET", path, 200, params={"cursor": cursor(f"[1, {last}]")})
            assert not (await it.ask("GET", path, 200, params={"state": "\0"}))["items"]
        await it.ask("GET", "/api/v1/deliveries", 200, params={"story": "\0"})
        for path in ("/api/v1/stories/{id}", "/api/v1/deliveries/{id}", "/stories/{id}"):
            await it.ask("GET", path, 404, "%00")
        await it.ask("GET", "/api/v1/stories/{id}/presses", 200, "%00")
        for path, sent in (
            ("acknowledge", {"by": NONE}),
            ("silence", {"hours": 4, "by": NONE}),
            ("silence", {"hours": HUGE}),
            ("move", {"to": f"network{NONE}", "from": NONE, "by": NONE}),
        ):
            await it.ask("POST", f"/api/v1/stories/{{id}}/{path}", 409, "%00", **as_json(sent))
        retry = "/api/v1/deliveries/retry"
        await it.ask("POST", retry, 409, **as_json({"ids": [NONE]}))
        for name in ("destination", "receiver"):
            assert not (await it.ask("POST", retry, 200, **as_json({name: f"x{NONE}"})))["items"]
        await it.ask("POST", retry, 200, **as_json({"since": HUGE, "dry_run": True}))
        for constant in ("NaN", "Infinity"):
            raw = f'{{"since": {constant}}}'
            await it.ask("POST", retry, 400, content=raw, headers={"Content-Type": "application/json"})


def as_json(sent: dict[str, Any]) -> dict[str, Any]:
    """Return how to send what the client's own encoder would refuse."""
    return {"content": json.dumps(sent).encode(), "headers": {"Content-Type": "application/json"}}


async def test_an_answer_with_something_new_or_something_less_would_be_noticed(tmp_path: Path) -> None:
    async with told(tmp_path) as it:
        story = (await it.service.http.get(f"{it.service.url}/api/v1/stories")).json()["items"][0]
        for wrong in (
            {**story, "new": 1},
            {key: one for key, one in story.items() if key != "note"},
            {**story, "state": "burning"},
            {**story, "opened": "yesterday"},
            {**story, "alerts": [{**story["alerts"][0], "new": 1}]},
        ):
            with pytest.raises(ValidationError):
                it.document.validate(wrong, {"$ref": "#/components/schemas/Story"})
