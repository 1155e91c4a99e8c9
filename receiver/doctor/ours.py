"""Reads what our own store knows of the plan: the last webhook, the story, and who was told."""

from __future__ import annotations

from sqlalchemy import func, or_, select

from receiver.arrivals import OURS
from receiver.doctor.chain import Ours, Outside, Plan, StorySeen
from receiver.store import health, heartbeats, inbox, listing, stories
from receiver.store.engine import Conn
from receiver.store.health import Health, Standing
from receiver.store.schema import inbox as entries
from receiver.store.schema import stories as rows


async def read(conn: Conn, outside: Outside) -> Ours:
    """Return what the store knows."""
    now = await stories.now_of(conn)
    first = (await conn.execute(select(func.min(entries.c.received_at)).where(entries.c.state == "new"))).scalar_one()
    followed = outside.alert.alert.fingerprint if outside.alert is not None else ""
    told = await stories.newest_alert(conn, followed) if followed else None
    story = await _story(conn, outside.plan, told[0] if told else "")
    known = await health.read(conn)
    return Ours(
        now=now,
        webhook=await heartbeats.last(conn, heartbeats.WEBHOOK),
        known=told is not None and not told[1].source.startswith(OURS),
        waiting=await inbox.backlog(conn),
        oldest_s=now - first if first is not None else 0.0,
        story=story,
        deliveries=tuple(await listing.delivery_rows(conn, story=story.id)) if story else (),
        refusing=tuple(sorted(_refusing(one) for one in known.of.values() if _refuses(one))),
    )


def _refuses(one: Health) -> bool:
    return bool(one.names) and one.standing in (Standing.PARKED, Standing.AWAY)


def _refusing(one: Health) -> tuple[str, str]:
    return ", ".join(one.names), f"{one.standing.value}: {one.reason}"


async def _story(conn: Conn, plan: Plan | None, told: str) -> StorySeen | None:
    """Return the newest story of the plan, else the one that the followed alert is in (`told`)."""
    which = rows.c.id == told
    if plan is not None:
        alias = f"plan/{plan.cluster}/{plan.namespace}/{plan.name}"
        which = or_(which, rows.c.subject == f"plan/{plan.uid}", rows.c.alias == alias)
    found = (await conn.execute(select(rows).where(which).order_by(rows.c.opened.desc()).limit(1))).one_or_none()
    return StorySeen(found.id, found.state, found.outcome or "", found.opened) if found is not None else None
