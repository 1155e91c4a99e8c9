"""A message in ServiceNow's form: plain text, in which journals know one tag that we must not let through."""

from __future__ import annotations

import re

from receiver import fitting
from receiver.destinations.ticketing import START, end_mark
from receiver.rendering import Block, Code, Message, Paragraph, Small, Steps, Table

_CODE_TAG = re.compile(r"\[(?=/?code\])", re.IGNORECASE)


def section(message: Message, story: str) -> str:
    """Return our part of a description, between its two marks."""
    return "\n".join([START, "", body(message), "", end_mark(story)])


def note(message: Message, mark: str) -> str:
    """Return a journal entry: headline, message, and the mark by which it is found again."""
    head = f"{message.mark} {message.title}" if message.mark else message.title
    return "\n\n".join(part for part in (escape(fitting.one_line(head, 255)), body(message), mark) if part)


def body(message: Message) -> str:
    """Return a message's blocks and links."""
    parts = [escape(_block(block)).strip("\n") for block in message.blocks]
    parts.append("\n".join(f"{escape(link.text)}: {link.url}" for link in message.links))
    return "\n\n".join(part for part in parts if part.strip())


def escape(text: str) -> str:
    """Return `text` harmless: between [code] and [/code] a journal shows HTML, so neither may begin in a value."""
    return _CODE_TAG.sub("[\u2060", fitting.clean(text))


def _block(block: Block) -> str:
    match block:
        case Paragraph(text) | Small(text):
            return fitting.plain(text)
        case Steps(items, numbered):
            lines = [fitting.plain(item).replace("\n", " ") for item in items]
            return "\n".join(f"{f'{at}.' if numbered else '-'} {line}" for at, line in enumerate(lines, 1))
        case Code(lines, caption):
            if not any(line.strip() for line in lines):
                return ""
            return "\n".join([*([f"{caption}:"] if caption.strip() else []), *(f"    {line}" for line in lines)])
        case Table(header, rows):
            # Columns would not be aligned: these fields are shown in a proportional font.
            lines = [" · ".join(cell for cell in row if cell.strip()) for row in (header, *rows)]
            return "\n".join(line for line in lines if line) if rows else ""
