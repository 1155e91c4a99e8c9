"""What all ticket systems have in common: the next step, whether a closed ticket may be reopened, and our section.

A ticket belongs to people. Ours are its first text, a marked section of it, comments, and the ways to "done" and back.
The root receipt of a ticket:

| Key | Meaning |
| --- | --- |
| `id` | the vendor's id; absent while nobody knows whether a create landed |
| `state` | `open` or `done` as far as we know, `declined` (a person closed it for good), `absent` (was not there) |
| `hash` | of our section as it was written last |
| `revision` | of the story that the first text told: older entries are told already |
| `looked` | revision of the last recurrence for which it was looked whether a person had closed it |
| `files`, `skipped` | part of a log file → id of the attachment, or why it was refused |
| `gone` | deleted by a person, or too old to reopen: only an audible change makes a new one |
| `url` | where a person sees it |
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from receiver.config.model import DestinationConfig
from receiver.destinations.logfiles import LogFile
from receiver.errors import DestinationRefused, Refused
from receiver.model import Change, Entry, Link, Receipt, Wanted
from receiver.rendering import Message, Small, Span

ENTRY_CHANGES = frozenset(
    {Change.RERUN, Change.WORSE, Change.FAILED_AGAIN, Change.REOPENED, Change.RESOLVED, Change.MOVED}
)
"""What is worth a comment."""
RECURRENCES = frozenset({Change.FAILED_AGAIN, Change.REOPENED})
"""What reopens a ticket that a person closed."""

START = "┌ written by mtv-receiver, rewritten on change; write below the line"
STARTS_WITH = "┌ written by mtv-receiver"
"""What our section is found again by; later releases may word the rest differently."""
ENDS_WITH = "└ story "
"""A ticket may pass from one story to another, so our section ends at the mark of whichever wrote it last."""


_END = re.compile(re.escape(ENDS_WITH) + r"[0-9A-Z]{3,26}(?![0-9A-Za-z])")
_DRESS = re.compile(r"^(?:> ?|[*_]|<!-- *)*")


class Act(StrEnum):
    """What a ticket needs next."""

    CREATE = "create"
    ADOPT = "adopt"
    """Look for a create that was never answered: what landed must end with its story."""
    REOPEN = "reopen"
    LOOK = "look"
    """It failed again: reopen it where a person closed it meanwhile (see `judge`), else do nothing."""
    UPDATE = "update"
    COMMENT = "comment"
    ATTACH = "attach"
    RESOLVE = "resolve"


@dataclass(frozen=True, slots=True)
class Next:
    """The next step: `entry` of a comment, `file` of an attachment."""

    act: Act
    entry: Entry | None = None
    file: LogFile | None = None


def next_act(wanted: Wanted, section_hash: str, *, send_resolved: bool, files: Sequence[LogFile] = ()) -> Next | None:
    """Return what to do next with the ticket, or None when it shows everything. Pure.

    `section_hash` is of our section as it should be, `files` are the logs to attach (see `logfiles`).
    """
    root = wanted.root or {}
    if root.get("gone"):
        return Next(Act.CREATE) if wanted.firing and wanted.audible else None
    if not root.get("id"):
        if wanted.firing:
            return Next(Act.CREATE)
        # Absent: it was not there when its story ended. A lost create may have landed since.
        started = wanted.root is not None and (root.get("state") != "absent" or wanted.confirm)
        return Next(Act.ADOPT) if started else None
    if wanted.firing and wanted.audible and root.get("state") == "done":
        return Next(Act.REOPEN)
    if wanted.firing and _recurs(wanted, root):
        return Next(Act.LOOK)
    if section_hash != root.get("hash") or wanted.confirm:
        return Next(Act.UPDATE)
    if entry := next_entry(wanted, root, send_resolved=send_resolved):
        return Next(Act.COMMENT, entry)
    settled = {*root.get("files", {}), *root.get("skipped", {})}
    if file := next((each for each in files if each.part not in settled), None):
        return Next(Act.ATTACH, file=file)
    # What was moved to somebody else is not done: its ticket says so in a comment, and is people's from there on.
    if not wanted.firing and not wanted.moved and root.get("state") == "open" and send_resolved:
        return Next(Act.RESOLVE)
    return None


def next_entry(wanted: Wanted, root: Receipt, *, send_resolved: bool) -> Entry | None:
    """Return the oldest entry that is to become a comment and is not told by the ticket's first text."""
    for entry in wanted.entries:
        told_by_root = entry.revision <= int(root.get("revision", 0))
        muted = entry.change is Change.RESOLVED and not send_resolved
        if entry.change in ENTRY_CHANGES and not told_by_root and not muted:
            return entry
    return None


def _recurs(wanted: Wanted, root: Receipt) -> bool:
    seen = max(int(root.get("looked", 0)), int(root.get("revision", 0)))
    return any(entry.change in RECURRENCES and entry.revision > seen for entry in wanted.entries)


# --- what people decided --------------------------------------------------------------------------------------------


class Verdict(StrEnum):
    """What becomes of a closed ticket whose story goes on."""

    REOPEN = "reopen"
    DECLINED = "declined"
    """Closed with a resolution that says "never mind": it stays closed, comments are still added."""
    TOO_OLD = "too old"
    """Left alone; a new one is made."""


