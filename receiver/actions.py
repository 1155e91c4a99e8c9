"""What people do with a story from where they see it: take it, silence its alerts, give it to somebody else.

Slack's buttons, the commands, the JSON API and PagerDuty all come here. Every press is written down with its answer,
also a refused one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import structlog

from receiver import fitting
from receiver.alertmanagers import Alertmanagers, NotSilencedError
from receiver.clock import Clock
from receiver.config.model import AlertmanagerConfig, Config
from receiver.config.problems import suggestion
from receiver.giving import NotGivenError, give
from receiver.model import Ack, Change
from receiver.quiet import publish
from receiver.rendering import words
from receiver.store import presses, stories
from receiver.store.codec import moment
from receiver.store.drafts import Draft
from receiver.store.engine import Conn, Store
from receiver.store.own_alerts import SOURCE as OWN
from receiver.store.presses import Silence
from receiver.telling import Teller

log = structlog.get_logger(__name__)

SLACK, PAGERDUTY, COMMAND_LINE, API, PAGE = "Slack", "PagerDuty", "command line", "API", "page"
LONGEST_SILENCE_H = 168.0
NOTE_BEFORE_S = 600.0
"""So long before a silence ends people are told of it."""
SAME_END_S = 120.0
"""A silence that would end so little later than the one there is says nothing new."""
MAX_NAME = 80
MAX_NOTE = 200
PARTLY = "Silenced in part"
"""So the answer to a press begins that could silence some of a story's alerts only."""
MAX_LISTED = 3

_VOLATILE = frozenset(
    {"phase", "status", "instance", "endpoint", "container", "prometheus", "prometheus_replica", "replica"}
)
"""Labels that change while the failure stays the same."""


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


@dataclass(frozen=True, slots=True)
class _Refused(Exception):
    answer: Answer


