"""Waits that no object of the target shows: no connection between the clusters, a clash of names, a VM's turn."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from receiver.model import ObjectEvent
from receiver.stuck.events import sign_of
from receiver.stuck.kinds import Finding, Kind, Owner
from receiver.stuck.objects import (
    Obj,
    condition,
    created,
    dig,
    mapping,
    moment,
    name_of,
    namespace_of,
    phase_of,
    records,
    text,
)
from receiver.stuck.view import Waiting, queued

USUAL_S = 120
"""Seconds in which source and target find each other; only a longer wait is told of."""
LOOP_QUIET_S = 120
"""A loop repeats every 3 s; one that has been silent for so many seconds has ended."""
IN_FLIGHT = 20
"""Forklift's `controller_max_vm_inflight` where neither Plan nor VM says otherwise."""

_TAKEN = re.compile(r"VM name '([^']{1,253})' already exists in the target namespace(?: '([^']{1,253})')?")
_LIMIT = re.compile(r"in-flight limit(?: reached \(max |: ?)([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Loop:
    """An error that the controller meets again and again with one name."""

    name: str
    namespace: str
    message: str
    times: int
    first: datetime | None
    last: datetime | None


def name_loops(plan: Obj, log: Sequence[str], now: datetime) -> Mapping[str, Loop]:
    """Return the clashes of names, by the name, that the controller's log tells of this Plan more than once.

    Such an error leaves the Plan's status as it was: only the log says why nothing happens.
    """
    namespace, name = namespace_of(plan), name_of(plan)
    found: dict[str, Loop] = {}
    for line in log if isinstance(log, list | tuple) else ():
        if not isinstance(line, str) or "already exists in the target namespace" not in line or len(line) > 100_000:
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(record, dict) or not _is_about(record, namespace, name):
            continue
        clash = _TAKEN.search(text(record.get("error")) or text(mapping(record.get("error")).get("message")))
        # Each round logs the error where it arises, and once more as its own end: only the end is counted.
        if clash is None or record.get("msg") != "Reconcile failed.":
            continue
        at, before = moment(record.get("ts")), found.get(clash[1])
        if before is None:
            found[clash[1]] = Loop(clash[1], clash[2] or "", clash[0], 1, at, at)
        else:
            times = before.times + 1
            found[clash[1]] = Loop(
                before.name, before.namespace, before.message, times, before.first, at or before.last
            )
    quiet = timedelta(seconds=LOOP_QUIET_S)
    return {
        key: loop
        for key, loop in found.items()
        if loop.times > 1 and loop.last is not None and now - loop.last <= quiet
    }


def taken_finding(loop: Loop, namespace: str) -> Finding:
    """Return the wait of a VM whose name is taken. It stops its whole Plan."""
    place = loop.namespace or namespace
    message = f"{loop.message} (in forklift-controller's log)"
    sign = ObjectEvent(
        "Reconcile failed.", message, "VirtualMachine", loop.name, loop.times, loop.last, True, place
    )  # fmt: skip
    cause = f"A VM named {loop.name} exists already in namespace {place or 'of the target'}."
    scope = f"{place}/{loop.name}".lstrip("/")
    return Finding(Kind.NAME_TAKEN, cause, Owner.PLAN, loop.first, evidence=(sign,), scope=scope, code="already exists")


def sync_findings(one: Waiting, now: datetime) -> tuple[Finding, ...]:
    """Return that source and target do not find each other. No limit ends it, and no capacity cures it."""
    if one.phase not in ("CreateVirtualMachineInstanceMigrations", "WaitForStateTransfer"):
        return ()
    kind = "VirtualMachineInstanceMigration"
    for side, which in ((one.receive, "target"), (one.send, "source")):
        said = condition(side, "decentralizedMigrationBlocked")
        if said.get("status") == "True" and phase_of(side) not in ("Succeeded", "Failed"):
            reason, message = text(said.get("reason"), 100), text(said.get("message"))
            why = (message or reason).rstrip(".")
            cause = f"KubeVirt of the {which} cluster reports the live migration blocked{': ' + why if why else ''}."
            sign = sign_of(side, kind, reason or "decentralizedMigrationBlocked", message)
            since = moment(said.get("lastTransitionTime")) or _entered(side)
            code = "decentralizedMigrationBlocked"
            return (Finding(Kind.NO_SYNC, cause, Owner.NETWORK, since, evidence=(sign,), code=code),)
    phase = phase_of(one.receive)
    since = _entered(one.receive)
    waits = bool(one.receive) and phase in ("", "WaitingForSync")
    if not waits or since is None or now - since < timedelta(seconds=USUAL_S):
        return ()
    told = dig(one.receive, "status", "synchronizationAddresses")
    addresses = [text(each, 100) for each in told if text(each, 100)] if isinstance(told, list) else []
    if addresses:
        cause = f"Source and target have not synchronized, though the target advertises {', '.join(addresses[:3])}."
    else:
        cause = "The target cluster advertises no address at which the source could reach it."
    send = phase_of(one.send)
    listed = "synchronizationAddresses: " + (", ".join(addresses[:3]) or "none")
    signs = [sign_of(one.receive, kind, phase or "no phase", listed)]
    signs += [sign_of(one.send, kind, send, "the source's side")] if send else []
    return (Finding(Kind.NO_SYNC, cause, Owner.NETWORK, since, evidence=tuple(signs), code=phase or "WaitingForSync"),)


def turn_finding(vm: Obj, limit: int, provider: str) -> Finding | None:
    """Return that a VM waits for its turn, which Forklift says by a condition."""
    said = queued(vm)
    message = text(said.get("message"))
    if not said or "in-flight" not in message.lower():
        return None
    whose = f" of provider {provider}" if provider else ""
    cause = f"All {limit} migration slots{whose} are busy; this VM waits for its turn."
    sign = ObjectEvent("Pending", message, "Plan", text(vm.get("name"), 253))
    since = moment(said.get("lastTransitionTime"))
    return Finding(Kind.IN_FLIGHT, cause, Owner.MIGRATION, since, evidence=(sign,), code="Pending")


def in_flight_limit(plan: Obj, vms: Sequence[Obj]) -> int:
    """Return how many VMs Forklift migrates at once from one provider, as a queued VM or the Plan says it."""
    messages = [text(queued(vm).get("message")) for vm in vms]
    messages += [text(one.get("message")) for one in records(dig(plan, "status", "conditions"))]
    found = (_LIMIT.search(message) for message in messages)
    return next((int(one[1]) for one in found if one is not None and int(one[1])), IN_FLIGHT)


def _is_about(record: Obj, namespace: str, name: str) -> bool:
    plan = record.get("plan")
    if isinstance(plan, dict):
        return bool(name) and plan.get("name") == name and plan.get("namespace") == namespace
    return bool(name) and plan == f"{namespace}/{name}"


def _entered(migration: Obj) -> datetime | None:
    """Return when a migration entered its phase."""
    phase = phase_of(migration)
    steps = records(dig(migration, "status", "phaseTransitionTimestamps"))
    times = [moment(one.get("phaseTransitionTimestamp")) for one in steps if one.get("phase") == phase]
    return next((at for at in reversed(times) if at is not None), None) or created(migration)
