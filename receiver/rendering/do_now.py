"""What to do now: numbered, safe first, only commands that work, and what a step destroys is said."""

from __future__ import annotations

import re
from collections.abc import Sequence

from receiver.limits import truncate
from receiver.model import Evidence, Identity, Impact, VMFailure
from receiver.rendering import words
from receiver.rendering.context import Command, Do
from receiver.rendering.markup import clean

MAX_STEPS = 7
MAX_STEP = 400
MAX_COMMANDS = 4
MAX_COMMAND = 1_000  # a command that was cut would not work, so longer ones are left out

# RFC 1123 names as Kubernetes allows them: nothing that a shell would read as anything else.
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_POWER_ON = re.compile(r"\b(?:power|switch)(?:ed|ing)?\s+on\b", re.IGNORECASE)
_RERUN = re.compile(r"\bre-?run|\b(?:run|start|execute)\b.*\bagain\b", re.IGNORECASE)


def steps(
    identity: Identity | None,
    evidence: Evidence | None,
    down: Sequence[VMFailure],
    name: str,
    *,
    has_logs: bool,
    shown: Sequence[Command],
) -> tuple[Do, ...]:
    """Return the steps for a failure that is still there. `shown` are the commands that stand below them."""
    if evidence is None:
        return look(identity, name)
    cause = evidence.cause
    known = tuple(clean(step) for step in cause.remedy) if cause else ()
    made: list[Do] = []
    if down and not any(_POWER_ON.search(step) for step in known):
        made.append(power_on(evidence, down, identity))
    if evidence.impact is Impact.AT_RISK:
        made.append(check(evidence, identity))
    made += [Do(truncate(step, MAX_STEP)) for step in known]
    if cause is None and has_logs:
        made.append(Do("Find the reason in the log lines below; nobody has named this error yet."))
    elif cause is None and evidence.failures and not evidence.logs and (evidence.complete or evidence.missing):
        made.append(Do("Nothing could be read of the failed pods' logs; read them yourself", _pods(identity)))
    elif cause is None and not evidence.failures and not evidence.plan_reasons:
        made += look(identity, name)
    again = any(_RERUN.search(command.caption) for command in shown)
    if again and not any(_RERUN.search(step) for step in known) and (cause or evidence.failures):
        made.append(run_again(evidence))
    return tuple(made[:MAX_STEPS])


def power_on(evidence: Evidence, down: Sequence[VMFailure], identity: Identity | None) -> Do:
    """Return the step that brings the service back, or that finds out first whether it is safe."""
    who = words.names([clean(vm.name or vm.id) for vm in down])
    place = f" at the source ({clean(evidence.source_provider)})" if evidence.source_provider else " at the source"
    if all(vm.target_exists is False for vm in down):
        return Do(
            truncate(f"Power on {who}{place}: no target VM exists, so this is safe and the service is back.", 400)
        )
    return Do(
        truncate(f"Power on {who}{place}, but only if no target VM runs: check that first", MAX_STEP), _vms(identity)
    )


def check(evidence: Evidence, identity: Identity | None) -> Do:
    """Return the step that finds out whether a service is down at all."""
    who = words.names([clean(vm.name or vm.id) for vm in evidence.failures]) or "the VMs"
    text = f"Check whether {who} run on the target; do not power on a source while its target VM may run"
    return Do(truncate(text, MAX_STEP), _vms(identity))


def run_again(evidence: Evidence) -> Do:
    """Return the step that starts a new run, with what it keeps and what it destroys."""
    when = "When this run has ended, run" if evidence.counts.running or evidence.counts.waiting else "Then run"
    kept = ""
    if done := evidence.counts.succeeded:
        kept = " The VM that is done is kept." if done == 1 else f" The {done:,} VMs that are done are kept."
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
