"""Each row of the table of waits, and what looks like it and is none."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.stuck import Block, Kind, Owner
from tests.unit.stuck.build import (
    JOB_UID,
    NS,
    PLAN_UID,
    VM,
    VM_ID,
    at,
    block,
    blocks,
    claim,
    condition,
    data_volume,
    done,
    event,
    meta,
    migration,
    plan,
    pod,
    stamp,
    unschedulable,
    vm,
)

REJECTED = condition("migrationRejectedByResourceQuota", "True")
EXCEEDED = "exceeded quota: q, requested: requests.memory=3Gi, used: requests.memory=2Gi, limited: requests.memory=4Gi"
FULL = 'failed to provision volume with StorageClass "gold": rpc error: code = ResourceExhausted desc = pool is full'
PENDING = condition("Bound", "False", "Pending", "PVC app-root Pending")


def failed_create(message: str, **more: Any) -> dict[str, Any]:
    return event("VirtualMachineInstance", VM, "FailedCreate", message, **more)


def of_claim(reason: str, message: str = "", name: str = "app-root", **more: Any) -> dict[str, Any]:
    return event("PersistentVolumeClaim", name, reason, message, **more)


def told(one: Block) -> tuple[Kind, Owner, bool]:
    return one.kind, one.owner, one.ends_by_itself


# The receiver pod is there and cannot start.


def test_no_node_fits() -> None:
    message = "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu."
    one = block(target_migrations=[migration("Scheduling")], pods=[pod(unschedulable(message, 5))])
    assert told(one) == (Kind.UNSCHEDULABLE, Owner.NODES, True)
    assert (one.since, one.shortages[0].need, one.shortages[0].nodes, one.nodes_total) == (at(5), 100, 2, 3)
    assert one.cause.endswith(": too little cpu on 2 of 3 nodes, no scheduling allowed on 1 of 3 nodes.")


def test_no_node_has_the_cpu_model() -> None:
    message = "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector."
    said = event("VirtualMachineInstance", VM, "NoSuitableNodesForHostModelMigration", "needs cpu-model-migration…")
    one = block(target_migrations=[migration("Scheduling")], pods=[pod(unschedulable(message))], events=[said])
    assert told(one) == (Kind.UNSCHEDULABLE, Owner.NODES, True)
    assert "NoSuitableNodesForHostModelMigration" in [sign.reason for sign in one.evidence]


def test_no_node_fits_as_the_instance_alone_tells_it() -> None:
    instance = {
        "metadata": meta(VM),
        "status": {"conditions": [unschedulable("0/1 nodes are available: 1 Too many pods.")]},
    }
    one = block(target_migrations=[migration("Scheduling")], vmis=[instance])
    assert (*told(one), one.deadline) == (Kind.UNSCHEDULABLE, Owner.NODES, True, None)
    assert blocks(target_migrations=[migration("Running")], vmis=[instance]) == ()


def test_a_wording_that_nobody_knows_is_told_verbatim() -> None:
    message = "0/3 nodes are available: 3 node(s) met a rule of next year."
    one = block(target_migrations=[migration("Scheduling")], pods=[pod(unschedulable(message))])
    assert one.cause.endswith(': "node(s) met a rule of next year" on 3 of 3 nodes.')


def test_a_volume_of_a_class_that_binds_at_once_is_not_bound() -> None:
    message = "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    one = block(target_migrations=[migration("Scheduling")], pods=[pod(unschedulable(message))])
    assert told(one) == (Kind.VOLUME_UNBOUND, Owner.STORAGE, True)


def test_the_volumes_own_events_say_why_it_is_not_bound_and_the_pod_when_it_ends() -> None:
    message = "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    one = block(
        target_migrations=[migration("Scheduling")],
        pods=[pod(unschedulable(message))],
        claims=[claim()],
        events=[of_claim("ProvisioningFailed", FULL)],
    )
    assert (*told(one), one.deadline) == (Kind.STORAGE_FULL, Owner.STORAGE, True, at(300))
    assert one.also == (Kind.VOLUME_UNBOUND,)


@pytest.mark.parametrize(
    "words", ["node(s) did not have enough free storage", "node(s) didn't find available persistent volumes to bind"]
)
def test_a_volume_that_is_bound_with_its_pod_fits_nowhere(words: str) -> None:
    message = f"0/3 nodes are available: 1 node(s) had untolerated taint {{a: b}}, 2 {words}."
    one = block(target_migrations=[migration("Scheduling")], pods=[pod(unschedulable(message))])
    assert told(one) == (Kind.VOLUME_NO_FIT, Owner.STORAGE, True)


def test_where_memory_lacks_too_the_nodes_are_told() -> None:
    message = "0/3 nodes are available: 1 Insufficient memory, 2 node(s) did not have enough free storage."
    one = block(target_migrations=[migration("Scheduling")], pods=[pod(unschedulable(message))])
    assert (one.kind, one.owner) == (Kind.UNSCHEDULABLE, Owner.NODES)
    assert "too little free storage on 2 of 3 nodes" in one.cause


def test_a_gate_of_application_aware_quota() -> None:
    gated = condition("PodScheduled", "False", "SchedulingGated")
    gates = {"schedulingGates": [{"name": "ApplicationAwareQuotaGate"}]}
    one = block(target_migrations=[migration("Scheduling")], pods=[pod(gated, spec=gates)])
    assert (*told(one), one.deadline) == (Kind.QUOTA_GATE, Owner.QUOTA, True, at(900))


def test_another_gate_is_not_taken_for_quota() -> None:
    gated = condition("PodScheduled", "False", "SchedulingGated")
    gates = {"schedulingGates": [{"name": "example.com/hold"}]}
    one = block(target_migrations=[migration("Scheduling")], pods=[pod(gated, spec=gates)])
    assert told(one) == (Kind.SCHEDULING_GATE, Owner.MIGRATION, True)
    assert "example.com/hold" in one.cause


def test_the_scheduler_itself_failed() -> None:
    one = block(
        target_migrations=[migration("Scheduling")], pods=[pod(condition("PodScheduled", "False", "SchedulerError"))]
    )
    assert (one.kind, one.deadline) == (Kind.SCHEDULER_ERROR, at(900))


def test_an_image_that_cannot_be_pulled() -> None:
    waits = {"name": "compute", "image": "reg/launcher:1", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    one = block(
        target_migrations=[migration("Scheduling")],
        pods=[pod(condition("PodScheduled", "True"), containerStatuses=[waits])],
    )
    assert (*told(one), one.deadline) == (Kind.IMAGE_PULL, Owner.IMAGES, True, at(900))
    assert "reg/launcher:1" in one.cause


@pytest.mark.parametrize(
    "calm",
    [
        pod(condition("PodScheduled", "True")),
        pod(),
        pod(
            condition("PodScheduled", "True"),
            containerStatuses=[{"state": {"waiting": {"reason": "ContainerCreating"}}}],
        ),
        pod(unschedulable("0/1 nodes are available: 1 Insufficient cpu.")) | {"status": {"phase": "Running"}},
    ],
)
def test_a_pod_that_only_starts_is_no_wait(calm: dict[str, Any]) -> None:
    assert blocks(target_migrations=[migration("Scheduling")], pods=[calm]) == ()


def test_a_pod_that_is_being_deleted_or_of_another_migration_is_not_this_vms() -> None:
    stuck = pod(unschedulable("0/1 nodes are available: 1 Insufficient cpu."))
    going = stuck | {"metadata": stuck["metadata"] | {"deletionTimestamp": stamp(300)}}
    other = stuck | {
        "metadata": stuck["metadata"] | {"labels": stuck["metadata"]["labels"] | {"kubevirt.io/migrationJobUID": "x"}}
    }
    assert blocks(target_migrations=[migration("Scheduling")], pods=[going, other]) == ()


# The receiver pod may not be made.


def test_quota_refuses_the_pod() -> None:
    one = block(
        target_migrations=[migration("Pending", REJECTED)], events=[failed_create(f"Error creating pod: {EXCEEDED}")]
    )
    assert (*told(one), one.scope) == (Kind.QUOTA_POD, Owner.QUOTA, False, f"{NS}/q")
    assert one.shortages[0].short == 1 << 30


def test_quota_refuses_the_pod_and_the_event_is_gone() -> None:
    one = block(target_migrations=[migration("Pending", REJECTED)])
    assert (*told(one), one.scope, one.shortages) == (Kind.QUOTA_POD, Owner.QUOTA, False, "", ())
    assert one.cause == f"A ResourceQuota of namespace {NS} refuses the receiver pod."


def test_quota_refuses_the_pod_as_the_event_alone_tells_it() -> None:
    assert block(target_migrations=[migration("Pending")], events=[failed_create(EXCEEDED)]).kind is Kind.QUOTA_POD
    assert block(events=[failed_create(EXCEEDED)]).kind is Kind.QUOTA_POD


@pytest.mark.parametrize(
    "objects",
    [
        {"target_migrations": [migration("Pending", condition("migrationRejectedByResourceQuota", "False"))]},
        {"target_migrations": [migration("Pending", REJECTED)], "pods": [pod()]},
        {"target_migrations": [migration("Running")], "events": [failed_create(EXCEEDED)]},
        {"target_migrations": [migration("Pending")], "events": [failed_create(EXCEEDED, last=-60)]},
        {
            "target_migrations": [migration("Pending")],
            "events": [failed_create(EXCEEDED, about={"namespace": "other"})],
        },
        {"plan": plan(vm("CreateVM"), kind="cold"), "events": [failed_create(EXCEEDED)]},
    ],
    ids=["condition is over", "pod is there", "went on", "of an earlier run", "of another namespace", "no receiver"],
)
def test_a_refusal_that_is_over_or_not_this_vms_is_none(objects: dict[str, Any]) -> None:
    assert blocks(**objects) == ()


def test_a_refusal_that_began_before_this_run_and_goes_on_is_as_old_as_the_run() -> None:
    one = block(target_migrations=[migration("Pending")], events=[failed_create(EXCEEDED, first=-600)])
    assert one.since == at(0)


def test_an_event_of_an_instance_that_was_replaced_is_not_this_ones() -> None:
    instance = {"metadata": meta(VM, uid="new")}
    old = failed_create(EXCEEDED, about={"uid": "old"})
    assert blocks(target_migrations=[migration("Pending")], vmis=[instance], events=[old]) == ()


def test_pod_security_refuses_the_pod() -> None:
    message = 'Error creating pod: pods "x" is forbidden: violates PodSecurity "restricted:latest": privileged'
    one = block(target_migrations=[migration("Pending")], events=[failed_create(message)])
    assert told(one) == (Kind.POD_SECURITY, Owner.SECURITY, False)


def test_another_refusal_is_told_as_it_is_written() -> None:
    message = 'Error creating pod: admission webhook "policy.example" denied the request: no'
    one = block(target_migrations=[migration("Pending")], events=[failed_create(message)])
    assert told(one) == (Kind.POD_REFUSED, Owner.MIGRATION, False)
    assert message in one.cause
    message = "Error creating pod: failed quota: q: must specify limits.cpu for: compute"
    one = block(target_migrations=[migration("Pending")], events=[failed_create(message)])
    assert told(one) == (Kind.POD_REFUSED, Owner.QUOTA, False)


# Volumes.


def test_the_backend_has_no_space() -> None:
    one = block(plan=plan(vm("WaitForTargetVMI")), claims=[claim()], events=[of_claim("ProvisioningFailed", FULL)])
    assert (*told(one), one.scope, one.code) == (Kind.STORAGE_FULL, Owner.STORAGE, False, "gold", "ResourceExhausted")
    assert one.shortages[0].need == 30 << 30


def test_provisioning_fails_for_another_reason() -> None:
    message = 'failed to provision volume with StorageClass "gold": rpc error: code = Internal desc = offline'
    one = block(claims=[claim()], events=[of_claim("ProvisioningFailed", message)])
    assert (one.kind, one.code) == (Kind.PROVISIONING_FAILED, "Internal")


def test_the_event_is_found_at_the_claim_through_which_the_volume_is_filled() -> None:
    name = "prime-uid-app-root"
    one = block(claims=[claim(), claim(name=name)], events=[of_claim("ProvisioningFailed", FULL, name)])
    assert (one.kind, one.evidence[0].name) == (Kind.STORAGE_FULL, name)


def test_a_prime_claim_is_nobodys_where_two_could_own_it() -> None:
    first, second = claim(), claim(name="app-data")
    for one in (first, second):
        del one["metadata"]["uid"]
    objects: dict[str, Any] = {
        "claims": [first, claim(name="prime-x")],
        "events": [of_claim("ProvisioningFailed", FULL, "prime-x")],
    }
    assert block(**objects).kind is Kind.STORAGE_FULL
    assert blocks(**objects | {"claims": [*objects["claims"], second]}) == ()


@pytest.mark.parametrize(
    "objects",
    [
        {"claims": [claim("Bound")], "events": [of_claim("ProvisioningFailed", FULL)]},
        {
            "claims": [claim()],
            "events": [of_claim("ProvisioningFailed", FULL, last=10), of_claim("ProvisioningSucceeded", last=20)],
        },
        {"claims": [claim(), claim("Bound", "prime-uid-app-root")], "events": [of_claim("ProvisioningFailed", FULL)]},
        {"claims": [claim()], "events": [of_claim("ProvisioningFailed", FULL, last=-1)]},
    ],
    ids=["bound", "succeeded since", "being filled", "of an earlier run"],
)
def test_a_failed_provisioning_that_is_over_is_none(objects: dict[str, Any]) -> None:
    assert blocks(**objects) == ()


def test_the_provisioner_is_absent_or_slow() -> None:
    waits = of_claim("ExternalProvisioning", "Waiting for a volume to be created", type="Normal")
    one = block(claims=[claim()], events=[waits])
    assert told(one) == (Kind.PROVISIONER_WAITS, Owner.STORAGE, False)
    assert blocks(119, claims=[claim()], events=[waits]) == ()


def test_a_claim_that_another_fills_waits_as_long_as_that_takes() -> None:
    filled = claim(dataSourceRef={"kind": "VolumeImportSource", "name": "x"})
    assert blocks(100_000, claims=[filled], events=[of_claim("ExternalProvisioning", last=99_000)]) == ()


@pytest.mark.parametrize("reason", ["WaitForFirstConsumer", "WaitForPodScheduled"])
def test_waiting_for_a_consumer_is_no_error(reason: str) -> None:
    objects: dict[str, Any] = {
        "claims": [claim()],
        "data_volumes": [data_volume("WaitForFirstConsumer", PENDING)],
        "events": [of_claim(reason, type="Normal", last=99_000)],
    }
    assert blocks(100_000, **objects) == ()
    later = {**objects, "events": [of_claim("ExternalProvisioning", last=10), *objects["events"]]}
    assert blocks(100_000, **later) == ()


@pytest.mark.parametrize("phase", ["Pending", "ImportScheduled"])
def test_a_data_volume_waits(phase: str) -> None:
    one = block(data_volumes=[data_volume(phase, PENDING)])
    assert (*told(one), one.since) == (Kind.DATA_VOLUME_WAITS, Owner.STORAGE, False, at(0))
    assert blocks(119, data_volumes=[data_volume(phase, PENDING)]) == ()


def test_an_importer_pod_fits_nowhere() -> None:
    waits = condition("Running", "False", "Unschedulable", "Importer pod cannot be scheduled")
    one = block(data_volumes=[data_volume("ImportScheduled", PENDING, waits)])
    assert told(one) == (Kind.DATA_VOLUME_WAITS, Owner.NODES, False)


@pytest.mark.parametrize(
    "volume",
    [
        data_volume("Succeeded", PENDING),
        data_volume("ImportInProgress", PENDING),
        data_volume("ImportScheduled", condition("Bound", "True")),
        data_volume("PendingPopulation", PENDING),
    ],
)
def test_a_data_volume_that_is_at_work_or_waits_for_its_consumer_is_none(volume: dict[str, Any]) -> None:
    assert blocks(100_000, data_volumes=[volume]) == ()


def test_a_population_that_waits_for_no_consumer_is_a_wait() -> None:
    assert block(data_volumes=[data_volume("PendingPopulation", PENDING, at_once=True)]).kind is Kind.DATA_VOLUME_WAITS


def test_quota_refuses_the_claim() -> None:
    refused = event(
        "DataVolume", "app-root", "ErrExceededQuota", f'persistentvolumeclaims "x" is forbidden: {EXCEEDED}'
    )
    one = block(data_volumes=[data_volume("Pending", PENDING)], events=[refused])
    assert (*told(one), one.scope) == (Kind.QUOTA_CLAIM, Owner.QUOTA, False, f"{NS}/q")
    assert one.shortages[0].short == 1 << 30
    bound: dict[str, Any] = {"claims": [claim("Bound")], "data_volumes": [data_volume("Pending")], "events": [refused]}
    assert blocks(**bound) == ()
    assert blocks(data_volumes=[data_volume("Succeeded")], events=[refused]) == ()


# What no object of the target shows.


def test_no_address_is_advertised() -> None:
    one = block(
        plan=plan(vm("CreateVirtualMachineInstanceMigrations")), target_migrations=[migration("WaitingForSync")]
    )
    assert told(one) == (Kind.NO_SYNC, Owner.NETWORK, False)
    assert one.shortages == ()
    assert one.cause == "The target cluster advertises no address at which the source could reach it."


def test_source_and_target_do_not_meet() -> None:
    source = {"metadata": meta("src", labels={"vmID": VM_ID}), "spec": {"sendTo": {"migrationID": "x"}}}
    one = block(
        target_migrations=[migration("WaitingForSync", synchronizationAddresses=["192.0.2.1:9185"])],
        source_migrations=[source | {"status": {"phase": "Synchronizing"}}],
    )
    assert one.kind is Kind.NO_SYNC
    assert "192.0.2.1:9185" in one.cause
    assert [sign.reason for sign in one.evidence] == ["WaitingForSync", "Synchronizing"]


def test_kubevirt_says_that_the_clusters_do_not_work_together() -> None:
    said = condition("decentralizedMigrationBlocked", "True", "Version", "the source is too old.")
    one = block(5, target_migrations=[migration("WaitingForSync", said)])
    assert (one.kind, one.owner) == (Kind.NO_SYNC, Owner.NETWORK)
    assert one.cause.endswith("reports the live migration blocked: the source is too old.")


@pytest.mark.parametrize(
    ("now", "phase", "entered"), [(119, "WaitingForSync", 0), (9_000, "WaitingForSync", 8_900), (9_000, "Running", 0)]
)
def test_a_short_wait_for_the_other_side_is_none(now: float, phase: str, entered: float) -> None:
    assert blocks(now, target_migrations=[migration(phase, entered=entered)]) == ()


def test_a_vm_that_waits_for_its_turn_is_information() -> None:
    message = "Waiting to start migration: in-flight limit reached (max 35)."
    waits = vm("Started", started=None, conditions=[condition("Pending", "True", "", message, 30)])
    one = block(plan=plan(waits))
    assert (one.kind, one.information, one.since, one.blocks) == (Kind.IN_FLIGHT, True, at(30), ())
    assert one.cause == "All 35 migration slots of provider east are busy; this VM waits for its turn."
    assert not block(target_migrations=[migration("Pending", REJECTED)]).information


def test_a_vm_that_is_pending_for_another_reason_does_not_wait_for_its_turn() -> None:
    other = vm(conditions=[condition("Pending", "True", "", "Waiting for something new.")])
    assert blocks(plan=plan(other)) == ()


# Whose, and what it keeps from others.


@pytest.mark.parametrize("result", ["Succeeded", "Failed", "Canceled"])
def test_a_vm_that_has_ended_waits_for_nothing(result: str) -> None:
    over = vm(conditions=[condition(result, "True")])
    assert blocks(plan=plan(over), target_migrations=[migration("Pending", REJECTED)]) == ()


def test_objects_of_another_plan_or_run_are_not_this_vms() -> None:
    other = migration("Pending", REJECTED)
    other["metadata"]["labels"] = {"plan": "another", "vmID": VM_ID}
    assert blocks(target_migrations=[other]) == ()
    rerun = plan()
    rerun["status"]["migration"]["history"] = [{"migration": {"uid": "run-2"}}]
    other["metadata"]["labels"] = {"plan": PLAN_UID, "migration": "run-1", "vmID": VM_ID}
    assert blocks(plan=rerun, target_migrations=[other]) == ()
    other["metadata"]["labels"]["migration"] = "run-2"
    assert block(plan=rerun, target_migrations=[other]).kind is Kind.QUOTA_POD


def test_a_receiver_of_another_plans_migration_is_no_stray() -> None:
    other = migration("Scheduling")
    other["metadata"]["labels"] = {"plan": "another", "vmID": "another"}
    foreign = pod(unschedulable("0/1 nodes are available: 1 Insufficient cpu."))
    foreign["metadata"]["labels"]["vm.kubevirt.io/name"] = "another"
    assert foreign["metadata"]["labels"]["kubevirt.io/migrationJobUID"] == JOB_UID
    assert blocks(target_migrations=[other], pods=[foreign]) == ()


def test_what_a_wait_keeps_from_others() -> None:
    kept = block(
        plan=plan(vm(), done("a"), done("b"), done("c", "Failed")), target_migrations=[migration("Pending", REJECTED)]
    ).blocks
    assert kept == (
        "keeps 1 of 20 migration slots of provider east busy",
        "hides the results of 3 VMs that are done (1 failed)",
    )


def test_a_cold_migration_counts_no_slots_and_the_plan_tells_the_limit() -> None:
    full: dict[str, Any] = {"claims": [claim()], "events": [of_claim("ProvisioningFailed", FULL)]}
    assert block(plan=plan(vm("CopyDisks"), done("a"), kind="cold"), **full).blocks == (
        "hides the result of 1 VM that is done",
    )
    ready = condition("Ready", "True", "", "2 VM(s) waiting to start migration (in-flight limit: 7).")
    assert block(plan=plan(conditions=(ready,)), **full).blocks == (
        "keeps 1 of 7 migration slots of provider east busy",
    )


def test_the_vms_of_the_migration_are_used_where_given() -> None:
    one = block(plan=plan(done("a")), vms=[vm()], target_migrations=[migration("Pending", REJECTED)])
    assert (one.vm, one.vm_id, one.blocks) == (VM, VM_ID, ("keeps 1 of 20 migration slots of provider east busy",))


def test_a_vm_under_another_name_in_the_target_is_found() -> None:
    renamed = vm(name="old", newName=VM)
    one = block(plan=plan(renamed), events=[failed_create(EXCEEDED)])
    assert (one.vm, one.kind) == ("old", Kind.QUOTA_POD)


def test_events_of_the_newer_api_are_read() -> None:
    new = {
        "regarding": {"kind": "VirtualMachineInstance", "name": VM, "namespace": NS},
        "note": EXCEEDED,
        "reason": "FailedCreate",
        "eventTime": stamp(3),
        "series": {"count": 9, "lastObservedTime": stamp(200)},
    }
    one = block(events=[new])
    assert (one.kind, one.since, one.evidence[0].count, one.evidence[0].last) == (Kind.QUOTA_POD, at(3), 9, at(200))
