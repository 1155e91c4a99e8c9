"""What a person would notice at the sandbox's services between two looks, one line each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from receiver.sandbox import adf, mrkdwn

Snapshot = Mapping[str, Any]
"""What `/state` answers."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One thing at one place, as a person reads it at a glance."""

    where: str
    text: str


@dataclass(frozen=True, slots=True)
class News:
    """Something that appeared (`new`) or reads differently than before."""

    new: bool
    shown: Shown


def shown(snapshot: Snapshot) -> dict[str, Shown]:
    """Return everything there is, under keys that stay the same while it changes."""
    return dict([*_slack(snapshot), *_pagerduty(snapshot), *_jira(snapshot)])


def news(before: Mapping[str, Shown], after: Mapping[str, Shown]) -> list[News]:
    """Return what differs, in the order of `after`."""
    return [News(key not in before, item) for key, item in after.items() if before.get(key) != item]


def _slack(snapshot: Snapshot) -> Iterator[tuple[str, Shown]]:
    for channel in snapshot["slack"]["channels"]:
        for message in channel["messages"]:
            place = f"Slack #{channel['name']}" + ("" if message["root"] else ", in the thread")
            key = f"slack/{channel['id']}/{message['ts']}"
            files = ", ".join(str(one.get("title") or one.get("name") or "file") for one in message.get("files") or ())
            yield key, Shown(place, _first_line(mrkdwn.emoji(message["text"])) or f"📄 {files}")
            if message["root"]:
                yield from _evidence(key, message.get("blocks") or [])


def _evidence(key: str, blocks: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Shown]]:
    """Return the paragraphs of a message that say what it means for people, and why it happened."""
    for block in blocks:
        text = block.get("text")
        words = str(text.get("text", "")) if isinstance(text, Mapping) else ""
        for what in ("Impact", "Cause"):
            if words.startswith(f"*{what}"):
                yield f"{key}/{what}", Shown("", words.replace("*", ""))


def _pagerduty(snapshot: Snapshot) -> Iterator[tuple[str, Shown]]:
    for incident in snapshot["pagerduty"]["incidents"]:
        text = f"{incident['state'].upper()}  {_first_line(incident['title'])}"
        yield f"pagerduty/{incident['number']}", Shown(f"PagerDuty #{incident['number']}", text)


def _jira(snapshot: Snapshot) -> Iterator[tuple[str, Shown]]:
    for issue in snapshot["jira"]["issues"]:
        fields = issue["fields"]
        text = f"{fields['status']['name'].upper()}  {_first_line(fields['summary'])}"
        yield f"jira/{issue['key']}", Shown(f"Jira {issue['key']}", text)
        for comment in fields["comment"]["comments"]:
            body = comment["body"]
            words = body if isinstance(body, str) else adf.plain_text(body)
            yield f"jira/{issue['key']}/{comment['id']}", Shown(f"Jira {issue['key']}, comment", _first_line(words))


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
