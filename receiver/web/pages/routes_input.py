"""What the tester of routes is given: an alert in any form that people have it in, a time, a configuration."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from receiver.explain import Known
from receiver.explain_input import read_alerts
from receiver.model import Alert, AlertStatus, Story
from receiver.routing.matchers import MatcherError, parse_matchers
from receiver.store import overview, reading
from receiver.store.engine import Conn
from receiver.store.filters import Filter
from receiver.wire import Body, UnusableBodyError

MAX_ALERTS: Final = 20
MAX_CONFIG: Final = 262_144
STORED: Final = 30
"""So many of the newest stories offer their alert."""
OPTIONAL: Final = ("story", "alert", "owner", "at", "config", "why_not")
_JSON: Final = re.compile(r'\s*(?:\[|\{\s*(?:"(?:[^"\\]|\\.)*"\s*:|\}))')


class UnusableError(ValueError):
    """Something in the form cannot be used; the message says what, and the cure."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked."""

    said: Mapping[str, str]
    """The fields as they were given: the page shows them again."""
    now: datetime
    body: Body = field(default_factory=lambda: Body((), ()))
    known: Mapping[str, Known] | None = None

    @property
    def config(self) -> str:
        """The pasted configuration; empty: the running one counts."""
        return self.said["config"]


@dataclass(frozen=True, slots=True)
class Offered:
    """A story whose alert can be tried."""

    story: str
    label: str


def said_of(fields: Mapping[str, str]) -> dict[str, str]:
    """Return all fields of the form, empty where nothing is given."""
    said = {name: fields.get(name, "").replace("\r\n", "\n") for name in OPTIONAL}
    # The lines of a configuration are counted as they were pasted.
    return {name: one if name == "config" and one.strip() else one.strip() for name, one in said.items()}


def question_of(said: Mapping[str, str], now: datetime) -> Question:
    """Return what is asked, but for a stored alert. Raises UnusableError."""
    at = _moment(said["at"]) if said["at"] else now
    if len(said["config"].encode()) > MAX_CONFIG:
        raise UnusableError(f"The configuration has more than {MAX_CONFIG // 1024} KiB: paste the part that matters.")
    if said["story"] and said["alert"]:
        raise UnusableError("Choose a stored alert or paste one, not both.")
    if not said["alert"]:
        return Question(said, at)
    try:
        body = read_pasted(said["alert"], at, MAX_ALERTS)
    except (UnusableBodyError, MatcherError) as error:
        raise UnusableError(f"The alert cannot be read: {error}.") from None
    return Question(said, at, body)


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        found = datetime.min.replace(tzinfo=UTC)
    if not 2000 <= found.year < 2200:
        raise UnusableError("The time cannot be read: write for example 2026-09-14T08:30, in UTC.")
    return found


def read_pasted(text: str, now: datetime, at_most: float = math.inf) -> Body:
    """Return the alerts of a JSON text, or the one that labels describe. Raises UnusableBodyError, MatcherError."""
    if _JSON.match(text):
        return read_alerts(text.encode("utf-8", "replace"), now, at_most)
    labels: dict[str, str] = {}
    for line in text.splitlines():
        for matcher in parse_matchers(line.strip().rstrip(",")):
            if matcher.op != "=":
                raise MatcherError(f'{matcher} is no label of an alert: write {matcher.name}="value"')
            labels[matcher.name] = matcher.value
    return read_alerts(json.dumps({"labels": labels}).encode(), now)


async def offered(conn: Conn, sees: frozenset[tuple[str, str]] | None) -> tuple[Offered, ...]:
    """Return the newest stories that somebody may see."""
    ids, _ = await overview.ids(conn, Filter(sees=sees), None, STORED)
    known = await reading.wholes(conn, ids)
    return tuple(Offered(one, _label(known[one].story)) for one in ids if one in known and known[one].story.alerts)


def _label(story: Story) -> str:
    identity = story.identity
    name = identity.name if identity else ""
    what = f"plan {name}" if story.kind == "plan" and name else story.subject
    return f"{what} · {story.alerts[-1].alert.name or 'no name'} · {story.opened:%d %b %H:%M} UTC"[:120]


def with_story(question: Question, story: Story) -> Question:
    """Return the question about a stored story's last alert as it fired, with what was found out about it."""
    alerts = [one for one in story.alerts if one.role == "failure"] or list(story.alerts)
    if not alerts or story.identity is None:
        raise UnusableError("Nothing is stored of this story's alert: paste one instead.")
    last = alerts[-1]
    alert: Alert = replace(last.alert, status=AlertStatus.FIRING, ends_at=None)
    run = story.evidence.run if story.evidence else ""
    known = {alert.fingerprint: Known(story.identity, last.role, story.evidence, run or story.run)}
    return replace(question, body=Body((alert,), ()), known=known)
