"""`check --online` at the fake vendors, API server and Alertmanager: what is missing is named with what cures it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from typer.testing import CliRunner

from receiver.__main__ import app
from receiver.kube.rights import NAMESPACES, RIGHTS
from tests.acceptance.harness import routes_yaml
from tests.acceptance.plans import CLUSTER, cluster
from tests.fakes import faults
from tests.fakes.faults import Fault, Reply
from tests.fakes.kubernetes import KubernetesApi
from tests.fakes.server import serve
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

SLACK = "- name: team\n  slack_configs: [{channel: '#team', app_token_file: slack-token, app_url: '$SLACK'}]\n"
AUTH = "http_config: {basic_auth: {username: bot@example.com, password_file: jira-token}}"
JIRA = f"- name: team\n  jira_configs: [{{api_url: '$JIRA', project: MIG, issue_type: Bug, {AUTH}}}]\n"
PAGER = "- name: team\n  pagerduty_configs: [{routing_key_file: routing-key, url: '$PAGERDUTY'}]\n"
NOWHERE = "http://127.0.0.1:9"
LOGS_RULE = '- {apiGroups: [""], resources: [pods/log], verbs: [get]}'


def config(vendors: FakeVendors, folder: Path, receivers: str = PAGER, top: str = "clusters: []") -> Path:
    return routes_yaml(vendors, folder, top=top, receivers=receivers, route="{receiver: team}")


async def check(file: Path, *words: str, **environment: str) -> Result:
    """Run the command as a person does, while the fakes answer."""
    env = {"COLUMNS": "80", **environment}
    return await asyncio.to_thread(CliRunner().invoke, app, ["check", str(file), "--online", *words], env=env)


async def lines(file: Path, code: int) -> list[str]:
    """Return the lines that a pipe gets."""
    result = await check(file)
    assert result.exit_code == code, result.output
    return result.stdout.splitlines()[2:]


async def table(file: Path) -> str:
    """Return what a terminal of 80 columns shows, without colours."""
    return (await check(file, FORCE_COLOR="1", TERM="dumb")).stdout


async def asked(file: Path) -> dict[str, dict[str, str]]:
    """Return `--json`: what was asked → its answer (the last one)."""
    found = json.loads((await check(file, "--json")).stdout)["asked"]
    return {one["what"]: one for one in found}


# --- destinations ---


def scopes(names: str) -> Fault:
    """Slack's answer to `auth.test` with the header that tells the token's scopes."""
    reply = Reply.json(200, {"ok": True, "team": "T", "user": "bot"})
    return Fault("scopes", "no", reply=Reply(200, reply.body, {**reply.headers, "x-oauth-scopes": names}))


def missing_scope(needed: str) -> Fault:
    """Slack's refusal of a method that the token has no scope for."""
    body = {"ok": False, "error": "missing_scope", "needed": needed, "provided": "chat:write"}
    return Fault("missing_scope", "no", reply=Reply.json(200, body))


@pytest.mark.parametrize(
    ("on", "fault", "says", "cure"),
    [
        ("auth.test", faults.slack_error("invalid_auth"), "invalid_auth", "renew its token"),
        ("auth.test", scopes("channels:read"), "missing scope chat:write: nothing can be posted", "add the scope"),
        ("conversations.history", missing_scope("channels:history"), "missing scope channels:history", "add the scope"),
        ("conversations.history", faults.slack_error("not_in_channel"), "not_in_channel", "/invite @app"),
        ("conversations.history", faults.slack_error("channel_not_found"), "channel_not_found", "correct the channel"),
    ],
)
async def test_what_slack_lacks_is_refused_with_its_cure(
    tmp_path: Path, on: str, fault: Fault, says: str, cure: str
) -> None:
    async with FakeVendors(slack_channels=["team"]) as vendors:
        vendors.fail("slack", fault, on=on, always=True)
        said = await lines(config(vendors, tmp_path, SLACK), code=1)
    (line,) = [one for one in said if says in one]
    assert line.startswith("✗ team/slack: refused: ")
    assert cure in line.partition("; ")[2]
    assert "xoxb-test" not in line


async def test_a_channel_that_nobody_made_is_named(tmp_path: Path) -> None:
    async with FakeVendors(slack_channels=["other"]) as vendors:
        (line,) = await lines(config(vendors, tmp_path, SLACK), code=1)
        assert "no channel #team among those the app sees" in line
        assert not vendors.slack_messages()


async def test_a_wrong_project_is_refused_and_the_right_one_is_good(tmp_path: Path) -> None:
    async with FakeVendors(jira_projects=["MIG"]) as vendors:
        good = await asked(config(vendors, tmp_path, JIRA))
        (line,) = await lines(config(vendors, tmp_path, JIRA.replace("project: MIG", "project: MGI")), code=1)
        assert good["team/jira"]["result"] == "good"
        assert line.startswith("✗ team/jira: refused: ")
        assert "MGI" in line
        assert "correct the URL or the project" in line
        assert not vendors.jira_issues()


