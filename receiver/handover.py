"""The shift handover: what the next shift must know, read once and bounded.

open stories, worst first ─┐
what stands still          │
what was not told          ├─► Handover ──► page, JSON, terminal, scheduled message
what ended, who did what   │
silences that end soon    ─┘
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from receiver.config.durations import parse_duration
from receiver.rendering import words
from receiver.rendering.view import down_vms
from receiver.store import shift
from receiver.store.codec import ACK, EVIDENCE, load, load_or_none, moment
from receiver.store.engine import Conn
from receiver.store.owners import Owner

T = TypeVar("T")

USUAL: Final = "12h"
LEAST_S: Final = 60.0
MOST_S: Final = 7 * 86_400.0
MOST_WRITTEN: Final = 40
"""Characters of such a time."""
MOST_EVIDENCE: Final = 100
"""Stories whose VMs are counted one by one: beyond them a number is one of "at least"."""


@dataclass(frozen=True, slots=True)
class Some(Generic[T]):
    """The first of a list, and how many there are."""

    items: tuple[T, ...] = ()
    total: int = 0

    @property
    def more(self) -> int:
        """How many are not in `items`."""
        return self.total - len(self.items)


@dataclass(frozen=True, slots=True)
class OpenStory:
    """A failure that goes on."""

    id: str
    title: str
    namespace: str
    cluster: str
    state: str
    impact: str
    severity: str
    failed: int
    total: int
    cause: str
    """In one sentence; empty where it is not known."""
    since: datetime
    taken_by: str
    """Empty: nobody has it."""
    taken_at: datetime | None
    silenced_until: datetime | None
    silenced_by: str


@dataclass(frozen=True, slots=True)
class Storm:
    """Failures that are told as one."""

    id: str
    title: str
    members: int
    """Those that are still open."""
    since: datetime
    taken_by: str
    failed: int = 0
    total: int = 0
    cause: str = ""
    """What most of its stories have in common, in one sentence; empty where none is known."""
    alike: int = 0
    """So many of its stories have that cause."""
    takers: tuple[tuple[str, int], ...] = ()
    """Who took how many of its stories, those who took most first."""


@dataclass(frozen=True, slots=True)
class Untold:
    """What did not arrive: one dead letter, or all that waits for one destination."""

    state: str
    """dead, parked or retrying."""
    to: str
    why: str
    since: datetime
    number: int = 1
    story: str = ""
    """Id, of a dead letter."""
    title: str = ""
    stood_in: bool = False
    """Somebody else was told in its place: of all of it."""
    elsewhere: int = 0
    """Of what waits for a destination, so much was told to somebody else."""
    destination: str = ""
    """By its identity, where it is known."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A story that is over."""

    id: str
    title: str
    namespace: str
    cluster: str
    outcome: str
    opened: datetime
    closed: datetime
    rerun: bool
    """The plan was run again meanwhile."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a person did."""

    at: datetime
    story: str
    title: str
    action: str
    by: str
    via: str
    text: str


@dataclass(frozen=True, slots=True)
class Ending:
    """A silence that is over soon."""

    story: str
    title: str
    until: datetime
    by: str


@dataclass(frozen=True, slots=True)
class Handover:
    """What the next shift must know."""

    now: datetime
    since_s: float
    number: int
    """Stories that are open, those of storms included."""
    down: int
    """Of these, with VMs that are down."""
    free: int
    """Of these, that nobody has."""
    vms_down: int
    vms_at_least: bool
    """There are more VMs down than were counted."""
    storms: tuple[Storm, ...]
    open: Some[OpenStory]
    """Those that are neither of a storm nor stuck, worst first."""
    stuck: Some[OpenStory]
    dead: Some[Untold]
    waiting: Some[Untold]
    """Parked destinations, and those that are tried again."""
    ended: Some[Ended]
    outcomes: Mapping[str, int]
    done: Some[Done]
    ending: Some[Ending]

    @property
    def summary(self) -> str:
        """All of it in one sentence, without a full stop."""
        untold = ", ".join(_untold(self))
        stories = f"{words.count(self.number, 'story')} open" if self.number == 1 else f"{self.number:,} stories open"
        if not self.number:
            return f"Nothing is open; {untold}" if untold else "Nothing is open, and everything was told"
        parts = [stories]
        if self.down:
            at_least = "at least " if self.vms_at_least else ""
            vms = f"{at_least}{words.count(self.vms_down, 'VM')} down" if self.vms_down else "VMs down"
            parts.append(f"{vms} in {self.down:,}" if self.number > 1 else vms)
        if self.free:
            all_of_them = "nobody has it" if self.number == 1 else "nobody has any of them"
            parts.append(all_of_them if self.free == self.number else f"nobody has {self.free:,}")
        return ", ".join(parts) + (f"; {untold}" if untold else "")


def _untold(of: Handover) -> list[str]:
    parked = [one for one in of.waiting.items if one.state == "parked"]
    late = of.waiting.total - len(parked)
    found = [words.count(of.dead.total, "dead letter")] if of.dead.total else []
    found += [f"{words.count(len(parked), 'destination')} parked"] if parked else []
    return [*found, *([f"{words.count(late, 'destination')} late"] if late else [])]


