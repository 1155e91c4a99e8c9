"""The HTTP faces of the three services: Slack's, PagerDuty's and Jira's own paths, status codes and bodies."""

from __future__ import annotations

import base64
import binascii
import email.parser
import email.policy
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from receiver.sandbox import jira_meta
from receiver.sandbox.jira import CATEGORY, ISSUE_TYPES, WORKFLOW, ApiVersion, Issue, Jira, JiraError, stamp
from receiver.sandbox.pagerduty import PagerDuty
from receiver.sandbox.slack import Slack
from receiver.sandbox.slack_more import UPLOADS, More

MAX_RESULTS = 100


def slack_routes(slack: Slack) -> list[BaseRoute]:
    """Return the Web API, to be mounted where Slack has `https://slack.com/api`."""

    async def call(request: Request) -> Response:
        args: dict[str, Any] = dict(request.query_params)
        raw = await request.body()
        if "json" in request.headers.get("content-type", ""):
            try:
                sent = json.loads(raw or b"{}")
            except ValueError:
                return JSONResponse({"ok": False, "error": "invalid_json"})
            if not isinstance(sent, dict):
                return JSONResponse({"ok": False, "error": "json_not_object"})
            args |= sent
        else:
            args |= dict(parse_qsl(raw.decode("utf-8", "replace")))
            for name in ("blocks", "attachments", "metadata"):
                if isinstance(args.get(name), str):
                    try:
                        args[name] = json.loads(args[name])
                    except ValueError:
                        return JSONResponse({"ok": False, "error": "invalid_blocks_format"})
        token = _bearer(request) or args.get("token")
        answer = slack.call(request.path_params["method"], args, token)
        if "upload_url" in answer:
            answer["upload_url"] = str(request.url.replace(path=answer["upload_url"], query=""))
        return JSONResponse(answer)

    return [Route("/{method}", call, methods=["GET", "POST"])]


def slack_more_routes(more: More) -> list[BaseRoute]:
    """Return where Slack takes the bytes of files, and answers to people who pressed a button."""

    async def upload(request: Request) -> Response:
        return Response("OK", more.put(request.path_params["file"], await request.body()))

    async def answer(request: Request) -> Response:
        try:
            body = json.loads(await request.body())
        except ValueError:
            body = None
        return Response("ok", more.answer(request.path_params["user"], body))

    return [
        Route(f"{UPLOADS}/{{file}}", upload, methods=["POST"]),
        Route("/slack/actions/{user}", answer, methods=["POST"]),
    ]


def pagerduty_routes(pagerduty: PagerDuty) -> list[BaseRoute]:
    """Return the Events API, to be mounted where PagerDuty has `https://events.pagerduty.com`."""

    async def enqueue(request: Request) -> Response:
        raw = await request.body()
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        status, answer = pagerduty.enqueue(body, len(raw))
        return JSONResponse(answer, status_code=status)

    return [Route("/v2/enqueue", enqueue, methods=["POST"])]


JiraHandler = Callable[[Request, Any], Awaitable[Response]]


def jira_routes(jira: Jira, version: ApiVersion) -> list[BaseRoute]:
    """Return the REST API of one version, to be mounted where Jira has `/rest/api/{version}`."""
    site = _JiraFace(jira, version)
    table: list[tuple[str, str, JiraHandler]] = [
        ("GET", "/myself", site.myself),
        ("GET", "/mypermissions", site.permissions),
        ("GET", "/project/{key}", site.project),
        ("GET", "/issue/createmeta/{key}/issuetypes", site.issue_types),
        ("GET", "/issue/createmeta/{key}/issuetypes/{type}", site.create_fields),
        ("POST", "/issue", site.create),
        ("GET", "/issue/{key}", site.read),
        ("PUT", "/issue/{key}", site.edit),
        ("DELETE", "/issue/{key}", site.delete),
        ("GET", "/issue/{key}/comment", site.comments),
        ("POST", "/issue/{key}/comment", site.comment),
        ("GET", "/issue/{key}/transitions", site.transitions),
        ("POST", "/issue/{key}/transitions", site.transition),
        ("POST", "/issue/{key}/attachments", site.attach),
        ("GET", "/issue/{key}/properties/{name}", site.read_property),
        ("PUT", "/issue/{key}/properties/{name}", site.write_property),
    ]
    if version == "3":
        table += [(method, "/search/jql", site.search_cloud) for method in ("GET", "POST")]
        table += [(method, "/search", site.search_removed) for method in ("GET", "POST")]
    else:
        table += [(method, "/search", site.search_data_center) for method in ("GET", "POST")]
    return [Route(path, site.guard(handler), methods=[method]) for method, path, handler in table]


