"""Known errors: each row recognises its own example, and nothing is recognised that is not there."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files

import pytest

from receiver.config.causes_files import read_causes
from receiver.config.known_errors import KnownError, compiled, flat
from receiver.enrichers import Text
from receiver.enrichers.causes import TABLES, Causes, causes_with, program_of, recognise, shipped
from receiver.enrichers.redact import Redactor
from receiver.enrichers.runbooks import rerun_command
from receiver.model import Cause, Evidence, VMFailure
from receiver.rendering import do_now
from receiver.rendering.context import Command
from tests.unit.enrichers.cluster import log_text

BITLOCKER = 'libguestfs: trace: v2v: vfs_type = "BitLocker"\nvirt-v2v: could not read key from user\n'
ROWS = shipped().rows
SOURCES = ("log", "reason", "event", "condition")
# One sentence leads a message on a phone, after the impact.
SENTENCE = 64


def row(name: str = "own", patterns: tuple[str, ...] = ("x",), where: Iterable[str] = SOURCES) -> KnownError:
    return KnownError(name, "It broke.", ("mend it",), "us", frozenset(where), patterns, "x")


@pytest.mark.parametrize("known", ROWS, ids=lambda known: known.id)
def test_a_row_recognises_its_own_example_and_no_row_before_it_does(known: KnownError) -> None:
    asked = [source for source in SOURCES if known.shows_in(source)]
    assert asked != []
    for source in asked:
        found = shipped().row_of(source, known.example)
        assert found is not None
        assert found.id == known.id


@pytest.mark.parametrize("known", ROWS, ids=lambda known: known.id)
def test_no_pattern_of_a_row_is_there_for_nothing(known: KnownError) -> None:
    assert [pattern for pattern in known.patterns if not compiled(pattern).search(flat(known.example))] == []


@pytest.mark.parametrize("known", ROWS, ids=lambda known: known.id)
def test_a_row_reads_well_in_a_message_on_a_phone(known: KnownError) -> None:
    assert known.sentence.endswith(".")
    assert len(known.sentence) <= SENTENCE
    assert len(known.id.removeprefix("guest-")) <= 26, "the id is the headline's word for it"
    assert known.owner
    assert 1 <= len(known.remedy) <= 3
    for step in known.remedy:
        assert len(step) <= 200
        assert step[-1] in ".)`"


@pytest.mark.parametrize("known", ROWS, ids=lambda known: known.id)
def test_the_steps_of_a_row_leave_room_for_the_re_run_that_says_what_it_destroys(known: KnownError) -> None:
    cause = Cause(known.id, known.sentence, "1 of 1 log", known.owner, known.remedy, known.link)
    evidence = Evidence(failures=(VMFailure("vm-1", "a"),), cause=cause, commands=rerun_command("mig", "wave"))
    command = evidence.commands[0]
    steps = do_now.steps(
        None, evidence, (), "wave", has_logs=True, differ=False, shown=(Command(command.text, command.url),)
    )
    assert [step.text for step in steps[:-1]] == list(known.remedy)
    assert steps[-1].text.startswith("Then run the plan again (command below).")


def test_links_lead_to_the_published_documentation_only() -> None:
    base = "https://docs.redhat.com/en/documentation/migration_toolkit_for_virtualization/2.12/html/"
    assert [known.id for known in ROWS if known.link and not known.link.startswith(base)] == []


def test_there_are_at_least_80_rows_and_every_table_in_the_folder_is_read() -> None:
    assert len(ROWS) >= 80
    folder = files("receiver.enrichers").joinpath("causes")
    assert sorted(one.name for one in folder.iterdir()) == sorted(f"{name}.yaml" for name in TABLES)


def test_no_table_is_longer_than_a_person_reads() -> None:
    folder = files("receiver.enrichers").joinpath("causes")
    assert [one.name for one in folder.iterdir() if len(one.read_text(encoding="utf-8").splitlines()) > 400] == []


# Texts as the programs write them, with more around them than an example has; the more general row must not win.
REAL = [
    ("log", 'vfs_type = "crypto_LUKS"\nvirt-v2v: could not read key from user', "guest-luks-key"),
    ("log", "virt-v2v: error: unable to mount the disk image for writing. Windows Hibernation", "windows-fast-startup"),
    ("log", "virt-v2v: error: could not mount; No root device found in this operating system", "guest-no-os-found"),
    ("log", "Failed to inspect the disk: exit status 1", "guest-inspection-failed"),
    ("reason", "Unable to process data: Unable to connect to vddk data source: Cannot complete login due to an "
     "incorrect user name or password.", "vcenter-login"),
    ("reason", "Unable to process data: Unable to connect to vddk data source: handshake failed", "vddk-connect"),
    ("log", "virt-v2v: error: nbdkit did not start up.  See previous debugging messages", "vddk-connect"),
    ("reason", "error checking task status: The operation is not allowed in the current state.", "vsphere-task"),
    ("reason", "error cheking task status: An error occurred while taking a snapshot: Failed to restart the virtual "
     "machine.", "snapshot-quiesce"),
    ("condition", "VDDKInvalid: VDDK init image is invalid (vddk)", "vddk-image-invalid"),
    ("condition", "VDDKInitImageUnavailable: Error pulling VDDK image", "vddk-image-pull"),
    ("condition", "The plan execution has FAILED due to a validation blocker: VDDK image required for vSAN storage.",
     "vddk-image-missing"),
    ("condition", "The plan execution has FAILED due to a validation blocker: The source provider does not have the "
     "Ready condition.", "provider-not-ready"),
    ("reason", 'Pending; target PVC a Pending : failed to provision volume with StorageClass "fast": rpc error: code = '
     "ResourceExhausted desc = pool full", "storage-full"),
    ("reason", 'failed to provision volume with StorageClass "fast": exceeded quota: storage', "quota"),
    ("reason", "conversion pod a stuck in Pending for 15m0s (reason: Unschedulable: 0/6 nodes are available: "
     "3 Insufficient memory.)", "conversion-pod-pending"),
    ("reason", "conversion pod a stuck in Pending for 15m0s (reason: ErrImagePull)", "image-pull"),
    ("condition", "VMAlreadyExists: VM already exists. (web-01)", "vm-name-taken"),
    ("condition", "SharedWarnDisks-vm-44: VM shares disks (a, b)", "shared-disks"),
    ("condition", "VMStorageNotMapped: VM has unmapped storage. (a)", "storage-map"),
    ("event", "migrationTargetPodUnschedulable: unschedulable pod erp/virt-launcher-a timeout period exceeded",
     "live-unschedulable"),
    ("log", "PLAY [all] ***\nTASK [stop the service] ***\nfatal: [db01]: UNREACHABLE! => {}", "hook-failed"),
    ("log", '{"level":"error","ts":"2026-09-22","msg":"Step \'ImageConversion\' not found"}', "plan-other-version"),
    ("log", '{"level":"info","msg":"VM id:vm-7 name:\'web\' is not connected"}', "esxi-host-disconnected"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "said", "cause_id"), REAL, ids=[case[2] for case in REAL])
def test_of_several_rows_that_fit_the_most_specific_wins(source: str, said: str, cause_id: str) -> None:
    found = shipped().row_of(source, said)
    assert found is not None
    assert found.id == cause_id


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
        ("e-forklift-controller-reconcile-error-loop.log", "vm-name-taken"),
        ("h-vsphere-xcopy-populator.log", "offload-device"),
    ],
)
def test_the_example_logs_are_recognised(name: str, cause_id: str) -> None:
    cause = recognise([Text("log", "vm", log_text(name))])
    assert cause is not None
    assert cause.id == cause_id


@pytest.mark.parametrize(
    "name", ["a-virt-v2v-erp-web01.log", "g-openstack-populator.log", "f-forklift-controller-inventory.log"]
)
def test_a_good_or_unknown_log_is_not_recognised(name: str) -> None:
    assert recognise([Text("log", "vm", log_text(name))]) is None


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("a-virt-v2v-erp-win01.log", "virt-v2v"),
        ("b2-importer-crm-app01-previous.log", "importer"),
        ("g-openstack-populator.log", "populator"),
        ("h-vsphere-xcopy-populator.log", "populator"),
        ("a-forklift-controller-main.log", "controller"),
    ],
)
def test_whose_log_it_is_is_seen_by_its_lines(name: str, program: str) -> None:
    assert program_of(log_text(name)) == program


def test_a_full_disk_in_a_hooks_log_is_not_taken_for_full_target_storage() -> None:
    said = "TASK [write the report] ***\nstderr: no space left on device\n"
    assert program_of(said) == "hook"
    assert recognise([Text("log", "a", said)]) is None
    assert recognise([Text("log", "a", "no space left on device")]) is not None


def test_generic_words_of_the_controller_are_no_cause() -> None:
    assert recognise([Text("reason", "a", "Guest conversion failed. See pod logs for details.")]) is None
    assert recognise([Text("log", "a", "VM customization failed: exit status 1. Migration will proceed")]) is None
    assert recognise([]) is None


def test_two_thousand_reasons_that_are_equal_are_looked_at_once_and_all_counted() -> None:
    cause = recognise([Text("reason", f"vm-{number}", "no space left on device") for number in range(2_000)])
    assert cause is not None
    assert cause.certainty == "2,000 of 2,000 VMs"


def test_a_hostile_log_is_still_read_whole_and_the_error_at_its_end_is_found() -> None:
    said = "VM name 'x VM VDDK nodes are available: " * 6_000 + "no space left on device"
    found = shipped().row_of("reason", said)
    assert found is not None
    assert found.id == "storage-full"


def test_redaction_hides_no_word_that_a_row_is_recognised_by() -> None:
    lost = []
    for known in ROWS:
        shown = flat(Redactor().text(known.example)[0])
        lost += [known.id for pattern in known.patterns if not compiled(pattern).search(shown)]
    assert lost == []


def test_a_users_own_row_comes_before_the_shipped_ones() -> None:
    own = causes_with([row("ours", ("no space left on device", "/data/disk.img"))])
    said = "write /data/disk.img: no space left on device"
    assert own.recognise([Text("reason", "a", said)]) == Cause("ours", "It broke.", "1 of 1 VM", "us", ("mend it",))
    assert len(own.rows) == len(ROWS) + 1


def test_a_users_own_row_of_a_shipped_id_takes_its_place() -> None:
    own = causes_with([row("storage-full", ("pool gold is full",))])
    assert own.recognise([Text("reason", "a", "no space left on device")]) is None
    assert len(own.rows) == len(ROWS)


def test_a_log_of_another_program_is_not_looked_at() -> None:
    own = Causes([row("importers", where=frozenset({"importer log"}))])
    assert own.row_of("log", "x in a log that nobody knows") is not None
    assert own.row_of("log", "virt-v2v: error: x") is None
    assert own.row_of("reason", "x") is None


def test_a_shipped_table_with_a_mistake_is_refused_with_its_place() -> None:
    problems = read_causes("guest.yaml", b"- id: a\n  patterns: ['(']\n", {})
    assert [str(one).partition("; ")[0] for one in problems][-1] == (
        "guest.yaml:2:15: [0].patterns[0]: not a regular expression (missing ): ()"
    )
