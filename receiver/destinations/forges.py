"""What GitHub and GitLab have in common: one issue per story. What to do next is `ticketing`, the words are `markdown`.

A forge is a thin adapter: it names the body of a new issue, makes the calls, and says in our errors what an answer
means (what both do alike is `forge_calls`). It holds no rules of its own about stories.

Every issue of ours carries one label of all (`LABEL`) and, hidden in its text, a mark of its own. One label per story
would fill the project's list of labels. The label narrows a look-up, the mark proves it; an account that may not set
labels (GitHub drops them without a word) is looked up among all new issues.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Protocol

import structlog

from receiver.config.model import DestinationConfig
from receiver.destinations import InStorm, Manner, Step, markdown, ticketing
from receiver.destinations.forge_calls import Issue
from receiver.destinations.logfiles import LogFile, logfiles
from receiver.destinations.markdown import Flavor
from receiver.destinations.ticketing import Act, Verdict
from receiver.errors import Refused
from receiver.fitting import fit, one_line, payload_hash
from receiver.model import Change, Entry, Receipt, Wanted
from receiver.rendering import Message, Renderer
from receiver.rendering.fields import fill, values

log = structlog.get_logger(__name__)

LABEL = "mtv-receiver"
OUR_TEXT = 20_000
"""Characters of our section and of a comment: the rest of an issue's text is for people's own."""
CLOCKS_DIFFER = timedelta(hours=1)
FILE_TRIES = 6
"""So often a log may fail in a row before it is left out: the end of the story is waiting behind it."""


class Forge(Protocol):
    """One project at one forge. Every call raises DeliveryError; a deleted issue is Gone."""

    flavor: ClassVar[Flavor]
    max_title: ClassVar[int]
    max_text: ClassVar[int]
    max_label: ClassVar[int]
    wont_fix: tuple[str, ...]
    reopen_s: float
    title: str
    labels: tuple[str, ...]
    assignees: tuple[str, ...]
    attach_logs: bool

    def new(self, title: str, text: str, labels: Sequence[str], assignees: Sequence[str]) -> dict[str, Any]:
        """Return the body that makes an issue."""
        ...

    def listed(self, label: str) -> str:
        """Return where people see all issues with a label, or the empty string."""
        ...

    async def create(self, body: Mapping[str, Any]) -> Issue: ...

    async def issue(self, number: str) -> Issue: ...

    async def write(self, number: str, text: str) -> None: ...

    async def move(self, number: str, *, closed: bool) -> None: ...

    async def comment(self, number: str, text: str) -> str:
        """Return the comment's id."""
        ...

    async def attach(self, number: str, file: LogFile, mark: str, label: str) -> str:
        """Add a log so that it is found by `mark`; return what it is known by. Refused: it is left out."""
        ...

    def issues(self, since: datetime, label: str) -> AsyncIterator[Issue]:
        """Yield issues made since then, the newest first; of one label, or of all where it is empty."""
        ...

    def comments(self, number: str, since: datetime) -> AsyncIterator[tuple[str, str]]:
        """Yield ids and texts of the comments made since then."""
        ...

    async def probe(self) -> None: ...

    async def shortcomings(self) -> tuple[str, ...]: ...


