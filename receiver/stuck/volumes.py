"""Waits of volumes, which need no pod of their VM to be stuck, and have no limit of their own.

A claim that waits for a consumer is as it should be, and a claim that is filled through another (`prime-…`) stays
Pending until that is done: neither is a wait that anybody could cure.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from receiver.stuck.events import sign_of
from receiver.stuck.kinds import Finding, Kind, Owner, Shortage
from receiver.stuck.links import Links
from receiver.stuck.objects import (
    Obj,
    annotation,
    condition,
    created,
    dig,
    mapping,
    moment,
    name_of,
    namespace_of,
    phase_of,
    text,
)
from receiver.stuck.quota_text import parse_refusal, quantity, shortage
from receiver.stuck.view import Waiting

USUAL_S = 120
"""Seconds for which a volume may well be in the making: what waits for no longer is not told of."""

_CODE = re.compile(r"\bcode = ([A-Za-z]{1,40})")
_CLASS = re.compile(r'StorageClass "([^"]{1,253})"')
_FULL = re.compile(r"code = ResourceExhausted|no space left on device|not enough free space", re.IGNORECASE)
_WAITING_PHASES = ("Pending", "ImportScheduled", "PendingPopulation")
_BIND_AT_ONCE = "cdi.kubevirt.io/storage.bind.immediate.requested"


def volume_findings(one: Waiting, links: Links, now: datetime) -> tuple[Finding, ...]:
    """Return what the VM's volumes wait for, what is certainly wrong first."""
    found = [each for volume in one.data_volumes if (each := _quota(one, volume, "DataVolume", links)) is not None]
    for claim in one.claims:
        if phase_of(claim) not in ("Pending", ""):
            continue
        prime = one.primes.get(name_of(claim), {})
        if phase_of(prime) == "Bound":
            continue  # being filled
        each = (
            _quota(one, claim, "PersistentVolumeClaim", links)
            or _provisioning(one, claim, prime, links)
            or _external(one, claim, prime, links, now)
        )
        found += [each] if each is not None else []
    found += [each for volume in one.data_volumes if (each := _data_volume(one, volume, now)) is not None]
    return tuple(found)


def _quota(one: Waiting, obj: Obj, kind: str, links: Links) -> Finding | None:
    if kind == "DataVolume" and (phase_of(obj) not in (*_WAITING_PHASES, "") or _is_bound(one, obj)):
        return None
    told = [
        event
        for event in links.events.of(obj, kind, one.started)
        if event.reason == "ErrExceededQuota" or "exceeded quota:" in event.message.lower()
    ]
    if not told:
        return None
    refusal = parse_refusal(told[-1].message)
    namespace = namespace_of(obj) or one.namespace
    scope = f"{namespace}/{refusal.quota}".lstrip("/") if refusal else ""
    which = f"ResourceQuota {scope}" if scope else f"A ResourceQuota of namespace {namespace or 'of the target'}"
    return Finding(
        Kind.QUOTA_CLAIM,
        f"{which} refuses a volume claim for {name_of(obj) or 'the VM'}.",
        Owner.QUOTA,
        _since(links.events.first(obj, kind, told[-1].reason, one.started), one, obj),
        evidence=(told[-1],),
        shortages=refusal.keys if refusal else (),
        scope=scope,
        code=told[-1].reason,
    )


def _provisioning(one: Waiting, claim: Obj, prime: Obj, links: Links) -> Finding | None:
    for obj in (prime, claim):
        events = links.events.of(obj, "PersistentVolumeClaim", one.started) if obj else ()
        told = [event for event in events if event.reason in ("ProvisioningFailed", "ProvisioningSucceeded")]
        if not told or told[-1].reason == "ProvisioningSucceeded":
            continue
        last = told[-1]
        code, named = _CODE.search(last.message), _CLASS.search(last.message)
        storage = named[1] if named else text(dig(claim, "spec", "storageClassName"), 253)
        full = _FULL.search(last.message) is not None
        which = f"storage class {storage}" if storage else "the storage class"
        why = "has no space left" if full else "cannot provide"
        cause = (
            f"The backend of {which} {why} for volume {name_of(claim)}."
            if full
            else f"The provisioner of {which} {why} volume {name_of(claim)}."
        )
        return Finding(
            Kind.STORAGE_FULL if full else Kind.PROVISIONING_FAILED,
            cause,
            Owner.STORAGE,
            _since(links.events.first(obj, "PersistentVolumeClaim", "ProvisioningFailed", one.started), one, claim),
            evidence=(last,),
            shortages=_asked(claim),
            scope=storage,
            code=code[1] if code else last.reason,
        )
    return None


