"""Stories and their alerts: load one to change it, save what changed, read one to show it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Row, and_, bindparam, case, exists, func, insert, or_, select, update
from sqlalchemy import text as sql

from receiver.model import (
    AUDIBLE,
    AlertStatus,
    Change,
    Outcome,
    PlanPhase,
    StoryState,
)
from receiver.store import audit, columns
from receiver.store.audit import Kind
from receiver.store.codec import ACK, ALERT, EVIDENCE, IDENTITY, dump, dump_json, load, load_or_none
from receiver.store.drafts import POISON
from receiver.store.drafts import AlertRow as AlertRow
from receiver.store.drafts import Draft as Draft
from receiver.store.engine import NOW, Conn
from receiver.store.schema import alerts, revisions, stories

_WANTS_EVIDENCE = and_(
    stories.c.gather_due <= NOW,
    stories.c.state != StoryState.RESOLVED.value,
    or_(stories.c.gather_until.is_(None), stories.c.gather_until < NOW),
)

_SCALARS = (
    "alias", "revision", "closed", "note", "run", "reruns", "reopens", "previous", "continued_in", "close_at",
    "identify_due", "gather_due", "gather_tries", "test", "worse_at",
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
        ack=load_or_none(ACK, row.ack),
        plan_phase=PlanPhase(row.plan_phase) if row.plan_phase else None,
        not_told=json.loads(row.not_told),
        **{name: getattr(row, name) for name in _SCALARS},
    )


async def _with_alerts(conn: Conn, draft: Draft) -> Draft:
    rows = await conn.execute(select(alerts).where(alerts.c.story == draft.id).order_by(alerts.c.seq))
    for row in rows:
        draft.alerts[row.fingerprint] = AlertRow(
            load(ALERT, row.payload), row.role, row.seq, row.source, row.changed_at, heard_at=row.heard_at
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


def is_known_as(draft: Draft, names: Iterable[str]) -> bool:
    """Say of a draft what `find_open` says of a stored story."""
    wanted = {name for name in names if name}
    return draft.subject in wanted or (len(wanted) == 1 and draft.alias in wanted)


async def find_open(conn: Conn, names: Iterable[str], now: float, without: Collection[str] = ()) -> list[Draft]:
    """Return the open stories of a subject, oldest first; `names` are its key and its alias.

    Those whose ids are in `without` are left out, and their alerts are not read.
    """
    rows = await conn.execute(
        select(stories)
        .where(_known_as(names))
        .where(stories.c.state != StoryState.RESOLVED.value)
        .order_by(stories.c.opened, stories.c.id)
    )
    return [await _with_alerts(conn, _draft(row, now)) for row in rows.all() if row.id not in without]


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


_INSERT_STORY, _INSERT_REVISION = insert(stories), insert(revisions)
_UPDATE_STORY = update(stories).where(stories.c.id == bindparam("story_id"))
# As text, since SQLAlchemy writes this for one database at a time only; it is SQLite's and PostgreSQL's alike.
_PUT_ALERT = sql("""
    INSERT INTO alerts
        (story, fingerprint, seq, source, role, status, starts_at, ends_at, changed_at, heard_at, payload)
    VALUES
        (:story, :fingerprint, :seq, :source, :role, :status, :starts_at, :ends_at, :changed_at, :heard_at, :payload)
    ON CONFLICT (story, fingerprint) DO UPDATE SET
        seq = excluded.seq, source = excluded.source, role = excluded.role, status = excluded.status,
        starts_at = excluded.starts_at, ends_at = excluded.ends_at, changed_at = excluded.changed_at,
        heard_at = excluded.heard_at, absent_at = NULL, payload = excluded.payload
