"""A cluster in memory: the same interface as a live one, over objects that a test put in, with refusals on demand."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from receiver.kube import ClusterError, Obj, PlanEvent, PlanIndex
from receiver.kube.selectors import field_test, label_test

DATA = Path(__file__).parents[2] / "data" / "plans"


def objects(name: str) -> list[Obj]:
    """Return the objects of an example file."""
    return copy.deepcopy(_parsed(name))


@cache
def _parsed(name: str) -> list[Obj]:
    return [obj for obj in yaml.safe_load_all((DATA / name).read_text(encoding="utf-8")) if obj]


def plan_of(name: str) -> Obj:
    return next(obj for obj in objects(name) if obj["kind"] == "Plan")


def log_text(name: str) -> str:
    return (DATA / "logs" / name).read_text(encoding="utf-8")


class MemoryCluster:
    """`refuse` maps (verb, kind) to the error to raise; `hang` names (verb, kind) that never answer."""

    name = "memory"

    def __init__(self, objs: list[Obj]) -> None:
        self.objs = objs
        self.logs: dict[tuple[str, str, bool], str] = {}
        self.refuse: dict[tuple[str, str], ClusterError] = {}
        self.hang: set[tuple[str, str]] = set()
        self.asked: list[tuple[str, ...]] = []

    async def _ask(self, verb: str, kind: str, *rest: str) -> None:
        self.asked.append((verb, kind, *rest))
        if (verb, kind) in self.hang:
            await asyncio.Event().wait()
        if error := self.refuse.get((verb, kind)):
            raise error

    async def find_plans(self, name: str) -> tuple[Obj, ...]:
        return await self.list("Plan", None, field_selector=f"metadata.name={name}")

    async def get_plan(self, namespace: str, name: str) -> Obj | None:
        return await self.get("Plan", namespace, name)

    async def get(self, kind: str, namespace: str | None, name: str) -> Obj | None:
        await self._ask("get", kind, namespace or "", name)
        return next(iter(self._find(kind, namespace, "", f"metadata.name={name}")), None)

    async def list(
        self,
        kind: str,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
    ) -> tuple[Obj, ...]:
        await self._ask("list", kind, namespace or "", label_selector or field_selector)
        return self._find(kind, namespace, label_selector, field_selector)

    def _find(self, kind: str, namespace: str | None, labels: str, fields: str) -> tuple[Obj, ...]:
        has_labels, has_fields = label_test(labels), field_test(fields)
        return tuple(
            obj
            for obj in self.objs
            if obj["kind"] == kind
            and (namespace is None or obj["metadata"].get("namespace") == namespace)
            and has_labels(obj)
            and has_fields(obj)
        )

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
        await self._ask("log", pod, namespace, container, "previous" if previous else "current")
        if error := self.refuse.get(("log", "")):
            raise error
        try:
            return self.logs[namespace, pod, previous]
        except KeyError:
            raise ClusterError("not found", f"no log of {namespace}/{pod}") from None

    def plans(self) -> PlanIndex:
        return PlanIndex()

    async def watch(self, on_event: Callable[[PlanEvent], None]) -> None:
        await asyncio.Event().wait()

    async def version(self) -> str:
        return "v1.31.0"

    async def aclose(self) -> None: ...


def pod(name: str, namespace: str, labels: dict[str, str] | None = None, **status: Any) -> Obj:
    """Return a Pod as small as it can be."""
    metadata = {"name": name, "namespace": namespace, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}
