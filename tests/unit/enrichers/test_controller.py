"""What the controller logged about one plan, out of a log about all of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from receiver.enrichers.controller import Controller
from receiver.enrichers.evidence import Settings, gather_plan
from receiver.enrichers.redact import Redactor
from receiver.kube import ClusterError
from receiver.model import Evidence
from tests.unit.enrichers.cluster import MemoryCluster, log_text, objects, pod
from tests.unit.enrichers.test_evidence import NOW, RUNBOOK, identity_of

pytestmark = pytest.mark.anyio

COLD = "a-cold-vsphere-imageconversion.yaml"
LABELS = {"app": "forklift", "control-plane": "controller-manager"}
POD = "forklift-controller-7d9-x"
ONLY = Settings(enrichers=(Controller(),))


def said(**more: Any) -> str:
    plan = {"name": "erp-wave1", "namespace": "mig-team-a"}
    line = {"level": "error", "ts": "2026-09-14 08:10:00.000", "logger": "plan|4bx9k", "msg": "Reconcile failed."}
    return json.dumps({**line, "plan": plan, **more})


async def gathered(*lines: str, log: str = "", settings: Settings = ONLY) -> Evidence:
    cluster = MemoryCluster([*objects(COLD), pod(POD, "openshift-mtv", LABELS, phase="Running")])
    cluster.logs["openshift-mtv", POD, False] = log or "\n".join(lines)
    return await gather_plan(
        cluster, identity_of(cluster), RUNBOOK, redactor=Redactor(), now=NOW, timeout_s=5.0, settings=settings
    )


async def test_an_error_that_repeats_is_one_line_with_its_number_and_without_its_stack() -> None:
    line = said(error="VM named erp-win01 exists", stacktrace="a\nb")
    evidence = await gathered(line, line.replace("4bx9k", "zzzzz").replace("08:10:00", "08:10:03"), line)
    (excerpt,) = evidence.logs
    assert excerpt.lines == (
        "2026-09-14 08:10:00.000 plan: Reconcile failed. VM named erp-win01 exists (repeated 3 times)",
    )
    assert (excerpt.pod, excerpt.container, excerpt.vm) == (POD, "main", "")


async def test_lines_of_another_plan_run_level_or_form_are_left_out() -> None:
    evidence = await gathered(
        said(plan={"name": "erp-wave1", "namespace": "mig-team-c"}, error="of a namesake"),
        said(plan="mig-team-c/erp-wave1", error="of a namesake"),
        said(ts="2026-09-13 08:10:00.000", error="of a run before"),
        said(level="info", error="no error"),
        said(plan=None, vm=" id:vm-14021 name:'x' ", error="of another VM"),
        '{"level":"error","plan":{"name":"erp-wave1",',
        'E0914 08:10:00.000000 1 a.go:1] "error" erp-wave1',
        json.dumps(["error", "erp-wave1"]),
    )
    assert evidence.logs == ()


async def test_lines_that_name_only_the_migration_or_the_vm_are_found() -> None:
    evidence = await gathered(
        said(plan=None, migration="mig-team-a/erp-wave1-7k2qp", error="one"),
        said(plan=None, vm=" id:vm-1402 name:'erp-win01' ", error="two"),
        said(plan="mig-team-a/erp-wave1", error="three"),
    )
    assert [line.split()[5] for line in evidence.logs[0].lines] == ["one", "two", "three"]


async def test_the_example_of_a_loop_that_never_reaches_the_plan_is_told() -> None:
    log = log_text("e-forklift-controller-reconcile-error-loop.log")
    plan = json.loads(next(line for line in log.splitlines() if '"error"' in line and line.startswith("{")))["plan"]
    cluster = MemoryCluster([*objects(COLD), pod(POD, "openshift-mtv", LABELS)])
    found = next(obj for obj in cluster.objs if obj["kind"] == "Plan")
    found["metadata"] |= plan
    found["status"]["migration"].pop("started")
    cluster.logs["openshift-mtv", POD, False] = log
    evidence = await gather_plan(
        cluster, identity_of(cluster), RUNBOOK, redactor=Redactor(), now=NOW, timeout_s=5.0, settings=ONLY
    )
    assert any("Reconcile failed." in line for line in evidence.logs[0].lines)


async def test_a_secret_in_the_controllers_log_does_not_leave() -> None:
    evidence = await gathered(said(error="login refused, password=PLANTED-1 token: PLANTED-2"))
    assert evidence.logs
    assert "PLANTED" not in repr(evidence)
    assert evidence.hidden == 2


async def test_a_controller_that_may_not_be_read_is_said_with_the_missing_right() -> None:
    cluster = MemoryCluster([*objects(COLD), pod(POD, "openshift-mtv", LABELS)])
    cluster.refuse["log", POD] = ClusterError("forbidden", "no")
    evidence = await gather_plan(
        cluster, identity_of(cluster), RUNBOOK, redactor=Redactor(), now=NOW, timeout_s=5.0, settings=ONLY
    )
    (one,) = evidence.missing
    assert (one.what, one.cure) == ("controller log", "needs get pods/log in namespace openshift-mtv")
