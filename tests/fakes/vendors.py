"""Slack, PagerDuty, Jira and others on one loopback port, with faults in front and a record of everything.

The vendors' behaviour is the sandbox's (`receiver.sandbox`); this module adds what a bad day adds. Example:

    async with FakeVendors() as vendors:
        vendors.fail("slack", faults.cut_after(), on="chat.postMessage")
        ...
        await vendors.until(lambda v: v.slack_roots("#payments"))
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

import httpx2
from starlette.applications import Starlette

from receiver.sandbox import Sandbox, build_app
from receiver.sandbox.jira import Comment, Issue, Move
from receiver.sandbox.pagerduty import Event, Incident
from receiver.sandbox.slack import Message
from tests.fakes import faults
from tests.fakes.faults import Fault, Reply
from tests.fakes.front import Ending, Front, RawRequest
from tests.fakes.github import GitHub
from tests.fakes.gitlab import GitLab
from tests.fakes.pagerduty_people import People
from tests.fakes.servicenow import ServiceNow

Vendor = Literal["slack", "pagerduty", "pagerduty-rest", "jira", "servicenow", "github", "gitlab", "page"]
T = TypeVar("T")
POLL_S = 0.02
ROUTING_KEY = "R0UTINGKEY0000000000000000000000"
"""A routing key of the length that PagerDuty demands (32)."""


@dataclass(slots=True)
class SeenRequest:
    """One request that arrived whole. Moments are seconds of `time.monotonic()`; `wall` is Unix seconds.

    `operation` names it shortly: Slack's method (`chat.postMessage`), PagerDuty's action (`trigger`), Jira's method
    and path without version and keys (`POST issue`, `PUT issue/*`, `POST issue/*/comment`, `POST search/jql`).
    """

    number: int
    at: float
    wall: float
    vendor: Vendor
    operation: str
    method: str
    path: str
    query: str
    headers: dict[str, str]
    raw: bytes
    json: Any
    fault: str | None = None
    carried_out_at: float | None = None
    ended_at: float | None = None
    status: int | None = None

    def __str__(self) -> str:
        done = "carried out" if self.carried_out_at else "not carried out"
        return f"{self.vendor} {self.operation} -> {self.status or 'no answer'}, {done}, fault {self.fault or '-'}"


class Rule:
    """A script of faults for the requests that match; used up in order, or the last one for ever with `always`."""

    def __init__(
        self,
        vendor: Vendor,
        script: Iterable[Fault],
        on: tuple[str, ...],
        when: Callable[[SeenRequest], object] | None,
        always: bool,
    ) -> None:
        self._vendor = vendor
        self._script = deque(script)
        self._on = on
        self._when = when
        self._always = always
        self.used = 0

    @property
    def remaining(self) -> int:
        """How many faults are left to happen (one that lasts for ever counts as one)."""
        return len(self._script)

    def cancel(self) -> None:
        """Let nothing more happen."""
        self._script.clear()

    def take(self, request: SeenRequest) -> Fault | None:
        """Return what happens to this request, None when the rule does not speak of it."""
        if not self._script or request.vendor != self._vendor:
            return None
        if not any(fnmatchcase(request.operation, pattern) for pattern in self._on):
            return None
        if self._when is not None and not self._when(request):
            return None
        self.used += 1
        return self._script[0] if self._always and len(self._script) == 1 else self._script.popleft()


class FakeVendors:
    """See the module's text. `sandbox` is the state itself: read it, or change it as a person would."""

    def __init__(
        self,
        *,
        slack_channels: Iterable[str] | None = None,
        jira_projects: Iterable[str] | None = None,
        jira_search_lag_s: float = 0.0,
    ) -> None:
        self.sandbox = Sandbox.new(time.time, slack_channels=slack_channels, jira_projects=jira_projects)
        self.sandbox.jira.search_lag_s = jira_search_lag_s
        self.requests: list[SeenRequest] = []
        self._rules: list[Rule] = []
        self._front = Front(self._handle)
        self.servicenow = ServiceNow(time.time)
        self.github = GitHub(time.time)
        self.gitlab = GitLab(time.time)
        self._app = _client(build_app(self.sandbox))
        self.responders = People(self.sandbox.pagerduty, time.time)
        guests = {
            "pagerduty-rest": self.responders.app,
            "servicenow": self.servicenow.app,
            "github": self.github.app,
            "gitlab": self.gitlab.app,
        }
        self._guests = {name: _client(app) for name, app in guests.items()}
        self._changed = asyncio.Event()
        self._later: set[asyncio.Task[None]] = set()
        self._numbers = itertools.count(1)
        self._in_flight = 0

    async def __aenter__(self) -> Self:
        await self._front.start()
        self.sandbox.slack.base_url = f"{self.base_url}/slack"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._front.stop()
        for task in self._later:
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)
        for client in (self._app, *self._guests.values()):
            await client.aclose()
        if self._front.errors and error is None:
            raise ExceptionGroup("the fakes themselves failed", self._front.errors)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._front.port}"

    @property
    def slack_url(self) -> str:
        """What `app_url` takes, in the place of `https://slack.com/api/`."""
        return f"{self.base_url}/slack/api/"

    @property
    def pagerduty_url(self) -> str:
        """What stands in the place of `https://events.pagerduty.com/v2/enqueue`."""
        return f"{self.base_url}/pagerduty/v2/enqueue"

    @property
    def pagerduty_rest_url(self) -> str:
        """What `api_url` takes, in the place of `https://api.pagerduty.com`."""
        return f"{self.base_url}/pagerduty-rest"

    @property
    def jira_url(self) -> str:
        """What `api_url` takes for Jira Cloud."""
        return f"{self.base_url}/jira/rest/api/3"

    @property
    def jira_dc_url(self) -> str:
        """What `api_url` takes for Jira Data Center."""
        return f"{self.base_url}/jira/rest/api/2"

    @property
    def servicenow_url(self) -> str:
        """What `instance_url` takes for ServiceNow."""
        return f"{self.base_url}/servicenow"

    def fail(
        self,
        vendor: Vendor,
        *script: Fault,
        on: str | Iterable[str] = "*",
        when: Callable[[SeenRequest], object] | None = None,
        always: bool = False,
    ) -> Rule:
        """Let the next requests that match meet these faults, one each in order (`faults.PASS` spares one).

        `on`: patterns of `SeenRequest.operation` (`*` matches anything). With `always` the last fault stays until
        `cancel()`. Of several rules the oldest that matches and is not used up decides.
        """
        patterns = (on,) if isinstance(on, str) else tuple(on)
        rule = Rule(vendor, script, patterns, when, always)
        self._rules.append(rule)
        return rule

    @asynccontextmanager
    async def away(self) -> AsyncIterator[None]:
        """Refuse connections while the block runs; the same port answers again afterwards."""
        await self._front.stop()
        try:
            yield
        finally:
            await self._front.start()

    async def until(self, condition: Callable[[FakeVendors], T], timeout: float = 10.0) -> T:
        """Wait until `condition` is true and return its value; AssertionError with all requests after `timeout` s."""
        end = time.monotonic() + timeout
        while not (value := condition(self)):
            if time.monotonic() > end:
                seen = "\n  ".join(str(request) for request in self.requests) or "no request at all"
                raise AssertionError(f"not true after {timeout} s; seen:\n  {seen}")
            await self._pause(min(POLL_S, max(end - time.monotonic(), 0.001)))
        return value

    async def settle(self, quiet_s: float = 0.5, timeout: float = 15.0) -> None:
        """Wait until no request has come for `quiet_s` seconds, none is unanswered and none is still to land."""

        def quiet(_: FakeVendors) -> bool:
            last = max((request.ended_at or request.at for request in self.requests), default=started)
            return not self._in_flight and not self._later and time.monotonic() - max(last, started) >= quiet_s

        started = time.monotonic()
        await self.until(quiet, timeout)

    def seen(self, vendor: Vendor, on: str = "*") -> list[SeenRequest]:
        """Return the requests to one vendor whose operation matches."""
        return [each for each in self.requests if each.vendor == vendor and fnmatchcase(each.operation, on)]

    def slack_messages(self, channel: str | None = None) -> list[Message]:
        """Return all messages that exist, of one channel (name with or without `#`, or id) or of all."""
        wanted = (channel or "").removeprefix("#")
        return [
            message
            for each in self.sandbox.slack.channels.values()
            if not wanted or wanted in {each.name, each.id}
            for message in each.messages.values()
        ]

    def slack_roots(self, channel: str | None = None) -> list[Message]:
        return [message for message in self.slack_messages(channel) if message.is_root]

    def slack_replies(self, channel: str | None = None) -> list[Message]:
        return [message for message in self.slack_messages(channel) if not message.is_root]

    def incidents(self, routing_key: str | None = None) -> list[Incident]:
        """Return every incident that was ever opened, closed ones included."""
        return [each for each in self.sandbox.pagerduty.incidents if routing_key in {None, each.routing_key}]

    def incidents_open(self, routing_key: str | None = None) -> list[Incident]:
        return [each for each in self.incidents(routing_key) if each.open]

    def incidents_resolved(self, routing_key: str | None = None) -> list[Incident]:
        return [each for each in self.incidents(routing_key) if not each.open]

    def pagerduty_events(self, action: str | None = None, effect: str | None = None) -> list[Event]:
        """Return accepted events; `effect` is opened, appended, acknowledged, resolved or dropped."""
        return [
            each
            for each in self.sandbox.pagerduty.events
            if action in {None, each.action} and effect in {None, each.effect}
        ]

    def jira_issues(self, project: str | None = None) -> list[Issue]:
        return [each for each in self.sandbox.jira.issues.values() if project in {None, each.project}]

    def jira_comments(self, key: str | None = None) -> list[Comment]:
        return [made for each in self.jira_issues() if key in {None, each.key} for made in each.comments]

    def jira_transitions(self, key: str | None = None) -> list[Move]:
        return [move for each in self.jira_issues() if key in {None, each.key} for move in each.moves]

    async def _pause(self, seconds: float) -> None:
        self._changed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _handle(self, raw: RawRequest, client_gone: Callable[[], Awaitable[None]]) -> Ending:
        request = self._note(raw)
        fault = next((found for rule in self._rules if (found := rule.take(request))), faults.PASS)
        request.fault = None if fault is faults.PASS else fault.name
        self._in_flight += 1
        try:
            ending = await self._meet(fault, request, raw, client_gone)
        finally:
            self._in_flight -= 1
            request.ended_at = time.monotonic()
            self._changed.set()
        request.status = ending.status if isinstance(ending, Reply) else None
        return ending

    async def _meet(
        self, fault: Fault, request: SeenRequest, raw: RawRequest, client_gone: Callable[[], Awaitable[None]]
    ) -> Ending:
        answer: Reply | None = await self._carry_out(request, raw) if fault.carried_out == "yes" else None
        if fault.ending == "hang":
            await client_gone()
        if fault.carried_out == "later":
            task = asyncio.create_task(self._land(fault.later_s, request, raw))
            self._later.add(task)
            task.add_done_callback(self._later.discard)
        if fault.ending == "hang":
            return "cut"
        if fault.ending != "answer":
            return fault.ending
        await asyncio.sleep(fault.delay_s)
        reply = fault.reply or answer
        if reply is None:
            raise AssertionError(f"fault {fault.name}: neither carried out nor answered")
        return reply

    async def _land(self, later_s: float, request: SeenRequest, raw: RawRequest) -> None:
        await asyncio.sleep(later_s)
        await self._carry_out(request, raw)

    async def _carry_out(self, request: SeenRequest, raw: RawRequest) -> Reply:
        response = await self._guests.get(request.vendor, self._app).request(
            raw.method, f"{self.base_url}{raw.target}", headers=list(raw.headers), content=raw.body
        )
        request.carried_out_at = time.monotonic()
        self._changed.set()
        return Reply(response.status_code, response.content, dict(response.headers))

    def _note(self, raw: RawRequest) -> SeenRequest:
        url = urlsplit(raw.target)
        try:
            body = json.loads(raw.body) if raw.body else None
        except ValueError:
            body = None
        vendor, operation = name_of(raw.method, url.path, body)
        request = SeenRequest(
            number=next(self._numbers),
            at=time.monotonic(),
            wall=time.time(),
            vendor=vendor,
            operation=operation,
            method=raw.method,
            path=url.path,
            query=url.query,
            headers={name.lower(): value for name, value in raw.headers},
            raw=raw.body,
            json=body,
        )
        self.requests.append(request)
        self._changed.set()
        return request


