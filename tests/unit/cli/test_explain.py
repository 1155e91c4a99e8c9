"""`explain`: offline, from an alert's labels to every message."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from receiver.fingerprint import fingerprint
from tests.odd_bodies import alert, body
from tests.unit.cli.conftest import Run, one_line_with_a_cure

SANDBOX = "examples/sandbox/routes.yaml"
FAILED = "examples/alerts/erp-wave1-failed.json"
AT = "2026-09-14T08:31:00Z"

ROUTES = """
clusters: []
receivers:
  - name: platform
    slack_configs: [{channel: '#platform', app_token_env: SLACK}]
    pagerduty_configs: [{routing_key_env: PD}]
  - name: team
    slack_configs: [{channel: '#team', app_token_env: SLACK}]
  - name: windows
    pagerduty_configs: [{routing_key_env: PD_WINDOWS}]
route:
  receiver: platform
  routes:
    - matchers: ['team="a"']
      receiver: team
      mute_time_intervals: [nights]
    - matchers: ['cause="windows-fast-startup"']
      receiver: windows
    - matchers: ['alertname="MigrationSucceeded"', 'plan_name="told"']
      receiver: [team, platform]
      notify_success: true
time_intervals:
  - name: nights
    time_intervals: [{times: [{start_time: '20:00', end_time: '24:00'}]}]
