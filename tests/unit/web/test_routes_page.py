"""`/routes`: what the tester says of alerts, of a time, of a pasted configuration, and of what is hostile."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette

from receiver import build
from receiver.attempt import Destination
from receiver.clock import Clock
from receiver.config.load import load
from receiver.config.model import Config, Secret
from receiver.config.pasted import Nowhere, check_pasted
from receiver.destinations.registry import ALL
from receiver.explain import FixedClock
from receiver.kube import Cluster
from receiver.store.engine import Store
from receiver.web.pages.routes import MAX_IN_HAND, PATH, judged_apart, routes
from receiver.web.pages.routes_input import Question
from receiver.web.pages.routes_preview import mrkdwn
from receiver.web.pages.site import Site
from receiver.web.viewers import Viewers
from tests.fakes.server import serve

pytestmark = pytest.mark.anyio

YAML = """
receivers:
  - name: platform
    slack_configs: [{channel: '#platform', app_token_file: token}]
  - name: payments
    slack_configs: [{channel: '#payments', app_token_file: token}]
    pagerduty_configs: [{routing_key_file: key}]
  - name: night
    slack_configs: [{channel: '#night', app_token_file: token}]
  - name: late
    slack_configs: [{channel: '#late', app_token_file: token}]
route:
  receiver: platform
  routes:
    - matchers: ['team="payments"']
      receiver: payments
      routes:
        - matchers: ['severity="critical"', 'phase="x"']
          receiver: [payments, platform]
    - matchers: ['team="night"']
      receiver: night
      active_time_intervals: [office]
    - matchers: ['severity=~".+"']
      receiver: late
time_intervals:
  - name: office
    time_intervals: [{times: [{start_time: '08:00', end_time: '18:00'}]}]
clusters: []
"""
PAGES = sys.modules[judged_apart.__module__]
WARNED = 'alertname="Odd"\nteam="payments"\nseverity="warning"'


@dataclass
class Parts:
    """What the page needs of a service that has nothing stored."""

    config: Config
    clock: Clock = field(default_factory=lambda: FixedClock(datetime(2026, 9, 14, 12, 0, tzinfo=UTC)))
    clusters: Mapping[str, Cluster] = field(default_factory=dict)
    destinations: Mapping[str, Destination] = field(default_factory=dict)
    store: Store | None = None

    def __post_init__(self) -> None:
        self.viewers = Viewers(self)


@dataclass
class Page:
    """The page's address, and what it answers."""

    http: httpx2.AsyncClient
    url: str

    async def tried(self, status: int = 200, **fields: str) -> str:
        response = await self.http.post(f"{self.url}/routes", data=fields)
        assert response.status_code == status, response.text[:500]
        return response.text


@asynccontextmanager
async def paged(folder: Path, text: str = YAML) -> AsyncIterator[Page]:
    (folder / "routes.yaml").write_text(text)
    for name in ("token", "key"):
        (folder / name).write_text("secret")
    parts = Parts(load(folder / "routes.yaml", ALL))
    async with build.destinations(parts.config, build.renderer(parts.config, pytest.fail)) as destinations:
        parts.destinations = destinations
        app = Starlette(routes=routes(parts, Site(parts)))
        async with serve(app) as url, httpx2.AsyncClient(timeout=60) as http:
            yield Page(http, url)


def lit(page: str) -> list[str]:
    """Return where the routes stand that the tree shows as lit."""
    nodes = re.findall(r'<div class="node lit">(.*?)</div>', page, re.DOTALL)
    return [found for node in nodes for found in re.findall(r"\w+\.yaml:\d+", node)]


def plain(page: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page)).split())


async def test_the_path_of_an_alert_is_lit_and_what_failed_says_on_what(tmp_path: Path) -> None:
    async with paged(tmp_path) as page:
        said = await page.tried(alert=WARNED)

    assert lit(said) == ["routes.yaml:12", "routes.yaml:15"]
    assert 'severity="critical" does not match "warning"' in plain(said)
    assert re.findall(r'<th scope="row">([^<]*)</th>', said) == ["payments/slack", "payments/pagerduty"]
    assert said.count('<details class="preview"') == 2
    assert '<div class="message slack">' in said
    assert '<div class="message page">' in said


