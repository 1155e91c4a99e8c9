"""Rounds: what one look at an Alertmanager finds, against what the store holds.

Everything here is judged in the transaction that writes it. A word that came by webhook while the round was under way,
recorded already or still in the inbox, is newer than the round: it stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update

from receiver.model import EARLIER, Alert, AlertStatus, Outcome, StoryState
from receiver.store import inbox, jobs
from receiver.store.codec import ALERT, load, moment
from receiver.store.drafts import POISON
from receiver.store.engine import NOW, Conn
from receiver.store.jobs import Job
from receiver.store.schema import alerts, stories
from receiver.store.schema import inbox as entries
from receiver.store.schema import jobs as jobs_table

LEASE_S = 60.0
"""Longer than a round can take."""
AT_ONCE = 500
"""Fingerprints that one statement names."""
EARLIER_FROM = "mtv-receiver/earlier/"
"""How the source of alerts begins that are listed as of before our time; the Alertmanager's name follows.

No webhook can have such a source: its address would have a `/` in it."""
SAME_S = 0.001
"""Times are stored as floats."""

_HEAD = '{"fingerprint":"'
_FINGERPRINT = func.substr(entries.c.payload, len(_HEAD) + 1, 16)
_newer = alerts.alias("newer")
_NEWEST = ~exists().where(_newer.c.fingerprint == alerts.c.fingerprint, _newer.c.seq > alerts.c.seq)
_FIRING = alerts.c.status == AlertStatus.FIRING.value


@dataclass(frozen=True, slots=True)
class Begun:
    """A round in hand."""

    job: Job
    at: float
    """When it began, by the database's clock."""
    seq: int
    """The newest inbox entry then."""
    first: bool
    """Nobody was ever told anything when this Alertmanager was first looked at, a moment ago."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a round saw."""

    present: Collection[str]
    """Fingerprints of all alerts that the Alertmanager holds, silenced ones, too."""
    active: Sequence[Alert]
    """Those that it would tell us."""
    complete: bool
    """Every peer answered, and one has been running for long enough: what is absent is gone."""
    earlier: Sequence[Alert] = ()
    """Of `active`: failures that were over before we were here."""
    list_: Alert | None = None
    """Our own alert that tells of them."""
    untold: Collection[str] = ()
    """Of `active`: what is not worth telling on the first day."""


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a round."""

    opened: tuple[str, ...] = ()
    """Fingerprints."""
    listed: int = 0
    closed: tuple[str, ...] = ()
    lost: bool = False
    """Another replica has taken the round over: nothing was written."""


async def begin(conn: Conn, name: str, owner: str, *, early: bool, first_within_s: float) -> Begun | None:
    """Take an Alertmanager's round where it is due (with `early` in any case); None where it is not ours."""
    job = await jobs.claim(conn, job_of(name), owner, LEASE_S, early=early)
    if job is None:
        return None
    at = float((await conn.execute(select(NOW))).scalar_one())
    seq = (await conn.execute(select(func.max(entries.c.seq)))).scalar_one()
    state = dict(job.state)
    if "since" not in state:
        told = (await conn.execute(select(stories.c.id).limit(1))).first() is not None
        state = {"since": at, "new_here": not told}
        await jobs.note(conn, job.name, state)
    young = not state.get("done") and at - state["since"] <= first_within_s
    return Begun(replace(job, state=state), at, seq or 0, bool(state.get("new_here")) and young)


def job_of(name: str) -> str:
    """Return the name of the job that an Alertmanager's rounds are."""
    return f"reconcile/{name}"


async def is_due(conn: Conn, name: str) -> bool:
    """Is it time for an Alertmanager's round?"""
    due = (await conn.execute(select(jobs_table.c.due).where(jobs_table.c.name == job_of(name)))).scalar_one_or_none()
    return due is None or due <= float((await conn.execute(select(NOW))).scalar_one())


