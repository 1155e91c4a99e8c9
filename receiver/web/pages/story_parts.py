"""What the page of a story shows, made of what is stored. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from receiver.enrichers.lines import clean, most_telling
from receiver.keeping import unpack
from receiver.model import (
    Change,
    Evidence,
    LogExcerpt,
    Outcome,
    PlanPhase,
    Story,
    StoryState,
    VMCounts,
    VMFailure,
)
from receiver.model.naming import named_by
from receiver.rendering.machines import likeness
from receiver.rendering.words import when
from receiver.store.attempts import Attempt
from receiver.store.codec import moment
from receiver.store.deliveries import DeliveryRow
from receiver.store.links import link_of
from receiver.store.listing import shown_state
from receiver.store.presses import Press
from receiver.web.pages.answers import answered, tried

MAX_LOGS: Final = 12
"""Logs whose decisive lines stand on the page; all of them have a page of their own."""
GLANCE: Final = 3
"""Lines that stand above everything else: what a phone shows without scrolling."""
WRAPPED: Final = 40
"""A line of a log that is shorter was not broken because it was too long."""
_ADDED: Final = re.compile(r" \(repeated \d+ times\)$|… \([\d,]+ more characters\)$")
_LIVE: Final = ("PrepareTarget", "Synchronization")
_STEPS: Final = (
    *("Initialize", "PreHook", "PreflightInspection", "DiskAllocation", "DiskTransfer", "ConvertOpenstackSnapshot"),
    *("Cutover", "ImageConversion", "DiskTransferV2v", *_LIVE, "VirtualMachineCreation", "WaitForGuestReboots"),
    *("PostHook", "WaitForFinalSnapshotConsolidation"),
)
"""Forklift's pipeline steps in their order, those of all kinds of migration."""
_USUAL: Final = {
    "live": _LIVE,
    "warm": ("Initialize", "DiskTransfer", "Cutover", "ImageConversion", "VirtualMachineCreation"),
    "": ("Initialize", "DiskTransfer", "ImageConversion", "VirtualMachineCreation"),
}
_TONES: Final = {
    Change.FIRED: "bad", Change.WORSE: "bad", Change.FAILED_AGAIN: "bad", Change.REOPENED: "bad", Change.ALERTS: "warn",
    Change.RERUN: "again", Change.RESOLVED: "good", Change.ACKNOWLEDGED: "again", Change.MOVED: "again",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """A share of a bar: VMs in one state."""

    name: str
    number: int
    tone: str


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the pipeline, and how many VMs failed in it."""

    name: str
    failed: int


@dataclass(frozen=True, slots=True)
class LogView:
    """The decisive lines of a log, and how much more of it is kept."""

    number: int
    """From 1; the log's page is called by it."""
    title: str
    lines: tuple[str, ...]
    numbers: tuple[int, ...]
    """Of `lines` in the log; empty where they are not known."""
    telling: tuple[int, ...]
    """Positions of the few lines that say most."""
    alike: int
    kept: bool
    like: tuple[tuple[int, str], ...] = ()
    """Numbers and titles of other logs that say the same."""

    @property
    def glance(self) -> tuple[str, ...]:
        """The lines that say most."""
        return tuple(self.lines[at] for at in self.telling)

    @property
    def glance_numbers(self) -> tuple[int, ...]:
        return tuple(self.numbers[at] for at in self.telling) if self.numbers else ()


@dataclass(frozen=True, slots=True)
class WholeLog:
    """All that is kept of a log."""

    title: str
    file: str
    lines: tuple[str, ...]
    first: int
    decisive: frozenset[int]
    """Positions in `lines`."""


@dataclass(frozen=True, slots=True)
class Happening:
    """A line of the timeline."""

    at: datetime
    kind: str
    """changed, told, pressed or routed."""
    text: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class LaterRun:
    """A run after the one that is known: it goes on, or went well."""

    name: str
    state: str
    tone: str
    at: datetime
    """When it was seen so."""


@dataclass(frozen=True, slots=True)
class Tellings:
    """What one destination was told."""

    row: DeliveryRow
    state: str
    url: str
    key: str
    tries: tuple[Attempt, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(f"{one.text} ({one.route})" if one.route else one.text for one in self.row.reasons)


def later_run(story: Story) -> LaterRun | None:
    """Return the run that followed the failed one that is known; None where there is none."""
    known = story.evidence
    if known is not None and known.phase is not PlanPhase.FAILED:
        return None
    name = f"Run {known.run_number + 1}" if known and known.run_number else "A new run"
    if story.state is StoryState.RERUNNING:
        seen = [one.at for one in story.timeline if one.change is Change.RERUN]
        return LaterRun(name, "goes on", "again", seen[-1] if seen else story.updated)
    if story.outcome is Outcome.FIXED and known is not None:
        return LaterRun("A later run", "went well", "good", story.closed or story.updated)
    return None


def parts_of(counts: VMCounts) -> tuple[Part, ...]:
    """Return how the VMs of a run stand, for a bar; empty where that is not known."""
    every = (
        Part("failed", counts.failed, "bad"),
        Part("done", counts.succeeded, "good"),
        Part("running", counts.running, "again"),
        Part("waiting", counts.waiting, "quiet"),
        Part("canceled", counts.canceled, "quiet"),
    )
    return tuple(one for one in every if one.number)


def pipeline_of(evidence: Evidence) -> tuple[Step, ...]:
    """Return the steps that a migration of this kind takes, with the number of VMs that failed in each."""
    failed: dict[str, int] = {}
    for vm in evidence.failures:
        if vm.step:
            failed[vm.step] = failed.get(vm.step, 0) + 1
    if not failed:
        return ()
    wanted = {*_USUAL.get(evidence.mode, _USUAL[""]), *failed}
    known = [name for name in _STEPS if name in wanted]
    return tuple(Step(name, failed.get(name, 0)) for name in (*known, *sorted(wanted - set(_STEPS))))


def vms_of(evidence: Evidence) -> tuple[VMFailure, ...]:
    """Return the VMs that failed or were left off, those that are down first."""
    every = (*evidence.failures, *evidence.standing)
    return tuple(sorted(every, key=lambda vm: not (vm.power_before.lower() == "on" and vm.power_now.lower() == "off")))


def logs_of(evidence: Evidence) -> tuple[LogView, ...]:
    """Return the logs by the numbers under which their pages are known, those that say the same once."""
    groups: dict[tuple[str, ...], list[tuple[int, LogExcerpt]]] = {}
    for number, one in enumerate(evidence.logs, 1):
        key = tuple(likeness(line) for line in one.lines) or (str(number),)
        groups.setdefault(key, []).append((number, one))
    return tuple(
        LogView(
            number=number,
            title=_title(one),
            lines=tuple(clean(line) for line in one.lines),
            numbers=_numbers(one),
            telling=most_telling(one.lines, GLANCE),
            alike=max(one.alike, len(group)),
            kept=bool(one.kept),
            like=tuple((other, _title(each)) for other, each in group[1:]),
        )
        for group in groups.values()
        for number, one in group[:1]
    )


def whole_log(evidence: Evidence, number: int) -> WholeLog | None:
    """Return all that is kept of a log; None where there is none of this number."""
    if not 1 <= number <= len(evidence.logs):
        return None
    one = evidence.logs[number - 1]
    lines, first = _kept(one)
    if not lines:
        shown = tuple(clean(line) for line in one.lines)
        return WholeLog(_title(one), _file(one), shown, 1, frozenset(range(len(shown))))
    places = _places(one.lines, lines)
    return WholeLog(_title(one), _file(one), lines, first, frozenset(at for some in places for at in some))


def _kept(one: LogExcerpt) -> tuple[tuple[str, ...], int]:
    """Return the lines that are kept, and the number of the first of them."""
    lines = tuple(clean(unpack(one.kept)).splitlines())
    return lines, max(one.read_lines - len(lines), 0) + 1


def _numbers(one: LogExcerpt) -> tuple[int, ...]:
    lines, first = _kept(one)
    places = _places(one.lines, lines)
    return tuple(first + some[0] for some in places) if places and all(places) else ()


def _places(shown: Sequence[str], lines: Sequence[str]) -> list[tuple[int, ...]]:
    """Return for each decisive line where it stands: a wrapped one in several lines, a cut one by its beginning."""
    found: list[tuple[int, ...]] = []
    begin = 0
    for text in (_ADDED.sub("", clean(one)).strip() for one in shown):
        at = next((at for at in range(begin, len(lines)) if _begins(text, lines[at].strip())), None)
        if at is None:
            found.append(())
            continue
        end, rest = at + 1, text.removeprefix(lines[at].strip()).strip()
        while rest and end < len(lines) and lines[end].strip() and rest.startswith(lines[end].strip()):
            rest = rest.removeprefix(lines[end].strip()).strip()
            end += 1
        found.append(tuple(range(at, end)))
        begin = end
    return found


def _begins(text: str, line: str) -> bool:
    return bool(line) and (line == text or line.startswith(text) or (len(line) >= WRAPPED and text.startswith(line)))


def _title(one: LogExcerpt) -> str:
    name = " · ".join(part for part in (one.vm, one.container or one.pod) if part)
    kept = f" (kept at {when(one.seen_at)})" if one.seen_at else ""
    return f"{name or 'log'}{' (before its restart)' if one.previous else ''}{kept}"


def _file(one: LogExcerpt) -> str:
    name = "-".join(part for part in (one.vm or one.pod, one.container) if part) or "log"
    return (
        "".join(char if char.isascii() and (char.isalnum() or char in "-_.") else "_" for char in name)[:120] + ".log"
    )


def told_to(rows: Iterable[tuple[DeliveryRow, Sequence[Attempt]]]) -> tuple[Tellings, ...]:
    """Return who was told, with links."""
    found = []
    for row, tries in rows:
        link = link_of(row)
        state = f"moved to {row.moved}" if row.moved else shown_state(row).value
        found.append(Tellings(row, state, link.url if link else "", link.text if link else "", tuple(tries)))
    return tuple(found)


def timeline_of(story: Story, told: Sequence[Tellings], pressed: Sequence[Press]) -> tuple[Happening, ...]:
    """Return everything that happened, newest first."""
    found = [Happening(one.at, "changed", _first_up(one.text), _TONES.get(one.change, "")) for one in story.timeline]
    for one in told:
        why = "; ".join(one.reasons)
        found.append(Happening(moment(one.row.created), "routed", f"Routed to {one.row.label}: {why}"))
        for each in one.tries:
            error = f": {answered(each.error, one.row.kind)}" if each.error else ""
            status = f" (HTTP {each.status})" if each.status is not None else ""
            tone = "" if each.outcome == "ok" else "warn"
            text = f"{one.row.label}: {tried(each.op, each.part, one.row.kind, each.outcome)}{error}{status}"
            found.append(Happening(moment(each.ended or each.started), "told", text, tone))
    for press in pressed:
        text = f"{press.by} ({press.via}) asked to {press.action}: {press.text}"
        found.append(Happening(moment(press.at), "pressed", text, "" if press.done else "warn"))
    return tuple(sorted(found, key=lambda one: one.at, reverse=True))


def named(story: Story) -> tuple[tuple[str, str], ...]:
    """Return the facts that a route may ask for, and the objects that an alert which is not of a Plan names."""
    facts = sorted((story.identity.facts if story.identity else {}).items())
    alert = story.alerts[-1].alert if story.alerts else None
    objects = named_by(alert.labels, exporters=False) if alert and story.kind != "plan" else ()
    return (*facts, *((one.kind, one.name) for one in objects))


def _first_up(text: str) -> str:
    return text[:1].upper() + text[1:]
