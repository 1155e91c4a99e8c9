"""Works the inbox off: look-ups first, then one transaction for alerts, stories, deliveries and "done".

A batch is looked up side by side and written together. An entry that our own code breaks on is tried alone; after three
failures it is told to the root receiver as plain text and holds up nobody.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import structlog
from sqlalchemy.exc import OperationalError

from receiver.alertmanagers import Alertmanagers
from receiver.clock import Clock
from receiver.config.model import Config
from receiver.enrichers.redact import Redactor
from receiver.fingerprint import fingerprint
from receiver.identify import Identifier
from receiver.limits import truncate
from receiver.metrics import Metrics
from receiver.model import Alert, AlertStatus, Identity, PlanPhase, PlanState, Reason
from receiver.record import Incoming, Recorded, Recorder
from receiver.routing.tree import Intervals, Routed, Target, route
from receiver.store import inbox, stories
from receiver.store.engine import Store
from receiver.store.inbox import InboxEntry

log = structlog.get_logger(__name__)

BATCH = 100
IDLE_S = 1.0
LATE_COPY_S = 600.0
"""A firing of an alert that resolved so recently may be a late copy of an old body."""
POISON_TEXT = 2_000


class InboxWorker:
    """Runs until cancelled."""

    def __init__(
        self,
        store: Store,
        config: Config,
        identifier: Identifier,
        recorder: Recorder,
        alertmanagers: Alertmanagers,
        redactor: Redactor,
        clock: Clock,
        metrics: Metrics,
        *,
        owner: str,
        on_change: Callable[[Recorded], None],
    ) -> None:
        self._store = store
        self._config = config
        self._identifier = identifier
        self._recorder = recorder
        self._alertmanagers = alertmanagers
        self._redactor = redactor
        self._clock = clock
        self._metrics = metrics
        self._owner = owner
        self._on_change = on_change
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Say that something has arrived."""
        self._wake.set()

    async def run(self) -> None:
        """Work for ever."""
        await self._store.write(inbox.release_all)
        while True:
            self._wake.clear()
            batch = await self._store.write(lambda conn: inbox.claim(conn, self._owner, BATCH))
            if batch:
                await self._work(batch)
                self._metrics.inbox.set(await self._store.read(inbox.backlog))
                continue
            try:
                async with asyncio.timeout(IDLE_S):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _work(self, batch: Sequence[InboxEntry]) -> None:
        looked_up = await asyncio.gather(*(self._look_up(entry) for entry in batch), return_exceptions=True)
        good: list[tuple[InboxEntry, Incoming]] = []
        for entry, result in zip(batch, looked_up, strict=True):
            if isinstance(result, Incoming):
                good.append((entry, result))
            elif isinstance(result, Exception) and not isinstance(result, OperationalError):
                await self._broken(entry, result)
            else:
                raise result
        if not good:
            return
        good = await self._mark_late(good)
        try:
            recorded = await self._store.write(lambda conn: self._write(conn, good))
        except OperationalError:
            raise  # the disk, not the entry
        except Exception as error:
            if len(good) == 1:
                await self._broken(good[0][0], error)
                return
            log.warning("inbox.batch_broken", entries=len(good), error=type(error).__name__)
            for entry, incoming in good:
                await self._alone(entry, incoming)
        else:
            self._changed(recorded)

    async def _alone(self, entry: InboxEntry, incoming: Incoming) -> None:
        try:
            recorded = await self._store.write(lambda conn: self._write(conn, [(entry, incoming)]))
        except OperationalError:
            raise  # the disk, not the entry
        except Exception as error:
            await self._broken(entry, error)
        else:
            self._changed(recorded)

    async def _write(self, conn: Any, good: Sequence[tuple[InboxEntry, Incoming]]) -> Recorded:
        recorded = await self._recorder.record(conn, [incoming for _, incoming in good])
        await inbox.done(conn, [entry.seq for entry, _ in good])
        return recorded

    def _changed(self, recorded: Recorded) -> None:
        for change in recorded.changes:
            self._metrics.changes.labels(change.value).inc()
        self._on_change(recorded)

    async def _look_up(self, entry: InboxEntry) -> Incoming:
        if entry.kind != "alert":
            raise ValueError("the body could not be understood")
        alert = entry.alert()
        late_copy = await self._is_late_copy(entry, alert)
        found = await self._identifier.identify(alert)
        routed = route(alert.labels, found.identity.facts, self._config)
        return Incoming(entry.seq, entry.source, alert, found.role, found.identity, found.plan, routed, late_copy)

    async def _is_late_copy(self, entry: InboxEntry, alert: Alert) -> bool:
        if not alert.firing:
            return False
        newest = await self._store.read(lambda conn: stories.newest_alert(conn, alert.fingerprint))
        if newest is None or newest[1].firing or newest[1].alert.starts_at != alert.starts_at:
            return False
        now = await self._store.read(stories.now_of)
        if now - newest[1].changed_at >= LATE_COPY_S:
            return False
        return await self._alertmanagers.holds(entry.source, alert) is False

    async def _mark_late(self, good: Sequence[tuple[InboxEntry, Incoming]]) -> list[tuple[InboxEntry, Incoming]]:
        """Ask about late copies of alerts that resolved within this very batch: the store does not know them yet."""
        newest: dict[str, Alert] = {}
        late: dict[int, Incoming] = {}
        for entry, one in good:
            before = newest.get(one.alert.fingerprint)
            if before and one.alert.firing and not before.firing and before.starts_at == one.alert.starts_at:
                late[entry.seq] = one
            else:
                newest[one.alert.fingerprint] = one.alert
        held = await asyncio.gather(*(self._alertmanagers.holds(one.source, one.alert) for one in late.values()))
        gone = {seq for seq, answer in zip(late, held, strict=True) if answer is False}
        return [(entry, replace(one, late_copy=one.late_copy or entry.seq in gone)) for entry, one in good]

    async def _broken(self, entry: InboxEntry, error: Exception) -> None:
        """Our own bug: count it, and after the last try tell the root receiver in plain words."""
        self._metrics.bugs.labels("inbox").inc()
        log.error("inbox.broken", seq=entry.seq, error=type(error).__name__, exc_info=error)
        last = await self._store.write(lambda conn: inbox.failed(conn, entry.seq, type(error).__name__))
        if not last and entry.kind == "alert":
            return
        self._metrics.poison.inc()
        try:
            incoming = self._plain(entry)
            recorded = await self._store.write(lambda conn: self._write(conn, [(entry, incoming)]))
            self._changed(recorded)
        except Exception as worse:
            log.critical("inbox.poison_untold", seq=entry.seq, exc_info=worse)
        await self._store.write(lambda conn: inbox.poison(conn, entry.seq))

    def _plain(self, entry: InboxEntry) -> Incoming:
        text, _ = self._redactor.text(entry.payload)
        try:
            decoded = json.loads(entry.payload)
            labels = {str(k): self._redactor.text(str(v))[0] for k, v in decoded["labels"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            labels = {}
        labels = {"alertname": "MTVReceiverCouldNotProcess", "severity": "warning", **labels}
        alert = Alert(
            fingerprint=fingerprint({**labels, "mtv_receiver_inbox": str(entry.seq)}),
            status=AlertStatus.FIRING,
            labels=labels,
            annotations={
                "summary": "An alert arrived that mtv-receiver could not process; it is shown as it came",
                "description": truncate(text, POISON_TEXT),
            },
            starts_at=self._clock.now(),
        )
        identity = Identity(subject=f"inbox/{entry.seq}", kind="alert", name=labels["alertname"])
        routed = root_only(self._config, "an alert that could not be processed is told to the root receiver")
        return Incoming(entry.seq, entry.source, alert, "failure", identity, PlanState(PlanPhase.NO_PLAN), routed)


def root_only(config: Config, why: str) -> Routed:
    """Return the root receiver's destinations, whatever the routes say."""
    reason = Reason(config.route.position, why)
    targets = tuple(
        Target(destination, (reason,), (Intervals(),))
        for name in config.route.receivers
        for destination in config.receivers[name].destinations
    )
    return Routed(targets, (), {}, notify_success=False)
