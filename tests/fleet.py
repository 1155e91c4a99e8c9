"""The clusters of the capacity examples behind API servers: hub, source east, and targets west, south and north."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.fakes.kubernetes import KubernetesApi, running

DATA = Path(__file__).parent / "data" / "capacity"
PLAN = "mtv-integrations/cross-cluster-migration-k7x2"
KUBEVIRT = {
    "apiVersion": "kubevirt.io/v1",
    "kind": "KubeVirt",
    "metadata": {"name": "kubevirt", "namespace": "openshift-cnv"},
    "status": {"observedKubeVirtVersion": "v1.9.0"},
}
TARGETS = {"west": "s1-fits.yaml"}
S4 = {"west": "s4-quota-short-west.yaml", "south": "s4-alternative-south.yaml", "north": "s4-alternative-north.yaml"}


@dataclass
class Fleet:
    """API servers by name, and a configuration that names them all."""

    servers: dict[str, KubernetesApi]
    config: Path

    def __getitem__(self, name: str) -> KubernetesApi:
        return self.servers[name]

    @property
    def asked(self) -> int:
        """Requests at all servers so far."""
        return sum(len(server.asked) for server in self.servers.values())


@asynccontextmanager
async def fleet(
    folder: Path, targets: Mapping[str, str] = TARGETS, *, executing: bool = False, more: str = ""
) -> AsyncIterator[Fleet]:
    """Run the servers until the end of the block. Unless `executing`, the plan has not begun."""
    async with AsyncExitStack() as stack:
        servers = {name: KubernetesApi() for name in ("hub", "east", *targets)}
        for name, server in servers.items():
            await stack.enter_async_context(running(server))
            if name != "hub":
                await server.apply(KUBEVIRT)
        await load(servers["hub"], "01-cclm-plan.yaml", without=("Secret", "Migration"))
        await load(servers["hub"], "managedclusters.yaml")
        if not executing:
            plan = next(each for each in servers["hub"].objects.values() if each["kind"] == "Plan")
            await servers["hub"].apply({**plan, "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
        await load(servers["east"], "00-source-vms.yaml")
        for name, file in targets.items():
            await load(servers[name], file)
        clusters: list[dict[str, Any]] = []
        for name, server in servers.items():
            server.write_kubeconfig(folder / f"{name}.kubeconfig")
            one: dict[str, Any] = {"name": name, "kubeconfig_file": f"{name}.kubeconfig"}
            if name != "hub":
                one |= {"matchers": [f'cluster="{name}"'], "providers": [f"mtv-integrations/{name}-mtv"]}
            clusters.append(one)
        config = folder / "routes.yaml"
        document = {
            "clusters": clusters,
            "receivers": [{"name": "team", "webhook_configs": [{"url": "http://127.0.0.1:9/"}]}],
            "route": {"receiver": "team"},
        }
        config.write_text(yaml.safe_dump(document) + more)
        yield Fleet(servers, config)


async def load(server: KubernetesApi, file: str, without: tuple[str, ...] = ()) -> None:
    """Apply the objects of an example file."""
    for each in yaml.safe_load_all(await asyncio.to_thread((DATA / file).read_text)):
        if each and each["kind"] not in without:
            if each["kind"] in ("ResourceQuota", "LimitRange", "Pod", "PersistentVolumeClaim"):
                each["metadata"].setdefault("namespace", "payments")
            await server.apply(each)
