"""`doctor` on ten planted faults: each is named by its link, with its cure, and what merely follows from it is not.

Eight of them stand between the real Prometheus and Alertmanager and the whole service.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from click.testing import Result
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from typer.testing import CliRunner

from receiver.__main__ import app
from receiver.config.load import load
from receiver.config.model import DoctorRules, PrometheusConfig
from receiver.doctor import rounds
from receiver.doctor.prometheus import METRIC
from tests.acceptance import harness
from tests.acceptance.chain import RULES, Exporter
from tests.acceptance.harness import PLAN_UID, Running, routes_yaml, running
from tests.acceptance.plans import cluster, plan, top
from tests.databases import database_of
from tests.fakes import faults
from tests.fakes.kubernetes import KubernetesApi
from tests.fakes.processes import free_port, program
from tests.fakes.server import serve
from tests.fakes.vendors import FakeVendors
from tests.servers import need

pytestmark = pytest.mark.anyio

WITHIN_S = 30.0
TEAM = "- name: team\n  slack_configs: [{channel: '#team', app_token_file: slack-token, app_url: '$SLACK'}]\n"


async def doctor(folder: Path, *words: str, **environment: str) -> Result:
    """Run the command as a person does, while everything else goes on."""
    env = {"COLUMNS": "80", "MTV_RECEIVER_DATABASE_URL": database_of(folder), **environment}
    command = ["doctor", "--config", str(folder / "routes.yaml"), *words]
    return await asyncio.to_thread(CliRunner().invoke, app, command, env=env)


async def asked(folder: Path, *words: str) -> tuple[int, dict[str, Any], dict[str, dict[str, str]]]:
    """Return the exit code, the answer, and the links by id."""
    result = await doctor(folder, "--json", *words)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    start = result.stdout.index("{\n")  # the service beside it logs to the same place here
    found, _ = json.JSONDecoder().raw_decode(result.stdout[start:])
    return result.exit_code, found, {one["id"]: one for one in found["links"]}


# --- a cluster that does not answer, and one that forbids ---


@contextlib.asynccontextmanager
async def alone(folder: Path) -> AsyncIterator[KubernetesApi]:
    """Run an API server with a failed plan, and nothing else."""
    async with FakeVendors() as vendors, cluster(folder) as api:
        await api.apply(plan("Failed"))
        routes_yaml(vendors, folder, top=top())
        yield api


async def test_a_cluster_that_does_not_answer_is_named_and_could_not_be_asked(tmp_path: Path) -> None:
    async with alone(tmp_path) as api:
        await api.down()
        code, found, links = await asked(tmp_path)
    assert code == 3
    assert found["answer"].startswith("Not known at Cluster: cluster local")
    assert links["cluster"]["state"] == "not asked"
    assert "kubectl get --raw /version" in links["cluster"]["cure"]
    assert {links[one]["state"] for one in ("rights", "plan", "metric", "alertmanager")} == {"not looked at"}


async def test_a_missing_right_is_named_with_its_rule(tmp_path: Path) -> None:
    async with alone(tmp_path) as api:
        api.forbidden.add(("get", "pods/log"))
        code, found, links = await asked(tmp_path)
    assert (code, found["broken"]) == (1, "rights")
    assert "get pods/log" in found["answer"]
    assert '- {apiGroups: [""], resources: [pods/log], verbs: [get]}' in links["rights"]["cure"]
    assert links["plan"]["state"] == "good", "it goes on with what it may read"


@pytest.mark.parametrize(
    ("verb", "resource"), [("list", "servicemonitors.monitoring.coreos.com"), ("get", "namespaces")]
)
async def test_what_may_not_be_read_of_forklift_is_said_and_a_label_that_was_read_is_not_advised(
    tmp_path: Path, verb: str, resource: str
) -> None:
    async def nothing(request: Request) -> Response:
        return JSONResponse({"status": "success", "data": {"result": [], "activeTargets": [], "groups": []}})

    labels = {"openshift.io/cluster-monitoring": "true"}
    async with (
        alone(tmp_path) as api,
        serve(Starlette(routes=[Route("/api/v1/{what}", nothing)])) as url,
    ):
        api.also_served = [("monitoring.coreos.com/v1", "ServiceMonitor", "Namespaced")]
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "openshift-mtv", "labels": labels}}
        await api.apply(space)
        api.forbidden.add((verb, resource))
        code, found, links = await asked(tmp_path, "--prometheus", url)
    assert (code, found["broken"]) == (1, "metric")
    assert f"needs {verb} {resource}" in links["metric"]["seen"]
    assert "ClusterRole mtv-receiver-doctor" in links["metric"]["cure"]
    assert ("oc label" in links["metric"]["cure"]) == (resource == "namespaces")


async def test_a_plan_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    async with alone(tmp_path):
        result = await doctor(tmp_path, "--plan", "mig-team-a/nobody")
        wrong = await doctor(tmp_path, "--prometheus", "localhost:9090")
    assert (result.exit_code, wrong.exit_code) == (2, 2)
    assert "no plan mig-team-a/nobody" in result.stderr
    assert "--prometheus: not a URL" in wrong.stderr


async def test_where_nothing_failed_that_is_said_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await api.apply(plan("Succeeded"))
        async with running(routes_yaml(vendors, tmp_path, top=top()), vendors):
            code, found, links = await asked(tmp_path)
    assert code == 0
    assert "no plan has failed" in found["answer"]
    assert links["plan"]["seen"].startswith("none of 1 plan has failed")
    assert links["destinations"]["state"] == "not looked at"


# --- by itself ---


async def test_the_service_looks_by_itself_and_tells_what_stays_broken_until_it_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "LOOK_EVERY_S", 0.1)
    rules: list[dict[str, Any]] = []
    series = {"metric": {"plan": PLAN_UID, "status": "Failed"}, "value": [0, "1"]}
    labels = {"alertname": "MigrationFailed", "plan": PLAN_UID}
    fires = {"type": "alerting", "name": "MigrationFailed", "alerts": [{"labels": labels, "state": "pending"}]}

    async def answer(request: Request) -> Response:
        told: dict[str, Any] = {
            "query": {"result": [series] if request.query_params.get("query") == METRIC else []},
            "rules": {"groups": [{"rules": rules}]},
            "targets": {"activeTargets": [{"labels": {"job": "forklift-metrics"}, "health": "up"}]},
            "alertmanagers": {"activeAlertmanagers": [{"url": "http://there"}]},
        }
        return JSONResponse({"status": "success", "data": told[request.path_params["what"]]})

    async with FakeVendors(slack_channels=["team"]) as vendors, cluster(tmp_path) as api:
        await api.apply(plan("Failed"))
        async with serve(Starlette(routes=[Route("/api/v1/{what}", answer)])) as url:
            # Given past the file: there nobody may ask for it so often.
            often = DoctorRules(PrometheusConfig(url), every_s=0.2)
            monkeypatch.setattr(harness, "load", lambda path, kinds: replace(load(path, kinds), doctor=often))
            head = f"{top()}\nwatch: {{alerts: []}}"
            config = routes_yaml(vendors, tmp_path, top=head, receivers=TEAM, route="{receiver: team}")
            async with running(config, vendors) as service:
                story = await service.until_state("firing")
                await vendors.until(lambda it: bool(it.slack_roots()), 10)
                rules.append(fires)
                await service.until_state("resolved")
    assert story["title"] == "Failed migrations may not be told: broken at Rule"
    assert len(vendors.slack_roots()) == 1


# --- the real programs ---


@dataclass
class Street:
    """Everything between a plan and its messages, with one thing that may be wrong."""

    folder: Path
    service: Running
    vendors: FakeVendors
    exporter: Exporter
    alertmanager: str
    prometheus: str
    http: httpx2.AsyncClient = field(default_factory=lambda: httpx2.AsyncClient(timeout=10, trust_env=False))

    async def until(self, link: str | None, says: str = "") -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
        """Await that the doctor names this link, or (None) that it was told and all is well."""
        code, found, links = -1, {}, {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WITHIN_S):
                while True:
                    code, found, links = await asked(self.folder, "--prometheus", self.prometheus)
                    done = (
                        found["answer"].startswith("Whole: ")
                        if link is None
                        else found["broken"] == link and says in found["answer"]
                    )
                    if done:
                        assert code == (0 if link is None else 1)
                        return found, links
                    await asyncio.sleep(0.5)
        raise AssertionError(f"it says {found.get('answer')!r}: {json.dumps(links, indent=1)}")

    async def holds(self) -> None:
        """Await that Alertmanager holds the plan's alert."""

        async def look() -> bool:
            alerts = (await self.http.get(f"{self.alertmanager}/api/v2/alerts")).json()
            return any(one["labels"]["alertname"] == "MigrationFailed" for one in alerts)

        await self.service.until(look, WITHIN_S)