def _external(one: Waiting, claim: Obj, prime: Obj, links: Links, now: datetime) -> Finding | None:
    """A claim that another fills gets this event for as long as the filling takes: then only the other tells."""
    obj = prime or claim
    if not prime and (mapping(dig(claim, "spec", "dataSourceRef")) or mapping(dig(claim, "spec", "dataSource"))):
        return None
    told = [
        event
        for event in links.events.of(obj, "PersistentVolumeClaim", one.started)
        if event.reason in ("ExternalProvisioning", "WaitForFirstConsumer", "WaitForPodScheduled")
    ]
    since = _since(links.events.first(obj, "PersistentVolumeClaim", "ExternalProvisioning", one.started), one, claim)
    if not told or told[-1].reason != "ExternalProvisioning" or not _is_old(since, now):
        return None
    storage = text(dig(claim, "spec", "storageClassName"), 253)
    which = f"the provisioner of storage class {storage}" if storage else "an external provisioner"
    cause = f"Volume {name_of(claim)} still waits for {which}."
    return Finding(
        Kind.PROVISIONER_WAITS, cause, Owner.STORAGE, since, evidence=(told[-1],), shortages=_asked(claim),
        scope=storage, code="ExternalProvisioning",
    )  # fmt: skip


def _data_volume(one: Waiting, volume: Obj, now: datetime) -> Finding | None:
    phase, bound, running = phase_of(volume), condition(volume, "Bound"), condition(volume, "Running")
    if phase not in _WAITING_PHASES or _is_bound(one, volume):
        return None
    if phase == "PendingPopulation" and annotation(volume, _BIND_AT_ONCE) != "true":
        return None  # waits for its consumer
    importer = running.get("status") == "False" and running.get("reason") == "Unschedulable"
    told = running if importer else bound
    since = moment(told.get("lastTransitionTime")) or created(volume)
    if not importer and not (bound.get("status") == "False" and bound.get("reason") == "Pending"):
        return None
    if not _is_old(since, now):
        return None
    storage = text(dig(volume, "spec", "storage", "storageClassName"), 253)
    what = "its importer pod to be placed on a node" if importer else "its claim to be bound"
    return Finding(
        Kind.DATA_VOLUME_WAITS,
        f"DataVolume {name_of(volume)} waits for {what}.",
        Owner.NODES if importer else Owner.STORAGE,
        since,
        evidence=(sign_of(volume, "DataVolume", text(told.get("reason"), 100), text(told.get("message"))),),
        scope=storage,
        code=phase,
    )


def _is_bound(one: Waiting, volume: Obj) -> bool:
    """Is the volume's claim bound, or the claim through which it is filled?"""
    name = text(dig(volume, "status", "claimName"), 253) or name_of(volume)
    claims = [claim for claim in one.claims if name_of(claim) == name]
    return any("Bound" in (phase_of(claim), phase_of(one.primes.get(name, {}))) for claim in claims)


def _asked(claim: Obj) -> tuple[Shortage, ...]:
    need = quantity(dig(claim, "spec", "resources", "requests", "storage"))
    return (shortage("storage", "B", need),) if need is not None else ()


def _since(first: datetime | None, one: Waiting, obj: Obj) -> datetime | None:
    """Return when a wait began: its first event, but not before the run."""
    at = first or created(obj)
    return max(at, one.started) if at is not None and one.started is not None else at


def _is_old(since: datetime | None, now: datetime) -> bool:
    return since is not None and now - since >= timedelta(seconds=USUAL_S)
