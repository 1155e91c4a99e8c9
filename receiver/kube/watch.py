"""The watch over all Plans.

Plans are asked for as a Table: an update of a Plan with 500 VMs is then 1.4 KB instead of 0.9 MB. A server that does
not give Tables gets a watch over whole objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import aclosing
from typing import Any

import structlog

from receiver.kube import ClusterError
from receiver.kube.api import JSON, TABLE, Api, Query
from receiver.kube.following import Following, WatchTimes
from receiver.kube.kinds import KINDS
from receiver.kube.plans import PlanEvent, PlanIndex
from receiver.kube.rows import Columns, Listing, columns_of, entries_of, read_entries, version_of

__all__ = ["TABLE_PAGE", "PlanWatch", "WatchTimes"]

PLAN = KINDS["Plan"]
TABLE_PAGE = 500  # rows of about 1.4 KB
WHOLE_PAGE = 25  # objects of up to 0.9 MB

log = structlog.get_logger(__name__)


class PlanWatch(Following):
    """Keeps one index true to one cluster."""

    def __init__(self, api: Api, index: PlanIndex, times: WatchTimes, jitter: Callable[[], float]) -> None:
        super().__init__(api, PLAN, index, times, jitter)
        self._index = index
        self._tables = True
        self._columns: Columns = {}
        self._told_lost = False
        self._on_event: Callable[[PlanEvent], None] = lambda _: None

    async def follow(self, on_event: Callable[[PlanEvent], None]) -> None:
        """Follow until cancelled, telling every change."""
        self._on_event = on_event
        await self.run()

    def _shrink(self) -> None:
        self._tables = False  # whole objects came instead of rows: ask for them in smaller pages

    def _lost(self) -> None:
        if not self._told_lost:
            self._told_lost = True
            log.warning("kube.watch.lost", cluster=self._api.cluster, problem=self._index.problem)
            self._emit((PlanEvent("lost"),))

    async def _list(self) -> None:
        listings, version = await self._listings()
        events = self._index.replace(
            (row for listing in listings for row in listing.rows),
            unreadable=frozenset().union(*(listing.unreadable for listing in listings)),
            complete=not any(listing.nameless for listing in listings),
        )
        self._index.skipped += sum(len(listing.unreadable) + listing.nameless for listing in listings)
        is_news = self._listed(version)
        self._told_lost = False
        self._emit(events)
        if is_news:
            log.info("kube.watch.synced", cluster=self._api.cluster, plans=len(self._index))
            self._emit((PlanEvent("synced"),))

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

    def _asks(self) -> tuple[str, Query]:
        return (TABLE, {"includeObject": "Metadata"}) if self._tables else (JSON, {})

    def _changed(self, what: str, obj: dict[str, Any]) -> None:
        self._emit(self._changes(what, obj))

    def _changes(self, what: str, obj: dict[str, Any]) -> Iterable[PlanEvent]:
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

    def _emit(self, events: Iterable[PlanEvent]) -> None:
        for event in events:
            try:
                self._on_event(event)
            except Exception:  # a listener's bug must not end the watch; listeners count their own
                log.exception("kube.watch.listener_failed", cluster=self._api.cluster, kind=event.kind)
