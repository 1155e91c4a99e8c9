from __future__ import annotations

import json
from datetime import UTC
from pathlib import Path
from typing import Any

import httpx2
import pytest

from receiver.sandbox import Sandbox, adf, mrkdwn

pytestmark = pytest.mark.anyio

DATA = Path(__file__).parents[2] / "data" / "slack"


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("*bold* _it_ ~gone~ `code *x*`", "<b>bold</b> <i>it</i> <s>gone</s> <code>code *x*</code>"),
        ("2*3*4 and snake_case_name", "2*3*4 and snake_case_name"),
        ("a &lt;b&gt; &amp; c", "a &lt;b&gt; &amp; c"),
        (
            "<https://a.example/x_y_z|the _log_>",
            '<a href="https://a.example/x_y_z" target="_blank" rel="noopener noreferrer">the <i>log</i></a>',
        ),
        ("<javascript:alert(1)|click>", "click"),
        ("<script>alert(1)</script>", "scriptalert(1)/script"),
        ("<!here> <!subteam^S1|@oncall>", "<span class='mention'>@here</span> <span class='mention'>@oncall</span>"),
        ("<!date^1795299600^{date_num} {time}|then>", "2026-11-21 22:20"),
        (":red_circle: :nosuch:", "🔴 :nosuch:"),
        ("one\ntwo", "one<br>two"),
        ("```a *b*\n&lt;c&gt;```", "<pre><code>a *b*\n&lt;c&gt;</code></pre>"),
        ("&gt; quoted", "<blockquote>quoted</blockquote>"),
    ],
)
def test_mrkdwn_is_drawn_as_slack_draws_it_and_never_as_html(text: str, html: str) -> None:
    assert mrkdwn.to_html(text, UTC) == html


def node(kind: str, *content: Any, **attrs: Any) -> dict[str, Any]:
    return {"type": kind, "content": list(content), **({"attrs": attrs} if attrs else {})}


def text(words: str, *marks: dict[str, Any]) -> dict[str, Any]:
    return {"type": "text", "text": words, **({"marks": list(marks)} if marks else {})}


def document(*content: Any) -> dict[str, Any]:
    return {"type": "doc", "version": 1, "content": list(content)}


@pytest.mark.parametrize(
    ("body", "html"),
    [
        (node("paragraph", text("<b>", {"type": "strong"})), "<p><b>&lt;b&gt;</b></p>"),
        (node("codeBlock", text("a < b")), "<pre><code>a &lt; b</code></pre>"),
        (node("panel", node("paragraph", text("x")), panelType="warning"), "<div class='panel warning'><p>x</p></div>"),
        (
            node("paragraph", text("x", {"type": "link", "attrs": {"href": "javascript:1"}})),
            "<p>x</p>",
        ),
        (
            node("table", node("tableRow", node("tableHeader", node("paragraph", text("VM"))))),
            "<div class='scroll'><table><tr><th><p>VM</p></th></tr></table></div>",
        ),
    ],
)
def test_a_jira_document_is_drawn_with_everything_escaped(body: dict[str, Any], html: str) -> None:
    assert adf.problem(document(body)) is None
    assert adf.to_html(document(body)) == html


@pytest.mark.parametrize(
    "body",
    [
        node("paragraph", text("")),
        text("outside a block"),
        node("codeBlock", text("x", {"type": "strong"})),
        node("box", text("x")),
        node("bulletList"),
        node("panel", node("paragraph", text("x")), panelType="loud"),
        node("table", node("paragraph", text("x"))),
    ],
)
def test_a_document_that_atlassians_schema_refuses_is_refused(body: dict[str, Any]) -> None:
    assert adf.problem(document(body)) is not None


