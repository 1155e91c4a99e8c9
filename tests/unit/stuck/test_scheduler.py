"""The scheduler's message, by its own rules."""

from __future__ import annotations

import pytest

from receiver.stuck import Reason, parse_verdict

TAIL = " preemption: 0/5 nodes are available: 4 No preemption victims found for incoming pod."


def test_what_preemption_counts_again_is_not_counted_twice() -> None:
    found = parse_verdict(f"0/5 nodes are available: 1 Insufficient cpu, 4 Insufficient memory.{TAIL}")
    assert found is not None
    assert (found.total, found.nodes_short("memory"), found.nodes_short("cpu")) == (5, 4, 1)
    assert len(found.reasons) == 2


def test_counts_may_exceed_the_nodes_and_stay_as_they_are() -> None:
    found = parse_verdict("0/12 nodes are available: 10 Insufficient cpu, 9 Insufficient memory, 2 Too many pods.")
    assert found is not None
    assert [one.count for one in found.reasons] == [10, 9, 2]
    assert found.resources == ("cpu", "memory", "pods")


@pytest.mark.parametrize(
    "text",
    [
        "0/5 nodes are available: pod has unbound immediate PersistentVolumeClaims." + TAIL,
        "0/5 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found",
    ],
)
def test_a_pod_that_is_refused_before_any_node_has_one_reason_without_count(text: str) -> None:
    found = parse_verdict(text)
    assert found is not None
    assert [(one.count, one.kind) for one in found.reasons] == [(0, "unbound-immediate")]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Insufficient devices.kubevirt.io/kvm", "insufficient"),
        ("Insufficient hugepages-2Mi", "insufficient"),
        ("Too many pods", "too-many-pods"),
        ("node(s) were unschedulable", "cordoned"),
        ("node(s) had untolerated taint {node-role.kubernetes.io/master: }", "taint"),
        ("node(s) had taint {a: b}, that the pod didn't tolerate", "taint"),
        ("node(s) had untolerated taint(s)", "taint"),
        ("node(s) didn't match Pod's node affinity/selector", "affinity"),
        ("node(s) didn't match pod anti-affinity rules", "pod-affinity"),
        ("node(s) didn't match pod affinity rules", "pod-affinity"),
        ("node(s) didn't match pod topology spread constraints", "spread"),
        ("node(s) exceed max volume count", "volume-count"),
        ("node(s) had volume node affinity conflict", "volume-affinity"),
        ("node(s) didn't match PersistentVolume's node affinity", "volume-affinity"),
        ("node(s) did not have enough free storage", "storage-space"),
        ("node(s) didn't find available persistent volumes to bind", "storage-none"),
        ("node(s) met a rule of next year", "other"),
    ],
)
def test_each_wording_has_its_class_and_is_kept_verbatim(words: str, kind: str) -> None:
    found = parse_verdict(f"0/7 nodes are available: 3 {words}, 4 Insufficient memory.{TAIL}")
    assert found is not None
    assert (found.reasons[0].count, found.reasons[0].kind, found.reasons[0].words) == (3, kind, words)
    assert found.reasons[1] == Reason(4, "insufficient", "Insufficient memory", "memory")


def test_a_comma_and_a_number_within_a_taint_do_not_split_it() -> None:
    found = parse_verdict("0/3 nodes are available: 1 node(s) had untolerated taint {k: a, 2 b}, 2 Insufficient cpu.")
    assert found is not None
    assert [one.words for one in found.reasons] == ["node(s) had untolerated taint {k: a, 2 b}", "Insufficient cpu"]


def test_the_word_about_resource_claims_before_preemption_is_no_reason() -> None:
    found = parse_verdict(f"0/5 nodes are available: 5 Insufficient memory. no new claims to deallocate,{TAIL}")
    assert found is not None
    assert found.reasons == (Reason(5, "insufficient", "Insufficient memory", "memory"),)


@pytest.mark.parametrize(
    "text", ["", "Successfully assigned a/b to n1", "nodes are available", "x/y nodes are available:"]
)
def test_other_text_is_no_verdict(text: str) -> None:
    assert parse_verdict(text) is None


def test_a_message_of_many_digits_is_no_trouble() -> None:
    assert parse_verdict("0/" + "9" * 10_000 + " nodes are available: 1 x") is None
