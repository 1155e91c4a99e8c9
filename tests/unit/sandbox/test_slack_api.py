from __future__ import annotations

from typing import Any

import httpx2
import pytest

from receiver.sandbox import Sandbox, build_app

pytestmark = pytest.mark.anyio


async def call(client: httpx2.AsyncClient, method: str, **args: Any) -> dict[str, Any]:
    response = await client.post(f"/slack/api/{method}", json=args)
    assert response.status_code == 200
    answer: dict[str, Any] = response.json()
    return answer


def section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def header(text: str, kind: str = "plain_text") -> dict[str, Any]:
    return {"type": "header", "text": {"type": kind, "text": text}}


async def test_a_channel_is_the_same_by_name_with_hash_and_by_id(client: httpx2.AsyncClient, sandbox: Sandbox) -> None:
    first = await call(client, "chat.postMessage", channel="#payments", text="one")
    second = await call(client, "chat.postMessage", channel=first["channel"], text="two")
    third = await call(client, "chat.postMessage", channel="payments", text="three")
    assert first["channel"] == second["channel"] == third["channel"]
    assert first["channel"].startswith("C0")
    assert len(sandbox.slack.channels) == 1


async def test_the_ts_of_messages_in_one_moment_are_unique_and_increase(client: httpx2.AsyncClient) -> None:
    stamps = [(await call(client, "chat.postMessage", channel="#a", text="x"))["ts"] for _ in range(3)]
    assert stamps == sorted(set(stamps))


@pytest.mark.parametrize(
    ("headers", "error"),
    [({}, "not_authed"), ({"Authorization": "Bearer xoxb-revoked"}, "invalid_auth")],
)
async def test_a_missing_and_a_revoked_token_are_refused_with_status_200(
    sandbox: Sandbox, headers: dict[str, str], error: str
) -> None:
    sandbox.slack.revoked.add("xoxb-revoked")
    transport = httpx2.ASGITransport(app=build_app(sandbox))
    async with httpx2.AsyncClient(transport=transport, base_url="http://sandbox", headers=headers) as client:
        assert await call(client, "auth.test") == {"ok": False, "error": error}


async def test_a_channel_that_does_not_exist_is_not_found_when_the_channels_are_listed() -> None:
    sandbox = Sandbox.new(lambda: 1.0, slack_channels=["payments"])
    assert sandbox.slack.call("chat.postMessage", {"channel": "#payments", "text": "x"}, "t")["ok"] is True
    refused = sandbox.slack.call("chat.postMessage", {"channel": "#payment", "text": "x"}, "t")
    assert refused == {"ok": False, "error": "channel_not_found"}


async def test_an_update_changes_in_place_and_keeps_what_it_leaves_out(client: httpx2.AsyncClient) -> None:
    metadata = {"event_type": "story", "event_payload": {"key": "k1"}}
    made = await call(client, "chat.postMessage", channel="#a", text="old", blocks=[section("old")], metadata=metadata)
    changed = await call(client, "chat.update", channel=made["channel"], ts=made["ts"], text="new")
    assert changed["ts"] == made["ts"]
    history = await call(client, "conversations.history", channel=made["channel"], include_all_metadata=True)
    [message] = history["messages"]
    assert message["text"] == "new"
    assert message["blocks"] == [section("old")]
    assert message["metadata"] == metadata
    assert message["edited"]["ts"] > made["ts"]


async def test_empty_metadata_in_an_update_removes_it(client: httpx2.AsyncClient, sandbox: Sandbox) -> None:
    metadata = {"event_type": "story", "event_payload": {"key": "k1"}}
    made = await call(client, "chat.postMessage", channel="#a", text="x", metadata=metadata)
    await call(client, "chat.update", channel=made["channel"], ts=made["ts"], metadata={})
    assert sandbox.slack.channels[made["channel"]].messages[made["ts"]].metadata == {}


async def test_a_deleted_message_cannot_be_updated(client: httpx2.AsyncClient) -> None:
    made = await call(client, "chat.postMessage", channel="#a", text="x")
    await call(client, "chat.delete", channel=made["channel"], ts=made["ts"])
    again = await call(client, "chat.update", channel=made["channel"], ts=made["ts"], text="y")
    assert again == {"ok": False, "error": "message_not_found"}


async def test_replies_stay_out_of_history_unless_broadcast(client: httpx2.AsyncClient) -> None:
    root = await call(client, "chat.postMessage", channel="#a", text="root")
    place = {"channel": root["channel"], "thread_ts": root["ts"]}
    await call(client, "chat.postMessage", text="quiet", **place)
    await call(client, "chat.postMessage", text="loud", reply_broadcast=True, **place)
    history = await call(client, "conversations.history", channel=root["channel"])
    assert [each["text"] for each in history["messages"]] == ["loud", "root"]
    assert history["messages"][0]["subtype"] == "thread_broadcast"
    assert history["messages"][1]["reply_count"] == 2
    replies = await call(client, "conversations.replies", channel=root["channel"], ts=root["ts"])
    assert [each["text"] for each in replies["messages"]] == ["root", "quiet", "loud"]


