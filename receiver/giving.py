"""A story is given to somebody else: its new destinations are told in full, the old ones say where it went.

What shows a moved story fires no more and is not changed again, whatever becomes of the story: only when it comes back
after its end (reopened), everybody whom the routes name is told again, those who gave it away included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from receiver.config.model import DestinationConfig, Receiver
from receiver.model import GIVEN_BY, Change, Reason
from receiver.quiet import publish
from receiver.store import deliveries, moving
from receiver.store.deliveries import DeliveryRow
from receiver.store.drafts import Draft
from receiver.store.engine import Conn
from receiver.telling import Teller


class NotGivenError(Exception):
    """Nothing was moved; the message says why, without a full stop."""


@dataclass(frozen=True, slots=True)
class _Move:
    away: tuple[DeliveryRow, ...]
    back: tuple[DeliveryRow, ...]
    """Destinations of the new receiver that gave the story away before."""
    new: tuple[DestinationConfig, ...]


async def give(
    conn: Conn, teller: Teller, draft: Draft, receiver: Receiver, by: str, *, client_id: str = "", giver: str = ""
) -> str:
    """Give an open story to `receiver` and return what was done, in words. Raises NotGivenError.

    `by` is the person, such as `Ana Costa (Slack)`. See `receiver.actions.Actions.move` for who gives it away.
    """
    if draft.kind == "digest":
        raise NotGivenError("a digest stands for many failures; give away those that are meant, one by one")
    rows = await deliveries.of_story(conn, draft.id)
    move = _sort(rows, receiver, _givers(rows, client_id, giver))
    if not (move.away or move.back or move.new):
        raise NotGivenError(f"{receiver.name} has it already")
    old = ", ".join(dict.fromkeys(row.receiver for row in move.away))
    text = f"moved {f'from {old} ' if old else ''}to {receiver.name} by {by}"
    reason = Reason("", f"{GIVEN_BY}{by}" + (f" (was {old})" if old else ""))
    draft.ack = None  # whoever had it is not who has it now
    await publish(conn, teller, draft, Change.MOVED, text)
    await moving.away(conn, [row.id for row in move.away], f"{receiver.name} by {by}", draft.revision, draft.now)
    await moving.back(conn, [row.id for row in move.back])
    for row in move.back:
        await deliveries.set_reasons(conn, row.id, (*row.reasons, reason), row.intervals)
    given = [teller.new(draft, config, (reason,)) for config in move.new]
    await deliveries.set_firing(conn, [row.id for row in move.back], True)
    ids = [row.id for row in move.back]
    if ids:
        await deliveries.bump(conn, draft.id, draft.revision, draft.now, audible=True, ids=ids)
    await deliveries.add_all(conn, draft.id, given, draft.revision, draft.now)
    failures = [row.alert.fingerprint for row in draft.failures]
    await deliveries.join(conn, [(one, each) for one in (*ids, *(new.id for new in given)) for each in failures])
    return text


def _givers(rows: Sequence[DeliveryRow], client_id: str, giver: str) -> frozenset[str]:
    """Return the receivers that give the story away."""
    showing = {row.receiver for row in rows if not row.moved}
    if client_id:
        pressed = {row.receiver for row in rows if row.keys.client_id == client_id}
        if not pressed:
            raise NotGivenError("that message is no longer about this story")
        return frozenset(pressed)
    if giver and giver not in showing:
        raise NotGivenError(f"{giver} does not have it; {' and '.join(sorted(showing)) or 'nobody'} does")
    return frozenset({giver} if giver else showing)


def _sort(rows: Sequence[DeliveryRow], receiver: Receiver, givers: frozenset[str]) -> _Move:
    wanted = {config.identity: config for config in receiver.destinations}
    known = {row.destination for row in rows}
    return _Move(
        away=tuple(row for row in rows if row.receiver in givers and not row.moved and row.destination not in wanted),
        back=tuple(row for row in rows if row.destination in wanted and row.moved),
        new=tuple(config for identity, config in wanted.items() if identity not in known),
    )
