"""What the tests of destination faults share: short waits, a channel by its id, and what a reader would see."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from receiver.sandbox.slack import Message, channel_id
from tests.acceptance.harness import Running, alert, failed, jira, pagerduty, routes_yaml, slack
from tests.fakes.vendors import FakeVendors, SeenRequest, is_root

CHANNEL = channel_id("team")
"""Slack's history takes ids only."""
QUICK = ", timeout: 1s, lookup_grace: 500ms, retry: {min: 50ms, max: 200ms}"
TOP = """
global: {resolve_delay: 0s, digest_after: 0, confirm_after: 1s}
clusters: []
"""


def all_three(manners: str = QUICK, name: str = "platform") -> str:
    """Return a receiver with one destination of each kind."""
    return f"- name: {name}\n  {slack(CHANNEL, manners)}\n  {pagerduty(manners)}\n  {jira('MIG', manners)}\n"


def with_fallback(team: str, platform: str) -> str:
    """Return a receiver `team`, and `platform` that stands in for it."""
    return f"- name: team\n  fallback: platform\n  {team}\n- name: platform\n  {platform}\n"


def config(
    vendors: FakeVendors,
    folder: Path,
    receivers: str | None = None,
    *,
    top: str = TOP,
    route: str = "{receiver: platform}",
) -> Path:
    """Write a configuration with quick retries; the team's channel exists, so that it can be looked through."""
    vendors.sandbox.slack.channel("team", create=True)
    return routes_yaml(vendors, folder, top=top, receivers=receivers or all_three(), route=route)


def plan(number: int, status: str = "firing", **labels: str) -> dict[str, Any]:
    """Return the alert of one plan of many."""
    return alert(failed(f"00000000-0000-0000-0000-{number:012d}", f"plan-{number:03d}", **labels), status)


def shown(message: Message) -> str:
    """Return all that a message says."""
    return json.dumps([message.text, message.blocks, message.attachments], ensure_ascii=False)


def roots_about(vendors: FakeVendors, name: str) -> list[Message]:
    """Return the messages that speak of a plan."""
    return [one for one in vendors.slack_roots() if name in shown(one)]


async def all_told(service: Running, state: str, count: int, timeout: float = 30.0) -> None:
    """Await so many stories in a state, and that nothing is left to be sent about any."""

    async def look() -> bool:
        if len([one for one in await service.stories() if one["state"] == state]) != count:
            return False
        return not [one for one in await service.deliveries() if one["state"] in ("pending", "retrying")]

    await service.until(look, timeout)


async def until_delivery(service: Running, kind: str, state: str, timeout: float = 10.0) -> Mapping[str, Any]:
    """Await that a delivery of a kind has a state."""

    async def look() -> Mapping[str, Any] | None:
        return next((one for one in await service.deliveries() if (one["kind"], one["state"]) == (kind, state)), None)

    found: Mapping[str, Any] = await service.until(look, timeout)
    return found


def to_channel(channel: str) -> Any:
    """Return a condition on requests: about this channel."""
    return lambda request: isinstance(request.json, dict) and request.json.get("channel") == channel


def client_ids(requests: list[SeenRequest]) -> set[str]:
    """Return the client ids under which messages of their own were posted."""
    return {one.json["metadata"]["event_payload"]["client_id"] for one in requests if is_root(one)}


def overlapping(requests: list[SeenRequest]) -> int:
    """Return how many of these requests were open at once, at most."""
    moments = [(one.at, 1) for one in requests] + [(one.ended_at or float("inf"), -1) for one in requests]
    most = now = 0
    for _, step in sorted(moments):
        now += step
        most = max(most, now)
    return most
