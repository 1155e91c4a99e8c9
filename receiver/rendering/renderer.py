"""Stories into messages through templates; what breaks becomes the plain message, and somebody hears of it."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from receiver.limits import truncate
from receiver.model import Change, Entry, Link, Story, Wanted
from receiver.rendering import Block, Message, Paragraph
from receiver.rendering.build import build
from receiver.rendering.context import Context
from receiver.rendering.markup import clean, line, parse, safe_url
from receiver.rendering.plain import plain
from receiver.rendering.templates import ENTRIES, Templates
from receiver.rendering.text import spans_text
from receiver.rendering.view import mark

MAX_TITLE = 146
"""Slack's header takes 150 characters, mark and blank included."""
MAX_PUSH = 110
MAX_SUMMARY = 200
"""PagerDuty takes 1,024 and Jira 255; a phone shows about 100."""
MAX_LINKS = 5
MAX_URL = 1_500


RECENT = 64
"""Messages kept for the second question."""


class StoryRenderer:
    """Implements `receiver.rendering.Renderer`. Never raises; `on_broken` gets one sentence per broken rendering."""

    def __init__(self, templates: Templates, on_broken: Callable[[str], None]) -> None:
        self._templates = templates
        self._on_broken = on_broken
        self._in_folders: dict[Path, StoryRenderer] = {}
        self._recent: OrderedDict[tuple[object, ...], tuple[Story, Message]] = OrderedDict()

    def warm_up(self) -> Iterator[None]:
        yield from self._templates.compile_all()
        for other in tuple(self._in_folders.values()):
            yield from other.warm_up()

    def in_folder(self, folder: Path | None) -> StoryRenderer:
        if folder is None:
            return self
        if folder not in self._in_folders:
            self._in_folders[folder] = StoryRenderer(self._templates.below(folder), self._on_broken)
        return self._in_folders[folder]

    def root(self, wanted: Wanted, kind: str, content: str = "full") -> Message:
        if wanted.plain:
            return _marked(plain(wanted, kind, content), wanted.story)
        # A delivery asks once for what to send and once more whether anything is left: the same story, the same words.
        key = (
            id(wanted.story), kind, content, wanted.firing, wanted.reasons, wanted.fallback_for, wanted.late_s,
            wanted.external_url, wanted.moved,
        )  # fmt: skip
        if key in self._recent:
            return self._recent[key][1]
        message = self._root(wanted, kind, content)
        self._recent[key] = (wanted.story, message)  # the story is held, so that its id stays its own
        while len(self._recent) > RECENT:
            self._recent.popitem(last=False)
        return message

    def _root(self, wanted: Wanted, kind: str, content: str) -> Message:
        try:
            context = build(wanted, kind, content)
            folder = context.message
            title, push, summary = (
                line(self._templates.render(f"{folder}/{part}", context)) for part in ("title", "push", "summary")
            )
            blocks = parse(self._templates.render(f"{folder}/body", context))
            message = _message(wanted, title, push, blocks, _links(wanted, context), summary)
        except Exception as error:  # nobody is never told: whatever broke, the plain message goes out
            self._broken(f"message for {kind}", error)
            message = plain(wanted, kind, content)
        return _marked(message, wanted.story)

    def entry(self, entry: Entry, wanted: Wanted, kind: str, content: str = "full") -> Message:
        if wanted.plain or entry.plain:
            return _marked(plain(wanted, kind, content, entry), wanted.story)
        try:
            context = build(wanted, kind, content, entry)
            reminds = entry.change is Change.REMINDED
            name = "digest" if wanted.story.digest and not reminds else entry.change.value
            name = name if name in ENTRIES else "default"
            blocks = parse(self._templates.render(f"entry/{name}", context))
            head = blocks[0] if blocks else None
            title = spans_text(head.text) if isinstance(head, Paragraph) else context.text or entry.change.value
            rest = blocks[1:] if isinstance(head, Paragraph) else blocks
            message = _message(wanted, title, title, rest, (), "")
        except Exception as error:
            self._broken(f"entry {entry.change.value} for {kind}", error)
            message = plain(wanted, kind, content, entry)
        return _marked(message, wanted.story)

    def _broken(self, what: str, error: Exception) -> None:
        # Our own bookkeeping must not cost a page.
        with contextlib.suppress(Exception):
            self._on_broken(f"{what}: {error}")


def _message(
    wanted: Wanted, title: str, push: str, blocks: tuple[Block, ...], links: tuple[Link, ...], summary: str
) -> Message:
    if not title:
        raise ValueError("the template's headline is empty")
    emoji, color = mark(wanted)
    return Message(
        push=truncate(push or title, MAX_PUSH),
        title=truncate(title, MAX_TITLE),
        mark=emoji,
        color=color,
        blocks=blocks,
        links=links,
        summary=truncate(summary, MAX_SUMMARY),
    )


def _marked(message: Message, story: Story) -> Message:
    """A test says so wherever it is seen."""
    if not story.test:
        return message
    return replace(
        message,
        push=truncate(f"[TEST] {message.push}", MAX_PUSH),
        title=truncate(f"[TEST] {message.title}", MAX_TITLE),
        summary=truncate(f"[TEST] {message.summary}", MAX_SUMMARY) if message.summary else "",
    )


def _links(wanted: Wanted, context: Context) -> tuple[Link, ...]:
    """Links that are known to exist: the story, what the evidence found, the runbook and source of the alert."""
    found: list[Link] = [Link("Details", context.url)] if context.url else []
    if context.content == "minimal":
        return tuple(found)
    story = wanted.story
    # Links found for another run's reason would mislead.
    shown = story.evidence is not None and not (context.stale and context.message in {"firing", "alert-gone"})
    evidence_links: Iterable[Link] = story.evidence.links if story.evidence and shown else ()
    found += [Link(clean(link.text), link.url) for link in evidence_links]
    newest = sorted(story.alerts, key=lambda one: (one.role == "failure", one.alert.firing, one.seq))
    if newest:
        alert = newest[-1].alert
        if not any(link.text == "Runbook" for link in found):  # an override has said which one it is
            found += [Link("Runbook", alert.annotations.get("runbook_url", ""))]
        if not context.is_plan and context.content == "full":
            found += [Link("Alert source", alert.generator_url)]
    if shown and story.evidence and story.evidence.cause and story.evidence.cause.link:
        found.append(Link("About this error", story.evidence.cause.link))
    once = {link.url: link for link in reversed(found) if len(link.url) <= MAX_URL and safe_url(link.url)}
    return tuple(link for link in found if once.get(link.url) is link)[:MAX_LINKS]
