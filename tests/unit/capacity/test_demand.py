"""What a VM needs: KubeVirt's formula term by term, its order of sources, and the inventories of other providers."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from receiver.capacity import Origin, Profile, SourceVm, from_inventory, inventory_disks, need_of, profile_of
from receiver.capacity.overhead import MIB, memory_overhead
from tests.unit.capacity.cluster import PROFILE, source_vm

V16, V17, V18, V19 = (Profile(version=(1, minor)) for minor in (6, 7, 8, 9))
GUEST = 1024 * MIB
BASE = 240 + 8 * 2 + 8 + 32


def _spec(devices: dict[str, Any] | None = None, spec: dict[str, Any] | None = None, **domain: Any) -> dict[str, Any]:
    whole = {"cpu": {"sockets": 2}, "memory": {"guest": "1Gi"}, "devices": devices or {}, **domain}
    return {"domain": whole, **(spec or {})}


@pytest.mark.parametrize(
    ("spec", "mib"),
    [
        (_spec(), BASE),
        (_spec({"autoattachGraphicsDevice": False}), BASE - 32),
        (_spec({"autoattachGraphicsDevice": True}), BASE),
        (_spec(spec={"architecture": "arm64"}), BASE + 128),
        (_spec(spec={"architecture": "amd64"}), BASE),
        (_spec({"gpus": [{"deviceName": "nvidia.com/A100"}]}), BASE + 1024),
        (_spec({"hostDevices": [{"deviceName": "x"}], "gpus": [{}]}), BASE + 1024),  # once
        (_spec({"interfaces": [{"name": "a", "sriov": {}}]}), BASE + 1024),
        (_spec({"downwardMetrics": {}}), BASE + 1),
        (_spec(spec={"volumes": [{"name": "m", "downwardMetrics": {}}]}), BASE + 1),
        (_spec(spec={"readinessProbe": {"exec": {"command": ["x"]}}}), BASE + 110),
        (_spec(spec={"readinessProbe": {"exec": {"a": 1}}, "livenessProbe": {"exec": {"a": 1}}}), BASE + 120),
        (_spec(spec={"readinessProbe": {"httpGet": {}}}), BASE),
        (_spec(launchSecurity={"sev": {}}), BASE + 256),
        (_spec(launchSecurity={"snp": {}}), BASE + 256),
        (_spec({"tpm": {}}), BASE + 53),
        (_spec({"tpm": {"enabled": False}}), BASE),
        (_spec(cpu={"sockets": 2, "dedicatedCpuPlacement": True}), BASE + 100),
        (
            _spec(
                resources={"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"cpu": "2000m", "memory": "1024Mi"}}
            ),
            BASE + 100,
        ),
        (_spec(resources={"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}), BASE),
        (_spec(memory={"guest": "1Gi", "reservedOverhead": {"addedOverhead": "64Mi"}}), BASE + 64),
        (_spec({"interfaces": [{"name": "a", "passt": {}}]}), BASE + 250),
    ],
)
def test_overhead_terms(spec: dict[str, Any], mib: int) -> None:
    assert memory_overhead(spec, 2, None, V19) == mib * MIB


@pytest.mark.parametrize(
    ("profile", "requested", "extra_mib", "page_tables"),
    [
        (V19, None, 0, 0),
        (V18, None, -20, 0),
        (V17, None, -20, 0),
        (V16, None, -20, 2_097_152),
        (V19, GUEST, 0, 2_097_152),
        (V19, 512_001, 0, 1001),  # first to whole kB: 513,000 / 512
        (Profile(), None, 0, 0),  # version not known: the newest
    ],
)
def test_overhead_by_version(profile: Profile, requested: int | None, extra_mib: int, page_tables: int) -> None:
    assert memory_overhead(_spec(), 2, requested, profile) == (BASE + extra_mib) * MIB + page_tables


def test_overhead_ratio_covers_all_but_network_bindings() -> None:
    profile = Profile(version=(1, 9), overhead_ratio=Fraction("1.5"), plugins={"slirp": 100 * MIB})
    spec = _spec({"interfaces": [{"binding": {"name": "slirp"}}, {"binding": {"name": "slirp"}}, {"passt": {}}]})
    assert memory_overhead(spec, 2, None, profile) == (BASE * 3 // 2 + 100 + 250) * MIB


def _need(spec: dict[str, Any], profile: Profile = V19) -> dict[str, int]:
    need = need_of(SourceVm("vm", vmi={"spec": spec}), profile)
    assert need.requests is not None
    assert need.origin is Origin.VMI
    return dict(need.requests)


LOG_CPU, LOG_MEMORY = 5, 35_000_000


@pytest.mark.parametrize(
    ("cpu", "more", "profile", "millicores"),
    [
        ({"sockets": 2, "cores": 4, "threads": 1}, {}, V19, 800),
        ({"sockets": 1, "cores": 0}, {}, V19, 100),
        (None, {}, V19, 100),
        (None, {"resources": {"limits": {"cpu": "3"}}}, V19, 300),
        (None, {"resources": {"requests": {"cpu": "1500m"}}}, V19, 1500),
        ({"sockets": 4}, {"resources": {"requests": {"cpu": "250m"}}}, V19, 250),
        ({"sockets": 3}, {}, replace(V19, cpu_ratio=Fraction(7)), 429),  # rounds up
        ({"sockets": 3}, {}, replace(V19, cpu_ratio=Fraction(1)), 3000),
        ({"sockets": 4, "dedicatedCpuPlacement": True}, {}, V19, 4000),
        ({"sockets": 4, "dedicatedCpuPlacement": True, "isolateEmulatorThread": True}, {}, V19, 5000),
        (
            {"sockets": 4},
            {"ioThreadsPolicy": "supplementalPool", "ioThreads": {"supplementalPoolThreadCount": 2}},
            V19,
            600,
        ),
        ({"sockets": 4}, {"ioThreadsPolicy": "auto", "ioThreads": {"supplementalPoolThreadCount": 2}}, V19, 400),
    ],
)
def test_cpu(cpu: dict[str, Any] | None, more: dict[str, Any], profile: Profile, millicores: int) -> None:
    assert _need(_spec(cpu=cpu, **more), profile)["cpu"] == millicores + LOG_CPU


@pytest.mark.parametrize(
    ("memory", "resources", "profile", "base"),
    [
        ({"guest": "1Gi"}, {}, V19, GUEST),
        ({"guest": "1Gi"}, {"limits": {"memory": "2Gi"}}, V19, 2 * GUEST),
        ({"guest": "1Gi"}, {}, replace(V19, memory_overcommit=200), GUEST // 2),
        # A set request also brings the page tables.
        ({"guest": "1Gi"}, {"requests": {"memory": "512Mi"}}, V19, GUEST // 2 + -(-(GUEST // 2) // 1000) * 1000 // 512),
        ({}, {"requests": {"memory": "1Gi"}}, V19, GUEST + 2_097_152),
    ],
)
def test_memory(memory: dict[str, Any], resources: dict[str, Any], profile: Profile, base: int) -> None:
    spec = _spec(memory=memory, resources=resources)
    assert _need(spec, profile)["memory"] == base + BASE * MIB + LOG_MEMORY


def test_hugepages_hold_the_guest_and_memory_the_rest() -> None:
    pages = {"guest": "1Gi", "hugepages": {"pageSize": "2Mi"}}
    need = _need(_spec(memory=pages))
    assert (need["hugepages-2Mi"], need["memory"]) == (GUEST, BASE * MIB + LOG_MEMORY)

    need = _need(_spec(memory=pages, resources={"requests": {"memory": "1100Mi"}}))
    page_tables = -(-1100 * MIB // 1000) * 1000 // 512
    assert (need["hugepages-2Mi"], need["memory"]) == (GUEST, (76 + BASE) * MIB + page_tables + LOG_MEMORY)


def test_overhead_left_out_where_the_vm_says_so() -> None:
    assert _need(_spec(resources={"overcommitGuestOverhead": True}))["memory"] == GUEST + LOG_MEMORY


def test_overhead_that_the_cluster_reports_is_preferred() -> None:
    vmi = {"spec": _spec(), "status": {"memory": {"memoryOverhead": "500Mi"}}}
    need = need_of(SourceVm("vm", vmi=vmi), V19)
    assert need.requests is not None
    assert need.requests["memory"] == GUEST + 500 * MIB + LOG_MEMORY


@pytest.mark.parametrize(
    ("devices", "profile", "logs"),
    [
        ({}, V19, True),
        ({"logSerialConsole": False}, V19, False),
        ({"autoattachSerialConsole": False}, V19, False),
        ({}, replace(V19, console_log=False), False),
        ({"logSerialConsole": True}, replace(V19, console_log=False), True),
    ],
)
def test_console_log_sidecar(devices: dict[str, Any], profile: Profile, logs: bool) -> None:
    assert _need(_spec(devices), profile)["cpu"] == 200 + LOG_CPU * logs


def test_support_containers_may_ask_for_more() -> None:
    kubevirt = {
        "spec": {
            "configuration": {
                "supportContainerResources": [
                    {"type": "guest-console-log", "resources": {"requests": {"cpu": "50m", "memory": "100M"}}}
                ]
            }
        },
        "status": {"observedKubeVirtVersion": "v1.9.1"},
    }
    need = _need(_spec(), profile_of(kubevirt))
    assert (need["cpu"], need["memory"]) == (250, GUEST + BASE * MIB + 100_000_000)


def test_rest_of_the_pod() -> None:
    need = _need(_spec({"gpus": [{"deviceName": "nvidia.com/A100"}, {"deviceName": "nvidia.com/A100"}]}))
    assert {key: count for key, count in need.items() if key not in ("cpu", "memory")} == {
        "ephemeral-storage": 50_000_000,
        "devices.kubevirt.io/kvm": 1,
        "devices.kubevirt.io/tun": 1,
        "devices.kubevirt.io/vhost-net": 1,
        "nvidia.com/A100": 2,
        "pods": 1,
    }
    assert "devices.kubevirt.io/kvm" not in _need(_spec(), replace(V19, emulation=True))


def test_profile_of_a_cluster() -> None:
    kubevirt = {
        "spec": {
            "configuration": {
                "developerConfiguration": {"cpuAllocationRatio": 4, "memoryOvercommit": 150, "useEmulation": True},
                "additionalGuestMemoryOverheadRatio": "1.2",
                "virtualMachineOptions": {"disableSerialConsoleLog": {}},
                "network": {"binding": {"slirp": {"computeResourceOverhead": {"requests": {"memory": "10Mi"}}}}},
                "vmStateStorageClass": "state",
            }
        },
        "status": {"observedKubeVirtVersion": "v1.6.3-rc.1"},
    }
    assert profile_of(kubevirt) == Profile(
        (1, 6), Fraction(4), 150, Fraction(6, 5), False, True, "state", {}, {"slirp": 10 * MIB}
    )
    assert profile_of({}) == profile_of(None) == Profile()
    for part in ("resourceRequirements", "virtualization"):
        assert profile_of({}, {"spec": {part: {"vmiCPUAllocationRatio": 5}}}).cpu_ratio == 5


# --- the order of sources -------------------------------------------------------------------------------------------


def test_cpu_of_the_pod_follows_the_target_s_ratio_but_its_sidecars_do_not() -> None:
    need = need_of(source_vm("pay-db-01"), replace(PROFILE, cpu_ratio=Fraction(4)), PROFILE)
    assert need.origin is Origin.SOURCE_POD
    assert need.requests is not None
    assert need.requests["cpu"] == 2000 + LOG_CPU


@pytest.mark.parametrize(
    "domain", [{"cpu": {"dedicatedCpuPlacement": True}}, {"resources": {"requests": {"cpu": "800m"}}}]
)
def test_cpu_that_the_vm_set_itself_is_not_rescaled(domain: dict[str, Any]) -> None:
    source = replace(source_vm("pay-db-01"), vmi={"spec": {"domain": domain}})
    need = need_of(source, replace(PROFILE, cpu_ratio=Fraction(4)), PROFILE)
    assert need.requests is not None
    assert need.requests["cpu"] == 805


def test_without_the_vmi_the_ratio_cannot_be_applied_and_that_is_said() -> None:
    need = need_of(source_vm("pay-db-01", "vmi"), replace(PROFILE, cpu_ratio=Fraction(4)), PROFILE)
    assert need.requests is not None
    assert need.requests["cpu"] == 805
    assert any("not rescaled" in note for note in need.notes)


def test_newest_running_pod_counts() -> None:
    def pod(name: str, memory: str, **meta: str) -> dict[str, Any]:
        container = {"name": "compute", "resources": {"requests": {"memory": memory}}}
        return {"metadata": {"name": name, **meta}, "spec": {"containers": [container]}, "status": {"phase": "Running"}}

    pods = (
        pod("a", "1", creationTimestamp="2026-09-01T08:00:00Z"),
        pod("b", "2", creationTimestamp="2026-09-02T08:00:00Z"),
        pod("c", "3", creationTimestamp="2026-09-03T08:00:00Z", deletionTimestamp="2026-09-03T09:00:00Z"),
        {**pod("d", "4", creationTimestamp="2026-09-04T08:00:00Z"), "status": {"phase": "Pending"}},
    )
    need = need_of(SourceVm("vm", pods=pods), PROFILE)
    assert need.requests is not None
    assert need.requests["memory"] == 2


def test_stopped_vm_is_expanded_with_its_instancetype() -> None:
    vm = {
        "spec": {
            "instancetype": {"name": "u1.large"},
            "template": {"spec": {"domain": {"devices": {}}, "nodeSelector": {"zone": "a"}}},
        }
    }
    kind = {"spec": {"cpu": {"guest": 2}, "memory": {"guest": "8Gi"}, "nodeSelector": {"disk": "ssd"}}}
    need = need_of(SourceVm("vm", vm=vm, instancetype=kind, live=False), PROFILE)
    assert need.origin is Origin.VM
    assert need.requests is not None
    assert (need.requests["cpu"], need.requests["memory"]) == (205, 8_935_313_088)
    assert {("zone", "a"), ("disk", "ssd")} <= set(need.placement.labels)

    need = need_of(SourceVm("vm", vm=vm), PROFILE)
    assert need.requests is None
    assert "u1.large" in need.why


def test_instancetype_that_overcommits_sets_the_request() -> None:
    vm = {"spec": {"instancetype": {"name": "o1"}, "template": {"spec": {"domain": {"devices": {}}}}}}
    kind = {"spec": {"cpu": {"guest": 1}, "memory": {"guest": "8Gi", "overcommitPercent": 50}}}
    need = need_of(SourceVm("vm", vm=vm, instancetype=kind), PROFILE)
    assert need.requests is not None
    half = 4 * GUEST
    assert need.requests["memory"] == half + (BASE - 8) * MIB + -(-half // 1000) * 1000 // 512 + LOG_MEMORY
    assert need.guest_memory == 8 * GUEST


def test_vm_of_which_nothing_can_be_read_is_not_known() -> None:
    need = need_of(SourceVm("vm"), PROFILE)
    assert (need.requests, need.origin) == (None, Origin.NONE)
    assert need.why


# --- other providers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "vm", "vcpus", "memory_mib"),
    [
        ("vsphere", {"cpuCount": 4, "coresPerSocket": 2, "memoryMB": 8192}, 4, 8192),
        ("hyperv", {"cpuCount": 2, "memoryMB": 4096}, 2, 4096),
        ("ova", {"cpuCount": 2, "memoryMB": 4096, "memoryUnits": "byte * 2^20"}, 2, 4096),
        ("ova", {"cpuCount": 2, "memoryMB": 4, "memoryUnits": "GigaBytes"}, 2, 4096),
        ("ovirt", {"cpuSockets": 2, "cpuCores": 3, "cpuThreads": 2, "memory": 4 * GUEST}, 12, 4096),
        ("openstack", {"flavor": {"vcpus": 2, "ram": 2048}}, 2, 2048),
        ("nutanix", {"numSockets": 2, "numVcpusPerSocket": 2, "numThreadsPerCore": 1, "memorySizeMib": 512}, 4, 512),
    ],
)
def test_inventories(provider: str, vm: dict[str, Any], vcpus: int, memory_mib: int) -> None:
    need = from_inventory(provider, {"name": "vm", **vm}, V19)
    assert need.origin is Origin.INVENTORY
    assert (need.vcpus, need.guest_memory) == (vcpus, memory_mib * MIB)
    assert need.requests is not None
    assert need.requests["cpu"] == vcpus * 100 + LOG_CPU
    assert need.requests["memory"] == (memory_mib + 240 + 8 * vcpus + 8 + 32) * MIB + LOG_MEMORY


@pytest.mark.parametrize(
    ("provider", "vm", "missing"),
    [
        ("vsphere", {"memoryMB": 1}, "CPU count"),
        ("vsphere", {"cpuCount": 1}, "memory size"),
        ("ova", {"cpuCount": 1, "memoryMB": 1, "memoryUnits": "parsecs"}, "memory size"),
        ("else", {"cpuCount": 1, "memoryMB": 1}, "memory size"),
    ],
)
def test_inventory_without_a_size_is_not_known(provider: str, vm: dict[str, Any], missing: str) -> None:
    need = from_inventory(provider, vm, V19)
    assert need.requests is None
    assert missing in need.why


@pytest.mark.parametrize(
    ("provider", "vm", "sizes", "key"),
    [
        (
            "vsphere",
            {"disks": [{"file": "[ds] a.vmdk", "capacity": 10, "datastore": {"id": "datastore-1"}}]},
            [10],
            "datastore-1",
        ),
        ("hyperv", {"disks": [{"id": "d", "capacity": 10, "datastore": {"id": "share"}}]}, [10], "share"),
        (
            "ovirt",
            {"diskAttachments": [{"disk": {"id": "d", "provisionedSize": 10, "storageDomain": "sd"}}]},
            [10],
            "sd",
        ),
        ("openstack", {"volumes": [{"id": "v", "size": 2, "volumeType": "ssd"}]}, [2 * GUEST], "ssd"),
        ("openstack", {"volumes": [], "flavor": {"disk": 3}}, [3 * GUEST], "glance"),
        ("nutanix", {"disks": [{"uuid": "d", "diskSizeBytes": 10, "storageContainerUuid": "c"}]}, [10], "c"),
        ("vsphere", {"disks": [{"file": "x", "capacity": "much"}]}, [None], None),
    ],
)
def test_inventory_disks(provider: str, vm: dict[str, Any], sizes: list[int | None], key: str | None) -> None:
    disks = inventory_disks(provider, vm)
    assert [disk.size for disk in disks] == sizes
    if key:
        assert key in disks[0].keys
