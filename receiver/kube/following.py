"""How every watch behaves: list, follow, and begin again whatever happens.

What is asked for, and what becomes of it, is said by the classes that inherit `Following`.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from receiver.kube import ClusterError
from receiver.kube.api import Api, Query, TooLargeError
from receiver.kube.connection import from_status
from receiver.kube.followed import Followed
from receiver.kube.kinds import Kind
from receiver.kube.rows import version_of

CHANGES = frozenset({"ADDED", "MODIFIED", "DELETED"})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WatchTimes:
    """Times of a watch, in seconds."""

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
    """Away for so long, what is known is no longer called synced."""


class Following(ABC):
    """One kind's objects in all namespaces, followed for ever. `state` says how that is going."""

    def __init__(self, api: Api, kind: Kind, state: Followed, times: WatchTimes, jitter: Callable[[], float]) -> None:
        self._api = api
        self._kind = kind
        self._state = state
        self._times = times
        self._jitter = jitter
        self._version = ""  # follow from here; empty: list first
        self._failures = 0
        self._lost_timer: asyncio.TimerHandle | None = None

    @abstractmethod
    async def _list(self) -> None:
        """Read everything anew and take it in, with `_listed` before anybody is told of a difference."""

    @abstractmethod
    def _asks(self) -> tuple[str, Query]:
        """Return what a watch accepts, and its query beside what all watches ask."""

    @abstractmethod
    def _changed(self, what: str, obj: dict[str, Any]) -> None:
        """Take in a change: ADDED, MODIFIED or DELETED."""

    @abstractmethod
    def _lost(self) -> None:
        """Away for so long that what is known may be stale."""

    @abstractmethod
    def _shrink(self) -> None:
        """An answer was too large: ask for less at a time."""

    async def run(self) -> None:
        """Follow until cancelled."""
        try:
            while True:
                self._away()
                try:
                    pause = await self._round()
                except ClusterError as error:
                    pause = self._failed(error)
                except Exception as error:  # a bug of ours must not end the watch: tell it, and list again
                    log.exception("kube.watch.bug", cluster=self._api.cluster, resource=self._kind.resource)
                    self._version = ""
                    pause = self._failed(ClusterError("bad answer", f"watch failed ({type(error).__name__})"))
                await asyncio.sleep(pause)
        finally:
            self._here()

    async def _round(self) -> float:
        if not self._version:
            await self._list()
        await self._follow()
        self._state.reconnects += 1
        return self._pause()

    def _listed(self, version: str) -> bool:
        """Note that all is known as of this resource version; tell whether that is news."""
        self._state.lists += 1
        self._version = version
        was_synced, self._state.synced = self._state.synced, True
        self._state.synced_once = True
        return not was_synced

    async def _follow(self) -> None:
        accept, query = self._asks()
        query = {
            "watch": "true",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(self._times.length),
            **query,
        }
        silence = self._times.length + self._times.silence
        async with self._api.watching(self._kind, query, accept=accept, silence=silence) as lines:
            self._here()
            if not self._version:
                return  # lost while the server thought about it: what is known must be compared with a whole list
            self._state.problem = None
            async for line in lines:
                if line.strip():
                    self._take(line)
                    self._failures = 0

    def _take(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            event = None
        what = event.get("type") if isinstance(event, dict) else None
        obj = event.get("object") if isinstance(event, dict) else None
        if not isinstance(obj, dict):
            self._state.skipped += 1
            return
        if what == "ERROR":
            self._version = ""
            code = obj.get("code")
            status = json.dumps(obj).encode()
            raise from_status(
                self._api.cluster, code if isinstance(code, int) else 500, status, "", self._kind.resource
            )
        if isinstance(what, str) and what in CHANGES:
            self._changed(what, obj)
        self._version = _version(obj) or self._version

    def _failed(self, error: ClusterError) -> float:
        if error.reason == "gone" or isinstance(error, TooLargeError):
            self._version = ""
        if isinstance(error, TooLargeError):
            self._shrink()
        if self._state.problem != error.message:
            log.warning("kube.watch.failed", cluster=self._api.cluster, reason=error.reason, problem=error.message)
        self._state.problem = error.message
        self._state.reconnects += 1
        pause = self._pause()
        return max(pause, self._times.refused_pause) if error.reason in {"forbidden", "not found"} else pause

    def _pause(self) -> float:
        step = min(self._times.pause_max, self._times.pause_min * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return step * (0.5 + 0.5 * self._jitter())

    def _away(self) -> None:
        if self._lost_timer is None:
            self._lost_timer = asyncio.get_running_loop().call_later(self._times.lost_after, self._lose)

    def _here(self) -> None:
        if self._lost_timer is not None:
            self._lost_timer.cancel()
            self._lost_timer = None

    def _lose(self) -> None:
        self._state.synced = False
        self._version = ""  # only a whole list can say that what is known is true again
        self._lost()


def _version(obj: dict[str, Any]) -> str:
    """Return the resource version of a watched object, a Table of one row, or a bookmark of either form."""
    version = version_of(obj.get("metadata"))
    rows = obj.get("rows")
    if not version and isinstance(rows, list) and rows and isinstance(rows[-1], dict):
        inner = rows[-1].get("object")
        version = version_of(inner.get("metadata")) if isinstance(inner, dict) else ""
    return version
