"""The line that says who has a story, and the message of one that was given away."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from receiver.model import Ack, Wanted
from receiver.rendering.text import message_text
from tests import stories
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
    for story in (stories.story(), stories.rerunning(), stories.alert_gone(), stories.other_alert()):
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
