"""Puts stories into the search, behind everything else: what changed is found a few seconds later.

A step reads some stories, splits their texts in a thread, and writes a little at a time, so that no webhook, page or
delivery waits for it. One replica does it at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import structlog

from receiver.clock import Clock
from receiver.forever import for_ever
from receiver.metrics import Metrics
from receiver.store import search
from receiver.store.engine import Store, is_of_store
from receiver.store.jobs import Turn
from receiver.store.search import Made, Raw

log = structlog.get_logger(__name__)

EVERY_S: Final = 2.0
REST_S: Final = 0.05
"""Between two writes: others write meanwhile."""
RUSH_REST_S: Final = 1.0
"""The same while webhooks come in a row."""
STORIES_AT_ONCE: Final = 50
WRITE_CHARACTERS: Final = 65_536
"""Of one transaction, or one story: with SQLite this takes the service's only loop some milliseconds."""


class Indexer:
    """Runs until cancelled."""

    def __init__(self, store: Store, clock: Clock, metrics: Metrics, *, owner: str) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._turn = Turn(store, "search", owner, clock.monotonic)
        self._more = False
        """Did the last look leave some for the next one, which then comes at once?"""

    async def run(self) -> None:
        """Work for ever."""
        await for_ever(
            self._step, lambda: 0.0 if self._more else EVERY_S, name="search", clock=self._clock, metrics=self._metrics,
        )  # fmt: skip

    async def _step(self) -> None:
        self._more = False  # what a bug left behind is not tried again without a rest
        self._more = await self.look() >= STORIES_AT_ONCE

    async def look(self) -> int:
        """Put what changed into the search, at most STORIES_AT_ONCE stories; return how many."""
        if not await self._turn.ours():
            return 0
        found = await self._store.browse(lambda conn: search.unknown(conn, STORIES_AT_ONCE))
        made = await asyncio.to_thread(_made, found, tsvector=self._store.shared) if found else []
        for some in _small(made):
            await self._clock.sleep(RUSH_REST_S if self._store.rush else REST_S)
            await self._put(some)
        return len(made)

    async def _put(self, some: Sequence[Made]) -> None:
        """Write; a story that cannot be written is kept without words, so that it holds up no other one."""
        try:
            await self._store.write(partial(search.put, made=some))
        except Exception as error:
            if is_of_store(error) or not any(one.words for one in some):
                raise
            self._metrics.bugs.labels("search").inc()
            log.exception("search.bug", stories=[one.story for one in some])
            for one in some:
                await self._put([one if len(some) > 1 else replace(one, words="")])


def _made(found: Sequence[Raw], *, tsvector: bool) -> list[Made]:
    return [search.make(one, tsvector=tsvector) for one in found]


def _small(made: Iterable[Made]) -> Iterator[list[Made]]:
    """Split into parts that are written in a few milliseconds."""
    part: list[Made] = []
    left = WRITE_CHARACTERS
    for one in made:
        if part and len(one.words) > left:
            yield part
            part, left = [], WRITE_CHARACTERS
        part.append(one)
        left -= len(one.words)
    if part:
        yield part
