"""What an incident says: the parts of a PagerDuty event, from the story and its rendered message.

Responders read `custom_details` on a phone, sorted by key, so keys are numbered in the order of questions:
is anything down, what do I do, why, what failed, how sure is that, why me.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from receiver import fitting
from receiver.destinations import pagerduty_storm
from receiver.limits import truncate
from receiver.model import Change, Digest, Evidence, Impact, Story, StoryState, VMFailure, Wanted
from receiver.rendering import Message, Steps, waits, words

MAX_SUMMARY = 1_024
MAX_BODY_BYTES = 512_000
ROUTING_KEY_BYTES = 100
"""Room for the routing key, which is added only when the event is sent."""
MAX_FAILED = 20
MAX_LINKS = 10

_SEVERITY = {
    "critical": "critical",
    "page": "critical",
    "error": "error",
    "high": "error",
    "major": "error",
    "warning": "warning",
    "warn": "warning",
    "minor": "warning",
    "info": "info",
    "none": "info",
    "low": "info",
}
_SEVERITY_OF = {Impact.DOWN: "critical", Impact.AT_RISK: "error", Impact.NONE: "warning"}
_IMPACT = {
    Impact.DOWN: "down: a service is off because of this",
    Impact.AT_RISK: "at risk: still running, but not for sure",
    Impact.NONE: "none: nothing is down",
    Impact.UNKNOWN: "not known",
}


def trigger(
    wanted: Wanted, message: Message, title: str, content: str, late: str,
    images: Sequence[Mapping[str, str]] = (), links: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:  # fmt: skip
    """Return a trigger event without its routing key, at most MAX_BODY_BYTES with it.

    `images` and `links` are people's own; links come after ours.
    """
    story, identity = wanted.story, wanted.story.identity
    labels = story.alerts[0].alert.labels if story.alerts else {}
    cluster = (identity.cluster if identity else "") or labels.get("cluster", "")
    if story.digest is not None:
        cluster = words.names(story.digest.clusters)
    payload: dict[str, Any] = {
        "summary": title,
        "source": "mtv-receiver" if content == "minimal" else fitting.one_line(cluster, 255) or "cluster not known",
        "severity": severity(story),
        "timestamp": story.opened.isoformat(),
        "custom_details": _details(wanted, message, content, late),
    }
    # "minimal" keeps the names of plans, namespaces and VMs inside.
    if (name := identity.name if identity else "") and content != "minimal":
        payload["component"] = fitting.one_line(name, 255)
    group = (identity.owner_namespace or identity.target_namespace or identity.namespace) if identity else ""
    if group and content != "minimal":
        payload["group"] = fitting.one_line(group, 255)
    if alertname := labels.get("alertname", ""):
        payload["class"] = fitting.one_line(alertname, 255)
    page = f"{wanted.external_url.rstrip('/')}/stories/{story.id}" if wanted.external_url else ""
    event: dict[str, Any] = {
        "event_action": "trigger",
        "dedup_key": wanted.keys.dedup_key,
        "client": "mtv-receiver",
        "payload": payload,
    }
    if page:
        event["client_url"] = page
    ours = _links(message, page)
    shown = {one["href"] for one in ours}
    if all_links := [*ours, *(dict(one) for one in links if one["href"] not in shown)]:
        event["links"] = all_links
    if images:
        event["images"] = [dict(one) for one in images]
    return _bounded(event)


def severity(story: Story) -> str:
    """Return what the impact deserves; while that is not known, what the alert says."""
    if story.test:
        return "info"
    if story.digest is not None:
        return pagerduty_storm.severity(story.digest)
    evidence = _current(story)
    impact = evidence.impact if evidence else Impact.UNKNOWN
    return _SEVERITY_OF.get(impact) or _SEVERITY.get(story.severity.strip().lower(), "error")


def _current(story: Story) -> Evidence | None:
    """Evidence of an earlier run is never shown as the reason of this one."""
    evidence = story.evidence
    return None if evidence and evidence.run and story.run and evidence.run != story.run else evidence


def title(message: Message) -> str:
    """Return an incident's title; PagerDuty refuses an empty one."""
    return fitting.one_line(message.summary or message.push or message.title, MAX_SUMMARY) or "VM migration failed"


