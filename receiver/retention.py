"""Keeps the store in order: forgets what is old or too much, and corrects times that a wrong clock left behind.

Nothing waits for this, and this waits for nothing: what is forgotten goes a few rows at a time, with a rest after each.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from receiver import attempt, deliver, follow, gather, heartbeat, reconcile
from receiver.clock import Clock
from receiver.config.model import Config
from receiver.digests import LATEST_S
from receiver.forever import for_ever
from receiver.metrics import Metrics
from receiver.model import CALL_EVERY_S
from receiver.opening import IDENTIFY_AGAIN_S
from receiver.store import claims, inbox, jobs, manners, retention, rounds, search, sizes, snapshots
from receiver.store.engine import Conn, Store
from receiver.store.jobs import Turn
from receiver.store.retention import Gone
from receiver.store.timers import Longest, Timers

log = structlog.get_logger(__name__)

EVERY_S = 30.0
REST_S = 0.05
"""Between two steps: others write meanwhile."""
AT_LEAST_S = 3_600.0
"""So long a closed story is kept whatever the configuration: late copies of its alerts may still come."""
INBOX_S = 86_400.0
INBOX_FULL_S = 3_600.0
"""The same where room is needed and nothing else is left to forget."""
ROOM = 0.95
"""Where there is too much, as much of the limit is left: else the next alert would be too much again."""

Step = Callable[[Conn], Awaitable[Gone]]
Enough = Callable[[Conn, float], Awaitable[Gone]]
"""Forgets the oldest, until so many bytes are gone or the step is long enough."""


class Retention:
    """Runs until cancelled. Times are corrected by every replica, the rest is done by one at a time."""

    def __init__(self, store: Store, config: Config, clock: Clock, metrics: Metrics, *, owner: str) -> None:
        self._store = store
        self._storage = config.storage
        self._clock = clock
        self._metrics = metrics
        self._turn = Turn(store, "retention", owner, clock.monotonic)
        self._timers = Timers(longest(config))
        self._protect_s = reopened_within_s(config)
        metrics.store_limit.set(config.storage.max_bytes)

    async def run(self) -> None:
        """Work for ever."""
        await for_ever(self.look, EVERY_S, name="retention", clock=self._clock, metrics=self._metrics)

    async def look(self) -> None:
        """Do once all that there is to do."""
        await self._correct()
        if await self._turn.ours():
            await self._by_age()
            self._metrics.store_used.set(await self._by_size())
        else:
            self._metrics.store_used.set(0)
            self._metrics.snapshots.set(0)
        self._metrics.store_bytes.set(await self._store.browse(sizes.allocated))

    async def _correct(self) -> None:
        wrong = await self._store.write(self._timers.correct)
        self._metrics.store_written.set(self._clock.now().timestamp())
        if wrong:
            self._metrics.times_corrected.inc(wrong)
            log.warning("retention.clock_was_ahead", times=wrong)

    async def _by_age(self) -> None:
        kept, retention_s = self._storage, self._storage.retention_s
        evidence_s, audit_s = kept.evidence.retention_s or retention_s, kept.audit.retention_s or retention_s
        await self._forget("inbox", partial(retention.inbox_entries, keep_s=INBOX_S))
        if evidence_s < retention_s:  # else it goes with its story
            await self._forget("evidence", partial(retention.evidence_older, keep_s=evidence_s))
        old = partial(retention.stories_older, keep_s=retention_s, protect_s=self._protect_s)
        await self._forget("stories", old)
        await self._forget("presses", partial(retention.presses_older, keep_s=retention_s))
        await self._forget("audit", partial(retention.audit_older, keep_s=audit_s))
        await self._forget("snapshots", partial(retention.snapshots_older, keep_s=evidence_s))
        await self._of_snapshots()

    async def _of_snapshots(self) -> None:
        """Bring what is kept of migrations that run below its limit."""
        held = await self._store.browse(sizes.of_snapshots)
        if held > snapshots.ALL_BYTES:
            too_much = held - ROOM * snapshots.ALL_BYTES
            await self._forget_bytes("snapshots", retention.snapshots_oldest, too_much)
            held = await self._store.browse(sizes.of_snapshots)
        self._metrics.snapshots.set(held)

    async def _by_size(self) -> int:
        """Bring what is too much below its limit, and return what is in use: at most so much.

        What is allocated is never less than what is in use, and known at once.
        """
        kept = self._storage
        allocated = await self._store.browse(sizes.allocated)
        for limit, measure, kind, step in (
            (kept.audit.max_bytes, sizes.of_audit, "audit", retention.audit_oldest),
            (kept.evidence.max_bytes, sizes.evidence, "evidence", retention.evidence_oldest),
        ):
            if limit is not None and allocated > limit:
                too_much = await self._store.browse(measure) - limit
                if too_much > 0:
                    await self._forget_bytes(kind, step, too_much + (1 - ROOM) * limit)
        if allocated <= kept.max_bytes and self._store.shared:
            return allocated  # to know it better, every row would have to be read
        used = await self._store.browse(sizes.in_use)
        if used > kept.max_bytes:
            await self._make_room()
            used = await self._store.browse(sizes.in_use)
        return used

    async def _make_room(self) -> None:
        """Forget what people miss least, until there is room: at last the inbox, of which nothing is shown."""
        steps: tuple[tuple[str, Enough], ...] = (
            ("evidence", partial(retention.evidence_oldest, with_words=True)),
            ("snapshots", retention.snapshots_oldest),
            ("stories", partial(retention.stories_oldest, protect_s=self._protect_s)),
            ("inbox", partial(retention.inbox_oldest, keep_s=INBOX_FULL_S)),
        )
        for kind, step in steps:
            gone = True
            while gone:  # what a row takes is known about, so the rest is measured anew
                await self._tidy()
                too_much = await self._store.browse(sizes.in_use) - self._storage.max_bytes * ROOM
                if too_much <= 0:
                    return
                log.warning("retention.too_large", forgets=kind, too_much=int(too_much))
                gone = await self._forget_bytes(kind, step, too_much)

    async def _tidy(self) -> None:
        """Let what the search has forgotten free its room: else more would be forgotten than needed."""
        begin = True
        while not self._store.shared and await self._store.write(partial(search.tidy, begin=begin)):
            begin = False
            await self._clock.sleep(REST_S)

    async def _forget(self, kind: str, step: Step) -> None:
        """Take steps until nothing is left to forget."""
        while (await self._step(kind, step)).rows:
            pass

    async def _forget_bytes(self, kind: str, step: Enough, enough: float) -> bool:
        """Take steps until so many bytes are gone; False: nothing is left to forget."""
        while enough > 0:
            gone = await self._step(kind, _until(step, enough))
            if not gone.rows:
                return False
            enough -= gone.bytes
        return True

    async def _step(self, kind: str, step: Step) -> Gone:
        if not await self._turn.ours():
            return Gone()
        gone = await self._store.write(step)
        if gone.rows:
            self._metrics.pruned.labels(kind).inc(gone.rows)
            await self._clock.sleep(REST_S)
        return gone


def _until(step: Enough, enough: float) -> Step:
    return lambda conn: step(conn, enough)


def reopened_within_s(config: Config) -> float:
    """Return how long after its end a story, or a ticket of it, may be reopened."""
    tickets = (getattr(one.settings, "reopen_duration", 0.0) for one in config.destinations)
    return max(AT_LEAST_S, config.global_.reopen_within_s, *tickets)


def longest(config: Config) -> Longest:
    """Return the longest delay of every stored time under a configuration."""
    times = config.global_
    evidence_s = max(times.evidence_wait_s, times.evidence_timeout_s)
    tries, holds = {}, {}
    for one in config.destinations:
        limits = one.manners
        tries[one.identity] = max(limits.retry_max_s, limits.lookup_grace_s + attempt.LAST_LOOK_S, deliver.BUG_PAUSE_S)
        token_s = 60.0 / limits.rate_per_minute if limits.rate_per_minute else 0.0
        holds[one.identity] = max(manners.PROBE_MOST_S, limits.timeout_s + manners.SLACK_S, token_s)
    most_tries, most_holds = max(tries.values(), default=0.0), max(holds.values(), default=0.0)
    return Longest(
        first_s=evidence_s,
        delivery_s=most_tries,
        deliveries_s={one: delay for one, delay in tries.items() if delay != most_tries},
        muted_s=attempt.MUTED_CHECK.total_seconds(),
        confirm_s=times.confirm_after_s,
        delivery_lease_s=claims.LEASE_S,
        inbox_lease_s=inbox.LEASE_S,
        close_s=times.resolve_delay_s,
        close_endless_s=times.reopen_within_s,
        identify_s=max(follow.IDENTIFY_AGAIN_MAX_S, IDENTIFY_AGAIN_S),
        gather_s=max(gather.AGAIN_MAX_S, evidence_s),
        gather_lease_s=times.evidence_timeout_s + gather.LEASE_SLACK_S,
        remind_s=max(times.remind_after_s, CALL_EVERY_S),
        digest_s=LATEST_S,
        probe_s=attempt.PROBE_EVERY_S,
        hold_s=most_holds,
        holds_s={one: delay for one, delay in holds.items() if delay != most_holds},
        job_s=max(reconcile.EVERY_S, heartbeat.PING_EVERY_S, heartbeat.LOOK_EVERY_S),
        job_lease_s=max(jobs.LEASE_S, rounds.LEASE_S),
    )
