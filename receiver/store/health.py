"""How destinations do: what keeps them from taking anything, what waits for them, how the last hour's tries went."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Row, case, func, select

from receiver.model import AttemptOutcome, DeliveryState
from receiver.store.engine import NOW, Conn
from receiver.store.filters import Filter, conditions
from receiver.store.listing import SHOWN_STATE
from receiver.store.manners import BREAK_AFTER
from receiver.store.needing import NEEDING
from receiver.store.owners import Owner
from receiver.store.schema import attempts, deliveries, destinations, stories

MOST_TRIES: Final = 5_000
"""Of the last hour only so many tries are counted, the newest ones: they are numbered, so no other row is read."""
HOUR_S: Final = 3_600.0


class Standing(StrEnum):
    """How a destination stands, the worst first."""

    PARKED = "parked"
    """It refuses everything: asked again now and then."""
    AWAY = "away"
    """Nothing gets through: one try at a time."""
    FAILING = "failing"
    """The last try did not get through."""
    HELD = "held back"
    """It asked to be left alone, or has had its share of requests."""
    WORKING = "working"


@dataclass(frozen=True, slots=True)
class Health:
    """What the store knows of a destination. Times are database seconds."""

    standing: Standing = Standing.WORKING
    reason: str = ""
    since: float | None = None
    next_at: float | None = None
    """When it is asked again; None: with the next delivery."""
    failures: int = 0
    """Tries in a row that did not get through."""
    names: tuple[str, ...] = ()
    """As deliveries name it (payments/slack)."""
    waiting: int = 0
    """Deliveries that are pending or retrying."""
    oldest: float | None = None
    """Since when the first of them waits."""
    parked: int = 0
    dead: int = 0
    tries: int = 0
    """Answered ones, in the last hour."""
    errors: int = 0
    """Those that went wrong."""


@dataclass(frozen=True, slots=True)
class Known:
    """All destinations that the store remembers, by identity."""

    of: Mapping[str, Health] = field(default_factory=dict)
    now: float = 0.0
    tries_since: float = 0.0
    """Tries are counted from here on: an hour ago, or later where there were more than MOST_TRIES."""


Names = Mapping[str, tuple[str, ...]]
"""What deliveries call destinations (payments/slack), by identity."""


async def names(conn: Conn, sees: frozenset[Owner] | None = None) -> Names:
    """Return where anything was ever to be told; with `sees` of these owners' stories. Reads all deliveries."""
    d = deliveries.c
    query = select(d.destination, d.label).distinct()
    if sees is not None:
        query = query.where(d.story.in_(select(stories.c.id).where(*conditions(Filter(sees=sees)))))
    found: dict[str, list[str]] = defaultdict(list)
    for row in await conn.execute(query):
        found[row.destination].append(row.label)
    return {one: tuple(sorted(labels)) for one, labels in found.items()}


async def read(conn: Conn, *, sees: frozenset[Owner] | None = None, named: Names | None = None) -> Known:
    """Return how destinations do; with `sees` only those that were told of these owners' stories, and only of those.

    `named` is what `names` said lately, for who asks often.
    """
    now = float((await conn.execute(select(NOW))).scalar_one())
    backlog = await _backlog(conn, sees, await names(conn, sees) if named is None else named)
    tried, since = await _tries(conn, now, sees)
    rows = {row.identity: row for row in await conn.execute(select(destinations))}
    every = set(backlog) if sees is not None else {*backlog, *rows}
    found = {
        one: Health(**_standing(rows.get(one), now), **backlog.get(one, {}), **tried.get(one, {})) for one in every
    }
    return Known(found, now, since)


def _standing(row: Row[Any] | None, now: float) -> dict[str, Any]:
    if row is None:
        return {}
    if row.parked:
        return {"standing": Standing.PARKED, "reason": row.reason, "since": row.since, "next_at": row.probe_at}
    held = row.hold_until if row.hold_until is not None and row.hold_until > now else None
    failing = {"reason": row.reason, "since": row.away_since, "next_at": held, "failures": row.failures}
    if row.failures:
        return {"standing": Standing.AWAY if row.failures >= BREAK_AFTER else Standing.FAILING, **failing}
    if held is not None:
        spent = row.tokens is not None and row.tokens < 1.0
        reason = "its rate limit is used up" if spent else "it asked to be left alone"
        return {"standing": Standing.HELD, "reason": reason, "next_at": held}
    return {}


async def _backlog(conn: Conn, sees: frozenset[Owner] | None, named: Names) -> dict[str, dict[str, Any]]:
    d = deliveries.c
    query = select(
        d.destination, d.label, SHOWN_STATE.label("shown"), func.count().label("number"),
        func.min(d.waiting_since).label("oldest"),
    ).where(NEEDING).group_by(d.destination, d.label, SHOWN_STATE)  # fmt: skip
    if sees is not None:
        query = query.where(d.story.in_(select(stories.c.id).where(*conditions(Filter(sees=sees)))))
    found: dict[str, dict[str, Any]] = defaultdict(lambda: {"names": ()})
    found.update({one: {"names": labels} for one, labels in named.items()})
    for row in (await conn.execute(query)).all():
        of = found[row.destination]
        of["names"] = tuple(sorted({*of["names"], row.label}))
        if row.shown in (DeliveryState.PENDING.value, DeliveryState.RETRYING.value):
            of["waiting"] = of.get("waiting", 0) + row.number
            of["oldest"] = min((one for one in (of.get("oldest"), row.oldest) if one is not None), default=None)
        elif row.shown in (DeliveryState.PARKED.value, DeliveryState.DEAD.value):
            of[row.shown] = of.get(row.shown, 0) + row.number
    return dict(found)


async def _tries(conn: Conn, now: float, sees: frozenset[Owner] | None) -> tuple[dict[str, dict[str, Any]], float]:
    """Return the tries of the last hour by destination, and since when they are counted."""
    a, d = attempts.c, deliveries.c
    newest = select(a.delivery, a.outcome, a.started).order_by(a.id.desc()).limit(MOST_TRIES).subquery()
    counted = select(func.count().label("number"), func.min(newest.c.started).label("first")).select_from(newest)
    seen = (await conn.execute(counted)).one()
    since = max(now - HOUR_S, seen.first) if seen.number == MOST_TRIES else now - HOUR_S
    good = (AttemptOutcome.OK.value, AttemptOutcome.SHADOW.value)
    wrong = case((newest.c.outcome.not_in(good), 1), else_=0)
    query = (
        select(d.destination, func.count().label("tries"), func.sum(wrong).label("errors"))
        .select_from(newest)
        .join(deliveries, d.id == newest.c.delivery)
        .where(newest.c.started >= since, newest.c.outcome.is_not(None))
        .group_by(d.destination)
    )
    if sees is not None:
        query = query.where(d.story.in_(select(stories.c.id).where(*conditions(Filter(sees=sees)))))
    found = {
        row.destination: {"tries": int(row.tries), "errors": int(row.errors or 0)} for row in await conn.execute(query)
    }
    return found, since
