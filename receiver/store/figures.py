"""Figures about what is stored, for `/metrics`."""

from __future__ import annotations

from sqlalchemy import exists, func, select

from receiver.metrics import Metrics
from receiver.model import DeliveryState, StoryState
from receiver.store.deliveries import QUIET_CHANGE
from receiver.store.engine import NOW, Conn, Store
from receiver.store.inbox import backlog
from receiver.store.schema import alerts, deliveries, inbox, stories

_OLDEST_ENTRY = select(NOW - inbox.c.received_at).where(inbox.c.state == "new").order_by(inbox.c.seq).limit(1)
_OLDEST_DELIVERY = (
    select(deliveries.c.kind, func.max(NOW - deliveries.c.waiting_since))
    .where(
        deliveries.c.due.is_not(None),
        deliveries.c.state.in_((DeliveryState.PENDING.value, DeliveryState.RETRYING.value)),
        deliveries.c.priority < QUIET_CHANGE,
    )
    .group_by(deliveries.c.kind)
)
DAY_S = 86_400.0
_BY_CAUSE = (
    select(stories.c.cause, func.count())
    .where(
        stories.c.opened > NOW - DAY_S,
        stories.c.kind == "plan",
        stories.c.test.is_(False),
        exists().where(alerts.c.story == stories.c.id, alerts.c.role == "failure"),  # a success has a story, too
    )
    .group_by(stories.c.cause)
)
NO_CAUSE = "not recognised"


async def collect(store: Store, metrics: Metrics) -> None:
    """Set the gauges."""

    async def read(conn: Conn) -> tuple[int, int, dict[tuple[str, str], int], float, dict[str, float], dict[str, int]]:
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
            float((await conn.execute(_OLDEST_ENTRY)).scalar_one_or_none() or 0.0),
            {kind: age_s for kind, age_s in map(tuple, await conn.execute(_OLDEST_DELIVERY)) if age_s is not None},
            {cause or NO_CAUSE: number for cause, number in map(tuple, await conn.execute(_BY_CAUSE))},
        )

    open_count, waiting, counts, oldest_s, late_s, causes = await store.browse(read)
    metrics.failed_plans.clear()
    for cause, number in causes.items():
        metrics.failed_plans.labels(cause).set(number)
    metrics.stories.set(open_count)
    metrics.inbox.set(waiting)
    metrics.inbox_oldest.set(max(0.0, oldest_s))
    for kind in metrics.kinds:
        metrics.delivery_oldest.labels(kind).set(max(0.0, late_s.get(kind, 0.0)))
        for state in DeliveryState:
            metrics.deliveries.labels(kind, state.value).set(counts.get((kind, state.value), 0))
