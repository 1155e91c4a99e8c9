"""The life of a message at a Slack that others wrote: the emulator of npm package `emulate`, version 0.12.2.

It knows channels, threads, metadata, files and scopes, and refuses in Slack's own words. What it does not do is tested
with the vendor's types (`test_vendor_schemas`) and our own stand-in: it looks at no block and no length, does nothing
with `oldest` and `client_msg_id`, takes any token that it does not know and a reply below a deleted root, limits no
rate, and knows a channel by its id or bare name, where Slack also takes `#name`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from receiver.destinations import Sender
from receiver.destinations.slack import SlackSender
from receiver.errors import DestinationRefused, Gone
from receiver.model import Change, StoryState, Wanted
from tests.contract.examples import deliver, moved, sender
from tests.contract.forge_making import again, ended, logs
from tests.contract.peers import emulate

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

TOKEN = "xoxb-planted-peer-token"
READ_ONLY = "xoxb-planted-reader"
LOOKER = "xoxb-planted-looker"
"""Of the tests' own look at the place: it may read files, which our app need not."""
SEED = f"""
slack:
  team: {{name: Acme, domain: acme}}
  strict_scopes: true
  users: [{{name: mtv}}]
  channels: [{{name: payments}}, {{name: network}}]
  tokens:
    - {{token: {TOKEN}, user: mtv, scopes: [chat:write, channels:history, channels:read, groups:read, files:write]}}
    - {{token: {LOOKER}, user: mtv, scopes: [chat:write, channels:history, channels:read, groups:read, files:read]}}
    - {{token: {READ_ONLY}, user: mtv, scopes: [channels:history, channels:read, groups:read]}}
"""


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of an emulator with two channels, where a token may do what its scopes say."""
    with emulate("slack", SEED, tmp_path_factory.mktemp("peer")) as url:
        yield url


@dataclass(slots=True)
class Workspace:
    """Builds senders for the peer, and looks at it as another member would."""

    url: str
    folder: Path
    clients: list[httpx2.AsyncClient] = field(default_factory=list)

    def __call__(self, channel: str, token: str = TOKEN) -> SlackSender:
        raw = {"channel": channel, "app_token_file": token, "app_url": f"{self.url}/api/"}
        made = sender("slack", raw, self.folder, clients=self.clients)
        assert isinstance(made, SlackSender)
        return made

    async def call(self, method: str, **args: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {LOOKER}"}
        # A form, in a body: the peer reads neither a query nor a GET.
        answer = await self.clients[0].post(f"{self.url}/api/{method}", data=args, headers=headers)
        found: dict[str, Any] = answer.raise_for_status().json()
        assert found["ok"], (method, found)
        return found

    async def channel(self, name: str) -> str:
        channels = (await self.call("conversations.list"))["channels"]
        return str(next(each["id"] for each in channels if each["name"] == name))

    async def roots(self, channel: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.call("conversations.history", channel=channel))["messages"]
        return found

    async def thread(self, root: Any) -> list[dict[str, Any]]:
        """Return the replies, oldest first."""
        found = (await self.call("conversations.replies", channel=root["channel"], ts=root["ts"]))["messages"]
        return [each for each in found if each["ts"] != root["ts"]]


@pytest.fixture
async def workspace(peer: str, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Workspace]:
    del anyio_backend
    made = Workspace(peer, tmp_path)
    yield made
    for client in made.clients:
        await client.aclose()


def failed_now(count: int = 0) -> Wanted:
    """Return a failure of this moment, with this many kept logs: the peer dates messages by its own clock."""
    state, now = logs(count), datetime.now(UTC)
    return replace(state, story=replace(state.story, opened=now, updated=now))


async def test_a_story_lives_at_a_slack_that_others_wrote(workspace: Workspace) -> None:
    slack = workspace("payments")
    await slack.probe()
    assert await slack.shortcomings() == ()
    payments = await workspace.channel("payments")
    state = failed_now(2)

    steps, told = await deliver(slack, state)
    assert steps == ["create", "file", "file"]
    assert told.root is not None
    (root,) = await workspace.roots(payments)
    assert (told.root["channel"], told.root["ts"]) == (payments, root["ts"]), "the id, although a name was configured"
    assert "pay-w17-03" in root["text"]
    assert root["metadata"]["event_payload"]["story"] == state.story.id
    files = [file for message in await workspace.thread(told.root) for file in message["files"]]
    assert [file["id"] for file in files] == list(told.root["files"].values())
    read = await workspace.clients[0].get(
        files[0]["url_private_download"], headers={"Authorization": f"Bearer {LOOKER}"}
    )
    assert "could not read key" in read.text
    assert len(read.content) == files[0]["size"]

    steps, told = await deliver(slack, moved(told, Change.RERUN, key="rerun-1", state=StoryState.RERUNNING))
    assert steps == ["update", "reply"]
    failing = moved(told, Change.FAILED_AGAIN, key="again-1", state=StoryState.FIRING)
    steps, told = await deliver(slack, failing)
    assert steps == ["update", "reply"]
    steps, told = await deliver(slack, ended(told))
    assert steps == ["update", "reply"]
    (over,) = [each for each in await workspace.roots(payments) if each["ts"] == root["ts"]]
    assert over["text"] != root["text"]
    assert over["blocks"] != root["blocks"]
    steps, told = await deliver(slack, again(told))
    assert steps == ["update", "reply"]

    (now,) = [each for each in await workspace.roots(payments) if not each.get("thread_ts")]
    assert (now["ts"], now["metadata"]) == (root["ts"], root["metadata"]), "edited in place; our mark stays"
    assert now["edited"]
    replies = [each for each in await workspace.thread(told.root or {}) if not each.get("files")]
    parts = [each["metadata"]["event_payload"]["part"].split()[0] for each in replies]
    assert parts == ["rerun-1", "again-1", "resolved", "reopened-1"]
    assert [bool(each.get("reply_broadcast")) for each in replies] == [False, True, False, True]
    assert await deliver(slack, told) == ([], told), "an equal story costs nothing"


async def test_after_lost_answers_message_reply_and_file_are_found_by_our_marks(workspace: Workspace) -> None:
    slack = workspace("network")
    state = failed_now(1)
    create = slack.plan(state)
    assert create is not None
    assert await slack.find(create, state) is None, "nothing was sent"

    sent = await slack.send(create, state)
    await deliver(slack, failed_now_other(state))  # another story's message is newer, and is not ours
    found = await slack.find(create, state)
    assert found is not None
    assert (found["ts"], found["channel"]) == (sent["ts"], sent["channel"])
    assert found["hash"] == "", "what it shows is not known"

    held = moved(replace(state, root=sent), Change.RERUN, key="rerun-1", state=StoryState.RERUNNING)
    held = replace(held, root={**sent, "hash": hash_of(slack, held)})
    reply = slack.plan(held)
    assert reply is not None
    assert reply.op == "reply"
    assert await slack.find(reply, held) is None
    said = await slack.send(reply, held)
    assert (await slack.find(reply, held) or {}).get("ts") == said["ts"]

    silent = replace(held, entries=())
    file = slack.plan(silent)
    assert file is not None
    assert file.op == "file"
    assert await slack.find(file, silent) is None
    uploaded = await slack.send(file, silent)
    assert await slack.find(file, silent) == uploaded


def failed_now_other(state: Wanted) -> Wanted:
    """Return another story of the same moment."""
    other = replace(state.story, id="01K9ZQ4T7MABCDEFGHJKMNPQRT")
    return replace(state, story=other, keys=replace(state.keys, client_id="6a1cbb1e-9d5c-4f53-8f4a-54ac1e6a1b3d"))


def hash_of(slack: Sender, state: Wanted) -> str:
    step = slack.plan(state)
    assert step is not None
    assert step.op == "update"
    return step.hash


async def test_what_slack_refuses_has_the_verdict_that_its_word_deserves(workspace: Workspace) -> None:
    state = failed_now()

    async def refused(slack: Sender, now: Wanted = state) -> None:
        step = slack.plan(now)
        assert step is not None
        await slack.send(step, now)

    with pytest.raises(DestinationRefused, match="channel_not_found"):
        await refused(workspace("not-there"))
    with pytest.raises(DestinationRefused, match=r"missing scope chat:write"):
        await refused(workspace("payments", READ_ONLY))

    slack = workspace("payments")
    lacking = await workspace("not-there").shortcomings()
    assert [each for each in lacking if "not-there" in each]
    _, told = await deliver(slack, state)
    assert told.root is not None
    await workspace.call("chat.delete", channel=told.root["channel"], ts=told.root["ts"])
    with pytest.raises(Gone, match="message_not_found"):
        await refused(slack, ended(told))
