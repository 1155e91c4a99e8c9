"""Walks the chain every so often by itself, once whatever the number of replicas, and says when it is broken.

Told is a chain that stays broken for two looks in a row, wherever: a restart of somebody is no news. What is told
moves to another link after two looks in a row that found it broken there. A silence is no news either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import structlog

from receiver.clock import Clock
from receiver.config.model import Config
from receiver.doctor import look, ours
from receiver.doctor.chain import Finding, State
from receiver.doctor.links import judge
from receiver.fingerprint import fingerprint
from receiver.forever import for_ever
from receiver.kube import Cluster
from receiver.metrics import Metrics
from receiver.model import Alert, AlertStatus
from receiver.store import chain
from receiver.store.chain import Noted
from receiver.store.codec import moment
from receiver.store.engine import Store

log = structlog.get_logger(__name__)

ALERT: Final = "MTVReceiverChainBroken"
LOOK_EVERY_S: Final = 15.0
IN_A_ROW: Final = 2
TOLD: Final = frozenset({"metric", "rule", "alert", "sending", "alertmanager", "webhook", "story"})
"""Of clusters and destinations other alerts tell."""


class ChainWatch:
    """Runs until cancelled."""

    def __init__(
        self,
        store: Store,
        config: Config,
        clusters: Mapping[str, Cluster],
        clock: Clock,
        metrics: Metrics,
        *,
        owner: str,
        on_alert: Callable[[], None],
    ) -> None:
        """`on_alert`: the inbox has something new."""
        self._store = store
        self._config = config
        self._clusters = clusters
        self._clock = clock
        self._metrics = metrics
        # One process alone never waits for the lease of another one, which must be its own from before it was killed.
        self._owner = owner if store.shared else "the only one"
        self._on_alert = on_alert
        self._ended = False

    async def run(self) -> None:
        """Work for ever."""
        await for_ever(self.look, LOOK_EVERY_S, name="doctor", clock=self._clock, metrics=self._metrics)

    async def look(self) -> None:
        """Walk the chain if that is due, and tell what is to be told."""
        every_s = self._config.doctor.every_s
        if every_s is None and (self._ended or not (await self._store.read(chain.last)).fires):
            self._ended = True  # nobody asks for it, and nothing was said of it that would have to end
            return
        job = await self._store.write(partial(chain.claim, owner=self._owner, early=every_s is None))
        if job is None:
            return
        found = await self._found() if every_s is not None else ()
        after, told = conclude(chain.noted(job), found, self._clock.now().timestamp())
        finish = partial(chain.finish, job=job, again_in_s=every_s or 0.0, now=after, told=told)
        if await self._store.write(finish) and told:
            for alert in told:
                log.warning("doctor.chain", link=alert.labels["link"], status=alert.status.value)
            self._on_alert()

    async def _found(self) -> tuple[Finding, ...]:
        config = self._config
        cluster = self._clusters.get(config.default_cluster(self._clusters) or next(iter(self._clusters), ""))
        others = await look.outside(config, cluster, None, config.doctor.prometheus, None, self._clock.now())
        return judge(look.together(others, await self._store.browse(partial(ours.read, outside=others))))


def conclude(before: Noted, found: Sequence[Finding], now: float) -> tuple[Noted, tuple[Alert, ...]]:
    """Return what is to be noted, and which of our alerts begin and end."""
    wrong = (one for one in found if one.state is State.BROKEN and not one.meant)
    broken = next((one for one in wrong if one.id in TOLD), None)
    if broken is None:
        # Where somebody could not be asked, nobody knows that it is over: this look does not count.
        if any(one.state is State.UNASKED for one in found):
            return before, ()
        return Noted(), ended(before, now)
    times = before.times + 1
    moves = bool(before.fires) and before.link != broken.id  # perhaps to and fro: one alert is enough for that
    if times < IN_A_ROW or before.fires == broken.id or moves:
        return Noted(broken.id, times, before.fires, before.since), ()
    return Noted(broken.id, times, broken.id, now), (*ended(before, now), _alert(broken, now))


def ended(before: Noted, now: float) -> tuple[Alert, ...]:
    """Return the end of the alert that fires, if one does."""
    if not before.fires:
        return ()
    labels = _labels(before.fires)
    at = moment(before.since)
    return (Alert(fingerprint(labels), AlertStatus.RESOLVED, labels, {}, starts_at=at, ends_at=moment(now)),)


def _alert(broken: Finding, now: float) -> Alert:
    labels = _labels(broken.id)
    notes: dict[str, Any] = {
        "summary": f"Failed migrations may not be told: broken at {broken.title}",
        "description": f"{broken.seen}. Cure: {broken.cure}",
    }
    return Alert(fingerprint(labels), AlertStatus.FIRING, labels, notes, starts_at=moment(now))


def _labels(link: str) -> dict[str, str]:
    return {"alertname": ALERT, "severity": "critical", "link": link}
