"""The clusters of the capacity examples, and what is said of their plan."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from receiver import build
from receiver.clock import SystemClock
from receiver.config.load import load
from receiver.config.model import Config
from receiver.destinations.registry import ALL
from receiver.kube import Cluster
from receiver.kube.api import Limits
from receiver.kube.client import LiveCluster
from receiver.plan_capacity import plan_capacity
from receiver.room.inventory import INVENTORY
from receiver.room.result import PlanCapacity
from receiver.room.supply import Supply
from tests.fleet import Fleet, fleet

GIB = 1024**3


@dataclass
class Room:
    """The clusters, and what is said of the plan."""

    clusters: Fleet
    config: Config
    live: Mapping[str, Cluster]
    supply: Supply

    def plan(self) -> dict[str, Any]:
        found = [one for one in self.clusters["hub"].objects.values() if one["kind"] == "Plan"]
        return next(one for one in found if one["metadata"]["name"].endswith("k7x2"))

    async def judged(self, now: datetime | None = None, *, others: bool = False) -> PlanCapacity:
        return await plan_capacity(
            self.config,
            self.live["hub"],
            json.loads(json.dumps(self.plan())),
            clusters=self.live,
            supply=self.supply,
            now=now or SystemClock().now(),
            others=others,
        )


@asynccontextmanager
async def room(
    folder: Path,
    targets: Mapping[str, str] | None = None,
    *,
    executing: bool = False,
    wait_s: float = 10.0,
    request_s: float = 10.0,
) -> AsyncIterator[Room]:
    async with fleet(folder, targets or {"west": "s1-fits.yaml"}, executing=executing) as clusters:
        config = load(clusters.config, ALL)
        live = {
            name: LiveCluster.from_kubeconfig(
                name, folder / f"{name}.kubeconfig", limits=Limits(request_timeout=request_s, connect_timeout=request_s)
            )
            for name in clusters.servers
        }
        assert build.clusters(config).keys() == live.keys()
        supply = Supply(SystemClock(), wait_s=wait_s)
        yield Room(clusters, config, live, supply)
        await supply.aclose()
        for one in live.values():
            await one.aclose()


def vsphere(it: Room) -> tuple[dict[str, Any], dict[str, Any], str]:
    hub = it.clusters["hub"]
    provider = next(one for one in hub.objects.values() if one["metadata"]["name"] == "east-mtv")
    provider = {**provider, "spec": {"type": "vsphere", "url": "https://vcenter/sdk"}}
    plan = it.plan()
    plan["spec"] |= {"type": "cold", "vms": [{"id": "vm-41", "name": "db"}, {"id": "vm-42", "name": "app"}]}
    path = f"/api/v1/namespaces/openshift-mtv/services/{INVENTORY}/proxy/providers/vsphere/"
    return provider, plan, f"{path}{provider['metadata']['uid']}/vms/"


async def from_inventory(it: Room) -> tuple[dict[str, Any], str]:
    """Let the VMs come from vSphere, their disks to array-gold; return the plan, not applied yet, and where VMs are."""
    hub = it.clusters["hub"]
    provider, plan, path = vsphere(it)
    it.config = without(it.config, "east")
    await hub.apply(provider)
    storage_map = next(one for one in hub.objects.values() if one["kind"] == "StorageMap")
    storage_map["spec"]["map"].append({"source": {"id": "datastore-7"}, "destination": {
        "storageClass": "array-gold", "volumeMode": "Block"}})  # fmt: skip
    return plan, path


def without(config: Config, name: str) -> Config:
    clusters = tuple(replace(one, providers=()) if one.name == name else one for one in config.clusters)
    return replace(config, clusters=clusters)
