"""Whose a story is: the cluster and namespace of its owner (`receiver.store.columns`), for who does not see everything.

What stands for a storm is about several namespaces, so it is nobody's; so is what is about no namespace.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import bindparam, select

from receiver.store.engine import Conn
from receiver.store.schema import stories

Owner = tuple[str, str]
"""Cluster and namespace; what is not known is the empty string."""

_EVERY = select(stories.c.cluster, stories.c.namespace).distinct()
_OF = select(stories.c.id, stories.c.cluster, stories.c.namespace).where(
    stories.c.id.in_(bindparam("ids", expanding=True))
)


async def every(conn: Conn) -> frozenset[Owner]:
    """Return the owners that there are."""
    return frozenset((row.cluster, row.namespace) for row in await conn.execute(_EVERY))


async def of_stories(conn: Conn, ids: Iterable[str]) -> dict[str, Owner]:
    """Return the owners of stories by id; one that is gone is left out."""
    rows = await conn.execute(_OF, {"ids": list(ids)})
    return {row.id: (row.cluster, row.namespace) for row in rows}
