"""What people do in PagerDuty becomes the story's: heard in its webhooks, or asked for where it cannot reach us."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog

from receiver.actions import PAGERDUTY, Actions, Actor
from receiver.attempt import Destination
from receiver.clock import Clock
from receiver.destinations.hearing import Heard, Hears, What
from receiver.errors import DeliveryError
from receiver.model import Change, Story
from receiver.store import hearing, reading
from receiver.store.codec import moment
from receiver.store.engine import Conn, Store, is_passing
from receiver.store.hearing import Shown
from receiver.store.jobs import Turn

log = structlog.get_logger(__name__)

KIND = "pagerduty"
SOMEBODY = "somebody"
SKEW = timedelta(minutes=2)
"""How far two clocks may differ before an event counts as one of an earlier failure."""
BUSY_AGAIN_S = 0.1
BUSY_FOR_S = 3.0
"""PagerDuty waits 5 s for our answer (Webhooks v3, "Behavior")."""
REST_S = 600.0
"""The longest wait between two questions where one was not answered."""
REMEMBERED = 2_000


class BusyError(Exception):
    """The delivery is being sent at this moment; say it again."""


class Hearing:
    """Takes what is heard, and asks where asking is what was configured."""

    def __init__(
        self, store: Store, actions: Actions, destinations: Mapping[str, Destination], clock: Clock, *, owner: str
    ) -> None:
        self._store = store
        self._owner = owner
        self._actions = actions
        self._destinations = destinations
        self._clock = clock
        self._newest: OrderedDict[str, datetime] = OrderedDict()
        """Key → when the newest thing happened that was heard of it: what comes late is not believed."""

    async def take(self, heard: Heard) -> bool:
        """Let a story know; False where it says nothing new. Raises BusyError."""
        last = self._newest.get(heard.key)
        if last is not None and heard.at < last:
            return False
        shown = await self._store.browse(lambda conn: hearing.by_key(conn, KIND, heard.key))
        found = False
        for story in dict.fromkeys(one.row.story for one in shown):
            found = await self._tell(story, heard) or found
        if shown:
            self._newest[heard.key] = heard.at
            self._newest.move_to_end(heard.key)
            while len(self._newest) > REMEMBERED:
                self._newest.popitem(last=False)
        return found

    async def _tell(self, number: str, heard: Heard) -> bool:
        whole = await self._store.read(lambda conn: reading.whole(conn, number))
        if whole is None or not whole.story.open or heard.at < _began(whole.story) - SKEW:
            return False
        who = Actor(heard.by or SOMEBODY, PAGERDUTY)
        match heard.what:
            case What.ACKNOWLEDGED:
                # Our own request to acknowledge comes back as nobody's.
                if not heard.by and whole.story.ack is not None:
                    return False
                return (await self._actions.acknowledge(number, who)).done
            case What.UNACKNOWLEDGED:
                return (await self._actions.let_go(number, who)).done
            case What.RESOLVED:
                if not await self._set(heard, "triggered", "closed"):
                    return False  # it was our own resolve
                return (await self._actions.closed_elsewhere(number, who)).done
            case What.REOPENED:
                return await self._set(heard, "closed", "triggered")

    async def _set(self, heard: Heard, before: str, after: str) -> bool:
        """Remember in the root's receipt what became of the incident. Waits while somebody sends there."""

        async def write(conn: Conn) -> list[Shown] | None:
            shown = await hearing.by_key(conn, KIND, heard.key)
            if any(one.busy for one in shown):
                return None
            more = {"closed_by": heard.by, "closed_at": heard.at.isoformat()} if after == "closed" else {}
            return [one for one in shown if await hearing.set_state(conn, one.row, before, after, more)]

        until = self._clock.monotonic() + BUSY_FOR_S
        while (changed := await self._store.write(write)) is None:
            if self._clock.monotonic() > until:
                raise BusyError
            await self._clock.sleep(BUSY_AGAIN_S)
        return bool(changed)

    # --- asking ---

    async def run(self) -> None:
        """Ask for ever, each destination in its own time."""
        asked = {key: one.sender for key, one in self._destinations.items() if isinstance(one.sender, Hears)}
        async with asyncio.TaskGroup() as all_of_them:
            all_of_them.create_task(asyncio.Event().wait())
            for key, sender in asked.items():
                if sender.ask_every_s is not None:
                    all_of_them.create_task(self._ask_for_ever(key, sender, sender.ask_every_s))

    async def _ask_for_ever(self, destination: str, sender: Hears, every_s: float) -> None:
        wait_s = every_s
        turn = Turn(self._store, f"hearing/{destination}", self._owner, self._clock.monotonic)
        while True:
            await self._clock.sleep(wait_s)
            try:
                if await turn.ours():
                    await self.ask(destination, sender)
                wait_s = every_s
            except DeliveryError as error:
                wait_s = min(REST_S, max(wait_s * 2, getattr(error, "retry_after_s", None) or 0.0))
                log.warning("hearing.unanswered", destination=destination, error=error.reason, again_in_s=wait_s)
            except Exception as error:  # our own bug, or the disk: it is asked again
                if not is_passing(error):
                    log.exception("hearing.bug", destination=destination)

    async def ask(self, destination: str, sender: Hears) -> None:
        """Ask once, if something is open there that nobody has taken. Raises DeliveryError."""
        waiting = await self._store.read(lambda conn: hearing.unacknowledged(conn, destination))
        if not waiting:
            return
        for heard in await sender.hear({key: moment(created) for key, created in waiting.items()}):
            try:
                await self.take(heard)
            except BusyError:
                log.info("hearing.busy", destination=destination)  # the next time it is asked


def _began(story: Story) -> datetime:
    """Return when the present failure of a story began."""
    return max((one.at for one in story.timeline if one.change is Change.REOPENED), default=story.opened)
