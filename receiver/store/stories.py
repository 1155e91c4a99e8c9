"""Stories and their alerts: load one to change it, save what changed, read one to show it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, case, delete, func, insert, or_, select, update

from receiver.model import (
    Alert,
    AlertStatus,
    Change,
    DeliveryState,
    Evidence,
    Identity,
    Link,
    Outcome,
    PlanPhase,
    Story,
    StoryAlert,
    StoryState,
    TimelineEntry,
    Told,
)
from receiver.store.codec import ALERT, EVIDENCE, IDENTITY, dump, load, load_or_none, moment, moment_or_none
from receiver.store.engine import NOW, Conn
from receiver.store.schema import alerts, deliveries, revisions, stories

PRUNE_AT_ONCE = 100


@dataclass(slots=True)
class AlertRow:
    """An alert as a story holds it. Times are database seconds."""

    alert: Alert
    role: str
    seq: int
    source: str
    changed_at: float
    dirty: bool = False

    @property
    def firing(self) -> bool:
        return self.alert.status is AlertStatus.FIRING


@dataclass(slots=True)
class Draft:
    """A story being changed inside one transaction. Save it with `save`."""

    id: str
    subject: str
    kind: str
    severity: str
    title: str
    opened: float
    now: float
    alias: str = ""
    state: StoryState = StoryState.FIRING
    outcome: Outcome | None = None
    revision: int = 0
    closed: float | None = None
    identity: Identity | None = None
    evidence: Evidence | None = None
    note: str = ""
    run: str = ""
    plan_phase: PlanPhase | None = None
    reruns: int = 0
    reopens: int = 0
    previous: str = ""
    continued_in: str = ""
    close_at: float | None = None
    identify_due: float | None = None
    gather_due: float | None = None
    gather_tries: int = 0
    test: bool = False
    alerts: dict[str, AlertRow] = field(default_factory=dict)
    new: bool = False
    changes: list[tuple[Change, str]] = field(default_factory=list)

    @property
    def open(self) -> bool:
        return self.state is not StoryState.RESOLVED

    @property
    def failures(self) -> tuple[AlertRow, ...]:
        return tuple(row for row in self.alerts.values() if row.role == "failure")

    @property
    def firing(self) -> bool:
        return any(row.firing for row in self.failures)

    @property
    def succeeded(self) -> bool:
        """A success fires that started after every failure did."""
        newest = max((row.alert.starts_at for row in self.failures), default=None)
        return any(
            row.role == "success" and row.firing and newest is not None and row.alert.starts_at > newest
            for row in self.alerts.values()
        )

    def note_change(self, change: Change, text: str) -> None:
        """Remember what happened; `save` makes one revision of it all."""
        self.changes.append((change, text))


_SCALARS = (
    "alias", "revision", "closed", "note", "run", "reruns", "reopens", "previous", "continued_in", "close_at",
    "identify_due", "gather_due", "gather_tries", "test",
)  # fmt: skip


async def now_of(conn: Conn) -> float:
    """Return the database's clock."""
    return float((await conn.execute(select(NOW))).scalar_one())


def _draft(row: Row[Any], now: float) -> Draft:
    return Draft(
        id=row.id,
        subject=row.subject,
        kind=row.kind,
        severity=row.severity,
        title=row.title,
        opened=row.opened,
        now=now,
        state=StoryState(row.state),
        outcome=Outcome(row.outcome) if row.outcome else None,
        identity=load_or_none(IDENTITY, row.identity),
        evidence=load_or_none(EVIDENCE, row.evidence),
        plan_phase=PlanPhase(row.plan_phase) if row.plan_phase else None,
        **{name: getattr(row, name) for name in _SCALARS},
    )


async def _with_alerts(conn: Conn, draft: Draft) -> Draft:
    rows = await conn.execute(select(alerts).where(alerts.c.story == draft.id).order_by(alerts.c.seq))
    for row in rows:
        draft.alerts[row.fingerprint] = AlertRow(
            load(ALERT, row.payload), row.role, row.seq, row.source, row.changed_at
        )
    return draft


async def load_draft(conn: Conn, story: str, now: float) -> Draft | None:
    """Return a story to change, or None."""
    row = (await conn.execute(select(stories).where(stories.c.id == story))).one_or_none()
    return await _with_alerts(conn, _draft(row, now)) if row else None


def _known_as(names: Iterable[str]) -> Any:
    """Return the condition for "this subject": its key, or its name from before its UID was known.

    Two Plans that had the same name one after the other share an alias, so an alias says something only to who has
    no UID.
    """
    wanted = sorted({name for name in names if name})
    same = stories.c.subject.in_(wanted)
    return same if len(wanted) > 1 else or_(same, stories.c.alias.in_(wanted))


