"""Figures about what is stored, for `/metrics`."""

from __future__ import annotations

from sqlalchemy import func, select

from receiver.metrics import Metrics
from receiver.model import DeliveryState, StoryState
from receiver.store.engine import Conn, Store
from receiver.store.inbox import backlog
from receiver.store.schema import deliveries, stories


async def collect(store: Store, metrics: Metrics) -> None:
    """Set the gauges."""

    async def read(conn: Conn) -> tuple[int, int, dict[tuple[str, str], int]]:
        open_stories = await conn.execute(
            select(func.count()).select_from(stories).where(stories.c.state != StoryState.RESOLVED.value)
        )
        rows = await conn.execute(
            select(deliveries.c.kind, deliveries.c.state, func.count()).group_by(deliveries.c.kind, deliveries.c.state)
        )
        return (
            int(open_stories.scalar_one()),
            await backlog(conn),
            {(kind, state): n for kind, state, n in map(tuple, rows)},
        )

    open_count, waiting, counts = await store.browse(read)
    metrics.stories.set(open_count)
    metrics.inbox.set(waiting)
    for kind in metrics.kinds:
        for state in DeliveryState:
            metrics.deliveries.labels(kind, state.value).set(counts.get((kind, state.value), 0))
