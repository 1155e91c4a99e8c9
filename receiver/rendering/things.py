"""The part of a context that comes from evidence about other things than Plans: objects, events, findings, steps."""

from __future__ import annotations

from typing import Any

from receiver.limits import truncate
from receiver.model import Evidence, ObjectEvent, ObjectState, StoryState
from receiver.rendering import do_now, words
from receiver.rendering.context import Do, Thing
from receiver.rendering.markup import clean
from receiver.rendering.view import View

_CHAT_EVENTS, _TICKET_EVENTS = 4, 8
_PLAN_CHAT_EVENTS = 2
_SAME = 60
_MAX_EVENT = 220
_MAX_FINDINGS = 5
_MAX_THINGS = 4


def things_parts(view: View) -> dict[str, Any]:
    """Findings, objects and events; for alerts that are not of a Plan also what to do now."""
    evidence = view.evidence
    if evidence is None or view.stale:
        return {}
    made: dict[str, Any] = {
        "findings": tuple(view.text(one, 400) for one in evidence.findings[:_MAX_FINDINGS]),
        "objects": tuple(_thing(view, one) for one in evidence.objects[:_MAX_THINGS]),
    }
    if view.content == "full":
        chat = _PLAN_CHAT_EVENTS if view.is_plan else _CHAT_EVENTS
        events = _telling(evidence) if view.is_plan else evidence.events
        made["events"] = tuple(_event(view, one) for one in events[: _TICKET_EVENTS if view.ticket else chat])
    if not view.is_plan and view.wanted.story.state is StoryState.FIRING:
        made["do_now"] = view.steps(
            Do(truncate(clean(one.text), do_now.MAX_STEP), _command(one.url))
            for one in evidence.steps[: do_now.MAX_STEPS]
        )
    return made


def _telling(evidence: Evidence) -> tuple[ObjectEvent, ...]:
    """Of a plan's events only warnings, and only what neither a log nor a reason says already; what waits rest on."""
    said = [line for log in evidence.logs for line in log.lines]
    said += [reason for failure in evidence.failures for reason in failure.reasons]
    known = {(one.kind, one.name, one.reason) for one in evidence.events}
    signs = dict.fromkeys(sign for wait in evidence.waits for sign in wait.evidence if sign.message and sign.last)
    return tuple(
        one
        for one in (*evidence.events, *(one for one in signs if (one.kind, one.name, one.reason) not in known))
        if one.warning and not any(one.message[:_SAME] in line or line[:_SAME] in one.message for line in said if line)
    )


def _command(command: str) -> str:
    """A command is shown whole or not at all: cut, it would not work."""
    shown = clean(command)
    return "" if len(shown) > do_now.MAX_COMMAND else shown


def _thing(view: View, one: ObjectState) -> Thing:
    place = f"{one.namespace}/{one.name}" if one.namespace else one.name
    # Conditions carry messages that somebody else wrote.
    bad = tuple(view.text(each, 260) for each in one.bad[:3]) if view.content == "full" else ()
    return Thing(view.text(f"{one.kind} {place}", 150), view.text(one.state, 150), bad)


def _event(view: View, one: ObjectEvent) -> str:
    times = f" (x{one.count:,})" if one.count > 1 else ""
    when = words.when(one.last, view.day)
    return truncate(clean(f"{when} {one.kind} {one.name}: {one.reason}{times}: {one.message}".strip()), _MAX_EVENT)
