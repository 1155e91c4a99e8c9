"""ServiceNow's Table and Attachment API in memory, with the habits that hurt.

An invalid part of a query is ignored and more rows come back; an unknown field of a body is dropped silently; texts
are cut at the column's length; a resolved incident demands a close code and notes; a closed one is read only.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

LENGTHS = {
    "short_description": 160, "description": 4_000, "correlation_id": 100, "correlation_display": 100,
    "close_notes": 4_000, "close_code": 40,
}  # fmt: skip
COLUMNS = frozenset(LENGTHS) | {
    "sys_id", "number", "state", "impact", "urgency", "priority", "category", "caller_id", "assignment_group",
    "assigned_to", "cmdb_ci", "resolved_at", "closed_at", "sys_created_on", "work_notes", "comments",
}  # fmt: skip
READ_ONLY = frozenset({"sys_id", "number", "sys_created_on", "resolved_at", "closed_at", "priority"})
JOURNALS = ("work_notes", "comments")
CLOSE_CODES = ("Solution provided", "Known error", "No resolution provided", "Duplicate")
Handler = Callable[[Request], Awaitable[Response]]


class Failure(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str, detail: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "detail": detail}, "status": "failure"}


@dataclass(slots=True)
class Incident:
    """A row; `journal` holds (field, text) in the order in which they were written."""

    values: dict[str, str]
    journal: list[tuple[str, str]] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    """Every state that it had."""

    def __getitem__(self, name: str) -> str:
        return self.values.get(name, "")

    def notes(self, name: str = "work_notes") -> list[str]:
        return [text for kind, text in self.journal if kind == name]

    def shown(self, name: str) -> str:
        """Return a column as an answer shows it: a journal is one text, the newest entry first."""
        if name not in JOURNALS:
            return self[name]
        head = f"2026-11-21 22:19:42 - mtv-receiver ({'Work notes' if name == 'work_notes' else 'Additional comments'})"
        return "".join(f"{head}\n{text}\n\n" for text in reversed(self.notes(name)))


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file at a row."""

    id: str
    row: str
    name: str
    content: bytes


