"""Stories of the Plan erp-wave1 to render: a worked example, every state and every ending."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from receiver.model import (
    Alert,
    AlertStatus,
    Cause,
    Change,
    DeliveryState,
    Entry,
    Evidence,
    Identity,
    Impact,
    Keys,
    Link,
    LogExcerpt,
    Missing,
    Outcome,
    PlanPhase,
    Reason,
    Story,
    StoryAlert,
    StoryState,
    TimelineEntry,
    Told,
    VMCounts,
    VMFailure,
    Wanted,
)

EXTERNAL = "https://mtv.example.com"
RERUN = (
    'oc create -f - <<< \'{"apiVersion":"forklift.konveyor.io/v1beta1","kind":"Migration","metadata":'
    '{"generateName":"%(name)s-","namespace":"%(ns)s"},"spec":{"plan":{"name":"%(name)s","namespace":"%(ns)s"}}}\''
)


def at(hour: int, minute: int, second: int = 0, day: int = 21) -> datetime:
    """A moment of November 2026."""
    return datetime(2026, 11, day, hour, minute, second, tzinfo=UTC)


def alert(*, firing: bool = True, starts_at: datetime | None = None, **labels: str) -> Alert:
    """Forklift's own alert for a failed plan."""
    given = {
        "alertname": "MigrationFailed",
        "severity": "critical",
        "namespace": "openshift-mtv",
        "phase": "ConvertGuest",
        "plan": "3f0c3d0e-6c55-4f0a-9c1b-0a7a5a2e41d1",
        "plan_name": "erp-wave1",
    } | labels
    begun = starts_at or at(8, 30)
    return Alert(
        fingerprint="5356aaa082552be5",
        status=AlertStatus.FIRING if firing else AlertStatus.RESOLVED,
        labels={name: value for name, value in given.items() if value},
        annotations={"summary": "Migration plan failed"},
        starts_at=begun,
        ends_at=None if firing else begun + timedelta(hours=1),
    )


def erp_identity(**changes: Any) -> Identity:
    made = Identity(
        subject="plan/3f0c3d0e-6c55-4f0a-9c1b-0a7a5a2e41d1",
        kind="plan",
        cluster="local",
        uid="3f0c3d0e-6c55-4f0a-9c1b-0a7a5a2e41d1",
        namespace="mig-team-a",
        name="erp-wave1",
        target_namespace="erp-prod",
        owner_namespace="mig-team-a",
    )
    return replace(made, **changes)


FAST_STARTUP = Cause(
    id="windows-fast-startup",
    sentence="Windows Fast Startup or hibernation left the file system mounted, so virt-v2v could not write to it",
    certainty="1 of 1 log",
    owner="Windows guest team",
    remedy=(
        "In the guest switch off Fast Startup and hibernation: `powercfg /h off`.",
        "Shut the guest down fully: `shutdown /s /t 0`.",
    ),
)


