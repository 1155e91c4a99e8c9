"""The reconciler: lets every delivery that lags catch up, each destination at its own pace.

One loop finds destinations with something due and claims for them, at most `max_in_flight` each; what one of them takes
its time over delays no other. What only time can bring is looked after in the same loop: probes of parked destinations,
changed secret files, fallbacks.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import structlog

from receiver.attempt import PROBE_EVERY_S, Destination, Worker
from receiver.clock import Clock
from receiver.config.model import Config
from receiver.destinations import Manner
from receiver.digests import Admission
from receiver.errors import DeliveryError
from receiver.metrics import Metrics
from receiver.model import Change, DeliveryState
from receiver.store import audit, claims, deliveries, manners, outage, parking, shadow, stories
from receiver.store.audit import Kind
from receiver.store.deliveries import NEW_ROOT, DeliveryRow
from receiver.store.engine import NOW, Conn, Store
from receiver.telling import Teller
from receiver.verdict import End

log = structlog.get_logger(__name__)

IDLE_S = 1.0
"""The loop looks at least so often: writes by other processes (`deliveries retry`) wake nobody."""
CLAIM_AHEAD = 4
"""Claimed at once: so many times what a destination may be sent at the same time. What it saves in a storm is one
transaction for many; the lease is long enough for all of them (`LEASE_LEFT_S` of `receiver.attempt`)."""
PAGES_ALONE_S = 0.5
"""While first pages wait and their pager answers (the last one not longer ago), nothing else is begun: one processor
serves all, and a chat message can wait for a page, but not the other way round."""
BUG_PAUSE_S = 5.0
BUG_TRIES = 3


class Deliverer:
    """Runs until cancelled; `drain` lets what is being sent finish."""

    def __init__(
        self,
        store: Store,
        config: Config,
        destinations: Mapping[str, Destination],
        teller: Teller,
        clock: Clock,
        metrics: Metrics,
        *,
        jitter: Callable[[], float],
        owner: str,
        admission: Admission,
    ) -> None:
        self._store = store
        self._admission = admission
        self._config = config
        self._destinations = destinations
        self._teller = teller
        self._clock = clock
        self._metrics = metrics
        self._owner = owner
        self._worker = Worker(store, config, clock, metrics, jitter)
        self._pages_wait = False
        self._paged_at = float("-inf")
        self._in_hand: dict[str, asyncio.Task[None]] = {}
        self._in_flight: Counter[str] = Counter()
        self._probes: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._draining = False

    def wake(self) -> None:
        """Say that something may be due."""
        self._wake.set()

    def paging(self) -> bool:
        """Do first pages wait for a pager that answers?"""
        return self._pages_wait and self._clock.monotonic() - self._paged_at < PAGES_ALONE_S

    async def run(self) -> None:
        """Deliver for ever."""
        await self._store.write(self._free)
        next_upkeep = 0.0
        try:
            while True:
                self._wake.clear()
                if self._clock.monotonic() >= next_upkeep and not self._draining:
                    await self._upkeep()
                    next_upkeep = self._clock.monotonic() + IDLE_S
                outlook = await self._store.read(claims.outlook)
                await self._claim_due(outlook)
                soon = outlook.next_due_s
                wait = IDLE_S if soon is None else min(IDLE_S, max(0.005, soon))
                try:
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
                except TimeoutError:
                    pass
        finally:
            tasks = (*self._in_hand.values(), *self._probes.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def begin_nothing_new(self) -> None:
        """Only finish what is being sent."""
        self._draining = self._worker.stopping = True

    async def drain(self, timeout_s: float) -> None:
        """Begin nothing new, and wait until nothing is being sent, at most `timeout_s` seconds."""
        self.begin_nothing_new()
        if self._in_hand:
            await asyncio.wait(self._in_hand.values(), timeout=timeout_s)

    async def _free(self, conn: Any) -> None:
        """A start frees what was ours before the disk failed, and what was parked under an older configuration."""
        await claims.free_claims(conn, self._owner)
        for one in await parking.parked(conn):
            await parking.unpark(conn, one.identity)

    async def _claim_due(self, outlook: claims.Outlook) -> None:
        if self._draining:
            return
        busy = outlook.busy
        free = {
            identity: self._room(identity, away=identity in outlook.away)
            for identity in busy
            if identity in self._destinations
        }
        pages = [one for one in free if busy[one] == NEW_ROOT and self._is_pager(one)]
        wanted = {identity: room for identity, room in free.items() if room > 0}
        self._pages_wait = bool(pages)
        if self.paging():
            wanted = {identity: room for identity, room in wanted.items() if identity in pages}
        if wanted:
            await self._claim(wanted)

    def _may_be_digest(self, identity: str) -> bool:
        return self._admission.concerns(self._destinations[identity].sender)

    def _room(self, identity: str, *, away: bool) -> int:
        """Return how many more deliveries may be claimed: of a destination that is away only one at a time."""
        limits = self._destinations[identity].config.manners
        most = 1 if away else CLAIM_AHEAD * limits.max_in_flight
        if limits.rate_per_minute is not None:
            most = min(most, max(limits.rate_burst, limits.max_in_flight))
        return most - self._in_flight[identity]

    def _is_pager(self, identity: str) -> bool:
        return self._destinations[identity].sender.manner is Manner.PAGER

    async def _claim(self, wanted: Mapping[str, int], *, probe: bool = False) -> int:
        """Claim for several destinations, for each up to a number, and begin to work on it.

        In the same transaction, since new ones come all the time, it is asked first whether what waits is a storm.
        """
        claimed_at = self._clock.monotonic()
        in_hand = tuple(self._in_hand)

        async def claim(conn: Conn) -> list[DeliveryRow]:
            found: list[DeliveryRow] = []
            for identity, limit in wanted.items():
                one = self._destinations[identity]
                if not probe and self._may_be_digest(identity):
                    await self._admission.admit(conn, one.config, one.sender)
                found += await claims.claim(conn, self._owner, identity, limit, in_hand, probe=probe)
            return found

        rows = await self._store.write(claim)
        for row in rows:
            self._in_flight[row.destination] += 1
            work = self._work(row, self._destinations[row.destination], claimed_at, probe=probe)
            task = asyncio.create_task(work, name=f"deliver-{row.id}")
            self._in_hand[row.id] = task
            task.add_done_callback(partial(self._done, row))
        return len(rows)

    def _done(self, row: DeliveryRow, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            # The disk: its lease ends by itself, and what was sent without a recorded answer is looked for.
            log.error("deliver.unrecorded", delivery=row.id, error=type(error).__name__)
        del self._in_hand[row.id]
        self._in_flight[row.destination] -= 1
        if self._is_pager(row.destination):
            self._paged_at = self._clock.monotonic()
        self._wake.set()

    async def _work(self, row: DeliveryRow, destination: Destination, claimed_at: float, *, probe: bool) -> None:
        try:
            end = await self._worker.work(row, destination, claimed_at, probe=probe)
        except Exception:
            self._metrics.bugs.labels("deliver").inc()
            log.exception("deliver.bug", delivery=row.id, destination=destination.config.label)
            # Our own bug, perhaps in how it is rendered: the plain form next, at last a dead letter and the fallback.
            values: dict[str, Any] = {"due": NOW + BUG_PAUSE_S, "tries": row.tries + 1, "plain": True}
            if row.plain and row.tries >= BUG_TRIES:
                state = DeliveryState.SHADOW if destination.config.shadow else DeliveryState.DEAD
                values = {"due": None, "state": state.value, "error": "our own error; see the log"}

            async def give_up(conn: Conn) -> None:
                if await claims.release(conn, row, values) and values["due"] is None:
                    facts = {"destination": row.label, "delivery": row.id, "error": values["error"]}
                    await audit.note(conn, Kind.DEAD, row.story, **facts)

            await self._store.write(give_up)
            return
        if probe and end is End.DONE:
            await self._unpark(row.destination, destination)
        elif probe and end is End.NOTHING:
            await self._store.write(lambda conn: parking.probed(conn, row.destination, 0.0))

    async def _unpark(self, identity: str, destination: Destination) -> None:
        log.info("deliver.unparked", destination=destination.config.label)
        await self._store.write(lambda conn: parking.unpark(conn, identity))
        self.wake()

    # --- what only time can bring ---

    async def _upkeep(self) -> None:
        await self._out_of_shadow()
        parked = await self._store.read(parking.parked)
        self._metrics.parked.set(len(parked))
        for one in parked:
            destination = self._destinations.get(one.identity)
            if destination is None:
                continue
            if destination.secret_mark() != one.secret_mark:
                log.info("deliver.secret_changed", destination=destination.config.label)
                await self._store.write(partial(parking.unpark, destination=one.identity))
            elif one.probe_due and not self._in_flight[one.identity] and one.identity not in self._probes:
                await self._probe(one.identity, destination)
        if parked:
            await self._store.write(parking.mark)
        await self._fall_back()
        for identity, since in await self._store.read(manners.back):
            await self._sum_up(identity, since)

    async def _out_of_shadow(self) -> None:
        """Tell for real what was only written down at destinations that are live by now.

        Not once for each configuration: a try that began under the one before, here or in another replica, may end
        after that.
        """
        for identity in await self._store.read(shadow.destinations):
            one = self._destinations.get(identity)
            if one is None or one.config.shadow:
                continue
            while ids := await self._store.read(partial(shadow.left, destination=identity)):
                due = await self._store.write(partial(shadow.end, ids=ids))
                log.info("deliver.out_of_shadow", destination=one.config.label, deliveries=len(ids), told_now=due)
                self.wake()

    def _is_shadow(self, identity: str) -> bool:
        one = self._destinations.get(identity)
        return one is not None and one.config.shadow

    async def _sum_up(self, identity: str, since: float) -> None:
        """A destination is back: tell there, once, what came and went meanwhile."""
        destination = self._destinations.get(identity)
        tells, label = False, identity
        if destination is not None:
            label = destination.config.label
            # With minimal content nothing would be left of it: it names what came.
            tells = Change.AWAY in destination.sender.entry_changes and destination.config.content != "minimal"
        if await self._store.write(lambda conn: outage.sum_up(conn, identity, since, label, tells=tells)):
            self.wake()

    async def _probe(self, identity: str, destination: Destination) -> None:
        """One real delivery shows more than a question; where none waits, ask."""
        await self._store.write(lambda conn: parking.probed(conn, identity, PROBE_EVERY_S))
        if not await self._claim({identity: 1}, probe=True):
            task = asyncio.create_task(self._ask(identity, destination), name=f"probe-{destination.config.label}")
            self._probes[identity] = task
            task.add_done_callback(lambda _: self._probes.pop(identity))

    async def _ask(self, identity: str, destination: Destination) -> None:
        try:
            async with asyncio.timeout(destination.config.manners.timeout_s):
                await destination.sender.probe()
        except (DeliveryError, TimeoutError):
            return
        await self._unpark(identity, destination)

    async def _fall_back(self) -> None:
        after_s = self._config.global_.fallback_after_s
        hidden = [key for key, one in self._destinations.items() if one.config.shadow]
        waiting = await self._store.read(lambda conn: parking.in_need_of_fallback(conn, after_s, hidden))
        for one in waiting:
            told = await self._store.write(partial(self._fall_back_one, waiting=one))
            log.warning("deliver.fallback", delivery=one.id, story=one.story, why=one.why, told=told)

    async def _fall_back_one(self, conn: Any, waiting: parking.Waiting) -> list[str]:
        if not await parking.fell_back(conn, waiting.id):
            return []
        draft = await stories.load_draft(conn, waiting.story, await stories.now_of(conn))
        row = await deliveries.one(conn, waiting.id)
        if draft is None or row is None or self._is_shadow(row.destination):
            return []
        told = await self._teller.fall_back(conn, draft, row, waiting.why)
        facts = {"destination": row.label, "why": waiting.why, "told": told or "nobody is left"}
        await audit.note(conn, Kind.FALLBACK, draft.id, **facts)
        if told:
            self._metrics.fallbacks.labels(row.kind).inc()
        return told
