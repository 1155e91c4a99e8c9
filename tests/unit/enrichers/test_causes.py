"""Known errors: each row recognises its own example, and nothing is recognised that is not there."""

from __future__ import annotations

import pytest

from receiver.enrichers import Text
from receiver.enrichers.causes import Causes, Row, read_rows, recognise, shipped
from tests.unit.enrichers.cluster import log_text

BITLOCKER = 'libguestfs: trace: v2v: vfs_type = "BitLocker"\nvirt-v2v: could not read key from user\n'


@pytest.mark.parametrize("row", shipped().rows, ids=lambda row: row.id)
def test_a_row_recognises_its_own_example_wherever_it_may_stand(row: Row) -> None:
    assert row.example.strip(), "every row brings a text as it really comes"
    for source in row.where:
        found = shipped().row_of(source, row.example)
        assert found is not None
        assert found.id == row.id


@pytest.mark.parametrize("row", shipped().rows, ids=lambda row: row.id)
def test_a_row_says_what_to_do_and_who_usually_does_it(row: Row) -> None:
    assert row.sentence.endswith(".")
    assert row.remedy
    assert row.owner


def test_there_are_at_least_25_rows() -> None:
    assert len(shipped().rows) >= 25


def test_bitlocker_needs_both_patterns_in_one_log() -> None:
    one, other = BITLOCKER.splitlines()
    assert recognise([Text("log", "a", one), Text("log", "a", other)]) is None
    cause = recognise([Text("log", "a", BITLOCKER)])
    assert cause is not None
    assert (cause.id, cause.certainty, cause.owner) == ("guest-bitlocker", "1 of 1 log", "Windows guest team")


def test_certainty_counts_the_vms_whose_logs_were_read() -> None:
    logs = [Text("log", "a", BITLOCKER), Text("log", "b", BITLOCKER), Text("log", "b", "again"), Text("log", "c", "?")]
    cause = recognise(logs)
    assert cause is not None
    assert cause.certainty == "2 of 3 logs"


def test_the_more_frequent_cause_wins() -> None:
    full = "write: no space left on device"
    logs = [Text("log", "a", BITLOCKER), Text("log", "b", full), Text("log", "c", full)]
    cause = recognise(logs)
    assert cause is not None
    assert (cause.id, cause.certainty) == ("storage-full", "2 of 3 logs")


@pytest.mark.parametrize(
    ("name", "cause_id"),
    [
        ("a-virt-v2v-erp-win01.log", "windows-fast-startup"),
        ("b2-importer-crm-app01-previous.log", "cbt-invalid"),
        ("c-importer-files01-disk0-previous.log", "volume-too-small"),
        ("h-vsphere-xcopy-populator.log", "offload-device"),
    ],
)
def test_the_example_logs_are_recognised(name: str, cause_id: str) -> None:
    cause = recognise([Text("log", "vm", log_text(name))])
    assert cause is not None
    assert cause.id == cause_id


@pytest.mark.parametrize("name", ["a-virt-v2v-erp-web01.log", "g-openstack-populator.log"])
def test_a_good_or_unknown_log_is_not_recognised(name: str) -> None:
    assert recognise([Text("log", "vm", log_text(name))]) is None


def test_generic_words_of_the_controller_are_no_cause() -> None:
    assert recognise([Text("reason", "a", "Guest conversion failed. See pod logs for details.")]) is None
    assert recognise([]) is None


def test_two_thousand_reasons_that_are_equal_are_looked_at_once_and_all_counted() -> None:
    cause = recognise([Text("reason", f"vm-{number}", "no space left on device") for number in range(2_000)])
    assert cause is not None
    assert cause.certainty == "2,000 of 2,000 VMs"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({}, "not a list"),
        ([{"id": "a"}], "cause a: id, sentence and patterns are required"),
        ([{"id": "a", "sentence": "s", "patterns": ["(?<=x)"]}], "use RE2 syntax"),
        ([{"id": "a", "sentence": "s", "patterns": ["x"], "where": ["moon"]}], "moon is none of log"),
        ([{"id": "a", "sentence": "s", "patterns": ["x"]}] * 2, "stands twice"),
        ([3], "no mapping"),
    ],
)
def test_a_wrong_table_is_refused_with_the_row_that_is_wrong(raw: object, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        Causes(read_rows(raw))
