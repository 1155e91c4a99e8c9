"""KubeVirt's formula for the pod of a VM (`renderresources.go`), where no such pod can be looked at."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any, Final

from receiver.capacity.need import COMPUTE, Container, Origin, SourceVm, VmNeed
from receiver.capacity.overhead import Profile, dedicated, memory_overhead
from receiver.capacity.placement import placement_of
from receiver.capacity.reading import dig, mapping, records, size, text, whole
from receiver.capacity.vector import Vector, read_vector

_CONSOLE_LOG: Final = "guest-console-log"
_CONSOLE_LOG_REQUESTS: Final = {"cpu": 5, "memory": 35_000_000}
_EPHEMERAL: Final = 50_000_000
"""Bytes of ephemeral storage that KubeVirt asks for the compute container."""


def expanded(template: Mapping[str, Any], instancetype: object) -> dict[str, Any]:
    """Return a VM's template spec with its instancetype worked in, as KubeVirt does when the VM starts."""
    kind = mapping(dig(instancetype, "spec"))
    domain = dict(mapping(template.get("domain")))
    if not kind:
        return {**template, "domain": domain}
    cpu, memory = mapping(kind.get("cpu")), mapping(kind.get("memory"))
    domain["cpu"] = {**mapping(domain.get("cpu")), "sockets": cpu.get("guest"), "cores": 1, "threads": 1}
    for key, name in (("dedicatedCPUPlacement", "dedicatedCpuPlacement"), ("model", "model")):
        if key in cpu:
            domain["cpu"][name] = cpu[key]
    domain["memory"] = {**mapping(domain.get("memory")), "guest": memory.get("guest")}
    if "hugepages" in memory:
        domain["memory"]["hugepages"] = memory["hugepages"]
    percent, guest = whole(memory.get("overcommitPercent")), size(memory.get("guest"))
    if guest and 0 < percent < 100:
        resources = mapping(domain.get("resources"))
        requests = {**mapping(resources.get("requests")), "memory": guest * (100 - percent) // 100}
        domain["resources"] = {**resources, "requests": requests}
    devices = dict(mapping(domain.get("devices")))
    for part in ("gpus", "hostDevices"):
        if records(kind.get(part)):
            devices[part] = kind[part]
    for part in ("ioThreadsPolicy", "launchSecurity"):
        if part in kind:
            domain[part] = kind[part]
    selector = {**mapping(template.get("nodeSelector")), **mapping(kind.get("nodeSelector"))}
    return {**template, "domain": {**domain, "devices": devices}, "nodeSelector": selector}


def from_spec(
    source: SourceVm, spec: Mapping[str, Any], target: Profile, origin: Origin, overhead: int | None
) -> VmNeed:
    """Return the need by KubeVirt's formula. `overhead` in bytes replaces its own where the cluster reports one."""
    domain = mapping(spec.get("domain"))
    vcpus = vcpus_of(domain)
    memory, hugepages, guest = memory_of(domain, target)
    if memory is None:
        return VmNeed(source.name, source.namespace, why="the VM has no readable memory size")
    set_memory = size(dig(domain, "resources", "requests", "memory"))
    if overhead is None:
        overhead = memory_overhead(spec, vcpus, set_memory, target)
    if dig(domain, "resources", "overcommitGuestOverhead") is True:
        overhead = 0
    compute = {"cpu": _cpu(domain, vcpus, target), "memory": memory + overhead, "ephemeral-storage": _EPHEMERAL}
    compute |= hugepages
    compute |= {"devices.kubevirt.io/tun": 1, "devices.kubevirt.io/vhost-net": 1}
    if not target.emulation:
        compute["devices.kubevirt.io/kvm"] = 1
    for part in ("gpus", "hostDevices"):
        for device in records(dig(domain, "devices", part)):
            if name := text(device.get("deviceName")):
                compute[name] = compute.get(name, 0) + 1
    limits, _ = read_vector(dig(domain, "resources", "limits"))
    if dedicated(domain):
        limits = {"cpu": compute["cpu"], "memory": compute["memory"]}
    elif "memory" in limits:
        limits["memory"] += overhead
    containers = [Container(COMPUTE, Vector(compute), Vector(limits))]
    if _logs_console(domain, target):
        asked, _ = read_vector(target.sidecars.get(_CONSOLE_LOG))
        containers.append(Container(_CONSOLE_LOG, Vector(asked or _CONSOLE_LOG_REQUESTS), Vector()))
    total = sum((each.requests for each in containers), Vector({"pods": 1}))
    return VmNeed(
        source.name,
        source.namespace,
        total,
        origin,
        placement_of(spec, source.node, live=source.live),
        tuple(containers),
        vcpus,
        guest,
        text(spec.get("priorityClassName")),
        _notes(spec, target),
    )


def vcpus_of(domain: Mapping[str, Any]) -> int:
    """Return how many CPUs the guest sees: of sockets, cores and threads the product of those that are set."""
    cpu = mapping(domain.get("cpu"))
    product, found = 1, False
    for part in ("sockets", "cores", "threads"):
        if count := whole(cpu.get(part)):
            product, found = product * count, True
    if found:
        return product
    for part in ("limits", "requests"):
        asked, _ = read_vector({"cpu": dig(domain, "resources", part, "cpu")})
        if asked.get("cpu"):
            return -(-asked["cpu"] // 1000)
    return 1


def scaled(millicores: int, factor: Fraction) -> int:
    """Return millicores times a factor, rounded up."""
    return -(-millicores * factor.numerator // factor.denominator)


def memory_of(domain: Mapping[str, Any], profile: Profile) -> tuple[int | None, dict[str, int], int]:
    """Return the base request in bytes (None if nothing says it), hugepages by resource, and the guest's memory."""
    request, limit = (size(dig(domain, "resources", part, "memory")) for part in ("requests", "limits"))
    guest = size(dig(domain, "memory", "guest"))
    base = request or limit or (guest * 100 // profile.memory_overcommit if guest else None)
    if not base:
        return None, {}, 0
    guest = guest or base
    page = text(dig(domain, "memory", "hugepages", "pageSize"))
    if not page:
        return base, {}, guest
    return max(0, base - guest), {f"hugepages-{page}": min(base, guest)}, guest


def _cpu(domain: Mapping[str, Any], vcpus: int, profile: Profile) -> int:
    asked, _ = read_vector({"cpu": dig(domain, "resources", "requests", "cpu")})
    if "cpu" in asked:
        return asked["cpu"]
    threads = 0
    if text(domain.get("ioThreadsPolicy")) == "supplementalPool":
        threads = whole(dig(domain, "ioThreads", "supplementalPoolThreadCount"))
    if dedicated(domain):
        # A parity annotation of the KubeVirt CR can make it two; one is what the plain setting takes.
        emulator = dig(domain, "cpu", "isolateEmulatorThread") is True
        return (vcpus + threads + emulator) * 1000
    return scaled((vcpus + threads) * 1000, 1 / profile.cpu_ratio)


def _logs_console(domain: Mapping[str, Any], profile: Profile) -> bool:
    devices = mapping(domain.get("devices"))
    wish = devices.get("logSerialConsole")
    return devices.get("autoattachSerialConsole") is not False and (
        profile.console_log if wish is None else wish is True
    )


def _notes(spec: Mapping[str, Any], profile: Profile) -> tuple[str, ...]:
    notes = []
    if profile.version is None:
        notes.append("KubeVirt version not known: the overhead of the newest one is counted")
    if records(dig(spec, "domain", "devices", "filesystems")):
        notes.append("containers for shared file systems are not counted")
    if any("sriov" in each for each in records(dig(spec, "domain", "devices", "interfaces"))):
        notes.append("SR-IOV devices are not counted")
    return tuple(notes)
