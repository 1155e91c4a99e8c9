"""Who was first: an alert whose newer word was worked off before it must not be told any more."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import BindParameter, bindparam, func, select

from receiver.model import Alert, AlertStatus
from receiver.store.codec import ALERT, dump_json, load
from receiver.store.engine import NOW, Conn
from receiver.store.schema import alerts, inbox

_FINGERPRINTS: BindParameter[list[str]] = bindparam("fingerprints", expanding=True)
_WORDS = (
    select(alerts.c.fingerprint, alerts.c.status, alerts.c.starts_at, (NOW - alerts.c.changed_at).label("age_s"))
    .where(alerts.c.fingerprint.in_(_FINGERPRINTS))
    .order_by(alerts.c.seq)
)


async def newest_done(conn: Conn) -> int:
    """Return the highest inbox number that was worked off, 0 for none. Reads only the entries that still wait."""
    result = await conn.execute(
        select(inbox.c.seq).where(inbox.c.state == "done").order_by(inbox.c.seq.desc()).limit(1)
    )
    return int(result.scalar_one_or_none() or 0)


async def overtaken_by(conn: Conn, seq: int, fingerprint: str) -> tuple[int, Alert] | None:
    """Return the newest word on a fingerprint that was worked off although its inbox number is higher.

    What a story holds cannot tell: the end of a failure that no story knows yet is kept in the inbox alone.
    """
    begins = f'{{"fingerprint":{dump_json(fingerprint)},'
    result = await conn.execute(
        select(inbox.c.seq, inbox.c.payload)
        .where(
            inbox.c.seq > seq,
            inbox.c.state == "done",
            inbox.c.kind == "alert",
            func.substr(inbox.c.payload, 1, len(begins)) == begins,
        )
        .order_by(inbox.c.seq.desc())
        .limit(1)
    )
    row = result.one_or_none()
    return (row.seq, load(ALERT, row.payload)) if row is not None else None


async def lately_resolved(conn: Conn, fingerprints: Collection[str], within_s: float) -> dict[str, float]:
    """Return when those of the alerts began whose newest word is a resolve not older than `within_s` seconds."""
    newest = {row.fingerprint: row for row in await conn.execute(_WORDS, {"fingerprints": list(fingerprints)})}
    resolved = AlertStatus.RESOLVED.value
    return {key: row.starts_at for key, row in newest.items() if row.status == resolved and row.age_s < within_s}
