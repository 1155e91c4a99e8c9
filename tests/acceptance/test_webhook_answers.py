"""What the webhook answers, over a real socket: every odd body, every odd request, and that nothing of it breaks us."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
import textwrap
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from receiver.app import build_app
from receiver.config.load import load
from receiver.destinations.registry import ALL as KINDS
from receiver.store.engine import sqlite_url
from tests.fakes.server import serve
from tests.odd_bodies import ALL, Odd, alert, body
from tests.unit.test_wire import captured

pytestmark = [pytest.mark.anyio, pytest.mark.past_proxy("nothing is sent: what comes in is judged")]

# Nothing listens on port 9 of the loopback: what is delivered is not looked at here.
CONFIG = """
    clusters: []
    web: {max_body_bytes: 4194304}
    receivers:
      - name: platform
        pagerduty_configs: [{routing_key_env: NO_SUCH_KEY, url: 'http://127.0.0.1:9/enqueue'}]
    route: {receiver: platform}
"""


async def pieces(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


class Served:
    """A service on a socket, its database, and how many alerts it has said it took."""

    def __init__(self, url: str, http: httpx2.AsyncClient, database: Path) -> None:
        self.url = url
        self.http = http
        self.database = database
        self.accepted = 0

    async def post(self, raw: bytes, path: str = "/webhook", **more: Any) -> httpx2.Response:
        """Post a body and keep count of what is accepted."""
        response = await self.http.post(self.url + path, content=raw, **more)
        if response.status_code == 200:
            self.accepted += response.json()["accepted"]
        return response

    def stored(self) -> list[tuple[str, str]]:
        """Return the source and state of everything in the inbox."""
        with closing(sqlite3.connect(self.database)) as conn:
            return conn.execute("SELECT source, state FROM inbox ORDER BY seq").fetchall()

    async def metrics(self) -> str:
        """Return all series."""
        return (await self.http.get(self.url + "/metrics")).text


@asynccontextmanager
async def serving(folder: Path, config: str = CONFIG) -> AsyncIterator[Served]:
    """Run a service on a configuration; nothing may have died at the end."""
    file = folder / "routes.yaml"
    file.write_text(textwrap.dedent(config))
    fatal: list[str] = []
    app = build_app(load(file, KINDS), sqlite_url(folder / "test.db"), on_fatal=fatal.append)
    async with serve(app) as url, httpx2.AsyncClient(timeout=30) as http:
        async with asyncio.timeout(20):
            while (await http.get(url + "/-/ready")).status_code != 200:
                await asyncio.sleep(0.02)
        yield Served(url, http, folder / "test.db")
    assert fatal == []


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    async with serving(tmp_path_factory.mktemp("webhook")) as one:
        yield one


@pytest.mark.parametrize("odd", ALL, ids=lambda odd: odd.name)
async def test_every_body_gets_its_answer(served: Served, odd: Odd) -> None:
    response = await served.post(odd.raw)

    answer = response.json()
    assert response.status_code == odd.status, answer
    if odd.status == 200:
        assert answer["accepted"] == odd.accepted
        told = [f"{one['index']}: {one['reason']}" for one in answer["rejected"]]
        assert len(told) == len(odd.says)
        assert all(words in line for words, line in zip(odd.says, told, strict=True))
    else:
        assert set(answer) == {"error"}
        assert all(words in answer["error"] for words in odd.says), answer


@pytest.mark.parametrize(("name", "whole"), captured(), ids=[name for name, _ in captured()])
async def test_every_captured_body_is_accepted_whole(served: Served, name: str, whole: dict[str, Any]) -> None:
    response = await served.post(json.dumps(whole).encode())

    assert response.status_code == 200
    assert response.json() == {"accepted": len(whole["alerts"]), "rejected": []}


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "text/plain", "application/xml", "multipart/form-data", "nonsense"]
)
async def test_any_content_type_is_taken(served: Served, content_type: str) -> None:
    headers = {"Content-Type": content_type} if content_type else {}

    assert (await served.post(body(alert()), headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("/webhook", ""),
        ("/webhook/", ""),
        ("/webhook?x=1", ""),
        ("/webhook/main", "main"),
        ("/webhook/caf%C3%A9%20%F0%9F%94%A5", "café 🔥"),
        ("/webhook/a%00b", "ab"),
        ("/webhook/" + "n" * 500, "n" * 500),
    ],
)
async def test_an_alertmanager_may_name_itself_and_nobody_is_redirected(served: Served, path: str, source: str) -> None:
    response = await served.post(body(alert()), path)

    assert response.status_code == 200, response.text
    assert served.stored()[-1][0] == source


@pytest.mark.parametrize("path", ["/webhook/main/", "/webhook/main/again", "//webhook", "/Webhook", "/hook"])
async def test_a_wrong_address_is_said_and_not_redirected(served: Served, path: str) -> None:
    before = len(served.stored())

    response = await served.post(body(alert()), path)

    assert response.status_code == 404
    assert "/webhook" in response.json()["error"]
    assert len(served.stored()) == before


async def test_a_webhook_to_the_page_is_refused_and_told_where_to_go(served: Served) -> None:
    response = await served.post(body(alert()), "/")

    assert response.status_code == 405
    assert "webhooks go to /webhook" in response.json()["error"]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
@pytest.mark.parametrize("path", ["/webhook", "/webhook/main"])
async def test_any_other_method_is_405(served: Served, method: str, path: str) -> None:
    response = await served.http.request(method, served.url + path, content=body(alert()))

    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    if method != "HEAD":
        assert "POST" in response.json()["error"]


async def test_a_body_at_the_limit_is_taken_and_one_above_is_413(served: Served) -> None:
    limit = 4 * 1024 * 1024
    fits = body(alert(annotations={"x": ""}))
    fits = body(alert(annotations={"x": "y" * (limit - len(fits))}))
    assert len(fits) == limit

    taken = await served.post(fits)
    refused = await served.post(fits + b" ")

    assert taken.status_code == 200
    assert refused.status_code == 413
    assert "max_body_bytes" in refused.json()["error"]


async def test_a_body_without_a_length_is_bounded_too(served: Served) -> None:
    taken = await served.http.post(served.url + "/webhook", content=pieces([body(alert())[:50], body(alert())[50:]]))
    served.accepted += taken.json()["accepted"]
    refused = await served.http.post(served.url + "/webhook", content=pieces([b" " * 65_536] * 80))

    assert taken.status_code == 200
    assert refused.status_code == 413


async def test_a_connection_that_ends_within_the_body_leaves_nothing_behind(served: Served) -> None:
    before = len(served.stored())
    host, _, port = served.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    whole = body(alert())
    head = f"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: {len(whole)}\r\n\r\n".encode()
    writer.write(head + whole[:100])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    del reader

    assert (await served.post(body(alert()))).status_code == 200
    assert len(served.stored()) == before + 1


async def test_in_the_end_everything_accepted_is_stored_once_and_nothing_of_it_broke_us(served: Served) -> None:
    """Runs last: it looks back at all requests of this module."""
    async with asyncio.timeout(60):
        while any(state == "new" for _, state in served.stored()):
            await asyncio.sleep(0.05)
        while "mtv_receiver_inbox_backlog 0.0" not in await served.metrics():  # this lags behind
            await asyncio.sleep(0.05)

    states = [state for _, state in served.stored()]
    assert len(states) == served.accepted
    assert set(states) == {"done"}
    series = [line for line in (await served.metrics()).splitlines() if not line.startswith("#")]
    broken = [line for line in series if "_bugs_total" in line or "_poison_total" in line]
    assert broken
    assert all(line.endswith(" 0.0") for line in broken), broken
    assert (await served.http.get(served.url + "/-/ready")).status_code == 200


# --- many at once ---

MIB = 1024 * 1024


class Unfinished:
    """A request over a connection of its own, all but a last piece of it sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rest: bytes) -> None:
        self._reader = reader
        self._writer = writer
        self._rest = rest

    @classmethod
    async def begin(cls, url: str, raw: bytes, keep_back: int) -> Unfinished:
        host, _, port = url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        wait = "Expect: 100-continue\r\n" if keep_back == len(raw) else ""
        writer.write(f"POST /webhook HTTP/1.1\r\nHost: x\r\n{wait}Content-Length: {len(raw)}\r\n\r\n".encode())
        writer.write(raw[: len(raw) - keep_back])
        await writer.drain()
        return cls(reader, writer, raw[len(raw) - keep_back :])

    async def status(self) -> int:
        """Return the status of the answer; 100: the body is wanted, of which nothing was sent yet."""
        return int((await self._reader.readline()).split()[1])

    async def finish(self) -> int:
        """Send the rest and return the status."""
        self._writer.write(self._rest)
        await self._writer.drain()
        return await self.status()

    async def give_up(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


def sized(size: int) -> bytes:
    """Return a body of so many bytes."""
    return body(alert(annotations={"x": "y" * (size - len(body(alert(annotations={"x": ""}))))}))


async def test_bodies_beyond_the_room_for_them_are_refused_at_once_until_there_is_room_again(tmp_path: Path) -> None:
    async def answers(one: Served, status: int) -> None:
        """Announce a body until that gets this answer, and take no room by it: what is under way has to arrive."""
        async with asyncio.timeout(20):
            got = 0
            while got != status:
                asked = await Unfinished.begin(one.url, sized(MIB), keep_back=MIB)
                got = await asked.status()
                await asked.give_up()

    async with serving(tmp_path, CONFIG.replace("4194304", "16777216")) as one:
        whole = sized(16 * MIB)
        under_way = [await Unfinished.begin(one.url, whole, keep_back=65_536) for _ in range(4)]
        await answers(one, 503)
        refused = await one.post(sized(MIB))
        unannounced = await one.http.post(one.url + "/webhook", content=pieces([b" " * 65_536] * 16))
        small = await one.post(body(alert()))
        for each in under_way[1:]:
            await each.give_up()
        await answers(one, 100)
        taken = await one.post(sized(MIB))

        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "5"
        assert unannounced.status_code == 503
        assert small.status_code == 200, "small ones still find room"
        assert taken.status_code == 200
        assert await under_way[0].finish() == 200
        await under_way[0].give_up()


async def test_announcing_large_bodies_and_sending_nothing_keeps_nobody_out(tmp_path: Path) -> None:
    async with serving(tmp_path, CONFIG.replace("4194304", "16777216")) as one:
        whole = sized(16 * MIB)
        idle = [await Unfinished.begin(one.url, whole, keep_back=len(whole)) for _ in range(8)]
        assert [await each.status() for each in idle] == [100] * 8

        assert (await one.post(sized(16 * MIB))).status_code == 200
        for each in idle:
            await each.give_up()


# --- who may call ---

GUARDED = """
    clusters: []
    web: {webhook_auth: {bearer_token_file: token, basic_auth: {username: am, password_file: password}}}
    receivers:
      - name: platform
        pagerduty_configs: [{routing_key_env: NO_SUCH_KEY, url: 'http://127.0.0.1:9/enqueue'}]
    route: {receiver: platform}
"""


def _basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


async def test_only_who_is_signed_in_is_heard(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    (tmp_path / "password").write_text("pässword")
    tries = {
        "": 401,
        "Bearer wrong": 401,
        "Bearer": 401,
        "Bearer s3cret": 200,
        "bearer s3cret": 200,
        "s3cret": 401,
        "Basic s3cret": 401,
        _basic("am:wrong"): 401,
        _basic("other:pässword"): 401,
        _basic("am:pässword"): 200,
        "Digest username=am": 401,
    }
    async with serving(tmp_path, GUARDED) as one:
        got = {
            value: (await one.post(body(alert()), headers={"Authorization": value} if value else {})).status_code
            for value in tries
        }
        unread = await one.http.request("GET", one.url + "/webhook")

        assert got == tries
        assert unread.status_code == 405
        assert len(one.stored()) == 3


async def test_a_missing_secret_file_lets_nobody_in_and_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p")
    async with serving(tmp_path, GUARDED) as one:
        closed = await one.post(body(alert()), headers={"Authorization": "Bearer s3cret"})
        (tmp_path / "token").write_text("s3cret")
        opened = await one.post(body(alert()), headers={"Authorization": "Bearer s3cret"})

        assert closed.status_code == 503
        assert str(tmp_path) not in closed.text
        assert opened.status_code == 200
