"""Attempts: each try is on disk before its first byte leaves, so a lost answer is known to be lost.

What many tries need at the same time is one set operation (`begin_all`, `finish_all`): a storm costs few statements.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BindParameter, Boolean, Integer, bindparam, case, cast, insert, null, or_, select, update
from sqlalchemy import Float as Real

from receiver.config.model import Manners
from receiver.model import AttemptOutcome, DeliveryState, Receipt
from receiver.rendering.view import TICKETS
from receiver.store import audit, links, manners
from receiver.store.audit import Kind, Note
from receiver.store.codec import dump_json
from receiver.store.deliveries import AUDIBLE_CHANGE, QUIET_CHANGE, DeliveryRow
from receiver.store.engine import NOW, Conn
from receiver.store.manners import Asked
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


@dataclass(frozen=True, slots=True)
class Try:
    """A try that is about to begin."""

    row: DeliveryRow
    part: str
    op: str
    probe: bool = False
    """Begin although the destination is parked."""
    manners: Manners = field(default_factory=Manners)


@dataclass(frozen=True, slots=True)
class Begun:
    """A try on disk."""

    attempt: int
    failing: bool = False
    """The destination's last try did not get through: whatever it answers now is news."""


@dataclass(frozen=True, slots=True)
class Resting:
    """The destination is parked or held back, or has had its share of tries for now: nothing was begun."""


@dataclass(frozen=True, slots=True)
class Done:
    """A step that was carried out."""

    row: DeliveryRow
    """As it was when the step was planned."""
    part: str = ""
    """Empty: all was shown already, nothing was sent."""
    receipt: Receipt = field(default_factory=dict)
    told: bool = False
    """People were noticeably told."""
    attempt: int | None = None
    """None: it was found, not sent."""
    failing: bool = True
    """False: nothing was wrong with the destination when the try began, so its answer changes nothing there."""
    kept_in_root: bool = False
    """`part` is neither the root nor an entry: `receipt` is the root's, with what came of the step."""
    revision: int | None = None
    """The story's revision, if with this step everything of it is shown: the claim is given back."""
    confirm_in_s: float | None = None
    """With `revision`: send once more after so many seconds."""
    confirm_at: float | None = None
    """With `revision` and without `confirm_in_s`: the time that is planned already."""
    shadow: bool = False
    """Nothing was sent: the destination is in shadow mode."""

    @property
    def outcome(self) -> AttemptOutcome:
        """How the try ended."""
        return AttemptOutcome.SHADOW if self.shadow else AttemptOutcome.OK

    @property
    def is_root(self) -> bool:
        """Is `receipt` the root's? Else it is that of the entry `part`."""
        return self.part == "root" or self.kept_in_root


