"""One cluster, asked once for what many stories want to know at the same time.

A storm fails a thousand Plans in fifty namespaces, and each story asks for the Pods, Migrations and Events of its own.
Behind `SharedCluster` the requests of a namespace become one list, made once for all who wait: an answer serves
everybody who was waiting when its request began, and a few seconds' latecomers. What is kept is reduced first, and
bounded.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from receiver.kube import Cluster, ClusterError, Obj, PlanEvent, PlanIndex
from receiver.kube.lean import lean
from receiver.kube.selectors import field_test, label_test, widened

KEPT_S = 300.0
"""Seconds that an answer is kept for stories that still wait."""
KEPT_OBJECTS = 10_000
"""Of all kept answers together, at a few kilobytes each; a single larger answer is shared only while it is awaited."""
KEPT_TEXT = 16 * 1024 * 1024
"""Characters of all kept logs together."""

# Labels whose value is one story's own.
OWN_KEYS = frozenset(
    {
        "plan", "vmID", "migration", "job-name", "kubevirt.io/migrationJobUID", "kubevirt.io/created-by",
        "vm.kubevirt.io/name",
    }
)  # fmt: skip
# Fields whose value is one story's own; a selector of other fields is asked for as it is.
OWN_FIELDS = ("involvedObject.",)

Key = tuple[str, ...]


@dataclass(slots=True)
class _Answer:
    """A request under way or answered, and when it began by the loop's clock."""

    task: asyncio.Task[Any]
    began: float
    size: int = 0


class SharedCluster:
    """The answers of one cluster. `for_one_waiting` gives the cluster as one story sees it."""

    def __init__(self, cluster: Cluster, *, kept_objects: int = KEPT_OBJECTS) -> None:
        self.cluster = cluster
        self._kept_objects = kept_objects
        self._answers: OrderedDict[Key, _Answer] = OrderedDict()

    def for_one_waiting(self, since_s: float) -> Cluster:
        """Return the cluster for a story that has been waiting so many seconds: no answer is older than that."""
        return _View(self, asyncio.get_running_loop().time() - since_s)

    async def ask(self, key: Key, not_before: float, ask: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Return a shared answer whose request began no earlier than `not_before`, or make the request.

        A refusal is shared as an answer is. Whoever stops waiting stops nobody else: the request has its own bounds.
        """
        self._forget()
        known = self._answers.get(key)
        if known is None or known.began < not_before:
            task = asyncio.create_task(ask(), name=f"shared {' '.join(key)}"[:200])
            known = _Answer(task, asyncio.get_running_loop().time())
            self._answers[key] = known
            self._answers.move_to_end(key)
            task.add_done_callback(lambda done: self._answered(key, known, done))
        return await asyncio.shield(known.task)

    def _answered(self, key: Key, answer: _Answer, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            self._drop(key, answer)
            return
        if task.exception() is not None:  # whoever waited has it; nobody waiting is no error
            return
        found = task.result()
        answer.size = len(found) if isinstance(found, tuple) else 1
        if isinstance(found, str):
            answer.size = 1 + len(found) * self._kept_objects // KEPT_TEXT
        if answer.size > self._kept_objects:
            self._drop(key, answer)
        self._forget()

    def _forget(self) -> None:
        """Let go of what is old, and of the oldest while there is too much."""
        now = asyncio.get_running_loop().time()
        size = sum(answer.size for answer in self._answers.values())
        for key, answer in tuple(self._answers.items()):
            if not answer.task.done():
                continue
            if size <= self._kept_objects and now - answer.began < KEPT_S:
                continue
            size -= answer.size
            del self._answers[key]

    def _drop(self, key: Key, answer: _Answer) -> None:
        if self._answers.get(key) is answer:
            del self._answers[key]

    async def aclose(self) -> None:
        """End requests that outlived their askers. The cluster stays open: it is somebody else's."""
        tasks = [answer.task for answer in self._answers.values()]
        self._answers.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _View:
    """The cluster, as one story sees it."""

    def __init__(self, shared: SharedCluster, not_before: float) -> None:
        self._shared = shared
        self._cluster = shared.cluster
        self._not_before = not_before

    @property
    def name(self) -> str:
        return self._cluster.name

    async def find_plans(self, name: str) -> tuple[Obj, ...]:
        return await self._cluster.find_plans(name)

    async def get_plan(self, namespace: str, name: str) -> Obj | None:
        return await self._cluster.get_plan(namespace, name)

    async def get(self, kind: str, namespace: str | None, name: str) -> Obj | None:
        async def ask() -> Obj | None:
            found = await self._cluster.get(kind, namespace, name)
            return None if found is None else lean(found)

        found: Obj | None = await self._shared.ask(("get", kind, namespace or "", name), self._not_before, ask)
        return found

    async def list(
        self,
        kind: str,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
    ) -> tuple[Obj, ...]:
        labels = widened(label_selector, OWN_KEYS)
        parts = [part.strip() for part in field_selector.split(",") if part.strip()]
        fields = ",".join(part for part in parts if not part.startswith(OWN_FIELDS))

        async def ask() -> tuple[Obj, ...]:
            found = await self._cluster.list(kind, namespace, label_selector=labels, field_selector=fields, limit=limit)
            return tuple(lean(one) for one in found)

        key = ("list", kind, namespace or "", labels, fields)
        found: tuple[Obj, ...] = await self._shared.ask(key, self._not_before, ask)
        has_labels, has_fields = label_test(label_selector), field_test(field_selector)
        return tuple(one for one in found if has_labels(one) and has_fields(one))

    async def log(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        previous: bool = False,
        tail_lines: int = 400,
        limit_bytes: int = 262_144,
        since_seconds: int | None = None,
    ) -> str:
        async def ask() -> str:
            return await self._cluster.log(
                namespace,
                pod,
                container,
                previous=previous,
                tail_lines=tail_lines,
                limit_bytes=limit_bytes,
                since_seconds=since_seconds,
            )

        if since_seconds is None:
            return await ask()  # a migration pod's log is one story's own
        # Asked for by time: the log of a controller, which every story looks into.
        key = ("log", namespace, pod, container, str(previous), str(tail_lines), str(limit_bytes), str(since_seconds))
        found: str = await self._shared.ask(key, self._not_before, ask)
        return found

    def plans(self) -> PlanIndex:
        return self._cluster.plans()

    async def watch(self, on_event: Callable[[PlanEvent], None]) -> None:
        await self._cluster.watch(on_event)

    async def version(self) -> str:
        return await self._cluster.version()

    async def aclose(self) -> None:
        """Leave the cluster open: it is shared."""


__all__ = ["ClusterError", "SharedCluster"]
