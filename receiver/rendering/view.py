"""How one destination sees a story: which message it gets, its mark, and which evidence it may show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from receiver.limits import truncate
from receiver.model import Alert, Evidence, Identity, Impact, Outcome, PlanPhase, StoryState, VMFailure, Wanted
from receiver.model.handed import HANDOVER
from receiver.rendering import words
from receiver.rendering.context import Do
from receiver.rendering.markup import clean

MAX_NAME = 63

TICKETS = frozenset({"jira", "servicenow", "github", "gitlab"})
"""Kinds whose root must not change with a quiet note."""


@dataclass(frozen=True, slots=True)
class View:
    """What every part of the context needs."""

    wanted: Wanted
    content: str
    ticket: bool
    is_plan: bool
    alert: Alert | None
    identity: Identity | None
    evidence: Evidence | None
    """Of the run that the message is about; None while there is none."""
    stale: bool
    day: date | None
    """Times of this day are printed without their date."""

    def text(self, value: str, limit: int) -> str:
        """Clean and cut what somebody else wrote; without addresses where the content level says so."""
        line = clean(value)
        return truncate(line if self.content == "full" else words.hide_addresses(line), limit)

    def steps(self, steps: Iterable[Do]) -> tuple[Do, ...]:
        """Clean what to do. A command is shown whole or not at all: with an address hidden it would not work."""
        if self.content == "full":
            return tuple(steps)
        return tuple(
            Do(words.hide_addresses(one.text), one.command if words.hide_addresses(one.command) == one.command else "")
            for one in steps
        )

    def label(self, name: str) -> str:
        return self.alert.labels.get(name, "") if self.alert else ""


def message_name(wanted: Wanted, kind: str) -> str:
    """Return the template folder that fits the story as this destination sees it."""
    story = wanted.story
    if wanted.moved:
        return "ended-here"
    if story.kind == HANDOVER:
        return HANDOVER
    if story.digest is not None:
        return "digest" if story.open else "digest-over"
    if not story.open:
        return (story.outcome or Outcome.CLEARED).value
    if story.state is StoryState.RERUNNING:
        return "re-running"
    if not wanted.firing:
        return "ended-here"
    if not is_plan(wanted):
        return "alert"
    return "alert-gone" if alert_gone(wanted) and kind not in TICKETS else "firing"


def is_plan(wanted: Wanted) -> bool:
    """Whether the story is about a migration plan."""
    return wanted.story.kind.lower() == "plan" or wanted.story.subject.startswith("plan/")


def alert_gone(wanted: Wanted) -> bool:
    """Whether no alert fires any more though the story says that nothing is fixed."""
    story = wanted.story
    failing = any(one.alert.firing and one.role == "failure" for one in story.alerts)
    return story.state is StoryState.FIRING and bool(story.note) and bool(story.alerts) and not failing


def mark(wanted: Wanted) -> tuple[str, str]:
    """Return emoji and colour of the story's state for this destination."""
    story = wanted.story
    if wanted.moved:
        return "⚪", "#9a9a9a"
    if not story.open:
        return ("🟢", "#2eb67d") if story.outcome is Outcome.FIXED else ("⚪", "#9a9a9a")
    if story.state is StoryState.RERUNNING:
        return "🔵", "#1d6fd1"
    if not wanted.firing:
        return "⚪", "#9a9a9a"
    if (digest := story.digest) is not None:
        return ("🔴", "#d92d20") if digest.down or (digest.severe and digest.unread) else ("🟠", "#f08c00")
    evidence = story.evidence
    current = evidence is not None and not stale(wanted, evidence)
    impact = story.impact if current else Impact.UNKNOWN
    red = impact is Impact.DOWN or (impact is Impact.UNKNOWN and story.severity.lower() == "critical")
    return ("🔴", "#d92d20") if red else ("🟠", "#f08c00")


def stale(wanted: Wanted, evidence: Evidence) -> bool:
    """Evidence of an earlier run than the one the story is at."""
    story = wanted.story
    if story.state is StoryState.RERUNNING and evidence.phase is PlanPhase.FAILED:
        return True
    return bool(story.run and evidence.run and story.run != evidence.run)


def speaking_alert(wanted: Wanted) -> Alert | None:
    """The alert that speaks for the story: a failure, firing before resolved, the newest first."""
    ordered = sorted(wanted.story.alerts, key=lambda one: (one.role == "failure", one.alert.firing, one.seq))
    return ordered[-1].alert if ordered else None


def is_down(vm: VMFailure) -> bool:
    """Was on, was switched off, and no target VM is known to stand in."""
    return vm.power_before.lower() == "on" and vm.power_now.lower() == "off" and vm.target_exists is not True


def down_vms(evidence: Evidence | None) -> tuple[VMFailure, ...]:
    """The VMs that are down, whichever run switched them off."""
    if evidence is None or evidence.impact is not Impact.DOWN:
        return ()
    return tuple(vm for vm in (*evidence.failures, *evidence.standing) if is_down(vm))


def begun(view: View) -> datetime:
    """When the first failure alert of the story began."""
    failures = [one.alert.starts_at for one in view.wanted.story.alerts if one.role == "failure"]
    return min(failures, default=view.wanted.story.opened)


def page(wanted: Wanted, story_id: str) -> str:
    """Return the URL of a story's page, or its id where no URL is configured."""
    return f"{wanted.external_url.rstrip('/')}/stories/{story_id}" if wanted.external_url else story_id
