"""Alerts that are not of a Plan, each with the objects, events and logs that a cluster would hold then."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from receiver.fingerprint import fingerprint
from receiver.model import Alert, AlertStatus

Obj = dict[str, Any]

NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
HCO = "kubevirt-hyperconverged"
CNV = "openshift-cnv"
SECRET = "Pa55-of-the-database"


@dataclass
class Scenario:
    labels: dict[str, str]
    annotations: dict[str, str] = field(default_factory=dict)
    objects: list[Obj] = field(default_factory=list)
    logs: dict[tuple[str, str, str, bool], str] = field(default_factory=dict)
    served: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def alert(self) -> Alert:
        starts_at = datetime(2026, 11, 21, 7, 55, tzinfo=UTC)
        return Alert(fingerprint(self.labels), AlertStatus.FIRING, self.labels, self.annotations, starts_at)


def obj(api: str, kind: str, name: str, namespace: str = "", **rest: Any) -> Obj:
    metadata: Obj = {"name": name, **rest.pop("metadata", {})}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}


def event(
    kind: str,
    namespace: str,
    name: str,
    reason: str,
    message: str,
    *,
    at: str = "08:20:00",
    count: int = 1,
    **rest: Any,
) -> Obj:
    return obj(
        "v1", "Event", f"{name}.{reason.lower()}.{at.replace(':', '')}.{sum(message.encode()) % 9973}", namespace,
        involvedObject={"kind": kind, "name": name, "namespace": namespace}, reason=reason, message=message,
        type=rest.pop("type", "Warning"), count=count, lastTimestamp=f"2026-11-21T{at}Z", **rest,
    )  # fmt: skip


def fresh(objects: Iterable[Obj]) -> list[Obj]:
    """Return objects whose events were seen a minute ago: a running service leaves out what is older than a day."""
    seen = (datetime.now(UTC) - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return [{**one, "lastTimestamp": seen} if one["kind"] == "Event" else one for one in objects]


def condition(type_: str, status: str, reason: str = "", message: str = "", at: str = "07:50:00") -> Obj:
    return {
        "type": type_, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": f"2026-11-21T{at}Z",
    }  # fmt: skip


def owned(manager: str, time: str, operation: str = "Update", **fields: Any) -> Obj:
    return {"manager": manager, "operation": operation, "time": f"2026-11-21T{time}Z", "fieldsV1": fields}


def hyperconverged(*conditions: Obj) -> Obj:
    return obj("hco.kubevirt.io/v1beta1", "HyperConverged", HCO, CNV, status={"conditions": list(conditions)})


def autopilot_pod() -> Obj:
    name = "virt-platform-autopilot-7c9d8b5f6-2lqzn"
    labels = {"labels": {"app": "virt-platform-autopilot"}}
    return obj("v1", "Pod", name, CNV, metadata=labels, status={"phase": "Running"})


def autopilot(alertname: str, severity: str = "warning", /, **labels: str) -> dict[str, str]:
    return {
        "alertname": alertname, "severity": severity, "operator": "virt-platform-autopilot", "namespace": CNV,
        "kubernetes_operator_part_of": "kubevirt", "kubernetes_operator_component": "autopilot",
        "pod": "virt-platform-autopilot-7c9d8b5f6-2lqzn", "job": "virt-platform-autopilot", **labels,
    }  # fmt: skip


def sync_failed() -> Scenario:
    metallb = obj(
        "metallb.io/v1beta1", "MetalLB", "metallb", "metallb-system",
        metadata={"annotations": {"platform.kubevirt.io/patch": '{"spec":{"x":1}}'}},
        status={"conditions": [condition("Available", "False", "Pending", "speaker is not rolled out")]},
    )  # fmt: skip
    said = (
        'asset metallb: MetalLB/metallb-system/metallb: admission webhook "metallb.example.com" denied the request: '
        f"spec.logLevel: unsupported; password={SECRET}"
    )
    return Scenario(
        autopilot("VirtPlatformSyncFailed", "critical", kind="MetalLB", name="metallb",
                  exported_namespace="metallb-system"),
        {"summary": "MetalLB metallb is not in its wanted state"},
        [metallb, hyperconverged(condition("Degraded", "True", "AutopilotSync", "1 object is not in sync")),
         autopilot_pod(), event("HyperConverged", CNV, HCO, "ApplyFailed", said, count=14),
         event("HyperConverged", CNV, HCO, "ApplyFailed", "asset other: LokiStack/openshift-logging/x refused")],
        {(CNV, autopilot_pod()["metadata"]["name"], "manager", False):
            "level=info msg=\"reconciled\" name=perses\n"
            "level=error msg=\"apply failed\" kind=MetalLB name=metallb err=\"admission webhook denied\"\n"},
    )  # fmt: skip


def thrashing() -> Scenario:
    spec = {"f:spec": {"f:profiles": {}, "f:deschedulingIntervalSeconds": {}}}
    pause = {"f:metadata": {"f:annotations": {"f:platform.kubevirt.io/reconcile-paused": {}}}}
    fields = [
        owned("virt-platform-autopilot", "08:09:00", "Apply", **spec),
        owned("argocd-controller", "08:10:30", **{"f:spec": {"f:deschedulingIntervalSeconds": {}}}),
        owned("manager", "08:11:00", **pause),
        {**owned("cluster-kube-descheduler-operator", "08:12:00", **{"f:status": {"f:conditions": {}}}),
         "subresource": "status"},
    ]  # fmt: skip
    note = {"platform.kubevirt.io/reconcile-paused": "true"}
    descheduler = obj(
        "operator.openshift.io/v1", "KubeDescheduler", "cluster", "openshift-kube-descheduler-operator",
        metadata={"annotations": note, "managedFields": fields},
    )  # fmt: skip
    said = "Edit war on KubeDescheduler/openshift-kube-descheduler-operator/cluster: reconciliation is paused"
    return Scenario(
        autopilot("VirtPlatformAutopilotThrashingDetected", kind="KubeDescheduler", name="cluster",
                  exported_namespace="openshift-kube-descheduler-operator"),
        {"summary": "KubeDescheduler cluster is paused after an edit war"},
        [descheduler, hyperconverged(), event("HyperConverged", CNV, HCO, "ThrashingDetected", said, at="08:11:00")],
    )  # fmt: skip


def dependency_missing() -> Scenario:
    said = "CRD lokistacks.loki.grafana.com for LokiStack not found, asset logging-lokistack skipped"
    return Scenario(
        autopilot("VirtPlatformDependencyMissing", group="loki.grafana.com", version="v1", kind="LokiStack"),
        {"summary": "LokiStack is not installed"},
        [hyperconverged(), event("HyperConverged", CNV, HCO, "CRDMissing", said)],
    )


def tombstone_stuck() -> Scenario:
    held = {
        "labels": {"platform.kubevirt.io/managed-by": "virt-platform-autopilot"},
        "deletionTimestamp": "2026-11-21T07:10:00Z", "finalizers": ["observability.openshift.io/uiplugin"],
    }  # fmt: skip
    return Scenario(
        autopilot("VirtPlatformTombstoneStuck", kind="UIPlugin", name="monitoring"),
        {"summary": "UIPlugin monitoring cannot be deleted"},
        [obj("observability.openshift.io/v1alpha1", "UIPlugin", "monitoring", metadata=held), hyperconverged(),
         event("HyperConverged", CNV, HCO, "TombstoneFailed", "UIPlugin//monitoring: still there after 30m")],
    )  # fmt: skip


def render_failed() -> Scenario:
    said = 'asset metallb-config: map has no entry for key "addressPool"'
    return Scenario(
        autopilot(
            "VirtPlatformAutopilotRenderFailed", asset="metallb-config", reason="missing key", code="RenderError"
        ),
        {"summary": "Asset metallb-config cannot be rendered"},
        [hyperconverged(), event("HyperConverged", CNV, HCO, "RenderFailed", said)],
    )


def logging_storage() -> Scenario:
    classes = [obj("storage.k8s.io/v1", "StorageClass", name) for name in ("nfs-gold", "ceph-rbd")]
    return Scenario(
        autopilot("VirtPlatformAutopilotLoggingStorageNotConfigured", asset="logging-lokistack",
                  reason="no default storage class", code="NoDefaultStorageClass"),
        {"summary": "Logging has no storage"},
        [*classes, hyperconverged()],
    )  # fmt: skip


def update_staged() -> Scenario:
    pool = obj(
        "machineconfiguration.openshift.io/v1", "MachineConfigPool", "worker", spec={"paused": True},
        status={"machineCount": 12, "updatedMachineCount": 12, "conditions": [condition("Degraded", "False")]},
    )  # fmt: skip
    return Scenario(
        autopilot("VirtPlatformAutopilotMachineConfigUpdateStaged", "info", pool="worker",
                  machineconfig="90-worker-kvm"),
        {"summary": "A MachineConfig update is staged for pool worker"},
        [pool, hyperconverged()],
    )  # fmt: skip


def crash_loop() -> Scenario:
    name, namespace = "billing-api-6f7d9c8b4-x7k2p", "payments-prod"
    status = {
        "name": "api", "restartCount": 14, "ready": False,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}},
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
    }  # fmt: skip
    pod = obj(
        "v1", "Pod", name, namespace, spec={"containers": [{"name": "api"}]},
        status={"phase": "Running", "containerStatuses": [status], "conditions": [
            condition("Ready", "False", "ContainersNotReady", "containers with unready status: [api]"),
            condition("PodScheduled", "True")]},
    )  # fmt: skip
    log = (
        f"starting\nconnecting to postgres://app:{SECRET}@db/billing\nERROR cache grew to 512Mi\nfatal: out of memory\n"
    )
    return Scenario(
        {"alertname": "KubePodCrashLooping", "severity": "warning", "namespace": namespace, "pod": name,
         "container": "api", "job": "kube-state-metrics", "service": "kube-state-metrics", "endpoint": "https-main"},
        {"summary": "Pod is crash looping.", "runbook_url": "https://runbooks.example.com/KubePodCrashLooping.md"},
        [pod,
         event("Pod", namespace, name, "BackOff", "Back-off restarting failed container api", count=80),
         event("Pod", namespace, name, "Pulled", "Container image already present", at="08:25:00", type="Normal")],
        {(namespace, name, "api", True): log, (namespace, name, "api", False): "starting\n"},
    )  # fmt: skip


def claim_pending() -> Scenario:
    name, namespace = "erp-win01-disk-0", "erp-prod"
    claim = obj(
        "v1", "PersistentVolumeClaim", name, namespace,
        metadata={"ownerReferences": [{"kind": "DataVolume", "name": name}]},
        spec={"storageClassName": "nfs-gold", "resources": {"requests": {"storage": "180Gi"}}},
        status={"phase": "Pending"},
    )  # fmt: skip
    volume = obj(
        "cdi.kubevirt.io/v1beta1", "DataVolume", name, namespace,
        status={"phase": "PendingPopulation", "progress": "N/A", "conditions": [
            condition("Bound", "False", "Pending", "PVC erp-win01-disk-0 Pending")]},
    )  # fmt: skip
    said = 'storageclass.storage.k8s.io "nfs-gold" not found'
    return Scenario(
        {"alertname": "KubePersistentVolumeClaimPending", "severity": "warning", "namespace": namespace,
         "persistentvolumeclaim": name, "service": "kubelet", "pod": "kubelet-1"},
        {"summary": "A claim has been pending for 15 minutes."},
        [claim, volume, event("PersistentVolumeClaim", namespace, name, "ProvisioningFailed", said, count=31)],
    )  # fmt: skip


def node_not_ready() -> Scenario:
    node = obj(
        "v1", "Node", "worker-3", spec={"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]},
        status={"conditions": [
            condition("Ready", "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.", "07:52:00"),
            condition("MemoryPressure", "Unknown", "NodeStatusUnknown", "", "07:52:00"),
            condition("NetworkUnavailable", "False")]},
    )  # fmt: skip
    labels = {"labels": {"kubevirt.io/nodeName": "worker-3"}}
    vms = [obj("kubevirt.io/v1", "VirtualMachineInstance", f"erp-lx{at:02}", "erp-prod", metadata=labels)
           for at in range(1, 6)]  # fmt: skip
    return Scenario(
        {"alertname": "KubeNodeNotReady", "severity": "warning", "node": "worker-3",
         "namespace": "openshift-monitoring", "pod": "kube-state-metrics-5d8f-abcde",
          "job": "kube-state-metrics", "service": "kube-state-metrics"},
        {"summary": "Node is not ready.", "description": "worker-3 has been unready for more than 15 minutes."},
        [node, *vms, event("Node", "default", "worker-3", "NodeNotReady", "Node worker-3 status is now: NodeNotReady")],
    )  # fmt: skip


SCENARIOS: dict[str, Callable[[], Scenario]] = {
    "autopilot-sync-failed": sync_failed,
    "autopilot-thrashing": thrashing,
    "autopilot-dependency-missing": dependency_missing,
    "autopilot-tombstone-stuck": tombstone_stuck,
    "autopilot-render-failed": render_failed,
    "autopilot-logging-storage": logging_storage,
    "autopilot-update-staged": update_staged,
    "pod-crash-loop": crash_loop,
    "claim-pending": claim_pending,
    "node-not-ready": node_not_ready,
}
