"""Makes the silences that people ask for: at the Alertmanager of a story's alerts, and no wider than the story is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

from receiver import fitting
from receiver.alertmanagers import Alertmanagers, NotSilencedError
from receiver.clock import Clock
from receiver.config.model import AlertmanagerConfig
from receiver.rendering import words
from receiver.store import presses
from receiver.store.codec import moment
from receiver.store.drafts import Draft
from receiver.store.engine import Conn, Store
from receiver.store.own_alerts import SOURCE as OWN
from receiver.store.presses import Silence

NOTE_BEFORE_S: Final = 600.0
"""So long before a silence ends people are told of it."""
SAME_END_S: Final = 120.0
"""A silence that would end so little later than the one there is says nothing new."""
PARTLY: Final = "Silenced in part"
"""So the answer to a press begins that could silence some of a story's alerts only."""
MAX_LISTED: Final = 3

_VOLATILE: Final = frozenset(
    {"phase", "status", "instance", "endpoint", "container", "prometheus", "prometheus_replica", "replica"}
)
"""Labels that change while the failure stays the same."""


@dataclass(frozen=True, slots=True)
class Made:
    """What was silenced."""

    silences: tuple[Silence, ...]
    hit: tuple[str, ...]
    """What each of them silences."""
    lacking: tuple[str, ...] = ()
    why: str = ""
    """Why that could not be silenced."""

    @property
    def in_part(self) -> str:
        """Say what is silenced and what is not; empty: all is."""
        return f"{_listed(self.hit)}; not silenced: {_listed(self.lacking)}" if self.lacking else ""


class NothingMadeError(Exception):
    """No silence was made; why, as a sentence for who asked."""

    def __init__(self, why: str, *, is_silenced: bool = False) -> None:
        """`is_silenced`: there is one already."""
        super().__init__(why)
        self.is_silenced = is_silenced


class Silencer:
    """Silences a story's alerts.

    It looks up what is silenced already: the next call is for when what this one made is kept.
    """

    def __init__(self, store: Store, alertmanagers: Alertmanagers, clock: Clock, *, limit: int) -> None:
        """`limit`: so many alerts of others a silence may hit."""
        self._store = store
        self._alertmanagers = alertmanagers
        self._clock = clock
        self._limit = limit

    async def make(self, draft: Draft, hours: float, by: str, how: str) -> Made:
        """Silence the alerts that fire, for so many hours; `how` says where `by` asked for it.

        Raises NothingMadeError. The caller has to keep what was made.
        """
        now = self._clock.now()
        until = datetime.fromtimestamp(now.timestamp() + hours * 3600, UTC)
        there = await self._store.read(partial(_there, draft.id))
        if there is not None and there[0] >= until.timestamp() - SAME_END_S:
            end = words.when(moment(there[0]), moment(draft.now).date())
            raise NothingMadeError(f"It is silenced until {end}, by {there[1]}.", is_silenced=True)
        wanted = self._wanted(draft)
        if not wanted:
            raise NothingMadeError(_why_none(draft))
        try:
            for config, matchers in wanted:
                await self._refuse_wide(config, matchers, draft)
        except NotSilencedError as error:
            raise NothingMadeError(f"{error}.") from None
        names = tuple(fitting.one_line(_words(matchers), 120) for _, matchers in wanted)
        comment = f"{draft.title}: story {draft.id}, silenced {how} through mtv-receiver"
        warned = hours * 3600 <= 2 * NOTE_BEFORE_S
        made: list[Silence] = []
        for config, matchers in wanted:
            try:
                number = await self._alertmanagers.silence(
                    config, matchers, now=now, until=until, by=by, comment=comment
                )
            except NotSilencedError as error:
                if not made:
                    raise NothingMadeError(f"{error}; nothing is known to be silenced.") from None
                return Made(tuple(made), names[: len(made)], names[len(made) :], str(error))
            made.append(Silence(number, config.name, draft.id, until.timestamp(), by, warned))
        return Made(tuple(made), names)

    def _wanted(self, draft: Draft) -> list[tuple[AlertmanagerConfig, dict[str, str]]]:
        """Return what to silence, and where: each set of matchers once."""
        found: dict[tuple[str, tuple[tuple[str, str], ...]], tuple[AlertmanagerConfig, dict[str, str]]] = {}
        for row in draft.failures:
            config = self._alertmanagers.of(row.source) if row.firing and row.source != OWN else None
            if config is not None:
                matchers = _matchers(row.alert.labels, is_plan=draft.kind == "plan")
                found.setdefault((config.name, tuple(sorted(matchers.items()))), (config, matchers))
        return list(found.values())

    async def _refuse_wide(self, config: AlertmanagerConfig, matchers: dict[str, str], draft: Draft) -> None:
        hit = await self._alertmanagers.hit(config, matchers)
        own = [_steady(row.alert.labels) for row in draft.failures]  # in whatever phase they are
        others = [one for one, labels in hit.items() if one not in draft.alerts and _steady(labels) not in own]
        if len(others) > self._limit:
            raise NothingMadeError(
                f"Nothing was silenced: a silence of {fitting.one_line(_words(matchers), 200)} would also hit"
                f" {len(others)} other alerts (at most {self._limit}); make a narrower one in Alertmanager."
            )


async def _there(story: str, conn: Conn) -> tuple[float, str] | None:
    """Return until when a story is silenced and by whom; None also where the last one silenced it in part."""
    asked = (one for one in reversed(await presses.of_story(conn, story)) if one.action == "silence")
    last = next((one for one in asked if one.done or one.text.startswith(PARTLY)), None)
    return await presses.silenced_until(conn, story) if last is None or last.done else None


def _why_none(draft: Draft) -> str:
    if not any(row.firing for row in draft.failures):
        return "No alert of this story fires, so there is nothing to silence."
    if all(row.source == OWN for row in draft.failures if row.firing):
        return "Only mtv-receiver's own alerts fire here; Alertmanager knows nothing of them."
    return "Nothing was silenced: the Alertmanager of these alerts is not listed under alertmanagers: in routes.yaml."


def _matchers(labels: Mapping[str, str], *, is_plan: bool) -> dict[str, str]:
    """Return what makes an alert this one, whatever its next phase is."""
    if labels.get("plan"):
        return {name: labels[name] for name in ("alertname", "plan") if labels.get(name)}
    # In an alert about a plan, the pod is that of the controller, or of one try of many.
    return {name: value for name, value in _steady(labels).items() if name != "pod" or not is_plan}


def _steady(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if value and name not in _VOLATILE}


def _words(matchers: Mapping[str, str]) -> str:
    return " and ".join(f"{name}={value}" for name, value in sorted(matchers.items()))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more
