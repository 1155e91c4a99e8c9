"""One delivery worked off, by the attempt protocol.

    claim ─► read the story as it is now ─► plan a step ─► begin (on disk) ─► send ─► end ─► next step or release

A step that creates something is never simply repeated after an unknown outcome: it is looked for by our own key first,
for as long as a late request may still land (`lookup_grace`). Everything else may be sent again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog

from receiver.clock import Clock
from receiver.config.model import Config, DestinationConfig
from receiver.destinations import Manner, Sender, Step
from receiver.errors import DeliveryError, DestinationRefused, Transient, Unknown
from receiver.metrics import Metrics
from receiver.model import QUIET_WITHIN_S, DeliveryState, Receipt, Story, Told, Wanted
from receiver.model.shadow import in_shadow
from receiver.routing.intervals import next_allowed
from receiver.routing.tree import Intervals, allowed
from receiver.store import attempts, claims, deliveries, manners, parking, reading, shadow, stories
from receiver.store.attempts import Done, Resting, Try
from receiver.store.claims import LEASE_S
from receiver.store.deliveries import AUDIBLE_CHANGE, QUIET_CHANGE, DeliveryRow
from receiver.store.engine import NOW, Conn, Store
from receiver.store.grouping import Grouped
from receiver.store.reading import Context
from receiver.verdict import LATE_S, LOOK_EVERY_S, OUR_OWN, End, back_off_s, merged, says_nothing, verdict

log = structlog.get_logger(__name__)

LEASE_LEFT_S = 20.0
"""A request is begun only while so much of the lease is left."""
LAST_LOOK_S = 1.0
"""The look that decides "create again" comes this long after `lookup_grace`."""
PROBE_EVERY_S = 300.0
MUTED_CHECK = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Destination:
    """A configured destination with what sends to it."""

    config: DestinationConfig
    sender: Sender
    secret_mark: Callable[[], str]
    gate: asyncio.Semaphore
    """Requests that it may be sent at the same time: `max_in_flight`."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """What the last step of a delivery says besides its own answer: everything that the story was is shown."""

    revision: int
    confirm_in_s: float | None
    confirm_at: float | None
    shadow: bool

    def by(self, done: Done) -> Done:
        if self.shadow:  # there is nothing to confirm
            return replace(done, revision=self.revision, shadow=True)
        return replace(done, revision=self.revision, confirm_in_s=self.confirm_in_s, confirm_at=self.confirm_at)


class Worker:
    """Works claimed deliveries off, one at a time each."""

    def __init__(
        self, store: Store, config: Config, clock: Clock, metrics: Metrics, jitter: Callable[[], float]
    ) -> None:
        self._store = store
        self._config = config
        self._clock = clock
        self._metrics = metrics
        self._jitter = jitter
        # What many deliveries ask at the same time is one set operation.
        self._context = Grouped(store.read, reading.contexts)
        self._begin = Grouped(store.write, attempts.begin_all)
        self._finish = Grouped(store.write, attempts.finish_all)
        self._searched_at: datetime | None = None
        self._opening: dict[str, datetime | None] = {}
        self.stopping = False
        """Begin no more requests: what is claimed is given back."""

    async def work(self, row: DeliveryRow, destination: Destination, claimed_at: float, *, probe: bool = False) -> End:
        """Bring a delivery to what it should show. `claimed_at` is monotonic, taken before the claim.

        `probe`: send although the destination is parked.
        """
        context = await self._context(row)
        if context is None:
            return await self._release(row, {"due": None, "state": DeliveryState.SKIPPED.value}, End.NOTHING)
        row = context.row
        if row.root is not None and not destination.config.shadow and in_shadow(json.loads(row.root)):
            await self._store.write(partial(shadow.end, ids=(row.id,)))
            return End.LATER
        wanted = self._wanted(context, destination.sender.manner)
        early = self._not_now(row, context.story, destination.sender)
        if early is not None:
            return await self._settle(row, context.story, early, End.NOTHING)
        shown = _Shown(
            context.story.revision,
            None if row.unknown_part is None else self._config.global_.confirm_after_s,
            None if wanted.confirm else row.confirm_at,
            destination.config.shadow,
        )
        step = destination.sender.plan(wanted)
        if step is None:
            return await self._record(shown.by(Done(row)), End.NOTHING)
        while True:
            outcome = await self._step(row, step, wanted, destination, claimed_at, probe=probe)
            if isinstance(outcome, End):
                return outcome
            wanted = _after(wanted, step, outcome.receipt)
            following = destination.sender.plan(wanted)
            if following is None:
                return await self._record(shown.by(outcome), End.NOTHING if outcome.attempt is None else End.DONE)
            if await self._record(outcome, End.DONE) is End.LOST:
                return End.LOST
            row, step = _settled(row, step), following

    async def _step(
        self, row: DeliveryRow, step: Step, wanted: Wanted, destination: Destination, claimed_at: float, *, probe: bool
    ) -> Done | End:
        """Carry a step out, or find that it was; not more at the same time than the destination is to take."""
        async with destination.gate:
            if row.unknown_part == step.part and step.creates:
                found = await self._look(row, step, wanted, destination, probe=probe)
                if isinstance(found, End):
                    return found
                if found is not None:
                    return _done(row, step, wanted, found)
            if self.stopping or self._clock.monotonic() > claimed_at + LEASE_S - LEASE_LEFT_S:
                return await self._release(row, {"due": NOW}, End.LATER)
            return await self._attempt(row, step, wanted, destination, probe=probe)

    async def _record(self, done: Done, end: End) -> End:
        return end if await self._finish(done) else End.LOST

    def _wanted(self, context: Context, manner: Manner) -> Wanted:
        row, story = context.row, context.story
        root = json.loads(row.root) if row.root else None
        if root is None and row.started and manner is not Manner.CHAT:
            root = {"started": True}  # a create may have landed: it must be closed with the story
        soon = row.told_at is not None and context.now - row.told_at <= QUIET_WITHIN_S
        waited = context.now - row.created if root is None else 0.0
        return Wanted(
            story=replace(story, told=tuple(one for one in story.told if not self._untold(one))),
            keys=row.keys,
            firing=row.firing and story.open,
            reasons=row.reasons,
            root=root,
            entries=context.entries,
            audible=row.audible > row.delivered,
            quiet_allowed=soon and not (root or {}).get("quiet"),
            fallback_for=row.fallback_for,
            moved=row.moved,
            late_s=waited if waited > LATE_S else 0.0,
            plain=row.plain,
            confirm=row.confirm_at is not None and row.confirm_at <= context.now,
            external_url=self._config.web.external_url,
            tries=row.tries,
        )

    def _untold(self, one: Told) -> bool:
        """Does nothing of a story stand there, and nothing will, as it is in shadow mode?"""
        known = self._config.destination(one.destination)
        hidden = known is not None and known.shadow
        return hidden and one.link is None and one.state is not DeliveryState.DELIVERED

    def _not_now(self, row: DeliveryRow, story: Story, sender: Sender) -> dict[str, Any] | None:
        """A first message that is not to be sent now, or not at all."""
        if row.started or row.root is not None:
            return None
        if not (story.open and row.firing) and (sender.manner is not Manner.CHAT or row.state is DeliveryState.MUTED):
            return {"state": DeliveryState.SKIPPED.value, "due": None, "delivered": story.revision}
        intervals = tuple(Intervals(tuple(one["mute"]), tuple(one["active"])) for one in json.loads(row.intervals))
        now = self._clock.now()
        if allowed(intervals, self._config, now):
            return None
        opens = self._opens(row.intervals, intervals, now)
        wait = (opens - now if opens else MUTED_CHECK).total_seconds()
        return {"state": DeliveryState.MUTED.value, "due": NOW + wait}

    def _opens(self, key: str, intervals: tuple[Intervals, ...], now: datetime) -> datetime | None:
        """Return when intervals let a message through next: searched once a minute, not for each that they mute."""
        minute = now.replace(second=0, microsecond=0)
        if self._searched_at != minute:
            self._searched_at, self._opening = minute, {}
        if key not in self._opening:
            self._opening[key] = next_allowed(now, lambda moment: allowed(intervals, self._config, moment), MUTED_CHECK)
        return self._opening[key]

    # --- one try ---

    async def _attempt(
        self, row: DeliveryRow, step: Step, wanted: Wanted, destination: Destination, *, probe: bool
    ) -> Done | End:
        kind = destination.config.kind
        begun = await self._begin(Try(row, step.part, step.op, probe, destination.config.manners))
        if begun is None:
            return End.LOST
        if isinstance(begun, Resting):
            return await self._release(row, {"due": NOW}, End.LATER)
        mark = destination.secret_mark()  # before the secret is read: a file replaced meanwhile is seen as changed
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(destination.config.manners.timeout_s):
                receipt = await destination.sender.send(step, wanted)
        except TimeoutError:
            error: DeliveryError = Unknown(f"no answer within {destination.config.manners.timeout_s:g} s")
        except DeliveryError as raised:
            error = raised
        except Exception as bug:
            self._metrics.bugs.labels("deliver").inc()
            log.exception("deliver.bug", delivery=row.id, destination=destination.config.label, op=step.op)
            error = Unknown(f"{OUR_OWN}{type(bug).__name__}")
        else:
            done = replace(_done(row, step, wanted, receipt, begun.attempt), failing=begun.failing)
            if destination.config.shadow:
                done = replace(done, shadow=True, told=False)
            else:
                self._metrics.attempt_seconds.labels(kind).observe(self._clock.monotonic() - started)
            self._metrics.attempts.labels(kind, done.outcome.value).inc()
            return done
        return await self._failed(row, step, begun.attempt, error, wanted, destination, mark)

    async def _failed(
        self, row: DeliveryRow, step: Step, number: int, error: DeliveryError, wanted: Wanted,
        destination: Destination, mark: str,
    ) -> End:  # fmt: skip
        found = verdict(row, step, error, wanted, destination.config.manners, self._jitter())
        self._metrics.attempts.labels(destination.config.kind, found.outcome.value).inc()
        log.warning(
            "deliver.failed",
            delivery=row.id,
            destination=destination.config.label,
            op=step.op,
            outcome=found.outcome.value,
            error=error.reason,
            attempt=row.tries + 1,
        )

        async def write(conn: Any) -> bool:
            await attempts.end(conn, number, found.outcome, status=error.status, error=error.reason)
            dead = found.values.get("state") == DeliveryState.DEAD.value
            await attempts.note_failure(conn, row, step.part, found.outcome, error.reason, dead=dead)
            if isinstance(error, DestinationRefused):
                await parking.park(conn, destination.config.identity, error.reason, PROBE_EVERY_S, mark)
            await self._noted(conn, row, error, destination)
            if isinstance(error, Transient) and error.retry_after_s is not None:
                await parking.hold(conn, destination.config.identity, error.retry_after_s)
            if found.entry is not None:
                await attempts.set_entry(conn, row, step.part, found.entry)
            return await claims.release(conn, row, found.values)

        return found.end if await self._store.write(write) else End.LOST

    async def _noted(self, conn: Conn, row: DeliveryRow, error: DeliveryError, destination: Destination) -> None:
        """Remember whether the destination answered at all."""
        chance, limits = self._jitter(), destination.config.manners
        if says_nothing(error):
            pause = partial(back_off_s, manners=limits, chance=chance)
            await manners.failed(conn, row.destination, error.reason, row.tries, pause)
        elif not error.reason.startswith(OUR_OWN):
            await manners.answered(conn, [row.destination])

    async def _look(
        self, row: DeliveryRow, step: Step, wanted: Wanted, destination: Destination, *, probe: bool
    ) -> Receipt | End | None:
        """Look for what an unanswered create may have made. None: it is surely not there, create again."""
        grace = destination.config.manners.lookup_grace_s + LAST_LOOK_S
        limits = destination.config.manners
        if not await self._store.write(lambda conn: manners.may_look(conn, row.destination, limits, probe=probe)):
            return await self._release(row, {"due": NOW}, End.LATER)
        now = await self._store.read(stories.now_of)
        since = now - (row.unknown_at or now)
        try:
            async with asyncio.timeout(destination.config.manners.timeout_s):
                found = await destination.sender.find(step, wanted)
        except DestinationRefused as error:
            log.warning(
                "deliver.cannot_look", delivery=row.id, destination=destination.config.label, error=error.reason
            )
            await self._store.write(lambda conn: manners.looked(conn, row.destination))
            return None
        except (DeliveryError, TimeoutError) as error:
            reason = error.reason if isinstance(error, DeliveryError) else "the look-up got no answer"
            values = {"state": DeliveryState.RETRYING.value, "error": reason, "tries": row.tries + 1}
            lost = error if isinstance(error, DeliveryError) else Unknown(reason)
            asked_s = error.retry_after_s if isinstance(error, Transient) else None

            async def note(conn: Conn) -> None:
                await self._noted(conn, row, lost, destination)
                if asked_s is not None:
                    await parking.hold(conn, row.destination, asked_s)

            await self._store.write(note)
            again_s = back_off_s(row.tries, destination.config.manners, self._jitter())
            wait = again_s if asked_s is None else asked_s
            return await self._release(row, {**values, "due": NOW + wait}, End.LATER)
        await self._store.write(lambda conn: manners.looked(conn, row.destination))
        if found is not None:
            log.info("deliver.adopted", delivery=row.id, destination=destination.config.label, part=step.part)
            return found
        if since >= grace:
            return None
        wait = min(max(LOOK_EVERY_S, since), grace - since)
        return await self._release(row, {"due": NOW + wait, "state": DeliveryState.RETRYING.value}, End.LATER)

    # --- the end ---

    async def _settle(self, row: DeliveryRow, story: Story, values: dict[str, Any], end: End) -> End:
        """Release a delivery that is done with the story as it was read; a newer revision lets it lag again."""

        async def write(conn: Any) -> bool:
            current = await deliveries.one(conn, row.id)
            lag: dict[str, Any] = {}
            if current is not None and current.desired > story.revision:
                priority = AUDIBLE_CHANGE if current.audible > story.revision else QUIET_CHANGE
                lag = {"state": DeliveryState.PENDING.value, "due": NOW, "waiting_since": NOW, "priority": priority}
            return await claims.release(conn, row, {**values, **lag})

        return end if await self._store.write(write) else End.LOST

    async def _release(self, row: DeliveryRow, values: dict[str, Any], end: End) -> End:
        kept = await self._store.write(lambda conn: claims.release(conn, row, values))
        return end if kept else End.LOST


def _settled(row: DeliveryRow, step: Step) -> DeliveryRow:
    """Return a delivery after a step was done: how an unanswered try of the same part ended is known now."""
    unknown_part = None if row.unknown_part == step.part else row.unknown_part
    return replace(row, unknown_part=unknown_part, tries=0, started=row.started or step.part == "root")


def _done(row: DeliveryRow, step: Step, wanted: Wanted, receipt: Receipt, attempt: int | None = None) -> Done:
    """Return what came of a step; `attempt` None: it was found, not sent."""
    receipt = merged(wanted.root or {}, receipt) if step.kept_in_root else receipt
    told = wanted.audible and step.part == "root"
    return Done(row, step.part, receipt, told, attempt, kept_in_root=step.kept_in_root)


def _after(wanted: Wanted, step: Step, receipt: Receipt) -> Wanted:
    """Return what is left to want once a step is done."""
    wanted = replace(wanted, tries=0)
    if step.part == "root":
        return replace(wanted, root=receipt, confirm=False)
    if step.kept_in_root:
        return replace(wanted, root=receipt)
    return replace(wanted, entries=tuple(entry for entry in wanted.entries if entry.key != step.part))
