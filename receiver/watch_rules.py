"""What no alert tells, as alerts of our own. Pure: Plans and rows in, alerts out.

*One alert per Plan*, not per VM: 300 VMs that fail one after the other are one story, whose root says "3 of 20 failed".
People hear of the first failure; of further ones only when a service is down because of them and none was before
(`severity` is then critical, a second alert of the same name, and the story becomes worse).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from receiver.config.model import CAPACITY_SHORT, ClusterConfig
from receiver.enrichers.plan import read_plan
from receiver.fingerprint import fingerprint
from receiver.kube import PlanRow
from receiver.model import Alert, AlertStatus, Impact, PlanPhase

VM_FAILED = "MTVVMFailed"
STUCK = "MTVPlanStuck"
NOT_READY = "MTVPlanNotReady"
UNALERTED = "MTVPlanFailedUnalerted"
WAITS = (STUCK, NOT_READY, CAPACITY_SHORT)
"""Nothing has failed yet: these tell that a Plan does not go on, or will not. `receiver.waits_rules` says when."""
RESULT = "result"
"""Annotation with the `result` of a Notice."""
_NAMES = 5


@dataclass(frozen=True, slots=True)
class Failing:
    """VMs that failed in a run that goes on."""

    run: str
    failed: int
    total: int
    names: tuple[str, ...]
    """Of the first of them."""
    step: str
    """Where the first of them failed, such as ImageConversion."""
    impact: Impact

    @property
    def severity(self) -> str:
        return "critical" if self.impact is Impact.DOWN else "warning"


@dataclass(frozen=True, slots=True)
class Notice:
    """What an alert of WAITS says. It holds no time that passes: what is said anew is news."""

    summary: str
    description: str
    result: str = ""
    """What was found, without figures: while this stays the same, other words are no news. Empty: all words are."""


Notices = Mapping[str, Notice | None]
"""By the name of the alert; None: we looked, and there is nothing. A name that is not there was not looked for."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known about one Plan when its alerts are judged."""

    raised: Sequence[Alert]
    """Our own alerts about it that fire."""
    row: PlanRow | None
    """What the watch knows; None: it is gone."""
    failing: Failing | None = None
    """What the Plan said while it executes; None: not read, or nothing failed (`read` tells which)."""
    read: bool = False
    taken_over: bool = False
    """A failure alert of Alertmanager fires in its story."""
    unalerted: bool = False
    """It has been seen Failed for long enough, and nobody told."""
    notices: Notices = field(default_factory=dict)
    """What it waits for."""


def failing_of(plan: dict[str, Any], redact: Callable[[str], str]) -> Failing | None:
    """Return what failed in a Plan that executes; None where nothing did, or where it does not execute."""
    seen = read_plan(plan)
    if seen.phase is not PlanPhase.EXECUTING or not seen.failures:
        return None
    first = seen.failures[0]
    names = tuple(redact(one.name) for one in seen.failures[:_NAMES])
    return Failing(seen.run, len(seen.failures), seen.counts.total, names, redact(first.step), seen.impact)


def judge(now: Standing, cluster: ClusterConfig | None, at: datetime, on: Sequence[str]) -> tuple[Alert, ...]:
    """Return the alerts to raise, to say anew, or to resolve; `on` are the names that are switched on."""
    ended = [one for one in now.raised if one.name not in on or _is_over(one, now)]
    changed = [replace(one, status=AlertStatus.RESOLVED, ends_at=at) for one in ended]
    over = {one.fingerprint for one in changed}
    old = {one.fingerprint: one for one in now.raised if one.fingerprint not in over}
    if now.row is None or cluster is None:
        return tuple(changed)
    if VM_FAILED in on and now.failing is not None and now.row.executing:
        before = [one for one in old.values() if one.name == VM_FAILED]
        down = now.failing.severity == "critical" or any(one.labels["severity"] == "critical" for one in before)
        changed += _told(_vm_failed(now.row, now.failing, "critical" if down else "warning", cluster, at), old)
    for name in WAITS:
        notice = now.notices.get(name)
        if name in on and notice is not None and _may_wait(name, now.row):
            told = _alert(name, "warning", now.row, cluster, notice.summary, notice.description, at)
            if notice.result:
                told = replace(told, annotations={**told.annotations, RESULT: notice.result})
            changed += _told(told, old)
    if UNALERTED in on and now.unalerted and _failed(now.row) and not now.taken_over:
        changed += _told(_unalerted(now.row, cluster, at), old)
    return tuple(changed)


