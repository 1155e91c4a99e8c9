"""Waits for a receiver pod that may not be made: quota, Pod Security, or whatever else refuses it."""

from __future__ import annotations

from datetime import datetime

from receiver.model import ObjectEvent
from receiver.stuck.events import sign_of
from receiver.stuck.kinds import Finding, Kind, Owner
from receiver.stuck.links import Links
from receiver.stuck.objects import condition, earliest, moment, phase_of, text
from receiver.stuck.quota_text import parse_refusal
from receiver.stuck.view import Waiting

REJECTED = "migrationRejectedByResourceQuota"
_NO_POD_YET = ("Pending", "Scheduling", "")
_ASKS_FOR_POD = ("CreateVirtualMachineInstanceMigrations", "WaitForStateTransfer")


def refusal_findings(one: Waiting, links: Links) -> tuple[Finding, ...]:
    """Return why there is no receiver pod. KubeVirt asks for it again and again, and has no limit for that."""
    if one.pod or not (one.receive or one.phase in _ASKS_FOR_POD) or phase_of(one.receive) not in _NO_POD_YET:
        return ()  # it is there, or gone on: what stands in the events is over
    where = (one.started, one.target, one.namespace)
    events = links.events.of(one.vmi, "VirtualMachineInstance", *where)
    refused = [event for event in events if event.reason == "FailedCreate"]
    first = links.events.first(one.vmi, "VirtualMachineInstance", "FailedCreate", *where)
    exceeded = [event for event in refused if "exceeded quota:" in event.message.lower()]
    said = condition(one.receive, REJECTED)
    if said.get("status") == "True":
        since = earliest(moment(said.get("lastTransitionTime")), first) or moment(said.get("lastProbeTime"))
        return (_by_quota(one, exceeded[-1:], since),)
    if not refused:
        return ()
    last = refused[-1]
    since = first or last.last
    if last in exceeded:
        return (_by_quota(one, [last], since),)
    if "violates PodSecurity" in last.message:
        cause = f"The Pod Security level of namespace {one.namespace or last.namespace} refuses the receiver pod."
        code = "violates PodSecurity"
        return (Finding(Kind.POD_SECURITY, cause, Owner.SECURITY, since, evidence=(last,), code=code),)
    owner = Owner.QUOTA if "failed quota:" in last.message else Owner.MIGRATION
    cause = f"The target cluster refuses to create the receiver pod: {text(last.message, 300).rstrip('.')}."
    return (Finding(Kind.POD_REFUSED, cause, owner, since, evidence=(last,), code="FailedCreate"),)


def _by_quota(one: Waiting, told: list[ObjectEvent], since: datetime | None) -> Finding:
    refusal = parse_refusal(told[-1].message) if told else None
    namespace = one.namespace or (told[-1].namespace if told else "")
    scope = f"{namespace}/{refusal.quota}".lstrip("/") if refusal else ""
    which = f"ResourceQuota {scope}" if scope else f"A ResourceQuota of namespace {namespace or 'of the target'}"
    signs = tuple(told)
    if condition(one.receive, REJECTED).get("status") == "True":
        signs += (sign_of(one.receive, "VirtualMachineInstanceMigration", REJECTED, ""),)
    keys = refusal.keys if refusal else ()
    cause = f"{which} refuses the receiver pod."
    return Finding(
        Kind.QUOTA_POD, cause, Owner.QUOTA, since, evidence=signs, shortages=keys, scope=scope, code=REJECTED
    )
