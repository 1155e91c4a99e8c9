"""`diagnose plan` and `explain` on must-gathers: what a person sees, in every form that a gather is handed over."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.trees import objects_of, plant, tarred, zipped
from tests.unit.cli.conftest import ROOT, Run, one_line_with_a_cure
from tests.unit.cli.diagnosing import ERP, FAILED, SAMPLE, SANDBOX, here

__all__ = ["here"]

KUBE = ROOT / "tests" / "data" / "kube"
PLAN_FILE = "namespaces/mig-team-a/crs/plans.forklift.konveyor.io/erp-wave1.yaml"
# A terminal of 80 columns and 24 rows, and the line of the prompt.
COLUMNS, ROWS = 80, 23


def diagnosed(run: Run, gather: Path, *words: str, plan: str = ERP, code: int = 1) -> dict[str, Any]:
    """Return `diagnose plan --json`."""
    result = run("diagnose", "plan", plan, "--must-gather", gather, "--json", *words)
    assert result.exit_code == code, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def explained(run: Run, gather: Path) -> dict[str, Any]:
    """Return what `explain --json` says of the sample's alert."""
    result = run("explain", FAILED, "-c", SANDBOX, "--must-gather", gather, "--at", "2026-09-14T08:31:00Z", "--json")
    assert result.exit_code == 0, result.output
    (one,) = json.loads(result.stdout)["alerts"]
    return dict(one)


def sample(tmp_path: Path) -> Path:
    """Return a copy of the shipped must-gather that a test may damage."""
    return Path(shutil.copytree(SAMPLE, tmp_path / "gather"))


# --- what a person sees ---


def test_the_first_screen_says_what_is_down_what_failed_why_and_what_to_do(here: Run) -> None:
    result = here("diagnose", "plan", ERP, "--must-gather", SAMPLE, columns=COLUMNS)

    screen = result.stdout.splitlines()[:ROWS]
    head, text = screen[0], " ".join("\n".join(screen).split())
    assert result.exit_code == 1
    assert head == "🔴 VM down · 1 of 2 VMs failed: windows fast startup · erp-wave1"
    assert "failed at ImageConversion 14 Sep 2026 08:07 UTC" in text
    assert "erp-win01 was On and is off since 08:03 UTC. MTV does not power it on again." in text
    assert "Cause (1 of 1 log): Windows Fast Startup or hibernation left the disk unclean." in text
    assert "1. Power on erp-win01 at the source (vcenter-a): no target VM exists" in text
    assert "3. Then run the plan again" in text


def test_everything_fits_eighty_columns_but_what_is_to_be_copied(here: Run) -> None:
    lines = here("diagnose", "plan", ERP, "--must-gather", SAMPLE, columns=COLUMNS).stdout.splitlines()

    long = [line for line in lines if len(line) > COLUMNS]
    assert [line.split()[:2] for line in long] == [["oc", "create"], ["Read", "from"]][: len(long)]
    assert all(line == line.rstrip() for line in lines)


def test_the_command_to_run_again_is_whole_and_makes_a_migration_of_this_plan(here: Run) -> None:
    lines = here("diagnose", "plan", ERP, "--must-gather", SAMPLE, columns=COLUMNS).stdout.splitlines()

    (command,) = [line.strip() for line in lines if line.strip().startswith("oc create")]
    made = json.loads(command.split("<<< ")[1].strip("'"))
    assert (made["kind"], made["spec"]["plan"]) == ("Migration", {"name": "erp-wave1", "namespace": "mig-team-a"})


def test_nobody_is_told_to_make_a_must_gather_of_a_must_gather(here: Run) -> None:
    text = here("diagnose", "plan", ERP, "--must-gather", SAMPLE).stdout

    assert "oc adm must-gather" not in text
    assert "kept with this story" not in text
    assert text.rstrip().endswith(f"Read from must-gather {SAMPLE}")


def test_json_holds_the_same_and_the_evidence(here: Run) -> None:
    answer = diagnosed(here, SAMPLE)

    told = {"plan", "cluster", "good", "state", "headline", "impact", "facts", "missing"}
    assert set(answer) == {*told, "asked", "unread", "evidence"}
    assert (answer["plan"], answer["good"], answer["state"], answer["impact"]) == (ERP, False, "Failed", "down")
    assert answer["headline"] == "VM down · 1 of 2 VMs failed: windows fast startup · erp-wave1"
    assert answer["facts"]["cause"] == "windows-fast-startup"
    assert answer["missing"] == answer["unread"] == []
    (failure,) = answer["evidence"]["failures"]
    assert (failure["name"], failure["step"], failure["target_exists"]) == ("erp-win01", "ImageConversion", False)
    (log,) = answer["evidence"]["logs"]
    assert "kept" not in log
    assert any(line.startswith("virt-v2v: error: filesystem was mounted read-only") for line in log["lines"])


