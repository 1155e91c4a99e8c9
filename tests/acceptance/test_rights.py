"""The role that we ask for is what we use: compared both ways with the requests that reach an API server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from receiver.__main__ import app
from receiver.enrichers.autopilot import GROUPS
from receiver.enrichers.evidence import gather_plan
from receiver.enrichers.others import gather_other
from receiver.enrichers.redact import Redactor
from receiver.kube.rights import ONLY_DOCTOR, ONLY_ROOM, RIGHTS
from receiver.model import Alert, AlertStatus, Evidence, Identity
from tests.acceptance.harness import alert, failed, routes_yaml, running, slack
from tests.acceptance.plans import DATA, cluster, plan, top
from tests.databases import database_of
from tests.fakes.kubernetes import REVIEWS, KubernetesApi
from tests.fakes.kubernetes_answers import CLUSTER_SCOPED
from tests.fakes.vendors import FakeVendors
from tests.fleet import PLAN, load
from tests.platform_alerts import SCENARIOS, autopilot, fresh
from tests.unit.kube.helpers import cluster_for

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
Used = tuple[str, str, str]  # verb, group, resource
TABLE: frozenset[Used] = frozenset((right.verb, right.group, right.resource) for right in RIGHTS)
LABELS = (
    "vm", "vmi", "persistentvolumeclaim", "deployment", "statefulset", "daemonset", "job_name", "node",
    "persistentvolume", "pod",
)  # fmt: skip
KINDS = ("ReplicaSet", "VirtualMachineInstanceMigration")


@dataclass
class Case:
    """An alert, with what its cluster holds."""

    labels: dict[str, str]
    objects: list[dict[str, Any]] = field(default_factory=list)
    logs: dict[tuple[str, str, str, bool], str] = field(default_factory=dict)

    @property
    def plan(self) -> dict[str, Any] | None:
        return next((one for one in self.objects if one["kind"] == "Plan"), None)

    async def apply(self, api: KubernetesApi) -> None:
        for one in self.objects:
            await api.apply(one)
        for (namespace, pod, container, previous), text in self.logs.items():
            api.set_log(namespace, pod, container, text, previous=previous)


def of_plan(*objects: dict[str, Any]) -> Case:
    made = next(one for one in objects if one["kind"] == "Plan")
    return Case(failed(made["metadata"]["uid"], made["metadata"]["name"]), list(objects))


def example(path: Path) -> Case:
    return of_plan(*(one for one in yaml.safe_load_all(path.read_text()) if one))


def in_hook() -> dict[str, Any]:
    """Return a Plan whose hook failed: its pods are found by the Job."""
    made = plan(uid="uid-hook", name="hook")
    for vm in made["status"]["migration"]["vms"]:
        for step in vm["pipeline"]:
            if "error" in step:
                step["name"] = "PreHook"
    return made


def once_more() -> dict[str, Any]:
    """Return a Plan on its second run, whose VMs are off now: the first run may have switched them off."""
    made = plan(uid="uid-again", name="again", runs=2)
    for vm in made["status"]["migration"]["vms"]:
        vm["restorePowerState"] = "Off"
    return made


CASES: dict[str, Callable[[], Case]] = {
    **{path.stem: lambda path=path: example(path) for path in sorted(DATA.glob("[abcd]*.yaml"))},  # type: ignore[misc]
    "without pods": lambda: of_plan(plan(uid="uid-bare", name="bare")),
    "hook": lambda: of_plan(in_hook()),
    "second run": lambda: of_plan(once_more()),
    **{
        name: lambda make=make: Case(make().labels, fresh(make().objects), make().logs)  # type: ignore[misc]
        for name, make in SCENARIOS.items()
    },
    **{
        f"label {label}": lambda label=label: Case(  # type: ignore[misc]
            {"alertname": f"About{label}", "namespace": "team", label: "thing"}
        )
        for label in LABELS
    },
    **{
        f"kind {kind}": lambda kind=kind: Case(  # type: ignore[misc]
            {"alertname": f"About{kind}", "namespace": "team", "kind": kind, "name": "thing"}
        )
        for kind in KINDS
    },
    **{
        f"autopilot's {kind}": lambda kind=kind: Case(  # type: ignore[misc]
            autopilot("VirtPlatformSyncFailed", kind=kind, name="thing", exported_namespace="team")
        )
        for kind in GROUPS
    },
}


def served() -> list[tuple[str, str, str]]:
    """Return what discovery tells of the kinds that autopilot manages."""
    return [
        (f"{group}/v1" if group else "v1", kind, "Cluster" if kind in CLUSTER_SCOPED else "Namespaced")
        for kind, group in GROUPS.items()
    ]


def used(api: KubernetesApi) -> frozenset[Used]:
    """Return the rights that the requests so far took.

    Documents outside the resource tree take none of ours, nor does asking which rights one has.
    """
    found = set()
    for one in api.asked:
        if not one.resource.startswith("/") and one.resource != REVIEWS:
            name, slash, sub = one.resource.partition("/")
            plural, _, group = name.partition(".")
            found.add((one.verb, group, plural + slash + sub))
    return frozenset(found)


async def with_room(api: KubernetesApi) -> None:
    """Add a plan within the cluster, one of whose VMs is off: what is read to judge its room."""
    for file in ("00-source-vms.yaml", "01-cclm-plan.yaml", "s1-fits.yaml"):
        await load(api, file, without=("Secret",))
    for one in list(api.objects.values()):
        if one["kind"] == "Provider":
            await api.apply({**one, "spec": {"type": "openshift", "url": ""}})
    await api.delete("VirtualMachineInstance", "payments", "pay-web-01")


async def look_for_a_fault(api: KubernetesApi, folder: Path) -> None:
    """Run the doctor where Forklift is installed."""
    await api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "openshift-mtv"}})
    command = ["doctor", "--config", str(folder / "routes.yaml")]
    env = {"MTV_RECEIVER_DATABASE_URL": database_of(folder)}
    result = await asyncio.to_thread(CliRunner().invoke, app, command, env=env)
    assert "Rights: all that every cluster needs" in result.output


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[KubernetesApi]:
    async with cluster(tmp_path) as server:
        server.also_served = served()
        yield server


async def test_the_service_uses_every_right_of_the_table_and_no_other(tmp_path: Path, api: KubernetesApi) -> None:
    cases = [make() for make in CASES.values()]
    for case in cases:
        await case.apply(api)
    await with_room(api)
    receivers = f"- name: platform\n  {slack('#platform')}\n"
    config = top(digest_after="0", evidence_timeout="8s")
    async with (
        FakeVendors() as vendors,
        running(routes_yaml(vendors, tmp_path, top=config, receivers=receivers), vendors) as service,
    ):
        await service.post(*(alert(case.labels) for case in cases))

        judged = await service.http.get(f"{service.url}/api/v1/capacity/plans/{PLAN}")
        assert judged.status_code == 200, judged.text
        await look_for_a_fault(api, tmp_path)

        async def all_used() -> bool:
            return used(api) >= TABLE

        try:
            await service.until(all_used, timeout=15)
        except AssertionError:
            pytest.fail(f"in the table, and never used: {sorted(TABLE - used(api))}")
        await service.idle()
    assert sorted(used(api) - TABLE) == []


# --- a right that is missing ---


async def gathered(api: KubernetesApi, case: Case, folder: Path) -> Evidence:
    """Return what a story about this alert would show."""
    live = cluster_for(api, folder)
    made = Alert("f", AlertStatus.FIRING, case.labels, {}, NOW)
    try:
        if (found := case.plan) is None:
            return await gather_other(live, made, redactor=Redactor(), now=NOW, timeout_s=8.0)
        about = found["metadata"]
        identity = Identity(
            f"plan/{about['uid']}", "plan", "local", uid=about["uid"], namespace=about["namespace"], name=about["name"]
        )
        return await gather_plan(live, identity, {}, redactor=Redactor(), now=NOW, timeout_s=8.0)
    finally:
        await live.aclose()


ELSEWHERE: dict[str, str] = {
    "list plans.forklift.konveyor.io": "said with the plan's identity: see below",
    "watch plans.forklift.konveyor.io": "said by the metric and the log of the watch: the story has been read already",
    "list configmaps": "other runbooks stand in their place: `check --online` says it",
}


@pytest.mark.past_proxy("asks the API server by a client of its own, without a configuration")
async def test_each_missing_right_is_said_in_the_story_with_what_to_grant(tmp_path: Path, api: KubernetesApi) -> None:
    users: dict[Used, Case] = {}
    for make in CASES.values():
        case = make()
        await case.apply(api)
        api.asked.clear()
        await gathered(api, case, tmp_path)
        for right in used(api):
            users.setdefault(right, case)
    for one in RIGHTS:
        # The latter two are said by `capacity` and `doctor`: see their own tests.
        if one.name in ELSEWHERE or one.optional in (ONLY_ROOM, ONLY_DOCTOR):
            continue
        api.forbidden = {(one.verb, one.name.partition(" ")[2])}
        case = users[one.verb, one.group, one.resource]
        await case.apply(api)  # a later case may have shown its Plan as it was afterwards
        found = await gathered(api, case, tmp_path)
        said = [each.cure for each in found.missing if each.why == "forbidden"]
        assert any(cure.startswith(f"needs {one.name}") for cure in said), (one.name, found.missing)
        assert not found.complete, f"{one.name}: it is read again when it has been granted"


async def test_a_story_says_that_plans_may_not_be_listed(tmp_path: Path, api: KubernetesApi) -> None:
    api.forbidden = {("*", "plans.forklift.konveyor.io")}
    receivers = f"- name: platform\n  {slack('#platform')}\n"
    async with (
        FakeVendors() as vendors,
        running(routes_yaml(vendors, tmp_path, top=top(), receivers=receivers), vendors) as service,
    ):
        await service.post(alert(failed()))
        await vendors.until(lambda v: v.slack_roots())
        await service.idle()
        (story,) = await service.stories()
        (root,) = vendors.slack_roots()
    assert "needs list plans.forklift.konveyor.io in all namespaces" in json.dumps(story)
    assert "needs list plans.forklift.konveyor.io in all namespaces" in json.dumps(root.blocks)
