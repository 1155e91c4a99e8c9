"""Presses of buttons in Slack, worked off after Slack was answered: it waits 3 seconds, look-ups may take longer."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from typing import Protocol

import structlog

from receiver.actions import SLACK, Actions, Actor, Answer
from receiver.attempt import Destination
from receiver.config.model import Config
from receiver.destinations.slack import SlackSender
from receiver.destinations.slack_buttons import MAX_OPTIONS, Action, Press, choice, mark_of
from receiver.destinations.slack_directory import Person
from receiver.errors import DeliveryError
from receiver.metrics import Metrics
from receiver.store import reading
from receiver.store.deliveries import DeliveryRow
from receiver.store.engine import Conn, Store

log = structlog.get_logger(__name__)

MOST_WAITING = 200
AT_ONCE = 4
MOST_REMEMBERED = 1_000
"""Presses that are known to have come: Slack repeats what it believes unanswered."""
MOST_MERGES = 5
RECORDED_AS = {
    Action.TAKE: "acknowledge", Action.SILENCE: "silence", Action.NOT_OURS: "move", Action.GIVE: "move",
}  # fmt: skip
FORGOTTEN = "There is no such story here any more; it may be forgotten by now."


class Pressed(Protocol):
    """What is pressed at: `receiver.service.Service`."""

    config: Config
    metrics: Metrics
    store: Store | None
    actions: Actions | None
    destinations: Mapping[str, Destination]


class Presses:
    """Takes presses and answers the people."""

    def __init__(self, service: Pressed) -> None:
        self._service = service
        self._waiting: asyncio.Queue[Press] = asyncio.Queue(MOST_WAITING)
        self._known: OrderedDict[str, None] = OrderedDict()

    def offer(self, press: Press) -> bool:
        """Take a press; False where too many wait, or nobody works yet. What came before is taken and forgotten."""
        if self._service.actions is None or self._waiting.full():
            log.warning("slack.press_not_taken", story=press.story, action=press.action.value)
            return False
        if press.key not in self._known:
            self._known[press.key] = None
            while len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)
            self._waiting.put_nowait(press)
        return True

    async def run(self) -> None:
        """Work presses off, for ever."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._work())

    async def drain(self, seconds: float) -> None:
        """Wait until all that was taken is done, so long at most."""
        try:
            async with asyncio.timeout(seconds):
                await self._waiting.join()
        except TimeoutError:
            log.warning("slack.presses_lost", waiting=self._waiting.qsize())

    async def _work(self) -> None:
        while True:
            press = await self._waiting.get()
            try:
                await self._one(press)
            except DeliveryError as error:
                log.warning("slack.not_answered", story=press.story, action=press.action.value, error=error.reason)
            except Exception:
                self._service.metrics.bugs.labels("web").inc()
                log.exception("slack.press_failed", story=press.story, action=press.action.value)
            finally:
                self._waiting.task_done()

    async def _one(self, press: Press) -> None:
        row = await self._delivery(press)
        sender = self._sender(row)
        if row is None:
            await self._forgotten(press, sender)
        elif sender is None:
            log.warning("slack.nobody_answers", story=press.story)
        elif press.action is Action.NOT_OURS:
            await self._ask(press, sender)
        else:
            person = await self._person(press, sender)
            try:
                said = await self._act(press, row, person)
            except Exception:
                await sender.answer(press, "That was not done: an error of our own, see the log. Press again later.")
                raise
            doubt = f" ({'; '.join(person.unknown)})" if person.unknown and not said.done else ""
            await sender.answer(press, f"{said.text}{doubt}")

    async def _forgotten(self, press: Press, sender: SlackSender | None) -> None:
        """Write a press down that changes nothing: its message outlived its story, or `send-test` made it alone."""
        person = await self._person(press, sender) if sender else Person(press.user, press.name)
        if (actions := self._service.actions) is not None:
            who = Actor(person.name, SLACK, person.id, person.email, person.groups)
            await actions.unknown(press.story, RECORDED_AS[press.action], who)
        if sender is None:
            log.warning("slack.nobody_answers", story=press.story)
        else:
            await sender.answer(press, FORGOTTEN)

    async def _act(self, press: Press, row: DeliveryRow, person: Person) -> Answer:
        actions = self._service.actions
        if actions is None:
            return Answer(False, "The service is stopping: press again in a minute.")
        who = Actor(person.name, SLACK, person.id, person.email, person.groups)
        match press.action:
            case Action.TAKE:
                return await actions.acknowledge(row.story, who)
            case Action.SILENCE:
                return await actions.silence(row.story, press.hours, who)
            case _:
                to = next((name for name in self._receivers() if mark_of(name) == press.to), "")
                if not to:
                    return Answer(False, "This receiver is no longer configured: press Not ours again.")
                return await actions.move(row.story, to, who, client_id=press.client_id)

    async def _ask(self, press: Press, sender: SlackSender) -> None:
        receivers = self._receivers()
        text = "To whom does it belong?"
        if len(receivers) > MAX_OPTIONS:
            text += f" The first {MAX_OPTIONS} of {len(receivers)} receivers; the others: deliveries move."
        await sender.answer(press, text, choice(press, receivers, text))

    def _receivers(self) -> list[str]:
        return [name for name, one in self._service.config.receivers.items() if one.destinations]

    async def _person(self, press: Press, sender: SlackSender) -> Person:
        groups = frozenset(one for one in self._service.config.actions.allow if "@" not in one[1:])
        return await sender.people.person(press.user, press.name, groups)

    async def _delivery(self, press: Press) -> DeliveryRow | None:
        """Return the delivery that was pressed under, also where its story was joined to an older one since."""
        store = self._service.store
        if store is None:
            return None

        async def find(conn: Conn) -> DeliveryRow | None:
            story = press.story
            for _ in range(MOST_MERGES):
                found = await reading.whole(conn, story)
                rows = found.deliveries if found else ()
                row = next((one for one in rows if one.keys.client_id == press.client_id), None)
                if row is not None or found is None or not found.story.continued_in:
                    return row
                story = found.story.continued_in
            return None

        return await store.read(find)

    def _sender(self, row: DeliveryRow | None) -> SlackSender | None:
        """Return who can answer: the destination itself, else any of Slack."""
        known = self._service.destinations
        own = known.get(row.destination) if row else None
        senders = (one.sender for one in (*((own,) if own else ()), *known.values()))
        return next((one for one in senders if isinstance(one, SlackSender)), None)
