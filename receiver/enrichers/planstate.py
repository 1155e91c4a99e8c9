"""What a Plan says of itself as a whole: phase, run, mode, providers, and why it does not run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from receiver.enrichers.reading import dig, mapping, records, text, texts
from receiver.model import PlanPhase

# The first that holds wins. Executing comes first: Forklift takes Failed and Canceled away when a new run starts, so
# both together is a moment in between. Failed and Archived together is a failure that nobody repaired.
_PHASES = (
    ("Executing", PlanPhase.EXECUTING),
    ("Failed", PlanPhase.FAILED),
    ("Succeeded", PlanPhase.SUCCEEDED),
    ("Canceled", PlanPhase.CANCELED),
)
_MODES = ("cold", "warm", "live", "conversion")
_USUAL_FAILED = "The plan execution has FAILED."


def conditions(holder: object) -> tuple[Mapping[str, Any], ...]:
    """Return the conditions that hold; one that no longer holds is absent or not "True"."""
    found = records(mapping(holder).get("conditions"))
    return tuple(item for item in found if item.get("status") in ("True", True))


def holds(holder: object, kind: str) -> Mapping[str, Any] | None:
    """Return the condition of that type if it holds."""
    return next((item for item in conditions(holder) if item.get("type") == kind), None)


def plan_phase(plan: dict[str, Any]) -> PlanPhase:
    """Return the state that a story's end depends on; UNREADABLE for an object without any condition.

    READY means that no run is active or finished; whether the Plan could run is in `plan_reasons`.
    """
    status = dig(plan, "status")
    kinds = {item.get("type") for item in conditions(status) if isinstance(item.get("type"), str)}
    for kind, phase in _PHASES:
        if kind in kinds:
            return phase
    return PlanPhase.READY if kinds else PlanPhase.UNREADABLE


def run_history(plan: dict[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Return one entry per run, oldest first; the last is the active one."""
    return records(dig(plan, "status", "migration", "history"))


def run_uid(plan: dict[str, Any]) -> str:
    """Return the UID of the Migration that the Plan's state belongs to; empty where it never ran."""
    history = run_history(plan)
    return text(dig(history[-1], "migration", "uid")) if history else ""


def run_name(plan: dict[str, Any]) -> str:
    """Return the name of that Migration."""
    history = run_history(plan)
    return text(dig(history[-1], "migration", "name")) if history else ""


def plan_mode(plan: dict[str, Any]) -> str:
    """Return cold, warm, live or conversion; `spec.type` may be missing, then the old boolean `warm` counts."""
    kind = text(dig(plan, "spec", "type")).lower()
    if kind in _MODES:
        return kind
    return "warm" if dig(plan, "spec", "warm") is True else "cold"


def provider(plan: dict[str, Any], side: str) -> str:
    """Return the name of the Provider; `side` is `source` or `destination`."""
    return text(dig(plan, "spec", "provider", side, "name"))


def plan_reasons(plan: dict[str, Any]) -> tuple[str, ...]:
    """Return what blocks the Plan itself, no VM at fault: its Critical and Error conditions.

    The message of Failed is added where it says more than that the Plan failed, such as the validation blocker that
    outlasted its grace period.
    """
    found: dict[str, None] = {}
    for item in conditions(dig(plan, "status")):
        kind, message = text(item.get("type")), text(item.get("message"))
        if kind == "Failed":
            if message and message != _USUAL_FAILED:
                found[message] = None
        elif item.get("category") in ("Critical", "Error"):
            vms = texts(item.get("items"))
            more = f" and {len(vms) - 5} more" if len(vms) > 5 else ""
            about = f" ({', '.join(vms[:5])}{more})" if vms else ""
            found[f"{kind}: {message or 'no message'}{about}"] = None
    return tuple(found)
