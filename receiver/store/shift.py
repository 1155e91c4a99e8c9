"""What a shift leaves to the next one, as the store holds it: open stories, what is not told, what ended, who did what.

Every list is bounded by MOST rows and comes with the number of all; sums are made by the database.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Select, and_, case, exists, func, or_, select

from receiver.config.model import CAPACITY_SHORT
from receiver.model import Alert, AlertStatus, DeliveryState, Impact, Outcome
from receiver.model.handed import HANDOVER
from receiver.store import digests, inbox, jobs
from receiver.store.codec import ACK, ALERT, load
from receiver.store.engine import NOW, Conn
from receiver.store.filters import IS_OPEN, Filter, conditions
from receiver.store.own_alerts import SOURCE as OWN
from receiver.store.owners import Owner
from receiver.store.parking import GONE
from receiver.store.schema import alerts, deliveries, destinations, presses, silences, stories

SOURCE: Final = "mtv-receiver/handover"
"""Where alerts come from that hold a handover. No Alertmanager can have this name."""
_JOB: Final = "handover"
MOST: Final = 200
MOST_MEMBERS: Final = 5_000
LATE_S: Final = 600.0
"""What waits for another try for so long is not told yet, as far as people are concerned."""
STUCK_ALERTS: Final = frozenset({"MTVPlanStuck", "MTVPlanNotReady", CAPACITY_SHORT})

c, d = stories.c, deliveries.c
Sees = frozenset[Owner] | None
_WORST = case({Impact.DOWN.value: 0, Impact.AT_RISK.value: 1, Impact.UNKNOWN.value: 2}, value=c.impact, else_=3)
_OF_STORY = (
    c.id, c.title, c.state, c.impact, c.severity, c.namespace, c.cluster, c.cause, c.cause_text, c.failed, c.total,
    c.opened, c.ack,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """The first rows of a list, and how many there are."""

    rows: Sequence[Row[Any]]
    total: int


@dataclass(frozen=True, slots=True)
class Storm:
    """One storm, whoever is told of it. Times are database seconds."""

    id: str
    title: str
    opened: float
    ack: str | None
    members: frozenset[str]
    """Open stories."""
    failed: int = 0
    """VMs of these, and of how many."""
    total: int = 0
    cause: str = ""
    """What most of them have in common, in a sentence; empty where none is known."""
    alike: int = 0
    """So many of them have that cause."""
    takers: tuple[tuple[str, int], ...] = ()
    """Who took how many of them."""


def _real(sees: Sees) -> list[ColumnElement[bool]]:
    """Return what every story must be: a failure of one's own, no rehearsal, and one that may be shown."""
    return [c.kind.not_in((digests.KIND, HANDOVER)), c.test.is_(False), *conditions(Filter(sees=sees))]


async def _found(conn: Conn, query: Select[Any], most: int = MOST) -> Found:
    rows = (await conn.execute(query.limit(most + 1))).all()
    if len(rows) <= most:
        return Found(rows, len(rows))
    total = (await conn.execute(select(func.count()).select_from(query.order_by(None).subquery()))).scalar_one()
    return Found(rows[:most], int(total))


async def now_of(conn: Conn) -> float:
    """Return the database's clock."""
    return float((await conn.execute(select(NOW))).scalar_one())


async def sums(conn: Conn, sees: Sees) -> Row[Any]:
    """Return numbers of all open stories: `open`, `down` (with VMs that are down) and `free` (nobody has them)."""
    query = select(
        func.count().label("open"),
        func.count(case((c.impact == Impact.DOWN.value, 1))).label("down"),
        func.count(case((c.ack.is_(None), 1))).label("free"),
    )
    return (await conn.execute(query.where(IS_OPEN, *_real(sees)))).one()


async def storms(conn: Conn, sees: Sees) -> tuple[Storm, ...]:
    """Return the storms that go on, the largest first. They are of several owners: who may not see all sees none.

    A storm that several destinations are told of is one: whose members another one has, too, is left out.
    """
    if sees is not None:
        return ()
    shown = c.kind == digests.KIND, c.test.is_(False), IS_OPEN
    heads = (await conn.execute(select(c.id, c.title, c.opened, c.ack).where(*shown).limit(MOST))).all()
    members: dict[str, dict[str, Row[Any]]] = defaultdict(dict)
    joined = (
        select(d.digest, d.story, c.failed, c.total, c.cause_text, c.ack)
        .join(stories, c.id == d.story)
        .where(IS_OPEN, *_real(sees))
    )
    joined = joined.where(d.digest.in_([head.id for head in heads]), d.digest != "").limit(MOST_MEMBERS)
    for row in await conn.execute(joined):
        members[row.digest][row.story] = row
    told: set[str] = set()
    found: list[Storm] = []
    for head in sorted(heads, key=lambda one: (-len(members[one.id]), one.opened)):
        own = [row for story, row in members[head.id].items() if story not in told]
        if own:
            found.append(_storm(head, own))
            told |= found[-1].members
    return tuple(found)


