"""What becomes of a story: pure rules, one table. The transactions that act on them are in `receiver.store.stories`.

While an alert fires the story is open. When none does, the Plan decides: resolved is not fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from receiver.model import Change, Evidence, Outcome, PlanPhase, PlanState, StoryState
from receiver.rendering.view import down_vms
from receiver.rendering.words import count

NAMED = 5
"""VMs that a sentence names."""
_SEVERITIES = {"critical": 4, "error": 3, "high": 3, "warning": 2, "warn": 2, "info": 1, "none": 0}


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything that the end of a story depends on."""

    state: StoryState
    firing: bool
    """At least one failure alert fires."""
    plan: PlanState
    began: bool = False
    """A failure alert began to fire in this very change: it is no leftover of an older run."""
    vm_failed: bool = False
    """Our own watch has just read that a VM of the run that goes on has failed."""
    stands_still: bool = False
    """It has just read that the run that goes on stands still, or cannot go on."""
    waited: bool = False
    """All that was ever told here is that the Plan does not go on: nothing has failed."""
    succeeded: bool = False
    """A MigrationSucceeded fires that started after the newest failure."""
    run: str = ""
    """The run (Migration UID) whose failure this story is about, where known."""
    seen: PlanPhase | None = None
    """The Plan's phase when the story was last judged."""
    note: str = ""
    endless: bool = False
    """An alert that we could not process: nothing will ever tell that it is over, so only time closes it."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a story should be now. `change` None: nothing to tell."""

    state: StoryState
    change: Change | None = None
    text: str = ""
    note: str = ""
    close_as: Outcome | None = None
    """Close with this outcome: at once where `delayed` is false, else if nothing changes for `resolve_delay`.

    What is endless is shown for `reopen_within` instead, the time in which people still count on an old failure."""
    delayed: bool = False


def judge(now: Standing) -> Judgement:
    """Apply the table of endings."""
    if now.state is StoryState.RESOLVED:
        return Judgement(now.state)
    if now.endless:
        return _close(Outcome.CLEARED, "shown long enough: nothing can tell whether it is over", delayed=True)
    if now.succeeded:
        return _close(Outcome.FIXED, "the plan succeeded")
    if now.state is StoryState.RERUNNING:
        return _judge_rerun(now)
    goes_on = now.plan.phase in (PlanPhase.EXECUTING, PlanPhase.READY)
    if now.waited and not now.firing and goes_on and now.seen is not PlanPhase.FAILED:
        return _close(Outcome.CLEARED, "what kept the plan is gone", delayed=True)
    if now.plan.phase is PlanPhase.EXECUTING and (not now.firing or now.seen is PlanPhase.FAILED):
        return Judgement(StoryState.RERUNNING, Change.RERUN, "a new run started; the failure is not fixed yet")
    if _another_run_failed(now):
        return _failed_again()
    if now.firing:
        if now.note:
            return Judgement(StoryState.FIRING, Change.ALERTS, "the alert fires again")
        return Judgement(StoryState.FIRING)
    return _judge_quiet(now)


def _judge_rerun(now: Standing) -> Judgement:
    match now.plan.phase:
        case PlanPhase.FAILED if now.run and now.run == now.plan.run:
            # The failure we know already, read just before the new run began: nobody is told twice.
            back = Judgement(StoryState.FIRING, Change.ALERTS, "the plan is still failed; no new run is seen")
            return back if now.firing else _judge_quiet(now)
        case PlanPhase.FAILED:
            return _failed_again()
        case PlanPhase.EXECUTING if now.vm_failed:
            return Judgement(StoryState.FIRING, Change.FAILED_AGAIN, "a VM failed again, and the plan still runs")
        case PlanPhase.EXECUTING if now.stands_still:
            return Judgement(StoryState.RERUNNING, Change.WORSE, "the new run does not go on")
        case PlanPhase.EXECUTING:
            return Judgement(StoryState.RERUNNING)
        case PlanPhase.UNREADABLE | PlanPhase.NO_PLAN if now.began:
            return Judgement(StoryState.FIRING, Change.FAILED_AGAIN, "the alert fires again")
        case PlanPhase.UNREADABLE:
            return Judgement(StoryState.RERUNNING)  # a run that nobody can see is not an end
        case PlanPhase.NO_PLAN if now.firing:
            return Judgement(StoryState.RERUNNING)
        case _:
            return _judge_quiet(now)


