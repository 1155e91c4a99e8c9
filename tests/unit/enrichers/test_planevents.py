"""Events of a Plan's run: of what worked for the failed VMs, warnings first, nothing of other plans."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.enrichers.evidence import Settings, gather_plan
from receiver.enrichers.planevents import PlanEvents
from receiver.enrichers.reading import moment
from receiver.enrichers.redact import Redactor
from receiver.kube import ClusterError
from receiver.model import Evidence, Missing
from tests.unit.enrichers.cluster import MemoryCluster, objects
from tests.unit.enrichers.test_evidence import RUNBOOK, identity_of

pytestmark = pytest.mark.anyio

ONLY = Settings(enrichers=(PlanEvents(),))


async def gathered(cluster: MemoryCluster) -> Evidence:
    plan = next(obj for obj in cluster.objs if obj["kind"] == "Plan")
    now = moment(plan["status"]["migration"].get("completed")) or moment(plan["status"]["migration"]["started"])
    assert now is not None
    return await gather_plan(
        cluster, identity_of(cluster), RUNBOOK, redactor=Redactor(), now=now, timeout_s=5.0, settings=ONLY
    )


def event(namespace: str, kind: str, name: str, reason: str, message: str, **more: Any) -> dict[str, Any]:
    return {
        "kind": "Event",
        "metadata": {"name": f"{name}.{reason}", "namespace": namespace},
        "involvedObject": {"kind": kind, "name": name, "namespace": namespace},
        "type": "Warning", "reason": reason, "message": message, "lastTimestamp": "2026-09-14T08:07:00Z", **more,
    }  # fmt: skip


async def test_claims_that_cannot_be_filled_say_so_through_their_events() -> None:
    evidence = await gathered(MemoryCluster(objects("c-disktransfer-out-of-space.yaml")))
    assert evidence.events
    assert all(one.warning for one in evidence.events[:1])
    assert not any(one.kind in ("Plan", "Migration") and not one.warning for one in evidence.events)


async def test_of_a_failed_live_migration_the_events_of_what_is_gone_are_found() -> None:
    evidence = await gathered(MemoryCluster(objects("d2-live-cclm-failed.yaml")))
    messages = [one.message for one in evidence.events]
    assert "Migration target pod was removed during active migration." in messages
    assert any("unschedulable pod" in message for message in messages)


async def test_a_plan_that_hangs_without_a_failure_has_the_events_of_its_running_vms() -> None:
    evidence = await gathered(MemoryCluster(objects("d-live-cclm-stuck.yaml")))
    assert evidence.events


async def test_events_of_other_objects_and_of_the_night_before_are_left_out() -> None:
    cluster = MemoryCluster(objects("a-cold-vsphere-imageconversion.yaml"))
    cluster.objs = [obj for obj in cluster.objs if obj["kind"] != "Event"]
    cluster.objs += [
        event("erp-prod", "Pod", "erp-wave1-vm-1402-d8f6k", "FailedMount", "token: PLANTED-1"),
        event("erp-prod", "Pod", "somebody-elses", "FailedMount", "b"),
        event("erp-prod", "Pod", "erp-wave1-vm-1402-d8f6k", "Old", "c", lastTimestamp="2026-09-14T06:00:00Z"),
        event("erp-prod", "Pod", "erp-wave1-vm-1402-d8f6k", "Odd", "d", involvedObject=7),
    ]
    evidence = await gathered(cluster)
    assert [one.reason for one in evidence.events] == ["FailedMount"]
    assert "PLANTED" not in repr(evidence)


async def test_events_that_may_not_be_listed_are_said_with_the_missing_right() -> None:
    cluster = MemoryCluster(objects("a-cold-vsphere-imageconversion.yaml"))
    cluster.refuse["list", "Event"] = ClusterError("forbidden", "no")
    evidence = await gathered(cluster)
    assert Missing("events in erp-prod", "forbidden", "needs list events in namespace erp-prod") in evidence.missing
