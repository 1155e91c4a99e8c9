"""Jira: one ticket per story, our part of its description kept current, comments for what people should notice.

What people write, label, assign or close stays theirs: only our marked section of the description is rewritten, and
only transitions to and from "done" are made. Cloud (API 3) and Data Center (API 2) differ in rich text and search.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx2
from pydantic import Field, field_validator

from receiver.config.durations import Duration
from receiver.config.model import DestinationConfig
from receiver.config.settings import Names, Settings, Url
from receiver.destinations import Manner, Step, jira_adf, jira_wiki
from receiver.destinations.jira_api import JiraApi, is_done
from receiver.destinations.jira_workflow import choose, resolution_fields
from receiver.errors import DestinationRefused, Gone, Refused
from receiver.fitting import fit, json_chars, one_line, payload_hash
from receiver.model import Change, Entry, Receipt, Wanted
from receiver.rendering import Message, Renderer, Small, Span

MAX_SUMMARY = 255
MAX_TEXT = 32_767
"""Of description and comment; a document is counted as its JSON, the stricter reading."""
OUR_TEXT = 20_000
"""Our share of a description: the rest is for people's own text."""
PROPERTY = "mtv-receiver"
COMMENTS = 100


class JiraSettings(Settings):
    """`jira_configs`: a project of Jira Cloud or Data Center. Sign-in is `http_config`."""

    api_url: Url
    """Cloud: https://x.atlassian.net/rest/api/3; Data Center: https://jira.example.com/rest/api/2."""
    project: str = Field(min_length=1)
    """Key of the project."""
    issue_type: str = "Bug"
    """Name of the issue type."""
    priority: str = ""
    """Name of a priority; empty leaves the project's default."""
    labels: Names = ()
    """Labels of every ticket, besides our own."""
    fields: dict[str, Any] = Field(default_factory=dict)
    """Further fields of a new ticket as the API takes them, such as components or customfield_10010."""
    resolve_transition: str = ""
    """Name of the transition that closes; empty takes the one that leads to a done status."""
    reopen_transition: str = ""
    """Name of the transition that reopens; empty takes the one that leads back to a new or open status."""
    reopen_duration: Duration = 604_800.0
    """A ticket that was closed longer ago is left alone, and a new one is made."""
    wont_fix_resolution: str = ""
    """A ticket closed with this resolution is never reopened; comments are still added."""

    @property
    def default_lookup_grace_s(self) -> float:
        """Return 120 s for Cloud, whose search lags by seconds to minutes; Data Center's index is current."""
        return 120.0 if self.api_url.rstrip("/").endswith("/3") else 5.0

    @field_validator("api_url")
    @classmethod
    def _known_api(cls, value: str) -> str:
        if not re.search(r"/rest/api/[23]/?$", value):
            raise ValueError("does not end in /rest/api/3 (Cloud) or /rest/api/2 (Data Center); write the whole URL")
        return value

    @field_validator("labels")
    @classmethod
    def _no_blanks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not label or re.search(r"\s", label) or len(label) > 255 for label in value):
            raise ValueError("a label is empty, too long or has blanks; write such as vm-migration")
        return value


