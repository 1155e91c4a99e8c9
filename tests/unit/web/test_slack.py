"""`POST /slack/interactive`: only what Slack signed within 5 minutes counts, and nothing that it may hold breaks us."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import httpx2
import pytest
from starlette.applications import Starlette

from receiver.actions import Actions
from receiver.attempt import Destination
from receiver.clock import Clock, SystemClock
from receiver.config.model import Config, Route, Secret, Web
from receiver.destinations.slack_buttons import Action
from receiver.metrics import Metrics
from receiver.slack_presses import MOST_WAITING, Presses
from receiver.store.engine import Store
from receiver.web import slack
from tests.fakes.slack_presses import SIGNING_SECRET, form, signed

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
KEY = "01K9ZQ4T7MABCDEFGHJKMNPQRS 0b8f6a2e-1111-4222-8333-944455556666"
GOOD: dict[str, Any] = {
    "type": "block_actions",
    "user": {"id": "U0ADA00001", "name": "ada"},
    "container": {"channel_id": "C0123456789"},
    "channel": {"id": "C0123456789"},
    "response_url": "https://hooks.slack.com/actions/x",
    "actions": [{"action_id": "mtv_receiver_take", "value": KEY, "action_ts": "1.000001"}],
}


class At(SystemClock):
    """Stands at one moment."""

    def now(self) -> datetime:
        return NOW


@dataclass
class Pressed:
    """A service that works, as far as presses see it; nobody works them off."""

    config: Config
    clock: Clock = field(default_factory=At)
    metrics: Metrics = field(default_factory=lambda: Metrics(()))
    store: Store | None = None
    actions: Actions | None = field(default_factory=lambda: cast(Actions, object()))  # only its presence is asked for
    destinations: Mapping[str, Destination] = field(default_factory=dict)
    presses: Presses = field(init=False)

    def __post_init__(self) -> None:
        self.presses = Presses(self)

    @property
    def waiting(self) -> list[Any]:
        return list(self.presses._waiting._queue)  # type: ignore[attr-defined]


@pytest.fixture
def service(tmp_path: Path) -> Pressed:
    (tmp_path / "secret").write_text(SIGNING_SECRET + "\n")
    web = Web(slack_signing_secret=Secret(file=tmp_path / "secret"))
    return Pressed(Config(tmp_path / "routes.yaml", Route(("platform",)), {}, web=web))


@pytest.fixture
async def http(service: Pressed) -> AsyncIterator[httpx2.AsyncClient]:
    app = Starlette(routes=[*slack.routes(service)])
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://us") as client:
        yield client


async def post(http: httpx2.AsyncClient, body: bytes, headers: Mapping[str, str] | None = None) -> int:
    given = signed(body, at=NOW.timestamp()) if headers is None else headers
    return (await http.post("/slack/interactive", content=body, headers=given)).status_code


async def test_a_signed_press_is_taken(http: httpx2.AsyncClient, service: Pressed) -> None:
    assert await post(http, form(GOOD)) == 200
    (press,) = service.waiting
    assert (press.action, press.user, press.channel) == (Action.TAKE, "U0ADA00001", "C0123456789")
    assert f"{press.story} {press.client_id}" == KEY


@pytest.mark.parametrize(
    "change",
    [
        {"X-Slack-Signature": "v0=" + "0" * 64},
        {"X-Slack-Signature": ""},
        {"X-Slack-Signature": "v0=\u00e9"},
        {"X-Slack-Request-Timestamp": "soon"},
        {"X-Slack-Request-Timestamp": ""},
        {"X-Slack-Request-Timestamp": "9" * 400},
        {"X-Slack-Request-Timestamp": "\u0663"},
    ],
    ids=["wrong", "empty", "no ASCII", "no number", "no time", "a huge number", "a digit of another script"],
)
async def test_what_slack_did_not_sign_is_refused(
    http: httpx2.AsyncClient, service: Pressed, change: dict[str, str]
) -> None:
    body = form(GOOD)
    headers = {**signed(body, at=NOW.timestamp()), **change}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    response = await http.post("/slack/interactive", content=body, headers=raw)
    assert response.status_code == 401
    assert not service.waiting


async def test_a_body_that_was_changed_after_it_was_signed_is_refused(
    http: httpx2.AsyncClient, service: Pressed
) -> None:
    headers = signed(form(GOOD), at=NOW.timestamp())
    other = form({**GOOD, "user": {"id": "U0EVE00001"}})
    assert await post(http, other, headers) == 401
    assert await post(http, form(GOOD), signed(form(GOOD), secret="another", at=NOW.timestamp())) == 401
    assert not service.waiting


@pytest.mark.parametrize(("seconds", "status"), [(-301, 401), (-299, 200), (299, 200), (301, 401)])
async def test_an_old_request_that_is_played_again_is_refused(
    http: httpx2.AsyncClient, service: Pressed, seconds: int, status: int
) -> None:
    body = form(GOOD)
    assert await post(http, body, signed(body, at=NOW.timestamp() + seconds)) == status
    assert len(service.waiting) == (status == 200)


HOSTILE: list[Any] = [
    None,
    [],
    "text",
    {},
    {"type": "block_actions"},
    {**GOOD, "actions": None},
    {**GOOD, "actions": []},
    {**GOOD, "actions": [None]},
    {**GOOD, "actions": GOOD["actions"] * 2},
    {**GOOD, "actions": [{"action_id": ["mtv_receiver_take"], "value": {}}]},
    {**GOOD, "actions": [{"action_id": "mtv_receiver_take", "value": KEY.lower()}]},
    {**GOOD, "actions": [{"action_id": "mtv_receiver_take", "value": "'; DROP TABLE stories; --"}]},
    {**GOOD, "actions": [{"action_id": "mtv_receiver_fly", "value": KEY}]},
    {**GOOD, "actions": [{"action_id": "mtv_receiver_silence", "value": f"{KEY} 9000"}]},
    {**GOOD, "actions": [{"action_id": "mtv_receiver_silence", "selected_option": [KEY]}]},
    {**GOOD, "actions": [{"action_id": "mtv_receiver_give", "selected_option": {"value": f"{KEY} ../../x"}}]},
    {**GOOD, "actions": [{"action_id": "mtv_receiver_details", "type": "button"}]},
    {**GOOD, "user": None},
    {**GOOD, "user": {"id": "<!channel>"}},
    {**GOOD, "user": {"id": "U\ud800\x00"}},
    {**GOOD, "type": "view_submission"},
    {**GOOD, "type": {"$ne": 1}},
]


@pytest.mark.parametrize("content", HOSTILE, ids=[str(at) for at in range(len(HOSTILE))])
async def test_what_is_no_press_of_ours_is_heard_and_left(
    http: httpx2.AsyncClient, service: Pressed, content: Any
) -> None:
    assert await post(http, form(content)) == 200
    assert not service.waiting


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"payload",
        b"payload=",
        b"payload=%7B",
        b"payload=\xff\xfe",
        b"\x00",
        json.dumps(GOOD).encode(),
        urlencode([("a", "b")] * 1_000).encode(),
        b"payload=" + b"%5B" * 100_000,
        b"payload=1" + b"0" * 10_000,
    ],
    ids=["empty", "no value", "blank", "cut", "no UTF-8", "NUL", "JSON", "1,000 fields", "nested", "a huge number"],
)
async def test_a_signed_body_of_any_kind_breaks_nothing(
    http: httpx2.AsyncClient, service: Pressed, body: bytes
) -> None:
    assert await post(http, body) in (200, 401)  # a signature is of text
    assert not service.waiting


async def test_odd_words_inside_a_good_press_do_no_harm(http: httpx2.AsyncClient, service: Pressed) -> None:
    odd = {
        **GOOD,
        "user": {"id": "U0ADA00001", "name": "<!channel>\u202e\x00\ud800 " + "x" * 500},
        "channel": {"id": "../../x"},
        "container": {"thread_ts": "; rm -rf"},
        "response_url": ["https://evil.example"],
    }
    assert await post(http, form(odd)) == 200
    (press,) = service.waiting
    assert len(press.name) <= 80
    assert (press.channel, press.thread_ts, press.response_url) == ("", "", "")
    press.name.encode()


async def test_a_body_that_is_too_long_is_not_read(http: httpx2.AsyncClient) -> None:
    assert await post(http, b"payload=" + b"x" * slack.MAX_BODY) == 413


async def test_what_nobody_can_take_is_said_to_slack_so_that_the_person_sees_it(
    http: httpx2.AsyncClient, service: Pressed
) -> None:
    service.actions = None
    assert await post(http, form(GOOD)) == 503
    service.actions = cast(Actions, object())
    for number in range(MOST_WAITING):
        content = {**GOOD, "actions": [{**GOOD["actions"][0], "action_ts": f"1.{number:06}"}]}
        assert await post(http, form(content)) == 200
    assert await post(http, form({**GOOD, "user": {"id": "U0BOB00001"}})) == 503


async def test_a_secret_that_cannot_be_read_lets_nothing_in(
    http: httpx2.AsyncClient, service: Pressed, tmp_path: Path
) -> None:
    (tmp_path / "secret").unlink()
    assert await post(http, form(GOOD)) == 503
    assert not service.waiting
