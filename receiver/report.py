"""The report of shadow mode: what would have been told to whom, beside what Alertmanager sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from receiver.config.durations import parse_duration
from receiver.destinations.shadow import CREATE, REPLY
from receiver.rendering.words import count, duration
from receiver.store import shadow
from receiver.store.codec import moment
from receiver.store.engine import Conn
from receiver.store.shadow import Seen, Tried

USUAL: Final = "7d"
LEAST_S: Final = 60.0
MOST_S: Final = 90 * 86_400.0


@dataclass(frozen=True, slots=True)
class Counts:
    """What would have been sent."""

    messages: int = 0
    """Messages, mails, incidents, tickets, first events."""
    replies: int = 0
    """What follows them: replies, comments, further mails and events."""
    edits: int = 0
    """Changes of what is there already, which call nobody; the closing of incidents and tickets is among them."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.messages + other.messages, self.replies + other.replies, self.edits + other.edits)


@dataclass(frozen=True, slots=True)
class ToReceiver:
    """What a receiver would have been told."""

    receiver: str
    stories: int
    counts: Counts


@dataclass(frozen=True, slots=True)
class ToDestination:
    """What a destination would have been told of one story."""

    label: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class OfStory:
    """What would have been told of one story."""

    id: str
    opened: datetime
    title: str
    told: tuple[ToDestination, ...]
    notifications: int
    """How many notifications Alertmanager sent that hold one of its alerts."""


@dataclass(frozen=True, slots=True)
class Report:
    """All of it."""

    since_s: float
    now: datetime
    notifications: int
    alerts: int
    """In those notifications, each as often as it came."""
    counts: Counts
    receivers: tuple[ToReceiver, ...]
    stories: tuple[OfStory, ...]
    """Newest first."""
    cut: bool
    """There was more than one report reads: numbers are at least so high."""

    @property
    def empty(self) -> bool:
        """Was there nothing at all?"""
        return not self.stories and not self.notifications

    @property
    def summary(self) -> str:
        """Return all of it in one sentence, without its full stop."""
        if self.empty:
            return f"Nothing in {duration(self.since_s)}: nobody was in shadow mode, or nothing came"
        least = "at least " if self.cut else ""
        sent = f"{count(self.notifications, 'notification')} with {count(self.alerts, 'alert')}"
        would = f"{count(self.counts.messages, 'message')}, {replies(self.counts.replies)}"
        edits = count(self.counts.edits, "quiet edit")
        return f"Alertmanager sent {least}{sent}; mtv-receiver would have sent {least}{would} (and {edits})"


def replies(number: int) -> str:
    """Return "1 reply" or "3 replies"."""
    return f"{number:,} {'reply' if number == 1 else 'replies'}"


def read_since(text: str) -> float:
    """Return a time such as 7d in seconds. Raises ValueError: what is wrong; the cure."""
    try:
        seconds = parse_duration(text)
    except ValueError:
        raise ValueError("no duration; write for example 7d") from None
    if not LEAST_S <= seconds <= MOST_S:
        raise ValueError("not between 1m and 90d; write for example 7d")
    return seconds


async def read(conn: Conn, since_s: float) -> Report:
    """Return the report of the last `since_s` seconds."""
    return made(await shadow.seen(conn, since_s), since_s)


def made(found: Seen, since_s: float) -> Report:
    """Return the report of what was found."""
    holding = _holding(found)
    stories: dict[str, list[Tried]] = {}
    receivers: dict[str, list[Tried]] = {}
    for one in found.tried:
        stories.setdefault(one.story, []).append(one)
        receivers.setdefault(one.receiver, []).append(one)
    return Report(
        since_s=since_s,
        now=moment(found.now),
        notifications=len(found.webhooks),
        alerts=sum(int(one.facts.get("alerts", 0)) for one in found.webhooks),
        counts=_sum(found.tried),
        receivers=tuple(
            ToReceiver(name, len({one.story for one in tried}), _sum(tried))
            for name, tried in sorted(receivers.items())
        ),
        stories=tuple(
            OfStory(
                story,
                moment(tried[0].opened),
                tried[0].title,
                tuple(ToDestination(one.label, _counts(one.ops)) for one in tried),
                len(set().union(*(holding.get(each, set()) for each in found.fingerprints.get(story, ())))),
            )
            for story, tried in reversed(stories.items())
        ),
        cut=found.cut,
    )


def _holding(found: Seen) -> Mapping[str, set[int]]:
    """Return by fingerprint the webhooks that held it."""
    holding: dict[str, set[int]] = {}
    for one in found.webhooks:
        for fingerprint in one.facts.get("fingerprints", ()):
            holding.setdefault(fingerprint, set()).add(one.id)
    return holding


def _sum(tried: list[Tried] | tuple[Tried, ...]) -> Counts:
    return sum((_counts(one.ops) for one in tried), Counts())


def _counts(ops: Mapping[str, int]) -> Counts:
    all_of_them = Counter(ops).total()
    messages, replies = ops.get(CREATE, 0), ops.get(REPLY, 0)
    return Counts(messages, replies, all_of_them - messages - replies)


def report_json(found: Report) -> dict[str, Any]:
    """Return the report for programs."""
    return {
        "since_s": found.since_s,
        "until": found.now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "summary": found.summary,
        "alertmanager": {"notifications": found.notifications, "alerts": found.alerts},
        "would_have_sent": asdict(found.counts),
        "receivers": [
            {"receiver": one.receiver, "stories": one.stories, **asdict(one.counts)} for one in found.receivers
        ],
        "stories": [
            {
                "id": one.id,
                "opened": one.opened.isoformat(timespec="seconds").replace("+00:00", "Z"),
                "title": one.title,
                "notifications": one.notifications,
                "told": [{"destination": each.label, **asdict(each.counts)} for each in one.told],
            }
            for one in found.stories
        ],
        "at_least": found.cut,
    }