def _details(wanted: Wanted, message: Message, content: str, late: str) -> dict[str, Any]:
    story, evidence = wanted.story, _current(wanted.story)
    if story.digest is not None:
        return _storm(wanted, story.digest, content, late)
    found: dict[str, Any] = {
        "0_state": _state(story, content),
        "0_instead_of": "" if content == "minimal" else wanted.fallback_for,
        "0_late": late,
        "0_news": _news(story, content),
        "1_impact": _impact(evidence, content),
        "2_do_now": [] if content == "minimal" else _do_now(message),
        "4_count": _count(evidence),
        "7_routed_by": _because(wanted, content),
        "8_story": story.id,
    }
    if content != "minimal":
        found |= _reasons(evidence, content) | {"5_alerts": _alerts(story), "6_evidence": _read(evidence)}
        if evidence is not None and story.kind != "plan":
            found |= _found(evidence, content)
        if evidence is not None:
            found["3_waits"] = list(waits.lines(evidence)[:MAX_LINKS])
            found["4_failed"] = _failed(evidence.failures, story)
            found["4_off_before"] = [
                f"{vm.name}: off since run {vm.down_run}" for vm in evidence.standing if vm.down_run
            ]
    kept = {key: found[key] for key in sorted(found) if found[key]}
    return fitting.map_texts(kept, lambda text: truncate(_public(text, content), 2_000))


def _storm(wanted: Wanted, digest: Digest, content: str, late: str) -> dict[str, Any]:
    found = pagerduty_storm.details(digest, content) | {
        "0_instead_of": "" if content == "minimal" else wanted.fallback_for,
        "0_late": late,
        "7_routed_by": _because(wanted, content),
        "8_story": wanted.story.id,
    }
    kept = {key: found[key] for key in sorted(found) if found[key]}
    return fitting.map_texts(kept, lambda text: truncate(_public(text, content), 2_000))


def _because(wanted: Wanted, content: str) -> list[str]:
    if content == "minimal":
        return [reason.route for reason in wanted.reasons[:10]]
    return [f"{reason.route}: {reason.text}".strip(": ") for reason in wanted.reasons[:10]]


def _public(text: str, content: str) -> str:
    return fitting.clean(text if content == "full" else words.hide_addresses(text))


def _state(story: Story, content: str) -> str:
    if story.state is StoryState.RERUNNING:
        since = max((each.at for each in story.timeline if each.change is Change.RERUN), default=None)
        when = f" since {words.when(since, story.opened.date())}" if since else ""
        return f"re-running{when}: the alert is gone because a new run started, not because it is fixed"
    return "" if content == "minimal" else story.note


def _news(story: Story, content: str) -> str:
    """Return the last change after the first failure that people should notice.

    It makes each such change a payload of its own: without it a failure that looks like the one before would page
    nobody where a person has resolved the incident meanwhile.
    """
    loud = [each for each in story.timeline if each.audible and each.change is not Change.FIRED]
    if not loud:
        return ""
    what = loud[-1].change.value if content == "minimal" else loud[-1].text or loud[-1].change.value
    return f"{words.when(loud[-1].at, story.opened.date())}: {what}"


def _impact(evidence: Evidence | None, content: str) -> str:
    if evidence is None:
        return "not known yet: evidence is still being read"
    return (evidence.impact_text if content != "minimal" else "") or _IMPACT[evidence.impact]


def _do_now(message: Message) -> list[str]:
    steps = next((block for block in message.blocks if isinstance(block, Steps) and block.numbered), None)
    return [f"{at}. {fitting.plain(item)}" for at, item in enumerate(steps.items if steps else (), 1)]


def _count(evidence: Evidence | None) -> str:
    if evidence is None or not evidence.counts.total:
        return ""
    counts = evidence.counts
    parts = [(counts.succeeded, "done"), (counts.running, "running"), (counts.waiting, "waiting")]
    rest = ", ".join(f"{number} {word}" for number, word in [*parts, (counts.canceled, "canceled")] if number)
    return f"{words.of(counts.failed, counts.total)} failed" + (f"; {rest}" if rest else "")


