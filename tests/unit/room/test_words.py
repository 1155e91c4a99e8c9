"""Amounts and findings in the words that people read."""

from __future__ import annotations

import pytest

from receiver.capacity import Answer, Compute, Proof, Scope, Shortage, Unknown, Verdict
from receiver.capacity.findings import part_of
from receiver.room.words import age, amount, headline, open_question, reason, sentence, thing

GIB = 1024**3


@pytest.mark.parametrize(
    ("resource", "count", "said"),
    [
        ("memory", 34_755_448_512, "32.37 GiB"),
        ("requests.memory", 40 * GIB, "40.00 GiB"),
        ("memory/vmi", 8 * GIB, "8.00 GiB"),
        ("hugepages-2Mi", 2 * 1024**2, "2.00 MiB"),
        ("storage", 20 * 1024 * GIB, "20.00 TiB"),
        ("storage", 2 * 1024 * GIB, "2,048.00 GiB"),
        ("cpu", 1415, "1.415 CPU"),
        ("limits.cpu", 14_000, "14 CPU"),
        ("cpu", 0, "0 CPU"),
        ("pods", 1200, "1,200"),
        ("persistentvolumeclaims", 7, "7"),
        ("array-gold.storageclass.storage.k8s.io/persistentvolumeclaims", 7, "7"),
        ("array-gold.storageclass.storage.k8s.io/requests.storage", GIB, "1.00 GiB"),
        ("count/virtualmachines.kubevirt.io", 3, "3"),
        ("devices.kubevirt.io/kvm", 3, "3"),
        ("requests.nvidia.com/A100", 2, "2"),
        ("memory", 12, "12 B"),
    ],
)
def test_an_amount_has_the_unit_of_its_resource(resource: str, count: int, said: str) -> None:
    assert amount(resource, count) == said


def test_quota_keys_of_classes_are_readable() -> None:
    assert thing("array-gold.storageclass.storage.k8s.io/requests.storage") == "requests.storage (class array-gold)"
    assert thing("a.storageclass.storage.k8s.io/persistentvolumeclaims") == "claims (class a)"


@pytest.mark.parametrize(
    ("short", "said"),
    [
        (
            Shortage("nodes", Scope.PLACEMENT, "db", 1, 0, Proof.NOT_ELIGIBLE, why="3 not ready, 1 cordoned"),
            "no node of west may take db: 3 not ready, 1 cordoned",
        ),
        (
            Shortage("memory", Scope.CLUSTER, "plan", 9 * GIB, 8 * GIB, Proof.SUM),
            "the plan needs 9.00 GiB memory, all nodes that may take it together have 8.00 GiB, 1.00 GiB missing",
        ),
        (
            Shortage("memory", Scope.NODE, "db", 9 * GIB, 8 * GIB, Proof.PACKING, "w1"),
            "db needs 9.00 GiB memory on one node beside the others, the best (w1) has 8.00 GiB, 1.00 GiB missing",
        ),
        (
            Shortage("memory", Scope.NODE, "db", 9 * GIB, 8 * GIB, Proof.HEADROOM, "w1"),
            "with headroom kept, db needs 9.00 GiB memory on one node, the best (w1) then has 8.00 GiB, "
            "1.00 GiB missing",
        ),
        (
            Shortage(
                "memory",
                Scope.CLUSTER,
                "plan",
                9 * GIB,
                8 * GIB,
                Proof.RESERVED,
                why="after 5 VMs of other running plans",
            ),
            "the plan needs 9.00 GiB memory, all nodes that may take it together have 8.00 GiB after 5 VMs of other "
            "running plans, 1.00 GiB missing",
        ),
        (
            Shortage(
                "memory",
                Scope.NODE,
                "db",
                9 * GIB,
                8 * GIB,
                Proof.RESERVED,
                "w1",
                why="after 1 VM of other running plans",
            ),
            "db needs 9.00 GiB memory on one node, the best (w1) has 8.00 GiB after 1 VM of other running plans, "
            "1.00 GiB missing",
        ),
        (
            Shortage("storage", Scope.STORAGE_CLASS, "plan", GIB, None, Proof.MISSING, "gold"),
            "class gold does not exist on west, the plan needs 1.00 GiB of it",
        ),
        (
            Shortage("persistentvolumeclaims", Scope.QUOTA, "plan", 4, 5, Proof.PEAK, "ns/q", peak=7),
            "quota ns/q leaves 5 claims, the plan needs 4, and 7 while volumes are filled",
        ),
        (
            Shortage(
                "memory", Scope.LIMIT, "db", 9 * GIB, 8 * GIB, Proof.ONE, "ns/l", why="above the maximum of a pod"
            ),
            "LimitRange ns/l refuses db: memory above the maximum of a pod (needs 9.00 GiB, at most 8.00 GiB)",
        ),
        (
            Shortage("cpu", Scope.LIMIT, "db", 2000, 500, Proof.ONE, "ns/l", why="below the minimum of a pod"),
            "LimitRange ns/l refuses db: CPU below the minimum of a pod (asks for 0.5 CPU, at least 2 CPU)",
        ),
        (
            Shortage("cpu", Scope.NODE, "db", 2000, 500, Proof.NO_NODE, "w1"),
            "db needs 2 CPU on one node, the best (w1) has 0.5 CPU, 1.5 CPU missing",
        ),
    ],
)
def test_a_shortage_is_one_sentence(short: Shortage, said: str) -> None:
    assert sentence(short, "west") == said


def test_what_only_other_plans_take_is_probable_and_ends_with_them() -> None:
    short = Shortage("memory", Scope.CLUSTER, "plan", 9 * GIB, 8 * GIB, Proof.RESERVED, why="after 5 VMs of others")
    headroom = Shortage("memory", Scope.NODE, "db", 9 * GIB, 4 * GIB, Proof.HEADROOM, "w1")
    said = (
        "the plan needs 9.00 GiB memory, all nodes that may take it together have 8.00 GiB after 5 VMs of others, "
        "1.00 GiB missing"
    )
    answer = _risky(headroom, short)
    assert headline(answer, 2) == f"Probably short while other plans run: {said} (and 1 more)"
    assert reason(answer) == f"probably short while other plans run: {said}"
    assert headline(_risky(headroom), 2).startswith("Fits only just: with headroom kept, db needs 9.00 GiB")


def _risky(*risks: Shortage) -> Answer:
    compute = Compute(part_of("compute", (), risks))
    return Answer("west", Verdict.AT_RISK, compute, part_of("storage"), part_of("quota"), {})


def test_what_is_not_known_names_the_right_that_would_tell() -> None:
    told = open_question(Unknown("storage", "pods could not be read: forbidden", "gold", GIB, "list pods"))
    assert told == "storage of gold (needs 1.00 GiB): pods could not be read: forbidden; grant list pods"


def test_ages_are_told_as_people_say_them() -> None:
    assert [age(1.2), age(42), age(420)] == ["just now", "42 s ago", "7 min ago"]
