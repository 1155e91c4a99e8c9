"""`/`: the stories, open ones first of all, with filters that are links; live where scripts run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from receiver.guard import Guarding
from receiver.guard import page as guarded
from receiver.model import Impact, StoryState
from receiver.store import digests, filters, overview
from receiver.store.engine import Conn, Store
from receiver.store.filters import Filter
from receiver.store.overview import Counts
from receiver.web.lately import Lately
from receiver.web.pages.site import HEADERS, Served, Site
from receiver.web.paging import BadCursorError, cursor_of, read_cursor
from receiver.web.viewers import sight, viewer_of

ON_A_PAGE: Final = 50
MEMBERS: Final = 100
SHOWN_COUNTS: Final = 12
OPEN: Final = (StoryState.FIRING.value, StoryState.RERUNNING.value)
STATES: Final = (
    ("", "Open"),
    (StoryState.FIRING.value, "Firing"),
    (StoryState.RERUNNING.value, "Re-running"),
    (StoryState.RESOLVED.value, "Closed"),
    ("all", "All"),
)
NO_CAUSE: Final = 'cause=""'
"""A matcher."""
KEYS: Final = ("state", "impact", "receiver", "namespace", "cause", "cluster", "severity", "matcher", "q")


class Listed(Guarding, Served, Protocol):
    """What is listed: `receiver.service.Service`."""

    store: Store | None


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the address asks for."""

    filter: Filter
    said: Mapping[str, Sequence[str]]
    """The same as it stands in the address."""


def routes(service: Listed, site: Site) -> list[Route]:
    """Return the address."""
    # Counting costs more than the list itself.
    sums: Lately[Filter, Counts] = Lately(service.clock)

    async def listed(request: Request) -> Response:
        store = service.store
        if store is None:
            return site.page(request, "error.html", 503, said="Not ready yet", cure="Try again in a moment.")
        viewer = viewer_of(request)
        sees = await sight(viewer, store)
        wrong = ""
        try:
            chosen = chosen_of(request, sees)
        except ValueError as error:
            wrong, chosen = str(error), Chosen(Filter(states=OPEN, sees=sees), said_of(request))
        try:
            before = read_cursor(request.query_params.get("cursor", ""))
        except BadCursorError as error:
            wrong, before = wrong or str(error), None

        async def read(conn: Conn) -> dict[str, Any]:
            found = await overview.overview(conn, chosen.filter, before, ON_A_PAGE)
            members = {
                one.id: await overview.members(conn, one.id, MEMBERS, sees=sees)
                for one in found.rows
                if one.kind == digests.KIND
            }
            # The numbers beside the states are those of all of them.
            every = replace(chosen.filter, states=())
            counts = await sums.of(every, lambda: overview.counts(conn, every))
            return {"found": found, "members": members, "counts": counts}

        values = await store.browse(read)
        found = values["found"]
        return site.page(
            request, "stories.html", 400 if wrong else 200, **values, said=chosen.said, wrong=wrong, states=STATES,
            impacts=[one.value for one in Impact], query=request.query_params.get("q", ""), notes=viewer.notes,
            older=cursor_of(found.next) if found.next else "", first=before is None, shown_counts=SHOWN_COUNTS,
            without=lambda key, value="": without(chosen.said, key, value),
            adding=lambda key, value: {**chosen.said, key: [value]},
            tallied=lambda key, name: tallied(chosen.said, key, name),
        )  # fmt: skip

    return [Route("/", guarded(service, listed, HEADERS))]


def said_of(request: Request) -> dict[str, list[str]]:
    """Return the filters that an address holds, without empty ones."""
    found = {key: [one for one in request.query_params.getlist(key) if one.strip()] for key in KEYS}
    return {key: values for key, values in found.items() if values}


def chosen_of(request: Request, sees: frozenset[tuple[str, str]] | None) -> Chosen:
    """Return what is asked for; open stories where no state is named. Raises ValueError with the cure."""
    said = said_of(request)
    states = said.get("state", [])
    pairs = [(key, one) for key, values in said.items() for one in values if key != "state"]
    pairs += [("state", one) for one in (OPEN if not states else () if "all" in states else states)]
    return Chosen(replace(filters.parse(pairs), sees=sees), said)


def tallied(said: Mapping[str, Sequence[str]], key: str, name: str) -> dict[str, list[str]]:
    """Return the filters that show what a sum of open stories counts; nothing where none can say it.

    No label of a cause stands beside what the list knows, so a matcher finds those that have none. A namespace that is
    not known may yet be one that the alert names.
    """
    others = {one: list(values) for one, values in said.items() if one not in ("state", key)}
    if name:
        return {**others, key: [name]}
    return {**others, "matcher": [*others.get("matcher", []), NO_CAUSE]} if key == "cause" else {}


def without(said: Mapping[str, Sequence[str]], key: str, value: str = "") -> dict[str, list[str]]:
    """Return the filters but for one, or for all of one key."""
    found = {name: [one for one in values if name != key or (value and one != value)] for name, values in said.items()}
    return {name: values for name, values in found.items() if values}
