"""Jira in memory: issues, comments, transitions and search, for Cloud (API 3) and Data Center (API 2).

Both APIs show the same issues; they differ in rich text (document or wiki text), in search, and in its freshness.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from receiver.sandbox import adf, jql

ApiVersion = Literal["2", "3"]

MAX_SUMMARY_CHARS = 255
MAX_TEXT_CHARS = 32_767  # description and comment; a document is counted as JSON, the stricter reading
MAX_LABEL_CHARS = 255
MAX_PROPERTY_CHARS = 32_768
ISSUE_TYPES = ("Bug", "Task", "Story", "Sub-task")
PRIORITIES = ("Highest", "High", "Medium", "Low", "Lowest")
CATEGORY = {"To Do": "new", "In Progress": "indeterminate", "Done": "done"}
# status -> (transition id, transition name, next status)
WORKFLOW: dict[str, tuple[tuple[str, str, str], ...]] = {
    "To Do": (("21", "Start progress", "In Progress"), ("31", "Done", "Done")),
    "In Progress": (("11", "Stop progress", "To Do"), ("31", "Done", "Done")),
    "Done": (("41", "Reopen", "To Do"),),
}

_PROJECT_KEY = re.compile(r"^[A-Z][A-Z0-9_]{1,9}$")


class JiraError(Exception):
    """A refusal, with Jira's error collection."""

    def __init__(self, status: int, *messages: str, errors: Mapping[str, str] | None = None) -> None:
        super().__init__(status, messages, errors)
        self.status = status
        self.body = {"errorMessages": list(messages), "errors": dict(errors or {})}


@dataclass(frozen=True, slots=True)
class Comment:
    """One comment; `body` is a document or wiki text, as it was sent."""

    id: str
    body: Any
    at: float


@dataclass(frozen=True, slots=True)
class Move:
    """One transition that was carried out."""

    at: float
    name: str
    before: str
    after: str


@dataclass(slots=True)
class Issue:
    """One ticket; `fields` holds what was sent, apart from what has an attribute here. Times are Unix seconds."""

    id: str
    key: str
    project: str
    issue_type: str
    summary: str
    fields: dict[str, Any]
    created_at: float
    updated_at: float
    labels: list[str] = field(default_factory=list)
    status: str = "To Do"
    resolution: str | None = None
    resolved_at: float | None = None
    properties: dict[str, Any] = field(default_factory=dict)
    comments: list[Comment] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    attachments: list[dict[str, Any]] = field(default_factory=list)

    @property
    def priority(self) -> str:
        return str((self.fields.get("priority") or {}).get("name") or "Medium")

    @property
    def category(self) -> str:
        return CATEGORY[self.status]

    def row(self) -> jql.Row:
        """Return the issue as a query sees it."""
        return {
            "project": (self.project,),
            "labels": tuple(self.labels),
            "key": (self.key,),
            "issuekey": (self.key,),
            "id": (self.id, self.key),
            "status": (self.status,),
            "statuscategory": (self.category, {"new": "To Do", "done": "Done"}.get(self.category, "In Progress")),
            "resolution": (self.resolution,) if self.resolution else (),
            "issuetype": (self.issue_type,),
            "summary": (self.summary,),
            "text": (self.summary, adf.plain_text(self.fields.get("description")) or self.fields.get("description")),
            "priority": (self.priority,),
            "created": (self.created_at,),
            "updated": (self.updated_at,),
            "resolutiondate": (self.resolved_at,) if self.resolved_at else (),
            "resolved": (self.resolved_at,) if self.resolved_at else (),
        }

    def wire(self, base: str) -> dict[str, Any]:
        """Return the whole issue as `GET /issue/{key}` shows it."""
        fields: dict[str, Any] = {
            **self.fields,
            "project": {"key": self.project},
            "issuetype": {"name": self.issue_type},
            "summary": self.summary,
            "labels": list(self.labels),
            "priority": {"name": self.priority},
            "status": {"name": self.status, "statusCategory": {"key": self.category}},
            "resolution": {"name": self.resolution} if self.resolution else None,
            "created": stamp(self.created_at),
            "updated": stamp(self.updated_at),
            "resolutiondate": stamp(self.resolved_at) if self.resolved_at else None,
            "comment": {
                "comments": [{"id": each.id, "body": each.body, "created": stamp(each.at)} for each in self.comments],
                "total": len(self.comments),
            },
            "attachment": list(self.attachments),
        }
        return {"id": self.id, "key": self.key, "self": f"{base}/issue/{self.id}", "fields": fields}


