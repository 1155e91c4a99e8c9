"""The stable JSON form of a story, as the webhook sends it: see `docs/destinations/webhook.md`.

Keys are only ever added, and none is ever left out: what is not known, or is kept inside by the content level, is the
empty string, null, 0 or an empty list. Times are RFC 3339 in UTC.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from receiver import fitting
from receiver.limits import truncate
from receiver.model import Evidence, Impact, LogExcerpt, Outcome, StoryAlert, VMFailure, Wanted
from receiver.rendering import Message, words
from receiver.rendering.view import down_vms, page, stale

VERSION = 1
KEYS = (
    *("version", "event", "story", "impact", "counts", "where", "facts", "cause", "unrecognised", "findings", "logs"),
    *("vms", "vms_left_out", "evidence", "ack", "alerts", "told_because", "instead_of", "moved_to", "links", "cut"),
)
MAX_BYTES = 262_144
"""Room for 100 failed VMs with their reasons, and below what web servers take by default (1 MB)."""
MAX_VMS, MAX_ALERTS, MAX_LOGS, MAX_LINES, MAX_ITEMS = 100, 20, 5, 40, 20
MAX_TEXT = 2_000
_CUTS = (500, 100)


def body(wanted: Wanted, event: Mapping[str, Any], message: Message, content: str) -> dict[str, Any]:
    """Return what is sent for one event: the story as it is now, at most MAX_BYTES of JSON."""
    if content == "minimal":
        wanted, event = _bare(wanted), {**event, "text": "", "earlier": []}
    story = wanted.story
    evidence = story.evidence if story.evidence and not stale(wanted, story.evidence) else None
    over = story.outcome is Outcome.FIXED and not story.open
    made: dict[str, Any] = {
        "version": VERSION,
        "event": event,
        "story": _story(wanted, message),
        "impact": {
            "state": (Impact.NONE if over else evidence.impact if evidence else Impact.UNKNOWN).value,
            "text": evidence.impact_text if evidence and not over else "",
            "down": [vm.name or vm.id for vm in (() if over else down_vms(evidence))][:MAX_VMS],
        },
        "counts": _counts(evidence),
        **_where(wanted),
        **_why(evidence, content),
        **_failed(evidence, content),
        "evidence": _read(evidence),
        "ack": {"by": story.ack.by, "via": story.ack.via, "at": _time(story.ack.at)} if story.ack else None,
        "alerts": [_alert(one, content) for one in story.alerts[:MAX_ALERTS]],
        "told_because": [{"route": one.route, "text": one.text} for one in wanted.reasons[:MAX_ITEMS]],
        "instead_of": wanted.fallback_for,
        "moved_to": wanted.moved,
    }
    public = fitting.map_texts(made, partial(_public, content=content))
    # People configured these addresses, or vendors gave them: they are there to be followed.
    public["story"]["url"] = page(wanted, story.id) if wanted.external_url else ""
    return _bounded({**public, "links": _links(wanted, evidence), "cut": False})


def _bare(wanted: Wanted) -> Wanted:
    """Return what minimal content may say: state, counts and link; no name, no cause, no text of somebody else."""
    story, known = wanted.story, wanted.story.evidence
    if known is not None:
        known = (
            None
            if stale(wanted, known)
            else Evidence(impact=known.impact, counts=known.counts, complete=known.complete)
        )
    bare = replace(story, subject="", note="", run="", identity=None, evidence=known, alerts=(), told=(), ack=None)
    return replace(wanted, story=bare, reasons=(), fallback_for="", moved="")


def _public(text: str, content: str) -> str:
    text = fitting.clean(text)
    return truncate(text if content == "full" else words.hide_addresses(text), MAX_TEXT)


def _story(wanted: Wanted, message: Message) -> dict[str, Any]:
    story = wanted.story
    return {
        "id": story.id,
        "url": "",
        "kind": story.kind,
        "subject": story.subject,
        "title": message.title,
        "summary": message.summary or message.push,
        "state": story.state.value,
        "outcome": story.outcome.value if story.outcome else None,
        "firing_here": wanted.firing,
        "severity": story.severity,
        "revision": story.revision,
        "note": story.note,
        "run": story.run,
        "opened": _time(story.opened),
        "updated": _time(story.updated),
        "closed": _time(story.closed),
        "previous": story.previous,
        "continued_in": story.continued_in,
        "test": story.test,
    }


def _where(wanted: Wanted) -> dict[str, Any]:
    one = wanted.story.identity
    names = {
        "cluster": one.cluster if one else "",
        "namespace": (one.target_namespace or one.owner_namespace or one.namespace) if one else "",
        "plan": one.name if one and one.kind == "plan" else "",
        "plan_namespace": one.namespace if one and one.kind == "plan" else "",
        "missing": list(one.missing[:MAX_ITEMS]) if one else [],
    }
    facts = sorted(one.facts.items())[:100] if one else []
    return {"where": names, "facts": dict(facts)}


def _counts(evidence: Evidence | None) -> dict[str, int]:
    names = ("total", "failed", "succeeded", "running", "waiting", "canceled")
    return {name: getattr(evidence.counts, name) if evidence else 0 for name in names}


def _why(evidence: Evidence | None, content: str) -> dict[str, Any]:
    cause = evidence.cause if evidence else None
    full = evidence if evidence is not None and content == "full" else None
    return {
        "cause": None
        if cause is None
        else {
            "id": cause.id,
            "sentence": cause.sentence,
            "certainty": cause.certainty,
            "owner": cause.owner,
            "remedy": list(cause.remedy[:MAX_ITEMS]),
            "link": cause.link,
        },
        "unrecognised": full.unrecognised if full else "",
        "findings": list(evidence.findings[:MAX_ITEMS]) if evidence else [],
        "logs": [_log(one) for one in full.logs[:MAX_LOGS]] if full else [],
    }


def _log(log: LogExcerpt) -> dict[str, Any]:
    return {
        "vm": log.vm,
        "namespace": log.namespace,
        "pod": log.pod,
        "container": log.container,
        "first_line": log.first_line,
        "lines": [truncate(line, fitting.CODE_LINE_CHARS) for line in log.lines[:MAX_LINES]],
    }


def _failed(evidence: Evidence | None, content: str) -> dict[str, Any]:
    failures: Sequence[VMFailure] = (*evidence.failures, *evidence.standing) if evidence else ()
    rows = [
        {
            "name": vm.name,
            "id": vm.id,
            "step": vm.step,
            "phase": vm.phase,
            "reasons": [truncate(reason, 500) for reason in vm.reasons[:3]] if content == "full" else [],
            "failed_at": _time(vm.failed_at),
            "power_before": vm.power_before,
            "power_now": vm.power_now,
            "off_since": _time(vm.off_since),
            "target_exists": vm.target_exists,
            "down_since_run": vm.down_run,
        }
        for vm in failures[:MAX_VMS]
    ]
    return {"vms": rows, "vms_left_out": len(failures) - len(rows)}


def _read(evidence: Evidence | None) -> dict[str, Any]:
    missing = evidence.missing[:MAX_ITEMS] if evidence else ()
    return {
        "complete": evidence is not None and evidence.complete,
        "run": evidence.run_name if evidence else "",
        "run_number": evidence.run_number if evidence else 0,
        "missing": [{"what": one.what, "why": one.why, "cure": one.cure} for one in missing],
        "plan_reasons": list(evidence.plan_reasons[:MAX_ITEMS]) if evidence else [],
        "values_hidden": evidence.hidden if evidence else 0,
    }


def _alert(heard: StoryAlert, content: str) -> dict[str, Any]:
    one = heard.alert
    return {
        "fingerprint": one.fingerprint,
        "status": one.status.value,
        "labels": dict(sorted(one.labels.items())[:60]),
        "annotations": dict(sorted(one.annotations.items())[:30]),
        "starts_at": _time(one.starts_at),
        "ends_at": _time(one.ends_at),
        "generator_url": one.generator_url if content == "full" else "",
    }


def _links(wanted: Wanted, evidence: Evidence | None) -> list[dict[str, str]]:
    found = [(link.text, link.url) for link in (evidence.links if evidence else ())]
    found += [(f"{one.receiver}/{one.kind}", one.link.url) for one in wanted.story.told if one.link]
    web = [(text, url) for text, url in found if url.startswith(("https://", "http://"))]
    return [{"text": fitting.one_line(text, 200), "url": fitting.one_line(url, 1_500)} for text, url in web[:MAX_ITEMS]]


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")


def encode(made: Any) -> bytes:
    """Return the exact bytes that are sent, and signed."""
    return json.dumps(made, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _bounded(made: dict[str, Any]) -> dict[str, Any]:
    """Shorten texts, then lists, of a body that is too large; `cut` says so."""
    steps: list[Callable[[dict[str, Any]], dict[str, Any]]] = [
        *(partial(fitting.map_texts, change=partial(truncate, limit=most)) for most in _CUTS),
        lambda one: {**one, "logs": [], "facts": {}, "alerts": one["alerts"][:1]},
        lambda one: {**one, "vms": one["vms"][:10], "vms_left_out": one["vms_left_out"] + len(one["vms"][10:])},
    ]
    for step in steps:
        if len(encode(made)) <= MAX_BYTES:
            break
        made = {**step(made), "cut": True}
    return made
