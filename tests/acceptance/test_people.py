"""What people do with a story, through the whole service: seen at every destination, wherever they did it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from receiver.sandbox.pagerduty import Incident
from tests.acceptance.harness import (
    PLAN_UID,
    Running,
    alert,
    failed,
    jira,
    pagerduty,
    routes_yaml,
    running,
    slack,
)
from tests.acceptance.plans import cluster, plan, top, watched
from tests.contract.vendor_schemas import check_pagerduty
from tests.fakes.alertmanager import AlertmanagerApi
from tests.fakes.pagerduty_people import SECRET, TOKEN, signed, webhook
from tests.fakes.vendors import FakeVendors, SeenRequest

pytestmark = pytest.mark.anyio

HOOK = "/pagerduty/webhook"
TOP = """
global: {resolve_delay: 200ms, confirm_after: 1h, evidence_wait: 100ms, evidence_timeout: 1s}
clusters: []
web: {pagerduty_signing_secret_file: signing-secret}
"""
TEAMS = f"""
- name: platform
  {slack("#platform")}
  {pagerduty()}
  {jira()}
- name: network
  {slack("#network")}
"""


def configured(vendors: FakeVendors, folder: Path, top: str = TOP, receivers: str = TEAMS) -> Path:
    (folder / "signing-secret").write_text(SECRET)
    (folder / "rest-token").write_text(TOKEN)
    return routes_yaml(vendors, folder, top=top, receivers=receivers.replace("$REST", vendors.pagerduty_rest_url))


async def told(service: Running) -> dict[str, Any]:
    """Let a plan fail and everybody be told; return the story."""
    await service.post(alert(failed()))
    await service.vendors.until(lambda v: v.slack_roots() and v.incidents() and v.jira_issues())
    await service.idle()
    (story,) = await service.stories()
    return story


async def does(service: Running, story: dict[str, Any], action: str, status: int = 200, **body: Any) -> str:
    """Do something over the API and return what is said about it."""
    response = await service.http.post(f"{service.url}/api/v1/stories/{story['id']}/{action}", json=body)
    assert response.status_code == status, response.text
    answer = response.json()
    return str(answer.get("text", answer.get("error")))


async def hears(service: Running, sent: tuple[dict[str, str], bytes], status: int = 200) -> bool | None:
    """Let PagerDuty's webhook arrive; return whether it was news."""
    headers, raw = sent
    response = await service.http.post(service.url + HOOK, content=raw, headers=headers)
    assert response.status_code == status, response.text
    taken: bool | None = response.json().get("taken")
    return taken


def shown(vendors: FakeVendors, channel: str = "#platform") -> str:
    """Return everything that a channel's only root says now."""
    (root,) = vendors.slack_roots(channel)
    return json.dumps([root.text, root.blocks, root.attachments], ensure_ascii=False)


def incident(vendors: FakeVendors) -> Incident:
    return vendors.incidents()[-1]


def valid_event(request: SeenRequest) -> bool:
    """Check a body against what PagerDuty describes."""
    check_pagerduty(request.json)
    return True


# --- taken ---


