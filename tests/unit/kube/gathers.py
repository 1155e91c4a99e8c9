"""A small must-gather, and how one that is none is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.kube import ClusterError
from receiver.kube.mustgather import MustGather

WIN01 = "erp-wave1-vm-1402-d8f6k"
PLAN = {
    "apiVersion": "forklift.konveyor.io/v1beta1",
    "kind": "Plan",
    "metadata": {"name": "a", "namespace": "team", "uid": "u1", "resourceVersion": "7"},
}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "a-vm-1-x", "namespace": "team", "labels": {"plan": "u1"}},
}
LOGS = {("team", "a-vm-1-x", "virt-v2v", "current"): "now\n", ("team", "a-vm-1-x", "virt-v2v", "previous"): "before\n"}


def plan_file(root: Path, name: str = "a.yaml") -> Path:
    return root / "namespaces" / "team" / "crs" / "plans.forklift.konveyor.io" / name


async def names(gather: MustGather, kind: str = "Plan") -> list[str]:
    return [obj["metadata"]["name"] for obj in await gather.list(kind, None)]


async def refused(path: Path) -> str:
    """Return why a path is no must-gather: one line with a cure."""
    gather = MustGather("t", path)
    with pytest.raises(ClusterError) as caught:
        await gather.load()
    await gather.aclose()
    assert caught.value.reason in {"bad answer", "not found"}
    assert "; " in caught.value.message
    return caught.value.message