@dataclass(slots=True)
class Jira:
    """One site.

    `known_projects` are the project keys that exist; None means that any well-formed key does. A new issue
    is found by Cloud's search only after `search_lag_s` seconds; Data Center finds it at once. `denied` are the
    permissions that `/mypermissions` says we lack.
    """

    now: Callable[[], float]
    known_projects: frozenset[str] | None = None
    revoked: set[str] = field(default_factory=set)
    denied: set[str] = field(default_factory=set)
    search_lag_s: float = 0.0
    off_screen: set[str] = field(default_factory=set)
    """Fields that the create screen lacks."""
    demanded: dict[str, str] = field(default_factory=dict)
    """Further fields that it demands, by id, with their names."""
    components: tuple[str, ...] = ()
    issues: dict[str, Issue] = field(default_factory=dict)
    changes: int = 0
    _numbers: dict[str, int] = field(default_factory=dict)
    _ids: int = 10_000

    def clear(self) -> None:
        """Forget all issues; numbering goes on, as in Jira."""
        self.issues.clear()
        self.changes += 1

    def create(self, body: object, version: ApiVersion) -> Issue:
        """Create an issue; a refused one still uses up a number, as in Jira."""
        fields = _object(body).get("fields")
        if not isinstance(fields, dict):
            raise JiraError(400, "fields is required")
        project = str(_child(fields, "project").get("key") or "")
        number = self._numbers[project] = self._numbers.get(project, 0) + 1
        errors = _field_errors(fields, version)
        if not self.has_project(project):
            errors["project"] = "valid project is required"
        kind = _named(fields.get("issuetype"))
        if kind not in ISSUE_TYPES:
            errors["issuetype"] = "Specify a valid issue type"
        errors |= {name: f"{title} is required." for name, title in self.demanded.items() if not fields.get(name)}
        errors |= {
            name: f"Field '{name}' cannot be set. It is not on the appropriate screen, or unknown."
            for name in sorted(self.off_screen & fields.keys())
        }
        if not fields.get("summary"):
            errors["summary"] = "You must specify a summary of the issue."
        if errors:
            raise JiraError(400, errors=errors)
        rest = {name: value for name, value in fields.items() if name not in _OWN_FIELDS}
        issue = Issue(
            id=str(self._next_id()),
            key=f"{project}-{number}",
            project=project,
            issue_type=str(kind),
            summary=fields["summary"],
            labels=list(fields.get("labels") or []),
            fields=rest,
            created_at=self.now(),
            updated_at=self.now(),
        )
        for each in _object(body).get("properties") or []:
            self.set_property(issue, str(each["key"]), each["value"])
        self.issues[issue.key] = issue
        self.changes += 1
        return issue

    def issue(self, key_or_id: str) -> Issue:
        """Return an issue by key or id; raises 404."""
        for issue in self.issues.values():
            if key_or_id in {issue.key, issue.id}:
                return issue
        raise JiraError(404, "Issue does not exist or you do not have permission to see it.")

    def edit(self, issue: Issue, body: object, version: ApiVersion) -> None:
        """Apply `fields` and the `update` operations on labels."""
        sent = _object(body)
        fields, update = dict(_child(sent, "fields")), _child(sent, "update")
        labels = list(fields.pop("labels", issue.labels))
        for operation in update.get("labels", []):
            for verb, label in operation.items():
                labels = {
                    "add": [*(each for each in labels if each != label), label],
                    "remove": [each for each in labels if each != label],
                    "set": list(label),
                }[verb]
        if errors := _field_errors({**fields, "labels": labels}, version):
            raise JiraError(400, errors=errors)
        issue.summary = fields.pop("summary", issue.summary)
        issue.fields.update({name: value for name, value in fields.items() if name not in _OWN_FIELDS})
        issue.labels = labels
        for each in sent.get("properties") or []:
            self.set_property(issue, str(each["key"]), each["value"])
        self._touch(issue)

    def comment(self, issue: Issue, body: object, version: ApiVersion) -> Comment:
        """Add a comment."""
        text = _object(body).get("body")
        if wrong := _text_problem(text, version):
            raise JiraError(400, errors={"comment": wrong})
        if not text:
            raise JiraError(400, errors={"comment": "Comment body can not be empty!"})
        made = Comment(str(self._next_id()), text, self.now())
        issue.comments.append(made)
        self._touch(issue)
        return made

    def transition(self, issue: Issue, body: object, version: ApiVersion) -> Move:
        """Carry out one transition of the present status; `Done` sets a resolution, reopening clears it."""
        sent = _object(body)
        wanted = str(_child(sent, "transition").get("id") or "")
        possible = {number: (name, after) for number, name, after in WORKFLOW[issue.status]}
        if wanted not in possible:
            raise JiraError(
                400,
                f"It seems that you have tried to perform a workflow operation ({wanted}) that is not valid for the "
                f"current state of this issue {issue.key}.",
            )
        name, after = possible[wanted]
        for operation in _child(sent, "update").get("comment", []):
            self.comment(issue, operation["add"], version)
        move = Move(self.now(), name, issue.status, after)
        issue.status = after
        if issue.category == "done":
            issue.resolution = _child(_child(sent, "fields"), "resolution").get("name") or "Done"
            issue.resolved_at = self.now()
        else:
            issue.resolution = issue.resolved_at = None
        issue.moves.append(move)
        self._touch(issue)
        return move

    def delete(self, issue: Issue) -> None:
        """Remove an issue, as a person may."""
        del self.issues[issue.key]
        self.changes += 1

    def attach(self, issue: Issue, filename: str, size_bytes: int) -> dict[str, Any]:
        """Note an attachment; its bytes are not kept."""
        made = {"id": str(self._next_id()), "filename": filename, "size": size_bytes, "created": stamp(self.now())}
        issue.attachments.append(made)
        self._touch(issue)
        return made

    def set_property(self, issue: Issue, key: str, value: Any) -> None:
        """Set an issue property; raises 400 over the size limit."""
        if len(json.dumps(value)) > MAX_PROPERTY_CHARS:
            raise JiraError(400, f"The property value cannot be longer than {MAX_PROPERTY_CHARS} characters.")
        issue.properties[key] = value
        self.changes += 1

    def search(self, text: object, version: ApiVersion) -> list[Issue]:
        """Return the issues that match a JQL text, newest first."""
        try:
            query = jql.parse(text if isinstance(text, str) else "", self.now())
        except jql.JqlError as error:
            raise JiraError(400, str(error)) from None
        if version == "3" and not query.bounded:
            raise JiraError(400, "Unbounded JQL queries are not allowed here. Please add a search restriction.")
        seen_until = self.now() - (self.search_lag_s if version == "3" else 0.0)
        return [
            issue
            for issue in sorted(self.issues.values(), key=lambda each: int(each.id), reverse=True)
            if issue.created_at <= seen_until and query.test(issue.row())
        ]

    def has_project(self, key: str) -> bool:
        """Tell whether this project exists."""
        return bool(_PROJECT_KEY.match(key)) and (self.known_projects is None or key in self.known_projects)

    def snapshot(self) -> dict[str, Any]:
        """Return all issues, for `/state`."""
        return {
            "issues": [
                {
                    **issue.wire(""),
                    "properties": issue.properties,
                    "transitions": [
                        {"at": move.at, "name": move.name, "from": move.before, "to": move.after}
                        for move in issue.moves
                    ],
                }
                for issue in self.issues.values()
            ]
        }

    def _touch(self, issue: Issue) -> None:
        issue.updated_at = self.now()
        self.changes += 1

    def _next_id(self) -> int:
        self._ids += 1
        return self._ids


