"""`report --shadow`: its ends, and that it can be read on any terminal."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from receiver.store import audit
from receiver.store.audit import Kind
from receiver.store.engine import NOW, Conn, Store, sqlite_url
from receiver.store.schema import attempts, stories
from receiver.store.upgrade import upgrade
from tests.unit.cli.conftest import Run, one_line_with_a_cure
from tests.unit.store.kept import add_story


@pytest.fixture
def data(tmp_path: Path) -> Path:
    upgrade(sqlite_url(tmp_path / "mtv-receiver.db"))
    return tmp_path


async def _fill(folder: Path) -> None:
    async def write(conn: Conn) -> None:
        for name, title in (("1", "Migration plan erp-wave1 failed: [bold]1 of 3 VMs[/bold]"), ("2", "x" * 150)):
            await add_story(conn, name)
            await conn.execute(update(stories).where(stories.c.id == name).values(title=title))
            for op in ("shadow create", "shadow reply", "shadow update"):
                given = {"delivery": f"d-{name}", "part": "root", "op": op, "fence": 1, "outcome": "shadow"}
                await conn.execute(insert(attempts).values(**given, started=NOW))
        for _ in range(12):
            await audit.note(conn, Kind.RECEIVED, alerts=1, fingerprints=["1".zfill(16)])

    async with Store.open(sqlite_url(folder / "mtv-receiver.db")) as store:
        await store.write(write)


def test_an_empty_window_says_so(run: Run, data: Path) -> None:
    result = run("report", "--shadow", MTV_RECEIVER_DATA=data)
    assert (result.exit_code, result.stdout) == (
        0, "Nothing in 7 d: nobody was in shadow mode, or nothing came.\n",
    )  # fmt: skip


@pytest.mark.parametrize("columns", [40, 60, 100, 200])
def test_every_width_holds_all_numbers(run: Run, data: Path, columns: int) -> None:
    asyncio.run(_fill(data))
    result = run("report", "--shadow", columns=columns, MTV_RECEIVER_DATA=data)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert all(len(line) <= columns for line in lines), result.stdout
    flat = " ".join(result.stdout.split())
    assert "Alertmanager sent 12 notifications with 12 alerts; mtv-receiver would have sent 2 messages, 2" in flat
    assert "1 message, 1 reply, 1 edit" in flat
    assert "[bold]" in flat, "what stands in a title is no markup"


def test_json_for_programs(run: Run, data: Path) -> None:
    asyncio.run(_fill(data))
    found = json.loads(run("report", "--shadow", "--since", "1d", "--json", MTV_RECEIVER_DATA=data).stdout)
    assert found["alertmanager"] == {"notifications": 12, "alerts": 12}
    assert found["would_have_sent"] == {"messages": 2, "replies": 2, "edits": 2}
    assert {one["id"]: one["notifications"] for one in found["stories"]} == {"1": 12, "2": 0}


@pytest.mark.parametrize("words", [(), ("--json",), ("--shadow", "--since", "soon"), ("--shadow", "--since", "91d")])
def test_wrong_usage_is_one_line(run: Run, data: Path, words: tuple[str, ...]) -> None:
    result = run("report", *words, MTV_RECEIVER_DATA=data)
    assert (result.exit_code, result.stdout) == (2, "")
    assert one_line_with_a_cure(result.stderr)


def test_without_a_database_it_cannot_be_asked(run: Run, tmp_path: Path) -> None:
    result = run("report", "--shadow", MTV_RECEIVER_DATA=tmp_path / "none")
    assert (result.exit_code, result.stdout) == (3, "")
    assert one_line_with_a_cure(result.stderr)
