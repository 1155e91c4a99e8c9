"""Another try for what could not be told: one delivery, or all that a filter names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, and_, case, null, or_, select, update

from receiver.model import DeliveryState
from receiver.store import audit
from receiver.store.audit import Kind, Note
from receiver.store.deliveries import DeliveryRow
from receiver.store.engine import NOW, Conn, Store
from receiver.store.manners import BREAK_AFTER
from receiver.store.needing import NEEDING
from receiver.store.owners import Owner, of_stories
from receiver.store.schema import deliveries, destinations

STUCK = (DeliveryState.PARKED, DeliveryState.DEAD, DeliveryState.RETRYING)
"""What a filter may name, and what it means that names no state."""
AT_ONCE: Final = 500
"""Deliveries that one transaction frees: bounds for how long everybody else waits."""
_WHY_NOT: Final = {
    DeliveryState.DELIVERED: ("is delivered", "there is nothing to try again"),
    DeliveryState.MUTED: ("is muted", "it is told in the first minute that its time intervals allow"),
    DeliveryState.SKIPPED: ("is skipped", "nothing was to be told there any more"),
    DeliveryState.DIGEST: ("is told by a digest", "the message of the storm tells of it"),
    DeliveryState.SHADOW: (
        "is in shadow mode: nothing is sent there",
        "it is told when shadow mode ends, if it is not over by then",
    ),
}
_HERE: Final = and_(NEEDING, deliveries.c.moved == "")
STUCK_NOW: Final[ColumnElement[bool]] = and_(_HERE, deliveries.c.state.in_([one.value for one in STUCK]))
_TRIABLE: Final = and_(_HERE, deliveries.c.state.not_in([one.value for one in _WHY_NOT]))
"""Who names a delivery may do so twice: it is pending then."""


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


@dataclass(frozen=True, slots=True)
class Pick:
    """A delivery that may be tried again."""

    id: str
    label: str


PICKED: Final = (deliveries.c.id, deliveries.c.label)
_ROW: Final = (*PICKED, deliveries.c.story, deliveries.c.destination, deliveries.c.state, deliveries.c.moved)


def may_be_retried(row: DeliveryRow) -> bool:
    """Tell whether another try may help: what waits for its turn, is shown or was given away needs none."""
    return row.state in STUCK and not row.moved


def check(states: Sequence[DeliveryState]) -> None:
    """Raise NotRetryableError for a state in which there is nothing to try again."""
    for one in states:
        if one not in STUCK:
            words = ", ".join(state.value for state in STUCK)
            raise NotRetryableError(f"what is {one.value} is not tried again", f"choose of {words}")


async def chosen(conn: Conn, choice: Choice) -> list[Pick]:
    """Return what a filter names, newest first. Raises NotRetryableError (see `check`)."""
    check(choice.states)
    d = deliveries.c
    query = select(*PICKED).where(STUCK_NOW, d.state.in_([state.value for state in choice.states]))
    if choice.destination:
        query = query.where(or_(d.label == choice.destination, d.destination == choice.destination))
    if choice.receiver:
        query = query.where(d.receiver == choice.receiver)
    if choice.within_s is not None:
        query = query.where(d.created >= NOW - choice.within_s)
    return [Pick(row.id, row.label) for row in await conn.execute(query.order_by(d.created.desc(), d.id.desc()))]


async def named(conn: Conn, ids: Sequence[str], sees: frozenset[Owner] | None = None) -> list[Pick]:
    """Return deliveries by id, each once. Raises NotRetryableError for one that is unknown, or not to be tried again.

    One whose story is of none of the owners `sees` (None: all) counts as unknown.
    """
    wanted = list(dict.fromkeys(one.upper() for one in ids))
    rows: dict[str, Row[Any]] = {}
    for at in range(0, len(wanted), AT_ONCE):
        query = select(*_ROW).where(deliveries.c.id.in_(wanted[at : at + AT_ONCE]))
        rows.update({row.id: row for row in await conn.execute(query)})
    if sees is not None:
        owners = await of_stories(conn, {row.story for row in rows.values()})
        rows = {one: row for one, row in rows.items() if owners.get(row.story) in sees}
    for one in ids:
        if one.upper() not in rows:
            raise NotRetryableError(f"no delivery has the id {one}", "see `mtv-receiver deliveries list`")
    for row in (rows[one] for one in wanted):
        if row.moved:
            cure = "nothing more is told there; try what is stuck of its story at who has it now"
            raise NotRetryableError(f"{row.id} {row.label} was given to {row.moved}", cure)
        if (why := _WHY_NOT.get(DeliveryState(row.state))) is not None:
            raise NotRetryableError(f"{row.id} {row.label} {why[0]}", why[1])
    return [Pick(one, rows[one].label) for one in wanted]


async def retry_all(store: Store, picks: Sequence[Pick], by: str = "") -> list[Pick]:
    """Let deliveries be tried now, a few at a time: other writes come between. Returns those that could be still."""
    done: list[Pick] = []
    for at in range(0, len(picks), AT_ONCE):
        some = [one.id for one in picks[at : at + AT_ONCE]]
        done += await store.write(partial(retry, ids=some, by=by))
    return done


async def retry(conn: Conn, ids: Sequence[str], by: str = "") -> list[Pick]:
    """Let dead, parked and waiting deliveries be tried now, and ask their destinations even if nothing got through.

    A destination that asked to be left alone (429) is left alone until its time all the same. `by`: who asks for it.
    What became something else meanwhile, or was given away, is left as it is; returns the others.
    """
    found = {row.id: row for row in await conn.execute(select(*_ROW).where(deliveries.c.id.in_(ids), _TRIABLE))}
    rows = [found[one] for one in dict.fromkeys(ids) if one in found]
    if not rows:
        return []
    lines = [{"destination": row.label, "delivery": row.id, "was": row.state, "by": by} for row in rows]
    await audit.notes(conn, [Note(Kind.RETRY, row.story, facts) for row, facts in zip(rows, lines, strict=True)])
    await conn.execute(
        update(destinations)
        .where(destinations.c.identity.in_({row.destination for row in rows}))
        .values(
            probe_at=NOW,
            hold_until=case((destinations.c.failures >= BREAK_AFTER, null()), else_=destinations.c.hold_until),
        )
    )
    await conn.execute(
        update(deliveries)
        .where(deliveries.c.id.in_([row.id for row in rows]))
        .values(state=DeliveryState.PENDING.value, due=NOW, tries=0, error="", plain=False)
    )
    return [Pick(row.id, row.label) for row in rows]
