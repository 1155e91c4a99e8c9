"""`handover`: its ends, and what it takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from receiver.store.engine import sqlite_url
from receiver.store.upgrade import upgrade
from tests.unit.cli.conftest import Run, one_line_with_a_cure


@pytest.fixture
def data(tmp_path: Path) -> Path:
    upgrade(sqlite_url(tmp_path / "mtv-receiver.db"))
    return tmp_path


def test_a_quiet_shift_is_one_line(run: Run, data: Path) -> None:
    result = run("handover", MTV_RECEIVER_DATA=data)
    assert (result.exit_code, result.stdout) == (0, "Nothing is open, and everything was told.\n")


def test_json_for_programs(run: Run, data: Path) -> None:
    found = json.loads(run("handover", "--since", "8h", "--json", MTV_RECEIVER_DATA=data).stdout)
    assert (found["since_seconds"], found["numbers"]["open"], found["open"]) == (28_800, 0, {"items": [], "total": 0})


@pytest.mark.parametrize("since", ["12", "soon", "8d", "5s", ""])
def test_a_time_that_makes_no_sense_is_wrong_usage(run: Run, data: Path, since: str) -> None:
    result = run("handover", "--since", since, MTV_RECEIVER_DATA=data)
    assert (result.exit_code, result.stdout) == (2, "")
    assert one_line_with_a_cure(result.stderr)


def test_without_a_database_it_cannot_be_asked(run: Run, tmp_path: Path) -> None:
    result = run("handover", MTV_RECEIVER_DATA=tmp_path / "none")
    assert (result.exit_code, result.stdout) == (3, "")
    assert one_line_with_a_cure(result.stderr)


def test_links_are_those_of_the_configuration(run: Run, data: Path) -> None:
    config = data / "routes.yaml"
    config.write_text(
        "web: {external_url: 'https://mtv.example.com'}\nroute: {receiver: a}\n"
        "receivers: [{name: a, pagerduty_configs: [{routing_key_env: KEY}]}]\n"
    )
    assert run("handover", "--config", config, MTV_RECEIVER_DATA=data).stdout.endswith(
        "\n\nhttps://mtv.example.com/handover\n"
    )
    config.write_text("route: {receiver: b}\n")
    assert run("handover", "--config", config, MTV_RECEIVER_DATA=data).exit_code == 1
