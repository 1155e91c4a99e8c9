"""Stories of any age and size, written as they would be stored."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import insert, select, update

from receiver import ids
from receiver.model import Alert, AlertStatus, Change, Reason
from receiver.store import deliveries, stories
from receiver.store.deliveries import NewDelivery
from receiver.store.drafts import AlertRow, Draft
from receiver.store.engine import NOW, Conn, Store
from receiver.store.schema import alerts, attempts, entries
from receiver.store.schema import deliveries as delivery_table
from receiver.store.schema import stories as story_table
from tests.stories import at

DAY = 86_400.0
HERE = "slack:slack.com #here"


async def add_story(conn: Conn, name: str, *, destination: str = HERE, kind: str = "alert", subject: str = "") -> None:
    """Add an open story with an alert, a delivery that is to be made now, an entry and a try."""
    now = await stories.now_of(conn)
    draft = Draft(
        id=name, subject=subject or name, kind=kind, severity="critical", title="t", opened=now, now=now, new=True
    )
    alert = Alert(f"{name:0>16}"[-16:], AlertStatus.FIRING, {"alertname": "A"}, {}, at(8, 0))
    draft.alerts[alert.fingerprint] = AlertRow(alert, "failure", 1, "main", now, dirty=True, heard_at=now)
    await stories.save(conn, draft, Change.FIRED, "fired", "fired")
    new = NewDelivery(
        id=f"d-{name}", receiver="r", kind="slack", destination=destination, label="r/slack",
        keys=ids.keys(name, name, destination), reasons=(Reason("", "x"),), intervals=(), wait_s=0.0,
    )  # fmt: skip
    await deliveries.add(conn, name, new, 1, now)
    await conn.execute(insert(attempts).values(delivery=new.id, part="root", op="create", fence=1, started=NOW))
    await conn.execute(
        insert(entries).values(
            delivery=new.id, key="k", revision=1, at=NOW, change="fired", text="x", state="delivered"
        )
    )


async def close(conn: Conn, name: str, ago_s: float, evidence_bytes: int = 0) -> None:
    """Close a story so long ago, all told, with evidence that no database compresses."""
    evidence = f'{{"junk":"{secrets.token_hex(evidence_bytes // 2)}"}}' if evidence_bytes else None
    closed = {"state": "resolved", "outcome": "cleared", "closed": NOW - ago_s, "evidence": evidence}
    await conn.execute(update(story_table).where(story_table.c.id == name).values(**closed))
    over = {"status": "resolved", "heard_at": NOW - ago_s, "changed_at": NOW - ago_s}
    await conn.execute(update(alerts).where(alerts.c.story == name).values(**over))
    told = {"state": "delivered", "due": None, "delivered": 1, "root": '{"id":"7"}', "started": True}
    await conn.execute(update(delivery_table).where(delivery_table.c.story == name).values(**told))


async def add_closed(conn: Conn, name: str, ago_s: float, evidence_bytes: int = 0) -> None:
    """Add a story that was closed so long ago."""
    await add_story(conn, name)
    await close(conn, name, ago_s, evidence_bytes)


async def column(store: Store, wanted: Any, *where: Any) -> list[Any]:
    """Return a column's values, sorted."""

    async def read(conn: Conn) -> list[Any]:
        return sorted((await conn.execute(select(wanted).where(*where))).scalars())

    return await store.read(read)


async def change(store: Store, table: Any, values: dict[str, Any], *where: Any) -> None:
    """Write into a table what the rest of the service, or a wrong clock, would."""

    async def write(conn: Conn) -> None:
        await conn.execute(update(table).where(*where).values(**values))

    await store.write(write)
