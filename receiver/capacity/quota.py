"""Do the quotas of the target namespace leave room? ResourceQuota, its cluster-wide form, and AAQ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from receiver.capacity.disks import Disk
from receiver.capacity.findings import Line, Part, Proof, Scope, Shortage, Unknown, Unread, part_of
from receiver.capacity.limit_range import judge_limits
from receiver.capacity.need import COMPUTE, VmNeed
from receiver.capacity.quantity import amount, ratio
from receiver.capacity.reading import dig, mapping, named, records, text, texts
from receiver.capacity.vector import add_into

QUOTA: Final = "quota"
PLAN: Final = "plan"
Listed = Sequence[Mapping[str, Any]] | Unread
MEMORY_LIMIT_RATIO: Final = Fraction(2)
"""Memory limit per request that KubeVirt sets by itself where a quota counts limits."""
_RATIO_LABEL: Final = "alpha.kubevirt.io/auto-memory-limits-ratio"
_IMPORTER: Final = {"cpu": 100, "memory": 60_000_000, "pods": 1}
"""What CDI's importer pod asks for, one per DataVolume while it is filled."""
_CLASS_KEY: Final = ".storageclass.storage.k8s.io/"
_PLAIN: Final = ("cpu", "memory", "ephemeral-storage")
_UNCOUNTED: Final = frozenset({"BestEffort", "Terminating", "CrossNamespacePodAffinity"})
DEDICATED: Final = "DedicatedVirtualResources"


@dataclass(frozen=True, slots=True)
class QuotaFacts:
    """What limits the target namespace; each list may be Unread.

    `namespace` is the object, None if it does not exist (yet), Unread if nobody knows. `cluster_quotas` are
    AppliedClusterResourceQuotas of the namespace or ClusterResourceQuotas. `aaq` are ApplicationAwareResourceQuotas and
    their cluster-wide form; `aaq_calculator` is the way AAQ counts VMs. `in_flight` is how many VMs move at a time.
    """

    name: str = ""
    namespace: Mapping[str, Any] | Unread | None = None
    quotas: Listed = ()
    limit_ranges: Listed = ()
    cluster_quotas: Listed = ()
    aaq: Listed = ()
    aaq_calculator: str = DEDICATED
    in_flight: int = 20


def judge_quota(vms: Sequence[VmNeed], disks: Sequence[Disk], facts: QuotaFacts) -> Part:
    """Judge what a plan takes from each quota: in the end, and at the peak when CDI holds each volume twice."""
    shortages: list[Shortage] = []
    risks: list[Shortage] = []
    unknown: list[Unknown] = []
    lines: list[Line] = []
    judged = True
    for listed, flavour in ((facts.quotas, ""), (facts.cluster_quotas, ""), (facts.aaq, facts.aaq_calculator)):
        if isinstance(listed, Unread):
            unknown.append(listed.unknown(QUOTA))
            judged = False
            continue
        seen = set()
        for quota in records(listed):
            if (owner := _owner(quota)) in seen or not _applies(quota, facts.name):
                continue
            seen.add(owner)
            _judge_one(quota, owner, vms, disks, facts, flavour, (shortages, risks, unknown, lines))
    if isinstance(facts.limit_ranges, Unread):
        unknown.append(facts.limit_ranges.unknown("limits"))
        judged = False
    else:
        too_large, doubtful = judge_limits(vms, disks, facts.limit_ranges)
        shortages += too_large
        risks += doubtful
    notes = []
    if isinstance(facts.namespace, Unread):
        unknown.append(facts.namespace.unknown("namespace", facts.name))
    elif facts.namespace is None and facts.name:
        notes.append(f"namespace {facts.name} does not exist yet: no quota today, a project template may add one")
    complete = all(vm.requests is not None for vm in vms) and not any(disk.size is None for disk in disks)
    if not complete and lines:
        unknown.append(Unknown(QUOTA, "the need of a VM or a volume is not known, so the plan needs more than shown"))
    return part_of(QUOTA, shortages, risks, unknown, lines, notes, judged=judged and (complete or not lines))


