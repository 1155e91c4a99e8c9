"""All evidence about one Plan, from a cluster that helps, refuses, hangs or lies."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest

from receiver.enrichers import Context, Part
from receiver.enrichers.evidence import Settings, gather_plan
from receiver.enrichers.redact import HIDDEN, Redactor
from receiver.kube import ClusterError
from receiver.model import Evidence, Identity, Impact, Missing, PlanPhase
from tests.unit.enrichers.cluster import MemoryCluster, log_text, objects, pod

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 9, 14, 8, 30, tzinfo=UTC)
COLD = "a-cold-vsphere-imageconversion.yaml"
V2V_POD = "erp-wave1-vm-1402-d8f6k"
RUNBOOK = {"runbook_url": "https://runbooks.example.com/x"}


def cold() -> MemoryCluster:
    cluster = MemoryCluster(objects(COLD))
    cluster.logs["erp-prod", V2V_POD, False] = log_text("a-virt-v2v-erp-win01.log")
    return cluster


def identity_of(cluster: MemoryCluster) -> Identity:
    metadata = next(obj for obj in cluster.objs if obj["kind"] == "Plan")["metadata"]
    return Identity(
        subject=f"plan/{metadata['uid']}",
        kind="Plan",
        uid=metadata["uid"],
        namespace=metadata["namespace"],
        name=metadata["name"],
    )


async def gather(cluster: MemoryCluster, *, timeout_s: float = 10.0, **more: Any) -> Evidence:
    identity = more.pop("identity", None) or identity_of(cluster)
    return await gather_plan(cluster, identity, RUNBOOK, redactor=Redactor(), now=NOW, timeout_s=timeout_s, **more)


async def test_a_conversion_failure_has_its_log_cause_commands_and_nothing_missing() -> None:
    evidence = await gather(cold())
    assert (evidence.phase, evidence.impact, evidence.read_at) == (PlanPhase.FAILED, Impact.DOWN, NOW)
    (excerpt,) = evidence.logs
    assert (excerpt.vm, excerpt.namespace, excerpt.pod, excerpt.container) == (
        "erp-win01",
        "erp-prod",
        V2V_POD,
        "virt-v2v",
    )
    assert excerpt.read_lines == len(log_text("a-virt-v2v-erp-win01.log").splitlines())
    assert evidence.cause is not None
    assert (evidence.cause.id, evidence.cause.certainty) == ("windows-fast-startup", "1 of 1 log")
    assert [link.url for link in evidence.links] == ["https://runbooks.example.com/x"]
    assert [command.text.split(",")[0].split(" (")[0] for command in evidence.commands] == [
        "Run again",
        "Must-gather",
        "Must-gather",
    ]
    assert evidence.missing == ()
    assert evidence.complete


async def test_only_the_failed_vms_log_is_read() -> None:
    cluster = cold()
    await gather(cluster)
    assert [asked[1] for asked in cluster.asked if asked[0] == "log"] == [V2V_POD]


async def test_a_plan_given_is_not_fetched() -> None:
    cluster = cold()
    plan = next(obj for obj in cluster.objs if obj["kind"] == "Plan")
    await gather(cluster, plan=plan)
    assert ("get", "Plan") not in {asked[:2] for asked in cluster.asked}


async def test_a_restarted_importer_gives_the_log_of_the_run_before_and_its_last_word() -> None:
    cluster = MemoryCluster(objects("c-disktransfer-out-of-space.yaml"))
    name = "importer-prime-7f1c0a92-3be4-4f2a-9a80-4d6f1a2b3c0f"
    cluster.logs["files-prod", name, True] = log_text("c-importer-files01-disk0-previous.log")
    evidence = await gather(cluster)
    (excerpt,) = evidence.logs
    assert excerpt.previous
    assert excerpt.lines[-1].startswith("Unable to process data: Unable to resize disk image")
    assert evidence.cause is not None
    assert evidence.cause.id == "volume-too-small"


async def test_an_importer_without_labels_is_found_through_its_claim() -> None:
    cluster = MemoryCluster(objects("c-disktransfer-out-of-space.yaml"))
    importer = next(obj for obj in cluster.objs if obj["kind"] == "Pod")
    importer["metadata"]["labels"] = {"app": "containerized-data-importer"}
    cluster.logs["files-prod", importer["metadata"]["name"], True] = "Unable to process data: no space left on device"
    evidence = await gather(cluster)
    assert [excerpt.pod for excerpt in evidence.logs] == [importer["metadata"]["name"]]


async def test_a_hooks_pod_is_found_through_its_job_in_the_plans_namespace() -> None:
    cluster = cold()
    plan = next(obj for obj in cluster.objs if obj["kind"] == "Plan")
    vm = plan["status"]["migration"]["vms"][1]
    vm["error"] = {"phase": "PreHook", "reasons": ["Job has reached the specified backoff limit"]}
    vm["pipeline"] = [{"name": "PreHook", "phase": "Running", "error": {"reasons": ["x"]}}]
    labels = {"plan": plan["metadata"]["uid"], "vmID": "vm-1402", "step": "PreHook"}
    failed = {"containerStatuses": [{"name": "hook", "state": {"terminated": {"exitCode": 2}}}]}
    cluster.objs = [
        plan,
        {"kind": "Job", "metadata": {"name": "hook-1", "namespace": "mig-team-a", "labels": labels}},
        pod("hook-1-abcde", "mig-team-a", {"job-name": "hook-1"}, **failed),
    ]
    cluster.logs["mig-team-a", "hook-1-abcde", False] = "fatal: [localhost]: FAILED! => no route"
    evidence = await gather(cluster)
    assert [excerpt.container for excerpt in evidence.logs] == ["hook"]
    assert evidence.cause is not None
    assert evidence.cause.id == "hook-failed"


async def test_pods_of_which_only_the_log_is_left_are_found_by_their_names() -> None:
    cluster = cold()
    plan = next(obj for obj in cluster.objs if obj["kind"] == "Plan")
    nameless = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": V2V_POD, "namespace": "erp-prod"}}
    other = {"kind": "Pod", "metadata": {"name": "erp-wave1-vm-14021-aaaaa", "namespace": "erp-prod"}}
    cluster.objs = [plan, nameless, other]
    evidence = await gather(cluster)
    assert [excerpt.pod for excerpt in evidence.logs] == [V2V_POD]


async def test_pods_of_another_run_are_not_shown() -> None:
    cluster = cold()
    for obj in cluster.objs:
        if obj["kind"] == "Pod":
            obj["metadata"]["labels"]["migration"] = "an-older-run"
    evidence = await gather(cluster)
    assert evidence.logs == ()
    assert evidence.missing == (Missing("logs of erp-win01", "no pod is left", passing=False),)
    assert evidence.complete, "a pod that is gone does not come back"


async def test_pods_of_a_remote_cluster_are_named_as_such() -> None:
    cluster = cold()
    cluster.objs = [
        *(obj for obj in cluster.objs if obj["kind"] == "Plan"),
        {"kind": "Provider", "metadata": {"name": "host", "namespace": "openshift-mtv"}, "spec": {"url": "https://w"}},
    ]
    (missing,) = (await gather(cluster)).missing
    assert missing.why == "the pods run on the destination cluster host"


async def test_a_forbidden_log_says_which_right_is_missing_and_is_asked_again() -> None:
    cluster = cold()
    cluster.refuse["log", V2V_POD] = ClusterError("forbidden", "pods/log is forbidden")
    evidence = await gather(cluster)
    assert evidence.missing == (
        Missing("logs of erp-win01", "forbidden", "needs get pods/log in namespace erp-prod", passing=True),
    )
    assert not evidence.complete
    assert evidence.impact is Impact.DOWN, "what is known stays known"


async def test_forbidden_pods_say_which_right_is_missing() -> None:
    cluster = cold()
    cluster.refuse["list", "Pod"] = ClusterError("forbidden", "no")
    whats = {(missing.what, missing.why, missing.cure) for missing in (await gather(cluster)).missing}
    assert ("logs of erp-win01", "forbidden", "needs list pods in namespace erp-prod") in whats


async def test_a_log_that_hangs_costs_its_own_budget_and_nothing_else() -> None:
    cluster = cold()
    cluster.hang.add(("log", V2V_POD))
    evidence = await gather(cluster, timeout_s=1.0)
    assert evidence.missing == (Missing("logs of erp-win01", "timeout", "asked again"),)
    assert evidence.commands
    assert not evidence.complete


async def test_a_list_that_hangs_leaves_what_the_plan_says() -> None:
    cluster = cold()
    cluster.hang.add(("list", "Pod"))
    evidence = await gather(cluster, timeout_s=1.0)
    assert evidence.failures[0].name == "erp-win01"
    assert {one.what for one in evidence.missing} == {"logs of erp-win01", "controller log", "events"}
    assert {(one.why, one.cure) for one in evidence.missing} == {("timeout", "asked again")}


@pytest.mark.parametrize(
    ("error", "missing"),
    [
        (
            ClusterError("forbidden", "no"),
            Missing(
                "plan mig-team-a/erp-wave1", "forbidden", "needs get plans.forklift.konveyor.io in namespace mig-team-a"
            ),
        ),
        (
            ClusterError("unreachable", "connection refused"),
            Missing("plan mig-team-a/erp-wave1", "unreachable: connection refused", "asked again"),
        ),
    ],
)
async def test_a_plan_that_cannot_be_read_is_said_and_asked_again(error: ClusterError, missing: Missing) -> None:
    cluster = cold()
    cluster.refuse["get", "Plan"] = error
    evidence = await gather(cluster)
    assert (evidence.phase, evidence.impact) == (PlanPhase.UNREADABLE, Impact.UNKNOWN)
    assert evidence.missing == (missing,)
    assert not evidence.complete


async def test_a_plan_that_hangs_is_a_time_out() -> None:
    cluster = cold()
    cluster.hang.add(("get", "Plan"))
    evidence = await gather(cluster, timeout_s=0.5)
    assert evidence.missing == (Missing("plan mig-team-a/erp-wave1", "timeout", "asked again"),)


async def test_a_plan_of_the_same_name_but_another_uid_is_never_shown() -> None:
    cluster = cold()
    identity = Identity(subject="plan/x", kind="Plan", uid="x", namespace="mig-team-a", name="erp-wave1")
    evidence = await gather(cluster, identity=identity)
    assert evidence.failures == ()
    assert evidence.commands == ()
    assert "another one" in evidence.missing[0].why


async def test_a_plan_whose_namespace_is_not_known_is_not_looked_for() -> None:
    cluster = cold()
    evidence = await gather(cluster, identity=Identity(subject="plan/x", kind="Plan", uid="x"))
    assert cluster.asked == []
    assert evidence.missing[0].what == "plan"


async def test_no_secret_leaves_in_any_field() -> None:
    cluster = cold()
    plan = next(obj for obj in cluster.objs if obj["kind"] == "Plan")
    vm = plan["status"]["migration"]["vms"][1]
    vm["error"]["reasons"] = ["login failed: password=PLANTED-1"]
    vm["operatingSystem"] = "token: PLANTED-2"
    plan["status"]["conditions"].append(
        {"type": "X", "status": "True", "category": "Critical", "message": "https://u:PLANTED-3@x"}
    )
    v2v = next(obj for obj in cluster.objs if obj["kind"] == "Pod" and obj["metadata"]["name"] == V2V_POD)
    v2v["status"]["containerStatuses"][0]["state"]["terminated"]["message"] = "secret=PLANTED-4"
    cluster.logs["erp-prod", V2V_POD, False] = (
        "E0918 1 a.go:1] pass\x1b[0mword=PLANTED-5\nvirt-v2v: error: token=PLANTED-6"
    )
    evidence = await gather(cluster)
    assert "PLANTED" not in repr(evidence)
    assert HIDDEN in repr(evidence.logs)
    assert evidence.hidden == 6


async def test_a_refusal_that_quotes_a_secret_is_redacted() -> None:
    cluster = cold()
    cluster.refuse["get", "Plan"] = ClusterError("unreachable", "proxy http://u:PLANTED@p refused")
    assert "PLANTED" not in repr(await gather(cluster))


async def test_a_plan_with_two_thousand_failed_vms_costs_three_logs_and_says_so() -> None:
    cluster = cold()
    plan = next(obj for obj in cluster.objs if obj["kind"] == "Plan")
    failed = plan["status"]["migration"]["vms"][1]
    plan["status"]["migration"]["vms"] = [
        {**copy.deepcopy(failed), "id": f"vm-{number}", "name": f"v{number}"} for number in range(2_000)
    ]
    template = next(obj for obj in cluster.objs if obj["kind"] == "Pod" and obj["metadata"]["name"] == V2V_POD)
    for number in range(2_000):
        one = copy.deepcopy(template)
        one["metadata"] |= {"name": f"erp-wave1-vm-{number}-x"}
        one["metadata"]["labels"]["vmID"] = f"vm-{number}"
        cluster.objs.append(one)
        cluster.logs["erp-prod", f"erp-wave1-vm-{number}-x", False] = log_text("a-virt-v2v-erp-win01.log")
    evidence = await gather(cluster)
    assert evidence.counts.failed == 2_000
    assert len(evidence.logs) == 3
    assert len(cluster.asked) <= 14
    assert evidence.cause is not None
    assert evidence.cause.certainty == "3 of 3 logs"
    assert evidence.missing == (
        Missing("logs of 1,997 other VMs", "not read: the logs of 3 VMs are read per story", passing=False),
    )


async def test_one_vm_of_each_kind_of_failure_is_read_before_a_second_of_any() -> None:
    cluster = cold()
    plan = next(obj for obj in cluster.objs if obj["kind"] == "Plan")
    failed = plan["status"]["migration"]["vms"][1]
    others = [{**copy.deepcopy(failed), "id": f"vm-{number}", "name": f"v{number}"} for number in range(5)]
    others[4]["error"]["reasons"] = ["something else"]
    plan["status"]["migration"]["vms"] = others
    await gather(cluster)
    selector = next(asked[3] for asked in cluster.asked if asked[:2] == ("list", "Pod"))
    assert selector.endswith("vmID in (vm-0,vm-4,vm-1)")


async def test_a_runbook_that_nobody_knows_is_said_and_does_not_keep_evidence_open() -> None:
    cluster = cold()
    evidence = await gather_plan(
        cluster, identity_of(cluster), {}, redactor=Redactor(), now=NOW, timeout_s=10, alertname="MigrationFailed"
    )
    assert evidence.links == ()
    assert evidence.missing[0].why == "no runbook known for MigrationFailed"
    assert evidence.complete


class _Broken:
    name = "broken"
    budget_s = 1.0

    async def gather(self, ctx: Context) -> Part:
        raise RuntimeError("password=PLANTED")


async def test_a_bug_in_one_enricher_costs_its_part_only() -> None:
    evidence = await gather(cold(), settings=Settings(enrichers=(_Broken(),)))
    assert evidence.impact is Impact.DOWN
    assert evidence.missing == (Missing("broken", "our own error (RuntimeError)", passing=False),)
    assert "PLANTED" not in repr(evidence)


@pytest.mark.parametrize(
    "name", ["b2-warm-snapshot-current.yaml", "d-live-cclm-stuck.yaml", "d2-live-cclm-failed.yaml"]
)
async def test_every_example_gives_evidence(name: str) -> None:
    evidence = await gather(MemoryCluster(objects(name)))
    assert evidence.run
    assert evidence.commands


async def test_objects_that_lie_about_their_types_raise_nothing() -> None:
    cluster = cold()
    for obj in cluster.objs:
        if obj["kind"] == "Pod":
            obj["status"] = {"containerStatuses": [{"name": 3, "state": "x"}, None], "conditions": 7}
            obj["spec"] = []
    evidence = await gather(cluster)
    assert evidence.failures
