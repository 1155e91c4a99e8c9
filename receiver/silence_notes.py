"""Says that silences end soon: whoever silenced a failure in the night is to know before it makes noise again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from receiver.clock import Clock
from receiver.forever import for_ever
from receiver.metrics import Metrics
from receiver.model import Change
from receiver.quiet import publish
from receiver.rendering import words
from receiver.silencer import NOTE_BEFORE_S
from receiver.store import presses, stories
from receiver.store.codec import moment
from receiver.store.engine import Conn, Store
from receiver.store.presses import Silence
from receiver.telling import Teller

EVERY_S = 20.0


class SilenceNotes:
    """Runs until cancelled."""

    def __init__(
        self,
        store: Store,
        teller: Teller,
        clock: Clock,
        metrics: Metrics,
        *,
        on_change: Callable[[], None],
        before_s: float = NOTE_BEFORE_S,
        every_s: float = EVERY_S,
    ) -> None:
        self._store = store
        self._teller = teller
        self._clock = clock
        self._metrics = metrics
        self._on_change = on_change
        self._before_s = before_s
        self._every_s = every_s

    async def run(self) -> None:
        """Look again and again which silences end."""
        await for_ever(self.round, self._every_s, name="silences", clock=self._clock, metrics=self._metrics)

    async def round(self) -> None:
        """Note each silence that ends soon at its story, once."""
        for one in await self._store.read(lambda conn: presses.ending(conn, self._before_s)):
            if await self._store.write(partial(self._note, one)):
                self._on_change()

    async def _note(self, silence: Silence, conn: Conn) -> bool:
        draft = await stories.load_draft(conn, silence.story, await stories.now_of(conn))
        first = await presses.warned(conn, silence.story, self._before_s)
        if draft is None or not draft.open or not first:
            return False
        end = moment(silence.until)
        left = words.duration(max((end - moment(draft.now)) / timedelta(seconds=1), 60.0))
        text = f"the silence by {silence.by} ends in {left}, at {words.when(end, moment(draft.now).date())}"
        await publish(conn, self._teller, draft, Change.SILENCED, text, f"silence-ends-{silence.id}")
        return True
