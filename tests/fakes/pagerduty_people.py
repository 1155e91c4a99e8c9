"""What people do in PagerDuty, and how PagerDuty tells: v3 webhooks, and the list of its REST API.

Shapes as in PagerDuty's own documents: "Webhooks v3, payload" and "REST API, List incidents".
"""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver.sandbox.pagerduty import Incident, PagerDuty

TOKEN = "u+REST-t0ken"
SECRET = "webhook-secret-of-this-subscription"
MOST = 100


class People:
    """Acts on the incidents of the sandbox as a responder does."""

    def __init__(self, pagerduty: PagerDuty, now: Callable[[], float]) -> None:
        self._pagerduty = pagerduty
        self._now = now
        self._who: dict[int, tuple[str, float]] = {}
        """Incident number → who changed it last, and when."""
        self.tokens = {TOKEN}
        self.app = Starlette(routes=[Route("/pagerduty-rest/incidents", self._list)])

    def acknowledge(self, incident: Incident, by: str) -> tuple[dict[str, str], bytes]:
        """Acknowledge as a person; return the webhook that tells of it."""
        incident.state, incident.acknowledged_at = "acknowledged", self._now()
        return self._did(incident, "acknowledged", by)

    def unacknowledge(self, incident: Incident, by: str = "") -> tuple[dict[str, str], bytes]:
        """Let the acknowledgement go, or time out."""
        incident.state, incident.acknowledged_at = "triggered", None
        return self._did(incident, "unacknowledged", by)

    def resolve(self, incident: Incident, by: str) -> tuple[dict[str, str], bytes]:
        """Resolve as a person."""
        incident.state, incident.resolved_at = "resolved", self._now()
        return self._did(incident, "resolved", by)

    def _did(self, incident: Incident, what: str, by: str) -> tuple[dict[str, str], bytes]:
        self._who[incident.number] = (by, self._now())
        return signed(webhook(f"incident.{what}", incident.dedup_key, by, self._now(), incident.number))

    async def _list(self, request: Request) -> Response:
        asked = request.query_params
        token = request.headers.get("authorization", "").removeprefix("Token token=")
        if token not in self.tokens:
            return Response("Account Not Found", 401)
        if "vnd.pagerduty+json;version=2" not in request.headers.get("accept", ""):
            return JSONResponse({"error": {"message": "Not Acceptable", "code": 1000}}, 406)
        since = datetime.fromisoformat(asked["since"]).timestamp() if "since" in asked else 0.0
        statuses = asked.getlist("statuses[]")
        fits = [
            one
            for one in self._pagerduty.incidents
            if one.state in statuses and one.opened_at >= since and asked.get("incident_key") in (None, one.dedup_key)
        ]
        fits.sort(key=lambda one: one.opened_at, reverse=asked.get("sort_by") == "created_at:desc")
        limit = min(int(asked.get("limit", 25)), MOST)
        body = {"incidents": [self._wire(one) for one in fits[:limit]], "limit": limit, "offset": 0}
        return JSONResponse({**body, "more": len(fits) > limit, "total": None})

    def _wire(self, incident: Incident) -> dict[str, Any]:
        by, at = self._who.get(incident.number, ("", incident.acknowledged_at or incident.opened_at))
        user = _person(by) if by else {"id": "PSVC", "type": "service_reference", "summary": "migrations"}
        acks = [{"at": _iso(at), "acknowledger": user}] if incident.state == "acknowledged" else []
        return {
            "id": f"Q{incident.number}", "type": "incident", "incident_number": incident.number,
            "incident_key": incident.dedup_key, "status": incident.state, "title": incident.title,
            "created_at": _iso(incident.opened_at), "acknowledgements": acks,
            "last_status_change_at": _iso(at), "last_status_change_by": user,
            "html_url": f"https://acme.pagerduty.com/incidents/Q{incident.number}",
        }  # fmt: skip


def webhook(event: str, key: str, by: str, at: float, number: int = 1) -> dict[str, Any]:
    """Return the body of a v3 webhook."""
    return {
        "event": {
            "id": str(uuid.uuid4()), "event_type": event, "resource_type": "incident", "occurred_at": _iso(at),
            "agent": _person(by) if by else None, "client": None,
            "data": {
                "id": f"Q{number}", "type": "incident", "number": number, "incident_key": key,
                "html_url": f"https://acme.pagerduty.com/incidents/Q{number}", "status": event.partition(".")[2],
                "title": "No VM down", "created_at": _iso(at),
                "service": {"id": "PSVC", "type": "service_reference", "summary": "migrations"},
            },
        }
    }  # fmt: skip


def signed(body: Any, *secrets: str) -> tuple[dict[str, str], bytes]:
    """Return headers and bytes of a body, signed with each of these secrets (SECRET, where none is named)."""
    raw = json.dumps(body).encode()
    made = [hmac.new(one.encode(), raw, hashlib.sha256).hexdigest() for one in secrets or (SECRET,)]
    headers = {"X-PagerDuty-Signature": ",".join(f"v1={one}" for one in made), "Content-Type": "application/json"}
    return {**headers, "X-Webhook-Id": str(uuid.uuid4())}, raw


def _person(name: str) -> dict[str, Any]:
    return {"id": "PUSER", "type": "user_reference", "summary": name, "html_url": "https://acme.pagerduty.com/users/P"}


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
