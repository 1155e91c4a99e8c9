"""What an endpoint's answers, its silence and its missing secrets mean."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from receiver.destinations.webhook_body import KEYS
from receiver.errors import DeliveryError, DestinationRefused, Refused, Transient, Unknown
from receiver.model import Change
from tests.contract.examples import after, deliver, moved, sender, wanted
from tests.contract.hooks import Made, make

pytestmark = pytest.mark.anyio
__all__ = ["make"]


async def refused(make: Made, status: int, body: bytes = b"no", **headers: str) -> DeliveryError:
    hook = make()
    step = hook.plan(wanted())
    assert step is not None
    make.endpoint.answer(status, body, **headers)
    with pytest.raises(DeliveryError) as raised:
        await hook.send(step, wanted())
    return raised.value


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        *((status, Refused) for status in (400, 409, 413, 415, 422)),
        *((status, DestinationRefused) for status in (301, 302, 307, 308, 401, 402, 403, 404, 405, 410, 421)),
        (429, Transient),
        *((status, Unknown) for status in (408, 500, 502, 503, 504)),
    ],
)
async def test_an_answer_means_one_thing(make: Made, status: int, meaning: type[DeliveryError]) -> None:
    error = await refused(make, status, b"first line\nsecond", location=f"{make.endpoint.url}/elsewhere")
    assert type(error) is meaning
    assert (error.status, error.reason) == (status, f"HTTP {status}: first line second")
    assert len(make.endpoint.came) == 1, "a redirect is never followed"


@pytest.mark.parametrize("status", [429, 503])
async def test_the_wait_that_an_endpoint_asks_for_is_kept(make: Made, status: int) -> None:
    error = await refused(make, status, retry_after="17")
    assert isinstance(error, Transient)
    assert error.retry_after_s == 17


async def test_only_the_beginning_of_an_answer_is_read(tmp_path: Path) -> None:
    read: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            assert len(read) < 200, "it goes on reading"
            read.append(1)
            yield b"x" * 4_096

    transport = httpx2.MockTransport(lambda request: httpx2.Response(422, content=endless()))
    hook = sender("webhook", {"url": "https://a.example"}, tmp_path, transport=transport)
    with pytest.raises(Refused) as raised:
        await deliver(hook, wanted())
    assert len(raised.value.reason) <= 120


@pytest.mark.parametrize(
    ("broken", "meaning"),
    [(httpx2.ConnectError("no"), Transient), (httpx2.ReadTimeout("no"), Unknown), (httpx2.WriteError("no"), Unknown)],
)
async def test_a_broken_connection_is_unknown_unless_nothing_was_sent(
    broken: Exception, meaning: type[DeliveryError], tmp_path: Path
) -> None:
    def handle(request: httpx2.Request) -> httpx2.Response:
        raise broken

    url = "https://hook.example.com/planted-path"
    hook = sender("webhook", {"url_file": url}, tmp_path, transport=httpx2.MockTransport(handle))
    with pytest.raises(DeliveryError) as raised:
        await deliver(hook, wanted())
    assert type(raised.value) is meaning
    assert "planted" not in raised.value.reason


@pytest.mark.parametrize("content", ["not a url", "ftp://a.example/planted"])
async def test_a_file_that_holds_no_url_is_named_without_its_content(content: str, tmp_path: Path) -> None:
    hook = sender("webhook", {"url_file": content}, tmp_path)
    with pytest.raises(DestinationRefused) as raised:
        await deliver(hook, wanted())
    assert "planted" not in raised.value.reason
    assert "URL" in raised.value.reason


async def test_a_refused_story_or_event_is_offered_with_the_least_that_is_one(make: Made) -> None:
    _, now = await deliver(make(), replace(wanted(), plain=True))
    worse = moved(replace(now, plain=False), Change.WORSE, key="worse-3")
    await deliver(make(), replace(worse, entries=tuple(replace(one, plain=True) for one in worse.entries)))
    assert len(make.endpoint.posts) == 2
    for made in (one.json for one in make.endpoint.posts):
        assert tuple(made) == KEYS
        assert (made["cause"], made["vms"], made["counts"]["failed"]) == (None, [], 3)


@pytest.mark.parametrize(
    ("status", "good"), [(204, True), (200, True), (405, True), (403, True), (401, False), (404, False)]
)
async def test_a_probe_posts_nothing_and_finds_what_surely_speaks_against_sending(
    status: int, good: bool, tmp_path: Path
) -> None:
    seen: list[httpx2.Request] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(status)

    hook = sender("webhook", {"url": "https://a.example"}, tmp_path, transport=httpx2.MockTransport(handle))
    if good:
        await hook.probe()
    else:
        with pytest.raises(DestinationRefused):
            await hook.probe()
    assert [(one.method, one.content) for one in seen] == [("OPTIONS", b"")]


async def test_a_missing_secret_parks_and_sends_nothing(make: Made) -> None:
    (make.folder / "api-key").write_text("x")
    hook = make({"header_files": {"X-Api-Key": "api-key"}})
    (make.folder / "api-key").unlink()
    with pytest.raises(DestinationRefused, match="cannot be read"):
        await deliver(hook, wanted())
    with pytest.raises(DestinationRefused, match="cannot be read"):
        await hook.probe()
    assert make.endpoint.came == []


async def test_nothing_is_looked_up_because_every_event_can_be_repeated(make: Made) -> None:
    hook = make()
    step = hook.plan(wanted())
    assert step is not None
    assert not step.creates
    assert await hook.find(step, wanted()) is None
    assert after(wanted(), step, await hook.send(step, wanted())).root is not None
