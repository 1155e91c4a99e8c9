"""The life of a ticket at a Jira Data Center that others wrote: PyPI's `jira820`, version 0.12.0 (API 2 of Jira 8.20).

It makes, reads, edits, comments, moves and attaches, with a workflow and screens of its own. What it lacks is put right
on the way (`Bridge`), so that the calls themselves stay ours: it knows an issue by its key only, where Jira also takes
the id that it gave out, and searches by GET only, where Jira also takes POST; it knows no permissions. It drops issue
properties, which we write and never read, orders comments by the second alone, and closes without what its screen
demands.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from receiver.destinations import Sender
from receiver.destinations.jira import JiraSender
from receiver.errors import DestinationRefused, Gone, Refused
from receiver.model import Change, Wanted
from tests.contract.examples import deliver, moved, sender
from tests.contract.forge_making import again, ended, logs
from tests.contract.peers import fetched, running

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

API = "/rest/api/2"
CONFIG = """
project_key: MIG
project_name: Migrations
modules: [Payments]
epics_per_module: 0
standalone_per_module: 1
history_per_module: 1
transition_scheme:
  Open: [In Progress, Done]
  In Progress: [Open, Done]
  Done: [Reopened]
  Reopened: [In Progress, Done]
"""


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of a Jira with one project and a workflow whose closed issues can only be reopened."""
    packages, folder = fetched("jira"), tmp_path_factory.mktemp("peer")
    config = folder / "config.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    environment = {"PYTHONPATH": str(packages), "JIRA820_CONFIG": str(config)}
    serve = [sys.executable, "-m", "uvicorn", "--factory", "jira820.server:make_app", "--host", "127.0.0.1", "--port"]
    with running(lambda port: [*serve, str(port)], folder, path=f"{API}/serverInfo", environment=environment) as url:
        yield url


class Bridge(httpx2.AsyncBaseTransport):
    """Says our calls in the form that the peer knows: keys in place of ids, and a search by GET."""

    def __init__(self) -> None:
        self._http = httpx2.AsyncHTTPTransport()
        self._keys: dict[str, str] = {}
        self.searches: list[str] = []
        self.moves: list[Any] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        raw, url, method = await request.aread(), request.url, request.method
        if (method, url.path) == ("POST", f"{API}/search"):
            asked = json.loads(raw)
            self.searches.append(asked["jql"])
            method, raw = "GET", b""
            url = url.copy_with(params={**asked, "fields": ",".join(asked["fields"])})
        elif found := re.match(rf"{API}/issue/(\d+)", url.path):
            rest = url.raw_path.decode().removeprefix(found[0])
            url = url.copy_with(raw_path=f"{API}/issue/{self._keys.get(found[1], found[1])}{rest}".encode())
            self.moves += [json.loads(raw)] if (method, rest) == ("POST", "/transitions") else []
        elif url.path == f"{API}/mypermissions":
            return httpx2.Response(200, json={"permissions": {}}, request=request)
        headers = {name: value for name, value in request.headers.items() if name != "content-length"}
        answer = await self._http.handle_async_request(httpx2.Request(method, url, headers=headers, content=raw))
        await answer.aread()
        if answer.is_success and answer.content:
            told = answer.json()
            for each in [told, *told.get("issues", ())] if isinstance(told, dict) else ():
                if "key" in each and "id" in each:
                    self._keys[str(each["id"])] = str(each["key"])
        return answer

    async def aclose(self) -> None:
        await self._http.aclose()


@dataclass(slots=True)
class Site:
    """Builds senders for the peer, and looks at it as a person would."""

    url: str
    folder: Path
    bridge: Bridge = field(default_factory=Bridge)
    clients: list[httpx2.AsyncClient] = field(default_factory=list)

    def __call__(self, **raw: Any) -> JiraSender:
        given = {"api_url": f"{self.url}{API}", "project": "MIG", "labels": ["vm-migration"], **raw}
        made = sender("jira", given, self.folder, clients=self.clients, transport=self.bridge)
        assert isinstance(made, JiraSender)
        return made

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        async with httpx2.AsyncClient(trust_env=False) as client:
            answer = await client.request(method, f"{self.url}{API}{path}", json=body)
        return answer.raise_for_status().json() if answer.content else None

    async def fields(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.call("GET", f"/issue/{key}"))["fields"]
        return found

    async def move(self, key: str, to: str, resolution: str) -> None:
        offered = (await self.call("GET", f"/issue/{key}/transitions"))["transitions"]
        chosen = next(each["id"] for each in offered if each["to"]["name"] == to)
        body = {"transition": {"id": chosen}, "fields": {"resolution": {"name": resolution}}}
        await self.call("POST", f"/issue/{key}/transitions", body)


@pytest.fixture
async def site(peer: str, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Site]:
    del anyio_backend
    made = Site(peer, tmp_path)
    yield made
    for client in made.clients:
        await client.aclose()


def failed_now(label: str, count: int = 0) -> Wanted:
    """Return a failure of this moment under a label of its own: the tests of this file share one project."""
    state, now = logs(count), datetime.now(UTC)
    return replace(
        state, story=replace(state.story, opened=now, updated=now), keys=replace(state.keys, label=f"mtv-{label}")
    )


