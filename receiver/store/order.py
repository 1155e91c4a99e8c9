"""Who was first: an alert whose newer word was worked off before it must not be told any more."""

from __future__ import annotations

from sqlalchemy import func, select

from receiver.store.codec import dump_json
from receiver.store.engine import Conn
from receiver.store.schema import inbox


async def newest_done(conn: Conn) -> int:
    """Return the highest inbox number that was worked off, 0 for none. Reads only the entries that still wait."""
    result = await conn.execute(
        select(inbox.c.seq).where(inbox.c.state == "done").order_by(inbox.c.seq.desc()).limit(1)
    )
    return int(result.scalar_one_or_none() or 0)


async def is_overtaken(conn: Conn, seq: int, fingerprint: str) -> bool:
    """Was an alert with a higher inbox number and this fingerprint worked off already?

    What a story holds cannot tell: the end of a failure that no story knows yet is kept in the inbox alone.
    """
    begins = f'{{"fingerprint":{dump_json(fingerprint)},'
    result = await conn.execute(
        select(func.count()).where(
            inbox.c.seq > seq,
            inbox.c.state == "done",
            inbox.c.kind == "alert",
            func.substr(inbox.c.payload, 1, len(begins)) == begins,
        )
    )
    return bool(result.scalar_one())
