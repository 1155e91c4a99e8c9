"""Which destinations an alert reaches, and why: a pure function of labels, facts and configuration.

Semantics are Alertmanager's (depth first, the first matching child wins unless it says `continue`), with one key of our
own: `namespaces`, globs on the owner namespace, which an unknown namespace never matches. What the owners of the
namespace chose (`receiver.routing.wishes`) is told besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from receiver.config.model import Config, DestinationConfig, Route
from receiver.model import Reason
from receiver.routing.wishes import Wish, wishes

ASKED: Final = "namespace_routing"
"""The path of verdicts on what the owners of a namespace ask for."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one route said to one alert."""

    path: str
    position: str
    matched: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Intervals:
    """The time intervals of one route that chose a destination."""

    mute: tuple[str, ...] = ()
    active: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """A destination that is to be told, each once, with every reason."""

    config: DestinationConfig
    reasons: tuple[Reason, ...]
    intervals: tuple[Intervals, ...]


@dataclass(frozen=True, slots=True)
class Routed:
    """Where one alert goes."""

    targets: tuple[Target, ...]
    verdicts: tuple[Verdict, ...]
    labels: Mapping[str, str]
    """Labels set by the routes on the way."""
    notify_success: bool
    """A route that matched wants to hear of successes."""
    chosen: tuple[str, ...] = ()
    """Receivers and channels that the owners of the namespace chose besides."""


def route(labels: Mapping[str, str], facts: Mapping[str, str], config: Config) -> Routed:
    """Judge one alert. An alert's own labels win over facts of the same name; what is unknown is the empty string."""
    view = {**facts, **labels}
    verdicts: list[Verdict] = []
    reached = list(_walk(config.route, view, facts, verdicts, root=True))
    targets: dict[str, Target] = {}
    route_labels: dict[str, str] = {}
    for node, reason in reached:
        route_labels.update(node.labels)
        intervals = Intervals(node.mute_time_intervals, node.active_time_intervals)
        why = Reason(node.position, reason)
        for name in node.receivers:
            _add(targets, config.receivers[name].destinations, why, intervals)
    chosen: dict[str, None] = {}
    for wish, verdict in _wishes(facts, config):
        verdicts.append(verdict)
        _add(targets, wish.destinations, Reason(verdict.position, verdict.reason), Intervals())
        chosen |= {wish.receiver: None} if verdict.matched else {}
    return Routed(
        targets=tuple(targets.values()),
        verdicts=tuple(verdicts),
        labels=route_labels,
        notify_success=any(node.notify_success for node, _ in reached),
        chosen=tuple(chosen),
    )


def _add(
    targets: dict[str, Target], destinations: Iterable[DestinationConfig], why: Reason, intervals: Intervals
) -> None:
    for one in destinations:
        old = targets.get(one.identity)
        if old is None:
            targets[one.identity] = Target(one, (why,), (intervals,))
        elif why not in old.reasons:
            targets[one.identity] = Target(old.config, (*old.reasons, why), (*old.intervals, intervals))


def _wishes(facts: Mapping[str, str], config: Config) -> Iterator[tuple[Wish, Verdict]]:
    rules = config.namespace_routing
    namespace = facts.get("owner_namespace", "")
    if rules is None:
        return
    for wish in wishes(facts, config):
        said = f"namespace {namespace} asks for {wish.text}" + (f": {wish.refused}" if wish.refused else "")
        yield wish, Verdict(ASKED, rules.position, not wish.refused, said)


def _walk(
    node: Route, view: Mapping[str, str], facts: Mapping[str, str], verdicts: list[Verdict], *, root: bool = False
) -> Iterator[tuple[Route, str]]:
    matched, reason = (True, "root route: nothing below matched") if root else _judge(node, view, facts)
    at = len(verdicts)
    if not root:
        verdicts.append(Verdict(node.path, node.position, matched, reason))
    if not matched:
        return
    found = False
    for child in node.routes:
        child_found = False
        for hit in _walk(child, view, facts, verdicts):
            found = child_found = True
            yield hit
        if child_found and not child.continue_:
            break
    if not found:
        if root:
            verdicts.insert(at, Verdict(node.path, node.position, True, reason))
        yield node, reason
    elif root:
        verdicts.insert(at, Verdict(node.path, node.position, False, "root route: a route below matched"))


def nodes(node: Route) -> Iterator[Route]:
    """Yield a route and all below it."""
    yield node
    for child in node.routes:
        yield from nodes(child)


def failing(node: Route, labels: Mapping[str, str], facts: Mapping[str, str]) -> tuple[str, ...]:
    """Return every condition of a route that does not hold, and what it met; those of the routes above do not count."""
    return tuple(_failing(node, {**facts, **labels}, facts))


def _failing(node: Route, view: Mapping[str, str], facts: Mapping[str, str]) -> Iterator[str]:
    for matcher in node.matchers:
        if not matcher.matches(view):
            yield f"{matcher} does not match {_quoted(view.get(matcher.name, ''))}"
    namespace = facts.get("owner_namespace", "")
    if node.namespaces and not namespace:
        yield "the owner namespace is not known"
    elif node.namespaces and not any(glob.matches(namespace) for glob in node.namespaces):
        yield f"namespace {namespace} matches none of {', '.join(str(glob) for glob in node.namespaces)}"


def _judge(node: Route, view: Mapping[str, str], facts: Mapping[str, str]) -> tuple[bool, str]:
    wrong = next(_failing(node, view, facts), "")
    if wrong:
        return False, wrong
    words = [str(matcher) for matcher in node.matchers]
    if node.namespaces:
        namespace = facts["owner_namespace"]
        hit = next(glob for glob in node.namespaces if glob.matches(namespace))
        which = "target namespace" if namespace != facts.get("plan_namespace", namespace) else "namespace"
        words.insert(0, f"{which} {namespace} matches {hit}")
    return True, " and ".join(words) if words else "a route without matchers matches everything"


def _quoted(value: str) -> str:
    return f'"{value}"' if value else "an empty or missing label"


def lets_through(node: Route, config: Config, now: datetime) -> bool:
    """Do a route's own time intervals let a first message through now?"""
    return _lets_through(Intervals(node.mute_time_intervals, node.active_time_intervals), config, now)


def allowed(intervals: tuple[Intervals, ...], config: Config, now: datetime) -> bool:
    """May a root be made now? Any route that lets it through is enough; mute wins over active within a route."""
    return not intervals or any(_lets_through(one, config, now) for one in intervals)


def _lets_through(one: Intervals, config: Config, now: datetime) -> bool:
    def inside(names: tuple[str, ...]) -> bool:
        return any(spec.contains(now) for name in names for spec in config.time_intervals.get(name, ()))

    return not inside(one.mute) and (not one.active or inside(one.active))
