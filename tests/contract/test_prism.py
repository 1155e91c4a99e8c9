"""Our requests before Prism (npm `@stoplight/prism-cli`), which refuses what an OpenAPI description does not hold.

For GitHub the description is GitHub's own, of npm package `@octokit/openapi`: `.ci/peers` cuts our paths out of it. For
PagerDuty none is in a registry. There it is our own words on Events API v2 (tests/schemas/pagerduty.json) in an OpenAPI
document: Prism then reads them independently of our validator, and proves nothing about PagerDuty itself.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx2
import pytest

from receiver.destinations import Sender
from receiver.model import Change
from tests.contract.examples import ROUTING_KEY, deliver, moved, sender
from tests.contract.forge_making import TOKEN, again, ended, logs
from tests.contract.peers import fetched, prism
from tests.contract.test_sender_bodies import hostile_story
from tests.fakes.vendors import FakeVendors

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

OURS = Path(__file__).parents[1] / "schemas" / "pagerduty.json"


@pytest.fixture(scope="module")
def github(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prism(fetched("github.json"), tmp_path_factory.mktemp("prism")) as url:
        yield url


@pytest.fixture(scope="module")
def pagerduty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("prism")
    file = folder / "events.json"
    file.write_text(json.dumps(described(json.loads(OURS.read_text(encoding="utf-8")))), encoding="utf-8")
    with prism(file, folder) as url:
        yield url


def described(event: dict[str, Any]) -> dict[str, Any]:
    """Return an OpenAPI document of the one call of Events API v2, its body as `event` says."""
    properties = {"status": {"const": "success"}, "dedup_key": {"type": "string"}}
    answer = {"type": "object", "required": [*properties], "properties": properties}
    taken = {"description": "taken", "content": {"application/json": {"schema": answer}}}
    body = {"required": True, "content": {"application/json": {"schema": event}}}
    call = {"requestBody": body, "responses": {"202": taken, "400": {"description": "bad event"}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Events API v2, in our own words", "version": "2"},
        "paths": {"/v2/enqueue": {"post": call}},
    }


class Shown(httpx2.AsyncBaseTransport):
    """Shows each request to Prism. Its answer is returned, or, with `carried_out`, that of the server it was meant for.

    Prism is told nothing of what was made before: the life of a story needs a server that remembers.
    """

    def __init__(self, prism_url: str, *, strip: str = "", carried_out: bool = False) -> None:
        self._prism, self._strip, self._carried_out = httpx2.URL(prism_url), strip, carried_out
        self._http = httpx2.AsyncHTTPTransport()
        self.seen: Counter[str] = Counter()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        raw = await request.aread()
        target = request.url.raw_path.decode().removeprefix(self._strip)
        headers = {name: value for name, value in request.headers.items() if name != "host"}
        # GitHub's pages ask for this form by name, its description calls it plain JSON: Prism would answer 406.
        headers["accept"] = headers["accept"].replace("application/vnd.github+json", "application/json")
        url = self._prism.copy_with(raw_path=target.encode())
        answer = await self._http.handle_async_request(
            httpx2.Request(request.method, url, headers=headers, content=raw)
        )
        said = (await answer.aread()).decode()
        assert answer.status_code < 400 or _own_fault(said), f"{request.method} {target}: {said[:1_000]}"
        self.seen[f"{request.method} {target.partition('?')[0].rpartition('/')[2]}"] += 1
        if not self._carried_out:
            return answer
        return await self._http.handle_async_request(
            httpx2.Request(request.method, request.url, headers=request.headers, content=raw)
        )

    async def aclose(self) -> None:
        await self._http.aclose()


def _own_fault(said: str) -> bool:
    """Is the request right and only the example wrong that Prism would answer with? So is GitHub's of a repository."""
    faults = json.loads(said).get("validation") or []
    return bool(faults) and all(each["location"][0] == "response" for each in faults)


@dataclass(slots=True)
class Made:
    """Builds senders whose clients end with the test."""

    folder: Path
    clients: list[httpx2.AsyncClient] = field(default_factory=list)

    def github(self, api_url: str, transport: httpx2.AsyncBaseTransport | None = None, **raw: Any) -> Sender:
        given = {"api_url": api_url, "repo": "acme/migrations", "token_file": TOKEN, "labels": ["vm"], **raw}
        return sender("github", given, self.folder, clients=self.clients, transport=transport)

    def pagerduty(self, url: str, transport: httpx2.AsyncBaseTransport | None = None) -> Sender:
        given = {"routing_key_file": ROUTING_KEY, "url": f"{url}/v2/enqueue"}
        return sender("pagerduty", given, self.folder, clients=self.clients, transport=transport)


@pytest.fixture
async def made(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Made]:
    del anyio_backend
    made = Made(tmp_path)
    yield made
    for client in made.clients:
        await client.aclose()


