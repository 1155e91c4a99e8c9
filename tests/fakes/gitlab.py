"""GitLab's issues in memory, with the habits that hurt: a line `/close` in a text is carried out."""

from __future__ import annotations

import email.parser
import email.policy
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.fakes.forge import Failure, Handler, guarded, json_object, labels_asked, page, seconds, short_name

MAX_TITLE, MAX_TEXT, MAX_NOTE = 255, 1_048_576, 1_000_000
ROWS = 20

_COMMAND = re.compile(r"^[ \t]*/([a-z_]+)(?:[ \t].*)?$", re.MULTILINE)
"""Read more strictly than GitLab does, which spares code: a text that it takes for code may not be."""


@dataclass(slots=True)
class Note:
    """One comment. Times are Unix seconds."""

    id: int
    body: str
    at: float


@dataclass(slots=True)
class Issue:
    """One issue; `moves` holds every state event."""

    iid: int
    title: str
    description: str | None
    at: float
    labels: list[str]
    confidential: bool = False
    state: str = "opened"
    closed_at: float | None = None
    moved_to: int | None = None
    duplicate_of: str | None = None
    edits: int = 0
    notes: list[Note] = field(default_factory=list)
    moves: list[str] = field(default_factory=list)

    @property
    def open(self) -> bool:
        return self.state == "opened"


