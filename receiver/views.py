"""The public JSON form of stories and deliveries, the same over HTTP and from the commands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from receiver.digest_rules import impact_of
from receiver.model import Digest, Story
from receiver.store.attempts import Attempt
from receiver.store.audit import Entry
from receiver.store.codec import moment_or_none
from receiver.store.deliveries import DeliveryRow
from receiver.store.listing import shown_state
from receiver.store.presses import Press


def iso(value: datetime | None) -> str | None:
    """Return RFC 3339 in UTC, or None."""
    return None if value is None else value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def story_json(story: Story, deliveries: Sequence[str]) -> dict[str, Any]:
    """Return a story; `deliveries` are the ids of what shows it."""
    evidence = story.evidence
    labels = story.alerts[0].alert.labels if story.alerts else {}
    return {
        "id": story.id,
        "subject": story.subject,
        "state": story.state.value,
        "outcome": story.outcome.value if story.outcome else None,
        "impact": (impact_of(story.digest) if story.digest and story.open else story.impact).value,
        "severity": story.severity,
        "title": story.title,
        "labels": dict(labels),
        "facts": dict(story.identity.facts) if story.identity else {},
        "missing": [
            *(story.identity.missing if story.identity else ()),
            *(f"{one.what}: {one.why}" for one in (evidence.missing if evidence else ())),
        ],
        "cause": evidence.cause.id if evidence and evidence.cause else None,
        "ack": {"by": story.ack.by, "via": story.ack.via, "at": iso(story.ack.at)} if story.ack else None,
        "note": story.note,
        "revision": story.revision,
        "alerts": [
            {
                "fingerprint": one.alert.fingerprint,
                "status": one.alert.status.value,
                "startsAt": iso(one.alert.starts_at),
                "endsAt": iso(one.alert.ends_at),
                "labels": dict(one.alert.labels),
            }
            for one in story.alerts
        ],
        "timeline": [
            {"revision": one.revision, "at": iso(one.at), "change": one.change.value, "text": one.text}
            for one in story.timeline
        ],
        "opened": iso(story.opened),
        "updated": iso(story.updated),
        "closed": iso(story.closed),
        "previous": story.previous or None,
        "continued_in": story.continued_in or None,
        "deliveries": list(deliveries),
        "storm": storm_json(story.digest) if story.digest else None,
    }


def storm_json(digest: Digest) -> dict[str, Any]:
    """Return what a storm consists of: sums, causes, namespaces, and the first of its stories, those down first."""
    return {
        "stories": digest.plans,
        "open": digest.open,
        "rerunning": digest.rerunning,
        "fixed": digest.fixed,
        "unread": digest.unread,
        "vms": {
            "total": digest.total,
            "failed": digest.failed,
            "done": digest.done,
            "running": digest.running,
            "waiting": digest.waiting,
            "canceled": digest.canceled,
            "down": digest.down,
            "not_recognised": digest.unrecognised,
        },
        "causes": [
            {
                "id": one.id,
                "sentence": one.sentence,
                "owner": one.owner,
                "remedy": list(one.remedy),
                "link": one.link,
                "vms": one.vms,
                "stories": one.plans,
                "down": one.down,
            }
            for one in digest.causes
        ],
        "namespaces": [
            {"name": one.name, "stories": one.plans, "failed": one.failed, "down": one.down} for one in digest.places
        ],
        "members": [
            {
                "story": one.story,
                "name": one.name,
                "namespace": one.namespace,
                "state": one.state,
                "impact": one.impact.value,
                "failed": one.failed,
                "total": one.total,
                "down": one.down,
                "cause": one.cause or None,
                "line": one.line,
            }
            for one in digest.rows
        ],
    }


def press_json(press: Press) -> dict[str, Any]:
    """Return what somebody asked of a story, and what came of it."""
    return {
        "at": iso(moment_or_none(press.at)),
        "action": press.action,
        "by": press.by,
        "via": press.via,
        "done": press.done,
        "text": press.text,
    }


def delivery_json(row: DeliveryRow, attempts: Sequence[Attempt]) -> dict[str, Any]:
    """Return a delivery with its attempts."""
    return {
        "id": row.id,
        "story": row.story,
        "receiver": row.receiver,
        "kind": row.kind,
        "destination": row.destination,
        "reasons": [f"{one.text} ({one.route})" if one.route else one.text for one in row.reasons],
        "state": shown_state(row).value,
        "firing": row.firing,
        "moved": row.moved or None,
        "desired": row.desired,
        "delivered": row.delivered,
        "receipt": json.loads(row.root) if row.root else None,
        "error": row.error,
        "fallback_for": row.fallback_for or None,
        "attempts": [
            {
                "part": one.part,
                "op": one.op,
                "started": iso(moment_or_none(one.started)),
                "ended": iso(moment_or_none(one.ended)),
                "outcome": one.outcome or "unknown",
                "status": one.status,
                "error": one.error,
            }
            for one in attempts
        ],
    }


def audit_json(entry: Entry) -> dict[str, Any]:
    """Return a line of the audit stream; facts stand beside what every line has."""
    own = {"id": entry.id, "at": iso(moment_or_none(entry.at)), "kind": entry.kind, "story": entry.story}
    return {**own, **{name: one for name, one in entry.facts.items() if name not in own}}
