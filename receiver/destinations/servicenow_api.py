"""ServiceNow's Table and Attachment API: one call, and what its answer means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx2

from receiver.errors import DeliveryError, DestinationRefused, Gone, Refused, Transient, Unknown
from receiver.fitting import one_line
from receiver.http import raise_for_transport, retry_after_s

Row = Mapping[str, Any]
_RULES = ("data policy", "business rule", "mandatory")
"""A 403 that says one of these is about the record, not about our rights."""


class ServiceNowApi:
    """One table of one instance under one sign-in, which the client adds."""

    def __init__(self, http: httpx2.AsyncClient, instance_url: str, table: str) -> None:
        self._http = http
        self._base = f"{instance_url.rstrip('/')}/api/now"
        self._table = table

    async def rows(self, query: str, fields: str, limit: int, *, table: str = "") -> list[Row]:
        """Return rows; parts of `query` that the instance does not understand are ignored by it: check what comes."""
        params = {"sysparm_query": query, "sysparm_fields": fields, "sysparm_limit": str(limit)}
        return _listed(await self._call("GET", f"/table/{table or self._table}", params=params))

    async def row(self, sys_id: str, fields: str, *, shown: bool = False) -> Row:
        """Return the named columns of a row; `shown` as people see them. Raises Gone when it was deleted."""
        params = {"sysparm_fields": fields, **({"sysparm_display_value": "true"} if shown else {})}
        return _one(await self._call("GET", f"/table/{self._table}/{sys_id}", params=params, missing=Gone))

    async def create(self, body: Row, fields: str) -> Row:
        """Make a row and return the named columns of it."""
        params = {"sysparm_fields": fields, "sysparm_exclude_reference_link": "true"}
        return _one(await self._call("POST", f"/table/{self._table}", body=body, params=params))

    async def change(self, sys_id: str, body: Row, fields: str) -> Row:
        """Change a row and return the named columns of it. Raises Gone when it was deleted."""
        params = {"sysparm_fields": fields, "sysparm_exclude_reference_link": "true"}
        return _one(await self._call("PATCH", f"/table/{self._table}/{sys_id}", body=body, params=params, missing=Gone))

    async def attach(self, sys_id: str, name: str, content: bytes) -> str:
        """Attach a text file and return its id. Raises Gone when the row was deleted."""
        params = {"table_name": self._table, "table_sys_id": sys_id, "file_name": name}
        made = _one(await self._call("POST", "/attachment/file", content=content, params=params, missing=Gone))
        return str(made.get("sys_id", ""))

    async def attachment(self, sys_id: str, name: str) -> str | None:
        """Return the id of the attachment of this name, None where there is none."""
        params = {
            "sysparm_query": f"table_sys_id={sys_id}^file_name={name}",
            "sysparm_fields": "sys_id,file_name,table_sys_id",
            "sysparm_limit": "20",
        }
        for each in _listed(await self._call("GET", "/attachment", params=params)):
            if each.get("file_name") == name and each.get("table_sys_id") == sys_id:
                return str(each.get("sys_id", ""))
        return None

    async def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str],
        body: Row | None = None,
        content: bytes | None = None,
        missing: type[DeliveryError] = DestinationRefused,
    ) -> Any:
        headers = {"Accept": "application/json"}
        if content is not None:
            headers["Content-Type"] = "text/plain; charset=utf-8"
        url = f"{self._base}{path}"
        try:
            response = await self._http.request(
                method, url, json=body, content=content, params=dict(params), headers=headers
            )
        except httpx2.HTTPError as error:
            raise_for_transport(error)
        return _result(response, missing)


def _result(response: httpx2.Response, missing: type[DeliveryError]) -> Any:
    status = response.status_code
    try:
        answer = response.json()
    except ValueError:
        answer = None
    found = answer if isinstance(answer, dict) else {}
    if 200 <= status < 300:
        if "result" not in found:  # a hibernating instance, a sign-in page, a captive portal
            raise Unknown(f"the answer is not ServiceNow's (HTTP {status})", status=status)
        return found["result"]
    said = _said(found)
    reason = f"HTTP {status}{said}"
    wait_s = retry_after_s(response)
    if status in (409, 429) or (status == 503 and wait_s is not None):
        raise Transient(reason, status=status, retry_after_s=wait_s)
    if status >= 500:
        raise Unknown(reason, status=status)
    if status == 404:
        raise missing(reason, status=status)
    if status == 400 and "invalid table" in said.lower():
        raise DestinationRefused(reason, status=status)
    if status in (400, 413, 422) or (status == 403 and any(word in said.lower() for word in _RULES)):
        raise Refused(reason, status=status)
    raise DestinationRefused(reason, status=status)


def _said(answer: Mapping[str, Any]) -> str:
    error = answer.get("error")
    if not isinstance(error, Mapping):
        return ""
    told = [str(error[name]) for name in ("message", "detail") if error.get(name)]
    return f": {one_line('; '.join(told), 500)}" if told else ""


def _one(result: Any) -> Row:
    return result if isinstance(result, Mapping) else {}


def _listed(result: Any) -> list[Row]:
    return [each for each in result if isinstance(each, Mapping)] if isinstance(result, list) else []
