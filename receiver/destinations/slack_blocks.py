"""A message in Slack's form: Block Kit within its limits, and texts from a cluster that cannot page anybody.

No coloured attachment: Slack calls attachments secondary and folds long ones behind "Show more"; the state stands as an
emoji in the header. Links are text where nobody takes presses: a click on a link button is also posted to the app, and
Slack shows a warning beside it where the app does not answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from receiver import fitting
from receiver.model import Link
from receiver.rendering import Block, Code, Message, Paragraph, Small, Span, Steps, Table, Text

SlackBlock = dict[str, Any]
"""A block as the API takes it. The SDK's models make the same, a hundred times as slowly; tests compare with them."""

MAX_BLOCKS = 50
MAX_SECTION = 3_000
MAX_HEADER = 150
MAX_JSON = 8_000
"""Slack refuses about 12 to 13 thousand characters over all blocks (`msg_blocks_too_long`, not published)."""
MAX_TEXT = 3_900
"""chat.update refuses a text over 4,000 characters."""
MAX_PUSH = 300

# Small print can become several blocks; header, links and the "left out" note need room as well.
_MOST_PARTS = 40
_PARTIAL_ENTITY = re.compile(r"&[a-z]{0,3}$")
_WEB = re.compile(r"(?:https?://|mailto:)[^\s<>|]+")


def escape(text: str) -> str:
    """Replace the three characters that could start a mention or link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def content(
    message: Message, *, root: bool, plain: bool, mention: str = "", buttons: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Return what the reader sees, and nothing else: its hash decides whether something is sent.

    `mention`, in Slack's markup, ends the text and stands in the headline of a reply, or below a root's blocks.
    """
    said = f" {mention}" if mention else ""
    if plain:
        return {"text": plain_text(message) + said, "blocks": []}
    blocks = root_blocks(message, mention, buttons) if root else reply_blocks(message, mention)
    return {"text": push(message) + said, "blocks": blocks}


def mention_at(blocks: Sequence[Mapping[str, Any]], *, root: bool) -> int:
    """Return where `content` has put the mention: the index of its section."""
    return 0 if not root else len(blocks) - (2 if blocks[-1]["type"] == "actions" else 1)


def push(message: Message) -> str:
    """Return the top-level text: what a phone shows on its lock screen and a screen reader reads."""
    return cut_escaped(escape(fitting.one_line(_marked(message.mark, message.push), MAX_PUSH)), MAX_TEXT)


