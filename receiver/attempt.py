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
from datetime import timedelta
from enum import StrEnum
from typing import Any

import structlog

from receiver.clock import Clock
from receiver.config.model import Config, DestinationConfig
from receiver.destinations import Manner, Sender, Step
from receiver.errors import DeliveryError, DestinationRefused, Gone, Refused, Transient, Unknown
from receiver.metrics import Metrics
from receiver.model import AttemptOutcome, DeliveryState, Receipt, Story, Wanted
from receiver.routing.intervals import next_allowed
from receiver.routing.tree import Intervals, allowed
from receiver.store import attempts, claims, deliveries, parking, stories
from receiver.store.claims import LEASE_S
from receiver.store.codec import dump_json
from receiver.store.deliveries import AUDIBLE_CHANGE, QUIET_CHANGE, DeliveryRow
from receiver.store.engine import NOW, Store

log = structlog.get_logger(__name__)

LEASE_LEFT_S = 20.0
"""A request is begun only while so much of the lease is left."""
LAST_LOOK_S = 1.0
"""The look that decides "create again" comes this long after `lookup_grace`."""
LOOK_EVERY_S = 1.0
QUIET_WITHIN_S = 120.0
"""A pager gets a quiet update only so soon after people were told."""
LATE_S = 120.0
"""A first message that waited longer says so."""
PROBE_EVERY_S = 300.0
MUTED_CHECK = timedelta(days=14)


class End(StrEnum):
    """What came of working a delivery off."""

    DONE = "done"
    LATER = "later"
    PARKED = "parked"
    LOST = "lost"
    """The claim was no longer ours; whoever has it now goes on."""
    NOTHING = "nothing"
    """Nothing had to be sent, so nothing was learnt about the destination."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A configured destination with what sends to it."""

    config: DestinationConfig
    sender: Sender
    secret_mark: Callable[[], str]


