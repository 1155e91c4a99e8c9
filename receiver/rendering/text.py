"""A message as plain text: for terminals, logs and destinations that know nothing better."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from receiver.rendering import Block, Code, Message, Paragraph, Small, Steps, Table, Text

_MIN_COLUMN = 6


def message_text(message: Message, width: int = 100) -> str:
    """Return the whole message: headline, blocks, links. Running text and tables are wrapped at `width` columns."""
    parts = [f"{message.mark} {message.title}".strip(), blocks_text(message.blocks, width)]
    parts += ["\n".join(f"{link.text}: {link.url}" for link in message.links)]
    return "\n\n".join(part for part in parts if part)


def blocks_text(blocks: Sequence[Block], width: int = 100) -> str:
    """Return blocks as paragraphs of plain text, one blank line between them."""
    return "\n\n".join("\n".join(_lines(block, width)) for block in blocks)


def spans_text(text: Text) -> str:
    """Return running text without its styles; a link is followed by its address."""
    return "".join(f"{span.text} ({span.url})" if span.url not in ("", span.text) else span.text for span in text)


def table_lines(table: Table, width: int = 100) -> list[str]:
    """Return a table as aligned lines; the widest columns are wrapped until it fits, or nothing is left to wrap."""
    rows = [table.header, *table.rows]
    widths = [max(len(row[at]) for row in rows if at < len(row)) for at in range(len(table.header))]
    spare = width - 2 * max(len(widths) - 1, 0)
    while sum(widths) > spare and max(widths, default=0) > _MIN_COLUMN:
        widest = widths.index(max(widths))
        widths[widest] = max(widths[widest] - (sum(widths) - spare), _second(widths), _MIN_COLUMN)
    lines: list[str] = []
    for row in rows:
        cells = [_wrap(cell, size) for cell, size in zip(row, widths, strict=False)]
        for at in range(max((len(cell) for cell in cells), default=0)):
            parts = [
                (cell[at] if at < len(cell) else "").ljust(size) for cell, size in zip(cells, widths, strict=False)
            ]
            lines.append("  ".join(parts).rstrip())
    return lines


def _second(widths: Sequence[int]) -> int:
    """The widest column is cut to the next widest, and at least by one."""
    ordered = sorted(widths)
    return min(ordered[-2] if len(ordered) > 1 else 0, ordered[-1] - 1)


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 1), break_on_hyphens=False) or [""]


def _lines(block: Block, width: int) -> list[str]:
    match block:
        case Paragraph(text) | Small(text):
            return textwrap.wrap(spans_text(text), width, break_long_words=False, break_on_hyphens=False) or [""]
        case Steps(items, numbered):
            return [
                line for at, item in enumerate(items, 1) for line in _item(f"{at}." if numbered else "-", item, width)
            ]
        case Code(lines, caption):
            return [*([f"{caption}:"] if caption else []), *(f"    {line}" for line in lines)]
        case Table():
            return table_lines(block, width)


def _item(lead: str, item: Text, width: int) -> list[str]:
    begin = f"{lead} "
    return textwrap.wrap(
        spans_text(item),
        width,
        initial_indent=begin,
        subsequent_indent=" " * len(begin),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [begin.rstrip()]