@contextlib.asynccontextmanager
async def street(
    folder: Path, alertmanager: Mapping[str, Any] | None = None, prometheus: Mapping[str, Any] | None = None,
    *, webhook: str = "", down: bool = False,
) -> AsyncIterator[Street]:  # fmt: skip
    """Run it all, with parts of both configurations replaced; `down`: metrics answer 500."""
    programs = need("prometheus-alertmanager", "prometheus-alertmanager"), need("prometheus", "prometheus")
    exporter, ports = Exporter(), (free_port(), free_port())

    async def metrics(request: Request) -> Response:
        return PlainTextResponse("out of order", 500) if down else await exporter.metrics(request)

    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        vendors = await enter(FakeVendors(slack_channels=["team"]))
        api = await enter(cluster(folder))
        beside = await enter(serve(Starlette(routes=[Route("/metrics", metrics)])))
        head = f"{top()}\nalertmanagers: [{{name: main, url: 'http://127.0.0.1:{ports[0]}'}}]"
        config = routes_yaml(
            vendors,
            folder,
            top=head,
            receivers=TEAM,
            route="{receiver: team}",
        )
        service = await enter(running(config, vendors))
        url = webhook or f"{service.url}/webhook/main"
        receivers = [{"name": "mtv-receiver", "webhook_configs": [{"url": url}]}, {"name": "elsewhere"}]
        timing = {"group_by": ["plan"], "group_wait": "0s", "group_interval": "1s", "repeat_interval": "3s"}
        labels = {"namespace": "openshift-mtv", "service": "forklift-metrics"}
        targets = [{"targets": [beside.removeprefix("http://")], "labels": labels}]
        said = [{"static_configs": [{"targets": [f"127.0.0.1:{ports[0]}"]}]}]
        documents: dict[str, Any] = {
            "rules.yml": RULES,
            "alertmanager.yml": {
                "route": {"receiver": "mtv-receiver", **timing}, "receivers": receivers, **(alertmanager or {}),
            },
            "prometheus.yml": {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": ["rules.yml"],
                "scrape_configs": [{"job_name": "forklift-metrics", "static_configs": targets}],
                "alerting": {"alertmanagers": said},
                **(prometheus or {}),
            },
        }  # fmt: skip
        for name, document in documents.items():
            (folder / name).write_text(yaml.safe_dump(document, sort_keys=False))
        one = await enter(
            program("alertmanager", [
                programs[0], "--config.file=alertmanager.yml", "--storage.path=alertmanager-data",
                f"--web.listen-address=127.0.0.1:{ports[0]}", "--cluster.listen-address=",
            ], ports[0], folder)
        )  # fmt: skip
        other = await enter(
            program("prometheus", [
                programs[1], "--config.file=prometheus.yml", "--storage.tsdb.path=prometheus-data",
                f"--web.listen-address=127.0.0.1:{ports[1]}", "--rules.alert.resend-delay=1s",
            ], ports[1], folder)
        )  # fmt: skip
        it = Street(folder, service, vendors, exporter, one.url, other.url)
        stack.push_async_callback(it.http.aclose)
        await api.apply(plan("Failed"))
        exporter.show("Failed", "ConvertGuest")
        yield it


