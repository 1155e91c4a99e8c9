"""GitHub's issues in memory, with the habits that hurt: rights are hidden as 404, labels dropped without a word."""

from __future__ import annotations

import json
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

MAX_TEXT, MAX_TITLE, MAX_LABEL = 65_536, 256, 50
ROWS = 30
REASONS = {"completed", "not_planned", "duplicate", "reopened", None}
DOCS = "https://docs.github.com/rest"


def refusal(status: int, message: str, *errors: Any, **headers: str) -> Failure:
    """Return an answer in GitHub's form."""
    body = {"message": message, "documentation_url": DOCS, **({"errors": list(errors)} if errors else {})}
    return Failure(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


@dataclass(slots=True)
class Comment:
    """One comment. Times are Unix seconds."""

    id: int
    body: str
    at: float


@dataclass(slots=True)
class Issue:
    """One issue; `moves` holds every state that it was given, with its reason."""

    number: int
    title: str
    body: str | None
    at: float
    labels: list[str]
    assignees: list[str]
    updated_at: float
    state: str = "open"
    state_reason: str | None = None
    closed_at: float | None = None
    edits: int = 0
    comments: list[Comment] = field(default_factory=list)
    moves: list[tuple[str, str | None]] = field(default_factory=list)

    @property
    def open(self) -> bool:
        return self.state == "open"


@dataclass(slots=True)
class GitHub:
    """One repository. `accounts` may be assigned, `push` is the right to set labels and assignees."""

    now: Callable[[], float]
    repo: str = "acme/migrations"
    accounts: frozenset[str] = frozenset({"octocat"})
    push: bool = True
    has_issues: bool = True
    private: bool = True
    archived: bool = False
    hidden: bool = False
    """The account has lost its rights: everything is 404."""
    all: dict[int, Issue] = field(default_factory=dict)
    deleted: set[int] = field(default_factory=set)
    transferred: set[int] = field(default_factory=set)
    revoked: set[str] = field(default_factory=set)
    others: list[dict[str, Any]] = field(default_factory=list)
    """Rows that a list shows besides our issues, such as pull requests."""

    @property
    def app(self) -> Starlette:
        """The API of an Enterprise Server, with paths as below `/github`."""
        base = "/github/api/v3/repos/{owner}/{name}"
        one = base + "/issues/{number:int}"
        return Starlette(
            routes=[
                Route(base, self._guard(self._repository), methods=["GET"]),
                Route(base + "/issues", self._guard(self._list), methods=["GET"]),
                Route(base + "/issues", self._guard(self._create), methods=["POST"]),
                Route(one, self._guard(self._read), methods=["GET"]),
                Route(one, self._guard(self._change), methods=["PATCH"]),
                Route(one + "/comments", self._guard(self._comments), methods=["GET"]),
                Route(one + "/comments", self._guard(self._comment), methods=["POST"]),
            ]
        )

    @staticmethod
    def operation(method: str, parts: list[str]) -> str:
        """Return a request's short name, such as `PATCH issues/*` or `POST issues/*/comments`."""
        match parts:
            case ["api", "v3", "repos", _, _, *rest]:
                return short_name(method, rest, "repo")
        return f"{method} {'/'.join(parts)}"

    def issues(self) -> list[Issue]:
        return list(self.all.values())

    def comments(self) -> list[str]:
        return [each.body for issue in self.all.values() for each in issue.comments]

    def close(self, number: int, reason: str = "completed") -> None:
        """Close an issue as a person does."""
        self._move(self.all[number], "closed", reason)

    def delete(self, number: int) -> None:
        """Delete an issue as an owner does."""
        del self.all[number]
        self.deleted.add(number)

    # --- handlers ---

    def _guard(self, handler: Handler) -> Handler:
        return guarded(handler, self._admit)

    def _admit(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not token or token in self.revoked:
            raise refusal(401, "Bad credentials")
        if self.hidden or f"{request.path_params['owner']}/{request.path_params['name']}" != self.repo:
            raise refusal(404, "Not Found")

    async def _repository(self, request: Request) -> Response:
        del request
        return JSONResponse(
            {
                "full_name": self.repo, "private": self.private, "has_issues": self.has_issues,
                "archived": self.archived, "permissions": {"pull": True, "push": self.push, "triage": self.push},
            }
        )  # fmt: skip

    async def _list(self, request: Request) -> Response:
        asked = request.query_params
        labels = labels_asked(asked)
        since = seconds(asked.get("since"))
        found = [
            each
            for each in self.all.values()
            if labels <= set(each.labels)
            and each.updated_at >= since
            and (asked.get("state", "open") in ("all", each.state))
        ]
        found.sort(key=lambda each: each.at, reverse=asked.get("direction", "desc") == "desc")
        return JSONResponse(page([*self.others, *map(self._shown, found)], asked, ROWS))

    async def _create(self, request: Request) -> Response:
        if not self.has_issues:
            raise refusal(410, "Issues has been disabled in this repository.")
        body = await _object(request)
        _checked(body)
        if not isinstance(body.get("title"), str) or not body["title"].strip():
            raise refusal(422, "Validation Failed", {"resource": "Issue", "field": "title", "code": "missing_field"})
        labels, assignees = body.get("labels") or [], body.get("assignees") or []
        if self.push and (unknown := set(assignees) - self.accounts):
            raise refusal(
                422, "Validation Failed",
                {"value": min(unknown), "resource": "Issue", "field": "assignees", "code": "invalid"},
            )  # fmt: skip
        number = max([*self.all, *self.deleted, *self.transferred, 0]) + 1
        now = self.now()
        made = Issue(
            number,
            body["title"],
            body.get("body"),
            now,
            list(labels) if self.push else [],
            list(assignees) if self.push else [],
            now,
        )
        self.all[number] = made
        return JSONResponse(self._shown(made), status_code=201)

    async def _read(self, request: Request) -> Response:
        return JSONResponse(self._shown(self._issue(request)))

    async def _change(self, request: Request) -> Response:
        issue, body = self._issue(request), await _object(request)
        _checked(body)
        if body.get("state_reason") not in REASONS or body.get("state", "open") not in ("open", "closed"):
            raise refusal(422, "Validation Failed", {"resource": "Issue", "field": "state", "code": "invalid"})
        for name in body.keys() & {"title", "body"}:
            setattr(issue, name, body[name])
            issue.edits += 1
        if self.push and "labels" in body:
            issue.labels = list(body["labels"])
        if body.get("state") not in (None, issue.state):
            self._move(issue, body["state"], body.get("state_reason"))
        issue.updated_at = self.now()
        return JSONResponse(self._shown(issue))

    async def _comments(self, request: Request) -> Response:
        since = seconds(request.query_params.get("since"))
        found = [_comment(each) for each in self._issue(request).comments if each.at >= since]
        return JSONResponse(page(found, request.query_params, ROWS))

    async def _comment(self, request: Request) -> Response:
        issue, body = self._issue(request), await _object(request)
        _checked(body)
        if not str(body.get("body") or "").strip():
            raise refusal(422, "Validation Failed", {"resource": "IssueComment", "field": "body", "code": "missing"})
        made = Comment(1_000 + sum(len(each.comments) for each in self.all.values()), body["body"], self.now())
        issue.comments.append(made)
        issue.updated_at = made.at
        return JSONResponse(_comment(made), status_code=201)

    # --- rows ---

    def _issue(self, request: Request) -> Issue:
        number = request.path_params["number"]
        if number in self.transferred:
            raise refusal(301, "Moved Permanently", location="https://api.github.com/repositories/1/issues/1")
        if number in self.deleted:
            raise refusal(410, "This issue was deleted")
        if number not in self.all:
            raise refusal(404, "Not Found")
        return self.all[number]

    def _move(self, issue: Issue, state: str, reason: str | None) -> None:
        issue.state = state
        issue.state_reason = (reason or "completed") if state == "closed" else "reopened"
        issue.closed_at = self.now() if state == "closed" else None
        issue.moves.append((state, reason))

    def _shown(self, issue: Issue) -> dict[str, Any]:
        return {
            "id": 900_000 + issue.number,
            "number": issue.number,
            "html_url": f"https://github.example.com/{self.repo}/issues/{issue.number}",
            "title": issue.title,
            "body": issue.body,
            "state": issue.state,
            "state_reason": issue.state_reason,
            "labels": [{"name": each} for each in issue.labels],
            "assignees": [{"login": each} for each in issue.assignees],
            "created_at": _stamp(issue.at),
            "updated_at": _stamp(issue.updated_at),
            "closed_at": None if issue.closed_at is None else _stamp(issue.closed_at),
        }


def _comment(made: Comment) -> dict[str, Any]:
    return {"id": made.id, "body": made.body, "created_at": _stamp(made.at), "updated_at": _stamp(made.at)}


def _checked(body: dict[str, Any]) -> None:
    """Refuse what is too long, or of another type than text or a list of texts."""
    for name, most in (("title", MAX_TITLE), ("body", MAX_TEXT)):
        value = body.get(name)
        if value is not None and not isinstance(value, str):
            raise refusal(422, "Invalid request.", f"For {name}: {json.dumps(value)} is not a string.")
        if value is not None and len(value) > most:
            raise refusal(422, "Validation Failed", {"message": f"{name} is too long (maximum is {most} characters)"})
    for label in body.get("labels") or []:
        if not isinstance(label, str) or not 0 < len(label) <= MAX_LABEL or re.search(r"[\n,]", label):
            raise refusal(422, "Validation Failed", {"resource": "Label", "field": "name", "code": "invalid"})


async def _object(request: Request) -> dict[str, Any]:
    return await json_object(request, refusal(400, "Problems parsing JSON"))


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
