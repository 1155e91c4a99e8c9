"""`shadow:` at the top and at receivers: who is told nothing, and what contradicts itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.config.load import check
from receiver.config.model import Config
from receiver.destinations.registry import ALL

A, B = "{name: a, pagerduty_configs: [{routing_key_env: A}]", "{name: b, pagerduty_configs: [{routing_key_env: B}]"


def read(folder: Path, text: str) -> tuple[Config | None, list[str]]:
    file = folder / "routes.yaml"
    file.write_text(text)
    config, problems = check(file, ALL)
    return config, [str(one) for one in problems]


def two(a: str = "", b: str = "", top: str = "", route: str = "[a, b]") -> str:
    return f"{top}\nreceivers:\n  - {A}{a}}}\n  - {B}{b}}}\nroute: {{receiver: {route}}}\n"


@pytest.mark.parametrize(
    ("text", "shadowed", "notice"),
    [
        (two(), (), ""),
        (two(top="shadow: false", a=", shadow: false"), (), ""),
        (two(top="shadow: true"), ("a", "b"), "Shadow: nothing is sent to anybody"),
        (two(top="shadow: true", a=", shadow: true"), ("a", "b"), "Shadow: nothing is sent to anybody"),
        (two(b=", shadow: true"), ("b",), "Shadow: nothing is sent to b"),
        (two(a=", shadow: true", b=", shadow: true"), ("a", "b"), "Shadow: nothing is sent to anybody"),
    ],
)
def test_who_is_told_nothing(tmp_path: Path, text: str, shadowed: tuple[str, ...], notice: str) -> None:
    config, problems = read(tmp_path, text)
    assert problems == []
    assert config is not None
    assert (config.shadowed, config.shadow_notice) == (shadowed, notice)
    assert {one.receiver for one in config.destinations if one.shadow} == set(shadowed)


def test_a_receiver_cannot_leave_a_shadow_that_holds_for_all(tmp_path: Path) -> None:
    config, (problem,) = read(tmp_path, two(top="shadow: true", b=", shadow: false"))
    assert config is None
    assert "receivers[1].shadow: has no effect: shadow at the top is true, and holds for every receiver; " in problem
    assert problem.endswith("set shadow: true at each receiver that is to stay in shadow")


def test_one_destination_is_in_shadow_or_live_and_says_for_whom(tmp_path: Path) -> None:
    same = (
        f"receivers:\n  - {A}}}\n  - {A.replace('name: a', 'name: b')}, shadow: true}}\nroute: {{receiver: [a, b]}}\n"
    )
    config, (problem,) = read(tmp_path, same)
    assert config is None
    assert "the same destination as in" in problem
    assert "in shadow for b and live for a; let both receivers be the same, or give one of them a name:" in problem


def test_a_name_of_its_own_makes_it_another_destination(tmp_path: Path) -> None:
    named = "{name: b, shadow: true, pagerduty_configs: [{name: trial, routing_key_env: A}]}"
    config, problems = read(tmp_path, f"receivers:\n  - {A}}}\n  - {named}\nroute: {{receiver: [a, b]}}\n")
    assert problems == []
    assert config is not None
    assert config.shadowed == ("b",)


def test_a_fallback_in_shadow_is_a_warning(tmp_path: Path) -> None:
    config, (problem,) = read(tmp_path, two(a=", fallback: b", b=", shadow: true", route="a"))
    assert config is not None
    assert "b is in shadow mode: nobody there is told when a cannot be" in problem
    assert read(tmp_path, two(a=", fallback: b", top="shadow: true", route="a"))[1] == []


@pytest.mark.parametrize("value", ["maybe", "7", "[true]"])
def test_anything_but_yes_or_no_is_a_problem_and_never_live(tmp_path: Path, value: str) -> None:
    for text in (two(top=f"shadow: {value}"), two(a=f", shadow: {value}")):
        config, problems = read(tmp_path, text)
        assert config is None
        assert any("shadow" in one for one in problems), problems