@pytest.mark.parametrize(
    ("receiver", "says"),
    [
        ("payments", "It does reach it. payments/slack is told"),
        ("night", "routes.yaml:20 (route.routes[1]): not asked, as routes.yaml:15 (route.routes[0]) before it matches"
         ' and does not continue; and it would not fit: team="night" does not match "payments".'),
        ("late", "routes.yaml:23 (route.routes[2]): not asked, as routes.yaml:15 (route.routes[0]) before it matches"
         " and does not continue; else it would fit."),
        ("platform", 'routes.yaml:18 (route.routes[0].routes[0]): severity="critical" does not match "warning";'
         ' phase="x" does not match an empty or missing label.'),
        ("platform", "routes.yaml:12 (route): it takes only what no route below takes, and"
         " routes.yaml:15 (route.routes[0]) does."),
    ],
)  # fmt: skip
async def test_why_not_names_every_condition_of_every_path(tmp_path: Path, receiver: str, says: str) -> None:
    async with paged(tmp_path) as page:
        said = await page.tried(alert=WARNED, why_not=receiver)

    assert says in plain(said)


@pytest.mark.parametrize(("at", "state"), [("2026-09-14T07:59", "muted"), ("2026-09-14T08:00", "told"), ("", "told")])
async def test_time_intervals_count_at_the_chosen_time(tmp_path: Path, at: str, state: str) -> None:
    async with paged(tmp_path) as page:
        said = plain(await page.tried(alert='team="night"', at=at))

    assert f"night/slack {state}" in said
    assert ("held back by office until 2026-09-14 08:00 UTC" in said) is (state == "muted")
    assert ("held back then" in said) is (state == "muted")


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", "<img src=x onerror=y>", "'\"><b>x", "{{ 7*7 }}", "*b*"]
)
async def test_a_hostile_label_stays_text_wherever_it_stands(tmp_path: Path, hostile: str) -> None:
    alert = {"labels": {"alertname": hostile, "team": hostile, hostile: "x"}, "annotations": {"summary": hostile}}
    config = YAML.replace('team="payments"', f"team={json.dumps(hostile)}".replace("'", "''"))
    async with paged(tmp_path) as page:
        said = await page.tried(alert=json.dumps(alert), config=config, why_not="payments")

    assert not re.search(r"<script>alert|<img src=x|<b>x", said)
    assert hostile in unescape(said)
    assert lit(said), "the route that names it matches"


def test_slack_markup_is_drawn_and_nothing_else() -> None:
    said = "*a &lt;b&gt;* `c` <https://x.example/?a=1&amp;b=2|here> <javascript:alert(1)|no> <!here> &lt;i&gt;\n_d_"
    drawn = str(mrkdwn(said))

    assert drawn == (
        '<strong>a &lt;b&gt;</strong> <code>c</code> <a href="https://x.example/?a=1&amp;b=2" rel="noreferrer">here</a>'
        ' no <b class="call">@here</b> &lt;i&gt;<br><em>d</em>'
    )


async def test_a_broken_configuration_lists_its_problems_as_check_does(tmp_path: Path) -> None:
    async with paged(tmp_path) as page:
        said = await page.tried(alert=WARNED, config=YAML.replace("receiver: night", "receiver: nigth"))
        worse = await page.tried(alert=WARNED, config="receivers: [")

    assert "pasted.yaml:21:17: route.routes[1].receiver: there is no receiver 'nigth'; did you mean night?" in plain(
        said
    )
    assert "cannot be used" in said
    assert not lit(said)
    assert "pasted.yaml:1:13: " in plain(worse)


async def test_a_pasted_configuration_decides_and_reads_nothing_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUR_SECRET", "hunter2")
    hidden = tmp_path / "hidden"
    hidden.write_text("- id: hunter2\n")
    (tmp_path / "firing").mkdir()
    (tmp_path / "firing" / "title.j2").write_text("hunter2")
    config = f"""
templates: {tmp_path}
include: ['{tmp_path}/*']
causes_files: ['{hidden}']
receivers:
  - name: all
    slack_configs:
      - {{channel: '#x', app_token_file: {hidden}, template: {tmp_path},
          http_config: {{tls_config: {{ca_file: {hidden}}}}}}}
      - {{api_url_env: OUR_SECRET}}
    pagerduty_configs: [{{routing_key_file: {tmp_path}/none}}]
    jira_configs:
      - {{api_url: 'https://x.example/rest/api/3', project: X, issue_type: Bug,
          http_config: {{basic_auth: {{username: a, password_file: {hidden}}}}}}}
    webhook_configs: [{{url: 'https://x.example', signing_secret_file: {hidden}}}]
    email_configs: [{{to: a@x.example, from: b@x.example, smarthost: 'x.example:25', auth_username: a,
                      auth_password_file: {hidden}}}]
clusters: [{{name: here, kubeconfig_file: {hidden}}}]
route: {{receiver: all}}
"""

    def read(_: Secret) -> str:
        raise AssertionError("a secret is read")

    async with paged(tmp_path) as page:
        monkeypatch.setattr(Secret, "read", read)
        said = await page.tried(alert=WARNED, config=config)

    words = plain(said)
    assert words.count(" told ") >= 6, words
    assert "hunter2" not in said
    for key in ("templates", "include", "causes_files"):
        assert f"warning: {key}: not read here" in words
    assert "there is no file" not in words
    assert lit(said) == ["pasted.yaml:19"]


