"""What it costs to learn how much room a cluster has: `python -m benchmarks.capacity [--pods 1000 10000 100000]`.

An API server on loopback makes pods of 7 KB, in pages of 500 and compressed as the real one does; a process of its own
reads them as the service would, judges a plan of 100 VMs, and asks again. Time is the processor time of that process:
what the server needs is not ours.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
import tempfile
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.table import Row, arguments, end
from receiver.capacity import Holes, Question, Vector, VmNeed, check
from receiver.clock import SystemClock
from receiver.kube.client import LiveCluster
from receiver.room.supply import Supply
from tests.fakes.server import serve

SIZES = (1_000, 10_000, 100_000)
PODS_A_NODE = 20
VMS = 100
POD_BYTES = 7_000
NODE_BYTES = 20_000
CPU_S = 15.0
PEAK_MB = 300
"""In MB of 1,000,000 bytes, the interpreter and our libraries included."""
AGAIN_S = 1.0


def _pod(number: int, nodes: int) -> dict[str, Any]:
    requests = {"cpu": f"{50 + number % 7 * 50}m", "memory": f"{128 + number % 11 * 64}Mi"}
    made: dict[str, Any] = {
        "metadata": {"name": f"app-{number:06d}", "namespace": f"team-{number % 100:03d}", "uid": f"{number:032x}"},
        "spec": {
            "nodeName": f"node-{number % nodes:05d}",
            "containers": [
                {"name": "app", "resources": {"requests": requests, "limits": {"memory": "2Gi"}}},
                {"name": "proxy", "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}},
            ],
        },
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }
    return _padded(made, POD_BYTES)


def _node(number: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "metadata": {"name": f"node-{number:05d}", "labels": {"kubevirt.io/schedulable": "true"}},
        "spec": {},
        "status": {
            "allocatable": {"cpu": "64", "memory": "256Gi", "pods": "250", "devices.kubevirt.io/kvm": "1k"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    return _padded(made, NODE_BYTES)


def _padded(made: dict[str, Any], size: int) -> dict[str, Any]:
    """Fill an object up as managedFields, annotations and lists of images do."""
    count = max(0, size - len(json.dumps(made)) - 60) // 40
    made["metadata"]["annotations"] = {
        f"f:{at:04d}": f"value-{at * 7919 % 10007:05d}-of-a-field" for at in range(count)
    }
    return made


@lru_cache(maxsize=16)
def _items(kind: str, offset: int, count: int, nodes: int) -> bytes:
    made = (_pod(offset + at, nodes) if kind == "pods" else _node(offset + at) for at in range(count))
    return ",".join(json.dumps(one) for one in made).encode()


def _api(pods: int) -> Starlette:
    """Return an API server with so many pods."""
    nodes = max(1, pods // PODS_A_NODE)

    async def page(request: Request) -> Response:
        query, kind = request.query_params, request.path_params["kind"]
        waiting = "spec.nodeName=," in query.get("fieldSelector", "")
        whole = 0 if waiting else pods if kind == "pods" else nodes
        start, limit = int(query.get("continue", "0")), int(query["limit"])
        count = min(limit, whole - start)
        # Pages repeat after all nodes had their turn: what is made once serves again.
        items = _items(kind, start % nodes if kind == "pods" else start, count, nodes) if count else b""
        token = f',"continue":"{start + limit}"' if start + limit < whole else ""
        body = b'{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"%s},"items":[%s]}'
        packed = await asyncio.to_thread(gzip.compress, body % (token.encode(), items), 1)
        return Response(packed, media_type="application/json", headers={"Content-Encoding": "gzip"})

    return Starlette(routes=[Route("/api/v1/{kind}", page)])


async def read(kubeconfig: Path) -> dict[str, float]:
    """Read the cluster, judge a plan, and judge it again from what is kept. Runs in the child."""
    cluster = LiveCluster.from_kubeconfig("bench", kubeconfig)
    supply = Supply(SystemClock(), wait_s=600.0, read_s=600.0)
    base = _peak_mb()
    began, cpu = time.monotonic(), time.process_time()
    first = await _judged(supply, cluster)
    wall, cpu = time.monotonic() - began, time.process_time() - cpu
    began = time.monotonic()
    again = await _judged(supply, cluster)
    again_s = time.monotonic() - began
    if again != first:
        raise AssertionError("the second answer differs")
    await supply.aclose()
    await cluster.aclose()
    return {"wall": wall, "cpu": cpu, "again": again_s, "peak": _peak_mb(), "base": base}


async def _judged(supply: Supply, cluster: LiveCluster) -> str:
    holes = (await supply.of(cluster)).holes
    if not isinstance(holes, Holes):
        raise AssertionError(str(holes))
    need = Vector({"cpu": 400, "memory": 16 * 1024**3, "pods": 1, "devices.kubevirt.io/kvm": 1})
    vms = tuple(VmNeed(f"vm-{number:03d}", "team", need) for number in range(VMS))
    return check(Question(cluster.name, vms, nodes=holes)).verdict.value


def _peak_mb() -> float:
    # Not ru_maxrss: a child begins with its parent's.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


async def measure(sizes: list[int]) -> list[Row]:
    """Serve clusters of these sizes, each to a process of its own."""
    rows = []
    for pods in sizes:
        with tempfile.TemporaryDirectory() as folder:
            kubeconfig = Path(folder) / "kubeconfig"
            async with serve(_api(pods)) as url:
                kubeconfig.write_text(_kubeconfig(url))
                command = [sys.executable, "-m", "benchmarks.capacity", "--read", str(kubeconfig)]
                done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        largest = pods == SIZES[-1]
        what = f"capacity: {pods:,} pods on {max(1, pods // PODS_A_NODE):,} nodes"
        rows += [
            Row(
                f"{what}, our processor time",
                f"{found['cpu']:.1f} s ({found['wall']:.1f} s in all, the server's part included)",
                f"<= {CPU_S:g} s" if largest else "",
                found["cpu"] <= CPU_S if largest else None,
            ),
            Row(
                f"{what}, peak memory",
                f"{found['peak']:.0f} MB ({found['base']:.0f} MB before)",
                f"<= {PEAK_MB} MB" if largest else "",
                found["peak"] <= PEAK_MB if largest else None,
                ratio=True,
            ),
            Row(
                f"{what}, {VMS} VMs judged again from what is kept",
                f"{found['again'] * 1000:.0f} ms",
                f"<= {AGAIN_S:g} s" if largest else "",
                found["again"] <= AGAIN_S if largest else None,
            ),
        ]
    return rows


def _kubeconfig(url: str) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "bench",
            "clusters": [{"name": "bench", "cluster": {"server": url}}],
            "users": [{"name": "bench", "user": {"token": "bench"}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        }
    )


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--pods", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--read", type=Path, help="the part of the child: read this cluster and print the figures")
    given = parser.parse_args()
    if given.read is not None:
        print(json.dumps(asyncio.run(read(given.read))))
        sys.exit(0)
    sys.exit(end("Capacity", asyncio.run(measure(given.pods)), given))
