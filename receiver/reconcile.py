"""Compares what Alertmanager holds with what the stories say: what no webhook told is found within a minute or two.

Webhooks may be lost: Alertmanager says nothing of what resolved while it was silenced, fires again after that, or was
forgotten in a restart. A *round* asks all peers for all alerts. It opens what is active, routed to us and not known to
fire; it closes what came from there and is absent from two complete rounds `grace` apart. Both enter the inbox like a
webhook, so that the Plan decides as always. What a webhook tells while a round is under way is newer than the round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, repeat

import structlog

from receiver.alertmanagers import Alertmanagers
from receiver.arrivals import ENDED, Arrivals, list_of, listed
from receiver.clock import Clock
from receiver.config.model import AlertmanagerConfig, Config
from receiver.forever import for_ever
from receiver.identify import Identified, Identifier
from receiver.kube import Cluster
from receiver.metrics import Metrics
from receiver.model import Alert
from receiver.peers import Answer, ask_all
from receiver.store import rounds
from receiver.store.codec import moment
from receiver.store.engine import Store
from receiver.store.rounds import Begun, Found, Seen

log = structlog.get_logger(__name__)

EVERY_S = 60.0
LOOK_EVERY_S = 5.0
"""How often a replica looks whether a round is due that nobody does."""
UP_S = 300.0
"""An Alertmanager that has been up for less may not have heard again of all alerts: it keeps them in memory only."""
FIRST_WITHIN_S = 600.0
"""An Alertmanager that first answers later than this is no longer met on the first day."""
SYNC_WITHIN_S = 5.0
"""How long the first round waits for the Plan watches, which know best what had ended."""
SIDE_BY_SIDE = 8


class Reconciler:
    """Runs until cancelled."""

    def __init__(
        self,
        store: Store,
        config: Config,
        alertmanagers: Alertmanagers,
        identifier: Identifier,
        clusters: Mapping[str, Cluster],
        arrivals: Arrivals,
        clock: Clock,
        metrics: Metrics,
        *,
        owner: str,
        on_alert: Callable[[], None],
    ) -> None:
        """`on_alert`: the inbox has something new."""
        self._store = store
        self._configs = config.alertmanagers
        self._alertmanagers = alertmanagers
        self._identifier = identifier
        self._clusters = clusters
        self._arrivals = arrivals
        self._clock = clock
        self._metrics = metrics
        # One process alone never waits for the lease of another one, which must be its own from before it was killed.
        self._owner = owner if store.shared else "the only one"
        self._on_alert = on_alert
        for one in self._configs:
            metrics.reconciled_at.labels(one.name)
            metrics.reconcile_failures.labels(one.name)
            for what in ("opened", "listed", "closed"):
                metrics.reconciled.labels(one.name, what)

    async def run(self) -> None:
        """Work for ever."""
        async with asyncio.TaskGroup() as all_of_them:
            all_of_them.create_task(asyncio.Event().wait())
            for one in self._configs:  # one that hangs holds up no other
                all_of_them.create_task(self._again_and_again(one))

    async def _again_and_again(self, config: AlertmanagerConfig) -> None:
        early = chain((True,), repeat(False))  # the first one after a start
        await for_ever(
            lambda: self.round(config, early=next(early)), min(LOOK_EVERY_S, EVERY_S),
            name="reconcile", clock=self._clock, metrics=self._metrics, raises=False, alertmanager=config.name,
        )  # fmt: skip

    async def round(self, config: AlertmanagerConfig, *, early: bool = False) -> Found | None:
        """Do a round if it is due; `early`: in any case. None where it is not ours to do, or nobody answers."""
        begin = partial(rounds.begin, name=config.name, owner=self._owner, early=early, first_within_s=FIRST_WITHIN_S)
        if not early and not await self._store.read(partial(rounds.is_due, name=config.name)):
            return None
        begun = await self._store.write(begin)
        if begun is None:
            return None
        answer = await ask_all(self._alertmanagers, config, self._clock.now())
        if answer.failures:
            self._metrics.reconcile_failures.labels(config.name).inc()
            log.warning("reconcile.unanswered", alertmanager=config.name, errors=answer.failures)
        if not answer.answered:
            await self._store.write(partial(rounds.fail, begun=begun, again_in_s=EVERY_S))
            return None
        seen = await self._seen(config, begun, answer)
        end = partial(
            rounds.end, begun=begun, name=config.name, seen=seen, grace_s=config.grace_s, again_in_s=EVERY_S,
        )  # fmt: skip
        found = await self._store.write(end)
        self._tell(config, answer, found)
        return found

    def _tell(self, config: AlertmanagerConfig, answer: Answer, found: Found) -> None:
        if found.lost:
            log.warning("reconcile.taken_over", alertmanager=config.name)
            return
        if answer.complete:
            self._metrics.reconciled_at.labels(config.name).set(self._clock.now().timestamp())
        self._metrics.reconciled.labels(config.name, "opened").inc(len(found.opened))
        self._metrics.reconciled.labels(config.name, "listed").inc(found.listed)
        self._metrics.reconciled.labels(config.name, "closed").inc(len(found.closed))
        if found.opened or found.listed or found.closed:
            log.info(
                "reconcile.found", alertmanager=config.name, held=len(answer.held),
                opened=len(found.opened), listed=found.listed, closed=len(found.closed),
            )  # fmt: skip
            self._on_alert()

    async def _seen(self, config: AlertmanagerConfig, begun: Begun, answer: Answer) -> Seen:
        ours = (one for one in answer.held.values() if one.active and config.receiver in one.receivers)
        active = [one.alert for one in ours if not self._arrivals.is_heartbeat(one.alert)]
        seen = Seen(frozenset(answer.held), active, answer.complete and answer.up_s >= UP_S)
        return await self._first(config, begun, seen) if begun.first and active else seen

    async def _first(self, config: AlertmanagerConfig, begun: Begun, seen: Seen) -> Seen:
        """Tell what had ended before we were here from what goes on. Plans that cannot be read count as going on."""
        await self._until_synced()
        earlier: list[Alert] = []
        active: list[Alert] = []
        untold: set[str] = set()
        for at in range(0, len(seen.active), SIDE_BY_SIDE):
            some = seen.active[at : at + SIDE_BY_SIDE]
            for alert, what in zip(some, await self._look_up(some), strict=True):
                if what.role == "success":
                    untold.add(alert.fingerprint)
                elif what.identity.kind == "plan" and what.plan.phase in ENDED:
                    alert = listed(alert, what.identity, what.plan)
                    earlier.append(alert)
                active.append(alert)
        if not earlier:
            return replace(seen, untold=untold)
        told = list_of(config.name, len(earlier), moment(begun.at))
        return replace(seen, active=active, earlier=earlier, list_=told, untold=untold)

    async def _look_up(self, alerts: Sequence[Alert]) -> Sequence[Identified]:
        return await asyncio.gather(*(self._identifier.identify(one) for one in alerts))

    async def _until_synced(self) -> None:
        until = self._clock.monotonic() + SYNC_WITHIN_S
        while self._clock.monotonic() < until:
            if all(one.plans().synced or one.plans().problem for one in self._clusters.values()):
                return
            await self._clock.sleep(0.05)
