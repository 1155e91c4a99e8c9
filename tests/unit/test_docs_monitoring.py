"""docs/monitoring-and-alerting.md: its tables are those of the code, its commands work, its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from receiver import metrics
from receiver.arrivals import EARLIER_ALERT
from receiver.config.load import load
from receiver.config.model import CAPACITY_SHORT, OWN_ALERTS
from receiver.destinations.registry import ALL
from receiver.doctor.rounds import ALERT as CHAIN_BROKEN
from receiver.doctor.rounds import IN_A_ROW
from receiver.enrichers.shelf import ALIASES
from receiver.heartbeat import NO_HEARTBEAT, NO_WEBHOOK
from receiver.metrics import Metrics
from receiver.model import Impact
from receiver.shifts import ALERT as HANDOVER
from receiver.watch_rules import NOT_READY, STUCK, VM_FAILED, Failing, Notice, Standing, judge
from tests.servers import need
from tests.unit.test_watch_alerts import AT, FAILED, LOCAL, ONE, RUNNING, row

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "monitoring-and-alerting.md"
TEXT = PAGE.read_text(encoding="utf-8")
RUNBOOKS = ROOT / "docs" / "runbooks"
BOOKS = sorted(file.stem for file in RUNBOOKS.glob("*.md") if file.stem != "README")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CLUSTER = "# (needs a cluster)\n"

Row = list[str]


def section(heading: str, text: str = TEXT) -> str:
    """Return what stands below a heading, up to the next one of its kind or above."""
    level = heading.partition(" ")[0]
    found = text.partition(f"\n{heading}\n")[2]
    assert found, heading
    return re.split(rf"^#{{1,{len(level)}}} ", found, maxsplit=1, flags=re.MULTILINE)[0]


def rows(heading: str, text: str = TEXT) -> dict[str, Row]:
    """Return the rows of the first table below a heading, by what their first cell names."""
    table = re.search(r"^\|.*?(?=^(?!\|)|\Z)", section(heading, text), re.MULTILINE | re.DOTALL)
    assert table, heading
    cells = [[one.strip() for one in line.strip().strip("|").split(" | ")] for line in table[0].splitlines()]
    assert all(len(line) == len(cells[0]) for line in cells[2:]), heading
    return {line[0].strip("` "): line for line in cells[2:]}


def coded(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def runbook(cell: str) -> str:
    """Return the alert whose runbook a cell links to."""
    books = [link for link in LINK.findall(cell) if link.startswith("runbooks/")]
    assert len(books) == 1, cell
    assert (PAGE.parent / books[0]).is_file(), cell
    return Path(books[0]).stem


def fences(language: str) -> list[str]:
    return [body for kind, body in FENCE.findall(TEXT) if kind == language]


def the_yaml(name: str) -> str:
    """Return the file that a block says it is, by its first line."""
    found = [body for body in fences("yaml") if body.startswith(f"# {name}\n")]
    assert len(found) == 1, name
    return found[0]


# --- alerts ---


def rules() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for file in sorted((ROOT / "deploy").rglob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            if document and document.get("kind") == "PrometheusRule":
                every = (rule for group in document["spec"]["groups"] for rule in group["rules"])
                found |= {rule["alert"]: rule for rule in every if "alert" in rule}
    return found


def test_every_rule_that_is_shipped_has_its_row() -> None:
    itself, optional = rows("### About mtv-receiver itself"), rows("### Optional: the brief's name, with the owner")
    shipped = rules()
    assert list(itself) == [name for name in shipped if name.startswith("MTVReceiver")]
    assert list(optional) == [name for name in shipped if not name.startswith("MTVReceiver")]
    for name, (_, expression, labels, severity, todo) in (itself | optional).items():
        rule = shipped[name]
        assert expression == f"`{' '.join(rule['expr'].split())}`, {rule.get('for', '0')}", name
        assert severity == rule["labels"]["severity"], name
        assert runbook(todo) == name
        if name in itself:
            assert set(coded(labels)) == set(re.findall(r"by \((\w+)\)", rule["expr"])), name


def raised() -> dict[str, set[str]]:
    """Return the severities that our own alerts about plans have."""
    notice = Notice("it waits", "for a node")
    down = Failing(ONE.run, 1, 20, ONE.names, ONE.step, Impact.DOWN)
    alerts = [
        *judge(Standing((), RUNNING, ONE, read=True), LOCAL, AT, OWN_ALERTS),
        *judge(Standing((), RUNNING, down, read=True), LOCAL, AT, OWN_ALERTS),
        *judge(Standing((), RUNNING, notices={STUCK: notice, CAPACITY_SHORT: notice}), LOCAL, AT, OWN_ALERTS),
        *judge(Standing((), row(ready=False), notices={NOT_READY: notice}), LOCAL, AT, OWN_ALERTS),
        *judge(Standing((), FAILED, unalerted=True), LOCAL, AT, OWN_ALERTS),
    ]
    assert all(alert.labels.keys() == {"alertname", "severity", "plan", "plan_name"} for alert in alerts)
    found: dict[str, set[str]] = {}
    for alert in alerts:
        found.setdefault(alert.name, set()).add(alert.labels["severity"])
    assert set(found) == set(OWN_ALERTS)
    return found


def test_every_alert_that_we_raise_has_its_row() -> None:
    shown = rows("### Raised by mtv-receiver")
    assert list(shown) == [*OWN_ALERTS, EARLIER_ALERT]
    severities = raised()
    assert severities[VM_FAILED] == {"warning", "critical"}
    for name, (_, _, severity, todo) in shown.items():
        said = set(re.findall(r"critical|warning|info", severity))
        assert said == severities.get(name, {"warning"}), name
        assert runbook(todo) == name


def test_alerts_of_autopilot_have_the_names_that_the_shelf_knows() -> None:
    shown = rows("### Of virt-platform-autopilot")
    ours = {new: old for old, new in ALIASES.items() if new.startswith("VirtPlatform")}
    assert set(shown) == set(ours)
    for name, (_, brief, _, severity, _, todo) in shown.items():
        assert coded(brief) in ([], [ours[name]]), name
        assert severity in ("critical", "warning", "info"), name
        assert runbook(todo) == name


def test_forklifts_alerts_lead_to_the_page_that_a_message_links_to() -> None:
    shown = rows("### Of Forklift")
    assert {name: runbook(line[-1]) for name, line in shown.items()} == {
        name: ALIASES.get(name, name) for name in ("MigrationFailed", "MigrationSucceeded")
    }
    assert {line[3] for line in shown.values()} == {"critical", "info"}


def test_every_alert_that_any_module_of_ours_raises_has_its_runbook() -> None:
    known = {*OWN_ALERTS, EARLIER_ALERT, HANDOVER, CHAIN_BROKEN, NO_HEARTBEAT, NO_WEBHOOK}
    assert known <= set(BOOKS)


def test_a_chain_is_said_to_be_broken_as_the_doctor_decides_it() -> None:
    told = section("### Raised by mtv-receiver")
    page = (PAGE.parent / "doctor.md").read_text(encoding="utf-8")
    assert IN_A_ROW == 2
    for text in (told, page):
        assert re.search(r"two looks in a row,\sat\sthe\ssame\slink\sor\sat\sanother", text)


def test_each_link_of_the_doctor_has_its_step() -> None:
    steps = TEXT.partition("\n## When no alert arrives\n")[2].partition("\n## ")[0]
    for each in ("plans.forklift", "mtv_plan_alert_status", "prometheusrule", "ALERTS{", "am alert query",
                 "prometheus_notifications_alertmanagers_discovered", "mtv_receiver_webhooks_total", "stories list",
                 "deliveries list"):  # fmt: skip
        assert each in "".join(body for kind, body in FENCE.findall(steps) if kind == "sh"), each


def test_every_runbook_is_linked() -> None:
    linked = {Path(link).stem for link in LINK.findall(TEXT) if link.startswith("runbooks/")}
    assert linked - {"README"} == set(BOOKS)


# --- runbooks ---


@pytest.mark.parametrize("name", BOOKS)
def test_a_runbook_has_its_four_sections_each_with_something_in_it(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Meaning", "Impact", "Diagnosis", "Mitigation"]
    for part in ("Meaning", "Impact", "Diagnosis", "Mitigation"):
        assert section(f"## {part}", text).strip(), part
    assert "```" in section("## Diagnosis", text)
    for link in LINK.findall(text):
        assert link.startswith("http") or link in BOOKS, f"{link}: served under /runbooks/, so the name of a page"


def test_who_asks_the_service_asks_as_openshift_serves_it() -> None:
    asked = 0
    for file in (PAGE, *sorted(RUNBOOKS.glob("*.md"))):
        lines = file.read_text(encoding="utf-8").splitlines()
        for before, line in pairwise(lines):
            if "curl" in line and ":9095" in line:
                asked += 1
                assert line.startswith("curl -sk https://localhost:9095/"), file
                assert before == "# http:// where it has no TLS of its own", file
    assert asked == 4


@pytest.mark.parametrize("name", OWN_ALERTS)
def test_how_to_switch_an_alert_off_switches_off_no_other(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    assert "`watch.alerts`" in text or "watch: {alerts:" in text
    for kept in re.findall(r"watch: \{alerts: \[([^\]]*)\]", text):
        assert kept.split(", ") == [one for one in OWN_ALERTS if one != name]


# --- metrics ---


def known_metrics() -> set[str]:
    every = Metrics([kind.kind for kind in ALL], ["local"])
    for counter in (every.reconcile_failures, every.reconciled_at):
        counter.labels("main")
    every.reconciled.labels("main", "opened")
    families = list(every.registry.collect())
    return {family.name for family in families} | {sample.name for family in families for sample in family.samples}


def test_metrics_of_ours_that_are_named_exist() -> None:
    named = set(re.findall(rf"\b{metrics.PREFIX}_\w+", TEXT))
    assert len(named) > 10
    assert named - known_metrics() == set()


def test_metrics_of_forklift_that_are_asked_for_are_in_their_table() -> None:
    shown = rows("### Metrics of Forklift")
    ours = "receiver|plan_owner_info"  # the second is kube-state-metrics'
    named = set(re.findall(rf"\b((?:cluster:)?mtv_(?!{ours})\w+(?::\w+)?)", TEXT))
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in named} - set(shown) == set()


def queries() -> Mapping[str, str]:
    asked = {name: line[1] for name, line in rows("### Dashboard").items()}
    return {name: coded(query)[0] for name, query in asked.items()}


def promtool(folder: Path, groups: list[dict[str, Any]]) -> tuple[int, str]:
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}), encoding="utf-8")
    command = [need("promtool", "prometheus"), "check", "rules", "rules.yaml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_prometheus_takes_every_query_and_the_rule(tmp_path: Path) -> None:
    recorded = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries().values())]
    assert len(recorded) > 10
    own = yaml.safe_load(the_yaml("alertingrule.yaml"))["spec"]["groups"]
    code, said = promtool(tmp_path, [{"name": "dashboard", "rules": recorded}, *own])
    assert code == 0, said
    assert promtool(tmp_path, [{"name": "wrong", "rules": [{"record": "a:b", "expr": "sum by ("}]}])[0] != 0


# --- commands and files ---


def commands(text: str = TEXT) -> list[tuple[str, list[str]]]:
    """Return the commands that run offline, each with the lines that it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for body in (body for kind, body in FENCE.findall(text) if kind == "console"):
        for line in body.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def lines_in_order(wanted: list[str], said: list[str]) -> bool:
    """Do the lines follow each other, with anything in place of `…`?"""
    rest = iter(line.rstrip() for line in said)
    gap = False
    for line in wanted:
        if line == "…":
            gap = True
            continue
        if gap:
            if line not in rest:
                return False
        elif next(rest, None) != line:
            return False
        gap = False
    return gap or next(rest, None) is None


