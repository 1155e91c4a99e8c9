"""Waits of a receiver pod that was made and cannot start."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from fractions import Fraction

from receiver.model import ObjectEvent
from receiver.stuck.events import sign_of
from receiver.stuck.kinds import Finding, Kind, Owner, Shortage
from receiver.stuck.links import Links
from receiver.stuck.objects import (
    Obj,
    annotation,
    condition,
    created,
    dig,
    moment,
    phase_of,
    records,
    text,
)
from receiver.stuck.quota_text import quantity, shortage, unit_of
from receiver.stuck.scheduler import Reason, Verdict, parse_verdict
from receiver.stuck.view import Waiting

UNSCHEDULABLE_S = 300
"""Seconds after which KubeVirt deletes a target pod that is unschedulable; its default (`migration.go`)."""
PENDING_S = 900
"""Seconds after which it deletes one that is pending for any reason, also an unschedulable one."""

_UNSCHEDULABLE_S = "kubevirt.io/migrationUnschedulablePodTimeoutSeconds"
_PENDING_S = "kubevirt.io/migrationPendingPodTimeoutSeconds"
_SECONDS = re.compile(r"[+-]?[0-9]{1,18}")
_AAQ = "ApplicationAwareQuotaGate"
_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"})
_STORAGE = ("storage-space", "storage-none")

# In the order of the sentence: what a person can change first.
_PHRASES: Mapping[str, str] = {
    "insufficient": "too little {resource}",
    "too-many-pods": "no place for another pod",
    "storage-space": "too little free storage",
    "storage-none": "no volume that fits",
    "volume-affinity": "no access to its volume",
    "volume-count": "no place for another volume",
    "affinity": "labels or an affinity that do not match",
    "pod-affinity": "a conflict with its rules about other pods",
    "spread": "a conflict with its topology spread",
    "taint": "a taint that it does not tolerate",
    "cordoned": "no scheduling allowed",
}


def pod_findings(one: Waiting, links: Links) -> tuple[Finding, ...]:
    """Return what the receiver pod waits for."""
    if one.pod:
        found = (_scheduling(one, links), _image(one, links))
        return tuple(each for each in found if each is not None) if phase_of(one.pod) in ("Pending", "") else ()
    return _copied(one, links)


def deadline_of(pod: Obj, migration: Obj, *, unschedulable: bool) -> tuple[datetime | None, int]:
    """Return when KubeVirt deletes a pending target pod, and after how many seconds of its life.

    The limits are annotations of the target's VirtualMachineInstanceMigration; one that is no number counts as absent.
    """
    seconds = _seconds(migration, _PENDING_S, PENDING_S)
    if unschedulable:
        seconds = min(seconds, _seconds(migration, _UNSCHEDULABLE_S, UNSCHEDULABLE_S))
    born = created(pod)
    try:
        return (born + timedelta(seconds=seconds) if born is not None else None), seconds
    except OverflowError:  # somebody asked for ages
        return None, seconds


def pod_request(pod: Obj, resource: str) -> Fraction | None:
    """Return what a pod asks of a node: its containers and sidecars together, or a larger init container; overhead.

    A request for the pod as a whole replaces the sum (Kubernetes `component-helpers/resource`). None: it asks nothing.
    """
    own = quantity(dig(pod, "spec", "resources", "requests", resource))
    total = sum((_asks(each, resource) for each in records(dig(pod, "spec", "containers"))), Fraction(0))
    sidecars, peak = Fraction(0), Fraction(0)
    for each in records(dig(pod, "spec", "initContainers")):
        if each.get("restartPolicy") == "Always":
            sidecars += _asks(each, resource)
            peak = max(peak, sidecars)
        else:
            peak = max(peak, sidecars + _asks(each, resource))
    needed = own if own is not None else max(total + sidecars, peak)
    needed += quantity(dig(pod, "spec", "overhead", resource)) or Fraction(0)
    return needed if needed > 0 else None


def _scheduling(one: Waiting, links: Links) -> Finding | None:
    said = condition(one.pod, "PodScheduled")
    if said.get("status") != "False":
        return None
    reason, message = text(said.get("reason"), 100), text(said.get("message"))
    since = moment(said.get("lastTransitionTime")) or created(one.pod)
    at, after = deadline_of(one.pod, one.receive, unschedulable=reason == "Unschedulable")
    signs = _signs(one, links, "FailedScheduling") or (sign_of(one.pod, "Pod", reason, message),)
    if reason == "SchedulingGated":
        gates = [text(each.get("name"), 253) for each in records(dig(one.pod, "spec", "schedulingGates"))]
        aaq = _AAQ in gates
        kind, owner = (Kind.QUOTA_GATE, Owner.QUOTA) if aaq else (Kind.SCHEDULING_GATE, Owner.MIGRATION)
        named = ", ".join(gates[:3]) or "of unknown name"
        cause = (
            f"An Application Aware Quota of namespace {one.namespace or 'of the target'} holds the receiver pod back."
            if aaq
            else f"A scheduling gate ({named}) holds the receiver pod back."
        )
        return Finding(kind, cause, owner, since, True, at, after, signs, code=_AAQ if aaq else reason)
    if reason == "Unschedulable":
        return _unschedulable(one, message, since, at, after, signs, links)
    if reason == "SchedulerError":
        cause = "The scheduler of the target cluster met an error with the receiver pod."
        return Finding(Kind.SCHEDULER_ERROR, cause, Owner.NODES, since, True, at, after, signs, code=reason)
    return None


def _unschedulable(
    one: Waiting,
    message: str,
    since: datetime | None,
    at: datetime | None,
    after: int | None,
    signs: tuple[ObjectEvent, ...],
    links: Links,
) -> Finding:
    verdict = parse_verdict(message) or Verdict(0)
    signs += tuple(
        event
        for event in links.events.of(one.vmi, "VirtualMachineInstance", one.started, one.target, one.namespace)
        if event.reason == "NoSuitableNodesForHostModelMigration"
    )
    kind, owner = Kind.UNSCHEDULABLE, Owner.NODES
    if verdict.has("unbound-immediate"):
        kind, owner = Kind.VOLUME_UNBOUND, Owner.STORAGE
        cause = "The receiver pod waits for a volume that is not bound."
    elif verdict.has(*_STORAGE) and not verdict.has("insufficient", "too-many-pods"):
        kind, owner = Kind.VOLUME_NO_FIT, Owner.STORAGE
        cause = f"No node of the target cluster can get the VM's volume{_because(verdict)}."
    else:
        if verdict.has("volume-affinity", "volume-count") and not verdict.has("insufficient", "too-many-pods"):
            owner = Owner.STORAGE
        cause = f"No node of the target cluster can take the receiver pod{_because(verdict)}."
    lacking = tuple(_lack(one.pod, verdict, resource) for resource in verdict.resources)
    total = verdict.total or None
    return Finding(kind, cause, owner, since, True, at, after, signs, lacking, code="Unschedulable", nodes_total=total)


def _lack(pod: Obj, verdict: Verdict, resource: str) -> Shortage:
    unit = unit_of(resource)
    need = Fraction(1) if resource == "pods" else pod_request(pod, resource)
    lack = shortage(resource, unit, need)
    return Shortage(resource, unit, need=lack.need, nodes=verdict.nodes_short(resource))


def _because(verdict: Verdict) -> str:
    order = list(_PHRASES)

    def rank(reason: Reason) -> tuple[int, int]:
        return order.index(reason.kind) if reason.kind in order else len(order), -reason.count

    said = [_phrase(reason, verdict.total) for reason in sorted(verdict.reasons, key=rank)[:6]]
    return f": {', '.join(said)}" if said else ""


def _phrase(reason: Reason, total: int) -> str:
    if not reason.count:
        return reason.words
    what = _PHRASES.get(reason.kind, f'"{reason.words}"').replace("{resource}", reason.resource)
    return f"{what} on {reason.count} of {total} nodes"


def _image(one: Waiting, links: Links) -> Finding | None:
    for key in ("initContainerStatuses", "containerStatuses"):
        for each in records(dig(one.pod, "status", key)):
            why = text(dig(each, "state", "waiting", "reason"), 100)
            if why not in _IMAGE:
                continue
            at, after = deadline_of(one.pod, one.receive, unschedulable=False)
            message = text(dig(each, "state", "waiting", "message"))
            signs = _signs(one, links, "Failed", "BackOff", why) or (sign_of(one.pod, "Pod", why, message),)
            image = text(each.get("image"), 300) or text(each.get("name"), 253)
            cause = f"The receiver pod cannot pull its image {image}."
            return Finding(
                Kind.IMAGE_PULL, cause, Owner.IMAGES, created(one.pod), True, at, after, signs, scope=image, code=why
            )
    return None


def _copied(one: Waiting, links: Links) -> tuple[Finding, ...]:
    """The pod was not read, but its condition stands on the VirtualMachineInstance, too."""
    said = condition(one.vmi, "PodScheduled")
    waits = said.get("status") == "False" and said.get("reason") == "Unschedulable"
    if not waits or phase_of(one.receive) not in ("Pending", "Scheduling"):
        return ()
    message, since = text(said.get("message")), moment(said.get("lastTransitionTime"))
    _, after = deadline_of({}, one.receive, unschedulable=True)
    signs = (sign_of(one.vmi, "VirtualMachineInstance", "Unschedulable", message),)
    return (_unschedulable(one, message, since, None, after, signs, links),)


def _signs(one: Waiting, links: Links, *reasons: str) -> tuple[ObjectEvent, ...]:
    pod = [event for event in links.events.of(one.pod, "Pod", one.started) if event.reason in reasons]
    job = links.events.of(one.receive, "VirtualMachineInstanceMigration", one.started) if one.receive else ()
    return (*pod[-2:], *(event for event in job if event.reason == "migrationTargetPodUnschedulable"))[:3]


def _asks(container: Obj, resource: str) -> Fraction:
    return quantity(dig(container, "resources", "requests", resource)) or Fraction(0)


def _seconds(migration: Obj, key: str, default: int) -> int:
    found = _SECONDS.fullmatch(annotation(migration, key))
    return max(0, int(found[0])) if found else default