@pytest.mark.parametrize(
    ("plan", "headline", "why"),
    [
        ("mig-team-b/crm-warm", "🟠 No VM down · 1 of 1 VM failed", "block tracking of a disk is no longer valid"),
        ("mig-team-a/files-cold", "🔴 VM down · 1 of 1 VM failed", "target volume is too small for the disk"),
        ("mig-team-b/cclm-billing", "🟠 No VM down · 1 of 1 VM failed", "No node of the target cluster has room"),
        ("mig-team-b/crm-warm-2", "🟠 No VM down · 2 of 2 VMs failed", "Not all failed alike"),
    ],
)
def test_other_failures_too_say_on_the_first_screen_what_is_down_and_why(
    here: Run, tmp_path: Path, plan: str, headline: str, why: str
) -> None:
    gather = plant(tmp_path / "x", objects_of(*sorted(KUBE.glob("*.yaml"))), {}, "targeted")

    result = here("diagnose", "plan", plan, "--must-gather", gather, columns=COLUMNS)

    screen = " ".join("\n".join(result.stdout.splitlines()[:ROWS]).split())
    assert result.exit_code == 1
    assert screen.startswith(headline)
    assert why in screen
    assert "Do now" in screen
    assert "1. " in screen
    assert "not in the must-gather" in result.stdout  # what could not be read is said


# --- plans that did not fail ---


def settled(plan: dict[str, Any], state: str) -> dict[str, Any]:
    """Make a Plan one that succeeded, was canceled, runs, or never ran; no VM of it failed."""
    word = {"Succeeded": "SUCCEEDED", "Canceled": "CANCELED", "Executing": "EXECUTING"}.get(state, "")
    condition = {"type": state, "status": "True", "category": "Advisory", "message": word}
    plan["status"]["conditions"] = [{"type": "Ready", "status": "True"}, *([condition] if word else [])]
    if not word:
        plan["status"].pop("migration")
        return plan
    migration = plan["status"]["migration"]
    migration["history"][-1]["conditions"] = [condition]
    for vm in migration["vms"]:
        vm.pop("error", None)
        vm["conditions"] = [condition]
        vm["phase"] = "CopyDisks" if state == "Executing" else "Completed"
        for step in vm["pipeline"]:
            step.pop("error", None)
            if state == "Succeeded":
                step["phase"] = "Completed"
        if state == "Executing":
            vm.pop("completed", None)
            vm["conditions"] = []
    if state == "Executing":
        migration.pop("completed", None)
        migration["history"][-1]["conditions"] = []
    return plan


@pytest.mark.parametrize(
    ("state", "says"),
    [("Succeeded", "🟢 Succeeded · 2 VMs"), ("Executing", "🔵 Running · 2 VMs"), ("", "⚪ Not run")],
)
def test_a_plan_of_which_nothing_failed_is_good_and_exits_0(here: Run, tmp_path: Path, state: str, says: str) -> None:
    (failed,) = [one for one in objects_of(KUBE / "a-cold-vsphere-imageconversion.yaml") if one["kind"] == "Plan"]
    plain = json.loads(json.dumps(settled(failed, state)))  # nothing stands in it twice
    gather = plant(tmp_path / "x", [plain], {}, "full")

    result = here("diagnose", "plan", ERP, "--must-gather", gather, columns=COLUMNS)

    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(says)
    assert "Do now" not in result.stdout
    assert diagnosed(here, gather, code=0)["good"] is True


# --- forms of a must-gather ---


@pytest.mark.parametrize("form", ["outer folder", "tar", "tgz", "zip", "outer folder with an archive", "one too deep"])
def test_every_form_of_the_sample_says_the_same(here: Run, tmp_path: Path, form: str) -> None:
    image = tmp_path / "must-gather.local.42" / "registry-example-com-mtv-sha256-0a1b"
    path = image.parent
    match form:
        case "outer folder":
            shutil.copytree(SAMPLE, image / "must-gather")
        case "tar":
            path = tarred(SAMPLE, tmp_path / "x.tar", mode="w")
        case "tgz":
            path = tarred(SAMPLE, tmp_path / "x.tgz")
        case "zip":
            path = zipped(SAMPLE, tmp_path / "x.zip")
        case "outer folder with an archive":
            tarred(SAMPLE, image / "must-gather.tar.gz")
        case _:
            path = SAMPLE / "namespaces"

    found, plain = diagnosed(here, path), diagnosed(here, SAMPLE)

    assert found["asked"] == f"must-gather {path}"
    for answer in (found, plain):
        answer.pop("asked")
        answer["evidence"].pop("read_at")
    assert found == plain


