"""Deliveries: what each destination should show, what it shows, and what is left to tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, bindparam, case, exists, insert, or_, select, update
from sqlalchemy import text as sql

from receiver.model import AUDIBLE, Change, DeliveryState, Keys, Reason
from receiver.store.codec import KEYS, REASONS, dump, dump_json, load
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
    firing: bool = True
    root: str | None = None
    """Receipt of a root that is there already: the ticket of an older story, to be reopened."""


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
    moved: str = ""
    """To whom a person gave the story, and who did; from then on nothing is told here."""


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


_ADD = insert(deliveries)
# As text, since SQLAlchemy writes this for one database at a time only; it is SQLite's and PostgreSQL's alike.
_JOIN = sql(
    "INSERT INTO delivery_alerts (delivery, fingerprint) VALUES (:delivery, :fingerprint) ON CONFLICT DO NOTHING"
)
_JOINED = select(delivery_alerts).where(delivery_alerts.c.delivery.in_(bindparam("ids", expanding=True)))


async def add(conn: Conn, story: str, new: NewDelivery, revision: int, now: float) -> None:
    """Add a delivery that has everything to tell."""
    await add_all(conn, story, [new], revision, now)


async def add_all(conn: Conn, story: str, news: Sequence[NewDelivery], revision: int, now: float) -> None:
    """Add deliveries that have everything to tell."""
    if not news:
        return
    conn.tell("deliveries")
    same = {
        "story": story,
        "state": DeliveryState.PENDING.value,
        "desired": revision,
        "audible": revision,
        "priority": NEW_ROOT,
        "waiting_since": now,
        "created": now,
    }
    rows = [
        {
            **same,
            "id": new.id,
            "receiver": new.receiver,
            "kind": new.kind,
            "destination": new.destination,
            "label": new.label,
            "keys": dump(KEYS, new.keys),
            "reasons": dump(REASONS, new.reasons),
            "intervals": dump_json(new.intervals),
            "firing": new.firing,
            "root": new.root,
            "started": new.root is not None,
            "due": now + new.wait_s,
            "fallback_for": new.fallback_for,
        }
        for new in news
    ]
    await conn.execute(_ADD, rows)


async def join(conn: Conn, pairs: Iterable[tuple[str, str]]) -> None:
    """Note which alerts are routed to which deliveries: pairs of a delivery's id and a fingerprint."""
    if rows := [{"delivery": delivery, "fingerprint": fingerprint} for delivery, fingerprint in pairs]:
        await conn.execute(_JOIN, rows)


async def joined(conn: Conn, ids: Sequence[str]) -> dict[str, set[str]]:
    """Return the fingerprints routed to each delivery."""
    found: dict[str, set[str]] = {one: set() for one in ids}
    rows = await conn.execute(_JOINED, {"ids": list(ids)})
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


_ENDED = (
    DeliveryState.DEAD.value,
    DeliveryState.SKIPPED.value,
    DeliveryState.PARKED.value,
    DeliveryState.DIGEST.value,
)
"""No change of the story brings these back; a digest tells of its members."""


async def bump(
    conn: Conn, story: str, revision: int, now: float, *, audible: bool, ids: Sequence[str] | None = None
) -> None:
    """Let deliveries lag behind a new revision. One that already waits for its time keeps it.

    Without `ids`: all of the story but those that gave it away.
    """
    where = [deliveries.c.story == story]
    where.append(deliveries.c.moved == "" if ids is None else deliveries.c.id.in_(ids))
    wanted = {"desired": revision, "audible": revision} if audible else {"desired": revision}
    conn.tell("deliveries")
    await conn.execute(update(deliveries).where(*where).values(**wanted))
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


_SKIP_MUTED = (
    update(deliveries)
    .where(deliveries.c.story == bindparam("b_story"), deliveries.c.state == DeliveryState.MUTED.value)
    .values(state=DeliveryState.SKIPPED.value, due=None, delivered=deliveries.c.desired)
)


async def skip_muted(conn: Conn, story: str) -> None:
    """A story is over: what was held back for a time interval is not to be sent any more."""
    await conn.execute(_SKIP_MUTED, {"b_story": story})


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


_ADD_ENTRY = insert(entries)
_LOUD = sorted(change.value for change in AUDIBLE | {Change.REMINDED, Change.AWAY})


async def add_entries(
    conn: Conn, ids: Sequence[str], key: str, change: Change, text: str, revision: int, now: float
) -> None:
    """Add one entry to each of some deliveries; those not yet sent are folded into it, if they are not louder.

    One that may have been sent stays on its own. Where the key is there already, nothing is added.
    """
    if not ids:
        return
    there = await conn.execute(select(entries.c.delivery).where(entries.c.delivery.in_(ids), entries.c.key == key))
    known = {row.delivery for row in there}
    wanting = [one for one in ids if one not in known]
    if not wanting:
        return
    begun = select(deliveries.c.id).where(
        deliveries.c.id == entries.c.delivery, deliveries.c.unknown_part == entries.c.key
    )
    foldable = [entries.c.delivery.in_(wanting), entries.c.state == "pending", ~exists(begun)]
    if change.value not in _LOUD:  # what people should notice is not hidden in what they need not
        foldable.append(entries.c.change.not_in(_LOUD))
    await conn.execute(update(entries).where(*foldable).values(state="folded"))
    same = {"key": key, "revision": revision, "at": now, "change": change.value, "text": text, "state": "pending"}
    await conn.execute(_ADD_ENTRY, [{"delivery": one, **same} for one in wanting])


async def move(conn: Conn, younger: str, older: str) -> None:
    """Let the older story take over the younger one's destinations that it has not told itself.

    What they showed keeps its revision numbers and entry keys: the older story's go on above both (see
    `receiver.merge`), so that whatever comes next is newer than anything that was told here.
    """
    told = select(deliveries.c.destination).where(deliveries.c.story == older)
    await conn.execute(
        update(deliveries)
        .where(deliveries.c.story == younger, deliveries.c.destination.not_in(told))
        .values(story=older)
    )


async def let_go(conn: Conn, delivery: str) -> None:
    """Let a delivery of a closed story do nothing more: another story's shows its root from now on."""
    waiting = and_(deliveries.c.id == delivery, deliveries.c.due.is_not(None))
    ended = case(
        (deliveries.c.state == DeliveryState.DELIVERED.value, deliveries.c.state), else_=DeliveryState.SKIPPED.value
    )
    await conn.execute(update(deliveries).where(waiting).values(due=None, confirm_at=None, state=ended))