_OWN_FIELDS = frozenset({"project", "issuetype", "summary", "labels"})


def stamp(at_s: float) -> str:
    """Return Unix seconds in Jira's form of a time."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"


def _object(body: object) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise JiraError(400, "Invalid request payload. Refer to the REST API documentation and try again.")
    return body


def _child(parent: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return an object inside an object, an empty one where there is none."""
    value = parent.get(name)
    return value if isinstance(value, dict) else {}


def _named(value: object) -> str | None:
    """Return the name of `{"name": …}`, or of `{"id": …}` where ids are positions in the list of issue types."""
    if not isinstance(value, dict):
        return None
    if value.get("id") is not None and str(value["id"]).isdigit() and 1 <= int(value["id"]) <= len(ISSUE_TYPES):
        return ISSUE_TYPES[int(value["id"]) - 1]
    name = value.get("name")
    return name if isinstance(name, str) else None


def _text_problem(text: object, version: ApiVersion) -> str | None:
    if text is None:
        return None
    if version == "2":
        if not isinstance(text, str):
            return "Operation value must be a string"
        return "CONTENT_LIMIT_EXCEEDED" if len(text) > MAX_TEXT_CHARS else None
    if wrong := adf.problem(text):
        return wrong
    return "CONTENT_LIMIT_EXCEEDED" if len(json.dumps(text, ensure_ascii=False)) > MAX_TEXT_CHARS else None


def _field_errors(fields: Mapping[str, Any], version: ApiVersion) -> dict[str, str]:
    errors = {}
    summary = fields.get("summary", "")
    if not isinstance(summary, str):
        errors["summary"] = "Operation value must be a string"
    elif len(summary) > MAX_SUMMARY_CHARS:
        errors["summary"] = f"Summary can't exceed {MAX_SUMMARY_CHARS} characters."
    elif "\n" in summary or "\r" in summary:
        errors["summary"] = "The summary is invalid because it contains newline characters."
    if wrong := _text_problem(fields.get("description"), version):
        errors["description"] = wrong
    labels = fields.get("labels") or []
    if not isinstance(labels, list) or not all(isinstance(each, str) and each for each in labels):
        errors["labels"] = "data was not an array of strings"
    elif spaced := [each for each in labels if re.search(r"\s", each)]:
        errors["labels"] = f"The label '{spaced[0]}' contains spaces which is invalid."
    elif any(len(each) > MAX_LABEL_CHARS for each in labels):
        errors["labels"] = f"The label is too long (maximum is {MAX_LABEL_CHARS} characters)."
    priority = fields.get("priority")
    if priority is not None and (not isinstance(priority, dict) or priority.get("name", "Medium") not in PRIORITIES):
        errors["priority"] = "The priority selected is invalid."
    return errors