@dataclass(slots=True)
class ServiceNow:
    """One instance. `dropped` are columns that its rights hide from us; `required` those that a rule demands."""

    now: Callable[[], float]
    rows: dict[str, Incident] = field(default_factory=dict)
    attachments: list[Attachment] = field(default_factory=list)
    revoked: set[str] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)
    required: set[str] = field(default_factory=set)
    attachments_allowed: bool = True

    @property
    def app(self) -> Starlette:
        """The instance, with paths as below `/servicenow`."""
        table = "/servicenow/api/now/table/{table}"
        return Starlette(
            routes=[
                Route(table, self._guard(self._list), methods=["GET"]),
                Route(table, self._guard(self._create), methods=["POST"]),
                Route(table + "/{id}", self._guard(self._read), methods=["GET"]),
                Route(table + "/{id}", self._guard(self._change), methods=["PATCH"]),
                Route("/servicenow/api/now/attachment", self._guard(self._files), methods=["GET"]),
                Route("/servicenow/api/now/attachment/file", self._guard(self._attach), methods=["POST"]),
            ]
        )

    @staticmethod
    def operation(method: str, parts: list[str]) -> str:
        """Return a request's short name, such as `PATCH incident/*` or `POST attachment/file`."""
        match parts:
            case ["api", "now", "table", table, *rest]:
                return f"{method} {'/'.join([table, *('*' for _ in rest)])}"
            case ["api", "now", *rest]:
                return f"{method} {'/'.join(rest)}"
        return f"{method} {'/'.join(parts)}"

    def incidents(self) -> list[Incident]:
        return list(self.rows.values())

    def open_incidents(self) -> list[Incident]:
        return [each for each in self.rows.values() if each["state"] not in {"6", "7", "8"}]

    def notes(self) -> list[str]:
        return [text for each in self.rows.values() for _, text in each.journal]

    # --- handlers ---

    def _guard(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            try:
                self._sign_in(request)
                return await handler(request)
            except Failure as failure:
                return JSONResponse(failure.body, status_code=failure.status)

        return guarded

    def _sign_in(self, request: Request) -> None:
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            value = base64.b64decode(value).decode().partition(":")[2]
        if not value or value in self.revoked:
            raise Failure(401, "User Not Authenticated", "Required to provide Auth information")

    async def _list(self, request: Request) -> Response:
        asked = request.query_params
        if request.path_params["table"] == "sys_choice":
            return JSONResponse({"result": [{"value": each, "label": each} for each in CLOSE_CODES]})
        self._table(request)
        found = [row for row in self.rows.values() if _matches(row, asked.get("sysparm_query", ""))]
        limit = int(asked.get("sysparm_limit", "10000"))
        return JSONResponse({"result": [self._shown(row, asked) for row in found[:limit]]})

    async def _create(self, request: Request) -> Response:
        self._table(request)
        body = await _body(request)
        if missing := sorted(self.required - {name for name, value in body.items() if value}):
            raise Failure(403, "Operation Failed", f"Data Policy Exception: mandatory fields: {', '.join(missing)}")
        number = len(self.rows) + 1
        row = Incident({"sys_id": f"{number:032x}", "number": f"INC{10_000 + number:07}", "state": "1"})
        row.values["sys_created_on"] = self._stamp()
        self._write(row, {"impact": "3", "urgency": "3", **body})
        self.rows[row["sys_id"]] = row
        return JSONResponse({"result": self._shown(row, request.query_params)}, status_code=201)

    async def _read(self, request: Request) -> Response:
        return JSONResponse({"result": self._shown(self._row(request), request.query_params)})

    async def _change(self, request: Request) -> Response:
        row, body = self._row(request), await _body(request)
        self._write(row, body)
        return JSONResponse({"result": self._shown(row, request.query_params)})

    async def _files(self, request: Request) -> Response:
        wanted = dict(part.partition("=")[::2] for part in request.query_params.get("sysparm_query", "").split("^"))
        found = [
            {"sys_id": each.id, "file_name": each.name, "table_sys_id": each.row, "size_bytes": str(len(each.content))}
            for each in self.attachments
            if each.row == wanted.get("table_sys_id") and each.name == wanted.get("file_name", each.name)
        ]
        return JSONResponse({"result": found})

    async def _attach(self, request: Request) -> Response:
        asked = request.query_params
        if not self.attachments_allowed:
            raise Failure(403, "User Not Authorized", "no attachments here")
        if asked.get("table_sys_id") not in self.rows:
            raise Failure(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")
        content = await request.body()
        if not content or not asked.get("file_name") or not request.headers.get("content-type"):
            raise Failure(400, "Invalid request")
        made = Attachment(f"{len(self.attachments) + 1:032x}", asked["table_sys_id"], asked["file_name"], content)
        self.attachments.append(made)
        return JSONResponse({"result": {"sys_id": made.id, "file_name": made.name}}, status_code=201)

    # --- rows ---

    def _table(self, request: Request) -> None:
        if (table := request.path_params["table"]) != "incident":
            raise Failure(400, f"Invalid table {table}")

    def _row(self, request: Request) -> Incident:
        self._table(request)
        row = self.rows.get(request.path_params["id"])
        if row is None:
            raise Failure(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")
        return row

    def _write(self, row: Incident, body: Mapping[str, Any]) -> None:
        new = {name: str(value) for name, value in body.items() if name in COLUMNS - READ_ONLY - self.dropped}
        state = new.get("state", row["state"])
        if row["state"] == "7":
            raise Failure(403, "Operation Failed", "Operation against file 'incident' was aborted by Business Rule")
        if state == "6" and not all(new.get(name) or row[name] for name in ("close_code", "close_notes")):
            raise Failure(
                403, "Operation Failed",
                "Data Policy Exception: The following fields are mandatory: Resolution code, Resolution notes",
            )  # fmt: skip
        for name in JOURNALS:
            if text := new.pop(name, ""):
                row.journal.append((name, text))
        if state != row["state"]:
            closed = state in {"6", "7", "8"}
            row.values["resolved_at"] = self._stamp() if closed else ""
            row.values["closed_at"] = self._stamp() if state in {"7", "8"} else ""
        row.values |= {name: value[: LENGTHS.get(name, 1_000)] for name, value in new.items()}
        row.states += [] if row.states[-1:] == [row["state"]] else [row["state"]]

    def _shown(self, row: Incident, asked: Mapping[str, str]) -> dict[str, str]:
        names = [each for each in asked.get("sysparm_fields", "").split(",") if each] or sorted(COLUMNS)
        plain = asked.get("sysparm_display_value", "false") == "false"
        return {
            name: "" if plain and name in JOURNALS else row.shown(name)
            for name in names
            if name in COLUMNS - self.dropped
        }

    def _stamp(self) -> str:
        return datetime.fromtimestamp(self.now(), UTC).strftime("%Y-%m-%d %H:%M:%S")


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Failure(400, "Exception while reading request", "The payload is not valid JSON.")
    return body


def _matches(row: Incident, query: str) -> bool:
    """Judge the parts that are understood; ServiceNow ignores all others."""
    for part in query.split("^"):
        name, sign, value = part.partition("=")
        if sign and name in COLUMNS and row[name] != value:
            return False
    return True
