"""Shadow mode decides like the real sender, tells each thing once, and asks nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.destinations import Sender
from receiver.destinations.shadow import Shadow
from receiver.model import AUDIBLE, Change, Entry, StoryState, TimelineEntry, Wanted
from receiver.model.shadow import handed_over, in_shadow, only_shadow, without_shadow
from tests.contract.examples import after, sender
from tests.stories import story, wanted

KINDS: Mapping[str, Mapping[str, Any]] = {
    "slack": {"channel": "#x", "app_token_file": "xoxb-1"},
    "pagerduty": {"routing_key_file": "key"},
    "jira": {"api_url": "https://jira.test/rest/api/2", "project": "MIG", "issue_type": "Bug"},
    "webhook": {"url": "https://hook.test/x"},
}
CHANGES = [
    Change.EVIDENCE, Change.TOLD, Change.RERUN, Change.WORSE, Change.FAILED_AGAIN, Change.REOPENED, Change.RESOLVED,
    Change.ACKNOWLEDGED,
]  # fmt: skip


class Nobody(httpx2.AsyncBaseTransport):
    """Whoever is asked fails the test."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        raise AssertionError(f"a request: {request.method} {request.url}")


def real(kind: str, folder: Path, **common: Any) -> Sender:
    return sender(kind, KINDS[kind], folder, transport=Nobody(), **common)


async def carried_out(one: Sender, state: Wanted) -> tuple[list[tuple[str, str]], Wanted]:
    done: list[tuple[str, str]] = []
    while (step := one.plan(state)) is not None:
        assert len(done) < 30, f"no end: {done}"
        assert not step.creates
        state = after(state, step, await one.send(step, state))
        done.append((step.op, step.part))
    return done, replace(state, entries=(), audible=False)


def changed(state: Wanted, change: Change, minutes: float = 10.0) -> Wanted:
    """Return the delivery once its story has one more revision."""
    revision = state.story.revision + 1
    at = state.story.updated + timedelta(minutes=minutes)
    line = TimelineEntry(revision, at, change, change.value, f"{change.value}-{revision}")
    firing = change is not Change.RESOLVED if change in (Change.RESOLVED, Change.REOPENED) else state.firing
    of = replace(
        state.story,
        revision=revision,
        updated=at,
        timeline=(*state.story.timeline, line),
        state=StoryState.FIRING if firing else StoryState.RESOLVED,
    )
    entry = Entry(line.key, change, at, change.value, revision)
    return replace(
        state, story=of, firing=firing, audible=state.audible or change in AUDIBLE, entries=(*state.entries, entry)
    )


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    batches=st.lists(st.lists(st.sampled_from(CHANGES), min_size=1, max_size=3), max_size=6),
)
def test_each_entry_is_told_once_and_edits_follow_revisions_without_a_request(
    kind: str, batches: list[list[Change]]
) -> None:
    with TemporaryDirectory() as folder:
        one = Shadow(real(kind, Path(folder)), send_resolved=True)
        asyncio.run(_plays(one, batches))


async def _plays(one: Shadow, batches: list[list[Change]]) -> None:
    done, state = await carried_out(one, wanted(audible=True))
    assert done == [("shadow create", "root")]
    told: list[str] = []
    for batch in batches:
        for change in batch:
            state = changed(state, change)
        due = [entry.key for entry in state.entries if entry.change in one.entry_changes]
        audible = state.audible
        done, state = await carried_out(one, state)
        replies = [part for op, part in done if op == "shadow reply"]
        edits = [op for op, _ in done if op != "shadow reply"]
        assert replies == due
        told += replies
        if one.kind == "webhook":
            assert edits == [], "an event stays as it was sent"
        elif one.kind != "pagerduty":
            assert len(edits) == 1
        elif not audible:
            assert edits == [], "ten minutes after it called, a pager gets no quiet update"
        assert state.root is not None
        assert only_shadow(state.root)
        assert await carried_out(one, state) == ([], state), "nothing is left to do"
    assert len(told) == len(set(told))


