"""`check`: everything wrong at once, with its place and its cure; and `config schema`."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import jsonschema
import pytest
import yaml

from tests.unit.cli.conftest import ROOT, Run

SANDBOX = "examples/sandbox/routes.yaml"
LINE = re.compile(r"^[^:\n]+:\d+:\d+: (warning: )?(?:\S+: )?[^;]+; .+$")


def test_a_good_file_is_said_to_be_good(run: Run) -> None:
    result = run("check", SANDBOX)

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{SANDBOX}: good (2 receivers, 4 destinations)\n"


def test_one_receiver_is_not_called_receivers(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    text = "receivers: [{name: a, pagerduty_configs: [{routing_key_env: K}]}]\nroute: {receiver: a}\n"
    file.write_text(f"clusters: []\n{text}")
    assert run("check", file).stdout == f"{file}: good (1 receiver, 1 destination)\n"


def test_the_file_may_come_from_the_environment(run: Run) -> None:
    assert run("check", MTV_RECEIVER_CONFIG=SANDBOX).stdout.startswith(f"{SANDBOX}: good")


def test_all_problems_come_at_once_on_a_line_each_with_place_and_cure(run: Run) -> None:
    result = run("check", "tests/configs/misspelt-route-key.yaml")

    *lines, summary = result.stdout.splitlines()
    assert result.exit_code == 1
    assert len(lines) == 2
    assert all(LINE.match(line) for line in lines), lines
    assert summary == "tests/configs/misspelt-route-key.yaml: 2 problems"


def test_warnings_are_marked_and_count_only_when_strict(run: Run) -> None:
    relaxed, strict = run("check", "routes.yaml"), run("check", "routes.yaml", "--strict")

    *lines, summary = relaxed.stdout.splitlines()
    assert relaxed.exit_code == 0
    assert lines
    assert all(": warning: " in line and LINE.match(line) for line in lines)
    assert summary == f"routes.yaml: good (3 receivers, 5 destinations), {len(lines)} warnings"
    assert strict.exit_code == 1
    assert strict.stdout == relaxed.stdout


def test_a_file_that_is_not_there_is_a_problem_like_any_other(run: Run) -> None:
    result = run("check", "no-such.yaml")

    assert result.exit_code == 1
    assert result.stdout.startswith("no-such.yaml:1:1: cannot be read (No such file or directory); name ")


@pytest.fixture
def templated(tmp_path: Path) -> Path:
    """A configuration with templates that have a problem each."""
    for name, text in (
        ("firing/title.j2", "{{ nmae }}"),
        ("firing/body.j2", "line one\n{% if %}"),
        ("fireing/title.j2", "x"),
    ):
        file = tmp_path / "own" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    config = tmp_path / "routes.yaml"
    config.write_text(
        "clusters: []\nreceivers: [{name: a, pagerduty_configs: [{routing_key_env: K}]}]\n"
        "route: {receiver: a}\ntemplates: own\n"
    )
    return config


def test_templates_are_checked_too(run: Run, templated: Path) -> None:
    result = run("check", templated)

    lines = [line for line in result.stdout.splitlines() if "/own/" in line]
    assert result.exit_code == 1
    assert len(lines) == 3
    assert all(LINE.match(line) for line in lines), lines
    assert any("firing/title.j2:1:4: " in line and 'did you mean "name"?' in line for line in lines)
    assert any("firing/body.j2:2:1: " in line for line in lines)
    assert any('did you mean "firing"?' in line for line in lines)


def test_templates_are_checked_even_where_the_configuration_cannot_be_used(run: Run, templated: Path) -> None:
    templated.write_text(templated.read_text().replace("route: {receiver: a}", "route: {receiver: b}"))

    result = run("check", templated)

    assert any("receiver" in line and "routes.yaml:3:" in line for line in result.stdout.splitlines())
    assert sum("/own/" in line for line in result.stdout.splitlines()) == 3


def test_json_holds_the_same_problems(run: Run) -> None:
    result = run("check", "tests/configs/misspelt-route-key.yaml", "--json")

    answer = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [one["line"] for one in answer["problems"]] == [9, 10]
    assert set(answer["problems"][0]) == {"file", "line", "column", "key", "what", "cure", "warning"}
    assert answer["asked"] == []


# --- --online ---


class _PagerDuty(BaseHTTPRequestHandler):
    """Takes one routing key and refuses every other."""

    seen: list[dict[str, str]] = []  # noqa: RUF012 - one server per test module

    def do_POST(self) -> None:
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append(event)
        good = event["routing_key"] == "g" * 32
        answer = {"status": "success"} if good else {"status": "invalid event", "errors": ["Invalid routing key"]}
        content = json.dumps(answer).encode()
        self.send_response(202 if good else 400)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def pagerduty() -> Iterator[str]:
    _PagerDuty.seen.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _PagerDuty) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/enqueue"
        server.shutdown()


def _online(tmp_path: Path, clusters: str, **destinations: str) -> Path:
    lines = [f"clusters: {clusters}", "receivers:"]
    lines += [f"  - {{name: {name}, pagerduty_configs: [{text}]}}" for name, text in destinations.items()]
    names = ", ".join(destinations)
    file = tmp_path / "routes.yaml"
    file.write_text("\n".join([*lines, f"route: {{receiver: [{names}]}}", ""]))
    return file


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_online_asks_destinations_and_clusters_without_posting(run: Run, tmp_path: Path, pagerduty: str) -> None:
    (tmp_path / "good").write_text("g" * 32)
    clusters = f"[{{name: sample, must_gather: {ROOT / 'examples/must-gather'}}}]"
    file = _online(tmp_path, clusters, team=f"{{routing_key_file: good, url: '{pagerduty}'}}")

    result = run("check", file, "--online")

    assert result.exit_code == 0, result.stdout
    assert re.search(r"^✓ team/pagerduty: good$", result.stdout, re.MULTILINE)
    assert re.search(r"^✓ cluster sample: good: must-gather", result.stdout, re.MULTILINE)
    assert [event["event_action"] for event in _PagerDuty.seen] == ["resolve"]


def test_a_refusal_exits_1_and_one_that_does_not_answer_exits_3(run: Run, tmp_path: Path, pagerduty: str) -> None:
    (tmp_path / "good").write_text("g" * 32)
    (tmp_path / "bad").write_text("b" * 32)
    good = f"{{routing_key_file: good, url: '{pagerduty}'}}"
    bad = f"{{routing_key_file: bad, url: '{pagerduty}'}}"
    away = f"{{routing_key_file: good, url: 'http://127.0.0.1:{_closed_port()}/'}}"

    refused = run("check", _online(tmp_path, "[]", one=good, two=bad), "--online")
    unasked = run("check", _online(tmp_path, "[]", one=good, two=away), "--online")
    both = run("check", _online(tmp_path, "[]", one=bad, two=away), "--online")

    assert refused.exit_code == 1
    assert re.search(r"^✗ two/pagerduty: refused: .*Invalid routing key", refused.stdout, re.MULTILINE)
    assert unasked.exit_code == 3
    assert re.search(r"^\? two/pagerduty: not asked: no connection", unasked.stdout, re.MULTILINE)
    assert both.exit_code == 1
    assert "b" * 32 not in refused.stdout


def test_a_missing_secret_is_a_refusal_and_a_must_gather_that_is_none_too(run: Run, tmp_path: Path) -> None:
    away = f"{{routing_key_file: none, url: 'http://127.0.0.1:{_closed_port()}/'}}"
    file = _online(tmp_path, f"[{{name: sample, must_gather: {tmp_path}}}]", team=away)

    result = run("check", file, "--online", "--json")

    assert result.exit_code == 1
    asked = {one["what"]: one for one in json.loads(result.stdout)["asked"]}
    assert asked["team/pagerduty"]["result"] == "refused"
    assert asked["cluster sample"]["result"] == "refused"
    assert "holds no must-gather" in asked["cluster sample"]["detail"]


def test_the_own_cluster_outside_a_pod_is_skipped(run: Run, tmp_path: Path, pagerduty: str) -> None:
    (tmp_path / "good").write_text("g" * 32)
    file = _online(tmp_path, "[{name: local}]", team=f"{{routing_key_file: good, url: '{pagerduty}'}}")

    result = run("check", file, "--online")

    assert result.exit_code == 0
    assert re.search(r"^– cluster local: skipped: not in a pod", result.stdout, re.MULTILINE)


# --- config schema ---


def test_the_schema_takes_the_shipped_file_and_refuses_a_misspelt_key(run: Run) -> None:
    result = run("config", "schema")
    schema = json.loads(result.stdout)
    shipped = yaml.safe_load((ROOT / "routes.yaml").read_text())

    assert result.exit_code == 0
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(shipped, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**shipped, "receiver": []}, schema)


def test_the_schema_of_an_included_file_is_one_of_its_own(run: Run) -> None:
    result = run("config", "schema", "--include")
    schema = json.loads(result.stdout)

    assert result.exit_code == 0
    assert set(schema["properties"]) == {"receivers", "routes", "runbooks", "time_intervals"}
    assert "slack_configs" in schema["$defs"]["receiver"]["properties"]
