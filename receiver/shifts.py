"""Tells the next shift, at fixed times of the day: once, whatever the number of replicas.

A time that passed while nobody was there is made up for within an hour; one that is older is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import structlog

from receiver.clock import Clock
from receiver.config.durations import duration_text
from receiver.config.handover import HandoverPost
from receiver.config.model import Config
from receiver.fingerprint import fingerprint
from receiver.forever import for_ever
from receiver.handover import Handover, read
from receiver.handover_words import lines_of
from receiver.metrics import Metrics
from receiver.model import Alert, AlertStatus
from receiver.model.handed import HANDED, Handed
from receiver.store import shift
from receiver.store.codec import HANDED as FORM
from receiver.store.codec import dump
from receiver.store.engine import Store

log = structlog.get_logger(__name__)

ALERT: Final = "MTVHandover"
LOOK_EVERY_S: Final = 5.0
MADE_UP_WITHIN: Final = timedelta(hours=1)


class Shifts:
    """Runs until cancelled."""

    def __init__(
        self, store: Store, config: Config, clock: Clock, metrics: Metrics, *, owner: str, on_alert: Callable[[], None]
    ) -> None:
        """`on_alert`: the inbox has something new."""
        self._store = store
        self._config = config.handover
        self._clock = clock
        self._metrics = metrics
        self._owner = owner
        self._on_alert = on_alert

    async def run(self) -> None:
        """Work for ever."""
        await for_ever(self.look, LOOK_EVERY_S, name="handover", clock=self._clock, metrics=self._metrics)

    async def look(self) -> bool:
        """Tell what is due; was anything?"""
        config = self._config
        if config is None:
            return False
        now = self._clock.now()
        last = await self._store.read(shift.told_until)
        if last is None:  # what passed before anybody asked for handovers was not missed
            await self._store.write(partial(shift.begin, owner=self._owner, at=now.timestamp()))
            return False
        due = due_at(config, now)
        if due is None or due.timestamp() <= last:
            return False
        found = await self._store.browse(partial(read, since_s=config.since_s))
        alert = alert_of(found, due, config)
        told = await self._store.write(partial(shift.tell, owner=self._owner, at=due.timestamp(), alert=alert))
        if told:
            log.info("handover.told", shift=due.isoformat(), late_s=round((now - due).total_seconds()))
            self._on_alert()
        return told


def due_at(config: HandoverPost, now: datetime) -> datetime | None:
    """Return the last time of the day that has come, in the zone that it is meant in; None: it is too long ago."""
    latest = max((at for at in _times(config, now) if at <= now), default=None)
    return latest.astimezone(config.location) if latest is not None and now - latest <= MADE_UP_WITHIN else None


def _times(config: HandoverPost, now: datetime) -> Iterator[datetime]:
    """Yield the times around a moment, in UTC. One that summer time leaves out comes as much later, a doubled once."""
    today = now.astimezone(config.location).date()
    for day in (today - timedelta(days=1), today):
        for at in config.at:
            yield datetime.combine(day, at, tzinfo=config.location).astimezone(UTC)


def alert_of(found: Handover, due: datetime, config: HandoverPost) -> Alert:
    """Return the alert that holds a handover: as all alerts it passes the inbox, and so the ledger of deliveries."""
    labels = {"alertname": ALERT, "severity": "info", "shift": due.isoformat(timespec="minutes")}
    lines = lines_of(found)
    text = "\n".join(
        f"{one.part + ': ' if one.part else ''}{one.name}{': ' if one.name else ''}{one.text}" for one in lines
    )
    notes = {
        "summary": found.summary,
        "description": text,
        HANDED: dump(FORM, Handed(duration_text(config.since_s), lines)),
    }
    return Alert(fingerprint(labels), AlertStatus.FIRING, labels, notes, starts_at=found.now)
