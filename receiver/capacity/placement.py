"""Where a receiver pod may land: its selectors, affinity, tolerations and CPU model, and why a node is left out.

After KubeVirt's `createTargetPod`: the target of a migration gets more rules than the VM itself has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from receiver.capacity.reading import dig, mapping, records, strings, text, texts

HOSTNAME: Final = "kubernetes.io/hostname"
ARCH: Final = "kubernetes.io/arch"
SCHEDULABLE: Final = "kubevirt.io/schedulable"
_MACHINE: Final = "machine-type.node.kubevirt.io/"
_MODEL: Final = "cpu-model.node.kubevirt.io/"
_MIGRATION_MODEL: Final = "cpu-model-migration.node.kubevirt.io/"
_HOST_MODEL: Final = "host-model-cpu.node.kubevirt.io/"
_REQUIRED_FEATURE: Final = "host-model-required-features.node.kubevirt.io/"
_FEATURE: Final = "cpu-feature.node.kubevirt.io/"
_VENDOR: Final = "cpu-vendor.node.kubevirt.io/"
_CPU_MANAGER: Final = ("cpumanager", "kubevirt.io/cpumanager")
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_PODS: Final = {"podAffinity": "pod affinity", "podAntiAffinity": "pod anti-affinity"}
_REPELLING: Final = frozenset({"NoSchedule", "NoExecute"})
CORDON: Final = "node.kubernetes.io/unschedulable"


@dataclass(frozen=True, slots=True)
class Toleration:
    """One toleration; an empty key with `Exists` tolerates everything, an empty effect every effect."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""

    def tolerates(self, key: str, value: str, effect: str) -> bool:
        """Tell whether a taint is tolerated."""
        if self.effect not in ("", effect):
            return False
        if self.operator == "Exists":
            return self.key in ("", key)
        return self.operator in ("", "Equal") and self.key == key and self.value == value


@dataclass(frozen=True, slots=True)
class Expression:
    """One requirement of a node affinity term; `field` is true for `matchFields`, which only knows the name."""

    key: str
    operator: str
    values: tuple[str, ...] = ()
    field: bool = False

    def holds(self, labels: Mapping[str, str], name: str) -> bool:
        """Tell whether a node satisfies it, as the scheduler reads it; an unknown operator is satisfied by none."""
        found = (name if self.key == "metadata.name" else None) if self.field else labels.get(self.key)
        match self.operator:
            case "In":
                return found is not None and found in self.values
            case "NotIn":
                return found is None or found not in self.values
            case "Exists":
                return found is not None
            case "DoesNotExist":
                return found is None
            case "Gt" | "Lt" if found is not None and len(self.values) == 1:
                try:
                    left, right = int(found[:30]), int(self.values[0][:30])
                except ValueError:
                    return False
                return left > right if self.operator == "Gt" else left < right
            case _:
                return False


@dataclass(frozen=True, slots=True)
class Placement:
    """The rules of one VM. Equal rules are equal objects, so that nodes are judged once for all VMs that share them.

    `labels` must be on the node with that value; `any_of` are groups of labels of which one must be there with "true";
    `terms` is None without node affinity, else alternatives. `hosts` are the values of the hostname label that repel.
    """

    labels: tuple[tuple[str, str], ...] = ((SCHEDULABLE, "true"),)
    any_of: tuple[tuple[str, ...], ...] = ()
    terms: tuple[tuple[Expression, ...], ...] | None = None
    tolerations: tuple[Toleration, ...] = ()
    hosts: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()
    """Rules that this engine does not model, in words."""


def placement_of(
    spec: Mapping[str, Any], source_node: Mapping[str, Any] | None = None, *, live: bool = True
) -> Placement:
    """Return the rules of a VMI's spec. `source_node` is the node where it runs now; None if it cannot be read.

    For a live migration the source's CPU must be found again on the target, and the source's host name is avoided.
    """
    labels = {SCHEDULABLE: "true", **dict(strings(spec.get("nodeSelector")))}
    if arch := text(spec.get("architecture")):
        labels[ARCH] = arch
    if machine := text(dig(spec, "domain", "machine", "type")):
        labels[_MACHINE + machine] = "true"
    for feature in records(dig(spec, "domain", "cpu", "features")):
        if text(feature.get("policy")) in ("", "require") and (name := text(feature.get("name"))):
            labels[_FEATURE + name] = "true"
    any_of: list[tuple[str, ...]] = []
    if dig(spec, "domain", "cpu", "dedicatedCpuPlacement") is True:
        any_of.append(_CPU_MANAGER)
    unchecked: list[str] = []
    model = text(dig(spec, "domain", "cpu", "model")) or "host-model"
    if model not in ("host-model", "host-passthrough"):
        labels[_MODEL + model] = "true"
    hosts: tuple[str, ...] = ()
    if live:
        source = dict(strings(dig(source_node, "metadata", "labels")))
        if source:
            vendor = tuple(key for key, value in sorted(source.items()) if key.startswith(_VENDOR) and value == "true")
            if model == "host-model":
                _require_host_model(source, labels)
            elif vendor:
                any_of.append(vendor)
        else:
            unchecked.append("CPU of the source node, which could not be read")
        # KubeVirt compares the *name* of the source node with the host name *label* of the target's nodes.
        if name := text(dig(source_node, "metadata", "name")):
            hosts = (name,)
    affinity = mapping(spec.get("affinity"))
    unchecked += [f"{_PODS[part]} of the VM" for part in _about_pods(affinity)]
    if any(
        text(each.get("whenUnsatisfiable")) != "ScheduleAnyway"
        for each in records(spec.get("topologySpreadConstraints"))
    ):
        unchecked.append("topology spread constraints of the VM")
    return Placement(
        _ordered(labels),
        tuple(any_of),
        _terms(dig(affinity, "nodeAffinity", _REQUIRED)),
        tuple(
            Toleration(
                text(each.get("key")),
                text(each.get("operator")) or "Equal",
                text(each.get("value")),
                text(each.get("effect")),
            )
            for each in records(spec.get("tolerations"))
        ),
        hosts,
        tuple(unchecked),
    )


