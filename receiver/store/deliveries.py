"""Deliveries: what each destination should show, what it shows, and the claims that keep two workers apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, insert, or_, select, update

from receiver.model import Change, DeliveryState, Entry, Keys, Reason
from receiver.store.codec import KEYS, REASONS, dump, dump_json, load, moment
from receiver.store.engine import NOW, Conn
from receiver.store.schema import deliveries, delivery_alerts, entries

NEW_ROOT, AUDIBLE_CHANGE, QUIET_CHANGE = 0, 1, 2
"""Order at a destination."""


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A destination that a story is to be told at."""

    id: str
    receiver: str
    kind: str
    destination: str
    label: str
    keys: Keys
    reasons: tuple[Reason, ...]
    intervals: tuple[Mapping[str, Sequence[str]], ...]
    wait_s: float
    """How long the first message waits for evidence."""
    fallback_for: str = ""


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery as claimed or listed. Times are database seconds."""

    id: str
    story: str
    receiver: str
    kind: str
    destination: str
    label: str
    keys: Keys
    reasons: tuple[Reason, ...]
    intervals: str
    state: DeliveryState
    firing: bool
    desired: int
    delivered: int
    audible: int
    root: str | None
    started: bool
    plain: bool
    due: float | None
    priority: int
    waiting_since: float | None
    tries: int
    fence: int
    unknown_part: str | None
    unknown_at: float | None
    confirm_at: float | None
    told_at: float | None
    fallback_for: str
    fallen_back: bool
    error: str
    created: float


COLUMNS = tuple(deliveries.c[name] for name in DeliveryRow.__dataclass_fields__)


def to_row(row: Row[Any]) -> DeliveryRow:
    """Decode a row of COLUMNS."""
    values = dict(row._mapping)
    values["keys"] = load(KEYS, values["keys"])
    values["reasons"] = load(REASONS, values["reasons"])
    values["state"] = DeliveryState(values["state"])
    return DeliveryRow(**values)


async def of_story(conn: Conn, story: str) -> list[DeliveryRow]:
    """Return a story's deliveries in the order in which they were made."""
    rows = await conn.execute(
        select(*COLUMNS).where(deliveries.c.story == story).order_by(deliveries.c.created, deliveries.c.id)
    )
    return [to_row(row) for row in rows]


async def one(conn: Conn, delivery: str) -> DeliveryRow | None:
    """Return one delivery, or None."""
    row = (await conn.execute(select(*COLUMNS).where(deliveries.c.id == delivery))).one_or_none()
    return to_row(row) if row else None


async def add(conn: Conn, story: str, new: NewDelivery, revision: int, now: float) -> None:
    """Add a delivery that has everything to tell."""
    await conn.execute(
        insert(deliveries).values(
            id=new.id,
            story=story,
            receiver=new.receiver,
            kind=new.kind,
            destination=new.destination,
            label=new.label,
            keys=dump(KEYS, new.keys),
            reasons=dump(REASONS, new.reasons),
            intervals=dump_json(new.intervals),
            state=DeliveryState.PENDING.value,
            firing=True,
            desired=revision,
            audible=revision,
            due=now + new.wait_s,
            priority=NEW_ROOT,
            waiting_since=now,
            fallback_for=new.fallback_for,
            created=now,
        )
    )


async def join(conn: Conn, delivery: str, fingerprint: str) -> None:
    """Note that an alert is routed to this delivery."""
    where = and_(delivery_alerts.c.delivery == delivery, delivery_alerts.c.fingerprint == fingerprint)
    if (await conn.execute(select(delivery_alerts.c.delivery).where(where))).first() is None:
        await conn.execute(insert(delivery_alerts).values(delivery=delivery, fingerprint=fingerprint))


async def joined(conn: Conn, ids: Sequence[str]) -> dict[str, set[str]]:
    """Return the fingerprints routed to each delivery."""
    found: dict[str, set[str]] = {one: set() for one in ids}
    rows = await conn.execute(select(delivery_alerts).where(delivery_alerts.c.delivery.in_(ids)))
    for row in rows:
        found[row.delivery].add(row.fingerprint)
    return found


async def set_reasons(conn: Conn, delivery: str, reasons: tuple[Reason, ...], intervals: str) -> None:
    """Replace why a destination is told; a muted one is judged again."""
    await conn.execute(
        update(deliveries)
        .where(deliveries.c.id == delivery)
        .values(reasons=dump(REASONS, reasons), intervals=intervals)
    )
    muted = and_(deliveries.c.id == delivery, deliveries.c.state == DeliveryState.MUTED.value)
    await conn.execute(update(deliveries).where(muted).values(state=DeliveryState.PENDING.value, due=NOW))


