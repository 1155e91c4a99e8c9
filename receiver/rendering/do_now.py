"""What to do now: numbered, safe first, only commands that work, and what a step destroys is said."""

from __future__ import annotations

import re
from collections.abc import Sequence

from receiver.limits import truncate
from receiver.model import Evidence, Identity, Impact, PlanPhase, Room, VMFailure
from receiver.rendering import words
from receiver.rendering.context import Command, Do
from receiver.rendering.markup import clean

MAX_STEPS = 7
MAX_STEP = 400
MAX_COMMANDS = 4
MAX_COMMAND = 1_000  # a command that was cut would not work, so longer ones are left out

# RFC 1123 names as Kubernetes allows them: nothing that a shell would read as anything else.
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
# As `gather_plan` says it of a Plan that was deleted.
_GONE = ("there is none", "deleted")
_POWER_ON = re.compile(r"\b(?:power|switch)(?:ed|ing)?\s+on\b", re.IGNORECASE)
_RERUN = re.compile(r"\bre-?run|\b(?:run|start|execute)\b.*\bagain\b", re.IGNORECASE)


def steps(
    identity: Identity | None,
    evidence: Evidence | None,
    down: Sequence[VMFailure],
    name: str,
    *,
    has_logs: bool,
    differ: bool,
    shown: Sequence[Command],
) -> tuple[Do, ...]:
    """Return the steps for a failure that is still there. `shown` are the commands that stand below them.

    `differ` tells that the VMs did not all fail alike, so that a known cause may explain only some of them.
    """
    if evidence is None:
        return look(identity, name)
    if any(one.what.startswith("plan ") and one.why.startswith(_GONE) for one in evidence.missing):
        return (gone(identity),)
    cause = evidence.cause
    known = tuple(clean(step) for step in cause.remedy) if cause else ()
    safe = [vm for vm in down if vm.target_exists is False]
    unsure = [vm for vm in down if vm.target_exists is not False]
    risky = at_risk(evidence)
    made: list[Do] = []
    if safe and (unsure or risky or not any(_POWER_ON.search(step) for step in known)):
        made.append(power_on(evidence, safe))
    if unsure:
        made.append(look_first(evidence, unsure, identity))
    if risky:
        made.append(check(risky, identity))
    if open_question := [vm for vm in evidence.failures if not vm.power_before and vm.power_now == "off"]:
        made.append(ask(open_question))
    if unsure or risky:
        # Whoever wrote the remedy did not know of a target VM that may run: two of one VM destroy its disks.
        known = tuple(f"Only where no target VM runs: {step}" if _POWER_ON.search(step) else step for step in known)
    made += [Do(truncate(step, MAX_STEP)) for step in known]
    if cause is None:
        made += _unnamed(identity, evidence, name, has_logs)
    if cause and differ:
        made.append(Do("The other VMs failed otherwise: see the list above before you run the plan again."))
    made += elsewhere(evidence.room, "Or take")
    again = any(_RERUN.search(command.caption) for command in shown)
    if (
        again
        and not any(_RERUN.search(step) for step in known)
        and (evidence.failures or (cause and evidence.phase is not PlanPhase.EXECUTING))
    ):
        made.append(run_again(evidence))
    return tuple(made[:MAX_STEPS])


def _unnamed(identity: Identity | None, evidence: Evidence, name: str, has_logs: bool) -> tuple[Do, ...]:
    """Return the step that finds the reason of a failure that nobody has named yet."""
    if has_logs:
        return (Do("Find the reason in the log lines below; nobody has named this error yet."),)
    if evidence.unrecognised:
        return (Do("Start from the reason that the plan gives; nobody has named this error yet."),)
    if evidence.plan_reasons:
        return (Do("Cure what blocks the plan (see the cause above), then run it again."),)
    if not evidence.failures:
        return look(identity, name)
    if evidence.logs or not (evidence.complete or evidence.missing):
        return ()
    if all(one.why == "no pod is left" for one in evidence.missing if one.what.startswith("logs")):
        return (Do("The failed pods are gone, and their logs with them: look into the cluster's log store, if any."),)
    return (Do("Nothing could be read of the failed pods' logs; read them yourself", _pods(identity)),)


def at_risk(evidence: Evidence) -> tuple[VMFailure, ...]:
    """Return the VMs of which nobody knows whether they run: their target VM was made, or they were just moving."""
    every = (*evidence.failures, *evidence.standing)
    made = tuple(vm for vm in every if vm.power_before == "On" and vm.power_now == "off" and vm.target_exists)
    if made or evidence.impact is not Impact.AT_RISK:
        return made
    return tuple(vm for vm in evidence.failures if vm.power_before != "Off" and vm.power_now != "on")