def judge(
    resolution: str, closed: datetime | None, now: datetime, *, wont_fix: Sequence[str], reopen_s: float
) -> Verdict:
    """Say what becomes of a closed ticket; `resolution` and `closed` are empty and None where not known."""
    if resolution and resolution.casefold() in {each.casefold() for each in wont_fix}:
        return Verdict.DECLINED
    if closed is not None and (now - closed).total_seconds() > reopen_s:
        return Verdict.TOO_OLD
    return Verdict.REOPEN


def judged(root: Receipt, verdict: Verdict, revision: int) -> Receipt:
    """Return the root receipt after a verdict was carried out; `revision` is the story's."""
    match verdict:
        case Verdict.REOPEN:
            return {**root, "state": "open", "looked": revision}
        case Verdict.DECLINED:
            return {**root, "state": "declined", "looked": revision}
        case Verdict.TOO_OLD:
            return {**root, "gone": True}


def still_open(root: Receipt, revision: int) -> Receipt:
    """Return the root receipt where the ticket turned out to be open."""
    return {**root, "state": "open", "looked": revision}


# --- our section ----------------------------------------------------------------------------------------------------


def end_mark(story: str) -> str:
    """Return the text of the line that ends our section."""
    return f"{ENDS_WITH}{story}"


def end_of(texts: Sequence[str], start: int, story: str) -> int | None:
    """Return which of these lines ends the section that begins at `start`: this story's mark, else any story's."""
    marks = [at for at, text in enumerate(texts) if at > start and _END.match(text)]
    return next((at for at in marks if texts[at].startswith(end_mark(story))), marks[0] if marks else None)


def splice(description: object, ours: str, story: str, *, rule: str = "") -> str | None:
    """Return a description with our section replaced and people's text kept; None when our marks are gone.

    `ours` is the whole section with its marks, one on a line each; `rule` is the line that follows the end mark.
    Marks may be dressed up as `_┌ …_`, `> ┌ …` or `<!-- … -->`.
    """
    if not isinstance(description, str):
        return None
    lines = description.replace("\r\n", "\n").split("\n")
    bare = [_DRESS.sub("", line) for line in lines]
    start = next((at for at, line in enumerate(bare) if line.startswith(STARTS_WITH)), None)
    end = None if start is None else end_of(bare, start, story)
    if start is None or end is None:
        return None
    if rule and end + 1 < len(lines) and lines[end + 1].strip() == rule:
        end += 1
    return "\n".join([*lines[:start], ours, *lines[end + 1 :]])


def comment_mark(wanted: Wanted, entry: Entry) -> str:
    """Return the last line of a comment, by which it is found again; the revision tells apart entries of one key."""
    return f"story {wanted.story.id} · {entry.key} · {entry.revision}"


# --- what tickets say of others -------------------------------------------------------------------------------------

_WHERE = {"slack": "Slack thread", "pagerduty": "PagerDuty"}


def cause_label(wanted: Wanted, content: str) -> str:
    """Return the recognised cause as a label without blanks, by which tickets of one cause are found; else ""."""
    evidence, digest = wanted.story.evidence, wanted.story.digest
    found = evidence.cause.id if evidence and evidence.cause else ""
    if digest is not None and any(one.id == digest.topic for one in digest.causes):
        found = digest.topic
    return "" if content == "minimal" else re.sub(r"\s+", "-", found)


def told_links(wanted: Wanted, identity: str, content: str) -> tuple[Link, ...]:
    """Return links to the messages and tickets of this story at the other destinations."""
    if content == "minimal":
        return ()
    return tuple(
        Link(_WHERE.get(each.kind, each.link.text or each.kind), each.link.url)
        for each in wanted.story.told
        if each.link is not None and each.destination != identity and each.link.url.startswith(("https://", "http://"))
    )


def dressed(message: Message, wanted: Wanted, config: DestinationConfig, related: str = "") -> Message:
    """Return a ticket's text with the links that only tickets have, and the ticket that it follows.

    `related` is an address at which all tickets of the same cause are listed, or empty.
    """
    links = told_links(wanted, config.identity, config.content)
    links += (Link("Other tickets of this cause", related),) if related else ()
    blocks = message.blocks
    if before := wanted.keys.follows:
        url = before if before.startswith(("https://", "http://")) else ""
        blocks += (Small((Span("Follows the ticket of an earlier failure: "), Span(before, "", url))),)
    return replace(message, blocks=blocks, links=(*message.links, *links))


def kept_file(part: str, made: str) -> Receipt:
    """Return what the step of a log file adds to the root receipt."""
    return {"files": {part: made}}


async def attached(upload: Callable[[str, str, bytes], Awaitable[str]], ticket: str, file: LogFile) -> Receipt:
    """Upload a log once, and return what that adds to the root receipt; where it is refused the ticket stays without.

    `upload` takes the ticket's id, a name and the content, and returns the attachment's id.
    """
    try:
        made = await upload(ticket, file.name, file.text.encode("utf-8", "replace"))
    except DestinationRefused as error:
        if error.status == 401:
            raise
        raise Refused(f"not attached: {error.reason}", status=error.status) from None
    return kept_file(file.part, made)
