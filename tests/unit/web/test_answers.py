"""What was done at a destination, and what it answered, in words."""

from __future__ import annotations

import pytest

from receiver.web.pages.answers import answered, tried


@pytest.mark.parametrize(
    ("op", "part", "kind", "outcome", "said"),
    [
        ("create", "root", "slack", "ok", "message created"),
        ("file", "file-1", "slack", "ok", "log attached"),
        ("attach", "file-1", "jira", "ok", "log attached"),
        ("reply", "rerun-1", "slack", "ok", "reply added"),
        ("comment", "rerun-1", "jira", "ok", "comment added"),
        ("trigger", "root", "pagerduty", "ok", "page sent"),
        ("resolve", "root", "github", "ok", "issue closed"),
        ("create", "root", "slack", "permanent", "message: not created"),
        ("create", "root", "slack", "unknown", "message: answer unknown"),
        ("create", "root", "slack", None, "message: no answer yet"),
        ("shadow create", "root", "slack", "shadow", "message would be created"),
        ("adopt", "root", "github", "ok", "looked for an issue of an earlier try"),
        ("polish", "root", "slack", "ok", "message polish done"),
    ],
)
def test_a_try_is_said_in_english(op: str, part: str, kind: str, outcome: str | None, said: str) -> None:
    assert tried(op, part, kind, outcome) == said


def test_an_identifier_of_slack_comes_with_its_cure_and_others_stay_as_they_are() -> None:
    assert answered("is_archived", "storage/slack").startswith("Slack answered is_archived: the channel is archived")
    assert answered("something_new", "slack") == "Slack answered: something_new"
    assert answered("HTTP 503 from Slack", "slack") == "HTTP 503 from Slack"
    assert answered("is_archived", "erp/jira") == "is_archived"
