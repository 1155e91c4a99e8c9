"""No secret leaves: planted wherever people and programs leave them, then searched for in every byte that left.

The raw body of a webhook stays in the inbox for a day and is shown nowhere (DESIGN P6); everything else that the
database holds, and all that goes to vendors, pages, answers, metrics and logs, is searched.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from receiver.keeping import unpack
from tests.acceptance.harness import Running, alert, body, failed, routes_yaml, running
from tests.acceptance.plans import DATA, POD, cluster, load_example, plan, top
from tests.fakes.kubernetes import KubernetesApi
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

FILES = DATA / "c-disktransfer-out-of-space.yaml"
FILES_UID = "d2a4b1f6-47a5-4b36-8a44-9e2cb5f1c60d"
IMPORTER = ("files-prod", "importer-prime-7f1c0a92-3be4-4f2a-9a80-4d6f1a2b3c0f", "importer")


def planted(place: str) -> str:
    """Return a secret that no other place has: whoever finds it knows where it came from."""
    return f"Fa4e{place}Pw77"


OF_THE_CLUSTER = ("annotation", "reason", "condition", "v2v", "importer", "controller", "event", "override")
OF_THE_ALERT = ("label", "note", "generator")


@dataclass(frozen=True, slots=True)
class Left:
    """Everything that left, by the way it took."""

    ways: Mapping[str, str]

    def holding(self, secret: str) -> list[str]:
        return [way for way, text in self.ways.items() if secret in text]

    def told(self, words: str) -> bool:
        return any(words in text for text in self.ways.values())


async def plant_in_cluster(api: KubernetesApi) -> None:
    """Put the two example Plans there, with a secret in everything that is read of them."""
    await load_example(api)
    failing = plan(
        annotations={"mtv-receiver.io/owner": f"team-a password={planted('annotation')}", "description": "erp"},
        reasons=[f"Unable to connect: https://admin:{planted('reason')}@vcenter.example.com/sdk refused"],
    )
    failing["status"]["conditions"].append(
        {"type": "NotValid", "status": "True", "category": "Critical", "message": f"token: {planted('condition')}"}
    )
    failing["status"]["conditions"][1]["message"] += f" password: {planted('condition')}"
    await api.apply(failing)
    log = await asyncio.to_thread((DATA / "logs" / "a-virt-v2v-erp-win01.log").read_text)
    api.set_log(*POD, f"{log}virt-v2v: error: nbdkit vddk 'password={planted('v2v')}' failed: see above\n")
    await api.load_yaml(FILES)
    error = f"E0918 07:40:58.691777 1 importer.go:194] Unable to log in, X-Auth-Token: {planted('importer')}\n"
    log = await asyncio.to_thread((DATA / "logs" / "c-importer-files01-disk0-previous.log").read_text)
    for previous in (True, False):
        api.set_log(*IMPORTER, log + error, previous=previous)
    await api.apply(
        {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "forklift-controller-0", "namespace": "openshift-mtv",
                         "labels": {"app": "forklift", "control-plane": "controller-manager"}},
            "spec": {"containers": [{"name": "main"}]}, "status": {"phase": "Running"},
        }
    )  # fmt: skip
    said = {
        "level": "error", "ts": "2026-09-14 08:29:41.000", "logger": "plan|4bx9k", "msg": "Reconcile failed.",
        "plan": {"name": "erp-wave1", "namespace": "mig-team-a"},
        "error": f"login failed: password={planted('controller')}",
    }  # fmt: skip
    api.set_log("openshift-mtv", "forklift-controller-0", "main", json.dumps(said) + "\n")
    examples = yaml.safe_load_all(await asyncio.to_thread((DATA / "a-cold-vsphere-imageconversion.yaml").read_text))
    event = next(one for one in examples if one["kind"] == "Event")
    event["metadata"]["name"] += "2"
    event["lastTimestamp"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")  # old ones are not told
    event |= {"type": "Warning", "message": f"The plan FAILED: GOVC_PASSWORD={planted('event')}"}
    await api.apply(event)
    await api.apply(
        {
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "ours", "namespace": "mig-team-a", "labels": {"mtv-receiver.io/runbooks": "true"}},
            "data": {"MigrationFailed": f"# What we do\n\nLog in with password: {planted('override')} and look."},
        }
    )  # fmt: skip


def alerts() -> list[dict[str, Any]]:
    """Return both Plans' alerts, the first with secrets of its own."""
    first = alert(
        failed(detail=f"https://admin:{planted('label')}@vcenter/sdk"),
        annotations={"summary": f"failed, password={planted('note')}", "description": f"token: {planted('note')}"},
    )
    first["generatorURL"] = f"https://prometheus.example.com/graph?access_token={planted('generator')}"
    return [first, alert(failed(FILES_UID, "files-cold"))]


