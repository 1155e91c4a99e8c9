"""What happens to the sample's plan in the demo: a new run starts, the run succeeds; and the alerts that tell of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from receiver.sandbox.cluster import Obj, SampleCluster

PLAN = ("plans.forklift.konveyor.io", "mig-team-a", "erp-wave1")
MIGRATION = ("migrations.forklift.konveyor.io", "mig-team-a", "erp-wave1-7k2qp")
SECOND_RUN = {"name": "erp-wave1-m4x8t", "namespace": PLAN[1], "uid": "c7d2f1a0-93be-4e1c-8a57-2f60b9d4e831"}

RUN_ENDED = datetime(2026, 9, 14, 8, 29, 44, tzinfo=UTC)
"""When the sample's plan failed; the demo moves all times so that it is now."""


def failed_alert(folder: Path, started: datetime) -> Obj:
    """Return the alert of the example body in `folder`, without a fingerprint, as if it began at `started`."""
    body = json.loads((folder / "erp-wave1-failed.json").read_text(encoding="utf-8"))
    example = body["alerts"][0]
    return {
        "labels": example["labels"],
        "annotations": example["annotations"],
        "generatorURL": example["generatorURL"],
        "startsAt": stamp(started),
    }


def succeeded_alert(failed: Obj, started: datetime) -> Obj:
    """Return Forklift's other alert, for the same plan."""
    changed = {
        "alertname": "MigrationSucceeded", "type": "migration-succeeded", "severity": "info",
        "status": "Succeeded", "phase": "Completed",
    }  # fmt: skip
    words = f'Migration plan "{PLAN[2]}" succeeded'
    return {
        "labels": {**failed["labels"], **changed},
        "annotations": {"summary": words, "description": words},
        "generatorURL": failed["generatorURL"].replace("Failed", "Succeeded"),
        "startsAt": stamp(started),
    }


def webhook(alert: Obj, ended: datetime | None) -> Obj:
    """Return the body that Alertmanager would post for one alert; `ended` makes it resolved."""
    status = "firing" if ended is None else "resolved"
    alert = {**alert, "status": status, "endsAt": stamp(ended) if ended else "0001-01-01T00:00:00Z"}
    name = alert["labels"]["alertname"]
    return {
        "version": "4", "groupKey": f'{{}}:{{alertname="{name}"}}', "truncatedAlerts": 0, "status": status,
        "receiver": "mtv-receiver", "groupLabels": {"alertname": name}, "commonLabels": alert["labels"],
        "commonAnnotations": alert["annotations"], "externalURL": "http://127.0.0.1:9093", "alerts": [alert],
    }  # fmt: skip


def run_again(cluster: SampleCluster, now: datetime) -> None:
    """A person made a new Migration: the plan executes again, for the VM that failed."""
    migration = cluster.get(*MIGRATION)
    migration["metadata"].update(SECOND_RUN, creationTimestamp=stamp(now))
    plan = cluster.get(*PLAN)
    status = plan["status"]
    condition = _condition("Executing", "The plan is EXECUTING.", now)
    status["conditions"] = [_ready(status), condition]
    status["migration"] |= {"started": stamp(now), "completed": None}
    history = status["migration"]["history"]
    history.append({**history[-1], "conditions": [condition], "migration": {**SECOND_RUN, "generation": 1}})
    for vm in status["migration"]["vms"]:
        if "error" in vm:
            del vm["error"]
            vm |= {"phase": "ConvertGuest", "started": stamp(now), "completed": None, "conditions": []}
            _steps(vm, "Running", now)
    migration["status"] = {
        "started": stamp(now),
        "conditions": [_ready(migration["status"]), _condition("Running", "The migration is RUNNING.", now)],
        "vms": status["migration"]["vms"],
    }
    cluster.put(migration)
    cluster.put(plan)


def succeed(cluster: SampleCluster, now: datetime) -> None:
    """The second run ends well."""
    plan = cluster.get(*PLAN)
    migration = cluster.get(MIGRATION[0], MIGRATION[1], SECOND_RUN["name"])
    status = plan["status"]
    condition = _condition("Succeeded", "The plan execution has SUCCEEDED.", now)
    status["conditions"] = [_ready(status), condition]
    status["migration"]["completed"] = stamp(now)
    status["migration"]["history"][-1]["conditions"] = [condition]
    for vm in status["migration"]["vms"]:
        if not vm["conditions"]:
            vm |= {"phase": "Completed", "completed": stamp(now)}
            vm["conditions"] = [_condition("Succeeded", "The VM migration has SUCCEEDED.", now)]
            _steps(vm, "Completed", now)
    migration["status"] |= {
        "completed": stamp(now),
        "conditions": [_ready(migration["status"]), _condition("Succeeded", "The migration has SUCCEEDED.", now)],
        "vms": status["migration"]["vms"],
    }
    cluster.put(migration)
    cluster.put(plan)


def shift_to(now: datetime) -> timedelta:
    """Return by how much the sample's times are moved so that its plan failed just before `now`."""
    return timedelta(seconds=int((now - RUN_ENDED).total_seconds()))


def stamp(at: datetime) -> str:
    """Return a time as Kubernetes and Alertmanager write it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _ready(status: Obj) -> Obj:
    ready: Obj = next(item for item in status["conditions"] if item["type"] == "Ready")
    return ready


def _condition(kind: str, message: str, now: datetime) -> Obj:
    return {
        "type": kind, "status": "True", "category": "Advisory", "durable": True, "message": message,
        "lastTransitionTime": stamp(now),
    }  # fmt: skip


def _steps(vm: dict[str, Any], phase: str, now: datetime) -> None:
    for step in vm["pipeline"]:
        step.pop("error", None)
        if step["phase"] != "Completed":
            step |= {"phase": phase, "started": stamp(now), "completed": stamp(now) if phase == "Completed" else None}
            if phase == "Running":
                break