@pytest.mark.slow
async def test_a_chain_that_is_whole_names_who_was_told_on_a_phone_too(tmp_path: Path) -> None:
    async with street(tmp_path) as it:
        found, links = await it.until(None)
        shown = await doctor(tmp_path, "--prometheus", it.prometheus, FORCE_COLOR="1", TERM="dumb")
    assert found["answer"] == "Whole: mig-team-a/erp-wave1 failed, and team/slack was told"
    assert {one["state"] for one in links.values()} == {"good"}, links
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("Whole: ")
    assert max(len(line) for line in lines) <= 80
    assert sum("✓" in line for line in lines) == len(links)


@pytest.mark.slow
async def test_a_target_that_is_down_is_named(tmp_path: Path) -> None:
    async with street(tmp_path, down=True) as it:
        found, links = await it.until("metric", "is down")
    assert "Forklift's target http://127.0.0.1:" in found["answer"]
    assert "500" in found["answer"]
    assert "rollout restart deployment/forklift-controller" in links["metric"]["cure"]
    assert links["rule"]["state"] == "good"
    assert links["alert"]["seen"] == "follows from Metric"
    assert links["alertmanager"]["seen"].endswith("follows from Metric")


@pytest.mark.slow
async def test_a_rule_that_is_missing_is_named(tmp_path: Path) -> None:
    async with street(tmp_path, prometheus={"rule_files": []}) as it:
        found, links = await it.until("rule")
    assert "no rule is loaded" in found["answer"]
    assert 'mtv_plan_alert_status{status="Failed"}' in links["rule"]["cure"]
    assert links["metric"]["state"] == "good"
    assert links["alert"]["seen"] == "follows from Rule"