async def set_firing(conn: Conn, ids: Sequence[str], firing: bool) -> None:
    """Set whether deliveries fire. What was skipped because its story was over by then is to be told after all."""
    if not ids:
        return
    await conn.execute(update(deliveries).where(deliveries.c.id.in_(ids)).values(firing=firing))
    if firing:
        await conn.execute(
            update(deliveries)
            .where(deliveries.c.id.in_(ids), deliveries.c.state == DeliveryState.SKIPPED.value)
            .values(state=DeliveryState.PENDING.value, due=NOW, priority=NEW_ROOT, waiting_since=NOW)
        )


_ENDED = (DeliveryState.DEAD.value, DeliveryState.SKIPPED.value, DeliveryState.PARKED.value)


async def bump(
    conn: Conn, story: str, revision: int, now: float, *, audible: bool, ids: Sequence[str] | None = None
) -> None:
    """Let deliveries lag behind a new revision. One that already waits for its time keeps it."""
    where = [deliveries.c.story == story]
    if ids is not None:
        where.append(deliveries.c.id.in_(ids))
    await conn.execute(update(deliveries).where(*where).values(desired=revision))
    if audible:
        await conn.execute(update(deliveries).where(*where).values(audible=revision))
    priority = AUDIBLE_CHANGE if audible else QUIET_CHANGE
    # A delivered one that has a time only waits to confirm what it shows.
    waits = and_(deliveries.c.due.is_not(None), deliveries.c.state != DeliveryState.DELIVERED.value)
    alive: ColumnElement[bool] = deliveries.c.state.not_in(_ENDED)
    if audible:  # a dead letter that is on show somewhere still has an end to tell
        dead = and_(deliveries.c.state == DeliveryState.DEAD.value, deliveries.c.started.is_(True))
        await conn.execute(update(deliveries).where(*where, dead).values(plain=False, tries=0))
        alive = or_(alive, dead)
    await conn.execute(
        update(deliveries)
        .where(*where, alive, ~waits)
        .values(due=now, priority=priority, waiting_since=now, state=DeliveryState.PENDING.value)
    )
    await conn.execute(
        update(deliveries).where(*where, alive, waits, deliveries.c.priority > priority).values(priority=priority)
    )


async def hurry(conn: Conn, story: str, now: float) -> None:
    """What waits only for evidence need not wait any longer."""
    await conn.execute(
        update(deliveries)
        .where(
            deliveries.c.story == story,
            deliveries.c.root.is_(None),
            deliveries.c.tries == 0,
            deliveries.c.state == DeliveryState.PENDING.value,
            deliveries.c.due > now,
        )
        .values(due=now)
    )


async def add_entry(conn: Conn, delivery: str, key: str, change: Change, text: str, rev: int, now: float) -> None:
    """Add an entry; those not yet sent are folded into it. One that may have been sent stays on its own."""
    if (await conn.execute(select(entries.c.key).where(entries.c.delivery == delivery, entries.c.key == key))).first():
        return
    begun = select(deliveries.c.unknown_part).where(deliveries.c.id == delivery, deliveries.c.unknown_part.is_not(None))
    await conn.execute(
        update(entries)
        .where(entries.c.delivery == delivery, entries.c.state == "pending", entries.c.key.not_in(begun))
        .values(state="folded")
    )
    await conn.execute(
        insert(entries).values(
            delivery=delivery, key=key, revision=rev, at=now, change=change.value, text=text, state="pending"
        )
    )


async def pending_entries(conn: Conn, delivery: str) -> tuple[Entry, ...]:
    """Return the entries still to be sent, each with what was folded into it."""
    rows = (
        await conn.execute(select(entries).where(entries.c.delivery == delivery).order_by(entries.c.revision))
    ).all()
    found: list[Entry] = []
    folded: list[str] = []
    for row in rows:
        if row.state == "folded":
            folded.append(row.text)
        elif row.state == "pending":
            found.append(Entry(row.key, Change(row.change), moment(row.at), row.text, row.revision, tuple(folded)))
            folded = []
        else:
            folded = []
    return tuple(found)


async def move(conn: Conn, younger: str, older: str) -> None:
    """Let the older story take over the younger one's destinations that it has not told itself."""
    told = select(deliveries.c.destination).where(deliveries.c.story == older)
    taken = [row.destination for row in await conn.execute(told)]
    await conn.execute(
        update(deliveries)
        .where(deliveries.c.story == younger, deliveries.c.destination.not_in(taken))
        .values(story=older)
    )