async def test_the_page_shows_what_all_three_services_hold(client: httpx2.AsyncClient) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    header = {"type": "header", "text": {"type": "plain_text", "text": f"2 VMs down {hostile}"}}
    actions = {
        "type": "actions",
        "elements": [{"type": "button", "text": {"type": "plain_text", "text": "Runbook"}, "url": "javascript:x"}],
    }
    message = {"channel": "#payments", "text": "push text", "blocks": [header, actions]}
    root = (await client.post("/slack/api/chat.postMessage", json=message)).json()
    reply = {"channel": "#payments", "thread_ts": root["ts"], "text": "ended", "reply_broadcast": True}
    await client.post("/slack/api/chat.postMessage", json=reply)
    details = {"4_failed": [{"vm": hostile, "step": "DiskTransfer"}], "5_change": {"number": "CHG1"}}
    payload = {"summary": "page title", "source": "c1", "severity": "critical", "custom_details": details}
    event = {"routing_key": "R" * 32, "event_action": "trigger", "payload": payload}
    await client.post("/pagerduty/v2/enqueue", json=event)
    fields = {
        "project": {"key": "MIG"},
        "issuetype": {"name": "Bug"},
        "summary": "ticket summary",
        "description": document(node("paragraph", text(hostile))),
    }
    await client.post("/jira/rest/api/3/issue", json={"fields": fields})

    page = (await client.get("/")).text
    for shown in ("2 VMs down", "push text", "1 reply", "also sent to #payments", "page title", "CHG1", "MIG-1"):
        assert shown in page
    assert "<img" not in page
    assert "javascript:" not in page
    assert "R" * 32 not in page


async def test_a_whole_message_of_every_block_kind_is_drawn(client: httpx2.AsyncClient) -> None:
    message = json.loads((DATA / "bitlocker.json").read_text())
    assert (await client.post("/slack/api/chat.postMessage", json=message)).json()["ok"] is True
    page = (await client.get("/")).text
    for drawn in (
        '<h4 class="b-header">🔴 2 VMs down',
        "<b>off since 22:06</b>",
        "<code>manage-bde -off C:</code>",
        "<pre><code>pay-win-app04 vm-2214 was On  now off",
        '<a class="button primary" href="https://example.com/s"',
        '<span class="button danger"',
        "<hr>",
        "<b>Plan</b><br>mig-payments/pay-w17-03",
    ):
        assert drawn in page


async def test_a_deleted_root_keeps_its_thread_on_the_page(client: httpx2.AsyncClient) -> None:
    root = (await client.post("/slack/api/chat.postMessage", json={"channel": "#a", "text": "x"})).json()
    reply = {"channel": "#a", "thread_ts": root["ts"], "text": "the reply"}
    await client.post("/slack/api/chat.postMessage", json=reply)
    await client.post("/slack/api/chat.delete", json={"channel": root["channel"], "ts": root["ts"]})
    page = (await client.get("/")).text
    assert "This message was deleted." in page
    assert "the reply" in page


async def test_the_page_allows_no_foreign_script_style_or_frame(client: httpx2.AsyncClient) -> None:
    response = await client.get("/")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "style=" not in response.text
    for name in ("page.css", "page.js"):
        assert (await client.get(f"/static/{name}")).status_code == 200
    assert (await client.get("/static/page.py")).status_code == 404


async def test_the_fragment_is_sent_only_when_something_changed(client: httpx2.AsyncClient) -> None:
    first = await client.get("/fragment", params={"seen": "never"})
    seen = first.headers["x-version"]
    assert (await client.get("/fragment", params={"seen": seen})).status_code == 204
    await client.post("/slack/api/chat.postMessage", json={"channel": "#a", "text": "news"})
    changed = await client.get("/fragment", params={"seen": seen})
    assert changed.status_code == 200
    assert "news" in changed.text


async def test_state_tells_everything_and_reset_forgets_it(client: httpx2.AsyncClient, sandbox: Sandbox) -> None:
    await client.post("/slack/api/chat.postMessage", json={"channel": "#a", "text": "x"})
    state = (await client.get("/state")).json()
    assert set(state) == {"slack", "pagerduty", "jira"}
    assert [each["text"] for each in state["slack"]["channels"][0]["messages"]] == ["x"]
    assert (await client.post("/reset")).status_code == 303
    assert sandbox.snapshot() == {
        "slack": {"channels": []},
        "pagerduty": {"incidents": [], "events": []},
        "jira": {"issues": []},
    }
