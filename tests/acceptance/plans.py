"""Plans in the states that a migration goes through, and a fake API server that the service is told to ask."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from tests.acceptance.harness import PLAN_UID, Running
from tests.fakes import proxy
from tests.fakes.kubernetes import KubernetesApi
from tests.fakes.kubernetes import running as serving

DATA = Path(__file__).parent.parent / "data" / "kube"
ERP = DATA / "a-cold-vsphere-imageconversion.yaml"
POD = ("erp-prod", "erp-wave1-vm-1402-d8f6k", "virt-v2v")
"""Namespace, pod and container whose log tells why erp-win01 failed."""
NAMESPACE = "mig-team-a"

State = Literal["Failed", "Executing", "Succeeded", "Canceled"]

_MESSAGES = {
    "Failed": "The plan execution has FAILED.",
    "Executing": "The plan is EXECUTING.",
    "Succeeded": "The plan execution has SUCCEEDED.",
    "Canceled": "The plan execution has been CANCELED.",
}


def run_of(number: int) -> str:
    """Return the Migration UID of a run, as `plan` writes it."""
    return "a4be9d3c-0e57-4a52-8d2f-1f1d7d1f9a02" if number == 1 else f"a4be9d3c-0e57-4a52-8d2f-0000000000{number:02}"


def plan(
    state: State = "Failed",
    *,
    runs: int = 1,
    uid: str = PLAN_UID,
    name: str = "erp-wave1",
    namespace: str = NAMESPACE,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    reasons: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the example Plan in a state, after so many runs; `reasons` replace why erp-win01 failed."""
    found: dict[str, Any] = next(one for one in yaml.safe_load_all(ERP.read_text()) if one["kind"] == "Plan")
    found["metadata"] |= {"uid": uid, "name": name, "namespace": namespace}
    found["metadata"] |= {"labels": dict(labels or {}), "annotations": dict(annotations or {})}
    status = found["status"]
    status["conditions"] = [
        {"type": "Ready", "status": "True", "category": "Required", "message": "The migration plan is ready."},
        {"type": state, "status": "True", "category": "Advisory", "message": _MESSAGES[state]},
    ]
    first = status["migration"]["history"][0]
    history = []
    for number in range(1, runs + 1):
        entry = json.loads(json.dumps(first))
        entry["migration"] |= {"uid": run_of(number), "name": f"{name}-run{number}"}
        entry["conditions"] = [] if number == runs and state == "Executing" else entry["conditions"]
        history.append(entry)
    status["migration"]["history"] = history
    for vm in status["migration"]["vms"]:
        _put_into(vm, state, reasons)
    return found


def _put_into(vm: dict[str, Any], state: State, reasons: Sequence[str]) -> None:
    if "error" not in vm:
        return
    if state == "Failed":
        for holder in (vm, *(step for step in vm["pipeline"] if "error" in step)):
            holder["error"]["reasons"] = list(reasons) or holder["error"]["reasons"]
        return
    vm.pop("error")
    for step in vm["pipeline"]:
        step.pop("error", None)
    vm["conditions"] = []
    if state == "Executing":
        vm.pop("completed", None)
        vm["phase"] = "ConvertGuest"
    else:
        vm["conditions"] = [{"type": state, "status": "True", "category": "Advisory"}]


@contextlib.asynccontextmanager
async def cluster(folder: Path, *, up: bool = True) -> AsyncIterator[KubernetesApi]:
    """Run an API server and write `kubeconfig` for it; with `up` False its port is closed until `api.up()`."""
    async with serving(KubernetesApi()) as api:
        api.write_kubeconfig(folder / "kubeconfig")
        if proxy.BEHIND is not None:
            proxy.BEHIND.move_file(folder / "kubeconfig", "api")
        if not up:
            await api.down()
        yield api


async def load_example(api: KubernetesApi) -> None:
    """Put the whole example of a failed cold migration there, with the logs of its conversion pods."""
    await api.load_yaml(ERP)
    text = await asyncio.to_thread((DATA / "logs" / "a-virt-v2v-erp-win01.log").read_text)
    api.set_log(*POD, text)


async def watched(api: KubernetesApi, service: Running) -> None:
    """Await that the service follows the Plans: what changes from now on is seen as it happens."""
    await api.until(lambda: any(one.resource.startswith("plans.") for one in api.watchers))
    assert not service.fatal


CLUSTER = "clusters: [{name: local, kubeconfig_file: kubeconfig}]"


def top(**settings: str) -> str:
    """Return the head of a configuration that asks the fake API server, made to be quick."""
    quick = {"identify_timeout": "1s", "evidence_wait": "2s", "evidence_timeout": "4s", "resolve_delay": "500ms"}
    inner = ", ".join(f"{key}: {value}" for key, value in {**quick, **settings}.items())
    return f"global: {{{inner}}}\n{CLUSTER}"
