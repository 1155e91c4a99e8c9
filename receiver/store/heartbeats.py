"""The heartbeat as the store holds it: when it was last heard, and since when somebody has been listening."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from receiver.model import Alert, AlertStatus
from receiver.store import inbox, jobs
from receiver.store.codec import ALERT, load
from receiver.store.engine import NOW, Conn
from receiver.store.jobs import Job
from receiver.store.schema import alerts
from receiver.store.schema import inbox as entries

SOURCE = "mtv-receiver/heartbeat"
"""Where alerts about silence come from. No Alertmanager can have this name: its address would have a `/` in it."""
HEARD = "heartbeat"
WEBHOOK = "heartbeat/webhook"
_JUDGE, _PING = "heartbeat/judge", "heartbeat/ping"


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything that is judged, as of one moment. Times are the database's."""

    now: float
    since: float
    """Since when somebody has been listening without a break."""
    heard: float | None
    """The last heartbeat."""
    webhook: float | None
    """The last webhook."""
    oldest: float | None
    """When the oldest inbox entry came that is not worked off."""
    firing: Mapping[str, Alert]
    """Our own alerts about silence that fire, by name; one that still waits in the inbox counts."""


async def heard(conn: Conn, at: float) -> None:
    """Note a heartbeat."""
    await _forward(conn, HEARD, at)


async def webhook_heard(conn: Conn, ago_s: float) -> None:
    """Note that a webhook came so many seconds ago."""
    now = float((await conn.execute(select(NOW))).scalar_one())
    await _forward(conn, WEBHOOK, now - max(0.0, ago_s))


async def _forward(conn: Conn, name: str, at: float) -> None:
    before = await last(conn, name)
    if before is None or before < at:
        await jobs.note(conn, name, {"at": at})


async def last(conn: Conn, name: str) -> float | None:
    """Return when something was last noted as heard."""
    at = (await jobs.state_of(conn, name)).get("at")
    return float(at) if isinstance(at, int | float) else None


async def judging(conn: Conn, owner: str, every_s: float, deaf_after_s: float) -> Standing | None:
    """Return what is to be judged, at most each `every_s` seconds whatever the number of replicas; else None.

    Where nobody asked for `deaf_after_s` seconds, nobody was listening either: what was missed then proves nothing.
    """
    job = await jobs.claim(conn, _JUDGE, owner)
    if job is None:
        return None
    now = float((await conn.execute(select(NOW))).scalar_one())
    looked, since = job.state.get("looked"), job.state.get("since", now)
    if looked is None or now - looked > deaf_after_s:
        since = now
    await jobs.finish(conn, job, every_s, {"looked": now, "since": since})
    oldest = select(func.min(entries.c.received_at)).where(entries.c.state == "new")
    return Standing(
        now=now,
        since=since,
        heard=await last(conn, HEARD),
        webhook=await last(conn, WEBHOOK),
        oldest=(await conn.execute(oldest)).scalar_one(),
        firing=await firing(conn),
    )


async def firing(conn: Conn) -> dict[str, Alert]:
    """Return our own alerts about silence that fire, by name; one that still waits in the inbox counts."""
    rows = await conn.execute(select(alerts.c.payload).where(alerts.c.source == SOURCE).order_by(alerts.c.seq))
    found = list(rows.scalars())
    waiting = select(entries.c.payload).where(entries.c.state == "new", entries.c.source == SOURCE)
    found += (await conn.execute(waiting.order_by(entries.c.seq))).scalars()
    newest = {one.name: one for one in (load(ALERT, payload) for payload in found)}
    return {name: one for name, one in newest.items() if one.status is AlertStatus.FIRING}


async def say(conn: Conn, told: list[Alert]) -> None:
    """Put our own alerts into the inbox, where all alerts come from."""
    await inbox.add(conn, SOURCE, told)


async def ping_due(conn: Conn, owner: str) -> Job | None:
    """Take the next call to the outside, where it is due and nobody else's."""
    return await jobs.claim(conn, _PING, owner)


async def pinged(conn: Conn, job: Job, again_in_s: float, state: Mapping[str, Any]) -> None:
    """Note how a call went."""
    await jobs.finish(conn, job, again_in_s, state)


async def last_ping(conn: Conn) -> str | None:
    """Return why the last call to the outside failed, empty where it did not; None: there was none."""
    said = (await jobs.state_of(conn, _PING)).get("error")
    return str(said) if said is not None else None
