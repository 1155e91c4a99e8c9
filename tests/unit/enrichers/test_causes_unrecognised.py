"""What nobody has named: the line that is shown, what it has in common with others, and how many are remembered."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.enrichers.unrecognised import SIGNATURE_LIMIT, Tally, newly_unrecognised, signature, unrecognised
from receiver.model import Cause, Evidence, LogExcerpt, VMFailure

GENERIC = "Guest conversion failed. See pod logs for details."


def evidence(*lines: str, reasons: tuple[str, ...] = (), conditions: tuple[str, ...] = ()) -> Evidence:
    logs = (LogExcerpt("web", "erp", "pod", "virt-v2v", lines),) if lines else ()
    return Evidence(failures=(VMFailure("vm-1", "web", reasons=reasons),), logs=logs, plan_reasons=conditions)


def line_of(found: Evidence) -> str:
    said = unrecognised(found)
    assert said is not None
    return said.line


def test_the_line_of_a_log_that_says_most_is_shown() -> None:
    lines = ("info: starting", "virt-v2v: error: mkfs failed", "Error executing v2v command: exit status 1")
    assert line_of(evidence(*lines, reasons=("other",))) == "virt-v2v: error: mkfs failed"


def test_words_that_only_say_that_it_failed_give_way_to_what_says_more() -> None:
    assert line_of(
        evidence("Failed to execute virt-v2v command exit status 1", reasons=(GENERIC, "disk 3 is odd"))
    ) == ("disk 3 is odd")
    assert line_of(evidence(reasons=(GENERIC,), conditions=("Odd: nobody knows",))) == "Odd: nobody knows"
    assert line_of(evidence(reasons=(GENERIC,))) == GENERIC


def test_without_any_log_generic_words_are_nothing_read_rather_than_an_unknown_error() -> None:
    last = "Failed to execute virt-v2v command exit status 1"
    for found, read in ((evidence(reasons=(GENERIC,)), False), (evidence(last, reasons=(GENERIC,)), True)):
        said = unrecognised(found)
        assert said is not None
        assert said.read is read


def test_what_has_a_cause_or_no_failure_is_not_unrecognised() -> None:
    assert unrecognised(Evidence(cause=Cause("a", "It broke."), plan_reasons=("Odd: x",))) is None
    assert unrecognised(Evidence()) is None


def test_an_unknown_error_is_counted_once_per_run_and_not_before_all_is_read() -> None:
    half = replace(evidence("odd"), run="1")
    whole = replace(half, complete=True)
    assert newly_unrecognised(None, half) is None
    assert newly_unrecognised(half, whole) is not None
    assert newly_unrecognised(whole, whole) is None
    assert newly_unrecognised(whole, replace(whole, run="2")) is not None
    assert newly_unrecognised(None, replace(evidence(reasons=(GENERIC,)), complete=True)) is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "F0921 10:03:15.200917       1 openstack-populator.go:78] GET https://glance.example.com:9292/v2/x got 504",
            "GET URL got N",
        ),
        ("virt-v2v: error: mount /dev/sda2: exit status 32", "virt-v2v: error: mount PATH exit status N"),
        ("Unable to process data: dial tcp 10.20.4.7:902: refused (repeated 3 times)", "dial tcp IP: refused"),
        ('open "crm-app01.vmdk": locked by 00:50:56:a1:22:02', "open TEXT: locked by HEX"),
        ("open [ds-gold] crm-app01/crm-app01.vmdk at 08:15:01", "open PATH at TIME"),
        ("pod mig-crm-vm-2203-x7k2p on esx07.example.com", "pod NAME on NAME"),
        ("import of 3c7a2f0c-6b1e-4c0a-a3f5-9e8d7c6b5a40 took 12.5 s", "import of UID took N s"),
    ],
)
def test_a_signature_keeps_the_words_and_leaves_out_what_differs(line: str, expected: str) -> None:
    assert signature(line) == expected


def test_two_vms_with_the_same_trouble_have_the_same_signature() -> None:
    said = "virt-v2v: error: cannot open /dev/sd{0} of crm-app0{0} at 10.0.0.{0}: code {0}"
    assert len({signature(said.format(number)) for number in range(1, 10)}) == 1


@given(st.text(max_size=2_000))
def test_any_line_has_a_short_signature(line: str) -> None:
    assert len(signature(line)) <= SIGNATURE_LIMIT


def test_a_storm_of_different_lines_needs_no_more_memory_and_does_not_push_out_what_is_frequent() -> None:
    tally = Tally(limit=10)
    for number in range(1_000):
        tally.add("frequent")
        tally.add(f"once {number}")
    assert len(tally.top(1_000)) == 10
    assert tally.top(1) == (("frequent", 1_000),)


def test_a_count_is_never_too_low_though_it_was_forgotten_meanwhile() -> None:
    tally = Tally(limit=2)
    assert [tally.add(seen) for seen in ("a", "b", "b", "c", "a")] == [1, 1, 2, 2, 3]
