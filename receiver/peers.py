"""What an Alertmanager and its peers hold, united: the truth that webhooks only tell parts of."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from receiver.alertmanagers import Alertmanagers, UnusableAnswerError
from receiver.config.model import AlertmanagerConfig
from receiver.model import Alert
from receiver.wire import read_held

ANSWER_TIMEOUT_S = 10.0
"""Of one request: an Alertmanager with thousands of alerts takes a while."""


@dataclass(frozen=True, slots=True)
class Held:
    """An alert that an Alertmanager holds."""

    alert: Alert
    active: bool
    """No peer says that it is silenced, inhibited or muted."""
    receivers: frozenset[str]
    """The receivers that it is routed to there."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the peers said together."""

    held: Mapping[str, Held] = field(default_factory=dict)
    """Fingerprint → alert, as far as anybody answered."""
    answered: int = 0
    """Peers that did."""
    up_s: float = 0.0
    """How long the oldest of them has been running. A young one holds nothing until its sources send again."""
    failures: tuple[str, ...] = ()
    """Why the others did not; holds nothing of what they sent."""

    @property
    def complete(self) -> bool:
        return not self.failures


async def ask_all(alertmanagers: Alertmanagers, config: AlertmanagerConfig, now: datetime) -> Answer:
    """Ask every peer for all that it holds. Never raises for what a peer does."""
    urls = (config.url, *config.peers)
    told = await asyncio.gather(*(_ask(alertmanagers, config, url, now) for url in urls), return_exceptions=True)
    held: dict[str, Held] = {}
    failures: list[str] = []
    up_s = 0.0
    for one in told:
        if isinstance(one, Exception):
            failures.append(str(one) if isinstance(one, UnusableAnswerError) else type(one).__name__)
        elif isinstance(one, BaseException):
            raise one
        else:
            up_s = max(up_s, one.up_s)
            for fingerprint, alert in one.held.items():
                held[fingerprint] = _both(held[fingerprint], alert) if fingerprint in held else alert
    return Answer(held, len(urls) - len(failures), up_s, tuple(dict.fromkeys(failures)))


async def _ask(alertmanagers: Alertmanagers, config: AlertmanagerConfig, url: str, now: datetime) -> Answer:
    """Ask one peer. How long it has been up is asked last: what it said before came from no younger process."""
    listed, _ = await alertmanagers.get(config, url, "alerts", ANSWER_TIMEOUT_S)
    if not isinstance(listed, list):
        raise UnusableAnswerError("the answer is no list of alerts")
    held = [_read(one, now) for one in listed]
    status, headers = await alertmanagers.get(config, url, "status", ANSWER_TIMEOUT_S)
    return Answer({one.alert.fingerprint: one for one in held}, 1, _up_s(status, headers.get("Date", ""), now))


def _read(item: Any, now: datetime) -> Held:
    alert = read_held(item, now)
    status = item.get("status") if isinstance(item, dict) else None
    if alert is None or not isinstance(status, dict):
        raise UnusableAnswerError("the answer holds an alert that cannot be read")
    receivers = item.get("receivers")
    named = [one.get("name") for one in receivers if isinstance(one, dict)] if isinstance(receivers, list) else []
    active = status.get("state") == "active" and not status.get("mutedBy")
    return Held(alert, active, frozenset(str(name) for name in named))


def _both(one: Held, other: Held) -> Held:
    """Peers tell each other of silences, but not of alerts, and not at once: who says "silenced" is right."""
    first = one if one.alert.starts_at <= other.alert.starts_at else other
    return replace(first, active=one.active and other.active, receivers=one.receivers | other.receivers)


def _up_s(status: Any, date: str, now: datetime) -> float:
    """Return how long a peer has been running, by its own clock where its answer carries it."""
    began = status.get("uptime") if isinstance(status, dict) else None
    if not isinstance(began, str):
        raise UnusableAnswerError("the status does not say since when it runs")
    try:
        since = datetime.fromisoformat(began)
    except ValueError:
        raise UnusableAnswerError("the status does not say since when it runs") from None
    with contextlib.suppress(ValueError, TypeError):  # a proxy may have left it out
        now = parsedate_to_datetime(date)
    since, now = (one if one.tzinfo else one.replace(tzinfo=UTC) for one in (since, now))
    return max(0.0, (now - since).total_seconds())
