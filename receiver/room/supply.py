"""The free room of each cluster's nodes, read page by page and kept for a while.

A list of 100,000 pods is 0.7 GB of JSON: each page is decoded in a thread, added to the sums of its nodes and dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from receiver.capacity import Holes, NodeSums, Unread, decode_page
from receiver.clock import Clock
from receiver.kube import Cluster, ClusterError, Obj
from receiver.kube.kinds import kind_of, where
from receiver.kube.streams import Streams
from receiver.room.reading import unread
from receiver.room.running import RunningPlans

log = structlog.get_logger(__name__)

FRESH_S: Final = 60.0
"""So long after their reading has ended may a plan's own target be judged by the numbers."""
STALE_S: Final = 600.0
"""So old may they be where another cluster is only suggested; their age is said."""
WAIT_S: Final = 10.0
"""So long does a question wait for one cluster. The reading goes on, for the next question."""
READ_S: Final = 120.0
"""So long may one reading take: 200 pages of 100,000 pods, each within the time limit of a request."""
FAILED_S: Final = 10.0
"""A cluster that refused is asked again after so long."""
KEPT: Final = 16
"""Clusters of which numbers are kept: about 5 KB a node."""
POD_PAGE: Final = 500
NODE_PAGE: Final = 100
"""Nodes are large, their list of images above all."""
MAX_PAGES: Final = 1_000
RUNNING: Final = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"
WAITING: Final = "spec.nodeName=,status.phase!=Succeeded,status.phase!=Failed"
_READY: Final = "Ready"


@dataclass(frozen=True, slots=True)
class Supplied:
    """The room of a cluster's nodes, and how many seconds ago it was read. `note` says what is missing of it."""

    holes: Holes | Unread
    age_s: float = 0.0
    note: str = ""


@dataclass(slots=True)
class _Known:
    """What is kept of one cluster. The reading of `good` began and ended then, by the monotonic clock."""

    cluster: Cluster
    good: Supplied | None = None
    began_at: float = 0.0
    """What its age is counted from."""
    ended_at: float = 0.0
    """What it is fresh from: a reading may take longer than FRESH_S, and has to be of use to who asks again."""
    refused: Unread | None = None
    refused_at: float = 0.0
    task: asyncio.Task[None] | None = None


class Supply:
    """The room of all clusters. One reading of a cluster at a time, whoever asks."""

    def __init__(self, clock: Clock, *, wait_s: float = WAIT_S, read_s: float = READ_S) -> None:
        self._clock = clock
        self._wait_s = wait_s
        self._read_s = read_s
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self.running = RunningPlans()
        """What other running plans hold back: whoever shares the one shares the other."""

    async def of(self, cluster: Cluster, *, stale_s: float = 0.0) -> Supplied:
        """Return the room of a cluster's nodes, its reading ended at most FRESH_S ago.

        Numbers of up to `stale_s` seconds are taken as well, and read anew for the next question. Never raises for
        what the cluster does.
        """
        known = self._entry(cluster)
        now = self._clock.monotonic()
        if known.good is not None and now - known.ended_at <= FRESH_S:
            return self._aged(known)
        if known.refused is not None and now - known.refused_at <= FAILED_S and known.task is None:
            return self._fallback(known, known.refused, stale_s)
        if known.task is None:
            known.task = asyncio.create_task(self._refresh(known), name=f"room of {cluster.name}")
        if known.good is not None and now - known.began_at <= stale_s:
            return self._aged(known)
        asked_at = now
        try:
            async with asyncio.timeout(self._wait_s):
                await asyncio.shield(known.task)
        except TimeoutError:
            return self._fallback(known, Unread("pods", f"timed out after {self._wait_s:g} s"), stale_s)
        if known.good is not None and (known.refused is None or known.refused_at < asked_at):
            return self._aged(known)
        return self._fallback(known, known.refused or Unread("pods", "not read"), stale_s)

    async def aclose(self) -> None:
        """End what is being read."""
        tasks = [known.task for known in self._known.values() if known.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._known.clear()

    def _entry(self, cluster: Cluster) -> _Known:
        known = self._known.get(cluster.name)
        if known is None or known.cluster is not cluster:  # a reload may have given the name to another one
            if known is not None and known.task is not None:
                known.task.cancel()
            known = self._known[cluster.name] = _Known(cluster)
        self._known.move_to_end(cluster.name)
        while len(self._known) > KEPT:
            _, oldest = self._known.popitem(last=False)
            if oldest.task is not None:
                oldest.task.cancel()
        return known

    def _aged(self, known: _Known) -> Supplied:
        good = known.good or Supplied(Unread("pods", "not read"))
        return Supplied(good.holes, max(0.0, self._clock.monotonic() - known.began_at), good.note)

    def _fallback(self, known: _Known, why: Unread, stale_s: float) -> Supplied:
        """Old numbers are better than none where they only suggest."""
        if known.good is not None and self._clock.monotonic() - known.began_at <= stale_s:
            return self._aged(known)
        return Supplied(why)

    async def _refresh(self, known: _Known) -> None:
        began = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._read_s):
                found = await read_supply(known.cluster)
        except TimeoutError:
            found = Supplied(Unread("pods", "timed out"))
        except Exception as error:  # a page could cause it that nobody thought of: no answer may end whoever asks
            log.exception("room.failed", cluster=known.cluster.name, exc_info=False, error=type(error).__name__)
            found = Supplied(Unread("pods", f"our own error ({type(error).__name__})"))
        finally:
            known.task = None
        if isinstance(found.holes, Unread):
            known.refused, known.refused_at = found.holes, self._clock.monotonic()
        else:
            known.good, known.refused = found, None
            known.began_at, known.ended_at = began, self._clock.monotonic()