@dataclass(frozen=True, slots=True)
class _Made:
    """What came of a silence at Alertmanager."""

    silences: tuple[Silence, ...]
    hit: tuple[str, ...]
    """What each of them silences."""
    lacking: tuple[str, ...] = ()
    why: str = ""
    """Why that could not be silenced."""


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
        self._alertmanagers = alertmanagers
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
            return await self._press(story, "move", who, _saying(f"{_sentence(what)}; {suggestion(to, known)}"))

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
            return await self._press(story, "silence", who, _saying(text))
        async with self._silencing:
            found = await self._store.read(partial(_load, story.upper()))
            try:
                refusal = self._refusal(found, who)
                if refusal is not None or found is None:
                    raise _Refused(refusal or _NO_STORY)
                made = await self._silenced(found, hours, who)
            except _Refused as refused:
                return await self._press(story, "silence", who, _saying(refused.answer.text, done=refused.answer.done))

            async def work(conn: Conn, draft: Draft) -> Answer:
                first = made.silences[0]
                said = f"for {_hours(hours)} by {_name(who)} {_in(who.via)}, until {_at(moment(first.until), draft)}"
                if made.lacking:
                    text = f"{PARTLY} {said}: {_listed(made.hit)}; not silenced: {_listed(made.lacking)}"
                    await publish(conn, self._teller, draft, Change.SILENCED, text[:1].lower() + text[1:])
                    return Answer(False, f"{text}. {made.why}; try again for the rest.")
                text = f"silenced {said}"
                await publish(conn, self._teller, draft, Change.SILENCED, text)
                note = "" if first.warned else f" A note comes {words.duration(NOTE_BEFORE_S)} before it ends."
                return Answer(True, f"{_sentence(text)}.{note}")

            return await self._press(story, "silence", who, work, made.silences)

    async def _silenced(self, draft: Draft, hours: float, who: Actor) -> _Made:
        now = self._clock.now()
        until = datetime.fromtimestamp(now.timestamp() + hours * 3600, UTC)
        there = await self._store.read(partial(_there, draft.id))
        if there is not None and there[0] >= until.timestamp() - SAME_END_S:
            raise _Refused(Answer(True, f"It is silenced until {_at(moment(there[0]), draft)}, by {there[1]}."))
        wanted = self._wanted(draft)
        if not wanted:
            raise _Refused(Answer(False, self._why_not(draft)))
        try:
            for config, matchers in wanted:
                await self._refuse_wide(config, matchers, draft)
        except NotSilencedError as error:
            raise _Refused(Answer(False, f"{error}.")) from None
        names = tuple(fitting.one_line(_words(matchers), 120) for _, matchers in wanted)
        comment = f"{draft.title}: story {draft.id}, silenced {_in(who.via)} through mtv-receiver"
        warned = hours * 3600 <= 2 * NOTE_BEFORE_S
        made: list[Silence] = []
        for config, matchers in wanted:
            try:
                number = await self._alertmanagers.silence(
                    config, matchers, now=now, until=until, by=_name(who), comment=comment
                )
            except NotSilencedError as error:
                if not made:
                    raise _Refused(Answer(False, f"{error}; nothing is known to be silenced.")) from None
                return _Made(tuple(made), names[: len(made)], names[len(made) :], str(error))
            made.append(Silence(number, config.name, draft.id, until.timestamp(), _name(who), warned))
        return _Made(tuple(made), names)

    def _wanted(self, draft: Draft) -> list[tuple[AlertmanagerConfig, dict[str, str]]]:
        """Return what to silence, and where: each set of matchers once."""
        found: dict[tuple[str, tuple[tuple[str, str], ...]], tuple[AlertmanagerConfig, dict[str, str]]] = {}
        for row in draft.failures:
            config = self._alertmanagers.of(row.source) if row.firing and row.source != OWN else None
            if config is not None:
                matchers = _matchers(row.alert.labels, is_plan=draft.kind == "plan")
                found.setdefault((config.name, tuple(sorted(matchers.items()))), (config, matchers))
        return list(found.values())

    def _why_not(self, draft: Draft) -> str:
        if not any(row.firing for row in draft.failures):
            return "No alert of this story fires, so there is nothing to silence."
        if all(row.source == OWN for row in draft.failures if row.firing):
            return "Only mtv-receiver's own alerts fire here; Alertmanager knows nothing of them."
        return (
            "Nothing was silenced: the Alertmanager of these alerts is not listed under alertmanagers: in routes.yaml."
        )

    async def _refuse_wide(self, config: AlertmanagerConfig, matchers: dict[str, str], draft: Draft) -> None:
        hit = await self._alertmanagers.hit(config, matchers)
        own = [_steady(row.alert.labels) for row in draft.failures]  # in whatever phase they are
        others = [one for one, labels in hit.items() if one not in draft.alerts and _steady(labels) not in own]
        limit = self._config.actions.silence_limit
        if len(others) > limit:
            text = (
                f"Nothing was silenced: a silence of {fitting.one_line(_words(matchers), 200)} would also hit"
                f" {len(others)} other alerts (at most {limit}); make a narrower one in Alertmanager."
            )
            raise _Refused(Answer(False, text))

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


async def _there(story: str, conn: Conn) -> tuple[float, str] | None:
    """Return until when a story is silenced and by whom; None also where the last one silenced it in part."""
    asked = (one for one in reversed(await presses.of_story(conn, story)) if one.action == "silence")
    last = next((one for one in asked if one.done or one.text.startswith(PARTLY)), None)
    return await presses.silenced_until(conn, story) if last is None or last.done else None


def _saying(text: str, *, done: bool = False) -> _Work:
    async def work(conn: Conn, draft: Draft) -> Answer:
        del conn, draft
        return Answer(done, text)

    return work


def _matchers(labels: Mapping[str, str], *, is_plan: bool) -> dict[str, str]:
    """Return what makes an alert this one, whatever its next phase is."""
    if labels.get("plan"):
        return {name: labels[name] for name in ("alertname", "plan") if labels.get(name)}
    # In an alert about a plan, the pod is that of the controller, or of one try of many.
    return {name: value for name, value in _steady(labels).items() if name != "pod" or not is_plan}


def _words(matchers: Mapping[str, str]) -> str:
    return " and ".join(f"{name}={value}" for name, value in sorted(matchers.items()))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more


def _steady(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if value and name not in _VOLATILE}


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
