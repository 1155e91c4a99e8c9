"""The tree of routes as it is shown, and why an alert does not reach a receiver. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from receiver.config.model import Config, Route
from receiver.explain import Explained
from receiver.routing.tree import Verdict, failing, lets_through

ROOT = "takes everything that no route below takes"


@dataclass(frozen=True, slots=True)
class Named:
    """A receiver, and its destinations by kind and label."""

    name: str
    destinations: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A route, for people."""

    path: str
    position: str
    namespaces: tuple[str, ...]
    matchers: tuple[str, ...]
    receivers: tuple[Named, ...]
    continues: bool
    notify_success: bool
    labels: Mapping[str, str]
    mute: tuple[str, ...]
    active: tuple[str, ...]
    muted: bool
    """Do its time intervals hold first messages back now?"""
    below: tuple[Node, ...]
    size: int
    """Routes below it, at any depth."""

    def json(self) -> dict[str, Any]:
        """Return the public form."""
        return {
            "path": self.path,
            "line": self.position,
            "namespaces": list(self.namespaces),
            "matchers": list(self.matchers),
            "receivers": [
                {"name": one.name, "destinations": [{"kind": kind, "label": label} for kind, label in one.destinations]}
                for one in self.receivers
            ],
            "continue": self.continues,
            "notify_success": self.notify_success,
            "labels": dict(self.labels),
            "mute_time_intervals": list(self.mute),
            "active_time_intervals": list(self.active),
            "muted": self.muted,
            "routes": [one.json() for one in self.below],
        }


@dataclass(frozen=True, slots=True)
class Mark:
    """What alerts that were tried make of a route."""

    lit: bool
    said: str = ""
    """Why it matched, or what did not."""
    alerts: tuple[int, ...] = ()
    """Numbers, from 1, of those that it matched."""


def tree_of(config: Config, now: datetime) -> Node:
    """Return the whole tree as it stands at a moment."""
    names = {
        name: Named(name, tuple((each.kind, each.label) for each in one.destinations))
        for name, one in config.receivers.items()
    }
    return _node(config.route, config, names, now)


def _node(route: Route, config: Config, names: Mapping[str, Named], now: datetime) -> Node:
    below = tuple(_node(one, config, names, now) for one in route.routes)
    return Node(
        path=route.path,
        position=route.position,
        namespaces=tuple(map(str, route.namespaces)),
        matchers=tuple(map(str, route.matchers)),
        receivers=tuple(names[one] for one in route.receivers),
        continues=route.continue_,
        notify_success=route.notify_success,
        labels=route.labels,
        mute=route.mute_time_intervals,
        active=route.active_time_intervals,
        muted=not lets_through(route, config, now),
        below=below,
        size=sum(1 + one.size for one in below),
    )


def marks_of(explained: tuple[Explained, ...]) -> dict[str, Mark]:
    """Return what the alerts make of each route that was asked, by its path."""
    found: dict[str, Mark] = {}
    for number, one in enumerate(explained, 1):
        for verdict in one.verdicts:
            lit = verdict.matched or verdict.path == "route"  # the root is on every path
            said = verdict.reason if len(explained) == 1 else ""
            old = found.get(verdict.path, Mark(lit=False, said=said))
            found[verdict.path] = Mark(old.lit or lit, said, (*old.alerts, *([number] if lit else [])))
    return found


def why_not(config: Config, receiver: str, one: Explained) -> tuple[str, ...]:
    """Return why an alert does not reach a receiver: a sentence for each route that leads there."""
    if receiver in one.receivers:
        own = [each for each in one.destinations if each.receiver == receiver]
        return ("It does reach it.", *(f"{each.label} is {each.state}: {each.reason}." for each in own))
    quiet = {each.reason for each in one.destinations}
    if not one.receivers and len(quiet) == 1:
        return (f"Nobody is told: {next(iter(quiet))}.",)
    asked = {verdict.path: verdict for verdict in one.verdicts}
    said = [_missed(chain, asked, one) for chain in _chains(config.route, ()) if receiver in chain[-1].receivers]
    if said:
        return tuple(dict.fromkeys(said))
    standing_in = [name for name, each in config.receivers.items() if each.fallback == receiver]
    if standing_in:
        return (f"No route names it: it is told only when {', '.join(standing_in)} cannot be.",)
    return ("No route names it.",)


def _chains(route: Route, above: tuple[Route, ...]) -> Iterator[tuple[Route, ...]]:
    chain = (*above, route)
    yield chain
    for one in route.routes:
        yield from _chains(one, chain)


def _missed(chain: tuple[Route, ...], asked: Mapping[str, Verdict], one: Explained) -> str:
    """Say at which route of a path from the root an alert left it."""
    parent = chain[0]
    for route in chain[1:]:
        verdict = asked.get(route.path)
        wrong = failing(route, one.alert.labels, one.facts)
        if verdict is None:
            taker = next(each for each in parent.routes if asked[each.path].matched and not each.continue_)
            also = f"; and it would not fit: {'; '.join(wrong)}" if wrong else "; else it would fit"
            return f"{_place(route)}: not asked, as {_place(taker)} before it matches and does not continue{also}."
        if not verdict.matched:
            return f"{_place(route)}: {'; '.join(dict.fromkeys((verdict.reason, *wrong)))}."
        parent = route
    below = next((each for each in parent.routes if each.path in asked and asked[each.path].matched), None)
    if below is None:
        return f"{_place(parent)}: it matches."
    if parent is chain[0]:
        return f"{_place(parent)}: it takes only what no route below takes, and {_place(below)} does."
    return f"{_place(parent)}: it matches, but so does {_place(below)} below it, and takes its place."


def _place(route: Route) -> str:
    """Return where a route stands; several may stand in one line."""
    return f"{route.position} ({route.path})"
