"""Messages as people read them. Rewrite with UPDATE_GOLDEN=1 and read the difference."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from receiver.model import Change, Story
from receiver.rendering import Message
from receiver.rendering.renderer import StoryRenderer
from receiver.rendering.templates import Templates
from receiver.rendering.text import message_text
from tests import other_stories, stories

GOLDEN = Path(__file__).parents[2] / "data" / "golden" / "messages"

STORIES: dict[str, Callable[[], Story]] = {
    "erp-wave1": stories.story,
    "bitlocker": other_stories.bitlocker,
    "not-recognised": stories.not_recognised,
    "no-evidence-yet": stories.no_evidence,
    "logs-forbidden": stories.logs_forbidden,
    "unknown-identity": stories.unknown_identity,
    "blocked-plan": stories.blocked_plan,
    "still-running": stories.still_running,
    "alert-gone": stories.alert_gone,
    "re-running": stories.rerunning,
    "re-running-read": stories.rerunning_read,
    "failed-again": stories.failed_again,
    "fixed": stories.fixed,
    "fixed-unread": stories.fixed_unread,
    "canceled": stories.canceled,
    "deleted": stories.deleted,
    "cleared": stories.cleared,
    "merged": stories.merged,
    "other-alert": other_stories.other_alert,
    "other-alert-cleared": other_stories.other_cleared,
    "300-vms": other_stories.many_vms,
}
ENTRIES: dict[str, tuple[Change, str, Callable[[], Story]]] = {
    "fired": (Change.FIRED, "MigrationFailed fires", stories.story),
    "evidence": (Change.EVIDENCE, "evidence read", stories.story),
    "worse": (Change.WORSE, "severity is critical now", stories.story),
    "reminded": (Change.REMINDED, "still down after 30 min, nobody has taken it", stories.story),
    "reopened": (Change.REOPENED, "the alert fires again", stories.story),
    "told": (Change.TOLD, "also told: payments", stories.story),
    "rerun": (Change.RERUN, "a new run started; the failure is not fixed yet", stories.rerunning),
    "failed-again": (Change.FAILED_AGAIN, "the plan failed again", stories.failed_again),
    "fixed": (Change.RESOLVED, "the plan succeeded", stories.fixed),
    "canceled": (Change.RESOLVED, "the plan was canceled", stories.canceled),
    "deleted": (Change.RESOLVED, "the plan was deleted", stories.deleted),
    "cleared": (Change.RESOLVED, "the alert is gone", stories.cleared),
    "merged": (Change.RESOLVED, "continued in an older story", stories.merged),
}


@pytest.fixture(scope="module")
def renderer() -> StoryRenderer:
    def broken(what: str) -> None:
        raise AssertionError(what)

    return StoryRenderer(Templates(), broken)


def compare(name: str, message: Message) -> None:
    shown = f"push     {message.mark} {message.push}\nsummary  {message.summary}\n\n{message_text(message)}\n"
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(shown, encoding="utf-8")
    assert shown == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", STORIES)
def test_a_chat_message_reads_as_its_golden_file(name: str, renderer: StoryRenderer) -> None:
    compare(f"slack-{name}", renderer.root(stories.wanted(STORIES[name]()), "slack"))


@pytest.mark.parametrize("name", ["erp-wave1", "bitlocker", "re-running", "fixed"])
def test_a_ticket_reads_as_its_golden_file(name: str, renderer: StoryRenderer) -> None:
    compare(f"jira-{name}", renderer.root(stories.wanted(STORIES[name]()), "jira"))


@pytest.mark.parametrize("content", ["summary", "minimal"])
@pytest.mark.parametrize("name", ["not-recognised", "other-alert", "re-running"])
def test_a_shorter_content_reads_as_its_golden_file(name: str, content: str, renderer: StoryRenderer) -> None:
    compare(f"{content}-{name}", renderer.root(stories.wanted(STORIES[name]()), "slack", content))


def test_a_late_message_at_a_fallback_says_both_first(renderer: StoryRenderer) -> None:
    wanted = stories.wanted(fallback_for="payments/slack: channel_not_found", late_s=43 * 60 + 5)
    compare("slack-fallback-late", renderer.root(wanted, "slack"))


def test_a_destination_whose_own_alerts_are_gone_is_told_that_others_still_fire(renderer: StoryRenderer) -> None:
    compare("slack-ended-here", renderer.root(stories.wanted(firing=False), "slack"))


def test_the_plain_form_reads_as_its_golden_file(renderer: StoryRenderer) -> None:
    compare("plain-erp-wave1", renderer.root(stories.wanted(plain=True), "slack"))


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_reads_as_its_golden_file(name: str, renderer: StoryRenderer) -> None:
    change, text, story = ENTRIES[name]
    entry = stories.entry(change, text, when=stories.at(10, 2), folded=("the alert is gone",))
    compare(f"entry-{name}", renderer.entry(entry, stories.wanted(story()), "slack"))


def test_every_golden_file_belongs_to_a_test() -> None:
    names = {f"slack-{name}" for name in STORIES} | {f"entry-{name}" for name in ENTRIES}
    names |= {"jira-erp-wave1", "jira-bitlocker", "jira-re-running", "jira-fixed"}
    names |= {
        f"{one}-{name}" for one in ("summary", "minimal") for name in ("not-recognised", "other-alert", "re-running")
    }
    names |= {"slack-fallback-late", "slack-ended-here", "plain-erp-wave1"}
    assert {file.stem for file in GOLDEN.glob("*.txt")} == names
