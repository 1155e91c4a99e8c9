"""The rights that we use in a cluster, each with what it is for: the one table behind role, check and documentation.

`deploy/rights/rbac.yaml` grants exactly these rows, `check --online` asks for exactly these, and tests compare both
with the requests that are really made. Nothing is written and no Secret is read. Discovery (/api, /apis, /version)
needs no row: every authenticated account may read it. What an option needs besides stands beside the table: `beside`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from receiver.config.model import Config

FORKLIFT = "forklift.konveyor.io"
KUBEVIRT = "kubevirt.io"
MACHINES = "machineconfiguration.openshift.io"
LABELS = "alerts whose labels name one"
AUTOPILOT = "alerts of virt-platform-autopilot about one"
ONLY_AUTOPILOT = "only where virt-platform-autopilot runs"
ONLY_ROOM = "only where the room of target clusters is to be judged"
ONLY_DOCTOR = "only where the doctor is to say why Forklift is not scraped"


@dataclass(frozen=True, slots=True)
class Right:
    """One verb on one resource, in all namespaces."""

    verb: str
    group: str
    """API group; empty for the core group."""
    resource: str
    """Plural, with its subresource: `pods/log`."""
    needed_for: str
    """In words for people: what a story lacks without it."""
    optional: str = ""
    """Why a cluster may do without it; empty: every cluster needs it."""

    @property
    def name(self) -> str:
        """As messages say it: `list plans.forklift.konveyor.io`."""
        plural, slash, sub = self.resource.partition("/")
        return f"{self.verb} {plural}{f'.{self.group}' if self.group else ''}{slash}{sub}"

    @property
    def rule(self) -> str:
        """The rule of a ClusterRole that grants it, as one line of YAML."""
        group = self.group or '""'
        return f"- {{apiGroups: [{group}], resources: [{self.resource}], verbs: [{self.verb}]}}"


REVIEW = Right("create", "authorization.k8s.io", "subjectaccessreviews", "who may see which stories")
"""Beside the table: needed only with `web.visibility`, and then in the clusters that are asked."""


NAMESPACES: tuple[Right, ...] = (
    Right("list", "", "namespaces", "what annotations of namespaces ask for"),
    Right("watch", "", "namespaces", "that it is in force within seconds"),
    Right("list", "", "configmaps", "what ConfigMaps in namespaces ask for"),
    Right("watch", "", "configmaps", "that it is in force within seconds"),
    Right("create", "", "events", "to say in a namespace why it is not told as it asks"),
)
"""Beside the table: needed only with `namespace_routing`, and then in all clusters."""


def beside(config: Config, cluster: str) -> tuple[Right, ...]:
    """Return the rights beside the table that the options of a configuration take in a cluster."""
    visibility = config.web.visibility
    is_asked = visibility is not None and visibility.cluster in ("", cluster)
    return (*((REVIEW,) if is_asked else ()), *(NAMESPACES if config.namespace_routing is not None else ()))


def _of(group: str, resource: str, optional: str = "", /, **verbs: str) -> Iterator[Right]:
    return (Right(verb, group, resource, why, optional) for verb, why in verbs.items())


def _each(group: str, *resources: str, optional: str = "", **verbs: str) -> Iterator[Right]:
    return (right for one in resources for right in _of(group, one, optional, **verbs))


RIGHTS: tuple[Right, ...] = (
    *_of(
        FORKLIFT, "plans",
        get="what failed, and which VMs",
        list="which plan an alert is about",
        watch="re-runs, deletions and failures without an alert",
    ),
    *_of(FORKLIFT, "migrations", list="whether a VM was in use before earlier runs"),
    *_of(FORKLIFT, "providers", get="whether the VMs go to another cluster"),
    *_of(FORKLIFT, "conversions", list="why a guest conversion failed, where its pod is gone"),
    *_of("", "pods", get=LABELS, list="which pods ran a migration, a workload or the controller"),
    *_of("", "pods/log", get="the lines that tell why"),
    *_of("", "events", list="what Kubernetes reported about a failure"),
    *_of("", "persistentvolumeclaims", get=LABELS, list="which pods filled the disks of a VM"),
    *_of("", "configmaps", "only where teams keep runbooks in ConfigMaps", list="these runbooks"),
    *_each("", "nodes", "persistentvolumes", get=LABELS),
    *_each("apps", "deployments", "statefulsets", "daemonsets", "replicasets", get=LABELS),
    *_of("batch", "jobs", get=LABELS, list="which pods ran the hooks of a plan"),
    *_of(
        "storage.k8s.io", "storageclasses",
        get="why a claim stays Pending",
        list="whether there is a default one",
    ),
    *_of("cdi.kubevirt.io", "datavolumes", get="how far the disk of a claim is", list="what VMs that run wait for"),
    *_of(KUBEVIRT, "virtualmachines", get=LABELS),
    *_of(
        KUBEVIRT, "virtualmachineinstances",
        get="whether a VM runs",
        list="which VMs run on a node, and what they wait for",
    ),
    *_of(
        KUBEVIRT, "virtualmachineinstancemigrations",
        get=LABELS,
        list="which pods received a live migration",
    ),
    *_of(
        "hco.kubevirt.io", "hyperconvergeds", ONLY_AUTOPILOT,
        get=AUTOPILOT,
        list="what autopilot reported",
    ),
    *_each(FORKLIFT, "forkliftcontrollers", optional=ONLY_AUTOPILOT, get=AUTOPILOT),
    *_each(
        MACHINES, "machineconfigs", "machineconfigpools", "kubeletconfigs", optional=ONLY_AUTOPILOT, get=AUTOPILOT
    ),
    *_each("operator.openshift.io", "kubedeschedulers", optional=ONLY_AUTOPILOT, get=AUTOPILOT),
    *_each("metallb.io", "metallbs", optional=ONLY_AUTOPILOT, get=AUTOPILOT),
    *_each(
        "observability.openshift.io", "uiplugins", "clusterlogforwarders", optional=ONLY_AUTOPILOT, get=AUTOPILOT
    ),
    *_each("loki.grafana.com", "lokistacks", optional=ONLY_AUTOPILOT, get=AUTOPILOT),
    *_each("perses.dev", "persesdashboards", optional=ONLY_AUTOPILOT, get=AUTOPILOT),
    *_each("monitoring.coreos.com", "prometheusrules", "servicemonitors", optional=ONLY_AUTOPILOT, get=AUTOPILOT),
    *_each("", "serviceaccounts", "services", "configmaps", optional=ONLY_AUTOPILOT, get=AUTOPILOT),
    *_each("rbac.authorization.k8s.io", "clusterrolebindings", optional=ONLY_AUTOPILOT, get=AUTOPILOT),
    *_of("", "nodes", ONLY_ROOM, list="what is free on each node"),
    *_of("", "namespaces", ONLY_ROOM, get="whether the target namespace exists, and how limits are set in it"),
    *_each("", "resourcequotas", "limitranges", optional=ONLY_ROOM, list="what limits the target namespace"),
    *_of(
        "quota.openshift.io", "appliedclusterresourcequotas", ONLY_ROOM,
        list="quotas of several namespaces together",
    ),
    *_each(
        "aaq.kubevirt.io", "applicationawareresourcequotas", "applicationawareclusterresourcequotas",
        optional=ONLY_ROOM, list="quotas that count VMs their own way",
    ),
    *_each("storage.k8s.io", "csidrivers", "csistoragecapacities", optional=ONLY_ROOM, list="what storage is free"),
    *_of("cdi.kubevirt.io", "storageprofiles", ONLY_ROOM, list="the volume mode where the storage map has none"),
    *_of("cdi.kubevirt.io", "cdiconfigs", ONLY_ROOM, get="how much larger volumes with file systems become"),
    *_of(KUBEVIRT, "kubevirts", ONLY_ROOM, list="what a VM takes beside its own memory, and of a CPU"),
    *_of("subresources.kubevirt.io", "virtualmachines/expand-spec", ONLY_ROOM, get="what VMs need that are off"),
    *_of(FORKLIFT, "storagemaps", ONLY_ROOM, get="which class a volume goes to"),
    *_of(FORKLIFT, "providers", ONLY_ROOM, list="which other clusters Forklift knows"),
    *_of(
        "cluster.open-cluster-management.io", "managedclusters", ONLY_ROOM,
        list="which other clusters there are",
    ),
    *_of("", "namespaces", ONLY_DOCTOR, get="whether Forklift's namespace has the label by which it is scraped"),
    *_of("monitoring.coreos.com", "servicemonitors", ONLY_DOCTOR, list="whether Forklift's namespace has one"),
)  # fmt: skip
"""A right may stand here twice, for two roles of which a cluster may have either."""
