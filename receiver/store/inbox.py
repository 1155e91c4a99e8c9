"""The inbox: what was accepted and what became of it. Its numbers are the order of everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import BindParameter, Integer, bindparam, func, insert, select, update

from receiver.model import Alert
from receiver.store import audit
from receiver.store.audit import Note
from receiver.store.codec import ALERT, dump, load
from receiver.store.engine import NOW, Conn
from receiver.store.schema import inbox, pulse

LEASE_S = 20.0
"""So long an entry rests when a replica has died. One that is worked off twice is recorded once: its number tells."""
MAX_FAILURES = 3


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """One accepted alert, or a raw body that our own code broke on."""

    seq: int
    received_at: float
    source: str
    kind: str
    payload: str
    failures: int

    def alert(self) -> Alert:
        """Decode the alert. Raises pydantic's ValidationError on a payload of a broken writer."""
        return load(ALERT, self.payload)


_ADD = insert(inbox).values(received_at=NOW)
_FREE = (
    select(inbox.c.seq)
    .where(inbox.c.state == "new", (inbox.c.claimed_until.is_(None)) | (inbox.c.claimed_until < NOW))
    .order_by(inbox.c.seq)
    .limit(bindparam("b_limit", type_=Integer))
    .with_for_update(skip_locked=True)
)
_CLAIM = (
    update(inbox)
    .where(inbox.c.seq.in_(_FREE))
    .values(owner=bindparam("b_owner"), claimed_until=NOW + LEASE_S)
    .returning(inbox.c.seq, inbox.c.received_at, inbox.c.source, inbox.c.kind, inbox.c.payload, inbox.c.failures)
)
_SEQS: BindParameter[list[int]] = bindparam("b_seqs", expanding=True)
_DONE = update(inbox).where(inbox.c.seq.in_(_SEQS)).values(state="done", done_at=NOW, owner=None, claimed_until=None)


@dataclass(frozen=True, slots=True)
class NewEntry:
    """What is to be kept: an alert as JSON text, or a raw body and the bug that it met."""

    source: str
    kind: str
    payload: str
    error: str = ""


def new_entries(source: str, alerts: Sequence[Alert]) -> list[NewEntry]:
    """Return what keeps alerts."""
    return [NewEntry(source, "alert", dump(ALERT, alert)) for alert in alerts]


async def add_all(conn: Conn, bodies: Sequence[Sequence[NewEntry]]) -> Sequence[None]:
    """Number and keep the entries of many bodies, in their order."""
    rows = [
        {"source": one.source, "kind": one.kind, "payload": one.payload, "error": one.error}
        for body in bodies
        for one in body
    ]
    if rows:
        await conn.execute(_ADD, rows)
        conn.tell("inbox")
    return [None] * len(bodies)


@dataclass(frozen=True, slots=True)
class Taken:
    """A webhook that is to be kept."""

    entries: Sequence[NewEntry]
    note: Note | None = None
    """A line for the audit stream."""


async def take_all(conn: Conn, bodies: Sequence[Taken]) -> Sequence[None]:
    """Number and keep webhooks, in their order, each with its line."""
    notes = [one.note for one in bodies if one.note is not None]
    if notes:
        await audit.notes(conn, notes)
    return await add_all(conn, [one.entries for one in bodies])


async def add(conn: Conn, source: str, alerts: Sequence[Alert]) -> None:
    """Number and keep alerts."""
    await add_all(conn, [new_entries(source, alerts)])


async def claim(conn: Conn, owner: str, limit: int) -> tuple[InboxEntry, ...]:
    """Take the oldest unclaimed entries for LEASE_S seconds, oldest first."""
    rows = await conn.execute(_CLAIM, {"b_owner": owner, "b_limit": limit})
    return tuple(sorted((InboxEntry(*tuple(row)) for row in rows), key=lambda entry: entry.seq))


async def done(conn: Conn, seqs: Sequence[int]) -> None:
    """Mark entries as worked off."""
    await conn.execute(_DONE, {"b_seqs": list(seqs)})


async def failed(conn: Conn, seq: int, error: str) -> bool:
    """Count a failure by our own bug; True when it was the last one and the entry is now poison."""
    row = await conn.execute(
        update(inbox)
        .where(inbox.c.seq == seq)
        .values(failures=inbox.c.failures + 1, error=error[:2000], owner=None, claimed_until=None)
        .returning(inbox.c.failures)
    )
    failures: int = row.scalar_one()
    return failures >= MAX_FAILURES


async def poison(conn: Conn, seq: int) -> None:
    """Keep an entry that is beyond us out of everybody's way."""
    await conn.execute(
        update(inbox).where(inbox.c.seq == seq).values(state="poison", done_at=NOW, owner=None, claimed_until=None)
    )


async def release_all(conn: Conn, owner: str | None = None) -> None:
    """Free every claim, or those of one replica: when nobody else works on this database, or this one stops."""
    whose = () if owner is None else (inbox.c.owner == owner,)
    await conn.execute(update(inbox).where(inbox.c.state == "new", *whose).values(owner=None, claimed_until=None))


async def backlog(conn: Conn) -> int:
    """How many entries wait."""
    result = await conn.execute(select(func.count()).select_from(inbox).where(inbox.c.state == "new"))
    return int(result.scalar_one())


async def beat(conn: Conn) -> None:
    """Write one row: proof that the store can be written."""
    if (await conn.execute(update(pulse).where(pulse.c.id == 1).values(at=NOW))).rowcount == 0:
        await conn.execute(insert(pulse).values(id=1, at=NOW))
