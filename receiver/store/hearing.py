"""What destinations told us of their own incidents, beside the deliveries that show them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update

from receiver.model import StoryState
from receiver.store.codec import dump_json
from receiver.store.deliveries import COLUMNS, DeliveryRow, to_row
from receiver.store.engine import NOW, Conn
from receiver.store.schema import deliveries, stories


@dataclass(frozen=True, slots=True)
class Shown:
    """A delivery that is known to a destination by a key."""

    row: DeliveryRow
    busy: bool
    """Somebody sends there at this moment: what the root's receipt says now will be replaced."""


async def by_key(conn: Conn, kind: str, key: str) -> tuple[Shown, ...]:
    """Return the deliveries of a kind that have this dedup key; one incident may be shown under several of them."""
    held = deliveries.c["keys"].contains(json.dumps(key, ensure_ascii=False), autoescape=True)
    here = (deliveries.c.kind == kind) & held
    busy = await conn.execute(select(deliveries.c.id).where(here, deliveries.c.claimed_until > NOW))
    ids = set(busy.scalars())
    rows = [to_row(row) for row in await conn.execute(select(*COLUMNS).where(here))]
    return tuple(Shown(row, row.id in ids) for row in rows if row.keys.dedup_key == key)


async def set_state(conn: Conn, row: DeliveryRow, before: str, after: str, more: dict[str, Any]) -> bool:
    """Change the state that a root's receipt holds; False where it is no longer `before`."""
    root = json.loads(row.root) if row.root else {}
    if root.get("state") != before:
        return False
    result = await conn.execute(
        update(deliveries)
        .where(deliveries.c.id == row.id, deliveries.c.fence == row.fence)
        .values(root=dump_json({**root, **more, "state": after}))
    )
    return result.rowcount == 1


async def unacknowledged(conn: Conn, destination: str) -> dict[str, float]:
    """Return what is open at a destination and nobody has taken: dedup key → when its delivery was made."""
    rows = await conn.execute(
        select(*COLUMNS)
        .join(stories, stories.c.id == deliveries.c.story)
        .where(
            deliveries.c.destination == destination,
            deliveries.c.firing.is_(True),
            deliveries.c.root.is_not(None),
            stories.c.state != StoryState.RESOLVED.value,
            stories.c.ack.is_(None),
        )
    )
    found: dict[str, float] = {}
    for row in (to_row(row) for row in rows):
        if json.loads(row.root or "{}").get("state") == "triggered":
            found[row.keys.dedup_key] = row.created
    return found
