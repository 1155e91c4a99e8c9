"""What a clock leaves behind that ran ahead and was set back: times so far ahead that they cannot have been meant.

Every stored time at which something is to be done has a longest delay. One that is further ahead was written by a clock
that was wrong, and is due now; a lease that is longer than leases are ends one lease from now, since who holds it may
still be at work. Where the clock was seen to go back, what says when something *was* is not later than now, either:
else an unanswered try would be looked for until then, and a heartbeat heard in the future would never be missed.

Nothing here decides what is done, only when it is looked at: whoever looks too early finds that, and waits again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, func, literal, select, update
from sqlalchemy.sql.dml import Update

from receiver.model import DeliveryState, StoryState
from receiver.store import jobs as jobs_store
from receiver.store.drafts import POISON
from receiver.store.engine import NOW, Conn
from receiver.store.schema import (
    alerts,
    deliveries,
    destinations,
    digests,
    entries,
    inbox,
    jobs,
    pulse,
    revisions,
    stories,
)

TOLERANCE_S = 1.0
"""Clocks are slewed by less, all the time."""
MARK = "clock"
"""The job whose state says what the clock last said."""
_WORDS = ("at", "since", "looked")
"""What jobs call the times that they note."""


@dataclass(frozen=True, slots=True)
class Longest:
    """The longest delay of every stored time, in seconds."""

    first_s: float
    """A first message waits for evidence."""
    delivery_s: float
    """Others, for another try."""
    muted_s: float
    confirm_s: float
    delivery_lease_s: float
    inbox_lease_s: float
    close_s: float
    close_endless_s: float
    identify_s: float
    gather_s: float
    gather_lease_s: float
    remind_s: float
    digest_s: float
    probe_s: float
    hold_s: float
    """What nobody asked for: rate limit and breaker. What a destination asked for is stored beside the time."""
    job_s: float
    job_lease_s: float
    deliveries_s: Mapping[str, float] = field(default_factory=dict)
    """Of destinations that are not as most are."""
    holds_s: Mapping[str, float] = field(default_factory=dict)


class Timers:
    """Finds and corrects such times, under one configuration."""

    def __init__(self, longest: Longest) -> None:
        self._updates = tuple(_ahead(longest))

    async def correct(self, conn: Conn) -> int:
        """Correct what is too far ahead, and note what the clock says; returns how many times were wrong."""
        found = 0
        if await _was_set_back(conn):
            found += await _not_later_than_now(conn)
        for one in self._updates:
            found += (await conn.execute(one)).rowcount
        now = float((await conn.execute(select(NOW))).scalar_one())
        await jobs_store.note(conn, MARK, {"at": now})
        return found


def _ahead(longest: Longest) -> Sequence[Update]:
    """Return what corrects each time. Conditions name what has an index: most rows are never looked at."""
    d, s = deliveries.c, stories.c
    is_open = s.state != StoryState.RESOLVED.value
    muted, shown = d.state == DeliveryState.MUTED.value, d.state == DeliveryState.DELIVERED.value
    first = and_(d.state == DeliveryState.PENDING.value, d.tries == 0)
    endless = and_(s.kind == "alert", s.subject.startswith(POISON, autoescape=True))
    waits = d.due.is_not(None)
    delay = _of(d.destination, longest.deliveries_s, longest.delivery_s)
    hold = _of(destinations.c.identity, longest.holds_s, longest.hold_s)
    asked = destinations.c.hold_until > NOW + func.coalesce(destinations.c.asked_s, 0.0) + TOLERANCE_S
    # A Retry-After: the delivery rests for as long as its destination, which was judged before it.
    held = exists().where(destinations.c.identity == d.destination, destinations.c.hold_until > d.due - TOLERANCE_S)
    return (
        _to_now(destinations.c.hold_until, hold, asked),
        _to_now(d.confirm_at, longest.confirm_s, waits),
        _to_now(d.due, longest.confirm_s, waits, shown),
        _to_now(d.due, longest.first_s, waits, first),
        _to_now(d.due, delay, waits, ~muted, ~held),
        _to_now(d.due, longest.muted_s, waits, muted),
        _to_a_lease(d.claimed_until, longest.delivery_lease_s, waits),
        _to_a_lease(inbox.c.claimed_until, longest.inbox_lease_s, inbox.c.state == "new"),
        _to_now(s.close_at, longest.close_s, and_(is_open, ~endless)),
        _to_now(s.close_at, longest.close_endless_s, and_(is_open, endless)),
        _to_now(s.identify_due, longest.identify_s, is_open),
        _to_now(s.gather_due, longest.gather_s, is_open),
        _to_now(s.remind_at, longest.remind_s, is_open),
        _to_a_lease(s.gather_until, longest.gather_lease_s, is_open),
        _to_now(digests.c.look_at, longest.digest_s),
        _to_now(destinations.c.probe_at, longest.probe_s),
        _to_now(jobs.c.due, longest.job_s),
        _to_a_lease(jobs.c.claimed_until, longest.job_lease_s),
    )


def _of(identity: ColumnElement[str], of_some: Mapping[str, float], of_most: float) -> ColumnElement[float]:
    if not of_some:
        return literal(of_most)
    return case(*((identity == one, delay) for one, delay in sorted(of_some.items())), else_=of_most)


def _to_now(column: Any, delay: Any, *where: ColumnElement[bool]) -> Update:
    return update(column.table).where(column > NOW + delay + TOLERANCE_S, *where).values({column: NOW})


def _to_a_lease(column: Any, lease_s: float, *where: ColumnElement[bool]) -> Update:
    return update(column.table).where(column > NOW + lease_s + TOLERANCE_S, *where).values({column: NOW + lease_s})


# --- what was ---

_PAST = (
    *(inbox.c.received_at, inbox.c.done_at, pulse.c.at, revisions.c.at, entries.c.at),
    *(stories.c.opened, stories.c.updated, stories.c.closed, stories.c.worse_at),
    *(alerts.c.changed_at, alerts.c.heard_at, alerts.c.absent_at),
    *(deliveries.c.created, deliveries.c.waiting_since, deliveries.c.told_at, deliveries.c.unknown_at),
    *(destinations.c.tokens_at, destinations.c.since, destinations.c.away_since, digests.c.joined_at),
)
_LAST_ENTRY = select(inbox.c.received_at).order_by(inbox.c.seq.desc()).limit(1)


async def _was_set_back(conn: Conn) -> bool:
    """Is something newer than now: what the clock said last, the last alert that came, the last sign of life?"""
    now = float((await conn.execute(select(NOW))).scalar_one())
    said = [(await jobs_store.state_of(conn, MARK)).get("at")]
    said += [(await conn.execute(one)).scalar_one_or_none() for one in (_LAST_ENTRY, select(func.max(pulse.c.at)))]
    return any(one is not None and one > now + TOLERANCE_S for one in said)


async def _not_later_than_now(conn: Conn) -> int:
    found = 0
    for column in _PAST:
        later = update(column.table).where(column > NOW + TOLERANCE_S)
        found += (await conn.execute(later.values({column: NOW}))).rowcount
    now = float((await conn.execute(select(NOW))).scalar_one())
    for row in (await conn.execute(select(jobs.c.name, jobs.c.state))).all():
        state: dict[str, Any] = json.loads(row.state)
        wrong = [one for one in _WORDS if isinstance(at := state.get(one), int | float) and at > now + TOLERANCE_S]
        if wrong:
            await jobs_store.note(conn, row.name, {**state, **dict.fromkeys(wrong, now)})
            found += 1
    return found