_IDS: BindParameter[list[str]] = bindparam("ids", expanding=True)
_FENCES = select(deliveries.c.id, deliveries.c.fence).where(deliveries.c.id.in_(_IDS)).with_for_update()
_BEGIN = (
    update(deliveries)
    .where(deliveries.c.id == bindparam("b_id"))
    .values(
        unknown_part=bindparam("b_part"),
        unknown_at=case((bindparam("b_fresh"), NOW), else_=deliveries.c.unknown_at),
        started=or_(deliveries.c.started, bindparam("b_root")),
    )
)
_INSERT = insert(attempts).values(started=NOW).returning(attempts.c.id, sort_by_parameter_order=True)
_END = (
    update(attempts)
    .where(attempts.c.id == bindparam("b_attempt"))
    .values(
        ended=NOW,
        outcome=bindparam("b_outcome"),
        status=bindparam("b_status", type_=Integer),
        error=bindparam("b_error"),
    )
)
_KEPT = {
    "root": case((bindparam("b_has_root"), bindparam("b_root")), else_=deliveries.c.root),
    "unknown_part": case((bindparam("b_settled"), null()), else_=deliveries.c.unknown_part),
    "unknown_at": case((bindparam("b_settled"), null()), else_=deliveries.c.unknown_at),
    "told_at": case((bindparam("b_told"), NOW), else_=deliveries.c.told_at),
}
_KEEP = update(deliveries).where(deliveries.c.id == bindparam("b_id")).values(**_KEPT)
_LAGS = deliveries.c.desired > bindparam("b_revision")
_CONFIRM_IN = cast(bindparam("b_confirm_in", type_=Real), Real)  # the cast: PostgreSQL asks what a NULL is of
_CONFIRM = case(
    (_CONFIRM_IN.is_not(None), NOW + _CONFIRM_IN),
    else_=cast(bindparam("b_confirm_at", type_=Real), Real),
)
_SETTLE = (
    update(deliveries)
    .where(deliveries.c.id == bindparam("b_id"))
    .values(
        **{**_KEPT, "unknown_part": null(), "unknown_at": null()},
        delivered=bindparam("b_revision"),
        state=case(
            (_LAGS, DeliveryState.PENDING.value),
            (bindparam("b_shadow", type_=Boolean), DeliveryState.SHADOW.value),
            else_=DeliveryState.DELIVERED.value,
        ),
        due=case((_LAGS, NOW), else_=_CONFIRM),
        confirm_at=_CONFIRM,
        waiting_since=case((_LAGS, NOW), else_=null()),
        priority=case(
            (~_LAGS, deliveries.c.priority),
            (deliveries.c.audible > bindparam("b_revision"), AUDIBLE_CHANGE),
            else_=QUIET_CHANGE,
        ),
        tries=0,
        error="",
        plain=False,
        owner=None,
        claimed_until=None,
    )
)
_ENTRY_DONE = (
    update(entries)
    .where(entries.c.delivery == bindparam("b_id"), entries.c.key == bindparam("b_part"))
    .values(state="delivered", receipt=bindparam("b_receipt"))
)
_LEFTOVERS = (
    update(entries)
    .where(
        entries.c.delivery == bindparam("b_id"),
        entries.c.state == "pending",
        entries.c.revision <= bindparam("b_revision"),
    )
    .values(state="skipped")
)


async def begin_all(conn: Conn, tries: Sequence[Try]) -> list[Begun | Resting | None]:
    """Record that tries begin; None where the claim is no longer ours.

    An entry of unknown outcome stays marked while the root is brought up to date before it: it is still to be looked
    for, and an update of the root needs no mark, since it may be repeated.
    """
    known = await manners.asked(conn, [one.row.destination for one in tries])
    ours = await _still_ours(conn, [one.row for one in tries])
    may = [own and not _rests(one, known.get(one.row.destination)) for one, own in zip(tries, ours, strict=True)]
    wanted = Counter(one.row.destination for one, yes in zip(tries, may, strict=True) if yes)
    of = {one.row.destination: one.manners for one in tries}
    left = await manners.grant(conn, {identity: (count, of[identity]) for identity, count in wanted.items()}, known)
    good: list[Try] = []
    allowed = (one for one, yes in zip(tries, may, strict=True) if yes)
    for one in sorted(allowed, key=lambda each: (each.row.priority, each.row.waiting_since or 0.0)):
        if left[one.row.destination]:
            left[one.row.destination] -= 1
            good.append(one)
    numbers: list[int] = []
    if good:
        await conn.execute(_BEGIN, [_begin_values(one) for one in good])
        rows = [{"delivery": one.row.id, "part": one.part, "op": one.op, "fence": one.row.fence} for one in good]
        numbers = list((await conn.execute(_INSERT, rows)).scalars())
    begun = {one.row.id: number for one, number in zip(good, numbers, strict=True)}
    found: list[Begun | Resting | None] = []
    for one, own in zip(tries, ours, strict=True):
        number, of_it = begun.get(one.row.id), known.get(one.row.destination)
        failing = of_it is not None and of_it.failing
        found.append(None if not own else Resting() if number is None else Begun(number, failing))
    return found


def _rests(one: Try, destination: Asked | None) -> bool:
    return destination is not None and (destination.held or (destination.parked and not one.probe))


def _begin_values(one: Try) -> dict[str, Any]:
    fresh = one.row.unknown_part in (None, one.part)
    return {
        "b_id": one.row.id,
        "b_part": one.part if fresh else one.row.unknown_part,
        "b_fresh": fresh,
        "b_root": one.part == "root",
    }


async def end(conn: Conn, attempt: int, outcome: AttemptOutcome, *, status: int | None = None, error: str = "") -> None:
    """Record how a try ended, whoever holds the claim by now: the ledger tells what happened."""
    await conn.execute(_END, _end_values(attempt, outcome, status, error))