def _judge_quiet(now: Standing) -> Judgement:
    """No alert fires (or a re-run ended): the Plan decides."""
    match now.plan.phase:
        case PlanPhase.SUCCEEDED:
            return _close(Outcome.FIXED, "the plan succeeded")
        case PlanPhase.FAILED:
            note = "alert gone, plan still failed"
            return Judgement(StoryState.FIRING, None if now.note == note else Change.ALERT_GONE, note, note)
        case PlanPhase.CANCELED:
            return _close(Outcome.CANCELED, "the plan was canceled", delayed=True)
        case PlanPhase.GONE:
            return _close(Outcome.DELETED, "the plan was deleted", delayed=True)
        case PlanPhase.READY:
            return _close(Outcome.CLEARED, "the alert is gone and the plan is no longer failed", delayed=True)
        case PlanPhase.UNREADABLE:
            why = now.plan.why or "the plan cannot be read"
            return _close(
                Outcome.CLEARED, f"the alert is gone; what became of the plan is not known: {why}", delayed=True
            )
        case PlanPhase.NO_PLAN:
            why = f"; the plan was not looked up: {now.plan.why}" if now.plan.why else ""
            return _close(Outcome.CLEARED, f"the alert is gone{why}", delayed=True)
        case PlanPhase.EXECUTING:
            return Judgement(StoryState.RERUNNING)


def _another_run_failed(now: Standing) -> bool:
    """Did a run start and fail while nobody looked?"""
    return now.plan.phase is PlanPhase.FAILED and bool(now.run and now.plan.run) and now.run != now.plan.run


def _failed_again() -> Judgement:
    return Judgement(StoryState.FIRING, Change.FAILED_AGAIN, "the plan failed again")


def _close(outcome: Outcome, text: str, *, delayed: bool = False) -> Judgement:
    return Judgement(StoryState.RESOLVED, Change.RESOLVED, text, close_as=outcome, delayed=delayed)


def severer(one: str, other: str) -> str:
    """Return the more severe of two `severity` labels; unknown words count as warning."""
    return one if _SEVERITIES.get(one.lower(), 2) >= _SEVERITIES.get(other.lower(), 2) else other


def is_worse(new: str, old: str) -> bool:
    """Is severity `new` above `old`?"""
    return _SEVERITIES.get(new.lower(), 2) > _SEVERITIES.get(old.lower(), 2)


def entry_key(change: Change, reruns: int, reopens: int, revision: int) -> str:
    """Return the key of the entry that a change adds; what can come again is numbered.

    Evidence adds one entry a run: what is learnt later about the same run edits the root only.
    """
    match change:
        case Change.EVIDENCE:
            return f"evidence-{reruns}-{reopens}" if reruns or reopens else "evidence"
        case Change.WORSE | Change.ACKNOWLEDGED | Change.MOVED | Change.SILENCED | Change.REMINDED:
            return f"{change.value}-{revision}"
        case Change.RERUN:
            return f"rerun-{reruns}"
        case Change.FAILED_AGAIN:
            return f"failed-again-{reruns}"
        case Change.REOPENED:
            return f"reopened-{reopens}"
        case Change.RESOLVED:
            return f"resolved-{reopens}" if reopens else "resolved"
        case _:
            return change.value


_ORDER = (
    Change.FIRED,
    Change.REOPENED,
    Change.RESOLVED,
    Change.FAILED_AGAIN,
    Change.WORSE,
    Change.RERUN,
    Change.ALERT_GONE,
    Change.EVIDENCE,
    Change.MOVED,
    Change.ACKNOWLEDGED,
    Change.SILENCED,
    Change.REMINDED,
    Change.TOLD,
    Change.IDENTITY,
    Change.ALERTS,
    Change.AWAY,
)


def primary(changes: Sequence[tuple[Change, str]]) -> tuple[Change | None, str]:
    """Return the change that a revision is named after, and all that it says."""
    if not changes:
        return None, ""
    ordered = sorted(changes, key=lambda one: _ORDER.index(one[0]))
    return ordered[0][0], "; ".join(dict.fromkeys(text for _, text in ordered))


def news_in(before: Evidence | None, after: Evidence) -> tuple[Change, str]:
    """Return what new evidence is: worse where more VMs of the same run are down, or another cause is at work."""
    if before is None or not before.complete or before.run != after.run:
        return Change.EVIDENCE, evidence_text(after)
    known = {vm.id or vm.name for vm in down_vms(before)}
    more = [vm.name or vm.id for vm in down_vms(after) if (vm.id or vm.name) not in known]
    said: list[str] = []
    if more:
        rest = f" and {len(more) - NAMED} more" if len(more) > NAMED else ""
        said.append(f"{count(len(more), 'more VM')} down: {', '.join(more[:NAMED])}{rest}")
    if before.cause is not None and after.cause is not None and before.cause.id != after.cause.id:
        said.append(f"another cause: {after.cause.sentence}")
    return (Change.WORSE, "; ".join(said)) if said else (Change.EVIDENCE, evidence_text(after))


def evidence_text(evidence: Evidence) -> str:
    """Return what new evidence says, in a few words."""
    counts = evidence.counts
    if counts.total:
        return f"evidence: {counts.failed} of {counts.total} VMs failed"
    return "evidence"
