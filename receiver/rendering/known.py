"""The part of a context that comes from evidence: impact, counts, failed VMs, cause, logs, and what is unknown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from receiver.limits import truncate
from receiver.model import Evidence, Impact, LogExcerpt, StoryState
from receiver.rendering import do_now, machines, waits, words
from receiver.rendering.context import Log
from receiver.rendering.markup import clean, safe_url
from receiver.rendering.view import MAX_NAME, View, begun, down_vms

# Sizes that keep a whole chat message below 8,000 characters of JSON and legible on a phone.
_CHAT_LINES, _TICKET_LINES = 12, 40
_MAX_LINE = 160
_MAX_EXCERPTS = 3
_MAX_UNRECOGNISED = 240
# The head of an importer's line: level, date, process, place in the source.
_KLOG = re.compile(r"^[IWEF]\d{4} [\d:.]+\s+\d+ [^\]]*\] ")
_MAX_UNKNOWN = 6


def failure_parts(view: View) -> dict[str, Any]:
    """Impact, counts and failed VMs."""
    story, evidence = view.wanted.story, view.evidence
    impact = evidence.impact if evidence else Impact.UNKNOWN
    reading = (
        view.is_plan
        and story.state is StoryState.FIRING
        and (evidence is None or not (evidence.complete or evidence.missing))
    )
    if evidence is None and story.identity is not None and story.identity.missing:
        reading = False
    made: dict[str, Any] = {
        "impact": impact.value,
        "reading": reading,
        "stale": view.stale,
        "impact_words": _impact_words(impact, 0, reading),
        "step": view.text(view.label("phase"), 100) if view.is_plan else "",
    }
    if evidence is None:
        return made
    down = down_vms(evidence)
    down_names = [view.text(vm.name or vm.id, MAX_NAME) for vm in down]
    counts = evidence.counts
    failed = max(counts.failed, len(evidence.failures))
    total = max(counts.total, failed)
    states = (
        (counts.succeeded, "done"),
        (counts.running, "running"),
        (counts.waiting, "waiting"),
        (counts.canceled, "canceled"),
    )
    so_far = " so far" if counts.running or counts.waiting else ""
    rows = machines.rows(view, evidence)
    steps = dict.fromkeys(view.text(vm.step or vm.phase, 40) for vm in evidence.failures if vm.step or vm.phase)
    return made | {
        "impact_words": _impact_words(impact, len(down), reading, len(do_now.at_risk(evidence)) or len(evidence.waits)),
        "impact_text": view.text(evidence.impact_text, 700),
        "down": tuple(down_names[:50]),
        "down_names": words.names(down_names),
        "failed": failed,
        "total": total,
        "done": counts.succeeded,
        "running": counts.running,
        "waiting": counts.waiting,
        "canceled": counts.canceled,
        "failed_of": f"{words.of(failed, total)} failed{so_far}" if failed else "",
        "others": ", ".join(f"{number:,} {state}" for number, state in states if number),
        "step": words.names(list(steps)) or made["step"],
        "vms": rows,
        "more_vms": failed - len(rows) if rows else 0,
        "standing": machines.standing(view, evidence),
        "groups": machines.groups(view, evidence),
        "reasons": _reasons(view, evidence),
    }


def _impact_words(impact: Impact, down: int, reading: bool, risky: int = 0) -> str:
    if impact is Impact.DOWN:
        return f"{down:,} VMs down" if down > 1 else "VM down"
    if impact is Impact.UNKNOWN:
        return "Impact not known yet" if reading else "Impact not known"
    if impact is Impact.AT_RISK:
        return "VM at risk" if risky == 1 else "VMs at risk"
    return "No VM down"


def _reasons(view: View, evidence: Evidence) -> tuple[str, ...]:
    """What the Plan says, each once; raw text of others, so not below full content."""
    if view.content != "full":
        return ()
    found = [*evidence.plan_reasons, *(reason for vm in evidence.failures for reason in vm.reasons)]
    return tuple(dict.fromkeys(view.text(reason, 300) for reason in found if reason.strip()))[:3]


def evidence_parts(view: View) -> dict[str, Any]:
    """Cause, logs, steps, commands, and what is unknown."""
    story, evidence = view.wanted.story, view.evidence
    missing = list(story.identity.missing) if story.identity else []
    made: dict[str, Any] = {"details": _details(view)}
    logs: tuple[Log, ...] = ()
    if evidence is not None:
        cause = evidence.cause
        missing += [_missing(one.what, one.why, one.cure) for one in evidence.missing]
        logs = _logs(view, evidence.logs) if view.content == "full" and not view.stale else ()
        made |= {
            "cause": words.sentence(view.text(cause.sentence, 300))[:-1] if cause else "",
            "cause_id": view.text(cause.id, 60) if cause else "",
            "cause_short": _short(view, cause.id, evidence) if cause else "",
            "certainty": view.text(cause.certainty, 60) if cause else "",
            "owner": view.text(cause.owner, 80) if cause else "",
            "cause_link": cause.link if cause and safe_url(cause.link) else "",
            "unrecognised": view.text(_KLOG.sub("", evidence.unrecognised), _MAX_UNRECOGNISED)
            if view.content == "full"
            else "",
            "unread": not evidence.logs and any(one.what.startswith("logs") for one in evidence.missing),
            "logs": logs,
            "hidden": evidence.hidden if view.content == "full" else 0,
            "run_number": evidence.run_number,
            "started": words.when(evidence.started, view.day),
            "commands": ()
            if view.stale
            else waits.commands(
                do_now.commands(evidence, addresses=view.content == "full"), waits.is_stuck(view.wanted, evidence)
            ),
        }
    if view.is_plan and story.open and story.state is StoryState.FIRING:
        name = (view.identity.name if view.identity else "") or view.label("plan_name")
        made["do_now"] = view.steps(
            do_now.steps(
                view.identity,
                evidence,
                down_vms(evidence),
                name,
                has_logs=bool(logs),
                differ=len(machines.groups(view, evidence)) > 1 if evidence else False,
                shown=made.get("commands", ()),
            )
        )
    shown = list(dict.fromkeys(view.text(one, 220) for one in missing))
    more = [f"{len(shown) - _MAX_UNKNOWN} more, see the story"] if len(shown) > _MAX_UNKNOWN else []
    made["unknown"] = (*shown[:_MAX_UNKNOWN], *more)
    return made


def _short(view: View, cause: str, evidence: Evidence) -> str:
    """A headline must not lay all failures on a cause that only some of them have."""
    said = view.text(cause, 40).replace("-", " ").removeprefix("guest ").removeprefix("live ")
    return f"{said} and others" if machines.groups(view, evidence) else said


def _missing(what: str, why: str, cure: str) -> str:
    return f"{what}: {why}" + (f", {cure}" if cure else "")


def _logs(view: View, excerpts: Iterable[LogExcerpt]) -> tuple[Log, ...]:
    """The last lines of at most three different logs; equal ones are shown once and counted."""
    listed = list(excerpts)
    groups: dict[tuple[str, ...], list[LogExcerpt]] = {}
    for excerpt in listed:
        if excerpt.lines:
            groups.setdefault(tuple(machines.likeness(line) for line in excerpt.lines), []).append(excerpt)
    shown = list(groups.values())[:_MAX_EXCERPTS]
    each = (_TICKET_LINES if view.ticket else _CHAT_LINES) // max(len(shown), 1)
    read = len({one.vm for one in listed if one.vm})  # the controller's log tells of no VM
    made: list[Log] = []
    for group in shown:
        first = group[0]
        skipped = max(len(first.lines) - each, 0)
        caption = [first.vm or first.pod, first.container + (" (before its restart)" if first.previous else "")]
        if first.seen_at:
            caption.append(f"kept at {words.when(first.seen_at, view.day)}")
        elif first.first_line:
            caption.append(f"line {first.first_line + skipped:,} ff.")
        alike = max([len({one.vm or one.pod for one in group}), *(one.alike for one in group)])
        if alike > 1:
            caption.append(f"{alike:,} of {max(read, alike):,} logs alike")
        lines = tuple(truncate(clean(line), _MAX_LINE) for line in first.lines[skipped:])
        made.append(Log(truncate(clean(" · ".join(part for part in caption if part)), 150), lines))
    return tuple(made)


def _details(view: View) -> tuple[str, ...]:
    """Small print under the headline. The first time carries its date, so later ones need none."""
    story, evidence = view.wanted.story, view.evidence
    parts: list[str] = []
    if not view.is_plan:
        alerts = [one.alert for one in story.alerts]
        firing = sum(alert.firing for alert in alerts)
        first = min((alert.starts_at for alert in alerts), default=story.opened)
        parts = [f"since {words.when(first)}"]
        if len(alerts) > 1 and story.open:
            parts.append(f"{words.of(firing, len(alerts), 'alert')} firing")
        return (*parts, f"severity {view.text(story.severity, 40)}") if story.severity else tuple(parts)
    times = sorted(vm.failed_at for vm in evidence.failures if vm.failed_at) if evidence else []
    if times:
        steps = {vm.step for vm in evidence.failures} if evidence else set()
        step = view.text(steps.pop(), 40) if len(steps) == 1 else ""
        parts.append(f"failed {f'at {step} ' if step else ''}{words.span(times[0], times[-1])}")
    elif waits.is_stuck(view.wanted, evidence):
        since = (
            min((one.since for one in evidence.waits if one.since), default=begun(view)) if evidence else begun(view)
        )
        parts.append(f"waiting since {words.when(since)}")
    else:
        parts.append(f"alerting since {words.when(begun(view))}")
    current = evidence is not None and not view.stale
    if evidence and current and evidence.ended and story.state is StoryState.FIRING:
        parts.append(f"run ended {words.when(evidence.ended, (times[0] if times else begun(view)).date())}")
    if evidence and current and evidence.run_number > 1:
        parts.append(f"run {evidence.run_number}")
    if evidence and evidence.mode:
        source = f" from {view.text(evidence.source_provider, MAX_NAME)}" if evidence.source_provider else ""
        # "host" is the cluster itself, which stands before.
        there = evidence.target_provider if evidence.waits and evidence.target_provider != "host" else ""
        target = f" to {view.text(there, MAX_NAME)}" if there else ""
        parts.append(f"{view.text(evidence.mode, 20).lower()} migration{source}{target}")
    return tuple(parts)