def root_blocks(message: Message, mention: str = "", buttons: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
    """Return the blocks of a message of its own. A link that is a button is no link in the text as well."""
    urls = {button.get("url") for button in buttons}
    if buttons:
        message = replace(message, links=tuple(link for link in message.links if link.url not in urls))
    tail = [_section(mention)] if mention else []
    tail += [{"type": "actions", "elements": [dict(each) for each in buttons]}] if buttons else []
    return _fitted(message, _header, tail)


def reply_blocks(message: Message, mention: str = "") -> list[dict[str, Any]]:
    """Return the blocks of a reply: a bold line instead of a header, which would shout in a thread."""
    said = f" {mention}" if mention else ""
    return _fitted(message, lambda title: _section(f"*{escape(title).replace('*', '∗')}*{said}"))


def plain_text(message: Message) -> str:
    """Return the whole message as one text without blocks, for when Slack refused the blocks."""
    lines = [_marked(message.mark, message.title), *(line for block in message.blocks for line in _plain_lines(block))]
    lines += [f"{link.text}: {link.url}" for link in message.links]
    text = "\n".join(fitting.clean(line) for line in lines if line)
    return cut_escaped(escape(text), MAX_TEXT)


def cut_escaped(text: str, most: int) -> str:
    """Cut a text that is escaped already, never inside an entity."""
    return text if len(text) <= most else _PARTIAL_ENTITY.sub("", text[: most - 1]) + "…"


def mrkdwn(text: Text) -> str:
    """Return running text in Slack's markup."""
    return "".join(_span(each) for each in text)


def _marked(mark: str, text: str) -> str:
    return text if not mark or text.startswith(mark) else f"{mark} {text}"


def _fitted(
    message: Message, headline: Callable[[str], SlackBlock], tail: Sequence[dict[str, Any]] = ()
) -> list[dict[str, Any]]:
    title = fitting.one_line(_marked(message.mark, message.title), MAX_HEADER) or "Migration"

    last: list[tuple[Message, list[dict[str, Any]]]] = []

    def build(candidate: Message) -> list[dict[str, Any]]:
        if last and last[0][0] is candidate:  # measured a moment ago
            return last[0][1]
        made: list[SlackBlock] = [headline(title)]
        for block in candidate.blocks:
            made += _blocks(block)
        if links := _links(candidate.links):
            made.append(_section(links))
        last[:] = [(candidate, [*made[: MAX_BLOCKS - len(tail)], *tail])]
        return last[0][1]

    return build(fitting.fit(message, lambda each: fitting.json_chars(build(each)), MAX_JSON, most_blocks=_MOST_PARTS))


def _blocks(block: Block) -> Iterable[SlackBlock]:
    match block:
        case Paragraph(text):
            return [_section(_fitting(text))] if fitting.plain(text).strip() else []
        case Steps(items, numbered):
            lines = [f"{f'{at}.' if numbered else '•'} {_fitting(item)}" for at, item in enumerate(items, 1)]
            return [_section(text) for text in _packed(lines)]
        case Code(lines, caption):
            head = f"*{escape(caption).replace('*', '∗')}*\n" if caption else ""
            return [_section(_fenced(lines, head))] if any(line.strip() for line in lines) else []
        case Table(header, rows):
            return [_section(_fenced(fitting.columns(header, rows), ""))] if rows else []
        case Small(text):
            if not fitting.plain(text).strip():
                return []
            return [{"type": "context", "elements": [_verbatim(_fitting(text))]}]


def _section(text: str) -> SlackBlock:
    return {"type": "section", "text": _verbatim(text)}


def _header(title: str) -> SlackBlock:
    return {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": True}}


def _verbatim(text: str) -> dict[str, Any]:
    # Slack must not make links or mentions of names that happen to be in a cluster's text.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _fitting(text: Text) -> str:
    marked = mrkdwn(text)
    return marked if len(marked) <= MAX_SECTION - 10 else cut_escaped(escape(fitting.plain(text)), MAX_SECTION - 10)


def _packed(lines: Sequence[str]) -> list[str]:
    """Join lines into texts that a section takes."""
    texts: list[str] = []
    for line in lines:
        line = cut_escaped(line, MAX_SECTION)
        if texts and len(texts[-1]) + len(line) < MAX_SECTION:
            texts[-1] += f"\n{line}"
        else:
            texts.append(line)
    return texts


def _fenced(lines: Sequence[str], head: str) -> str:
    """Return a code block that fits into one section, with a mark where lines are left out."""
    room = MAX_SECTION - len(head) - len("```\n\n```") - len("\n… 00,000 lines left out")
    kept: list[str] = []
    for at, line in enumerate(lines):
        safe = cut_escaped(escape(_no_backticks(line)), 1_000)
        if sum(map(len, kept)) + len(kept) + len(safe) > room:
            kept.append(f"… {len(lines) - at:,} lines left out")
            break
        kept.append(safe)
    return f"{head}```\n" + "\n".join(kept) + "\n```"


def _no_backticks(text: str) -> str:
    # A backtick cannot be escaped inside code: it would end it.
    return text.replace("`", "ˋ")


def _span(span: Span) -> str:
    text = escape(span.text)
    if span.url and _WEB.fullmatch(span.url):
        label = text.replace("|", "¦").replace("\n", " ").strip() or escape(span.url)
        return f"<{escape(span.url)}|{label}>"
    inner = text.strip()
    if not span.style or not inner or "\n" in inner:
        return text
    # Slack sees a style only when its marks touch the words, and cannot show its own mark inside them.
    mark, instead = {"b": ("*", "∗"), "i": ("_", "＿"), "c": ("`", "ˋ")}.get(span.style, ("", ""))
    if not mark:
        return text
    before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    return f"{before}{mark}{inner.replace(mark, instead)}{mark}{after}"


def _links(links: Sequence[Link]) -> str:
    return cut_links(
        [
            f"<{escape(each.url)}|{escape(fitting.one_line(each.text, 200)).replace('|', '¦')}>"
            for each in links
            if _WEB.fullmatch(each.url)
        ]
    )


def cut_links(links: Sequence[str]) -> str:
    """Join links until a section is full; a cut link would be no link."""
    text = ""
    for link in links:
        if len(text) + len(link) + 3 > MAX_SECTION:
            break
        text += f" · {link}" if text else link
    return text


def _plain_lines(block: Block) -> Sequence[str]:
    match block:
        case Paragraph(text) | Small(text):
            return [fitting.plain(text)]
        case Steps(items, numbered):
            return [f"{f'{at}.' if numbered else '•'} {fitting.plain(item)}" for at, item in enumerate(items, 1)]
        case Code(lines, caption):
            return [caption, *lines]
        case Table(header, rows):
            return fitting.columns(header, rows)
