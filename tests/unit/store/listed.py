"""Stories as the service would save them, for tests of the story list and the search."""

from __future__ import annotations

from typing import Any

from receiver import ids
from receiver.clock import SystemClock
from receiver.indexing import Indexer
from receiver.keeping import pack
from receiver.metrics import Metrics
from receiver.model import (
    Alert,
    AlertStatus,
    Cause,
    Change,
    Evidence,
    Identity,
    Impact,
    LogExcerpt,
    Reason,
    VMCounts,
    VMFailure,
)
from receiver.store import deliveries, stories
from receiver.store.deliveries import NewDelivery
from receiver.store.drafts import AlertRow, Draft
from receiver.store.engine import Conn, Store
from tests.stories import at


class AtOnce(SystemClock):
    """Nobody waits."""

    async def sleep(self, seconds: float) -> None:
        return None


def evidence(
    cause: str = "", impact: Impact = Impact.DOWN, *, run: str = "", log: str = "", lines: tuple[str, ...] = (),
    vm: str = "db-01", reasons: tuple[str, ...] = ("conversion failed",),
) -> Evidence:  # fmt: skip
    return Evidence(
        run=run, impact=impact, counts=VMCounts(total=5, failed=2),
        cause=Cause(cause, f"{cause} is known") if cause else None,
        failures=(VMFailure("vm-4711", vm, reasons=reasons),),
        logs=(LogExcerpt(vm, "pay", "virt-v2v-1", "virt-v2v", lines, kept=pack(log)),),
    )  # fmt: skip


async def add(
    conn: Conn, name: str, *, opened: float | None = None, title: str = "", namespace: str = "", cluster: str = "",
    labels: dict[str, str] | None = None, facts: dict[str, str] | None = None, known: Evidence | None = None,
    receivers: tuple[str, ...] = (), **more: Any,
) -> Draft:  # fmt: skip
    """Save a story that fires."""
    now = await stories.now_of(conn)
    given = {"kind": "plan", "severity": "critical", **more}
    draft = Draft(
        id=name, subject=f"plan/{name}", title=title or name, opened=now if opened is None else opened, now=now,
        new=True, evidence=known, **given,
    )  # fmt: skip
    draft.identity = Identity(
        draft.subject, "plan", cluster=cluster, owner_namespace=namespace, namespace="openshift-mtv", facts=facts or {}
    )
    fired = {"alertname": "MigrationFailed", "namespace": "openshift-mtv", **(labels or {})}
    alert = Alert(f"f-{name}", AlertStatus.FIRING, fired, {"description": "annotated"}, at(8, 0))
    draft.alerts[alert.fingerprint] = AlertRow(alert, "failure", 1, "main", now, dirty=True)
    await stories.save(conn, draft, Change.FIRED, "fires", "")
    for receiver in receivers:
        destination = f"slack:x #{receiver}"
        new = NewDelivery(
            id=f"{name}-{receiver}", receiver=receiver, kind="slack", destination=destination, label=receiver,
            keys=ids.keys(name, draft.subject, destination), reasons=(Reason("", "x"),), intervals=(), wait_s=0.0,
        )  # fmt: skip
        await deliveries.add(conn, name, new, 1, now)
    return draft


async def index(store: Store) -> int:
    """Put all that changed into the search; return how many stories that were."""
    indexer = Indexer(store, AtOnce(), Metrics([]), owner="me")
    done = 0
    while some := await indexer.look():
        done += some
    return done