async def test_every_request_of_an_issues_life_passes_prism_with_githubs_own_description(
    github: str, made: Made
) -> None:
    async with FakeVendors() as vendors:
        shown = Shown(github, strip="/github/api/v3", carried_out=True)
        url = f"{vendors.base_url}/github/api/v3"
        forge = made.github(url, shown, assignees=["octocat"])
        await forge.probe()
        state = logs(1)
        first = forge.plan(state)
        assert first is not None
        assert await forge.find(first, state) is None
        steps, told = await deliver(forge, state)
        assert steps == ["create", "attach"]
        assert await forge.find(first, state) is not None
        steps, told = await deliver(forge, ended(told))
        assert steps == ["update", "comment", "resolve"]
        steps, told = await deliver(forge, again(told))
        assert steps == ["reopen", "update", "comment"]
        steps, told = await deliver(forge, moved(told, Change.FAILED_AGAIN, key="again-1"))
        assert steps == ["look", "comment"]
        await deliver(forge, hostile_story())
        assert {each.split()[0] for each in shown.seen} == {"GET", "POST", "PATCH"}
        assert shown.seen.keys() >= {"GET migrations", "GET issues", "POST issues", "POST comments"}
        assert sum(shown.seen.values()) == len(vendors.seen("github")), "each request was shown to Prism"


async def test_answers_as_github_describes_them_are_read(github: str, made: Made) -> None:
    """Prism answers with GitHub's own examples: an issue 1347 in which nothing of ours stands."""
    forge = made.github(github, Shown(github))
    state = logs(1)
    first = forge.plan(state)
    assert first is not None
    assert await forge.find(first, state) is None, "the example is nobody's of ours"
    made_root = await forge.send(first, state)
    assert (made_root["id"], made_root["state"]) == ("1347", "open")
    assert forge.link(made_root) == "https://github.com/octocat/Hello-World/issues/1347"
    told = replace(state, root=made_root)
    steps, told = await deliver(forge, ended(told))
    assert steps[-1] == "resolve"
    assert told.root is not None
    assert told.root["state"] == "done"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "issues", {"body": "no title"}),
        ("POST", "issues", {"title": "x", "labels": "vm"}),
        ("POST", "issues", {"title": "x", "body": {"type": "doc"}}),
        ("PATCH", "issues/1", {"state": "done"}),
        ("PATCH", "issues/1", {"state": "closed", "state_reason": "fixed"}),
        ("POST", "issues/1/comments", {"text": "x"}),
        ("GET", "issues?state=every", None),
    ],
)
async def test_prism_refuses_what_github_does_not_describe(
    method: str, path: str, body: Mapping[str, Any] | None, github: str
) -> None:
    """A description that Prism cannot read would let everything pass, as one half of this did before it was cut."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.request(method, f"{github}/repos/acme/migrations/{path}", json=body)
    assert answer.status_code == 422


async def test_every_event_of_an_incidents_life_passes_prism(pagerduty: str, made: Made) -> None:
    async with FakeVendors() as vendors:
        shown = Shown(pagerduty, strip="/pagerduty", carried_out=True)
        pager = made.pagerduty(vendors.pagerduty_url.removesuffix("/v2/enqueue"), shown)
        steps, told = await deliver(pager, logs(1))
        assert steps == ["trigger"]
        worse = moved(told, Change.WORSE, key="worse-1", evidence=None, severity="critical", quiet_allowed=True)
        _, told = await deliver(pager, worse)
        steps, told = await deliver(pager, ended(told))
        assert steps == ["resolve"]
        await deliver(pager, hostile_story())
        assert shown.seen == {"POST enqueue": len(vendors.seen("pagerduty"))}
        assert shown.seen["POST enqueue"] >= 3


@pytest.mark.parametrize(
    "change",
    [
        {"event_action": "open"},
        {"routing_key": "short"},
        {"payload": {"source": "x", "severity": "critical"}},
        {"payload": {"summary": "x", "source": "x", "severity": "high"}},
        {"payload": {"summary": "x" * 1_025, "source": "x", "severity": "critical"}},
        {"detail": "x"},
        MappingProxyType({"payload": None}),
    ],
)
async def test_prism_refuses_a_bad_event(change: Mapping[str, Any], pagerduty: str) -> None:
    good: dict[str, Any] = {
        "routing_key": ROUTING_KEY,
        "event_action": "trigger",
        "dedup_key": "x",
        "payload": {"summary": "x", "source": "x", "severity": "critical"},
    }
    async with httpx2.AsyncClient(trust_env=False) as client:
        taken = await client.post(f"{pagerduty}/v2/enqueue", json=good)
        bad = {name: value for name, value in {**good, **change}.items() if value is not None}
        refused = await client.post(f"{pagerduty}/v2/enqueue", json=bad)
    assert taken.status_code == 202
    assert refused.status_code == 400
