"""What we send to ticket systems is what they take: their limits, under texts that try to break out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from receiver.model import Change, Wanted
from receiver.rendering import Code, Paragraph, Span, Table
from receiver.rendering.renderer import StoryRenderer
from receiver.rendering.templates import Templates
from tests.contract.examples import EVIDENCE, FixedRenderer, moved, sender, story, wanted
from tests.contract.test_sender_bodies import HOSTILE, HOSTILE_MESSAGE, senders, state

__all__ = ["state"]

# --- Jira -----------------------------------------------------------------------------------------------------------

INLINE = {"text", "hardBreak"}
CHILDREN = {
    "doc": {"paragraph", "codeBlock", "orderedList", "bulletList", "table", "rule"},
    "paragraph": INLINE,
    "codeBlock": {"text"},
    "orderedList": {"listItem"},
    "bulletList": {"listItem"},
    "listItem": {"paragraph"},
    "table": {"tableRow"},
    "tableRow": {"tableHeader", "tableCell"},
    "tableHeader": {"paragraph"},
    "tableCell": {"paragraph"},
}


def check_document(node: Mapping[str, Any], kind: str = "doc") -> None:
    """Check what Atlassian's own schema was seen to refuse: see `jira_adf`."""
    assert node["type"] == kind
    if kind == "text":
        assert node["text"]
        for mark in node.get("marks", []):
            assert mark["type"] in {"strong", "em", "code", "link"}
            if mark["type"] == "link":
                assert re.match(r"https?://|mailto:", mark["attrs"]["href"])
        return
    content = node.get("content", [])
    assert content or kind in {"paragraph", "rule", "hardBreak"}
    for child in content:
        assert child["type"] in CHILDREN[kind]
        assert not (kind == "codeBlock" and child.get("marks"))
        check_document(child, child["type"])


def check_ticket(fields: Mapping[str, Any], *, cloud: bool) -> None:
    assert 0 < len(fields["summary"]) <= 255
    assert "\n" not in fields["summary"]
    for label in fields["labels"]:
        assert re.fullmatch(r"\S{1,255}", label)
    assert len(json.dumps(fields["description"], ensure_ascii=False)) <= 32_767
    json.dumps(fields, ensure_ascii=False).encode()
    if cloud:
        assert fields["description"]["version"] == 1
        check_document(fields["description"])
    else:
        check_wiki(fields["description"])


def check_wiki(text: str) -> None:
    assert text.count("{noformat}") % 2 == 0
    outside = "".join(re.split(r"\{noformat\}\n.*?\n\{noformat\}", text, flags=re.DOTALL))
    for trap in ("{code", "{html", "[~", "!img"):
        assert not re.search(rf"(?<!\\){re.escape(trap)}", outside), trap
    assert "\\\\" not in outside


@pytest.mark.parametrize("name", ["cloud", "dc"])
def test_jira_takes_every_ticket(name: str, state: Wanted, tmp_path: Path) -> None:
    step = senders(tmp_path)[name].plan(state)
    assert step is not None
    check_ticket(step.body["fields"], cloud=name == "cloud")


@pytest.mark.parametrize("name", ["cloud", "dc"])
def test_jira_takes_the_worst_ticket_and_comment(name: str, tmp_path: Path) -> None:
    texts = FixedRenderer(HOSTILE_MESSAGE)
    tickets = senders(tmp_path, texts=texts)[name]
    step = tickets.plan(wanted())
    assert step is not None
    check_ticket(step.body["fields"], cloud=name == "cloud")
    assert len(json.dumps(step.body["fields"]["description"], ensure_ascii=False)) <= 21_000
    entry = moved(wanted(), Change.WORSE, key="worse", text=HOSTILE).entries[0]
    root = {"id": "1", "state": "open", "hash": step.hash, "revision": 1}
    comment = tickets.plan(wanted(root=root, entries=(entry,)))
    assert comment is not None
    assert comment.op == "comment"
    if name == "cloud":
        check_document(comment.body["body"])
    else:
        check_wiki(comment.body["body"])


