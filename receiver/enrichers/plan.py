"""Everything that a Plan says about its last run, as evidence. Pure: no cluster, no clock, never raises."""

from __future__ import annotations

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
from receiver.enrichers.vms import count_vms, read_failure, run_vms, state_of
from receiver.model import Evidence, Impact, PlanPhase

__all__ = ["evidence_facts", "facts_of", "plan_mode", "plan_phase", "read_plan", "run_uid"]


def read_plan(plan: dict[str, Any]) -> Evidence:
    """Return counts, failures, reasons and impact of the Plan's last run. Nothing in it is redacted yet.

    A Plan that failed as a whole (a rejected run, a blocker) has no failed VM, and so an unknown impact: an earlier
    run may have switched VMs off.
    """
    phase, mode, source = plan_phase(plan), plan_mode(plan), provider(plan, "source")
    vms = run_vms(plan)
    counts = count_vms(plan, vms)
    failures = tuple(with_power(read_failure(vm), vm, mode) for vm in vms if state_of(vm) == "failed")
    succeeded = [vm for vm in vms if state_of(vm) == "succeeded"]
    impact, impact_text = judge(failures, counts, mode, source, succeeded)
    if not failures and phase in (PlanPhase.FAILED, PlanPhase.UNREADABLE):
        impact = Impact.UNKNOWN
    return Evidence(
        run=run_uid(plan),
        run_name=run_name(plan),
        run_number=len(run_history(plan)),
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
    )