def of_the_database(file: Path) -> str:
    """Return every value of every table but the inbox's raw bodies, packed log ends unpacked."""
    found: list[str] = []
    with closing(sqlite3.connect(file)) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = database.execute(f'SELECT * FROM "{table}"')
            columns = [column[0] for column in rows.description]
            for row in rows:
                for column, value in zip(columns, row, strict=True):
                    if (table, column) != ("inbox", "payload"):
                        found.append(value.decode(errors="replace") if isinstance(value, bytes) else str(value))
    return "\n".join(found + [end for text in found for end in kept_ends(text)])


def kept_ends(text: str) -> list[str]:
    """Return the ends of logs that a stored value holds compressed."""
    try:
        value = json.loads(text)
    except ValueError:
        return []
    held = value if isinstance(value, dict) else {}
    return [unpack(log["kept"]) for log in held.get("logs", ()) if log.get("kept")]


async def everything(service: Running, vendors: FakeVendors) -> Left:
    """Collect all that left the service, and all that it keeps."""
    ways = {f"request {one.number} to {one.vendor} ({one.operation})": readable(one.raw) for one in vendors.requests}
    paths = ["/metrics", "/api/v1/stories", "/api/v1/deliveries"]
    paths += [f"{base}/{one['id']}" for one in await service.stories() for base in ("/api/v1/stories", "/stories")]
    paths += [f"/api/v1/deliveries/{one['id']}" for one in await service.deliveries()]
    for path in paths:
        answer = await service.http.get(service.url + path)
        assert answer.status_code == 200, f"{path}: {answer.text}"
        ways[path] = answer.text + readable(answer.content)
    answer = await service.http.post(service.url + "/api/v1/explain", json=body(*alerts()))
    assert answer.status_code == 200, answer.text
    ways["explain"] = answer.text
    ways["database"] = of_the_database(service.folder / "test.db")
    return Left(ways)


def readable(raw: bytes) -> str:
    """Return a body as it is, and with its JSON escapes undone."""
    text = raw.decode(errors="replace")
    try:
        return f"{text}\n{json.dumps(json.loads(text), ensure_ascii=False)}"
    except ValueError:
        return text


async def run(folder: Path, logs: pytest.CaptureFixture[str]) -> Left:
    """Let both stories be told with all their evidence, and collect what left."""
    async with FakeVendors() as vendors, cluster(folder) as api:
        await plant_in_cluster(api)
        async with running(routes_yaml(vendors, folder, top=top()), vendors) as service:
            await service.post(*alerts())
            await vendors.until(lambda v: len(v.slack_roots()) == len(v.incidents()) == len(v.jira_issues()) == 2)
            await service.idle()
            left = await everything(service, vendors)
    captured = logs.readouterr()
    return Left({**left.ways, "stdout": captured.out, "stderr": captured.err})


async def test_no_secret_of_the_cluster_leaves_and_the_story_says_how_many_were_hidden(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    left = await run(tmp_path, capfd)
    assert {place: left.holding(planted(place)) for place in OF_THE_CLUSTER} == {place: [] for place in OF_THE_CLUSTER}
    # What stood beside the secrets did leave: the places were read, and the test can fail.
    for words in ("https://admin:‹hidden›@", "'password=‹hidden›'", "X-Auth-Token: ‹hidden›", "GOVC_PASSWORD=‹hidden›"):
        assert left.told(words), words
    assert left.told("login failed: password=‹hidden›")
    assert any("secret values were hidden" in text for way, text in left.ways.items() if "slack" in way)


@pytest.mark.parametrize("place", OF_THE_ALERT)
async def test_no_secret_of_an_alert_leaves(place: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    left = await run(tmp_path, capfd)
    assert left.holding(planted(place)) == []