async def read_supply(cluster: Cluster) -> Supplied:
    """Read nodes and pods of a cluster. What could not be read is in the answer; nothing raises."""
    if not isinstance(cluster, Streams):
        return Supplied(Unread("pods", "a must-gather holds those of some namespaces only"))
    nodes: list[Obj] = []

    def first_node() -> Callable[[bytes], str]:
        nodes.clear()
        return _take_nodes(nodes)

    if problem := await _again(cluster, "Node", "", NODE_PAGE, first_node):
        return Supplied(problem)
    sums = NodeSums(nodes)

    def first_pod() -> Callable[[bytes], str]:
        nonlocal sums
        sums = NodeSums(nodes)
        return _take_pods(sums)

    if problem := await _again(cluster, "Pod", RUNNING, POD_PAGE, first_pod):
        return Supplied(problem)
    note = ""
    if await _again(cluster, "Pod", WAITING, POD_PAGE, lambda: _take_pods(sums)):
        note = "pods that wait for a node could not all be read: they may take the room first"
    return Supplied(await asyncio.to_thread(sums.holes), note=note)


async def _again(
    cluster: Streams, kind: str, selector: str, limit: int, begin: Callable[[], Callable[[bytes], str]]
) -> Unread | None:
    """Read a list, from the start once more where it changed too much between two pages (410)."""
    entry = kind_of(kind)
    for last in (False, True):
        try:
            await _pages(cluster, kind, selector, limit, begin())
        except ClusterError as error:
            if error.reason == "gone" and not last:
                continue
            return unread(entry.plural, error, f"list {entry.resource}{where(entry, None)}")
        except ValueError as error:
            return Unread(entry.plural, str(error))
        except RecursionError:
            return Unread(entry.plural, "what was sent is nested too deeply")
        return None
    return None


async def _pages(cluster: Streams, kind: str, selector: str, limit: int, take: Callable[[bytes], str]) -> None:
    token = ""
    for _ in range(MAX_PAGES):
        body = await cluster.raw_page(kind, token=token, field_selector=selector, limit=limit)
        # A thread: one page takes milliseconds that webhooks must not wait for.
        following = await asyncio.to_thread(take, body)
        del body
        if not following:
            return
        if following == token:
            break
        token = following
    raise ValueError("the list has no end")


def _take_pods(sums: NodeSums) -> Callable[[bytes], str]:
    def take(body: bytes) -> str:
        page = decode_page(body)
        if page.unreadable:
            raise ValueError(f"{page.unreadable} of them make no sense")
        for pod in page.pods:
            sums.add(pod)
        return page.token

    return take


def _take_nodes(nodes: list[Obj]) -> Callable[[bytes], str]:
    def take(body: bytes) -> str:
        page = None
        with contextlib.suppress(ValueError):
            page = json.loads(body)
        items = page.get("items") if isinstance(page, dict) else None
        if not isinstance(page, dict) or not isinstance(items, list | None):
            raise ValueError("not a list of nodes in JSON")
        nodes.extend(_lean(item) for item in items or () if isinstance(item, dict))
        metadata = page.get("metadata")
        token = metadata.get("continue") if isinstance(metadata, dict) else None
        return token if isinstance(token, str) else ""

    return take


def _lean(node: Mapping[str, Any]) -> Obj:
    """Keep what placement and room depend on: a whole node has 10 to 60 KB, most of it names of images."""
    metadata, spec, status = (_mapping(node.get(part)) for part in ("metadata", "spec", "status"))
    conditions = status.get("conditions")
    return {
        "metadata": {"name": metadata.get("name"), "labels": metadata.get("labels")},
        "spec": {"taints": spec.get("taints"), "unschedulable": spec.get("unschedulable")},
        "status": {
            "allocatable": status.get("allocatable"),
            "conditions": [
                {"type": _READY, "status": each.get("status")}
                for each in (conditions if isinstance(conditions, list) else ())
                if isinstance(each, dict) and each.get("type") == _READY
            ],
        },
    }


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
