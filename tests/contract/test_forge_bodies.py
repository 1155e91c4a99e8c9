"""What GitHub and GitLab are sent, under texts that try to break out: limits, commands, mentions; and exact texts."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from receiver.destinations import Sender
from receiver.model import Change, Link, StoryState, Wanted
from receiver.rendering import Renderer
from tests.contract.catalogue import CATALOGUE
from tests.contract.examples import FIXED, FixedRenderer, moved, sender, wanted
from tests.contract.forge_schemas import check_github, check_gitlab
from tests.contract.test_plan_goldens import told
from tests.contract.test_sender_bodies import HOSTILE, HOSTILE_MESSAGE, STATES
from tests.fakes.kubernetes import KubernetesApi, running
from tests.markdown_reader import TRAPS, shown

KINDS = ("github", "gitlab")
GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "forges"
FAILURES = ("bitlocker-3-of-20", "12-of-20-failed", "logs-forbidden", "not-recognised")
TAGS = {
    "h3", "p", "br", "strong", "b", "em", "code", "pre", "sub", "ol", "ul", "li", "a", "hr", "span", "details",
    "summary", "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip
EVIL = HOSTILE + " @octocat #1 !1 /close\n/close\n/label ~bug\n<img src=x onerror=y> https://evil.example [a](http://b)"
SCOPES = {
    "github": {"repo": "acme/migrations"},
    "gitlab": {"project": "acme/migrations"},
}


def made(kind: str, folder: Path, texts: Renderer | None = None, raw: dict[str, Any] | None = None) -> Sender:
    return sender(kind, {"token_file": "planted", **SCOPES[kind], **(raw or {})}, folder, texts=texts)


def text_of(body: Any) -> str:
    return str(body.get("description") or body["body"])


def check_text(text: str) -> None:
    """Read it as a browser shows it: our tags alone, our links alone, nobody called, nothing referred to."""
    seen = shown(text)
    assert set(seen.tags) <= TAGS
    assert not [link for link in seen.links if not link.startswith("https://") or "evil" in link]
    for trap in TRAPS:
        assert not trap.search(seen.outside), trap.pattern
    assert all("mtvr-" in comment for comment in seen.comments)
    for line in text.split("\n"):
        assert not line.lstrip().startswith(("/close", "/label")) or "```" in text
    text.encode()


def check_create(kind: str, body: Any) -> None:
    if kind == "github":
        check_github("POST issues", body, {})
        assert all(0 < len(label) <= 50 for label in body["labels"])
        assert "mtv-receiver" in body["labels"]
    else:
        check_gitlab("POST issues", body, {})
        assert "mtv-receiver" in body["labels"].split(",")
    assert 0 < len(body["title"]) <= (256 if kind == "github" else 255)
    assert "\n" not in body["title"]
    assert not any(trap.search(body["title"]) for trap in TRAPS)
    assert len(text_of(body)) <= 21_000
    check_text(text_of(body))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", STATES, ids=lambda value: str(value[0]))
def test_every_state_is_an_issue_that_the_forge_takes(kind: str, state: tuple[str, Wanted], tmp_path: Path) -> None:
    step = made(kind, tmp_path).plan(replace(state[1], firing=True))
    assert step is not None
    check_create(kind, step.body)


@pytest.mark.parametrize("kind", KINDS)
def test_the_worst_message_breaks_nothing_calls_nobody_and_keeps_the_limits(kind: str, tmp_path: Path) -> None:
    worst = replace(HOSTILE_MESSAGE, title=EVIL, summary=EVIL, links=(Link(EVIL, "https://x.example/?a=<b>|c)(d"),))
    tickets = made(kind, tmp_path, FixedRenderer(worst))
    step = tickets.plan(wanted())
    assert step is not None
    check_create(kind, step.body)
    assert "the rest is left out" in text_of(step.body)
    entry = moved(wanted(), Change.WORSE, key="worse", text=EVIL * 8).entries[0]
    root = {"id": "1", "state": "open", "hash": step.hash, "revision": 1}
    comment = tickets.plan(wanted(root=root, entries=(entry,)))
    assert comment is not None
    assert comment.op == "comment"
    check_text(comment.body["body"])
    assert len(comment.body["body"]) <= 21_000


@pytest.mark.parametrize("kind", KINDS)
def test_minimal_content_keeps_vms_and_evidence_inside(kind: str, tmp_path: Path) -> None:
    step = sender(kind, {"token_file": "x", **SCOPES[kind]}, tmp_path, content="minimal").plan(wanted())
    assert step is not None
    for word in ("pay-win-app04", "BitLocker", "bitlocker", "vcenter-a", "could not read key"):
        assert word not in str(step.body)


def test_labels_assignees_and_confidentiality_are_as_configured_and_left_out_of_the_plain_form(tmp_path: Path) -> None:
    github = made("github", tmp_path, raw={"labels": ["vm", "mtv-receiver"], "assignees": ["octocat"]})
    step, plain = github.plan(wanted()), github.plan(wanted(plain=True))
    assert step is not None
    assert plain is not None
    assert step.body["labels"] == ["mtv-receiver", "vm", "guest-bitlocker"]
    assert step.body["assignees"] == ["octocat"]
    assert (plain.body["labels"], "assignees" in plain.body) == (["mtv-receiver"], False)
    gitlab = made("gitlab", tmp_path, raw={"labels": ["vm"], "confidential": "true"})
    step, plain = gitlab.plan(wanted()), gitlab.plan(wanted(plain=True))
    assert step is not None
    assert plain is not None
    assert step.body["labels"] == "mtv-receiver,vm,guest-bitlocker"
    assert (plain.body["labels"], plain.body["confidential"]) == ("mtv-receiver", True), "never less confidential"


@pytest.mark.parametrize("kind", KINDS)
def test_title_and_labels_are_templates_and_one_that_breaks_is_left_out(kind: str, tmp_path: Path) -> None:
    raw = {
        "title": "{{ name }} in {{ namespace }} @team",
        "labels": ["owner/{{ alert_labels.cluster }}, x", "{{ alert_labels.nothing.at_all }}", "{{ 'y' * 300 }}"],
    }
    step = made(kind, tmp_path, raw=raw).plan(wanted())
    assert step is not None
    assert step.body["title"] == "pay-w17-03 in payments-prod @\u2060team"
    expected = ["mtv-receiver", "owner/ocp-prod-2  x", "guest-bitlocker"]
    assert step.body["labels"] == (expected if kind == "github" else ",".join(expected))
    plain = made(kind, tmp_path, raw=raw).plan(wanted(plain=True))
    assert plain is not None
    assert "@" not in plain.body["title"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_issue_names_the_one_before_and_the_other_places(kind: str, tmp_path: Path) -> None:
    state = wanted()
    state = replace(state, keys=replace(state.keys, follows="https://x.example/issues/1"))
    step = made(kind, tmp_path).plan(state)
    assert step is not None
    other = {
        "github": "https://github.com/acme/migrations/issues?q=is%3Aissue%20label%3A%22guest-bitlocker%22",
        "gitlab": "https://gitlab.com/acme/migrations/-/issues/?state=all&label_name%5B%5D=guest-bitlocker",
    }
    assert f"[Other tickets of this cause]({other[kind]})" in text_of(step.body)
    assert "Follows the ticket of an earlier failure: <https://x.example/issues/1>" in text_of(step.body)


# --- exact texts ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def api(anyio_backend: str) -> AsyncIterator[KubernetesApi]:
    del anyio_backend
    async with running(KubernetesApi()) as server:
        yield server


def compare(name: str, text: str) -> None:
    file = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN") == "1":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


@pytest.mark.anyio
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FAILURES)
async def test_a_failure_reads_as_its_golden_file_says(
    name: str, kind: str, api: KubernetesApi, tmp_path: Path
) -> None:
    found = await told(api, CATALOGUE[name](), tmp_path)
    step = made(kind, tmp_path).plan(found.wanted)
    assert step is not None
    check_create(kind, step.body)
    compare(f"{name}.{kind}.md", f"{step.body['title']}\n\n{text_of(step.body)}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["re-running", "fixed"])
def test_a_comment_reads_as_its_golden_file_says(name: str, kind: str, tmp_path: Path) -> None:
    tickets, first = made(kind, tmp_path), wanted()
    if name == "fixed":
        state = moved(first, Change.RESOLVED, key="resolved", **FIXED)
    else:
        state = moved(first, Change.RERUN, key="rerun-1", state=StoryState.RERUNNING, run="run-2")
    state = replace(state, root={"id": "1", "state": "open", "revision": 1, "hash": ""})
    step = tickets.plan(state)
    assert step is not None
    state = replace(state, root={**(state.root or {}), "hash": step.hash})
    comment = tickets.plan(state)
    assert comment is not None
    compare(f"comment-{name}.{kind}.md", f"{comment.body['body']}\n")


def test_every_golden_file_belongs_to_a_test() -> None:
    names = (*FAILURES, "comment-re-running", "comment-fixed")
    assert {file.name for file in GOLDEN.iterdir()} == {f"{name}.{kind}.md" for name in names for kind in KINDS}