"""


@pytest.fixture
def routes(tmp_path: Path) -> Path:
    file = tmp_path / "routes.yaml"
    file.write_text(ROUTES)
    return file


def explained(run: Run, *words: object, **more: Any) -> list[dict[str, Any]]:
    """Return the alerts of `explain --json`."""
    result = run("explain", *words, "--json", **more)
    assert result.exit_code == 0, result.stderr
    alerts: list[dict[str, Any]] = json.loads(result.stdout)["alerts"]
    return alerts


def test_the_public_form_has_every_key(run: Run) -> None:
    (one,) = explained(run, FAILED, "-c", SANDBOX, "--at", AT)

    assert set(one) == {"fingerprint", "subject", "facts", "missing", "routes", "destinations"}
    assert one["fingerprint"] == "c962fe68e22a26b3"
    assert one["subject"] == "plan/3f0c3d0e-6c55-4f0a-9c1b-0a7a5a2e41d1"
    assert one["facts"]["owner_namespace"] == "mig-team-a"
    assert one["facts"]["cause"] == "windows-fast-startup"
    assert one["routes"][0]["path"] == "route"
    assert one["routes"][0]["matched"] is False
    assert one["routes"][1] == {
        "path": "route.routes[0]",
        "line": "routes.yaml:40",
        "matched": True,
        "reason": "namespace mig-team-a matches mig-team-a",
    }
    assert [(each["receiver"], each["kind"], each["state"]) for each in one["destinations"]] == [
        ("erp-team", "slack", "told"),
        ("erp-team", "pagerduty", "told"),
        ("erp-team", "jira", "told"),
    ]
    assert all("routes.yaml:40" in each["reason"] for each in one["destinations"])


def test_the_requests_are_those_that_would_be_sent_with_evidence_and_without_secrets(run: Run) -> None:
    (one,) = explained(run, FAILED, "-c", SANDBOX, "--at", AT)

    slack, pagerduty, jira = (each["request"] for each in one["destinations"])
    assert slack["channel"] == "#erp-migrations"
    assert "erp-win01" in json.dumps(slack["blocks"])
    assert pagerduty["event_action"] == "trigger"
    assert pagerduty["payload"]["severity"] == "critical"
    assert jira["fields"]["project"] == {"key": "MIG"}
    assert "routing_key" not in pagerduty
    for file in Path("examples/sandbox/secrets").iterdir():
        assert file.read_text().strip() not in json.dumps(one)


def test_the_same_alert_at_the_same_time_is_explained_in_the_same_words(run: Run) -> None:
    assert explained(run, FAILED, "-c", SANDBOX, "--at", AT) == explained(run, FAILED, "-c", SANDBOX, "--at", AT)


def test_a_message_names_who_else_is_told(run: Run) -> None:
    text = run("explain", FAILED, "-c", SANDBOX, "--at", AT).stdout

    assert "Told: erp-team/slack, erp-team/pagerduty, erp-team/jira" in " ".join(text.split())


@pytest.mark.parametrize("columns", [80, 120])
def test_people_see_the_verdicts_and_the_message_within_their_columns(run: Run, columns: int) -> None:
    text = run("explain", FAILED, "-c", SANDBOX, "--at", AT, columns=columns).stdout
    head, _, message = text.partition("erp-team/slack, erp-team/pagerduty ──")

    assert "MigrationFailed  firing" in head
    assert "✗  route " in head
    assert "✓  route.routes[0]  namespace mig-team-a matches mig-team-a" in head
    assert "✓  erp-team/jira " in head
    assert all(len(line) <= columns for line in head.splitlines())
    assert "Fast Startup" in message


# --- forms of input ---


@pytest.mark.parametrize(
    "document",
    [
        alert(),
        [alert()],
        [alert(status={"state": "active", "silencedBy": [], "inhibitedBy": []}, endsAt="2026-11-21T08:05:00Z")],
        [alert(status={"state": "suppressed"})],
        alert(status=...),
        {"version": "4", "alerts": [alert()]},
    ],
    ids=["one alert", "a list", "the API's list", "the API's silenced", "without status", "a webhook"],
)
def test_every_form_of_an_alert_is_the_same_alert(run: Run, routes: Path, document: Any) -> None:
    (one,) = explained(run, "-", "-c", routes, stdin=json.dumps(document).encode())

    assert one["fingerprint"] == fingerprint({"alertname": "Odd", "severity": "warning"})
    assert {each["state"] for each in one["destinations"]} == {"told"}


def test_the_captured_answer_of_the_api_is_read(run: Run, routes: Path) -> None:
    found = explained(run, "tests/data/alertmanager/api-v2-alerts.json", "-c", routes)

    assert [one["fingerprint"] for one in found] == ["809ce73d6897ebd1", "f8320fb547ceb1dd"]


def test_several_files_are_explained_in_their_order(run: Run) -> None:
    files = ("examples/alerts/erp-wave1-brief.json", FAILED)

    found = explained(run, *files, "-c", SANDBOX)

    assert [one["fingerprint"] for one in found] == ["c2a4c21fcb87686c", "c962fe68e22a26b3"]
    assert len({one["subject"] for one in found}) == 1


def test_an_odd_alert_is_named_and_the_others_are_explained(run: Run, routes: Path) -> None:
    result = run("explain", "-", "-c", routes, "--json", stdin=body(alert(), None))

    assert result.exit_code == 0
    assert len(json.loads(result.stdout)["alerts"]) == 1
    assert result.stderr == "standard input: alerts[1] left out: missing, not an object\n"


def test_a_body_without_alerts_tells_nobody(run: Run, routes: Path) -> None:
    assert "nobody would be told" in run("explain", "-", "-c", routes, stdin=body()).stdout


# --- states ---


def test_a_muted_destination_says_until_when_and_shows_what_it_will_send(run: Run, routes: Path) -> None:
    document = json.dumps(alert(labels={"alertname": "Odd", "team": "a"})).encode()

    (night,) = explained(run, "-", "-c", routes, "--at", "2026-11-21T22:30:00Z", stdin=document)
    (noon,) = explained(run, "-", "-c", routes, "--at", "2026-11-21T13:30:00+01:00", stdin=document)

    assert [each["state"] for each in noon["destinations"]] == ["told"]
    (held,) = night["destinations"]
    assert held["state"] == "muted"
    assert held["reason"].endswith("held back by nights until 2026-11-22 00:00 UTC")
    assert held["request"]["channel"] == "#team"


def test_a_resolved_alert_tells_nobody_anew(run: Run) -> None:
    (one,) = explained(run, "examples/alerts/erp-wave1-resolved.json", "-c", SANDBOX)

    assert {each["state"] for each in one["destinations"]} == {"not told"}
    assert {each["request"] for each in one["destinations"]} == {None}
    assert one["destinations"][0]["reason"].startswith("resolved:")


def test_a_success_is_told_only_under_notify_success_and_only_to_chat(run: Run, routes: Path) -> None:
    def success(name: str) -> list[tuple[str, str, bool]]:
        labels = {"alertname": "MigrationSucceeded", "plan": "1-2-3", "plan_name": name, "severity": "info"}
        (one,) = explained(run, "-", "-c", routes, stdin=json.dumps(alert(labels=labels)).encode())
        return [(each["kind"], each["state"], bool(each["request"])) for each in one["destinations"]]

    assert success("told") == [
        ("slack", "told", True),
        ("slack", "told", True),
        ("pagerduty", "not told", False),
    ]
    assert success("other") == [("slack", "not told", False), ("pagerduty", "not told", False)]


def test_a_route_on_the_cause_adds_to_who_was_told_before_the_cause_was_known(run: Run, routes: Path) -> None:
    (one,) = explained(run, FAILED, "-c", routes, "--must-gather", "examples/must-gather", "--at", AT)

    told = {(each["receiver"], each["kind"]): each["reason"] for each in one["destinations"]}
    assert set(told) == {("platform", "slack"), ("platform", "pagerduty"), ("windows", "pagerduty")}
    assert told["platform", "slack"].startswith("told before the evidence was there: ")
    assert told["windows", "pagerduty"].startswith('cause="windows-fast-startup"')


# --- must-gathers ---


def test_without_any_cluster_the_namespace_is_said_to_be_unknown(run: Run, routes: Path) -> None:
    (one,) = explained(run, FAILED, "-c", routes)

    assert one["missing"] == ["namespace unknown: no cluster is configured"]
    assert "owner_namespace" not in one["facts"]


def test_a_must_gather_stands_in_for_every_cluster(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(
        ROUTES.replace(
            "clusters: []",
            "clusters: [{name: local}, {name: east, matchers: ['cluster=\"east\"'], kubeconfig_file: no-such-file}]",
        )
    )
    document = json.loads(Path(FAILED).read_text())
    document["alerts"][0]["labels"]["cluster"] = "east"
    raw = json.dumps(document).encode()

    (local,) = explained(run, FAILED, "-c", file, "--must-gather", "examples/must-gather")
    (east,) = explained(run, "-", "-c", file, "--must-gather", "examples/must-gather", stdin=raw)

    assert local["facts"]["cluster"] == "local"
    assert east["facts"]["cluster"] == "east"
    assert local["facts"]["plan_namespace"] == east["facts"]["plan_namespace"] == "mig-team-a"


def test_an_archive_is_as_good_as_its_folder(run: Run, routes: Path, tmp_path: Path) -> None:
    archive = tmp_path / "must-gather.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add("examples/must-gather", "must-gather")

    words = (FAILED, "-c", routes, "--at", AT, "--must-gather")
    assert explained(run, *words, archive) == explained(run, *words, "examples/must-gather")


def test_a_plan_named_by_its_uid_alone_is_found_in_a_must_gather(run: Run, routes: Path) -> None:
    labels = {"alertname": "MigrationFailed", "plan": "3f0c3d0e-6c55-4f0a-9c1b-0a7a5a2e41d1"}

    (one,) = explained(
        run, "-", "-c", routes, "--must-gather", "examples/must-gather", stdin=json.dumps(alert(labels=labels)).encode()
    )

    assert one["facts"]["plan_name"] == "erp-wave1"


# --- --expect ---


def test_expect_is_content_with_exactly_these_receivers(run: Run) -> None:
    result = run("explain", FAILED, "examples/alerts/erp-wave1-resolved.json", "-c", SANDBOX, "--expect", "erp-team")

    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize("expected", ["platform", "erp-team,platform", ""])
def test_expect_exits_1_and_says_what_came_instead(run: Run, expected: str) -> None:
    result = run("explain", FAILED, "-c", SANDBOX, "--expect", expected)

    assert result.exit_code == 1
    wanted = ", ".join(sorted(expected.split(","))) or "nobody"
    assert result.stderr == f"MigrationFailed c962fe68e22a26b3: expected {wanted}, got erp-team\n"


def test_expect_knows_a_success_that_nobody_hears_of(run: Run, routes: Path) -> None:
    raw = json.dumps(alert(labels={"alertname": "MigrationSucceeded", "plan": "1-2"})).encode()

    assert run("explain", "-", "-c", routes, "--expect", "", stdin=raw).exit_code == 0


def test_expect_names_every_receiver_of_a_list_even_where_destinations_are_shared(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(
        "clusters: []\nreceivers:\n"
        "  - {name: one, pagerduty_configs: [{routing_key_env: SAME}]}\n"
        "  - {name: two, pagerduty_configs: [{routing_key_env: SAME}]}\n"
        "route: {receiver: [one, two]}\n"
    )

    result = run("explain", "-", "-c", file, "--expect", "two,one", stdin=json.dumps(alert()).encode())

    assert result.exit_code == 0, result.stderr


# --- what can be wrong ---


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("no-such-file.json", "-c", SANDBOX), 2, "no-such-file.json: cannot be read"),
        (("examples", "-c", SANDBOX), 2, "examples: cannot be read"),
        (("pyproject.toml", "-c", SANDBOX), 2, "pyproject.toml: no JSON at line 1"),
        (("tests/data/alertmanager/api-v2-status.json", "-c", SANDBOX), 2, "none of the known forms"),
        ((FAILED, "-c", SANDBOX, "--at", "yesterday"), 2, "--at yesterday: no time with a zone"),
        ((FAILED, "-c", SANDBOX, "--at", "2026-09-14T08:31:00"), 2, "no time with a zone"),
        ((FAILED, "-c", SANDBOX, "--expect", "erp"), 2, "--expect: no receiver is called erp"),
        ((FAILED, "-c", SANDBOX, "--must-gather", "docs"), 3, "docs holds no must-gather"),
        ((FAILED, "-c", SANDBOX, "--must-gather", "no-such-dir"), 3, "no-such-dir does not exist"),
        ((FAILED, "-c", "no-such-file.yaml"), 1, "no-such-file.yaml:1:1: cannot be read"),
        ((FAILED, "-c", "tests/configs/tab-indentation.yaml"), 1, "tests/configs/tab-indentation.yaml:"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_a_cure(run: Run, words: Any, code: int, says: str) -> None:
    result = run("explain", *words)

    assert result.exit_code == code
    assert says in result.stderr
    assert one_line_with_a_cure(result.stderr)
    assert result.stdout == ""


def test_a_template_that_breaks_is_said_and_the_plain_message_shown(run: Run, routes: Path, tmp_path: Path) -> None:
    (tmp_path / "own" / "alert").mkdir(parents=True)
    (tmp_path / "own" / "alert" / "title.j2").write_text("{{ 1 / 0 }}")
    routes.write_text(ROUTES + "templates: own\n")

    result = run("explain", "-", "-c", routes, stdin=json.dumps(alert()).encode())

    assert result.exit_code == 0
    assert "shown in the plain form" in result.stderr
    assert io.StringIO(result.stdout).readline().startswith("Odd  firing")


def test_a_must_gather_that_is_none_is_said_once_with_one_cure(run: Run) -> None:
    result = run("explain", FAILED, "-c", SANDBOX, "--must-gather", "nope")

    assert result.exit_code == 3
    assert result.stderr == (
        "must-gather sample: nope does not exist; give the folder or the .tar.gz that `oc adm must-gather` left\n"
    )