def quota_need(
    vms: Sequence[VmNeed], disks: Sequence[Disk], limit_ratio: Fraction = MEMORY_LIMIT_RATIO
) -> dict[str, int]:
    """Return what a plan takes from a namespace in the end, by the keys that quotas use."""
    need: dict[str, int] = {}
    for vm in vms:
        if vm.requests is None:
            continue
        for key, count in vm.requests.items():
            names = [key, f"count/{key}"] if key == "pods" else [f"requests.{key}"]
            if key in _PLAIN or key.startswith("hugepages-"):
                names.append(key)
            add_into(need, dict.fromkeys(names, count))
        add_into(need, {f"limits.{key}": count for key, count in _limits(vm, limit_ratio).items()})
        add_into(need, {"count/virtualmachines.kubevirt.io": 1, "count/virtualmachineinstances.kubevirt.io": 1})
    for disk in disks:
        add_into(need, _of_disk(disk))
        if disk.prime:
            add_into(need, {"count/datavolumes.cdi.kubevirt.io": 1})
    return need


def peak_extra(disks: Sequence[Disk], in_flight: int) -> dict[str, int]:
    """Return what a plan takes on top of the end state while volumes are filled, by quota key.

    No more VMs than `in_flight` are worked on at a time; which ones is not known, so those with the most extra count.
    """
    by_vm: dict[str, dict[str, int]] = {}
    for disk in disks:
        if disk.prime:
            extra = by_vm.setdefault(disk.vm, {})
            add_into(extra, _of_disk(disk))
            for key, count in _IMPORTER.items():
                names = (key, f"count/{key}") if key == "pods" else (key, f"requests.{key}", f"limits.{key}")
                add_into(extra, dict.fromkeys(names, count))
    keys = {key for extra in by_vm.values() for key in extra}
    return {key: sum(sorted((each.get(key, 0) for each in by_vm.values()), reverse=True)[:in_flight]) for key in keys}


def _judge_one(
    quota: Mapping[str, Any],
    owner: str,
    vms: Sequence[VmNeed],
    disks: Sequence[Disk],
    facts: QuotaFacts,
    flavour: str,
    found: tuple[list[Shortage], list[Shortage], list[Unknown], list[Line]],
) -> None:
    shortages, risks, unknown, lines = found
    # AAQ counts VM pods its own way and leaves the importer pods to the plain keys.
    counted = [vm for vm in vms if _in_scope(quota, vm)]
    scoped = bool(
        texts(dig(quota, "spec", "scopes")) or records(dig(quota, "spec", "scopeSelector", "matchExpressions"))
    )
    own_disks = () if scoped else disks
    need = quota_need(counted, own_disks, _limit_ratio(facts.namespace))
    if flavour:
        need = _aaq_need(counted, need, flavour)
    extra = peak_extra(own_disks, facts.in_flight)
    status = mapping(dig(quota, "status", "total") or quota.get("status"))
    hard = status.get("hard")
    if not isinstance(hard, dict):
        unknown.append(Unknown(QUOTA, f"quota {owner} does not say what is used", owner))
        return
    for key, written in sorted(hard.items(), key=lambda item: str(item[0])):
        if not isinstance(key, str) or not need.get(key, 0):
            continue
        limit, used = amount(key, written), amount(key, mapping(status.get("used")).get(key, 0))
        if limit is None or used is None:
            unknown.append(Unknown(key, f"quota {owner} cannot be read", owner, need[key]))
            continue
        have = max(0, limit - used)
        peak = need[key] + extra.get(key, 0)
        lines.append(Line(key, Scope.QUOTA, owner, need[key], have, "hard less used", peak=peak))
        origins = ", ".join(sorted({vm.origin.value for vm in counted}))
        if need[key] > have:
            shortages.append(Shortage(key, Scope.QUOTA, PLAN, need[key], have, Proof.SUM, owner, origins))
        elif peak > have:
            risks.append(Shortage(key, Scope.QUOTA, PLAN, need[key], have, Proof.PEAK, owner, origins, peak=peak))