async def test_a_reply_to_a_reply_is_refused(client: httpx2.AsyncClient) -> None:
    root = await call(client, "chat.postMessage", channel="#a", text="root")
    reply = await call(client, "chat.postMessage", channel="#a", text="r", thread_ts=root["ts"])
    nested = await call(client, "chat.postMessage", channel="#a", text="r", thread_ts=reply["ts"])
    assert nested["error"] == "cannot_reply_to_message"


async def test_a_reply_to_a_deleted_message_becomes_a_message_of_its_own(
    client: httpx2.AsyncClient, sandbox: Sandbox
) -> None:
    root = await call(client, "chat.postMessage", channel="#a", text="root")
    await call(client, "chat.delete", channel=root["channel"], ts=root["ts"])
    reply = await call(client, "chat.postMessage", channel="#a", text="late", thread_ts=root["ts"])
    assert reply["ok"] is True
    assert "thread_ts" not in reply["message"]
    assert [each.text for each in sandbox.slack.channels[root["channel"]].roots()] == ["late"]


async def test_history_shows_metadata_only_when_asked_and_honours_oldest_and_limit(
    client: httpx2.AsyncClient, clock: Any
) -> None:
    metadata = {"event_type": "story", "event_payload": {"key": "k1"}}
    old = await call(client, "chat.postMessage", channel="#a", text="old", metadata=metadata)
    clock.now_s += 60
    await call(client, "chat.postMessage", channel="#a", text="new", metadata=metadata)
    plain = await call(client, "conversations.history", channel=old["channel"], oldest=old["ts"])
    assert [each["text"] for each in plain["messages"]] == ["new"]
    assert "metadata" not in plain["messages"][0]
    form = await client.post(
        "/slack/api/conversations.history",
        data={"channel": old["channel"], "include_all_metadata": "true", "limit": "1"},
    )
    assert [each["metadata"] for each in form.json()["messages"]] == [metadata]
    assert form.json()["has_more"] is True
    rest = await call(
        client, "conversations.history", channel=old["channel"], cursor=form.json()["response_metadata"]["next_cursor"]
    )
    assert [each["text"] for each in rest["messages"]] == ["old"]


@pytest.mark.parametrize(
    ("blocks", "error"),
    [
        ([section("x")] * 51, "invalid_blocks"),
        ([section("")], "invalid_blocks"),
        ([section("x" * 3_001)], "invalid_blocks"),
        ([header("x" * 151)], "invalid_blocks"),
        ([header("x", "mrkdwn")], "invalid_blocks"),
        ([{"type": "carousel"}], "invalid_blocks"),
        ([{"type": "section"}], "invalid_blocks"),
        ([{**section("x"), "block_id": "b"}, {**section("y"), "block_id": "b"}], "invalid_blocks"),
        ([{"type": "context", "elements": []}], "invalid_blocks"),
        ([section("x" * 2_900)] * 5, "msg_blocks_too_long"),
        ("no list", "invalid_blocks_format"),
    ],
)
async def test_blocks_that_slack_refuses_are_refused(client: httpx2.AsyncClient, blocks: Any, error: str) -> None:
    answer = await call(client, "chat.postMessage", channel="#a", text="x", blocks=blocks)
    assert (answer["ok"], answer["error"]) == (False, error)
    assert "json-pointer" in answer["errors"][0]


async def test_the_largest_blocks_that_slack_takes_are_taken(client: httpx2.AsyncClient) -> None:
    blocks = [header("h" * 150), section("s" * 3_000), *[{"type": "divider"}] * 48]
    assert (await call(client, "chat.postMessage", channel="#a", text="x", blocks=blocks))["ok"] is True


async def test_a_message_without_content_and_a_bad_metadata_form_are_refused(client: httpx2.AsyncClient) -> None:
    assert (await call(client, "chat.postMessage", channel="#a"))["error"] == "no_text"
    bad = await call(client, "chat.postMessage", channel="#a", text="x", metadata={"event_type": "Bad Name"})
    assert bad["error"] == "invalid_metadata_format"


async def test_a_too_long_text_is_cut_in_a_post_and_refused_in_an_update(
    client: httpx2.AsyncClient, sandbox: Sandbox
) -> None:
    made = await call(client, "chat.postMessage", channel="#a", text="x" * 40_001)
    assert made["warning"] == "message_truncated"
    assert len(sandbox.slack.channels[made["channel"]].messages[made["ts"]].text) == 40_000
    update = await call(client, "chat.update", channel=made["channel"], ts=made["ts"], text="x" * 4_001)
    assert update["error"] == "msg_too_long"


async def test_a_second_equal_reaction_is_already_there(client: httpx2.AsyncClient) -> None:
    made = await call(client, "chat.postMessage", channel="#a", text="x")
    reaction = {"channel": made["channel"], "timestamp": made["ts"], "name": "eyes"}
    assert (await call(client, "reactions.add", **reaction))["ok"] is True
    assert (await call(client, "reactions.add", **reaction))["error"] == "already_reacted"


async def test_a_permalink_names_channel_and_message(client: httpx2.AsyncClient) -> None:
    made = await call(client, "chat.postMessage", channel="#a", text="x")
    link = await call(client, "chat.getPermalink", channel=made["channel"], message_ts=made["ts"])
    assert link["permalink"].endswith(f"/archives/{made['channel']}/p{made['ts'].replace('.', '')}")