def test_a_ticket_carries_our_label_property_and_the_configured_fields(tmp_path: Path) -> None:
    raw = {
        "api_url": "https://x.example/rest/api/3",
        "project": "MIG",
        "issue_type": "Task",
        "priority": "High",
        "labels": ["vm-migration"],
        "fields": {"components": [{"name": "Windows guest"}], "summary": "never this"},
    }
    step = sender("jira", raw, tmp_path).plan(wanted())
    assert step is not None
    fields, label = step.body["fields"], wanted().keys.label
    assert fields["labels"] == [label, "vm-migration", "guest-bitlocker"]
    assert fields["priority"] == {"name": "High"}
    assert fields["components"] == [{"name": "Windows guest"}]
    assert fields["issuetype"] == {"name": "Task"}
    assert fields["summary"] != "never this"
    assert step.body["properties"][0]["value"]["label"] == label
    plain = sender("jira", raw, tmp_path).plan(wanted(plain=True))
    assert plain is not None
    assert "priority" not in plain.body["fields"]


# --- ServiceNow -----------------------------------------------------------------------------------------------------

COLUMNS = {"short_description": 160, "description": 4_000, "correlation_id": 100, "correlation_display": 100}


def check_incident(columns: Mapping[str, Any]) -> None:
    assert set(columns) <= {*COLUMNS, "impact", "urgency"}
    assert all(isinstance(value, str) for value in columns.values())
    for name, most in COLUMNS.items():
        assert 0 < len(columns[name]) <= most
    assert "^" not in columns["correlation_id"]
    assert "\n" not in columns["short_description"]
    lines = columns["description"].splitlines()
    assert lines[0].startswith("┌ written by mtv-receiver")
    assert [line for line in lines if line.startswith("└ story ")] == lines[-1:]
    check_journal(columns["description"])


def check_journal(text: str) -> None:
    assert not re.search(r"\[/?code\]", text, re.IGNORECASE), "HTML between these is shown as HTML"
    assert "\x00" not in text
    assert "\u202e" not in text
    text.encode()


def test_servicenow_takes_every_incident(state: Wanted, tmp_path: Path) -> None:
    step = senders(tmp_path)["servicenow"].plan(state)
    assert step is not None
    check_incident(step.body)
    assert ("impact" in step.body) is not state.plain


def test_servicenow_takes_the_worst_incident_and_note(tmp_path: Path) -> None:
    trap = "[code]<script>alert(1)</script>[/CODE] "
    message = replace(HOSTILE_MESSAGE, blocks=(Paragraph((Span(trap),)), *HOSTILE_MESSAGE.blocks), title=trap + HOSTILE)
    tickets = senders(tmp_path, texts=FixedRenderer(message))["servicenow"]
    step = tickets.plan(wanted())
    assert step is not None
    check_incident(step.body)
    assert len(step.body["description"]) <= 3_200
    entry = moved(wanted(), Change.WORSE, key="worse", text=trap + HOSTILE).entries[0]
    root = {"id": "1", "state": "open", "hash": step.hash, "revision": 1}
    note = tickets.plan(wanted(root=root, entries=(entry,)))
    assert note is not None
    assert note.op == "comment"
    check_journal(note.body["work_notes"])
    assert len(note.body["work_notes"]) <= 4_000
    assert note.body["work_notes"].splitlines()[-1].startswith("story ")


def test_a_long_incident_loses_its_last_commands_before_its_vms(tmp_path: Path) -> None:
    command = "oc adm must-gather " + "x" * 500
    vms = Table(("VM", "step"), tuple((f"pay-app{at:02}", "ImageConversion" + "n" * 60) for at in range(25)))
    blocks = (vms, *(Code((command,), caption) for caption in ("Run again", "Gather all", "Gather this")))
    tickets = senders(tmp_path, texts=FixedRenderer(replace(HOSTILE_MESSAGE, blocks=blocks)))["servicenow"]
    step = tickets.plan(wanted())
    assert step is not None
    check_incident(step.body)
    text = step.body["description"]
    assert ("pay-app24" in text, "Run again" in text, "Gather all" in text) == (True, True, False)


@pytest.mark.parametrize("name", ["cloud", "dc", "servicenow"])
def test_a_story_that_no_template_can_read_still_becomes_a_ticket(name: str, tmp_path: Path) -> None:
    unreadable: Any = "no time"
    state = wanted(story(evidence=replace(EVIDENCE, started=unreadable)))
    texts = StoryRenderer(Templates(), lambda _: None)
    step = senders(tmp_path, texts=texts)[name].plan(state)
    assert step is not None
    if name == "servicenow":
        check_incident(step.body)
    else:
        check_ticket(step.body["fields"], cloud=name == "cloud")
