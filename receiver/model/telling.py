"""What one destination is to show of one story."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from receiver.model.states import Change
from receiver.model.stories import Story

QUIET_WITHIN_S = 120.0
"""A pager gets its one quiet update only so soon after people were told."""

GIVEN_BY = "given by "
"""How the reason of a destination begins that a person chose."""

Receipt = Mapping[str, Any]
"""What a destination gave back and what we sent it: ids, links, hashes. JSON-able, free of secrets."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a destination is told: the route that said yes, as `routes.yaml:41`, and in words."""

    route: str
    text: str

    @property
    def given(self) -> bool:
        """A person gave the story to this destination: it is told whichever alert fires."""
        return not self.route and self.text.startswith(GIVEN_BY)


@dataclass(frozen=True, slots=True)
class Keys:
    """Lasting keys under which destinations know a story; made once, when the delivery is made.

    A story that reopens the ticket of the one before takes over that one's keys, which the ticket has.
    """

    dedup_key: str
    """PagerDuty: at most 255 characters."""
    label: str
    """Ticket label: `mtvr-` and a hash, no blanks."""
    client_id: str
    """UUID that every create of this delivery carries."""
    follows: str = ""
    """Address (or name) of the ticket of an older story of the same subject, closed too long ago to be reopened."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One append-only note of a delivery that is still to be sent, newest state of the story beside it."""

    key: str
    change: Change
    at: datetime
    text: str
    revision: int
    folded: tuple[str, ...] = ()
    """Texts of older entries that were not yet sent when this one came, oldest first."""
    plain: bool = False
    """Its rendered form was refused: use the built-in plain one."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a delivery should show now, and what it shows already."""

    story: Story
    keys: Keys
    firing: bool
    """At least one alert routed to this destination fires, or its story is not closed yet."""
    reasons: tuple[Reason, ...] = ()
    root: Receipt | None = None
    """Receipt of the root; None before its first create."""
    entries: tuple[Entry, ...] = ()
    """Entries still to be sent, oldest first."""
    audible: bool = False
    """An audible revision has not been delivered yet."""
    quiet_allowed: bool = True
    """A quiet edit may be sent (PagerDuty: at most one, within 2 minutes of its trigger)."""
    fallback_for: str = ""
    """`payments/slack: channel_not_found` where this destination stands in for another."""
    moved: str = ""
    """`network by Ana Costa (Slack)` where a person gave the story to somebody else: nothing fires here any more."""
    late_s: float = 0.0
    """How long the root has waited for an outage to end, in seconds; 0 when it is in time."""
    plain: bool = False
    """The rendered form was refused: use the built-in plain one."""
    confirm: bool = False
    """Send the current state once more even if it is equal: a lost request may still have landed after it."""
    external_url: str = ""
    tries: int = 0
    """How often the step that comes next has failed in a row: what is not worth waiting for is left out at last."""