def power_on(evidence: Evidence, safe: Sequence[VMFailure]) -> Do:
    """Return the step that brings the service back; only for VMs of which no target VM exists."""
    text = f"Power on {_who(safe)}{_place(evidence)}: no target VM exists, so this is safe and the service is back."
    return Do(truncate(text, MAX_STEP))


def look_first(evidence: Evidence, unsure: Sequence[VMFailure], identity: Identity | None) -> Do:
    """Return the step that finds out whether powering on the source is safe."""
    text = f"Only if no target VM runs: power on {_who(unsure)}{_place(evidence)}. Look first"
    return Do(truncate(text, MAX_STEP), _vms(identity))


def check(risky: Sequence[VMFailure], identity: Identity | None) -> Do:
    """Return the step that finds out whether a service is down at all."""
    runs = "runs" if len(risky) == 1 else "run"
    text = f"Check whether {_who(risky)} {runs} on the target; never power on a source while its target VM may run"
    return Do(truncate(text, MAX_STEP), _vms(identity))


def ask(unknown: Sequence[VMFailure]) -> Do:
    """Return the step for VMs that MTV switched off, or found off: nobody knows whether anybody needs them."""
    it, was = ("it", "was") if len(unknown) == 1 else ("they", "were")
    safe = all(vm.target_exists is False for vm in unknown)
    then = "no target VM exists, so power the source on" if safe else "look for a target VM before you do anything"
    return Do(
        truncate(f"Find out whether {_who(unknown)} {was} On before: if so, {it} {_now(it)} down; {then}.", MAX_STEP)
    )


def elsewhere(room: Room | None, take: str = "Take") -> tuple[Do, ...]:
    """Return the step to another cluster, where room is what is missing: else it would meet the same there."""
    if room is None or room.verdict == "fits":
        return ()
    return tuple(Do(f"{take} cluster {clean(name)} instead: the plan fits there.") for name in room.fitting[:1])


def gone(identity: Identity | None) -> Do:
    """Return the step for a plan that is not there any more."""
    text = "The plan is gone: find out whether its VMs run, at the source and in the target namespace"
    return Do(text, _vms(identity))


def _now(it: str) -> str:
    return "is" if it == "it" else "are"


def _who(vms: Sequence[VMFailure]) -> str:
    return words.names([clean(vm.name or vm.id) for vm in vms])


def _place(evidence: Evidence) -> str:
    return f" at the source ({clean(evidence.source_provider)})" if evidence.source_provider else " at the source"


def run_again(evidence: Evidence) -> Do:
    """Return the step that starts a new run, with what it keeps and what it destroys."""
    running = evidence.counts.running or evidence.phase is PlanPhase.EXECUTING
    when = "When this run has ended, run" if running else "Then run"
    kept = ""
    if done := evidence.counts.succeeded:
        kept = " The VM that is done is kept." if done == 1 else f" The {done:,} VMs that are done are kept."
    if not evidence.failures:
        return Do(f"{when} the plan again (command below).{kept}")
    saved = "what was read of them is kept with this story" if evidence.logs else "save them first if you need them"
    return Do(
        f"{when} the plan again (command below).{kept} A new run deletes the failed pods and their logs; {saved}."
    )


def look(identity: Identity | None, name: str) -> tuple[Do, ...]:
    """Return the step for a plan that we could not read: how to read it oneself."""
    if not _NAME.fullmatch(name):
        return ()
    if identity and _NAME.fullmatch(identity.namespace):
        return (
            Do(
                "Look at the plan yourself", f"oc get plans.forklift.konveyor.io {name} -n {identity.namespace} -o yaml"
            ),
        )
    found = f"oc get plans.forklift.konveyor.io -A --field-selector metadata.name={name}"
    return (Do("Find the plan and its namespace", found),)


def _vms(identity: Identity | None) -> str:
    target = identity.target_namespace if identity else ""
    return f"oc get vm -n {target}" if _NAME.fullmatch(target) else ""


def _pods(identity: Identity | None) -> str:
    target = identity.target_namespace if identity else ""
    return f"oc get pods -n {target}" if _NAME.fullmatch(target) else ""


def commands(evidence: Evidence | None, *, addresses: bool) -> tuple[Command, ...]:
    """Return the commands to copy, whole or not at all; without `addresses` those that name a host are left out."""
    found = [Command(truncate(clean(one.text), 120), clean(one.url)) for one in (evidence.commands if evidence else ())]
    fit = [one for one in found if one.command and len(one.command) <= MAX_COMMAND]
    if not addresses:
        fit = [one for one in fit if words.hide_addresses(one.command) == one.command]
    return tuple(fit[:MAX_COMMANDS])
