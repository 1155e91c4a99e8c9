"""`handover:` of routes.yaml as it is written, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, time, tzinfo
from typing import Any, Final

from pydantic import Field

from receiver.config.durations import Duration
from receiver.config.handover import HandoverPost
from receiver.config.matching import check_names
from receiver.config.positions import Path
from receiver.config.problems import Problems
from receiver.config.reader import Reader
from receiver.config.settings import Names, Settings
from receiver.routing.intervals import IntervalError, location_of

PAGES_OR_TICKETS: Final = frozenset({"pagerduty", "jira", "servicenow", "github", "gitlab"})
"""Kinds that are not for reading: nobody is paged for a handover, and none is worked off."""
_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


class HandoverWire(Settings):
    """What a shift leaves to the next one, told at fixed times."""

    at: Names = Field(min_length=1)
    """Times of the day, such as '06:00'."""
    location: str = "UTC"
    """The time zone of `at`, such as Europe/Berlin."""
    receiver: str = Field(min_length=1)
    """Whose chat, mail and webhooks are told; pagers and tickets are not."""
    since: Duration = Field(default=HandoverPost((), "").since_s, ge=60, le=7 * 86_400)
    """How long a shift is."""


def read_handover(raw: Any, path: Path, reader: Reader, receivers: Mapping[str, Any]) -> HandoverPost | None:
    """Return `handover:`; `receivers` are those that exist, None for one with problems of its own."""
    wire = reader.read(HandoverWire, reader.mapping(raw, path), path)
    problems = reader.problems
    if wire is None:
        if isinstance(raw, Mapping) and isinstance(raw.get("receiver"), str):
            check_names([raw["receiver"]], receivers, "receiver", (*path, "receiver"), problems)
        return None
    check_names([wire.receiver], receivers, "receiver", (*path, "receiver"), problems)
    known = receivers.get(wire.receiver)
    if known is not None and all(one.kind in PAGES_OR_TICKETS for one in known.destinations):
        what = f"{wire.receiver} has no chat, mail or webhook: nobody would be told"
        problems.add((*path, "receiver"), what, "name a receiver that people read")
    zone = _zone(wire.location, path, problems)
    return HandoverPost(_times(wire.at, (*path, "at"), problems), wire.receiver, zone, wire.since)


def _zone(name: str, path: Path, problems: Problems) -> tzinfo | None:
    try:
        return location_of(name)
    except IntervalError as error:
        what, _, cure = str(error).partition(": ")
        problems.add((*path, "location"), what, cure)
        return UTC


def _times(texts: tuple[str, ...], path: Path, problems: Problems) -> tuple[time, ...]:
    found: list[time] = []
    for number, text in enumerate(texts):
        where = problems.element(path, number)
        match = _TIME.fullmatch(text)
        if match is None:
            problems.add(where, f"{text!r} is no time of the day", "write hours and minutes, such as '06:00'")
            continue
        at = time(int(match[1]), int(match[2]))
        if at in found:
            problems.add(where, f"{text} stands here a second time", "keep one of them")
        else:
            found.append(at)
    return tuple(sorted(found))