def _storm(head: Row[Any], own: Sequence[Row[Any]]) -> Storm:
    causes = Counter(row.cause_text for row in own if row.cause_text)
    cause, alike = min(causes.items(), key=lambda it: (-it[1], it[0]), default=("", 0))
    takers = Counter(load(ACK, row.ack).by for row in own if row.ack)
    ids = frozenset(row.story for row in own)
    failed, total = sum(row.failed for row in own), sum(row.total for row in own)
    return Storm(
        head.id, head.title, head.opened, head.ack, ids, failed, total, cause, alike, tuple(takers.most_common())
    )


async def stuck(conn: Conn, sees: Sees) -> frozenset[str]:
    """Return the open stories that only say that something stands still: every alert that fires is one of these."""
    fires = and_(alerts.c.status == AlertStatus.FIRING.value, alerts.c.role == "failure")
    ours = select(alerts.c.story).join(stories, c.id == alerts.c.story).where(IS_OPEN, *_real(sees))
    ours = ours.where(fires, alerts.c.source == OWN).distinct().limit(MOST_MEMBERS)
    names: dict[str, set[str]] = defaultdict(set)
    ids = list((await conn.execute(ours)).scalars())
    for at in range(0, len(ids), 500):
        some = select(alerts.c.story, alerts.c.payload).where(alerts.c.story.in_(ids[at : at + 500]), fires)
        for row in await conn.execute(some):
            names[row.story].add(load(ALERT, row.payload).name)
    return frozenset(story for story, found in names.items() if found <= STUCK_ALERTS)


async def open_stories(conn: Conn, sees: Sees, without: Collection[str], only: Collection[str] | None = None) -> Found:
    """Return open stories, the worst first, then the oldest; `only` and `without` are ids."""
    query = select(*_OF_STORY).where(IS_OPEN, *_real(sees)).order_by(_WORST, c.opened, c.id)
    if only is not None:
        query = query.where(c.id.in_(list(only)))
    elif without:
        query = query.where(c.id.not_in(list(without)))
    return await _found(conn, query)


async def evidence_of(conn: Conn, sees: Sees, most: int) -> Sequence[str | None]:
    """Return the evidence of open stories with VMs that are down."""
    query = select(c.evidence).where(IS_OPEN, *_real(sees), c.impact == Impact.DOWN.value)
    return (await conn.execute(query.order_by(c.opened, c.id).limit(most))).scalars().all()


async def silenced(conn: Conn, ids: Collection[str]) -> dict[str, tuple[float, str]]:
    """Return until when stories are silenced, and by whom; those that are."""
    query = select(silences.c.story, silences.c.until, silences.c.by).where(
        silences.c.story.in_(list(ids)), silences.c.until > NOW
    )
    return {row.story: (row.until, row.by) for row in await conn.execute(query.order_by(silences.c.until))}


async def silences_ending(conn: Conn, within_s: float, sees: Sees) -> Found:
    """Return the silences of open stories of which the last ends so soon: `story`, `title`, `until`, `by`."""
    last = select(silences.c.story, func.max(silences.c.until).label("until")).group_by(silences.c.story).subquery()
    same = (last.c.story == silences.c.story) & (last.c.until == silences.c.until)
    query = select(silences.c.story, c.title, silences.c.until, func.max(silences.c.by).label("by"))
    query = query.join(last, same).join(stories, c.id == silences.c.story)
    query = query.where(IS_OPEN, *_real(sees), silences.c.until > NOW, silences.c.until <= NOW + within_s)
    query = query.group_by(silences.c.story, c.title, silences.c.until)
    return await _found(conn, query.order_by(silences.c.until, silences.c.story))


async def dead(conn: Conn, since_s: float, sees: Sees) -> Found:
    """Return dead letters of stories that are open, or changed in the time: `label`, `title`, `error`, `since`, …"""
    since = func.coalesce(d.waiting_since, d.created).label("since")
    query = select(d.id, d.story, c.title, d.label, d.destination, d.error, since, _stood_in().label("stood_in"))
    query = query.join(stories, c.id == d.story)
    recent = or_(IS_OPEN, c.updated >= NOW - since_s)
    query = query.where(d.state == DeliveryState.DEAD.value, recent, *_told(sees))
    return await _found(conn, query.order_by(d.created.desc(), d.id))


