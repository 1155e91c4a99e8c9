"""Templates: what they may use is declared, and what is wrong shows when they are loaded."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from receiver.rendering.build import build
from receiver.rendering.context import NAMES, PARTS, Context, declared, variables
from receiver.rendering.markup import line
from receiver.rendering.sample import samples
from receiver.rendering.templates import ENTRIES, MESSAGES, TemplateError, Templates, shipped_templates
from receiver.rendering.templates import PARTS as MESSAGE_PARTS
from tests import other_stories, stories


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def problems(folder: Path) -> list[str]:
    return [str(problem) for problem in Templates(folder).problems]


def test_the_shipped_templates_have_no_problem_and_no_part_is_missing() -> None:
    assert Templates().problems == ()
    folder = shipped_templates()
    for message in MESSAGES:
        assert {file.stem for file in (folder / message).glob("*.j2")} == set(MESSAGE_PARTS)
    assert {file.stem for file in (folder / "entry").glob("*.j2")} == set(ENTRIES)


def test_the_readme_documents_exactly_what_templates_may_use() -> None:
    text = (shipped_templates() / "README.md").read_text(encoding="utf-8").split("## Variables")[1]
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| (.+) \|$", text, re.MULTILINE)

    assert [tuple(row) for row in rows] == [
        (name, kind, meaning.replace("|", "\\|")) for name, kind, meaning in declared()
    ]


def test_what_is_passed_is_what_is_declared() -> None:
    context = build(stories.wanted(other_stories.bitlocker()), "slack", "full")

    passed = variables(context)

    assert set(passed) == NAMES == {variable.name for variable in fields(Context)}
    for name, item in PARTS.items():
        assert all(isinstance(one, item) for one in passed[name])
    for name, kind, _ in declared():
        if "[]" not in name:
            assert {"text": str, "number": int, "yes/no": bool, "list": tuple, "list of text": tuple}.get(kind, object)
            expected = {"text": str, "number": int, "yes/no": bool, "mapping": object}.get(kind, tuple)
            assert isinstance(passed[name], expected), name


def test_the_samples_fill_every_variable_and_empty_every_variable() -> None:
    full, empty, *_ = samples()

    assert [name for name in NAMES - {"ticket", "is_plan"} if not getattr(full, name)] == []
    assert [name for name in NAMES if getattr(empty, name) not in ("", 0, (), {}, "full", "unknown", True)] == []


def test_a_file_in_the_users_folder_replaces_the_shipped_one_of_that_name_alone(tmp_path: Path) -> None:
    write(tmp_path, "firing/title.j2", "Mine: {{ name }}")
    context = build(stories.wanted(), "slack", "full")

    assert "Mine: " in Templates(tmp_path).render("firing/title", context)
    assert Templates(tmp_path).render("firing/push", context) == Templates().render("firing/push", context)


def test_a_kinds_own_part_is_used_for_that_kind_alone(tmp_path: Path) -> None:
    write(tmp_path, "firing/title.jira.j2", "For Jira")
    templates = Templates(tmp_path)

    assert templates.problems == ()
    assert templates.render("firing/title", build(stories.wanted(), "jira", "full")) == "For Jira"
    assert templates.render("firing/title", build(stories.wanted(), "slack", "full")) != "For Jira"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("firing/title.j2", "ok\n{{ nmae }}", ':2:4: no variable is called "nmae"; did you mean "name"?'),
        ("firing/title.j2", "{% if name %}\n", ":1:4: "),
        ("firing/body.j2", "a\nb\n{% for vm in vms %}\n{{ vm.nam }}\n{% endfor %}", ":4:7: "),
        ("firing/body.j2", "{{ name | nosuchfilter }}", ":1:11: No filter named 'nosuchfilter'"),
        ("firing/body.j2", "{{ name.upper.__globals__ }}", ":1:15: "),
        ("frining/title.j2", "x", ':1:1: no message is called "frining"; did you mean "firing"?'),
        ("firing/titel.j2", "x", ':1:1: no part is called "titel"; did you mean "title"?'),
        ("entry/reran.j2", "x", ':1:1: no part is called "reran"; did you mean "rerun"?'),
    ],
)
def test_a_mistake_is_a_problem_with_file_line_and_cure(tmp_path: Path, name: str, text: str, said: str) -> None:
    file = write(tmp_path, name, text)

    found = problems(tmp_path)

    assert found
    assert found[0].startswith(f"{file}:")
    assert said in found[0]


def test_a_folder_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    assert problems(tmp_path / "nowhere") == [f"{tmp_path / 'nowhere'}:1:1: is no folder; create it or drop the key"]


def test_a_template_that_writes_too_much_is_stopped(tmp_path: Path) -> None:
    write(tmp_path, "firing/body.j2", "{% for a in range(9000) %}{{ name }}{% endfor %}")

    with pytest.raises(TemplateError, match="writes more than 65,536 characters"):
        Templates(tmp_path).render("firing/body", build(stories.wanted(), "slack", "full"))


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("{{ name | toUpper }}", "ERP-WAVE1"),
        ("{{ name | toUpper | toLower }}", "erp-wave1"),
        ("{{ 'a b' | title }}", "A B"),
        ("{{ ['a', 'b'] | join('+') }}", "a+b"),
        ("{% if name | match('^erp-') %}yes{% endif %}", "yes"),
        ("{% if name | match('^x') %}yes{% else %}no{% endif %}", "no"),
        ("{{ name | reReplaceAll('(erp)-(w)', '$2-${1}') }}", "w-erpave1"),
        ("{{ 26520 | humanizeDuration }}", "7 h 22 min"),
    ],
)
def test_the_filters_are_named_as_in_alertmanager(tmp_path: Path, source: str, result: str) -> None:
    write(tmp_path, "firing/title.j2", source)
    made = Templates(tmp_path)

    assert made.problems == ()
    assert line(made.render("firing/title", build(stories.wanted(), "slack", "full"))) == result
