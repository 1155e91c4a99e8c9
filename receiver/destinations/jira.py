"""Jira: one ticket per story, our part of its description kept current, comments for what people should notice.

What people write, label, assign or close stays theirs: only our marked section of the description is rewritten, and
only transitions to and from "done" are made. Cloud (API 3) and Data Center (API 2) differ in rich text and search.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

import httpx2

from receiver.config.model import DestinationConfig
from receiver.destinations import InStorm, Manner, Step, jira_adf, jira_wiki
from receiver.destinations.jira_api import JiraApi, is_done
from receiver.destinations.jira_check import shortcomings
from receiver.destinations.jira_fields import JiraSettings, new_fields
from receiver.destinations.jira_workflow import choose, resolution_fields
from receiver.destinations.logfiles import LogFile, logfiles
from receiver.destinations.ticketing import (
    ENTRY_CHANGES,
    Act,
    Next,
    Verdict,
    attached,
    cause_label,
    comment_mark,
    dressed,
    judge,
    judged,
    kept_file,
    next_act,
    still_open,
)
from receiver.errors import DestinationRefused, Gone, Refused
from receiver.fitting import fit, json_chars, payload_hash
from receiver.model import Change, Entry, Receipt, Wanted
from receiver.rendering import Message, Renderer

MAX_TEXT = 32_767
"""Of description and comment; a document is counted as its JSON, the stricter reading."""
OUR_TEXT = 20_000
"""Our share of a description: the rest is for people's own text."""
PROPERTY = "mtv-receiver"
COMMENTS = 100