def _reasons(evidence: Evidence | None, content: str) -> dict[str, Any]:
    if evidence is None:
        return {}
    if cause := evidence.cause:
        sure = f" ({cause.certainty})" if cause.certainty else ""
        return {"3_cause": f"{cause.id}: {cause.sentence}{sure}", "3_owner": cause.owner}
    said = "; ".join(evidence.plan_reasons[:3])
    if not said and evidence.unrecognised and content == "full":
        said = f"not recognised: {truncate(evidence.unrecognised, 300)}"
    return {"3_cause": said or ("not recognised" if evidence.complete else "not known yet")}


def _found(evidence: Evidence, content: str) -> dict[str, Any]:
    """Return what was found about an alert that is not of a Plan, in the place of impact and cause of a migration."""
    full = content == "full"
    objects = [
        "; ".join([f"{one.kind} {one.name}" + (f": {one.state}" if one.state else ""), *(one.bad if full else ())])
        for one in evidence.objects[:4]
    ]
    times = [f" (x{one.count})" if one.count > 1 else "" for one in evidence.events]
    return {
        "3_cause": [truncate(one, 400) for one in evidence.findings[:5]],
        "4_objects": [truncate(one, 500) for one in objects],
        "5_events": [
            truncate(f"{one.kind} {one.name}: {one.reason}{many}: {one.message}", 300)
            for one, many in zip(evidence.events[:5], times, strict=False)
        ]
        if full
        else [],
    }


def _failed(failures: Sequence[VMFailure], story: Story) -> list[Any]:
    day = story.opened.date()
    rows = [
        {
            "vm": vm.name,
            "id": vm.id,
            "step": vm.step or vm.phase,
            "at": words.when(vm.failed_at, day),
            "progress": vm.progress,
            "was": vm.power_before,
            "now": vm.power_now,
            "reason": truncate("; ".join(vm.reasons), 300),
        }
        for vm in failures[:MAX_FAILED]
    ]
    listed: list[Any] = [{key: value for key, value in row.items() if value} for row in rows]
    return listed + ([f"… {len(failures) - MAX_FAILED} more"] if len(failures) > MAX_FAILED else [])


def _alerts(story: Story) -> list[str]:
    firing = [each.alert for each in story.alerts if each.alert.firing and each.role == "failure"]
    told = [
        f"{each.name} {each.annotations.get('summary') or each.annotations.get('description', '')}" for each in firing
    ]
    return list(dict.fromkeys(fitting.one_line(text, 300) for text in told))[:10]


def _read(evidence: Evidence | None) -> list[str]:
    if evidence is None:
        return ["still being read"]
    # Not the time of reading: it would make each look at the cluster a change worth sending.
    head = "complete" if evidence.complete else "not complete yet"
    unread = [f"{each.what}: {each.why}" + (f"; {each.cure}" if each.cure else "") for each in evidence.missing[:10]]
    return [head, *unread]


def _links(message: Message, page: str) -> list[dict[str, str]]:
    found = {page: "Story"} if page else {}
    for link in message.links:
        if link.url.startswith(("https://", "http://")):
            found.setdefault(link.url, fitting.one_line(link.text, 200) or link.url)
    return [{"href": url, "text": text} for url, text in list(found.items())[:MAX_LINKS]]


def _bounded(event: dict[str, Any]) -> dict[str, Any]:
    """Cut the details of an event that is too large: texts first, then everything but impact and story."""
    for most in (500, 100):
        if _size(event) <= MAX_BODY_BYTES:
            return event
        details = fitting.map_texts(event["payload"]["custom_details"], partial(truncate, limit=most))
        event = _with_details(event, {"0_cut": "too large for PagerDuty: texts are cut", **details})
    if _size(event) > MAX_BODY_BYTES:
        details = event["payload"]["custom_details"]
        kept = {key: details[key] for key in ("1_impact", "8_story") if key in details}
        event = _with_details(event, {"0_cut": "too large for PagerDuty: details are left out", **kept})
    return event


def _with_details(event: Mapping[str, Any], details: Mapping[str, Any]) -> dict[str, Any]:
    return {**event, "payload": {**event["payload"], "custom_details": dict(details)}}


def _size(event: Mapping[str, Any]) -> int:
    return len(json.dumps(event).encode()) + ROUTING_KEY_BYTES