@pytest.mark.parametrize(("command", "wanted"), commands())
def test_a_command_says_what_the_page_says(command: str, wanted: list[str]) -> None:
    program, *words = command.split()
    assert program in ("amtool", "mtv-receiver")
    ours = [sys.executable, "-m", "receiver"]
    call = [*ours, *words] if program == "mtv-receiver" else [need("amtool", "prometheus-alertmanager"), *words]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    said = done.stdout if program == "amtool" else done.stdout + done.stderr  # Debian's amtool warns of its own default
    assert lines_in_order(wanted, said.splitlines()), said


def test_every_other_command_says_that_it_needs_a_cluster_and_is_shell() -> None:
    assert {kind for kind, _ in FENCE.findall(TEXT)} == {"text", "sh", "yaml", "console"}
    for body in fences("sh"):
        assert body.startswith(CLUSTER)
        subprocess.run(["bash", "-n"], input=body, text=True, check=True, timeout=10)
    plain = FENCE.sub("", TEXT)
    assert not re.findall(r"`(?:oc|curl|amtool|promtool|kubectl) [^`]*`", plain)


def test_files_in_the_page_are_what_they_say(tmp_path: Path) -> None:
    files = {body.partition("\n")[0]: yaml.safe_load(body) for body in fences("yaml")}
    ours = [part for name, part in files.items() if "routes.yaml" in name]
    assert len(ours) == 2
    for part in ours:
        slack = {"slack_configs": [{"channel": "#x", "app_token_file": "token"}]}
        given = {one["name"]: one for one in part.get("receivers", [])}
        receivers = {name: {"name": name, **slack} for name in ("platform", "payments")} | given
        whole = {"route": {"receiver": "platform"}, **part, "receivers": list(receivers.values())}
        (tmp_path / "routes.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
        assert set(load(tmp_path / "routes.yaml", ALL).receivers) == set(receivers)
    (heart,) = (part for name, part in files.items() if name.startswith("# alertmanager.yaml"))
    whole = yaml.safe_load((ROOT / "deploy/fragments/alertmanager-main.yaml").read_text(encoding="utf-8"))
    assert [route for route in heart if route not in whole["route"]["routes"]] == []
    own = yaml.safe_load(the_yaml("alertmanagerconfig.yaml"))
    assert own["spec"]["route"]["receiver"] in {one["name"] for one in own["spec"]["receivers"]}
    assert own["metadata"]["namespace"] != "openshift-mtv"


# --- links and form ---


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere() -> None:
    for link in LINK.findall(TEXT):
        name, _, anchor = link.partition("#")
        file = PAGE.parent / name if name else PAGE
        assert file.is_file(), link
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), link


def test_what_it_names_in_deploy_is_there() -> None:
    named = set(re.findall(r"\bdeploy/[\w./-]*\w", TEXT))
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_lines_are_short() -> None:
    assert [line for line in TEXT.splitlines() if len(line) > 120 and not line.startswith("|")] == []


def test_the_readme_leads_here() -> None:
    assert "(docs/monitoring-and-alerting.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
