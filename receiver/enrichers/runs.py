"""What the earlier runs of a Plan did to its VMs: a VM that run 1 switched off is still off when run 2 begins.

Forklift writes the power state of the source before *each* run (`restorePowerState`). After run 1 failed and nobody
powered the VM on again, run 2 says "Off", as of a VM that was always off. Only the older Migrations tell them apart.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from receiver.enrichers.impact import BEFORE_POWER_OFF, with_power
from receiver.enrichers.planstate import run_history
from receiver.enrichers.reading import dig, records, text
from receiver.enrichers.vms import read_failure, state_of
from receiver.model import VMFailure

Run = Mapping[str, Any] | None
"""An earlier Migration; None where it could not be read."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What one earlier run says of a VM."""

    state: str
    failure: VMFailure


def undecided(failure: VMFailure) -> bool:
    """Tell whether this run alone cannot say if the VM was in use: it was off, or not looked at, when the run began.

    A warm migration copies a VM that is off as well, so a precopy that runs is no proof either.
    """
    return failure.power_before != "On"


def align(plan: dict[str, Any], migrations: Sequence[Mapping[str, Any]]) -> tuple[Run, ...]:
    """Return the Migration of each run before the last, oldest first; None where it is not among those given."""
    by_uid = {text(dig(one, "metadata", "uid")): one for one in migrations}
    uids = [text(dig(entry, "migration", "uid")) for entry in run_history(plan)[:-1]]
    return tuple(by_uid.get(uid) if uid else None for uid in uids)


def with_earlier(failure: VMFailure, earlier: Sequence[Run], mode: str) -> VMFailure:
    """Add what earlier runs left behind: since when the VM is down, or why nobody can tell.

    The newest run that knows the VM as On decides. Off in all of them, and it was off before anybody migrated it.
    """
    if not earlier or not undecided(failure):
        return failure
    for number in range(len(earlier), 0, -1):
        run = earlier[number - 1]
        vms = records(dig(run, "status", "vms"))
        if not vms:
            return _doubtful(failure, f"run {number} could not be read")
        said = _said(vms, failure, mode)
        if said is None or said.failure.power_before == "Off":
            continue
        if said.failure.power_before == "On":
            return _left_by(number, said, failure)
        if said.failure.phase and said.failure.phase not in BEFORE_POWER_OFF:
            return _doubtful(failure, f"run {number} does not say whether it was On")
        # It failed before its power state was looked at: an older run may know.
    return failure


def _left_by(number: int, said: _Said, failure: VMFailure) -> VMFailure:
    """Judge by the newest run that knows the VM as On."""
    if said.state == "canceled":
        return _doubtful(failure, f"run {number} was canceled, and MTV powers a canceled VM on again")
    if said.failure.power_now == "off":
        return replace(
            failure,
            power_before="On",
            power_now="off",
            off_since=said.failure.off_since,
            target_exists=_target(failure, said.failure),
            down_run=number,
        )
    return _doubtful(failure, f"it was On before run {number}, and who switched it off is not known")


def standing(vms: Sequence[Mapping[str, Any]], earlier: Sequence[Run], mode: str) -> tuple[VMFailure, ...]:
    """Return the VMs that this run has not failed or moved, but that an earlier run left off, or may have."""
    found = []
    for vm in vms:
        if state_of(vm) in ("failed", "succeeded"):
            continue
        known = replace(read_failure(vm), step="", phase="", failed_at=None, duration_s=None)
        left = with_earlier(known, earlier, mode)
        if left.down_run or left.doubt:
            found.append(left)
    return tuple(found)


def _said(vms: Sequence[Mapping[str, Any]], failure: VMFailure, mode: str) -> _Said | None:
    """Return what a run says of the VM, found by its id, else by its name: an entry may lack either."""
    for key, wanted in (("id", failure.id), ("name", failure.name)):
        for vm in vms:
            if wanted and text(vm.get(key), 253) == wanted:
                return _Said(state_of(vm), with_power(read_failure(vm), vm, mode))
    return None


def _target(now: VMFailure, then: VMFailure) -> bool | None:
    """No target VM exists only if neither run can have made one."""
    known = (now.target_exists, then.target_exists)
    if True in known:
        return True
    return False if known == (False, False) else None


def _doubtful(failure: VMFailure, why: str) -> VMFailure:
    """A VM that nobody has found off is not suspected: what comes next is told by this run."""
    return replace(failure, power_now="", off_since=None, doubt=why) if failure.power_before == "Off" else failure
