"""`/events`: tells open pages which stories have changed, as server-sent events.

One look at the store a second serves all listeners; soon after the last has left nothing is asked. Each listener holds
of each story only the newest change, so one that is slow misses none and costs no more than another.

A listener is told up to where it knows everything: a time of the database, so that any replica can go on from there.
Who comes again within KEPT_S is told what it missed; who was away for longer is to load its page again.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from receiver.clock import Clock
from receiver.guard import Guarding, page
from receiver.metrics import Metrics
from receiver.store import digests, overview, owners, stories
from receiver.store.engine import Conn, Store
from receiver.store.filters import Filter
from receiver.store.overview import Row
from receiver.web.connections import ENDLESS
from receiver.web.pages.site import HEADERS, Site
from receiver.web.pages.stories import MEMBERS, chosen_of
from receiver.web.viewers import Viewer, is_shown, viewer_of
from receiver.wire import clean

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 1.0
LATE_S: Final = 5.0
"""So much earlier than the newest change a look begins: a change is seen when its transaction is over."""
KEPT_S: Final = 45.0
"""So far back it is known what changed: whoever hears only the beat may have been told BEAT_S ago how far it is."""
MOST_KEPT: Final = 2_000
"""Stories that changed within that; where there are more, it is known for less far back."""
LINGERS_S: Final = 15.0
"""So long looks go on when nobody listens: most of those who leave come again."""
RETRY_MS: Final = 2_000
BEAT_S: Final = 15.0
"""A proxy closes what is silent for longer than it likes."""
ENDS_S: Final = 300.0
"""Then a listener comes again, and is asked again who it is."""
MOST: Final = 200
"""Listeners."""
MOST_WAITING: Final = 500
"""Stories that a listener has not been told of yet; beyond them it is told to load its page again."""
AT_ONCE: Final = 200


class Lively(Guarding, Protocol):
    """What is listened to: `receiver.service.Service`."""

    clock: Clock
    store: Store | None
    metrics: Metrics


@dataclass(eq=False, slots=True)
class _Listener:
    viewer: Viewer
    story: str = ""
    """Its page is open; empty: the list is."""
    wanted: Filter = field(default_factory=Filter)
    waiting: dict[str, Row] = field(default_factory=dict)
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    too_much: bool = False
    told: float | None = None
    """Up to this database time it was told everything before it came again; None: its page was just made."""

    def take(self, row: Row) -> None:
        if self.story and row.id != self.story:
            return
        self.waiting[row.id] = row
        if len(self.waiting) > MOST_WAITING:
            self.waiting.clear()
            self.too_much = True
        self.woken.set()


class Live:
    """All listeners of this process."""

    def __init__(self, service: Lively, site: Site) -> None:
        self._service = service
        self._site = site
        self._listeners: set[_Listener] = set()
        self._looking: asyncio.Task[None] | None = None
        self._since: float | None = None
        """Database time from which on the next look reads; None: nobody listened."""
        self._looked = asyncio.Event()
        """Is `_since` known?"""
        self._back = 0.0
        """Database time since which `_seen` holds all that changed."""
        self._seen: dict[str, Row] = {}
        """What changed lately, in the order of its change."""
        self._left: float | None = None
        """When it was first seen that nobody listens, on the monotonic clock."""
        self._rendered: dict[Row, str] = {}

    def routes(self) -> list[Route]:
        """Return the address."""
        return [Route("/events", page(self._service, self._events, HEADERS))]

    async def aclose(self) -> None:
        """End the looks."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _events(self, request: Request) -> Response:
        store, viewer = self._service.store, viewer_of(request)
        if store is None:
            return JSONResponse({"error": "not ready"}, 503, HEADERS)
        if len(self._listeners) >= MOST:
            return JSONResponse({"error": f"{MOST} pages listen already; load the page again instead"}, 503, HEADERS)
        story = clean(request.query_params.get("story", ""))
        if story and not (await _is_there(store, story) and await is_shown(viewer, store, story)):
            return JSONResponse({"error": "no story has this id"}, 404, HEADERS)
        try:
            wanted = Filter() if story else chosen_of(request, None).filter
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400, HEADERS)
        request.scope[ENDLESS] = True
        listener = _Listener(viewer, story, wanted, told=_told(request.headers.get("last-event-id", "")))
        headers = {**HEADERS, "X-Accel-Buffering": "no"}
        return StreamingResponse(self._said(listener), media_type="text/event-stream", headers=headers)

    async def _said(self, listener: _Listener) -> AsyncIterator[str]:
        now = self._service.clock.monotonic
        ends = now() + ENDS_S
        self._listeners.add(listener)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_for_ever(), name="live")
        try:
            yield f"retry: {RETRY_MS}\n\n"
            while self._since is None and now() < ends:
                if not await _comes(self._looked):
                    yield ":\n\n"
            self._catch_up(listener)
            yield self._up_to_here()
            while now() < ends:
                if await _comes(listener.woken):
                    listener.woken.clear()
                    reload, listener.too_much = listener.too_much, False
                    rows, listener.waiting = tuple(listener.waiting.values()), {}
                    here = self._up_to_here()  # as of now: more may be seen while these are said
                    if reload:
                        yield "event: reload\ndata: {}\n\n"
                    for text in await self._for(listener, rows):
                        yield text
                    yield here
                else:
                    yield self._up_to_here()
            if not listener.woken.is_set():
                yield self._up_to_here()
        finally:
            self._listeners.discard(listener)

    def _catch_up(self, listener: _Listener) -> None:
        """Tell what changed while a page was on its way, or since it last listened."""
        if listener.told is not None and listener.told <= self._back:
            listener.too_much = True
            listener.woken.set()
            return
        since = listener.told if listener.told is not None else self._since or 0.0
        for row in self._seen.values():
            if row.updated >= since:
                listener.take(row)

    def _up_to_here(self) -> str:
        """Return how a listener is told up to where it knows all that it was not told of in this moment."""
        return f"id: {self._since or 0.0!r}\n\n"

    async def _for(self, listener: _Listener, rows: tuple[Row, ...]) -> list[str]:
        owners = {(row.cluster, row.namespace) for row in rows}
        allowed = await listener.viewer.allowed(owners)
        said = []
        for row in rows:
            if (row.cluster, row.namespace) not in allowed:
                continue
            data: dict[str, object] = {"id": row.id, "revision": row.revision, "opened": row.opened}
            if not listener.story:
                fits, sure = fits_now(listener.wanted, row)
                data |= {"html": self._html(row) if fits else "", "known": not sure}
            said.append(f"event: story\ndata: {json.dumps(data)}\n\n")
        return said

    def _html(self, row: Row) -> str:
        """Return the line of a story, made once for all listeners."""
        if row not in self._rendered:
            self._rendered[row] = self._line(row, ())
        return self._rendered[row]

    def _line(self, row: Row, members: Sequence[Row]) -> str:
        return self._site.fragment("story_row.html", "story_row", row, members)

    async def _look_for_ever(self) -> None:
        """Look while somebody listens, and a little longer."""
        while self._is_wanted():
            store = self._service.store
            try:
                if store is not None:
                    await self._look(store)
            except Exception:
                self._service.metrics.bugs.labels("live").inc()
                log.exception("live.bug")
            await self._service.clock.sleep(LOOK_EVERY_S)
        self._looked.clear()
        self._since, self._seen, self._rendered = None, {}, {}

    def _is_wanted(self) -> bool:
        """Does somebody listen, or did lately?"""
        now = self._service.clock.monotonic()
        if self._listeners:
            self._left = None
        elif self._left is None:
            self._left = now
        return self._left is None or now - self._left < LINGERS_S

    async def _look(self, store: Store) -> None:
        """Tell what has changed since the look before."""
        since, seen = self._since, self._seen

        async def read(conn: Conn) -> tuple[float, list[Row], dict[str, tuple[Row, ...]]]:
            now = await stories.now_of(conn)
            at, found, last = since if since is not None else now - KEPT_S, list[Row](), ""
            while True:
                some = await overview.changed_since(conn, at, after=last, limit=AT_ONCE)
                found += some
                if len(some) < AT_ONCE:
                    break
                at, last = some[-1].updated, some[-1].id
            storms = [row.id for row in found if row.kind == digests.KIND and seen.get(row.id) != row]
            return now, found, {one: await overview.members(conn, one, MEMBERS) for one in storms}

        now, found, storms = await store.browse(read)
        news = [row for row in found if seen.get(row.id) != row]
        for row in news:
            if since is not None or row.id in storms:  # at first there may be many that nobody asks for
                self._rendered[row] = self._line(row, storms.get(row.id, ()))
        if since is not None:  # else they take what concerns them once all is known
            for row in news:
                for listener in self._listeners:
                    listener.take(row)
        self._keep(now, found)
        kept = {*self._seen.values(), *(row for one in self._listeners for row in one.waiting.values())}
        self._rendered = {row: html for row, html in self._rendered.items() if row in kept}
        self._since = now - LATE_S
        self._looked.set()

    def _keep(self, now: float, found: Sequence[Row]) -> None:
        """Remember what was found for who comes again; what is too old or too much is forgotten, the oldest first."""
        back = now - KEPT_S if self._since is None else max(self._back, now - KEPT_S)
        every = sorted({**self._seen, **{row.id: row for row in found}}.values(), key=lambda row: row.updated)
        if len(every) > MOST_KEPT:
            back = max(back, every[-MOST_KEPT - 1].updated)
            every = every[-MOST_KEPT:]
        self._seen = {row.id: row for row in every if row.updated >= back}
        self._back = back