async def fail(conn: Conn, begun: Begun, again_in_s: float) -> None:
    """Give a round back that nobody answered."""
    await jobs.finish(conn, begun.job, again_in_s)


async def end(conn: Conn, begun: Begun, name: str, seen: Seen, grace_s: float, again_in_s: float) -> Found:
    """Write what a round of the Alertmanager `name` found."""
    rows = await _newest(conn, [alert.fingerprint for alert in seen.active])
    offered: Mapping[str, float] = begun.job.state.get("offered", {})
    again: dict[str, float] = {}
    news: list[Alert] = []
    heard = await _heard_since(conn, begun.seq)
    for alert in seen.active:
        key, starts = alert.fingerprint, alert.starts_at.timestamp()
        row = rows.get(key)
        if row is None:  # perhaps of a kind that opens no story: it is not looked at again every minute
            again[key] = starts
            if key in seen.untold or abs(offered.get(key, -1.0) - starts) <= SAME_S:
                continue
        elif _says_the_same(row, starts) or (row.heard_at or 0.0) >= begun.at:
            continue
        if key in heard:
            again.pop(key, None)
        else:
            news.append(alert)
    state = {"since": begun.job.state["since"], "new_here": begun.job.state.get("new_here", False), "done": True}
    if not await jobs.finish(conn, begun.job, again_in_s, {**state, "offered": again}):
        return Found(lost=True)
    listed = {alert.fingerprint for alert in seen.earlier}
    told_as_list = [alert for alert in seen.earlier if any(alert.fingerprint == one.fingerprint for one in news)]
    if told_as_list and seen.list_ is not None:
        await inbox.add(conn, EARLIER_FROM + name, [seen.list_, *told_as_list])
    opened = [alert for alert in news if alert.fingerprint not in listed]
    await inbox.add(conn, name, opened)
    await _present(conn, name, seen.present, begun.at)
    closed = await _absent(conn, begun, name, seen, heard, grace_s) if seen.complete else ()
    await _end_list(conn, name, heard)
    return Found(tuple(alert.fingerprint for alert in opened), len(told_as_list), closed)


def _says_the_same(row: Any, starts: float) -> bool:
    """Does an alert fire here since then? One that began anew meanwhile is another failure."""
    return bool(row.status == AlertStatus.FIRING.value and starts <= row.starts_at + SAME_S)


async def _newest(conn: Conn, fingerprints: Sequence[str]) -> dict[str, Any]:
    """Return the newest word on each of the alerts that any story holds."""
    found: dict[str, Any] = {}
    columns = (alerts.c.fingerprint, alerts.c.status, alerts.c.starts_at, alerts.c.heard_at)
    for some in _some(fingerprints):
        rows = await conn.execute(select(*columns).where(alerts.c.fingerprint.in_(some)).order_by(alerts.c.seq))
        found |= {row.fingerprint: row for row in rows}
    return found


async def _heard_since(conn: Conn, seq: int) -> frozenset[str]:
    """Return the alerts of which the inbox holds a word that is not worked off, or that came after entry `seq`."""
    news = or_(entries.c.state == "new", entries.c.seq > seq)
    found = await conn.execute(select(_FINGERPRINT).where(entries.c.kind == "alert", news))
    return frozenset(found.scalars())


async def _present(conn: Conn, name: str, present: Iterable[str], at: float) -> None:
    """Note that the Alertmanager holds alerts. One of unknown origin that it holds has come from there."""
    ours = alerts.c.source.in_([name, ""])
    older = or_(alerts.c.heard_at.is_(None), alerts.c.heard_at < at)
    for some in _some(sorted(present)):
        held = (alerts.c.fingerprint.in_(some), _FIRING, ours)
        await conn.execute(update(alerts).where(*held, older).values(heard_at=at, absent_at=None))
        await conn.execute(update(alerts).where(*held, alerts.c.source == "").values(source=name))


