"""What one VM will ask of the target, in the order of trust: its pod that runs now, its VMI, its VM, an inventory.

Every need says where its numbers come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any, Final

from receiver.capacity.formula import expanded, from_spec, memory_of, scaled, vcpus_of
from receiver.capacity.need import COMPUTE, Container, Origin, SourceVm, VmNeed
from receiver.capacity.overhead import Profile, dedicated
from receiver.capacity.placement import placement_of
from receiver.capacity.pods import effective_requests, read_pod
from receiver.capacity.reading import dig, mapping, named, records, size, text
from receiver.capacity.vector import Vector, read_vector

_OVERHEAD_ANNOTATION: Final = "kubevirt.io/memory-overhead-bytes"


def need_of(source: SourceVm, target: Profile, at_source: Profile | None = None) -> VmNeed:
    """Return the need of a KubeVirt VM, from the best of what could be read. Profiles: of target and source cluster."""
    spec = mapping(dig(source.vmi, "spec"))
    if pod := _launcher(source.pods):
        need = _from_pod(source, pod, spec, target, at_source or target)
        if need.requests is not None:
            return need
    if mapping(spec.get("domain")):
        return from_spec(source, spec, target, Origin.VMI, _reported_overhead(source.vmi))
    template = mapping(dig(source.vm, "spec", "template", "spec"))
    if mapping(template.get("domain")):
        wanted = text(dig(source.vm, "spec", "instancetype", "name"))
        if wanted and source.instancetype is None:
            return _unknown(source, f"instancetype {wanted} could not be read")
        return from_spec(source, expanded(template, source.instancetype), target, Origin.VM, None)
    return _unknown(source, "neither its pod, its VMI nor its VM could be read")


def _from_pod(
    source: SourceVm, pod: Mapping[str, Any], spec: Mapping[str, Any], target: Profile, at_source: Profile
) -> VmNeed:
    requests, readable = effective_requests(read_pod(pod))
    if not readable or not requests.amount("memory"):
        return _unknown(source, "the requests of its pod could not be read")
    containers = tuple(_containers(pod))
    domain = mapping(spec.get("domain"))
    notes: list[str] = []
    if target.cpu_ratio != at_source.cpu_ratio:
        if not domain:
            notes.append("CPU not rescaled to the target's allocation ratio: the VMI could not be read")
        elif not dedicated(domain) and dig(domain, "resources", "requests", "cpu") is None:
            requests, containers = _rescaled(requests, containers, at_source.cpu_ratio / target.cpu_ratio)
    rules = spec or {"nodeSelector": dig(pod, "spec", "nodeSelector"), "tolerations": dig(pod, "spec", "tolerations")}
    return VmNeed(
        source.name,
        source.namespace,
        requests,
        Origin.SOURCE_POD,
        placement_of(rules, source.node, live=source.live),
        containers,
        vcpus_of(domain) if domain else 0,
        memory_of(domain, target)[2],
        text(dig(pod, "spec", "priorityClassName")),
        tuple(notes),
    )


def _rescaled(
    requests: Vector, containers: tuple[Container, ...], factor: Fraction
) -> tuple[Vector, tuple[Container, ...]]:
    """Only the guest's CPUs follow the ratio, sidecars do not."""
    changed, difference = [], 0
    for each in containers:
        if each.name == COMPUTE:
            cpu = scaled(each.requests.amount("cpu"), factor)
            difference += cpu - each.requests.amount("cpu")
            changed.append(Container(each.name, each.requests.replace(cpu=cpu), each.limits))
        else:
            changed.append(each)
    return requests.replace(cpu=max(0, requests.amount("cpu") + difference)), tuple(changed)


def _containers(pod: Mapping[str, Any]) -> Iterable[Container]:
    for part in ("containers", "initContainers"):
        for each in records(dig(pod, "spec", part)):
            requests, _ = read_vector(dig(each, "resources", "requests"))
            limits, _ = read_vector(dig(each, "resources", "limits"))
            yield Container(text(each.get("name")), Vector(requests), Vector(limits))


def _launcher(pods: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the newest running launcher that is not going away; ties by name."""
    running = [
        pod
        for pod in records(list(pods))
        if dig(pod, "status", "phase") == "Running" and dig(pod, "metadata", "deletionTimestamp") is None
    ]
    return max(running, key=lambda pod: (text(dig(pod, "metadata", "creationTimestamp")), named(pod)[1]), default=None)


def _reported_overhead(vmi: object) -> int | None:
    return size(dig(vmi, "status", "memory", "memoryOverhead")) or size(
        dig(vmi, "metadata", "annotations", _OVERHEAD_ANNOTATION)
    )


def _unknown(source: SourceVm, why: str) -> VmNeed:
    return VmNeed(source.name, source.namespace, why=why)
