"""What `doctor` found by itself, as the store holds it: done by one replica, noted with the job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from receiver.model import Alert
from receiver.store import inbox, jobs
from receiver.store.engine import Conn
from receiver.store.jobs import Job

SOURCE: Final = "mtv-receiver/doctor"
"""Where the alert about the chain comes from. No Alertmanager can have this name: its address would hold a `/`."""
LEASE_S: Final = 120.0
"""A look asks three others, each with time-outs of its own."""
_JOB: Final = "doctor"


@dataclass(frozen=True, slots=True)
class Noted:
    """What the last looks came to."""

    link: str = ""
    """The link that was broken at the last look."""
    times: int = 0
    """So many looks in a row found a link broken; one that could not ask everybody and found none is not counted."""
    fires: str = ""
    """The link that our alert fires for."""
    since: float = 0.0


async def claim(conn: Conn, owner: str, *, early: bool = False) -> Job | None:
    """Take the next look, where it is due (or `early`) and nobody else's."""
    return await jobs.claim(conn, _JOB, owner, LEASE_S, early=early)


async def last(conn: Conn) -> Noted:
    """Return what was noted last."""
    return _noted(await jobs.state_of(conn, _JOB))


def noted(job: Job) -> Noted:
    """Return what the last holder noted."""
    return _noted(job.state)


def _noted(state: Mapping[str, Any]) -> Noted:
    return Noted(**{key: value for key, value in state.items() if key in Noted.__dataclass_fields__})


async def finish(conn: Conn, job: Job, again_in_s: float, now: Noted, told: Sequence[Alert]) -> bool:
    """Note what was found, and put our alerts into the inbox; False, and nothing is told, where it is not ours."""
    if not await jobs.finish(conn, job, again_in_s, asdict(now)):
        return False
    await inbox.add(conn, SOURCE, told)
    return True