def _failed(row: PlanRow) -> bool:
    return row.failed and not row.executing


def _is_over(alert: Alert, now: Standing) -> bool:
    """Has Alertmanager's alert taken over, or is it true no longer?"""
    if now.row is None:
        return True
    if _failed(now.row) and alert.name != CAPACITY_SHORT:
        return now.taken_over
    if alert.name == VM_FAILED and now.row.executing:
        return now.read and now.failing is None
    if alert.name in WAITS and _may_wait(alert.name, now.row):
        return alert.name in now.notices and now.notices[alert.name] is None
    return True


def _may_wait(name: str, row: PlanRow) -> bool:
    """Can a Plan of which the watch says this be one that stands still, or one that is not ready?"""
    if name == STUCK:
        return row.executing
    if name == CAPACITY_SHORT:
        return row.executing or not (row.failed or row.succeeded)
    return not row.ready and (row.executing or not (row.failed or row.succeeded))


def _told(alert: Alert, old: Mapping[str, Alert]) -> tuple[Alert, ...]:
    """Return the alert unless it says nothing new; one that fires already keeps its start."""
    known = old.get(alert.fingerprint)
    if known is None:
        return (alert,)
    result = alert.annotations.get(RESULT)
    same = known.annotations == alert.annotations or (result is not None and known.annotations.get(RESULT) == result)
    return () if same else (replace(alert, starts_at=known.starts_at),)


def _vm_failed(row: PlanRow, failing: Failing, severity: str, cluster: ClusterConfig, at: datetime) -> Alert:
    listed = ", ".join(failing.names) + (", …" if failing.failed > len(failing.names) else "")
    step = f" at {failing.step}" if failing.step else ""
    if failing.failed == 1:
        summary = f"VM {listed} failed{step} while its plan still runs"
    else:
        summary = f"{failing.failed} of {failing.total} VMs failed while the plan still runs: {listed}"
    rest = failing.total - failing.failed
    others = f"The other {rest:,} VMs of the plan go on or are done. " if rest > 0 else ""
    description = f"{others}Forklift's own alert comes when the last VM has ended, and joins this story."
    return _alert(VM_FAILED, severity, row, cluster, summary, description, at)


def _unalerted(row: PlanRow, cluster: ClusterConfig, at: datetime) -> Alert:
    summary = f"Plan {row.namespace}/{row.name} failed, and no alert came: the alerting chain is broken or silenced"
    description = (
        "mtv-receiver saw the plan fail by itself. Look, in this order: does Prometheus have the rule MigrationFailed "
        "(or MTVPlanFailed), and does it fire; does a silence or another route of Alertmanager keep it; does "
        "Alertmanager's receiver post to this service's /webhook. Until then, other failures may come without an alert."
    )
    return _alert(UNALERTED, "critical", row, cluster, summary, description, at)


def _alert(
    name: str, severity: str, row: PlanRow, cluster: ClusterConfig, summary: str, description: str, at: datetime
) -> Alert:
    labels = {"alertname": name, "severity": severity, "plan": row.uid, "plan_name": row.name, **_place(cluster)}
    annotations = {"summary": summary, "description": description}
    return Alert(fingerprint(labels), AlertStatus.FIRING, labels, annotations, at)


def _place(cluster: ClusterConfig) -> dict[str, str]:
    """Return the labels by which an alert is known to be of this cluster: what its matchers ask for."""
    return {one.name: one.value if one.op == "=" else cluster.name for one in cluster.matchers if one.op in ("=", "=~")}
