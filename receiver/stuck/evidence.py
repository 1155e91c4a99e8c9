"""What to keep of the objects of a live migration while it runs: a few fields of each, as JSON.

When a live VM fails, Forklift deletes its target VM, migrations, DataVolumes and claims in the next reconcile, before
any alert is sent; after that only events and what was kept remain. A caller stores a snapshot when `changed` says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from receiver.stuck.links import JOB_NAME, JOB_UID, VM_NAME
from receiver.stuck.objects import Obj, dig, mapping, records, text, whole
from receiver.stuck.pods import pod_request
from receiver.stuck.view import View

LIMIT_BYTES = 65_536
"""Of one snapshot, as compact JSON in UTF-8. Twenty stuck VMs with their objects take about half of it."""

_WORDS = 600
_MOST_CONDITIONS = 12
_LABELS = ("plan", "migration", "vmID", JOB_UID, VM_NAME)
# Fields that change with every heartbeat, retry or reading and say nothing new.
_RESTLESS = frozenset({"count", "last", "at"})
_RESTING = ("events", "logs")


def reduced(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is worth keeping of an object of any kind: identity, phase, conditions, and what its kind tells."""
    kept: dict[str, Any] = {
        "kind": text(obj.get("kind"), 100),
        "namespace": text(dig(obj, "metadata", "namespace"), 253),
        "name": text(dig(obj, "metadata", "name"), 253),
        "uid": text(dig(obj, "metadata", "uid"), 100),
        "created": text(dig(obj, "metadata", "creationTimestamp"), 40),
        "deleted": text(dig(obj, "metadata", "deletionTimestamp"), 40),
        "phase": text(dig(obj, "status", "phase"), 100),
        "reason": text(dig(obj, "status", "reason"), 100),
        "labels": _strings(dig(obj, "metadata", "labels"), _LABELS),
        "job": text(dig(obj, "metadata", "annotations", JOB_NAME), 253),
        "conditions": [_condition(one) for one in records(dig(obj, "status", "conditions"))[:_MOST_CONDITIONS]],
    }
    kept |= _of_migration(obj) | _of_pod(obj) | _of_volume(obj)
    return {key: value for key, value in kept.items() if value not in ("", None, [], {})}


