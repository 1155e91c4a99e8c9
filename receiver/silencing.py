"""Whether Alertmanager's silences hold for alerts that it never sees: our own.

Whoever silenced a Plan for a maintenance window means all that is said about it. No answer keeps nothing back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from receiver.alertmanagers import Alertmanagers, UnusableAnswerError
from receiver.clock import Clock
from receiver.config.model import AlertmanagerConfig
from receiver.routing.matchers import Matcher, MatcherError

log = structlog.get_logger(__name__)

ASK_TIMEOUT_S = 1.0
"""So long a page of ours may wait for it."""
FRESH_S = 10.0
"""What was answered counts for so long: a storm of our own alerts asks once."""

_OPERATORS = {(False, True): "=", (False, False): "!=", (True, True): "=~", (True, False): "!~"}


class Silencing:
    """The active silences of all configured Alertmanagers and their peers, united."""

    def __init__(self, alertmanagers: Alertmanagers, configs: Sequence[AlertmanagerConfig], clock: Clock) -> None:
        self._alertmanagers = alertmanagers
        self._configs = tuple(configs)
        self._clock = clock
        self._asked_at = float("-inf")
        self._silences: tuple[tuple[Matcher, ...], ...] = ()
        self._asking = asyncio.Lock()

    async def holds(self, labels: Mapping[str, str]) -> bool:
        """Tell whether a silence that is active now hits these labels. Never raises for what Alertmanager does."""
        if not self._configs:
            return False
        async with self._asking:
            if self._clock.monotonic() - self._asked_at >= FRESH_S:
                asked = [self._ask(one, url) for one in self._configs for url in (one.url, *one.peers)]
                self._silences = tuple(one for answer in await asyncio.gather(*asked) for one in answer)
                self._asked_at = self._clock.monotonic()
        return any(all(matcher.matches(labels) for matcher in one) for one in self._silences)

    async def _ask(self, config: AlertmanagerConfig, url: str) -> tuple[tuple[Matcher, ...], ...]:
        try:
            told, _ = await self._alertmanagers.get(config, url, "silences", ASK_TIMEOUT_S)
        except Exception as error:  # whatever a peer does, it only means that it cannot be asked
            why = str(error) if isinstance(error, UnusableAnswerError) else type(error).__name__
            log.warning("silencing.unreadable", alertmanager=config.name, error=why)
            return ()
        found = (active_matchers(one) for one in told) if isinstance(told, list) else ()
        return tuple(one for one in found if one)


def active_matchers(silence: Any) -> tuple[Matcher, ...]:
    """Return what a silence of Alertmanager's API asks for; empty for one that is not active, or not understood."""
    status = silence.get("status") if isinstance(silence, dict) else None
    matchers = silence.get("matchers") if isinstance(silence, dict) else None
    if not isinstance(status, dict) or status.get("state") != "active" or not isinstance(matchers, list):
        return ()
    found = []
    for one in matchers:
        name, value = (one.get("name"), one.get("value")) if isinstance(one, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(value, str):
            return ()
        # Alertmanager before 0.22 knows no isEqual.
        operator = _OPERATORS[bool(one.get("isRegex")), one.get("isEqual") is not False]
        try:
            found.append(Matcher(name, operator, value))
        except MatcherError:
            return ()
    return tuple(found)
