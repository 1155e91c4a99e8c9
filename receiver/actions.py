"""What people do with a story from where they see it: take it, silence its alerts, give it to somebody else.

Slack's buttons, the commands, the JSON API and PagerDuty all come here. Every press is written down with its answer,
also a refused one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog

from receiver import fitting
from receiver.alertmanagers import Alertmanagers
from receiver.clock import Clock
from receiver.config.model import Config
from receiver.config.problems import suggestion
from receiver.giving import NotGivenError, give
from receiver.model import Ack, Change
from receiver.quiet import publish
from receiver.rendering import words
from receiver.silencer import NOTE_BEFORE_S, PARTLY, NothingMadeError, Silencer
from receiver.store import presses, stories
from receiver.store.codec import moment
from receiver.store.drafts import Draft
from receiver.store.engine import Conn, Store
from receiver.store.presses import Silence
from receiver.telling import Teller

log = structlog.get_logger(__name__)

SLACK, PAGERDUTY, COMMAND_LINE, API, PAGE = "Slack", "PagerDuty", "command line", "API", "page"
LONGEST_SILENCE_H = 168.0
MAX_NAME = 80
MAX_NOTE = 200


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts."""

    name: str
    """As people know them."""
    via: str
    """SLACK, PAGERDUTY, COMMAND_LINE, API or PAGE."""
    id: str = ""
    """The vendor's id of the user."""
    email: str = ""
    groups: frozenset[str] = frozenset()
    """Slack: ids and handles of the user groups that they are in."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it, in a sentence for the person."""

    done: bool
    text: str


_NO_STORY = Answer(False, "There is no such story; it may be forgotten by now.")
_Work = Callable[[Conn, Draft], Awaitable[Answer]]