class _JiraFace:
    """Handlers of one API version; each gets the request and its parsed JSON body (None when there is none)."""

    def __init__(self, jira: Jira, version: ApiVersion) -> None:
        self.jira = jira
        self.version = version

    def guard(self, handler: JiraHandler) -> Callable[[Request], Awaitable[Response]]:
        """Wrap a handler with sign-in, body parsing and Jira's error bodies."""

        async def guarded(request: Request) -> Response:
            try:
                secret = _bearer(request) or _basic(request)
                if not secret or secret in self.jira.revoked:
                    raise JiraError(401, "Client must be authenticated to access this resource.")
                body = None
                if "json" in request.headers.get("content-type", ""):
                    try:
                        body = json.loads(await request.body() or b"null")
                    except ValueError:
                        raise JiraError(400, "There was an error parsing JSON.") from None
                return await handler(request, body)
            except JiraError as error:
                return JSONResponse(error.body, status_code=error.status)

        return guarded

    def _issue(self, request: Request) -> Issue:
        return self.jira.issue(request.path_params["key"])

    def _base(self, request: Request) -> str:
        return f"{request.base_url}jira/rest/api/{self.version}"

    async def myself(self, request: Request, body: Any) -> Response:
        del request, body
        who: dict[str, Any] = {"displayName": "mtv-receiver", "emailAddress": "bot@example.com", "active": True}
        who |= {"accountId": "sandbox:1"} if self.version == "3" else {"name": "mtv-receiver", "key": "mtv-receiver"}
        return JSONResponse(who)

    async def permissions(self, request: Request, body: Any) -> Response:
        del body
        asked = request.query_params.get("permissions", "").split(",")
        granted = {key: {"key": key, "havePermission": key not in self.jira.denied} for key in asked if key}
        return JSONResponse({"permissions": granted})

    async def project(self, request: Request, body: Any) -> Response:
        del body
        key = self._project_key(request)
        types = [{"id": str(index), "name": name} for index, name in enumerate(ISSUE_TYPES, 1)]
        return JSONResponse({"id": "1", "key": key, "name": key, "issueTypes": types})

    async def issue_types(self, request: Request, body: Any) -> Response:
        del body
        self._project_key(request)
        types = [
            {"id": str(index), "name": name, "subtask": name == "Sub-task"} for index, name in enumerate(ISSUE_TYPES, 1)
        ]
        named = "issueTypes" if self.version == "3" else "values"
        return JSONResponse({named: types, "total": len(types), "maxResults": 50, "startAt": 0})

    async def create_fields(self, request: Request, body: Any) -> Response:
        del body
        self._project_key(request)
        screen = jira_meta.create_fields(self.jira, request.path_params["type"], cloud=self.version == "3")
        return JSONResponse(screen)

    def _project_key(self, request: Request) -> str:
        key: str = request.path_params["key"]
        if not self.jira.has_project(key):
            raise JiraError(404, f"No project could be found with key '{key}'.")
        return key

    async def create(self, request: Request, body: Any) -> Response:
        issue = self.jira.create(body, self.version)
        return JSONResponse(
            {"id": issue.id, "key": issue.key, "self": f"{self._base(request)}/issue/{issue.id}"}, status_code=201
        )

    async def read(self, request: Request, body: Any) -> Response:
        del body
        issue = self._issue(request)
        answer = issue.wire(self._base(request))
        wanted = request.query_params.get("fields")
        if wanted and wanted not in {"*all", "*navigable"}:
            answer["fields"] = {name: answer["fields"].get(name) for name in wanted.split(",")}
        asked = request.query_params.get("properties")
        if asked:
            names = issue.properties if asked == "*all" else asked.split(",")
            answer["properties"] = {name: issue.properties[name] for name in names if name in issue.properties}
        return JSONResponse(answer)

    async def edit(self, request: Request, body: Any) -> Response:
        self.jira.edit(self._issue(request), body, self.version)
        return Response(status_code=204)

    async def delete(self, request: Request, body: Any) -> Response:
        del body
        self.jira.delete(self._issue(request))
        return Response(status_code=204)

    async def comments(self, request: Request, body: Any) -> Response:
        del body
        comments: dict[str, Any] = self._issue(request).wire("")["fields"]["comment"]
        return JSONResponse({**comments, "startAt": 0, "maxResults": MAX_RESULTS})

    async def comment(self, request: Request, body: Any) -> Response:
        made = self.jira.comment(self._issue(request), body, self.version)
        return JSONResponse({"id": made.id, "body": made.body, "created": stamp(made.at)}, status_code=201)

    async def transitions(self, request: Request, body: Any) -> Response:
        del body
        found = [
            {
                "id": number,
                "name": name,
                "hasScreen": False,
                "to": {"name": after, "statusCategory": {"key": CATEGORY[after]}},
            }
            for number, name, after in WORKFLOW[self._issue(request).status]
        ]
        return JSONResponse({"expand": "transitions", "transitions": found})

    async def transition(self, request: Request, body: Any) -> Response:
        self.jira.transition(self._issue(request), body, self.version)
        return Response(status_code=204)

    async def attach(self, request: Request, body: Any) -> Response:
        del body
        issue = self._issue(request)
        if request.headers.get("x-atlassian-token") != "no-check":
            raise JiraError(403, "XSRF check failed")
        header = f"Content-Type: {request.headers.get('content-type', '')}\r\n\r\n".encode()
        parsed = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(header + await request.body())
        made = [
            self.jira.attach(issue, part.get_filename() or "file", len(part.get_payload(decode=True) or b""))
            for part in (parsed.iter_parts() if parsed.is_multipart() else [])
            if part.get_param("name", header="content-disposition") == "file"
        ]
        if not made:
            raise JiraError(400, "The part named 'file' is missing.")
        return JSONResponse(made)

    async def read_property(self, request: Request, body: Any) -> Response:
        del body
        name, issue = request.path_params["name"], self._issue(request)
        if name not in issue.properties:
            raise JiraError(404, f"The property {name} does not exist.")
        return JSONResponse({"key": name, "value": issue.properties[name]})

    async def write_property(self, request: Request, body: Any) -> Response:
        name, issue = request.path_params["name"], self._issue(request)
        fresh = name not in issue.properties
        self.jira.set_property(issue, name, body)
        return Response(status_code=201 if fresh else 200)

    async def search_cloud(self, request: Request, body: Any) -> Response:
        asked = self._search_arguments(request, body)
        found = self.jira.search(asked.get("jql"), self.version)
        start, limit = _number(asked.get("nextPageToken"), 0), _number(asked.get("maxResults"), 50)
        page = found[start : start + limit]
        answer: dict[str, Any] = {"issues": [self._hit(request, issue, asked.get("fields") or []) for issue in page]}
        answer["isLast"] = start + limit >= len(found)
        if not answer["isLast"]:
            answer["nextPageToken"] = str(start + limit)
        return JSONResponse(answer)

    async def search_data_center(self, request: Request, body: Any) -> Response:
        asked = self._search_arguments(request, body)
        found = self.jira.search(asked.get("jql"), self.version)
        start, limit = _number(asked.get("startAt"), 0), _number(asked.get("maxResults"), 50)
        hits = [self._hit(request, issue, asked.get("fields") or ["*all"]) for issue in found[start : start + limit]]
        return JSONResponse({"startAt": start, "maxResults": limit, "total": len(found), "issues": hits})

    async def search_removed(self, request: Request, body: Any) -> Response:
        del request, body
        raise JiraError(410, "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API.")

    def _search_arguments(self, request: Request, body: Any) -> dict[str, Any]:
        if request.method == "POST":
            if not isinstance(body, dict):
                raise JiraError(400, "Invalid request payload. Refer to the REST API documentation and try again.")
            return body
        asked: dict[str, Any] = dict(request.query_params)
        if asked.get("fields"):
            asked["fields"] = asked["fields"].split(",")
        return asked

    def _hit(self, request: Request, issue: Issue, fields: list[str]) -> dict[str, Any]:
        whole = issue.wire(self._base(request))
        if not fields:
            return {"id": issue.id}
        if not {"*all", "*navigable"} & set(fields):
            whole["fields"] = {name: value for name, value in whole["fields"].items() if name in fields}
        return whole


def _bearer(request: Request) -> str | None:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return value.strip() or None if scheme.lower() == "bearer" else None


def _basic(request: Request) -> str | None:
    """Return the password (an API token) of basic sign-in."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2] or None
    except (binascii.Error, UnicodeDecodeError):
        return None


def _number(value: object, default: int) -> int:
    text = str(value if value is not None else default)
    if not text.isdigit():
        raise JiraError(400, f"'{text}' is not a number.")
    return min(int(text), 5_000) if default else int(text)
