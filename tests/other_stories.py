"""Stories besides erp-wave1: another plan, alerts about no plan, the largest, and hostile ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from receiver.model import (
    Alert,
    AlertStatus,
    Cause,
    Change,
    DeliveryState,
    Evidence,
    Identity,
    Impact,
    Link,
    LogExcerpt,
    Missing,
    Outcome,
    PlanPhase,
    Story,
    StoryAlert,
    StoryState,
    TimelineEntry,
    Told,
    VMCounts,
    VMFailure,
)
from tests.stories import RERUN, alert, at, erp_evidence, erp_identity, story


def bitlocker() -> Story:
    """Three of 20 VMs failed on an encrypted system disk; two of them were on."""
    failures = tuple(
        VMFailure(
            id=vm_id,
            name=name,
            step="ImageConversion",
            phase="ConvertGuest",
            reasons=("Guest conversion failed. See pod logs for details.",),
            failed_at=at(22, minute),
            guest=f"Windows Server {release}",
            power_before=was,
            power_now="off",
            off_since=at(22, 6) if was == "On" else None,
            target_exists=False,
        )
        for name, vm_id, minute, release, was in (
            ("pay-win-app04", "vm-2214", 19, 2019, "On"),
            ("pay-win-app05", "vm-2215", 24, 2019, "On"),
            ("pay-win-rpt01", "vm-2231", 31, 2022, "Off"),
        )
    )
    lines = ('vfs_type "/dev/sda4"', 'vfs_type = "BitLocker"', "virt-v2v: could not read key from user")
    evidence = Evidence(
        run="run-1",
        run_name="pay-w17-03-7k2qp",
        run_number=1,
        phase=PlanPhase.FAILED,
        started=at(22, 0),
        ended=at(1, 52, day=22),
        mode="cold",
        source_provider="vcenter-a",
        counts=VMCounts(total=20, failed=3, succeeded=17),
        failures=failures,
        impact=Impact.DOWN,
        impact_text=(
            "pay-win-app04 and pay-win-app05 were On and are off since 22:06 UTC. MTV does not power them on again. "
            "No target VM exists, so powering on the source is a safe way back. pay-win-rpt01 was Off before: "
            "no service is down. 17 VMs are done and run on the target."
        ),
        logs=tuple(
            LogExcerpt(vm.name, "payments-prod", f"pod-{vm.id}", "virt-v2v", lines, first_line=18_204)
            for vm in failures
        ),
        cause=Cause(
            id="guest-bitlocker",
            sentence="the system disk is BitLocker-encrypted and the plan has no key for it",
            certainty="3 of 3 logs",
            owner="Windows guest team",
            remedy=(
                "In each guest run `manage-bde -off C:` and wait until it says Fully Decrypted; suspending is not "
                "enough. Or give the recovery key as the VM's disk key.",
            ),
        ),
        links=(Link("Runbook", "https://runbooks.example.com/mtv/bitlocker"),),
        commands=(
            Link("Run again", RERUN % {"name": "pay-w17-03", "ns": "mig-payments"}),
            Link(
                "For a support case",
                "oc adm must-gather --image=registry.example.com/mtv/must-gather:2.12.3 -- "
                "NS=mig-payments PLAN=pay-w17-03 /usr/bin/targeted",
            ),
        ),
        hidden=4,
        complete=True,
    )
    return story(
        subject="plan/7c1e0b52",
        opened=at(22, 19, 40),
        updated=at(1, 52, day=22),
        identity=erp_identity(
            subject="plan/7c1e0b52",
            cluster="ocp-prod-2",
            uid="7c1e0b52",
            namespace="mig-payments",
            name="pay-w17-03",
            target_namespace="payments-prod",
        ),
        evidence=evidence,
        alerts=(StoryAlert(alert(starts_at=at(22, 19, 40), plan="7c1e0b52", plan_name="pay-w17-03"), "failure", 1),),
        run="run-1",
    )


def other_alert(**changes: Any) -> Story:
    """An alert that is not about a plan."""
    given = Alert(
        fingerprint="00ff",
        status=AlertStatus.FIRING,
        labels={
            "alertname": "VirtPlatformNodeNotReady",
            "severity": "warning",
            "namespace": "openshift-cnv",
            "node": "worker-3",
            "instance": "10.128.2.17:2112",
        },
        annotations={
            "summary": "Node worker-3 runs no virtual machines any more",
            "description": "virt-handler on worker-3 has not reported for 15 minutes. 12 VMs are placed there.",
            "runbook_url": "https://runbooks.example.com/virt/node",
        },
        starts_at=at(7, 55),
        generator_url="https://console.example.com/graph?g0.expr=up",
    )
    made = story(
        subject="fingerprint/00ff",
        kind="alert",
        severity="warning",
        title="Node worker-3 runs no virtual machines any more",
        opened=at(7, 55),
        identity=Identity(subject="fingerprint/00ff", kind="alert", cluster="ocp-prod-2", namespace="openshift-cnv"),
        evidence=None,
        alerts=(StoryAlert(given, "failure", 1),),
        run="",
    )
    return replace(made, **changes)


def other_cleared() -> Story:
    return other_alert(
        state=StoryState.RESOLVED,
        outcome=Outcome.CLEARED,
        closed=at(8, 40),
        timeline=(TimelineEntry(2, at(8, 40), Change.RESOLVED, "the alert is gone", "resolved"),),
    )


def many_vms(number: int = 300) -> Story:
    """A plan as large as they come."""
    failures = tuple(
        replace(erp_evidence().failures[0], id=f"vm-{at}", name=f"erp-win-with-a-rather-long-name-{at:04}")
        for at in range(number)
    )
    return story(
        evidence=erp_evidence(failures=failures, counts=VMCounts(total=number + 5, failed=number, succeeded=5))
    )


HOSTILE = (
    "<!channel> <@U123> <https://evil.example.com|click> *bold* **b** _it_ ~s~ `code` ``` [a](http://x.example.com) "
    "| a | <script>alert(1)</script> &amp; \u202egnp.exe\u202c \u200bz\x00ero\x1b[31m\r\n\r\n~ small\n1. step\n"
    "- item\n# head \ud800 \udfff \ue12a\ue0ff {{ name }} {% include 'x' %}"
)
"""Everything that some destination or our own markup could misread."""


def hostile(text: str = HOSTILE) -> Story:
    """Every text that comes from outside is hostile."""
    vm = replace(
        erp_evidence().failures[0],
        id=text,
        name=text,
        step=text,
        reasons=(text,),
        guest=text,
        progress=text,
        power_now="off",
    )
    log = LogExcerpt(text, text, text, text, (text, "```", "1. x", "~ y", "| a |", *text.split("\n")))
    evidence = erp_evidence(
        failures=(vm,),
        mode=text,
        source_provider=text,
        impact_text=text,
        logs=(log,),
        cause=Cause(text, text, text, text, (text,), "javascript:alert(1)"),
        links=(Link(text, "javascript:alert(1)"), Link(text, "https://ok.example.com/")),
        commands=(Link(text, text),),
        missing=(Missing(text, text, text),),
        plan_reasons=(text,),
    )
    identity = erp_identity(
        name=text, namespace=text, target_namespace=text, cluster=text, facts={"x": text}, missing=(text,)
    )
    alerts = (StoryAlert(replace(alert(), labels={"alertname": text, "phase": text}, annotations={"summary": text})),)
    return story(
        id=text,
        title=text,
        severity=text,
        note=text,
        previous=text,
        identity=identity,
        evidence=evidence,
        alerts=alerts,
        told=(Told(text, text, text, DeliveryState.DELIVERED, Link(text, "javascript:alert(1)")),),
    )
