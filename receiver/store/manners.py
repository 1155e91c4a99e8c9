"""How hard a destination is asked: its rate limit, and what becomes of it when nothing gets through.

Both are rows of `destinations`, in database time, so that several replicas share one bucket and one breaker. Both hold
the destination (`hold_until`), as a `Retry-After` does: what waits there keeps its order, costs nothing until the time
has come, and whatever is most urgent then goes first.

The breaker: `failures` counts tries in a row that say nothing about a message (no connection, no answer, 5xx). From
BREAK_AFTER on only one try goes out at a time, after a growing pause; any answer closes it and lets everything go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import BindParameter, Float, Integer, and_, bindparam, case, func, null, select, update
from sqlalchemy import text as sql

from receiver.config.model import Manners
from receiver.model import DeliveryState
from receiver.store.engine import NOW, Conn
from receiver.store.schema import deliveries, destinations

BREAK_AFTER = 5
"""So many tries in a row: one delivery alone never gets there (see `failed`), and one lost packet says nothing."""
PROBE_MOST_S = 30.0
"""The longest pause between two tries of a destination that is away, whatever `retry.max` says: a page that comes
meanwhile waits no longer than that for a pager that is back, and a request every half minute burdens nobody."""
SLACK_S = 2.0
"""A try that got no answer is recorded so much after its time-out, at most."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A destination that tries are about to be sent to, as its row says."""

    parked: bool = False
    held: bool = False
    away: bool = False
    """Nothing got through lately: one try at a time."""
    failing: bool = False
    """The last try did not get through."""
    tokens: float | None = None
    tokens_at: float | None = None


_IDS: BindParameter[list[str]] = bindparam("ids", expanding=True)
_ASKED = (
    select(
        destinations.c.identity,
        destinations.c.parked,
        func.coalesce(destinations.c.hold_until > NOW, False).label("held"),
        (destinations.c.failures >= BREAK_AFTER).label("away"),
        (destinations.c.failures > 0).label("failing"),
        destinations.c.tokens,
        destinations.c.tokens_at,
    )
    .where(destinations.c.identity.in_(_IDS))
    .with_for_update()
)
_NOW = select(NOW)
# As text, since SQLAlchemy writes this for one database at a time only; it is SQLite's and PostgreSQL's alike.
_FILL = sql("""
    INSERT INTO destinations (identity, tokens, tokens_at, hold_until) VALUES (:identity, :tokens, :at, :until)
    ON CONFLICT (identity) DO UPDATE SET
        tokens = excluded.tokens, tokens_at = excluded.tokens_at,
        hold_until = coalesce(excluded.hold_until, destinations.hold_until)
""")
_ONE_AT_A_TIME = (
    update(destinations)
    .where(destinations.c.identity == bindparam("b_identity"))
    .values(hold_until=NOW + bindparam("b_for", type_=Float))
)
_HAVE = sql("INSERT INTO destinations (identity) VALUES (:identity) ON CONFLICT DO NOTHING")
_FAILED = (
    update(destinations)
    .where(destinations.c.identity == bindparam("b_identity"))
    .values(
        failures=destinations.c.failures
        + case((destinations.c.failures >= BREAK_AFTER, 1), else_=bindparam("b_counts", type_=Integer)),
        away_since=func.coalesce(destinations.c.away_since, NOW),
        reason=case((destinations.c.parked, destinations.c.reason), else_=bindparam("b_reason")),
    )
    .returning(destinations.c.failures)
)
_HOLD = (
    update(destinations)
    .where(destinations.c.identity == bindparam("b_identity"))
    .values(
        hold_until=case(
            (
                # One that was away already is held for the one try that failed now; else perhaps by a Retry-After.
                (destinations.c.failures <= BREAK_AFTER)
                & (destinations.c.hold_until > NOW + bindparam("b_for", type_=Float)),
                destinations.c.hold_until,
            ),
            else_=NOW + bindparam("b_for", type_=Float),
        )
    )
)
_FAILING = select(destinations.c.identity, destinations.c.failures).where(
    destinations.c.identity.in_(_IDS), destinations.c.failures > 0
)
_ANSWERED = (
    update(destinations)
    .where(destinations.c.identity.in_(_IDS))
    .values(
        failures=0,
        reason=case((destinations.c.parked, destinations.c.reason), else_=""),
        hold_until=case((destinations.c.failures >= BREAK_AFTER, null()), else_=destinations.c.hold_until),
    )
)
_IS_BACK = and_(destinations.c.away_since.is_not(None), destinations.c.failures == 0, destinations.c.parked.is_(False))
_BACK = select(destinations.c.identity, destinations.c.away_since).where(_IS_BACK)
_LET_GO = (
    update(deliveries)
    .where(
        deliveries.c.destination.in_(_IDS),
        deliveries.c.state == DeliveryState.RETRYING.value,
        deliveries.c.due > NOW,
    )
    .values(due=NOW)
)


