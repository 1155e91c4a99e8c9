"""`template:` of one destination: its files count first, then those of `templates:`, then the shipped ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from receiver import build
from receiver.config.load import load
from receiver.destinations.registry import ALL
from receiver.rendering.plain import plain
from receiver.rendering.renderer import StoryRenderer
from receiver.rendering.templates import Templates
from tests import stories
from tests.unit.cli.conftest import Run
from tests.unit.cli.conftest import run as run

CONFIG = """
clusters: []
templates: all
receivers:
  - name: platform
    pagerduty_configs:
      - {routing_key_env: A, name: theirs, template: theirs}
      - {routing_key_env: B, name: others}
route: {receiver: platform}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for name, text in (
        ("all/firing/summary.j2", "all: {{ name }}"),
        ("all/firing/push.j2", "all push"),
        ("theirs/firing/summary.j2", "theirs: {{ name }}"),
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    path = tmp_path / "routes.yaml"
    path.write_text(CONFIG)
    return path


def test_the_nearest_file_counts_and_what_is_missing_comes_from_behind(config: Path) -> None:
    everyone = StoryRenderer(Templates(config.parent / "all", samples=()), pytest.fail)
    theirs = everyone.in_folder(config.parent / "theirs").root(stories.wanted(), "slack")
    shipped = StoryRenderer(Templates(samples=()), pytest.fail).root(stories.wanted(), "slack")

    assert (theirs.summary, theirs.push, theirs.title) == ("theirs: erp-wave1", "all push", shipped.title)
    assert everyone.root(stories.wanted(), "slack").summary == "all: erp-wave1"
    assert everyone.in_folder(None) is everyone


@pytest.mark.anyio
async def test_a_destination_sends_its_own_and_its_neighbour_does_not(config: Path) -> None:
    loaded = load(config, ALL)
    async with build.destinations(loaded, build.renderer(loaded, pytest.fail)) as made:
        sent = {
            one.config.name: json.dumps(dict(one.sender.plan(stories.wanted(audible=True)).body))
            for one in made.values()
        }

    assert "theirs: erp-wave1" in sent["theirs"]
    assert "all: erp-wave1" in sent["others"]


def test_a_broken_file_of_one_destination_costs_that_one_alone_its_form(config: Path) -> None:
    (config.parent / "theirs/firing/summary.j2").write_text("{{ 1 // 0 }}")
    broken: list[str] = []
    everyone = StoryRenderer(Templates(config.parent / "all", samples=()), broken.append)

    assert everyone.in_folder(config.parent / "theirs").root(stories.wanted(), "slack") == plain(
        stories.wanted(), "slack"
    )
    assert len(broken) == 1
    assert everyone.root(stories.wanted(), "slack").summary == "all: erp-wave1"
    assert len(broken) == 1


def test_check_names_the_place_in_every_folder_once(config: Path, run: Run) -> None:
    (config.parent / "theirs/firing/body.j2").write_text("fine\nnot {{ nmae }}")
    (config.parent / "all/firing/body.j2").write_text("{% if %}")

    result = run("check", config)

    lines = [line for line in result.stdout.splitlines() if ".j2:" in line]
    assert result.exit_code == 1
    assert len(lines) == 2
    assert any(
        f"{config.parent}/theirs/firing/body.j2:2:8: " in line and 'did you mean "name"' in line for line in lines
    )
    assert any(f"{config.parent}/all/firing/body.j2:1:1: " in line for line in lines)


def test_where_the_plain_form_breaks_too_some_words_come_out_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def breaks(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("receiver.rendering.plain.build", breaks)
    with capture_logs() as logs:
        message = plain(stories.wanted(), "slack")
    assert "could not be worded" in str(message.blocks)
    assert [one["event"] for one in logs] == ["render.plain_broken"]