@pytest.mark.anyio
async def test_a_pager_gets_one_quiet_update_soon_after_it_called_and_one_close(tmp_path: Path) -> None:
    one = Shadow(real("pagerduty", tmp_path), send_resolved=True)
    _, state = await carried_out(one, wanted(audible=True))
    steps: list[list[str]] = []
    for change, minutes in (
        (Change.EVIDENCE, 0.2), (Change.TOLD, 0.2), (Change.WORSE, 5), (Change.EVIDENCE, 0.2), (Change.RESOLVED, 5),
        (Change.TOLD, 0.1), (Change.REOPENED, 1),
    ):  # fmt: skip
        done, state = await carried_out(one, changed(state, change, minutes))
        steps.append([op for op, _ in done])
    update, close = ["shadow update"], ["shadow close"]
    assert steps == [update, [], update, update, close, [], update]


@pytest.mark.anyio
async def test_what_the_first_message_said_is_not_told_again(tmp_path: Path) -> None:
    one = Shadow(real("slack", tmp_path), send_resolved=True)
    late = changed(wanted(audible=True), Change.WORSE)
    done, state = await carried_out(one, late)
    assert done == [("shadow create", "root")]
    assert (await carried_out(one, replace(late, root=state.root)))[0] == []


@pytest.mark.anyio
async def test_resolves_that_nobody_wants_are_not_counted(tmp_path: Path) -> None:
    for kind, expected in (("pagerduty", []), ("slack", ["shadow update"]), ("webhook", [])):
        one = Shadow(real(kind, tmp_path, send_resolved=False), send_resolved=False)
        _, state = await carried_out(one, wanted(audible=True))
        done, _ = await carried_out(one, changed(state, Change.RESOLVED))
        assert [op for op, _ in done] == expected, kind


@pytest.mark.anyio
@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_the_first_message_is_the_real_one(tmp_path: Path, kind: str) -> None:
    of = real(kind, tmp_path)
    one = Shadow(of, send_resolved=True)
    shown, really = one.plan(wanted()), of.plan(wanted())
    assert shown is not None
    assert really is not None
    assert (shown.body, shown.hash) == (really.body, really.hash)
    assert (one.kind, one.manner, one.in_storm) == (of.kind, of.manner, of.in_storm)
    assert (one.entry_changes, one.waits_for_evidence) == (of.entry_changes, of.waits_for_evidence)
    assert await one.find(shown, wanted()) is None
    await one.probe()


@pytest.mark.anyio
async def test_a_real_root_keeps_what_it_is(tmp_path: Path) -> None:
    before = {"channel": "C1", "ts": "1.2", "hash": "h", "revision": 3, "url": "https://acme.slack.com/x"}
    one = Shadow(real("slack", tmp_path), send_resolved=True)
    state = changed(wanted(story(revision=3), root=before), Change.WORSE)
    done, state = await carried_out(one, state)
    assert [op for op, _ in done] == ["shadow reply", "shadow update"]
    assert state.root is not None
    assert in_shadow(state.root)
    assert not only_shadow(state.root)
    assert without_shadow(state.root) == before
    assert one.link(state.root) == real("slack", tmp_path).link(before)
    assert one.link({"shadow": {"revision": 1, "shown": 1}}) == ""


def test_a_root_that_another_story_takes_over_begins_anew() -> None:
    mark = {"revision": 0, "shown": 0}
    assert handed_over({"ts": "1"}, {"revision": 0}) == {"ts": "1", "revision": 0}
    assert handed_over({"shadow": {"revision": 4, "shown": 7}}, {"revision": 0}) == {"shadow": mark}
    assert handed_over({"ts": "1", "shadow": {}}, {"revision": 0}) == {"ts": "1", "revision": 0, "shadow": mark}
