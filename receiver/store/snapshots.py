"""What migrations looked like while they ran, and how far their VMs had come: one row per Plan, of its newest run.

Nothing here redacts: what is saved must have been.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select, update

from receiver import keeping
from receiver.store.codec import dump_json, moment
from receiver.store.engine import NOW, Conn
from receiver.store.schema import snapshots

PLAN_BYTES = 65_536
"""Of one Plan's row, packed."""
ALL_BYTES = 64 * 1024 * 1024
"""Of all rows together: the oldest go first (`receiver.retention`)."""
_AT_ONCE = 500


async def save(
    conn: Conn, plan: str, run: str, cluster: str, snapshot: Mapping[str, Any] | None, marks: Mapping[str, Any]
) -> bool:
    """Keep what a run showed in place of what was kept of its Plan; False, and nothing is kept, where it is too much.

    Without a snapshot only the marks are new, and what the same run showed before stays.
    """
    text = dump_json(snapshot) if snapshot is not None else ""
    payload, far = keeping.pack(text) if len(text) <= keeping.KEPT_CHARACTERS else "", json.dumps(marks)
    if (text and not payload) or len(payload) + len(far) > PLAN_BYTES:
        return False
    values = {"run": run, "cluster": cluster, "marks": far}
    if snapshot is not None:
        values["payload"] = payload
    same = await conn.execute(
        update(snapshots)
        .where(snapshots.c.plan == plan, snapshots.c.run == run)
        .values(**values, **({"taken_at": NOW} if snapshot is not None else {}))
    )
    if not same.rowcount:
        await conn.execute(delete(snapshots).where(snapshots.c.plan == plan))
        await conn.execute(insert(snapshots).values(plan=plan, taken_at=NOW, **values))
    return True


async def of_run(conn: Conn, plan: str, run: str) -> tuple[dict[str, Any], datetime] | None:
    """Return what a run of a Plan showed last and when that was; None where nothing of this run is kept."""
    found = await conn.execute(
        select(snapshots.c.payload, snapshots.c.taken_at).where(snapshots.c.plan == plan, snapshots.c.run == run)
    )
    row = found.first()
    text = keeping.unpack(row.payload) if row is not None else ""
    try:
        snapshot = json.loads(text) if text else None
    except ValueError:  # what is broken was never kept
        return None
    return (snapshot, moment(row.taken_at)) if row is not None and isinstance(snapshot, dict) else None


async def marks_of(conn: Conn, plan: str, run: str) -> Mapping[str, Any]:
    """Return how far the VMs of a run had come, as it was saved; empty where that is not known."""
    found = await conn.execute(select(snapshots.c.marks).where(snapshots.c.plan == plan, snapshots.c.run == run))
    text = found.scalar_one_or_none()
    try:
        marks = json.loads(text) if text else {}
    except ValueError:
        return {}
    return marks if isinstance(marks, dict) else {}


async def plans_of(conn: Conn, cluster: str) -> tuple[str, ...]:
    """Return the UIDs of the Plans of a cluster of which something is kept."""
    found = await conn.execute(select(snapshots.c.plan).where(snapshots.c.cluster == cluster))
    return tuple(row.plan for row in found)


async def drop(conn: Conn, plans: Sequence[str]) -> None:
    """Forget what is kept of these Plans."""
    for at in range(0, len(plans), _AT_ONCE):
        await conn.execute(delete(snapshots).where(snapshots.c.plan.in_(plans[at : at + _AT_ONCE])))
