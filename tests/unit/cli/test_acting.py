"""`stories acknowledge`, `stories silence` and `deliveries move`, beside a service that is not running."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Run
from tests.unit.recording import RECEIVERS, desk, uid


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with one open story, told to payments; its configuration is beside it."""

    async def work() -> None:
        async with desk(tmp_path, receivers=RECEIVERS) as one:
            await one.record(one.incoming("payments", uid()))
            await one.shown((await one.stories())[0].id)

    asyncio.run(work())
    (tmp_path / "test.db").rename(tmp_path / "mtv-receiver.db")
    return tmp_path


def story(run: Run, data: Path) -> dict[str, Any]:
    result = run("stories", "list", "--json", MTV_RECEIVER_DATA=data)
    (found,) = json.loads(result.stdout)["items"]
    return dict(found)


def act(run: Run, data: Path, *words: object) -> tuple[int, str, str]:
    result = run(*words, MTV_RECEIVER_DATA=data, MTV_RECEIVER_CONFIG=data / "routes.yaml")
    # `main` sends logs to stderr; here they are in the way.
    said = [line for line in result.stdout.splitlines() if "[info" not in line]
    return int(result.exit_code), "\n".join(said), result.stderr


def test_a_story_is_taken_and_show_says_by_whom(run: Run, data: Path) -> None:
    number = story(run, data)["id"]
    assert act(run, data, "stories", "acknowledge", number, "--by", "Ana Costa") == (0, "Ana Costa has it now.", "")
    assert story(run, data)["ack"]["via"] == "command line"
    shown = run("stories", "show", number, MTV_RECEIVER_DATA=data).stdout
    assert "taken by" in shown
    assert "UTC (command line)" in shown
    assert "acknowledged by Ana Costa on the command line" in shown
    act(run, data, "stories", "silence", number, "--hours", "1", "--by", "Ana Costa")
    told = run("stories", "show", number, MTV_RECEIVER_DATA=data, columns=200).stdout
    asked = [line.split() for line in told.splitlines() if "(command line)" in line and "UTC" not in line]
    assert [line[6:8] for line in asked] == [["acknowledge", "Ana"], ["silence", "Nothing"]]


def test_who_says_no_name_is_the_user_of_the_machine(run: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "ana")
    code, said, _ = act(run, data, "stories", "acknowledge", story(run, data)["id"])
    assert (code, said) == (0, "ana has it now.")


def test_a_story_is_moved_and_the_ledger_says_where(run: Run, data: Path) -> None:
    number = story(run, data)["id"]
    code, said, _ = act(run, data, "deliveries", "move", number, "--to", "oncall", "--by", "Ana")
    assert (code, said) == (0, "Moved from payments to oncall by Ana (command line).")
    listed = json.loads(run("deliveries", "list", "--json", MTV_RECEIVER_DATA=data).stdout)["items"]
    assert {one["receiver"]: one["moved"] for one in listed} == {
        "payments": "oncall by Ana (command line)",
        "oncall": None,
    }
    assert "moved to oncall by Ana" in run("stories", "show", number, MTV_RECEIVER_DATA=data, columns=140).stdout


def test_what_is_refused_is_one_line_and_exit_code_1(run: Run, data: Path) -> None:
    number = story(run, data)["id"]
    code, said, error = act(run, data, "deliveries", "move", number, "--to", "onkall")
    assert (code, said) == (1, "")
    assert error.splitlines()[-1] == "There is no receiver 'onkall'; did you mean oncall?"
    code, said, error = act(run, data, "stories", "silence", number, "--hours", "1")
    assert (code, said) == (1, "")
    assert "alertmanagers:" in error
    code, _, error = act(run, data, "stories", "acknowledge", "01NOSUCHSTORY", "--json")
    assert code == 1
