"""After an outage: what came and went meanwhile, told once at the destination that was away.

What is still open there tells of itself, each message how late it is. What was over before the destination came back is
shown in its final form or not at all (pagers, tickets), so nobody would notice how much it was: one entry sums it up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, case, exists, select, update

from receiver.model import AttemptOutcome, Change, DeliveryState, Outcome, StoryState
from receiver.store import digests, manners
from receiver.store.deliveries import AUDIBLE_CHANGE, add_entries
from receiver.store.engine import NOW, Conn
from receiver.store.schema import attempts, deliveries, stories

LONG_S = 120.0
"""Nobody needs to hear of less."""
BEFORE_S = 600.0
"""What came so long before an absence waited for something else."""
NAMED = 5
_ENDED = (DeliveryState.DEAD.value, DeliveryState.SKIPPED.value, DeliveryState.MUTED.value)


async def sum_up(conn: Conn, identity: str, since: float, label: str, *, tells: bool) -> bool:
    """Add the entry to the newest open message of a destination that is back; True where one was added.

    Where nothing can carry it yet, it is asked for again. The absence is forgotten in the same transaction, so that
    nothing is told twice. `tells`: the destination has entries of this kind at all.
    """
    now = float((await conn.execute(select(NOW))).scalar_one())
    came = await _came(conn, identity, since) if tells and now - since > LONG_S else ()
    gone = [row for row in came if row.state == StoryState.RESOLVED.value]
    carrier = await _carrier(conn, identity) if gone else None
    if gone and carrier is None and any(row.due is not None for row in came):
        return False  # the first message is still on its way
    if not await manners.forget_absence(conn, identity, since) or carrier is None:
        return False
    text = words(label, since, now, sorted((row.title, row.outcome) for row in gone), len(came))
    # Above what the message shows, so that it counts as news; below whatever the story says next.
    await add_entries(conn, [carrier.id], f"away-{int(since)}", Change.AWAY, text, carrier.desired + 1, now)
    await conn.execute(
        update(deliveries)
        .where(deliveries.c.id == carrier.id)
        .values(state=DeliveryState.PENDING.value, due=NOW, waiting_since=NOW, priority=AUDIBLE_CHANGE)
    )
    return True


async def _came(conn: Conn, identity: str, since: float) -> Sequence[Row[Any]]:
    """Return what nothing was told of before the absence began, which the first of them found out."""
    told = exists().where(
        attempts.c.delivery == deliveries.c.id, attempts.c.outcome == AttemptOutcome.OK.value, attempts.c.ended < since
    )
    query = (
        select(stories.c.title, stories.c.state, stories.c.outcome, deliveries.c.due)
        .join(deliveries, deliveries.c.story == stories.c.id)
        .where(
            deliveries.c.destination == identity,
            deliveries.c.created >= since - BEFORE_S,
            stories.c.kind != digests.KIND,  # its members are what came
            ~told,
        )
        .order_by(deliveries.c.created, deliveries.c.id)
    )
    return (await conn.execute(query)).all()


async def _carrier(conn: Conn, identity: str) -> Row[Any] | None:
    """Return the newest open message that nobody works on, else the newest one."""
    closed = case((stories.c.state == StoryState.RESOLVED.value, 1), else_=0)
    query = (
        select(deliveries.c.id, deliveries.c.desired)
        .join(stories, stories.c.id == deliveries.c.story)
        .where(
            deliveries.c.destination == identity,
            deliveries.c.root.is_not(None),
            deliveries.c.owner.is_(None),
            deliveries.c.state.not_in(_ENDED),
        )
        .order_by(closed, deliveries.c.created.desc(), deliveries.c.id.desc())
        .limit(1)
    )
    return (await conn.execute(query)).one_or_none()


def words(label: str, since: float, until: float, gone: Sequence[tuple[str, str | None]], came: int) -> str:
    """Return such as `While payments/slack was away (02:10–02:53 UTC): 3 failures came, 2 are fixed: plan …`."""
    begin, end = (datetime.fromtimestamp(at, UTC) for at in (since, until))
    form = "%H:%M" if begin.date() == end.date() else "%d %b %H:%M"
    ends = Counter(outcome or Outcome.CLEARED.value for _, outcome in gone)
    over = ", ".join(f"{count} {'is' if count == 1 else 'are'} {outcome}" for outcome, count in ends.most_common())
    names = ", ".join(title for title, _ in gone[:NAMED]) + (
        f" and {len(gone) - NAMED} more" if len(gone) > NAMED else ""
    )
    failures = "1 failure" if came == 1 else f"{came} failures"
    return f"While {label} was away ({begin:{form}}–{end:{form}} UTC): {failures} came, {over}: {names}"
