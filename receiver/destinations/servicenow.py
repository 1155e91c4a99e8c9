"""ServiceNow: one incident per story, our part of its description kept current, work notes for what matters.

`correlation_id` holds our key: it is looked for before every create, and what is found is compared with it, since an
instance ignores what it does not understand in a query. What people write, assign or close stays theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import quote

import httpx2

from receiver.config.model import DestinationConfig
from receiver.destinations import InStorm, Manner, Step
from receiver.destinations.logfiles import LogFile, logfiles
from receiver.destinations.servicenow_api import Row, ServiceNowApi
from receiver.destinations.servicenow_fields import DISPLAY, ServiceNowSettings, is_ours, new_columns
from receiver.destinations.servicenow_text import note, section
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
    splice,
    still_open,
)
from receiver.errors import DestinationRefused, Refused
from receiver.fitting import fit, one_line, payload_hash
from receiver.model import Change, Entry, Receipt, Wanted
from receiver.rendering import Code, Message, Renderer

MAX_NOTE = 4_000
MAX_CLOSE_NOTES = 1_000
COMMANDS = 2
"""So many of the last commands are left out before anything else is shortened."""
MADE = "sys_id,number,state,correlation_id"
STATE = "sys_id,number,state,close_code,resolved_at,closed_at"


class ServiceNowSender:
    """One table of one instance."""

    kind: ClassVar[str] = "servicenow"
    manner: ClassVar[Manner] = Manner.TICKET
    waits_for_evidence: ClassVar[bool] = True
    in_storm: ClassVar[InStorm] = InStorm.BY_CAUSE
    entry_changes: ClassVar[frozenset[Change]] = ENTRY_CHANGES

    def __init__(self, config: DestinationConfig, http: httpx2.AsyncClient, renderer: Renderer) -> None:
        self._config = config
        self._settings: ServiceNowSettings = config.settings
        self._site = self._settings.instance_url.rstrip("/")
        self._api = ServiceNowApi(http, self._site, self._settings.table)
        self._renderer = renderer

    def plan(self, wanted: Wanted) -> Step | None:
        """Return create, reopen, look, update, note, attach or resolve; see `ticketing` and `Sender.plan`."""
        text = self._section(wanted)
        shown = payload_hash(text)
        files = logfiles(wanted, self._config.content) if self._settings.attach_logs else ()
        following = next_act(wanted, shown, send_resolved=self._config.send_resolved, files=files)
        match following:
            case None:
                return None
            case Next(Act.CREATE):
                message = self._renderer.root(wanted, self.kind, self._config.content)
                columns = new_columns(self._settings, wanted, message, self._config.content)
                return Step("root", "create", {**columns, "description": text}, creates=True, hash=shown)
            case Next(Act.ADOPT):
                return Step("root", "adopt", {}, creates=True)
            case Next(Act.UPDATE):
                return Step("root", "update", {"description": text}, hash=shown)
            case Next(Act.COMMENT, Entry() as entry):
                return self._note(entry, wanted)
            case Next(Act.ATTACH, file=LogFile() as file):
                extra = {"kept_in_root": True, "file": file}
                return Step(file.part, "attach", {"file_name": file.name}, creates=True, extra=extra)
            case Next(Act.RESOLVE):
                return Step("root", "resolve", self._resolution(wanted))
            case _:
                return Step("root", following.act.value, {"state": self._settings.states.reopened})

    def _resolution(self, wanted: Wanted) -> dict[str, str]:
        message = self._renderer.root(wanted, self.kind, self._config.content)
        return {
            "state": self._settings.states.resolved,
            "close_code": self._settings.close_code,
            "close_notes": one_line(message.title, MAX_CLOSE_NOTES) or "resolved",
        }

    def _note(self, entry: Entry, wanted: Wanted) -> Step:
        message = self._renderer.entry(entry, wanted, self.kind, self._config.content)
        mark = comment_mark(wanted, entry)
        fitting = fit(message, lambda each: len(note(each, mark)), MAX_NOTE)
        body: dict[str, Any] = {self._settings.notes: note(fitting, mark)}
        return Step(entry.key, "comment", body, creates=True, hash=payload_hash(body))

    def _section(self, wanted: Wanted) -> str:
        message = self._renderer.root(wanted, self.kind, self._config.content)
        message = dressed(message, wanted, self._config, self._related(wanted))
        story = wanted.story.id

        def size(candidate: Message) -> int:
            return len(section(candidate, story))

        # A fifth of the column is people's: a text that is cut by the instance would lose the mark of its end.
        most = self._settings.description_chars * 4 // 5
        return section(fit(_without_commands(message, size, most), size, most), story)

    def _related(self, wanted: Wanted) -> str:
        label = cause_label(wanted, self._config.content)
        query = f"correlation_display={DISPLAY} {label}^ORDERBYDESCsys_created_on"
        return f"{self._site}/{self._settings.table}_list.do?sysparm_query={quote(query)}" if label else ""

    async def send(self, step: Step, wanted: Wanted) -> Receipt:
        root = wanted.root or {}
        match step.op:
            case "create":
                if there := await self.find(step, wanted):
                    return there
                made = await self._api.create(step.body, MADE)
                return {**self._receipt(made, "open"), "hash": step.hash, "revision": wanted.story.revision}
            case "adopt":
                return await self.find(step, wanted) or {"state": "absent"}
            case "update":
                await self._update(str(root["id"]), step.body["description"], wanted.story.id)
                return {**root, "hash": step.hash}
            case "comment":
                await self._api.change(str(root["id"]), step.body, "sys_id")
                return {"id": str(root["id"]), "hash": step.hash}
            case "resolve":
                await self._resolve(str(root["id"]), step.body)
                return {**root, "state": "done"}
            case "reopen" | "look":
                return await self._reopen(root, wanted)
            case "attach":
                return await attached(self._api.attach, str(root["id"]), step.extra["file"])
            case _:
                raise ValueError(f"unknown step {step.op!r}")

    def _receipt(self, row: Row, state: str) -> dict[str, Any]:
        sys_id = str(row.get("sys_id", ""))
        url = f"{self._site}/{self._settings.table}.do?sys_id={sys_id}" if sys_id else ""
        return {"id": sys_id, "key": str(row.get("number", "")), "state": state, "url": url}

    def _is_closed(self, row: Row) -> bool:
        states = self._settings.states
        return str(row.get("state")) in {states.resolved, states.closed, states.canceled}

    async def _update(self, sys_id: str, ours: str, story: str) -> None:
        """Rewrite our section; without its marks, or without room for it, the description is people's alone."""
        row = await self._api.row(sys_id, "description,state")
        description = row.get("description")
        spliced = splice(description, ours, story)
        if spliced is None or spliced == description or len(spliced) > self._settings.description_chars:
            return
        if str(row.get("state")) == self._settings.states.closed:  # read only
            return
        await self._api.change(sys_id, {"description": spliced}, "sys_id")

    async def _resolve(self, sys_id: str, body: Mapping[str, Any]) -> None:
        if self._is_closed(await self._api.row(sys_id, STATE)):
            return
        row = await self._api.change(sys_id, body, STATE)
        if not self._is_closed(row):
            raise Refused(f"the incident stays in state {row.get('state')}: check states.resolved and the user's roles")

    async def _reopen(self, root: Receipt, wanted: Wanted) -> Receipt:
        sys_id, states, revision = str(root["id"]), self._settings.states, wanted.story.revision
        row = await self._api.row(sys_id, STATE)
        if not self._is_closed(row):
            return still_open(root, revision)
        if str(row.get("state")) == states.canceled:
            return judged(root, Verdict.DECLINED, revision)
        verdict = judge(
            str(row.get("close_code") or ""),
            _moment(row.get("resolved_at")) or _moment(row.get("closed_at")),
            wanted.story.updated,
            wont_fix=self._settings.wont_fix_resolution,
            reopen_s=self._settings.reopen_duration,
        )
        if verdict is Verdict.REOPEN and str(row.get("state")) == states.closed:
            verdict = Verdict.TOO_OLD  # closed for good, however short ago
        if verdict is Verdict.REOPEN:
            row = await self._api.change(sys_id, {"state": states.reopened}, STATE)
            if self._is_closed(row):
                raise Refused(f"the incident stays in state {row.get('state')}: check states.reopened and the roles")
        return judged(root, verdict, revision)

    async def find(self, step: Step, wanted: Wanted) -> Receipt | None:
        """Look for our key (incidents), our mark (journal entries) or the file's name."""
        root = wanted.root or {}
        if step.part == "root":
            query = f"correlation_id={wanted.keys.label}^ORDERBYDESCsys_created_on"
            for row in await self._api.rows(query, MADE, 5):
                if is_ours(row, wanted) and row["sys_id"] != root.get("id"):  # not the one whose place is taken
                    # Whoever closed it meanwhile was a person: see `ticketing`.
                    state = "declined" if self._is_closed(row) else "open"
                    return {**self._receipt(row, state), "hash": "", "revision": 0}
            return None
        sys_id = str(root["id"])
        if step.op == "attach":
            made = await self._api.attachment(sys_id, step.body["file_name"])
            return None if made is None else kept_file(step.part, made)
        entry = next((each for each in wanted.entries if each.key == step.part), None)
        if entry is None:
            return None
        row = await self._api.row(sys_id, self._settings.notes, shown=True)
        mark = comment_mark(wanted, entry)
        said = any(line.strip() == mark for line in str(row.get(self._settings.notes) or "").splitlines())
        return {"id": sys_id, "hash": step.hash} if said else None

    def link(self, root: Receipt) -> str:
        return str(root.get("url", ""))

    async def probe(self) -> None:
        """Ask for a row that is not there: the table must be, and we may read it."""
        await self._api.rows("correlation_id=mtvr-probe", MADE, 1)

    async def shortcomings(self) -> tuple[str, ...]:
        """Return what is wrong with the close code, as far as the instance tells its choices."""
        query = "name=incident^element=close_code^inactive=false"
        try:
            rows = await self._api.rows(query, "value,label,name,element", 200, table="sys_choice")
        except DestinationRefused:
            return ()  # only some roles may read the choices
        choices = sorted({str(row["value"]) for row in rows if row.get("value") and row.get("element", "close_code")})
        if choices and self._settings.close_code not in choices:
            known = ", ".join(choices[:20])
            return (f"there is no close_code {self._settings.close_code!r}; name one of {known}",)
        return ()


def _without_commands(message: Message, size: Callable[[Message], int], most: int) -> Message:
    """Return a message that is too long without its last commands: the story's page has them, and VMs matter more."""
    blocks = list(message.blocks)
    for at in [at for at, block in enumerate(blocks) if isinstance(block, Code)][: -COMMANDS - 1 : -1]:
        if size(message) <= most:
            break
        del blocks[at]
        message = replace(message, blocks=tuple(blocks))
    return message


def _moment(text: object) -> datetime | None:
    """Return ServiceNow's form of a time in UTC, such as 2026-11-21 01:02:03."""
    try:
        return datetime.strptime(str(text), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


class ServiceNow:
    """The kind; see `receiver.destinations.Kind`."""

    kind: ClassVar[str] = "servicenow"
    config_key: ClassVar[str] = "servicenow_configs"
    settings: ClassVar[type[Any]] = ServiceNowSettings

    def target(self, settings: ServiceNowSettings) -> str:
        return f"{settings.instance_url.rstrip('/')} {settings.table}"

    def build(self, config: DestinationConfig, http: httpx2.AsyncClient, renderer: Renderer) -> ServiceNowSender:
        return ServiceNowSender(config, http, renderer)
