"""Jira's REST API, Cloud (3) and Data Center (2): one call, and what its answer means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import httpx2

from receiver.errors import DeliveryError, DestinationRefused, Gone, Refused, Transient, Unknown
from receiver.fitting import one_line
from receiver.http import raise_for_transport, retry_after_s

_DESTINATION_FIELDS: Final = frozenset({"project", "issuetype"})
"""A 400 about these is not about the message: no ticket can be made until the configuration is right."""


class JiraApi:
    """One site under one sign-in, which the client adds."""

    def __init__(self, http: httpx2.AsyncClient, url: str) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self.cloud = self._url.endswith("/3")

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        missing: type[DeliveryError] = DestinationRefused,
    ) -> dict[str, Any]:
        """Return the answer, empty for none. `missing` is what a 404 means. Raises DeliveryError."""
        try:
            response = await self._http.request(method, f"{self._url}{path}", json=body, params=params)
        except httpx2.HTTPError as error:
            raise_for_transport(error)
        return _checked(response, missing)

    async def attach(self, issue_id: str, name: str, content: bytes) -> str:
        """Upload a text file and return its id. Raises DeliveryError; Gone when the issue was deleted."""
        try:
            response = await self._http.post(
                f"{self._url}/issue/{issue_id}/attachments",
                files={"file": (name, content, "text/plain; charset=utf-8")},
                headers={"X-Atlassian-Token": "no-check"},
            )
        except httpx2.HTTPError as error:
            raise_for_transport(error)
        if not 200 <= response.status_code < 300:
            _checked(response, Gone)
        made = _parsed(response)
        if not isinstance(made, list) or not made or not isinstance(made[0], dict):
            raise Unknown(f"the answer is not Jira's (HTTP {response.status_code})", status=response.status_code)
        return str(made[0].get("id", ""))

    async def issue(self, issue_id: str, fields: str) -> dict[str, Any]:
        """Return the named fields of an issue. Raises Gone when it was deleted."""
        answer = await self.call("GET", f"/issue/{issue_id}", params={"fields": fields}, missing=Gone)
        found = answer.get("fields")
        return found if isinstance(found, dict) else {}

    async def search(self, jql: str) -> list[dict[str, Any]]:
        """Return the first issues that match, with status and summary."""
        # Cloud has removed /search (410); Data Center has no /search/jql.
        path = "/search/jql" if self.cloud else "/search"
        asked = {"jql": jql, "fields": ["status", "summary"], "maxResults": 5}
        issues = (await self.call("POST", path, body=asked)).get("issues")
        return [each for each in issues if isinstance(each, dict)] if isinstance(issues, list) else []


def is_done(fields: Mapping[str, Any]) -> bool:
    """Tell whether an issue's status counts as done, whatever its workflow calls it."""
    category = ((fields.get("status") or {}).get("statusCategory") or {}).get("key")
    return category == "done"


def _checked(response: httpx2.Response, missing: type[DeliveryError]) -> dict[str, Any]:
    status = response.status_code
    answer = _json(response)
    if 200 <= status < 300:
        if answer is None and response.content.strip():
            raise Unknown(f"the answer is not Jira's (HTTP {status}, no JSON)", status=status)
        return answer or {}
    reason = f"HTTP {status}{_said(answer or {})}"
    retry_s = retry_after_s(response)
    if status == 429 or status == 409 or (status == 503 and retry_s is not None):
        raise Transient(reason, status=status, retry_after_s=retry_s)
    if status >= 500:
        raise Unknown(reason, status=status)
    if status == 404:
        raise missing(reason, status=status)
    errors = (answer or {}).get("errors")
    if status == 400 and not (isinstance(errors, dict) and _DESTINATION_FIELDS & errors.keys()):
        raise Refused(reason, status=status)
    if status in (413, 422):
        raise Refused(reason, status=status)
    raise DestinationRefused(reason, status=status)


def _json(response: httpx2.Response) -> dict[str, Any] | None:
    answer = _parsed(response)
    return answer if isinstance(answer, dict) else None


def _parsed(response: httpx2.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _said(answer: Mapping[str, Any]) -> str:
    """Return Jira's error collection in words: field by field, then general messages."""
    fields, general = answer.get("errors"), answer.get("errorMessages")
    told = [f"{name}: {text}" for name, text in fields.items()] if isinstance(fields, dict) else []
    told += [str(text) for text in general] if isinstance(general, list) else []
    return f": {one_line('; '.join(told), 500)}" if told else ""
