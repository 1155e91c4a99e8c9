"""What we send is what the vendors take: their own schemas and limits, under texts that try to break out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from slack_sdk.models.blocks import Block as SlackBlock

from receiver.destinations import Sender
from receiver.model import Cause, Change, Identity, Missing, Reason, StoryState, VMCounts, VMFailure, Wanted
from receiver.rendering import Code, Message, Paragraph, Small, Span, Steps, Table
from tests.contract.examples import EVIDENCE, FIXED, ROUTING_KEY, TOKEN, FixedRenderer, moved, sender, story, wanted
from tests.contract.vendor_schemas import check_pagerduty

HOSTILE = (
    "<!channel> <@U123> & </script> `code` ```fence``` *bold* _it_ ~no~ {code}{noformat}{html} [~admin] "
    "[x|http://evil] || # h1. x \\\\ !img.png! \u202egnp.exe \x00\x1b[31m \ud800 emoji 🔴 " + "long " * 1_000
)
MAIL = {"to": "ops@example.com", "from": "mtv@example.com", "smarthost": "mail.example.com:587"}

HOSTILE_MESSAGE = Message(
    push=HOSTILE,
    title=HOSTILE,
    mark="🔴",
    color="#d00000",
    blocks=(
        Paragraph(
            (Span(HOSTILE), Span(HOSTILE, "b"), Span(HOSTILE, "c"), Span(HOSTILE, "", "https://x.example/?a=<b>|c"))
        ),
        Paragraph((Span(""),)),
        Steps(tuple((Span(HOSTILE),) for _ in range(80))),
        Code(tuple(HOSTILE for _ in range(500)), HOSTILE),
        Code(("", "  "), "empty"),
        Table(("vm", "step"), tuple((HOSTILE, "", "one more cell") for _ in range(300))),
        Table((), ()),
        Small((Span(HOSTILE, "i"),)),
        *(Paragraph((Span(f"part {at} {HOSTILE}"),)) for at in range(60)),
    ),
    summary=HOSTILE,
)


def senders(folder: Path, **common: Any) -> Mapping[str, Sender]:
    return {
        "slack": sender("slack", {"channel": "C0123456789", "app_token_file": TOKEN}, folder, **common),
        "pagerduty": sender("pagerduty", {"routing_key_file": ROUTING_KEY}, folder, **common),
        "email": sender("email", MAIL, folder, **common),
        "webhook": sender("webhook", {"url": "https://hook.example.com/mtv"}, folder, **common),
        "cloud": sender("jira", {"api_url": "https://x.example/rest/api/3", "project": "MIG"}, folder, **common),
        "dc": sender("jira", {"api_url": "https://x.example/rest/api/2", "project": "MIG"}, folder, **common),
        "servicenow": sender("servicenow", {"instance_url": "https://x.service-now.com"}, folder, **common),
    }


def hostile_story() -> Wanted:
    """Return a story of 300 VMs whose every text is hostile."""
    vms = tuple(
        VMFailure(id=f"vm-{at}", name=HOSTILE, step=HOSTILE, reasons=(HOSTILE,), power_before="On", power_now="off")
        for at in range(300)
    )
    evidence = replace(
        EVIDENCE,
        failures=vms,
        counts=VMCounts(total=300, failed=300),
        impact_text=HOSTILE,
        cause=Cause("guest bitlocker", HOSTILE, HOSTILE, HOSTILE, (HOSTILE,) * 30),
        missing=tuple(Missing(HOSTILE, HOSTILE, HOSTILE) for _ in range(50)),
    )
    identity = Identity("plan/x", "plan", HOSTILE, "x", HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    return wanted(
        story(evidence=evidence, identity=identity, title=HOSTILE, severity=HOSTILE),
        reasons=tuple(Reason("routes.yaml:1", HOSTILE) for _ in range(30)),
        fallback_for=HOSTILE,
    )


def states() -> Iterator[tuple[str, Wanted]]:
    first = wanted()
    yield "failed", first
    yield "no evidence yet", wanted(story(evidence=None, identity=None))
    yield "hostile", hostile_story()
    yield "plain", replace(hostile_story(), plain=True)
    yield "re-running", moved(first, Change.RERUN, state=StoryState.RERUNNING, run="run-2")
    yield "fixed", moved(first, Change.RESOLVED, **FIXED)


STATES = tuple(states())


@pytest.fixture(params=STATES, ids=lambda value: str(value[0]))
def state(request: pytest.FixtureRequest) -> Wanted:
    found: Wanted = request.param[1]
    return replace(found, firing=True)


# --- Slack ----------------------------------------------------------------------------------------------------------


def check_slack(body: Mapping[str, Any]) -> None:
    blocks = body["blocks"]
    again = [each.to_dict() for each in SlackBlock.parse_all(blocks)]  # raises over the limits that the SDK knows
    assert len(again) == len(blocks) <= 50
    assert len(json.dumps(blocks, ensure_ascii=False)) <= 12_000
    assert 0 < len(body["text"]) <= 4_000
    for block in blocks:
        texts = [block["text"], *block.get("elements", [])] if "text" in block else block["elements"]
        for text in texts:
            assert text["text"]
            assert len(text["text"]) <= (150 if block["type"] == "header" else 3_000)
            if text["type"] == "mrkdwn":
                assert text["verbatim"] is True
                assert text["text"].count("```") % 2 == 0
    shown = json.dumps([block for block in blocks if block["type"] != "header"]) + body["text"]
    for trap in ("<!", "<@", "<#", "</"):
        assert trap not in shown
    json.dumps(body, ensure_ascii=False).encode()  # no lone surrogate


def test_slack_takes_every_message(state: Wanted, tmp_path: Path) -> None:
    step = senders(tmp_path)["slack"].plan(state)
    assert step is not None
    check_slack(step.body)
    assert (step.body["blocks"] == []) is state.plain


def test_slack_takes_the_worst_message_and_its_budget_is_kept(tmp_path: Path) -> None:
    step = senders(tmp_path, texts=FixedRenderer(HOSTILE_MESSAGE))["slack"].plan(wanted())
    assert step is not None
    check_slack(step.body)
    assert len(json.dumps(step.body["blocks"], ensure_ascii=False, separators=(",", ":"))) <= 8_000
    assert "the rest is left out" in json.dumps(step.body["blocks"])


def test_a_slack_reply_keeps_the_limits_too(tmp_path: Path) -> None:
    chat = senders(tmp_path)["slack"]
    step = chat.plan(wanted())
    assert step is not None
    root = {"channel": "C0123456789", "ts": "1.2", "hash": step.hash, "revision": 1}
    entry = moved(wanted(), Change.WORSE, key="worse", text=HOSTILE).entries[0]
    reply = chat.plan(wanted(root=root, entries=(entry,)))
    assert reply is not None
    assert reply.op == "reply"
    check_slack(reply.body)
    assert all(block["type"] != "header" for block in reply.body["blocks"])


# --- PagerDuty ------------------------------------------------------------------------------------------------------


def check_event(event: Mapping[str, Any]) -> None:
    body = {"routing_key": ROUTING_KEY, **event}
    check_pagerduty(body)
    assert len(json.dumps(body).encode()) <= 512_000
    assert 0 < len(body["dedup_key"]) <= 255
    assert 0 < len(body["payload"]["summary"]) <= 1_024
    assert "\n" not in body["payload"]["summary"]
    assert body["payload"]["severity"] in {"critical", "error", "warning", "info"}
    assert body["payload"]["source"].strip()


def test_pagerduty_takes_every_event(state: Wanted, tmp_path: Path) -> None:
    step = senders(tmp_path)["pagerduty"].plan(state)
    assert step is not None
    check_event(step.body)


def test_the_vendors_schema_refuses_what_is_wrong() -> None:
    with pytest.raises(jsonschema.ValidationError):
        check_event({"event_action": "trigger", "dedup_key": "x", "payload": {"summary": "x", "source": "y"}})


def test_an_event_that_is_too_large_keeps_impact_and_says_what_is_left_out(tmp_path: Path) -> None:
    many = tuple((Span(f"{at} {HOSTILE}"),) for at in range(2_000))
    message = replace(HOSTILE_MESSAGE, blocks=(Steps(many),))
    step = senders(tmp_path, texts=FixedRenderer(message))["pagerduty"].plan(wanted())
    assert step is not None
    check_event(step.body)
    details = step.body["payload"]["custom_details"]
    assert details["0_cut"].startswith("too large for PagerDuty")
    assert details["1_impact"]


@pytest.mark.parametrize(
    ("severity", "expected"),
    [
        ("critical", "critical"),
        ("Warning", "warning"),
        ("info", "info"),
        ("high", "error"),
        ("", "error"),
        ("p1", "error"),
    ],
)
def test_while_the_impact_is_not_known_the_alerts_severity_counts(severity: str, expected: str, tmp_path: Path) -> None:
    step = senders(tmp_path)["pagerduty"].plan(wanted(story(severity=severity, evidence=None)))
    assert step is not None
    assert step.body["payload"]["severity"] == expected


def test_the_details_of_an_incident_answer_the_questions_in_order(tmp_path: Path) -> None:
    step = senders(tmp_path)["pagerduty"].plan(wanted())
    assert step is not None
    details = step.body["payload"]["custom_details"]
    assert list(details) == sorted(details)
    assert details["1_impact"].startswith("pay-win-app04")
    assert details["2_do_now"][0].startswith("1. Power on")
    assert details["3_cause"].startswith("guest-bitlocker: ")
    assert details["4_count"] == "3 of 20 VMs failed; 17 done"
    assert [each["vm"] for each in details["4_failed"]] == ["pay-win-app04", "pay-win-app05", "pay-win-app06"]
    assert details["6_evidence"][1].startswith("logs of pay-win-app06: forbidden")
    assert details["7_routed_by"] == ["routes.yaml:41: target namespace payments-prod matches payments-*"]
    assert [link["text"] for link in step.body["links"]] == ["Story", "Runbook"]


def test_evidence_of_an_earlier_run_is_not_the_reason_of_this_one(tmp_path: Path) -> None:
    step = senders(tmp_path)["pagerduty"].plan(wanted(story(run="run-2")))
    assert step is not None
    assert "bitlocker" not in json.dumps(step.body["payload"]["custom_details"]).lower()


def test_a_late_page_says_so_and_keeps_saying_the_same(tmp_path: Path) -> None:
    pager = senders(tmp_path)["pagerduty"]
    step = pager.plan(wanted(late_s=740.0))
    assert step is not None
    assert step.body["payload"]["custom_details"]["0_late"] == "sent 12 min late"
    root = step.extra["receipt"]
    assert pager.plan(wanted(root=root, late_s=0.0)) is None
    assert pager.plan(wanted(root=root, late_s=9_000.0)) is None


def test_minimal_content_keeps_vms_and_evidence_inside(tmp_path: Path) -> None:
    inside = ("pay-win-app04", "BitLocker", "bitlocker", "vcenter-a", "could not read key")
    for name, each in senders(tmp_path, content="minimal").items():
        step = each.plan(wanted())
        assert step is not None
        text = json.dumps(step.body, ensure_ascii=False)
        assert [word for word in inside if word in text] == [], name
