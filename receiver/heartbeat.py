"""A dead man's switch in both directions: an alert that must keep coming, and a call to the outside while all is well.

Whoever hears nothing cannot tell "all is well" from "nothing reaches me". So Prometheus sends an alert that always
fires (`Watchdog`), Alertmanager repeats it to us, and where it stays out we say so ourselves. And where we cannot,
somebody outside notices: he is called while alerts arrive, the store can be written and the inbox is worked off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import httpx2
import structlog

from receiver.clock import Clock
from receiver.config.model import Config, Heartbeat, Secret
from receiver.config.settings import check_link
from receiver.errors import DeliveryError, DestinationRefused
from receiver.fingerprint import fingerprint
from receiver.forever import for_ever
from receiver.http import build_client, raise_for_transport, read_secret
from receiver.metrics import Metrics
from receiver.model import Alert, AlertStatus
from receiver.rendering import words
from receiver.store import heartbeats, stories
from receiver.store.codec import moment
from receiver.store.engine import Store
from receiver.store.heartbeats import Standing

log = structlog.get_logger(__name__)

NO_HEARTBEAT, NO_WEBHOOK = "MTVReceiverNoHeartbeat", "MTVReceiverNoWebhook"
MOST_MARGIN_S = 90.0
"""What a heartbeat may be late: Alertmanager waits up to 60 s between two tries, and a peer 15 s for its turn."""
LOOK_EVERY_S = 10.0
PING_EVERY_S = 60.0
PING_TIMEOUT_S = 10.0
STUCK_AFTER_S = 120.0
"""An inbox whose oldest entry has waited for so long is not being worked off."""


class HeartbeatWatch:
    """Runs until cancelled."""

    def __init__(
        self, store: Store, config: Config, clock: Clock, metrics: Metrics, *, owner: str, on_alert: Callable[[], None]
    ) -> None:
        """`on_alert`: the inbox has something new."""
        self._store = store
        self._config = config.heartbeat
        self._clock = clock
        self._metrics = metrics
        # One process alone never waits for the lease of another one, which must be its own from before it was killed.
        self._owner = owner if store.shared else "the only one"
        self._on_alert = on_alert
        self._noted: float | None = None
        """The last webhook of ours that the store knows of, by our clock."""
        self._ended = False
        self._client: httpx2.AsyncClient | None = None
        if self._config is not None and self._config.ping_url is not None:
            self._client = build_client(self._config.http, PING_TIMEOUT_S, max_connections=1)
        for name in (NO_HEARTBEAT, NO_WEBHOOK):
            metrics.silent.labels(name).set(0)

    @property
    def every_s(self) -> float:
        """How often it is looked: a tenth of the shortest time that counts."""
        if self._config is None:
            return LOOK_EVERY_S
        shortest = min(self._config.interval_s, self._config.webhook_silence_s or self._config.interval_s)
        return min(LOOK_EVERY_S, max(0.1, shortest / 10))

    async def run(self) -> None:
        """Work for ever."""
        await for_ever(self.look, self.every_s, name="heartbeat", clock=self._clock, metrics=self._metrics)

    async def look(self) -> None:
        """Note what came, judge it, and call the outside if all is well."""
        await self._note_webhooks()
        config = self._config
        if config is None:
            await self._end_all()
            return
        deaf_after_s = max(6 * self.every_s, 30.0) if self.every_s >= 1 else 30.0
        judging = partial(
            heartbeats.judging, owner=self._owner, every_s=self.every_s / 2, deaf_after_s=deaf_after_s,
        )  # fmt: skip
        standing = await self._store.write(judging)
        if standing is None:
            return
        said = list(judge(config, standing))
        if said:
            await self._store.write(partial(heartbeats.say, told=said))
            for alert in said:
                log.warning("heartbeat.silence", alert=alert.name, status=alert.status.value)
            self._on_alert()
        self._show(standing, said)
        if all_is_well(config, standing):
            await self._ping(config)

    async def _end_all(self) -> None:
        """Nobody asks for a heartbeat any more: what was said of it before the configuration changed is over."""
        firing = {} if self._ended else await self._store.read(heartbeats.firing)
        if firing:
            at = moment(await self._store.read(stories.now_of))
            over = [replace(one, status=AlertStatus.RESOLVED, ends_at=at) for one in firing.values()]
            await self._store.write(partial(heartbeats.say, told=over))
            self._on_alert()
        self._ended = True

    async def _note_webhooks(self) -> None:
        """Let the store know of the last webhook; after a start, learn of it from there."""
        at = self._metrics.webhook_at
        if at is not None and at != self._noted:
            ago_s = self._clock.now().timestamp() - at
            await self._store.write(partial(heartbeats.webhook_heard, ago_s=ago_s))
            self._noted = at
        known = await self._store.read(partial(heartbeats.last, name=heartbeats.WEBHOOK))
        if known is not None and (at is None or known > at):
            self._metrics.last_webhook.set(known)

    def _show(self, standing: Standing, said: list[Alert]) -> None:
        firing = {**standing.firing, **{one.name: one for one in said}}
        for name in (NO_HEARTBEAT, NO_WEBHOOK):
            self._metrics.silent.labels(name).set(name in firing and firing[name].firing)
        if standing.heard is not None:
            self._metrics.last_heartbeat.set(standing.heard)

    # --- outgoing ---

    async def _ping(self, config: Heartbeat) -> None:
        if config.ping_url is None or self._client is None:
            return
        job = await self._store.write(partial(heartbeats.ping_due, owner=self._owner))
        if job is None:
            return
        why = await self._call(self._client, config.ping_url)
        self._metrics.pings.labels("failed" if why else "ok").inc()
        if why:
            log.warning("heartbeat.ping_failed", error=why)
        await self._store.write(partial(heartbeats.pinged, job=job, again_in_s=PING_EVERY_S, state={"error": why}))

    async def _call(self, client: httpx2.AsyncClient, ping_url: Secret) -> str:
        """Call the address; returns why it failed. The address is a secret: nothing that is said holds it."""
        try:
            url = read_secret(ping_url)
            try:
                check_link(url)
            except ValueError:
                raise DestinationRefused("ping_url_file does not hold an http or https URL") from None
            try:
                async with asyncio.timeout(PING_TIMEOUT_S):
                    response = await client.get(url)
            except httpx2.HTTPError as error:
                raise_for_transport(error)
        except TimeoutError:
            return "no answer in time"
        except DeliveryError as error:
            return error.reason
        return "" if response.is_success else f"HTTP {response.status_code}"

    async def aclose(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.aclose()


def late_after_s(config: Heartbeat) -> float:
    """Return after how long a heartbeat counts as missing: its interval, and what Alertmanager may be late."""
    return config.interval_s + min(MOST_MARGIN_S, config.interval_s / 2)


def all_is_well(config: Heartbeat, now: Standing) -> bool:
    """Do alerts arrive, and are they worked off? That the store can be written was shown by asking."""
    arrives = now.heard is not None and now.now - now.heard <= late_after_s(config)
    works = now.oldest is None or now.now - now.oldest <= STUCK_AFTER_S
    return arrives and works


def judge(config: Heartbeat, now: Standing) -> Iterator[Alert]:
    """Say which of our own alerts begin and which end.

    What stayed out while nobody listened proves nothing, and while anything waits in the inbox it may be that.
    """
    judged: list[tuple[str, str, float | None, float | None]] = [
        (NO_HEARTBEAT, "the heartbeat alert", now.heard, late_after_s(config)),
        (NO_WEBHOOK, "any webhook", now.webhook, config.webhook_silence_s),
    ]
    for name, what, last, after_s in judged:
        fires = now.firing.get(name)
        late = after_s is not None and now.now - max(last or now.since, now.since) > after_s
        if late and fires is None and now.oldest is None:
            yield _alert(name, what, last, now)
        elif fires is not None and (after_s is None or (last is not None and now.now - last <= after_s)):
            yield replace(fires, status=AlertStatus.RESOLVED, ends_at=moment(now.now))


def _alert(name: str, what: str, last: float | None, now: Standing) -> Alert:
    labels: dict[str, str] = {"alertname": name, "severity": "critical"}
    at = moment(now.now)
    since = f"the last one came at {words.when(moment(last), at.date())}" if last is not None else "none ever came"
    notes: dict[str, Any] = {
        "summary": f"No alerts arrive: {what} stays out",
        "description": (
            f"mtv-receiver waits for {what}, and {since}. Prometheus, Alertmanager, its route to mtv-receiver or the "
            "network between them is broken: failed migrations are not told while this lasts."
        ),
    }
    return Alert(fingerprint(labels), AlertStatus.FIRING, labels, notes, starts_at=at)
