"""Cutting texts and messages to what a destination takes: logs first, always with a mark that says so."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from receiver.limits import truncate
from receiver.rendering import Block, Code, Message, Paragraph, Small, Span, Steps, Table, Text

CODE_LINE_CHARS = 400
"""A log line longer than this is one nobody reads to its end, such as a whole JSON document."""
ITEM_CHARS = 1_000
CELL_CHARS = 200

# Below these a part says nothing any more, so whole parts are left out instead.
_FLOOR = {Code: 4, Table: 3, Steps: 3, Paragraph: 200, Small: 120}
# Above these nothing is kept in any case; it only keeps the work small.
_MOST = {Code: 300, Table: 300, Steps: 50, Paragraph: 6_000, Small: 2_000}
_LINE_BREAKS = re.compile(r"\s+")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def payload_hash(body: Any) -> str:
    """Return a short hash of a JSON-able payload, the same for equal payloads."""
    text = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def json_chars(body: Any) -> int:
    """Return the number of characters of a payload's compact JSON."""
    return len(json.dumps(body, ensure_ascii=False, separators=(",", ":")))


def clean(text: str) -> str:
    """Return `text` without control and text-direction characters: some services refuse them, none shows them."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).encode("utf-8", "replace").decode()


def one_line(text: str, most: int) -> str:
    """Return `text` on one line of at most `most` characters."""
    return truncate(_LINE_BREAKS.sub(" ", clean(text)).strip(), most)


def plain(text: Text) -> str:
    """Return running text without its styles; a link is followed by its address."""
    return "".join(f"{each.text} ({each.url})" if each.url and each.url != each.text else each.text for each in text)


def cut_text(text: Text, most: int) -> Text:
    """Return the spans up to `most` characters of text; a cut text ends in `…`."""
    if sum(len(each.text) for each in text) <= most:
        return text
    kept: list[Span] = []
    room = most - 1
    for each in text:
        kept.append(replace(each, text=each.text[:room]))
        room -= len(each.text)
        if room <= 0:
            break
    return (*kept, Span("…"))


def columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return a table as aligned lines, for destinations that have no tables."""
    table = [[one_line(cell, CELL_CHARS) for cell in row] for row in ((header, *rows) if any(header) else rows)]
    widths = [max(len(row[at]) for row in table if at < len(row)) for at in range(max(map(len, table), default=0))]
    return tuple(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in table
    )


def fit(message: Message, size: Callable[[Message], int], most: int, *, most_blocks: int = 1_000) -> Message:
    """Return `message` shortened until `size(message) <= most` and it has at most `most_blocks` blocks.

    Code is halved first, then tables, steps and running text, down to a few lines each; then blocks are left out from
    the end. Each place where something is missing says so.
    """
    whole = len(message.blocks)
    message = replace(message, blocks=tuple(_tamed(each) for each in message.blocks[:most_blocks]))
    if whole > most_blocks:
        message = _without_tail(message, 1)
    kept = [min(_length(each), _MOST[type(each)]) for each in message.blocks]
    while size(shorter := _shortened(message, kept)) > most:
        wide = [at for at, block in enumerate(message.blocks) if kept[at] > _FLOOR[type(block)]]
        if not wide:
            break
        wide = [at for at in wide if isinstance(message.blocks[at], Code)] or wide
        # All that are about as long as the longest: a few rounds then do, however many blocks there are.
        widest = max(_chars(shorter.blocks[at]) for at in wide)
        for at in wide:
            if _chars(shorter.blocks[at]) * 2 >= widest:
                kept[at] = max(kept[at] // 2, _FLOOR[type(message.blocks[at])])
    if size(shorter) <= most:
        return shorter
    fits, too_long = 0, len(shorter.blocks)  # how many blocks stay
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if size(_without_tail(shorter, len(shorter.blocks) - middle)) <= most:
            fits = middle
        else:
            too_long = middle
    return _without_tail(shorter, len(shorter.blocks) - fits)


def _tamed(block: Block) -> Block:
    match block:
        case Code(lines, caption):
            flat = [part for line in lines for part in clean(line).split("\n")]
            return Code(tuple(truncate(line, CODE_LINE_CHARS) for line in flat), one_line(caption, 200))
        case Steps(items, numbered):
            return Steps(tuple(cut_text(_clean(item), ITEM_CHARS) for item in items), numbered)
        case Table(header, rows):
            return Table(
                tuple(one_line(cell, CELL_CHARS) for cell in header),
                tuple(tuple(one_line(cell, CELL_CHARS) for cell in row) for row in rows),
            )
        case Paragraph(text):
            return Paragraph(_clean(text))
        case Small(text):
            return Small(_clean(text))


def _clean(text: Text) -> Text:
    return tuple(replace(each, text=clean(each.text)) for each in text)


def _length(block: Block) -> int:
    """Return how many lines, rows or items a block has, or characters for running text."""
    match block:
        case Code(lines=parts) | Table(rows=parts) | Steps(items=parts):
            return len(parts)
        case Paragraph(text) | Small(text):
            return sum(len(each.text) for each in text)


def _chars(block: Block) -> int:
    match block:
        case Code(lines):
            return sum(map(len, lines))
        case Table(rows=rows):
            return sum(len(cell) for row in rows for cell in row)
        case Steps(items):
            return sum(len(each.text) for item in items for each in item)
        case Paragraph(text) | Small(text):
            return sum(len(each.text) for each in text)


def _shortened(message: Message, kept: Sequence[int]) -> Message:
    blocks: list[Block] = []
    for block, most in zip(message.blocks, kept, strict=True):
        gone = _length(block) - most
        match block:
            case _ if gone <= 0:
                blocks.append(block)
            case Code(lines, caption):
                blocks.append(Code((*lines[:most], f"… {gone} lines left out"), caption))
            case Table(header, rows):
                blocks.append(Table(header, (*rows[:most], (f"… {gone} more",))))
            case Steps(items, numbered):
                blocks.append(Steps((*items[:most], (Span(f"… {gone} more"),)), numbered))
            case Paragraph(text):
                blocks.append(Paragraph(cut_text(text, most)))
            case Small(text):
                blocks.append(Small(cut_text(text, most)))
    return replace(message, blocks=tuple(blocks))


def _without_tail(message: Message, count: int) -> Message:
    """Return the message without its last `count` blocks, and a note that says so."""
    note = Small((Span("… the rest is left out: too long for this destination"),))
    return replace(message, blocks=(*message.blocks[: len(message.blocks) - count], note))


def map_texts(details: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Return a JSON-able mapping with every text in it, at any depth, changed by `change`."""

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            return change(value)
        if isinstance(value, Mapping):
            return {key: walk(item) for key, item in value.items()}
        return [walk(item) for item in value] if isinstance(value, list | tuple) else value

    return {key: walk(value) for key, value in details.items()}
