"""Another try for what could not be told: one delivery, or all that a filter names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import case, null, or_, select, update

from receiver.model import DeliveryState
from receiver.store import audit
from receiver.store.audit import Kind, Note
from receiver.store.deliveries import COLUMNS, DeliveryRow, one, to_row
from receiver.store.engine import NOW, Conn
from receiver.store.manners import BREAK_AFTER
from receiver.store.owners import Owner, of_stories
from receiver.store.schema import deliveries, destinations

STUCK = (DeliveryState.PARKED, DeliveryState.DEAD, DeliveryState.RETRYING)
"""What a filter means that names no state."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which deliveries; all that is given must fit."""

    states: tuple[DeliveryState, ...] = STUCK
    destination: str = ""
    """As `deliveries list` names it (payments/slack), or its identity (slack:…)."""
    receiver: str = ""
    within_s: float | None = None
    """Made so many seconds ago at most."""


class NotRetryableError(ValueError):
    """A delivery that cannot be tried again; the message says which and why, `cure` what helps."""

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(what)
        self.cure = cure


async def chosen(conn: Conn, choice: Choice) -> list[DeliveryRow]:
    """Return what a filter names, newest first."""
    query = select(*COLUMNS).where(deliveries.c.state.in_([state.value for state in choice.states]))
    if choice.destination:
        name = choice.destination
        query = query.where(or_(deliveries.c.label == name, deliveries.c.destination == name))
    if choice.receiver:
        query = query.where(deliveries.c.receiver == choice.receiver)
    if choice.within_s is not None:
        query = query.where(deliveries.c.created >= NOW - choice.within_s)
    # What is delivered has nothing to try again, unless it lags behind its story.
    query = query.where(or_(deliveries.c.state != DeliveryState.DELIVERED.value, deliveries.c.due.is_not(None)))
    rows = await conn.execute(query.order_by(deliveries.c.created.desc(), deliveries.c.id.desc()))
    return [to_row(row) for row in rows]


async def named(conn: Conn, ids: Sequence[str], sees: frozenset[Owner] | None = None) -> list[DeliveryRow]:
    """Return deliveries by id. Raises NotRetryableError for one that is unknown, or delivered.

    One whose story is of none of the owners `sees` (None: all) counts as unknown.
    """
    rows: list[DeliveryRow] = []
    for each in ids:
        row = await one(conn, each.upper())
        if row is not None and sees is not None:
            owner = (await of_stories(conn, [row.story])).get(row.story)
            row = row if owner in sees else None
        if row is None:
            raise NotRetryableError(f"no delivery has the id {each}", "see `mtv-receiver deliveries list`")
        if row.state is DeliveryState.DELIVERED and row.due is None:
            raise NotRetryableError(f"{row.id} {row.label} is delivered", "there is nothing to try again")
        rows.append(row)
    return rows


async def retry(conn: Conn, rows: Sequence[DeliveryRow], by: str = "") -> None:
    """Let dead, parked and waiting deliveries be tried now, and ask their destinations even if nothing got through.

    A destination that asked to be left alone (429) is left alone until its time all the same. `by`: who asks for it.
    """
    lines = [{"destination": row.label, "delivery": row.id, "was": row.state, "by": by} for row in rows]
    await audit.notes(conn, [Note(Kind.RETRY, row.story, facts) for row, facts in zip(rows, lines, strict=True)])
    for at in range(0, len(rows), 500):
        some = rows[at : at + 500]
        await conn.execute(
            update(destinations)
            .where(destinations.c.identity.in_({row.destination for row in some}))
            .values(
                probe_at=NOW,
                hold_until=case((destinations.c.failures >= BREAK_AFTER, null()), else_=destinations.c.hold_until),
            )
        )
        await conn.execute(
            update(deliveries)
            .where(deliveries.c.id.in_([row.id for row in some]))
            .values(state=DeliveryState.PENDING.value, due=NOW, tries=0, error="", plain=False)
        )