async def test_taken_over_the_api_is_seen_in_slack_in_the_ticket_and_in_pagerduty(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, running(configured(vendors, tmp_path), vendors) as service:
        story = await told(service)
        assert await does(service, story, "acknowledge", by="Ana Costa", note="on it") == "Ana Costa has it now."
        (last,) = (await service.stories())[0]["timeline"][-1:]
        assert last["text"] == "acknowledged by Ana Costa through the API: on it"
        await vendors.until(lambda v: "Taken by Ana Costa, " in shown(v))
        await vendors.until(lambda v: incident(v).state == "acknowledged")
        (sent,) = vendors.seen("pagerduty", "acknowledge")
        assert valid_event(sent)
        assert sent.json["dedup_key"] == incident(vendors).dedup_key
        await service.idle()
        assert "Taken by Ana Costa, " in json.dumps(vendors.jira_issues()[0].fields, ensure_ascii=False)
        (story,) = await service.stories()
        assert (story["ack"]["by"], story["ack"]["via"]) == ("Ana Costa", "API")
        assert not vendors.jira_comments()  # nobody is woken by it
        asked = await service.http.get(f"{service.url}/api/v1/stories/{story['id']}/presses")
        (press,) = asked.json()["items"]
        assert (press["by"], press["via"], press["action"], press["done"]) == ("Ana Costa", "API", "acknowledge", True)
        before = len(vendors.requests)
        await does(service, story, "acknowledge", by="Ana Costa")
        await service.post(alert(failed()))
        await service.idle()
        assert len(vendors.requests) == before, "what is known already costs no request"


async def test_taken_in_pagerduty_is_seen_everywhere_and_not_sent_back(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, running(configured(vendors, tmp_path), vendors) as service:
        await told(service)
        assert await hears(service, vendors.responders.acknowledge(incident(vendors), "Ana Costa")) is True
        await vendors.until(lambda v: "Taken by Ana Costa, " in shown(v))
        assert "(PagerDuty)" in shown(vendors)
        await service.idle()
        assert not vendors.seen("pagerduty", "acknowledge")
        (story,) = await service.stories()
        assert (story["ack"]["by"], story["ack"]["via"]) == ("Ana Costa", "PagerDuty")
        assert await hears(service, vendors.responders.unacknowledge(incident(vendors))) is True
        await vendors.until(lambda v: "Taken by" not in shown(v))
        assert (await service.stories())[0]["ack"] is None


async def test_our_own_acknowledgement_that_pagerduty_tells_back_is_nobodys(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, running(configured(vendors, tmp_path), vendors) as service:
        story = await told(service)
        await does(service, story, "acknowledge", by="Ana Costa")
        await vendors.until(lambda v: incident(v).state == "acknowledged")
        assert await hears(service, vendors.responders.acknowledge(incident(vendors), "")) is False
        assert (await service.stories())[0]["ack"]["by"] == "Ana Costa"


@pytest.mark.parametrize(
    ("what", "sign", "status"),
    [
        ("the right secret", (SECRET,), 200),
        ("the old and the new secret, while it is replaced", ("old", SECRET), 200),
        ("another secret", ("other",), 401),
    ],
)
async def test_only_what_pagerduty_signed_is_believed(
    tmp_path: Path, what: str, sign: tuple[str, ...], status: int
) -> None:
    async with FakeVendors() as vendors, running(configured(vendors, tmp_path), vendors) as service:
        await told(service)
        now = datetime.now(UTC).timestamp()
        body = webhook("incident.acknowledged", incident(vendors).dedup_key, "Eve", now)
        await hears(service, signed(body, *sign), status)
        assert ((await service.stories())[0]["ack"] is not None) is (status == 200), what


async def test_what_is_old_late_or_about_something_else_changes_nothing(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, running(configured(vendors, tmp_path), vendors) as service:
        await told(service)
        key, now = incident(vendors).dedup_key, datetime.now(UTC).timestamp()
        acknowledged = "incident.acknowledged"
        assert await hears(service, signed(webhook(acknowledged, key, "Ana", now - 50 * 3600))) is False
        assert await hears(service, signed(webhook(acknowledged, key, "Ana", now - 3600))) is False  # before it failed
        assert await hears(service, signed(webhook(acknowledged, "another-tool", "Ana", now))) is False
        assert await hears(service, signed(webhook(acknowledged, key + "x", "Ana", now))) is False
        assert await hears(service, signed(webhook("incident.priority_updated", key, "Ana", now))) is False
        assert await hears(service, signed({"event": {"event_type": "pagey.ping"}})) is False
        assert await hears(service, signed([1])) is False
        assert (await service.stories())[0]["ack"] is None
        assert await hears(service, signed(webhook("incident.unacknowledged", key, "Ana", now))) is True
        assert await hears(service, signed(webhook(acknowledged, key, "Ana", now - 5))) is False  # overtaken on its way
        assert (await service.stories())[0]["ack"] is None
        headers, _ = signed({})
        response = await service.http.post(service.url + HOOK, content=b"x" * 600_000, headers=headers)
        assert response.status_code == 413


async def test_where_no_webhook_can_come_pagerduty_is_asked_only_while_nobody_has_it(tmp_path: Path) -> None:
    asked = pagerduty(", api_token_file: rest-token, api_url: '$REST', poll_every: 1s")
    receivers = TEAMS.replace(pagerduty(), asked)
    async with FakeVendors() as vendors:
        config = configured(vendors, tmp_path, receivers=receivers)
        async with running(config, vendors) as service:
            await told(service)
            await vendors.until(lambda v: v.seen("pagerduty-rest"))
            vendors.responders.acknowledge(incident(vendors), "Ana Costa")
            await vendors.until(lambda v: "Taken by Ana Costa, " in shown(v))
            (first, *_) = vendors.seen("pagerduty-rest")
            assert first.operation == "GET incidents"
            assert TOKEN not in first.path + first.query
            await service.idle()
            count = len(vendors.seen("pagerduty-rest"))
            await vendors.settle(quiet_s=1.5)  # longer than poll_every
            assert len(vendors.seen("pagerduty-rest")) == count
            assert not vendors.seen("pagerduty", "acknowledge")


async def test_what_a_person_resolved_in_pagerduty_is_opened_by_news_only(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await api.apply(plan("Failed"))
        head = f"{top()}\nweb: {{pagerduty_signing_secret_file: signing-secret}}"
        async with running(configured(vendors, tmp_path, top=head), vendors) as service:
            await watched(api, service)
            await told(service)
            assert await hears(service, vendors.responders.resolve(incident(vendors), "Ana Costa")) is True
            await service.idle()
            (story,) = await service.stories()
            assert story["state"] == "firing"
            assert story["timeline"][-1]["text"] == (
                "closed in PagerDuty by Ana Costa; here it stays open until it is over"
            )
            (row,) = [one for one in await service.deliveries() if one["kind"] == "pagerduty"]
            assert (row["receipt"]["state"], row["receipt"]["closed_by"]) == ("closed", "Ana Costa")
            await api.apply(plan("Executing", runs=2))
            await service.until_state("re-running")
            await service.idle()
            assert len(vendors.incidents()) == 1  # a quiet change opens nothing
            await api.apply(plan("Failed", runs=2))
            await vendors.until(lambda v: len(v.incidents()) == 2)


# --- given away ---


async def test_not_ours_ends_it_here_and_tells_it_in_full_there(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, running(configured(vendors, tmp_path), vendors) as service:
        story = await told(service)
        said = await does(service, story, "move", to="network", by="Ana Costa")
        assert said == "Moved from platform to network by Ana Costa (API)."
        await vendors.until(lambda v: v.slack_roots("#network") and not v.incidents_open())
        await vendors.until(lambda v: "Moved to network by Ana Costa (API)" in shown(v))
        await service.idle()
        assert "⚪" in shown(vendors)
        assert "given by Ana Costa (API) (was platform)" in shown(vendors, "#network")
        (comment,) = vendors.jira_comments()
        assert "moved from platform to network" in json.dumps(comment.body).lower()
        assert not vendors.jira_transitions()
        platform = len(vendors.slack_messages("#platform"))
        before = shown(vendors)
        await service.post(alert(failed(), "resolved"))
        await vendors.until(lambda v: "🟢" in shown(v, "#network") or "⚪" in shown(v, "#network"))
        await service.idle()
        assert (shown(vendors), len(vendors.slack_messages("#platform"))) == (before, platform)
        assert len(vendors.incidents()) == 1
        assert not vendors.jira_transitions()


# --- the API itself ---


async def test_the_api_says_what_is_wrong_in_a_sentence(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, running(configured(vendors, tmp_path), vendors) as service:
        story = await told(service)
        assert "did you mean network?" in await does(service, story, "move", 409, to="netwrok")
        assert await does(service, story, "move", 400) == 'to is missing; send for example {"to": "network"}'
        assert await does(service, story, "silence", 400) == 'hours is missing; send for example {"hours": 4}'
        assert "alertmanagers:" in await does(service, story, "silence", 409, hours=1)
        assert "hour" in await does(service, story, "acknowledge", 400, hour=1)
        assert "no such story" in await does(service, {"id": "01K"}, "acknowledge", 409)
        # What the page of somebody else could let a browser send without asking.
        plain = {"Content-Type": "text/plain"}
        url = f"{service.url}/api/v1/stories/{story['id']}/acknowledge"
        form = await service.http.post(url, content=b'{"by": "a foreign page"}', headers=plain)
        assert form.status_code == 400
        assert (await service.stories())[0]["ack"] is None


async def test_a_silence_over_the_api_reaches_alertmanager_with_its_author(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, AlertmanagerApi().running() as alertmanager:
        head = f"{TOP}\nalertmanagers: [{{name: main, url: '{alertmanager.url}'}}]"
        async with running(configured(vendors, tmp_path, top=head), vendors) as service:
            story = await told(service)
            assert (await does(service, story, "silence", hours=4, by="Ana Costa")).startswith("Silenced for 4 h")
            (made,) = alertmanager.silences
            assert made["createdBy"] == "Ana Costa"
            assert {one["name"]: one["value"] for one in made["matchers"]} == {
                "alertname": "MigrationFailed",
                "plan": PLAN_UID,
            }


async def test_pages_that_ask_for_a_password_know_who_pressed(tmp_path: Path) -> None:
    (tmp_path / "page").write_text("hunter2")
    head = TOP.replace(
        "web: {", "web: {page_auth: {basic_auth: {username: ana, password_file: page}}, "
    )  # fmt: skip
    async with FakeVendors() as vendors, running(configured(vendors, tmp_path, top=head), vendors) as service:
        await service.post(alert(failed()))
        await vendors.until(lambda v: v.slack_roots() and v.incidents())
        number = vendors.incidents()[0].dedup_key.rpartition("/")[2]
        url = f"{service.url}/api/v1/stories/{number}/acknowledge"
        assert (await service.http.post(url, json={"by": "Eve"})).status_code == 401
        answer = await service.http.post(url, json={"by": "Eve"}, auth=("ana", "hunter2"))
        assert answer.json() == {"done": True, "text": "ana has it now."}
