"""From a story to the variables of a template: human words, bounded sizes, and nothing that a content level forbids."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from receiver.limits import truncate
from receiver.model import (
    EARLIER,
    EARLIER_PLAN,
    Change,
    DeliveryState,
    Entry,
    Outcome,
    PlanPhase,
    StoryState,
    Told,
    Wanted,
)
from receiver.model.naming import named_by
from receiver.rendering import words
from receiver.rendering.context import Context, Pair, Teller
from receiver.rendering.handed import handed_parts
from receiver.rendering.known import evidence_parts, failure_parts
from receiver.rendering.markup import clean
from receiver.rendering.storm import storm_parts
from receiver.rendering.things import things_parts
from receiver.rendering.view import (
    MAX_NAME,
    TICKETS,
    View,
    alert_gone,
    begun,
    is_plan,
    message_name,
    page,
    speaking_alert,
)
from receiver.rendering.view import stale as is_stale
from receiver.rendering.waits import waits_parts

_MAX_LISTED = 20
_MAX_LABELS = 8
# All that minimal content says; what is not named here stays inside, new variables too.
_OPEN = (
    *("kind", "content", "ticket", "message", "severity", "is_plan", "reading", "stale", "impact", "impact_words"),
    *("failed", "total", "done", "running", "waiting", "canceled", "failed_of", "others", "unread", "run_number"),
    *("rerun", "started", "closed", "took", "opened_at", "changed_at", "closed_at", "alert_gone", "continued_in"),
    *("previous", "late", "moved", "url", "at", "storm", "since", "plans", "plans_words", "plans_open", "plans_fixed"),
    *("plans_unread", "down_count", "bars", "not_recognised", "stuck"),
)
_PLAIN_LABELS = frozenset(
    {"alertname", "severity", "namespace", "cluster", "prometheus", "app", "job", "endpoint", "service"}
)


def build(wanted: Wanted, kind: str, content: str, entry: Entry | None = None) -> Context:
    """Return everything a template may use for this story at this destination."""
    story = wanted.story
    ticket = kind in TICKETS
    stale = story.evidence is not None and is_stale(wanted, story.evidence)
    hidden = story.evidence is not None and stale and story.state is StoryState.FIRING
    view = View(
        wanted=wanted,
        content=content,
        ticket=ticket,
        is_plan=is_plan(wanted),
        alert=speaking_alert(wanted),
        identity=story.identity,
        evidence=None if hidden else story.evidence,
        stale=stale,
        day=None if ticket else story.opened.date(),
    )
    parts: dict[str, Any] = {"kind": kind, "content": content, "ticket": ticket, "message": message_name(wanted, kind)}
    parts |= (
        _subject(view)
        | failure_parts(view)
        | evidence_parts(view)
        | things_parts(view)
        | waits_parts(view)
        | _ending(view)
        | _delivery(view)
        | _entry(view, entry)
        | storm_parts(view)
        | handed_parts(view)
    )
    context = Context(**parts)
    return _minimal(context, view, entry) if content == "minimal" else context


def _subject(view: View) -> dict[str, Any]:
    story, identity = view.wanted.story, view.identity
    alert_name = view.label("alertname") or story.title or story.subject
    name = (identity.name if identity else "") or view.label("plan_name")
    if not name and view.is_plan:
        uid = (identity.uid if identity else "") or view.label("plan") or story.subject.removeprefix("plan/")
        name = f"plan {uid}"
    cluster = (identity.cluster if identity else "") or view.label("cluster")
    own = identity.namespace if identity else ""
    target = (identity.target_namespace or identity.owner_namespace) if identity else ""
    if not view.is_plan:
        target, name = own or view.label("namespace"), alert_name
    place = target or (f"plan namespace {own}" if own else "namespace unknown")
    if not view.is_plan and not target:
        place = ""
    at = f"{place} on {cluster}" if cluster and place else place or (f"cluster {cluster}" if cluster else "")
    facts = {key: view.text(value, 300) for key, value in (identity.facts if identity else {}).items()}
    return {
        "severity": view.text(story.severity, 40),
        "is_plan": view.is_plan,
        "name": view.text(name, MAX_NAME),
        "namespace": view.text(target or own, MAX_NAME),
        "plan_namespace": view.text(own, MAX_NAME) if view.is_plan else "",
        "cluster": view.text(cluster, MAX_NAME),
        "where": view.text(at, 100),
        "facts": MappingProxyType(facts),
        **({} if view.is_plan else _other_alert(view, alert_name)),
    }


def _other_alert(view: View, alert_name: str) -> dict[str, Any]:
    notes = view.alert.annotations if view.alert else {}
    summary = view.text(notes.get("summary", ""), 200)
    description = view.text(notes.get("description", "") or notes.get("message", ""), 600)
    headline = summary or truncate(description, 140) or view.text(view.wanted.story.title or alert_name, 140)
    named = named_by(view.alert.labels, exporters=False) if view.alert else ()
    if named and named[0].name not in headline:
        headline = truncate(f"{headline.rstrip('.')}: {view.text(named[0].name, MAX_NAME)}", 200)
    labels = [
        Pair(view.text(name, 60), view.text(value, 80))
        for name, value in sorted(view.alert.labels.items() if view.alert else ())
        if name not in _PLAIN_LABELS and value
    ]
    return {
        "headline": headline,
        "description": "" if description and headline.startswith(description) else description,
        "labels": tuple(labels[:_MAX_LABELS]),
        **_listed(view),
    }


def _listed(view: View) -> dict[str, Any]:
    """Return what a list of failures from before our time holds."""
    found = [one.alert for one in view.wanted.story.alerts if one.role == EARLIER]
    ordered = sorted(found, key=lambda alert: (not alert.firing, alert.annotations.get(EARLIER_PLAN, "")))
    lines = [
        f"{view.text(alert.annotations.get(EARLIER_PLAN, '') or alert.name, 2 * MAX_NAME)}: "
        + (f"failed, alert since {words.when(alert.starts_at, view.day)}" if alert.firing else "alert gone")
        for alert in ordered
    ]
    return {"listed": tuple(lines[:_MAX_LISTED]), "more_listed": max(0, len(lines) - _MAX_LISTED)}


def _ending(view: View) -> dict[str, Any]:
    story, evidence = view.wanted.story, view.evidence
    reruns = [one for one in story.timeline if one.change is Change.RERUN]
    made: dict[str, Any] = {
        "rerun": bool(reruns) or view.stale or bool(evidence and evidence.run_number > 1),
        "opened_at": words.moment(story.opened),
        "changed_at": "" if view.ticket else words.moment(story.updated),
    }
    if story.state is StoryState.RERUNNING and reruns and not (evidence and not view.stale and evidence.started):
        made["started"] = words.when(reruns[-1].at, view.day)
    if not story.open:
        end = story.closed or story.updated
        fixed = story.outcome is Outcome.FIXED and evidence is not None and not view.stale
        if fixed and evidence and evidence.phase is PlanPhase.SUCCEEDED and evidence.ended:
            end = evidence.ended
        first = min(
            (vm.failed_at for vm in (evidence.failures if evidence else ()) if vm.failed_at), default=begun(view)
        )
        texts = [one.text for one in story.timeline if one.change is Change.RESOLVED]
        took = (end - first).total_seconds()
        made |= {
            "closed": words.when(end, view.day),
            "closed_at": words.moment(end),
            "took": words.duration(took) if took > 0 else "",
            "why": words.sentence(view.text(story.note or (texts[-1] if texts else ""), 300)),
        }
    if story.continued_in:
        made["continued_in"] = page(view.wanted, story.continued_in)
    if story.previous:
        made["previous"] = page(view.wanted, story.previous)
    return made


def _delivery(view: View) -> dict[str, Any]:
    """Why this destination is told, who else is, and what is odd about this message."""
    wanted, story = view.wanted, view.wanted.story
    made: dict[str, Any] = {
        "url": page(wanted, story.id) if wanted.external_url else "",
        "fallback_for": view.text(wanted.fallback_for.replace(": ", " could not be told: ", 1), 200),
    }
    made |= {"moved": bool(wanted.moved), "moved_to": view.text(wanted.moved, 200)}
    if story.ack is not None and story.open and not wanted.moved:
        made["taken"] = view.text(f"{story.ack.by}, {words.when(story.ack.at, view.day)} ({story.ack.via})", 160)
    if view.ticket:
        return made
    refused = {DeliveryState.PARKED, DeliveryState.DEAD, DeliveryState.RETRYING}
    silent = refused | {DeliveryState.SKIPPED, DeliveryState.MUTED}
    tellers = (
        Teller(view.text(f"{one.receiver}/{one.kind}", 80), one.link.url if one.link else "")
        for one in story.told
        if one.state not in silent
    )
    because = () if wanted.moved else wanted.reasons[:3]
    return made | {
        "alert_gone": alert_gone(wanted),
        "note": view.text(story.note, 200) if story.open else "",
        "late": words.duration(wanted.late_s) if wanted.late_s >= 60 else "",
        "told": tuple(dict.fromkeys(tellers))[:12],
        "not_told": tuple(_not_told(one) for one in story.told if one.state in refused)[:6],
        "because": "; ".join(
            view.text(reason.text, 200) + (f" ({clean(reason.route)})" if reason.route else "") for reason in because
        ),
    }


def _not_told(one: Told) -> str:
    again = " (trying again)" if one.state is DeliveryState.RETRYING else ""
    return truncate(clean(f"{one.receiver}/{one.kind}"), 80) + again


def _entry(view: View, entry: Entry | None) -> dict[str, Any]:
    if entry is None:
        return {}
    return {
        "text": words.sentence(view.text(entry.text, 500)),
        "at": words.when(entry.at, view.day),
        "earlier": tuple(words.sentence(view.text(text, 200)) for text in entry.folded[-5:]),
    }


def _minimal(context: Context, view: View, entry: Entry | None) -> Context:
    """State, counts, link. A plan is called by its story's id, an alert by its name: rules have names, not people."""
    name = context.name if context.message == "digest" else view.wanted.story.id
    if not view.is_plan and view.label("alertname"):
        name = view.text(view.label("alertname"), MAX_NAME)
    text = _nameless(entry) if entry else ""
    return Context(**{one: getattr(context, one) for one in _OPEN}, name=name, text=text)


def _nameless(entry: Entry) -> str:
    """Return what people did, without who and with what; empty where the change says it all."""
    match entry.change:
        case Change.ACKNOWLEDGED if entry.text.startswith("no longer"):
            return "No longer taken."
        case Change.ACKNOWLEDGED if entry.text.startswith("closed"):
            return "Closed where it was paged; it goes on here."
        case Change.ACKNOWLEDGED:
            return "Taken."
        case Change.MOVED:
            return "Moved to somebody else."
        case Change.SILENCED:
            return "Silenced." if entry.text.startswith("silenced") else "A silence ends soon."
        case _:
            return ""
