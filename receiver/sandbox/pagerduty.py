"""PagerDuty's Events API v2 in memory: events in, incidents out.

An accepted event is answered 202 whether or not it changed anything: a resolve for a key that is unknown or closed
already is dropped without a word, and a trigger after a resolve opens a new incident.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_SUMMARY_CHARS = 1_024
MAX_DEDUP_KEY_CHARS = 255
MAX_BODY_BYTES = 512_000
ROUTING_KEY_CHARS = 32
ACTIONS = frozenset({"trigger", "acknowledge", "resolve"})
SEVERITIES = frozenset({"critical", "error", "warning", "info"})
FIRST_NUMBER = 48_201


@dataclass(slots=True)
class Incident:
    """What one dedup key opened; `title` is that of the first trigger, `payload` that of the newest."""

    number: int
    routing_key: str
    dedup_key: str
    title: str
    payload: dict[str, Any]
    links: list[dict[str, Any]]
    client: str | None
    client_url: str | None
    opened_at: float
    state: str = "triggered"
    triggers: int = 1
    acknowledged_at: float | None = None
    resolved_at: float | None = None

    @property
    def open(self) -> bool:
        return self.state != "resolved"

    def wire(self) -> dict[str, Any]:
        """Return the incident for `/state`; times are Unix seconds."""
        return {
            "number": self.number,
            "routing_key": self.routing_key,
            "dedup_key": self.dedup_key,
            "title": self.title,
            "state": self.state,
            "triggers": self.triggers,
            "payload": self.payload,
            "links": self.links,
            "client": self.client,
            "client_url": self.client_url,
            "opened_at": self.opened_at,
            "acknowledged_at": self.acknowledged_at,
            "resolved_at": self.resolved_at,
        }


@dataclass(frozen=True, slots=True)
class Event:
    """One accepted event and what it did: `opened`, `appended`, `acknowledged`, `resolved` or `dropped`."""

    at: float
    action: str
    routing_key: str
    dedup_key: str
    effect: str
    body: Mapping[str, Any]


@dataclass(slots=True)
class PagerDuty:
    """One account; every 32-character routing key is a service of its own, those in `revoked` are refused."""

    now: Callable[[], float]
    revoked: set[str] = field(default_factory=set)
    incidents: list[Incident] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    changes: int = 0

    def clear(self) -> None:
        """Forget all incidents and events."""
        self.incidents.clear()
        self.events.clear()
        self.changes += 1

    def enqueue(self, body: object, size_bytes: int = 0) -> tuple[int, dict[str, Any]]:
        """Take one event; return the HTTP status and the answer."""
        errors = _problems(body, size_bytes)
        if not errors and isinstance(body, dict) and body["routing_key"] in self.revoked:
            errors = ["Invalid routing key"]
        if errors or not isinstance(body, dict):
            return 400, {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
        dedup_key = body.get("dedup_key") or f"sandbox-{len(self.events) + 1:08d}"
        effect = self._apply(body, dedup_key)
        self.events.append(
            Event(self.now(), str(body["event_action"]), str(body["routing_key"]), dedup_key, effect, body)
        )
        self.changes += 1
        return 202, {"status": "success", "message": "Event processed", "dedup_key": dedup_key}

    def open_incident(self, routing_key: str, dedup_key: str) -> Incident | None:
        """Return the incident that is open for this key, if any."""
        for incident in reversed(self.incidents):
            if (incident.routing_key, incident.dedup_key) == (routing_key, dedup_key) and incident.open:
                return incident
        return None

    def snapshot(self) -> dict[str, Any]:
        """Return incidents and events, for `/state`."""
        return {
            "incidents": [incident.wire() for incident in self.incidents],
            "events": [
                {
                    "at": event.at,
                    "action": event.action,
                    "routing_key": event.routing_key,
                    "dedup_key": event.dedup_key,
                    "effect": event.effect,
                    "body": event.body,
                }
                for event in self.events
            ],
        }

    def _apply(self, body: dict[str, Any], dedup_key: str) -> str:
        routing_key, action = body["routing_key"], body["event_action"]
        incident = self.open_incident(routing_key, dedup_key)
        if action == "trigger":
            return self._trigger(incident, body, dedup_key)
        if incident is None:
            return "dropped"
        if action == "acknowledge":
            incident.state, incident.acknowledged_at = "acknowledged", self.now()
            return "acknowledged"
        incident.state, incident.resolved_at = "resolved", self.now()
        return "resolved"

    def _trigger(self, incident: Incident | None, body: dict[str, Any], dedup_key: str) -> str:
        if incident is not None:
            incident.payload = body["payload"]
            incident.links = body.get("links") or incident.links
            incident.triggers += 1
            return "appended"
        self.incidents.append(
            Incident(
                number=FIRST_NUMBER + len(self.incidents),
                routing_key=body["routing_key"],
                dedup_key=dedup_key,
                title=body["payload"]["summary"],
                payload=body["payload"],
                links=body.get("links") or [],
                client=body.get("client"),
                client_url=body.get("client_url"),
                opened_at=self.now(),
            )
        )
        return "opened"


def _problems(body: object, size_bytes: int) -> list[str]:
    if not isinstance(body, dict):
        return ["JSON object expected"]
    errors = []
    if size_bytes > MAX_BODY_BYTES:
        errors.append(f"Event must be no larger than {MAX_BODY_BYTES} bytes")
    key = body.get("routing_key")
    if not isinstance(key, str) or not key:
        errors.append("'routing_key' is missing or blank")
    elif len(key) != ROUTING_KEY_CHARS:
        errors.append(f"Length of 'routing_key' is incorrect (should be {ROUTING_KEY_CHARS} characters)")
    action = body.get("event_action")
    if action not in ACTIONS:
        errors.append("'event_action' is missing or invalid (must be trigger, acknowledge or resolve)")
    dedup_key = body.get("dedup_key")
    if dedup_key is not None and not isinstance(dedup_key, str):
        errors.append("'dedup_key' must be a string")
    elif dedup_key and len(dedup_key) > MAX_DEDUP_KEY_CHARS:
        errors.append(f"Length of 'dedup_key' is too long (maximum is {MAX_DEDUP_KEY_CHARS} characters)")
    elif not dedup_key and action in {"acknowledge", "resolve"}:
        errors.append("'dedup_key' is missing or blank")
    return errors + (_payload_problems(body) if action == "trigger" else [])


def _payload_problems(body: dict[str, Any]) -> list[str]:
    payload = body.get("payload")
    if not isinstance(payload, dict):
        return ["'payload' is missing or blank"]
    errors = []
    for name in ("summary", "source", "severity"):
        value = payload.get(name)
        if not isinstance(value, str) or not value.strip():
            errors.append(f"'payload.{name}' is missing or blank")
    if len(str(payload.get("summary", ""))) > MAX_SUMMARY_CHARS:
        errors.append(f"Length of 'payload.summary' is too long (maximum is {MAX_SUMMARY_CHARS} characters)")
    if payload.get("severity") and payload["severity"] not in SEVERITIES:
        errors.append("'payload.severity' is invalid (must be one of the following: critical, error, warning, info)")
    details = payload.get("custom_details")
    if details is not None and not isinstance(details, dict):
        errors.append("'payload.custom_details' must be an object")
    links = body.get("links")
    if links is not None and not (
        isinstance(links, list) and all(isinstance(each, dict) and each.get("href") for each in links)
    ):
        errors.append("'links' must be a list of objects with an href")
    return errors
