"""`route:` and `time_intervals:` → the routing tree, with Alertmanager's rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from receiver.config.matching import check_names, read_globs, read_matchers
from receiver.config.model import Receiver, Route
from receiver.config.positions import Path
from receiver.config.problems import Problems, dotted
from receiver.config.reader import Reader, split_message
from receiver.config.wire import NamedIntervalsWire, RouteWire
from receiver.routing.intervals import IntervalError, TimeInterval, parse_time_interval
from receiver.routing.matchers import Glob, Matcher
from receiver.routing.syntax import quoted

_NO_EFFECT: Final = ("group_by", "group_wait", "group_interval", "repeat_interval")
_CONDITIONS: Final = ("matchers", "namespaces", "match", "match_re")
_KEYS: Final = frozenset(RouteWire.written_keys())
_ROOT_HAS_NO: Final = (*_CONDITIONS, "mute_time_intervals", "active_time_intervals")
_OF_NAMESPACES: Final = ("namespace_label_", "namespace_annotation_", "namespace_receiver", "namespace_slack_channel")


@dataclass(frozen=True, slots=True)
class Names:
    """What routes may refer to."""

    receivers: Mapping[str, Receiver | None]
    """None for a receiver that is there, but wrong: said elsewhere."""
    intervals: Mapping[str, Any]
    plan_alerts: frozenset[str]
    """Alert names that are about plans."""
    reads_namespaces: bool = False
    """Are labels and annotations of namespaces known?"""


def read_route(raw: Any, path: Path, reader: Reader, names: Names) -> Route | None:
    """Return the tree with inherited values filled in, or None where its root cannot be used."""
    data = reader.mapping(raw, path)
    if not data:
        if isinstance(raw, Mapping):
            reader.problems.add(
                path, "receiver is missing", "add receiver: NAME, who is told what matches nothing else"
            )
        return None
    for key in _ROOT_HAS_NO:
        if key in data:
            what = "the root route takes everything, so it has none of its own"
            reader.problems.add((*path, key), what, "move it into an entry of routes:", on_key=True)
    root = {key: value for key, value in data.items() if key not in _ROOT_HAS_NO}
    if "receiver" not in root:
        reader.problems.add(path, "receiver is missing", "add receiver: NAME, who is told what matches nothing else")
    if str(root.get("continue", "false")).lower() not in ("false", "no", "off"):
        reader.problems.add((*path, "continue"), "nothing comes after the root route", "remove it", on_key=True)
    return _node(root, path, reader, names, None, ())


def _node(
    raw: Mapping[str, Any], path: Path, reader: Reader, names: Names, parent: Route | None, above: tuple[Matcher, ...]
) -> Route | None:
    problems = reader.problems
    wire = reader.read(RouteWire, raw, path)
    if wire is None:
        return None
    for key in _NO_EFFECT:
        if key in raw:
            what = "no effect: a story is one subject, storms become digests"
            problems.warn((*path, key), what, "remove it")
    for key, op in (("match", "="), ("match_re", "=~")):
        if key in raw and parent is not None:
            problems.add((*path, key), "refused, as Alertmanager has deprecated it", _cure(raw[key], op), on_key=True)
    matchers = read_matchers(wire.matchers, (*path, "matchers"), problems)
    namespaces: tuple[Glob, ...] = read_globs(wire.namespaces, (*path, "namespaces"), problems)
    if parent is not None and "namespaces" in raw and not wire.namespaces and raw["namespaces"] is not None:
        problems.add((*path, "namespaces"), "empty: matches no namespace at all", "name a glob, or remove it")
    _warn_of_namespace(matchers, (*above, *matchers), (*path, "matchers"), names, problems)
    if not names.reads_namespaces and (unknown := [one for one in matchers if one.name.startswith(_OF_NAMESPACES)]):
        what = f"{unknown[0].name} is never known: namespaces are not read"
        problems.warn(
            (*path, "matchers"), what, "add namespace_routing: {}, and the rights for it (docs/self-service.md)"
        )
    if names.receivers:  # without any, that is the problem, and said
        check_names(wire.receiver, names.receivers, "receiver", (*path, "receiver"), problems)
    for key, used in (
        ("mute_time_intervals", wire.mute_time_intervals),
        ("active_time_intervals", wire.active_time_intervals),
    ):
        check_names(used, names.intervals, "time interval", (*path, key), problems)
    if "receiver" in raw and not wire.receiver and isinstance(raw["receiver"], list):
        problems.add((*path, "receiver"), "empty", "name a receiver, or remove the line to inherit it")
    node = Route(
        receivers=tuple(dict.fromkeys(wire.receiver)) or (parent.receivers if parent else ()),
        matchers=matchers,
        namespaces=namespaces,
        continue_=wire.continue_,
        labels={**(parent.labels if parent else {}), **wire.labels},
        mute_time_intervals=wire.mute_time_intervals,
        active_time_intervals=wire.active_time_intervals,
        notify_success=wire.notify_success,
        path=dotted(path),
        position=problems.position(path),
    )
    children: list[Route] = []
    taken = ""
    below = raw.get("routes")
    for at, item in enumerate(below if isinstance(below, list) else ()):
        where = (*path, "routes", at)
        data = reader.mapping(item, where)
        child = _node(data, where, reader, names, node, (*above, *matchers))
        if child is None:
            continue
        if taken:
            what = f"never reached: the route in {taken} before it takes everything"
            problems.warn(where, what, "put it first, or give that one continue: true")
        elif data.keys() <= _KEYS and not any(data.get(key) for key in _CONDITIONS) and not child.continue_:
            taken = child.position
            if parent is None and problems.origin(where):
                what = "takes all that no route before it takes, of other teams as well"
                problems.warn(where, what, "give it namespaces or matchers, or continue: true")
        children.append(child)
    return replace(node, routes=tuple(children))


def _warn_of_namespace(
    own: Sequence[Matcher], whole: Sequence[Matcher], path: Path, names: Names, problems: Problems
) -> None:
    """Warn of `namespace` in a route that plan alerts can reach: there it is the scraped pod's, so Forklift's own."""
    on_namespace = [matcher for matcher in own if matcher.name == "namespace"]
    if not on_namespace:
        return
    for name in names.plan_alerts:
        if all(matcher.matches({"alertname": name}) for matcher in whole if matcher.name == "alertname"):
            break
    else:
        return
    value = on_namespace[0].value
    cure = f"namespaces: [{value!r}]" if on_namespace[0].op == "=" else "namespaces: with globs such as 'payments-*'"
    problems.warn(
        path,
        "for plan alerts, the label namespace is Forklift's own and says nothing about whose plan it is",
        f"write {cure}, which looks at the plan",
    )


def _cure(raw: Any, op: str) -> str:
    if not isinstance(raw, Mapping) or not raw:
        return """write matchers: ['severity="critical"']"""
    texts = (f"{name}{op}{quoted('' if value is None else str(value))}" for name, value in raw.items())
    return f"write matchers: [{', '.join(_single_quoted(text) for text in texts)}]"


def _single_quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def read_time_intervals(raw: Any, path: Path, reader: Reader) -> dict[str, tuple[TimeInterval, ...]]:
    """Return the time intervals by name."""
    found: dict[str, tuple[TimeInterval, ...]] = {}
    places: dict[str, Path] = {}
    for at, item in enumerate(reader.sequence(raw, path)):
        where = (*path, at)
        data = reader.mapping(item, where)
        wire = reader.read(NamedIntervalsWire, data, where) if data else None
        if wire is None:
            continue
        if wire.name in found:
            first = reader.problems.seen_from((*places[wire.name], "name"), where)
            what = f"the name {wire.name!r} is taken by the one in {first}"
            reader.problems.add((*where, "name"), what, "join the two, or rename one")
            continue
        if not wire.time_intervals and "time_intervals" in data:
            reader.problems.add((*where, "time_intervals"), "empty: never holds", "give at least one interval")
        places[wire.name] = where
        found[wire.name] = _intervals(wire, where, reader)
    return found


def _intervals(wire: NamedIntervalsWire, path: Path, reader: Reader) -> tuple[TimeInterval, ...]:
    read: list[TimeInterval] = []
    for number, spec in enumerate(wire.time_intervals):
        try:
            read.append(parse_time_interval(spec))
        except IntervalError as error:
            where = (*path, "time_intervals", number, *error.path)
            reader.problems.add(where, *split_message(str(error)))
    return tuple(read)
