"""What PagerDuty tells of incidents: in webhooks (v3) and in the answer of its REST API's list.

Incidents are known by `incident_key`, which for those of the Events API is the dedup key. Where PagerDuty groups alerts
into one incident, its key is that of the first alert only, and nothing is heard of the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import httpx2

from receiver import fitting
from receiver.destinations.hearing import Heard, What
from receiver.errors import DeliveryError, DestinationRefused, Transient, Unknown
from receiver.http import raise_for_transport, retry_after_s

ACCEPT: Final = "application/vnd.pagerduty+json;version=2"
MOST: Final = 100
"""Incidents of one answer: PagerDuty gives no more at once (REST API, "Pagination")."""
MAX_NAME: Final = 80
OUR_KEYS: Final = "mtvr1/"

_EVENTS: Final = {f"incident.{what.value}": what for what in What}
_STATES: Final = {"acknowledged": What.ACKNOWLEDGED, "resolved": What.RESOLVED}
_PEOPLE: Final = re.compile(r"user(_reference)?")


def of_webhook(body: Any) -> Heard | None:
    """Return what the body of a v3 webhook says about an incident of ours; None where it says nothing."""
    event = _mapping(_mapping(body).get("event"))
    data = _mapping(event.get("data"))
    what, key = _EVENTS.get(str(event.get("event_type"))), data.get("incident_key")
    at = _time(event.get("occurred_at"))
    if what is None or at is None or not isinstance(key, str) or not key.startswith(OUR_KEYS):
        return None
    return Heard(key, what, _person(event.get("agent")), at)


async def ask(
    http: httpx2.AsyncClient, url: str, token: str, keys: Mapping[str, datetime], services: tuple[str, ...]
) -> tuple[Heard, ...]:
    """Ask once which of these incidents were acknowledged or resolved. Raises DeliveryError."""
    asked: list[tuple[str, str | int | float | bool | None]] = [("statuses[]", status) for status in _STATES]
    asked += [("service_ids[]", service) for service in services]
    asked += [("limit", MOST), ("sort_by", "created_at:desc")]
    if len(keys) == 1:
        asked.append(("incident_key", next(iter(keys))))
    elif keys:
        asked.append(("since", min(keys.values()).isoformat()))
    headers = {"Authorization": f"Token token={token}", "Accept": ACCEPT}
    try:
        response = await http.get(f"{url.rstrip('/')}/incidents", params=httpx2.QueryParams(asked), headers=headers)
    except httpx2.HTTPError as error:
        raise_for_transport(error)
    incidents = _incidents(response)
    newest: dict[str, Heard] = {}
    for one in incidents:  # newest first: a key that was opened again is judged by its last incident
        found = _of_incident(_mapping(one))
        if found is not None and found.key in keys:
            newest.setdefault(found.key, found)
    return tuple(newest.values())


def _of_incident(incident: Mapping[str, Any]) -> Heard | None:
    what, key = _STATES.get(str(incident.get("status"))), incident.get("incident_key")
    if what is None or not isinstance(key, str):
        return None
    changed = _time(incident.get("last_status_change_at")) or _time(incident.get("created_at"))
    by = _person(incident.get("last_status_change_by"))
    if what is What.ACKNOWLEDGED:
        last = incident.get("acknowledgements")
        last = _mapping(last[-1]) if isinstance(last, list) and last else {}
        changed, by = _time(last.get("at")) or changed, _person(last.get("acknowledger")) or by
    return Heard(key, what, by, changed) if changed else None


def _incidents(response: httpx2.Response) -> list[Any]:
    status = response.status_code
    if status == 429:
        raise Transient(f"HTTP {status}", status=status, retry_after_s=retry_after_s(response))
    if status in (401, 403):
        raise DestinationRefused(f"HTTP {status}: the REST token is refused", status=status)
    if status >= 500:
        raise Unknown(f"HTTP {status}", status=status)
    if status != 200:
        raise DeliveryError(f"HTTP {status}", status=status)
    try:
        found = _mapping(response.json()).get("incidents")
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise DeliveryError("the answer holds no list of incidents", status=status)
    return found


def _person(reference: Any) -> str:
    """Return the name of a person; what an integration or a rule did was nobody."""
    found = _mapping(reference)
    if not _PEOPLE.fullmatch(str(found.get("type", ""))):
        return ""
    return fitting.one_line(str(found.get("summary") or found.get("name") or "somebody"), MAX_NAME)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _time(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
