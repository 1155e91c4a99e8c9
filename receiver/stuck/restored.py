"""A snapshot as a view again: what a migration's VMs waited for when they were last seen."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any

from receiver.stuck.links import JOB_NAME, JOB_UID
from receiver.stuck.objects import Obj, dig, mapping, records, text, whole
from receiver.stuck.view import View, ended, vms_of

# Both sides of a migration that was under way: the phases in which KubeVirt's objects exist.
_MOVING = "WaitForStateTransfer"
_FRACTION = re.compile(r"([0-9]{1,25})(?:/([0-9]{1,25}))?")


def restored(snapshot: Mapping[str, Any], plan: Mapping[str, Any], taken_at: datetime) -> View:
    """Return the view that `snapshot` was made of, as far as it was kept; `plan` may have ended since.

    Never raises: what somebody else wrote there counts as absent. VMs that have failed since count as under way, in
    the phase in which they failed; all others are left out, since the Plan itself tells of them.
    """

    def listed(key: str, widen: Callable[[Obj], dict[str, Any]]) -> tuple[dict[str, Any], ...]:
        return tuple(widen(one) for one in records(snapshot.get(key)))

    return View(
        plan=plan,
        now=taken_at,
        vms=tuple(_under_way(vm) for vm in vms_of(View(plan, taken_at)) if _failed(vm)) or ({"phase": "Completed"},),
        pods=listed("pods", _pod),
        claims=listed("claims", _claim),
        data_volumes=listed("data_volumes", _data_volume),
        vmis=listed("vmis", _object),
        target_migrations=listed("target_migrations", _migration),
        source_migrations=listed("source_migrations", _migration),
        events=listed("events", _event),
    )


def _failed(vm: Obj) -> bool:
    kinds = {text(one.get("type"), 100) for one in records(vm.get("conditions")) if one.get("status") != "False"}
    return ended(vm) and ("Failed" in kinds or bool(mapping(vm.get("error")))) and not kinds & {"Succeeded", "Canceled"}


def _under_way(vm: Obj) -> dict[str, Any]:
    phase = text(dig(vm, "error", "phase"), 100) or _MOVING
    over = ("completed", "error", "conditions")
    return {**{key: value for key, value in vm.items() if key not in over}, "phase": phase}


def _object(kept: Obj) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": kept.get("name"),
        "namespace": kept.get("namespace"),
        "uid": kept.get("uid"),
        "creationTimestamp": kept.get("created"),
        "labels": dict(mapping(kept.get("labels"))),
    }
    if job := text(kept.get("job"), 253):
        metadata["annotations"] = {JOB_NAME: job}
    if deleted := text(kept.get("deleted"), 40):
        metadata["deletionTimestamp"] = deleted
    status = {"phase": kept.get("phase"), "reason": kept.get("reason"), "conditions": kept.get("conditions")}
    return {"kind": kept.get("kind"), "metadata": metadata, "status": status}


def _pod(kept: Obj) -> dict[str, Any]:
    made = _object(kept)
    labels = made["metadata"]["labels"]
    if JOB_UID in labels or "annotations" in made["metadata"]:
        labels["kubevirt.io"] = "virt-launcher"  # only receivers bear these
    asks = {name: asked for name, value in mapping(kept.get("asks")).items() if (asked := _quantity(name, value))}
    made["spec"] = {
        "nodeName": kept.get("node"),
        "containers": [{"name": "all", "resources": {"requests": asks}}],
        "schedulingGates": [{"name": one} for one in _texts(kept.get("gates"))],
    }
    made["status"]["containerStatuses"] = [
        {"name": one[0], "state": {"waiting": {"reason": one[1]}}} for one in _rows(kept.get("waits")) if len(one) == 2
    ]
    return made


def _migration(kept: Obj) -> dict[str, Any]:
    made = _object(kept)
    role = "sendTo" if kept.get("role") == "sendTo" else "receive"
    made["spec"] = {"vmiName": kept.get("vmi"), role: {"migrationID": kept.get("migration_id") or "not kept"}}
    made["status"] |= {
        "synchronizationAddresses": _texts(kept.get("addresses")),
        "phaseTransitionTimestamps": [
            {"phase": one[0], "phaseTransitionTimestamp": one[1]} for one in _rows(kept.get("steps")) if len(one) == 2
        ],
        "migrationState": {"failureReason": kept.get("failure")},
    }
    return made


def _claim(kept: Obj) -> dict[str, Any]:
    asked = {"requests": {"storage": kept.get("size")}}
    return {**_object(kept), "spec": {"storageClassName": kept.get("storage_class"), "resources": asked}}


def _data_volume(kept: Obj) -> dict[str, Any]:
    made = {**_object(kept), "spec": {"storage": _claim(kept)["spec"]}}
    made["status"] |= {"claimName": kept.get("claim"), "progress": kept.get("progress")}
    return made


def _event(kept: Obj) -> dict[str, Any]:
    about = {"kind": kept.get("kind"), "name": kept.get("name"), "namespace": kept.get("namespace")}
    return {
        "type": kept.get("type"),
        "reason": kept.get("reason"),
        "message": kept.get("message"),
        "involvedObject": about,
        "metadata": {"namespace": kept.get("namespace")},
        "firstTimestamp": kept.get("first"),
        "lastTimestamp": kept.get("last"),
        "count": whole(kept.get("count")) or 1,
    }


def _quantity(name: str, value: object) -> str:
    """An exact fraction was kept: `4/5` CPUs are 800m."""
    found = _FRACTION.fullmatch(text(value, 60))
    if found is None or not int(found[2] or "1"):
        return ""
    asked = Fraction(int(found[1]), int(found[2] or "1"))
    return f"{round(asked * 1_000)}m" if name == "cpu" else str(round(asked))


def _texts(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _rows(value: object) -> list[list[str]]:
    return [_texts(one) for one in value if isinstance(one, list)] if isinstance(value, list) else []