def reduced_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is worth keeping of an event of either API."""
    about = mapping(event.get("involvedObject")) or mapping(event.get("regarding"))
    first = text(event.get("firstTimestamp"), 40) or text(event.get("eventTime"), 40)
    last = text(event.get("lastTimestamp"), 40) or text(dig(event, "series", "lastObservedTime"), 40)
    kept: dict[str, Any] = {
        "type": text(event.get("type"), 20),
        "reason": text(event.get("reason"), 100),
        "message": text(event.get("message"), _WORDS) or text(event.get("note"), _WORDS),
        "kind": text(about.get("kind"), 100),
        "namespace": text(about.get("namespace"), 253),
        "name": text(about.get("name"), 253),
        "first": first,
        "last": last or first,
        "count": whole(event.get("count")) or whole(dig(event, "series", "count")) or 1,
    }
    return {key: value for key, value in kept.items() if value not in ("", None)}


def snapshot(view: View, limit_bytes: int = LIMIT_BYTES) -> dict[str, Any]:
    """Return the reduced objects of a view, never more than `limit_bytes`; `left_out` counts what did not fit.

    What is scarce and tells most comes first: migrations, pods, instances, volumes, then events, warnings first and
    the newest of them. In a fixed order, so that the same objects give the same snapshot.
    """
    objects: list[tuple[str, dict[str, Any]]] = []
    for key, listed in (
        ("target_migrations", view.target_migrations),
        ("source_migrations", view.source_migrations),
        ("pods", view.pods),
        ("vmis", view.vmis),
        ("data_volumes", view.data_volumes),
        ("claims", view.claims),
    ):
        objects += [(key, one) for one in _sorted([reduced(each) for each in records(listed)])]
    events = _sorted([reduced_event(each) for each in records(view.events)])
    events.sort(key=lambda one: str(one.get("last", "")), reverse=True)
    events.sort(key=lambda one: one.get("type") != "Warning")
    objects += [("events", one) for one in events]
    kept: dict[str, Any] = {}
    # 22 bytes hold "left_out" with its number; each list costs its key, quotes, colon, brackets and comma.
    left_out, size = 0, 2 + 22
    for key, one in objects:
        cost = _size(one) + 1 + (0 if key in kept else len(key) + 6)
        if size + cost > limit_bytes:
            left_out += 1
            continue
        kept.setdefault(key, []).append(one)
        size += cost
    if left_out and limit_bytes >= size:
        kept["left_out"] = left_out
    return kept


def changed(old: object, new: object) -> bool:
    """Does a snapshot say more than the one before it? A retry that only counts on is no change."""
    return _steady(old) != _steady(new)


def _of_migration(obj: Obj) -> dict[str, Any]:
    steps = records(dig(obj, "status", "phaseTransitionTimestamps"))[-12:]
    addresses = dig(obj, "status", "synchronizationAddresses")
    role = "receive" if mapping(dig(obj, "spec", "receive")) else "sendTo"
    return {
        "vmi": text(dig(obj, "spec", "vmiName"), 253),
        "role": role if mapping(dig(obj, "spec", role)) else "",
        "migration_id": text(dig(obj, "spec", role, "migrationID"), 253),
        "addresses": [text(one, 100) for one in addresses[:4] if text(one)] if isinstance(addresses, list) else [],
        "steps": [[text(one.get("phase"), 60), text(one.get("phaseTransitionTimestamp"), 40)] for one in steps],
        "failure": text(dig(obj, "status", "migrationState", "failureReason"), _WORDS),
    }


def _of_pod(obj: Obj) -> dict[str, Any]:
    if obj.get("kind") not in ("Pod", None) or not records(dig(obj, "spec", "containers")):
        return {}
    asks = {name: str(found) for name in ("cpu", "memory") if (found := pod_request(obj, name)) is not None}
    waits = [
        [text(one.get("name"), 253), text(dig(one, "state", "waiting", "reason"), 100)]
        for one in records(dig(obj, "status", "containerStatuses"))[:10]
        if text(dig(one, "state", "waiting", "reason"))
    ]
    gates = [text(one.get("name"), 253) for one in records(dig(obj, "spec", "schedulingGates"))[:5]]
    return {"node": text(dig(obj, "spec", "nodeName"), 253), "asks": asks, "waits": waits, "gates": gates}


def _of_volume(obj: Obj) -> dict[str, Any]:
    storage = text(dig(obj, "spec", "storageClassName"), 253) or text(dig(obj, "spec", "storage", "storageClassName"))
    size = dig(obj, "spec", "resources", "requests", "storage")
    return {
        "storage_class": text(storage, 253),
        "size": text(size, 40) or text(dig(obj, "spec", "storage", "resources", "requests", "storage"), 40),
        "claim": text(dig(obj, "status", "claimName"), 253),
        "progress": text(dig(obj, "status", "progress"), 20),
    }


def _condition(one: Obj) -> dict[str, str]:
    keys = {"type": 100, "status": 20, "reason": 100, "message": _WORDS, "lastTransitionTime": 40}
    return {key: found for key, limit in keys.items() if (found := text(one.get(key), limit))}


def _strings(value: object, keys: Sequence[str]) -> dict[str, str]:
    return {key: found for key in keys if (found := text(mapping(value).get(key), 253))}


def _sorted(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(objects, key=lambda one: json.dumps(one, sort_keys=True))


def _size(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def _steady(value: object) -> object:
    """Return a snapshot without what changes with every retry, in an order of its own."""
    if isinstance(value, dict):
        return {
            key: sorted((_dumped(one) for one in held), key=str) if key in _RESTING and isinstance(held, list) else held
            for key, held in value.items()
        }
    return value


def _dumped(event: object) -> str:
    kept = {key: held for key, held in event.items() if key not in _RESTLESS} if isinstance(event, dict) else event
    return json.dumps(kept, sort_keys=True, default=str)
