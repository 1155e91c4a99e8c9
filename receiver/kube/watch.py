"""The watch over all Plans: list, follow, and begin again whatever happens.

Plans are asked for as a Table: an update of a Plan with 500 VMs is then 1.4 KB instead of 0.9 MB. A server that does
not give Tables gets a watch over whole objects.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import structlog

from receiver.kube import ClusterError
from receiver.kube.api import JSON, TABLE, Api, TooLargeError
from receiver.kube.connection import from_status
from receiver.kube.kinds import KINDS
from receiver.kube.plans import PlanEvent, PlanIndex
from receiver.kube.rows import Columns, Listing, columns_of, entries_of, read_entries, version_of

PLAN = KINDS["Plan"]
TABLE_PAGE = 500  # rows of about 1.4 KB
WHOLE_PAGE = 25  # objects of up to 0.9 MB

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WatchTimes:
    """Times of the watch, in seconds."""

    length: int = 300
    """How long the server keeps a watch open before it ends it in good order."""
    silence: float = 15.0
    """A watch without a byte for ``length + silence`` is taken for dead."""
    pause_min: float = 0.2
    pause_max: float = 5.0
    """Between two tries; doubled from the first to the second, times a chance of 0.5 to 1."""
    refused_pause: float = 30.0
    """After "forbidden" or "not found": rights and CRDs do not come faster when asked for more often."""
    lost_after: float = 30.0
    """Away for so long, the index is no longer called synced."""


class PlanWatch:
    """Keeps one index true to one cluster."""

    def __init__(self, api: Api, index: PlanIndex, times: WatchTimes, jitter: Callable[[], float]) -> None:
        self._api = api
        self._index = index
        self._times = times
        self._jitter = jitter
        self._tables = True
        self._columns: Columns = {}
        self._version = ""  # follow from here; empty: list first
        self._failures = 0
        self._told_lost = False
        self._lost_timer: asyncio.TimerHandle | None = None

    async def run(self, on_event: Callable[[PlanEvent], None]) -> None:
        """Follow until cancelled."""
        try:
            while True:
                self._away(on_event)
                try:
                    pause = await self._round(on_event)
                except ClusterError as error:
                    pause = self._failed(error)
                except Exception as error:  # a bug of ours must not end the watch: tell it, and list again
                    log.exception("kube.watch.bug", cluster=self._api.cluster)
                    self._version = ""
                    pause = self._failed(ClusterError("bad answer", f"watch failed ({type(error).__name__})"))
                await asyncio.sleep(pause)
        finally:
            self._here()

    async def _round(self, on_event: Callable[[PlanEvent], None]) -> float:
        if not self._version:
            await self._list(on_event)
        await self._follow(on_event)
        self._index.reconnects += 1
        return self._pause()

    def _failed(self, error: ClusterError) -> float:
        if error.reason == "gone" or isinstance(error, TooLargeError):
            self._version = ""
        if isinstance(error, TooLargeError):
            self._tables = False  # whole objects came instead of rows: ask for them in smaller pages
        if self._index.problem != error.message:
            log.warning("kube.watch.failed", cluster=self._api.cluster, reason=error.reason, problem=error.message)
        self._index.problem = error.message
        self._index.reconnects += 1
        pause = self._pause()
        return max(pause, self._times.refused_pause) if error.reason in {"forbidden", "not found"} else pause

    def _pause(self) -> float:
        step = min(self._times.pause_max, self._times.pause_min * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return step * (0.5 + 0.5 * self._jitter())

    def _away(self, on_event: Callable[[PlanEvent], None]) -> None:
        if self._lost_timer is None:
            loop = asyncio.get_running_loop()
            self._lost_timer = loop.call_later(self._times.lost_after, self._lose, on_event)

    def _here(self) -> None:
        if self._lost_timer is not None:
            self._lost_timer.cancel()
            self._lost_timer = None

    def _lose(self, on_event: Callable[[PlanEvent], None]) -> None:
        self._index.synced = False
        self._version = ""  # only a whole list can say that the index is true again
        if not self._told_lost:
            self._told_lost = True
            log.warning("kube.watch.lost", cluster=self._api.cluster, problem=self._index.problem)
            self._emit(on_event, (PlanEvent("lost"),))

    async def _list(self, on_event: Callable[[PlanEvent], None]) -> None:
        listings, version = await self._listings()
        events = self._index.replace(
            (row for listing in listings for row in listing.rows),
            unreadable=frozenset().union(*(listing.unreadable for listing in listings)),
            complete=not any(listing.nameless for listing in listings),
        )
        self._index.skipped += sum(len(listing.unreadable) + listing.nameless for listing in listings)
        self._index.lists += 1
        self._version = version
        was_synced, self._index.synced = self._index.synced, True
        self._index.synced_once = True
        self._told_lost = False
        self._emit(on_event, events)
        if not was_synced:
            log.info("kube.watch.synced", cluster=self._api.cluster, plans=len(self._index))
            self._emit(on_event, (PlanEvent("synced"),))

    async def _listings(self) -> tuple[tuple[Listing, ...], str]:
        tables = self._tables
        query = {"limit": str(TABLE_PAGE), "includeObject": "Metadata"} if tables else {"limit": str(WHOLE_PAGE)}
        listings: list[Listing] = []
        version = ""
        pages = self._api.pages(PLAN, None, query, accept=TABLE if tables else JSON, bulk=False)
        async with aclosing(pages) as reading:
            async for page in reading:
                listing = self._listing(page)
                if listing is None:
                    break
                listings.append(listing)
                version = version_of(page.get("metadata")) or version
            else:
                if not version:
                    text = f"cluster {self._api.cluster}: the list of Plans has no resourceVersion"
                    raise ClusterError("bad answer", text)
                return tuple(listings), version
        self._tables = False
        log.info("kube.watch.no_tables", cluster=self._api.cluster)
        return await self._listings()

    def _listing(self, page: dict[str, Any]) -> Listing | None:
        """Read a page; None if whole objects must be asked for instead."""
        entries = entries_of(page)
        if entries is None:
            raise ClusterError("bad answer", f"cluster {self._api.cluster} sent no list of {PLAN.resource}")
        if page.get("kind") != "Table":
            # The rest of this list, if there is one, comes in large pages of whole objects: better small ones.
            metadata = page.get("metadata")
            if self._tables and isinstance(metadata, dict) and metadata.get("continue"):
                return None
            return read_entries(entries, {})
        if not self._tables:
            raise ClusterError("bad answer", f"cluster {self._api.cluster} sends Tables nobody can use")
        self._columns = columns_of(page) or self._columns
        if not self._columns:
            return None
        listing = read_entries(entries, self._columns)
        return None if listing.nameless and not listing.rows else listing

    async def _follow(self, on_event: Callable[[PlanEvent], None]) -> None:
        query = {
            "watch": "true",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(self._times.length),
            **({"includeObject": "Metadata"} if self._tables else {}),
        }
        accept = TABLE if self._tables else JSON
        silence = self._times.length + self._times.silence
        async with self._api.watching(PLAN, query, accept=accept, silence=silence) as lines:
            self._here()
            if not self._version:
                return  # lost while the server thought about it: the index must be compared with a whole list
            self._index.problem = None
            async for line in lines:
                if line.strip():
                    self._take(line, on_event)
                    self._failures = 0

    def _take(self, line: bytes, on_event: Callable[[PlanEvent], None]) -> None:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            event = None
        what = event.get("type") if isinstance(event, dict) else None
        obj = event.get("object") if isinstance(event, dict) else None
        if not isinstance(obj, dict):
            self._index.skipped += 1
            return
        if what == "ERROR":
            self._version = ""
            code = obj.get("code")
            status = json.dumps(obj).encode()
            raise from_status(self._api.cluster, code if isinstance(code, int) else 500, status, "", PLAN.resource)
        if what in {"ADDED", "MODIFIED", "DELETED"}:
            self._emit(on_event, self._changes(what, obj))
        self._version = _version(obj) or self._version

    def _changes(self, what: object, obj: dict[str, Any]) -> Iterable[PlanEvent]:
        table = obj.get("kind") == "Table"
        if table:
            # Only the first event of a watch defines the columns.
            self._columns = columns_of(obj) or self._columns
        entries = (entries_of(obj) or ()) if table else (obj,)
        if table and not self._columns:
            self._index.skipped += len(entries)
            return ()
        listing = read_entries(entries, self._columns if table else {})
        events: list[PlanEvent] = []
        for row in listing.rows:
            events.extend(self._index.remove(row.uid, row) if what == "DELETED" else self._index.put(row))
        if what == "DELETED":
            for uid in listing.unreadable:
                events.extend(self._index.remove(uid))
        self._index.skipped += len(listing.unreadable) + listing.nameless
        return events

    def _emit(self, on_event: Callable[[PlanEvent], None], events: Iterable[PlanEvent]) -> None:
        for event in events:
            try:
                on_event(event)
            except Exception:  # a listener's bug must not end the watch; listeners count their own
                log.exception("kube.watch.listener_failed", cluster=self._api.cluster, kind=event.kind)


def _version(obj: dict[str, Any]) -> str:
    """Return the resource version of a watched object, a Table of one row, or a bookmark of either form."""
    version = version_of(obj.get("metadata"))
    rows = obj.get("rows")
    if not version and isinstance(rows, list) and rows and isinstance(rows[-1], dict):
        inner = rows[-1].get("object")
        version = version_of(inner.get("metadata")) if isinstance(inner, dict) else ""
    return version