class JiraSender:
    """One project."""

    kind: ClassVar[str] = "jira"
    manner: ClassVar[Manner] = Manner.TICKET
    waits_for_evidence: ClassVar[bool] = True
    entry_changes: ClassVar[frozenset[Change]] = frozenset(
        {Change.RERUN, Change.WORSE, Change.FAILED_AGAIN, Change.REOPENED, Change.RESOLVED}
    )

    def __init__(self, config: DestinationConfig, http: httpx2.AsyncClient, renderer: Renderer) -> None:
        self._config = config
        self._settings: JiraSettings = config.settings
        self._api = JiraApi(http, self._settings.api_url)
        self._renderer = renderer

    def plan(self, wanted: Wanted) -> Step | None:
        """Return create, reopen, update, comment or resolve; see `Sender.plan`.

        Root receipts: `gone`: a person deleted the ticket, or it is too old to reopen; only an audible change makes a
        new one. Without `id`: a create was sent and never answered.
        """
        root = wanted.root or {}
        if root.get("gone"):
            return self._create(wanted) if wanted.firing and wanted.audible else None
        if not root.get("id"):
            if wanted.firing:
                return self._create(wanted)
            # Absent: it was not there when its story ended. A lost create may have landed since.
            started = wanted.root is not None and (root.get("state") != "absent" or wanted.confirm)
            return Step("root", "adopt", {}, creates=True) if started else None
        if wanted.firing and wanted.audible and root.get("state") == "done":
            return Step("root", "reopen", {"transition": self._settings.reopen_transition or "(reopen)"})
        section = self._section(wanted)
        if payload_hash(section) != root.get("hash") or wanted.confirm:
            body = {"fields": {"description": self._document(section)}}
            return Step("root", "update", body, hash=payload_hash(section), extra={"section": section})
        if entry := self._next_entry(wanted, root):
            return self._comment(entry, wanted)
        if not wanted.firing and root.get("state") == "open" and self._config.send_resolved:
            return Step("root", "resolve", {"transition": self._settings.resolve_transition or "(done)"})
        return None

    def _create(self, wanted: Wanted) -> Step:
        message = self._renderer.root(wanted, self.kind, self._config.content)
        section, settings, keys = self._section(wanted), self._settings, wanted.keys
        labels = [keys.label, *settings.labels]
        fields: dict[str, Any] = dict(settings.fields)
        if not wanted.plain:
            cause = wanted.story.evidence.cause if wanted.story.evidence else None
            labels += [re.sub(r"\s+", "-", cause.id)] if cause and self._config.content != "minimal" else []
            fields |= {"priority": {"name": settings.priority}} if settings.priority else {}
        fields |= {
            "project": {"key": settings.project},
            "issuetype": {"name": settings.issue_type},
            "summary": one_line(message.summary or message.title, MAX_SUMMARY) or "VM migration failed",
            "description": self._document(section),
            "labels": list(dict.fromkeys(label for label in labels if label)),
        }
        value = {"story": wanted.story.id, "label": keys.label, "client_id": keys.client_id}
        body = {"fields": fields, "properties": [{"key": PROPERTY, "value": value}]}
        return Step("root", "create", body, creates=True, hash=payload_hash(section))

    def _next_entry(self, wanted: Wanted, root: Receipt) -> Entry | None:
        for entry in wanted.entries:
            told_by_root = entry.revision <= int(root.get("revision", 0))
            muted = entry.change is Change.RESOLVED and not self._config.send_resolved
            if entry.change in self.entry_changes and not told_by_root and not muted:
                return entry
        return None

    def _comment(self, entry: Entry, wanted: Wanted) -> Step:
        message = self._renderer.entry(entry, wanted, self.kind, self._config.content)
        mark = _mark(wanted, entry)
        form = jira_adf.comment if self._api.cloud else jira_wiki.comment
        message = fit(message, lambda each: json_chars(form(each, mark)), OUR_TEXT)
        body = {"body": form(message, mark)}
        return Step(entry.key, "comment", body, creates=True, hash=payload_hash(body))

    def _section(self, wanted: Wanted) -> Any:
        """Return our part of the description: nodes for Cloud, wiki markup for Data Center."""
        message = self._renderer.root(wanted, self.kind, self._config.content)
        if before := wanted.keys.follows:
            url = before if before.startswith(("https://", "http://")) else ""
            earlier = Small((Span("Follows the ticket of an earlier failure: "), Span(before, "", url)))
            message = replace(message, blocks=(*message.blocks, earlier))
        form = jira_adf.section if self._api.cloud else jira_wiki.section

        def size(candidate: Message) -> int:
            return json_chars(form(candidate, wanted.story.id))

        return form(fit(message, size, OUR_TEXT), wanted.story.id)

    def _document(self, section: Any) -> Any:
        return jira_adf.document(section) if self._api.cloud else section

    async def send(self, step: Step, wanted: Wanted) -> Receipt:
        root = wanted.root or {}
        match step.op:
            case "create":
                if root.get("state") == "absent" and (landed := await self.find(step, wanted)):
                    return landed  # the create that was lost before its story ended, and began again
                made = await self._api.call("POST", "/issue", body=step.body)
                return {**self._receipt(made, "open"), "hash": step.hash, "revision": wanted.story.revision}
            case "adopt":
                return await self.find(step, wanted) or {"state": "absent"}
            case "update":
                await self._update(str(root["id"]), step.extra["section"], wanted.story.id)
                return {**root, "hash": step.hash}
            case "comment":
                path = f"/issue/{root['id']}/comment"
                made = await self._api.call("POST", path, body=step.body, missing=Gone)
                return {"id": str(made.get("id", "")), "hash": step.hash}
            case "resolve":
                await self._resolve(str(root["id"]), wanted)
                return {**root, "state": "done"}
            case "reopen":
                return await self._reopen(root, wanted)
            case _:
                raise ValueError(f"unknown step {step.op!r}")

    def _receipt(self, issue: Mapping[str, Any], state: str) -> dict[str, Any]:
        key = str(issue.get("key", ""))
        base, _, _ = self._settings.api_url.partition("/rest/api/")
        # api.atlassian.com is for programs only: it shows people nothing.
        shown = bool(key) and urlsplit(base).hostname != "api.atlassian.com"
        return {
            "id": str(issue.get("id", "")),
            "key": key,
            "self": str(issue.get("self", "")),
            "state": state,
            "url": f"{base}/browse/{key}" if shown else "",
        }

    async def _update(self, issue_id: str, section: Any, story: str) -> None:
        """Rewrite our section; without its marks, or without room for it, the description is people's alone."""
        description = (await self._api.issue(issue_id, "description")).get("description")
        splice = jira_adf.splice if self._api.cloud else jira_wiki.splice
        spliced: Any = splice(description, section, story)
        if spliced is None or spliced == description or json_chars(spliced) > MAX_TEXT:
            return
        body = {"fields": {"description": spliced}}
        await self._api.call("PUT", f"/issue/{issue_id}", body=body, missing=Gone)

    async def _resolve(self, issue_id: str, wanted: Wanted) -> None:
        if is_done(await self._api.issue(issue_id, "status")):
            return
        transitions = await self._transitions(issue_id)
        chosen = choose(transitions, self._settings.resolve_transition, closes=True)
        if chosen is None:
            raise Refused(_no_transition("resolve_transition", self._settings.resolve_transition, transitions))
        fields = resolution_fields(chosen, wanted.story.outcome)
        await self._transition(issue_id, {"transition": {"id": chosen["id"]}, **({"fields": fields} if fields else {})})

    async def _reopen(self, root: Receipt, wanted: Wanted) -> Receipt:
        issue_id = str(root["id"])
        fields = await self._api.issue(issue_id, "status,resolution,resolutiondate")
        if not is_done(fields):
            return {**root, "state": "open"}
        wont_fix = self._settings.wont_fix_resolution
        if wont_fix and (fields.get("resolution") or {}).get("name") == wont_fix:
            return {**root, "state": "declined"}
        closed = _moment(fields.get("resolutiondate"))
        if closed and (wanted.story.updated - closed).total_seconds() > self._settings.reopen_duration:
            return {**root, "gone": True}
        transitions = await self._transitions(issue_id)
        chosen = choose(transitions, self._settings.reopen_transition, closes=False)
        if chosen is None:
            raise Refused(_no_transition("reopen_transition", self._settings.reopen_transition, transitions))
        await self._transition(issue_id, {"transition": {"id": chosen["id"]}})
        return {**root, "state": "open"}

    async def _transitions(self, issue_id: str) -> list[dict[str, Any]]:
        params = {"expand": "transitions.fields"}
        answer = await self._api.call("GET", f"/issue/{issue_id}/transitions", params=params, missing=Gone)
        found = answer.get("transitions")
        return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []

    async def _transition(self, issue_id: str, body: Mapping[str, Any]) -> None:
        await self._api.call("POST", f"/issue/{issue_id}/transitions", body=body, missing=Gone)

    async def find(self, step: Step, wanted: Wanted) -> Receipt | None:
        """Look for our label (tickets) or our mark (comments); on Cloud a new ticket is found only after a while."""
        root = wanted.root or {}
        if step.part == "root":
            for issue in await self._api.search(f'labels = "{wanted.keys.label}" ORDER BY created DESC'):
                if str(issue.get("id")) != str(root.get("id")):  # not the one whose place the new ticket takes
                    state = "done" if is_done(issue.get("fields") or {}) else "open"
                    return {**self._receipt(issue, state), "hash": "", "revision": 0}
            return None
        entry = next((each for each in wanted.entries if each.key == step.part), None)
        if entry is None:
            return None
        params = {"orderBy": "-created", "maxResults": COMMENTS}
        answer = await self._api.call("GET", f"/issue/{root['id']}/comment", params=params, missing=Gone)
        mark = _mark(wanted, entry)
        for comment in answer.get("comments") or []:
            body = comment.get("body")
            text = body if isinstance(body, str) else jira_adf.flatten(body)
            if any(line.strip().strip("_") == mark for line in text.splitlines()):
                return {"id": str(comment.get("id", "")), "hash": step.hash}
        return None

    def link(self, root: Receipt) -> str:
        return str(root.get("url", ""))

    async def probe(self) -> None:
        """Ask who we are, and whether the project is there and has the issue type."""
        await self._api.call("GET", "/myself")
        project = await self._api.call("GET", f"/project/{self._settings.project}")
        types = [str(each.get("name")) for each in project.get("issueTypes") or [] if isinstance(each, dict)]
        if types and self._settings.issue_type not in types:
            known = ", ".join(types)
            raise DestinationRefused(
                f"project {self._settings.project} has no issue type {self._settings.issue_type}; it has {known}"
            )


def _mark(wanted: Wanted, entry: Entry) -> str:
    """Return the last line of a comment, by which it is found again; the revision tells apart entries of one key."""
    return f"story {wanted.story.id} · {entry.key} · {entry.revision}"


def _moment(text: object) -> datetime | None:
    """Return Jira's form of a time, such as 2026-11-21T01:02:03.000+0100."""
    try:
        return datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%S.%f%z")
    except ValueError:
        return None


def _no_transition(key: str, name: str, offered: list[dict[str, Any]]) -> str:
    names = ", ".join(str(each.get("name")) for each in offered) or "none"
    wanted = f"the transition {name!r}" if name else "a transition that fits"
    return f"the ticket's status does not offer {wanted} (offered: {names}); set {key}"


class Jira:
    """The kind; see `receiver.destinations.Kind`."""

    kind: ClassVar[str] = "jira"
    config_key: ClassVar[str] = "jira_configs"
    settings: ClassVar[type[Any]] = JiraSettings

    def target(self, settings: JiraSettings) -> str:
        return f"{settings.api_url.rstrip('/')} {settings.project}"

    def build(self, config: DestinationConfig, http: httpx2.AsyncClient, renderer: Renderer) -> JiraSender:
        return JiraSender(config, http, renderer)