def _end_values(attempt: int, outcome: AttemptOutcome, status: int | None, error: str) -> dict[str, Any]:
    return {"b_attempt": attempt, "b_outcome": outcome.value, "b_status": status, "b_error": error[:2000]}


def _ended(row: DeliveryRow, part: str, outcome: AttemptOutcome, **more: Any) -> Note:
    facts = {"destination": row.label, "delivery": row.id, "part": part, "outcome": outcome.value, **more}
    return Note(Kind.ATTEMPT, row.story, facts)


async def note_failure(
    conn: Conn, row: DeliveryRow, part: str, outcome: AttemptOutcome, error: str, *, dead: bool
) -> None:
    """Note how a try failed, and whether it was the last one."""
    lines = [_ended(row, part, outcome, error=error)]
    if dead:
        lines.append(Note(Kind.DEAD, row.story, {"destination": row.label, "delivery": row.id, "error": error}))
    await audit.notes(conn, lines)


async def finish_all(conn: Conn, done: Sequence[Done]) -> list[bool]:
    """Record steps that were carried out, each True if the claim was still ours: else only the ledger knows of it.

    Where a newer revision has come since the story was read, the delivery lags again.
    """
    sent = [_end_values(one.attempt, one.outcome, None, "") for one in done if one.attempt is not None]
    if sent:
        await conn.execute(_END, sent)
        await audit.notes(conn, [_ended(one.row, one.part, one.outcome) for one in done if one.attempt])
    if answered := [one.row.destination for one in done if one.part and one.failing and not one.shadow]:
        await manners.answered(conn, answered)
    ours = await _still_ours(conn, [one.row for one in done])
    good = [one for one, own in zip(done, ours, strict=True) if own]
    for settles, statement in ((False, _KEEP), (True, _SETTLE)):
        values = [_done_values(one) for one in good if (one.revision is not None) is settles]
        if values:
            await conn.execute(statement, values)
    noted = [
        {"b_id": one.row.id, "b_part": one.part, "b_receipt": dump_json(one.receipt)}
        for one in good
        if one.part and not one.is_root
    ]
    if noted:
        await conn.execute(_ENTRY_DONE, noted)
    await skip_leftovers(conn, [(one.row.id, one.revision) for one in good if one.revision is not None])
    await links.show_again(conn, [one.row.id for one in good if _is_new_ticket(one)])
    return ours


def _is_new_ticket(one: Done) -> bool:
    if one.part != "root" or one.row.kind not in TICKETS or not one.receipt.get("url"):
        return False
    return one.row.root is None or not json.loads(one.row.root).get("url")


def _done_values(one: Done) -> dict[str, Any]:
    values: dict[str, Any] = {
        "b_id": one.row.id,
        "b_has_root": one.is_root,
        "b_root": dump_json(one.receipt) if one.is_root else None,
        "b_told": one.told,
    }
    if one.revision is None:
        return {**values, "b_settled": one.row.unknown_part in (None, one.part)}
    return {
        **values,
        "b_revision": one.revision,
        "b_shadow": one.shadow,
        "b_confirm_in": one.confirm_in_s,
        "b_confirm_at": one.confirm_at,
    }


async def _still_ours(conn: Conn, rows: Sequence[DeliveryRow]) -> list[bool]:
    found = await conn.execute(_FENCES, {"ids": [row.id for row in rows]})
    fences = {row.id: row.fence for row in found}
    return [fences.get(row.id) == row.fence for row in rows]


async def set_entry(conn: Conn, row: DeliveryRow, key: str, values: Mapping[str, Any]) -> None:
    """Change an entry that was refused: plain next time, or given up."""
    await conn.execute(update(entries).where(entries.c.delivery == row.id, entries.c.key == key).values(**values))


async def skip_leftovers(conn: Conn, shown: Sequence[tuple[str, int]]) -> None:
    """Entries up to a delivery's shown revision that its destination has no use for are not sent later either."""
    if shown:
        await conn.execute(_LEFTOVERS, [{"b_id": delivery, "b_revision": revision} for delivery, revision in shown])


async def of_delivery(conn: Conn, delivery: str) -> tuple[Attempt, ...]:
    """Return a delivery's tries, oldest first."""
    rows = await conn.execute(select(attempts).where(attempts.c.delivery == delivery).order_by(attempts.c.id))
    return tuple(Attempt(row.part, row.op, row.started, row.ended, row.outcome, row.status, row.error) for row in rows)
