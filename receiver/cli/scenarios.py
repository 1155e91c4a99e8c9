"""The situations that `send-test` plays: what a failure, its re-run and its end look like, with made-up names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from receiver.fingerprint import fingerprint
from receiver.model import (
    Alert,
    AlertStatus,
    Cause,
    Evidence,
    Identity,
    Impact,
    Link,
    LogExcerpt,
    ObjectState,
    PlanPhase,
    PlanState,
    VMCounts,
    VMFailure,
)

SECOND_RUN = "test-run-2"
_RERUN = (
    "oc create -f - <<< '{\"apiVersion\":\"forklift.konveyor.io/v1beta1\",\"kind\":\"Migration\",\"metadata\":"
    "{\"generateName\":\"pay-w17-03-\",\"namespace\":\"mig-payments\"},"
    "\"spec\":{\"plan\":{\"name\":\"pay-w17-03\",\"namespace\":\"mig-payments\"}}}'"
)  # fmt: skip


class Scenario(StrEnum):
    """What is played."""

    BITLOCKER = "bitlocker"
    """3 of 20 VMs failed on encrypted disks, two of them are down: the cause is known."""
    NOT_RECOGNISED = "not-recognised"
    """One VM failed, and nobody has named the error in its log yet."""
    RERUNNING = "re-running"
    """The failure, and a new run that is not its end."""
    FIXED = "fixed"
    """The failure, a new run, and its success."""
    CANCELED = "canceled"
    """The failure, and a person who cancels the plan."""
    ALERT = "alert"
    """An alert that is not about a plan: a node on which VMs run."""
    STORM = "storm"
    """Three plans that fail at once, told in one message; a fourth joins it, and all are fixed."""


@dataclass(frozen=True, slots=True)
class Act:
    """What happens next in a scenario."""

    what: str
    """For people: "a new run starts"."""
    plan: PlanState
    resolves: bool = False
    """The alert is gone from here on."""


@dataclass(frozen=True, slots=True)
class Played:
    """A scenario, ready to be told."""

    identity: Identity
    alert: Alert
    plan: PlanState
    evidence: Evidence
    acts: tuple[Act, ...] = ()


@dataclass(frozen=True, slots=True)
class Storm:
    """Failures that are told as one, see `docs/storms.md`."""

    first: tuple[Played, ...]
    joins: Played
    ends: Act


STORM_AFTER = 2
"""`digest_after` of the storm that is played: with three failures it is one, whatever a channel has room for."""
RERUN = Act("a new run starts", PlanState(PlanPhase.EXECUTING, SECOND_RUN), resolves=True)
FIXED = Act("the new run succeeds", PlanState(PlanPhase.SUCCEEDED, SECOND_RUN, counts=VMCounts(20, 0, 20)))
CANCELED = Act("somebody cancels the plan", PlanState(PlanPhase.CANCELED), resolves=True)
OVER = Act("the test is over", PlanState(PlanPhase.NO_PLAN, why="this was a test"), resolves=True)
"""What ends whatever is still open."""


def play(scenario: Scenario, now: datetime, mark: str) -> Played:
    """Return a scenario as if it had begun some minutes before `now`; `mark` keeps it apart from every other story."""
    match scenario:
        case Scenario.ALERT:
            return _node(now, mark)
        case Scenario.NOT_RECOGNISED:
            return _plan(now, mark, _unnamed)
        case Scenario.RERUNNING:
            return _plan(now, mark, _bitlocker, RERUN)
        case Scenario.FIXED:
            return _plan(now, mark, _bitlocker, RERUN, FIXED)
        case Scenario.CANCELED:
            return _plan(now, mark, _bitlocker, CANCELED)
        case Scenario.BITLOCKER | Scenario.STORM:
            return _plan(now, mark, _bitlocker)


def play_storm(now: datetime, mark: str) -> Storm:
    """Return the storm: two causes, so that it can be seen how they are told apart."""
    first = (
        _plan(now, mark, _full, name="pay-w17-04", number=1),
        _plan(now, mark, _full, name="crd-w17-02", namespace="cards-prod", number=2),
        _plan(now, mark, _bitlocker, number=3),
    )
    joins = _plan(now, mark, _full, name="trs-w17-11", namespace="treasury-prod", number=4)
    return Storm(first, joins, replace(FIXED, what="new runs of all plans succeed", resolves=True))


def _alert(labels: dict[str, str], summary: str, started: datetime) -> Alert:
    return Alert(fingerprint(labels), AlertStatus.FIRING, labels, {"summary": summary}, started, None)


def _plan(
    now: datetime, mark: str, evidence: Callable[[datetime], Evidence], *acts: Act,
    name: str = "pay-w17-03", namespace: str = "payments-prod", number: int = 0,
) -> Played:  # fmt: skip
    started = now - timedelta(minutes=5)
    uid = f"test-{mark}-{number}" if number else f"test-{mark}"
    identity = Identity(
        subject=f"plan/{uid}",
        kind="plan",
        uid=uid,
        namespace="mig-payments",
        name=name,
        target_namespace=namespace,
        owner_namespace="mig-payments",
    )
    labels = {
        "alertname": "MTVPlanFailed", "severity": "info", "plan": identity.uid, "plan_name": identity.name,
        "namespace": identity.namespace, "phase": "ImageConversion",
    }  # fmt: skip
    first = evidence(started)
    failed = PlanState(PlanPhase.FAILED, first.run)
    return Played(identity, _alert(labels, "Migration plan failed", started), failed, first, acts)


def _bitlocker(started: datetime) -> Evidence:
    off = started - timedelta(minutes=13)
    failures = tuple(
        VMFailure(
            id=vm_id,
            name=name,
            step="ImageConversion",
            phase="ConvertGuest",
            reasons=("Guest conversion failed. See pod logs for details.",),
            failed_at=started,
            guest=guest,
            power_before=was,
            power_now="off",
            off_since=off if was == "On" else None,
            target_exists=False,
        )
        for name, vm_id, guest, was in (
            ("pay-win-app04", "vm-2214", "Windows Server 2019", "On"),
            ("pay-win-app05", "vm-2215", "Windows Server 2019", "On"),
            ("pay-win-rpt01", "vm-2231", "Windows Server 2022", "Off"),
        )
    )
    lines = ('vfs_type "/dev/sda4"', 'vfs_type = "BitLocker"', "virt-v2v: could not read key from user")
    return Evidence(
        run="test-run-1",
        run_name="pay-w17-03-7k2qp",
        run_number=1,
        phase=PlanPhase.FAILED,
        started=off,
        ended=started,
        mode="cold",
        source_provider="vcenter-a",
        counts=VMCounts(total=20, failed=3, succeeded=17),
        failures=failures,
        impact=Impact.DOWN,
        impact_text=(
            f"pay-win-app04 and pay-win-app05 were On and are off since {off:%H:%M} UTC. MTV does not power them on "
            "again. No target VM exists, so powering on the source is a safe way back. 17 VMs are done and run on the "
            "target."
        ),
        logs=tuple(
            LogExcerpt(vm.name, "payments-prod", f"pay-w17-03-{vm.id}", "virt-v2v", lines, first_line=18_204)
            for vm in failures
        ),
        cause=Cause(
            id="guest-bitlocker",
            sentence="the system disk is BitLocker-encrypted and the plan has no key for it",
            certainty="3 of 3 logs",
            owner="Windows guest team",
            remedy=("In each guest run `manage-bde -off C:` and wait until it says Fully Decrypted.",),
        ),
        commands=(Link("Run again", _RERUN),),
        complete=True,
    )


def _full(started: datetime) -> Evidence:
    known = _bitlocker(started)
    return replace(
        known,
        run_name="",
        counts=VMCounts(total=6, failed=2, succeeded=4),
        failures=tuple(replace(vm, step="DiskTransfer", phase="CopyDisks") for vm in known.failures[:2]),
        impact_text="2 VMs were On and are off. No target VM exists: powering on the sources is a safe way back.",
        logs=(),
        cause=Cause(
            id="storage-full",
            sentence="the storage class nfs-gold has no space left",
            certainty="2 of 2 logs",
            owner="storage",
            remedy=("Extend the storage behind nfs-gold, then run the plans again.",),
        ),
        commands=(),
    )


def _unnamed(started: datetime) -> Evidence:
    line = "virt-v2v: error: could not decode the boot loader table at sector 4711"
    known = _bitlocker(started)
    vm = known.failures[0]
    return Evidence(
        run=known.run,
        run_name=known.run_name,
        run_number=1,
        phase=PlanPhase.FAILED,
        started=known.started,
        ended=started,
        mode="cold",
        source_provider="vcenter-a",
        counts=VMCounts(total=20, failed=1, succeeded=19),
        failures=(vm,),
        impact=Impact.DOWN,
        impact_text="pay-win-app04 was On and is off. No target VM exists: powering on the source is a safe way back.",
        logs=(LogExcerpt(vm.name, "payments-prod", f"pay-w17-03-{vm.id}", "virt-v2v", (line,), first_line=214),),
        commands=known.commands,
        unrecognised=line,
        complete=True,
    )


def _node(now: datetime, mark: str) -> Played:
    started = now - timedelta(minutes=5)
    name = "worker-3"
    identity = Identity(subject=f"node/test/{mark}/{name}", kind="node", name=name)
    labels = {"alertname": "KubeVirtNodeNotReady", "severity": "info", "node": name, "test": mark}
    summary = f"Node {name} is not ready and runs 12 virtual machines"
    evidence = Evidence(
        phase=PlanPhase.NO_PLAN,
        impact=Impact.AT_RISK,
        findings=(f"12 VMs run on `{name}`; none of them has been restarted elsewhere yet.",),
        objects=(ObjectState("Node", "", name, "not ready", (f"Ready=Unknown since {started:%H:%M} UTC",)),),
        steps=(Link("Look at the node", f"oc describe node {name}"),),
        complete=True,
    )
    return Played(identity, _alert(labels, summary, started), PlanState(PlanPhase.NO_PLAN), evidence)
