"""`/deliveries`: how destinations do, and the ledger of what was told where; a button gives another try."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from receiver.clock import Clock
from receiver.guard import ADMINS_ONLY, Guarding
from receiver.guard import page as guarded
from receiver.model import DeliveryState
from receiver.store import ledger, needing, retrying
from receiver.store.engine import Conn, Store
from receiver.store.ledger import Line, Wanted
from receiver.store.links import link_of
from receiver.store.listing import shown_state
from receiver.store.owners import Owner
from receiver.store.retrying import NotRetryableError, Pick
from receiver.web.destinations_api import Named, Shown, table
from receiver.web.lately import Lately
from receiver.web.pages.site import HEADERS, Served, Site
from receiver.web.pages.story import SOMEBODY, form
from receiver.web.paging import BadCursorError, read_cursor
from receiver.web.paging import cursor_of as cursor
from receiver.web.viewers import sight, viewer_of
from receiver.wire import clean

ON_A_PAGE: Final = 50
NAMED: Final = 20
"""Deliveries that a question names before it is asked for all of them."""
MAX_DIGITS: Final = 9
PATH: Final = "/deliveries"
RETRY: Final = "/deliveries/retry"
ATTENTION: Final = tuple(one.value for one in needing.STATES)
"""What is shown where no state is named."""
STATES: Final = (
    *ATTENTION,
    *(one.value for one in DeliveryState if one.value not in ATTENTION),
)
KEYS: Final = ("state", "receiver", "destination", "kind", "story")
MAX_VALUE: Final = 500


class Listed(Guarding, Served, Protocol):
    """What is listed: `receiver.service.Service`."""

    clock: Clock
    store: Store | None


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the address asks for."""

    wanted: Wanted
    said: Mapping[str, Sequence[str]]
    """The same as it stands in the address."""
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """A line of the ledger."""

    line: Line
    state: str
    url: str
    key: str
    reasons: tuple[str, ...]
    retryable: bool


def routes(service: Listed, site: Site) -> list[Route]:
    """Return the addresses."""
    pages = DeliveryPages(service, site)
    return [
        Route(PATH, guarded(service, pages.listed, HEADERS)),
        Route(RETRY, guarded(service, pages.asked, HEADERS), methods=["GET"]),
        Route(RETRY, guarded(service, pages.retried, HEADERS), methods=["POST"]),
    ]