class Actions:
    """What people may do. Safe to call from many requests at once."""

    def __init__(
        self,
        store: Store,
        config: Config,
        teller: Teller,
        alertmanagers: Alertmanagers,
        clock: Clock,
        *,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._config = config
        self._teller = teller
        self._silencer = Silencer(store, alertmanagers, clock, limit=config.actions.silence_limit)
        self._clock = clock
        self._on_change = on_change
        self._silencing = asyncio.Lock()

    # --- taking ---

    async def acknowledge(self, story: str, who: Actor, note: str = "") -> Answer:
        """Let everybody see that somebody takes care. Whoever takes a story that somebody has takes it over.

        `note` is what they want others to know, such as what they do about it; at most MAX_NOTE characters are kept.
        """
        said = fitting.one_line(note, MAX_NOTE)

        async def work(conn: Conn, draft: Draft) -> Answer:
            name, old = _name(who), draft.ack
            if old is not None and (old.by, old.via) == (name, who.via) and not said:
                return Answer(True, f"{name} has it since {_at(old.at, draft)}.")
            draft.ack = Ack(name, who.via, moment(draft.now))
            before = f", who takes over from {old.by}" if old is not None and old.by != name else ""
            text = f"acknowledged by {name} {_in(who.via)}{before}" + (f": {said}" if said else "")
            await publish(conn, self._teller, draft, Change.ACKNOWLEDGED, text)
            had = f" {old.by} had taken it at {_at(old.at, draft)}." if before and old is not None else ""
            return Answer(True, f"{name} has it now.{had}")

        return await self._press(story, "acknowledge", who, work)

    async def let_go(self, story: str, who: Actor) -> Answer:
        """Take back what was acknowledged at the same place; what was acknowledged elsewhere stays."""

        async def work(conn: Conn, draft: Draft) -> Answer:
            if draft.ack is None or draft.ack.via != who.via:
                return Answer(True, f"It was not taken {_in(who.via)}.")
            by, draft.ack = draft.ack.by, None
            text = f"no longer taken by {by}: the acknowledgement {_in(who.via)} ended"
            await publish(conn, self._teller, draft, Change.ACKNOWLEDGED, text)
            return Answer(True, "Nobody has it now.")

        return await self._press(story, "unacknowledge", who, work)

    async def closed_elsewhere(self, story: str, who: Actor) -> Answer:
        """Note that a person closed what a pager shows of an open story. They know of it, so they have it."""

        async def work(conn: Conn, draft: Draft) -> Answer:
            draft.ack = draft.ack or Ack(_name(who), who.via, moment(draft.now))
            text = f"closed {_in(who.via)} by {_name(who)}; here it stays open until it is over"
            await publish(conn, self._teller, draft, Change.ACKNOWLEDGED, text)
            return Answer(True, _sentence(text) + ".")

        return await self._press(story, "close", who, work)

    # --- giving away ---

    async def move(self, story: str, to: str, who: Actor, client_id: str = "", *, giver: str = "") -> Answer:
        """Give a story to another receiver.

        Who gives it away: the receiver that shows the delivery with this `client_id` (a button), or the one named
        `giver`; neither: all that show it now.
        """
        receiver = self._config.receivers.get(to)
        if receiver is None or not receiver.destinations:
            what = f"there is no receiver {to!r}" if receiver is None else f"the receiver {to} has no destination"
            known = [name for name, one in self._config.receivers.items() if one.destinations]
            return await self._press(
                story, "move", who, _saying(Answer(False, f"{_sentence(what)}; {suggestion(to, known)}"))
            )

        async def work(conn: Conn, draft: Draft) -> Answer:
            by = f"{_name(who)} ({who.via})"
            try:
                text = await give(conn, self._teller, draft, receiver, by, client_id=client_id, giver=giver)
            except NotGivenError as error:
                return Answer(False, f"{error}.")
            return Answer(True, f"{_sentence(text)}.")

        return await self._press(story, "move", who, work)

    # --- silencing ---

    async def silence(self, story: str, hours: float, who: Actor) -> Answer:
        """Silence a story's alerts at the Alertmanager that they came from, whatever their next phase is."""
        if not 0 < hours <= LONGEST_SILENCE_H:
            text = f"A silence lasts up to {LONGEST_SILENCE_H:g} hours; {hours:g} is no such time."
            return await self._press(story, "silence", who, _saying(Answer(False, text)))
        async with self._silencing:
            found = await self._store.read(partial(_load, story.upper()))
            refusal = self._refusal(found, who)
            if refusal is not None or found is None:
                return await self._press(story, "silence", who, _saying(refusal or _NO_STORY))
            try:
                made = await self._silencer.make(found, hours, _name(who), _in(who.via))
            except NothingMadeError as error:
                return await self._press(story, "silence", who, _saying(Answer(error.is_silenced, str(error))))

            async def work(conn: Conn, draft: Draft) -> Answer:
                first = made.silences[0]
                said = f"for {_hours(hours)} by {_name(who)} {_in(who.via)}, until {_at(moment(first.until), draft)}"
                if made.in_part:
                    text = f"{PARTLY} {said}: {made.in_part}"
                    await publish(conn, self._teller, draft, Change.SILENCED, text[:1].lower() + text[1:])
                    return Answer(False, f"{text}. {made.why}; try again for the rest.")
                text = f"silenced {said}"
                await publish(conn, self._teller, draft, Change.SILENCED, text)
                note = "" if first.warned else f" A note comes {words.duration(NOTE_BEFORE_S)} before it ends."
                return Answer(True, f"{_sentence(text)}.{note}")

            return await self._press(story, "silence", who, work, made.silences)

    # --- every press ---

    async def unknown(self, story: str, action: str, who: Actor) -> Answer:
        """Answer, and write down, what somebody asked of a story that is forgotten, or never was kept: a test's."""

        async def write(conn: Conn) -> None:
            number = fitting.one_line(story.upper(), 40)
            await presses.record(conn, number, action, _name(who), who.via, done=False, text=_NO_STORY.text)

        await self._store.write(write)
        log.info("action", action=action, story=story, by=_name(who), via=who.via, done=False, answer=_NO_STORY.text)
        return _NO_STORY

    async def _press(self, story: str, action: str, who: Actor, work: _Work, made: Sequence[Silence] = ()) -> Answer:
        """Do and write down what somebody asked for; what is `made` already is kept, whatever becomes of it."""
        changed = False

        async def write(conn: Conn) -> Answer:
            nonlocal changed
            draft = await _load(story.upper(), conn)
            if made and draft is not None:
                await presses.add_silences(conn, made)
            refusal = self._refusal(draft, who)
            if draft is None or refusal is not None:
                answer, changed = self._although(refusal or _NO_STORY, made), False
            else:
                before = draft.revision
                answer = await work(conn, draft)
                changed = draft.revision > before
            number = fitting.one_line(story.upper(), 40)
            await presses.record(conn, number, action, _name(who), who.via, done=answer.done, text=answer.text)
            return answer

        answer = await self._store.write(write)
        log.info("action", action=action, story=story, by=_name(who), via=who.via, done=answer.done, answer=answer.text)
        if changed:
            self._on_change()
        return answer

    def _although(self, refusal: Answer, made: Sequence[Silence]) -> Answer:
        if not made:
            return refusal
        end = words.when(moment(made[0].until), self._clock.now().date())
        at = " and ".join(sorted({one.alertmanager for one in made}))
        text = f"{refusal.text} Meanwhile its alerts were silenced at {at} until {end}; end that there."
        return Answer(False, text)

    def _refusal(self, draft: Draft | None, who: Actor) -> Answer | None:
        if who.via == SLACK and not self._may_press(who):
            text = "You may not do this: ask whoever keeps actions.allow in routes.yaml to name you or your user group."
            return Answer(False, text)
        if draft is None:
            return _NO_STORY
        if not draft.open:
            word = draft.outcome.value if draft.outcome else "resolved"
            closed = f" at {_at(moment(draft.closed), draft)}" if draft.closed else ""
            return Answer(False, f"This story is over: {word}{closed}.")
        return None

    def _may_press(self, who: Actor) -> bool:
        mine = {who.id, who.email, *who.groups, *(f"@{group}" for group in who.groups if group[:1] != "@")} - {""}
        return bool({one.casefold() for one in mine} & {one.casefold() for one in self._config.actions.allow})


async def _load(story: str, conn: Conn) -> Draft | None:
    return await stories.load_draft(conn, story, await stories.now_of(conn))


def _saying(answer: Answer) -> _Work:
    async def work(conn: Conn, draft: Draft) -> Answer:
        del conn, draft
        return answer

    return work


def _name(who: Actor) -> str:
    return fitting.one_line(who.name, MAX_NAME) or "somebody"


def _in(via: str) -> str:
    ways = {COMMAND_LINE: "on the command line", API: "through the API", PAGE: "on its page"}
    return ways.get(via, f"in {via}")


def _hours(hours: float) -> str:
    return words.duration(hours * 3600)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _at(when: datetime, draft: Draft) -> str:
    """Return a time as people say it on the day of reading."""
    return words.when(when, moment(draft.now).date())