class ForgeSender:
    """One project; a kind adds its name."""

    kind: ClassVar[str]
    manner: ClassVar[Manner] = Manner.TICKET
    waits_for_evidence: ClassVar[bool] = True
    in_storm: ClassVar[InStorm] = InStorm.BY_CAUSE
    entry_changes: ClassVar[frozenset[Change]] = ticketing.ENTRY_CHANGES

    def __init__(self, config: DestinationConfig, forge: Forge, renderer: Renderer) -> None:
        self._config = config
        self._forge = forge
        self._renderer = renderer

    def plan(self, wanted: Wanted) -> Step | None:
        """Return the next step; see `ticketing.next_act` and `Sender.plan`."""
        section = self._section(wanted)
        digest = payload_hash(section)
        files = logfiles(wanted, self._config.content) if self._forge.attach_logs else ()
        following = ticketing.next_act(wanted, digest, send_resolved=self._config.send_resolved, files=files)
        if following is None:
            return None
        op = following.act.value
        match following.act:
            case Act.CREATE:
                return Step("root", op, self._new(wanted, section), creates=True, hash=digest)
            case Act.ADOPT:
                return Step("root", op, {}, creates=True)
            case Act.UPDATE:
                return Step("root", op, {"section": section}, hash=digest)
            case Act.COMMENT if following.entry is not None:
                return self._comment(following.entry, wanted)
            case Act.ATTACH if following.file is not None:
                file = following.file
                return Step(file.part, op, {"name": file.name}, creates=True, extra={"kept_in_root": True})
            case _:
                return Step("root", op, {})

    def _new(self, wanted: Wanted, section: str) -> dict[str, Any]:
        """Return a new issue; a plain one has only what is never refused."""
        message, forge = self._renderer.root(wanted, self.kind, self._config.content), self._forge
        title, labels, assignees = message.summary or message.title, [LABEL], list[str]()
        if not wanted.plain:
            known = values(wanted, self.kind, self._config.content)
            title = fill(forge.title, known, _broken) or title
            cause = ticketing.cause_label(wanted, self._config.content)
            asked = [*(fill(each, known, _broken) for each in forge.labels), cause]
            # A comma parts labels; what does not fit would refuse the whole issue.
            labels += [each for name in asked if 0 < len(each := name.replace(",", " ").strip()) <= forge.max_label]
            assignees = [name for each in forge.assignees if (name := fill(each, known, _broken).strip())]
        short = one_line(markdown.defused(one_line(title, forge.max_title)), forge.max_title)
        return forge.new(short or "VM migration failed", section, list(dict.fromkeys(labels)), assignees)

    def _comment(self, entry: Entry, wanted: Wanted) -> Step:
        message = self._renderer.entry(entry, wanted, self.kind, self._config.content)
        mark, label, flavor = ticketing.comment_mark(wanted, entry), wanted.keys.label, self._forge.flavor
        message = fit(message, lambda each: len(markdown.comment(each, mark, label, flavor)), OUR_TEXT)
        body = {"body": markdown.comment(message, mark, label, flavor)}
        return Step(entry.key, Act.COMMENT.value, body, creates=True, hash=payload_hash(body))

    def _section(self, wanted: Wanted) -> str:
        """Return our part of the issue's text."""
        message = self._renderer.root(wanted, self.kind, self._config.content)
        cause = ticketing.cause_label(wanted, self._config.content)
        message = ticketing.dressed(message, wanted, self._config, self._forge.listed(cause) if cause else "")

        def form(candidate: Message) -> str:
            return markdown.section(candidate, wanted.story.id, wanted.keys.label, self._forge.flavor)

        return form(fit(message, lambda each: len(form(each)), OUR_TEXT))

    async def send(self, step: Step, wanted: Wanted) -> Receipt:
        root = wanted.root or {}
        number = str(root.get("id", ""))
        match step.op:
            case Act.CREATE:
                if root.get("state") == "absent" and (landed := await self.find(step, wanted)):
                    return landed  # the create that was lost before its story ended, and began again
                made = await self._forge.create(step.body)
                return {**_receipt(made), "hash": step.hash, "revision": wanted.story.revision}
            case Act.ADOPT:
                return await self.find(step, wanted) or {"state": "absent"}
            case Act.UPDATE:
                await self._rewrite(number, step.body["section"], wanted)
                return {**root, "hash": step.hash}
            case Act.COMMENT:
                return {"id": await self._forge.comment(number, step.body["body"]), "hash": step.hash}
            case Act.ATTACH:
                return await self._attach(number, step.part, wanted)
            case Act.RESOLVE:
                if (await self._forge.issue(number)).open:
                    await self._forge.move(number, closed=True)
                return {**root, "state": "done"}
            case Act.REOPEN | Act.LOOK:
                return await self._reopen(root, wanted)
            case _:
                raise ValueError(f"unknown step {step.op!r}")

    async def _rewrite(self, number: str, section: str, wanted: Wanted) -> None:
        """Rewrite our section; without its marks, or without room for it, the text is people's alone."""
        text = (await self._forge.issue(number)).text
        spliced = markdown.splice(text, section, wanted.keys.label)
        if spliced is not None and spliced != text and len(spliced) <= self._forge.max_text:
            await self._forge.write(number, spliced)

    async def _reopen(self, root: Receipt, wanted: Wanted) -> Receipt:
        issue, revision = await self._forge.issue(str(root["id"])), wanted.story.revision
        if issue.open:
            return ticketing.still_open(root, revision)
        verdict = ticketing.judge(
            issue.resolution,
            issue.closed,
            wanted.story.updated,
            wont_fix=self._forge.wont_fix,
            reopen_s=self._forge.reopen_s,
        )
        if verdict is Verdict.REOPEN:
            await self._forge.move(issue.id, closed=False)
        return ticketing.judged(root, verdict, revision)

    async def _attach(self, number: str, part: str, wanted: Wanted) -> Receipt:
        file = next((each for each in logfiles(wanted, self._config.content) if each.part == part), None)
        if file is None:  # the story has moved on to another run
            return ticketing.kept_file(part, "")
        if wanted.tries >= FILE_TRIES:
            raise Refused(f"the log {file.name} is left out after {wanted.tries} tries")
        made = await self._forge.attach(number, file, _file_mark(part), wanted.keys.label)
        return ticketing.kept_file(part, made)

    async def find(self, step: Step, wanted: Wanted) -> Receipt | None:
        """Look for our mark: in the newest issues, or in the newest comments of our issue."""
        root, label = wanted.root or {}, wanted.keys.label
        since = wanted.story.opened - CLOCKS_DIFFER
        if step.part == "root":
            for narrowed in (LABEL, ""):
                async for issue in self._forge.issues(since, narrowed):
                    if markdown.is_ours(issue.text, label) and issue.id != str(root.get("id")):
                        return {**_receipt(issue), "hash": "", "revision": 0}
            return None
        entry = next((each for each in wanted.entries if each.key == step.part), None)
        if entry is None and not step.kept_in_root:
            return None
        mark = markdown.hidden(_file_mark(step.part) if entry is None else ticketing.comment_mark(wanted, entry), label)
        async for made, text in self._forge.comments(str(root["id"]), since):
            if mark in text:
                return {"id": made, "hash": step.hash} if entry else ticketing.kept_file(step.part, made)
        return None

    def link(self, root: Receipt) -> str:
        return str(root.get("url", ""))

    async def probe(self) -> None:
        await self._forge.probe()

    async def shortcomings(self) -> tuple[str, ...]:
        return await self._forge.shortcomings()


def _receipt(issue: Issue) -> dict[str, Any]:
    return {"id": issue.id, "url": issue.url, "state": "open" if issue.open else "done"}


def _file_mark(part: str) -> str:
    return f"log {part}"


def _broken(source: str, why: str) -> None:
    log.warning("ticket.field_left_out", template=source, why=why)
