"""A cluster in memory that can be silent or refuse, and alerts to ask it about."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from receiver.config.model import ClusterConfig, Config, Global, Receiver, Route
from receiver.config.sections import DEFAULT_SUBJECTS
from receiver.identify import Identifier
from receiver.kube import ClusterError, Obj, PlanEvent, PlanIndex, PlanRow
from receiver.model import Alert, AlertStatus

UID = "3f0c3d0e-6c55-4f0a-9c1b-0a7a5a2e41d1"
NOW = datetime(2026, 11, 21, 8, 29, 50, tzinfo=UTC)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class MemoryCluster:
    """Plans in a list, the watch's index, and ways to fail. Counts what it is asked."""

    def __init__(self, name: str = "local") -> None:
        self.objects: list[Obj] = []
        self.index = PlanIndex()
        self.fails: ClusterError | None = None
        self.silent = False
        self.asked: Counter[str] = Counter()
        self.answering = asyncio.Event()
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    def follows(self, *rows: PlanRow) -> None:
        """Let the watch be in sync and know these Plans."""
        self.index.synced = self.index.synced_once = True
        for one in rows:
            self.index.put(one)

    async def find_plans(self, name: str) -> tuple[Obj, ...]:
        await self._ask("list")
        return tuple(plan for plan in self.objects if plan["metadata"]["name"] == name)

    async def get_plan(self, namespace: str, name: str) -> Obj | None:
        await self._ask("get")
        wanted = (namespace, name)
        return next(
            (one for one in self.objects if (one["metadata"]["namespace"], one["metadata"]["name"]) == wanted), None
        )

    async def _ask(self, what: str) -> None:
        self.asked[what] += 1
        await asyncio.sleep(0)
        if self.silent:
            await self.answering.wait()
        if self.fails is not None:
            raise self.fails

    def plans(self) -> PlanIndex:
        return self.index

    async def get(self, kind: str, namespace: str | None, name: str) -> Obj | None:
        raise AssertionError(f"identity needs no {kind}")

    async def list(
        self,
        kind: str,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
    ) -> tuple[Obj, ...]:
        raise AssertionError(f"identity needs no {kind}")

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
        raise AssertionError("identity needs no log")

    async def watch(self, on_event: Callable[[PlanEvent], None]) -> None:
        raise AssertionError("identity begins no watch")

    async def version(self) -> str:
        return "v1.33.4"

    async def aclose(self) -> None:
        return None


def plan(
    uid: str = UID,
    name: str = "erp-wave1",
    namespace: str = "mig-team-a",
    *,
    condition: str = "Failed",
    run: str = "run-1",
    version: str = "1",
    **metadata: Any,
) -> Obj:
    return {
        "metadata": {"uid": uid, "name": name, "namespace": namespace, "resourceVersion": version, **metadata},
        "spec": {"targetNamespace": "erp-prod", "type": "cold", "provider": {"source": {"name": "vcenter-a"}}},
        "status": {
            "conditions": [{"type": condition, "status": "True"}],
            "migration": {"history": [{"migration": {"uid": run, "name": run}}]},
        },
    }


def row(
    uid: str = UID, name: str = "erp-wave1", namespace: str = "mig-team-a", *, version: str = "1", **columns: bool
) -> PlanRow:
    told = {"ready": True, "executing": False, "succeeded": False, "failed": False, **columns}
    return PlanRow(uid, namespace, name, {}, {}, canceled=None, resource_version=version, **told)


def alert(alertname: str = "MigrationFailed", **labels: str) -> Alert:
    return Alert("fingerprint", AlertStatus.FIRING, {"alertname": alertname, **labels}, {}, NOW)


def forklift(**labels: str) -> Alert:
    return alert(plan=UID, plan_name="erp-wave1", namespace="openshift-mtv", **labels)


def brief(**labels: str) -> Alert:
    return alert("MTVPlanFailed", **{"plan_name": "erp-wave1", "namespace": "mig-team-a", **labels})


def identifier(
    *clusters: MemoryCluster,
    clock: Clock | None = None,
    timeout_s: float = 30.0,
    configured: Sequence[ClusterConfig] = (ClusterConfig("local"),),
    redact: Callable[[str], tuple[str, int]] = lambda text: (text, 0),
) -> Identifier:
    config = Config(
        path=Path("routes.yaml"),
        route=Route(("platform",)),
        receivers={"platform": Receiver("platform", ())},
        global_=Global(identify_timeout_s=timeout_s),
        clusters=tuple(configured),
        subjects=DEFAULT_SUBJECTS,
    )
    return Identifier(config, {one.name: one for one in clusters}, clock or Clock(), redact)