async def test_a_permission_that_jira_does_not_grant_is_named_with_what_it_is_for(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        vendors.sandbox.jira.denied = {"TRANSITION_ISSUES"}
        (line,) = await lines(config(vendors, tmp_path, JIRA), code=1)
    assert "permission TRANSITION_ISSUES is not granted in project MIG (needed to close and reopen)" in line


async def test_nothing_is_posted_opened_or_created_by_asking(tmp_path: Path) -> None:
    every = SLACK + JIRA.partition("\n")[2] + PAGER.partition("\n")[2]
    async with FakeVendors() as vendors:
        said = await lines(config(vendors, tmp_path, every), code=0)
        assert said == ["✓ team/slack: good", "✓ team/jira: good", "✓ team/pagerduty: good"]
        assert not vendors.slack_messages()
        assert not vendors.incidents()
        assert not vendors.jira_issues()
        assert {one.method for one in vendors.seen("jira")} <= {"GET"} or not vendors.seen("jira", "POST issue")


async def test_a_vendor_that_is_away_was_not_asked_which_is_no_refusal(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        file = config(vendors, tmp_path, SLACK)
        async with vendors.away():
            (line,) = await lines(file, code=3)
    assert line.startswith("? team/slack: not asked: ")
    assert line.endswith("check its address, the proxy and the firewall between")


# --- clusters ---


async def test_a_right_that_is_missing_is_named_with_the_rule_to_add(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        api.forbidden = {("get", "pods/log")}
        file = config(vendors, tmp_path, top=CLUSTER)
        said = await lines(file, code=1)
        as_json = await asked(file)
        shown = await table(file)
    (line,) = [one for one in said if one.startswith("✗")]
    assert line == (
        "✗ rights in cluster local: refused: forbidden, needs get pods/log (for: the lines that tell why); "
        f"add to its ClusterRole: {LOGS_RULE}"
    )
    assert as_json["cluster local"]["result"] == "good"
    assert as_json["rights in cluster local"]["rule"] == LOGS_RULE
    assert f"\nAdd to the ClusterRole:\n  {LOGS_RULE}\n" in shown  # whole, to be copied


async def test_all_rights_are_one_line_and_asking_changes_nothing(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        said = await lines(config(vendors, tmp_path, top=CLUSTER), code=0)
        verbs = {one.verb for one in api.asked if "selfsubjectaccessreviews" not in one.path}
    assert f"✓ rights in cluster local: good: all {len({one.name for one in RIGHTS})}" in said
    assert verbs <= {"get", "list"}


async def test_rights_that_only_some_clusters_need_are_told_and_are_no_problem(tmp_path: Path) -> None:
    optional = {(right.verb, right.name.partition(" ")[2]) for right in RIGHTS if "autopilot" in right.optional}
    needed = {(right.verb, right.name.partition(" ")[2]) for right in RIGHTS if not right.optional}
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        api.forbidden = optional - needed
        said = await lines(config(vendors, tmp_path, top=CLUSTER), code=0)
    left = [one for one in said if one.startswith("– rights in cluster local: skipped: ")]
    assert left
    assert all("not granted, and needed only where" in one for one in left)


@pytest.mark.parametrize("asked", ["local", "east"])
async def test_the_right_to_ask_who_may_see_what_is_needed_where_visibility_asks(tmp_path: Path, asked: str) -> None:
    proxy = "{header: X-Forwarded-User, trusted_proxies: [10.1.2.3]}"
    visibility = f"{{by: access_review, admin_users: ana, cluster: {asked}}}"
    two = CLUSTER.replace("]", """, {name: east, kubeconfig_file: kubeconfig, matchers: ['cluster="east"']}]""")
    web = f"web:\n  page_auth: {{proxy_header: {proxy}}}\n  visibility: {visibility}"
    rule = "- {apiGroups: [authorization.k8s.io], resources: [subjectaccessreviews], verbs: [create]}"
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        file = config(vendors, tmp_path, top=f"{two}\n{web}")
        good = await lines(file, code=0)
        api.forbidden = {("create", "subjectaccessreviews.authorization.k8s.io")}
        said = await lines(file, code=1)
    every = len({one.name for one in RIGHTS})
    counts = {"local": every, "east": every} | {asked: every + 1}
    for name, count in counts.items():
        assert f"✓ rights in cluster {name}: good: all {count}" in good
    assert [one for one in said if "✗" in one] == [
        f"✗ rights in cluster {asked}: refused: forbidden, needs create subjectaccessreviews.authorization.k8s.io "
        f"(for: who may see which stories); add to its ClusterRole: {rule}"
    ]


async def test_the_rights_of_namespace_routing_are_needed_where_it_is_set(tmp_path: Path) -> None:
    top = f"{CLUSTER}\nnamespace_routing: {{allow: {{receivers: ['*']}}}}"
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        file = config(vendors, tmp_path, top=top)
        good = await lines(file, code=0)
        api.forbidden = {("create", "events"), ("list", "configmaps")}
        said = await lines(file, code=1)
    assert f"✓ rights in cluster local: good: all {len({one.name for one in (*RIGHTS, *NAMESPACES)})}" in good
    refused = [one.partition("needs ")[2].partition(" (for")[0] for one in said if "✗" in one]
    assert refused == ["list configmaps", "create events"]
    assert not any("skipped" in one and "configmaps" in one for one in said), "what is needed is not optional as well"


def refused_token(api: KubernetesApi) -> None:
    api.tokens = {"another"}


def broken_reviews(api: KubernetesApi) -> None:
    api.forbidden = {("create", "selfsubjectaccessreviews.authorization.k8s.io")}


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (refused_token, "✗ cluster local: refused: .*; renew the credentials of this cluster"),
        (broken_reviews, "✗ rights in cluster local: refused: .*selfsubjectaccessreviews.*; give the account"),
    ],
)
async def test_a_cluster_that_refuses_is_a_problem(tmp_path: Path, damage: Any, says: str) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        damage(api)
        said = await lines(config(vendors, tmp_path, top=CLUSTER), code=1)
    assert any(re.match(says, one) for one in said), said


async def test_a_cluster_that_is_away_was_not_asked(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path, up=False):
        said = await lines(config(vendors, tmp_path, top=CLUSTER), code=3)
    (line,) = [one for one in said if "cluster local" in one]
    assert line.startswith("? cluster local: not asked: ")


# --- Alertmanagers ---


@contextlib.asynccontextmanager
async def alertmanager(answer: Response) -> AsyncIterator[str]:
    """Serve an Alertmanager that knows its status only."""

    async def status(_: Request) -> Response:
        return answer

    async with serve(Starlette(routes=[Route("/api/v2/status", status)])) as url:
        yield url


GOOD = JSONResponse({"cluster": {"status": "ready"}, "versionInfo": {"version": "0.28.1"}, "config": {"original": ""}})


@pytest.mark.past_proxy("tells the address as it is written")
@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (GOOD, 0, "✓ alertmanager main at {host}: good: 0.28.1"),
        (Response("no", 503), 3, "? alertmanager main at {host}: not asked: HTTP 503; ask again when it runs well"),
        (Response("who?", 401), 1, "✗ alertmanager main at {host}: refused: HTTP 401; correct url or http_config"),
        (Response("<html>", 200), 1, "✗ alertmanager main at {host}: refused: the answer is no status of an"),
    ],
    ids=["good", "out of order", "unauthorized", "a web page"],
)
async def test_an_alertmanager_is_asked_for_its_status(tmp_path: Path, answer: Response, code: int, says: str) -> None:
    async with FakeVendors() as vendors, alertmanager(answer) as url:
        top = f"clusters: []\nalertmanagers: [{{name: main, url: '{url}'}}]"
        line = (await lines(config(vendors, tmp_path, top=top), code=code))[-1]
    assert line.startswith(says.format(host=url.removeprefix("http://")))


