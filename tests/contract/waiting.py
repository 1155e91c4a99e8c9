"""Live migrations that wait at the cluster "west", and one that has failed since, as the worked example tells them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from receiver.model import Room
from receiver.stuck import View, snapshot
from tests.contract.failures import Failure, Obj

DATA = Path(__file__).parents[1] / "data" / "stuck"
SEEN = datetime(2026, 9, 1, 8, 4, tzinfo=UTC)
KINDS: Mapping[str, str] = {
    "pods": "Pod", "claims": "PersistentVolumeClaim", "data_volumes": "DataVolume",
    "target_migrations": "VirtualMachineInstanceMigration", "events": "Event",
}  # fmt: skip
RUN = "9d1d5f60-2f6e-4b52-8b0a-7a1f4c9be001"
ENDED = "2026-09-01T08:05:02Z"
SOUTH = "south fits, which leaves 67.4 % of CPU, 50.6 % of memory and 87.3 % of storage free"
NORTH = "north short: class array-gold does not exist on north, the plan needs 521.00 GiB of it (and 1 more)"
NO_QUOTA = Room(
    "west", "short",
    "Short: the plan needs 16.34 GiB requests.memory, quota payments/payments-quota leaves 12.00 GiB, 4.34 GiB missing",
    (SOUTH, NORTH), ("south",), "01K9ZQ5000ABCDEFGHJKMNPQRS",
)  # fmt: skip
NO_NODE = Room(
    "west", "short",
    "Short: pay-db-01 needs 32.37 GiB memory on one node, the best (west-w1) has 28.00 GiB, 4.37 GiB missing",
    (SOUTH, NORTH), ("south",), "01K9ZQ5000ABCDEFGHJKMNPQRS",
)  # fmt: skip
ENOUGH = Room(
    "west", "fits", "Fits: 1 VM finds room on west, which leaves 71.0 % of CPU and 26.9 % of memory free",
    (SOUTH, NORTH), ("south",),
)  # fmt: skip
"""What `receiver.rooms` says of the plan: where it goes, and of two other clusters."""


def documents(name: str) -> list[Obj]:
    return [one for one in yaml.safe_load_all((DATA / name).read_text(encoding="utf-8")) if one]


def live(*waiting: str, seen: datetime = SEEN) -> Failure:
    """Return the example's Plan: these VMs wait, the others are done."""
    plan = next(one for one in documents("s5-plan.yaml") if one["kind"] == "Plan")
    run = {"name": "cross-cluster-migration-k7x2-run1", "namespace": "mtv-integrations", "uid": RUN}
    plan["status"]["migration"]["history"] = [{"migration": run, "conditions": []}]
    for vm in plan["status"]["migration"]["vms"]:
        if vm["name"] not in waiting:
            _end(vm, "Succeeded", "2026-09-01T08:02:00Z")
    objects = [one for one in documents("s5-observed-pending.yaml") if _is_of(one, waiting)]
    for one in objects:
        if one["metadata"]["name"] == "pay-web-01-root" and one["kind"] == "PersistentVolumeClaim":
            one["metadata"]["uid"] = "3a5b0d7e-0000-4000-8000-0123456789ab"  # as the claim that fills it is named
    return Failure([plan, *objects], alertname="MTVPlanStuck", target="west", now=seen)


def live_failed() -> Failure:
    """The VM that no node could take, a minute after KubeVirt gave up: Forklift has deleted its objects."""
    before = live("pay-db-01")
    plan = copy.deepcopy(before.plan)
    for vm in plan["status"]["migration"]["vms"]:
        if vm["name"] == "pay-db-01":
            vm["error"] = {"phase": vm["phase"], "reasons": ["Migration failed, check VMIM status for details."]}
            _end(vm, "Failed", ENDED)
    plan["status"]["migration"]["completed"] = ENDED
    plan["status"]["conditions"] = [{"type": "Failed", "status": "True", "message": "The plan execution has FAILED."}]
    listed: dict[str, Any] = {
        key: [one for one in before.objects if one["kind"] == kind] for key, kind in KINDS.items()
    }
    kept = snapshot(View(plan=before.plan, now=SEEN, **listed))
    return Failure([plan], target="west", kept=(kept, SEEN), now=datetime(2026, 9, 1, 8, 6, tzinfo=UTC))


def _end(vm: Obj, state: str, when: str) -> None:
    vm |= {"phase": "Completed", "completed": when}
    vm["conditions"] = [{"type": state, "status": "True", "category": "Advisory", "lastTransitionTime": when}]
    step = vm["pipeline"][-1]
    step |= {"phase": "Completed", "completed": when}
    if "error" in vm:
        step["error"] = {"phase": "Running", "reasons": vm["error"]["reasons"]}


def _is_of(obj: Obj, names: tuple[str, ...]) -> bool:
    """Does an object of the example belong to one of these VMs?"""
    about = obj.get("involvedObject", {}).get("name", "")
    said = " ".join((obj["metadata"]["name"], obj.get("spec", {}).get("vmiName", ""), about, obj.get("message", "")))
    # The example's web server is the only one that waits for a volume.
    return any(name in said for name in names) or ("pay-web-01" in names and "prime-" in said)