def planned(rules: Placement, selector: object, affinity: object) -> Placement:
    """Return the rules of a VM to which a Plan adds its own: the selector is added, the affinity takes the VM's place.

    They are `spec.targetNodeSelector` and `spec.targetAffinity`, as Forklift puts them into the VM that it makes.
    """
    wished = dict(strings(selector))
    if not wished and not isinstance(affinity, dict):
        return rules
    found = replace(rules, labels=_ordered({**dict(rules.labels), **wished}))
    if not isinstance(affinity, dict):
        return found
    own = {f"{name} of the VM" for name in _PODS.values()}
    kept = tuple(each for each in rules.unchecked if each not in own)
    return replace(
        found,
        terms=_terms(dig(affinity, "nodeAffinity", _REQUIRED)),
        unchecked=(*kept, *(f"spec.targetAffinity.{part} of the plan" for part in _about_pods(affinity))),
    )


def refusal(node: Mapping[str, Any], rules: Placement, known_labels: frozenset[str] = frozenset()) -> str:
    """Return why a node cannot take such a VM, in words for people; empty if it can.

    `known_labels` are the label prefixes of the cluster up to the slash. Releases before the machine type label exists
    neither set nor ask for it, so it is only asked for where some node has one.
    """
    labels, spec = dict(strings(dig(node, "metadata", "labels"))), mapping(node.get("spec"))
    ready = [
        text(each.get("status")) for each in records(dig(node, "status", "conditions")) if each.get("type") == "Ready"
    ]
    if ready != ["True"]:
        return "not ready"
    if spec.get("unschedulable") is True and not _tolerated(rules, CORDON, "", "NoSchedule"):
        return "cordoned"
    for key, value in rules.labels:
        if labels.get(key) != value and not (key.startswith(_MACHINE) and _MACHINE not in known_labels):
            return _missing(key, value)
    for group in rules.any_of:
        if not any(labels.get(key) == "true" for key in group):
            return "no dedicated CPUs (CPU manager is off)" if group == _CPU_MANAGER else "CPU of another vendor"
    if rules.terms is not None:
        name = text(dig(node, "metadata", "name"))
        if not any(term and all(each.holds(labels, name) for each in term) for term in rules.terms):
            return "does not match the VM's node affinity"
    for taint in records(spec.get("taints")):
        key, value, effect = (text(taint.get(part)) for part in ("key", "value", "effect"))
        if effect in _REPELLING and not _tolerated(rules, key, value, effect):
            return f"untolerated taint {key}" + (f"={value}" if value else "")
    if labels.get(HOSTNAME) in rules.hosts:
        return "has the host name of the source node"
    return ""


def label_prefixes(nodes: tuple[Mapping[str, Any], ...]) -> frozenset[str]:
    """Return the prefixes of all labels of all nodes, slash included."""
    return frozenset(
        key.partition("/")[0] + "/"
        for node in nodes
        for key, _ in strings(dig(node, "metadata", "labels"))
        if "/" in key
    )


def _ordered(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The plainest reason first, it is the one that is told."""
    return tuple(sorted(labels.items(), key=lambda item: (item[0] != SCHEDULABLE, item[0] != ARCH, item[0])))


def _about_pods(affinity: Mapping[str, Any]) -> list[str]:
    return [part for part in _PODS if records(dig(affinity, part, _REQUIRED))]


def _require_host_model(source: Mapping[str, str], labels: dict[str, str]) -> None:
    for key, value in source.items():
        if value != "true":
            continue
        if key.startswith(_HOST_MODEL):
            labels[_MIGRATION_MODEL + key.removeprefix(_HOST_MODEL)] = "true"
        elif key.startswith(_REQUIRED_FEATURE):
            labels[_FEATURE + key.removeprefix(_REQUIRED_FEATURE)] = "true"


def _terms(required: object) -> tuple[tuple[Expression, ...], ...] | None:
    if not isinstance(required, dict):
        return None
    return tuple(
        tuple(
            Expression(text(each.get("key")), text(each.get("operator")), texts(each.get("values")), field)
            for field, part in ((False, "matchExpressions"), (True, "matchFields"))
            for each in records(term.get(part))
        )
        for term in records(required.get("nodeSelectorTerms"))
    )


def _tolerated(rules: Placement, key: str, value: str, effect: str) -> bool:
    return any(each.tolerates(key, value, effect) for each in rules.tolerations)


def _missing(key: str, value: str) -> str:
    if key == SCHEDULABLE:
        return "not schedulable for KubeVirt"
    if key == ARCH:
        return f"architecture is not {value}"
    if key.startswith((_MODEL, _MIGRATION_MODEL)):
        return f"CPU model {key.partition('/')[2]} is not supported"
    if key.startswith(_FEATURE):
        return f"CPU feature {key.partition('/')[2]} is missing"
    if key.startswith(_MACHINE):
        return f"machine type {key.partition('/')[2]} is not supported"
    return f"label {key}={value} is missing"
