"""Everything that a Plan says about its last run, as evidence. Pure: no cluster, no clock, never raises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from receiver.enrichers.facts import evidence_facts, facts_of
from receiver.enrichers.impact import judge, with_power
from receiver.enrichers.planstate import (
    plan_mode,
    plan_phase,
    plan_reasons,
    provider,
    run_history,
    run_name,
    run_uid,
)
from receiver.enrichers.reading import dig, moment
from receiver.enrichers.runs import Run, standing, undecided, with_earlier
from receiver.enrichers.vms import count_vms, groups_of, read_failure, run_vms, state_of
from receiver.model import Evidence, Impact, PlanPhase, VMFailure

__all__ = ["evidence_facts", "facts_of", "plan_mode", "plan_phase", "read_plan", "run_uid", "wants_earlier"]


def read_plan(plan: dict[str, Any], earlier: Sequence[Run] | None = None) -> Evidence:
    """Return counts, failures, reasons and impact of the Plan's last run. Nothing in it is redacted yet.

    `earlier` are the Migrations of the runs before, oldest first, None where one could not be read; without them every
    earlier run counts as unread. A Plan that failed as a whole (a rejected run, a blocker) has no failed VM, and so an
    unknown impact: an earlier run may have switched VMs off.
    """
    phase, mode, source = plan_phase(plan), plan_mode(plan), provider(plan, "source")
    vms, history = run_vms(plan), run_history(plan)
    counts = count_vms(plan, vms)
    failures = tuple(with_power(read_failure(vm), vm, mode) for vm in vms if state_of(vm) == "failed")
    before = earlier if earlier is not None else (None,) * len(history[:-1])
    still: tuple[VMFailure, ...] = ()
    if mode != "live":  # a live migration switches nothing off
        failures = tuple(with_earlier(failure, before, mode) for failure in failures)
        still = standing(vms, before, mode) if phase is not PlanPhase.SUCCEEDED else ()
    succeeded = [vm for vm in vms if state_of(vm) == "succeeded"]
    impact, impact_text = judge(failures, counts, mode, source, succeeded, still)
    if not failures and not still and phase in (PlanPhase.FAILED, PlanPhase.UNREADABLE):
        impact = Impact.UNKNOWN
    return Evidence(
        run=run_uid(plan),
        run_name=run_name(plan),
        run_number=len(history),
        phase=phase,
        started=moment(dig(plan, "status", "migration", "started")),
        ended=moment(dig(plan, "status", "migration", "completed")),
        mode=mode,
        source_provider=source,
        target_provider=provider(plan, "destination"),
        counts=counts,
        failures=failures,
        plan_reasons=plan_reasons(plan),
        impact=impact,
        impact_text=impact_text,
        groups=groups_of(failures),
        standing=still,
    )


def wants_earlier(plan: dict[str, Any]) -> bool:
    """Tell whether the impact of this run can only be told by looking at the runs before."""
    if len(run_history(plan)) < 2 or plan_mode(plan) == "live" or plan_phase(plan) is PlanPhase.SUCCEEDED:
        return False
    vms = [vm for vm in run_vms(plan) if state_of(vm) != "succeeded"]
    return any(undecided(read_failure(vm)) for vm in vms)