@pytest.mark.slow
async def test_a_prometheus_without_alertmanager_is_named(tmp_path: Path) -> None:
    async with street(tmp_path, prometheus={"alerting": {}}) as it:
        found, links = await it.until("sending")
    assert "not connected to any Alertmanager" in found["answer"]
    assert "alerting.alertmanagers" in links["sending"]["cure"]
    assert links["alertmanager"]["seen"].endswith("follows from Prometheus")


@pytest.mark.slow
async def test_an_alert_that_is_routed_elsewhere_is_named(tmp_path: Path) -> None:
    routes = [{"matchers": ['app="forklift"'], "receiver": "elsewhere"}]
    wrong = {"route": {"receiver": "mtv-receiver", "group_wait": "0s", "routes": routes}}
    async with street(tmp_path, wrong) as it:
        found, links = await it.until("alertmanager", "routed to")
    assert found["answer"] == "Broken at Alertmanager: the alert is routed to elsewhere, not to mtv-receiver"
    assert """{matchers: ['app="forklift"'], receiver: mtv-receiver, continue: true}""" in links["alertmanager"]["cure"]
    assert links["alert"]["state"] == "good"


@pytest.mark.slow
async def test_a_silence_is_named_with_its_end_who_made_it_and_why(tmp_path: Path) -> None:
    async with street(tmp_path) as it:
        now = datetime.now(UTC)
        end = (now + timedelta(hours=20)).replace(hour=6, minute=0, second=0, microsecond=0)
        end = end if end > now else end + timedelta(days=1)
        body = {
            "matchers": [{"name": "alertname", "value": "MigrationFailed", "isRegex": False, "isEqual": True}],
            "startsAt": now.isoformat(), "endsAt": end.isoformat(), "createdBy": "ana", "comment": "maintenance",
        }  # fmt: skip
        made = (await it.http.post(f"{it.alertmanager}/api/v2/silences", json=body)).json()
        found, links = await it.until("alertmanager", "silenced")
        shown = await doctor(tmp_path, "--prometheus", it.prometheus)
    assert "the alert is silenced until " in found["answer"]
    assert found["answer"].endswith('06:00 UTC by ana: "maintenance"')
    assert f"Cure: amtool silence expire {made['silenceID']} --alertmanager.url=http" in shown.stdout.splitlines()[1]
    assert shown.stdout.splitlines()[0] == found["answer"], "the first line is the answer"
    assert links["sending"]["state"] == "good"


@pytest.mark.slow
async def test_an_inhibition_is_named_with_what_inhibits(tmp_path: Path) -> None:
    rule = {"source_matchers": ['alertname="ClusterUpgrade"'], "target_matchers": ['severity="critical"']}
    async with street(tmp_path, {"inhibit_rules": [rule]}) as it:
        other = [{"labels": {"alertname": "ClusterUpgrade"}}]
        (await it.http.post(f"{it.alertmanager}/api/v2/alerts", json=other)).raise_for_status()
        found, links = await it.until("alertmanager", "inhibited")
    assert found["answer"] == "Broken at Alertmanager: the alert is inhibited by ClusterUpgrade"
    assert "inhibit_rules" in links["alertmanager"]["cure"]


@pytest.mark.slow
async def test_a_webhook_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    async with street(tmp_path, webhook=f"http://127.0.0.1:{free_port()}/webhook/main") as it:
        found, links = await it.until("webhook")
    assert "main cannot reach us: " in found["answer"]
    assert "no webhook ever came" in found["answer"]
    assert "webhook_configs[].url of the receiver mtv-receiver" in links["webhook"]["cure"]
    assert links["alertmanager"]["state"] == "good"


@pytest.mark.slow
async def test_a_destination_that_is_parked_is_named_with_how_to_try_again(tmp_path: Path) -> None:
    async with street(tmp_path) as it:
        it.vendors.fail("slack", faults.slack_error("channel_not_found"), on="chat.postMessage", always=True)
        found, links = await it.until("destinations")
        (delivery,) = await it.service.deliveries(state="parked")
    assert found["answer"].startswith("Broken at Destinations: team/slack is parked: ")
    assert "channel_not_found" in found["answer"]
    assert f"mtv-receiver deliveries retry {delivery['id']}" in links["destinations"]["cure"]
    assert {links[one]["state"] for one in ("alertmanager", "webhook", "story")} == {"good"}
