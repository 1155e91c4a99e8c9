"""Jobs: what must be done once, whatever the number of replicas. Whoever claims a job's row does it.

There is no leader: each job has its own holder, and any replica takes over when that one's time has run out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Text, bindparam, literal, or_, select, text, update

from receiver.store.codec import dump_json
from receiver.store.engine import NOW, Conn, Store
from receiver.store.schema import jobs

LEASE_S = 30.0
"""How long a turn lasts that nobody prolongs: so long a job may rest after its holder has died."""
PROLONG_AFTER_S = 10.0
"""A turn is prolonged this often; the rest of LEASE_S is for a holder that is slow."""

_NAME = bindparam("b_name", type_=Text)
# As text, since SQLAlchemy writes this for one database at a time only; it is SQLite's and PostgreSQL's alike.
_KNOWN = text("INSERT INTO jobs (name) VALUES (:b_name) ON CONFLICT (name) DO NOTHING")
_NOTE = text("""
    INSERT INTO jobs (name, state) VALUES (:b_name, :b_state) ON CONFLICT (name) DO UPDATE SET state = excluded.state
""")
_FREE = or_(jobs.c.claimed_until.is_(None), jobs.c.claimed_until < NOW, jobs.c.owner == bindparam("b_owner"))


@dataclass(frozen=True, slots=True)
class Job:
    """A job in hand, with what its last holder noted."""

    name: str
    owner: str
    state: Mapping[str, Any]


async def hold(conn: Conn, name: str, owner: str, lease_s: float = LEASE_S) -> bool:
    """Take or prolong a job for so many seconds; False while it is somebody else's."""
    await conn.execute(_KNOWN, {"b_name": name})
    taken = await conn.execute(
        update(jobs)
        .where(jobs.c.name == _NAME, _FREE)
        .values(owner=bindparam("b_new_owner"), claimed_until=NOW + lease_s),
        {"b_name": name, "b_owner": owner, "b_new_owner": owner},
    )
    return taken.rowcount == 1


async def claim(conn: Conn, name: str, owner: str, lease_s: float = LEASE_S, *, early: bool = False) -> Job | None:
    """Take a job that is due (a new one is at once); None while it is not, or is somebody else's.

    With `early` it need not be due.
    """
    await conn.execute(_KNOWN, {"b_name": name})
    taken = await conn.execute(
        update(jobs)
        .where(jobs.c.name == _NAME, _FREE, or_(jobs.c.due.is_(None), jobs.c.due <= NOW, literal(early)))
        .values(owner=bindparam("b_new_owner"), claimed_until=NOW + lease_s)
        .returning(jobs.c.state),
        {"b_name": name, "b_owner": owner, "b_new_owner": owner},
    )
    row = taken.one_or_none()
    return Job(name, owner, json.loads(row.state)) if row is not None else None


async def finish(conn: Conn, job: Job, again_in_s: float, state: Mapping[str, Any] | None = None) -> bool:
    """Give a job back until it is due again; False, and nothing is noted, when it was no longer ours."""
    values: dict[str, Any] = {"owner": None, "claimed_until": None, "due": NOW + again_in_s}
    if state is not None:
        values["state"] = dump_json(state)
    done = await conn.execute(update(jobs).where(jobs.c.name == job.name, jobs.c.owner == job.owner).values(**values))
    return done.rowcount == 1


async def state_of(conn: Conn, name: str) -> Mapping[str, Any]:
    """Return what was noted last; empty for a job that was never done."""
    found = (await conn.execute(select(jobs.c.state).where(jobs.c.name == name))).scalar_one_or_none()
    noted: Mapping[str, Any] = json.loads(found) if found else {}
    return noted


async def note(conn: Conn, name: str, state: Mapping[str, Any]) -> None:
    """Note something under a name, whoever holds it."""
    await conn.execute(_NOTE, {"b_name": name, "b_state": dump_json(state)})


async def let_go(conn: Conn, owner: str) -> None:
    """Give back all that a replica holds: it stops."""
    await conn.execute(update(jobs).where(jobs.c.owner == owner).values(owner=None, claimed_until=None))


class Turn:
    """Whether a job that never ends is ours just now. Where only one process uses the database it always is."""

    def __init__(self, store: Store, name: str, owner: str, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._name = name
        self._owner = owner
        self._monotonic = monotonic
        self._asked_at = float("-inf")
        self._ours = False

    async def ours(self) -> bool:
        """Take the turn, or keep it. What is begun now has LEASE_S - PROLONG_AFTER_S seconds."""
        if not self._store.shared:
            return True
        now = self._monotonic()
        if not self._ours or now - self._asked_at >= PROLONG_AFTER_S:
            self._ours = await self._store.write(lambda conn: hold(conn, self._name, self._owner))
            self._asked_at = now
        return self._ours