async def find_open(conn: Conn, names: Iterable[str], now: float) -> list[Draft]:
    """Return the open stories of a subject, oldest first; `names` are its key and its alias."""
    rows = await conn.execute(
        select(stories)
        .where(_known_as(names))
        .where(stories.c.state != StoryState.RESOLVED.value)
        .order_by(stories.c.opened, stories.c.id)
    )
    return [await _with_alerts(conn, _draft(row, now)) for row in rows.all()]


async def find_last(conn: Conn, names: Iterable[str], now: float) -> Draft | None:
    """Return the newest closed story of a subject that ended by itself (not by joining another one)."""
    row = (
        await conn.execute(
            select(stories)
            .where(_known_as(names))
            .where(stories.c.state == StoryState.RESOLVED.value, stories.c.outcome != Outcome.MERGED.value)
            .order_by(stories.c.closed.desc(), stories.c.id.desc())
            .limit(1)
        )
    ).one_or_none()
    return await _with_alerts(conn, _draft(row, now)) if row else None


async def newest_alert(conn: Conn, fingerprint: str) -> tuple[str, AlertRow] | None:
    """Return the story and state of the newest word on a fingerprint."""
    row = (
        await conn.execute(
            select(alerts).where(alerts.c.fingerprint == fingerprint).order_by(alerts.c.seq.desc()).limit(1)
        )
    ).one_or_none()
    if row is None:
        return None
    return row.story, AlertRow(load(ALERT, row.payload), row.role, row.seq, row.source, row.changed_at)


async def save(conn: Conn, draft: Draft, change: Change | None, text: str, key: str) -> None:
    """Write a draft; a change makes it a new revision."""
    if change is not None:
        draft.revision += 1
    values: dict[str, Any] = {
        "subject": draft.subject,
        "kind": draft.kind,
        "state": draft.state.value,
        "outcome": draft.outcome.value if draft.outcome else None,
        "severity": draft.severity,
        "title": draft.title,
        "identity": dump(IDENTITY, draft.identity) if draft.identity else None,
        "evidence": dump(EVIDENCE, draft.evidence) if draft.evidence else None,
        "plan_phase": draft.plan_phase.value if draft.plan_phase else "",
        **{name: getattr(draft, name) for name in _SCALARS},
    }
    if change is not None or draft.new:
        values["updated"] = draft.now
    if draft.new:
        await conn.execute(insert(stories).values(id=draft.id, opened=draft.opened, **values))
        draft.new = False
    else:
        await conn.execute(update(stories).where(stories.c.id == draft.id).values(**values))
    for row in draft.alerts.values():
        if row.dirty:
            await _save_alert(conn, draft.id, row)
    if change is not None:
        await conn.execute(
            insert(revisions).values(
                story=draft.id, revision=draft.revision, at=draft.now, change=change.value, key=key, text=text
            )
        )


async def _save_alert(conn: Conn, story: str, row: AlertRow) -> None:
    alert = row.alert
    values = {
        "seq": row.seq,
        "source": row.source,
        "role": row.role,
        "status": alert.status.value,
        "starts_at": alert.starts_at.timestamp(),
        "ends_at": alert.ends_at.timestamp() if alert.ends_at else None,
        "changed_at": row.changed_at,
        "payload": dump(ALERT, alert),
    }
    where = (alerts.c.story == story) & (alerts.c.fingerprint == alert.fingerprint)
    result = await conn.execute(update(alerts).where(where).values(**values))
    if result.rowcount == 0:
        await conn.execute(insert(alerts).values(story=story, fingerprint=alert.fingerprint, **values))
    row.dirty = False


async def due_stories(conn: Conn, column: str, limit: int) -> tuple[str, ...]:
    """Return open stories whose timer `close_at`, `identify_due` or `gather_due` has run out, most urgent first."""
    timer = stories.c[column]
    rows = await conn.execute(
        select(stories.c.id)
        .where(timer.is_not(None), timer <= NOW, stories.c.state != StoryState.RESOLVED.value)
        .order_by(timer)
        .limit(limit)
    )
    return tuple(row.id for row in rows)


async def next_timer(conn: Conn) -> float | None:
    """Return in how many seconds the next timer of any open story runs out (negative: it has), or None."""
    earliest = []
    for name in ("close_at", "identify_due"):
        value = (
            await conn.execute(
                select(func.min(stories.c[name]) - NOW).where(stories.c.state != StoryState.RESOLVED.value)
            )
        ).scalar_one()
        if value is not None:
            earliest.append(float(value))
    return min(earliest, default=None)


async def open_of_plan(conn: Conn, uid: str, alias: str) -> tuple[str, ...]:
    """Return the open stories about a Plan."""
    rows = await conn.execute(
        select(stories.c.id).where(
            stories.c.subject.in_([f"plan/{uid}", alias]),
            stories.c.state != StoryState.RESOLVED.value,
        )
    )
    return tuple(row.id for row in rows)


