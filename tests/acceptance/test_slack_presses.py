"""What people press in Slack, by HTTP or Socket Mode: it is done, shown everywhere, recorded, and answered."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from receiver.__main__ import app
from receiver.sandbox.slack import Message
from tests.acceptance.faulty import CHANNEL, QUICK, TOP, config, plan, shown
from tests.acceptance.harness import Running, body, pagerduty, running, slack
from tests.databases import ask, database_of
from tests.fakes import faults
from tests.fakes.alertmanager import AlertmanagerApi
from tests.fakes.slack_presses import ADA, SIGNING_SECRET, elements, payload, press
from tests.fakes.slack_socket import SocketServer
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

EVE = "U0EVE00001"
BOB = "U0BOB00001"
ALLOW = "actions: {allow: [ada@example.com, '@oncall']}"
WEB = f"{TOP}\nweb: {{slack_signing_secret_file: signing-secret}}\n{ALLOW}\n"
SOCKET = ", socket_token_file: app-level-token"


def receivers(extra: str = "") -> str:
    return (
        f"- name: platform\n  {slack(CHANNEL, QUICK + extra)}\n  {pagerduty(QUICK)}\n"
        f"- name: network\n  {slack('#network', QUICK + extra)}\n"
    )


def prepared(vendors: FakeVendors, folder: Path, top: str = WEB, extra: str = "") -> Path:
    (folder / "signing-secret").write_text(SIGNING_SECRET)
    (folder / "app-level-token").write_text("xapp-planted")
    more = vendors.sandbox.slack_more
    more.add_person(ADA, "Ada Lovelace", "ada@example.com")
    more.add_person(BOB, "Bob", "bob@example.com")
    more.add_person(EVE, "Eve", "eve@example.com")
    more.add_group("S0ONCALL01", "oncall", BOB)
    return config(vendors, folder, receivers(extra), top=top)


def presses(folder: Path) -> list[tuple[str, str, str, bool, str]]:
    return ask(folder, 'SELECT action, "by", via, done, text FROM presses ORDER BY id')


async def failed_story(vendors: FakeVendors, service: Running) -> Message:
    await service.post(plan(1))
    await vendors.until(lambda v: v.slack_roots("team") and v.incidents())
    await service.idle()
    (root,) = vendors.slack_roots("team")
    return root


@contextlib.asynccontextmanager
async def started(folder: Path, **given: str) -> AsyncIterator[tuple[FakeVendors, Running, Message]]:
    async with FakeVendors() as vendors, running(prepared(vendors, folder, **given), vendors) as service:
        yield vendors, service, await failed_story(vendors, service)


async def told(vendors: FakeVendors, count: int = 1) -> Any:
    more = vendors.sandbox.slack_more
    await vendors.until(lambda _: len(more.said) >= count, 30.0)
    return more.said[count - 1]


async def test_whoever_takes_a_story_is_shown_in_its_message_its_thread_and_at_pagerduty(tmp_path: Path) -> None:
    async with started(tmp_path) as (vendors, service, root):
        assert (await press(service.http, service.url, payload(vendors, root, "I take it"))).status_code == 200
        said = await told(vendors)
        assert (said.user, said.by) == (ADA, "response_url")
        assert "Ada Lovelace has it now" in said.text
        await vendors.until(lambda v: "Ada Lovelace" in shown(root))
        await vendors.until(lambda v: any("Ada Lovelace" in shown(one) for one in v.slack_replies("team")))
        await vendors.until(lambda v: v.pagerduty_events("acknowledge"))
        assert "I take over" in elements(root.blocks)
        assert [one[:4] for one in presses(tmp_path)] == [("acknowledge", "Ada Lovelace", "Slack", 1)]


async def test_a_press_of_somebody_who_is_not_named_is_refused_recorded_and_changes_nothing(tmp_path: Path) -> None:
    async with started(tmp_path) as (vendors, service, root):
        before = shown(root)
        assert (
            await press(service.http, service.url, payload(vendors, root, "I take it", user=EVE))
        ).status_code == 200
        said = await told(vendors)
        assert said.user == EVE
        assert "You may not do this" in said.text
        await service.idle()
        assert shown(root) == before
        assert not vendors.pagerduty_events("acknowledge")
        assert [one[:4] for one in presses(tmp_path)] == [("acknowledge", "Eve", "Slack", 0)]


async def test_a_member_of_a_user_group_that_is_named_by_its_handle_may_press(tmp_path: Path) -> None:
    async with started(tmp_path) as (vendors, service, root):
        await press(service.http, service.url, payload(vendors, root, "I take it", user=BOB))
        assert "Bob has it now" in (await told(vendors)).text


async def test_an_address_that_another_companys_workspace_claims_opens_nothing(tmp_path: Path) -> None:
    async with started(tmp_path) as (vendors, service, root):
        vendors.sandbox.slack_more.add_person("U0MALLORY1", "Ada Lovelace", "ada@example.com", team="T0OTHERS01")
        await press(service.http, service.url, payload(vendors, root, "I take it", user="U0MALLORY1"))
        assert "You may not do this" in (await told(vendors)).text


async def test_without_the_scope_to_read_people_the_refusal_says_so(tmp_path: Path) -> None:
    async with started(tmp_path) as (vendors, service, root):
        vendors.fail("slack", faults.slack_error("missing_scope"), on="users.info", always=True)
        await press(service.http, service.url, payload(vendors, root, "I take it"))
        assert "e-mail address could not be read (missing_scope)" in (await told(vendors)).text


async def test_a_person_is_answered_by_name_where_the_address_of_the_press_is_of_no_use(tmp_path: Path) -> None:
    async with started(tmp_path) as (vendors, service, root):
        await press(service.http, service.url, payload(vendors, root, "I take it", hooks=False))
        said = await told(vendors)
        assert (said.user, said.by) == (ADA, "chat.postEphemeral")


async def test_a_story_that_is_not_ours_goes_to_whom_a_person_chooses(tmp_path: Path) -> None:
    async with started(tmp_path) as (vendors, service, root):
        await press(service.http, service.url, payload(vendors, root, "Not ours"))
        question = await told(vendors)
        chosen = payload(vendors, root, "Receiver", "network", blocks=question.blocks)
        await press(service.http, service.url, chosen)
        await vendors.until(lambda v: v.slack_roots("network"))
        assert "network" in (await told(vendors, 2)).text
        await service.idle()
        assert "Not ours" not in elements(root.blocks)
        assert presses(tmp_path)[-1][:4] == ("move", "Ada Lovelace", "Slack", 1)


async def test_a_story_is_silenced_in_alertmanager_under_the_persons_name(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, AlertmanagerApi().running() as main:
        top = f"{WEB}alertmanagers: [{{name: main, url: '{main.url}'}}]\n"
        async with running(prepared(vendors, tmp_path, top), vendors) as service:
            await service.send(body(plan(1)), "/webhook/main")
            await vendors.until(lambda v: v.slack_roots("team"))
            await service.idle()
            (root,) = vendors.slack_roots("team")
            await press(service.http, service.url, payload(vendors, root, "Silence", "Silence 4 h"))
            assert "Silenced for 4 h by Ada Lovelace" in (await told(vendors)).text
            (silence,) = main.silences
            assert silence["createdBy"] == "Ada Lovelace"
            assert {one["name"] for one in silence["matchers"]} == {"alertname", "plan"}
            await vendors.until(lambda v: any("ilenced for 4 h" in shown(one) for one in v.slack_replies("team")))
            assert presses(tmp_path)[-1][:4] == ("silence", "Ada Lovelace", "Slack", 1)


async def test_the_same_press_sent_twice_counts_once(tmp_path: Path) -> None:
    async with started(tmp_path) as (vendors, service, root):
        content = payload(vendors, root, "I take it")
        for _ in range(3):
            assert (await press(service.http, service.url, content)).status_code == 200
        await told(vendors)
        await press(service.http, service.url, payload(vendors, root, "I take it", user=EVE))
        await told(vendors, 2)
        assert [one[1] for one in presses(tmp_path)] == ["Ada Lovelace", "Eve"]


async def test_slack_is_answered_at_once_though_looking_a_person_up_hangs(tmp_path: Path) -> None:
    async with started(tmp_path) as (vendors, service, root):
        vendors.fail("slack", faults.slow(0.6), on="users.info")
        assert (await press(service.http, service.url, payload(vendors, root, "I take it"))).status_code == 200
        asked = vendors.seen("slack", "users.info")
        assert not [one for one in asked if one.ended_at], "the answer waited for the look-up"
        assert "has it now" in (await told(vendors)).text


async def test_without_a_signing_secret_there_are_links_only_and_nothing_is_taken(tmp_path: Path) -> None:
    top = f"{TOP}\n{ALLOW}\n"
    async with started(tmp_path, top=top) as (_, service, root):
        assert not [block for block in root.blocks if block["type"] == "actions"]
        response = await service.http.post(f"{service.url}/slack/interactive", content=b"payload=%7B%7D")
        assert response.status_code == 404


async def test_buttons_go_when_the_story_is_over(tmp_path: Path) -> None:
    async with started(tmp_path) as (vendors, service, root):
        old = payload(vendors, root, "I take it")
        await service.post(plan(1, "resolved"))
        await vendors.until(lambda v: not elements(root.blocks))
        await press(service.http, service.url, old)
        assert "This story is over" in (await told(vendors)).text


@pytest.mark.parametrize(("button", "action"), [("I take it", "acknowledge"), ("Not ours", "move")])
async def test_a_press_under_a_message_whose_story_is_not_here_is_answered_and_recorded(
    button: str, action: str, tmp_path: Path
) -> None:
    async with started(tmp_path) as (vendors, service, root):
        content = payload(vendors, root, button)
        content["actions"][0]["value"] = "01K9ZQ4T7MABCDEFGHJKMNPQRS 0b8f6a2e-1111-4222-8333-944455556666"
        await press(service.http, service.url, content)
        assert "There is no such story" in (await told(vendors)).text
        assert presses(tmp_path) == [
            (action, "Ada Lovelace", "Slack", 0, "There is no such story; it may be forgotten by now.")
        ]
        address = f"{service.url}/api/v1/stories/01K9ZQ4T7MABCDEFGHJKMNPQRS"
        assert (await service.http.get(address)).status_code == 404


async def test_a_press_under_a_test_is_done_and_recorded_like_every_other(tmp_path: Path) -> None:
    async with started(tmp_path) as (vendors, service, _):
        env = {
            "MTV_RECEIVER_CONFIG": str(tmp_path / "routes.yaml"),
            "MTV_RECEIVER_DATABASE_URL": database_of(tmp_path),
        }
        result = await asyncio.to_thread(CliRunner().invoke, app, ["send-test", "platform", "--keep"], env=env)
        assert result.exit_code == 0, result.output
        (test,) = [one for one in vendors.slack_roots("team") if "[TEST]" in one.text]
        await press(service.http, service.url, payload(vendors, test, "I take it"))
        assert "Ada Lovelace has it now" in (await told(vendors)).text
        await vendors.until(lambda v: "Ada Lovelace" in shown(test))
        assert [one[:4] for one in presses(tmp_path)] == [("acknowledge", "Ada Lovelace", "Slack", 1)]


# --- Socket Mode ---


async def connected(service: Running, value: str) -> None:
    """Await that the metric says so."""
    line = f'mtv_receiver_slack_socket_connected{{destination="platform/slack"}} {value}'
    async with asyncio.timeout(20):
        while line not in (await service.http.get(f"{service.url}/metrics")).text.splitlines():
            await asyncio.sleep(0.02)


async def test_a_metric_says_whether_the_connection_stands(tmp_path: Path) -> None:
    top = f"{TOP}\n{ALLOW}\n"
    async with FakeVendors() as vendors, SocketServer().running(vendors) as socket:
        socket.says_hello = False
        async with running(prepared(vendors, tmp_path, top, SOCKET), vendors) as service:
            first = await socket.until_open(1)
            await connected(service, "0.0")
            socket.says_hello = True
            first.transport.abort()
            await connected(service, "1.0")
            assert (await service.http.get(f"{service.url}/metrics")).text.count("slack_socket_connected{") == 1
            vendors.fail("slack", faults.slack_error("invalid_auth"), on="apps.connections.open", always=True)
            (await socket.until_open(2)).transport.abort()
            await connected(service, "0.0")


async def test_presses_come_through_the_socket_acknowledged_over_one_connection_for_all_channels(
    tmp_path: Path,
) -> None:
    top = f"{TOP}\n{ALLOW}\n"
    async with FakeVendors() as vendors, SocketServer().running(vendors) as socket:
        async with running(prepared(vendors, tmp_path, top, SOCKET), vendors) as service:
            root = await failed_story(vendors, service)
            await socket.until_open(1)
            number = await socket.send(payload(vendors, root, "I take it"))
            await socket.until_acknowledged(number)
            assert "Ada Lovelace has it now" in (await told(vendors)).text
            await vendors.until(lambda v: "Ada Lovelace" in shown(root))
            assert len(socket.connections) == 1, "two channels, one app, one connection"
            assert {one.headers["authorization"] for one in vendors.seen("slack", "apps.connections.open")} == {
                "Bearer xapp-planted"
            }
        assert not socket.open, "the service ends its connection"
        assert not [one for one in vendors.requests if b"xapp-planted" in one.raw + one.query.encode()]


async def test_a_connection_that_slack_replaces_loses_no_press(tmp_path: Path) -> None:
    top = f"{TOP}\n{ALLOW}\n"
    async with (
        FakeVendors() as vendors,
        SocketServer().running(vendors) as socket,
        running(prepared(vendors, tmp_path, top, SOCKET), vendors) as service,
    ):
        root = await failed_story(vendors, service)
        first = await socket.until_open(1)
        await first.send(json.dumps({"type": "disconnect", "reason": "refresh_requested"}))
        await socket.until_open(2)
        number = await socket.send(payload(vendors, root, "I take it"), to=first)
        await socket.until_acknowledged(number)
        await told(vendors)
        await first.close()
        number = await socket.send(payload(vendors, root, "I take it", user=EVE))
        await socket.until_acknowledged(number)
        await told(vendors, 2)
        assert [one[1] for one in presses(tmp_path)] == ["Ada Lovelace", "Eve"]
