"""Every request of every kind validates against what its vendor publishes: golden failures × states × destinations.

The requests are those that the senders really make, over a whole life of each story; each is checked on its way to a
vendor that behaves like the real one, in this process.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import pytest

from receiver.config.model import HttpConfig
from receiver.destinations import Sender
from receiver.destinations.registry import ALL
from receiver.keeping import pack
from receiver.model import Ack, Change, Impact, Outcome, Story, StoryState, Wanted
from receiver.rendering import Renderer
from receiver.sandbox import Sandbox, build_app
from tests.contract import vendor_schemas
from tests.contract.catalogue import CATALOGUE
from tests.contract.examples import (
    EVIDENCE,
    FIXED,
    OPENED,
    ROUTING_KEY,
    TOKEN,
    FixedRenderer,
    after,
    moved,
    quiet_alerts,
    secret,
    sender,
    story,
    wanted,
)
from tests.contract.test_digest_goldens import DIGESTS
from tests.contract.test_plan_goldens import told
from tests.contract.test_sender_bodies import HOSTILE, HOSTILE_MESSAGE, hostile_story
from tests.fakes.github import GitHub
from tests.fakes.gitlab import GitLab
from tests.fakes.kubernetes import KubernetesApi, running
from tests.fakes.servicenow import ServiceNow
from tests.fakes.vendors import SeenRequest, name_of

pytestmark = pytest.mark.anyio

HOST = "http://vendors.example"
SENDERS = ("slack", "pagerduty", "jira", "jira-dc", "servicenow", "github", "gitlab")


@pytest.fixture(autouse=True)
def _schemas(request: pytest.FixtureRequest) -> None:
    if "registered" not in request.node.name:
        vendor_schemas.needed()


class Desk(httpx2.AsyncBaseTransport):
    """All vendors in one process. Every request is checked before it is carried out, and counted by its name."""

    def __init__(self) -> None:
        self.sandbox = Sandbox.new(time.time)
        self.sandbox.slack.base_url = f"{HOST}/slack"
        self.seen: Counter[str] = Counter()
        guests = {
            "servicenow": ServiceNow(time.time).app,
            "github": GitHub(time.time).app,
            "gitlab": GitLab(time.time).app,
        }
        self._guests = {name: httpx2.ASGITransport(app=app) for name, app in guests.items()}
        self._sandbox = httpx2.ASGITransport(app=build_app(self.sandbox))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        raw = await request.aread()
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = None
        path, _, query = request.url.raw_path.decode().partition("?")  # as on the wire: an escaped slash stays one
        vendor, operation = name_of(request.method, path, body)
        seen = SeenRequest(0, 0, 0, vendor, operation, request.method, path, query, dict(request.headers), raw, body)
        vendor_schemas.check(seen)
        self.seen[f"{vendor} {operation}"] += 1
        return await self._guests.get(vendor, self._sandbox).handle_async_request(request)


class Life:
    """The senders of one test, and the way of a story through one of them."""

    def __init__(self, folder: Path) -> None:
        self.desk = Desk()
        self.clients: list[httpx2.AsyncClient] = []
        self._folder = folder

    def sender(self, name: str, texts: Renderer | None = None, **common: Any) -> Sender:
        settings: dict[str, dict[str, Any]] = {
            "slack": {"channel": "#payments", "app_token_file": TOKEN, "app_url": f"{HOST}/slack/api/",
                      "mention": "S0ONCALL01", "socket_token_file": "xapp-1"},
            "pagerduty": {"routing_key_file": ROUTING_KEY, "url": f"{HOST}/pagerduty/v2/enqueue",
                          "images": [{"src": "https://x.example/{{ name }}.png", "alt": "{{ cause }}"}],
                          "links": [{"href": "https://x.example/{{ name | urlencode }}", "text": "{{ impact }}"}]},
            "jira": {"api_url": f"{HOST}/jira/rest/api/3", "project": "MIG", "labels": ["vm-migration"]},
            "jira-dc": {"api_url": f"{HOST}/jira/rest/api/2", "project": "MIG", "priority": "High"},
            "servicenow": {"instance_url": f"{HOST}/servicenow", "assignment_group": "{{ owner }}"},
            "github": {"api_url": f"{HOST}/github/api/v3", "repo": "acme/migrations", "token_file": TOKEN,
                       "labels": ["vm"], "assignees": ["octocat"]},
            "gitlab": {"url": f"{HOST}/gitlab", "project": "acme/migrations", "token_file": TOKEN, "labels": ["vm"]},
        }  # fmt: skip
        signs = name.removesuffix("-dc") in {"jira", "servicenow"}
        http = HttpConfig(credentials=secret(self._folder, "token", TOKEN)) if signs else HttpConfig()
        return sender(
            name.removesuffix("-dc"), settings[name], self._folder, clients=self.clients, transport=self.desk,
            texts=texts, http=http, **common,
        )  # fmt: skip

    async def settle(self, to: Sender, state: Wanted, *, looked_for: bool = False) -> tuple[list[str], Wanted]:
        """Carry out every step; with `looked_for` each creating one is looked for, as after a lost answer."""
        done: list[str] = []
        while (step := to.plan(state)) is not None:
            assert len(done) < 12, f"no end: {done}"
            receipt = await to.send(step, state)
            if looked_for and step.creates:
                assert await to.find(step, state) is not None, step.op
            done.append(step.op)
            state = after(state, step, receipt)
        return done, replace(state, entries=(), audible=False)


@pytest.fixture
async def life(tmp_path: Path) -> AsyncIterator[Life]:
    made = Life(tmp_path)
    yield made
    for client in made.clients:
        await client.aclose()


Move = Callable[[Wanted], Wanted]


def rises(state: Wanted) -> dict[str, Any]:
    evidence = state.story.evidence
    return {} if evidence is None else {"evidence": replace(evidence, impact=Impact.DOWN, impact_text=HOSTILE[:400])}


OPEN_AGAIN: dict[str, Any] = {"state": StoryState.FIRING, "outcome": None, "closed": None}
MOVES: Mapping[str, Move] = {
    "worse": lambda s: moved(s, Change.WORSE, key="worse-1", text="2 more VMs down", **rises(s)),
    "acknowledged": lambda s: moved(s, Change.ACKNOWLEDGED, key="ack-1", ack=Ack("Ada", "Slack", OPENED)),
    "silenced": lambda s: moved(s, Change.SILENCED, key="silenced-1"),
    "moved": lambda s: replace(moved(s, Change.MOVED, key="moved-1"), moved="network by Ada (Slack)"),
    "reminded": lambda s: moved(replace(s, moved=""), Change.REMINDED, key="reminded-1"),
    "away": lambda s: moved(s, Change.AWAY, key="away-1"),
    "re-running": lambda s: moved(s, Change.RERUN, key="rerun-1", state=StoryState.RERUNNING, run="run-2"),
    "failed again": lambda s: moved(s, Change.FAILED_AGAIN, key="again-1", state=StoryState.FIRING, run="run-1"),
    "evidence": lambda s: moved(s, Change.EVIDENCE, key="evidence-1", title="read again"),
    "alert gone": lambda s: moved(s, Change.ALERT_GONE, note="alert gone", alerts=quiet_alerts(s.story)),
    "fixed": lambda s: moved(s, Change.RESOLVED, key="resolved-1", quiet_allowed=True, **FIXED),
    "reopened": lambda s: moved(
        s, Change.REOPENED, key="reopened-1", state=StoryState.FIRING, outcome=None, closed=None
    ),
    "canceled": lambda s: moved(s, Change.RESOLVED, key="resolved-2", **{**FIXED, "outcome": Outcome.CANCELED}),
}
ESSENTIAL = ("worse", "re-running", "failed again", "fixed", "reopened", "canceled")
"""The states that every golden failure passes; the example story passes all."""


async def live(life: Life, to: Sender, first: Wanted, moves: tuple[str, ...] = tuple(MOVES), **how: Any) -> int:
    """Take a story through its life and return how many steps it took."""
    steps, state = await life.settle(to, first, **how)
    taken = len(steps)
    for name in moves:
        steps, state = await life.settle(to, MOVES[name](state), **how)
        taken += len(steps)
    return taken


def with_log() -> Story:
    log = replace(EVIDENCE.logs[0], kept=pack("virt-v2v: opening the disk\n" * 200))
    return story(evidence=replace(EVIDENCE, logs=(log,)))


# --- failures, states, destinations -----------------------------------------------------------------------------------


def test_every_registered_kind_has_a_schema_or_says_what_stands_in_its_place() -> None:
    kinds = {kind.kind for kind in ALL}
    assert kinds == {*vendor_schemas.SCHEMAS, *vendor_schemas.WITHOUT}
    assert {name.removesuffix("-dc") for name in SENDERS} == set(vendor_schemas.SCHEMAS)


@pytest.mark.parametrize("name", SENDERS)
@pytest.mark.parametrize("looked_for", [False, True], ids=["each answer comes", "each answer is lost"])
async def test_all_requests_of_a_whole_life_are_as_the_vendor_publishes_them(
    name: str, looked_for: bool, life: Life
) -> None:
    steps = await live(life, life.sender(name), wanted(with_log()), looked_for=looked_for)
    assert steps >= len(ESSENTIAL)
    expected = {
        "slack": {"chat.postMessage", "chat.update", "files.getUploadURLExternal", "files.completeUploadExternal"},
        "pagerduty": {"trigger", "resolve"},
        "jira": {"POST issue", "PUT issue/*", "POST issue/*/comment", "POST issue/*/transitions", "GET issue/*"},
        "servicenow": {"POST incident", "PATCH incident/*", "GET incident"},
        "github": {"POST issues", "PATCH issues/*", "POST issues/*/comments"},
        "gitlab": {"POST issues", "PUT issues/*", "POST issues/*/notes"},
    }[name.removesuffix("-dc")]
    assert expected <= {each.split(" ", 1)[1] for each in life.desk.seen}


@pytest.mark.parametrize("failure", CATALOGUE)
async def test_every_golden_failure_in_every_state_is_as_every_vendor_publishes_it(
    failure: str, life: Life, tmp_path: Path
) -> None:
    async with running(KubernetesApi()) as api:
        found = await told(api, CATALOGUE[failure](), tmp_path)
    for name in SENDERS:
        await live(life, life.sender(name), found.wanted, ESSENTIAL)
    assert sum(life.desk.seen.values()) > len(SENDERS) * len(ESSENTIAL)


@pytest.mark.parametrize("name", SENDERS)
@pytest.mark.parametrize("digest", DIGESTS)
async def test_every_digest_is_as_the_vendor_publishes_it(digest: str, name: str, life: Life) -> None:
    await life.settle(life.sender(name), DIGESTS[digest])
    told_to = sum(life.desk.seen.values())
    assert told_to or DIGESTS[digest].story.state is StoryState.RESOLVED, "only what is over is told to nobody"


@pytest.mark.parametrize("name", SENDERS)
async def test_hostile_texts_at_every_content_level_are_as_the_vendor_publishes_it(name: str, life: Life) -> None:
    worst = hostile_story()
    step = life.sender(name).plan(worst)
    assert step is not None
    await life.sender(name).send(step, worst)  # 300 VMs
    evidence = worst.story.evidence
    assert evidence is not None
    few = replace(worst, story=replace(worst.story, evidence=replace(evidence, failures=evidence.failures[:6])))
    life.desk.sandbox.clear()
    await live(life, life.sender(name), few, ("worse", "fixed"))
    for content in ("summary", "minimal"):
        one = life.sender(name, content=content)
        step = one.plan(few)
        assert step is not None
        await one.send(step, few)


@pytest.mark.parametrize("name", SENDERS)
async def test_the_worst_message_and_the_plain_form_are_as_the_vendor_publishes_them(name: str, life: Life) -> None:
    await life.settle(life.sender(name, texts=FixedRenderer(HOSTILE_MESSAGE)), hostile_story())
    await life.settle(life.sender(name), wanted(plain=True))
    await life.settle(life.sender(name), wanted(late_s=740.0))
    await life.settle(life.sender(name), wanted(story(evidence=None, identity=None)))
    assert life.desk.seen.total() >= 4


async def test_every_change_that_adds_an_entry_somewhere_is_part_of_a_life(life: Life) -> None:
    told_of = {change for name in SENDERS for change in life.sender(name).entry_changes}
    assert len(told_of) > len(ESSENTIAL)
    made = {each.change for move in MOVES.values() for each in move(wanted()).entries}
    assert told_of <= made | {Change.FIRED}


# --- the schemas refuse what is wrong ---------------------------------------------------------------------------------


async def first_bodies(life: Life) -> dict[str, dict[str, Any]]:
    bodies = {}
    for name in SENDERS:
        step = life.sender(name).plan(wanted())
        assert step is not None
        bodies[name] = json.loads(json.dumps(step.body))
    return bodies


def breaks(body: dict[str, Any], where: str, value: Any) -> dict[str, Any]:
    """Return a copy in which the value at a path such as `blocks/0/type` is another (None: is missing)."""
    made = deepcopy(body)
    *path, last = [int(part) if part.isdecimal() else part for part in where.split("/")]
    at: Any = made
    for part in path:
        at = at[part]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return made


@pytest.mark.parametrize(
    ("name", "operation", "where", "value"),
    [
        ("slack", "chat.postMessage", "blocks/0/type", "heading"),
        ("slack", "chat.postMessage", "blocks/0/text/type", "mrkdwn"),
        ("slack", "chat.postMessage", "blocks/1/colour", "red"),
        ("slack", "chat.postMessage", "channel", None),
        ("slack", "chat.postMessage", "reply_broadcast", True),
        ("slack", "chat.postMessage", "thread", "1.2"),
        ("slack", "chat.update", "metadata", None),
        ("pagerduty", "trigger", "payload/severity", "high"),
        ("pagerduty", "trigger", "payload/summary", None),
        ("pagerduty", "trigger", "payload/summary", "x" * 1_025),
        ("pagerduty", "trigger", "event_action", "open"),
        ("pagerduty", "trigger", "dedup_key", "x" * 256),
        ("pagerduty", "trigger", "detail", "x"),
        ("jira", "POST issue", "fields/description/content/0/type", "para"),
        ("jira", "POST issue", "fields/description/content/0/colour", "red"),
        ("jira", "POST issue", "fields/description/version", 2),
        ("jira", "POST issue", "properties", "x"),
        ("jira", "POST issue", "field", {}),
        ("jira-dc", "POST issue", "fields/description", {"type": "doc"}),
        ("jira-dc", "POST issue", "fields/summary", 5),
        ("jira-dc", "POST issue", "fields/labels/0", "two words"),
        ("jira-dc", "POST issue", "properties/0/name", "x"),
        ("jira-dc", "POST issue", "field", {}),
        ("servicenow", "POST incident", "short_description", "x" * 161),
        ("servicenow", "POST incident", "worknotes", "x"),
        ("github", "POST issues", "title", None),
        ("github", "POST issues", "labels", "bug"),
        ("github", "POST issues", "colour", "red"),
        ("gitlab", "POST issues", "colour", "red"),
        ("gitlab", "POST issues", "title", None),
    ],
)
async def test_the_schema_refuses(name: str, operation: str, where: str, value: Any, life: Life) -> None:
    body = (await first_bodies(life))[name]
    if name == "pagerduty":
        body["routing_key"] = ROUTING_KEY
    version = "2" if name == "jira-dc" else "3"
    path = f"/jira/rest/api/{version}/issue" if name.startswith("jira") else f"/{name}"
    vendor: Any = name.removesuffix("-dc")

    def seen(sent: dict[str, Any]) -> SeenRequest:
        return SeenRequest(0, 0, 0, vendor, operation, "POST", path, "", {}, b"", sent)

    if operation != "chat.update":
        vendor_schemas.check(seen(body))
    with pytest.raises((jsonschema.ValidationError, AssertionError)):
        vendor_schemas.check(seen(breaks(body, where, value)))


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("POST issue/*/comment", {"body": {"type": "doc"}}),
        ("POST issue/*/comment", {"text": "x"}),
        ("POST issue/*/transitions", {"transition": {"id": 31}}),
        ("POST issue/*/transitions", {"transition": "31"}),
        ("POST search", {"jql": "x", "nextPageToken": "x"}),
        ("POST search", {"jql": "x", "fields": "status"}),
    ],
)
def test_what_only_the_cloud_takes_is_refused_for_data_center(operation: str, body: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        vendor_schemas.check_jira(operation, body, cloud=False)


def test_a_call_that_no_schema_speaks_of_is_an_error() -> None:
    with pytest.raises(KeyError):
        vendor_schemas.check(SeenRequest(0, 0, 0, "slack", "chat.meMessage", "POST", "/", "", {}, b"", {}))
    with pytest.raises(AssertionError):
        vendor_schemas.check(SeenRequest(0, 0, 0, "jira", "DELETE issue/*", "DELETE", "/", "", {}, b"", None))
