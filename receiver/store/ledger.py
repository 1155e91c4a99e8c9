"""The ledger of deliveries, for people."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import or_, select

from receiver.store.deliveries import COLUMNS, DeliveryRow, to_row
from receiver.store.engine import Conn
from receiver.store.schema import deliveries


async def list_deliveries(
    conn: Conn,
    *,
    story: str = "",
    state: Sequence[str] = (),
    before: tuple[float, str] | None = None,
    limit: int = 50,
) -> list[DeliveryRow]:
    """Return deliveries, newest first; `before` is (created, id) of the last one already seen."""
    query = select(*COLUMNS).order_by(deliveries.c.created.desc(), deliveries.c.id.desc()).limit(limit)
    if story:
        query = query.where(deliveries.c.story == story)
    if state:
        query = query.where(deliveries.c.state.in_(state))
    if before is not None:
        created, last = before
        query = query.where(
            or_(deliveries.c.created < created, (deliveries.c.created == created) & (deliveries.c.id < last))
        )
    return [to_row(row) for row in await conn.execute(query)]
