"""What a target cluster says of its storage, its quotas, and of what a plan has there already."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from receiver.capacity import Profile, QuotaFacts, StorageFacts, StorageRules, Unknown, Unread, profile_of, rules_of
from receiver.capacity.quota import DEDICATED
from receiver.capacity.reading import dig, text
from receiver.kube import Cluster, Obj
from receiver.room.reading import objects, one
from receiver.room.wanted import Instancetypes

LAUNCHERS: Final = "kubevirt.io=virt-launcher"
OLD_SHARE: Final = "0.055"
"""CDI's own share before August 2025; those releases divided by what is left instead of multiplying."""

MAX_INSTANCETYPES: Final = 20
"""Instance types of a plan that are read, one or two requests each."""

Listed = tuple[Obj, ...] | Unread


@dataclass(frozen=True, slots=True)
class KubeVirt:
    """What a cluster's KubeVirt adds to VMs; `why` if that could not be read and the defaults stand in."""

    profile: Profile
    calculator: str = DEDICATED
    why: Unread | None = None
    installed: bool = True


@dataclass(frozen=True, slots=True)
class Target:
    """One cluster that VMs might go to, all but its nodes. `receivers` and `claims` are those of the namespace.

    `instancetypes` are those that the plan names.
    """

    kubevirt: KubeVirt
    storage: StorageFacts
    quota: QuotaFacts
    profiles: Listed = ()
    cdi: Obj | Unread | None = None
    receivers: Listed = ()
    claims: Listed = ()
    unknown: tuple[Unknown, ...] = field(default=())
    instancetypes: Instancetypes = field(default_factory=dict)

    def rules(self, storage_map: Obj | Unread | None) -> StorageRules:
        """Return what decides about volumes here, as far as it could be read."""
        classes = self.storage.classes
        cdi = None if isinstance(self.cdi, Unread) else self.cdi
        return rules_of(
            None if isinstance(storage_map, Unread) else storage_map,
            () if isinstance(classes, Unread) else classes,
            () if isinstance(self.profiles, Unread) else self.profiles,
            # Without CDI's share a size is a lower bound: it may show what is short, never what fits.
            {"status": {"filesystemOverhead": {"global": "0"}}} if isinstance(self.cdi, Unread) else cdi,
            divides=text(dig(cdi, "status", "filesystemOverhead", "global")) == OLD_SHARE,
            state_class=self.kubevirt.profile.state_class,
        )


async def profile_from(cluster: Cluster) -> KubeVirt:
    """Read what a cluster's KubeVirt and its operator say."""
    kubevirts, operators = await asyncio.gather(
        objects(cluster, "KubeVirt", None, optional=True), objects(cluster, "HyperConverged", None, optional=True)
    )
    operator = operators[0] if not isinstance(operators, Unread) and operators else None
    calculator = text(dig(operator, "spec", "applicationAwareConfig", "vmiCalcConfigName")) or DEDICATED
    if isinstance(kubevirts, Unread):
        return KubeVirt(profile_of(None, operator), calculator, kubevirts)
    return KubeVirt(profile_of(kubevirts[0] if kubevirts else None, operator), calculator, None, bool(kubevirts))


async def instancetypes_of(cluster: Cluster, namespace: str, names: Iterable[str]) -> Instancetypes:
    """Return instance types by name as Forklift looks for them: those of the namespace first, then the cluster's."""
    found: dict[str, Obj | Unread | None] = {}
    for name in [each for each in dict.fromkeys(names) if each][:MAX_INSTANCETYPES]:
        own = await one(cluster, "VirtualMachineInstancetype", namespace, name)
        found[name] = await one(cluster, "VirtualMachineClusterInstancetype", None, name) if own is None else own
    return found


async def read_target(cluster: Cluster, namespace: str, instancetypes: Iterable[str] = ()) -> Target:
    """Read a cluster, all but its nodes and pods. Never raises for what it does."""
    async with asyncio.TaskGroup() as group:
        read = group.create_task
        kubevirt_ = read(profile_from(cluster))
        classes = read(objects(cluster, "StorageClass"))
        drivers = read(objects(cluster, "CSIDriver"))
        capacities = read(objects(cluster, "CSIStorageCapacity"))
        profiles = read(objects(cluster, "StorageProfile", optional=True))
        cdi = read(one(cluster, "CDIConfig", None, "config"))
        space = read(one(cluster, "Namespace", None, namespace))
        quotas = read(objects(cluster, "ResourceQuota", namespace))
        ranges = read(objects(cluster, "LimitRange", namespace))
        applied = read(objects(cluster, "AppliedClusterResourceQuota", namespace, optional=True))
        aaq_ = read(objects(cluster, "ApplicationAwareResourceQuota", namespace, optional=True))
        aaq_cluster_ = read(objects(cluster, "ApplicationAwareClusterResourceQuota", optional=True))
        receivers = read(objects(cluster, "Pod", namespace, label_selector=LAUNCHERS))
        claims = read(objects(cluster, "PersistentVolumeClaim", namespace))
        sizes_ = read(instancetypes_of(cluster, namespace, instancetypes))
    kubevirt, aaq, aaq_cluster = kubevirt_.result(), aaq_.result(), aaq_cluster_.result()
    own = aaq if isinstance(aaq, Unread) else aaq_cluster if isinstance(aaq_cluster, Unread) else (*aaq, *aaq_cluster)
    unknown = []
    if kubevirt.why is not None:
        why = kubevirt.why
        unknown.append(
            Unknown("cpu", f"{why.what} could not be read: {why.why}; its defaults are assumed", cluster.name, None,
                    why.right)
        )  # fmt: skip
    sizes = sizes_.result()
    unknown += [each.unknown("VMs", cluster.name) for each in sizes.values() if isinstance(each, Unread)]
    return Target(
        kubevirt,
        StorageFacts(classes.result(), drivers.result(), capacities.result()),
        QuotaFacts(
            namespace, space.result(), quotas.result(), ranges.result(), applied.result(), own, kubevirt.calculator
        ),
        profiles.result(),
        cdi.result(),
        receivers.result(),
        claims.result(),
        tuple(unknown),
        sizes,
    )


def unreachable(namespace: str, why: Unread) -> Target:
    """Return a cluster of which nothing could be read."""
    return Target(
        KubeVirt(Profile()),
        StorageFacts(why, why, why),
        QuotaFacts(namespace, why, why, why, why, why),
        receivers=why,
        claims=why,
    )


def scheduled(pod: Mapping[str, Any]) -> bool:
    """Tell whether a pod has its place on a node, and so stands in the sums of that node."""
    return bool(dig(pod, "spec", "nodeName"))
