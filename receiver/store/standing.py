"""How the store itself does, for the status page: its version, its size, what it holds, and who works on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Table, func, select, text

from receiver.store import inbox, sizes
from receiver.store.engine import NOW, Conn
from receiver.store.schema import deliveries, jobs, stories
from receiver.store.schema import inbox as entries

MOST_HOLDERS: Final = 100


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the store holds."""

    bytes: int
    """Taken from the disk."""
    stories: Mapping[str, int]
    """By state."""
    deliveries: Mapping[str, int]
    waiting: int
    """Inbox entries that are not worked off."""
    oldest_s: float
    """How long the first of them has waited; 0: none does."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A replica, and the work that only one has at a time."""

    owner: str
    jobs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Due:
    """A job, as far as its row says."""

    due: float | None
    held: bool


async def version(conn: Conn, *, shared: bool) -> str:
    """Return the database's own version."""
    asked = "SHOW server_version" if shared else "SELECT sqlite_version()"
    return str((await conn.execute(text(asked))).scalar_one())


async def holdings(conn: Conn) -> Holdings:
    """Return what the store holds: a few sums."""
    oldest = select(NOW - entries.c.received_at).where(entries.c.state == "new").order_by(entries.c.seq).limit(1)
    age_s = (await conn.execute(oldest)).scalar_one_or_none()
    return Holdings(
        bytes=await sizes.allocated(conn),
        stories=await _by_state(conn, stories),
        deliveries=await _by_state(conn, deliveries),
        waiting=await inbox.backlog(conn),
        oldest_s=max(0.0, float(age_s or 0.0)),
    )


async def _by_state(conn: Conn, table: Table) -> dict[str, int]:
    query = select(table.c.state, func.count().label("number")).group_by(table.c.state)
    return {row.state: int(row.number) for row in await conn.execute(query)}


async def holders(conn: Conn) -> tuple[Holder, ...]:
    """Return who holds which work now. A replica that holds none is not known here."""
    query = select(jobs.c.owner, jobs.c.name).where(jobs.c.owner.is_not(None), jobs.c.claimed_until > NOW)
    found: dict[str, list[str]] = {}
    for row in await conn.execute(query.order_by(jobs.c.owner, jobs.c.name).limit(MOST_HOLDERS)):
        found.setdefault(row.owner, []).append(row.name)
    return tuple(Holder(owner, tuple(names)) for owner, names in found.items())


async def dues(conn: Conn, names: Sequence[str]) -> dict[str, Due]:
    """Return when jobs are due again."""
    held = func.coalesce(jobs.c.claimed_until > NOW, False).label("held")
    rows = await conn.execute(select(jobs.c.name, jobs.c.due, held).where(jobs.c.name.in_(names)))
    return {row.name: Due(row.due, bool(row.held)) for row in rows}
