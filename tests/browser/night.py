"""`python -m tests.browser.night FOLDER`: a believable night of a migration team, served until standard input ends.

The service runs between fake vendors and a fake API server. Writes FOLDER/site.json when all of it has happened:
its address, and the ids of the stories by these names:

    open          3 of 20 VMs failed, cause recognised in 3 logs; told to Slack, PagerDuty and Jira, and to a channel
                  that its namespace asks for by an annotation
    rerunning     somebody started the plan again
    fixed         the new run went well
    acknowledged  somebody took it
    stuck         a live migration that the target cannot place
    autopilot     an alert that is about no plan
    dead          Slack refuses the message itself: a dead letter, told to the root receiver
    parked        the channel does not exist any more: parked, told to the root receiver; its log is hostile
    digest        one of six plans that failed at once, told as one
    storm         what stands for these six
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from receiver import waits, watch, watch_pace
from tests.acceptance.faulty import to_channel
from tests.acceptance.harness import Running, alert, failed, jira, pagerduty, routes_yaml, running, slack
from tests.acceptance.plans import DATA, ERP, State, cluster, plan, run_of, top, watched
from tests.fakes import faults
from tests.fakes.kubernetes import KubernetesApi
from tests.fakes.vendors import FakeVendors
from tests.platform_alerts import thrashing

Obj = dict[str, Any]

BITLOCKER = 'libguestfs: trace: v2v: vfs_type "/dev/sda4"\nlibguestfs: trace: v2v: vfs_type = "BitLocker"\n'
BITLOCKER += "virt-v2v: could not read key from user\n"
HOSTILE = (
    "virt-v2v: error: <script>document.title='owned'</script><img src=x onerror=document.title='owned'>\n"
    "\x1b]8;;http://evil.example\x07click\x1b]8;;\x07 \x1b[31mred\x1b[0m \u202egnp.exe\u202c </li></ol></main>\n"
    f"virt-v2v: could not {'x' * 30_000}\n"
)
EXAMPLE_ENDED = datetime(2026, 9, 14, 8, 29, 44, tzinfo=UTC)
STUCK = "cclm-billing"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@dataclass(frozen=True)
class Wave:
    """A plan of `total` VMs, of which those in `failing` failed; `log` is what their conversion pods say."""

    name: str
    namespace: str
    target: str
    failing: Sequence[str]
    total: int
    minutes_ago: int
    log: str = ""

    @property
    def uid(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, self.name))

    @property
    def ended(self) -> datetime:
        return datetime.now(UTC) - timedelta(minutes=self.minutes_ago)

    def plan(self, state: State, runs: int = 1) -> Obj:
        """Return the Plan: the example's, with this wave's names, VMs and times."""
        found = plan(state, runs=runs, uid=self.uid, name=self.name, namespace=self.namespace)
        found = self._moved(found)
        found["spec"]["targetNamespace"] = self.target
        good, bad = found["status"]["migration"]["vms"]
        vms = [renamed(bad, "erp-win01", name) | {"id": self.vm_id(number)} for number, name in enumerate(self.failing)]
        prefix = self.target.partition("-")[0]
        for number in range(len(self.failing), self.total):
            vms.append(renamed(good, "erp-web01", f"{prefix}-web{number:02}") | {"id": self.vm_id(number)})
        found["status"]["migration"]["vms"] = vms
        found["spec"]["vms"] = [{"id": vm["id"], "name": vm["name"]} for vm in vms]
        return found

    def vm_id(self, number: int) -> str:
        return f"vm-{int(self.uid[:4], 16) % 900 + 100}{number:02}"

    def alert(self, status: str = "firing") -> Obj:
        now = datetime.now(UTC)
        return alert(
            failed(self.uid, self.name), status,
            starts_at=f"{self.ended + timedelta(seconds=20):%Y-%m-%dT%H:%M:%SZ}", ends_at=f"{now:%Y-%m-%dT%H:%M:%SZ}",
        )  # fmt: skip

    async def happen(self, api: KubernetesApi) -> None:
        """Put the failed Plan there, and the failed pods with their logs."""
        await api.apply(self.plan("Failed"))
        pods = [one for one in yaml.safe_load_all(ERP.read_text()) if one["kind"] == "Pod"]
        example = next(one for one in pods if one["metadata"]["labels"]["vmID"] == "vm-1402")
        lines = (DATA / "logs" / "a-virt-v2v-erp-win01.log").read_text()
        if self.log:
            lines = "\n".join(lines.splitlines()[:21]) + f"\n{self.log}Error executing v2v command: exit status 1\n"
        for number, name in enumerate(self.failing):
            pod = self._moved(example)
            made = f"{self.name}-{self.vm_id(number)}-d8f6k"
            pod["metadata"] |= {
                "name": made,
                "namespace": self.target,
                "uid": str(uuid.uuid5(uuid.NAMESPACE_DNS, made)),
            }
            pod["metadata"]["labels"] |= {
                "plan": self.uid, "plan-name": self.name, "plan-namespace": self.namespace,
                "migration": run_of(1), "vmID": self.vm_id(number),
            }  # fmt: skip
            await api.apply(pod)
            api.set_log(self.target, made, "virt-v2v", lines.replace("erp-win01", name))

    def _moved(self, obj: Obj) -> Obj:
        return moved(obj, self.ended - EXAMPLE_ENDED)


def renamed(vm: Obj, old: str, new: str) -> Obj:
    """Return a VM under another name, which also stands in the names of its disks."""
    made: Obj = json.loads(json.dumps(vm).replace(old, new))
    return made


def moved(obj: Obj, by: timedelta) -> Obj:
    """Return an object all of whose times are later by so much."""

    def later(found: re.Match[str]) -> str:
        return f"{datetime.fromisoformat(found[0]) + by:%Y-%m-%dT%H:%M:%SZ}"

    made: Obj = json.loads(_TIME.sub(later, json.dumps(obj)))
    return made


WAVES: Mapping[str, Wave] = {
    "open": Wave(
        "pay-w17-03", "mig-payments", "payments-prod", ("pay-win-app04", "pay-win-app05", "pay-win-rpt01"), 20, 42,
        BITLOCKER,
    ),
    "rerunning": Wave("erp-wave1", "mig-erp", "erp-prod", ("erp-win01",), 8, 95),
    "fixed": Wave("crm-wave2", "mig-erp", "crm-prod", ("crm-app01",), 5, 180),
    "acknowledged": Wave("hr-wave4", "mig-hr", "hr-prod", ("hr-win02", "hr-win03"), 12, 61),
    "dead": Wave("net-edge-01", "mig-network", "network-prod", ("net-dns02",), 3, 30),
    "parked": Wave("files-cold", "mig-storage", "files-prod", ("files-win01",), 4, 25, HOSTILE),
}  # fmt: skip
STORM = tuple(
    Wave(f"shop-w09-{number:02}", "mig-shop", f"shop-{number:02}", (f"shop-win{number:02}",), 6, 12)
    for number in range(1, 7)
)


def configured(vendors: FakeVendors, folder: Path) -> Path:
    """Write a configuration of seven teams."""
    (folder / "routing-key-payments").write_text("R0UTINGKEYPAYMENTS00000000000000")
    own_key = pagerduty().replace("routing-key,", "routing-key-payments,")
    teams = {
        "payments": [slack("#payments-migrations"), own_key, jira()],
        "erp": [slack("#erp-migrations"), jira("ERP")],
        "hr": [slack("#hr-migrations")],
        "billing": [slack("#billing-migrations")],
        "network": [slack("#network")],
        "storage": [slack("#storage-archive")],
        "shop": [slack("#shop-migrations")],
    }
    receivers = f"- name: platform\n  {slack('#platform-migrations')}\n  {pagerduty()}\n"
    routes = []
    for name, destinations in teams.items():
        receivers += f"- name: {name}\n  fallback: platform\n" + "".join(f"  {one}\n" for one in destinations)
        routes.append(
            f"{{namespaces: ['{'mig-team-b' if name == 'billing' else f'mig-{name}'}', '{name}'], receiver: {name}}}"
        )
    route = f"{{receiver: platform, routes: [{', '.join(routes)}]}}"
    head = top(digest_after="4") + "\nnamespace_routing: {allow: {slack_channels: ['#mig-*']}}\n"
    return routes_yaml(vendors, folder, top=head, receivers=receivers, route=route)


def asking(namespace: str, channel: str) -> Obj:
    """Return a namespace whose owners ask for a channel of theirs."""
    wish = {"mtv-receiver.io/slack-channel": channel}
    metadata = {"name": namespace, "uid": str(uuid.uuid5(uuid.NAMESPACE_DNS, namespace)), "annotations": wish}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


async def live_migration_stands_still(api: KubernetesApi) -> None:
    """Put the example there, begun 25 minutes ago: its receiving pod finds no node."""
    objects = [one for one in yaml.safe_load_all((DATA / "d-live-cclm-stuck.yaml").read_text()) if one]
    began = datetime.fromisoformat(
        next(one["status"]["migration"]["started"] for one in objects if one["kind"] == "Plan")
    )
    for one in objects:
        # As a Kubernetes API says them: what YAML reads as a time is a text there.
        await api.apply(
            moved(json.loads(json.dumps(one, default=str)), datetime.now(UTC) - timedelta(minutes=25) - began)
        )


async def play(service: Running, vendors: FakeVendors, api: KubernetesApi) -> dict[str, str]:
    """Let the night happen; return the stories' ids by name."""
    vendors.fail("slack", faults.slack_error("invalid_blocks"), when=to_channel("#network"), always=True)
    vendors.fail("slack", faults.slack_error("is_archived"), when=to_channel("#storage-archive"), always=True)
    autopilot = thrashing()
    for one in autopilot.objects:
        await api.apply(copy.deepcopy(one))
    for wave in (*WAVES.values(), *STORM):
        await wave.happen(api)
    await live_migration_stands_still(api)
    await watched(api, service)
    # A page begins with the newest: the plan with most to tell comes last, the storm first.
    await service.post(*(wave.alert() for wave in STORM))
    await service.post(alert(autopilot.labels, annotations=autopilot.annotations))
    for wave in reversed(WAVES.values()):
        await service.post(wave.alert())

    ids: dict[str, str] = {}

    async def all_there() -> bool:
        by_alert = {}
        for story in await service.stories():
            for one in story["alerts"]:
                by_alert[one["labels"].get("plan_name") or one["labels"]["alertname"]] = story["id"]
        wanted = {name: wave.name for name, wave in WAVES.items()}
        wanted |= {"stuck": STUCK, "autopilot": autopilot.labels["alertname"], "digest": STORM[0].name}
        ids.update({name: by_alert[key] for name, key in wanted.items() if key in by_alert})
        return len(ids) == len(wanted)

    await service.until(all_there, timeout=60)
    await service.idle(timeout=60)

    again, fixed = WAVES["rerunning"], WAVES["fixed"]
    await api.apply(again.plan("Executing", runs=2))
    await api.apply(fixed.plan("Succeeded", runs=2))
    for wave in (again, fixed):
        await service.post(wave.alert("resolved"))
    taken = await service.http.post(
        f"{service.url}/api/v1/stories/{ids['acknowledged']}/acknowledge", json={"by": "Dana Whitfield"}
    )
    assert taken.status_code == 200, taken.text

    async def as_told() -> bool:
        states = {one["id"]: (one["state"], one["outcome"]) for one in await service.stories()}
        return states[ids["fixed"]] == ("resolved", "fixed") and states[ids["rerunning"]][0] == "re-running"

    await service.until(as_told, timeout=60)
    await service.idle(timeout=60)
    handed = (await service.http.get(f"{service.url}/api/v1/handover")).json()
    return {**ids, "storm": handed["storms"][0]["id"]}


async def serve(folder: Path) -> None:
    """Let the night happen and serve what it left behind."""
    # What takes half a minute otherwise.
    watch_pace.EVERY_S = waits.VIEW_EVERY_S = 0.3
    waits.SWEEP_EVERY_S = watch.ASK_AGAIN_S = 0.5
    async with FakeVendors() as vendors, cluster(folder) as api:
        # Before the service looks: what a namespace asks for counts from the first story on.
        await api.apply(asking("mig-payments", "#mig-payments-war-room"))
        await api.apply(asking("mig-erp", "#general"))
        async with running(configured(vendors, folder), vendors) as service:
            await hand_out(folder, service, await play(service, vendors, api))


async def hand_out(folder: Path, service: Running, stories: Mapping[str, str]) -> None:
    """Say where all of it is; serve it until standard input ends."""
    ready = folder / "site.json.part"
    ready.write_text(json.dumps({"url": service.url, "stories": dict(stories)}))
    ready.rename(folder / "site.json")
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