def test_explain_says_of_an_archive_in_its_outer_folder_what_it_says_of_the_tree(run: Run, tmp_path: Path) -> None:
    image = tmp_path / "must-gather.local.42" / "image"
    tarred(SAMPLE, image / "must-gather.tar.gz")

    assert explained(run, image.parent) == explained(run, SAMPLE)


@pytest.mark.parametrize("layout", ["full", "targeted", "inspect"])
def test_each_layout_leads_explain_and_diagnose_to_the_same_cause(run: Run, tmp_path: Path, layout: Any) -> None:
    log = (KUBE / "logs" / "a-virt-v2v-erp-win01.log").read_text()
    logs = {("erp-prod", "erp-wave1-vm-1402-d8f6k", "virt-v2v", "current"): log}
    gather = plant(tmp_path / "x", objects_of(KUBE / "a-cold-vsphere-imageconversion.yaml"), logs, layout)

    assert diagnosed(run, gather)["facts"]["cause"] == "windows-fast-startup"
    facts = explained(run, gather)["facts"]
    assert (facts["cause"], facts["impact"], facts["plan_namespace"]) == ("windows-fast-startup", "down", "mig-team-a")


def test_what_was_not_gathered_is_named_and_never_said_to_be_gone(here: Run, tmp_path: Path) -> None:
    gather = sample(tmp_path)
    for name in ("erp-prod", "openshift-mtv"):
        shutil.rmtree(gather / "namespaces" / name)
    shutil.rmtree(gather / "namespaces" / "mig-team-a" / "core")
    shutil.rmtree(gather / "namespaces" / "mig-team-a" / "crs" / "conversions.forklift.konveyor.io")

    answer = diagnosed(here, gather)

    assert "events in mig-team-a and erp-prod: not in the must-gather" in answer["missing"]
    assert any(one.startswith("logs of erp-win01: not in the must-gather") for one in answer["missing"])
    assert "cause" not in answer["facts"]
    assert answer["impact"] == "down"  # the Plan alone says so
    text = here("diagnose", "plan", ERP, "--must-gather", gather).stdout
    assert "deleted" not in text.partition("Run again")[0].replace("A new run deletes", "")


def test_an_error_text_instead_of_a_log_is_no_evidence_and_is_counted(here: Run, tmp_path: Path) -> None:
    gather = sample(tmp_path)
    said = 'Error from server (NotFound): pods "erp-wave1-vm-1402-d8f6k" not found\n'
    (gather / "namespaces/erp-prod/logs/erp-wave1-vm-1402-d8f6k/current.log").write_text(said)

    result = here("diagnose", "plan", ERP, "--must-gather", gather)

    assert result.exit_code == 1
    assert "NotFound" not in result.stdout
    assert "logs of erp-win01: not in the must-gather" in " ".join(result.stdout.split())
    assert "(1 file without anything to read, see --json)" in result.stdout
    (unread,) = diagnosed(here, gather)["unread"]
    assert unread["file"] == "namespaces/erp-prod/logs/erp-wave1-vm-1402-d8f6k/current.log"
    assert "Error from server (NotFound)" in unread["why"]


def test_an_error_text_instead_of_the_plan_is_quoted_with_the_gather_that_helps(here: Run, tmp_path: Path) -> None:
    gather = sample(tmp_path)
    said = 'Error from server (NotFound): plans.forklift.konveyor.io "erp-wave1" not found\n'
    (gather / PLAN_FILE).write_text(said)

    result = here("diagnose", "plan", ERP, "--must-gather", gather)

    assert result.exit_code == 2
    assert "Error from server (NotFound)" in result.stderr
    assert "give a full gather, it has every plan" in result.stderr
    assert one_line_with_a_cure(result.stderr)


def test_what_files_hold_cannot_steer_the_terminal(here: Run, tmp_path: Path) -> None:
    gather = sample(tmp_path)
    log = gather / "namespaces/erp-prod/logs/erp-wave1-vm-1402-d8f6k/current.log"
    log.write_text(log.read_text().replace("virt-v2v: error: ", "virt-v2v: error: \x1b]0;owned\x07\x1b[2J\x9b31m"))
    shown = here("diagnose", "plan", ERP, "--must-gather", gather).stdout
    (gather / PLAN_FILE).write_text("error: \x1b[2J\x07\n")
    refused = here("diagnose", "plan", ERP, "--must-gather", gather)

    assert "virt-v2v: error: " in shown
    assert refused.exit_code == 2
    for text in (shown, refused.stderr):
        assert not [char for char in text if char != "\n" and not char.isprintable()]