def erp_evidence(**changes: Any) -> Evidence:
    """Plan erp-wave1: one of two VMs failed in ImageConversion."""
    made = Evidence(
        run="a4be9d3c-0e57-4a52-8d2f-1f1d7d1f9a02",
        run_name="erp-wave1-7k2qp",
        run_number=1,
        phase=PlanPhase.FAILED,
        started=at(8, 2, 3),
        ended=at(8, 29, 44),
        mode="cold",
        source_provider="vcenter-a",
        target_provider="host",
        counts=VMCounts(total=2, failed=1, succeeded=1),
        failures=(
            VMFailure(
                id="vm-1402",
                name="erp-win01",
                step="ImageConversion",
                phase="ConvertGuest",
                reasons=("Guest conversion failed. See pod logs for details.",),
                failed_at=at(8, 7, 31),
                duration_s=187,
                progress="0 of 1",
                power_before="On",
                power_now="off",
                off_since=at(8, 3, 40),
                target_exists=False,
            ),
        ),
        impact=Impact.DOWN,
        impact_text=(
            "erp-win01 was On and is off since 08:03 UTC. MTV does not power it on again. No target VM exists, so "
            "powering on the source is a safe way back. 1 VM is done and runs on the target."
        ),
        logs=(
            LogExcerpt(
                vm="erp-win01",
                namespace="erp-prod",
                pod="erp-wave1-vm-1402-d8f6k",
                container="virt-v2v",
                lines=(
                    "virt-v2v: error: filesystem was mounted read-only, even though we asked for",
                    "it to be mounted read-write.  This usually means that the filesystem was",
                    "not cleanly unmounted.  Possible causes include trying to convert a guest",
                    "which is running, or using Windows Hibernation or Fast Restart.",
                ),
                first_line=214,
                read_lines=226,
            ),
        ),
        cause=FAST_STARTUP,
        links=(Link("Runbook", "https://runbooks.example.com/mtv/fast-startup"),),
        commands=(Link("Run again", RERUN % {"name": "erp-wave1", "ns": "mig-team-a"}),),
        read_at=at(8, 30, 9),
        complete=True,
    )
    return replace(made, **changes)


TOLD = (
    Told("payments", "slack", "slack:#erp", DeliveryState.DELIVERED, Link("Slack", "https://acme.slack.com/a/C1/p1")),
    Told("oncall", "pagerduty", "pagerduty:x", DeliveryState.DELIVERED),
    Told("payments", "jira", "jira:MIG", DeliveryState.PENDING),
)


def story(**changes: Any) -> Story:
    """The story of erp-wave1, evidence complete."""
    made = Story(
        id="01K9ZQ4T7M",
        subject="plan/3f0c3d0e-6c55-4f0a-9c1b-0a7a5a2e41d1",
        kind="plan",
        state=StoryState.FIRING,
        revision=3,
        severity="critical",
        title="Migration plan failed",
        opened=at(8, 30),
        updated=at(8, 30, 9),
        identity=erp_identity(),
        evidence=erp_evidence(),
        alerts=(StoryAlert(alert(), "failure", 1, "main"),),
        timeline=(TimelineEntry(1, at(8, 30), Change.FIRED, "MigrationFailed fires", "fired"),),
        told=TOLD,
        run="a4be9d3c-0e57-4a52-8d2f-1f1d7d1f9a02",
    )
    return replace(made, **changes)


def wanted(of: Story | None = None, **changes: Any) -> Wanted:
    """What a destination of payments should show."""
    shown = of or story()
    made = Wanted(
        story=shown,
        keys=Keys("mtvr1/plan/3f0c3d0e/payments", "mtvr-9f31c2", "0b7e9d3c-4a51-4b0e-8a2e-1d6f0a9c7e11"),
        firing=shown.open,
        reasons=(Reason("routes.yaml:41", "target namespace erp-prod matches erp-*"),),
        external_url=EXTERNAL,
    )
    return replace(made, **changes)


def not_recognised() -> Story:
    """The log says why, but nobody has given that error a name."""
    return story(evidence=erp_evidence(cause=None))


def no_evidence() -> Story:
    """The page that leaves first: identity known, nothing read yet."""
    return story(revision=1, evidence=None, told=())


def logs_forbidden() -> Story:
    """The Plan was read, its pods' logs may not be."""
    missing = (Missing("logs", "forbidden", "needs get pods/log in ns erp-prod"),)
    return story(evidence=erp_evidence(cause=None, logs=(), missing=missing, complete=False))


def unknown_identity() -> Story:
    """The cluster does not answer: only the alert speaks."""
    missing = ("namespace unknown: cluster local does not answer",)
    identity = Identity(
        subject="plan/3f0c3d0e-6c55-4f0a-9c1b-0a7a5a2e41d1",
        kind="plan",
        uid="3f0c3d0e-6c55-4f0a-9c1b-0a7a5a2e41d1",
        name="erp-wave1",
        complete=False,
        missing=missing,
    )
    return story(identity=identity, evidence=None, told=(), run="")