def _stood_in() -> ColumnElement[bool]:
    """Return whether others were told in place of a delivery."""
    other = deliveries.alias()
    instead = func.substr(other.c.fallback_for, 1, func.length(d.label) + 2) == d.label + ": "
    return exists().where(other.c.story == d.story, instead)


async def waiting(conn: Conn, sees: Sees) -> Found:
    """Return destinations at which something is late: `destination`, `label`, `number`, `since`, `why`, `parked`.

    `elsewhere` of the number others were told in its place.
    `number` of a parked one counts what waits there; who may not see everything sees it only where it is theirs.
    """
    put_aside = and_(d.state == DeliveryState.PARKED.value, or_(d.due.is_not(None), d.error == GONE))
    between = d.state.in_((DeliveryState.RETRYING.value, DeliveryState.PENDING.value))
    late = and_(between, d.due.is_not(None), d.waiting_since < NOW - LATE_S)
    parked = func.count(case((put_aside, 1)))
    query = select(
        d.destination,
        func.min(d.label).label("label"),
        func.count().label("number"),
        func.count(case((_stood_in(), 1))).label("elsewhere"),
        func.coalesce(destinations.c.since, func.min(func.coalesce(d.waiting_since, d.created))).label("since"),
        func.coalesce(func.nullif(destinations.c.reason, ""), func.max(d.error)).label("why"),
        (parked > 0).label("parked"),
    ).join(stories, c.id == d.story)
    query = query.outerjoin(destinations, destinations.c.identity == d.destination)
    query = query.where(or_(put_aside, late), *_told(sees))
    query = query.group_by(d.destination, destinations.c.since, destinations.c.reason)
    return await _found(conn, query.order_by(func.count().desc(), d.destination))


async def parked(conn: Conn) -> Sequence[Row[Any]]:
    """Return the destinations that refuse everything, also where nothing waits: `identity`, `reason`, `since`."""
    query = select(destinations.c.identity, destinations.c.reason, destinations.c.since)
    return (await conn.execute(query.where(destinations.c.parked.is_(True)).limit(MOST))).all()


def _told(sees: Sees) -> list[ColumnElement[bool]]:
    """Return what the story of a delivery must be: a storm's and a handover's own message count, too."""
    return [c.test.is_(False), *conditions(Filter(sees=sees))]


async def ended(conn: Conn, since_s: float, sees: Sees) -> tuple[Found, dict[str, int]]:
    """Return the stories that ended in the time, the last first, and how many ended how."""
    where = [c.closed >= NOW - since_s, c.outcome.is_not(None), c.outcome != Outcome.MERGED.value, *_real(sees)]
    counted = await conn.execute(select(c.outcome, func.count().label("number")).where(*where).group_by(c.outcome))
    numbers = {row.outcome: int(row.number) for row in counted}
    query = select(c.id, c.title, c.namespace, c.cluster, c.outcome, c.opened, c.closed, c.reruns).where(*where)
    rows = (await conn.execute(query.order_by(c.closed.desc(), c.id).limit(MOST))).all()
    return Found(rows, sum(numbers.values())), numbers


async def pressed(conn: Conn, since_s: float, sees: Sees) -> Found:
    """Return what people did in the time, the last first."""
    p = presses.c
    query = select(p.at, p.story, c.title, p.action, p.by, p.via, p.text).join(stories, c.id == p.story)
    query = query.where(p.at >= NOW - since_s, p.done.is_(True), c.test.is_(False), *conditions(Filter(sees=sees)))
    return await _found(conn, query.order_by(p.id.desc()))


# --- the scheduled message ---


async def told_until(conn: Conn) -> float | None:
    """Return up to which time of the schedule shifts were told; None: it has not begun."""
    at = (await jobs.state_of(conn, _JOB)).get("told")
    return float(at) if isinstance(at, int | float) else None


async def begin(conn: Conn, owner: str, at: float) -> None:
    """Begin a schedule: what is later than `at` is to be told."""
    job = await jobs.claim(conn, _JOB, owner, early=True)
    if job is not None:
        await jobs.finish(conn, job, 0.0, {"told": at, **job.state})


async def tell(conn: Conn, owner: str, at: float, alert: Alert) -> bool:
    """Put a handover into the inbox and note its time, together; False where another replica was quicker."""
    job = await jobs.claim(conn, _JOB, owner, early=True)
    if job is None:
        return False
    told = bool(job.state.get("told", at) < at)
    if told:
        await inbox.add(conn, SOURCE, [alert])
    await jobs.finish(conn, job, 0.0, {"told": at} if told else None)
    return told
