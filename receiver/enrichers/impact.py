"""Is a service down because of the failed VMs? From what the Plan says alone; nobody has looked at a hypervisor.

Forklift never powers a source on again after a failure, and creates the target VM only in the step
VirtualMachineCreation (live: while it prepares the target). Everything here follows from these two facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from receiver.enrichers.reading import mapping, moment, text
from receiver.enrichers.vms import begun, pipeline, step_named
from receiver.model import Impact, VMCounts, VMFailure

BEFORE_POWER_OFF = frozenset(
    {
        "Started", "PreHook", "StorePowerState", "CreateInitialSnapshot", "WaitForInitialSnapshot",
        "StoreInitialSnapshotDeltas", "PreflightInspection",
    }
)  # fmt: skip
_POWERING_OFF = frozenset({"PowerOffSource", "WaitForPowerOff"})
# Steps that a warm migration reaches only after its cutover has switched the source off.
_AFTER_CUTOVER = ("ImageConversion", "DiskTransferV2v", "VirtualMachineCreation", "WaitForGuestReboots", "PostHook")
_NAMES = 3


def with_power(failure: VMFailure, vm: Mapping[str, Any], mode: str) -> VMFailure:
    """Add whether the source is off, since about when, and whether a target VM exists.

    `off_since` is the end of the step in which the source is switched off (cold), or the start of the cutover (warm):
    right to the minute or two that a guest takes to shut down.
    """
    off, since = _switched_off(failure, vm, mode)
    if off is None:
        power = ""
    elif off:
        power = "off"
    else:
        # A live or warm migration only works on a VM that runs.
        power = "on" if failure.power_before == "On" or mode in ("live", "warm") else ""
    return replace(
        failure, power_now=power, off_since=since if off else None, target_exists=_target_exists(failure, vm, mode)
    )


def _switched_off(failure: VMFailure, vm: Mapping[str, Any], mode: str) -> tuple[bool | None, datetime | None]:
    """Return whether the source was switched off, and since when; None where nobody can tell."""
    if mode == "live":
        # The source runs until the state has gone over; what comes after that is the hook.
        return (None if begun(step_named(vm, "PostHook")) or not pipeline(vm) else False), None
    if failure.phase in _POWERING_OFF:
        return None, None
    if failure.phase in BEFORE_POWER_OFF:
        return False, None
    if mode == "warm":
        cutover = step_named(vm, "Cutover")
        reached = begun(cutover) or any(begun(step_named(vm, name)) for name in _AFTER_CUTOVER)
        if not reached:
            return (False, None) if failure.phase or pipeline(vm) else (None, None)
        return True, moment(mapping(cutover).get("started"))
    initialize = step_named(vm, "Initialize")
    switched_off_at = moment(mapping(initialize).get("completed"))
    if failure.phase or switched_off_at:
        return True, switched_off_at
    return None, None


def _target_exists(failure: VMFailure, vm: Mapping[str, Any], mode: str) -> bool | None:
    if mode == "live":
        # The target VM is made while preparing the target, and deleted seconds after a failure.
        prepare = step_named(vm, "PrepareTarget")
        return False if prepare is not None and not begun(prepare) else None
    creation = step_named(vm, "VirtualMachineCreation")
    if creation is None:
        return None
    if creation.get("phase") == "Completed" or moment(creation.get("completed")):
        return None if mapping(creation.get("error")) else True
    return None if begun(creation) or failure.phase == "CreateVM" else False


def impact_of(failure: VMFailure, mode: str) -> Impact:
    """Return one failed VM's impact.

    `down`: was On, was switched off, and no target VM is known to stand in. `at_risk`: nobody knows whether the
    service runs, because the failure came while the source was switched off, or after the target VM was made.
    `none`: the source was off before, or was never switched off (a failed warm precopy or live migration). What an
    earlier run left behind comes first: see `runs`.
    """
    if failure.doubt:
        return Impact.UNKNOWN
    if failure.down_run:
        return Impact.AT_RISK if failure.target_exists else Impact.DOWN
    if failure.power_before == "Off":
        return Impact.NONE
    if failure.power_now == "on" or failure.phase in BEFORE_POWER_OFF:
        return Impact.NONE
    if failure.phase in _POWERING_OFF:
        return Impact.AT_RISK
    if failure.power_now == "off" and failure.power_before == "On":
        return Impact.AT_RISK if failure.target_exists else Impact.DOWN
    if mode == "live" and failure.step == "PostHook":
        return Impact.AT_RISK
    return Impact.UNKNOWN


def judge(
    failures: Sequence[VMFailure],
    counts: VMCounts,
    mode: str,
    source: str,
    succeeded: Iterable[Mapping[str, Any]],
    standing: Sequence[VMFailure] = (),
) -> tuple[Impact, str]:
    """Return the worst impact of all failed VMs, and one to four sentences for people.

    `standing` are VMs that this run has not failed, but that an earlier run left off, or may have.
    """
    by: dict[Impact, list[VMFailure]] = {impact: [] for impact in Impact}
    for failure in (*failures, *standing):
        by[impact_of(failure, mode)].append(failure)
    place = f" on {source}" if source else " on the source"
    sentences: list[str] = []
    if down := by[Impact.DOWN]:
        sentences += _down(down)
    if risky := by[Impact.AT_RISK]:
        sentences += _at_risk(risky)
    sentences += _doubted(by[Impact.UNKNOWN])
    if unknown := [failure for failure in by[Impact.UNKNOWN] if not failure.doubt]:
        was = "it was" if len(unknown) == 1 else "they were"
        sentences.append(f"Whether {_names(unknown)} runs is not known: the plan does not say whether {was} On before.")
    still = [failure for failure in by[Impact.NONE] if failure.power_before != "Off"]
    if runs := [failure for failure in still if failure.power_now == "on"]:
        sentences.append(f"{_names(runs)} {_verb(runs, 'was', 'were')} never switched off and should still run{place}.")
    if untouched := [failure for failure in still if failure.power_now != "on"]:
        sentences.append(f"{_names(untouched)} failed before MTV switched anything off.")
    if was_off := [failure for failure in by[Impact.NONE] if failure.power_before == "Off"]:
        sentences.append(f"{_names(was_off)} {_verb(was_off, 'was', 'were')} Off before: no service is down.")
    if counts.running and not failures:
        left = counts.running + counts.waiting
        sentences.append(f"No VM has failed; {left:,} of {_vms(counts.total)} not done yet.")
    if counts.succeeded and failures:
        sentences.append(_done(counts.succeeded, succeeded))
    if not failures and not standing:
        return (Impact.NONE if counts.total and not counts.failed else Impact.UNKNOWN), " ".join(sentences)
    order = (Impact.DOWN, Impact.AT_RISK, Impact.UNKNOWN, Impact.NONE)
    return next(impact for impact in order if by[impact]), " ".join(sentences)


def _down(down: Sequence[VMFailure]) -> list[str]:
    them = "it" if len(down) == 1 else "them"
    said = []
    if now := [failure for failure in down if not failure.down_run]:
        said.append(f"{_names(now)} {_verb(now, 'was', 'were')} On and {_verb(now, 'is', 'are')} off{_since(now)}.")
    for run in sorted({failure.down_run for failure in down if failure.down_run}):
        some = [failure for failure in down if failure.down_run == run]
        said.append(
            f"{_names(some)} {_verb(some, 'was', 'were')} On before run {run} and {_verb(some, 'is', 'are')} "
            f"off since then{_at(some)}."
        )
    said.append(f"MTV does not power {them} on again.")
    if all(failure.target_exists is False for failure in down):
        said.append("No target VM exists, so powering on the source is a safe way back.")
    else:
        said.append("A target VM may exist: look before powering on the source, never run both.")
    return said


def _doubted(unknown: Sequence[VMFailure]) -> list[str]:
    """Name the VMs that were off when the run began and may have been on before an earlier one."""
    return [
        f"{_names(some)} {_verb(some, 'was', 'were')} Off when this run began, but {why}: whether a service is down is "
        "not known."
        for why in dict.fromkeys(failure.doubt for failure in unknown if failure.doubt)
        if (some := [failure for failure in unknown if failure.doubt == why])
    ]


def _at_risk(risky: Sequence[VMFailure]) -> list[str]:
    said = []
    if made := [failure for failure in risky if failure.power_now == "off"]:
        it = "its" if len(made) == 1 else "their"
        said.append(
            f"{_names(made)} {_verb(made, 'was', 'were')} On; the source is off{_since(made)} and {it} target VM was "
            "created. Check whether it runs; do not power on the source while it may."
        )
    if between := [failure for failure in risky if failure.power_now != "off"]:
        said.append(
            f"{_names(between)} failed while MTV switched the source off or the target took over: check whether "
            f"{_verb(between, 'it runs', 'they run')}."
        )
    return said


def _done(count: int, succeeded: Iterable[Mapping[str, Any]]) -> str:
    """Forklift restores the power state on the target: only a VM that was On is said to run."""
    verb = "is" if count == 1 else "are"
    if all(text(vm.get("restorePowerState")) == "On" for vm in succeeded):
        return f"{_vms(count)} {verb} done and {'runs' if count == 1 else 'run'} on the target."
    return f"{_vms(count)} {verb} done."


def _vms(count: int) -> str:
    return "1 VM" if count == 1 else f"{count:,} VMs"


def _verb(some: Sequence[VMFailure], one: str, many: str) -> str:
    return one if len(some) == 1 else many


def _names(some: Sequence[VMFailure]) -> str:
    names = [failure.name for failure in some]
    if len(names) > _NAMES:
        return f"{', '.join(names[:_NAMES])} and {len(names) - _NAMES:,} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _since(some: Sequence[VMFailure]) -> str:
    times = sorted(failure.off_since for failure in some if failure.off_since)
    if not times:
        return ""
    first, last = f"{times[0]:%H:%M}", f"{times[-1]:%H:%M}"
    return f" since {first} UTC" if first == last else f" since {first} to {last} UTC"


def _at(some: Sequence[VMFailure]) -> str:
    """The time with its day: an earlier run is often of another night."""
    times = sorted(failure.off_since for failure in some if failure.off_since)
    return f" ({times[0]:%d %b %H:%M} UTC)" if times else ""