""")


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
        "ack": dump(ACK, draft.ack) if draft.ack else None,
        "plan_phase": draft.plan_phase.value if draft.plan_phase else "",
        "not_told": dump_json(draft.not_told),
        **{name: getattr(draft, name) for name in _SCALARS},
        **columns.of(draft.identity, draft.evidence, draft.run),
    }
    if change is not None or draft.new:
        values["updated"] = draft.now
    if draft.new:
        await conn.execute(_INSERT_STORY, {"id": draft.id, "opened": draft.opened, **values})
        draft.new = False
    else:
        await conn.execute(_UPDATE_STORY, {"story_id": draft.id, **values})
    if dirty := [row for row in draft.alerts.values() if row.dirty]:
        await conn.execute(_PUT_ALERT, [_alert_values(draft.id, row) for row in dirty])
    for row in dirty:
        row.dirty = False
    if change is not None:
        made = {"story": draft.id, "revision": draft.revision, "at": draft.now, "key": key, "text": text}
        await conn.execute(_INSERT_REVISION, {**made, "change": change.value})
        ended = draft.outcome.value if draft.outcome else ""
        facts = {"revision": draft.revision, "change": change.value, "said": text, "title": draft.title}
        await audit.note(conn, Kind.STORY, draft.id, **facts, state=draft.state.value, outcome=ended)


def _alert_values(story: str, row: AlertRow) -> dict[str, Any]:
    alert = row.alert
    return {
        "story": story,
        "fingerprint": alert.fingerprint,
        "seq": row.seq,
        "source": row.source,
        "role": row.role,
        "status": alert.status.value,
        "starts_at": alert.starts_at.timestamp(),
        "ends_at": alert.ends_at.timestamp() if alert.ends_at else None,
        "changed_at": row.changed_at,
        "heard_at": row.heard_at,
        "payload": dump(ALERT, alert),
    }


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


async def open_of_namespace(conn: Conn, cluster: str, namespace: str) -> tuple[str, ...]:
    """Return the open stories that a namespace owns."""
    rows = await conn.execute(
        select(stories.c.id).where(
            stories.c.namespace == namespace,
            stories.c.cluster == cluster,
            stories.c.state != StoryState.RESOLVED.value,
        )
    )
    return tuple(row.id for row in rows)


async def open_after(conn: Conn, after: str, limit: int) -> tuple[str, ...]:
    """Return open stories in the order of their ids, which is that of their opening, from one on."""
    rows = await conn.execute(
        select(stories.c.id)
        .where(stories.c.state != StoryState.RESOLVED.value, stories.c.id > after)
        .order_by(stories.c.id)
        .limit(limit)
    )
    return tuple(row.id for row in rows)


async def due_evidence(conn: Conn, limit: int, in_hand: Sequence[str]) -> tuple[str, ...]:
    """Return open stories that want evidence and that nobody reads for: first the most severe, then the newest."""
    rank = case((stories.c.severity == "critical", 0), (stories.c.severity == "warning", 2), else_=1)
    rows = await conn.execute(
        select(stories.c.id)
        .where(_WANTS_EVIDENCE, stories.c.id.not_in(in_hand))
        .order_by(stories.c.gather_tries, rank, stories.c.opened.desc())
        .limit(limit)
    )
    return tuple(row.id for row in rows)


async def claim_evidence(conn: Conn, ids: Sequence[str], lease_s: float) -> frozenset[str]:
    """Take those of the stories that nobody else has taken meanwhile, for so many seconds."""
    taken = await conn.execute(
        update(stories)
        .where(stories.c.id.in_(ids), _WANTS_EVIDENCE)
        .values(gather_until=NOW + lease_s)
        .returning(stories.c.id)
    )
    return frozenset(row.id for row in taken)


async def release_evidence(conn: Conn, story: str | None = None) -> None:
    """Nobody reads for this story any more; without one: for none, since nobody else works on this database."""
    whose = stories.c.gather_until.is_not(None) if story is None else stories.c.id == story
    await conn.execute(update(stories).where(whose).values(gather_until=None))


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


async def clusters_of_open(conn: Conn) -> dict[str, str]:
    """Return the open stories about Plans, each with the cluster that it is followed in."""
    rows = await conn.execute(
        select(stories.c.id, stories.c.identity).where(
            stories.c.kind == "plan", stories.c.state != StoryState.RESOLVED.value
        )
    )
    found = ((row.id, load_or_none(IDENTITY, row.identity)) for row in rows)
    return {story: identity.cluster for story, identity in found if identity is not None}


async def endless_without_timer(conn: Conn) -> tuple[str, ...]:
    """Return the open stories of what could not be processed that no timer closes."""
    poison = stories.c.subject.startswith(POISON, autoescape=True) & (stories.c.kind == "alert")
    open_ones = stories.c.state != StoryState.RESOLVED.value
    rows = await conn.execute(select(stories.c.id).where(poison, open_ones, stories.c.close_at.is_(None)))
    return tuple(row.id for row in rows)


async def left_alone(conn: Conn, ids: Iterable[str]) -> tuple[str, ...]:
    """Return those stories that are open although no alert fires, and that no timer closes."""
    fires = exists().where(
        alerts.c.story == stories.c.id, alerts.c.role == "failure", alerts.c.status == AlertStatus.FIRING.value
    )
    waits = (stories.c.state != StoryState.RESOLVED.value) & stories.c.close_at.is_(None) & ~fires
    rows = await conn.execute(select(stories.c.id).where(stories.c.id.in_(tuple(ids)), waits))
    return tuple(row.id for row in rows)


async def last_told(conn: Conn, story: str) -> float | None:
    """Return when a story last changed in a way that people should notice."""
    loud = sorted(change.value for change in AUDIBLE)
    result = await conn.execute(
        select(func.max(revisions.c.at)).where(revisions.c.story == story, revisions.c.change.in_(loud))
    )
    return result.scalar_one_or_none()


async def closed_at(conn: Conn, story: str) -> float | None:
    """Return when a story was closed; None where it is open or forgotten."""
    return (await conn.execute(select(stories.c.closed).where(stories.c.id == story))).scalar_one_or_none()
