"""Sizes of target volumes, and whether classes have room for them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from receiver.capacity import (
    Disk,
    NodeSums,
    Proof,
    Question,
    SourceDisk,
    StorageFacts,
    StorageRules,
    Vector,
    Verdict,
    VmNeed,
    check,
    foreign_disks,
    kubevirt_disks,
    rules_of,
    without_shared,
)
from receiver.capacity.disks import inflated
from receiver.capacity.overhead import MIB
from receiver.capacity.storage import judge_storage

GIB = 1024 * MIB


def _map(mode: str = "Block", target: str = "fast", **source: str) -> dict[str, Any]:
    destination = {"storageClass": target, "volumeMode": mode}
    return {"spec": {"map": [{"source": source or {"name": "src"}, "destination": destination}]}}


def _dv(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "d"}, "spec": spec}


def _pvc(mode: str | None, request: str = "10Gi", capacity: str = "11Gi", storage_class: str = "src") -> dict[str, Any]:
    return {
        "metadata": {"name": "d"},
        "spec": {
            "volumeMode": mode,
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": request}},
        },
        "status": {"capacity": {"storage": capacity}},
    }


def _asked(size: str) -> dict[str, Any]:
    return {"resources": {"requests": {"storage": size}}}


DATA_VOLUME = {"volumes": [{"name": "x", "dataVolume": {"name": "d"}}]}
CLAIM = {"volumes": [{"name": "x", "persistentVolumeClaim": {"claimName": "d"}}]}


@pytest.mark.parametrize(
    ("spec", "dvs", "claims", "mode", "size"),
    [
        (DATA_VOLUME, [_dv(storage=_asked("5Gi"))], [_pvc("Block")], "Block", 5 * GIB),
        (DATA_VOLUME, [_dv(pvc=_asked("5Gi"))], [_pvc("Block")], "Block", 11 * GIB),
        (DATA_VOLUME, [_dv(pvc=_asked("5Gi"))], [_pvc("Filesystem")], "Block", 10 * GIB),
        (DATA_VOLUME, [_dv(pvc=_asked("5Gi"))], [_pvc(None)], "Block", 10 * GIB),
        (DATA_VOLUME, [_dv(storage={})], [_pvc("Block")], "Block", 11 * GIB),
        (DATA_VOLUME, [], [_pvc("Block")], "Block", 11 * GIB),
        (CLAIM, [], [_pvc("Block")], "Block", 11 * GIB),
        # CDI inflates DataVolumes only, and Filesystem only. An old claim is inflated a second time.
        (DATA_VOLUME, [_dv(storage=_asked("5Gi"))], [_pvc("Block")], "Filesystem", -(-5 * GIB * 106 // 100)),
        (DATA_VOLUME, [_dv(pvc=_asked("5Gi"))], [_pvc("Filesystem")], "Filesystem", -(-10 * GIB * 106 // 100)),
        (CLAIM, [], [_pvc("Filesystem")], "Filesystem", 10 * GIB),
    ],
)
def test_size_of_a_volume(
    spec: dict[str, Any], dvs: list[dict[str, Any]], claims: list[dict[str, Any]], mode: str, size: int
) -> None:
    [disk] = kubevirt_disks("vm", spec, dvs, claims, rules_of(_map(mode)))
    assert (disk.size, disk.storage_class, disk.mode, disk.why) == (size, "fast", mode, "")
    assert disk.prime == (spec is DATA_VOLUME)


@pytest.mark.parametrize(
    ("size", "rules", "asked"),
    [
        (100 * MIB, StorageRules(), 106 * MIB),
        (100 * MIB - 1, StorageRules(), 106 * MIB),  # first to a whole MiB
        (100 * MIB, StorageRules(overheads={"fast": Fraction("0.5")}), 150 * MIB),
        (100 * MIB, StorageRules(overheads={"slow": Fraction("0.5")}), 106 * MIB),
        (100 * MIB, StorageRules(overhead=Fraction(0)), 100 * MIB),
        (100 * MIB, StorageRules(overhead=Fraction("0.2"), divides=True), 125 * MIB),
        (30 * GIB, StorageRules(), 34_144_990_004),
    ],
)
def test_cdi_overhead(size: int, rules: StorageRules, asked: int) -> None:
    assert inflated(size, "fast", rules) == asked


def test_overhead_and_modes_are_read_from_the_target() -> None:
    config = {
        "status": {"filesystemOverhead": {"global": "0.055", "storageClass": {"fast": "0.1", "bad": "x", "no": "1"}}}
    }
    profile = {"metadata": {"name": "fast"}, "status": {"claimPropertySets": [{"volumeMode": "Filesystem"}]}}
    rules = rules_of(_map(""), [], [profile], config)
    assert rules.overhead == Fraction("0.055")
    assert rules.overheads["fast"] == Fraction("0.1")
    assert rules.overheads["no"] == Fraction("0.06")  # CDI takes no share of 1
    [disk] = kubevirt_disks("vm", DATA_VOLUME, [_dv(storage=_asked("10Gi"))], [_pvc("Block")], rules)
    assert (disk.mode, disk.size) == ("Filesystem", 11 * GIB)


def test_volume_whose_mode_nobody_says_has_a_lower_bound_only() -> None:
    [disk] = kubevirt_disks("vm", DATA_VOLUME, [_dv(storage=_asked("10Gi"))], [_pvc("Block")], rules_of(_map("")))
    assert disk.size == 10 * GIB
    assert "volume mode" in disk.why


def test_default_class_for_virtual_machines_comes_before_the_plain_one() -> None:
    def default(name: str, mark: str) -> dict[str, Any]:
        return {"metadata": {"name": name, "annotations": {mark: "true"}}}

    plain = default("a", "storageclass.kubernetes.io/is-default-class")
    virt = default("b", "storageclass.kubevirt.io/is-default-virt-class")
    assert rules_of({}, [plain]).default_class == "a"
    assert rules_of({}, [plain, virt]).default_class == "b"
    [disk] = kubevirt_disks("vm", CLAIM, [], [_pvc("Block")], rules_of(_map(target=""), [plain, virt]))
    assert disk.storage_class == "b"


def test_persistent_state_has_a_claim_of_its_own() -> None:
    for domain in (
        {"devices": {"tpm": {"persistent": True}}},
        {"firmware": {"bootloader": {"efi": {"persistent": True}}}},
        {"devices": {"tpm": {"persistent": True}}, "firmware": {"bootloader": {"efi": {"persistent": True}}}},
    ):
        [disk] = kubevirt_disks("vm", {"domain": domain}, [], [], rules_of(_map(), state_class="state"))
        assert (disk.size, disk.storage_class, disk.prime) == (10 * MIB, "state", False)
    assert kubevirt_disks("vm", {"domain": {"devices": {"tpm": {}}}}, [], [], rules_of(_map())) == ()


def test_volumes_without_claim_need_none() -> None:
    spec = {
        "volumes": [{"name": "a", "configMap": {}}, {"name": "b", "containerDisk": {}}, {"name": "c", "secret": {}}]
    }
    assert kubevirt_disks("vm", spec, [], [], rules_of(_map())) == ()


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ([], "claim could not be read"),
        ([_pvc("Block", storage_class="other")], "no entry for class other"),
        ([_pvc("Block", capacity="?")], "size"),
    ],
)
def test_volume_that_cannot_be_sized_says_why(claims: list[dict[str, Any]], why: str) -> None:
    [disk] = kubevirt_disks("vm", CLAIM, [], claims, rules_of(_map()))
    assert why in disk.why


@pytest.mark.parametrize(
    ("mode", "populated", "size"),
    [
        ("Block", False, 90 * MIB),
        ("Filesystem", False, -(-90 * MIB * 106 // 100)),
        ("Filesystem", True, 100 * MIB),
        ("Block", True, 90 * MIB + 7),
    ],
)
def test_disks_of_other_providers(mode: str, populated: bool, size: int) -> None:
    rules = rules_of(_map(mode, id="datastore-1"))
    [disk] = foreign_disks(
        "vm", [SourceDisk("a", 90 * MIB, ("datastore-1",))], rules, populated=populated, block_overhead=7
    )
    assert (disk.size, disk.storage_class) == (size, "fast")


def test_odd_disks_of_other_providers() -> None:
    rules = rules_of(_map(id="ds"))
    raw, lost = foreign_disks("vm", [SourceDisk("a", 5, ("ds",), raw=True), SourceDisk("b", 5, ("else",))], rules)
    assert (raw.size, lost.storage_class) == (None, "")
    assert "raw device" in raw.why
    assert "no entry" in lost.why
    shared = SourceDisk("s", 5, ("ds",), shared=True)
    assert without_shared([("a", [shared]), ("b", [shared, raw_free := SourceDisk("o", 1)])]) == (
        ("a", (shared,)),
        ("b", (raw_free,)),
    )


# --- classes --------------------------------------------------------------------------------------------------------


def _disk(size: int | None, name: str = "d", storage_class: str = "fast", vm: str = "vm", why: str = "") -> Disk:
    return Disk(vm, name, size, storage_class, "Block", origin="claim capacity", why=why)


def _class(name: str = "fast", **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "provisioner": "csi.x", **more}


def _driver(reports: object = True) -> dict[str, Any]:
    return {"metadata": {"name": "csi.x"}, "spec": {"storageCapacity": reports}}


def _capacity(
    capacity: object, largest: object = None, topology: object = (), storage_class: str = "fast"
) -> dict[str, Any]:
    written: dict[str, Any] = {"metadata": {"name": "c"}, "storageClassName": storage_class, "capacity": capacity}
    if largest is not None:
        written["maximumVolumeSize"] = largest
    if topology is not None:
        written["nodeTopology"] = topology or {}
    return written


SMALL = _disk(60)


@pytest.mark.parametrize(
    ("disks", "facts", "verdict", "proof", "why"),
    [
        ([SMALL], StorageFacts([_class()], [_driver()], [_capacity("100")]), "fits", None, ""),
        ([SMALL], StorageFacts([], [_driver()], [_capacity("100")]), "short", Proof.MISSING, ""),
        # The scheduler checks nothing if the driver does not report: nobody knows. If it does, silence is none.
        ([SMALL], StorageFacts([_class()], [_driver(False)], []), "unknown", None, "does not report capacity"),
        (
            [SMALL],
            StorageFacts([_class()], [_driver(None)], [_capacity("1")]),
            "unknown",
            None,
            "does not report capacity",
        ),
        ([SMALL], StorageFacts([_class()], [], [_capacity("1")]), "unknown", None, "no CSIDriver csi.x"),
        ([SMALL], StorageFacts([_class()], [_driver()], []), "short", Proof.ONE, ""),
        ([_disk(None, why="?")], StorageFacts([_class()], [_driver()], []), "short", Proof.ONE, "?"),
        (
            [SMALL],
            StorageFacts([_class()], [_driver()], [_capacity("100", storage_class="slow")]),
            "short",
            Proof.ONE,
            "",
        ),
        # Without topology no node reaches it.
        ([SMALL], StorageFacts([_class()], [_driver()], [_capacity("100", topology=None)]), "short", Proof.ONE, ""),
        # One volume against the largest, all against the sum.
        ([SMALL], StorageFacts([_class()], [_driver()], [_capacity("100", "50")]), "short", Proof.ONE, ""),
        ([SMALL, _disk(41, "e")], StorageFacts([_class()], [_driver()], [_capacity("100")]), "short", Proof.SUM, ""),
        ([SMALL, _disk(40, "e")], StorageFacts([_class()], [_driver()], [_capacity("100")]), "fits", None, ""),
        # Volumes do not span segments.
        ([SMALL, SMALL], StorageFacts([_class()], [_driver()], [_capacity("60"), _capacity("60")]), "fits", None, ""),
        (
            [SMALL, SMALL],
            StorageFacts([_class()], [_driver()], [_capacity("70"), _capacity("50")]),
            "at_risk",
            Proof.PACKING,
            "",
        ),
        # The largest volume is known but not the sum.
        ([SMALL], StorageFacts([_class()], [_driver()], [_capacity(None, "100")]), "unknown", None, "unsaid size"),
        # A size that is not known makes the rest a lower bound.
        (
            [SMALL, _disk(None, "e", why="?")],
            StorageFacts([_class()], [_driver()], [_capacity("50")]),
            "short",
            Proof.ONE,
            "?",
        ),
        ([], StorageFacts(), "fits", None, ""),
    ],
)
def test_class_verdicts(disks: list[Disk], facts: StorageFacts, verdict: str, proof: Proof | None, why: str) -> None:
    part = judge_storage(disks, facts)
    assert part.verdict == verdict
    findings = [*part.shortages, *part.risks]
    assert [each.proof for each in findings] == ([proof] if proof else [])
    assert any(why in each.why for each in part.unknown) == bool(why)


def test_two_classes_on_one_pool_are_added_up() -> None:
    disks = [_disk(60), _disk(60, "e", "slow")]
    capacities = [_capacity("100"), _capacity("100", storage_class="slow")]
    pool: dict[str, Any] = {"parameters": {"pool": "p1", "fstype": "ext4"}}
    one = StorageFacts([_class(**pool), _class("slow", **pool)], [_driver()], capacities)
    part = judge_storage(disks, one)
    assert part.verdict is Verdict.AT_RISK
    assert part.risks[0].why == "fast and slow may share one pool"
    two = StorageFacts([_class(**pool), _class("slow", parameters={"pool": "p2"})], [_driver()], capacities)
    assert judge_storage(disks, two).verdict is Verdict.FITS


def test_access_mode_is_mentioned_and_fails_nothing() -> None:
    disk = Disk("vm", "d", 1, "fast", "Block", access="ReadWriteOnce")
    part = judge_storage([disk], StorageFacts([_class()], [_driver()], [_capacity("100")]))
    assert part.verdict is Verdict.FITS
    assert any("ReadWriteMany" in note for note in part.notes)


# --- storage local to nodes -----------------------------------------------------------------------------------------


def _local(**capacity_of: int) -> StorageFacts:
    capacities = [
        _capacity(str(count), topology={"matchLabels": {"topology.local/node": name}})
        for name, count in capacity_of.items()
    ]
    return StorageFacts([_class()], [_driver()], capacities)


def _nodes(**memory: int) -> NodeSums:
    return NodeSums(
        {
            "metadata": {"name": name, "labels": {"kubevirt.io/schedulable": "true", "topology.local/node": name}},
            "status": {
                "allocatable": {"cpu": "10", "memory": count, "pods": "10"},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }
        for name, count in memory.items()
    )


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        (_local(a=100, b=100), "fits"),
        (_local(a=100), "fits"),
        (_local(a=100, c=100), "at_risk"),  # CDI may bind it where the VM finds no room
        (_local(c=100), "short"),  # memory and storage are on different nodes
    ],
)
def test_local_storage_and_memory_must_be_on_one_node(facts: StorageFacts, verdict: str) -> None:
    vm = VmNeed("vm", requests=Vector({"cpu": 100, "memory": 50, "pods": 1}))
    holes = _nodes(a=100, b=100, c=10).holes()
    answer = check(Question("west", [vm], [_disk(60)], holes, facts, headroom_percent=0))
    assert answer.compute.part.verdict is Verdict.FITS
    assert answer.storage.verdict == verdict
    assert answer.verdict == verdict
    assert any("local to nodes" in note for note in answer.notes)


def test_part_that_leaves_one_class_open_does_not_say_fits() -> None:
    disks = [_disk(60), _disk(60, "e", "dark")]
    dark = {"metadata": {"name": "dark"}, "provisioner": "csi.y"}
    part = judge_storage(disks, StorageFacts([_class(), dark], [_driver()], [_capacity("100")]))
    assert part.verdict is Verdict.UNKNOWN
    assert [(line.owner, line.free) for line in part.lines] == [("dark", None), ("fast", 100)]
