"""Logs of receiver pods: which are read while a migration runs, and how they are told when the pods are gone."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from receiver.enrichers.carried import carry
from receiver.enrichers.evidence import Settings, gather_plan
from receiver.enrichers.logs import Logs
from receiver.enrichers.redact import Redactor
from receiver.enrichers.tails import AGAIN_S, AT_ONCE, REFUSED_REST_S, Tails
from receiver.keeping import unpack
from receiver.kube import ClusterError
from receiver.model import Evidence, LogExcerpt, VMFailure
from receiver.stuck import View
from receiver.stuck.tails import LOGS, Tail, to_json
from tests.unit.enrichers.cluster import MemoryCluster, objects
from tests.unit.enrichers.test_evidence import NOW, identity_of
from tests.unit.stuck.build import NS, VM_ID, at, migration, plan, pod

pytestmark = pytest.mark.anyio
POD = "virt-launcher-app"
FAILED = (VMFailure("id", "app"),)
ERROR = "error: VM name 'a' already exists in the target namespace"


def started(state: str = "running", phase: str = "Running") -> dict[str, Any]:
    statuses = [{"name": "compute", "state": {state: {}}}, {"name": "guest-console-log", "state": {"running": {}}}]
    return pod() | {"status": {"phase": phase, "containerStatuses": statuses}}


def view(job: dict[str, Any] | None = None, *pods: dict[str, Any]) -> View:
    return View(plan(), at(0), pods=pods, target_migrations=(job or migration("Scheduled"),))


class Launchers(MemoryCluster):
    """One receiver that logs, unless a test says otherwise."""

    def __init__(self) -> None:
        super().__init__([])
        self.logs[NS, POD, False] = "one line\n"

    @property
    def reads(self) -> int:
        return sum(verb == "log" for verb, *_ in self.asked)


async def test_a_log_is_read_when_its_state_changes_and_again_after_a_while() -> None:
    cluster, tails = Launchers(), Tails()
    assert await tails.read(cluster, view(None, pod()), 0.0, at(0)) == (), "nothing has started yet"
    assert cluster.reads == 0
    (read,) = await tails.read(cluster, view(None, started()), 1.0, at(1))
    assert read == Tail(VM_ID, NS, POD, "compute", "Scheduled", at(1), "one line\n")
    assert await tails.read(cluster, view(None, started()), 30.0, at(30)) == ()
    (read,) = await tails.read(cluster, view(migration("Running"), started()), 31.0, at(31))
    assert read.phase == "Running"
    assert not await tails.read(cluster, view(migration("Running"), started()), 30.0 + AGAIN_S, at(60))
    assert await tails.read(cluster, view(migration("Running"), started()), 31.0 + AGAIN_S, at(60))
    assert await tails.read(cluster, view(migration("Running"), started("terminated", "Failed")), 160.0, at(61))
    assert cluster.reads == 4


async def test_the_pod_of_a_migration_that_has_failed_is_remembered_though_nobody_lists_it() -> None:
    cluster, tails = Launchers(), Tails()
    await tails.read(cluster, view(None, started()), 0.0, at(0))
    (read,) = await tails.read(cluster, view(migration("Failed")), 30.0, at(30))
    assert (read.pod, read.phase) == (POD, "Failed")
    assert not await tails.read(cluster, view(migration("Failed")), 30.0 + AGAIN_S, at(60)), "once is enough"
    assert not await tails.read(cluster, View(plan(), at(0)), 300.0, at(90))


async def test_of_many_those_that_failed_come_first_and_then_each_has_its_turn() -> None:
    cluster, tails, jobs, pods = MemoryCluster([]), Tails(), [], []
    for number in range(10):
        job, launcher = migration("Running"), started("terminated", "Failed") if number == 9 else started()
        job["metadata"] |= {"uid": f"job-{number}", "labels": {"vmID": f"vm-{number}"}}
        launcher["metadata"] |= {"name": f"pod-{number}"}
        launcher["metadata"]["labels"] |= {"kubevirt.io/migrationJobUID": f"job-{number}"}
        cluster.logs[NS, f"pod-{number}", False] = "text"
        jobs.append(job)
        pods.append(launcher)
    seen = View(plan(), at(0), pods=pods, target_migrations=jobs)
    first = await tails.read(cluster, seen, 0.0, at(0))
    assert len(first) == AT_ONCE
    assert "pod-9" in {one.pod for one in first}
    rest = [one.pod for look in (1.0, 2.0, 3.0) for one in await tails.read(cluster, seen, look, at(look))]
    assert len({one.pod for one in first} | set(rest)) == 10 == len(first) + len(rest)


@pytest.mark.parametrize("reason", ["not found", "forbidden", "timeout"])
async def test_a_log_that_cannot_be_had_is_none_and_a_refusal_is_not_repeated_at_once(reason: Any) -> None:
    cluster, tails = Launchers(), Tails()
    cluster.refuse["log", POD] = ClusterError(reason, "no")
    assert await tails.read(cluster, view(None, started()), 0.0, at(0)) == ()
    cluster.refuse.clear()
    changed = view(migration("Running"), started())
    assert bool(await tails.read(cluster, changed, 1.0, at(1))) is (reason != "forbidden")
    assert bool(await tails.read(cluster, changed, REFUSED_REST_S, at(2)))


async def test_what_is_no_receiver_is_not_read() -> None:
    cluster, other, foreign = Launchers(), started(), started()
    other["metadata"]["labels"].pop("kubevirt.io")
    foreign["metadata"]["labels"]["kubevirt.io/migrationJobUID"] = "of another plan"
    assert await Tails().read(cluster, view(None, other, foreign), 0.0, at(0)) == ()
    assert cluster.reads == 0


# --- what is told ---


async def told(text: str, *, there: str = "", **fields: Any) -> tuple[Evidence, str]:
    """Gather about a live Plan that failed, of which this log was kept; `there`: what its pod still says."""
    cluster = MemoryCluster([one for one in objects("d2-live-cclm-failed.yaml") if one["kind"] != "Pod"])
    failed = next(one for one in cluster.objs if one["kind"] == "Plan")
    vm, target = failed["status"]["migration"]["vms"][0], failed["spec"]["targetNamespace"]
    if there:
        labels = {"plan": failed["metadata"]["uid"], "vmID": vm["id"]}
        metadata = {"uid": "job", "name": "job", "namespace": target, "labels": labels}
        job = {"kind": "VirtualMachineInstanceMigration", "metadata": metadata}
        launcher = copy.deepcopy(started("terminated", "Failed"))
        launcher["metadata"] |= {"namespace": target, "labels": {"kubevirt.io/migrationJobUID": "job"}}
        cluster.objs += [job, launcher]
        cluster.logs[target, POD, False] = there
    entry = Tail(vm["id"], target, POD, "compute", "Running", NOW, text)
    kept: dict[str, Any] = {"pods": [], LOGS: to_json([replace(entry, **fields)])}

    async def read(uid: str, run: str) -> Any:
        return (kept, NOW) if text else ({"pods": []}, NOW)

    settings = Settings(enrichers=(Logs(),))
    given: dict[str, Any] = {"redactor": Redactor(), "now": NOW, "timeout_s": 5.0, "settings": settings}
    return await gather_plan(cluster, identity_of(cluster), {}, kept=read, **given), vm["name"]


async def test_the_log_of_a_pod_that_is_gone_is_told_as_it_was_kept_and_names_the_cause() -> None:
    found, name = await told(f"starting\n{ERROR}\n")
    (log,) = found.logs
    assert (log.vm, log.pod, log.container, log.seen_at) == (name, POD, "compute", NOW)
    assert ERROR in log.lines
    assert unpack(log.kept) == f"starting\n{ERROR}\n"
    assert found.cause is not None
    assert found.cause.id == "vm-name-taken"
    assert not [one for one in found.missing if one.what.startswith("logs")]


async def test_without_one_or_of_another_vm_the_pod_is_said_to_be_gone_as_ever() -> None:
    for found, name in (await told(""), await told(ERROR, vm="another")):
        assert found.logs == ()
        assert [(one.what, one.why) for one in found.missing] == [(f"logs of {name}", "no pod is left")]


async def test_what_can_still_be_read_counts_and_what_was_kept_does_not() -> None:
    found, _ = await told(ERROR, there="error: the whole truth")
    assert {(one.lines, one.seen_at) for one in found.logs} == {(("error: the whole truth",), None)}


async def test_a_secret_is_hidden_also_by_what_is_configured_since() -> None:
    found, _ = await told("error: password=hunter2-very-secret\n")
    assert "hunter2" not in str(found) + unpack(found.logs[0].kept)


def test_what_was_read_after_the_failure_is_not_given_up_for_what_was_kept_before_it() -> None:
    read = LogExcerpt("app", NS, POD, "compute", ("error: the whole truth",))
    before = Evidence(run="run", logs=(read,), failures=FAILED)
    kept = replace(read, lines=("half of it",), seen_at=NOW)
    assert carry(before, replace(before, logs=(kept,))).logs == (read,)
    assert carry(replace(before, logs=(kept,)), before).logs == (read,)
