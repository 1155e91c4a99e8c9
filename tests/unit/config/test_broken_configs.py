"""tests/configs/<what-is-wrong>.yaml, each with exactly the lines that people are shown, in <what-is-wrong>.expected.

`DIR` stands for the folder of the files. Lines that begin with `warning: ` do not keep the file from being used.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.config.load import ConfigError, check, load
from receiver.config.problems import Problem
from receiver.destinations.registry import ALL

FOLDER = Path(__file__).parents[2] / "configs"
FILES = sorted(FOLDER.glob("*.yaml"))
PLANTED = "MUSTNOTBESHOWN"


def _shown(problem: Problem) -> str:
    text = str(problem).replace(f"{FOLDER}/", "", 1) if str(problem).startswith(str(FOLDER)) else str(problem)
    return f"{'warning: ' if problem.warning else ''}{text.replace(str(FOLDER), 'DIR')}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_mistake_is_reported_where_it_is_with_its_cure(file: Path) -> None:
    expected = file.with_suffix(".expected").read_text(encoding="utf-8").splitlines()
    config, problems = check(file, ALL)
    assert [_shown(problem) for problem in problems] == expected
    assert (config is None) == any(not line.startswith("warning: ") for line in expected)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_loading_raises_all_problems_and_no_warning(file: Path) -> None:
    _, problems = check(file, ALL)
    mistakes = tuple(problem for problem in problems if not problem.warning)
    if not mistakes:
        assert load(file, ALL).receivers
        return
    with pytest.raises(ConfigError) as raised:
        load(file, ALL)
    assert raised.value.problems == mistakes
    assert str(raised.value).splitlines() == [str(problem) for problem in mistakes]
    assert PLANTED not in str(raised.value) + repr(raised.value)


def test_some_files_hold_secrets_in_plain_so_that_the_test_above_can_fail() -> None:
    assert sum(PLANTED.encode() in file.read_bytes() for file in FILES) >= 3


def test_there_are_enough_mistakes_each_named_by_its_file() -> None:
    broken = [file for file in FILES if not file.stem.startswith("warning-")]
    assert len(broken) >= 40
    assert {file.stem for file in FOLDER.glob("*.expected")} == {file.stem for file in FILES}


def test_a_file_that_is_not_there_is_one_problem(tmp_path: Path) -> None:
    (problem,) = check(tmp_path / "routes.yaml", ALL)[1]
    assert str(problem) == (
        f"{tmp_path}/routes.yaml:1:1: cannot be read (No such file or directory); "
        "name an existing file by --config or MTV_RECEIVER_CONFIG"
    )


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_bytes(b"# x\n" * 300_000)
    (problem,) = check(file, ALL)[1]
    assert problem.what == "larger than 1048576 bytes"


def test_problems_of_one_file_come_in_its_order() -> None:
    _, problems = check(FOLDER / "ten-mistakes-at-once.yaml", ALL)
    places = [(problem.line, problem.column) for problem in problems]
    assert places == sorted(places)
    assert len([problem for problem in problems if not problem.warning]) >= 10