def read_since(text: str) -> float:
    """Return how many seconds a shift was, as people write it. Raises ValueError `what; cure`."""
    seconds = parse_duration(text) if len(text) <= MOST_WRITTEN else MOST_S + 1
    if not LEAST_S <= seconds <= MOST_S:
        raise ValueError("a shift is 1m to 7d long; write such as 12h")
    return seconds


async def read(conn: Conn, since_s: float, sees: frozenset[Owner] | None = None) -> Handover:
    """Return the handover of the last `since_s` seconds: what somebody may see of it, None: all."""
    now = await shift.now_of(conn)
    sums = await shift.sums(conn, sees)
    storms = await shift.storms(conn, sees)
    told = frozenset[str]().union(*(one.members for one in storms))
    still = (await shift.stuck(conn, sees)) - told
    others = await shift.open_stories(conn, sees, told | still)
    stuck = await shift.open_stories(conn, sees, (), still)
    quiet = await shift.silenced(conn, [row.id for row in (*others.rows, *stuck.rows)])
    vms, at_least = await _vms_down(conn, sees, sums.down)
    ended, outcomes = await shift.ended(conn, since_s, sees)
    dead = await shift.dead(conn, since_s, sees)
    waiting = await _waiting(conn, sees)
    done = await shift.pressed(conn, since_s, sees)
    ending = await shift.silences_ending(conn, since_s, sees)
    return Handover(
        now=moment(now),
        since_s=since_s,
        number=int(sums.open),
        down=int(sums.down),
        free=int(sums.free),
        vms_down=vms,
        vms_at_least=at_least,
        storms=tuple(_storm(one) for one in storms),
        open=Some(tuple(_open(row, quiet) for row in others.rows), others.total),
        stuck=Some(tuple(_open(row, quiet) for row in stuck.rows), stuck.total),
        dead=Some(tuple(_dead(row) for row in dead.rows), dead.total),
        waiting=waiting,
        ended=Some(tuple(_ended(row) for row in ended.rows), ended.total),
        outcomes=outcomes,
        done=Some(tuple(_done(row) for row in done.rows), done.total),
        ending=Some(tuple(Ending(o.story, o.title, moment(o.until), o.by) for o in ending.rows), ending.total),
    )


async def _vms_down(conn: Conn, sees: frozenset[Owner] | None, stories: int) -> tuple[int, bool]:
    if not stories:
        return 0, False
    kept = await shift.evidence_of(conn, sees, MOST_EVIDENCE)
    number = sum(len(down_vms(load_or_none(EVIDENCE, one))) for one in kept)
    return number, stories > len(kept)


async def _waiting(conn: Conn, sees: frozenset[Owner] | None) -> Some[Untold]:
    """Return what waits, by destination; a parked destination counts also where nothing does."""
    found = await shift.waiting(conn, sees)
    late = [
        Untold(
            "parked" if row.parked else "retrying",
            row.label,
            row.why or "",
            moment(row.since),
            row.number,
            stood_in=row.elsewhere == row.number,
            elsewhere=row.elsewhere,
            destination=row.destination,
        )
        for row in found.rows
    ]
    known = {row.destination for row in found.rows}
    idle = [row for row in await shift.parked(conn) if row.identity not in known] if sees is None else []
    late += [
        Untold("parked", row.identity, row.reason, moment(row.since or 0.0), 0, destination=row.identity)
        for row in idle
    ]
    return Some(tuple(sorted(late, key=lambda one: (one.state, one.since))), found.total + len(idle))


def _taken(ack: str | None) -> tuple[str, datetime | None]:
    found = load(ACK, ack) if ack else None
    return (found.by, found.at) if found else ("", None)


def _storm(one: shift.Storm) -> Storm:
    return Storm(
        one.id, one.title, len(one.members), moment(one.opened), _taken(one.ack)[0], one.failed, one.total, one.cause,
        one.alike, one.takers,
    )  # fmt: skip


def _open(row: Any, quiet: Mapping[str, tuple[float, str]]) -> OpenStory:
    by, at = _taken(row.ack)
    until, silencer = quiet.get(row.id, (None, ""))
    return OpenStory(
        row.id, row.title, row.namespace, row.cluster, row.state, row.impact, row.severity, row.failed, row.total,
        row.cause_text, moment(row.opened), by, at, moment(until) if until is not None else None, silencer,
    )  # fmt: skip


def _dead(row: Any) -> Untold:
    stood_in = bool(row.stood_in)
    return Untold(
        "dead", row.label, row.error, moment(row.since), 1, row.story, row.title, stood_in, int(stood_in),
        row.destination,
    )  # fmt: skip


def _ended(row: Any) -> Ended:
    times = moment(row.opened), moment(row.closed)
    return Ended(row.id, row.title, row.namespace, row.cluster, row.outcome, *times, rerun=row.reruns > 0)


def _done(row: Any) -> Done:
    return Done(moment(row.at), row.story, row.title, row.action, row.by, row.via, row.text)


def outcome_words(outcomes: Mapping[str, int]) -> str:
    """Return such as "2 fixed, 1 canceled"."""
    known: Sequence[str] = ("fixed", "canceled", "deleted", "cleared")
    return ", ".join(f"{outcomes[one]:,} {one}" for one in known if outcomes.get(one))