async def asked(conn: Conn, identities: Sequence[str]) -> dict[str, Asked]:
    """Return what is known of destinations; one without a row was never in trouble and has no limit yet."""
    rows = await conn.execute(_ASKED, {"ids": sorted(set(identities))})
    return {
        row.identity: Asked(
            bool(row.parked), bool(row.held), bool(row.away), bool(row.failing), row.tokens, row.tokens_at
        )
        for row in rows
    }


async def grant(conn: Conn, wanted: Mapping[str, tuple[int, Manners]], known: Mapping[str, Asked]) -> dict[str, int]:
    """Return how many of the wanted tries may begin now at each destination, and take their tokens.

    The rest waits: the destination is held until the next token comes, or until the one try has its answer.
    """
    granted: dict[str, int] = {}
    for identity, (count, manners) in wanted.items():
        of = known.get(identity, Asked())
        granted[identity] = min(count, 1) if of.away else count
        if manners.rate_per_minute is not None:
            granted[identity] = await _take(
                conn, identity, granted[identity], manners.rate_per_minute / 60, manners, of
            )
        if of.away and granted[identity]:
            await conn.execute(_ONE_AT_A_TIME, {"b_identity": identity, "b_for": manners.timeout_s + SLACK_S})
    return granted


async def _take(conn: Conn, identity: str, count: int, per_s: float, manners: Manners, of: Asked) -> int:
    now = float((await conn.execute(_NOW)).scalar_one())
    burst = float(manners.rate_burst)
    if of.tokens is not None and of.tokens_at is not None:
        burst = min(burst, of.tokens + max(0.0, now - of.tokens_at) * per_s)
    taken = min(count, int(burst + 1e-6))  # a token that is due within a microsecond is there
    left = max(0.0, burst - taken)
    until = now + (1.0 - left) / per_s if left < 1.0 else None
    await conn.execute(_FILL, {"identity": identity, "tokens": left, "at": now, "until": until})
    return taken


async def may_look(conn: Conn, identity: str, limits: Manners, *, probe: bool) -> bool:
    """Say whether a look-up may be sent now; at a destination that is away it is the one try."""
    of = (await asked(conn, [identity])).get(identity, Asked())
    if of.held or (of.parked and not probe):
        return False
    if of.away:
        await conn.execute(_ONE_AT_A_TIME, {"b_identity": identity, "b_for": limits.timeout_s + SLACK_S})
    return True


async def looked(conn: Conn, identity: str) -> None:
    """Note that a look-up was answered: the next try may follow at once, but still one at a time.

    That a destination can be read says little about whether it takes anything.
    """
    away = update(destinations).where(destinations.c.identity == identity, destinations.c.failures >= BREAK_AFTER)
    await conn.execute(away.values(hold_until=None))


async def failed(conn: Conn, identity: str, reason: str, tries: int, pause_s: Callable[[int], float]) -> None:
    """Note a try that says nothing about its message; `tries`: how many of this delivery failed before.

    `pause_s` is the back-off after so many failures more than it took. A delivery counts for its first tries only: so
    one message that a destination answers with 500 for ever does not make it look away, and holds up no other.
    """
    await conn.execute(_HAVE, {"identity": identity})
    values = {"b_identity": identity, "b_counts": int(tries < BREAK_AFTER - 1), "b_reason": reason[:2000]}
    failures = int((await conn.execute(_FAILED, values)).scalar_one())
    if failures >= BREAK_AFTER:
        for_s = min(pause_s(failures - BREAK_AFTER), PROBE_MOST_S)
        await conn.execute(_HOLD, {"b_identity": identity, "b_for": for_s})


async def answered(conn: Conn, identities: Sequence[str]) -> None:
    """Note that destinations answered, whatever they said: one that was away is let go, with all that waits there.

    `away_since` stays until it was told what came and went meanwhile (`receiver.outage`).
    """
    ids = sorted(set(identities))
    failing = {row.identity: row.failures for row in await conn.execute(_FAILING, {"ids": ids})}
    if not failing:
        return
    await conn.execute(_ANSWERED, {"ids": sorted(failing)})
    if away := sorted(one for one, failures in failing.items() if failures >= BREAK_AFTER):
        await conn.execute(_LET_GO, {"ids": away})


async def back(conn: Conn) -> tuple[tuple[str, float], ...]:
    """Return the destinations that answer again, and since when they did not, while that is not told yet."""
    rows = await conn.execute(_BACK)
    return tuple((row.identity, float(row.away_since)) for row in rows)


async def forget_absence(conn: Conn, identity: str, since: float) -> bool:
    """Note that an absence was told; False where somebody else did, or it goes on."""
    gone = update(destinations).where(_IS_BACK, destinations.c.identity == identity, destinations.c.away_since == since)
    return (await conn.execute(gone.values(away_since=None))).rowcount == 1