async def read_story(conn: Conn, story: str, links: Mapping[str, Link] | None = None) -> Story | None:
    """Return a whole story as of now, with who was told."""
    row = (await conn.execute(select(stories).where(stories.c.id == story))).one_or_none()
    if row is None:
        return None
    draft = await _with_alerts(conn, _draft(row, row.updated))
    timeline = await conn.execute(select(revisions).where(revisions.c.story == story).order_by(revisions.c.revision))
    told = await conn.execute(
        select(deliveries.c.id, deliveries.c.receiver, deliveries.c.kind, deliveries.c.destination, deliveries.c.state)
        .where(deliveries.c.story == story)
        .order_by(deliveries.c.created, deliveries.c.id)
    )
    return Story(
        id=draft.id,
        subject=draft.subject,
        kind=draft.kind,
        state=draft.state,
        revision=draft.revision,
        severity=draft.severity,
        title=draft.title,
        opened=moment(draft.opened),
        updated=moment(row.updated),
        outcome=draft.outcome,
        closed=moment_or_none(draft.closed),
        identity=draft.identity,
        evidence=draft.evidence,
        alerts=tuple(StoryAlert(one.alert, one.role, one.seq, one.source) for one in draft.alerts.values()),
        timeline=tuple(
            TimelineEntry(one.revision, moment(one.at), Change(one.change), one.text, one.key) for one in timeline
        ),
        told=tuple(
            Told(one.receiver, one.kind, one.destination, DeliveryState(one.state), (links or {}).get(one.id))
            for one in told
        ),
        note=draft.note,
        run=draft.run,
        previous=draft.previous,
        continued_in=draft.continued_in,
        test=draft.test,
    )


async def list_stories(
    conn: Conn, *, state: Sequence[str] = (), before: tuple[float, str] | None = None, limit: int = 50
) -> list[Story]:
    """Return stories, newest first; `before` is (opened, id) of the last one already seen."""
    query = select(stories.c.id).order_by(stories.c.opened.desc(), stories.c.id.desc()).limit(limit)
    if state:
        query = query.where(stories.c.state.in_(state))
    if before is not None:
        opened, story = before
        query = query.where(or_(stories.c.opened < opened, (stories.c.opened == opened) & (stories.c.id < story)))
    found = []
    for row in (await conn.execute(query)).all():
        one = await read_story(conn, row.id)
        if one is not None:
            found.append(one)
    return found


async def due_evidence(conn: Conn, limit: int, in_hand: Sequence[str]) -> tuple[str, ...]:
    """Return open stories that want evidence: first the most severe, then the newest."""
    rank = case((stories.c.severity == "critical", 0), (stories.c.severity == "warning", 2), else_=1)
    rows = await conn.execute(
        select(stories.c.id)
        .where(stories.c.gather_due <= NOW, stories.c.state != StoryState.RESOLVED.value, stories.c.id.not_in(in_hand))
        .order_by(stories.c.gather_tries, rank, stories.c.opened.desc())
        .limit(limit)
    )
    return tuple(row.id for row in rows)


async def ask_later(conn: Conn, ids: Sequence[str], in_s: float) -> None:
    """Let open stories wait so many seconds more before their identity is asked for again."""
    await conn.execute(
        update(stories)
        .where(stories.c.id.in_(ids), stories.c.identify_due.is_not(None))
        .values(identify_due=NOW + in_s)
    )


async def set_gather_due(conn: Conn, story: str, due: Any, seen_due: float | None = None) -> None:
    """Set when evidence is wanted next (an SQL expression of database time), or None.

    Where `seen_due` is given and has moved meanwhile, evidence is wanted anew, and that stays.
    """
    where = [stories.c.id == story] if seen_due is None else [stories.c.id == story, stories.c.gather_due == seen_due]
    await conn.execute(update(stories).where(*where).values(gather_due=due))


async def open_in_cluster(conn: Conn, cluster: str) -> tuple[str, ...]:
    """Return the open stories about Plans of a cluster."""
    rows = await conn.execute(
        select(stories.c.id, stories.c.identity).where(
            stories.c.kind == "plan", stories.c.state != StoryState.RESOLVED.value
        )
    )
    found = ((row.id, load_or_none(IDENTITY, row.identity)) for row in rows)
    return tuple(story for story, identity in found if identity is not None and identity.cluster == cluster)


async def prune(conn: Conn, keep_s: float) -> None:
    """Forget stories closed longer than `keep_s` seconds ago, in small steps; open ones are never forgotten."""
    old = select(stories.c.id).where(stories.c.closed < NOW - keep_s).limit(PRUNE_AT_ONCE)
    closed = stories.c.state == StoryState.RESOLVED.value
    await conn.execute(delete(stories).where(stories.c.id.in_(old), closed))