def _told(last: str) -> float | None:
    """Return up to where a listener was told everything before; None: it never was. What it cannot have: nothing."""
    if not last:
        return None
    try:
        told = float(last)
    except ValueError:
        return 0.0
    return told if math.isfinite(told) else 0.0


async def _comes(event: asyncio.Event) -> bool:
    """Wait for something for BEAT_S at most."""
    try:
        async with asyncio.timeout(BEAT_S):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def _is_there(store: Store, story: str) -> bool:
    return bool(await store.browse(lambda conn: owners.of_stories(conn, [story])))


def fits_now(wanted: Filter, row: Row) -> tuple[bool, bool]:
    """Tell whether a story belongs into a list, and whether that is sure: labels and words only the store can judge.

    Of those that are not sure only lines that stand there already are to be changed.
    """
    by_column = (
        (wanted.states, row.state),
        (wanted.impacts, row.impact),
        (wanted.namespaces, row.namespace),
        (wanted.causes, row.cause),
        (wanted.clusters, row.cluster),
        (wanted.severities, row.severity),
    )
    fits = all(not values or value in values for values, value in by_column)
    told = not wanted.receivers or not set(wanted.receivers).isdisjoint(row.receivers)
    over = row.kind == digests.KIND and row.state == "resolved"
    return fits and told and not over, not wanted.matchers and not wanted.text
