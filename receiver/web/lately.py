"""What costs more to find out than to be a few seconds old: asked once for all who look within that time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

from receiver.clock import Clock

FRESH_S: Final = 5.0
MOST_KEPT: Final = 100

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Lately(Generic[K, V]):
    """Answers by what was asked, at most `fresh_s` old."""

    def __init__(self, clock: Clock, fresh_s: float = FRESH_S) -> None:
        self._clock = clock
        self._fresh_s = fresh_s
        self._kept: dict[K, tuple[float, V]] = {}

    async def of(self, wanted: K, ask: Callable[[], Awaitable[V]]) -> V:
        """Return what was found out lately, else what is found out now."""
        now = self._clock.monotonic()
        kept = self._kept.get(wanted)
        if kept is not None and now - kept[0] < self._fresh_s:
            return kept[1]
        found = await ask()
        self._kept = {one: (at, held) for one, (at, held) in self._kept.items() if now - at < self._fresh_s}
        if len(self._kept) < MOST_KEPT:
            self._kept[wanted] = (now, found)
        return found

    def forget(self) -> None:
        """Find out everything anew: something was changed that people want to see at once."""
        self._kept = {}
