"""`stories`, `deliveries` and `db` on the database of a service that has worked."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from receiver.app import build_app
from receiver.config.load import load
from receiver.destinations.registry import ALL
from receiver.store.engine import sqlite_url
from receiver.store.upgrade import FileLock
from tests.fakes.server import serve
from tests.odd_bodies import alert, body
from tests.unit.cli.conftest import ROOT, Run, one_line_with_a_cure

CONFIG = """
clusters: []
receivers:
  - name: platform
    # Nothing listens there, so it is tried again and again; the other has no secret, so it is parked.
    slack_configs: [{channel: '#platform', app_token_file: token, app_url: 'http://127.0.0.1:9/api/'}]
    pagerduty_configs: [{routing_key_env: NO_SUCH_VARIABLE}]
route: {receiver: platform}
"""
NAME = "mtv-receiver.db"


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which a service has told of one alert, without luck."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "token").write_text("xoxb-secret")
    (folder / "routes.yaml").write_text(CONFIG)

    async def work() -> None:
        app = build_app(load(folder / "routes.yaml", ALL), sqlite_url(folder / NAME), on_fatal=pytest.fail)
        async with serve(app) as url, httpx2.AsyncClient() as http, asyncio.timeout(30):
            while (await http.get(url + "/-/ready")).status_code != 200:
                await asyncio.sleep(0.02)
            labels = {"alertname": "DiskFull", "severity": "critical", "namespace": "team-a"}
            posted = await http.post(url + "/webhook", content=body(alert(labels=labels, annotations={})))
            assert posted.status_code == 200
            states: set[str] = set()
            while states != {"retrying", "parked"}:
                await asyncio.sleep(0.02)
                states = {one["state"] for one in (await http.get(url + "/api/v1/deliveries")).json()["items"]}

    asyncio.run(work())
    return folder


@pytest.fixture
def data(worked: Path, tmp_path: Path) -> Path:
    """A copy of that folder for one test."""
    return Path(shutil.copytree(worked, tmp_path / "data"))


def execute(data: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(data / NAME)) as conn, conn:
        return conn.execute(statement).fetchall()


def items(run: Run, data: Path, *words: str) -> list[dict[str, Any]]:
    result = run(*words, "--json", MTV_RECEIVER_DATA=data)
    assert result.exit_code == 0, result.stderr
    found: list[dict[str, Any]] = json.loads(result.stdout)["items"]
    return found


# --- stories ---


def test_stories_are_listed_for_people_and_programs(run: Run, data: Path) -> None:
    (story,) = items(run, data, "stories", "list")
    narrow = run("stories", "list", columns=80, MTV_RECEIVER_DATA=data).stdout.splitlines()
    wide = run("stories", "list", columns=120, MTV_RECEIVER_DATA=data).stdout.splitlines()

    assert story["title"] == "DiskFull"
    assert len(story["deliveries"]) == 2
    assert narrow[0].split() == ["ID", "OPENED", "(UTC)", "STATE", "TITLE"]
    assert narrow[1].split()[0] == story["id"]
    assert narrow[1].split()[-2:] == ["firing", "DiskFull"]
    assert wide[0].split() == ["ID", "OPENED", "(UTC)", "STATE", "SEVERITY", "IMPACT", "TOLD", "TITLE"]
    assert wide[1].split()[-7:] == ["firing", "critical", "unknown", "0", "of", "2", "DiskFull"]
    assert max(map(len, narrow)) <= 80


def test_stories_are_chosen_by_state(run: Run, data: Path) -> None:
    assert len(items(run, data, "stories", "list", "--state", "firing", "--state", "re-running")) == 1
    assert items(run, data, "stories", "list", "--state", "resolved") == []
    result = run("stories", "list", "--state", "resolved", MTV_RECEIVER_DATA=data)
    assert (result.exit_code, result.stdout) == (0, "no stories\n")


def test_a_story_is_shown_with_what_happened_and_who_was_told(run: Run, data: Path) -> None:
    (story,) = items(run, data, "stories", "list")

    text = run("stories", "show", story["id"].lower(), MTV_RECEIVER_DATA=data).stdout
    as_json = json.loads(run("stories", "show", story["id"], "--json", MTV_RECEIVER_DATA=data).stdout)

    assert as_json == story
    for words in ("DiskFull", "owner_namespace=team-a", "DiskFull fires", "platform/slack", "retrying", "parked"):
        assert words in text
    assert story["alerts"][0]["fingerprint"] in text


# --- deliveries ---


def test_deliveries_are_listed_and_chosen_by_state(run: Run, data: Path) -> None:
    found = items(run, data, "deliveries", "list")
    text = run("deliveries", "list", columns=80, MTV_RECEIVER_DATA=data).stdout

    assert {(one["kind"], one["state"]) for one in found} == {("slack", "retrying"), ("pagerduty", "parked")}
    assert all(one["attempts"] for one in found)
    assert [one["kind"] for one in items(run, data, "deliveries", "list", "--state", "parked")] == ["pagerduty"]
    assert len(items(run, data, "deliveries", "list", "--story", found[0]["story"])) == 2
    assert items(run, data, "deliveries", "list", "--story", "NONE") == []
    assert max(map(len, text.splitlines())) <= 80
    assert "no connection" in " ".join(text.split())


def test_a_delivery_is_shown_with_its_attempts(run: Run, data: Path) -> None:
    (parked,) = items(run, data, "deliveries", "list", "--state", "parked")

    text = run("deliveries", "show", parked["id"], MTV_RECEIVER_DATA=data).stdout
    as_json = json.loads(run("deliveries", "show", parked["id"], "--json", MTV_RECEIVER_DATA=data).stdout)

    assert as_json == parked
    for words in ("platform/pagerduty", "parked", "environment variable NO_SUCH_VARIABLE is not set", "permanent"):
        assert words in " ".join(text.split())


def test_a_retry_makes_one_delivery_due_at_once(run: Run, data: Path) -> None:
    (waiting,) = items(run, data, "deliveries", "list", "--state", "retrying")

    result = run("deliveries", "retry", waiting["id"], MTV_RECEIVER_DATA=data)

    assert result.exit_code == 0
    assert result.stdout == f"{waiting['id']} platform/slack: is tried again now\n"
    (row,) = execute(data, "SELECT due <= strftime('%s') + 1, tries, error FROM deliveries WHERE state = 'pending'")
    assert row == (1, 0, "")


def test_a_retry_of_a_parked_one_asks_its_destination_at_once(run: Run, data: Path) -> None:
    (parked,) = items(run, data, "deliveries", "list", "--state", "parked")
    far = "SELECT probe_at > strftime('%s') + 60 FROM destinations WHERE parked"
    assert execute(data, far) == [(1,)]

    assert run("deliveries", "retry", parked["id"], MTV_RECEIVER_DATA=data).exit_code == 0

    assert execute(data, far) == [(0,)]


def test_all_of_a_state_are_retried(run: Run, data: Path) -> None:
    execute(data, "UPDATE deliveries SET state = 'dead', due = NULL WHERE kind = 'slack'")
    (dead,) = items(run, data, "deliveries", "list", "--state", "dead")

    assert json.loads(
        run("deliveries", "retry", "--all", "--state", "dead", "--json", MTV_RECEIVER_DATA=data).stdout
    ) == {"items": [dead["id"]], "dry_run": False}
    assert items(run, data, "deliveries", "list", "--state", "dead") == []
    again = run("deliveries", "retry", "--all", "--state", "dead", MTV_RECEIVER_DATA=data)
    assert (again.exit_code, again.stdout) == (0, "no delivery is dead\n")


def test_all_means_what_is_parked_dead_or_waits_between_tries(run: Run, data: Path) -> None:
    result = run("deliveries", "retry", "--all", MTV_RECEIVER_DATA=data)

    assert len(result.stdout.splitlines()) == 2


def test_a_dry_run_counts_and_changes_nothing(run: Run, data: Path) -> None:
    before = execute(data, "SELECT id, state, due, tries FROM deliveries ORDER BY id")

    result = run("deliveries", "retry", "--all", "--dry-run", MTV_RECEIVER_DATA=data)

    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "2 in all; nothing was changed"
    assert execute(data, "SELECT id, state, due, tries FROM deliveries ORDER BY id") == before


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (("--destination", "platform/slack"), ["platform/slack"]),
        (("--destination", "platform/slack", "--state", "parked"), []),
        (("--receiver", "platform"), ["platform/pagerduty", "platform/slack"]),
        (("--receiver", "nobody"), []),
        (("--since", "1h", "--state", "parked"), ["platform/pagerduty"]),
    ],
)
def test_filters_narrow_each_other_down(run: Run, data: Path, filters: tuple[str, ...], expected: list[str]) -> None:
    execute(data, "UPDATE deliveries SET created = strftime('%s')")
    shown = run("deliveries", "retry", *filters, "--dry-run", MTV_RECEIVER_DATA=data).stdout
    assert sorted(line.split()[1].rstrip(":") for line in shown.splitlines() if "would be" in line) == expected


def test_since_leaves_out_what_is_older(run: Run, data: Path) -> None:
    execute(data, "UPDATE deliveries SET created = strftime('%s') - 7200")
    result = run("deliveries", "retry", "--since", "1h", MTV_RECEIVER_DATA=data)
    assert result.stdout == "no delivery fits\n"
    assert run("deliveries", "retry", "--since", "1 hour", MTV_RECEIVER_DATA=data).exit_code == 2


def test_a_retry_asks_a_destination_that_is_away_at_once_but_not_one_that_asked_to_be_left_alone(
    run: Run, data: Path
) -> None:
    (waiting,) = items(run, data, "deliveries", "list", "--state", "retrying")
    identity = waiting["destination"]
    for failures, held in ((7, [(None,)]), (0, [(1e12,)])):
        execute(data, f"DELETE FROM destinations WHERE identity = '{identity}'")
        row = f"('{identity}', {failures}, 1e12)"
        execute(data, f"INSERT INTO destinations (identity, failures, hold_until) VALUES {row}")
        assert run("deliveries", "retry", waiting["id"], MTV_RECEIVER_DATA=data).exit_code == 0
        query = f"SELECT hold_until FROM destinations WHERE identity = '{identity}'"
        assert execute(data, query) == held


def test_a_delivered_one_is_not_tried_again(run: Run, data: Path) -> None:
    execute(data, "UPDATE deliveries SET state = 'delivered', due = NULL, error = '' WHERE kind = 'slack'")
    (delivered,) = items(run, data, "deliveries", "list", "--state", "delivered")

    result = run("deliveries", "retry", delivered["id"], MTV_RECEIVER_DATA=data)

    assert result.exit_code == 1
    assert "platform/slack is delivered" in result.stderr


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("state = 'digest', due = NULL", "platform/slack is told by a digest; the message of the storm tells of it"),
        ("state = 'muted'", "platform/slack is muted; "),
        ("state = 'skipped', due = NULL", "platform/slack is skipped; "),
        ("moved = 'network by Ana'", "platform/slack was given to network by Ana; "),
    ],
)
def test_what_has_nothing_to_try_again_is_left_as_it_is(run: Run, data: Path, values: str, words: str) -> None:
    (waiting,) = items(run, data, "deliveries", "list", "--state", "retrying")
    execute(data, f"UPDATE deliveries SET {values} WHERE kind = 'slack'")
    before = execute(data, "SELECT id, state, due, tries FROM deliveries ORDER BY id")

    result = run("deliveries", "retry", waiting["id"], MTV_RECEIVER_DATA=data)

    assert result.exit_code == 1
    assert words in result.stderr
    assert waiting["id"] not in run("deliveries", "retry", "--all", "--dry-run", MTV_RECEIVER_DATA=data).stdout
    assert execute(data, "SELECT id, state, due, tries FROM deliveries ORDER BY id") == before


def test_a_state_in_which_nothing_can_be_tried_again_is_refused(run: Run, data: Path) -> None:
    result = run("deliveries", "retry", "--state", "digest", "--state", "dead", MTV_RECEIVER_DATA=data)

    assert result.exit_code == 2
    assert "--state: what is digest is not tried again; choose of parked, dead, retrying" in result.stderr


def test_an_unknown_id_among_known_ones_changes_nothing(run: Run, data: Path) -> None:
    (waiting,) = items(run, data, "deliveries", "list", "--state", "retrying")

    assert run("deliveries", "retry", waiting["id"], "UNKNOWN", MTV_RECEIVER_DATA=data).exit_code == 1

    assert len(items(run, data, "deliveries", "list", "--state", "retrying")) == 1


# --- db ---


def test_a_new_database_is_made_and_a_current_one_left_alone(run: Run, tmp_path: Path) -> None:
    first = json.loads(run("db", "upgrade", "--json", MTV_RECEIVER_DATA=tmp_path / "new").stdout)
    second = run("db", "upgrade", MTV_RECEIVER_DATA=tmp_path / "new")

    assert first["before"] is None
    assert second.stdout == f"{tmp_path / 'new' / NAME}: is at schema {first['after']}\n"
    assert run("stories", "list", MTV_RECEIVER_DATA=tmp_path / "new").stdout == "no stories\n"


def test_the_url_of_the_environment_wins(run: Run, data: Path) -> None:
    url = f"sqlite:///{data / NAME}"

    assert run("stories", "list", MTV_RECEIVER_DATABASE_URL=url).stdout.count("DiskFull") == 1


def test_a_database_in_use_is_not_upgraded(run: Run, data: Path) -> None:
    with FileLock(data / NAME):
        result = run("db", "upgrade", MTV_RECEIVER_DATA=data)

    assert result.exit_code == 3
    assert "is in use by a running `serve`" in result.stderr
    assert one_line_with_a_cure(result.stderr)


def test_reading_beside_a_running_service_is_allowed(run: Run, data: Path) -> None:
    with FileLock(data / NAME):
        assert run("stories", "list", MTV_RECEIVER_DATA=data).exit_code == 0


# --- what can be wrong ---

ASKING = [("stories", "list"), ("stories", "show", "X"), ("deliveries", "list"), ("deliveries", "retry", "--all")]


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
def test_without_a_database_it_is_said_how_to_get_one(run: Run, tmp_path: Path, words: tuple[str, ...]) -> None:
    result = run(*words, MTV_RECEIVER_DATA=tmp_path / "none")

    assert result.exit_code == 3
    assert "there is no database at" in result.stderr
    assert one_line_with_a_cure(result.stderr)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            "UPDATE alembic_version SET version_num = '9999'",
            "has schema 9999, unknown to this version; run the version",
        ),
        ("DROP TABLE alembic_version", "holds no tables of this service; run `mtv-receiver db upgrade`"),
    ],
)
def test_another_versions_database_is_left_alone(
    run: Run, data: Path, words: tuple[str, ...], change: str, says: str
) -> None:
    execute(data, change)

    result = run(*words, MTV_RECEIVER_DATA=data)

    assert result.exit_code == 3
    assert says in result.stderr
    assert one_line_with_a_cure(result.stderr)


def test_a_newer_database_is_not_upgraded(run: Run, data: Path) -> None:
    execute(data, "UPDATE alembic_version SET version_num = '9999'")

    result = run("db", "upgrade", MTV_RECEIVER_DATA=data)

    assert result.exit_code == 1
    assert one_line_with_a_cure(result.stderr)
    assert execute(data, "SELECT version_num FROM alembic_version") == [("9999",)]


def test_a_file_that_is_no_database_is_said_to_be_none(run: Run, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("not a database, not at all " * 100)

    for words in (("stories", "list"), ("db", "upgrade")):
        result = run(*words, MTV_RECEIVER_DATA=tmp_path)
        assert result.exit_code == 3
        assert "file is not a database" in result.stderr
        assert one_line_with_a_cure(result.stderr)


@pytest.mark.parametrize("url", ["nonsense", "postgresql+nonsense://x/y", "sqlite:////no/such/folder/x.db"])
def test_an_odd_url_is_said_in_one_line(run: Run, url: str) -> None:
    result = run("stories", "list", MTV_RECEIVER_DATABASE_URL=url)

    assert result.exit_code in (2, 3)
    assert one_line_with_a_cure(result.stderr)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("stories", "show", "X"), 1, "no story has the id X; see `mtv-receiver stories list`"),
        (("deliveries", "show", "X"), 1, "no delivery has the id X; see `mtv-receiver deliveries list`"),
        (("deliveries", "retry", "X"), 1, "no delivery has the id X; see `mtv-receiver deliveries list`"),
        (("deliveries", "retry"), 2, "say which deliveries; give ids, or --all"),
        (("deliveries", "retry", "X", "--all"), 2, "say which deliveries; "),
        (("deliveries", "retry", "X", "--state", "dead"), 2, "say which deliveries; "),
    ],
)
def test_what_is_asked_wrongly_is_said_in_one_line(
    run: Run, data: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    result = run(*words, MTV_RECEIVER_DATA=data)

    assert result.exit_code == code
    assert result.stderr.startswith(says)
    assert one_line_with_a_cure(result.stderr)


@pytest.mark.parametrize(
    "words", [("stories", "list", "--state", "open"), ("stories", "list", "--limit", "0"), ("sing",)]
)
def test_wrong_usage_exits_2(run: Run, data: Path, words: tuple[str, ...]) -> None:
    assert run(*words, MTV_RECEIVER_DATA=data).exit_code == 2


# --- as a program ---


def test_the_program_itself_writes_results_to_stdout_and_errors_to_stderr(data: Path) -> None:
    def program(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "receiver", *words],
            cwd=ROOT,
            env={"MTV_RECEIVER_DATA": str(data), "PATH": "", "COLUMNS": "100"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    listed = program("stories", "list", "--json")
    unknown = program("stories", "show", "X")
    explained = program("explain", "examples/alerts/erp-wave1-failed.json", "-c", "examples/sandbox/routes.yaml")

    assert (listed.returncode, listed.stderr) == (0, "")
    assert json.loads(listed.stdout)["items"]
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr.startswith("no story has the id X")
    assert (explained.returncode, explained.stderr) == (0, "")
    assert explained.stdout.startswith("MigrationFailed  firing")


@pytest.mark.parametrize(
    "words", [("deliveries", "list", "--state"), ("stories", "list", "--state"), ("audit", "--kind")]
)
def test_a_word_that_is_none_of_those_is_said_plainly(run: Run, words: tuple[str, ...]) -> None:
    result = run(*words, "bogus")

    assert result.exit_code == 2
    assert f"Invalid value for '{words[-1]}': 'bogus' is not one of '" in result.stderr
