"""Which stories people want to see: what the story list's address says, read once for pages, API and live updates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, exists, false, func, literal_column, or_

from receiver.model import Impact, StoryState
from receiver.routing.matchers import Matcher, MatcherError, parse_matchers
from receiver.store import search
from receiver.store.engine import Conn
from receiver.store.schema import deliveries, stories
from receiver.wire import clean

MATCHER_CHARACTERS: Final = 2_000
MOST_MATCHERS: Final = 20
MOST_VALUES: Final = 100
OPEN: Final = (StoryState.FIRING.value, StoryState.RERUNNING.value)
_CLOSED: Final = StoryState.RESOLVED.value
# Written out, since a partial index is used only where the condition stands in the statement itself.
IS_OPEN: Final[ColumnElement[bool]] = stories.c.state != literal_column(f"'{_CLOSED}'")
_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "state": tuple(one.value for one in StoryState),
    "impact": tuple(one.value for one in Impact),
}
_FIELDS: Final[Mapping[str, str]] = {
    "state": "states",
    "impact": "impacts",
    "receiver": "receivers",
    "namespace": "namespaces",
    "cause": "causes",
    "cluster": "clusters",
    "severity": "severities",
}
_POSITIVE: Final = frozenset({"=", "=~"})


@dataclass(frozen=True, slots=True)
class Filter:
    """Which stories are wanted: every field that is not empty must hold, by any of its values."""

    states: tuple[str, ...] = ()
    impacts: tuple[str, ...] = ()
    receivers: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    severities: tuple[str, ...] = ()
    matchers: tuple[Matcher, ...] = ()
    """All of them must match (see `matches`)."""
    text: str = ""
    """Words that the search must find (see `receiver.store.search`)."""
    sees: frozenset[tuple[str, str]] | None = None
    """Pairs of cluster and namespace whose stories may be shown at all; None: everything."""


def parse(pairs: Iterable[tuple[str, str]], *, sees: frozenset[tuple[str, str]] | None = None) -> Filter:
    """Read a query: the names of `_FIELDS`, `matcher` and `q`, each repeated as often as wanted; others are ignored.

    Empty values say nothing, as an empty field of a form does. Who asks comes from elsewhere: `sees`. Raises ValueError
    with what is wrong and its cure.
    """
    chosen: dict[str, list[str]] = defaultdict(list)
    matchers: list[Matcher] = []
    texts: list[str] = []
    for name, raw in pairs:
        if not raw.strip():
            continue
        value = clean(raw)
        if name in _FIELDS:
            if value and (known := _WORDS.get(name)) is not None and value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}")
            chosen[_FIELDS[name]].append(value)
        elif name == "matcher":
            matchers += _matchers(value)
        elif name == "q":
            texts.append(value)
    for name, values in chosen.items():
        if len(values) > MOST_VALUES:
            raise ValueError(f'more than {MOST_VALUES} {name}: write a matcher such as {{namespace=~"pay.*"}} instead')
    if len(matchers) > MOST_MATCHERS:
        raise ValueError(f"more than {MOST_MATCHERS} matchers: join some of them with a regular expression")
    fields: dict[str, Any] = {name: tuple(dict.fromkeys(values)) for name, values in chosen.items()}
    return Filter(**fields, matchers=tuple(matchers), text=" ".join(texts)[: search.QUERY_CHARACTERS], sees=sees)


def _matchers(value: str) -> tuple[Matcher, ...]:
    if len(value) > MATCHER_CHARACTERS:
        raise ValueError(f"matcher: longer than {MATCHER_CHARACTERS} characters, write less")
    try:
        return parse_matchers(value)
    except MatcherError as error:
        raise ValueError(f"matcher: {error}") from None


def conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    """Return what the database can judge: everything but the matchers."""
    found = _by_column(wanted)
    if (holds := search.holds(wanted.text, found)) is not None:
        found.append(holds)
    return found


async def is_cut(conn: Conn, wanted: Filter) -> bool:
    """Tell whether more stories hold the words that are wanted than are looked at."""
    return await search.is_cut(conn, wanted.text, _by_column(wanted))


def _by_column(wanted: Filter) -> list[ColumnElement[bool]]:
    """Return what can be said of a story without its words."""
    c = stories.c
    found: list[ColumnElement[bool]] = []
    if wanted.states:
        found += _in_state(frozenset(wanted.states))
    for column, values in (
        (c.impact, wanted.impacts),
        (c.namespace, wanted.namespaces),
        (c.cause, wanted.causes),
        (c.cluster, wanted.clusters),
        (c.severity, wanted.severities),
    ):
        if values:
            # One value as such: the database then takes the rows from an index in the order of the page.
            found.append(column == values[0] if len(values) == 1 else column.in_(values))
    if wanted.receivers:
        told = and_(deliveries.c.story == c.id, deliveries.c.moved == "")
        found.append(exists().where(told, deliveries.c.receiver.in_(wanted.receivers)))
    if wanted.sees is not None:
        found.append(_seen(wanted.sees))
    return found


def _in_state(states: frozenset[str]) -> list[ColumnElement[bool]]:
    if states == frozenset(OPEN):
        return [IS_OPEN]
    if len(states) == 1:
        return [stories.c.state.in_(states)]
    # The function keeps a database from taking all rows of each state and sorting them, instead of the newest ones.
    return [func.coalesce(stories.c.state, "").in_(sorted(states))]


def _seen(pairs: frozenset[tuple[str, str]]) -> ColumnElement[bool]:
    by_cluster: dict[str, list[str]] = defaultdict(list)
    for cluster, namespace in sorted(pairs):
        by_cluster[cluster].append(namespace)
    c = stories.c
    return or_(false(), *(and_(c.cluster == one, c.namespace.in_(names)) for one, names in by_cluster.items()))


def matches(matcher: Matcher, values: Mapping[str, tuple[str, ...]]) -> bool:
    """Judge what is known under a name: one value must match, or with != and !~ none may be what is written.

    A name may have several values: `namespace` is what the alert says (that of the exporter) and whom the story is of.
    """
    judged = (matcher.matches({matcher.name: one}) for one in values.get(matcher.name) or ("",))
    return any(judged) if matcher.op in _POSITIVE else all(judged)