@pytest.mark.past_proxy("tells the address as it is written")
async def test_each_peer_of_an_alertmanager_is_asked_and_one_that_is_away_is_named(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, alertmanager(GOOD) as url:
        top = f"clusters: []\nalertmanagers: [{{name: main, url: '{url}', peers: ['{NOWHERE}']}}]"
        *_, good, away = await lines(config(vendors, tmp_path, top=top), code=3)
    assert good.startswith("✓ alertmanager main at 127.0.0.1:")
    assert away.startswith("? alertmanager main at 127.0.0.1:9: not asked: no answer")


# --- how it is told ---


async def test_a_terminal_gets_a_table_within_its_columns_and_json_holds_the_same(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        vendors.fail("slack", faults.slack_error("invalid_auth"), on="auth.test", always=True)
        api.forbidden = {("get", "pods/log"), ("list", "events")}
        file = config(vendors, tmp_path, SLACK, CLUSTER)
        shown, as_json = await table(file), await asked(file)
    below = shown.partition("\nAdd to the ClusterRole:\n")[2]
    head, *rows = shown.partition("\nAdd to the ClusterRole:\n")[0].splitlines()[2:]
    assert head.split() == ["ASKED", "ANSWER", "DETAIL"]
    assert all(len(row) <= 80 for row in rows)
    assert len(below.splitlines()) == 2
    assert set(as_json["team/slack"]) == {"what", "result", "detail", "cure", "rule"}
    for what, one in as_json.items():
        assert any(what in row and one["result"] in row for row in rows), what


async def test_what_is_broken_in_the_file_is_told_first_and_nobody_is_asked(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        file = config(vendors, tmp_path, SLACK)
        file.write_text(file.read_text().replace("{receiver: team}", "{receiver: tam}"))
        result = await check(file)
        assert result.exit_code == 1
        assert "did you mean team?" in result.stdout
        assert not vendors.requests
