"""A person at Slack who presses what a message offers: the payload that Slack sends, and its signature."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import httpx2

from receiver.sandbox.slack import Message
from tests.fakes.vendors import FakeVendors

SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
ADA = "U0ADA00001"
_numbers = itertools.count(1)


def elements(blocks: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what can be pressed, by what stands on it."""
    actions = (item for block in blocks if block["type"] == "actions" for item in block["elements"])
    return {(item.get("text") or item.get("placeholder"))["text"]: item for item in actions}


def payload(
    vendors: FakeVendors,
    message: Message,
    text: str,
    option: str = "",
    *,
    user: str = ADA,
    blocks: list[dict[str, Any]] | None = None,
    hooks: bool = True,
) -> dict[str, Any]:
    """Return what Slack sends when `user` presses `text` (and chooses `option`) under a message.

    `blocks` are those of an answer to somebody, instead of the message's own. `hooks` False: no usable response_url.
    """
    item = elements(message.blocks if blocks is None else blocks)[text]
    action: dict[str, Any] = {
        "type": item["type"],
        "action_id": item["action_id"],
        "block_id": "B1",
        "action_ts": f"{time.time():.0f}.{next(_numbers):06}",
    }
    if item["type"] == "static_select":
        action["selected_option"] = next(one for one in item["options"] if one["text"]["text"] == option)
    elif "value" in item:
        action["value"] = item["value"]
    return {
        "type": "block_actions",
        "team": {"id": "T0SANDBOX1", "domain": "sandbox"},
        "user": {"id": user, "username": "somebody", "name": "somebody", "team_id": "T0SANDBOX1"},
        "api_app_id": "A0SANDBOX1",
        "token": "deprecated",
        "container": {"type": "message", "message_ts": message.ts, "channel_id": message.channel},
        "channel": {"id": message.channel, "name": "channel"},
        "message": {"type": "message", "ts": message.ts, "text": message.text, "blocks": message.blocks},
        "trigger_id": "1.2.3",
        "response_url": f"{vendors.base_url}/slack/actions/{user}" if hooks else "https://hooks.slack.invalid/x",
        "actions": [action],
    }


def signed(body: bytes, *, secret: str = SIGNING_SECRET, at: float | None = None) -> dict[str, str]:
    """Return the headers with which Slack sends a body."""
    stamp = str(int(time.time() if at is None else at))
    digest = hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": f"v0={digest}",
    }


def form(content: Mapping[str, Any]) -> bytes:
    """Return a payload as the form that Slack posts."""
    return urlencode({"payload": json.dumps(content)}).encode()


async def press(http: httpx2.AsyncClient, url: str, content: Mapping[str, Any]) -> httpx2.Response:
    """Post a payload as Slack does."""
    body = form(content)
    return await http.post(f"{url}/slack/interactive", content=body, headers=signed(body))
