"""Slack's buttons, mentions and broadcasts: within Slack's limits, there where they are of use, never a cluster's."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from slack_sdk.models.blocks import Block as SlackBlock

from receiver.destinations import Sender, Step
from receiver.destinations.slack_buttons import MAX_OPTIONS, Action, Press, choice, mark_of, parse
from receiver.model import Ack, Change, Identity, Link, StoryState, Wanted
from receiver.rendering import Message
from receiver.sandbox.blocks import check_blocks
from tests.contract.examples import FIXED, OPENED, TOKEN, FixedRenderer, deliver, moved, sender, story, wanted
from tests.contract.test_sender_bodies import HOSTILE, HOSTILE_MESSAGE, hostile_story
from tests.fakes import faults
from tests.fakes.slack_presses import elements, payload
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

GROUP = "S0ONCALL01"


@pytest.fixture
async def vendors() -> AsyncIterator[FakeVendors]:
    async with FakeVendors() as started:
        started.sandbox.slack_more.add_group(GROUP, "oncall")
        yield started


Chat = Callable[..., Any]


@pytest.fixture
async def chat(tmp_path: Path) -> AsyncIterator[Chat]:
    """Give what makes senders of one channel; their clients are closed at the end."""
    clients: list[httpx2.AsyncClient] = []

    def make(
        vendors: FakeVendors | None = None, *, interactive: bool = True, texts: Any = None, **settings: Any
    ) -> Any:
        given = {"channel": "#payments", "app_token_file": TOKEN, **settings}
        if vendors is not None:
            given["app_url"] = vendors.slack_url
        return sender("slack", given, tmp_path, clients=clients, texts=texts, interactive=interactive)

    yield make
    for client in clients:
        await client.aclose()


def blocks_of(step: Step | None) -> list[dict[str, Any]]:
    assert step is not None
    found: list[dict[str, Any]] = step.body["blocks"]
    return found


def pressable(one: Sender, state: Wanted) -> Mapping[str, Any]:
    return elements(blocks_of(one.plan(state)))


# --- buttons ---


async def test_an_open_story_offers_what_people_can_do_and_its_links_as_buttons(chat: Chat) -> None:
    found = pressable(chat(), wanted())
    assert list(found) == ["I take it", "Silence", "Not ours", "Details", "Runbook"]
    assert [one["text"]["text"] for one in found["Silence"]["options"]] == [
        "Silence 1 h",
        "Silence 4 h",
        "Silence 24 h",
    ]
    assert found["Runbook"]["url"] == "https://runbooks.example.com/bitlocker"
    assert "runbooks.example.com" not in json.dumps(blocks_of(chat().plan(wanted()))[:-1])


async def test_without_a_way_back_to_us_the_message_is_as_it_always_was(chat: Chat) -> None:
    plain = blocks_of(chat(interactive=False).plan(wanted()))
    assert not elements(plain)
    assert "<https://runbooks.example.com/bitlocker|Runbook>" in json.dumps(plain)


async def test_an_app_level_token_is_a_way_back_to_us(chat: Chat) -> None:
    assert pressable(chat(interactive=False, socket_token_file="xapp-1"), wanted())


async def test_who_has_it_may_be_relieved_who_gave_it_away_offers_nothing_more_and_what_is_over_no_button(
    chat: Chat,
) -> None:
    one = chat()
    taken = story(ack=Ack("Ada", "Slack", OPENED))
    assert "I take over" in pressable(one, wanted(taken))
    assert "Not ours" not in pressable(one, wanted(moved="network by Ada (Slack)"))
    assert not pressable(one, moved(wanted(), Change.RESOLVED, **FIXED))


async def test_a_storm_can_be_taken_but_is_no_single_alert_to_silence_or_to_hand_on(chat: Chat) -> None:
    message = Message("push", "Storm", "🔴", "#d00000", (), (Link("Details", "https://mtv.example.com/x"),))
    found = pressable(chat(texts=FixedRenderer(message)), wanted(story(kind="digest")))
    assert list(found) == ["I take it", "Details"]


@pytest.mark.parametrize("message", [None, HOSTILE_MESSAGE], ids=["rendered", "all that Slack takes"])
@pytest.mark.parametrize("mention", ["", "@oncall", GROUP])
async def test_buttons_and_mention_keep_slacks_limits_under_hostile_texts(
    chat: Chat, message: Message | None, mention: str
) -> None:
    texts = FixedRenderer(message) if message is not None else None
    step = chat(mention=mention, texts=texts).plan(hostile_story())
    blocks = blocks_of(step)
    check_blocks(blocks)
    again = [each.to_dict() for each in SlackBlock.parse_all(blocks)]
    assert len(again) == len(blocks) <= 50
    assert blocks[-1]["type"] == "actions"
    assert len(json.dumps(blocks, ensure_ascii=False)) <= 12_000
    mentions = [GROUP in json.dumps(block) for block in blocks]
    assert sum(mentions) == (mention == GROUP)
    assert "<!channel" not in json.dumps(blocks[1:]), "the header is plain text"


async def test_what_a_button_says_is_what_a_press_is_read_as(chat: Chat, vendors: FakeVendors) -> None:
    one, state = chat(vendors), wanted()
    step = one.plan(state)
    await one.send(step, state)
    (root,) = vendors.slack_roots()
    taken = parse(payload(vendors, root, "I take it"))
    silenced = parse(payload(vendors, root, "Silence", "Silence 4 h"))
    given = parse(payload(vendors, root, "Not ours"))
    assert taken
    assert silenced
    assert given
    assert (taken.action, taken.story, taken.client_id) == (Action.TAKE, state.story.id, state.keys.client_id)
    assert (silenced.action, silenced.hours) == (Action.SILENCE, 4)
    assert given.action is Action.NOT_OURS
    assert parse(payload(vendors, root, "Details")) is None, "a link button needs nothing but an answer"


async def test_the_choice_of_receivers_keeps_the_limits_whatever_their_names() -> None:
    press = Press(Action.NOT_OURS, story().id, wanted().keys.client_id, "U0ADA00001", "Ada", "C0123456789", "", "", "1")
    names = [HOSTILE, "", " ", "network", *(f"team-{at} " + "x" * 200 for at in range(300))]
    blocks = choice(press, names, "To whom does it belong?")
    check_blocks(blocks[:1])
    (select,) = blocks[1]["elements"]
    assert len(select["options"]) == MAX_OPTIONS
    for name, option in zip(names, select["options"], strict=False):
        assert 0 < len(option["text"]["text"]) <= 75
        assert len(option["value"]) <= 150
        chosen = {**_click(select["action_id"]), "selected_option": option}
        found = parse({"type": "block_actions", "user": {"id": "U0ADA00001"}, "actions": [chosen]})
        assert found is not None
        assert (found.action, found.to) == (Action.GIVE, mark_of(name))


def _click(action_id: str) -> dict[str, Any]:
    return {"action_id": action_id, "action_ts": "1.000001"}


# --- mentions ---


@pytest.mark.parametrize(
    ("written", "markup"),
    [
        ("@here", "<!here>"),
        ("S0ONCALL01", "<!subteam^S0ONCALL01>"),
        ("U0ADA00001", "<@U0ADA00001>"),
        ("@oncall", "<!subteam^S0ONCALL01>"),
        ("@nobody", "@nobody"),
    ],
)
async def test_a_failure_calls_whom_the_configuration_names(
    chat: Chat, vendors: FakeVendors, written: str, markup: str
) -> None:
    one, state = chat(vendors, interactive=False, mention=written), wanted()
    await one.send(one.plan(state), state)
    (root,) = vendors.slack_roots()
    assert root.text.endswith(f" {markup}")
    assert root.blocks[-1]["text"]["text"] == markup


async def test_a_group_that_cannot_be_looked_up_costs_the_mention_and_not_the_message(
    chat: Chat, vendors: FakeVendors
) -> None:
    vendors.fail("slack", faults.slack_error("missing_scope"), on="usergroups.list", always=True)
    one, state = chat(vendors, mention="@oncall"), wanted()
    await one.send(one.plan(state), state)
    assert vendors.slack_roots()[0].text.endswith(" @oncall")


@pytest.mark.parametrize("change", [Change.WORSE, Change.FAILED_AGAIN, Change.REOPENED])
async def test_what_gets_worse_is_told_in_the_channel_with_the_mention(
    chat: Chat, vendors: FakeVendors, change: Change
) -> None:
    one = chat(vendors, mention="@oncall")
    _, state = await deliver(one, wanted())
    await deliver(one, moved(state, change, key=change.value, state=StoryState.FIRING))
    (reply,) = vendors.slack_replies()
    assert reply.reply_broadcast
    assert reply.text.endswith(f" <!subteam^{GROUP}>")
    assert reply.blocks[0]["text"]["text"].endswith(f"* <!subteam^{GROUP}>")


@pytest.mark.parametrize("late_s", [0.0, 2_580.0], ids=["in time", "43 minutes late"])
async def test_what_is_fixed_calls_nobody(chat: Chat, vendors: FakeVendors, late_s: float) -> None:
    one, state = chat(vendors, mention=GROUP), wanted()
    if not late_s:
        _, state = await deliver(one, state)
    await deliver(one, replace(moved(state, Change.RESOLVED, key="resolved", **FIXED), late_s=late_s))
    told = [*vendors.slack_roots(), *vendors.slack_replies()]
    assert len(told) == (1 if late_s else 2)
    for message in told:
        assert GROUP not in message.text + json.dumps(message.blocks)
        assert not message.reply_broadcast


async def test_an_entry_that_made_it_worse_calls_nobody_once_the_story_is_over(chat: Chat) -> None:
    one = chat(mention=GROUP)
    worse = moved(wanted(), Change.WORSE, key="worse-3", state=StoryState.FIRING)
    over = replace(
        worse, story=replace(worse.story, **FIXED), root={"ts": "1.0", "channel": "C0123456789", "revision": 1}
    )
    step = one.plan(replace(over, root={**(over.root or {}), "hash": one.plan(over).hash}))
    assert step.op == "reply"
    assert GROUP not in json.dumps(step.body)


async def test_a_name_from_the_cluster_that_looks_like_the_mention_is_left_as_text(
    chat: Chat, vendors: FakeVendors
) -> None:
    one = chat(vendors, mention="@oncall")
    identity = Identity("plan/x", "plan", "c", "x", "ns", "@oncall", "ns", "ns")
    state = moved(wanted(story(identity=identity, title="@oncall")), Change.RESOLVED, **FIXED)
    await one.send(one.plan(state), state)
    assert "subteam" not in json.dumps(vendors.slack_roots()[0].blocks)


# --- what `check --online` says ---


async def test_a_missing_scope_is_named_with_what_it_costs(chat: Chat, vendors: FakeVendors) -> None:
    scopes = "chat:write,channels:history"
    reply = faults.Reply.json(200, {"ok": True}, x_oauth_scopes=scopes)
    vendors.fail("slack", faults.Fault("scopes", "no", reply=reply), on="auth.test", always=True)
    said = " ".join(await chat(vendors, socket_token_file="xapp-1").shortcomings())
    for scope in ("files:write", "users:read.email", "usergroups:read"):
        assert f"missing scope {scope}:" in said
    assert "buttons do not work: apps.connections.open: forbidden_team" in said
    said = " ".join(await chat(vendors, interactive=False).shortcomings())
    assert "files:write" in said
    assert "users:read" not in said