def _client(app: Starlette) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app))


def is_root(request: SeenRequest) -> bool:
    """Tell whether a `chat.postMessage` makes a message of its own."""
    return not (isinstance(request.json, dict) and request.json.get("thread_ts"))


def is_reply(request: SeenRequest) -> bool:
    """Tell whether a `chat.postMessage` goes into a thread."""
    return not is_root(request)


def name_of(method: str, path: str, body: Any) -> tuple[Vendor, str]:
    """Return a request's vendor and short name; see `SeenRequest.operation`."""
    match path.strip("/").split("/"):
        case ["slack", "api", name]:
            return "slack", name
        case ["slack", "upload" | "actions" as what, *_]:
            return "slack", what
        case ["pagerduty", *_]:
            return "pagerduty", str(body.get("event_action")) if isinstance(body, dict) else "enqueue"
        case ["pagerduty-rest", *rest]:
            return "pagerduty-rest", " ".join([method, "/".join(rest)])
        case ["jira", "rest", "api", _, "issue", "createmeta", _, *rest]:
            return "jira", " ".join([method, "/".join(["issue", "createmeta", "*", *rest])])
        case ["jira", "rest", "api", _, "issue" | "project" as kind, _, *rest]:
            return "jira", " ".join([method, "/".join([kind, "*", *rest])])
        case ["github", *rest]:
            return "github", GitHub.operation(method, rest)
        case ["gitlab", *rest]:
            return "gitlab", GitLab.operation(method, rest)
        case ["servicenow", *rest]:
            return "servicenow", ServiceNow.operation(method, rest)
        case ["jira", "rest", "api", _, *rest]:
            return "jira", " ".join([method, "/".join(rest)])
        case _:
            return "page", f"{method} {path}"
