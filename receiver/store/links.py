"""Where people see a story at its destinations, and who shows that to others."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import bindparam, select, update

from receiver.model import DeliveryState, Link
from receiver.store.deliveries import QUIET_CHANGE, DeliveryRow
from receiver.store.engine import NOW, Conn
from receiver.store.schema import deliveries

SHOW_LINKS = ("slack",)
"""Kinds whose messages show where else a story is, and may be edited for it: pagers are not woken for a link."""

_STORY = select(deliveries.c.story).where(deliveries.c.id == bindparam("b_id")).scalar_subquery()
_SHOW_AGAIN = (
    update(deliveries)
    .where(
        deliveries.c.story == _STORY,
        deliveries.c.kind.in_(SHOW_LINKS),
        deliveries.c.state == DeliveryState.DELIVERED.value,
        deliveries.c.root.is_not(None),
    )
    .values(state=DeliveryState.PENDING.value, due=NOW, waiting_since=NOW, priority=QUIET_CHANGE)
)


def link_of(row: DeliveryRow) -> Link | None:
    """Return where a person sees what a delivery made; None where nobody can tell."""
    root = json.loads(row.root) if row.root else {}
    url = root.get("url")
    return Link(str(root.get("key", "")), url) if isinstance(url, str) and url else None


async def show_again(conn: Conn, made: Sequence[str]) -> None:
    """Let the messages of the same stories show the tickets that these deliveries have just made."""
    if made:
        await conn.execute(_SHOW_AGAIN, [{"b_id": one} for one in made])