@dataclass(slots=True)
class GitLab:
    """One project, known by its path or number."""

    now: Callable[[], float]
    project: str = "acme/migrations"
    number: int = 7
    visibility: str = "private"
    issues_access: str = "enabled"
    archived: bool = False
    hidden: bool = False
    """The account has lost its rights: everything is 404."""
    uploads_allowed: bool = True
    all: dict[int, Issue] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    commands: list[str] = field(default_factory=list)
    """Quick actions that our texts made GitLab carry out."""
    made: int = 0

    @property
    def app(self) -> Starlette:
        """The API, with paths as below `/gitlab`."""
        base = "/gitlab/api/v4/projects/{project:path}"
        one = base + "/issues/{iid:int}"
        return Starlette(
            routes=[
                Route(one + "/notes", self._guard(self._notes), methods=["GET"]),
                Route(one + "/notes", self._guard(self._note), methods=["POST"]),
                Route(one, self._guard(self._read), methods=["GET"]),
                Route(one, self._guard(self._change), methods=["PUT"]),
                Route(base + "/issues", self._guard(self._list), methods=["GET"]),
                Route(base + "/issues", self._guard(self._create), methods=["POST"]),
                Route(base + "/uploads", self._guard(self._upload), methods=["POST"]),
                Route(base, self._guard(self._project), methods=["GET"]),
            ]
        )

    @staticmethod
    def operation(method: str, parts: list[str]) -> str:
        """Return a request's short name, such as `PUT issues/*` or `POST issues/*/notes`."""
        match parts:
            case ["api", "v4", "projects", _, *rest]:
                return short_name(method, rest, "project")
        return f"{method} {'/'.join(parts)}"

    def issues(self) -> list[Issue]:
        return list(self.all.values())

    def comments(self) -> list[str]:
        return [each.body for issue in self.all.values() for each in issue.notes]

    def close(self, iid: int) -> None:
        """Close an issue as a person does."""
        self._move(self.all[iid], "close")

    def delete(self, iid: int) -> None:
        """Delete an issue as an owner does."""
        del self.all[iid]

    # --- handlers ---

    def _guard(self, handler: Handler) -> Handler:
        return guarded(handler, self._admit)

    def _admit(self, request: Request) -> None:
        token = request.headers.get("private-token")
        if not token or token in self.revoked:
            raise Failure(401, {"message": "401 Unauthorized"})
        if self.hidden or request.path_params["project"] not in (self.project, str(self.number)):
            raise Failure(404, {"message": "404 Project Not Found"})

    async def _project(self, request: Request) -> Response:
        del request
        return JSONResponse(
            {
                "id": self.number, "path_with_namespace": self.project, "visibility": self.visibility,
                "issues_access_level": self.issues_access, "archived": self.archived,
            }
        )  # fmt: skip

    async def _list(self, request: Request) -> Response:
        asked = request.query_params
        labels = labels_asked(asked)
        after = seconds(asked.get("created_after"))
        found = [each for each in self.all.values() if labels <= set(each.labels) and each.at >= after]
        found.sort(key=lambda each: each.iid, reverse=asked.get("sort", "desc") == "desc")
        return JSONResponse([self._shown(each) for each in page(found, asked, ROWS)])

    async def _create(self, request: Request) -> Response:
        if self.issues_access == "disabled":
            raise Failure(403, {"message": "403 Forbidden"})
        body = await _object(request)
        if not body.get("title"):
            raise Failure(400, {"error": "title is missing"})
        _checked(body)
        self.made += 1
        labels = [each for each in str(body.get("labels") or "").split(",") if each]
        confidential = body.get("confidential") is True
        made = Issue(self.made, body["title"], body.get("description"), self.now(), labels, confidential)
        self.all[made.iid] = made
        self._carry_out(body.get("description"))
        return JSONResponse(self._shown(made), status_code=201)

    async def _read(self, request: Request) -> Response:
        return JSONResponse(self._shown(self._issue(request)))

    async def _change(self, request: Request) -> Response:
        issue, body = self._issue(request), await _object(request)
        _checked(body)
        if body.get("state_event") not in (None, "close", "reopen"):
            raise Failure(400, {"error": "state_event does not have a valid value"})
        if "description" in body:
            issue.description = body["description"]
            issue.edits += 1
            self._carry_out(body["description"])
        if body.get("state_event"):
            if issue.moved_to:
                raise Failure(403, {"message": "403 Forbidden"})
            self._move(issue, body["state_event"])
        return JSONResponse(self._shown(issue))

    async def _notes(self, request: Request) -> Response:
        asked, notes = request.query_params, self._issue(request).notes
        ordered = list(reversed(notes)) if asked.get("sort", "desc") == "desc" else notes
        return JSONResponse([_note(each) for each in page(ordered, asked, ROWS)])

    async def _note(self, request: Request) -> Response:
        issue, body = self._issue(request), await _object(request)
        text = body.get("body")
        if not isinstance(text, str) or not text.strip():
            raise Failure(400, {"message": "400 Bad request - Note can't be blank"})
        if len(text) > MAX_NOTE:
            raise Failure(400, {"message": {"note": [f"is too long (maximum is {MAX_NOTE} characters)"]}})
        made = Note(1_000 + sum(len(each.notes) for each in self.all.values()), text, self.now())
        issue.notes.append(made)
        self._carry_out(text)
        return JSONResponse(_note(made), status_code=201)

    async def _upload(self, request: Request) -> Response:
        if not self.uploads_allowed:
            raise Failure(413, {"message": "413 Request Entity Too Large"})
        header = f"Content-Type: {request.headers.get('content-type', '')}\r\n\r\n".encode()
        parsed = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(header + await request.body())
        for part in parsed.iter_parts() if parsed.is_multipart() else []:
            if part.get_param("name", header="content-disposition") == "file":
                name = part.get_filename() or "file"
                path = f"/uploads/{len(self.uploads):032x}/{name}"
                self.uploads[path] = bytes(part.get_payload(decode=True) or b"")
                return JSONResponse({"alt": name, "url": path, "markdown": f"[{name}]({path})"}, status_code=201)
        raise Failure(400, {"error": "file is missing"})

    # --- rows ---

    def _issue(self, request: Request) -> Issue:
        if request.path_params["iid"] not in self.all:
            raise Failure(404, {"message": "404 Not found"})
        return self.all[request.path_params["iid"]]

    def _move(self, issue: Issue, event: str) -> None:
        issue.state = "closed" if event == "close" else "opened"
        issue.closed_at = self.now() if event == "close" else None
        issue.moves.append(event)

    def _carry_out(self, text: object) -> None:
        self.commands += _COMMAND.findall(str(text or ""))

    def _shown(self, issue: Issue) -> dict[str, Any]:
        return {
            "id": 900_000 + issue.iid,
            "iid": issue.iid,
            "project_id": self.number,
            "web_url": f"https://gitlab.example.com/{self.project}/-/issues/{issue.iid}",
            "title": issue.title,
            "description": issue.description,
            "state": issue.state,
            "labels": list(issue.labels),
            "confidential": issue.confidential,
            "created_at": _stamp(issue.at),
            "closed_at": None if issue.closed_at is None else _stamp(issue.closed_at),
            "moved_to_id": issue.moved_to,
            "_links": {"closed_as_duplicate_of": issue.duplicate_of},
        }


def _note(made: Note) -> dict[str, Any]:
    return {"id": made.id, "body": made.body, "created_at": _stamp(made.at), "system": False}


def _checked(body: dict[str, Any]) -> None:
    for name, most in (("title", MAX_TITLE), ("description", MAX_TEXT)):
        value = body.get(name)
        if value is not None and (not isinstance(value, str) or len(value) > most):
            raise Failure(400, {"message": {name: [f"is too long (maximum is {most} characters)"]}})


async def _object(request: Request) -> dict[str, Any]:
    return await json_object(request, Failure(400, {"error": "The provided params are invalid"}))


def _stamp(at: float) -> str:
    """With milliseconds, as GitLab writes times."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