async def _absent(
    conn: Conn, begun: Begun, name: str, seen: Seen, heard: Collection[str], grace_s: float
) -> tuple[str, ...]:
    """Resolve what fires here and is absent for the second time; note what is for the first time."""
    present = frozenset(seen.present)
    columns = (alerts.c.story, alerts.c.fingerprint, alerts.c.absent_at, alerts.c.payload)
    last = func.coalesce(alerts.c.heard_at, alerts.c.changed_at)
    rows = await conn.execute(
        select(*columns)
        .join(stories, stories.c.id == alerts.c.story)
        .where(_FIRING, alerts.c.source == name, last < begun.at, _NEWEST, _of_a_failure())
    )
    gone = [row for row in rows.all() if row.fingerprint not in present and row.fingerprint not in heard]
    for row in gone:
        if row.absent_at is None:
            await conn.execute(_row(row).values(absent_at=begun.at))
    over = [row for row in gone if row.absent_at is not None and begun.at - row.absent_at >= grace_s]
    said = []
    for row in over:
        alert = load(ALERT, row.payload)
        ends = max(moment(row.absent_at), alert.starts_at)
        said.append(replace(alert, status=AlertStatus.RESOLVED, ends_at=ends))
        await conn.execute(_row(row).values(heard_at=begun.at, absent_at=None))  # said once, whatever becomes of it
    await inbox.add(conn, name, said)
    return tuple(alert.fingerprint for alert in said)


def _of_a_failure() -> ColumnElement[bool]:
    """What could not be processed is in no Alertmanager as it is here; tests never were; a merged story goes on."""
    merged = and_(stories.c.outcome.is_not(None), stories.c.outcome == Outcome.MERGED.value)
    return and_(~stories.c.subject.startswith(POISON, autoescape=True), stories.c.test.is_(False), ~merged)


def _row(row: Any) -> Any:
    return update(alerts).where(alerts.c.story == row.story, alerts.c.fingerprint == row.fingerprint)


async def _end_list(conn: Conn, name: str, heard: Collection[str]) -> None:
    """Resolve our own alert that tells of earlier failures when none fires any more, but perhaps as a new failure."""
    listed = alerts.alias("listed")
    fires = exists().where(
        listed.c.story == alerts.c.story,
        listed.c.role == EARLIER,
        listed.c.status == AlertStatus.FIRING.value,
        ~exists().where(_newer.c.fingerprint == listed.c.fingerprint, _newer.c.seq > listed.c.seq),
    )
    own = await conn.execute(
        select(alerts.c.payload, NOW.label("now"))
        .join(stories, stories.c.id == alerts.c.story)
        .where(_FIRING, alerts.c.source == EARLIER_FROM + name, stories.c.state != StoryState.RESOLVED.value, ~fires)
    )
    for row in own.all():
        alert = load(ALERT, row.payload)
        if alert.fingerprint not in heard:
            over = replace(alert, status=AlertStatus.RESOLVED, ends_at=moment(row.now))
            await inbox.add(conn, EARLIER_FROM + name, [over])


@dataclass(frozen=True, slots=True)
class Listed:
    """An alert that is told in a list of earlier failures."""

    source: str
    alert: Alert


async def listed(conn: Conn, fingerprints: Sequence[str]) -> dict[str, Listed]:
    """Return those of the alerts whose newest word belongs to a list of earlier failures."""
    found: dict[str, Listed] = {}
    for some in _some(fingerprints):
        rows = await conn.execute(
            select(alerts.c.fingerprint, alerts.c.source, alerts.c.payload).where(
                alerts.c.fingerprint.in_(some), alerts.c.role == EARLIER, _NEWEST
            )
        )
        found |= {row.fingerprint: Listed(row.source, load(ALERT, row.payload)) for row in rows}
    return found


def _some(keys: Sequence[str]) -> Iterable[Sequence[str]]:
    return (keys[at : at + AT_ONCE] for at in range(0, len(keys), AT_ONCE))
