"""Deliveries of stories that a person gave to somebody else."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, or_, update

from receiver.model import DeliveryState
from receiver.store import deliveries as rows
from receiver.store.engine import Conn
from receiver.store.schema import deliveries


async def away(conn: Conn, ids: Sequence[str], to: str, revision: int, now: float) -> None:
    """Let deliveries say once more where their story went, and then nothing. What was never told is not told now."""
    if not ids:
        return
    mine = deliveries.c.id.in_(ids)
    await conn.execute(update(deliveries).where(mine).values(moved=to, firing=False, desired=revision))
    told_by_digest = deliveries.c.state == DeliveryState.DIGEST.value
    never = and_(
        mine,
        ~told_by_digest,
        deliveries.c.started.is_(False),
        deliveries.c.root.is_(None),
        deliveries.c.owner.is_(None),
    )
    await conn.execute(
        update(deliveries).where(never).values(state=DeliveryState.SKIPPED.value, due=None, waiting_since=None)
    )
    shown = or_(deliveries.c.started.is_(True), deliveries.c.root.is_not(None), deliveries.c.owner.is_not(None))
    found = await conn.execute(
        deliveries.select().with_only_columns(deliveries.c.id, deliveries.c.story).where(mine, shown)
    )
    for row in found.all():
        await rows.bump(conn, row.story, revision, now, audible=True, ids=[row.id])


async def back(conn: Conn, ids: Sequence[str]) -> None:
    """Let deliveries show their story again."""
    if ids:
        await conn.execute(update(deliveries).where(deliveries.c.id.in_(ids)).values(moved=""))


async def all_back(conn: Conn, story: str) -> None:
    """A story came back after its end: who gave it away hears of it again, as the routes say."""
    where = and_(deliveries.c.story == story, deliveries.c.moved != "")
    await conn.execute(update(deliveries).where(where).values(moved=""))
