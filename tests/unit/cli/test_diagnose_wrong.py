"""`diagnose plan` and `explain` on what is no Plan, no must-gather, or a hostile one."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.trees import tarred
from tests.unit.cli.conftest import ROOT, Run, one_line_with_a_cure
from tests.unit.cli.diagnosing import ERP, FAILED, SAMPLE, SANDBOX, here

__all__ = ["here"]


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        ("mig-team-a/erp-wave2", "did you mean mig-team-a/erp-wave1?"),
        ("erp-prod/erp-wave1", "did you mean mig-team-a/erp-wave1?"),  # its target namespace
        ("a/b", "there is mig-team-a/erp-wave1"),
        ("erp-wave1", "name it as NAMESPACE/NAME"),
        ("/erp-wave1", "name it as NAMESPACE/NAME"),
        ("../../etc/passwd", "name it as NAMESPACE/NAME"),
        ("mig-team-a/erp wave", "name it as NAMESPACE/NAME"),
    ],
)
def test_a_plan_that_is_not_there_exits_2_and_says_which_is_meant(here: Run, plan: str, says: str) -> None:
    result = here("diagnose", "plan", plan, "--must-gather", SAMPLE)

    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr
    assert one_line_with_a_cure(result.stderr)


def evil(archive: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(SAMPLE, "must-gather")
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive


def hostile(tmp_path: Path) -> Mapping[str, tuple[Path, str]]:
    """Return paths that are no must-gather to read, each with what is said."""
    whole = tarred(SAMPLE, tmp_path / "whole.tgz").read_bytes()
    (tmp_path / "cut.tgz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "words.tgz").write_text("not found\n")
    (tmp_path / "empty").mkdir()
    with zipfile.ZipFile(tmp_path / "up.zip", "w") as packed:
        packed.writestr("../../outside.yaml", "x: 1")
    return {
        "missing": (tmp_path / "none", "does not exist"),
        "empty": (tmp_path / "empty", "holds no must-gather"),
        "no archive": (tmp_path / "words.tgz", "is no archive"),
        "cut off": (tmp_path / "cut.tgz", "cut off or damaged"),
        "up": (evil(tmp_path / "up.tgz", ("../../outside.yaml", b"x: 1")), "outside the archive"),
        "absolute": (evil(tmp_path / "abs.tgz", ("/outside.yaml", b"x: 1")), "outside the archive"),
        "up, zipped": (tmp_path / "up.zip", "outside the archive"),
    }


@pytest.mark.parametrize("which", ["missing", "empty", "no archive", "cut off", "up", "absolute", "up, zipped"])
def test_what_is_no_must_gather_or_a_hostile_one_exits_3_with_a_cure(here: Run, tmp_path: Path, which: str) -> None:
    path, says = hostile(tmp_path)[which]

    by_diagnose = here("diagnose", "plan", ERP, "--must-gather", path)
    by_explain = here("explain", ROOT / FAILED, "-c", ROOT / SANDBOX, "--must-gather", path)

    for result in (by_diagnose, by_explain):
        assert (result.exit_code, result.stdout) == (3, "")
        assert says in result.stderr
        assert one_line_with_a_cure(result.stderr)
    assert "must-gather must-gather" not in by_diagnose.stderr
    assert not list(tmp_path.rglob("outside.yaml"))


def test_without_anybody_to_ask_it_exits_3_and_says_what_to_give(here: Run) -> None:
    result = here("diagnose", "plan", ERP)

    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("no cluster to ask; give --must-gather, ")
    assert one_line_with_a_cure(result.stderr)


def test_a_cluster_that_does_not_answer_exits_3(here: Run, tmp_path: Path) -> None:
    server = {"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}
    context = {"name": "east", "context": {"cluster": "c", "user": "u"}}
    document = {"current-context": "east", "clusters": [server], "contexts": [context], "users": [{"name": "u"}]}
    (tmp_path / "kubeconfig").write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **document}))

    result = here("diagnose", "plan", ERP, KUBECONFIG=tmp_path / "kubeconfig")

    assert (result.exit_code, result.stdout) == (3, "")
    assert "east" in result.stderr
    assert str(tmp_path / "kubeconfig") in result.stderr
    assert one_line_with_a_cure(result.stderr)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--cluster", "nowhere"), 2, "no cluster is called nowhere"),
        (("-c", "no-such.yaml"), 1, "no-such.yaml:1:1: cannot be read"),
        (("-c", str(ROOT / "tests/configs/tab-indentation.yaml")), 1, "mtv-receiver check"),
    ],
)
def test_a_wrong_option_is_said_in_one_line_with_a_cure(
    here: Run, words: tuple[str, ...], code: int, says: str
) -> None:
    result = here("diagnose", "plan", ERP, *words)

    assert (result.exit_code, result.stdout) == (code, "")
    assert says in result.stderr
    assert one_line_with_a_cure(result.stderr)
