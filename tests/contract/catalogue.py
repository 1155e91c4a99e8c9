"""The failures whose messages are kept as golden files: the worked examples, and more of the fact sheet's errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tests.contract.failures import (
    CONVERSION,
    DATA,
    Failure,
    Obj,
    at,
    condition,
    converted,
    done,
    event,
    example,
    plan,
    pod,
    run,
    vm,
)
from tests.contract.waiting import ENOUGH, NO_NODE, NO_QUOTA, live, live_failed

BITLOCKER = (
    'libguestfs: trace: v2v: vfs_type "/dev/sda4"\nlibguestfs: trace: v2v: vfs_type = "BitLocker"\n'
    "virt-v2v: could not read key from user\nFailed to execute virt-v2v command exit status 1\n"
)
NOVEL = (
    "[  12.3] Opening the overlay\nvirt-v2v: error: could not decode the boot loader table at sector 4711\n"
    "Failed to execute virt-v2v command exit status 1\n"
)
QUOTA = (
    'persistentvolumeclaims "pay-disk-0" is forbidden: exceeded quota: pay-quota, '
    "requested: requests.storage=80Gi, used: requests.storage=990Gi, limited: requests.storage=1Ti"
)


def bitlocker() -> Failure:
    win = [vm(f"pay-win-app{n:02}", n, "ImageConversion", CONVERSION, minute=19 + n) for n in (4, 5)]
    rpt = vm("pay-win-rpt01", 6, "ImageConversion", CONVERSION, before="Off")
    return converted("pay-w17-03", dict.fromkeys((4, 5, 6), BITLOCKER), *win, rpt, *done(7, 17))


def many_failed() -> Failure:
    bad = [vm(f"pay-app{n:02}", n, "ImageConversion", CONVERSION, minute=10 + n) for n in range(1, 13)]
    return converted("pay-w17-04", dict.fromkeys((1, 2, 3), BITLOCKER), *bad, *done(13, 8))


def different_causes() -> Failure:
    failure = converted(
        "pay-mixed",
        {1: "virt-v2v: error: not enough free space for conversion on filesystem '/boot'. 12 MB free < 50 MB\n"},
        vm("pay-lx-db01", 1, "ImageConversion", CONVERSION),
        vm("pay-lx-db02", 2, "DiskTransfer", "Unable to process data: write /data/disk.img: no space left on device",
           disks=((20_480, 81_920),)),
        vm("pay-lx-db03", 3, "Initialize", "VM pay-lx-db03 is not connected", phase="PreflightInspection", before=None),
    )  # fmt: skip
    importer = pod(failure.plan, 2, "importer", "importer-pay-lx-db02-disk-0")
    failure.objects.append(importer)
    failure.logs["pay-prod", importer["metadata"]["name"], "importer", False] = (
        "E1121 02:31:00.1 1 importer.go:194] write /data/disk.img: no space left on device\nUnable to process data\n"
    )
    return failure


def hook_failed(step: str) -> Failure:
    made = plan("pay-hooks", vm("pay-app01", 1, step, "Job has reached the specified backoff limit", hooks=(step,)))
    labels = {"plan": "uid-pay-hooks", "migration": "run-1", "vmID": "vm-1"}
    job = f"pay-hooks-vm-1-{step.lower()}-c4v7x"
    meta: Obj = {"namespace": "mig-pay"}
    terminated = {"name": "hook", "restartCount": 0, "state": {"terminated": {"exitCode": 2, "reason": "Error"}}}
    return Failure(
        [
            made,
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": job, "labels": labels, **meta}},
            {"apiVersion": "v1", "kind": "Pod",
             "metadata": {"name": f"{job}-2xk9z", "labels": {"job-name": job}, **meta},
             "spec": {"containers": [{"name": "hook"}]},
             "status": {"phase": "Failed", "containerStatuses": [terminated]}},
        ],
        {("mig-pay", f"{job}-2xk9z", "hook", False):
            'TASK [stop payments] ***\nfatal: [localhost]: FAILED! => {"changed": false, "msg": "Unable to stop '
            'service payd: Job for payd.service timed out"}\nPLAY RECAP ***\nlocalhost : ok=1 failed=1\n'},
    )  # fmt: skip


def quota() -> Failure:
    made = plan("pay-quota", vm("pay-app01", 1, "DiskTransfer", QUOTA, disks=((0, 81_920),)), *done(2, 3))
    claim: Obj = {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "pay-disk-0", "namespace": "pay-prod",
                     "labels": {"plan": "uid-pay-quota", "migration": "run-1", "vmID": "vm-1"}},
    }  # fmt: skip
    denied = event("PersistentVolumeClaim", "pay-prod", "pay-disk-0", "ErrExceededQuota", QUOTA)
    attach = event("PersistentVolumeClaim", "pay-prod", "pay-disk-0", "ClaimMisbound", "two claims want one volume")
    return Failure([made, claim, denied, attach])


def populator(name: str, log: str, source: str) -> Failure:
    made = plan(
        name, vm("db01", 1, "DiskTransfer", "populator pod failed for PVC db-disk-0. Please check the pod logs",
                 disks=((9_830, 81_920),)),
        source=source,
    )  # fmt: skip
    one = pod(made, 1, "populate", "populate-7f1c0a92")
    text = (DATA / "logs" / f"{log}.log").read_text(encoding="utf-8")
    return Failure([made, one], {("pay-prod", "populate-7f1c0a92", "populate", False): text})


def conversion_pending() -> Failure:
    made = plan(
        "pay-pending",
        vm("pay-app01", 1, "ImageConversion",
           "conversion pod pay-pending-vm-1 stuck in Pending for 5m0s (reason: 0/9 nodes are available)"),
    )  # fmt: skip
    unscheduled = condition("PodScheduled", "0/9 nodes are available: insufficient cpu") | {"status": "False"}
    one = pod(made, 1, phase="Pending", conditions=[unscheduled])
    name = one["metadata"]["name"]
    text = "0/9 nodes are available: 9 Insufficient cpu. preemption: not eligible"
    return Failure([made, one, event("Pod", "pay-prod", name, "FailedScheduling", text)])


def logs_forbidden() -> Failure:
    failure = converted(
        "pay-secret", {1: BITLOCKER}, vm("pay-win-app01", 1, "ImageConversion", CONVERSION), *done(2, 4)
    )
    failure.forbidden = {("get", "pods/log")}
    return failure


def standing() -> Failure:
    """Run 1 left two VMs off; run 2 was refused by a hook before it touched anything."""
    first = [vm(f"pay-app{n:02}", n, "ImageConversion", CONVERSION) for n in (1, 2)]
    second = vm("pay-app03", 3, "PreHook", "Hook not found", hooks=("PreHook",), before=None)
    waiting = [vm(f"pay-app{n:02}", n, "Initialize", state="Canceled", before="Off") for n in (1, 2)]
    made = plan("pay-again", *waiting, second, runs=2)
    return Failure([made, run(made, 1, *first)])


def blocked() -> Failure:
    message = (
        "The plan execution has FAILED due to a validation blocker: "
        "The source provider does not have the Ready condition."
    )
    waiting = vm("pay-app01", 1, "Initialize", state="Pending", before=None)
    return Failure([plan("pay-blocked", waiting, message=message)])


def plan_deleted() -> Failure:
    failure = bitlocker()
    failure.deleted = True
    return failure


def name_taken() -> Failure:
    made = plan("rename-clash", vm("web-old", 1, "VirtualMachineCreation", state="Running"), namespace="mig-team-a",
                target="erp-prod", state="Executing")  # fmt: skip
    made["status"]["migration"]["started"] = "2026-09-20T08:00:00Z"
    made["status"]["migration"]["vms"][0] |= {"phase": "CreateVM", "started": "2026-09-20T08:00:00Z"}
    controller = {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "forklift-controller-5d8", "namespace": "openshift-mtv",
                     "labels": {"app": "forklift", "control-plane": "controller-manager"}},
        "spec": {"containers": [{"name": "main"}]}, "status": {"phase": "Running"},
    }  # fmt: skip
    text = (DATA / "logs" / "e-forklift-controller-reconcile-error-loop.log").read_text(encoding="utf-8")
    failure = Failure([made, controller], {("openshift-mtv", "forklift-controller-5d8", "main", False): text})
    failure.alertname = "MTVPlanStuck"
    failure.now = datetime(2026, 9, 20, 9, 11, tzinfo=UTC)
    return failure


def warm(step: str, *reasons: str, **more: Any) -> Obj:
    rounds = [{"start": at(n), "end": at(n + 1)} for n in range(0, 24, 2)]
    return vm("crm-db01", 1, step, *reasons, mode="warm", warm={"precopies": rounds, "failures": 1}, **more)


def vcenter_login() -> Failure:
    text = (
        "virt-v2v: error: vcenter: incorrect username or password\nFailed to execute virt-v2v command exit status 1\n"
    )
    bad = [vm(f"pay-app{n:02}", n, "ImageConversion", CONVERSION) for n in (1, 2, 3)]
    return converted("pay-login", dict.fromkeys((1, 2, 3), text), *bad, *done(4, 2))


CATALOGUE: dict[str, Callable[[], Failure]] = {
    "example-a-cold-fast-startup": lambda: example(
        "a-cold-vsphere-imageconversion",
        ("erp-prod", "erp-wave1-vm-1402-d8f6k", "virt-v2v", False, "a-virt-v2v-erp-win01"),
    ),
    "example-b-warm-retry-limit": lambda: example("b-warm-retry-limit-legacy"),
    "example-b2-warm-snapshot": lambda: example(
        "b2-warm-snapshot-current",
        ("crm-prod", "importer-crm-warm-2-crm-app01-disk-0-7hgtd-checkpoint-snapshot-5302", "importer", True,
         "b2-importer-crm-app01-previous"),
    ),
    "example-c-out-of-space": lambda: example(
        "c-disktransfer-out-of-space",
        ("files-prod", "importer-prime-7f1c0a92-3be4-4f2a-9a80-4d6f1a2b3c0f", "importer", True,
         "c-importer-files01-disk0-previous"),
    ),
    "example-d-live-stuck": lambda: example("d-live-cclm-stuck"),
    "example-d2-live-failed": lambda: example("d2-live-cclm-failed"),
    "live-stuck-on-quota": lambda: live("pay-app-01"),
    "live-stuck-until-a-deadline": lambda: live("pay-db-01"),
    "live-stuck-on-storage": lambda: live("pay-web-01"),
    "live-stuck-three-ways": lambda: live("pay-app-01", "pay-db-01", "pay-web-01"),
    "live-failed-after-a-wait": live_failed,
    "live-stuck-room-short": lambda: replace(live("pay-app-01"), room=NO_QUOTA),
    "live-stuck-room-fits": lambda: replace(live("pay-web-01"), room=ENOUGH),
    "live-failed-room-short": lambda: replace(live_failed(), room=NO_NODE),
    "live-failed-room-fits": lambda: replace(live_failed(), room=ENOUGH),
    "example-e-name-taken": name_taken,
    "example-g-openstack-populator": lambda: populator("pay-openstack", "g-openstack-populator", "openstack-legacy"),
    "example-h-xcopy-device": lambda: populator("pay-xcopy", "h-vsphere-xcopy-populator", "vcenter-a"),
    "bitlocker-3-of-20": bitlocker,
    "12-of-20-failed": many_failed,
    "different-causes": different_causes,
    "pre-hook-failed": lambda: hook_failed("PreHook"),
    "post-hook-failed": lambda: hook_failed("PostHook"),
    "quota": quota,
    "conversion-pod-pending": conversion_pending,
    "vcenter-login": vcenter_login,
    "one-canceled": lambda: converted(
        "pay-cancel", {1: NOVEL.replace("could not decode", "detected errors on the XFS filesystem, could not decode")},
        vm("pay-lx-db01", 1, "ImageConversion", CONVERSION),
        vm("pay-lx-db02", 2, "DiskTransfer", state="Canceled"), *done(3, 2),
    ),
    "not-recognised": lambda: converted(
        "pay-novel", {1: NOVEL}, vm("pay-app01", 1, "ImageConversion", CONVERSION), *done(2, 1)),
    "logs-forbidden": logs_forbidden,
    "pods-gone": lambda: Failure([plan("pay-gone", vm("pay-app01", 1, "ImageConversion", CONVERSION))]),
    "plan-deleted": plan_deleted,
    "provider-blocked": blocked,
    "warm-precopy-failed": lambda: Failure([plan(
        "crm-warm-3", warm("DiskTransfer", "Changed Block Tracking (CBT) is disabled for VM crm-db01",
                           disks=((40_960, 81_920),),
                           before=None), mode="warm")]),
    "warm-cutover-failed": lambda: Failure([plan(
        "crm-warm-4", warm("Cutover", "error cheking task status: The operation is not allowed in the current state."),
        mode="warm")]),
    "standing-from-run-1": standing,
    "still-running": lambda: converted(
        "pay-running", {1: BITLOCKER}, vm("pay-win-app01", 1, "ImageConversion", CONVERSION),
        vm("pay-app02", 2, "DiskTransfer", state="Running", disks=((10_240, 81_920),)),
        vm("pay-app03", 3, "Initialize", state="Pending"), *done(4, 1), state="Executing",
    ),
    "was-off-before": lambda: converted(
        "pay-off", {1: BITLOCKER}, vm("pay-win-old01", 1, "ImageConversion", CONVERSION, before="Off")),
    "vm-creation-failed": lambda: Failure([plan(
        "pay-create", vm("pay-app01", 1, "VirtualMachineCreation",
                         "admission webhook denied the request: spec.running"))]),
    "power-not-known": lambda: converted(
        "pay-nopower", {1: BITLOCKER}, vm("pay-win-app01", 1, "ImageConversion", CONVERSION, before=None)),
    "storage-pending-provision": lambda: Failure([plan(
        "pay-provision", vm(
            "pay-app01", 1, "DiskTransfer",
            'failed to provision volume with StorageClass "fast": rpc error: code = Internal desc = backend offline',
            disks=((0, 81_920), (0, 512_000)))), event(
        "Pod", "pay-prod", "pay-app01", "FailedMount", "MountVolume.SetUp failed for volume pvc-1: timeout")]),
}  # fmt: skip
