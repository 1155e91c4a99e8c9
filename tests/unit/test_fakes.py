"""The fakes are proved with a plain client: each fault is what it says, on the wire and in what was created."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tests.fakes import faults
from tests.fakes.server import serve
from tests.fakes.vendors import ROUTING_KEY, FakeVendors, is_reply

pytestmark = pytest.mark.anyio

TRIGGER = {
    "routing_key": ROUTING_KEY,
    "event_action": "trigger",
    "dedup_key": "k",
    "payload": {"summary": "s", "source": "c", "severity": "critical"},
}
ISSUE = {"fields": {"project": {"key": "MIG"}, "issuetype": {"name": "Bug"}, "summary": "s"}}


@pytest.fixture
async def vendors() -> AsyncIterator[FakeVendors]:
    async with FakeVendors() as made:
        yield made


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(headers={"Authorization": "Bearer t"}, timeout=5.0) as made:
        yield made


async def post(client: httpx2.AsyncClient, vendors: FakeVendors, **args: Any) -> httpx2.Response:
    body = {"channel": "#a", "text": "x", **args}
    return await client.post(f"{vendors.slack_url}chat.postMessage", json=body)


async def test_without_faults_all_three_vendors_answer_and_are_recorded(
    vendors: FakeVendors, client: httpx2.AsyncClient
) -> None:
    root = (await post(client, vendors)).json()
    await post(client, vendors, thread_ts=root["ts"])
    assert (await client.post(vendors.pagerduty_url, json=TRIGGER)).status_code == 202
    key = (await client.post(f"{vendors.jira_url}/issue", json=ISSUE)).json()["key"]
    path = f"{vendors.jira_dc_url}/issue/{key}"
    assert (await client.post(f"{path}/comment", json={"body": "b"})).status_code == 201
    assert (await client.post(f"{path}/transitions", json={"transition": {"id": "31"}})).status_code == 204
    assert (await client.get(path)).json()["self"].startswith(vendors.base_url)
    assert (len(vendors.slack_roots("#a")), len(vendors.slack_replies("#a"))) == (1, 1)
    assert vendors.slack_roots("#other") == []
    assert (len(vendors.incidents()), len(vendors.incidents_open(ROUTING_KEY))) == (1, 1)
    assert (len(vendors.jira_issues("MIG")), len(vendors.jira_comments(key))) == (1, 1)
    assert [move.after for move in vendors.jira_transitions()] == ["Done"]
    assert [request.operation for request in vendors.requests] == [
        "chat.postMessage",
        "chat.postMessage",
        "trigger",
        "POST issue",
        "POST issue/*/comment",
        "POST issue/*/transitions",
        "GET issue/*",
    ]
    first = vendors.requests[0]
    assert first.json == {"channel": "#a", "text": "x"}
    assert (first.headers["authorization"], first.status, first.fault) == ("Bearer t", 200, None)
    assert b'"channel"' in first.raw


async def test_a_rate_limit_carries_retry_after_and_creates_nothing(
    vendors: FakeVendors, client: httpx2.AsyncClient
) -> None:
    vendors.fail("slack", faults.rate_limited(7), on="chat.postMessage")
    limited = await post(client, vendors)
    assert (limited.status_code, limited.headers["retry-after"], limited.json()["error"]) == (429, "7", "ratelimited")
    assert vendors.slack_roots() == []
    assert (await post(client, vendors)).json()["ok"] is True
    assert len(vendors.slack_roots()) == 1


@pytest.mark.parametrize(
    ("fault", "status", "created"),
    [(faults.server_error(), 500, 0), (faults.server_error_after(503), 503, 1), (faults.html_502(), 502, 0)],
)
async def test_a_server_error_may_come_with_or_without_the_thing(
    vendors: FakeVendors, client: httpx2.AsyncClient, fault: faults.Fault, status: int, created: int
) -> None:
    vendors.fail("jira", fault, on="POST issue")
    response = await client.post(f"{vendors.jira_url}/issue", json=ISSUE)
    assert response.status_code == status
    assert ("html" in response.headers["content-type"]) is (status == 502)
    assert len(vendors.jira_issues()) == created


@pytest.mark.parametrize(
    ("fault", "error", "created"),
    [
        (faults.cut(), httpx2.RemoteProtocolError, 0),
        (faults.cut_after(), httpx2.RemoteProtocolError, 1),
        (faults.reset(), httpx2.ReadError, 0),
    ],
)
async def test_a_broken_connection_reaches_the_client_as_such(
    vendors: FakeVendors,
    client: httpx2.AsyncClient,
    fault: faults.Fault,
    error: type[Exception],
    created: int,
) -> None:
    vendors.fail("pagerduty", fault)
    with pytest.raises(error):
        await client.post(vendors.pagerduty_url, json=TRIGGER)
    assert len(vendors.incidents()) == created
    [request] = vendors.requests
    assert (request.json, request.status) == (TRIGGER, None)


async def test_a_request_that_was_cut_may_still_be_carried_out_later(
    vendors: FakeVendors, client: httpx2.AsyncClient
) -> None:
    vendors.fail("slack", faults.cut_then_done(0.2))
    with pytest.raises(httpx2.RemoteProtocolError):
        await post(client, vendors)
    assert vendors.slack_roots() == []
    await vendors.until(lambda v: v.slack_roots("#a"))
    [request] = vendors.requests
    assert request.ended_at is not None
    assert request.carried_out_at is not None
    assert request.carried_out_at - request.ended_at >= 0.15


async def test_a_slow_answer_leaves_the_thing_behind_when_the_client_gives_up(
    vendors: FakeVendors, client: httpx2.AsyncClient
) -> None:
    vendors.fail("slack", faults.slow(0.5), faults.slow(0.01))
    with pytest.raises(httpx2.ReadTimeout):
        await client.post(f"{vendors.slack_url}chat.postMessage", json={"channel": "#a", "text": "x"}, timeout=0.1)
    assert len(vendors.slack_roots()) == 1
    assert (await post(client, vendors)).json()["ok"] is True


@pytest.mark.parametrize(("fault", "created"), [(faults.hang(), 0), (faults.hang_then_done(0.05), 1)])
async def test_a_hanging_request_ends_when_the_client_gives_up(
    vendors: FakeVendors, client: httpx2.AsyncClient, fault: faults.Fault, created: int
) -> None:
    vendors.fail("slack", fault)
    with pytest.raises(httpx2.ReadTimeout):
        await client.post(f"{vendors.slack_url}chat.postMessage", json={"channel": "#a", "text": "x"}, timeout=0.1)
    await vendors.settle(0.1)
    assert len(vendors.slack_roots()) == created


async def test_hanging_clients_do_not_keep_the_fakes_from_ending(client: httpx2.AsyncClient) -> None:
    async with FakeVendors() as vendors:
        vendors.fail("slack", faults.hang(), always=True)
        waiting = [asyncio.create_task(post(client, vendors)) for _ in range(3)]
        await vendors.until(lambda v: len(v.requests) == 3)
    for result in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(result, httpx2.TransportError)


async def test_refusals_have_each_vendors_own_form(vendors: FakeVendors, client: httpx2.AsyncClient) -> None:
    vendors.fail("slack", faults.slack_error("invalid_auth"))
    vendors.fail("pagerduty", faults.pagerduty_refused("bad key"))
    vendors.fail("jira", faults.jira_refused(400, errors={"summary": "no"}), faults.jira_refused(403, "no right"))
    slack = await post(client, vendors)
    assert (slack.status_code, slack.json()) == (200, {"ok": False, "error": "invalid_auth"})
    pagerduty = await client.post(vendors.pagerduty_url, json=TRIGGER)
    assert (pagerduty.status_code, pagerduty.json()["errors"]) == (400, ["bad key"])
    first = await client.post(f"{vendors.jira_url}/issue", json=ISSUE)
    assert (first.status_code, first.json()) == (400, {"errorMessages": [], "errors": {"summary": "no"}})
    second = await client.post(f"{vendors.jira_url}/issue", json=ISSUE)
    assert (second.status_code, second.json()["errorMessages"]) == (403, ["no right"])
    assert (vendors.slack_messages(), vendors.incidents(), vendors.jira_issues()) == ([], [], [])


async def test_a_script_is_used_up_in_order_and_only_by_what_matches(
    vendors: FakeVendors, client: httpx2.AsyncClient
) -> None:
    rule = vendors.fail("slack", faults.server_error(500), faults.PASS, faults.server_error(503), when=is_reply)
    root = (await post(client, vendors)).json()
    statuses = [(await post(client, vendors, thread_ts=root["ts"])).status_code for _ in range(4)]
    assert statuses == [500, 200, 503, 200]
    assert (rule.used, rule.remaining) == (3, 0)


async def test_a_lasting_fault_stays_until_it_is_cancelled(vendors: FakeVendors, client: httpx2.AsyncClient) -> None:
    rule = vendors.fail("slack", faults.server_error(), on=["chat.*"], always=True)
    assert [(await post(client, vendors)).status_code for _ in range(3)] == [500, 500, 500]
    rule.cancel()
    assert (await post(client, vendors)).status_code == 200


async def test_while_away_connections_are_refused_and_the_same_port_comes_back(
    vendors: FakeVendors, client: httpx2.AsyncClient
) -> None:
    await post(client, vendors)
    async with vendors.away():
        with pytest.raises(httpx2.ConnectError):
            await post(client, vendors)
    assert (await post(client, vendors)).status_code == 200
    assert len(vendors.slack_roots()) == 2


async def test_waiting_for_what_never_comes_ends_with_what_was_seen(
    vendors: FakeVendors, client: httpx2.AsyncClient
) -> None:
    vendors.fail("slack", faults.server_error())
    await post(client, vendors)
    with pytest.raises(AssertionError, match="postMessage -> 500, not carried out, fault server_error"):
        await vendors.until(lambda v: v.slack_roots(), timeout=0.05)


async def test_a_large_body_on_one_kept_connection_arrives_whole(
    vendors: FakeVendors, client: httpx2.AsyncClient
) -> None:
    for _ in range(2):
        await post(client, vendors, text="x" * 300_000)
    assert [len(request.json["text"]) for request in vendors.requests] == [300_000, 300_000]


async def test_serve_answers_inside_the_block_and_refuses_after_it(client: httpx2.AsyncClient) -> None:
    moments = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        moments.append("up")
        yield
        moments.append("down")

    async def hello(_: Request) -> PlainTextResponse:
        return PlainTextResponse("hello")

    async with serve(Starlette(routes=[Route("/", hello)], lifespan=lifespan)) as base_url:
        assert (await client.get(base_url)).text == "hello"
        assert moments == ["up"]
    assert moments == ["up", "down"]
    with pytest.raises(httpx2.ConnectError):
        await client.get(base_url)


async def test_serve_says_when_the_application_does_not_start() -> None:
    def open_database() -> None:
        raise ValueError("no database")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        open_database()
        yield

    with pytest.raises(RuntimeError, match="did not start"):
        async with serve(Starlette(lifespan=lifespan)):
            pass