async def test_a_ticket_lives_at_a_jira_data_center_that_others_wrote(site: Site) -> None:
    jira = site(wont_fix_resolution=["Won't Do"], priority="High")
    await jira.probe()
    state = failed_now("life", 2)
    first = jira.plan(state)
    assert first is not None
    assert await jira.find(first, state) is None

    steps, told = await deliver(jira, state)
    assert steps == ["create", "attach", "attach"]
    assert told.root is not None
    key = told.root["key"]
    assert jira.link(told.root) == f"{site.url}/browse/{key}"
    made = await site.fields(key)
    assert (made["issuetype"]["name"], made["priority"]["name"]) == ("Bug", "High")
    assert made["labels"] == ["mtv-life", "vm-migration", "guest-bitlocker"]
    assert made["status"]["name"] == "Open"
    assert [each["id"] for each in made["attachment"]] == list(told.root["files"].values())
    assert all(each["size"] > 1_000 for each in made["attachment"])

    people = f"above\n{made['description']}\nbelow"
    await site.call("PUT", f"/issue/{key}", {"fields": {"description": people}})
    steps, told = await deliver(jira, ended(told))
    assert steps == ["update", "comment", "resolve"]
    over = await site.fields(key)
    assert (over["status"]["name"], over["resolution"]["name"]) == ("Done", "Done")
    # The peer sets a resolution where none is given, so what its screen asked for is looked at on its way.
    assert site.bridge.moves[-1]["fields"] == {"resolution": {"name": "Done"}}
    assert over["description"].startswith("above\n")
    assert over["description"].endswith("\nbelow")
    assert over["description"] != people

    steps, told = await deliver(jira, again(told))
    assert steps == ["reopen", "update", "comment"]
    assert (await site.fields(key))["status"]["name"] == "Reopened"

    await site.move(key, "Done", "Won't Do")
    steps, told = await deliver(jira, moved(told, Change.FAILED_AGAIN, key="again-1"))
    assert steps == ["look", "comment"]
    closed = await site.fields(key)
    assert (closed["status"]["name"], closed["resolution"]["name"]) == ("Done", "Won't Do"), "a person's word stays"
    comments = (await site.call("GET", f"/issue/{key}/comment"))["comments"]
    comments.sort(key=lambda each: int(each["id"]))
    parts = [re.search(r"story \w+ · ([\w-]+) · \d+", each["body"]) for each in comments]
    assert [part and part[1] for part in parts] == ["resolved", "reopened-1", "again-1"]


async def test_after_lost_answers_ticket_comment_and_file_are_found_by_our_marks(site: Site) -> None:
    jira = site()
    state = failed_now("lost", 1)
    create = jira.plan(state)
    assert create is not None
    await deliver(jira, failed_now("other"))  # a newer ticket that is not ours
    sent = await jira.send(create, state)
    found = await jira.find(create, state)
    assert found is not None
    assert (found["id"], found["key"], found["state"]) == (sent["id"], sent["key"], "open")
    assert site.bridge.searches[-1] == 'labels = "mtv-lost" ORDER BY created DESC'

    held = replace(state, root=sent)
    attach = jira.plan(held)
    assert attach is not None
    assert attach.op == "attach"
    assert await jira.find(attach, held) is None
    assert await jira.send(attach, held) == await jira.find(attach, held)

    worse = moved(replace(held, root={**sent, "skipped": {attach.part: "-"}}), Change.WORSE, key="worse-1")
    update = jira.plan(worse)
    if update is not None and update.op == "update":
        worse = replace(worse, root=await jira.send(update, worse))
    comment = jira.plan(worse)
    assert comment is not None
    assert comment.op == "comment"
    assert await jira.find(comment, worse) is None
    said = await jira.send(comment, worse)
    assert (await jira.find(comment, worse) or {}).get("id") == said["id"]

    await site.move(str(sent["key"]), "Done", "Done")
    assert (await jira.find(create, state) or {}).get("state") == "declined", "whoever closed it was a person"


async def test_what_jira_refuses_has_the_verdict_that_its_answer_deserves(site: Site) -> None:
    state = failed_now("refused")

    async def refused(jira: Sender, now: Wanted = state) -> None:
        step = jira.plan(now)
        assert step is not None
        await jira.send(step, now)

    with pytest.raises(DestinationRefused, match="project is required"):
        await refused(site(project="NOWHERE"))
    with pytest.raises(DestinationRefused, match="issue type is required"):
        await refused(site(issue_type="Nonsense"))
    with pytest.raises(DestinationRefused, match="no issue type Nonsense"):
        await site(issue_type="Nonsense").probe()

    jira = site(resolve_transition="To Nowhere")
    _, told = await deliver(jira, state)
    assert told.root is not None
    with pytest.raises(Refused, match="does not offer the transition 'To Nowhere'"):
        await deliver(jira, ended(told))
    await site.call("DELETE", f"/issue/{told.root['key']}")
    with pytest.raises(Gone):
        await refused(jira, ended(told))


async def test_a_screen_that_demands_what_we_do_not_send_is_said_before_anything_fails(site: Site) -> None:
    await deliver(site(), failed_now("screen"))  # an open issue to look at
    told = await site().shortcomings()
    assert "the transition To Done demands Log Work, Assignee, which is not sent; name another one" in told
