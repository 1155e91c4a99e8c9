"""Alerts of our own, as the store holds them, and whether anybody else told of the same Plan."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import or_, select

from receiver.model import Alert, AlertStatus, StoryState
from receiver.store import inbox, stories
from receiver.store.codec import ALERT, load
from receiver.store.engine import NOW, Conn
from receiver.store.schema import alerts
from receiver.store.schema import inbox as entries
from receiver.store.schema import stories as story_rows

SOURCE = "mtv-receiver/watch"
"""Where our own alerts come from. No Alertmanager can have this name: its address would have a `/` in it."""


async def firing(conn: Conn) -> tuple[Alert, ...]:
    """Return our own alerts that fire, by the newest word on each; one that still waits in the inbox counts."""
    rows = await conn.execute(select(alerts.c.payload).where(alerts.c.source == SOURCE).order_by(alerts.c.seq))
    payloads = [row.payload for row in rows]
    waiting = select(entries.c.payload).where(entries.c.state == "new", entries.c.source == SOURCE)
    payloads += [row.payload for row in await conn.execute(waiting.order_by(entries.c.seq))]
    newest = {alert.fingerprint: alert for alert in (load(ALERT, payload) for payload in payloads)}
    return tuple(alert for alert in newest.values() if alert.firing)


async def ever_told(conn: Conn) -> bool:
    """Has this store ever held a story?"""
    return (await conn.execute(select(story_rows.c.id).limit(1))).first() is not None


async def told_by_others(conn: Conn, uid: str, alias: str, since_s: float | None = None) -> bool:
    """Does a failure alert of somebody else fire in the Plan's open story?

    With `since_s`: or did one come or go within so many seconds, whatever became of its story.
    """
    fires = (alerts.c.status == AlertStatus.FIRING.value) & (story_rows.c.state != StoryState.RESOLVED.value)
    known = fires if since_s is None else or_(fires, alerts.c.changed_at >= NOW - since_s)
    found = await conn.execute(
        select(alerts.c.fingerprint)
        .join(story_rows, story_rows.c.id == alerts.c.story)
        .where(
            or_(story_rows.c.subject == f"plan/{uid}", story_rows.c.subject == alias),
            alerts.c.role == "failure",
            alerts.c.source != SOURCE,
            known,
        )
        .limit(1)
    )
    return found.first() is not None


async def say(conn: Conn, told: Sequence[Alert]) -> None:
    """Put our own alerts into the inbox, where all alerts come from."""
    await inbox.add(conn, SOURCE, told)


async def want_evidence(conn: Conn, uid: str, alias: str) -> None:
    """Have the Plan's open stories read again now: what was a VM's log may be deleted soon."""
    for story in await stories.open_of_plan(conn, uid, alias):
        await stories.set_gather_due(conn, story, NOW)