class DeliveryPages:
    """The list, the question before many are tried again, and what the answer does."""

    def __init__(self, service: Listed, site: Site) -> None:
        self._service = service
        self._site = site
        self._named = Named(service.clock)
        self._counts: Lately[tuple[Wanted, frozenset[Owner] | None], Mapping[str, int]] = Lately(service.clock)

    async def listed(self, request: Request) -> Response:
        """The page."""
        store = self._service.store
        if store is None:
            return self._not_ready(request)
        viewer = viewer_of(request)
        sees = await sight(viewer, store)
        chosen = chosen_of(request)
        wrong = chosen.wrong
        try:
            before = read_cursor(request.query_params.get("cursor", ""))
        except BadCursorError as error:
            wrong, before = wrong or str(error), None

        async def read(conn: Conn) -> tuple[ledger.Page, Mapping[str, int]]:
            page = await ledger.page(conn, chosen.wanted, before, ON_A_PAGE, sees=sees)
            every = replace(chosen.wanted, states=())
            counts = await self._counts.of((every, sees), lambda: ledger.counts(conn, every, sees=sees))
            return page, counts

        page, counts = await store.browse(read)
        found = await table(self._service.config, store, viewer, self._named)
        stuck = sum(counts.get(one, 0) for one in ledger.retryable(chosen.wanted.states))
        return self._site.page(
            request, "deliveries.html", 400 if wrong else 200, wrong=wrong, said=chosen.said, counts=counts,
            rows=[_told(one) for one in page.lines], older=cursor(page.next) if page.next else "",
            troubled=[one for one in found.rows if one.troubled],
            working=[one for one in found.rows if not one.troubled],
            seen_at=found.known.now, tries_since=found.known.tries_since, notes=viewer.notes, states=STATES,
            needing=sum(counts.get(one, 0) for one in ATTENTION), total=sum(counts.values()),
            stuck=stuck, may_all=viewer.sees_all, retried=number(request.query_params.get("retried", "")),
            filter_of=lambda one: filter_of(one, found.rows), kinds=sorted({one.kind for one in found.rows}),
            receivers=sorted({one.split("/")[0] for row in found.rows for one in row.names}),
            adding=lambda key, value: {**chosen.said, key: [value]},
            without=lambda key, value="": without(chosen.said, key, value),
        )  # fmt: skip

    async def asked(self, request: Request) -> Response:
        """The question whether all of a filter are to be tried again."""
        store = self._service.store
        if store is None:
            return self._not_ready(request)
        chosen = chosen_of(request)
        refusal = self._refusal(request, chosen)
        if refusal is not None:
            return refusal
        rows = await store.browse(lambda conn: ledger.stuck(conn, chosen.wanted))
        where = Counter(row.label for row in rows).most_common()
        return self._site.page(
            request, "retry.html", number=len(rows), where=where[:NAMED], more=len(where[NAMED:]), said=chosen.said
        )

    async def retried(self, request: Request) -> Response:
        """Let one, or all of a filter, be tried again; leads back to the list."""
        store = self._service.store
        if store is None:
            return self._not_ready(request)
        fields = await form(request)
        chosen = chosen_of(request)
        if fields is None or bool(fields.get("id")) == (fields.get("all") == "yes"):
            return self._site.page(request, "error.html", 400, said="The form could not be read", cure="Go back.")
        one = fields.get("id", "")
        refusal = None if one else self._refusal(request, chosen)
        if refusal is not None:
            return refusal
        viewer, by = viewer_of(request), request.state.user or SOMEBODY
        sees = await sight(viewer, store)

        async def read(conn: Conn) -> list[Pick]:
            return await (retrying.named(conn, [one], sees) if one else ledger.stuck(conn, chosen.wanted))

        try:
            done = len(await retrying.retry_all(store, await store.browse(read), by))
            self._counts.forget()
        except NotRetryableError as error:
            return self._site.page(request, "error.html", 409, said=str(error), cure=_first_up(error.cure) + ".")
        return RedirectResponse(self._site.url(PATH, **chosen.said, retried=done), 303, HEADERS)

    def _refusal(self, request: Request, chosen: Chosen) -> Response | None:
        """Return why somebody may not do something with all of a filter; None where they may."""
        if not viewer_of(request).sees_all:
            cure = f"A filter is {ADMINS_ONLY}. Others give another try to one delivery at a time."
            return self._site.page(request, "error.html", 403, said="Not for all of them", cure=cure)
        if chosen.wrong:
            return self._site.page(request, "error.html", 400, said="The filter makes no sense", cure=chosen.wrong)
        return None

    def _not_ready(self, request: Request) -> Response:
        return self._site.page(request, "error.html", 503, said="Not ready yet", cure="Try again in a moment.")


def chosen_of(request: Request) -> Chosen:
    """Return what is asked for: what needs attention where neither a state nor a story is named."""
    said = {key: [clean(one) for one in request.query_params.getlist(key) if one.strip()] for key in KEYS}
    said = {key: values for key, values in said.items() if values}
    wrong = ""
    if any(len(values) > 1 for key, values in said.items() if key != "state"):
        wrong = "Only a state may be named more than once: leave the others out."
    if any(len(one) > MAX_VALUE for values in said.values() for one in values):
        wrong = f"A filter is longer than {MAX_VALUE} characters: nothing is called like that."
    states = said.get("state", [])
    if unknown := [one for one in states if one not in (*STATES, "all")]:
        wrong = f"There is no state {unknown[0][:40]!r}: there are {', '.join(STATES)}, and all."
    if wrong:
        return Chosen(Wanted(ATTENTION), {}, wrong)
    if not states and "story" not in said:
        states = list(ATTENTION)
    fields = {key: values[0] for key, values in said.items() if key != "state"}
    return Chosen(Wanted(() if "all" in states else tuple(states), **fields), said)


def number(text: str) -> int | None:
    """Return a number that stands in an address; None where that is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS else None


def filter_of(one: Shown, rows: Sequence[Shown]) -> str:
    """Return how the list is asked for a destination: by its name where only it has that, else by its identity."""
    others = [name for row in rows if row is not one for name in row.names]
    return one.names[0] if len(one.names) == 1 and one.names[0] not in others else one.identity


def without(said: Mapping[str, Sequence[str]], key: str, value: str = "") -> dict[str, list[str]]:
    """Return the filters but for one, or for all of one key."""
    found = {name: [one for one in values if name != key or (value and one != value)] for name, values in said.items()}
    return {name: values for name, values in found.items() if values}


def _told(line: Line) -> Told:
    row = line.row
    link = link_of(row)
    reasons = tuple(f"{one.text} ({one.route})" if one.route else one.text for one in row.reasons)
    state = shown_state(row).value
    return Told(line, state, link.url if link else "", link.text if link else "", reasons, retrying.may_be_retried(row))


def _first_up(text: str) -> str:
    return text[:1].upper() + text[1:]