def _aaq_need(vms: Sequence[VmNeed], need: Mapping[str, int], calculator: str) -> dict[str, int]:
    """Return the need as AAQ's calculator counts VMs: by default the guest's sizes, under keys of their own."""
    guest = {
        "cpu": sum(vm.vcpus for vm in vms) * 1000,
        "memory": sum(vm.guest_memory for vm in vms),
        "instances": len(vms),
    }
    own = {f"{prefix}{key}/vmi": count for key, count in guest.items() for prefix in ("", "requests.")}
    pod_keys = {"pods", "count/pods"} | {
        key for key in need if key.startswith(("requests.", "limits.")) or key in _PLAIN
    }
    pod_keys -= {"requests.storage"}
    if calculator == "VmiPodUsage":
        return dict(need)
    rest = {key: count for key, count in need.items() if key not in pod_keys}
    if calculator == "VirtualResources":
        plain = {f"{prefix}{key}": guest[key] for key in ("cpu", "memory") for prefix in ("", "requests.")}
        return {**rest, **plain, "pods": len(vms)}
    return {**rest, **own} if calculator == DEDICATED else rest


def _limits(vm: VmNeed, limit_ratio: Fraction) -> dict[str, int]:
    """Return the limits of a receiver pod; KubeVirt adds what a quota demands and the VM does not say."""
    total: dict[str, int] = {}
    for each in vm.containers:
        add_into(total, {key: each.limits[key] for key in ("cpu", "memory") if key in each.limits})
        if each.name == COMPUTE:
            if "memory" not in each.limits:
                grown = each.requests.amount("memory") * limit_ratio
                add_into(total, {"memory": -(-grown.numerator // grown.denominator)})
            if "cpu" not in each.limits:
                add_into(total, {"cpu": vm.vcpus * 1000 or each.requests.amount("cpu")})
    return total


def _limit_ratio(namespace: object) -> Fraction:
    return ratio(dig(namespace, "metadata", "labels", _RATIO_LABEL)) or MEMORY_LIMIT_RATIO


def _of_disk(disk: Disk) -> dict[str, int]:
    count = disk.size or 0
    found = {"requests.storage": count, "persistentvolumeclaims": 1, "count/persistentvolumeclaims": 1}
    if disk.storage_class:
        prefix = disk.storage_class + _CLASS_KEY
        found |= {prefix + "requests.storage": count, prefix + "persistentvolumeclaims": 1}
    return found


def _in_scope(quota: Mapping[str, Any], vm: VmNeed) -> bool:
    """Tell whether a quota counts a VM's pod: it has requests and no deadline."""
    if _UNCOUNTED & set(texts(dig(quota, "spec", "scopes"))):
        return False
    for each in records(dig(quota, "spec", "scopeSelector", "matchExpressions")):
        scope, operator, values = text(each.get("scopeName")), text(each.get("operator")), texts(each.get("values"))
        if scope in _UNCOUNTED:
            return False
        if scope == "PriorityClass":
            own = vm.priority_class
            inside = {"In": own in values, "NotIn": own not in values, "Exists": bool(own), "DoesNotExist": not own}
            if not inside.get(operator, False):
                return False
    return True


def _applies(quota: Mapping[str, Any], namespace: str) -> bool:
    """A cluster-wide quota, listed from outside the namespace, names those it counts."""
    if text(quota.get("kind")) not in ("ClusterResourceQuota", "ApplicationAwareClusterResourceQuota"):
        return True
    return any(each.get("namespace") == namespace for each in records(dig(quota, "status", "namespaces")))


def _owner(quota: Mapping[str, Any]) -> str:
    namespace, name = named(quota)
    # The namespace's view of a cluster-wide quota is the same quota.
    return name if "Cluster" in text(quota.get("kind")) or not namespace else f"{namespace}/{name}"
