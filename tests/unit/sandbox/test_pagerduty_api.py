from __future__ import annotations

from typing import Any

import httpx2
import pytest

from receiver.sandbox import Sandbox

pytestmark = pytest.mark.anyio

KEY = "R0UTINGKEY0000000000000000000000"


def event(action: str = "trigger", **changes: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"routing_key": KEY, "event_action": action, "dedup_key": "plan/1"}
    if action == "trigger":
        body["payload"] = {"summary": "VM down", "source": "ocp-prod-2", "severity": "critical"}
    return body | changes


async def send(client: httpx2.AsyncClient, body: Any) -> httpx2.Response:
    return await client.post("/pagerduty/v2/enqueue", json=body)


async def test_a_trigger_opens_one_incident_and_the_next_joins_it(client: httpx2.AsyncClient, sandbox: Sandbox) -> None:
    first = await send(client, event())
    assert first.status_code == 202
    assert first.json() == {"status": "success", "message": "Event processed", "dedup_key": "plan/1"}
    await send(client, event(payload={"summary": "VM still down", "source": "x", "severity": "critical"}))
    [incident] = sandbox.pagerduty.incidents
    assert incident.title == "VM down"
    assert incident.payload["summary"] == "VM still down"
    assert [each.effect for each in sandbox.pagerduty.events] == ["opened", "appended"]


async def test_a_trigger_after_a_resolve_opens_a_new_incident(client: httpx2.AsyncClient, sandbox: Sandbox) -> None:
    for action in ("trigger", "resolve", "trigger"):
        assert (await send(client, event(action))).status_code == 202
    assert [each.state for each in sandbox.pagerduty.incidents] == ["resolved", "triggered"]


async def test_a_resolve_of_an_unknown_key_is_accepted_and_dropped(
    client: httpx2.AsyncClient, sandbox: Sandbox
) -> None:
    assert (await send(client, event("resolve"))).status_code == 202
    assert sandbox.pagerduty.incidents == []
    assert [each.effect for each in sandbox.pagerduty.events] == ["dropped"]


async def test_equal_dedup_keys_of_two_services_are_two_incidents(client: httpx2.AsyncClient, sandbox: Sandbox) -> None:
    await send(client, event())
    await send(client, event(routing_key="S" * 32))
    await send(client, event("resolve"))
    assert [each.open for each in sandbox.pagerduty.incidents] == [False, True]


PAYLOAD = {"summary": "s", "source": "s", "severity": "critical"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (event(routing_key=None), "'routing_key' is missing"),
        (event(routing_key="short"), "should be 32 characters"),
        (event("escalate"), "'event_action'"),
        (event(payload=None), "'payload' is missing"),
        (event(payload={**PAYLOAD, "summary": ""}), "'payload.summary' is missing"),
        (event(payload={**PAYLOAD, "source": None}), "'payload.source' is missing"),
        (event(payload={**PAYLOAD, "severity": "high"}), "'payload.severity' is invalid"),
        (event(payload={**PAYLOAD, "summary": "x" * 1_025}), "maximum is 1024"),
        (event(payload={**PAYLOAD, "custom_details": "text"}), "custom_details"),
        (event(dedup_key="x" * 256), "maximum is 255"),
        (event("resolve", dedup_key=None), "'dedup_key' is missing"),
        (event(links=[{"text": "no href"}]), "'links'"),
        (event(payload={**PAYLOAD, "custom_details": {"log": "x" * 512_000}}), "no larger than"),
        (["no object"], "JSON object expected"),
    ],
)
async def test_an_invalid_event_is_answered_400_with_the_reason(
    client: httpx2.AsyncClient, sandbox: Sandbox, body: Any, says: str
) -> None:
    response = await send(client, body)
    assert response.status_code == 400
    assert any(says in each for each in response.json()["errors"])
    assert sandbox.pagerduty.events == []


async def test_the_longest_summary_and_key_are_accepted(client: httpx2.AsyncClient) -> None:
    body = event(dedup_key="k" * 255, payload={**PAYLOAD, "summary": "x" * 1_024})
    assert (await send(client, body)).status_code == 202