def blocked_plan() -> Story:
    """The Plan itself is refused; no VM is at fault."""
    return story(
        evidence=Evidence(
            phase=PlanPhase.FAILED,
            counts=VMCounts(total=2, waiting=2),
            plan_reasons=("The source provider is not ready.",),
            impact=Impact.NONE,
            impact_text="No VM has failed; 2 VMs of 2 not done yet.",
            complete=True,
        )
    )


def still_running() -> Story:
    """The first VM failed while others go on."""
    return story(evidence=erp_evidence(phase=PlanPhase.EXECUTING, ended=None, counts=VMCounts(20, 1, 3, 14, 2)))


def alert_gone() -> Story:
    return story(alerts=(StoryAlert(alert(firing=False), "failure", 2),), note="alert gone, plan still failed")


def rerunning() -> Story:
    """A second run is under way; the evidence is still the first run's."""
    return story(
        state=StoryState.RERUNNING,
        run="run-2",
        alerts=(StoryAlert(alert(firing=False), "failure", 2),),
        timeline=(*story().timeline, TimelineEntry(4, at(9, 31), Change.RERUN, "A new run started", "rerun-1")),
    )


def rerunning_read() -> Story:
    """A second run is under way, and read."""
    evidence = Evidence(
        run="run-2",
        run_number=2,
        phase=PlanPhase.EXECUTING,
        started=at(9, 31),
        counts=VMCounts(total=2, succeeded=1, running=1),
        impact=Impact.NONE,
        complete=True,
    )
    return replace(rerunning(), evidence=evidence)


def failed_again() -> Story:
    """The second run failed too, and was not read yet: the first run's reason must not be shown."""
    return story(
        run="run-2",
        revision=6,
        timeline=(
            *rerunning().timeline,
            TimelineEntry(6, at(10, 2), Change.FAILED_AGAIN, "the plan failed again", "f-1"),
        ),
    )


def ended(outcome: Outcome, text: str, **changes: Any) -> Story:
    timeline = (*story().timeline, TimelineEntry(7, at(15, 42), Change.RESOLVED, text, "resolved"))
    given: dict[str, Any] = {
        "state": StoryState.RESOLVED,
        "outcome": outcome,
        "closed": at(15, 42),
        "alerts": (StoryAlert(alert(firing=False), "failure", 2),),
        "timeline": timeline,
    }
    return story(**(given | changes))


def fixed() -> Story:
    evidence = Evidence(
        run="run-2",
        run_number=2,
        phase=PlanPhase.SUCCEEDED,
        started=at(9, 31),
        ended=at(15, 41),
        mode="cold",
        source_provider="vcenter-a",
        counts=VMCounts(total=2, succeeded=2),
        impact=Impact.NONE,
        complete=True,
    )
    return ended(Outcome.FIXED, "the plan succeeded", evidence=evidence, run="run-2")


def fixed_unread() -> Story:
    """MigrationSucceeded came; the new run was never read."""
    return ended(Outcome.FIXED, "the plan succeeded", run="run-2")


def canceled() -> Story:
    return ended(Outcome.CANCELED, "the plan was canceled")


def deleted() -> Story:
    return ended(Outcome.DELETED, "the plan was deleted")


def cleared() -> Story:
    text = "the alert is gone; what became of the plan is not known: cluster local does not answer"
    return ended(Outcome.CLEARED, text)


def merged() -> Story:
    return ended(Outcome.MERGED, "continued in an older story", continued_in="01K9ZQ0000")


def entry(change: Change, text: str, *, when: datetime | None = None, folded: tuple[str, ...] = ()) -> Entry:
    return Entry(key=change.value, change=change, at=when or at(8, 30), text=text, revision=2, folded=folded)
