"""Attempts: each try is on disk before its first byte leaves, so a lost answer is known to be lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, update

from receiver.model import AttemptOutcome
from receiver.store.codec import dump_json
from receiver.store.deliveries import DeliveryRow
from receiver.store.engine import NOW, Conn
from receiver.store.schema import attempts, deliveries, entries


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try, for the ledger. Times are database seconds; `outcome` None: begun, no answer recorded."""

    part: str
    op: str
    started: float
    ended: float | None
    outcome: str | None
    status: int | None
    error: str


async def begin(conn: Conn, row: DeliveryRow, part: str, op: str) -> int | None:
    """Record that a try begins and return its number; None when the claim is no longer ours.

    An entry of unknown outcome stays marked while the root is brought up to date before it: it is still to be looked
    for, and an update of the root needs no mark, since it may be repeated.
    """
    values: dict[str, Any] = {"fence": row.fence}
    if row.unknown_part in (None, part):
        values |= {"unknown_part": part, "unknown_at": NOW}
    if part == "root":
        values["started"] = True
    result = await conn.execute(
        update(deliveries).where(deliveries.c.id == row.id, deliveries.c.fence == row.fence).values(**values)
    )
    if result.rowcount != 1:
        return None
    inserted = await conn.execute(
        insert(attempts)
        .values(delivery=row.id, part=part, op=op, fence=row.fence, started=NOW)
        .returning(attempts.c.id)
    )
    return int(inserted.scalar_one())


async def end(conn: Conn, attempt: int, outcome: AttemptOutcome, *, status: int | None = None, error: str = "") -> None:
    """Record how a try ended, whoever holds the claim by now: the ledger tells what happened."""
    await conn.execute(
        update(attempts)
        .where(attempts.c.id == attempt)
        .values(ended=NOW, outcome=outcome.value, status=status, error=error[:2000])
    )


async def store_receipt(
    conn: Conn, row: DeliveryRow, part: str, receipt: Mapping[str, Any], values: Mapping[str, Any]
) -> bool:
    """Keep a part's receipt if the claim is still ours."""
    kept: dict[str, Any] = {"root": dump_json(receipt)} if part == "root" else {}
    if row.unknown_part in (None, part):
        kept |= {"unknown_part": None, "unknown_at": None}
    result = await conn.execute(
        update(deliveries)
        .where(deliveries.c.id == row.id, deliveries.c.fence == row.fence)
        .values(fence=row.fence, **kept, **values)
    )
    if result.rowcount != 1:
        return False
    if part != "root":
        await conn.execute(
            update(entries)
            .where(entries.c.delivery == row.id, entries.c.key == part)
            .values(state="delivered", receipt=dump_json(receipt))
        )
    return True


async def skip_entry(conn: Conn, row: DeliveryRow, key: str) -> None:
    """Give up an entry that is refused even in its plain form."""
    await conn.execute(
        update(entries).where(entries.c.delivery == row.id, entries.c.key == key).values(state="skipped")
    )


async def skip_leftovers(conn: Conn, row: DeliveryRow, revision: int) -> None:
    """Entries up to `revision` that a destination has no use for (its root said it all) are not sent later either."""
    await conn.execute(
        update(entries)
        .where(entries.c.delivery == row.id, entries.c.state == "pending", entries.c.revision <= revision)
        .values(state="skipped")
    )


async def of_delivery(conn: Conn, delivery: str) -> tuple[Attempt, ...]:
    """Return a delivery's tries, oldest first."""
    rows = await conn.execute(select(attempts).where(attempts.c.delivery == delivery).order_by(attempts.c.id))
    return tuple(Attempt(row.part, row.op, row.started, row.ended, row.outcome, row.status, row.error) for row in rows)
