"""The real programs in front of the service: Prometheus with Forklift's rules and Alertmanager, fed by an exporter."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.acceptance.harness import PLAN_UID, Running, routes_yaml, running
from tests.acceptance.plans import cluster, plan, top, watched
from tests.fakes.kubernetes import KubernetesApi
from tests.fakes.processes import Program, free_port, program
from tests.fakes.server import serve
from tests.fakes.vendors import FakeVendors
from tests.servers import need

RULES = {
    "groups": [
        {
            "name": "forklift-alerts",
            "rules": [
                {
                    "alert": "MigrationFailed",
                    "expr": 'mtv_plan_alert_status{status="Failed"}',
                    "labels": {"app": "forklift", "type": "migration-failed", "severity": "critical"},
                    "annotations": {
                        "summary": "Migration plan failed",
                        "description": '{{ $labels.mode }} migration plan\n"{{ $labels.plan_name }}"\n'
                        "with {{ $labels.provider }} provider\nfailed on {{ $labels.phase }} phase.\n",
                    },
                },
                {
                    "alert": "MigrationSucceeded",
                    "expr": 'mtv_plan_alert_status{status="Succeeded"}',
                    "labels": {"app": "forklift", "type": "migration-succeeded", "severity": "info"},
                    "annotations": {
                        "summary": 'Migration plan "{{ $labels.plan_name }}" succeeded',
                        "description": 'Migration plan "{{ $labels.plan_name }}" succeeded',
                    },
                },
            ],
        }
    ]
}
"""What Forklift ships, in effect: no `for`, and a success that fires for as long as the Plan has succeeded."""


class Exporter:
    """The controller's metrics of one plan: a series exists only while the plan failed, succeeded or executes."""

    def __init__(self) -> None:
        self.status = ""
        self.phase = ""

    def show(self, status: str, phase: str = "") -> None:
        """Let the next scrape see the plan in another state."""
        self.status, self.phase = status, phase

    async def metrics(self, request: Request) -> Response:
        labels = {
            "status": self.status, "provider": "vsphere", "mode": "Cold", "target": "Local", "plan": PLAN_UID,
            "plan_name": "erp-wave1", "phase": self.phase,
        }  # fmt: skip
        pairs = ",".join(f'{name}="{value}"' for name, value in labels.items())
        series = f"mtv_plan_alert_status{{{pairs}}} 1\n" if self.status else ""
        return PlainTextResponse("# TYPE mtv_plan_alert_status gauge\n" + series)


@dataclass
class Chain:
    """Everything that runs, and what Alertmanager said."""

    service: Running
    vendors: FakeVendors
    api: KubernetesApi
    exporter: Exporter
    said: list[dict[str, Any]]
    programs: list[Program] = field(default_factory=list)

    async def fails(self, phase: str, run: int) -> None:
        """The plan's run fails: the cluster knows first, then the metrics."""
        await self.api.apply(plan("Failed", runs=run))
        self.exporter.show("Failed", phase)

    async def runs_again(self, run: int) -> None:
        await self.api.apply(plan("Executing", runs=run))
        self.exporter.show("Executing")

    async def succeeds(self, run: int) -> None:
        await self.api.apply(plan("Succeeded", runs=run))
        self.exporter.show("Succeeded", "Completed")

    def told(self, status: str, alertname: str = "MigrationFailed", **labels: str) -> list[dict[str, Any]]:
        """Return the bodies in which Alertmanager told of such an alert."""

        def fits(one: dict[str, Any]) -> bool:
            wanted = {"alertname": alertname, **labels}
            return bool(one["status"] == status and wanted.items() <= one["labels"].items())

        return [body for body in self.said if any(fits(one) for one in body["alerts"])]

    async def until_told(self, count: int, status: str, alertname: str = "MigrationFailed", **labels: str) -> None:
        """Await that Alertmanager has told of such an alert so many times."""

        async def look() -> bool:
            return len(self.told(status, alertname, **labels)) >= count

        try:
            await self.service.until(look, 20)
        except AssertionError as error:
            logs = "\n".join(f"--- {one.name}\n{one.said()}" for one in self.programs)
            raise AssertionError(f"{error}\nAlertmanager said {json.dumps(self.said)[-2000:]}\n{logs}") from None


@contextlib.asynccontextmanager
async def chain(folder: Path) -> AsyncIterator[Chain]:
    """Run all of it at one-second intervals; skipped where a program is missing."""
    alertmanager = need("prometheus-alertmanager", "prometheus-alertmanager")
    prometheus = need("prometheus", "prometheus")
    exporter, said, ports = Exporter(), [], (free_port(), free_port())

    async def hear(request: Request) -> Response:
        said.append(await request.json())
        return Response(status_code=200)

    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        vendors = await enter(FakeVendors())
        api = await enter(cluster(folder))
        beside = await enter(
            serve(Starlette(routes=[Route("/metrics", exporter.metrics), Route("/hear", hear, methods=["POST"])]))
        )
        head = f"{top()}\nalertmanagers: [{{name: main, url: 'http://127.0.0.1:{ports[0]}'}}]"
        service = await enter(running(routes_yaml(vendors, folder, top=head), vendors))
        await watched(api, service)
        _write_configs(folder, beside, service.url, ports[0])
        programs = [
            await enter(
                program(
                    "alertmanager",
                    [
                        alertmanager, "--config.file=alertmanager.yml", "--storage.path=alertmanager-data",
                        f"--web.listen-address=127.0.0.1:{ports[0]}", "--cluster.listen-address=",
                    ],
                    ports[0],
                    folder,
                )
            ),
            await enter(
                program(
                    "prometheus",
                    [
                        prometheus, "--config.file=prometheus.yml", "--storage.tsdb.path=prometheus-data",
                        f"--web.listen-address=127.0.0.1:{ports[1]}", "--rules.alert.resend-delay=1s",
                    ],
                    ports[1],
                    folder,
                )
            ),
        ]  # fmt: skip
        yield Chain(service, vendors, api, exporter, said, programs)


def _write_configs(folder: Path, beside: str, service: str, alertmanager_port: int) -> None:
    receiver = {
        "name": "mtv-receiver",
        "webhook_configs": [{"url": f"{service}/webhook/main"}, {"url": f"{beside}/hear"}],
    }
    timing = {"group_wait": "0s", "group_interval": "1s", "repeat_interval": "3s"}
    scrape = {
        "job_name": "forklift-metrics",
        "static_configs": [
            {
                "targets": [beside.removeprefix("http://")],
                "labels": {"namespace": "openshift-mtv", "service": "forklift-metrics", "endpoint": "metrics"},
            }
        ],
    }
    documents: dict[str, Any] = {
        "rules.yml": RULES,
        "alertmanager.yml": {
            "route": {"receiver": "mtv-receiver", "group_by": ["plan"], **timing},
            "receivers": [receiver],
        },
        "prometheus.yml": {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [scrape],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager_port}"]}]}]},
        },
    }
    for name, document in documents.items():
        (folder / name).write_text(yaml.safe_dump(document, sort_keys=False))
