"""Pages of stories and of deliveries for people: newest first, in a number of queries that does not grow with the page.

One query names the rows of the page; one more for each table around them fetches what belongs to all of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, and_, case, or_, select

from receiver.model import (
    DeliveryState,
)
from receiver.store import digests, reading
from receiver.store.attempts import Attempt
from receiver.store.deliveries import COLUMNS, DeliveryRow, to_row
from receiver.store.engine import Conn
from receiver.store.filters import Filter, conditions
from receiver.store.owners import Owner
from receiver.store.reading import Whole
from receiver.store.schema import attempts, deliveries, stories

Cursor = tuple[float, str]
"""When the last row already seen was opened or created, and its id."""


def shown_state(row: DeliveryRow) -> DeliveryState:
    """Return what people are shown: a delivered one that lags behind its story and will be brought up is pending."""
    lags = row.desired > row.delivered and row.due is not None
    return DeliveryState.PENDING if row.state is DeliveryState.DELIVERED and lags else row.state


SHOWN_STATE = case(
    (
        and_(
            deliveries.c.state == DeliveryState.DELIVERED.value,
            deliveries.c.desired > deliveries.c.delivered,
            deliveries.c.due.is_not(None),
        ),
        DeliveryState.PENDING.value,
    ),
    else_=deliveries.c.state,
)
"""`shown_state` as the database computes it."""


async def stories_page(
    conn: Conn,
    *,
    state: Sequence[str] = (),
    before: Cursor | None = None,
    limit: int = 50,
    sees: frozenset[Owner] | None = None,
) -> list[Whole]:
    """Return stories, newest first, each with its deliveries in the order in which they were made.

    What stands for a storm is no failure of its own. `sees` are the owners whose stories count; None: all.
    """
    query = select(stories).where(stories.c.kind != digests.KIND)
    if state:
        query = query.where(stories.c.state.in_(state))
    if sees is not None:
        query = query.where(*conditions(Filter(sees=sees)))
    rows = (await conn.execute(_page(query, stories.c.opened, stories.c.id, before, limit))).all()
    return await reading.of_rows(conn, rows)


async def deliveries_page(
    conn: Conn,
    *,
    story: str = "",
    state: Sequence[str] = (),
    before: Cursor | None = None,
    limit: int = 50,
    sees: frozenset[Owner] | None = None,
) -> list[tuple[DeliveryRow, tuple[Attempt, ...]]]:
    """Return deliveries, newest first, each with its tries, oldest first. `state` is what `shown_state` says.

    `sees` are the owners of whose stories they may be; None: all.
    """
    rows = await delivery_rows(conn, story=story, state=state, before=before, limit=limit, sees=sees)
    tries: dict[str, list[Attempt]] = defaultdict(list)
    query = select(attempts).where(attempts.c.delivery.in_([row.id for row in rows])).order_by(attempts.c.id)
    for one in await conn.execute(query):
        tries[one.delivery].append(
            Attempt(one.part, one.op, one.started, one.ended, one.outcome, one.status, one.error)
        )
    return [(row, tuple(tries[row.id])) for row in rows]


async def delivery_rows(
    conn: Conn,
    *,
    story: str = "",
    state: Sequence[str] = (),
    before: Cursor | None = None,
    limit: int = 50,
    sees: frozenset[Owner] | None = None,
) -> list[DeliveryRow]:
    """Return the same deliveries without their tries."""
    query = select(*COLUMNS)
    if story:
        query = query.where(deliveries.c.story == story)
    if state:
        query = query.where(SHOWN_STATE.in_(state))
    if sees is not None:
        query = query.where(deliveries.c.story.in_(select(stories.c.id).where(*conditions(Filter(sees=sees)))))
    rows = await conn.execute(_page(query, deliveries.c.created, deliveries.c.id, before, limit))
    return [to_row(row) for row in rows]


def _page(query: Select[Any], at: Any, key: Any, before: Cursor | None, limit: int) -> Select[Any]:
    """Return one page of a query, newest first, behind the last row already seen."""
    if before is not None:
        seen_at, seen = before
        query = query.where(or_(at < seen_at, and_(at == seen_at, key < seen)))
    return query.order_by(at.desc(), key.desc()).limit(limit)