class JiraSender:
    """One project."""

    kind: ClassVar[str] = "jira"
    manner: ClassVar[Manner] = Manner.TICKET
    waits_for_evidence: ClassVar[bool] = True
    in_storm: ClassVar[InStorm] = InStorm.BY_CAUSE
    entry_changes: ClassVar[frozenset[Change]] = ENTRY_CHANGES

    def __init__(self, config: DestinationConfig, http: httpx2.AsyncClient, renderer: Renderer) -> None:
        self._config = config
        self._settings: JiraSettings = config.settings
        self._api = JiraApi(http, self._settings.api_url)
        self._renderer = renderer
        base, _, _ = self._settings.api_url.partition("/rest/api/")
        # api.atlassian.com is for programs only: it shows people nothing.
        self._site = "" if urlsplit(base).hostname == "api.atlassian.com" else base

    def plan(self, wanted: Wanted) -> Step | None:
        """Return create, reopen, look, update, comment, attach or resolve; see `ticketing` and `Sender.plan`."""
        section = self._section(wanted)
        shown = payload_hash(section)
        files = logfiles(wanted, self._config.content) if self._settings.attach_logs else ()
        following = next_act(wanted, shown, send_resolved=self._config.send_resolved, files=files)
        match following:
            case None:
                return None
            case Next(Act.CREATE):
                return self._create(wanted, section)
            case Next(Act.ADOPT):
                return Step("root", "adopt", {}, creates=True)
            case Next(Act.UPDATE):
                body = {"fields": {"description": self._document(section)}}
                return Step("root", "update", body, hash=shown, extra={"section": section})
            case Next(Act.COMMENT, Entry() as entry):
                return self._comment(entry, wanted)
            case Next(Act.ATTACH, file=LogFile() as file):
                extra = {"kept_in_root": True, "file": file}
                return Step(file.part, "attach", {"filename": file.name}, creates=True, extra=extra)
            case Next(Act.RESOLVE):
                return Step("root", "resolve", {"transition": self._settings.resolve_transition or "(done)"})
            case _:
                return Step("root", following.act.value, {"transition": self._settings.reopen_transition or "(reopen)"})

    def _create(self, wanted: Wanted, section: Any) -> Step:
        message = self._renderer.root(wanted, self.kind, self._config.content)
        fields = new_fields(self._settings, wanted, message, self._config.content)
        fields["description"] = self._document(section)
        value = {"story": wanted.story.id, "label": wanted.keys.label, "client_id": wanted.keys.client_id}
        body = {"fields": fields, "properties": [{"key": PROPERTY, "value": value}]}
        return Step("root", "create", body, creates=True, hash=payload_hash(section))

    def _comment(self, entry: Entry, wanted: Wanted) -> Step:
        message = self._renderer.entry(entry, wanted, self.kind, self._config.content)
        mark = comment_mark(wanted, entry)
        form = jira_adf.comment if self._api.cloud else jira_wiki.comment
        message = fit(message, lambda each: json_chars(form(each, mark)), OUR_TEXT)
        body = {"body": form(message, mark)}
        return Step(entry.key, "comment", body, creates=True, hash=payload_hash(body))

    def _section(self, wanted: Wanted) -> Any:
        """Return our part of the description: nodes for Cloud, wiki markup for Data Center."""
        message = self._renderer.root(wanted, self.kind, self._config.content)
        message = dressed(message, wanted, self._config, self._related(wanted))
        form = jira_adf.section if self._api.cloud else jira_wiki.section

        def size(candidate: Message) -> int:
            return json_chars(form(candidate, wanted.story.id))

        return form(fit(message, size, OUR_TEXT), wanted.story.id)

    def _related(self, wanted: Wanted) -> str:
        """Return where tickets of the same cause are listed: a search by the cause's label, which is never stale."""
        label = cause_label(wanted, self._config.content)
        if not label or not self._site:
            return ""
        jql = f'project = "{self._settings.project}" AND labels = "{label}" ORDER BY created DESC'
        return f"{self._site}/issues/?jql={quote(jql)}"

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
            case "reopen" | "look":
                return await self._reopen(root, wanted)
            case "attach":
                return await attached(self._api.attach, str(root["id"]), step.extra["file"])
            case _:
                raise ValueError(f"unknown step {step.op!r}")

    def _receipt(self, issue: Mapping[str, Any], state: str) -> dict[str, Any]:
        key = str(issue.get("key", ""))
        return {
            "id": str(issue.get("id", "")),
            "key": key,
            "self": str(issue.get("self", "")),
            "state": state,
            "url": f"{self._site}/browse/{key}" if key and self._site else "",
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
        revision = wanted.story.revision
        if not is_done(fields):
            return still_open(root, revision)
        verdict = judge(
            str((fields.get("resolution") or {}).get("name") or ""),
            _moment(fields.get("resolutiondate")),
            wanted.story.updated,
            wont_fix=self._settings.wont_fix_resolution,
            reopen_s=self._settings.reopen_duration,
        )
        if verdict is Verdict.REOPEN:
            transitions = await self._transitions(issue_id)
            chosen = choose(transitions, self._settings.reopen_transition, closes=False)
            if chosen is None:
                raise Refused(_no_transition("reopen_transition", self._settings.reopen_transition, transitions))
            await self._transition(issue_id, {"transition": {"id": chosen["id"]}})
        return judged(root, verdict, revision)

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
                    # Whoever closed it meanwhile was a person: see `ticketing`.
                    state = "declined" if is_done(issue.get("fields") or {}) else "open"
                    return {**self._receipt(issue, state), "hash": "", "revision": 0}
            return None
        if step.op == "attach":
            found = (await self._api.issue(str(root["id"]), "attachment")).get("attachment") or []
            names = {str(each.get("filename")): str(each.get("id", "")) for each in found if isinstance(each, dict)}
            name = step.extra["file"].name
            return kept_file(step.part, names[name]) if name in names else None
        entry = next((each for each in wanted.entries if each.key == step.part), None)
        if entry is None:
            return None
        params = {"orderBy": "-created", "maxResults": COMMENTS}
        answer = await self._api.call("GET", f"/issue/{root['id']}/comment", params=params, missing=Gone)
        mark = comment_mark(wanted, entry)
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

    async def shortcomings(self) -> tuple[str, ...]:
        """Return which permissions, fields and transitions are missing."""
        return await shortcomings(self._api, self._settings)


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
