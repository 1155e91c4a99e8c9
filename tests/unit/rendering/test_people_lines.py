"""The line that says who has a story, and the message of one that was given away."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from receiver.model import Ack, Change, Entry, Wanted
from receiver.rendering.text import message_text
from tests import other_stories, stories
from tests.contract.test_digest_goldens import DIGESTS
from tests.unit.rendering.test_renderer import strict

ANA = Ack("Ana *Costa* <!channel>", "PagerDuty", datetime(2026, 11, 21, 2, 4, tzinfo=UTC))
MOVED = "network by Ana Costa (Slack)"


def shown(of: Wanted, kind: str, content: str = "full") -> str:
    renderer, broken = strict()
    message = renderer.root(of, kind, content)
    assert broken.seen == []
    return f"{message.mark} {message.title}\n{message_text(message)}"


@pytest.mark.parametrize("kind", ["slack", "jira", "servicenow", "github", "email"])
def test_whoever_took_a_story_is_named_on_it_as_long_as_it_is_open(kind: str) -> None:
    for story in (stories.story(), stories.rerunning(), stories.alert_gone(), other_stories.other_alert()):
        assert "Taken by" not in shown(stories.wanted(story), kind)
        text = shown(stories.wanted(replace(story, ack=ANA)), kind)
        assert "Taken by Ana *Costa* <!channel>, " in text
        assert "02:04 UTC (PagerDuty)" in text
    assert "Taken by" not in shown(stories.wanted(replace(stories.fixed(), ack=ANA)), kind)


def test_the_plain_form_names_them_too() -> None:
    of = stories.wanted(replace(stories.story(), ack=ANA), plain=True)
    assert "Taken by Ana" in shown(of, "slack")


@pytest.mark.parametrize("plain", [False, True])
def test_what_was_given_away_says_to_whom_and_calls_nobody(plain: bool) -> None:
    for story in (stories.story(), stories.rerunning(), stories.fixed()):
        text = shown(stories.wanted(story, moved=MOVED, firing=False, plain=plain), "slack")
        assert text.startswith("⚪")
        assert f"oved to {MOVED}" in text
        assert "Do now" not in text


def test_minimal_content_names_nobody() -> None:
    of = stories.wanted(replace(stories.story(), ack=ANA))
    assert "Ana" not in shown(of, "slack", "minimal")
    text = shown(replace(of, moved=MOVED, firing=False), "slack", "minimal")
    assert "Moved to somebody else." in text
    assert "Ana" not in text
    assert "network" not in text


@pytest.mark.parametrize(
    ("change", "said", "shown_as"),
    [
        (Change.ACKNOWLEDGED, "acknowledged by Ana Costa in Slack, who takes over from Ben", "Taken. 22 Nov"),
        (
            Change.ACKNOWLEDGED,
            "no longer taken by Ana Costa: the acknowledgement in PagerDuty ended",
            "No longer taken.",
        ),
        (Change.ACKNOWLEDGED, "closed in PagerDuty by Ana Costa; here it stays open", "Closed where it was paged"),
        (Change.MOVED, "moved to network by Ana Costa", "Moved to somebody else."),
        (Change.SILENCED, "silenced for 4 h by Ana Costa in Slack, until 20:52 UTC", "Silenced. 22 Nov"),
        (Change.SILENCED, "the silence by Ana Costa ends in 10 min, at 20:52 UTC", "A silence ends soon."),
        (Change.TOLD, "also told: network/slack", "Changed."),
    ],
)
def test_an_entry_of_minimal_content_says_what_was_done_and_by_nobody(change: Change, said: str, shown_as: str) -> None:
    renderer, broken = strict()
    at = datetime(2025, 11, 22, 2, 4, tzinfo=UTC)
    entry = Entry("x-1", change, at, said, 2)
    of = stories.wanted(stories.story())
    title = renderer.entry(entry, of, "slack", "minimal").title
    assert title.startswith(shown_as)
    assert not {"Ana", "Ben", "network", "Slack"} & set(title.replace(",", " ").split())
    assert renderer.entry(entry, of, "slack", "full").title.startswith(said[:1].upper() + said[1:20])
    assert broken.seen == []


@pytest.mark.parametrize("content", ["full", "minimal"])
def test_a_storm_that_nobody_took_is_called_out_with_its_numbers(content: str) -> None:
    renderer, broken = strict()
    of = next(one for one in DIGESTS.values() if one.story.open and one.story.digest and one.story.digest.down)
    assert of.story.digest is not None
    text = "still down after 30 min, nobody has taken plan mig/a and plan mig/b"
    message = renderer.entry(Entry("reminded-9", Change.REMINDED, of.story.opened, text, 9), of, "slack", content)
    assert message.title.startswith("Nobody has taken it ")
    assert f"{of.story.digest.down} VMs down" in message.title
    assert f"{of.story.digest.plans} plans" in message.title
    assert ("plan mig/a" in message_text(message)) is (content == "full")
    assert broken.seen == []
