"""Commands of other pages than the guide say what the page says, where that is the same every time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from receiver.__main__ import COMMANDS
from receiver.cli.doctor import _MARKS
from receiver.doctor.links import LINKS
from tests.unit.test_docs_monitoring import FENCE, commands, lines_in_order

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
OWN = [(line, wanted) for line, wanted in commands(README) if line.startswith("mtv-receiver ")]
ANYWHERE = [
    (line, wanted) for line, wanted in OWN if "make run" not in line and line != "mtv-receiver check routes.yaml"
]
PATH_LINE = 'export PATH="$PWD/.venv/bin:$PATH"'


def said(command: str, folder: Path) -> list[str]:
    words = command.split()[1:]
    done = subprocess.run(
        [sys.executable, "-m", "receiver", *words], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    return (done.stdout + done.stderr).splitlines()


@pytest.mark.parametrize(("command", "wanted"), ANYWHERE, ids=[line for line, _ in ANYWHERE])
def test_a_command_of_the_readme_says_what_stands_there(command: str, wanted: list[str]) -> None:
    assert wanted
    assert lines_in_order(wanted, found := said(command, ROOT)), found


def mistaken(folder: Path, right: str, wrong: str) -> Path:
    """Write the configuration of the README with a mistake."""
    (text,) = (body for kind, body in FENCE.findall(README) if kind == "yaml" and "fallback: platform" in body)
    assert text.count(right) == 1
    (folder / "routes.yaml").write_text(text.replace(right, wrong))
    return folder


def test_the_readme_shows_what_check_says_of_a_mistake_in_its_own_configuration(tmp_path: Path) -> None:
    (wanted,) = (wanted for line, wanted in OWN if line == "mtv-receiver check routes.yaml")
    folder = mistaken(tmp_path, "namespaces: [", "namespace: [")
    assert lines_in_order(wanted, found := said("mtv-receiver check routes.yaml", folder)), found
    assert sum(": warning: " in line for line in found) == 2


def test_a_reload_is_refused_in_the_words_of_check(tmp_path: Path) -> None:
    ((_, wanted),) = commands((ROOT / "docs" / "reload.md").read_text(encoding="utf-8"))
    folder = mistaken(tmp_path, "receiver: platform  ", "receiver: nobody  ")
    found = [line for line in said("mtv-receiver check routes.yaml", folder)[:-1] if ": warning: " not in line]
    assert wanted == ["not reloaded, the old configuration stays in force:", *found]


def test_the_page_about_the_doctor_shows_every_link_and_explains_every_mark() -> None:
    page = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
    ((_, shown),) = commands(page)
    marks = {mark for mark, _ in _MARKS.values()}
    assert len(marks) == len(_MARKS), "in a pipe there are no colours"
    rows = [line.partition(" ") for line in shown if line[:1] in marks]
    assert [rest.partition(":")[0] for _, _, rest in rows] == [link.title for link in LINKS]
    assert {*re.findall(r"^\| `(\S)` \|", page, re.MULTILINE)} == marks


@pytest.mark.parametrize("page", ["README.md", "docs/install.md"])
def test_before_the_first_command_stands_where_it_is(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    first = re.search(r"^(?:\$ mtv-receiver |mtv-receiver check )", text, re.MULTILINE)
    assert first
    assert PATH_LINE in text[: first.start()]
    assert "make setup" in text[: first.start()]
    assert re.search(r"^VENV \?= \.venv$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_readme_has_every_command() -> None:
    table = README[README.index("## Commands") :].partition("\n\nExit codes")[0]
    rows = "".join(cell for cell in re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE))
    named = {word for code in re.findall(r"`([^`]+)`", rows) for word in code.split()[:1]}
    assert named == set(COMMANDS)
