"""What is known at all about the alerts of a batch: two statements for all, so that a new one costs no look-up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, bindparam, func, select, union

from receiver.store.engine import Conn
from receiver.store.schema import alerts, stories


@dataclass(frozen=True, slots=True)
class Known:
    """What any story, open or closed, holds of the alerts that were asked for."""

    newest: Mapping[str, int]
    """Fingerprint → the highest inbox number that a story holds of it."""
    names: frozenset[str]
    """Those of the names that are the subject or the alias of a story."""


_FINGERPRINTS: BindParameter[Any] = bindparam("fingerprints", expanding=True)
_NAMES: BindParameter[Any] = bindparam("names", expanding=True)
_NEWEST = (
    select(alerts.c.fingerprint, func.max(alerts.c.seq).label("seq"))
    .where(alerts.c.fingerprint.in_(_FINGERPRINTS))
    .group_by(alerts.c.fingerprint)
)
_KNOWN_NAMES = union(
    select(stories.c.subject.label("name")).where(stories.c.subject.in_(_NAMES)),
    select(stories.c.alias.label("name")).where(stories.c.alias.in_(_NAMES)),
)


async def look(conn: Conn, fingerprints: Iterable[str], names: Iterable[str]) -> Known:
    """Return what is known about these alerts; `names` are the keys and aliases of their subjects."""
    newest = await conn.execute(_NEWEST, {"fingerprints": sorted(set(fingerprints))})
    found = await conn.execute(_KNOWN_NAMES, {"names": sorted({name for name in names if name})})
    return Known({row.fingerprint: row.seq for row in newest}, frozenset(row.name for row in found))
