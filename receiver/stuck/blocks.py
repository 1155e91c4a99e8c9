"""One block per VM that waits: the table of waits applied to a running Plan's objects.

Where a VM shows several waits, the one that has to be cured first is told, and the others stand beside it (`also`).
Whatever keeps a receiver pod pending, KubeVirt deletes it at its limit: so a wait that has no limit of its own, such as
a volume's, ends with the pod where there is one. A VM that shows nothing of the table gets no block: whether it stands
still is a matter of time (`receiver.stuck.limits`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from receiver.model import ObjectEvent
from receiver.stuck.kinds import Block, Finding, Kind
from receiver.stuck.links import Links
from receiver.stuck.loops import in_flight_limit, name_loops, sync_findings, taken_finding, turn_finding
from receiver.stuck.objects import Obj, dig, earliest, phase_of, records, text
from receiver.stuck.pods import deadline_of, pod_findings
from receiver.stuck.refused import refusal_findings
from receiver.stuck.view import View, Waiting, ended, vms_of
from receiver.stuck.volumes import volume_findings

MAX_EVIDENCE = 6

# What is cured first, first. A pod that is unschedulable for its volume only repeats what the volume's events say.
_ORDER = (
    Kind.NAME_TAKEN,
    Kind.QUOTA_POD,
    Kind.POD_SECURITY,
    Kind.POD_REFUSED,
    Kind.QUOTA_GATE,
    Kind.SCHEDULING_GATE,
    Kind.UNSCHEDULABLE,
    Kind.QUOTA_CLAIM,
    Kind.STORAGE_FULL,
    Kind.PROVISIONING_FAILED,
    Kind.VOLUME_NO_FIT,
    Kind.PROVISIONER_WAITS,
    Kind.VOLUME_UNBOUND,
    Kind.DATA_VOLUME_WAITS,
    Kind.IMAGE_PULL,
    Kind.SCHEDULER_ERROR,
    Kind.NO_SYNC,
    Kind.IN_FLIGHT,
)


def find_blocks(view: View) -> tuple[Block, ...]:
    """Return the VMs that wait, in plan order; then receivers in the view whose VM the Plan does not name."""
    links, vms = Links(view), vms_of(view)
    loops = dict(name_loops(view.plan, view.log, view.now))
    whole = _whole_of(view.plan, vms)
    everyone = [links.of(vm) for vm in vms]
    found: list[Block] = []
    for one in everyone:
        if ended(one.vm):
            continue
        loop = loops.pop(one.target, None) or loops.pop(one.name, None)
        findings = [taken_finding(loop, one.namespace)] if loop is not None else []
        turn = turn_finding(one.vm, whole.slots, whole.provider)
        if turn is not None:
            findings.append(turn)
        else:
            findings += [*refusal_findings(one, links), *pod_findings(one, links)]
            findings += [*volume_findings(one, links, view.now), *sync_findings(one, view.now)]
        if findings:
            found.append(_block(one, findings, _kept(whole, one, findings)))
    targets = frozenset(one.target for one in everyone) | frozenset(one.name for one in everyone)
    for one in links.strays(everyone, targets):
        stray = pod_findings(one, links)
        found += [_block(one, stray, ())] if stray else []
    for loop in loops.values():  # the Plan's status does not know the VM by that name
        namespace = text(dig(view.plan, "spec", "targetNamespace"), 253)
        one = Waiting({}, "", loop.name, loop.name, namespace, None)
        findings = [taken_finding(loop, namespace)]
        found.append(_block(one, findings, _kept(whole, one, findings)))
    return tuple(found)


def _block(one: Waiting, findings: Sequence[Finding], kept: tuple[str, ...]) -> Block:
    ranked = sorted(findings, key=lambda each: _ORDER.index(each.kind))
    main = ranked[0]
    also = tuple(kind for kind in dict.fromkeys(each.kind for each in ranked) if kind is not main.kind)
    ends = any(each.ends for each in ranked)
    at = earliest(*(each.deadline for each in ranked))
    after = min((each.after_s for each in ranked if each.after_s is not None), default=None)
    if not ends and one.pod and phase_of(one.pod) == "Pending":
        at, after = deadline_of(one.pod, one.receive, unschedulable=False)
        ends = True
    same = [each for each in ranked if each.kind is main.kind]
    return Block(
        vm=one.name,
        vm_id=one.id,
        kind=main.kind,
        phase=one.phase,
        cause=main.cause,
        owner=main.owner,
        since=earliest(*(each.since for each in same)),
        ends_by_itself=ends,
        deadline=at,
        ends_after_s=after,
        evidence=_signs(ranked),
        shortages=tuple(dict.fromkeys(lack for each in same for lack in each.shortages)),
        blocks=kept,
        scope=main.scope,
        code=main.code,
        nodes_total=main.nodes_total,
        also=also,
    )


def _signs(findings: Sequence[Finding]) -> tuple[ObjectEvent, ...]:
    return tuple(dict.fromkeys(sign for each in findings for sign in each.evidence))[:MAX_EVIDENCE]


@dataclass(frozen=True, slots=True)
class _Whole:
    """What is the same for all VMs of a Plan."""

    live: bool
    slots: int
    provider: str
    going: int
    """VMs that have not ended."""
    done: int
    failed: int
    """Of those that have."""


def _whole_of(plan: Obj, vms: Sequence[Obj]) -> _Whole:
    over = [vm for vm in vms if ended(vm)]
    return _Whole(
        live=dig(plan, "spec", "type") == "live",
        slots=in_flight_limit(plan, vms),
        provider=text(dig(plan, "spec", "provider", "source", "name"), 253),
        going=len(vms) - len(over),
        done=len(over),
        failed=sum(1 for vm in over if _failed(vm)),
    )


def _kept(whole: _Whole, one: Waiting, findings: Sequence[Finding]) -> tuple[str, ...]:
    """Return what the wait keeps from others.

    Only for live migrations is a slot a VM: elsewhere Forklift counts disks, or VMs per host of the source.
    """
    if all(each.kind is Kind.IN_FLIGHT for each in findings):
        return ()
    said = []
    if whole.live and one.started is not None:
        whose = f" of provider {whole.provider}" if whole.provider else ""
        said.append(f"keeps 1 of {whole.slots} migration slots{whose} busy")
    others = whole.going - 1 if one.vm else whole.going
    if others and any(each.kind is Kind.NAME_TAKEN for each in findings):
        said.append(f"holds up the plan's {others:,} other VM{'s' if others != 1 else ''}")
    if whole.done:  # Forklift's alert comes when the last VM has ended
        of_them = f" ({whole.failed:,} failed)" if whole.failed else ""
        what = "result of 1 VM that is" if whole.done == 1 else f"results of {whole.done:,} VMs that are"
        said.append(f"hides the {what} done{of_them}")
    return tuple(said)


def _failed(vm: Obj) -> bool:
    kinds = {text(each.get("type"), 100) for each in records(vm.get("conditions")) if each.get("status") != "False"}
    return "Failed" in kinds or (bool(vm.get("error")) and not kinds & {"Succeeded", "Canceled"})