class Worker:
    """Works claimed deliveries off, one at a time each."""

    def __init__(
        self, store: Store, config: Config, clock: Clock, metrics: Metrics, jitter: Callable[[], float], owner: str
    ) -> None:
        self._store = store
        self._config = config
        self._clock = clock
        self._metrics = metrics
        self._jitter = jitter
        self._owner = owner

    async def work(self, row: DeliveryRow, destination: Destination, claimed_at: float, *, probe: bool = False) -> End:
        """Bring a delivery to what it should show. `claimed_at` is monotonic, taken before the claim.

        `probe`: send although the destination is parked.
        """
        read = await self._store.read(lambda conn: self._read(conn, row, destination.sender.manner))
        if read is None:
            return await self._release(row, {"due": None, "state": DeliveryState.SKIPPED.value}, End.NOTHING)
        row, story, wanted = read
        early = self._not_now(row, story, destination.sender)
        if early is not None:
            return await self._settle(row, story, early, End.NOTHING)
        had_unknown, confirming, end = row.unknown_part is not None, wanted.confirm, End.NOTHING
        while True:
            step = destination.sender.plan(wanted)
            if step is None:
                return await self._delivered(row, story, end, had_unknown=had_unknown, confirming=confirming)
            if row.unknown_part is not None and row.unknown_part == step.part and step.creates:
                found = await self._look(row, step, wanted, destination, probe=probe)
                if isinstance(found, End):
                    return found
                if found is not None:
                    kept = await self._keep(row, step, found, wanted)
                    if not kept:
                        return End.LOST
                    row, wanted = _settled(row, step), _after(wanted, step, found)
                    continue
            if self._clock.monotonic() > claimed_at + LEASE_S - LEASE_LEFT_S:
                return await self._release(row, {"due": NOW}, End.LATER)
            outcome = await self._attempt(row, step, wanted, destination, probe=probe)
            if isinstance(outcome, End):
                return outcome
            row, wanted, end = _settled(row, step), _after(wanted, step, outcome), End.DONE

    async def _read(self, conn: Any, claimed: DeliveryRow, manner: Manner) -> tuple[DeliveryRow, Story, Wanted] | None:
        # Of one snapshot with the story: what changed since the claim is not to be mixed with what did not.
        row = await deliveries.one(conn, claimed.id)
        if row is None or row.fence != claimed.fence:
            return None
        story = await stories.read_story(conn, row.story)
        if story is None:
            return None
        now = await stories.now_of(conn)
        root = json.loads(row.root) if row.root else None
        if root is None and row.started and manner is not Manner.CHAT:
            root = {"started": True}  # a create may have landed: it must be closed with the story
        audible = row.audible > row.delivered
        quiet = row.told_at is not None and now - row.told_at <= QUIET_WITHIN_S and not (root or {}).get("quiet")
        waited = now - row.created if root is None else 0.0
        return (
            row,
            story,
            Wanted(
                story=story,
                keys=row.keys,
                firing=row.firing and story.open,
                reasons=row.reasons,
                root=root,
                entries=await deliveries.pending_entries(conn, row.id),
                audible=audible,
                quiet_allowed=quiet,
                fallback_for=row.fallback_for,
                late_s=waited if waited > LATE_S else 0.0,
                plain=row.plain,
                confirm=row.confirm_at is not None and row.confirm_at <= now,
                external_url=self._config.web.external_url,
            ),
        )

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
        opens = next_allowed(now, lambda moment: allowed(intervals, self._config, moment), MUTED_CHECK)
        wait = (opens - now if opens else MUTED_CHECK).total_seconds()
        return {"state": DeliveryState.MUTED.value, "due": NOW + wait}

    # --- one try ---

    async def _attempt(
        self, row: DeliveryRow, step: Step, wanted: Wanted, destination: Destination, *, probe: bool
    ) -> Receipt | End:
        kind = destination.config.kind
        number = await self._store.write(lambda conn: self._begin(conn, row, step, probe=probe))
        if isinstance(number, End):
            return number
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
            error = Unknown(f"our own error: {type(bug).__name__}")
        else:
            self._metrics.attempt_seconds.labels(kind).observe(self._clock.monotonic() - started)
            self._metrics.attempts.labels(kind, AttemptOutcome.OK.value).inc()
            kept = await self._store.write(lambda conn: self._ended(conn, row, step, number, receipt, wanted))
            return receipt if kept else End.LOST
        return await self._failed(row, step, number, error, wanted, destination, mark)

    async def _begin(self, conn: Any, row: DeliveryRow, step: Step, *, probe: bool) -> int | End:
        """Put a try on disk, unless its destination was parked or held back since the delivery was claimed."""
        if await parking.rests(conn, row.destination, probe=probe):
            return End.LATER if await claims.release(conn, row, {"due": NOW}) else End.LOST
        return await attempts.begin(conn, row, step.part, step.op) or End.LOST

    async def _ended(
        self, conn: Any, row: DeliveryRow, step: Step, number: int, receipt: Receipt, wanted: Wanted
    ) -> bool:
        await attempts.end(conn, number, AttemptOutcome.OK)
        return await attempts.store_receipt(conn, row, step.part, receipt, _told(step, wanted))

    async def _keep(self, row: DeliveryRow, step: Step, receipt: Receipt, wanted: Wanted) -> bool:
        return await self._store.write(
            lambda conn: attempts.store_receipt(conn, row, step.part, receipt, _told(step, wanted))
        )

    async def _failed(
        self, row: DeliveryRow, step: Step, number: int, error: DeliveryError, wanted: Wanted,
        destination: Destination, mark: str,
    ) -> End:  # fmt: skip
        outcome, values, end = self._verdict(row, step, error, wanted, destination)
        self._metrics.attempts.labels(destination.config.kind, outcome.value).inc()
        log.warning(
            "deliver.failed",
            delivery=row.id,
            destination=destination.config.label,
            op=step.op,
            outcome=outcome.value,
            error=error.reason,
            attempt=row.tries + 1,
        )

        async def write(conn: Any) -> bool:
            await attempts.end(conn, number, outcome, status=error.status, error=error.reason)
            if isinstance(error, DestinationRefused):
                await parking.park(conn, destination.config.identity, error.reason, PROBE_EVERY_S, mark)
            if isinstance(error, Transient) and error.retry_after_s is not None:
                await parking.hold(conn, destination.config.identity, error.retry_after_s)
            if isinstance(error, Refused) and row.plain and step.part != "root":
                await attempts.skip_entry(conn, row, step.part)
            return await claims.release(conn, row, values)

        return end if await self._store.write(write) else End.LOST

    def _verdict(
        self, row: DeliveryRow, step: Step, error: DeliveryError, wanted: Wanted, destination: Destination
    ) -> tuple[AttemptOutcome, dict[str, Any], End]:
        """Say what a failure means for the delivery: the outcome, the row's new values, and what to do next."""
        # This try surely did nothing. What an earlier one did is as unknown as before.
        known: dict[str, Any] = {
            "unknown_part": row.unknown_part,
            "unknown_at": row.unknown_at,
            "started": row.started,
        }
        retrying: dict[str, Any] = {
            "state": DeliveryState.RETRYING.value,
            "error": error.reason,
            "tries": row.tries + 1,
        }
        soon: dict[str, Any] = {"due": NOW, "state": DeliveryState.PENDING.value}
        match error:
            case Transient():
                wait = error.retry_after_s if error.retry_after_s is not None else self._back_off(row, destination)
                return AttemptOutcome.TRANSIENT, {**known, **retrying, "due": NOW + wait}, End.LATER
            case DestinationRefused():
                values = {**known, **retrying, "state": DeliveryState.PARKED.value, "due": NOW}
                return AttemptOutcome.PERMANENT, values, End.PARKED
            case Gone():  # what to do without it is the sender's to plan: nothing, or one new root
                root = dump_json({**(wanted.root or {}), "gone": True})
                return AttemptOutcome.PERMANENT, {**soon, "unknown_part": None, "root": root}, End.LATER
            case Refused() if not row.plain:
                return AttemptOutcome.PERMANENT, {**known, **soon, "plain": True, "error": error.reason}, End.LATER
            case Refused() if step.part != "root":
                return AttemptOutcome.PERMANENT, {**known, **soon, "error": error.reason}, End.LATER
            case Refused():
                dead = {"state": DeliveryState.DEAD.value, "due": None, "error": error.reason}
                return AttemptOutcome.PERMANENT, {**known, **dead}, End.DONE
            case _:
                wait = LOOK_EVERY_S if step.creates else self._back_off(row, destination)
                values = {**retrying, "due": NOW + wait}
                if row.unknown_part in (None, step.part):
                    values["unknown_at"] = NOW
                return AttemptOutcome.UNKNOWN, values, End.LATER

    def _back_off(self, row: DeliveryRow, destination: Destination) -> float:
        manners = destination.config.manners
        wait = min(manners.retry_max_s, manners.retry_min_s * 2.0 ** min(row.tries, 20))
        return wait * (0.5 + self._jitter())

    async def _look(
        self, row: DeliveryRow, step: Step, wanted: Wanted, destination: Destination, *, probe: bool
    ) -> Receipt | End | None:
        """Look for what an unanswered create may have made. None: it is surely not there, create again."""
        grace = destination.config.manners.lookup_grace_s + LAST_LOOK_S
        if await self._store.read(lambda conn: parking.rests(conn, row.destination, probe=probe)):
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
            return None
        except (DeliveryError, TimeoutError) as error:
            reason = error.reason if isinstance(error, DeliveryError) else "the look-up got no answer"
            values = {"state": DeliveryState.RETRYING.value, "error": reason, "tries": row.tries + 1}
            asked_s = error.retry_after_s if isinstance(error, Transient) else None
            if asked_s is not None:
                await self._store.write(lambda conn: parking.hold(conn, row.destination, asked_s))
            wait = self._back_off(row, destination) if asked_s is None else asked_s
            return await self._release(row, {**values, "due": NOW + wait}, End.LATER)
        if found is not None:
            log.info("deliver.adopted", delivery=row.id, destination=destination.config.label, part=step.part)
            return found
        if since >= grace:
            return None
        wait = min(max(LOOK_EVERY_S, since), grace - since)
        return await self._release(row, {"due": NOW + wait, "state": DeliveryState.RETRYING.value}, End.LATER)

    # --- the end ---

    async def _delivered(self, row: DeliveryRow, story: Story, end: End, *, had_unknown: bool, confirming: bool) -> End:
        """Everything that the story was when it was read is shown."""
        confirm_at: Any = None if confirming else row.confirm_at
        if had_unknown:
            confirm_at = NOW + self._config.global_.confirm_after_s
        values: dict[str, Any] = {
            "delivered": story.revision,
            "state": DeliveryState.DELIVERED.value,
            "due": confirm_at,
            "confirm_at": confirm_at,
            "waiting_since": None,
            "unknown_part": None,
            "tries": 0,
            "error": "",
            "plain": False,
        }
        await self._store.write(lambda conn: attempts.skip_leftovers(conn, row, story.revision))
        return await self._settle(row, story, values, end)

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


def _told(step: Step, wanted: Wanted) -> dict[str, Any]:
    return {"told_at": NOW} if wanted.audible and step.part == "root" else {}


def _after(wanted: Wanted, step: Step, receipt: Receipt) -> Wanted:
    """Return what is left to want once a step is done."""
    if step.part == "root":
        return replace(wanted, root=receipt, confirm=False)
    return replace(wanted, entries=tuple(entry for entry in wanted.entries if entry.key != step.part))
