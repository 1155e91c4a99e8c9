"""A message in Jira Data Center's form: wiki markup, in which values from a cluster are only text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from receiver import fitting
from receiver.destinations import ticketing
from receiver.destinations.ticketing import START, end_mark
from receiver.rendering import Block, Code, Message, Paragraph, Small, Span, Steps, Table, Text

_SPECIAL = re.compile(r"[{}\[\]|!*_^~+]|(?<!\w)-|-(?!\w)|^#+|^(?=h[1-6]\.|bq\.)|\((?=[a-z/!?+*-]{1,3}\))", re.MULTILINE)


_MACRO = re.compile(r"[A-Za-z]+(?::.*)?")


def section(message: Message, story: str) -> str:
    """Return our part of a description, between its two marks."""
    return "\n".join([START, "", body(message), "", end_mark(story), "----"])


def comment(message: Message, mark: str) -> str:
    """Return a comment: bold headline, message, and the mark by which it is found again."""
    head = f"{message.mark} {message.title}" if message.mark else message.title
    return "\n\n".join([f"*{escape(fitting.one_line(head, 255))}*", body(message), f"_{escape(mark)}_"])


def body(message: Message) -> str:
    """Return a message's blocks and links."""
    parts = [_block(block) for block in message.blocks]
    if message.links:
        parts.append(" · ".join(_span(Span(link.text, "", link.url)) for link in message.links))
    return "\n\n".join(part for part in parts if part.strip())


def splice(description: object, ours: str, story: str) -> str | None:
    """Return the description with our section replaced, people's text kept; None when our marks are gone."""
    return ticketing.splice(description, ours, story, rule="----")


def escape(text: str) -> str:
    """Return `text` so that no markup, macro or mention starts in it."""
    # A backslash before a backslash would be a line break, so it is written as an entity.
    text = fitting.clean(text).replace("&", "&amp;").replace("\\", "&#92;")
    return _SPECIAL.sub(lambda found: f"\\{found[0]}" if found[0] else "\u2060", text)


def _block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return _text(text)
        case Small(text):
            return "\n".join(f"_{line}_" if line.strip() else "" for line in _text(text).split("\n"))
        case Steps(items, numbered):
            return "\n".join(f"{'#' if numbered else '*'} {_text(item).replace(chr(10), ' ')}" for item in items)
        case Code(lines, caption):
            if not any(line.strip() for line in lines):
                return ""
            joined = "\n".join(lines).replace("{noformat}", "{ noformat}")
            head = f"*{escape(caption)}*\n" if caption.strip() else ""
            return f"{head}{{noformat}}\n{joined}\n{{noformat}}"
        case Table(header, rows):
            return "\n".join([*([_row(header, "||")] if any(header) else []), *(_row(row, "|") for row in rows)])


def _row(cells: Sequence[str], bar: str) -> str:
    return bar + bar.join(escape(fitting.one_line(cell, fitting.CELL_CHARS)) or " " for cell in cells) + bar


def _text(text: Text) -> str:
    return "".join(_span(each) for each in text)


def _span(span: Span) -> str:
    text = escape(span.text)
    if span.url.startswith(("https://", "http://", "mailto:")) and not re.search(r"[\s|\]]", span.url):
        return f"[{text.replace(chr(10), ' ').strip() or span.url}|{span.url}]"
    inner = text.strip()
    if not span.style or not inner or "\n" in inner:
        return text
    if span.style == "c" and _MACRO.fullmatch(inner):
        inner = f"\u2060{inner}"  # {{code}} would start the macro {code}
    before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    first, last = {"b": ("*", "*"), "i": ("_", "_"), "c": ("{{", "}}")}.get(span.style, ("", ""))
    return f"{before}{first}{inner}{last}{after}"