def test_no_path_of_a_pasted_configuration_is_followed() -> None:
    config, problems = check_pasted(YAML.replace("app_token_file: token", "app_token_file: /etc/hosts").encode(), ALL)

    assert config is not None
    assert problems == ()
    file = config.destinations[0].settings.app_token.file
    assert type(file) is type(file.parent) is Nowhere
    for follow in (file.read_text, file.read_bytes, file.open, file.stat, file.resolve):
        with pytest.raises(PermissionError):
            follow()
    assert list(file.parent.rglob("*")) == []


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"alert": " "}, "Choose a stored alert"),
        ({"alert": "{"}, "cannot be read"),
        ({"alert": 'team=~"a"'}, 'write team="value"'),
        ({"alert": json.dumps([{"labels": {"a": str(n)}} for n in range(21)])}, "21 alerts, at most 20"),
        ({"alert": 'a="b"', "at": "yesterday"}, "The time cannot be read"),
        ({"alert": 'a="b"', "story": "X"}, "not both"),
        ({"story": "X"}, "not stored any more"),
        ({"config": "a: b\n" * 60_000}, "more than 256 KiB"),
        ({"alert": "x" * 1_100_000}, "could not be read"),
    ],
)
async def test_what_cannot_be_used_is_said(tmp_path: Path, fields: dict[str, str], says: str) -> None:
    async with paged(tmp_path) as page:
        said = await page.tried(400, **fields)

    assert says in plain(said)
    assert "The tree in force" in said


async def test_more_pasted_configurations_than_can_be_answered_are_refused_with_a_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()

    def slow(*given: Any) -> Any:
        gate.wait(30)
        return judged_apart(*given)

    monkeypatch.setattr(PAGES, "judged_apart", slow)
    async with paged(tmp_path) as page:
        post = partial(page.http.post, f"{page.url}/routes", data={"alert": WARNED, "config": YAML})
        tries = [asyncio.create_task(post()) for _ in range(MAX_IN_HAND + 1)]
        try:
            (refused,), held = await asyncio.wait(tries, return_when=asyncio.FIRST_COMPLETED, timeout=20)
            by_the_running = await page.http.get(f"{page.url}/routes")
        finally:
            gate.set()
        answers = await asyncio.gather(*held)

    assert refused.result().status_code == 503
    assert "are being tried already: try again in a moment" in plain(refused.result().text)
    assert by_the_running.status_code == 200
    assert [bool(lit(one.text)) for one in answers] == [True] * MAX_IN_HAND


def test_a_pasted_configuration_that_nobody_waits_for_any_more_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PAGES, "check_pasted", lambda *_: pytest.fail("it is read"))
    question = Question({"config": YAML}, datetime(2026, 9, 14, tzinfo=UTC))

    with pytest.raises(TimeoutError):
        judged_apart(question, (), time.monotonic() - 1)


async def test_the_tree_of_500_routes_is_bounded_and_given_as_json(tmp_path: Path) -> None:
    many = "".join(f"    - {{matchers: ['n=\"{at}\"'], receiver: late}}\n" for at in range(500))
    async with paged(tmp_path, YAML.replace("time_intervals:\n", f"{many}time_intervals:\n", 1)) as page:
        shown = (await page.http.get(f"{page.url}/routes")).text
        tree: dict[str, Any] = (await page.http.get(page.url + PATH)).json()["route"]

    assert shown.count('<div class="node') == 505
    assert len(shown) < 600_000
    assert len(tree["routes"]) == 503
    assert tree["routes"][1]["active_time_intervals"] == ["office"]
    assert tree["routes"][0]["receivers"] == [
        {"name": "payments", "destinations": [
            {"kind": "slack", "label": "payments/slack"}, {"kind": "pagerduty", "label": "payments/pagerduty"},
        ]}
    ]  # fmt: skip
