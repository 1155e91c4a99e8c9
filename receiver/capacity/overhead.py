"""What virt-launcher needs beside the guest's memory, by KubeVirt version (`GetMemoryOverhead`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

from receiver.capacity.quantity import exact, ratio
from receiver.capacity.reading import dig, mapping, records, size, text, whole

MIB: Final = 1024**2
_FIXED_MIB: Final = 220
"""Monitor 25, launcher 100, virtlogd 25, virtqemud 40 and qemu 30 MiB, up to KubeVirt 1.8."""
_FIXED_MIB_FROM_1_9: Final = 240
"""The same with 50 MiB for qemu."""
_PER_VCPU_MIB: Final = 8
_IO_THREAD_MIB: Final = 8
_GRAPHICS_MIB: Final = 32
_ARM64_MIB: Final = 128
_VFIO_MIB: Final = 1024
_DOWNWARD_METRICS_MIB: Final = 1
_PROBES_MIB: Final = 100
_PER_PROBE_MIB: Final = 10
_SEV_MIB: Final = 256
_TPM_MIB: Final = 53
_DEDICATED_MIB: Final = 100
_PASST_MIB: Final = 250
_PAGE_TABLE_SHARE: Final = 512
DEFAULT_CPU_RATIO: Final = Fraction(10)
"""vCPUs per requested CPU (`cpuAllocationRatio`) unless the KubeVirt CR says otherwise."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a cluster's KubeVirt adds to a VM. The defaults are those of KubeVirt itself.

    `version` is (major, minor), None if it is not known: then the larger, newest values count.
    `memory_overcommit` is in percent of the request, 100 is none. `sidecars` are requests by container type from
    `supportContainerResources`; `plugins` are bytes by network binding plugin.
    """

    version: tuple[int, int] | None = None
    cpu_ratio: Fraction = DEFAULT_CPU_RATIO
    memory_overcommit: int = 100
    overhead_ratio: Fraction = Fraction(1)
    console_log: bool = True
    emulation: bool = False
    state_class: str = ""
    sidecars: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    plugins: Mapping[str, int] = field(default_factory=dict)


def profile_of(kubevirt: object, hyperconverged: object = None) -> Profile:
    """Read a KubeVirt CR, and what HyperConverged says where the former is silent; anything unreadable is default."""
    config = mapping(dig(kubevirt, "spec", "configuration"))
    developer = mapping(config.get("developerConfiguration"))
    cpu_ratio = (
        ratio(developer.get("cpuAllocationRatio"))
        or ratio(dig(hyperconverged, "spec", "virtualization", "vmiCPUAllocationRatio"))
        or ratio(dig(hyperconverged, "spec", "resourceRequirements", "vmiCPUAllocationRatio"))
    )
    version = re.match(r"v?([0-9]{1,4})\.([0-9]{1,4})", text(dig(kubevirt, "status", "observedKubeVirtVersion")))
    plugins = {
        name: size(dig(plugin, "computeResourceOverhead", "requests", "memory")) or 0
        for name, plugin in mapping(dig(config, "network", "binding")).items()
        if isinstance(name, str)
    }
    return Profile(
        version=(int(version[1]), int(version[2])) if version else None,
        cpu_ratio=cpu_ratio or DEFAULT_CPU_RATIO,
        memory_overcommit=whole(developer.get("memoryOvercommit")) or 100,
        overhead_ratio=ratio(config.get("additionalGuestMemoryOverheadRatio")) or Fraction(1),
        console_log="disableSerialConsoleLog" not in mapping(config.get("virtualMachineOptions")),
        emulation=developer.get("useEmulation") is True,
        state_class=text(config.get("vmStateStorageClass")),
        sidecars={
            text(each.get("type")): mapping(dig(each, "resources", "requests"))
            for each in records(config.get("supportContainerResources"))
        },
        plugins=plugins,
    )


def memory_overhead(spec: Mapping[str, Any], vcpus: int, requested: int | None, profile: Profile) -> int:
    """Return the bytes that virt-launcher needs beside the guest, for a VMI's spec.

    `requested` is the base request in bytes where it was really set (`resources.requests.memory`), else None.
    """
    domain = mapping(spec.get("domain"))
    devices = mapping(domain.get("devices"))
    newest = profile.version is None or profile.version >= (1, 9)
    mib = _FIXED_MIB_FROM_1_9 if newest else _FIXED_MIB
    mib += _PER_VCPU_MIB * vcpus + _IO_THREAD_MIB
    if devices.get("autoattachGraphicsDevice") is not False:
        mib += _GRAPHICS_MIB
    if text(spec.get("architecture")) == "arm64":
        mib += _ARM64_MIB
    if has_vfio(devices):
        mib += _VFIO_MIB
    if any("downwardMetrics" in volume for volume in records(spec.get("volumes"))) or "downwardMetrics" in devices:
        mib += _DOWNWARD_METRICS_MIB
    probes = sum(bool(dig(spec, probe, "exec")) for probe in ("readinessProbe", "livenessProbe"))
    if probes:
        mib += _PROBES_MIB + _PER_PROBE_MIB * probes
    if {"sev", "snp"} & mapping(domain.get("launchSecurity")).keys():
        mib += _SEV_MIB
    if isinstance(devices.get("tpm"), dict) and mapping(devices.get("tpm")).get("enabled") is not False:
        mib += _TPM_MIB
    if dedicated(domain) or _guaranteed(domain):
        mib += _DEDICATED_MIB
    total = mib * MIB + (size(dig(domain, "memory", "reservedOverhead", "addedOverhead")) or 0)
    total += _page_tables(domain, requested, profile)
    scaled = -(-total * profile.overhead_ratio.numerator // profile.overhead_ratio.denominator)
    return scaled + _bindings(devices, profile)


def dedicated(domain: Mapping[str, Any]) -> bool:
    """Tell whether the VM asks for CPUs of its own."""
    return dig(domain, "cpu", "dedicatedCpuPlacement") is True


def has_vfio(devices: Mapping[str, Any]) -> bool:
    """Tell whether a device of the host is handed through."""
    sriov = any("sriov" in each for each in records(devices.get("interfaces")))
    return sriov or bool(records(devices.get("gpus")) or records(devices.get("hostDevices")))


def _page_tables(domain: Mapping[str, Any], requested: int | None, profile: Profile) -> int:
    """Up to 1.6 the request was always filled in from the guest's memory, so the term always applied."""
    memory = requested
    if memory is None and profile.version is not None and profile.version <= (1, 6):
        guest = size(dig(domain, "memory", "guest")) or 0
        memory = guest * 100 // profile.memory_overcommit
    if memory is None:
        return 0
    return -(-memory // 1000) * 1000 // _PAGE_TABLE_SHARE


def _guaranteed(domain: Mapping[str, Any]) -> bool:
    """Tell whether requests and limits of CPU and memory are set and equal."""
    for resource in ("cpu", "memory"):
        request, limit = (dig(domain, "resources", part, resource) for part in ("requests", "limits"))
        try:
            if exact(request) != exact(limit):
                return False
        except ValueError:
            return False
    return True


def _bindings(devices: Mapping[str, Any], profile: Profile) -> int:
    interfaces = records(devices.get("interfaces"))
    passt = any("passt" in each or "passtBinding" in each for each in interfaces)
    used = {name for each in interfaces if (name := text(dig(each, "binding", "name")))}
    return _PASST_MIB * MIB * passt + sum(profile.plugins.get(name, 0) for name in used)
