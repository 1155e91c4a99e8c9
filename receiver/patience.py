"""How long many wait for the same source: each its full time, all of them less while nobody gets any answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

STORM = 20
"""So many waiting at once are a storm."""
STORM_S = 0.3
"""In a storm nobody waits for a source that has answered nobody for so long: what is left of the two seconds that a
page may take is needed to send the pages."""


class Patience:
    """Of those who ask one source. Not for several event loops."""

    def __init__(self, timeout_s: float) -> None:
        """`timeout_s`: how long each may wait, in seconds."""
        self._timeout_s = timeout_s
        self._waiting: set[asyncio.Timeout] = set()
        self._silent_since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @contextlib.asynccontextmanager
    async def bound(self) -> AsyncIterator[None]:
        """Bound what is awaited inside. Raises TimeoutError when the time is up."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            self._silent_since = loop.time()
        async with asyncio.timeout(self._timeout_s) as timeout:
            self._waiting.add(timeout)
            self._watch(loop)
            try:
                yield
            finally:
                self._waiting.discard(timeout)
            self._silent_since = loop.time()

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is None and len(self._waiting) >= STORM:
            self._timer = loop.call_at(self._silent_since + STORM_S, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if loop.time() < self._silent_since + STORM_S:
            self._watch(loop)
        elif len(self._waiting) >= STORM:
            for timeout in self._waiting:
                if not timeout.expired():
                    timeout.reschedule(loop.time())
