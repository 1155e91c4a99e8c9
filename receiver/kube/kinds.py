"""The kinds we may read, and what every object loses before anyone sees it.

The table is the whole list: a kind that is not here (Secret above all) cannot be asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

# Looser than Kubernetes' own rules (RBAC names hold colons), but a name of this form can never leave its place in
# a path or a selector: an alert's label is not to be trusted.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,252}")


@dataclass(frozen=True, slots=True)
class Kind:
    """Where a kind is served."""

    kind: str
    group: str
    version: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """The name RBAC and messages use: ``plans.forklift.konveyor.io``, ``pods``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str | None, name: str | None = None) -> str:
        """Return the URL path; ``namespace`` None lists all namespaces and is ignored for cluster-scoped kinds."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name is not None:
            parts.append(name)
        return "/" + "/".join(parts)


def _table(group: str, version: str, namespaced: bool, **plurals: str) -> Iterable[Kind]:
    return (Kind(kind, group, version, plural, namespaced) for kind, plural in plurals.items())


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.kind: kind
        for kind in (
            *_table(
                "forklift.konveyor.io", "v1beta1", True,
                Plan="plans", Migration="migrations", Provider="providers", NetworkMap="networkmaps",
                StorageMap="storagemaps", Hook="hooks", Host="hosts", Conversion="conversions",
                ForkliftController="forkliftcontrollers",
            ),
            *_table(
                "", "v1", True,
                Pod="pods", Event="events", PersistentVolumeClaim="persistentvolumeclaims", Service="services",
                ResourceQuota="resourcequotas", LimitRange="limitranges", ConfigMap="configmaps",
            ),
            *_table("", "v1", False, Namespace="namespaces", Node="nodes", PersistentVolume="persistentvolumes"),
            *_table(
                "apps", "v1", True,
                Deployment="deployments", DaemonSet="daemonsets", StatefulSet="statefulsets", ReplicaSet="replicasets",
            ),
            *_table("batch", "v1", True, Job="jobs"),
            *_table("storage.k8s.io", "v1", True, CSIStorageCapacity="csistoragecapacities"),
            *_table("storage.k8s.io", "v1", False, StorageClass="storageclasses", CSIDriver="csidrivers"),
            *_table("scheduling.k8s.io", "v1", False, PriorityClass="priorityclasses"),
            *_table("policy", "v1", True, PodDisruptionBudget="poddisruptionbudgets"),
            *_table(
                "kubevirt.io", "v1", True,
                VirtualMachine="virtualmachines", VirtualMachineInstance="virtualmachineinstances",
                VirtualMachineInstanceMigration="virtualmachineinstancemigrations", KubeVirt="kubevirts",
            ),
            *_table(
                "instancetype.kubevirt.io", "v1beta1", True,
                VirtualMachineInstancetype="virtualmachineinstancetypes",
                VirtualMachinePreference="virtualmachinepreferences",
            ),
            *_table(
                "instancetype.kubevirt.io", "v1beta1", False,
                VirtualMachineClusterInstancetype="virtualmachineclusterinstancetypes",
                VirtualMachineClusterPreference="virtualmachineclusterpreferences",
            ),
            *_table("cdi.kubevirt.io", "v1beta1", True, DataVolume="datavolumes"),
            *_table(
                "cdi.kubevirt.io", "v1beta1", False,
                CDI="cdis", CDIConfig="cdiconfigs", StorageProfile="storageprofiles",
            ),
            *_table("hco.kubevirt.io", "v1beta1", True, HyperConverged="hyperconvergeds"),
            *_table(
                "aaq.kubevirt.io", "v1alpha1", True, ApplicationAwareResourceQuota="applicationawareresourcequotas"
            ),
            *_table(
                "aaq.kubevirt.io", "v1alpha1", False,
                ApplicationAwareClusterResourceQuota="applicationawareclusterresourcequotas",
            ),
            *_table(
                "quota.openshift.io", "v1", True, AppliedClusterResourceQuota="appliedclusterresourcequotas"
            ),
            *_table("quota.openshift.io", "v1", False, ClusterResourceQuota="clusterresourcequotas"),
            *_table("cluster.open-cluster-management.io", "v1", False, ManagedCluster="managedclusters"),
            *_table(
                "monitoring.coreos.com", "v1", True,
                PrometheusRule="prometheusrules", ServiceMonitor="servicemonitors",
            ),
            *_table("operators.coreos.com", "v1alpha1", True, ClusterServiceVersion="clusterserviceversions"),
        )
    }
)  # fmt: skip


def kind_of(kind: str) -> Kind:
    """Return the table's entry; ValueError for a kind that we do not read (a programming error)."""
    try:
        return KINDS[kind]
    except KeyError:
        raise ValueError(f"kind {kind!r} is not one that may be read") from None


def is_name(text: str | None) -> bool:
    """Tell whether a text can be the name of an object or namespace."""
    return text is not None and _NAME.fullmatch(text) is not None


def where(kind: Kind, namespace: str | None) -> str:
    """Return the place for a message: " in namespace x", " in all namespaces", or nothing."""
    if not kind.namespaced:
        return ""
    return " in all namespaces" if namespace is None else f" in namespace {namespace}"


def slim(obj: dict[str, Any], kind: Kind, *, managed_fields: bool = False) -> dict[str, Any]:
    """Return the object without what nobody needs, and with the kind that lists leave out of their items."""
    slimmed = {**obj, "apiVersion": obj.get("apiVersion") or kind.api_version, "kind": obj.get("kind") or kind.kind}
    metadata = obj.get("metadata")
    if isinstance(metadata, dict):
        metadata = {key: value for key, value in metadata.items() if managed_fields or key != "managedFields"}
        if isinstance(annotations := metadata.get("annotations"), dict):
            metadata["annotations"] = {key: value for key, value in annotations.items() if key != LAST_APPLIED}
        slimmed["metadata"] = metadata
    return slimmed
