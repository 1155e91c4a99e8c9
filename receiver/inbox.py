"""Works the inbox off: look-ups first, then one transaction for alerts, stories, deliveries and "done".

A batch is looked up side by side and written together. Later batches are looked up meanwhile, so that a slow cluster
costs its time once and not for each batch, but batches are written in their order. An entry that our own code breaks on
is tried alone; after three failures it is told to the root receiver as plain text and holds up nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from receiver.alertmanagers import Alertmanagers
from receiver.arrivals import Arrivals
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
from receiver.store import heartbeats, inbox, order, rounds
from receiver.store.engine import Conn, Store, is_of_store
from receiver.store.inbox import InboxEntry

log = structlog.get_logger(__name__)

BATCH = 25
"""Recorded in one transaction: bounds for how long what is being delivered has to wait for it."""
BATCH_IN_RUSH = 5
"""The same while webhooks come in a row, for they wait for it too."""
BATCHES_AHEAD = 16
"""Batches that are looked up while an older one is."""
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
        on_plan: Callable[[Identity, PlanState], None],
        arrivals: Arrivals | None = None,
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
        self._on_plan = on_plan
        self._arrivals = arrivals or Arrivals(config)
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Say that something has arrived."""
        self._wake.set()

    async def run(self) -> None:
        """Work for ever."""
        await self._store.write(lambda conn: inbox.release_all(conn, self._owner))
        in_hand: deque[asyncio.Task[None]] = deque()
        try:
            while True:
                self._wake.clear()
                most = BATCH_IN_RUSH if self._store.rush else BATCH
                batch = await self._store.write(partial(inbox.claim, owner=self._owner, limit=most))
                if batch:
                    before = in_hand[-1] if in_hand else None
                    in_hand.append(asyncio.create_task(self._work(batch, before), name=f"inbox-{batch[0].seq}"))
                while in_hand and (in_hand[0].done() or len(in_hand) > BATCHES_AHEAD):
                    await in_hand.popleft()
                    self._metrics.inbox.set(await self._store.read(inbox.backlog))
                if not batch:
                    await self._until_woken()
        finally:
            for task in in_hand:
                task.cancel()
            await asyncio.gather(*in_hand, return_exceptions=True)

    async def _until_woken(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE_S):
                await self._wake.wait()

    async def _work(self, batch: Sequence[InboxEntry], before: asyncio.Task[None] | None) -> None:
        batch = await self._beats(batch)
        looked_up = await asyncio.gather(*(self._look_up(entry) for entry in batch), return_exceptions=True)
        if before is not None:
            await asyncio.wait([before])
            if before.cancelled() or before.exception() is not None:
                return  # the worker ends, and nothing of it is lost
        self._wake.set()
        await self._take(batch, looked_up)

    async def _take(self, batch: Sequence[InboxEntry], looked_up: Sequence[Incoming | BaseException]) -> None:
        good: list[tuple[InboxEntry, Incoming]] = []
        for entry, result in zip(batch, looked_up, strict=True):
            if isinstance(result, Incoming):
                good.append((entry, result))
            elif isinstance(result, Exception) and not is_of_store(result):
                await self._broken(entry, result)
            else:
                raise result
        if not good:
            return
        good = await self._mark_late(await self._mark_listed(good))
        try:
            recorded = await self._store.write(lambda conn: self._write(conn, good))
        except Exception as error:
            if is_of_store(error):
                raise
            if len(good) == 1:
                await self._broken(good[0][0], error)
                return
            log.warning("inbox.batch_broken", entries=len(good), error=type(error).__name__)
            for entry, incoming in good:
                await self._alone(entry, incoming)
        else:
            self._changed(recorded, good)

    async def _alone(self, entry: InboxEntry, incoming: Incoming) -> None:
        try:
            recorded = await self._store.write(lambda conn: self._write(conn, [(entry, incoming)]))
        except Exception as error:
            if is_of_store(error):
                raise
            await self._broken(entry, error)
        else:
            self._changed(recorded, [(entry, incoming)])

    async def _write(self, conn: Any, good: Sequence[tuple[InboxEntry, Incoming]]) -> Recorded:
        recorded = await self._recorder.record(conn, [incoming for _, incoming in good])
        await inbox.done(conn, [entry.seq for entry, _ in good])
        return recorded

    def _changed(self, recorded: Recorded, told: Sequence[tuple[InboxEntry, Incoming]]) -> None:
        for change in recorded.changes:
            self._metrics.changes.labels(change.value).inc()
        self._on_change(recorded)
        for _, one in told:
            self._on_plan(one.identity, one.plan)

    async def _look_up(self, entry: InboxEntry) -> Incoming:
        if entry.kind != "alert":
            raise ValueError("the body could not be understood")
        alert = entry.alert()
        if (own := self._arrivals.own(entry.seq, entry.source, alert)) is not None:
            return own
        found = await self._identifier.identify(alert)
        routed = route(alert.labels, found.identity.facts, self._config)
        kept = self._redactor.alert(alert)
        return Incoming(entry.seq, entry.source, kept, found.role, found.identity, found.plan, routed)

    async def _beats(self, batch: Sequence[InboxEntry]) -> Sequence[InboxEntry]:
        """Note the heartbeats among entries, and return the others: a heartbeat is no story."""
        beats = [entry for entry in batch if entry.kind == "alert" and self._is_beat(entry)]
        if not beats:
            return batch

        async def write(conn: Conn) -> None:
            for entry in beats:
                if entry.alert().firing:  # that it resolved is the opposite of a heartbeat
                    await heartbeats.heard(conn, entry.received_at)
            await inbox.done(conn, [entry.seq for entry in beats])

        await self._store.write(write)
        return [entry for entry in batch if entry not in beats]

    def _is_beat(self, entry: InboxEntry) -> bool:
        try:
            return self._config.heartbeat is not None and self._arrivals.is_heartbeat(entry.alert(), entry.source)
        except ValueError:
            return False  # a payload of a broken writer: told as what could not be processed

    async def _mark_listed(self, good: Sequence[tuple[InboxEntry, Incoming]]) -> list[tuple[InboxEntry, Incoming]]:
        """Leave alerts in the list of failures from before our time that are told there."""
        fingerprints = [one.alert.fingerprint for _, one in good]
        listed = await self._store.read(lambda conn: rounds.listed(conn, fingerprints))
        return [(entry, self._arrivals.known(one, listed)) for entry, one in good]

    async def _mark_late(self, good: Sequence[tuple[InboxEntry, Incoming]]) -> list[tuple[InboxEntry, Incoming]]:
        """Ask about firings of alerts that resolved a moment ago, before this batch or within it."""
        firing = {one.alert.fingerprint for _, one in good if one.alert.firing}
        resolved = await self._store.read(lambda conn: order.lately_resolved(conn, firing, LATE_COPY_S))
        late: dict[int, Incoming] = {}
        for entry, one in good:
            fingerprint = one.alert.fingerprint
            if not one.alert.firing:
                resolved[fingerprint] = one.alert.starts_at.timestamp()
            elif resolved.get(fingerprint) == one.alert.starts_at.timestamp():
                late[entry.seq] = one
            else:
                resolved.pop(fingerprint, None)
        held = await asyncio.gather(*(self._alertmanagers.holds(one.source, one.alert) for one in late.values()))
        gone = {seq for seq, answer in zip(late, held, strict=True) if answer is False}
        return [(entry, replace(one, late_copy=entry.seq in gone)) for entry, one in good]

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
            self._changed(recorded, [])
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
